"""A scorer whose demands stand in each example: what promptfoo's asserts become."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from workbench.evaluation.scorers.scorer import Scorer, built_in
from workbench.evaluation.scorers.wording import short
from workbench.records import Example, Score

__all__ = ["checks"]

# data may come from elsewhere: it is not to name code that is run, a model that is asked, or people
_ALLOWED = frozenset(
    ("contains", "exact_match", "json_fields", "json_schema", "language", "length", "numeric", "one_of_labels", "regex",
     "regex_extract", "rouge_l", "token_f1", "tool_calls")
)  # fmt: skip


def checks() -> Scorer:
    """1 if the answer passes all checks that stand in the example's metadata, else 0.

    metadata.checks: a list such as {"scorer": {"name": "regex", "pattern": "^OK"}, "expected": …, "not": true, "weight": 2}; a
    check is passed by a score of 1 (with "not", by a lower one). With metadata.checks_threshold, 1 if the weighted share that is
    passed reaches it. An example without checks, or with one that cannot score, is unscored. A check is one of the built-in
    scorers that ask nobody.
    """

    def score(text: str, example: Example) -> Score:
        wanted = example.metadata.get("checks")
        if not isinstance(wanted, list) or not wanted:
            return Score(None, "the example has no metadata.checks")
        passed, total, failed = 0.0, 0.0, []
        for check in wanted:
            found = _one(text, example, check)
            if found.value is None:
                return found
            weight = float(check.get("weight", 1))
            ok = (found.value == 1) != bool(check.get("not"))
            total += weight
            passed += weight * ok
            if not ok:
                what = check.get("metric") or check["scorer"]["name"]
                failed.append(f"{'not ' if check.get('not') else ''}{what}: {found.explanation or f'{found.value:g}'}")
        needed = example.metadata.get("checks_threshold")
        right = not failed if needed is None else (passed / total if total else 0.0) >= float(needed)
        return Score(float(right), "; ".join(failed))

    return built_in("checks", score, {})


def _one(text: str, example: Example, check: Any) -> Score:
    spec = check.get("scorer") if isinstance(check, Mapping) else None
    if not isinstance(spec, Mapping) or not isinstance(spec.get("name"), str):
        return Score(None, f"{short(check)} is no check: it needs a scorer with a name")
    if spec["name"] not in _ALLOWED:
        return Score(None, f"{spec['name']} is no scorer for a check: {', '.join(sorted(_ALLOWED))} are")
    made = _made(json.dumps(spec, sort_keys=True))
    found = made(text, replace(example, expected=check["expected"]) if "expected" in check else example)
    return found if isinstance(found, Score) else Score(None, f"{made.name} did not score at once")


@lru_cache(maxsize=4096)
def _made(spec: str) -> Scorer:
    from workbench.evaluation.scorers.registry import as_scorer

    return as_scorer(json.loads(spec))
