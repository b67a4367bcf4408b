"""A text as sentences, clauses and words, with what a comparison needs to know of each word. It reads English."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from workbench.cache.guard.lemmas import bases
from workbench.cache.guard.synonyms import groups_of
from workbench.cache.guard.vocabulary import MONTHS, NUMBERS, PERSONS, PREPOSITIONS, WEAK, words

__all__ = ["Clause", "Sentence", "Word", "alike", "read", "sentences"]

_TOKEN = re.compile(
    r"[-+−]?(?:\d{1,3}(?:[,\u202f\u00a0]\d{3})+|\d+)(?:\.\d+)?(?::\d\d)?|[^\W\d_]+(?:['’][^\W\d_]+)?|[%°$£€]|[,;:()–—]"
)
_END = re.compile(r"(?<=[.!?…])[\"'”’)]*\s+(?=[\"'“‘(]?[A-Z0-9])|\n+")
_SHORT = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|No|vs|e\.g|i\.e|approx|[A-Z])\.$")
_PAUSES = frozenset(",;:()–—")
# a clause may begin with one of these
_JOINTS = words("""
    and but or while whereas although though because since which who whom whose that so after before until unless if when where
    as yet thereby
    """)
_NO_CONTENT = (
    WEAK | PREPOSITIONS | PERSONS.keys() | _JOINTS
    | words("""
    not no never without nor neither none nobody nothing cannot than too also more most less least much many few some any all both
    each every other another such only just even still again ever own same like over under from up down out off between during
    through against around across along near behind below above within per about almost nearly roughly approximately some
    first second last next according due thanks because whose however therefore then now later ago later
    """)
)  # fmt: skip
_LEAST = 3  # words of a clause


@dataclass(frozen=True, slots=True)
class Word:
    """One word at its place. forms: what it may be a form of. groups: of synonyms. content: whether it says what is spoken of.
    name: whether it is part of a proper name."""

    text: str
    lower: str
    forms: frozenset[str]
    groups: frozenset[int]
    content: bool
    name: bool


class Clause:
    """Words that belong together."""

    def __init__(self, found: Sequence[Word], sentence: int) -> None:
        self.words = tuple(found)
        self.sentence = sentence

    @cached_property
    def content(self) -> tuple[Word, ...]:
        """The words that say what it is about."""
        return tuple(word for word in self.words if word.content)

    @cached_property
    def text(self) -> str:
        """As it is read."""
        return " ".join(word.text for word in self.words)


@dataclass(frozen=True, slots=True, eq=False)
class Sentence:
    """text: as written. words: all, punctuation left out. clauses: the same words in parts."""

    text: str
    words: tuple[Word, ...]
    clauses: tuple[Clause, ...]


def alike(one: Word, other: Word) -> bool:
    """Whether they are forms of one word, or may stand for each other."""
    return not one.forms.isdisjoint(other.forms) or not one.groups.isdisjoint(other.groups)


def sentences(text: str) -> list[str]:
    """The sentences of a text, as written; lines of a list are sentences."""
    found: list[str] = []
    for part in _parts(text):
        if found and _SHORT.search(found[-1]):
            found[-1] += " " + part
        else:
            found.append(part)
    return found


def _parts(text: str) -> Iterator[str]:
    for part in _END.split(text):
        stripped = re.sub(r"^\s*(?:[-*•]|\d+[.)])\s+", "", part).strip()
        if re.search(r"\w", stripped):
            yield stripped


def read(text: str, beside: str = "") -> list[Sentence]:
    """The sentences of a text. beside: a text about the same, which tells what is a name and what is not."""
    split = [_TOKEN.findall(sentence) for sentence in sentences(text)]
    both = split + [_TOKEN.findall(sentence) for sentence in sentences(beside)]
    small = frozenset(form for tokens in both for token in tokens if token.islower() for form in _known(token)[0])
    named = {token.lower().removesuffix("'s") for tokens in both for token in tokens[1:] if _capital(token)}
    # two capitals at the beginning of a sentence are a name too
    named |= {tokens[0].lower() for tokens in both if len(tokens) > 1 and _capital(tokens[0]) and _capital(tokens[1])}
    found = []
    for number, (sentence, tokens) in enumerate(zip(sentences(text), split, strict=True)):
        marked = [
            None if token in _PAUSES else _word(token, place == 0 or tokens[place - 1] in ":“", small, named)
            for place, token in enumerate(tokens)
        ]
        found.append(
            Sentence(sentence, tuple(word for word in marked if word is not None), tuple(_clauses(marked, number)))
        )
    return found


def _capital(token: str) -> bool:
    return token[:1].isupper() and token.lower() not in MONTHS and token.lower() not in ("i", "i'm", "i've")


def _word(token: str, first: bool, small: frozenset[str], named: set[str]) -> Word:
    lower = token.lower().replace("’", "'")
    bare = lower.removesuffix("'s").removesuffix("'")
    forms, groups = _known(bare)
    silent = bare in _NO_CONTENT
    name = _capital(token) and not silent and bare not in NUMBERS and (bare in named if first else True)
    if first and name and bare in small:
        name = False
    content = not silent and (token[:1].isalnum() or token[:1] == "%")
    return Word(token, bare, forms, frozenset() if name else groups, content, name)


@lru_cache(maxsize=8192)
def _known(word: str) -> tuple[frozenset[str], frozenset[int]]:
    forms = bases(word) | {word}
    return forms, frozenset().union(*(groups_of(form) for form in forms))


def _clauses(marked: Sequence[Word | None], sentence: int) -> Iterator[Clause]:
    part: list[Word] = []
    waiting: list[list[Word]] = []
    for word in marked:
        joint = word is None or word.lower in _JOINTS
        if joint and len(part) >= _LEAST and any(item.content for item in part):
            waiting.append(part)
            part = []
        if word is not None:
            part.append(word)
    if part:
        if waiting and sum(item.content for item in part) < 2:
            waiting[-1] += part
        else:
            waiting.append(part)
    yield from (Clause(item, sentence) for item in waiting)
