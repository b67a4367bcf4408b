"""Which tool calls of an answer cannot be run as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["count_tool_failures"]


def count_tool_failures(calls: Sequence[Mapping[str, Any]], offered: Sequence[Mapping[str, Any]]) -> int | None:
    """How many tool calls name a tool that was not offered, or have arguments that are no JSON object or do not fit the tool's
    schema. None where no tool was called and none was offered. calls, offered: in OpenAI's form."""
    if not calls:
        return 0 if offered else None
    schemas = {}
    for tool in offered:
        function = tool.get("function")
        if isinstance(function, Mapping):
            schemas[function.get("name")] = function.get("parameters")
    return sum(not _runs(call.get("function"), schemas) for call in calls)


def _runs(function: Any, schemas: Mapping[Any, Any]) -> bool:
    if not isinstance(function, Mapping) or function.get("name") not in schemas:
        return False
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except ValueError:
            return False
    if not isinstance(arguments, Mapping):
        return False
    schema = schemas[function["name"]]
    if not isinstance(schema, Mapping):
        return True
    import jsonschema

    try:
        return bool(jsonschema.validators.validator_for(schema)(schema).is_valid(arguments))
    except Exception:  # noqa: BLE001  (a schema that is none is no fault of the model's)
        return True
