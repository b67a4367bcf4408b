"""Numbers, dates and names: what an answer may not say otherwise than its context."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workbench.cache.guard.vocabulary import MONTHS, NUMBERS, SCALES
from workbench.evaluation.grounding.reading import Sentence, Word

__all__ = ["Facts", "Number", "facts_of", "unknown_name", "unknown_number"]

_FRACTIONS = {"half": 0.5, "halve": 0.5, "halved": 0.5, "third": 1 / 3, "quarter": 0.25, "fifth": 0.2, "tenth": 0.1}
_PLURAL = {"halves": 0.5, "thirds": 1 / 3, "quarters": 0.25, "fifths": 0.2, "tenths": 0.1}
_TIMES = {
    "twice": 2.0,
    "double": 2.0,
    "thrice": 3.0,
    "triple": 3.0,
    "both": 2.0,
    "once": 1.0,
    "decade": 10.0,
    "fortnight": 2.0,
}
_DAYS = frozenset(("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"))
_NOON = {"noon": 12.0, "midday": 12.0, "midnight": 0.0}
_DIGITS = re.compile(r"[\d,\u202f\u00a0]+(?:\.\d+)?")
_SLACK = 0.03  # "around 70" for 71


@dataclass(frozen=True, slots=True)
class Number:
    """value, and the word that it counts; written: as in the text; digits: not as a word."""

    value: float
    written: str
    digits: bool
    sentence: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What a text names. dates: months and days of the week, and "14 may"."""

    numbers: tuple[Number, ...]
    months: frozenset[str]
    days: frozenset[str]
    dated: frozenset[tuple[int, str]]
    names: tuple[Word, ...]


def facts_of(sentences: Sequence[Sentence]) -> Facts:
    """Of all its sentences."""
    numbers: list[Number] = []
    months, days, dated, names = set(), set(), set(), []
    for place, sentence in enumerate(sentences):
        numbers += _numbers(sentence.words, place)
        for at, word in enumerate(sentence.words):
            month = MONTHS.get(word.lower)
            # "may" is a month if it is written large, and not only because a sentence begins
            if month and word.text[:1].isupper() and (month != "may" or at or len(sentence.words) == 1):
                months.add(month)
                for near in (at - 1, at + 1):
                    if 0 <= near < len(sentence.words) and re.fullmatch(r"[0-3]?\d", sentence.words[near].text):
                        dated.add((int(sentence.words[near].text), month))
            day = word.lower.removesuffix("s")
            if day in _DAYS:
                days.add(day)
            if word.name and day not in _DAYS:
                names.append(word)
    return Facts(tuple(numbers), frozenset(months), frozenset(days), frozenset(dated), tuple(names))


def _numbers(words: Sequence[Word], sentence: int) -> Iterable[Number]:
    at = 0
    while at < len(words):
        value, used = _number_at(words, at)
        if value is None or not math.isfinite(value):
            at += 1
            continue
        written = " ".join(word.text for word in words[at : at + used])
        yield Number(value, written, any(character.isdigit() for character in written), sentence)
        at += used


def _number_at(words: Sequence[Word], at: int) -> tuple[float | None, int]:
    word = words[at]
    if word.text[-1].isdigit() and (word.text[0].isdigit() or word.text[0] in "-+−"):
        if ":" in word.text:
            hours, minutes = word.text.lstrip("-+−").split(":")
            return int(hours.replace(",", "") or 0) + int(minutes) / 60, 1
        plain = re.sub(r"[,\u202f\u00a0−+-]", "", word.text)
        return _scaled(float(plain), words, at, 1)
    for table in (_NOON, _TIMES, _PLURAL):
        if word.lower in table:
            return table[word.lower], 1
    if (
        word.lower in _FRACTIONS
        and at
        and words[at - 1].lower in ("a", "one", "by", "about", "almost", "of", "to", "the")
    ):
        return _FRACTIONS[word.lower], 1
    if word.lower in _FRACTIONS and word.lower.startswith("hal"):
        return 0.5, 1
    if word.lower == "dozen":
        return 12.0, 1
    if word.lower in NUMBERS and word.lower != "one":
        value, used = float(NUMBERS[word.lower]), 1
        following = words[at + 1].lower if at + 1 < len(words) else ""
        if value >= 20 and value % 10 == 0 and 0 < NUMBERS.get(following, 0) < 10:
            value, used = value + NUMBERS[following], 2
        if following in _PLURAL:
            return value * _PLURAL[following], 2
        return _scaled(value, words, at, used)
    return None, 1


def _scaled(value: float, words: Sequence[Word], at: int, used: int) -> tuple[float, int]:
    while at + used < len(words) and words[at + used].lower in SCALES:
        value, used = value * SCALES[words[at + used].lower], used + 1
    if at + used < len(words) and words[at + used].lower in ("percent", "%") and value <= 100:
        used += 1
    return value, used


def unknown_number(number: Number, context: Facts) -> bool:
    """Whether the context has no such number, none near to it where it is a round one, and none from which it follows."""
    known = [item.value for item in context.numbers]
    if any(abs(number.value - value) <= 1e-9 * max(1.0, abs(value)) for value in known):
        return False
    # a part as percent, and what is left of it
    others = (number.value * 100, number.value / 100, 1 - number.value, 100 - number.value, 1 - number.value / 100)
    if any(abs(other - value) <= 1e-6 * max(1.0, abs(value)) for other in others for value in known if value):
        return False
    if _round(number.value) and any(abs(number.value - value) <= _SLACK * value for value in known if value):
        return False
    return number.digits or not _follows(number.value, known)


def _round(value: float) -> bool:
    """Whether it looks like an estimate: one or two digits that tell, then zeros."""
    digits = f"{value:.12g}".rstrip("0").rstrip(".")
    if value != int(value) or 1000 <= value <= 2100:  # a year is no estimate
        return False
    return value >= 20 and len(digits) < len(f"{value:.12g}")


def _follows(value: float, known: Sequence[float]) -> bool:
    """Whether it is a small number that could be counted, or a difference or sum of two: not a contradiction."""
    if value <= 3:
        return True
    pairs = ((one, other) for place, one in enumerate(known) for other in known[place + 1 :])
    return any(
        abs(abs(one - other) - value) < 1e-6 or abs(one + other - value) < 1e-6
        or abs(abs(one - other) * 60 - value) < 1e-6
        for one, other in pairs
    )  # fmt: skip


def unknown_name(name: Word, context: Sequence[Sentence]) -> bool:
    """Whether the context nowhere has this word, nor one from which it is made ("Swedish", "Sweden")."""
    own = name.lower
    for sentence in context:
        for word in sentence.words:
            if word.lower == own or not word.forms.isdisjoint(name.forms):
                return False
            if len(own) > 4 and len(word.lower) > 4 and word.lower[:5] == own[:5] and word.text[:1].isupper():
                return False
    return own.isalpha()
