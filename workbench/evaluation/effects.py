"""Beside the interval: how large a difference is, how much of it is noise, and how many examples it hangs on.

Effect sizes: examples won, lost and tied; the odds ratio of gained to lost pairs with its exact conditional interval (Fagerland,
Lydersen and Laake 2014, Statistics in Medicine 33, 2850: Clopper and Pearson's limits p of the binomial, as p / (1 - p)); Cohen's
d of paired differences with Hedges' correction (Hedges 1981, Journal of Educational Statistics 6, 107).

Noise floor: A against A. If one and the same variant were run twice, the two means would differ by less than this in 95 of 100
runs: z sqrt(2 w / (r n)), with w the mean variance of an example's repeats (one-way analysis of variance: Bland and Altman 1996,
BMJ 312, 1654).

Fragility: how many of the examples that speak most for a decision can be left out before it changes (Walsh and others 2014,
Journal of Clinical Epidemiology 67, 622, who turn over single events; here an example is left out).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv

from workbench.evaluation.arms import columns
from workbench.evaluation.intervals import check_shares, z_of
from workbench.evaluation.statistics import example_means
from workbench.records import Interval

__all__ = ["Effect", "NoiseFloor", "effect_size", "fragility", "noise_floor", "self_disagreement"]

Array = npt.NDArray[np.float64]

_MOST_LEFT_OUT = 10


@dataclass(frozen=True, slots=True)
class Effect:
    """Sizes of one paired difference. Everything is None where it is not defined, never infinite.

    better, worse, same: examples whose mean score rose, fell, stayed. superiority: the share that rose, ties by half.
    odds_ratio: examples gained to lost, None unless both occur. standardised: mean difference in standard deviations of the
    examples' differences, corrected for few examples.
    """

    better: int
    worse: int
    same: int
    superiority: float
    odds_ratio: Interval | None
    standardised: float | None


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """What the same variant shows against itself. floor: in units of the score; n: examples with at least two repeats."""

    floor: float
    n: int
    repeats: float
    level: float


def effect_size(control: Array, variant: Array, *, higher_is_better: bool = True, level: float = 0.95) -> Effect | None:
    """Of variant against control, (examples,) or (examples, repeats) with NaN unscored; None if no example has both."""
    check_shares(level)
    before, had = example_means(columns(control))
    after, has = example_means(columns(variant))
    both = had & has
    n = int(both.sum())
    if not n:
        return None
    differences = (after - before)[both] * (1 if higher_is_better else -1)
    tiny = 1e-12 * max(float(np.abs(after[both]).max()), float(np.abs(before[both]).max()), 1e-300)
    better, worse = int((differences > tiny).sum()), int((differences < -tiny).sum())
    ratio = None
    if better and worse:
        tail = (1 - level) / 2
        low = float(betaincinv(better, worse + 1, tail))
        high = float(betaincinv(better + 1, worse, 1 - tail))
        ratio = Interval(better / worse, low / (1 - low), high / (1 - high), level)
    spread = float(differences.std(ddof=1)) if n > 1 else 0.0
    size = None
    if spread > tiny:
        size = float(differences.mean()) / spread * (1 - 3 / (4 * (n - 1) - 1))
    return Effect(better, worse, n - better - worse, (better + (n - better - worse) / 2) / n, ratio, size)


def noise_floor(values: Array, level: float = 0.95) -> NoiseFloor | None:
    """From one variant's scores (examples, repeats); None without an example that is scored twice."""
    scores = columns(values)
    counts = np.isfinite(scores).sum(axis=1)
    twice = counts > 1
    n = int(twice.sum())
    if not n:
        return None
    within = float(np.nanvar(scores[twice], axis=1, ddof=1).mean())
    # each example's mean has the variance within / its repeats
    variance = float((within / counts[twice]).mean()) / n
    return NoiseFloor(z_of(level) * math.sqrt(2 * variance), n, float(counts[twice].mean()), level)


def self_disagreement(values: Array) -> float | None:
    """The share of pairs of an example's repeats whose scores differ, over examples scored at least twice; else None.

    An example of r repeats has r (r - 1) / 2 such pairs and counts once, whatever r is.
    """
    scores = columns(values)
    scores = scores[np.isfinite(scores).sum(axis=1) > 1]
    if not len(scores):
        return None
    differ = pairs = np.zeros(len(scores))
    for first in range(scores.shape[1]):
        for second in range(first + 1, scores.shape[1]):
            one, other = scores[:, first], scores[:, second]
            known = np.isfinite(one) & np.isfinite(other)
            pairs = pairs + known
            differ = differ + (known & ~np.isclose(one, other, rtol=1e-12, atol=1e-12))
    return float((differ / pairs).mean())


def fragility(
    differences: Array, decision: str, decide: Callable[[npt.NDArray[np.intp]], str], *, most: int = _MOST_LEFT_OUT
) -> tuple[int, str] | None:
    """How few of the examples that speak most for the decision change it when they are left out, and what it is then.

    differences: of each example, (examples,), NaN without a pair. decide: the decision without the examples at these positions.
    None if it stands without the `most` strongest (or there are no more than these). The strongest are those on the side of the
    mean difference, largest first.
    """
    known = np.flatnonzero(np.isfinite(differences))
    if len(known) < 2:
        return None
    towards = differences[known] if differences[known].mean() >= 0 else -differences[known]
    order = known[np.argsort(-towards, kind="stable")]
    for count in range(1, min(most, len(known) - 1) + 1):
        now = decide(order[:count])
        if now != decision:
            return count, now
    return None
