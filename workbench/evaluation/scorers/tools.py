"""Did the model call the right tools, with the right arguments?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import orjson

from workbench.errors import InputError
from workbench.evaluation.scorers.scorer import Answer, Scorer, built_in
from workbench.evaluation.scorers.structure import leaves
from workbench.evaluation.scorers.wording import NOT_EXPECTED, as_json, checked_flags, short, unfenced
from workbench.records import Example, Score

__all__ = ["tool_calls"]

_NOT_A_CALL = "not a tool call, such as {'name': 'search', 'arguments': {'query': 'shoes'}}, or a list of them"


class _Call(NamedTuple):
    name: str
    arguments: Any
    """None where they are no JSON."""

    def __str__(self) -> str:
        return f"{self.name}({short(self.arguments) if self.arguments != {} else ''})"


def tool_calls(
    *,
    arguments: Literal["exact", "subset", "ignore"] = "exact",
    ordered: bool = False,
    partial: bool = False,
) -> Scorer:
    """1 if the answer makes exactly the tool calls of `expected`, else 0.

    `expected` is one call, `{"name": "search", "arguments": {"query": "shoes"}}`, or a list of all of them; an empty list says
    that no tool is to be called. Its JSON as a text (as in CSV) is read too, and so is OpenAI's form, with "function"
    around it and the arguments as a text. The calls are those that came with the answer or, if there are none, the answer's text
    where it is such JSON.

    arguments: "exact", "subset" (those of `expected` must be there, others may be) or "ignore". Numbers are equal by value.
    ordered: whether the order of the calls counts. partial: the score is the share of right calls among those expected and made,
    from 0 to 1. Arguments that are no JSON are wrong. An `expected` that is no tool call leaves the example unscored.
    """
    options = checked_flags("tool_calls", ordered=ordered, partial=partial)
    if arguments not in ("exact", "subset", "ignore"):
        raise InputError(f"tool_calls: arguments = {arguments!r} must be 'exact', 'subset' or 'ignore'.")

    def fits(made: _Call, wanted: _Call) -> bool:
        if made.name != wanted.name or made.arguments is None:
            return False
        if arguments == "ignore":
            return True
        mine, theirs = leaves(made.arguments), leaves(wanted.arguments)
        if arguments == "subset":
            return all(
                path in mine and _same(mine[path], value) for path, value in theirs.items() if path or value != {}
            )
        return mine.keys() == theirs.keys() and all(_same(mine[path], theirs[path]) for path in theirs)

    def score(text: str, example: Example) -> Score:
        if example.expected is None:
            return NOT_EXPECTED
        wanted = _calls(as_json(example.expected))
        if wanted is None:
            return Score(None, f"'expected' is {short(example.expected)}, {_NOT_A_CALL}")
        made = _made(text)
        left, right = list(wanted), []
        for place, call in enumerate(made):
            if ordered:
                found = place if place < len(wanted) and fits(call, wanted[place]) else None
                if found is not None:
                    left.remove(wanted[place])
            else:
                found = next((at for at, item in enumerate(left) if fits(call, item)), None)
                if found is not None:
                    left.pop(found)
            if found is not None:
                right.append(place)
        others = [call for place, call in enumerate(made) if place not in right]
        why = [f"made {call}" for call in others[:3]] + [f"missing {call}" for call in left[:3]]
        if not made and wanted:
            why = [f"no tool was called; missing {', '.join(map(str, wanted[:3]))}"]
        most = max(len(wanted), len(made))
        share = len(right) / most if most else 1.0
        return Score(share if partial else float(share == 1), "; ".join(why))

    return built_in("tool_calls", score, {"arguments": arguments, **options}, binary=not partial, needs_expected=True)


def _made(text: str) -> list[_Call]:
    calls = _calls([dict(call) for call in text.tool_calls]) if isinstance(text, Answer) else None
    if calls:
        return calls
    try:
        return _calls(orjson.loads(unfenced(text))) or []
    except orjson.JSONDecodeError:
        return []


def _calls(value: Any) -> list[_Call] | None:
    """The calls that a JSON value holds, None if it is something else."""
    items = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    found = []
    for item in items:
        inner = item.get("function", item) if isinstance(item, Mapping) else None
        if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str) or not inner["name"]:
            return None
        arguments = inner.get("arguments", inner.get("parameters", {}))
        if isinstance(arguments, str):
            try:
                arguments = orjson.loads(arguments or "{}")
            except orjson.JSONDecodeError:
                arguments = None
        found.append(_Call(inner["name"], arguments))
    return found


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)
