"""A judge's mean difference, corrected for its bias by examples that people have rated too: prediction-powered inference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError
from workbench.evaluation.intervals import interval_of_mean
from workbench.records import Interval

__all__ = ["LEAST_LABELS", "Corrected", "corrected_mean"]

LEAST_LABELS = 50
"""Examples rated by people from which on a correction is trusted."""


@dataclass(frozen=True, slots=True)
class Corrected:
    """interval: of the mean that people would give. judged: of the judge alone. weight: how far the judge was relied on, 0
    (not at all) to 1. labels, examples: how many people rated, and how many there are. p_value: of a mean of 0, two-sided.
    error: the estimate's standard error."""

    interval: Interval
    judged: float
    weight: float
    labels: int
    examples: int
    p_value: float
    error: float


def corrected_mean(
    judged: npt.ArrayLike,
    people: npt.ArrayLike,
    *,
    level: float = 0.95,
    weight: float | None = None,
    scale: tuple[float, float] | None = None,
    known: bool = True,
    seed: int = 0,
    resamples: int = 9_999,
) -> Corrected | None:
    """The mean of what people would say of all examples, from what the judge said of all and people of some.

    judged, people: one number an example (for a comparison: the difference of two variants), NaN where there is none. The judge's
    mean over the examples that people did not rate is corrected by its mean error on those that they did. Angelopoulos et al.,
    "Prediction-powered inference", Science 382 (2023), for the estimate; Angelopoulos, Duchi and Zrnic, "PPI++", 2023, section
    6, for the weight of the judge, which makes the interval no wider than people alone would (asymptotically). weight: to fix it.

    The interval puts together those of the two means (people's part, and the judge's on the rest), each made by
    `intervals.interval_of_mean`, by their squared distances to each side: the method of variance estimates recovery of Zou and
    Donner, Statistics in Medicine 27 (2008). It is PPI's normal interval with limits that hold with 50 labels too, and where
    labels hardly vary. scale: lowest and highest possible value of both; known: whether that is certain, or taken
    from what was seen, as it is without a scale.

    None with fewer than LEAST_LABELS rated examples. Where people rated all, or all but one, it is their mean alone. What people
    rated must be a random part of the examples. Raises InputError for arrays of different lengths.
    """
    guesses, truths = np.asarray(judged, dtype=float), np.asarray(people, dtype=float)
    if guesses.shape != truths.shape or guesses.ndim != 1:
        raise InputError(
            f"judged {guesses.shape} and people {truths.shape} must be one number an example, in one order."
        )
    both = ~np.isnan(guesses) & ~np.isnan(truths)
    alone = ~np.isnan(guesses) & np.isnan(truths)
    y, f, rest = truths[both], guesses[both], guesses[alone]
    n, more = len(y), len(rest)
    if n < LEAST_LABELS:
        return None
    if more < 2:
        weight, rest, more = 0.0, np.zeros(0), 0
    elif weight is None:
        spread = float(np.var(np.concatenate([f, rest]), ddof=1))
        together = float(np.cov(y, f)[0, 1])
        weight = 0.0 if spread == 0 else min(1.0, max(0.0, together / (spread * (1 + n / more))))
    parts = [(y - weight * f, 1 + weight)] + ([(weight * rest, weight)] if weight else [])
    estimate = below = above = variance = 0.0
    for values, times in parts:
        span = times * max(map(abs, scale or _seen(guesses, truths)))
        part, _, _ = interval_of_mean(values, -span, span, known and scale is not None, level, seed, resamples)
        estimate += part.estimate
        below += (part.estimate - part.low) ** 2
        above += (part.high - part.estimate) ** 2
        variance += float(values.var(ddof=1)) / len(values)
    low, high = estimate - below**0.5, estimate + above**0.5
    if known and scale is not None:
        low, high = max(low, scale[0]), min(high, scale[1])
    low, high = min(low, estimate), max(high, estimate)
    from scipy.stats import norm

    z = float(norm.ppf((1 + level) / 2))
    reach = (estimate - low if estimate > 0 else high - estimate) / z  # so that p and interval say the same of 0
    p_value = 1.0 if reach == 0 else float(2 * norm.sf(abs(estimate) / reach))
    judge = float(guesses[both | alone].mean())
    return Corrected(Interval(estimate, low, high, level), judge, weight, n, n + more, p_value, variance**0.5)


def _seen(guesses: npt.NDArray[np.float64], truths: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The lowest and the highest value that was seen; 1 around 0 if all are 0."""
    seen = np.concatenate([guesses[~np.isnan(guesses)], truths[~np.isnan(truths)]])
    return (float(seen.min()), float(seen.max())) if seen.any() else (-1.0, 1.0)
