"""What one question asks: its kind, who it speaks of, and the things it names, in order."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

from workbench.cache.guard.lemmas import bases
from workbench.cache.guard.rewrites import HESITATIONS, rewritten
from workbench.cache.guard.scanning import Mark, Scanned
from workbench.cache.guard.synonyms import phrases
from workbench.cache.guard.vocabulary import (
    ABBREVIATED_UNITS,
    DAYS,
    FUTURE,
    KEYWORDS,
    MONTHS,
    NEGATORS,
    NUMBERS,
    ORDINALS,
    PAST,
    PERSONS,
    PREPOSITIONS,
    PRESENT,
    QUANTIFIERS,
    SCALES,
    SYNTAX,
    UNITS,
    WEAK,
)

__all__ = ["Item", "Question", "joined", "read"]

_QUESTIONS = {
    "HOW": "how", "CAN": "can", "MANY": "how many", "LONG": "how long", "how": "how", "why": "why", "when": "when",
    "where": "where", "who": "who", "whom": "who", "whose": "who", "what": "what", "PRICE": "what",
}  # fmt: skip
_AUXILIARIES = {
    "can": "can", "could": "can", "may": "can", "might": "can", "should": "should", "will": "will", "would": "will",
    "shall": "will",
} | dict.fromkeys("is are am was were do does did has have had".split(), "is")  # fmt: skip
_PARTICLES = frozenset("on off out up down back away".split())
_MONTH_SHORT = frozenset("jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri".split())
_PARTICIPLES = frozenset(
    "made built sold bought paid sent held run done won led found founded owned used seen known shown".split()
)
_BE = frozenset("is are am was were be been being get got gets".split())
_DETERMINERS = frozenset("a an the this that these those my your our his her their its any some".split())
_SAYING = frozenset("say spell pronounce".split())
_SAID_UNTIL = frozenset("in to into , .".split())
_SUBJECTS = PERSONS.keys() | {"there", "the", "a", "an", "this", "it"}
_POSSESSIVES = frozenset("my your our his her their".split())
_MONTH_NAMES = frozenset(MONTHS.values())
_NUMBERED = {word: short for short, word in ORDINALS.items()}
_DAY = re.compile(r"(\d\d?)(?:st|nd|rd|th)")
_APART = 3  # words that may stand between a verb and its particle: "turn auto renewal off"


@dataclass(frozen=True, slots=True)
class Item:
    """A mark at its place among the words. solid: must be matched; the others only hold the order.

    after: the word before it, articles and possessives left out. passive: something is done to what it belongs to.
    """

    mark: Mark
    forms: frozenset[str]
    place: int
    solid: bool = True
    after: str = ""
    passive: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """items: in order. kind: how, why, when, …, can, is, do (a request) or "" (words without a verb that asks).

    persons: whom it speaks of. times: past, present, future, as far as the auxiliaries tell. links: and, or.
    helped: "do" (do, does, did), "other" or "" tells "who does X own" from "who owns X". doer: the auxiliary of a yes/no
    question and what follows it, a person or "thing". passive: something is done *by* somebody. known: by its words it is
    English; if not, every word is an item and nothing was rewritten.
    """

    items: tuple[Item, ...]
    kind: str
    persons: frozenset[str]
    times: frozenset[str]
    links: frozenset[str]
    helped: str
    doer: tuple[str, str]
    modals: frozenset[str]
    passive: bool
    known: bool


def joined(words: list[str], others: Collection[str]) -> list[str]:
    """The words, with two made one where the other question writes them as one: "log in" and "login"."""
    found: list[str] = []
    for word in words:
        if (
            found
            and len(found[-1]) + len(word) > 3
            and found[-1] + word in others
            and found[-1].isalpha()
            and word.isalpha()
        ):
            found[-1] += word
        else:
            found.append(word)
    return found


def read(scanned: Scanned, others: Collection[str], *, known: bool) -> Question:
    """`others`: the words of the question that it is compared with. known: either of them is English."""
    if not known:
        reader = _Reader(scanned.words, scanned, known=False)
        reader.run()
        nothing = frozenset[str]()
        return Question(
            tuple(reader.items), "", nothing, nothing, nothing, "", ("", ""), nothing, passive=False, known=False
        )
    plain = [word for word in _mentioned(scanned.words) if word not in HESITATIONS]
    words = rewritten(" ".join(joined(plain, others))).split()
    kind, at = _kind(words, scanned.asks)
    reader = _Reader(words, scanned)
    reader.run()
    found = set(words)
    times = {
        name for name, told in (("past", PAST), ("present", PRESENT), ("future", FUTURE)) if not told.isdisjoint(found)
    }
    if any(word in ("has", "have") and _perfect(words[place + 1 : place + 5]) for place, word in enumerate(words)):
        times = set()  # "why have I been charged" may be said for "why was I charged"
    return Question(
        items=tuple(reader.items),
        kind=kind,
        persons=frozenset(PERSONS[word] for word in words if word in PERSONS),
        times=frozenset(times),
        links=frozenset(found & {"and", "or"}),
        helped="do" if found & {"do", "does", "did"} else "other" if found & _AUXILIARIES.keys() else "",
        doer=_doer(words, at) if kind in _AUXILIARIES.values() else ("", ""),
        modals=frozenset(_AUXILIARIES[word] for word in words if word in _AUXILIARIES) & {"can", "should"},
        passive=any(
            word == "by" and place and _participle(words[place - 1]) and words[place + 1 : place + 2] != ["¤"]
            for place, word in enumerate(words)
        ),
        known=True,
    )


def _asks_when(following: list[str]) -> bool:
    return not following or following[0] in _AUXILIARIES or following[0].startswith("what_")


def _doer(words: list[str], at: int) -> tuple[str, str]:
    following = words[at + 1] if 0 <= at < len(words) - 1 else ""
    if words[at] in ("CAN", "WHETHER") or following in ("there", "it", ""):
        return "", ""
    family = "do" if words[at] in ("do", "does", "did") else _AUXILIARIES.get(words[at], "")
    return family, "thing" if following in _POSSESSIVES else PERSONS.get(following, "thing")


@lru_cache(maxsize=8192)
def _phrases_of(word: str) -> tuple[tuple[str, ...], ...]:
    """The phrases that may begin with this word, longest first."""
    found = [parts for base in bases(word) for parts in phrases().get(base, ())]
    return tuple(sorted(set(found), key=lambda parts: (-len(parts), parts)))


def _perfect(following: list[str]) -> bool:
    return any(word == "been" or _participle(word) for word in following)


def _participle(word: str) -> bool:
    return word.endswith(("ed", "en")) and len(word) > 4 or word in _PARTICIPLES


def _mentioned(words: list[str]) -> list[str]:
    """Small words that are spoken about get a `^`, so that nothing takes them for what they usually do."""
    found, saying = [], False
    for word, following in zip(words, (*words[1:], ""), strict=False):
        saying = word not in _SAID_UNTIL and saying
        named = word in KEYWORDS and following in SYNTAX
        found.append(f"{word}^" if (saying or named) and word.isalpha() else word)
        saying = saying or word in _SAYING
    return found


def _kind(words: list[str], asks: bool) -> tuple[str, int]:
    """What is asked, and the place of the word that says so (-1: none)."""
    inner: tuple[str, int] | None = None
    helper: tuple[str, int] | None = None
    starts = True
    for place, word in enumerate(words):
        if word in (",", "."):
            starts = True
            continue
        if word == "WHETHER":
            rest = words[place + 1 :]
            modal = next((_AUXILIARIES[other] for other in rest if other in _AUXILIARIES), "is")
            return modal, place
        if word.isupper() and word in _QUESTIONS:
            return _QUESTIONS[word], place
        if word == "when" and words[max(place - 1, 0)] != "ASK" and not _asks_when(words[place + 1 : place + 2]):
            starts = False  # "when I click it, …"
        elif word in _QUESTIONS:
            if starts:
                return _QUESTIONS[word], place
            inner = inner or (_QUESTIONS[word], place)
        elif starts and word in _AUXILIARIES:
            return _AUXILIARIES[word], place
        elif helper is None and word in _AUXILIARIES and words[place + 1 : place + 2] and words[place + 1] in _SUBJECTS:
            helper = _AUXILIARIES[word], place
        starts = word == "ASK"
    if found := inner or helper:
        return found
    if "ASK" in words:
        return "what", words.index("ASK")
    return ("is" if asks and not set(words).isdisjoint(_AUXILIARIES) else ""), -1


class _Reader:
    """Walks along the words once."""

    def __init__(self, words: list[str], scanned: Scanned, *, known: bool = True) -> None:
        self.items: list[Item] = []
        self._words = words
        self._scanned = scanned
        self._known = known
        self._particles: set[int] = set()

    def run(self) -> None:
        """Fill `items`."""
        place = 0
        while place < len(self._words):
            place += self._take(place)
        self._days()

    def _days(self) -> None:
        """Beside a month, "1st" and "first" are 1."""
        for number, item in enumerate(self.items):
            if item.mark.key in _MONTH_NAMES:
                for near in (number - 2, number - 1, number + 1):
                    if 0 <= near < len(self.items) and abs(self.items[near].place - item.place) <= 2:
                        other = self.items[near]
                        day = _DAY.fullmatch(_NUMBERED.get(other.mark.key, other.mark.key))
                        if day:
                            mark = Mark(day[1], "dates", other.mark.shown)
                            self.items[near] = Item(mark, frozenset((day[1],)), other.place)

    def _add(self, key: str, kind: str, place: int, shown: str | None = None, *, solid: bool = True) -> None:
        forms = bases(key.removeprefix("what_")) if kind == "words" else frozenset((key,))
        passive = kind == "words" and _participle(key) and not _BE.isdisjoint(self._words[max(place - 5, 0) : place])
        self.items.append(Item(Mark(key, kind, shown or key), forms, place, solid, self._after(place), passive))

    def _after(self, place: int) -> str:
        while place > 0 and self._words[place - 1] in _DETERMINERS:
            place -= 1
        return self._words[place - 1] if place > 0 else "."

    def _take(self, place: int) -> int:
        """Read what begins at this place; how many words it was."""
        words = self._words
        word = words[place]
        if place in self._particles or word in (",", ".", "ASK", "WHETHER", "HOW", "CAN", "MANY", "LONG"):
            return 1
        if word == "PRICE":
            self._add("price", "words", place)
            return 1
        if word[0] == "¤":
            for mark in self._scanned.apart[int(word[1:])]:
                self.items.append(Item(mark, frozenset((mark.key,)), place, after=self._after(place)))
            return 1
        if length := self._phrase(place):
            return length
        if word in NUMBERS or (word in SCALES and place and words[place - 1] in ("a", "1")):
            return self._counted(place)
        if word in SCALES and self._scaled(place, word):
            return 1
        self._single(word, place)
        return 1

    def _single(self, word: str, place: int) -> None:
        before = self.items[-1] if self.items else None
        counted = before is not None and before.mark.kind == "numbers" and before.place == place - 1
        if word in NEGATORS:
            self._add(word, "negation", place)
        elif word == "a" and self._variable(place):
            self._add("a", "names", place)
        elif not self._known and (word in PERSONS or word in PREPOSITIONS or word in WEAK):
            self._add(word, "words", place)
        elif word in PERSONS:
            self._add(word if word in ("me", "us") else PERSONS[word], "person", place, word, solid=False)
        elif counted and word in ABBREVIATED_UNITS:
            self._add(ABBREVIATED_UNITS[word], "units", place, word)
        elif word in PREPOSITIONS:
            self._add(word if word not in ("into", "onto") else word[2:], "order", place, solid=False)
        elif word in WEAK:
            pass
        elif word in UNITS:
            self._add(UNITS[word], "units", place, word)
        elif word in MONTHS and (
            word not in _MONTH_SHORT or counted or word in self._scanned.names or self._near_number(place)
        ):
            self._add(MONTHS[word], "dates", place, word.rstrip("^"))
        elif word in DAYS and (word not in _MONTH_SHORT or word in self._scanned.names):
            self._add(DAYS[word], "dates", place, word)
        elif word in QUANTIFIERS:
            self._add(word, "quantifiers", place)
        elif word in self._scanned.names:
            self._add(word, "names", place, word.capitalize())
        else:
            self._add(word, "words", place, word.removeprefix("what_").rstrip("^"))

    def _scaled(self, place: int, scale: str) -> bool:
        """ "1.5 million": the number before is so many times as large, whatever its currency."""
        for back in (1, 2):
            item = self.items[-back] if len(self.items) >= back else None
            if item is not None and item.mark.kind == "numbers" and item.place == place - 1:
                value = _times(item.mark.key, SCALES[scale])
                mark = Mark(value, "numbers", f"{item.mark.shown} {scale}")
                self.items[-back] = Item(mark, frozenset((value,)), place)
                return True
        return False

    def _variable(self, place: int) -> bool:
        """ "a" beside an operator or at an end is no article."""
        following = self._words[place + 1] if place + 1 < len(self._words) else "."
        if following[0] == "¤":
            return not any(letter.isalnum() for mark in self._scanned.apart[int(following[1:])] for letter in mark.key)
        return following in (",", ".", "and", "or", "to", "is", "by")

    def _near_number(self, place: int) -> bool:
        return place + 1 < len(self._words) and self._words[place + 1][0] == "¤"

    def _phrase(self, place: int) -> int:
        """Take a phrase that stands for one thing, also one that its object parts ("turn it off")."""
        words = self._words
        candidates = _phrases_of(words[place])
        for parts in candidates:
            here = words[place + 1 : place + len(parts)]
            if len(here) == len(parts) - 1 and all(
                part == word or part in bases(word) for part, word in zip(parts[1:], here, strict=True)
            ):
                self._add("_".join(parts), "words", place, " ".join(words[place : place + len(parts)]))
                return len(parts)
        for parts in candidates:
            if len(parts) == 2 and parts[1] in _PARTICLES:
                for there in range(place + 2, min(place + 2 + _APART, len(words))):
                    if words[there] in (",", "."):
                        break
                    ends = there + 1 == len(words) or words[there + 1] in (",", ".")
                    if words[there] == parts[1] and (ends or parts[1] == "off"):
                        self._particles.add(there)
                        self._add("_".join(parts), "words", place, f"{words[place]} {parts[1]}")
                        return 1
        return 0

    def _counted(self, place: int) -> int:
        """A number in words: twenty five, two hundred and fifty, a thousand."""
        words, end = self._words, place
        total = current = 0
        while end < len(words):
            word = words[end]
            if word in NUMBERS:
                current += NUMBERS[word]
            elif word in SCALES:
                scale = SCALES[word]
                current = max(current, 1) * scale
                if scale > 100:
                    total, current = total + current, 0
            elif not (
                word == "and"
                and end > place
                and words[end - 1] in SCALES
                and words[end + 1 : end + 2]
                and words[end + 1] in NUMBERS
            ):
                break
            end += 1
            if word in NUMBERS and NUMBERS[word] < 20 and end < len(words) and words[end] in NUMBERS:
                break  # "nine one one" is not eleven
        self._add(str(total + current), "numbers", place, " ".join(words[place:end]))
        # the place of the last word, so that a unit that follows is seen to
        last = self.items.pop()
        self.items.append(Item(last.mark, last.forms, end - 1))
        return end - place


def _times(digits: str, by: int) -> str:
    whole, _, part = digits.partition(".")
    if not (whole + part).lstrip("-").isdigit():
        return f"{digits}*{by}"
    return str(int(whole + part) * by // 10 ** len(part))
