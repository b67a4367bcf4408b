"""What failed: by class and rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.frames.window import Every, Log, Window, by_time, groups

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TOOL_FAILURE", "error_frame", "with_rates"]

TOOL_FAILURE = "tool call cannot be run"


def error_frame(log: Log, window: Window, *, by: Sequence[str] = (), every: Every = "day") -> pd.DataFrame:
    """One row for each day (hour, week), group and class of error, and one with the class "" for the rest: at, those of `by`,
    error, count, calls (of that day and group, all), rate (count / calls).

    Classes are those of the calls (CallTimeoutError, RateLimitError …); a call that worked and whose answer calls a tool in a way
    that cannot be run is a "tool call cannot be run". Calls that a cache answered count as calls.
    """
    names = groups(by)
    found = by_time(
        log,
        window,
        f"coalesce(error, case when tool_failures > 0 then '{TOOL_FAILURE}' else '' end) as error, count(*) as count",
        names=names,
        every=every,
        only="not warmup",
    )
    return with_rates(found, names)


def with_rates(found: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """With calls (of that time and group, all) and rate (count / calls)."""
    found["calls"] = found.groupby(["at", *names])["count"].transform("sum") if len(found) else found["count"]
    found["rate"] = found["count"] / found["calls"]
    return found
