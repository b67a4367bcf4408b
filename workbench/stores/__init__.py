"""Where things are kept beyond files: the key-value store and the vectors."""
