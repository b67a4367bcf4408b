"""Judges and people: models that score answers, people who rate them blind, how far they agree, and what that does to a
difference."""
