"""Intervals for scores and for paired differences of scores. The unit is the example: its repeats are averaged first.

Arrays are (examples, repeats) or (examples,); NaN means unscored. Intervals are two-sided. What `Paired.method` names:

wilson       one right/wrong score: Wilson (1927), J. Am. Stat. Assoc. 22, 209.
tango        the difference of two right/wrong scores: Tango (1998), Statistics in Medicine 17, 891.
score        the same idea for any score on a bounded scale. Of all distributions on the scale that have the mean in
             question, the likeliest given the data (Owen 2001, Empirical Likelihood, ch. 2, on the values seen and both
             ends of the scale) supplies the variance of the score test; the interval is where that test does not
             reject. On right/wrong data it equals wilson and tango, and it stays honest where nothing varies: n equal
             values leave z**2 / (n + z**2) of the scale open, the score test's form of the rule of three.
bootstrap-t  resamples examples and studentises: Efron and Tibshirani (1993), An Introduction to the Bootstrap, 12.5;
             Hall (1992), The Bootstrap and Edgeworth Expansion, 3.
t            Student's t.

Right/wrong data take wilson or tango where the repeats of every example agree. All else takes `score` where a bootstrap
has too little to resample (fewer than 8 examples, or fewer than 20 that depart from a value which a quarter of them
share: then many resamples have no variance at all), t where more than 2,000 depart (the bootstrap's limit, at no cost),
and bootstrap-t between. The scale is 0 to 1 if every score lies there; otherwise it reaches from the lowest to the
highest score seen, and to 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, ndtr, ndtri, stdtr, stdtrit

from workbench.errors import InputError
from workbench.records import Interval

__all__ = [
    "Paired",
    "discordance_sd",
    "examples_needed",
    "mean_interval",
    "median_ratio_interval",
    "paired_interval",
    "smallest_difference",
    "wilson",
    "wilson_trials",
]

Array = npt.NDArray[np.float64]

_FEWEST_EXAMPLES = 8
_FEWEST_DEPARTURES = 20
_SHARED = 0.25
_MOST_DEPARTURES = 2_000
_CHUNK = 2_000_000
_MEDIAN_RESAMPLES = 2_000
_MEDIAN_SIZE = 2_000


@dataclass(frozen=True, slots=True)
class Paired:
    """The mean of variant - control over examples that both have scored.

    n: those examples; discordant: how many of them differ; left_out: examples without such a pair.
    p_value: two-sided, of no difference. sd: of the examples' differences, None for a single one.
    span: the largest difference that the scale allows, where the method rests on it (tango, score), else None.
    """

    interval: Interval
    method: str
    p_value: float
    n: int
    discordant: int
    left_out: int
    sd: float | None
    span: float | None


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval for `successes` of `n`. InputError unless 0 <= successes <= n and n >= 1."""
    if n < 1 or not 0 <= successes <= n:
        raise InputError(f"successes = {successes!r} of n = {n!r}: give n >= 1 and successes from 0 to n.")
    z = _z(level)
    share = successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low = 0.0 if successes == 0 else middle - half
    high = 1.0 if successes == n else middle + half
    return Interval(share, low, high, level)


def wilson_trials(share: float, bound: float, level: float = 0.95) -> int | None:
    """Trials after which Wilson's interval for a share that stays at `share` ends below `bound`; None if share >= bound.

    The score test's own condition, (bound - share)**2 = z**2 bound (1 - bound) / n, solved for n.
    """
    if share >= bound:
        return None
    return math.ceil(_z(level) ** 2 * bound * (1 - bound) / (bound - share) ** 2)


def mean_interval(values: Array, level: float = 0.95, seed: int = 0, binary: bool | None = None) -> Interval | None:
    """Mean score of one variant over its scored examples; None if nothing is scored.

    values: (examples,) or (examples, repeats). binary: whether scores are right/wrong; None looks at them.
    One example, or examples that are all equal, give the `score` interval: wide, never of zero width.
    """
    _check_shares(level)
    scores = _matrix(values, "values")
    means, scored = _example_means(scores)
    means = means[scored]
    if not means.size:
        return None
    if _is_binary((scores,), binary) and bool(np.isin(means, (0.0, 1.0)).all()):
        return wilson(int(means.sum()), means.size, level)
    lo, hi, known = _scale((scores,))
    interval, _, _ = _mean(means, lo, hi, known, level, seed, 9_999)
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
    The p-value of tango is McNemar's mid-p (Fagerland, Lydersen and Laake 2013, BMC Med. Res. Methodol. 13:91: the
    exact conditional test is needlessly conservative, mid-p kept its level throughout), which at the edge can disagree
    with the interval: the interval decides. The other p-values invert their interval.
    """
    _check_shares(level)
    if resamples < 999:
        raise InputError(f"resamples = {resamples!r} is too few for the tails of an interval: use at least 999.")
    first, second = _matrix(control, "control"), _matrix(variant, "variant")
    if len(first) != len(second):
        raise InputError(
            f"control has {len(first)} examples and variant has {len(second)}: row i of both must be the same example; "
            "give NaN where one has no score."
        )
    before, has_before = _example_means(first)
    after, has_after = _example_means(second)
    both = has_before & has_after
    n = int(both.sum())
    if not n:
        return None
    before, after = before[both], after[both]
    lo, hi, known = _scale((first[both], second[both]))
    span = hi - lo
    differences = _snap(after - before, span)
    discordant = int(np.count_nonzero(differences))
    sd = float(differences.std(ddof=1)) if n > 1 else None
    if _is_binary((first[both], second[both]), binary) and bool(np.isin(differences, (-1.0, 0.0, 1.0)).all()):
        gained, lost = int((differences > 0).sum()), int((differences < 0).sum())
        interval = _tango(gained, lost, n, level)
        return Paired(interval, "tango", _mcnemar(gained, lost), n, discordant, len(both) - n, sd, 1.0)
    interval, method, p_value = _mean(differences, -span, span, known, level, seed, resamples)
    kept = span if method == "score" else None
    return Paired(interval, method, p_value, n, discordant, len(both) - n, sd, kept)


def examples_needed(
    sd: float | None, margin: float, level: float = 0.95, power: float = 0.8, *, span: float | None = None
) -> int | None:
    """Examples after which the interval lies within ±margin with this power if the variants are truly equal.

    sd: of the paired differences (`Paired.sd`), so that no observed difference enters. Two one-sided tests, each at
    (1 - level) / 2, as the interval implies: Chow, Shao and Wang (2008), Sample Size Calculations, 3.1, with t for z.
    A true difference of the margin's size is then told from 0 with more than this power.
    span: `Paired.span`; where the interval keeps part of the scale open, equal scores need z**2 (span / margin - 1).
    None if the margin is not positive or the sd unknown, or 0 without a span.
    """
    _check_shares(level, power)
    if not margin > 0 or sd is None or not math.isfinite(sd) or sd < 0 or (sd == 0 and span is None):
        return None
    n = max(2, math.ceil(((_z(level) + float(ndtri(0.5 + power / 2))) * sd / margin) ** 2))
    # Beyond 1,000 t and z agree to an example or two.
    while n < 1_000 and n < ((stdtrit(n - 1, 0.5 + level / 2) + stdtrit(n - 1, 0.5 + power / 2)) * sd / margin) ** 2:
        n += 1
    floor = 0 if span is None else math.ceil(_z(level) ** 2 * (span / margin - 1))
    return max(n, floor)


def smallest_difference(n: int, sd: float, level: float = 0.95, power: float = 0.8) -> float:
    """True mean difference that n examples separate from 0 with this power: (t + t) sd / sqrt(n); inf for n < 2."""
    _check_shares(level, power)
    if not (math.isfinite(sd) and sd >= 0):
        raise InputError(f"sd = {sd!r} must be a number of at least 0: the spread of the paired differences.")
    if n < 2:
        return math.inf
    return float(stdtrit(n - 1, 0.5 + level / 2) + stdtrit(n - 1, power)) * sd / math.sqrt(n)


def discordance_sd(p_discordant: float) -> float:
    """Sd of right/wrong differences when this share of examples differs and no side is better: sqrt(p), at most 1."""
    if not 0 <= p_discordant <= 1:
        raise InputError(f"p_discordant = {p_discordant!r} must be a share between 0 and 1.")
    return math.sqrt(p_discordant)


def median_ratio_interval(control: Array, variant: Array, level: float = 0.95, seed: int = 0) -> Interval | None:
    """Median of variant over median of control (1.2 is 20% more), over examples that both have measured.

    control, variant: values of at least 0 such as latency or cost, (examples,) or (examples, repeats), NaN unmeasured.
    An example's repeats count as their median. Percentile bootstrap over examples (Efron and Tibshirani 1993, 13.3), on
    the log of the ratio. Beyond 2,000 examples resamples have that size and the spread is scaled by sqrt(2,000 / n)
    (m out of n: Bickel, Götze and van Zwet 1997, Statistica Sinica 7, 1). None if no interval for a median can hold its
    level (1 - 2**(1 - n) < level: fewer than 6 examples at 95%) or a median that occurs is 0. InputError below 0.
    """
    _check_shares(level)
    first, second = _matrix(control, "control"), _matrix(variant, "variant")
    if len(first) != len(second):
        raise InputError(f"control has {len(first)} examples and variant has {len(second)}: align them by example.")
    for name, values in (("control", first), ("variant", second)):
        if (values < 0).any():
            raise InputError(
                f"{name} holds {float(np.nanmin(values))!r}: a ratio of medians needs values of at least 0."
            )
    both = np.isfinite(first).any(axis=1) & np.isfinite(second).any(axis=1)
    n = int(both.sum())
    if not n or 1 - 2.0 ** (1 - n) < level:
        return None
    pairs = np.stack([np.nanmedian(first[both], axis=1), np.nanmedian(second[both], axis=1)])
    pairs = pairs[:, np.lexsort(pairs)]
    centre = np.median(pairs, axis=1)
    size = min(n, _MEDIAN_SIZE)
    rng = np.random.default_rng(seed)
    logs: list[Array] = []
    step = max(1, _CHUNK // (2 * size))
    for start in range(0, _MEDIAN_RESAMPLES, step):
        picked = rng.integers(0, n, (min(step, _MEDIAN_RESAMPLES - start), size))
        medians = np.median(pairs[:, picked], axis=2)
        if not medians.all():
            return None
        logs.append(np.log(medians[1] / medians[0]))
    if not centre.all():
        return None
    ratio = math.log(centre[1] / centre[0])
    spread = (np.sort(np.concatenate(logs)) - ratio) * math.sqrt(size / n)
    low, high = _tails(spread, level)
    return Interval(math.exp(ratio), math.exp(ratio + min(low, 0.0)), math.exp(ratio + max(high, 0.0)), level)


def _mean(
    x: Array, lo: float, hi: float, known: bool, level: float, seed: int, resamples: int
) -> tuple[Interval, str, float]:
    """Interval for the mean of `x` on the scale lo..hi, the method, and the p-value of a mean of 0 (1 if lo..hi ends there)."""
    x = np.sort(x)  # the order of the examples must not matter
    n = len(x)
    values, counts = np.unique(x, return_counts=True)
    most_common = float(values[counts.argmax()])
    departures = n - int(counts.max())
    mean = float(x.mean())
    if n < _FEWEST_EXAMPLES or (departures < _FEWEST_DEPARTURES and counts.max() >= _SHARED * n):
        low, high = _score_limits(values, counts / n, n, lo, hi, _z(level))
        p_value = _score_p(values, counts / n, n, lo, hi) if lo < 0 < hi else 1.0
        return Interval(mean, min(low, mean), max(high, mean), level), "score", p_value
    error = float(x.std(ddof=1)) / math.sqrt(n)
    if departures > _MOST_DEPARTURES:
        reach = float(stdtrit(n - 1, 0.5 + level / 2)) * error
        low, high, method = mean - reach, mean + reach, "t"
        p_value = 2 * float(stdtr(n - 1, -abs(mean) / error))
    else:
        draws = _studentised(x, most_common, seed, resamples)
        below, above = _tails(draws, level)
        low, high, method = mean - above * error, mean - below * error, "bootstrap-t"
        observed = mean / error
        right, left = int((draws >= observed).sum()), int((draws <= observed).sum())
        p_value = 2 * (1 + min(right, left)) / (resamples + 1)
    if known or not math.isfinite(low):
        low = max(low, lo)
    if known or not math.isfinite(high):
        high = min(high, hi)
    return Interval(mean, min(low, mean), max(high, mean), level), method, min(1.0, p_value)


def _studentised(x: Array, most_common: float, seed: int, resamples: int) -> Array:
    """Sorted (mean* - mean) / error* of `resamples` resamples, (resamples,).

    Only departures from the most common value are drawn, their number being binomial: the same distribution at the cost
    of the departures. A resample without variance lies infinitely many errors from the mean, on its side.
    """
    n = len(x)
    departures = x[x != most_common] - most_common
    k = len(departures)
    mean = departures.sum() / n
    tiny = 1e-12 * np.abs(departures).max()
    rng = np.random.default_rng(seed)
    draws = np.empty(resamples)
    step = max(1, _CHUNK // k)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        hits = rng.binomial(n, k / n, size)
        drawn = departures[rng.integers(0, k, int(hits.sum()))]
        owner = np.repeat(np.arange(size), hits)
        total = np.bincount(owner, drawn, size)
        squares = np.bincount(owner, drawn * drawn, size)
        offset = total / n - mean
        around = squares - total * total / n
        flat = around <= 1e-10 * squares
        error = np.sqrt(np.where(flat, 1.0, around) / (n - 1) / n)
        far = np.where(np.abs(offset) <= tiny, 0.0, np.copysign(np.inf, offset))
        draws[start : start + size] = np.where(flat, far, offset / error)
    return np.sort(draws)


def _score_limits(values: Array, weights: Array, n: int, lo: float, hi: float, z: float) -> tuple[float, float]:
    """The outermost means within lo..hi at which the score test's statistic is at most z."""
    return -_score_upper(-values, weights, n, -lo, z), _score_upper(values, weights, n, hi, z)


def _score_upper(values: Array, weights: Array, n: int, top: float, z: float) -> float:
    mean = float(values @ weights)
    if mean >= top:
        return top
    limit = (n * mean + z * z * top) / (n + z * z)  # where n (limit - mean) / (top - limit) = z**2
    if limit >= _turning(values, weights, top):
        return limit
    near, far = 0.0, 1.0
    for _ in range(60):
        middle = (near + far) / 2
        tilted, variance = _tilted(values, weights, top, middle)
        near, far = (middle, far) if n * (tilted - mean) ** 2 <= z * z * variance else (near, middle)
    return _tilted(values, weights, top, near)[0]


def _score_p(values: Array, weights: Array, n: int, lo: float, hi: float) -> float:
    """Two-sided p-value of a mean of 0, for lo < 0 < hi."""
    if values @ weights > 0:
        values, hi = -values, -lo
    mean = float(values @ weights)
    if mean == 0:
        return 1.0
    if _turning(values, weights, hi) <= 0:
        return 2 * float(ndtr(-math.sqrt(-n * mean / hi)))
    near, far = 0.0, 1.0
    for _ in range(60):
        middle = (near + far) / 2
        near, far = (middle, far) if _tilted(values, weights, hi, middle)[0] <= 0 else (near, middle)
    return 2 * float(ndtr(mean * math.sqrt(n / _tilted(values, weights, hi, near)[1])))


def _tilted(values: Array, weights: Array, top: float, tilt: float) -> tuple[float, float]:
    """Mean and variance of the likeliest distribution on `values` with a higher mean, for 0 <= tilt < 1.

    Its weights are in proportion to weights / (1 - tilt (value - mean) / (top - mean)), which tilt 0 leaves as they are.
    """
    mean = float(values @ weights)
    mass = weights / (1 - tilt * (values - mean) / (top - mean))
    mass = mass / mass.sum()
    tilted = float(mass @ values)
    return tilted, float(mass @ (values - tilted) ** 2)


def _turning(values: Array, weights: Array, top: float) -> float:
    """The mean from which on the likeliest distribution puts new mass on `top`, if that was not seen.

    From there its weights are weights (top - mean') / (top - value) and the rest is at the top, so that its variance is
    (top - mean') (mean' - mean): the score test no longer looks at how the values lie.
    """
    return top if values.max() >= top else top - 1 / float((weights / (top - values)).sum())


def _tango(gained: int, lost: int, n: int, level: float) -> Interval:
    """Tango's interval for (gained - lost) / n, by bisection on his score with the closed-form constrained estimate."""
    z = _z(level)
    estimate = (gained - lost) / n

    def accepted(delta: float) -> bool:
        linear = (2 * n + lost - gained) * delta - gained - lost
        root = math.sqrt(max(linear * linear + 8 * n * lost * delta * (1 - delta), 0.0))
        losses = (root - linear) / (4 * n)
        variance = n * (2 * losses + delta * (1 - delta))
        return (gained - lost - n * delta) ** 2 <= z * z * max(variance, 0.0)

    limits = []
    for end in (-1.0, 1.0):
        near, far = estimate, end
        for _ in range(60):
            middle = (near + far) / 2
            near, far = (middle, far) if accepted(middle) else (near, middle)
        limits.append(end if abs(near - end) < 1e-12 else near)
    return Interval(estimate, limits[0], limits[1], level)


def _mcnemar(gained: int, lost: int) -> float:
    """Two-sided mid-p of the exact conditional McNemar test; 1 without discordant pairs."""
    n, fewer = gained + lost, min(gained, lost)
    if gained == lost:
        return 1.0
    tail = float(bdtr(fewer, n, 0.5))
    before = float(bdtr(fewer - 1, n, 0.5)) if fewer else 0.0
    return tail + before


def _tails(ordered: Array, level: float) -> tuple[float, float]:
    """The two order statistics that leave (1 - level) / 2 outside on each side."""
    rank = max(1, math.floor((len(ordered) + 1) * (1 - level) / 2))
    return float(ordered[rank - 1]), float(ordered[-rank])


def _matrix(values: Array, name: str) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim not in (1, 2):
        raise InputError(f"{name} has shape {array.shape}: give (examples,) or (examples, repeats).")
    array = array[:, None] if array.ndim == 1 else array
    return np.where(np.isfinite(array), array, np.nan)


def _example_means(scores: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
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


def _scale(arrays: tuple[Array, ...]) -> tuple[float, float, bool]:
    """Lowest and highest possible score, and whether that is known (0 to 1) or taken from the data."""
    low = min(float(np.nanmin(scores)) for scores in arrays)
    high = max(float(np.nanmax(scores)) for scores in arrays)
    return (0.0, 1.0, True) if low >= 0 and high <= 1 else (min(low, 0.0), max(high, 0.0), False)


def _z(level: float) -> float:
    _check_shares(level)
    return float(ndtri(0.5 + level / 2))


def _check_shares(level: float, power: float = 0.8) -> None:
    for name, value, usual in (("level", level, 0.95), ("power", power, 0.8)):
        if not 0 < value < 1:
            raise InputError(f"{name} = {value!r} must lie between 0 and 1, such as {usual}.")
