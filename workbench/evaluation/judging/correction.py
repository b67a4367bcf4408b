"""A judge's mean difference, corrected for its bias by examples that people have rated too: prediction-powered inference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError
from workbench.records import Interval

__all__ = ["LEAST_LABELS", "Corrected", "corrected_mean"]

LEAST_LABELS = 50
"""Examples rated by people from which on a correction is trusted."""


@dataclass(frozen=True, slots=True)
class Corrected:
    """interval: of the mean that people would give. judged: of the judge alone. weight: how far the judge was relied on, 0
    (not at all) to 1. labels, examples: how many people rated, and how many the judge."""

    interval: Interval
    judged: float
    weight: float
    labels: int
    examples: int


def corrected_mean(
    judged: npt.ArrayLike, people: npt.ArrayLike, *, level: float = 0.95, weight: float | None = None
) -> Corrected | None:
    """The mean of what people would say of all examples, from what the judge said of all and people of some.

    judged, people: one number an example (for a comparison: the difference of two variants), NaN where there is none. The judge's
    mean over the examples that people did not rate is corrected by its mean error on those that they did. Angelopoulos et al.,
    "Prediction-powered inference", Science 382 (2023), for the estimate; Angelopoulos, Duchi and Zrnic, "PPI++", 2023, section
    6, for the weight of the judge, which makes the interval no wider than people alone would (asymptotically). weight: to fix it.

    None with fewer than LEAST_LABELS rated examples, or fewer than two that only the judge rated. Raises InputError for arrays of
    different lengths. The interval is asymptotic (normal).
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
    if n < LEAST_LABELS or more < 2:
        return None
    if weight is None:
        spread = float(np.var(np.concatenate([f, rest]), ddof=1))
        together = float(np.cov(y, f)[0, 1])
        weight = 0.0 if spread == 0 else min(1.0, max(0.0, together / (spread * (1 + n / more))))
    estimate = weight * float(rest.mean()) + float((y - weight * f).mean())
    variance = weight**2 * float(rest.var(ddof=1)) / more + float((y - weight * f).var(ddof=1)) / n
    from scipy.stats import norm

    reach = float(norm.ppf((1 + level) / 2)) * variance**0.5
    interval = Interval(estimate, estimate - reach, estimate + reach, level)
    return Corrected(interval, float(guesses[both | alone].mean()), float(weight), n, n + more)
