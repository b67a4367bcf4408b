"""Scorers of JSON: does it fit a schema?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from workbench.errors import InputError
from workbench.evaluation.scorers.scorer import Scorer, built_in
from workbench.evaluation.scorers.wording import RIGHT, short, unfenced
from workbench.records import Example, Score

__all__ = ["json_schema"]


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
