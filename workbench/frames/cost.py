"""What was spent, what caches saved, and where the month is going."""

from __future__ import annotations

import calendar
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from workbench.frames.window import SAVED, Every, Log, Window, by_time, groups

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CostForecast", "cost_frame", "forecast"]

_FEWEST_DAYS = 3


def cost_frame(log: Log, window: Window, *, by: Sequence[str] = ("model",), every: Every = "day") -> pd.DataFrame:
    """One row for each day (hour, week) and group with a call.

    Columns: at (local, without a zone), those of `by`, calls, spent and saved (dollars; saved is what hits of a cache would have
    cost), unpriced (calls whose cost is unknown, which are in no sum), prompt_tokens, completion_tokens.
    """
    return by_time(
        log,
        window,
        f"""count(*) as calls, coalesce(sum(spent), 0) as spent, {SAVED} as saved,
        count(*) filter (spent is null and error is null) as unpriced,
        coalesce(sum(prompt_tokens), 0) as prompt_tokens, coalesce(sum(completion_tokens), 0) as completion_tokens""",
        names=groups(by),
        every=every,
    )


class CostForecast(NamedTuple):
    """Dollars of the month of `at`: spent so far, and by its end if the days to come are like the last ones; low and high: an
    80% prediction interval. days: how many whole days it rests on."""

    spent: float
    expected: float
    low: float
    high: float
    days: int


def forecast(daily: pd.DataFrame, now: datetime) -> CostForecast | None:
    """Where the month of `now` (local, without a zone) ends. daily: at and spent, a row a day or several, from the month's first.

    The days to come are taken to be as the last up to 14 whole ones, independent of each other (a prediction interval for their
    sum by Student's t; https://otexts.com/fpp3/prediction-intervals.html). None with fewer than three whole days.
    """
    from scipy.special import stdtrit

    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    month = today.replace(day=1)
    sums = daily.groupby("at")["spent"].sum() if len(daily) else None
    if sums is None:
        return None
    first = sums.index.min().to_pydatetime()
    whole = [today - timedelta(days=back) for back in range(1, 15)]
    past = [float(sums.get(day, 0.0)) for day in whole if day >= first]
    if len(past) < _FEWEST_DAYS:
        return None
    spent = float(sums[(sums.index >= month) & (sums.index <= today)].sum())
    left = calendar.monthrange(now.year, now.month)[1] - now.day  # whole days to come
    rest = max(0.0, 1 - (now - today) / timedelta(days=1))  # of today
    mean, n = sum(past) / len(past), len(past)
    days = left + rest
    expected = spent + mean * days
    deviation = math.sqrt(sum((value - mean) ** 2 for value in past) / (n - 1))
    spread = float(stdtrit(n - 1, 0.9)) * deviation * math.sqrt(days + days**2 / n)
    return CostForecast(spent, expected, max(spent, expected - spread), expected + spread, n)
