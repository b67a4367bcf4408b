"""Pairs of questions, to tune the semantic cache with: what was asked, which question's answer was at hand, and may it serve.

A file holds one JSON object a line, such as

    {"asked": "how do i reset my password", "cached": "How can I reset my password?", "same": true}

Shadow mode makes such pairs; a person labels them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from workbench.errors import DatasetError, short_repr
from workbench.running.saving import write_whole

__all__ = ["Pair", "read_pairs", "write_pairs"]

_EXAMPLE = '{"asked": "…", "cached": "…", "same": true}'
_REQUIRED = ("asked", "cached")
_ROUNDING = 1e-3  # of a cosine that was computed with few digits


@dataclass(frozen=True, slots=True)
class Pair:
    """asked: a question. cached: an earlier one. same: may the answer to `cached` serve `asked`; None if nobody has said.

    cosine: of their vectors. veto: the guard's word. prompt: reference of the prompt that both were put into. asked_answer,
    cached_answer: what the model said to each. None where unknown.
    """

    asked: str
    cached: str
    same: bool | None = None
    cosine: float | None = None
    veto: str | None = None
    prompt: str = ""
    asked_answer: str | None = None
    cached_answer: str | None = None

    @property
    def label(self) -> bool | None:
        """`same`; where nobody has said, True if the model gave equal answers (but for case and spaces), else None."""
        if self.same is not None:
            return self.same
        answers = [" ".join((answer or "").split()).casefold() for answer in (self.asked_answer, self.cached_answer)]
        return True if answers[0] and answers[0] == answers[1] else None


def read_pairs(path: Path | str) -> list[Pair]:
    """The pairs of a file of JSON lines, in its order; fields that a pair does not have are ignored.

    Raises DatasetError, with file, line, field and value.
    """
    file = Path(path).expanduser()
    try:
        lines = file.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be read: {error.strerror or error}. Name a file of JSON lines such as {_EXAMPLE}."
        ) from None
    return [_pair(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()]


def write_pairs(path: Path | str, pairs: Iterable[Pair]) -> Path:
    """Write pairs as JSON lines, whole or not at all. `same` is in each line, null where it is to be filled in.

    Raises DatasetError if the file cannot be written.
    """
    file = Path(path).expanduser()
    lines = [orjson.dumps(_fields(pair), option=orjson.OPT_APPEND_NEWLINE) for pair in pairs]
    try:
        return write_whole(file, b"".join(lines))
    except OSError as error:
        raise DatasetError(f"{path} cannot be written: {error.strerror or error}. Choose another path.") from None


def _fields(pair: Pair) -> dict[str, Any]:
    always = (*_REQUIRED, "same")
    return {name: value for name, value in asdict(pair).items() if name in always or value not in (None, "")}


def _pair(line: bytes, where: str) -> Pair:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise DatasetError(f"{where}: this is no JSON ({error}). Write one object a line: {_EXAMPLE}.") from None
    if not isinstance(row, dict):
        raise DatasetError(f"{where}: {short_repr(row)} must be an object. Write one a line: {_EXAMPLE}.")
    for name in _REQUIRED:
        if name not in row:
            known = ", ".join(map(str, row)) or "no fields"
            raise DatasetError(f"{where}: the field {name!r} is missing; there is: {known}. Write {_EXAMPLE}.")
    found = {name: row[name] for name in Pair.__slots__ if name in _REQUIRED or row.get(name) is not None}
    for name, value in found.items():
        problem = _problem(name, value)
        if problem:
            raise DatasetError(f"{where}: {name} = {short_repr(value)} must be {problem}")
    return Pair(**found)


def _problem(name: str, value: Any) -> str:
    """What a value must be, and how to mend it; "" if it is."""
    if name == "same":
        fits = value is None or isinstance(value, bool)
        return "" if fits else "true or false, without quotes, or null where nobody has said."
    if name == "cosine":
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        fits = number and abs(value) <= 1 + _ROUNDING
        return "" if fits else "a number from -1 to 1. Leave it out, and it is computed."
    if not isinstance(value, str):
        return "a text, in quotes."
    return "" if value.strip() or name not in _REQUIRED else "a question. Leave the line out if there is none."
