"""Experiments on live traffic: who gets which release, what became of it, and what undoes itself."""
