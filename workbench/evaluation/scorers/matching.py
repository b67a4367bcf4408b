"""Scorers that look for texts in the answer: the same, one of several labels, contained, or matching a pattern."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

from workbench.errors import InputError
from workbench.evaluation.scorers.scorer import Scorer, built_in
from workbench.evaluation.scorers.wording import RIGHT, checked_flags, either, short, texts_of, wrong
from workbench.records import Example, Score

__all__ = ["contains", "exact_match", "one_of_labels", "regex"]


def exact_match(*, strip: bool = True, ignore_case: bool = True, ignore_punctuation: bool = False) -> Scorer:
    """1 if the answer is the `expected` one, else 0.

    strip: white space around is no difference. ignore_case: nor is capitalisation. ignore_punctuation: nor are
    punctuation and the amount of white space. Canonically equivalent Unicode (NFC) is always the same.
    """
    options = checked_flags("exact_match", strip=strip, ignore_case=ignore_case, ignore_punctuation=ignore_punctuation)

    def clean(text: str) -> str:
        text = unicodedata.normalize("NFC", text)
        if ignore_case:
            text = text.casefold()
        if ignore_punctuation:
            text = " ".join("".join(c for c in text if not unicodedata.category(c).startswith("P")).split())
        return text.strip() if strip else text

    def score(text: str, example: Example) -> Score:
        wanted = texts_of(example)
        if isinstance(wanted, Score):
            return wanted
        answer = clean(text)
        return RIGHT if any(answer == clean(item) for item in wanted) else wrong(text, wanted)

    return built_in("exact_match", score, options, needs_expected=True)


def one_of_labels(
    labels: Sequence[str], *, ignore_case: bool = True, take: Literal["first", "last", "only"] = "first"
) -> Scorer:
    """1 if the label that the answer names is `expected`, else 0.

    A label counts where it stands as words of its own: "positive" is found in "**Positive.**", not in "non-positive"
    or "positively". take: which label is the answer's where it names several different ones: the first, the last (for
    models that reason before they answer) or, with "only", none: the answer is then wrong.

    An answer that names no label is wrong, 0, because a model that does not answer the question has failed at it; the
    explanation says so, so that it can be counted. An `expected` that is not one of the labels leaves the example
    unscored: that is a mistake in the data set, not in the answer.
    """
    if isinstance(labels, str) or not isinstance(labels, Sequence):
        raise InputError(
            f"one_of_labels: labels = {labels!r} must be a list of texts, such as ['positive', 'negative']."
        )
    if len(labels) < 2 or not all(isinstance(label, str) and label.strip() for label in labels):
        raise InputError(f"one_of_labels: labels = {list(labels)!r} must be at least two texts, none of them empty.")
    if take not in ("first", "last", "only"):
        raise InputError(f"one_of_labels: take = {take!r} must be 'first', 'last' or 'only'.")
    options = checked_flags("one_of_labels", ignore_case=ignore_case)

    def key(text: str) -> str:
        text = " ".join(unicodedata.normalize("NFC", text).split())
        return text.casefold() if ignore_case else text

    known = {key(label): label.strip() for label in labels}
    if len(known) < len(labels):
        raise InputError(f"one_of_labels: labels = {list(labels)!r} holds the same label twice.")
    # The longest first, so that "very positive" is not read as "positive". An underscore or a hyphen joins words.
    choices = "|".join(re.escape(item).replace(r"\ ", r"\s+") for item in sorted(known, key=len, reverse=True))
    pattern = re.compile(rf"(?<![^\W_])(?<![^\W_][-_])(?:{choices})(?![^\W_])(?![-_][^\W_])")

    def score(text: str, example: Example) -> Score:
        wanted = texts_of(example)
        if isinstance(wanted, Score):
            return wanted
        right = {key(item) for item in wanted}
        if stray := [item for item in wanted if key(item) not in known]:
            return Score(None, f"expected {short(stray[0])} is not one of the labels {', '.join(known.values())}")
        normal = unicodedata.normalize("NFC", text)
        found = [key(match.group()) for match in pattern.finditer(normal.casefold() if ignore_case else normal)]
        if not found:
            return Score(0.0, f"the answer names no label: {short(text)}")
        chosen = found[-1] if take == "last" else found[0]
        others = [known[item] for item in dict.fromkeys(found) if item != chosen]
        note = f"; the answer also names {', '.join(others)}" if others else ""
        if take == "only" and others:
            return Score(0.0, f"the answer names several labels: {known[chosen]}, {', '.join(others)}")
        if chosen in right:
            return Score(1.0, f"{known[chosen]}{note}" if note else "")
        return Score(0.0, f"{known[chosen]} instead of {either(wanted)}{note}")

    return built_in("one_of_labels", score, {"labels": list(labels), **options, "take": take}, needs_expected=True)


def contains(*, ignore_case: bool = True, every: bool = False) -> Scorer:
    """1 if `expected` occurs in the answer, else 0. every: of a list, all must occur, instead of any."""
    options = checked_flags("contains", ignore_case=ignore_case, every=every)

    def clean(text: str) -> str:
        text = unicodedata.normalize("NFC", text)
        return text.casefold() if ignore_case else text

    def score(text: str, example: Example) -> Score:
        wanted = texts_of(example)
        if isinstance(wanted, Score):
            return wanted
        if not all(wanted):
            return Score(None, "'expected' is an empty text, which every answer contains")
        answer = clean(text)
        missing = [item for item in wanted if clean(item) not in answer]
        if not missing or (len(missing) < len(wanted) and not every):
            return RIGHT
        return Score(0.0, f"{' and '.join(map(short, missing))} not in {short(text)}")

    return built_in("contains", score, options, needs_expected=True)


def regex(pattern: str, *, ignore_case: bool = False, whole: bool = False) -> Scorer:
    """1 if the regular expression `pattern` (Python's `re`) is found in the answer, else 0; `expected` is not read.

    whole: it must match the whole answer, white space around it left out. Avoid nested repeats such as `(a+)+`: on long
    answers `re` may take for ever, and nothing can interrupt it.
    """
    options = checked_flags("regex", ignore_case=ignore_case, whole=whole)
    if not isinstance(pattern, str):
        raise InputError(f"regex: pattern = {pattern!r} must be a text.")
    try:
        compiled = re.compile(pattern, re.IGNORECASE if ignore_case else 0)
    except re.error as error:
        raise InputError(f"regex: pattern = {pattern!r} is not a regular expression: {error}.") from None

    def score(text: str, example: Example) -> Score:
        if compiled.fullmatch(text.strip()) if whole else compiled.search(text):
            return RIGHT
        return Score(0.0, f"no match in {short(text)}")

    return built_in("regex", score, {"pattern": pattern, **options})
