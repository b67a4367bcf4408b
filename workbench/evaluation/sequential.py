"""Look at any time, stop when it is clear: confidence sequences for the mean of paired differences, in the plan's order.

Half of the error goes to stopping early, half to the interval at the planned end, so that together they keep the level:

bounded scale    the betting sequence of Waudby-Smith and Ramdas (2024, Estimating means of bounded random variables by
                 betting, J. R. Stat. Soc. B 86, 1). Against each candidate mean one bets on every next example, by what the
                 earlier ones varied; if it is the true one the capital is a martingale from 1, so that it ever exceeds
                 2 / alpha on either side with a probability of at most alpha (Ville 1939). Exact for every n, no normal
                 approximation. Bets are a mixture of four, tuned to stop at an eighth, a quarter, half and all of the
                 planned examples.
any other scale  the asymptotic sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024, Time-uniform central limit
                 theory, Annals of Statistics 52, 2613), from 50 examples on.

The mean at a stop is a little too far from 0, as with every rule that stops on what it saw; the interval allows for that.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError
from workbench.evaluation.arms import columns
from workbench.evaluation.intervals import check_shares
from workbench.evaluation.statistics import example_means, score_scale
from workbench.records import Interval

__all__ = ["EARLY", "bounds", "confidence_sequence", "evidence"]

Array = npt.NDArray[np.float64]

EARLY = 0.5
"""The part of the error that goes to stopping early."""

_HORIZONS = (1 / 8, 1 / 4, 1 / 2, 1.0)
_MOST = 0.75  # of the capital that can be lost at once
_FEWEST = 50
_STEPS = 40


def evidence(values: Array, candidate: float | Array, alpha: float, planned: int) -> Array:
    """Logarithm of the capital of bets that the mean is above `candidate`, after each value: (..., n).

    values: (..., n) between 0 and 1, in the order in which they came. candidate: above 0, below 1; shaped to go with `values`.
    planned: how many values there may be at most. Reject `candidate` where this is log(1 / alpha) or more.
    """
    n = values.shape[-1]
    count = np.arange(1, n + 1)
    mean = (0.5 + values.cumsum(axis=-1)) / (count + 1)
    squares = (0.25 + np.square(values - mean).cumsum(axis=-1)) / (count + 1)
    # what is known before the value comes
    before = np.concatenate([np.full((*values.shape[:-1], 1), 0.25), squares[..., :-1]], axis=-1)
    most = _MOST / candidate
    logs = []
    for part in _HORIZONS:
        bet = np.sqrt(2 * math.log(1 / alpha) / (part * planned * before))
        logs.append(np.log1p(np.minimum(bet, most) * (values - candidate)).cumsum(axis=-1))
    return np.asarray(np.logaddexp.reduce(logs, axis=0) - math.log(len(_HORIZONS)))


def bounds(differences: Array, span: float, alpha: float, planned: int) -> tuple[float, float]:
    """Limits of the mean difference that hold at every look with probability 1 - alpha; differences within ±span, in order."""
    if not len(differences):
        return -span, span
    low = _lower((differences / span + 1) / 2, alpha / 2, planned)
    high = 1 - _lower((1 - differences / span) / 2, alpha / 2, planned)
    return span * (2 * low - 1), span * (2 * high - 1)


def confidence_sequence(control: Array, variant: Array, *, planned: int, level: float = 0.95) -> Interval | None:
    """The interval of the mean of variant - control after the examples so far, whenever one looks; None if none has both.

    control, variant: (examples,) or (examples, repeats), NaN unscored, in the order of the plan. planned: examples in the whole
    plan. level: of all looks together. The estimate is the mean so far.
    """
    check_shares(level)
    first, second = columns(control), columns(variant)
    if planned < len(first):
        raise InputError(
            f"planned = {planned!r}, but there are {len(first)} examples: say how many the whole plan has."
        )
    before, had = example_means(first)
    after, has = example_means(second)
    both = had & has
    differences = (after - before)[both]
    n = len(differences)
    if not n:
        return None
    lo, hi, known = score_scale((first[both], second[both]))
    mean, alpha = float(differences.mean()), 1 - level
    if known:
        low, high = bounds(differences, hi - lo, alpha, planned)
    elif n < _FEWEST or not differences.std():
        low, high = min(lo - hi, mean), max(hi - lo, mean)
    else:
        start = planned / 4
        reach = math.sqrt(2 * (1 + start / n) * math.log1p(math.sqrt(1 + n / start) / alpha))
        half = reach * float(differences.std(ddof=1)) / math.sqrt(n)
        low, high = mean - half, mean + half
    return Interval(mean, min(low, mean), max(high, mean), level)


def _lower(values: Array, alpha: float, planned: int) -> float:
    """The largest mean below which everything was rejected at some look."""
    near, far = 0.0, 1.0
    threshold = math.log(1 / alpha)
    for _ in range(_STEPS):
        middle = (near + far) / 2
        if float(evidence(values, middle, alpha, planned).max()) >= threshold:
            near = middle
        else:
            far = middle
    return near
