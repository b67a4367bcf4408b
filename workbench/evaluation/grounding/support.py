"""How well a context bears out an answer: every clause of it by vectors and words, every fact, polarity and role by comparing.

The answer is as good as its weakest part: one wrong number in ten right sentences is a wrong number. The weights were chosen on
the small set benchmarks/data/faithfulness_dev.jsonl, and are judged on another (benchmarks/faithfulness.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from workbench.evaluation.grounding.comparing import misbound, opposed, swapped
from workbench.evaluation.grounding.facts import facts_of, unknown_name, unknown_number
from workbench.evaluation.grounding.reading import Clause, Sentence, Word, alike, read

if TYPE_CHECKING:
    from workbench.evaluation.scorers.meaning import Vectors

__all__ = ["Grounding", "ground"]

_FACT, _POLARITY, _ROLE, _BINDING, _NOVEL = 0.75, 0.7, 0.8, 0.6, 0.5  # what each kind of fault takes off at most
_TOLD = 0.3  # from which share of a fault on it is told
_NOVEL_MOST = 2.0


@dataclass(frozen=True, slots=True)
class Grounding:
    """score: from 0 to 1, 1 is borne out. problems: what speaks against it, worst first, in words. support: the lowest cosine
    of a clause with what is nearest to it in the context."""

    score: float
    problems: tuple[str, ...]
    support: float


async def ground(answer: str, context: str, vectors: Vectors) -> Grounding | None:
    """None where the answer or the context has no sentence."""
    said, known = read(answer, context), read(context, answer)
    clauses = [clause for sentence in said for clause in sentence.clauses]
    if not clauses or not known:
        return None
    near = await _nearness(clauses, known, vectors)
    score, problems = _facts(said, known)
    for weight, what, found in (
        (_POLARITY, "the context says the opposite of", [(opposed(clause, known), clause.text) for clause in clauses]),
        (_ROLE, "the context names others in these roles than", [(swapped(item, known), item.text) for item in said]),
        (_BINDING, "the context says it of another than", _bindings(clauses, known)),
        (_NOVEL, "little in the context bears out", _novelties(clauses, known, near)),
    ):
        share, text = max(found, default=(0.0, ""))
        score *= 1 - weight * share
        if share > _TOLD:
            problems.append((weight * share, f"{what} {text!r}"))
    return Grounding(score, tuple(text for _, text in sorted(problems, reverse=True)), min(near))


async def _nearness(clauses: Sequence[Clause], known: Sequence[Sentence], vectors: Vectors) -> list[float]:
    """The cosine of each clause with the nearest sentence, pair of sentences or clause of the context."""
    alone = [sentence.text for sentence in known]
    pairs = [f"{one} {other}" for one, other in pairwise(alone)]
    passages = [*alone, *pairs, *(clause.text for sentence in known for clause in sentence.clauses)]
    found = await vectors([*(clause.text for clause in clauses), *passages])
    cosines = found[: len(clauses)] @ found[len(clauses) :].T
    return [float(value) for value in cosines.max(axis=1)]


def _facts(said: Sequence[Sentence], known: Sequence[Sentence]) -> tuple[float, list[tuple[float, str]]]:
    """What is left of 1, and each number, date and name that the context does not have."""
    mine, theirs = facts_of(said), facts_of(known)
    numbers = [number.written for number in mine.numbers if unknown_number(number, theirs)]
    dates = [*sorted(mine.months - theirs.months), *sorted(mine.days - theirs.days)]
    dates += [f"{day} {month}" for day, month in sorted(mine.dated - theirs.dated) if month in theirs.months]
    names = [name.text for name in mine.names if unknown_name(name, known)]
    score, problems = 1.0, []
    for kind, found in (("number", numbers), ("date", dates), ("name", names)):
        score *= 1 - _FACT * bool(found)
        problems += [(_FACT, f"{kind} {item} is not in the context") for item in dict.fromkeys(found)]
    return score, problems


def _bindings(clauses: Sequence[Clause], known: Sequence[Sentence]) -> list[tuple[float, str]]:
    return [
        (misbound(clause, word, known), f"{word.text} … {clause.text}")
        for clause in clauses
        for word in clause.words
        if word.name
    ]


def _novelties(clauses: Sequence[Clause], known: Sequence[Sentence], near: Sequence[float]) -> list[tuple[float, str]]:
    """Words of each clause that the context has in no form, the more the farther the clause is from it."""
    there = [word for sentence in known for word in sentence.words]

    def novel(word: Word) -> bool:
        return not word.text[0].isdigit() and not any(alike(word, other) for other in there)

    return [
        (min(1.0, sum(map(novel, clause.content)) * (1 - cosine) / _NOVEL_MOST), clause.text)
        for clause, cosine in zip(clauses, near, strict=True)
    ]
