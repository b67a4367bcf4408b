"""Scorers that read a value out of the answer: a number within a tolerance, or what a pattern extracts."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal

from workbench.errors import InputError
from workbench.evaluation.scorers.scorer import Scorer, built_in
from workbench.evaluation.scorers.wording import RIGHT, checked_flags, either, short, texts_of
from workbench.records import Example, Score

__all__ = ["as_number", "numbers_in", "numeric", "regex_extract", "within"]

# digits in groups of three, or plain; a sign only where no word or number ends before it ("3-2" is no minus)
_NUMBER = re.compile(
    r"(?<![\w.,])[-+−]?(?:\d{1,3}(?:[,\u00a0\u202f'’]\d{3})+(?!\d)|\d+)?(?:\.\d+|(?<=\d))(?:[eE][-+]?\d{1,4}(?!\w))?"
    r"(?![\d])"
)
_MOST = 400  # characters of a number: what is longer is none
Take = Literal["first", "last", "only"]


def as_number(text: str) -> float | None:
    """The number that a text is, thousands separators allowed; None if it is none, or not finite."""
    plain = re.sub(r"[,\u00a0\u202f'’_]", "", text.strip()).replace("−", "-")
    if len(plain) > _MOST:
        return None
    try:
        value = float(plain)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def numbers_in(text: str) -> list[float]:
    """The numbers of a text, in its order. A decimal point is a point; groups of three may be parted by a comma."""
    found = (as_number(match.group()) for match in _NUMBER.finditer(text) if match.group())
    return [value for value in found if value is not None]


def within(value: float, wanted: float, tolerance: float, relative: float) -> bool:
    """Whether |value - wanted| is at most the larger of `tolerance` and `relative` times |wanted|."""
    # a hair more than nothing, since 0.1 + 0.2 was to be 0.3
    return abs(value - wanted) <= max(tolerance, relative * abs(wanted), 1e-12 * abs(wanted))


def numeric(*, tolerance: float = 0.0, relative: float = 0.0, take: Take = "last") -> Scorer:
    """1 if the number in the answer is `expected`, within a tolerance, else 0.

    tolerance: the difference that does not matter, in the number's own units. relative: the same as a part of `expected`, such
    as 0.01; the larger of both holds. take: which number is the answer's where there are several different ones: the first, the
    last, or with "only" none. Numbers are read with a decimal point and, if any, commas or narrow spaces between thousands;
    signs of currency, percent and units are passed over.

    An answer without a number is wrong, 0. An `expected` that is no number leaves the example unscored.
    """
    for name, value in (("tolerance", tolerance), ("relative", relative)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
            raise InputError(f"numeric: {name} = {value!r} must be a number from 0.")
    _check_take("numeric", take)

    def score(text: str, example: Example) -> Score:
        wanted = texts_of(example)
        if isinstance(wanted, Score):
            return wanted
        targets = []
        for item in wanted:
            target = as_number(item)
            if target is None:
                return Score(None, f"expected {short(item)} is no number")
            targets.append(target)
        found = numbers_in(text)
        if not found:
            return Score(0.0, f"the answer has no number: {short(text)}")
        if take == "only" and len(set(found)) > 1:
            return Score(0.0, f"the answer has several numbers: {', '.join(f'{value:g}' for value in found[:5])}")
        value = found[0] if take == "first" else found[-1]
        if any(within(value, target, tolerance, relative) for target in targets):
            return RIGHT
        return Score(0.0, f"{value:.12g} instead of {' or '.join(f'{target:.12g}' for target in targets)}")

    options = {"tolerance": tolerance, "relative": relative, "take": take}
    return built_in("numeric", score, options, needs_expected=True)


def regex_extract(
    pattern: str,
    *,
    compare: Literal["text", "number"] = "text",
    ignore_case: bool = True,
    take: Take = "last",
    tolerance: float = 0.0,
) -> Scorer:
    r"""1 if what `pattern` extracts from the answer is `expected`, else 0: `regex_extract(r"Answer:\s*(\w+)")`.

    pattern: a regular expression (Python's `re`; see `regex` for what to avoid). Its group `answer` is taken, else its first
    group, else all that matched. compare: as texts, white space around them left out, or as numbers within `tolerance`. take:
    which match counts where there are several: the first, the last, or with "only" none if they differ. ignore_case: of the
    pattern and of the comparison.

    An answer in which nothing is found is wrong, 0, and the explanation says so.
    """
    options = checked_flags("regex_extract", ignore_case=ignore_case)
    if compare not in ("text", "number"):
        raise InputError(f"regex_extract: compare = {compare!r} must be 'text' or 'number'.")
    if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float)) or not 0 <= tolerance < math.inf:
        raise InputError(f"regex_extract: tolerance = {tolerance!r} must be a number from 0.")
    if not isinstance(pattern, str):
        raise InputError(f"regex_extract: pattern = {pattern!r} must be a text.")
    _check_take("regex_extract", take)
    try:
        compiled = re.compile(pattern, re.IGNORECASE if ignore_case else 0)
    except re.error as error:
        raise InputError(f"regex_extract: pattern = {pattern!r} is not a regular expression: {error}.") from None
    group: str | int = "answer" if "answer" in compiled.groupindex else min(1, compiled.groups)

    def score(text: str, example: Example) -> Score:
        wanted = texts_of(example)
        if isinstance(wanted, Score):
            return wanted
        found = [(match.group(group) or "").strip() for match in compiled.finditer(text)]
        if not found:
            return Score(0.0, f"the pattern finds nothing in {short(text)}")
        if take == "only" and len(set(found)) > 1:
            return Score(0.0, f"the pattern finds {either(found[:5])}")
        value = found[0] if take == "first" else found[-1]
        return _as_numbers(value, wanted, tolerance) if compare == "number" else _as_texts(value, wanted, ignore_case)

    spec = {"pattern": pattern, "compare": compare, **options, "take": take, "tolerance": tolerance}
    return built_in("regex_extract", score, spec, needs_expected=True)


def _as_numbers(value: str, wanted: Sequence[str], tolerance: float) -> Score:
    number = as_number(value)
    targets = [as_number(item) for item in wanted]
    if None in targets:
        return Score(None, f"expected {short(wanted[targets.index(None)])} is no number")
    if number is None:
        return Score(0.0, f"extracted {short(value)}, which is no number")
    if any(target is not None and within(number, target, tolerance, 0.0) for target in targets):
        return RIGHT
    return Score(0.0, f"extracted {short(value)} instead of {either(list(wanted))}")


def _as_texts(value: str, wanted: Sequence[str], ignore_case: bool) -> Score:
    def clean(item: str) -> str:
        return item.strip().casefold() if ignore_case else item.strip()

    if clean(value) in map(clean, wanted):
        return RIGHT
    return Score(0.0, f"extracted {short(value)} instead of {either(list(wanted))}")


def _check_take(scorer: str, take: str) -> None:
    if take not in ("first", "last", "only"):
        raise InputError(f"{scorer}: take = {take!r} must be 'first', 'last' or 'only'.")
