"""Guardrails: what must not get worse by more than its own margin, whatever the primary score gains."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError
from workbench.evaluation.arms import ArmScores, columns, not_comparable
from workbench.evaluation.judging.paired import paired_difference
from workbench.evaluation.sentences import count_text, figures_text, level_text, percent
from workbench.evaluation.statistics import quantile_ratio_interval
from workbench.records import GuardrailCheck, Interval

__all__ = ["Guardrail", "check_guardrail", "check_margin"]

Array = npt.NDArray[np.float64]
State = Literal["held", "broken", "unclear"]


@dataclass(frozen=True, slots=True)
class Guardrail:
    """What must not get worse by more than `margin`.

    measure score: `name` is a scorer's, margin in its units, higher_is_better as the scorer says.
    measure latency or cost: margin is the allowed relative increase of a quantile (by default the median; 0.95 for P95), 0.2
    for 20%; `name` is only shown.
    """

    name: str
    margin: float
    measure: Literal["score", "latency", "cost"] = "score"
    higher_is_better: bool = True
    quantile: float = 0.5

    def __post_init__(self) -> None:
        if self.measure not in ("score", "latency", "cost"):
            raise InputError(
                f"guardrail {self.name!r}: measure = {self.measure!r} is unknown: use 'score' (with a scorer's name), "
                "'latency' or 'cost'."
            )
        check_margin(self.margin, f"guardrail {self.name!r}: margin")
        if not 0 < self.quantile < 1 or (self.measure == "score" and self.quantile != 0.5):
            raise InputError(
                f"guardrail {self.name!r}: quantile = {self.quantile!r} must lie between 0 and 1, such as 0.95, and is for "
                "latency and cost only: a score's guardrail is about its mean."
            )


def check_guardrail(
    guardrail: Guardrail, base: ArmScores, arm: ArmScores, names: Mapping[str, str], level: float, seed: int
) -> GuardrailCheck:
    """Whether `arm` keeps within the guardrail against `base`, with the sentence that says so."""
    variant, control = names[arm.label], names[base.label]
    if guardrail.measure == "score":
        interval, state, text = _check_score(guardrail, base, arm, level, seed)
    else:
        interval, state, text = _check_relative(guardrail, base, arm, level, seed)
    verb = {"held": "holds", "broken": "is broken", "unclear": "is unclear"}[state]
    sentence = f"Guardrail {guardrail.name} {verb} for {variant} against {control}: {text}."
    return GuardrailCheck(guardrail.name, guardrail.margin, interval, state, sentence)


def _check_score(
    guardrail: Guardrail, base: ArmScores, arm: ArmScores, level: float, seed: int
) -> tuple[Interval | None, State, str]:
    found = paired_difference(base, arm, guardrail.name, level=level, seed=seed)
    if found is None:
        return None, "unclear", "no example has this score from both"
    low, high = found.interval.low, found.interval.high
    worst, mildest = (-low, -high) if guardrail.higher_is_better else (high, low)
    state: State = "held" if worst <= guardrail.margin else "broken" if mildest > guardrail.margin else "unclear"
    direction = "loss" if guardrail.higher_is_better else "rise"
    allowed = f"a {direction} of {guardrail.margin:g} is allowed"
    return found.interval, state, f"{figures_text(found.interval, (guardrail.margin,), count_text(found.n))}; {allowed}"


def _check_relative(
    guardrail: Guardrail, base: ArmScores, arm: ArmScores, level: float, seed: int
) -> tuple[Interval | None, State, str]:
    before, after = (base.latency, arm.latency) if guardrail.measure == "latency" else (base.cost, arm.cost)
    before, after = _measured(before), _measured(after)
    if guardrail.measure == "latency" and (why := not_comparable(base, arm)):
        return None, "unclear", why
    both = _both(before, after)
    if before is None or after is None or not both.any():
        return None, "unclear", f"no example has a known {guardrail.measure} from both"
    was, now = (_typical(values[both], guardrail.quantile) for values in (before, after))
    there = "the median" if guardrail.quantile == 0.5 else f"P{100 * guardrail.quantile:g}"
    counted = count_text(int(both.sum()))
    if was == 0:
        if now == 0:
            return None, "held", f"it is 0 for both at {there} of {counted}"
        unit = "s" if guardrail.measure == "latency" else "dollars"
        return None, "broken", f"from 0 to {now:.3g} {unit} at {there} of {counted}, where no increase is relative"
    ratio = quantile_ratio_interval(before, after, guardrail.quantile, level, seed)
    if ratio is None:
        why = "too few, or too often 0, for an interval"
        return None, "unclear", f"{percent(now / was - 1)} at {there} of {counted}: {why}"
    change = Interval(ratio.estimate - 1, ratio.low - 1, ratio.high - 1, level)
    state: State = (
        "held" if change.high <= guardrail.margin else "broken" if change.low > guardrail.margin else "unclear"
    )
    shown = f"{percent(change.low)} to {percent(change.high)}"
    text = f"{percent(change.estimate)} at {there} ({level_text(level)} interval {shown}, {counted})"
    return change, state, f"{text}; {percent(guardrail.margin)} is allowed"


def _both(before: Array | None, after: Array | None) -> npt.NDArray[np.bool_]:
    """Which examples both have measured, (examples,)."""
    if before is None or after is None:
        return np.zeros(0, dtype=bool)
    return np.asarray(np.isfinite(before).any(axis=1) & np.isfinite(after).any(axis=1))


def _typical(values: Array, quantile: float) -> float:
    if quantile == 0.5:
        return float(np.median(np.nanmedian(values, axis=1)))
    return float(np.nanquantile(values, quantile))


def _measured(values: Array | None) -> Array | None:
    """(examples, repeats) with NaN for what no clock and no bill can have said: below 0 or infinite."""
    if values is None:
        return None
    array = columns(values)
    return np.where(np.isfinite(array) & (array >= 0), array, np.nan)


def check_margin(margin: float, what: str) -> None:
    """InputError unless it is a number of 0 or more."""
    if not (isinstance(margin, (int, float)) and 0 <= margin < math.inf):
        raise InputError(f"{what} = {margin!r} must be a number of 0 or more: the loss that does not matter.")
