"""What one question asks: how, why, whether, of whom, when; and what it names."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from workbench.cache.guard import vocabulary as of
from workbench.cache.guard.frames import unframed
from workbench.cache.guard.items import Item, items_of
from workbench.cache.guard.rewrites import HESITATIONS, rewritten
from workbench.cache.guard.scanning import Scanned

__all__ = ["Question", "read"]

_ASKING = {
    "HOW": "how", "CAN": "can", "WAY": "way", "MANY": "how many", "LONG": "how long", "how": "how", "why": "why", "when": "when",
    "where": "where", "who": "who", "whom": "who", "whose": "who", "what": "what", "PRICE": "what",
}  # fmt: skip
_YES_NO = frozenset(of.AUXILIARIES.values())
_SUBJECTS = of.PERSONS.keys() | {"there", "the", "a", "an", "this", "it"}
_SAYING = of.words("say spell pronounce")
_SAID_UNTIL = of.words("in to into , .")
_DO = of.words("do does did")
_PRECISION = (of.words("exactly precisely"), of.words("roughly approximately"))
_PRECISE = frozenset[str]().union(*_PRECISION)
_STRANDED = of.words("to for with by about of")
_NOBODY = frozenset[str]()


@dataclass(frozen=True, slots=True)
class Question:
    """items: what it names, in order. known: it is English; if not, the rest is empty.

    kind: how, why, when, what, …; can, should, will or is (yes or no); want ("I want to …"); or "" for words that ask nothing.
    persons: whom it speaks of. times: past, present, future, as far as auxiliaries tell. links: and, or.
    modals: can, should. helped: "do", "other" or "" tells "who does X own" from "who owns X".
    doer: the auxiliary of a yes/no question, and the person behind it or "thing". passive: done *by* somebody.
    ends: prepositions that nothing follows: "who is it for".
    """

    items: tuple[Item, ...]
    known: bool = True
    kind: str = ""
    persons: frozenset[str] = _NOBODY
    times: frozenset[str] = _NOBODY
    links: frozenset[str] = _NOBODY
    modals: frozenset[str] = _NOBODY
    helped: str = ""
    doer: tuple[str, str] = ("", "")
    passive: bool = False
    ends: frozenset[str] = _NOBODY


def read(scanned: Scanned, others: Collection[str], *, known: bool) -> Question:
    """`others`: the words of the question that it is compared with. known: either of them is English."""
    if not known:
        return Question(items_of(scanned.words, scanned, known=False), known=False)
    plain = _without_hesitations(_mentioned(scanned.words), others)
    words = rewritten(" ".join(_joined(unframed(plain), others))).split()
    kind, place = _kind(words, asks=scanned.asks)
    found = set(words)
    helpers = found & of.AUXILIARIES.keys()
    return Question(
        items=items_of(words, scanned, known=True),
        kind=kind,
        persons=frozenset(of.PERSONS[word] for word in words if word in of.PERSONS),
        times=_times(words),
        links=frozenset(found & {"and", "or"}),
        modals=frozenset(of.AUXILIARIES[word] for word in helpers) & {"can", "should"},
        helped="do" if found & {"do", "does", "did"} else "other" if helpers else "",
        doer=_doer(words, place) if kind in _YES_NO else ("", ""),
        passive=_by_somebody(words, scanned),
        ends=frozenset(
            word
            for word, after in zip(words, (*words[1:], "."), strict=False)
            if word in _STRANDED and after in (",", ".")
        ),
    )


def _mentioned(words: Sequence[str]) -> list[str]:
    """Small words that are spoken about get a `^`, so that nothing takes them for what they usually do."""
    found, saying = [], False
    for before, word, following in zip(("", *words), words, (*words[1:], ""), strict=False):
        saying = saying and word not in _SAID_UNTIL
        named = (word in of.KEYWORDS and following in of.SYNTAX) or (before in _DO and following == "mean")
        found.append(f"{word}^" if (saying or named) and word.isalpha() else word)
        saying = saying or word in _SAYING
    return found


def _without_hesitations(words: Sequence[str], others: Collection[str]) -> list[str]:
    """Behind an article it tells something ("a just war"); so does "exactly" where the other question says "roughly"."""
    against = {word for opposites in _PRECISION if not opposites.isdisjoint(others) for word in _PRECISE - opposites}
    found = []
    for before, word in zip(("", *words), words, strict=False):
        if word not in HESITATIONS:
            found.append(word)
        elif word in against or before in ("a", "an"):
            found.append(f"{word}^")
    return found


def _joined(words: list[str], others: Collection[str]) -> list[str]:
    """The words, with two made one where the other question writes them as one: "log in" and "login"."""
    found: list[str] = []
    for word in words:
        both = found[-1] + word if found else ""
        if len(both) > 3 and both in others and both.isalpha():
            found[-1] = both
        else:
            found.append(word)
    return found


def _kind(words: Sequence[str], *, asks: bool) -> tuple[str, int]:
    """What is asked, and the place of the word that says so (-1: none)."""
    inner: tuple[str, int] | None = None
    helper: tuple[str, int] | None = None
    starts = True
    for place, word in enumerate(words):
        following = words[place + 1] if place + 1 < len(words) else "."
        if word in (",", "."):
            starts = True
            continue
        if word == "WHETHER":
            return next((of.AUXILIARIES[other] for other in words[place:] if other in of.AUXILIARIES), "is"), place
        if word.isupper() and word in _ASKING:
            return _ASKING[word], place
        if word == "when" and words[max(place - 1, 0)] != "ASK" and not _asks_when(following):
            starts = False  # "when I click it, …"
        elif word in _ASKING:
            if starts:
                return _ASKING[word], place
            inner = inner or (_ASKING[word], place)
        elif word in of.AUXILIARIES:
            if starts:
                return of.AUXILIARIES[word], place
            if following in _SUBJECTS:
                helper = helper or (of.AUXILIARIES[word], place)
        starts = word == "ASK"
    if found := inner or helper:
        return found
    if "WANT" in words:
        return "want", -1
    if "ASK" in words:
        return "what", words.index("ASK")
    if asks and [word for word in words if word not in (",", ".")][-1:] and words[-1 - (words[-1] == ".")] in of.BE:
        return "what", -1  # "the capital of France is?"
    return ("is" if asks and ("TAG" in words or not of.AUXILIARIES.keys().isdisjoint(words)) else ""), -1


def _asks_when(following: str) -> bool:
    return following == "." or following in of.AUXILIARIES or following.startswith("what_")


def _times(words: Sequence[str]) -> frozenset[str]:
    """Of a perfect none: "why have I been charged" may be said for "why was I charged"."""
    for place, word in enumerate(words):
        if word in ("has", "have") and any(
            other == "been" or of.participle(other) for other in words[place + 1 : place + 5]
        ):
            return _NOBODY
    told = (("past", of.PAST), ("present", of.PRESENT), ("future", of.FUTURE))
    return frozenset(name for name, telling in told if not telling.isdisjoint(words))


def _doer(words: Sequence[str], place: int) -> tuple[str, str]:
    behind = words[place + 1 :] if place >= 0 else []
    following = next((word for word in behind if word != "not"), "")
    if words[place] in ("CAN", "WHETHER") or following in ("there", "it", ""):
        return "", ""
    helper = "do" if words[place] in ("do", "does", "did") else of.AUXILIARIES.get(words[place], "")
    return helper, "thing" if following in of.POSSESSIVES else of.PERSONS.get(following, "thing")


def _by_somebody(words: Sequence[str], scanned: Scanned) -> bool:
    """Not by some time or number."""
    for place, word in enumerate(words[1:], start=1):
        if word == "by" and of.participle(words[place - 1]):
            following = words[place + 1] if place + 1 < len(words) else "."
            marks = scanned.apart[int(following[1:])] if following[0] == "¤" else ()
            if following not in of.DAYS and not any(mark.kind in ("numbers", "dates") for mark in marks):
                return True
    return False
