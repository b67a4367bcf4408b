"""Why an answer to one question may be wrong for another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from workbench.cache.guard import vocabulary as of
from workbench.cache.guard.items import Item
from workbench.cache.guard.lemmas import bases
from workbench.cache.guard.matching import matched, next_solid
from workbench.cache.guard.reading import Question

__all__ = ["difference"]

# which kind of difference is named when there are several
_RANK = ("numbers", "units", "dates", "negation", "identifiers", "quotes", "names", "quantifiers", "words")
# kinds of question that one answer serves
_ALIKE = {frozenset(pair) for pair in (("what", ""), ("want", ""), ("want", "how"), ("way", "how"), ("way", "can"))}
# "what is the deadline" asks when
_TIMELY = of.words("deadline due_date date time birthday anniversary expiry departure arrival start end")
_SOON = of.words("tomorrow tonight weekend next upcoming")
_CAN_SHOULD = {frozenset(("can",)), frozenset(("should",))}
_NEEDED = of.words("need require")  # what is needed is what I need
# who wants this needs another answer than who asks how
_GRAVE = of.words("die kill suicide harm hurt self-harm cut overdose end")
_CONDITIONS = of.words("if unless because")
_FOR_IN, _TO_IN = frozenset(("for", "in")), frozenset(("to", "in"))
_MOVING = of.words(
    "train flight bus ferry travel fly drive ride move go trip ticket ship deliver delivery shipping send"
)


def difference(one: Question, other: Question) -> str | None:
    """`kind: what`, or None. Both questions were read as English, or neither."""
    found = matched(one.items, other.items)
    if reason := _things(found.left, found.right):
        return reason
    if not one.known:
        places = [found.pairs[number] for number in sorted(found.pairs)]
        return None if places == sorted(places) else "order: the words stand in another order"
    voice = _voice(one.items, other.items, found.pairs)
    if one.passive != other.passive and voice != "swapped":
        return "order: only one says by whom"
    # things need no somebody: "when does it renew" is "when is it renewed"
    somebody = one.kind == other.kind == "who" or bool(one.doer[0] and other.doer[0])
    if voice == "kept by somebody" or (voice == "kept" and somebody):
        return "order: in one it does something, in the other something is done to it"
    return (
        _reach(one.items, other.items, found.pairs)
        or _asking(one, other)
        or _people(one, other, turned=voice in ("turned", "swapped"))
        or _times(one, other, found.pairs)
        or _prepositions(one.items, other.items, found.pairs)
        or (None if voice == "swapped" else _order(one.items, other.items, found.pairs))
    )


def _things(left: list[Item], right: list[Item]) -> str | None:
    """What only one of them names. Some words may be in one alone, but not another such word in the other."""
    for kind, sides in (
        ("quantifiers", [[item for item in side if item.mark.kind == "quantifiers"] for side in (left, right)]),
        ("question", [[item for item in side if item.mark.key.startswith("what_")] for side in (left, right)]),
    ):
        if all(sides):
            return f"{kind}: {_shown(sides[0])} against {_shown(sides[1])}"
    left, right = ([item for item in side if not _light(item)] for side in (left, right))
    for one in left:
        for other in right:
            if _opposite(one, other):
                return f"opposites: {one.mark.shown} against {other.mark.shown}"
    for kind in _RANK:
        sides = [[item for item in side if item.mark.kind == kind] for side in (left, right)]
        if any(sides):
            sides = [left, right] if kind == "words" else sides
            if all(sides):
                return f"{kind}: {_shown(sides[0])} against {_shown(sides[1])}"
            return f"{kind}: only one has {_shown(sides[0] or sides[1])}"
    return None


def _light(item: Item) -> bool:
    return item.mark.key in of.LIGHT or not item.forms.isdisjoint(of.LIGHT)


def _opposite(one: Item, other: Item) -> bool:
    for a in one.forms:
        for b in other.forms:
            short, long = sorted((a, b), key=len)
            if frozenset((a, b)) in of.OPPOSITES or (
                len(short) > 2 and long in {prefix + short for prefix in of.PREFIXES}
            ):
                return True
    return False


def _shown(items: list[Item]) -> str:
    return ", ".join(dict.fromkeys(item.mark.shown for item in items))


def _reach(one: Sequence[Item], other: Sequence[Item], pairs: Mapping[int, int]) -> str | None:
    """A negation must reach the same word in both (it may pass over one: "isn't my boiler working"), "all" the next one.

    Behind "if" stands the same condition.
    """
    for here, there in pairs.items():
        mark = one[here].mark
        if mark.kind in ("negation", "quantifiers") or mark.key in _CONDITIONS:
            differ = mark.key != other[there].mark.key  # not and without
            far = [
                1 if differ or mark.kind == "quantifiers" or mark.key in _CONDITIONS else 4 if item.wide else 2
                for item in (one[here], other[there])
            ]
            reached = {pairs[number] for number in _reached(one, here, far[0]) if number in pairs}
            others = _reached(other, there, far[1])
            if (reached or others) and reached.isdisjoint(others):
                return f"{mark.kind}: “{mark.shown}” stands elsewhere"
    return None


def _reached(items: Sequence[Item], number: int, far: int) -> list[int]:
    return [after for after in range(number + 1, len(items)) if items[after].solid][:far]


def _asking(one: Question, other: Question) -> str | None:
    kinds = frozenset((one.kind, other.kind))
    timely = kinds == {"what", "when"} and any(not item.forms.isdisjoint(_TIMELY) for item in one.items)
    soon = kinds == {"is", "will"} and one.doer[1] == other.doer[1] == "first"  # do I get, will I get
    grave = "want" in kinds and any(not item.forms.isdisjoint(_GRAVE) for item in one.items)
    if len(kinds) > 1 and (grave or (kinds not in _ALIKE and not timely and not soon)):
        return f"question: {one.kind or 'none'} against {other.kind or 'none'}"
    if one.kind != "how" and {one.modals, other.modals} == _CAN_SHOULD:
        return "question: can against should"
    if one.kind in ("who", "what") and {one.helped, other.helped} == {"do", ""}:
        return "order: one asks who or what does it, the other to whom or what"
    if one.kind in ("who", "what") and one.ends != other.ends:
        return f"order: only one ends with {' and '.join(sorted(one.ends ^ other.ends))}"
    if {one.links, other.links} == {frozenset(("and",)), frozenset(("or",))}:
        return "order: and against or"
    return None


def _voice(one: Sequence[Item], other: Sequence[Item], pairs: Mapping[int, int]) -> str:
    """Of a verb that is active in one and passive in the other, what stands before it in one stands behind it in the other.

    "swapped": that holds on both sides of it ("A includes B", "B is included in A"). "turned": on one side. "kept": on none ("can
    I refund", "can I be refunded"), by somebody if a person stands right before it in both. Or "", where there is no such verb.
    """
    turned = ""
    for here, there in pairs.items():
        if one[here].passive != other[there].passive:
            verbs = not one[here].forms.isdisjoint(other[there].forms) and one[here].forms.isdisjoint(_NEEDED)
            forward = any(near < here and far > there for near, far in pairs.items() if one[near].solid)
            backward = any(near > here and far < there for near, far in pairs.items() if one[near].solid)
            if forward and backward:
                return "swapped"
            person = all(map(_somebody_before, (one, other), (here, there)))
            kept = "" if not verbs else "kept by somebody" if person else "kept"
            turned = "turned" if forward or backward else turned or kept
    return turned


def _somebody_before(items: Sequence[Item], number: int) -> bool:
    """In "how can I" the person has become part of "how"."""
    if not number:
        return items[number].after in ("HOW", "be")
    before = items[number - 1].mark
    return before.kind == "person" and before.shown not in of.POSSESSIVES


def _people(one: Question, other: Question, *, turned: bool) -> str | None:
    """turned: the object of "can I wash it" is the subject of "can it be washed"."""
    if not turned and one.doer[0] == other.doer[0] and {one.doer[1], other.doer[1]} == {"first", "thing"}:
        return "person: only one asks about “I”"
    mine, theirs = ({person.removesuffix(" object") for person in each.persons} for each in (one, other))
    if (mine - theirs and theirs - mine) or (mine ^ theirs) & {"he", "she"}:
        return f"person: {_listed(mine - theirs)} against {_listed(theirs - mine)}"
    for here, there in ((one.persons, other.persons), (other.persons, one.persons)):
        changed = "first object" not in here and "first" not in there and {"first", "first object"} <= here | there
        # turned round, it is another's doing only where nobody else is spoken of
        if changed and (not turned or here | there <= {"first", "first object", "second"}):
            return "person: I against me"
    return None


def _listed(persons: set[str]) -> str:
    return ", ".join(sorted(persons)) or "nobody"


def _times(one: Question, other: Question, pairs: Mapping[int, int]) -> str | None:
    if one.times and other.times:
        differing = one.times ^ other.times
        if "past" in differing:
            return "times: only one speaks of the past"
        if (
            "future" in differing
            and one.kind in ("who", "what")
            and not any(item.mark.key in _SOON for item in one.items)
        ):
            return "times: only one speaks of the future"
    if one.kind in ("who", "what") and not (one.helped or other.helped):
        return _tense(one.items, other.items, pairs)
    return None


def _tense(one: Sequence[Item], other: Sequence[Item], pairs: Mapping[int, int]) -> str | None:
    """Without an auxiliary the verb itself tells "who wins" from "who won"."""
    for here, there in pairs.items():
        first, second = sorted((one[here].mark.key, other[there].mark.key), key=lambda key: key.endswith("s"))
        past = first.endswith("ed") or first not in bases(first)
        if past and second.endswith("s") and not first.endswith("s"):
            return f"times: {first} against {second}"
    return None


def _prepositions(one: Sequence[Item], other: Sequence[Item], pairs: Mapping[int, int]) -> str | None:
    """One thing behind two prepositions that are not of one sort: paid by card, paid for a card; trains to and in London."""
    moving = any(not item.forms.isdisjoint(_MOVING) for item in one)
    for here, there in pairs.items():
        if one[here].solid and here and there:
            before, after = one[here - 1].mark, other[there - 1].mark
            both = frozenset((before.key, after.key))
            unlike = (
                both in of.UNLIKE
                or (both == _FOR_IN and one[here].mark.kind == "numbers")
                or (both == _TO_IN and moving)
            )
            if unlike and before.kind == after.kind == "order":
                shown = one[here].mark.shown, other[there].mark.shown
                return f"order: {before.key} {shown[0]} against {after.key} {shown[1]}"
    return None


def _order(one: Sequence[Item], other: Sequence[Item], pairs: Mapping[int, int]) -> str | None:
    """Two things changed places around a third that stayed between them ("A to B", "B to A"), or two neighbours did.

    A phrase moved to the front is no such change: nothing then stands between the two in both.
    """
    if len(sentences := _sentences(one, other, pairs)) > 1:
        return next((reason for part in sentences if (reason := _order(one, other, part))), None)
    line = sorted(pairs.items())
    if all(there < after for (_, there), (_, after) in pairwise(line)):
        return None
    ends = [(here, there) for here, there in line if one[here].solid or one[here].mark.kind == "person"]
    first: tuple[int, int] | None = None  # of those before, the one that comes last in the other question
    before = 0
    for here, there in line:
        while before < len(ends) and ends[before][0] < here:
            first = max(first or ends[before], ends[before], key=lambda pair: pair[1])
            before += 1
        if first and first[1] > there:
            last = next((after for after, far in ends[before:] if after > here and far < there), None)
            if last is not None:
                return _turned(one[first[0]], one[last], " … ")
    solid = [(here, there) for here, there in line if one[here].solid]
    for (here, there), (after, far) in pairwise(solid):
        near = next_solid(one, here) == after and next_solid(other, far) == there
        if near and not _may_turn((one[here], one[after]), (other[far], other[there])):
            return _turned(one[here], one[after], " ")
    return None


def _sentences(one: Sequence[Item], other: Sequence[Item], pairs: Mapping[int, int]) -> list[dict[int, int]]:
    """The pairs of each sentence, if each sentence of one has all its pairs in one sentence of the other."""
    found: dict[tuple[int, int], dict[int, int]] = {}
    for here, there in pairs.items():
        if one[here].solid:
            found.setdefault((one[here].sentence, other[there].sentence), {})[here] = there
    firsts, seconds = zip(*found, strict=True) if found else ((), ())
    if len(set(firsts)) < len(firsts) or len(set(seconds)) < len(seconds) or len(found) < 2:
        return []
    return list(found.values())


def _turned(first: Item, second: Item, between: str) -> str:
    return f"order: {first.mark.shown}{between}{second.mark.shown} the other way round"


def _may_turn(here: tuple[Item, Item], there: tuple[Item, Item]) -> bool:
    """Whether two neighbours may change places: joined by "and", after a preposition, verb for noun, an adverb, a superlative."""
    kinds = {item.mark.kind for item in here}
    if kinds & {"dates", "negation"} or any(item.mark.key.endswith(("ly", "est")) for item in here):
        return True
    if kinds <= {"numbers", "quotes"}:
        return False
    if here[1].after in of.LINKS and there[1].after in of.LINKS:
        return True
    if any(item.passive for item in here) != any(item.passive for item in there):
        return True
    if any(item.mark.key.endswith("ing") for item in here) != any(item.mark.key.endswith("ing") for item in there):
        return True
    return here[1].after in of.PREPOSITIONS or there[1].after in of.PREPOSITIONS
