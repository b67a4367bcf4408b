"""What the caches answered, as far as the calls say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.frames.window import SAVED, Every, Log, Window, by_time, groups, put_after

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["cache_frame"]


def cache_frame(log: Log, window: Window, *, by: Sequence[str] = (), every: Every = "day") -> pd.DataFrame:
    """One row for each day (hour, week) and group: at, those of `by`, calls (that worked), exact and semantic (hits), hit_rate,
    saved (dollars that hits would have cost, as far as that is known), seconds (that they would have taken)."""
    found = by_time(
        log,
        window,
        f"""count(*) as calls, count(*) filter (source = 'exact') as exact,
        count(*) filter (source = 'semantic') as semantic, {SAVED} as saved,
        coalesce(sum(latency) filter (source <> 'model'), 0) as seconds""",
        names=groups(by),
        every=every,
        only="error is null and not warmup",
    )
    put_after(found, "semantic", {"hit_rate": (found["exact"] + found["semantic"]) / found["calls"]})
    return found
