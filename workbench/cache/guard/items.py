"""The things that one question names, in order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from workbench.cache.guard import vocabulary as of
from workbench.cache.guard.lemmas import bases
from workbench.cache.guard.scanning import Mark, Scanned
from workbench.cache.guard.synonyms import phrases

__all__ = ["Item", "items_of"]

_SILENT = of.words(", . ASK WHETHER WANT WAY TAG HOW CAN MANY LONG")
_PARTICLES = of.words("on off out up down back away")
_SHORT_DAYS = of.words("jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri")
_MONTHS = frozenset(of.MONTHS.values())
# what a word is, if it is several things: the last of these
_ROLES = {
    word: role
    for role, several in (
        ("weak", of.WEAK), ("numbers", tuple(of.ORDINALS.values())[2:]), ("quantifiers", of.QUANTIFIERS), ("days", of.DAYS),
        ("months", of.MONTHS), ("units", of.UNITS), ("order", of.PREPOSITIONS), ("person", of.PERSONS),
        ("negation", of.NEGATORS),
    )
    for word in several
}  # fmt: skip
_SMALL = of.words("weak order person")
_NO_UNITS = of.words("in a us")  # written apart from the number they are words
_ORDINALS = {word: short for short, word in of.ORDINALS.items()}
_DAY = re.compile(r"(\d\d?)(?:st|nd|rd|th)")
_BREAKS = of.PREPOSITIONS | {",", "."}
_SUBJECTS = of.DETERMINERS | of.PERSONS.keys()
_APART = 3  # words that may stand between a verb and its particle: "turn auto renewal off"


class Item(NamedTuple):
    """A mark at its place among the words. forms: what it may be a form of.

    solid: must be matched; prepositions and persons only hold the order. after: the word before it, articles and
    possessives left out. passive: something is done to what it belongs to. sentence: the number of its own.
    wide: a negation right behind the auxiliary of a question ("won't the machine spin"), far from its verb.
    """

    mark: Mark
    forms: frozenset[str]
    place: int
    solid: bool
    after: str
    passive: bool
    sentence: int
    wide: bool


def items_of(words: Sequence[str], scanned: Scanned, *, known: bool) -> tuple[Item, ...]:
    """words: rewritten ones of `scanned`. known: they are English; if not, every word is something named."""
    reader = _Reader(words, scanned, known=known)
    place = 0
    while place < len(words):
        place += reader.take(place)
    return tuple(_days(reader.items))


class _Reader:
    """Walks along the words once."""

    def __init__(self, words: Sequence[str], scanned: Scanned, *, known: bool) -> None:
        self.items: list[Item] = []
        self._words = words
        self._scanned = scanned
        self._known = known
        self._particles: set[int] = set()
        self._sentence = 0

    def take(self, place: int) -> int:
        """Read what begins at this place; how many words it was."""
        word = self._words[place]
        self._sentence += word == "."
        if word in _SILENT or place in self._particles:
            return 1
        if word[0] == "¤":
            for mark in self._scanned.apart[int(word[1:])]:
                self._add(mark, place)
            return 1
        if length := self._phrase(place):
            return length
        if word in of.NUMBERS or (word in of.SCALES and place and self._words[place - 1] in ("a", "1")):
            return self._number(place)
        if not (word in of.SCALES and self._multiplied(word, place)):
            self._single(word, place)
        return 1

    def _add(self, mark: Mark, place: int, *, solid: bool = True) -> None:
        plain = mark.kind == "words"
        forms = bases(mark.key.removeprefix("what_")) if plain else frozenset((mark.key,))
        passive = plain and of.participle(mark.key) and not of.BE.isdisjoint(self._words[max(place - 5, 0) : place])
        before = place - 1
        while before >= 0 and self._words[before] in of.DETERMINERS:
            before -= 1
        after = self._words[before] if before >= 0 else "."
        wide = mark.key == "not" and self._words[place + 1 : place + 2] != [] and self._words[place + 1] in _SUBJECTS
        self.items.append(Item(mark, forms, place, solid, after, passive, self._sentence, wide))

    def _single(self, word: str, place: int) -> None:
        """One word that is part of no phrase."""
        role = _ROLES.get(word, "")
        if word == "a" and self._is_variable(place):
            role = "variable"
        elif role in _SMALL and not self._known:
            role = ""
        elif role == "weak" and not self._counted(place):
            return
        named = word in self._scanned.names
        key, kind = word, "names" if named or role == "variable" else "words"
        if word in of.ABBREVIATED_UNITS and word not in _NO_UNITS and self._counted(place):
            key, kind = of.ABBREVIATED_UNITS[word], "units"
        elif role == "person":
            key, kind = word if word in ("me", "us") else of.PERSONS[word], role
        elif role == "order":
            key, kind = {"into": "to", "onto": "to"}.get(word, word), role
        elif role == "units":
            key, kind = of.UNITS[word], role
        elif role == "months" and (
            word not in _SHORT_DAYS or named or self._counted(place) or self._before_number(place)
        ):
            key, kind = of.MONTHS[word], "dates"
        elif role == "days" and (word not in _SHORT_DAYS or named):
            key, kind = of.DAYS[word], "dates"
            if ":" in key and self._counted(place) and self.items[-1].mark.key == "12":
                self.items.pop()  # 12 noon
        elif role in ("negation", "quantifiers", "numbers"):
            kind = role
        elif role == "weak":
            return
        shown = word.removeprefix("what_").rstrip("^").lower()
        mark = Mark("price" if word == "PRICE" else key, kind, shown.capitalize() if named else shown)
        self._add(mark, place, solid=kind not in ("person", "order"))

    def _counted(self, place: int) -> bool:
        """Whether a number stands right before."""
        return bool(self.items) and self.items[-1].place == place - 1 and self.items[-1].mark.kind == "numbers"

    def _is_variable(self, place: int) -> bool:
        """`a` beside an operator or at an end is no article."""
        following = self._words[place + 1] if place + 1 < len(self._words) else "."
        if following[0] == "¤":
            return not any(letter.isalnum() for mark in self._scanned.apart[int(following[1:])] for letter in mark.key)
        return following in (",", ".", "and", "or", "to", "is", "by")

    def _before_number(self, place: int) -> bool:
        return place + 1 < len(self._words) and self._words[place + 1][0] == "¤"

    def _phrase(self, place: int) -> int:
        """Take a phrase that stands for one thing, also one that its object parts ("turn it off")."""
        words = self._words
        candidates = _phrases_of(words[place])
        for parts in candidates:
            here = words[place + 1 : place + len(parts)]
            if len(here) == len(parts) - 1 and all(map(_is_form, parts[1:], here)):
                self._add(Mark("_".join(parts), "words", " ".join((words[place], *here))), place)
                return len(parts)
        for parts in candidates:
            if len(parts) == 2 and parts[1] in _PARTICLES and (there := self._particle(parts[1], place)):
                self._particles.add(there)
                self._add(Mark("_".join(parts), "words", f"{words[place]} {parts[1]}"), place)
                return 1
        return 0

    def _particle(self, particle: str, place: int) -> int:
        """Where it stands behind the object of the verb at `place`; 0 if it does not."""
        for there in range(place + 2, min(place + 2 + _APART, len(self._words))):
            word, following = self._words[there], self._words[there + 1 : there + 2]
            if word in (",", "."):
                break
            if word == particle and (particle == "off" or not following or following[0] in _BREAKS):
                return there
        return 0

    def _number(self, place: int) -> int:
        """A number in words: twenty five, two hundred and fifty, a thousand."""
        words, end = self._words, place
        total = current = 0
        while end < len(words):
            word = words[end]
            if word in of.NUMBERS:
                current += of.NUMBERS[word]
            elif word in of.SCALES:
                current = max(current, 1) * of.SCALES[word]
                if of.SCALES[word] > 100:
                    total, current = total + current, 0
            elif (
                word != "and"
                or words[end - 1] not in of.SCALES
                or of.NUMBERS.keys().isdisjoint(words[end + 1 : end + 2])
            ):
                break
            end += 1
            if of.NUMBERS.get(word, 20) < 20 and end < len(words) and words[end] in of.NUMBERS:
                break  # "nine one one" is not eleven
        self._add(Mark(str(total + current), "numbers", " ".join(words[place:end])), place)
        self.items[-1] = self.items[-1]._replace(place=end - 1)  # where a unit follows
        return end - place

    def _multiplied(self, scale: str, place: int) -> bool:
        """ "1.5 million": the number before is so many times as large, whatever its currency."""
        for back in (1, 2):
            item = self.items[-back] if len(self.items) >= back else None
            if item is not None and item.mark.kind == "numbers" and item.place == place - 1:
                whole, _, part = item.mark.key.partition(".")
                if not (whole + part).lstrip("-").isdigit():
                    return False
                key = str(int(whole + part) * of.SCALES[scale] // 10 ** len(part))
                mark = Mark(key, "numbers", f"{item.mark.shown} {scale}")
                self.items[-back] = item._replace(mark=mark, forms=frozenset((key,)), place=place)
                return True
        return False


def _days(items: list[Item]) -> list[Item]:
    """Beside a month, "1st" and "first" are 1."""
    for number, month in enumerate(items):
        if month.mark.key not in _MONTHS:
            continue
        for near in (number - 2, number - 1, number + 1):
            if 0 <= near < len(items) and abs(items[near].place - month.place) <= 2:
                mark = items[near].mark
                if day := _DAY.fullmatch(_ORDINALS.get(mark.key, mark.key)):
                    items[near] = items[near]._replace(
                        mark=Mark(day[1], "dates", mark.shown), forms=frozenset((day[1],))
                    )
    return items


def _is_form(part: str, word: str) -> bool:
    return part == word or part in bases(word)


@lru_cache(maxsize=8192)
def _phrases_of(word: str) -> tuple[tuple[str, ...], ...]:
    """The phrases that may begin with this word, longest first."""
    found = {parts for base in bases(word) for parts in phrases().get(base, ())}
    return tuple(sorted(found, key=lambda parts: (-len(parts), parts)))
