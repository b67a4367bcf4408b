"""What the built-in scorers share: what an example accepts, and how a score is explained."""

from __future__ import annotations

import re

import orjson

from workbench.errors import InputError, short_repr
from workbench.records import Example, Score

__all__ = ["NOT_EXPECTED", "RIGHT", "as_json", "checked_flags", "either", "short", "texts_of", "unfenced", "wrong"]

RIGHT = Score(1.0)
NOT_EXPECTED = Score(None, "the example has no 'expected' value")
_FENCE = re.compile(r"```[a-zA-Z0-9]*[ \t]*\n(.*?)\n?```", re.DOTALL)


def unfenced(text: str) -> str:
    """The text without one Markdown code fence around it, which models add unasked."""
    found = _FENCE.fullmatch(text.strip())
    return str(found.group(1)) if found else text


def as_json(expected: object) -> object:
    """What an expected answer is as JSON: a text that holds an object or a list is read, as a CSV file has it."""
    if isinstance(expected, str) and expected.lstrip()[:1] in ("{", "["):
        try:
            return orjson.loads(expected)
        except orjson.JSONDecodeError:
            return expected
    return expected


def checked_flags(scorer: str, **values: bool) -> dict[str, bool]:
    """These arguments of a scorer, or InputError for one that is not true or false."""
    for name, value in values.items():
        if not isinstance(value, bool):
            raise InputError(f"{scorer}: {name} = {value!r} must be true or false.")
    return values


def texts_of(example: Example) -> list[str] | Score:
    """What the example accepts, or why it cannot be scored."""
    expected = example.expected
    if isinstance(expected, str):
        return [expected]
    if expected is None:
        return NOT_EXPECTED
    items = expected if isinstance(expected, list) else [expected]
    if not items:
        return Score(None, "'expected' is an empty list")
    if not all(isinstance(item, (str, bool, int, float)) for item in items):
        return Score(None, f"'expected' is {short(expected)}, not a text, a number or a list of them")
    return [item if isinstance(item, str) else orjson.dumps(item).decode() for item in items]


def wrong(text: str, wanted: list[str]) -> Score:
    """0, with what came and what was expected."""
    return Score(0.0, f"{short(text)} instead of {either(wanted)}")


def either(wanted: list[str]) -> str:
    """The texts joined by "or"."""
    return " or ".join(map(short, wanted))


def short(value: object) -> str:
    """At most 80 characters of its repr."""
    return short_repr(value, 80)
