"""Latency and cost: how a quantile of the variant relates to the control's, paired by example."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr

from workbench.errors import InputError
from workbench.evaluation.intervals import check_shares, tails
from workbench.records import Interval

__all__ = ["examples_for_quantile", "quantile_interval", "quantile_ratio_interval"]

Array = npt.NDArray[np.float64]

_CHUNK = 2_000_000
_RESAMPLES = 2_000
_SIZE = 2_000


def quantile_interval(values: Array, quantile: float, level: float = 0.95) -> Interval | None:
    """A quantile of one variant, such as its P95 latency; None if nothing was measured.

    values: at least 0, (examples,) or (examples, repeats), NaN unmeasured; inf is slower than any. Between two order statistics,
    whose ranks are the binomial's (distribution-free: Conover 1999, Practical Nonparametric Statistics, 3.2). An example's
    repeats are pooled but count as one, so that the interval is not too narrow if they are alike. Where too few examples
    limit it, `low` is 0 or `high` infinite.
    """
    check_shares(level)
    if not 0 < quantile < 1:
        raise InputError(f"quantile = {quantile!r} must lie between 0 and 1, such as 0.95.")
    array = np.asarray(values, dtype=np.float64)
    array = array[:, None] if array.ndim == 1 else array
    there = ~np.isnan(array)
    n, pooled = int(there.any(axis=1).sum()), np.sort(array[there])
    if not n:
        return None
    below = bdtr(np.arange(n), n, quantile)  # P(at most k of n lie below the quantile), k = 0 ... n - 1
    tail, each = (1 - level) / 2, len(pooled) / n
    first = int(np.searchsorted(below, tail, side="right"))  # the rank of the lower end, 0 if there is none
    last = int(np.searchsorted(below, 1 - tail, side="left")) + 1  # of the upper end, n + 1 if there is none
    low = float(pooled[math.floor((first - 1) * each)]) if first else 0.0
    high = float(pooled[math.ceil(last * each) - 1]) if last <= n else math.inf
    if math.isfinite(pooled[-1]):
        estimate = float(np.quantile(pooled, quantile))
    else:  # between two infinities lies nothing
        estimate = float(np.quantile(pooled, quantile, method="inverted_cdf"))
    return Interval(estimate, low, high, level)


def examples_for_quantile(quantile: float, level: float = 0.95) -> int:
    """The fewest examples that give `quantile_interval` an upper end: 72 for P95 at 95%."""
    return math.ceil(math.log((1 - level) / 2) / math.log(quantile))


def quantile_ratio_interval(
    control: Array, variant: Array, quantile: float = 0.5, level: float = 0.95, seed: int = 0
) -> Interval | None:
    """A quantile of variant over that of control (1.2 is 20% more), over examples that both have measured.

    control, variant: values of at least 0 such as latency or cost, (examples,) or (examples, repeats), NaN unmeasured.
    Of the median an example's repeats count as their median; of other quantiles each repeat counts, and a missing one as the
    example's median. Percentile bootstrap over examples (Efron and Tibshirani 1993, 13.3), on the log of the ratio. Beyond
    2,000 examples resamples have that size and the spread is scaled by sqrt(2,000 / n) (m out of n: Bickel, Götze and van
    Zwet 1997, Statistica Sinica 7, 1). None if no interval for this quantile can hold its level (1 - q**n - (1 - q)**n <
    level: fewer than 6 examples for the median, 59 for P95, at 95%) or a quantile that occurs is 0. InputError below 0.
    """
    check_shares(level)
    if not 0 < quantile < 1:
        raise InputError(f"quantile = {quantile!r} must lie between 0 and 1, such as 0.95.")
    first, second = _columns(control, "control"), _columns(variant, "variant")
    if len(first) != len(second):
        raise InputError(f"control has {len(first)} examples and variant has {len(second)}: align them by example.")
    for name, values in (("control", first), ("variant", second)):
        if (values < 0).any():
            raise InputError(f"{name} holds {float(np.nanmin(values))!r}: a ratio needs values of at least 0.")
    both = np.isfinite(first).any(axis=1) & np.isfinite(second).any(axis=1)
    n = int(both.sum())
    if not n or 1 - quantile**n - (1 - quantile) ** n < level:
        return None
    if quantile == 0.5:
        arms = [np.nanmedian(values[both], axis=1)[:, None] for values in (first, second)]
    else:
        arms = [_filled(values[both]) for values in (first, second)]
    order = np.lexsort([column for arm in arms for column in arm.T])  # the order of the examples must not matter
    arms = [arm[order] for arm in arms]
    centre = [float(np.quantile(arm, quantile)) for arm in arms]
    size = min(n, _SIZE)
    rng = np.random.default_rng(seed)
    logs: list[Array] = []
    step = max(1, _CHUNK // (size * (arms[0].shape[1] + arms[1].shape[1])))
    for start in range(0, _RESAMPLES, step):
        picked = rng.integers(0, n, (min(step, _RESAMPLES - start), size))
        before, after = (_quantiles(arm[picked].reshape(len(picked), -1), quantile) for arm in arms)
        if not (before.all() and after.all()):
            return None
        logs.append(np.log(after / before))
    if not all(centre):
        return None
    ratio = math.log(centre[1] / centre[0])
    spread = (np.sort(np.concatenate(logs)) - ratio) * math.sqrt(size / n)
    low, high = tails(spread, level)
    return Interval(math.exp(ratio), math.exp(ratio + min(low, 0.0)), math.exp(ratio + max(high, 0.0)), level)


def _quantiles(rows: Array, quantile: float) -> Array:
    """The quantile of each row, between its two nearest values: NumPy's, without its copies."""
    at = quantile * (rows.shape[1] - 1)
    below = math.floor(at)
    above = min(below + 1, rows.shape[1] - 1)
    rows.partition((below, above), axis=1)
    return np.asarray(rows[:, below] + (at - below) * (rows[:, above] - rows[:, below]))


def _filled(values: Array) -> Array:
    return np.where(np.isfinite(values), values, np.nanmedian(values, axis=1)[:, None])


def _columns(values: Array, name: str) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim not in (1, 2):
        raise InputError(f"{name} has shape {array.shape}: give (examples,) or (examples, repeats).")
    array = array[:, None] if array.ndim == 1 else array
    return np.where(np.isfinite(array), array, np.nan)
