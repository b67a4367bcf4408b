"""Load tests: how fast a runtime serves a model, at how many calls at once or at which rate of arrivals."""
