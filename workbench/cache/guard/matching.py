"""Are two questions about the same things, in an order that says the same?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from workbench.cache.guard.lemmas import bases
from workbench.cache.guard.reading import Item, Question
from workbench.cache.guard.synonyms import groups_of
from workbench.cache.guard.vocabulary import LIGHT, LIGHT_VERBS, LINKS, OPPOSITES, PREFIXES, PREPOSITIONS, UNLIKE

__all__ = ["difference"]

# kinds of question that one answer serves
_ALIKE = {frozenset(("what", "")), frozenset(("what", "how many"))}
# "what is the deadline" asks when
_TIMELY = frozenset("deadline due_date date time birthday anniversary expiry departure arrival start end".split())
_SOON = frozenset("tomorrow tonight weekend next upcoming".split())
# which kind of difference is named when there are several
_RANK = ("numbers", "units", "dates", "negation", "identifiers", "quotes", "names", "quantifiers", "words")
# before a number "for" says how long, before a name "to" says where
_GOVERNING = {"numbers": frozenset(("for", "in")), "names": frozenset(("to", "in"))}
_MOST = 30  # that are left over and still worth pairing
_TYPO = 7  # letters that a word needs for one of them to be missing or exchanged


def difference(one: Question, other: Question) -> str | None:
    """Why an answer to one may be wrong for the other: `kind: what`, or None."""
    pairs, left, right = _matched(one.items, other.items)
    if not one.known:
        moved = sorted(pairs) != sorted(pairs, key=lambda number: pairs[number])
        return _things(left, right) or ("order: the words stand in another order" if moved else None)
    return (
        _things(left, right)
        or _negated(one, other, pairs)
        or _asked(one, other)
        or _people(one, other)
        or _tensed(one, other, pairs)
        or _governed(one.items, other.items, pairs)
        or _ordered(one.items, other.items, pairs)
    )


def _matched(one: Sequence[Item], other: Sequence[Item]) -> tuple[dict[int, int], list[Item], list[Item]]:
    """{place in one: place in other} of what matches, and what is left on either side."""
    pairs: dict[int, int] = {}
    waiting: dict[str, list[int]] = defaultdict(list)
    for number, item in enumerate(other):
        if item.solid:
            waiting[item.mark.key].append(number)
    for number, item in enumerate(one):
        if item.solid and (several := waiting[item.mark.key]):
            pairs[number] = several.pop(0)
    taken = set(pairs.values())
    left = [number for number, item in enumerate(one) if item.solid and number not in pairs]
    right = [number for number, item in enumerate(other) if item.solid and number not in taken]
    if max(len(left), len(right)) <= _MOST:
        pairs.update(_paired(one, other, left, right))
    pairs.update(_loose(one, other, pairs))
    taken = set(pairs.values())
    back = {there: here for here, there in pairs.items()}
    return (
        pairs,
        [one[number] for number in left if number not in pairs and not _idle(number, one, other, pairs)],
        [other[number] for number in right if number not in taken and not _idle(number, other, one, back)],
    )


def _idle(number: int, items: Sequence[Item], others: Sequence[Item], pairs: Mapping[int, int]) -> bool:
    """A verb that only carries the noun behind it: "make a payment" for "pay"."""
    if items[number].forms.isdisjoint(LIGHT_VERBS):
        return False
    noun = _next(items, number)
    if noun not in pairs:
        return False
    made, of = items[noun], others[pairs[noun]].mark.key
    return made.mark.key != of and of in made.forms and made.mark.key.endswith(("ment", "ion", "ing", "ation"))


def _paired(one: Sequence[Item], other: Sequence[Item], left: list[int], right: list[int]) -> dict[int, int]:
    """As many of the rest as may stand for each other (augmenting paths: Kuhn, 1955)."""
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


def _loose(one: Sequence[Item], other: Sequence[Item], pairs: dict[int, int]) -> dict[int, int]:
    """Pair prepositions and persons by the word that they stand before; what is then single on both sides, by itself."""
    found: dict[int, int] = {}
    keys = {item.mark.key for item in one if not item.solid} & {item.mark.key for item in other if not item.solid}
    for key in keys:
        here = [number for number, item in enumerate(one) if item.mark.key == key and not item.solid]
        there = [number for number, item in enumerate(other) if item.mark.key == key and not item.solid]
        for number in tuple(here):
            before = pairs.get(_next(one, number), -1)
            fitting = [far for far in there if before >= 0 and _next(other, far) == before]
            if fitting:
                found[number] = fitting[0]
                here.remove(number)
                there.remove(fitting[0])
        if len(here) == len(there) == 1:
            found[here[0]] = there[0]
    return found


def _next(items: Sequence[Item], at: int) -> int:
    """The number of the next solid item; -2 if there is none."""
    return next((number for number in range(at + 1, len(items)) if items[number].solid), -2)


def _same(one: Item, other: Item) -> bool:
    """Forms of one word, synonyms, or one of them misspelt. Numbers, dates, units, names and code must be equal."""
    kinds = {one.mark.kind, other.mark.kind}
    if not kinds.isdisjoint(("numbers", "quotes")):
        return False
    if not one.forms.isdisjoint(other.forms):
        return True
    groups = {group for form in one.forms for group in groups_of(form)}
    if any(not groups.isdisjoint(groups_of(form)) for form in other.forms):
        return True
    return kinds == {"words"} and _misspelt(one.mark.key, other.mark.key)


def _misspelt(one: str, other: str) -> bool:
    """One vowel or doubled letter missing, two letters exchanged, or -ant for -ent: no two long words of English differ so."""
    if min(len(one), len(other)) < _TYPO - 1 or max(len(one), len(other)) < _TYPO or one[0] != other[0]:
        return False
    if len(one) == len(other):
        differing = [at for at, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
        if len(differing) == 2:
            first, second = differing
            return second == first + 1 and one[first] == other[second] and one[second] == other[first]
        return (
            len(differing) == 1
            and {one[differing[0]], other[differing[0]]} <= {"a", "e", "i"}
            and one[differing[0] + 1 :] in ("nt", "nce", "ncy", "ble", "te", "tely")
        )
    short, long = sorted((one, other), key=len)
    if len(long) - len(short) != 1:
        return False
    at = next((at for at, letter in enumerate(short) if letter != long[at]), len(short))
    if short[at:] != long[at + 1 :]:
        return False
    return long[at] == long[at - 1] and long[at:] != "s" or (long[at] in "aeiou" and at < len(short))


def _things(left: list[Item], right: list[Item]) -> str | None:
    """What only one of them speaks of."""
    for kind in ("quantifiers", "words"):
        sides = [
            [
                item
                for item in side
                if item.mark.kind == kind and (kind == "quantifiers" or item.mark.key.startswith("what_"))
            ]
            for side in (left, right)
        ]
        if all(sides):
            return f"{kind}: {_shown(sides[0])} against {_shown(sides[1])}"
    left, right = (
        [item for item in side if item.mark.key not in LIGHT and item.forms.isdisjoint(LIGHT)] for side in (left, right)
    )
    if not (left or right):
        return None
    for one in left:
        for other in right:
            if _opposite(one, other):
                return f"opposites: {one.mark.shown} against {other.mark.shown}"
    for kind in _RANK:
        sides = [[item for item in side if item.mark.kind == kind] for side in (left, right)]
        if any(sides):
            if not all(sides) and kind == "words" and left and right:
                sides = [left, right]
            if all(sides):
                return f"{kind}: {_shown(sides[0])} against {_shown(sides[1])}"
            return f"{kind}: only one has {_shown(sides[0] or sides[1])}"
    return f"words: only one has {_shown(left or right)}"


def _opposite(one: Item, other: Item) -> bool:
    for a in one.forms:
        for b in other.forms:
            if frozenset((a, b)) in OPPOSITES:
                return True
            short, long = sorted((a, b), key=len)
            if len(short) > 2 and long.endswith(short) and long.removesuffix(short) in PREFIXES:
                return True
    return False


def _shown(items: list[Item]) -> str:
    return ", ".join(dict.fromkeys(item.mark.shown for item in items))


def _negated(one: Question, other: Question, pairs: dict[int, int]) -> str | None:
    """A negation must reach the same word in both (it may pass over one: "isn't my boiler working"), "all" the next one."""
    for here, there in pairs.items():
        mark = one.items[here].mark
        if mark.kind in ("negation", "quantifiers"):
            far = 2 if mark.kind == "negation" else 1
            reached = {pairs[number] for number in _reached(one.items, here, far) if number in pairs}
            others = _reached(other.items, there, far)
            if (reached or others) and reached.isdisjoint(others):
                return f"{mark.kind}: “{mark.shown}” stands elsewhere"
    return None


def _reached(items: Sequence[Item], at: int, far: int) -> list[int]:
    return [number for number in range(at + 1, len(items)) if items[number].solid][:far]


def _asked(one: Question, other: Question) -> str | None:
    kinds = frozenset((one.kind, other.kind))
    timely = kinds == {"what", "when"} and any(not item.forms.isdisjoint(_TIMELY) for item in one.items)
    if one.kind != other.kind and kinds not in _ALIKE and not timely:
        return f"question: {one.kind or 'no question'} against {other.kind or 'no question'}"
    if one.kind != "how" and {frozenset(("can",)), frozenset(("should",))} == {one.modals, other.modals}:
        return "question: can against should"
    if one.kind in ("who", "what") and {one.helped, other.helped} == {"do", ""}:
        return "order: one asks who or what does it, the other to whom or what"
    if one.doer[0] == other.doer[0] and {one.doer[1], other.doer[1]} == {"first", "thing"}:
        return "person: only one asks about “I”"
    if one.passive != other.passive:
        return "order: only one says by whom"
    if one.times and other.times and ("past" in one.times) != ("past" in other.times):
        return "times: only one speaks of the past"
    soon = any(item.mark.key in _SOON for item in one.items)
    if (
        one.times
        and other.times
        and ("future" in one.times) != ("future" in other.times)
        and one.kind in ("who", "what")
        and not soon
    ):
        return "times: only one speaks of the future"
    if one.links != other.links and one.links and other.links and len(one.links) == len(other.links) == 1:
        return "order: and against or"
    return None


def _people(one: Question, other: Question) -> str | None:
    mine = {person.removesuffix(" object") for person in one.persons}
    theirs = {person.removesuffix(" object") for person in other.persons}
    if (mine - theirs and theirs - mine) or (mine ^ theirs) & {"he", "she"}:
        return f"person: {', '.join(sorted(mine - theirs)) or 'nobody'} against {', '.join(sorted(theirs - mine)) or 'nobody'}"
    subject, object_ = frozenset(("first",)), frozenset(("first object",))
    if {one.persons - {"second"}, other.persons - {"second"}} == {subject, object_}:
        return "person: I against me"
    return None


def _tensed(one: Question, other: Question, pairs: dict[int, int]) -> str | None:
    """Without an auxiliary the verb itself tells "who wins" from "who won"."""
    if one.helped or other.helped or one.kind not in ("who", "what"):
        return None
    for here, there in pairs.items():
        keys = one.items[here].mark.key, other.items[there].mark.key
        if keys[0] != keys[1] and sorted(key.endswith("s") for key in keys) == [False, True]:
            past = next(key for key in keys if not key.endswith("s"))
            if past.endswith("ed") or past not in bases(past):
                return f"times: {keys[0]} against {keys[1]}"
    return None


def _governed(one: Sequence[Item], other: Sequence[Item], pairs: dict[int, int]) -> str | None:
    """One thing behind two prepositions that are not of one sort: paid by card, paid for a card."""
    for here, there in pairs.items():
        if one[here].solid and here and there:
            before, after = one[here - 1].mark, other[there - 1].mark
            both = frozenset((before.key, after.key))
            unlike = both in UNLIKE or both == _GOVERNING.get(one[here].mark.kind)
            if unlike and before.kind == after.kind == "order":
                return f"order: {before.key} {one[here].mark.shown} against {after.key} {other[there].mark.shown}"
    return None


def _ordered(one: Sequence[Item], other: Sequence[Item], pairs: dict[int, int]) -> str | None:
    """Two things changed places around a third that stayed between them ("A to B", "B to A"), or two neighbours did.

    A phrase moved to the front is no such change: nothing then stands between the two in both.
    """
    line = [(number, pairs[number]) for number in sorted(pairs)]
    places = [there for _, there in line]
    if places == sorted(places):
        return None

    def ends(number: int) -> bool:
        return one[number].solid or one[number].mark.kind == "person"

    for at, (_, there) in enumerate(line):
        before = [(far, number) for number, far in line[:at] if ends(number) and far > there]
        after = [(far, number) for number, far in line[at + 1 :] if ends(number) and far < there]
        if before and after:
            first, last = max(before)[1], min(after)[1]
            return f"order: {one[first].mark.shown} … {one[last].mark.shown} the other way round"
    for (here, there), (next_here, next_there) in _neighbours([pair for pair in line if one[pair[0]].solid]):
        if there > next_there and _next(other, next_there) == there and _next(one, here) == next_here:
            if not _may_turn((one[here], one[next_here]), (other[next_there], other[there])):
                return f"order: {one[here].mark.shown} {one[next_here].mark.shown} the other way round"
    return None


def _may_turn(here: tuple[Item, Item], there: tuple[Item, Item]) -> bool:
    """Whether two neighbours may change places: joined by "and", behind a preposition, active for passive, an adverb."""
    kinds = {item.mark.kind for item in here}
    if kinds & {"dates", "negation"} or any(item.mark.key.endswith("ly") for item in here):
        return True
    if kinds <= {"numbers", "quotes"}:
        return False
    if here[1].after in LINKS and there[1].after in LINKS:
        return True
    if any(item.passive for item in here) != any(item.passive for item in there):
        return True
    return any(item.after in PREPOSITIONS for item in (here[1], there[1]))


def _neighbours(line: list[tuple[int, int]]) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    return zip(line, line[1:], strict=False)
