"""From what is typed into a playground's fields for params to `Params`, and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workbench.errors import InputError
from workbench.playground.inputs import NUMBERS, as_typed
from workbench.records import Example, Params, Prompt, Score

__all__ = ["FIELDS", "read_own", "read_params", "schema_check", "tag_of", "typed_params"]

FIELDS = (*NUMBERS, "stop", "think", "schema", "tools", "tool_choice", "other")
"""The fields of the form. What has none of its own (logprobs, extra) is JSON in `other`, where any param may stand."""

_SWITCHES = {"on": True, "true": True, "off": False, "false": False}
_CHOICES = ("auto", "none", "required")
_EXAMPLES = {
    "of the column": '{"temperature": 1}',
    "other": '{"logprobs": 3}',
    "schema": '{"type": "object", "properties": {"label": {"type": "string"}}}',
    "tools": '[{"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}]',
}


def read_params(typed: Mapping[str, str]) -> Params:
    r"""From the texts of the form; an empty one is not set. Raises InputError that names the field.

    stop: a text a line, with `\n` and `\t` for what no line can hold, or a JSON list. think: on, off, or a level such as low.
    schema: a JSON schema, or an OpenAI response_format with one in it. tools: a JSON list. tool_choice: auto, none, required or
    a tool's name.
    """
    given = {name: text.strip() for name, text in typed.items() if text.strip()}
    values: dict[str, Any] = _table("other", given["other"]) if "other" in given else {}
    twice = next((name for name in FIELDS if name in values and name in given), None)
    if twice:
        raise InputError(
            f"params: {twice} has a field of its own, and stands in other too: take it out of one of them."
        )
    values |= {name: _number(name, given[name], kind) for name, kind in NUMBERS.items() if name in given}
    if "stop" in given:
        values["stop"] = _stops(typed["stop"])
    if "think" in given:
        values["think"] = _SWITCHES.get(given["think"].lower(), given["think"])
    if "schema" in given:
        values["schema"] = _schema(_table("schema", given["schema"]))
    if "tools" in given:
        values["tools"] = _tools(_json("tools", given["tools"]))
    if "tool_choice" in given:
        values["tool_choice"] = _choice(given["tool_choice"], values.get("tools") or ())
    return Params.from_mapping(values)


def read_own(typed: str) -> Params:
    """The params of one column, JSON or nothing. Raises InputError."""
    return Params.from_mapping(_table("of the column", typed), "params of the column") if typed.strip() else Params()


def tag_of(params: Params) -> str:
    """Params in a few words: numbers as they are, of what may be long the name."""
    short = (int, float, bool)
    return ", ".join(
        f"{name} {value}" if isinstance(value, short) else name for name, value in params.to_mapping().items()
    )


def typed_params(params: Mapping[str, Any]) -> dict[str, str]:
    """What the fields would hold for a prompt's own params: the inverse of `read_params`."""
    typed: dict[str, str] = {}
    other: dict[str, Any] = {}
    for name, value in params.items():
        if value is None:
            continue
        if name not in FIELDS:
            other[name] = value
        elif name == "think" and isinstance(value, bool):
            typed[name] = "on" if value else "off"
        elif name == "stop":
            typed[name] = _typed_stops([value] if isinstance(value, str) else value)
        else:
            typed[name] = as_typed(value)
    return typed | ({"other": json.dumps(other, ensure_ascii=False)} if other else {})


def schema_check(prompt: Prompt, params: Params) -> Callable[[str], str] | None:
    """What says why an answer does not fit the JSON schema that is asked for, "" if it does; None where none is. Raises
    InputError for a schema that is wrong."""
    schema = Params.from_mapping(prompt.config.get("params") or {}).merged(params).schema
    if schema is None:
        return None
    from workbench.evaluation.scorers import json_schema

    scorer, nothing = json_schema(schema), Example("", {})

    def check(text: str) -> str:
        score: Score = scorer.function(text, nothing)
        return "" if score.value == 1 else score.explanation.rstrip(".") or "not as it asks"

    return check


def _number(name: str, text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise InputError(
            f"params: {name} = {text!r} must be {what}, or empty for the prompt's or the server's own."
        ) from None


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"params: {name}: this is not JSON: {error}. Write such as {_EXAMPLES[name]}.") from None


def _table(name: str, text: str) -> dict[str, Any]:
    found = _json(name, text)
    if not isinstance(found, dict):
        raise InputError(f"params: {name} must be an object, such as {_EXAMPLES[name]}.")
    return found


def _stops(text: str) -> list[str]:
    if text.lstrip().startswith("["):
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if isinstance(found, list) and all(isinstance(item, str) for item in found):
            return found
    return [line.replace("\\n", "\n").replace("\\t", "\t") for line in text.splitlines() if line]


def _typed_stops(stops: Sequence[str]) -> str:
    lines = [stop.replace("\n", "\\n").replace("\t", "\\t") for stop in stops]
    text = "\n".join(lines)
    return text if _stops(text) == list(stops) else json.dumps(list(stops), ensure_ascii=False)


def _schema(found: dict[str, Any]) -> dict[str, Any]:
    """The schema itself, also where it stands in what OpenAI calls response_format."""
    if found.get("type") == "json_object":
        raise InputError('params: schema: for any JSON object write {"type": "object"}.')
    if found.get("type") == "json_schema":
        inner = found.get("json_schema")
        found = inner if isinstance(inner, dict) else found
    if isinstance(found.get("schema"), dict) and "properties" not in found:
        found = found["schema"]
    from workbench.evaluation.scorers import json_schema

    try:
        json_schema(found)
    except InputError as error:
        raise InputError(f"params: {str(error).removeprefix('json_schema: ')}") from None
    return found


def _tools(found: Any) -> list[dict[str, Any]]:
    tools = found if isinstance(found, list) else [found]
    for number, tool in enumerate(tools, 1):
        if not _name_of(tool):
            raise InputError(f"params: tool {number} has no function with a name: write such as {_EXAMPLES['tools']}.")
    return tools


def _name_of(tool: Any) -> str:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else ""


def _choice(text: str, tools: Sequence[Any]) -> str | dict[str, Any]:
    if text.startswith("{"):
        try:
            found = json.loads(text)
        except ValueError as error:
            raise InputError(f"params: tool_choice is not JSON: {error}.") from None
        return dict(found)
    if text in _CHOICES:
        return text
    names = [_name_of(tool) for tool in tools]
    if tools and text not in names:
        known = ", ".join([*_CHOICES, *names])
        raise InputError(f"params: tool_choice = {text!r} is no tool: there are {known}.")
    return {"type": "function", "function": {"name": text}}
