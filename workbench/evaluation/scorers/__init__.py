"""Scorers: how good is this answer to this example?

A scorer is called with the answer's text and the Example and gives a Score. What cannot be judged (no expected value, a
scorer that failed) is unscored, `Score(None, reason)`, and never 0; what can be judged and is wrong is 0.

Scorers that ask a model (an embedder, a judge) do so through the client to which they are bound; a comparison binds them.

An `expected` that is a list means "any of these" (to `json_fields` and `tool_calls` it is what it is). Numbers and booleans in
it are compared as JSON writes them.
"""

from workbench.evaluation.scorers.checks import checks
from workbench.evaluation.scorers.grounded import faithfulness_by_rules, relevance_by_embedding
from workbench.evaluation.scorers.judges import faithfulness_by_judge, judge, judge_pairwise, relevance_by_judge
from workbench.evaluation.scorers.limits import language, length
from workbench.evaluation.scorers.matching import contains, exact_match, one_of_labels, regex
from workbench.evaluation.scorers.meaning import embedding_similarity
from workbench.evaluation.scorers.numbers import numeric, regex_extract
from workbench.evaluation.scorers.overlap import rouge_l, token_f1
from workbench.evaluation.scorers.people import ratings
from workbench.evaluation.scorers.registry import as_scorer, python
from workbench.evaluation.scorers.scorer import Answer, Scorer
from workbench.evaluation.scorers.structure import json_fields, json_schema
from workbench.evaluation.scorers.tools import tool_calls

__all__ = [
    "Answer",
    "Scorer",
    "as_scorer",
    "checks",
    "contains",
    "embedding_similarity",
    "exact_match",
    "faithfulness_by_judge",
    "faithfulness_by_rules",
    "json_fields",
    "json_schema",
    "judge",
    "judge_pairwise",
    "language",
    "length",
    "numeric",
    "one_of_labels",
    "python",
    "ratings",
    "regex",
    "regex_extract",
    "relevance_by_embedding",
    "relevance_by_judge",
    "rouge_l",
    "token_f1",
    "tool_calls",
]
