"""Intervals for scores and for paired differences of scores. The unit is the example: its repeats are nested in it.

Arrays are (examples, repeats) or (examples,); NaN means unscored. Intervals are two-sided. What `Paired.method` names:

wilson         one right/wrong score: Wilson (1927), J. Am. Stat. Assoc. 22, 209.
tango          the difference of two right/wrong scores: Tango (1998), Statistics in Medicine 17, 891.
tango-cluster  the same where an example's repeats disagree: the shares of gained and lost pairs over all pairings of its
               repeats, and as many effective pairs as give the variance of the examples' mean differences (the design effect
               of Rao and Scott 1992, Biometrics 48, 577; for matched pairs Yang, Sun and Hardin 2012, Pharmaceutical
               Statistics 11, 386). One score with repeats takes Wilson's interval in the same way.
score          the same idea for any score on a bounded scale. Of all distributions on the scale that have the mean in
               question, the likeliest given the data (Owen 2001, Empirical Likelihood, ch. 2, on the values seen and both
               ends of the scale) supplies the variance of the score test; the interval is where that test does not
               reject. On right/wrong data it equals wilson and tango, and it stays honest where nothing varies: n equal
               values leave z**2 / (n + z**2) of the scale open, the score test's form of the rule of three.
bootstrap-t    resamples examples and studentises: Efron and Tibshirani (1993), An Introduction to the Bootstrap, 12.5;
               Hall (1992), The Bootstrap and Edgeworth Expansion, 3. Its two cut-offs go half way to Student's: alone they
               are too wide with skewed and too narrow with heavy-tailed scores of 20 examples; half way both cover.
               Measured on the grid of docs/statistics.md by benchmarks/intervals.py, not derived.
t              Student's t.
ppi            a judge's difference, corrected by what people said of a part of the examples: Angelopoulos et al. (2023), Science
               382, 669, with the weight of PPI++ (Angelopoulos, Duchi and Zrnic 2023); see `judging.correction`. `people`: the
               same where the judge is of no use, so that people's part decides alone.

Right/wrong data take wilson or tango. All else takes `score` where a bootstrap has too little to resample (fewer than 8
examples, or fewer than 20 that depart from a value which a quarter of them share: then many resamples have no variance at
all), t where more than 2,000 depart (the bootstrap's limit, at no cost), and bootstrap-t between. The scale is 0 to 1 if
every score lies there; otherwise it reaches from the lowest to the highest score seen, and to 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError
from workbench.evaluation.intervals import (
    check_shares,
    interval_of_mean,
    mcnemar,
    tango,
    tango_p,
    wilson,
    wilson_share,
)
from workbench.evaluation.power import discordance_sd, examples_needed, smallest_difference, wilson_trials
from workbench.evaluation.quantiles import quantile_ratio_interval
from workbench.records import Interval

__all__ = [
    "Paired",
    "discordance_sd",
    "example_means",
    "examples_needed",
    "mean_interval",
    "paired_interval",
    "quantile_ratio_interval",
    "score_scale",
    "smallest_difference",
    "wilson",
    "wilson_trials",
]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Paired:
    """The mean of variant - control over examples that both have scored.

    n: those examples; discordant: how many of them differ; left_out: examples without such a pair.
    p_value: two-sided, of no difference. sd: of the examples' differences, None for a single one.
    span: the largest difference that the scale allows, where the method rests on it (tango, tango-cluster, score), else None.
    labels: of a judge's score, examples whose answers people have rated; judged: the judge's own difference where those correct
    it.
    """

    interval: Interval
    method: str
    p_value: float
    n: int
    discordant: int
    left_out: int
    sd: float | None
    span: float | None
    labels: int | None = None
    judged: float | None = None


def mean_interval(values: Array, level: float = 0.95, seed: int = 0, binary: bool | None = None) -> Interval | None:
    """Mean score of one variant over its scored examples; None if nothing is scored.

    values: (examples,) or (examples, repeats). binary: whether scores are right/wrong; None looks at them.
    One example, or examples that are all equal, give the `score` interval: wide, never of zero width.
    """
    check_shares(level)
    scores = _matrix(values, "values")
    means, scored = example_means(scores)
    means = means[scored]
    if not means.size:
        return None
    if _is_binary((scores,), binary):
        share = float(np.sort(means).mean())
        most = float(np.isfinite(scores).sum())
        return wilson_share(share, _effective(means, share * (1 - share), most), level)
    lo, hi, known = score_scale((scores,))
    interval, _, _ = interval_of_mean(means, lo, hi, known, level, seed, 9_999)
    return interval


def paired_interval(
    control: Array,
    variant: Array,
    *,
    level: float = 0.95,
    seed: int = 0,
    binary: bool | None = None,
    resamples: int = 9_999,
) -> Paired | None:
    """Mean of variant - control with interval and p-value; None if no example is scored in both.

    control, variant: (examples,) or (examples, repeats), aligned by example; repeats may differ in number.
    binary: whether scores are right/wrong; None looks at them; True with other values is an InputError.
    The p-value of tango is the exact conditional McNemar test's (McNemar 1947, Psychometrika 12, 153), which is cautious
    and at the edge can disagree with the interval: the interval decides. The other p-values invert their interval.
    """
    check_shares(level)
    if resamples < 999:
        raise InputError(f"resamples = {resamples!r} is too few for the tails of an interval: use at least 999.")
    first, second = _matrix(control, "control"), _matrix(variant, "variant")
    if len(first) != len(second):
        raise InputError(
            f"control has {len(first)} examples and variant has {len(second)}: row i of both must be the same example; "
            "give NaN where one has no score."
        )
    before, has_before = example_means(first)
    after, has_after = example_means(second)
    both = has_before & has_after
    n = int(both.sum())
    if not n:
        return None
    before, after = before[both], after[both]
    lo, hi, known = score_scale((first[both], second[both]))
    span = hi - lo
    differences = _snap(after - before, span)
    discordant = int(np.count_nonzero(differences))
    sd = float(differences.std(ddof=1)) if n > 1 else None
    counts = (n, discordant, len(both) - n, sd)
    if _is_binary((first[both], second[both]), binary):
        if bool(np.isin(before, (0.0, 1.0)).all() and np.isin(after, (0.0, 1.0)).all()):
            gained, lost = int((differences > 0).sum()), int((differences < 0).sum())
            return Paired(tango(gained, lost, n, level), "tango", mcnemar(gained, lost), *counts, 1.0)
        estimate = float(np.sort(differences).mean())
        differing = float(np.sort((1 - before) * after + before * (1 - after)).mean())
        most = np.minimum(np.isfinite(first[both]).sum(axis=1), np.isfinite(second[both]).sum(axis=1)).sum()
        pairs = _effective(differences, differing - estimate**2, float(most))
        won, missed = pairs * (differing + estimate) / 2, pairs * (differing - estimate) / 2
        return Paired(tango(won, missed, pairs, level), "tango-cluster", tango_p(won, missed), *counts, 1.0)
    interval, method, p_value = interval_of_mean(differences, -span, span, known, level, seed, resamples)
    return Paired(interval, method, p_value, *counts, span if method == "score" else None)


def _effective(values: Array, variance: float, most: float) -> float:
    """How many independent values of this variance tell as much about the mean as these examples' means do.

    At least the examples, as if repeats brought nothing new, and at most all repeats, as if they were independent.
    """
    n = len(values)
    spread = float(np.sort(values).var(ddof=1)) if n > 1 else 0.0
    return min(max(n * variance / spread, float(n)), max(most, float(n))) if spread > 0 else float(n)


def _matrix(values: Array, name: str) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim not in (1, 2):
        raise InputError(f"{name} has shape {array.shape}: give (examples,) or (examples, repeats).")
    array = array[:, None] if array.ndim == 1 else array
    return np.where(np.isfinite(array), array, np.nan)


def example_means(scores: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Mean over scored repeats (0 where there is none), and which examples have one: both (examples,)."""
    counts = np.isfinite(scores).sum(axis=1)
    return np.nansum(scores, axis=1) / np.maximum(counts, 1), counts > 0


def _snap(differences: Array, span: float) -> Array:
    """Differences with those made equal that rounding alone tells apart: means of thirds differ by 1e-17."""
    _, first, group = np.unique(np.round(differences / span, 12), return_index=True, return_inverse=True)
    snapped = differences[first][group]
    return np.where(np.abs(snapped) < 1e-12 * span, 0.0, snapped)


def _is_binary(arrays: tuple[Array, ...], binary: bool | None) -> bool:
    if binary is False:
        return False
    fits = all(bool(np.isin(scores[np.isfinite(scores)], (0.0, 1.0)).all()) for scores in arrays)
    if binary and not fits:
        raise InputError("binary = True, but there are scores other than 0 and 1: leave binary out, or say False.")
    return fits


def score_scale(arrays: tuple[Array, ...]) -> tuple[float, float, bool]:
    """Lowest and highest possible score, and whether that is known (0 to 1) or taken from the data."""
    low = min(float(np.nanmin(scores)) for scores in arrays)
    high = max(float(np.nanmax(scores)) for scores in arrays)
    return (0.0, 1.0, True) if low >= 0 and high <= 1 else (min(low, 0.0), max(high, 0.0), False)
