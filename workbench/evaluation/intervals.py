"""Intervals for one mean: the machinery behind `statistics`, whose docstring names methods and sources.

`x` holds one number an example, `lo` and `hi` are the ends of the scale, n and counts may be effective ones.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, ndtr, ndtri, stdtr, stdtrit

from workbench.errors import InputError
from workbench.records import Interval

__all__ = [
    "check_shares",
    "interval_of_mean",
    "mcnemar",
    "studentised",
    "tails",
    "tango",
    "tango_p",
    "wilson",
    "wilson_share",
    "z_of",
]

Array = npt.NDArray[np.float64]

_FEWEST_EXAMPLES = 8
_FEWEST_DEPARTURES = 20
_SHARED = 0.25
_MOST_DEPARTURES = 2_000
_CHUNK = 2_000_000


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval for `successes` of `n`. InputError unless 0 <= successes <= n and n >= 1."""
    if n < 1 or not 0 <= successes <= n:
        raise InputError(f"successes = {successes!r} of n = {n!r}: give n >= 1 and successes from 0 to n.")
    return wilson_share(successes / n, n, level)


def wilson_share(share: float, n: float, level: float) -> Interval:
    """Wilson's interval for a share of an effective number of trials, which need not be whole."""
    z = z_of(level)
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low = 0.0 if share == 0 else middle - half
    high = 1.0 if share == 1 else middle + half
    return Interval(share, low, high, level)


def tango(gained: float, lost: float, n: float, level: float) -> Interval:
    """Tango's interval for (gained - lost) / n, by bisection on his score with the closed-form constrained estimate.

    The counts may be effective ones, which need not be whole.
    """
    z = z_of(level)
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


def tango_p(gained: float, lost: float) -> float:
    """Two-sided p-value of Tango's score test of no difference, which is McNemar's test without a correction."""
    if gained + lost <= 0:
        return 1.0
    return 2 * float(ndtr(-abs(gained - lost) / math.sqrt(gained + lost)))


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided p-value of the exact conditional McNemar test; 1 without discordant pairs."""
    return min(1.0, 2 * float(bdtr(min(gained, lost), gained + lost, 0.5)))


def interval_of_mean(
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
        low, high = _score_limits(values, counts / n, n, lo, hi, z_of(level))
        p_value = _score_p(values, counts / n, n, lo, hi) if lo < 0 < hi else 1.0
        return Interval(mean, min(low, mean), max(high, mean), level), "score", p_value
    error = float(x.std(ddof=1)) / math.sqrt(n)
    if departures > _MOST_DEPARTURES:
        reach = float(stdtrit(n - 1, 0.5 + level / 2)) * error
        low, high, method = mean - reach, mean + reach, "t"
        p_value = 2 * float(stdtr(n - 1, -abs(mean) / error))
    else:
        draws = studentised(x, most_common, seed, resamples)
        below, above = tails(draws, level)
        half_way = float(stdtrit(n - 1, 0.5 + level / 2))
        below, above = (below - half_way) / 2, (above + half_way) / 2
        low, high, method = mean - above * error, mean - below * error, "bootstrap-t"
        p_value = _half_way_p(draws, mean / error, n)
    if known or not math.isfinite(low):
        low = max(low, lo)
    if known or not math.isfinite(high):
        high = min(high, hi)
    return Interval(mean, min(low, mean), max(high, mean), level), method, min(1.0, p_value)


def _half_way_p(draws: Array, observed: float, n: int) -> float:
    """Two-sided p-value that inverts the interval: twice the smallest tail at whose cut-off `observed` lies."""
    count = len(draws)
    ranks = np.arange(1, count // 2 + 1)
    student = stdtrit(n - 1, 1 - ranks / (count + 1))
    cutoffs = (draws[::-1][: len(ranks)] + student) / 2 if observed > 0 else (student - draws[: len(ranks)]) / 2
    inside = int((cutoffs >= abs(observed)).sum())
    return min(1.0, 2 * (inside + 1) / (count + 1))


def studentised(x: Array, most_common: float, seed: int, resamples: int) -> Array:
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


def tails(ordered: Array, level: float) -> tuple[float, float]:
    """The two order statistics that leave (1 - level) / 2 outside on each side."""
    rank = max(1, math.floor((len(ordered) + 1) * (1 - level) / 2))
    return float(ordered[rank - 1]), float(ordered[-rank])


def z_of(level: float) -> float:
    """The two-sided normal quantile of a level."""
    check_shares(level)
    return float(ndtri(0.5 + level / 2))


def check_shares(level: float, power: float = 0.8) -> None:
    """InputError unless both lie between 0 and 1."""
    for name, value, usual in (("level", level, 0.95), ("power", power, 0.8)):
        if not 0 < value < 1:
            raise InputError(f"{name} = {value!r} must lie between 0 and 1, such as {usual}.")
