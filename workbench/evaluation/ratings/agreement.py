"""How far people agree on one question: Cohen's kappa of two raters, Krippendorff's alpha of more, each with an interval."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from workbench import tables
from workbench.evaluation.judging.agreement import cohen_kappa, krippendorff_alpha
from workbench.evaluation.ratings.scale import Scale
from workbench.evaluation.ratings.store import Vote
from workbench.records import Interval

__all__ = ["Agreement", "agreement_of", "with_interval"]

Unit = TypeVar("Unit")

_RESAMPLES = 1_000
_MOST_UNDEFINED = 0.05


@dataclass(frozen=True, slots=True)
class Agreement:
    """statistic: its name. value: from below 0 to 1, 0 is chance; None where it is not defined. interval: of a percentile
    bootstrap over items, None where too many resamples have no value. raters: who. items: rated by at least two."""

    statistic: str
    value: float | None
    interval: Interval | None
    raters: tuple[str, ...]
    items: int

    def __str__(self) -> str:
        if len(self.raters) < 2:
            return "No agreement to speak of: " + (
                "nobody has rated yet." if not self.raters else f"only {self.raters[0]} has rated."
            )
        on = f"{', '.join(self.raters)} on {tables.format_count(self.items, 'item')} that two or more rated"
        if self.value is None:
            why = "no item was rated by two of them" if not self.items else "all say the same one thing throughout"
            return f"{self.statistic} of {on}: not defined, {why}."
        shown = f"{self.value:.2f}"
        if self.interval is not None:
            shown += f" ({self.interval.level:.0%} interval {self.interval.low:.2f} to {self.interval.high:.2f})"
        return f"{self.statistic} of {on}: {shown}."

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<p>{tables.html_text(str(self))}</p>"


def agreement_of(votes: Sequence[Vote], scale: Scale, *, level: float = 0.95, seed: int = 0) -> Agreement:
    """Of votes on one question. What was skipped, and pairs of equal answers, do not count."""
    units: dict[str, dict[str, Hashable]] = {}
    raters: dict[str, None] = {}
    for vote in votes:
        if vote.value is None or vote.score is None or vote.by_itself:
            continue
        raters[vote.rater] = None
        units.setdefault(vote.item, {})[vote.rater] = _said(vote, scale)
    names = tuple(sorted(raters))
    shared = [unit for _, unit in sorted(units.items()) if len(unit) > 1]
    two, ordered = len(names) == 2, scale.measure == "interval"

    def statistic(found: Sequence[Mapping[str, Hashable]]) -> float | None:
        if not two:
            return krippendorff_alpha(found, scale=scale.measure)
        one, other = names
        return cohen_kappa([u[one] for u in found], [u[other] for u in found], weights="quadratic" if ordered else None)

    name = "Krippendorff's alpha" if not two else "Cohen's weighted kappa" if ordered else "Cohen's kappa"
    value, interval = with_interval(shared, statistic, level, seed) if len(names) > 1 else (None, None)
    return Agreement(name, value, interval, names, len(shared))


def _said(vote: Vote, scale: Scale) -> Hashable:
    """What a vote says whatever order it was shown in."""
    if not scale.pairwise:
        return vote.score if scale.measure == "interval" else vote.value
    return "tie" if vote.value == "tie" else vote.answers[0 if vote.value == "a" else 1] == min(vote.answers)


def with_interval(
    units: Sequence[Unit], statistic: Callable[[Sequence[Unit]], float | None], level: float = 0.95, seed: int = 0
) -> tuple[float | None, Interval | None]:
    """The statistic of these units and its percentile bootstrap interval over them: (value, Interval), None where not defined."""
    value = statistic(units)
    if value is None or len(units) < 2:
        return value, None
    draw = np.random.default_rng(seed)
    picks = draw.integers(len(units), size=(_RESAMPLES, len(units)))
    found = [statistic([units[at] for at in pick]) for pick in picks.tolist()]
    known = [item for item in found if item is not None]
    if len(known) < (1 - _MOST_UNDEFINED) * _RESAMPLES:
        return value, None
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return value, Interval(value, min(float(low), value), max(float(high), value), level)
