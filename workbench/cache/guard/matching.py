"""Which things of one question are those of the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workbench.cache.guard.items import Item
from workbench.cache.guard.spelling import misspelt
from workbench.cache.guard.synonyms import groups_of
from workbench.cache.guard.vocabulary import LIGHT_VERBS

__all__ = ["Matched", "matched", "next_solid"]

_MOST = 30  # that are left over and still worth pairing
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
        [one[number] for number in left if number not in pairs and not _spare(number, one, other, pairs)],
        [other[number] for number in right if number not in back and not _spare(number, other, one, back)],
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
    if not kinds.isdisjoint(("numbers", "quotes")) or kinds == {"identifiers"}:
        return False
    if not one.forms.isdisjoint(other.forms):
        return True
    groups = {group for form in one.forms for group in groups_of(form)}
    if any(not groups.isdisjoint(groups_of(form)) for form in other.forms):
        return True
    return kinds == {"words"} and misspelt(one.mark.key, other.mark.key)


def _spare(number: int, items: Sequence[Item], others: Sequence[Item], pairs: Mapping[int, int]) -> bool:
    return _repeated(number, items, pairs) or _idle(number, items, others, pairs)


def _repeated(number: int, items: Sequence[Item], pairs: Mapping[int, int]) -> bool:
    """The word again in another sentence ("It is broken. How do I return the broken one?"), or joined with a synonym ("signs and
    symptoms"). In the same sentence it counts: "can a tenant sue a tenant"."""
    item = items[number]
    if item.mark.kind not in ("words", "names"):
        return False
    for there, other in enumerate(items):
        if there in pairs and other.mark.kind == item.mark.kind:
            if item.mark.key == other.mark.key and item.sentence != other.sentence:
                return True
            latter = item if there < number else other
            joined = abs(there - number) == 1 and latter.after in ("and", "or")
            if joined and _same(item, other):
                return True
    return False


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
