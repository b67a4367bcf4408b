"""Polarity, roles and bindings: does the answer say the same of the same, though in other words?"""

from __future__ import annotations

from collections.abc import Sequence

from workbench.cache.guard.vocabulary import words
from workbench.evaluation.grounding.reading import Clause, Sentence, Word, alike

__all__ = ["misbound", "negative", "opposed", "overlap", "swapped"]

_NOT = words("""
    not no never none nobody nothing without nor neither cannot can't don't doesn't didn't isn't aren't wasn't weren't won't
    wouldn't shouldn't couldn't hasn't haven't hadn't hardly barely seldom rarely
    """)
# verbs and adjectives that deny; both sides are counted, so that two of them are as good as none
_DENYING = words("""
    fail refuse deny decline reject lack avoid forbid prohibit ban exclude except prevent unable impossible prevent miss missing
    absent skip omit unlicensed unaffected undamaged unharmed unnecessary unlikely unaware uninjured unpaid free
    exempt stop cease abandon drop quit close shut closed unchanged unpublished unfinished
    """)
_NO_DENIAL = words("later less more fewer earlier only")  # "no later than", "not only"
_PASSIVE = words("was were been be is are being got")
_PRONOUNS = words("he she they it him her them his their its who whom")
_ENOUGH = 2


def overlap(one: Clause, other: Sequence[Word]) -> int:
    """How many content words of the clause the other has."""
    return sum(any(alike(word, item) for item in other) for word in one.content)


def negative(clause: Clause) -> bool:
    """Whether an odd number of words in it deny."""
    count = 0
    for word, following in zip(clause.words, (*clause.words[1:], None), strict=True):
        if following is not None and word.lower in ("no", "not") and following.lower in _NO_DENIAL:
            continue
        if word.lower in _NOT or word.lower.endswith("n't") or not word.forms.isdisjoint(_DENYING):
            count += 1
    return count % 2 == 1


def opposed(clause: Clause, context: Sequence[Sentence]) -> float:
    """From 0 to 1: how sure it is that the context says the opposite: the clauses of most common words are of the other
    polarity."""
    if not clause.content:
        return 0.0
    ranked: dict[bool, float] = {True: 0.0, False: 0.0}
    for sentence in context:
        for other in sentence.clauses:
            shared = overlap(clause, other.content)
            if shared:
                weight = shared + 0.5 * shared / max(1, len(other.content))
                ranked[negative(other)] = max(ranked[negative(other)], weight)
    mine = negative(clause)
    if ranked[not mine] < _ENOUGH or ranked[not mine] <= ranked[mine]:
        return 0.0
    return min(1.0, ranked[not mine] / len(clause.content)) * (1 - ranked[mine] / ranked[not mine] * 0.8)


def swapped(sentence: Sentence, context: Sequence[Sentence]) -> float:
    """From 0 to 1: the share of its words whose doer, or whose sufferer, is another name in the context."""
    theirs = [_ties(item) for item in context]
    compared = conflicts = 0.0
    for word, before, after in _ties(sentence):
        same = [(one, two) for ties in theirs for other, one, two in ties if alike(word, other)]
        for mine, others in ((before, [one for one, _ in same]), (after, [two for _, two in same])):
            known = [name for name in others if name]
            if mine and known:
                compared += 1
                conflicts += all(mine.isdisjoint(name) for name in known) and len(known) == len(others)
    return conflicts / max(3.0, compared)


def _ties(sentence: Sentence) -> list[tuple[Word, frozenset[str], frozenset[str]]]:
    """Of each content word that is no name: the name before it and the name after it; turned round in the passive."""
    found = []
    runs = _names(sentence)
    for at, word in enumerate(sentence.words):
        if not word.content or word.name or word.text[0].isdigit():
            continue
        before = _nearest(sentence, runs, at, -1)
        after = _nearest(sentence, runs, at, 1)
        near = [item.lower for item in sentence.words[max(0, at - 3) : at]]
        passive = any(item in _PASSIVE for item in near) and word.lower.endswith(("ed", "en", "n", "t"))
        by = any(item.lower == "by" for item in sentence.words[at + 1 : at + 4])
        if passive and by:
            before, after = after, before
        elif passive:
            before, after = frozenset(), before
        found.append((word, before, after))
    return found


def _names(sentence: Sentence) -> dict[int, frozenset[str]]:
    """Place -> all words of the name that stands there."""
    runs: dict[int, frozenset[str]] = {}
    at = 0
    while at < len(sentence.words):
        end = at
        while end < len(sentence.words) and sentence.words[end].name:
            end += 1
        if end > at:
            run = frozenset(word.lower for word in sentence.words[at:end])
            runs.update(dict.fromkeys(range(at, end), run))
        at = max(end, at + 1)
    return runs


def _nearest(sentence: Sentence, runs: dict[int, frozenset[str]], at: int, step: int) -> frozenset[str]:
    place = at + step
    reach = 8
    while 0 <= place < len(sentence.words) and abs(place - at) <= reach:
        if place in runs:
            return runs[place]
        if sentence.words[place].lower in _PRONOUNS:
            return frozenset()
        place += step
    return frozenset()


def misbound(clause: Clause, fact: Word, context: Sequence[Sentence]) -> float:
    """From 0 to 1: how much better sentences without this name or number fit the rest of the clause than those with it."""
    rest = [word for word in clause.content if word is not fact and word.lower != fact.lower and not word.name]
    if len(rest) < _ENOUGH:
        return 0.0
    best = {True: 0, False: 0}
    for place, sentence in enumerate(context):
        has = any(word.lower == fact.lower for word in sentence.words)
        shared = sum(any(alike(word, item) for item in sentence.words if item.content) for word in rest)
        if not has and place:
            # a sentence without a name may speak of any that came before, a pronoun of the one before it
            if not any(word.name for word in sentence.words):
                has = True
            elif any(word.lower in _PRONOUNS for word in sentence.words[:4]):
                has = any(word.lower == fact.lower for word in context[place - 1].words)
        best[has] = max(best[has], shared)
    return max(0, best[False] - best[True]) / len(rest) if best[False] >= _ENOUGH else 0.0
