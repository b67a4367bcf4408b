"""In which order scorers judge an answer, and which of them need not be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from workbench.errors import InputError
from workbench.evaluation.scorers.scorer import Scorer
from workbench.evaluation.sources import near
from workbench.records import Score

__all__ = ["cheap_first", "check_needs", "not_asked"]


def cheap_first(scorers: Sequence[Scorer]) -> tuple[Scorer, ...]:
    """Those that ask nobody first, and those that need another's success last; else in the given order."""
    return tuple(sorted(scorers, key=lambda scorer: (scorer.needs is not None, scorer.asks)))


def not_asked(scorer: Scorer, values: Mapping[str, float | None]) -> Score | None:
    """What it scores because it is not asked, or None if it is. values: by scorer, of the same answer."""
    if scorer.needs is None:
        return None
    value = values.get(scorer.needs)
    if value is None:
        return Score(None, f"not asked: {scorer.needs} gave no score")
    return None if value > 0 else Score(0.0, f"not asked: {scorer.needs} gave {value:g}")


def check_needs(scorers: Sequence[Scorer]) -> None:
    """InputError for an `only_if` that names no scorer of these, or one that is not simply asked."""
    known = {scorer.name: scorer for scorer in scorers}
    for scorer in scorers:
        if scorer.needs is None:
            continue
        other = known.get(scorer.needs)
        begin = f"scorer {scorer.name!r}: only_if = {scorer.needs!r}"
        if other is None:
            raise InputError(
                f"{begin} is no scorer of this comparison.{near(scorer.needs, known)} There are: {', '.join(known)}."
            )
        if other.needs is not None:
            raise InputError(
                f"{begin} depends on another scorer itself: name {other.needs!r}, or one that depends on none."
            )
        if not (scorer.higher_is_better and other.higher_is_better):
            raise InputError(f"{begin}: what is not asked scores 0, so for both scorers more must be better.")
