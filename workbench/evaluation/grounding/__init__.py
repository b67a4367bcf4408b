"""Does a context say what an answer says? Read without a model that judges: sentences, facts, polarity, roles, and vectors."""
