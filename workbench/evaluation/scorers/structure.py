"""Scorers of JSON: does it fit a schema, and are its fields those that were expected?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson

from workbench.errors import InputError
from workbench.evaluation.scorers.numbers import within
from workbench.evaluation.scorers.scorer import Scorer, built_in
from workbench.evaluation.scorers.wording import NOT_EXPECTED, RIGHT, as_json, checked_flags, short, unfenced
from workbench.records import Example, Score

__all__ = ["json_fields", "json_schema", "leaves"]


def json_schema(schema: Mapping[str, Any]) -> Scorer:
    """1 if the answer is JSON that fits `schema` (draft 2020-12 unless `$schema` says otherwise), else 0.

    One Markdown code fence around the JSON is taken off first, since models add it unasked. `expected` is not read, and
    references to other documents are not fetched.
    """
    from jsonschema import Draft202012Validator, SchemaError
    from jsonschema.exceptions import best_match
    from jsonschema.validators import validator_for
    from referencing import Registry

    if not isinstance(schema, Mapping):
        raise InputError(f"json_schema: schema = {short(schema)} must be an object, such as {{'type': 'object'}}.")
    spec = dict(schema)
    kind = validator_for(spec, default=Draft202012Validator)
    try:
        kind.check_schema(spec)
    except SchemaError as error:
        raise InputError(f"json_schema: the schema is wrong at {error.json_path}: {error.message}.") from None
    validator = kind(spec, registry=Registry())

    def score(text: str, example: Example) -> Score:
        try:
            answer = orjson.loads(unfenced(text))
        except orjson.JSONDecodeError as error:
            return Score(0.0, f"not JSON: {error}: {short(text)}")
        problem = best_match(validator.iter_errors(answer))
        return RIGHT if problem is None else Score(0.0, f"at {problem.json_path}: {problem.message}")

    return built_in("json_schema", score, {"schema": spec})


def json_fields(*, relative: float = 0.0, ignore_case: bool = False, extra: bool = False) -> Scorer:
    """The share of the fields of `expected` (an object, or its JSON as a text) that the answer's JSON has right, from 0 to 1.

    Every leaf counts once, however deep: `{"a": {"b": 1}, "c": [2, 3]}` has the fields `a.b`, `c[0]` and `c[1]`; an empty object
    or list is a leaf. relative: by which part a number may be off, such as 0.01. ignore_case: of texts. extra: a field that
    `expected` does not have counts as one more, and wrong. One code fence around the JSON is taken off; an answer that is no JSON
    scores 0. The explanation names the first wrong fields.
    """
    options = checked_flags("json_fields", ignore_case=ignore_case, extra=extra)
    if isinstance(relative, bool) or not isinstance(relative, (int, float)) or not 0 <= relative < math.inf:
        raise InputError(f"json_fields: relative = {relative!r} must be a number from 0.")

    def same(one: Any, other: Any) -> bool:
        if isinstance(one, bool) or isinstance(other, bool):
            return one is other
        if isinstance(one, (int, float)) and isinstance(other, (int, float)):
            return within(float(one), float(other), 0.0, relative)
        if ignore_case and isinstance(one, str) and isinstance(other, str):
            return one.casefold() == other.casefold()
        return type(one) is type(other) and bool(one == other)

    def score(text: str, example: Example) -> Score:
        if example.expected is None:
            return NOT_EXPECTED
        expected = as_json(example.expected)
        if not isinstance(expected, Mapping) or not expected:
            return Score(None, f"'expected' is {short(example.expected)}, not an object with fields")
        try:
            answer = orjson.loads(unfenced(text))
        except orjson.JSONDecodeError as error:
            return Score(0.0, f"not JSON: {error}: {short(text)}")
        wanted, found = leaves(expected), leaves(answer)
        wrong = [
            f"{path or 'the whole'} is {short(found[path]) if path in found else 'missing'} instead of {short(value)}"
            for path, value in wanted.items()
            if path not in found or not same(found[path], value)
        ]
        more = [f"{path or 'the whole'} is not expected" for path in found if path not in wanted] if extra else []
        total = len(wanted) + len(more)
        return Score(1 - (len(wrong) + len(more)) / total, "; ".join((wrong + more)[:5]))

    return built_in("json_fields", score, {"relative": relative, **options}, binary=False, needs_expected=True)


def leaves(value: Any) -> dict[str, Any]:
    """Every leaf of a JSON value by its path, such as `items[0].price`."""
    found: dict[str, Any] = {}
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        path, item = waiting.pop()
        if isinstance(item, Mapping) and item:
            waiting += [(f"{path}.{key}" if path else str(key), inner) for key, inner in reversed([*item.items()])]
        elif isinstance(item, list) and item:
            waiting += [(f"{path}[{place}]", inner) for place, inner in reversed([*enumerate(item)])]
        else:
            found[path] = item
    return found
