"""promptfoo's asserts as checks: a scorer's spec, and what it expects."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from typing import Any

from workbench.evaluation.library.promptfoo.files import LINE, plain
from workbench.evaluation.library.promptfoo.result import Imported

__all__ = ["checks_of", "number"]

_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_]\w*)\s*\}\}")
_SHORT = re.compile(
    r"(?P<type>[a-z][a-z0-9-]*(?::(?:cosine|dot|euclidean))?)(?:\((?P<threshold>\d+(?:\.\d+)?)\))?(?::(?P<value>.*))?",
    re.DOTALL,
)
_PROGRAMS = {"javascript:": "javascript", "fn:": "javascript", "eval:": "javascript", "python:": "python", "file://": "program",
             "grade:": "llm-rubric"}  # fmt: skip
# a table's cell that begins otherwise is a text to be equalled
_TYPES = frozenset(
    re.findall(
        r"\S+",
        """
        answer-relevance bleu classifier contains contains-all contains-any contains-html contains-json contains-sql
        contains-xml context-faithfulness context-recall context-relevance
        conversation-relevance cost ends-with equals factuality finish-reason
        g-eval gleu guardrails human icontains icontains-all icontains-any is-html is-json is-refusal is-sql
        is-valid-function-call is-valid-openai-function-call is-valid-openai-tools-call is-xml javascript latency levenshtein
        llm-rubric max-score meteor model-graded-closedqa model-graded-factuality moderation perplexity perplexity-score pi python
        regex rouge-l rouge-n rouge-s ruby search-rubric select-best similar similar:cosine similar:dot similar:euclidean
        starts-with tool-call-f1 trace-error-spans trace-span-count trace-span-duration webhook word-count
        """,
    )
)


def checks_of(item: Any, inputs: Mapping[str, Any], where: str, found: Imported) -> list[dict[str, Any]]:
    """What one assert asks; what has no equivalent is noted. where: the test's place, unless the assert knows its own."""
    if isinstance(item, dict) and "text" in item and "type" not in item:
        item = {**_short(item["text"]), **{name: value for name, value in item.items() if name != "text"}}
    if not isinstance(item, dict) or not isinstance(item.get("type"), str):
        found.unmapped.append(f"{where}: assert {plain(item)!r:.80}")
        return []
    where = f"line {item[LINE]}" if LINE in item else where
    whole = kind = item["type"]
    if kind == "assert-set":
        return _set(item, inputs, where, found)
    negated = kind.startswith("not-")
    kind = kind.removeprefix("not-")
    value = _filled(item.get("value"), inputs)
    if _open(value):
        found.unmapped.append(f"{where}: {whole} of {plain(value)!r:.80}, which is a file or a template")
        return []
    if item.get("weight") == 0 or item.get("metricOnly"):
        found.unmapped.append(f"{where}: {whole} only measures (weight 0) and fails nothing")
        return []
    if kind in ("latency", "cost") and not negated and (limit := number(item.get("threshold"))) is not None:
        gate = f"{'p95_ms' if kind == 'latency' else 'cost_per_call'} < {limit:.12g}"
        found.gates.append(gate)
        found.unmapped.append(f"{where}: {kind} of each answer; the nearest is a gate over all, {gate!r}")
        return []
    if kind == "llm-rubric" and not negated and isinstance(value, str):
        found.rubrics.append(value)
        found.unmapped.append(
            f"{where}: llm-rubric {value!r:.60}; the nearest is the scorer `judge` with a model that you name"
        )
        return []
    check = _check(kind, value)
    if check is None:
        found.unmapped.append(
            f"{where}: {whole}{'' if value is None else f' of {plain(value)!r:.60}'}, which has no equivalent"
        )
        return []
    if item.get("weight") is not None and number(item["weight"]) is None:
        found.unmapped.append(f"{where}: the weight {plain(item['weight'])!r:.40} of the assert {whole}")
    elif item.get("weight") is not None:
        check["weight"] = number(item["weight"])
    if isinstance(item.get("metric"), str):
        check["metric"] = item["metric"]
    for name in item:
        if name not in ("type", "value", "weight", "metric", LINE) and not (name == "threshold" and item[name] is None):
            found.unmapped.append(f"{where}: {name} of the assert {whole}")
    return [check | ({"not": True} if negated else {})]


def number(value: Any) -> float | None:
    """A finite number from 0, also written as a text, else None."""
    try:
        made = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
    return made if math.isfinite(made) and made >= 0 else None


def _set(item: Mapping[str, Any], inputs: Mapping[str, Any], where: str, found: Imported) -> list[dict[str, Any]]:
    """All of a set must pass, as all of a test must, unless it has a threshold or a weight of its own."""
    inner = item.get("assert")
    if item.get("threshold") is not None or item.get("weight") is not None or not isinstance(inner, list):
        found.unmapped.append(f"{where}: assert-set with a threshold or weight of its own, or without asserts")
        return []
    if any(isinstance(one, dict) and one.get("type") == "assert-set" for one in inner):
        found.unmapped.append(f"{where}: assert-set within an assert-set")
        return []
    return [check for one in inner for check in checks_of(one, inputs, where, found)]


def _short(text: str) -> dict[str, Any]:
    """An assert as a table writes it: `icontains:paris`, `not-regex:^a`, else the text itself."""
    for begin, kind in _PROGRAMS.items():
        if text.startswith(begin):
            return {"type": kind, "value": text if kind == "program" else text.removeprefix(begin)}
    found = _SHORT.fullmatch(text)
    if found is None or found["type"].removeprefix("not-") not in _TYPES:
        return {"type": "equals", "value": text}
    threshold = {"threshold": float(found["threshold"])} if found["threshold"] else {}
    return {"type": found["type"], "value": found["value"], **threshold}


def _check(kind: str, value: Any) -> dict[str, Any] | None:
    if kind == "equals" and isinstance(value, (dict, list)):
        return {"scorer": {"name": "json_schema", "schema": {"const": plain(value)}}}
    if kind == "equals" and value is not None:
        return {"scorer": {"name": "exact_match", "ignore_case": False, "strip": False}, "expected": _text(value)}
    if kind.removeprefix("i") in ("contains", "contains-any", "contains-all"):
        several = kind.endswith(("-any", "-all"))
        if several and isinstance(value, str):
            value = next(csv.reader([value.replace("\n", " ")], skipinitialspace=True), [])
        parts = [
            _text(part).strip() if several else _text(part) for part in (value if isinstance(value, list) else [value])
        ]
        if value is None or not parts or not all(parts) or several != isinstance(value, list):
            return None
        options = {"ignore_case": kind.startswith("i"), "every": kind.endswith("-all")}
        return {"scorer": {"name": "contains", **options}, "expected": parts if several else parts[0]}
    if kind in ("regex", "starts-with", "ends-with") and isinstance(value, (str, int, float)) and value != "":
        text = _text(value)
        pattern = {"regex": text, "starts-with": rf"\A{re.escape(text)}", "ends-with": rf"{re.escape(text)}\Z"}[kind]
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError):  # what only JavaScript knows
            return None
        return {"scorer": {"name": "regex", "pattern": pattern}}
    if kind == "is-json" and (value in (None, "") or isinstance(value, dict)):
        return _schema(plain(value or {}))
    return None


def _schema(schema: Any) -> dict[str, Any] | None:
    from workbench.errors import InputError
    from workbench.evaluation.scorers.structure import json_schema

    try:
        json_schema(schema)
    except InputError:
        return None
    return {"scorer": {"name": "json_schema", "schema": schema}}


def _text(value: Any) -> str:
    """As JavaScript writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _open(value: Any) -> bool:
    """Whether it holds a file or a template that is not filled in."""
    if isinstance(value, (list, dict)):
        return any(_open(part) for part in (value.values() if isinstance(value, dict) else value))
    return isinstance(value, str) and (value.startswith("file://") or "{{" in value or "{%" in value)


def _filled(value: Any, inputs: Mapping[str, Any]) -> Any:
    """{{name}} in what an assert expects is the test's variable."""
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: _text(inputs[found[1]]) if found[1] in inputs else found[0], value)
    if isinstance(value, dict):
        return {key: _filled(part, inputs) for key, part in value.items()}
    return [_filled(part, inputs) for part in value] if isinstance(value, list) else value
