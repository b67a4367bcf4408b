"""Which things of one question are those of the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workbench.cache.guard.items import Item
from workbench.cache.guard.synonyms import groups_of
from workbench.cache.guard.vocabulary import LIGHT_VERBS

__all__ = ["Matched", "matched", "next_solid"]

_MOST = 30  # that are left over and still worth pairing
_TYPO = 6  # letters that a word needs for one of them to be missing or exchanged
_NOUNS = ("ment", "ion", "ing")  # of a verb


@dataclass(frozen=True, slots=True)
class Matched:
    """pairs: {number of an item in one: number in the other}. left, right: what only one of them has."""

    pairs: dict[int, int]
    left: list[Item]
    right: list[Item]


def matched(one: Sequence[Item], other: Sequence[Item]) -> Matched:
    """First what is the same, then what may stand for each other, then prepositions and persons by what they belong to."""
    waiting: dict[str, list[int]] = defaultdict(list)
    for number, item in enumerate(other):
        if item.solid:
            waiting[item.mark.key].append(number)
    pairs = {
        number: waiting[item.mark.key].pop(0)
        for number, item in enumerate(one)
        if item.solid and waiting.get(item.mark.key)
    }
    taken = set(pairs.values())
    left = [number for number, item in enumerate(one) if item.solid and number not in pairs]
    right = [number for number, item in enumerate(other) if item.solid and number not in taken]
    if max(len(left), len(right)) <= _MOST:
        pairs |= _exchangeable(one, other, left, right)
    back = {there: here for here, there in pairs.items()}
    return Matched(
        pairs | _loose(one, other, pairs),
        [one[number] for number in left if number not in pairs and not _idle(number, one, other, pairs)],
        [other[number] for number in right if number not in back and not _idle(number, other, one, back)],
    )


def next_solid(items: Sequence[Item], number: int) -> int:
    """The number of the next solid item; -2 if there is none."""
    return next((after for after in range(number + 1, len(items)) if items[after].solid), -2)


def _exchangeable(one: Sequence[Item], other: Sequence[Item], left: list[int], right: list[int]) -> dict[int, int]:
    """As many pairs as can be made of these (augmenting paths: Kuhn, 1955)."""
    partner: dict[int, int] = {}

    def place(number: int, tried: set[int]) -> bool:
        for there in right:
            if there not in tried and _same(one[number], other[there]):
                tried.add(there)
                if there not in partner or place(partner[there], tried):
                    partner[there] = number
                    return True
        return False

    for number in left:
        place(number, set())
    return {number: there for there, number in partner.items()}


def _same(one: Item, other: Item) -> bool:
    """Forms of one word, synonyms, or one of them misspelt. Numbers and quoted strings must be equal."""
    kinds = {one.mark.kind, other.mark.kind}
    if not kinds.isdisjoint(("numbers", "quotes")):
        return False
    if not one.forms.isdisjoint(other.forms):
        return True
    groups = {group for form in one.forms for group in groups_of(form)}
    if any(not groups.isdisjoint(groups_of(form)) for form in other.forms):
        return True
    return kinds == {"words"} and _misspelt(*sorted((one.mark.key, other.mark.key), key=lambda key: (len(key), key)))


def _misspelt(short: str, long: str) -> bool:
    """A vowel or a doubled letter missing, two letters exchanged, or -ant for -ent: few long words of English differ so."""
    if len(short) < _TYPO or short[0] != long[0] or short.endswith(("ing", "ed")):
        return False
    at = next((at for at, letter in enumerate(short) if letter != long[at]), len(short))
    if len(short) == len(long):
        if len(short) > _TYPO + 1 and short[at : at + 2] == long[at : at + 2][::-1]:
            return short[at + 2 :] == long[at + 2 :]
        endings = ("nt", "nce", "ncy", "ble", "te", "tely")
        return (
            {short[at], long[at]} <= {"a", "e", "i"}
            and short[at + 1 :] == long[at + 1 :]
            and short[at + 1 :] in endings
        )
    if len(long) != len(short) + 1 or short[at:] != long[at + 1 :]:
        return False
    doubled = long[at] == long[at - 1] and long[at] != "s"
    return doubled or (long[at] in "aeiou" and at < len(short) and len(short) > _TYPO)


def _idle(number: int, items: Sequence[Item], others: Sequence[Item], pairs: Mapping[int, int]) -> bool:
    """A verb that only carries the noun behind it: "make a payment" for "pay"."""
    noun = next_solid(items, number)
    if items[number].forms.isdisjoint(LIGHT_VERBS) or noun not in pairs:
        return False
    verb = others[pairs[noun]].mark.key
    return items[noun].mark.key != verb and verb in items[noun].forms and items[noun].mark.key.endswith(_NOUNS)


def _loose(one: Sequence[Item], other: Sequence[Item], pairs: Mapping[int, int]) -> dict[int, int]:
    """Prepositions and persons by the item that they stand before; what is then single on both sides, by itself."""
    found: dict[int, int] = {}
    keys = {item.mark.key for item in one if not item.solid} & {item.mark.key for item in other if not item.solid}
    for key in keys:
        here = [number for number, item in enumerate(one) if item.mark.key == key and not item.solid]
        there = [number for number, item in enumerate(other) if item.mark.key == key and not item.solid]
        for number in tuple(here):
            before = pairs.get(next_solid(one, number), -1)
            fitting = next((far for far in there if next_solid(other, far) == before), None)
            if fitting is not None:
                found[number] = fitting
                here.remove(number)
                there.remove(fitting)
        if len(here) == len(there) == 1:
            found[here[0]] = there[0]
    return found
