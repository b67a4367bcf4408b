"""Scorers: how good is this answer to this example?

A scorer is called with the answer's text and the Example and gives a Score. What cannot be judged (no expected value, a
scorer that failed) is unscored, `Score(None, reason)`, and never 0; what can be judged and is wrong is 0.

An `expected` that is a list means "any of these". Numbers and booleans in it are compared as JSON writes them.
"""

from workbench.evaluation.scorers.matching import contains, exact_match, one_of_labels, regex
from workbench.evaluation.scorers.overlap import token_f1
from workbench.evaluation.scorers.registry import as_scorer
from workbench.evaluation.scorers.scorer import Scorer
from workbench.evaluation.scorers.structure import json_schema

__all__ = [
    "Scorer",
    "as_scorer",
    "contains",
    "exact_match",
    "json_schema",
    "one_of_labels",
    "regex",
    "token_f1",
]
