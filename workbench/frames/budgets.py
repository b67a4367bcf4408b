"""What was spent of each budget."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from workbench.frames.cost import cost_frame
from workbench.frames.window import Log, Window
from workbench.zones import time_zone

if TYPE_CHECKING:
    import pandas as pd

    from workbench.budgets import Budget

__all__ = ["budget_frame"]


def budget_frame(log: Log, budgets: Sequence[Budget], now: float, *, zone: str = "UTC") -> pd.DataFrame:
    """One row a budget: of, period, budget, spent (in the period of `now`), before (in the one that yesterday was in), most (the
    higher of the two), share (most by budget), unpriced (calls without a known price in both, which are in no sum), number.

    A report that runs once a day so sees each day whole, also when it runs early. now: Unix seconds. Dollars.
    """
    import pandas as pd

    today = datetime.fromtimestamp(now, time_zone(zone, "zone")).replace(hour=0, minute=0, second=0, microsecond=0)
    today_local = today.replace(tzinfo=None)
    yesterday = today_local - timedelta(days=1)
    month = yesterday.replace(day=1)
    rows = []
    for budget in budgets:
        since = month if budget.period == "monthly" else yesterday
        window = Window(
            since.replace(tzinfo=today.tzinfo).timestamp(),
            now + 1e-3,
            zone,
            tenant=budget.tenant,
            feature=budget.feature,
        )
        found = cost_frame(log, window, by=(), every="day")
        if budget.period == "monthly":
            current, past = (found["at"].dt.to_period("M") == pd.Period(day, "M") for day in (today_local, yesterday))
        else:
            current, past = (found["at"] == pd.Timestamp(day) for day in (today_local, yesterday))
        spent, before = float(found.loc[current, "spent"].sum()), float(found.loc[past, "spent"].sum())
        most = max(spent, before)
        rows.append(
            {
                "of": budget.of, "period": budget.period, "budget": budget.usd, "spent": spent, "before": before, "most": most,
                "share": most / budget.usd, "unpriced": int(found.loc[current | past, "unpriced"].sum()), "number": budget.number,
            }
        )  # fmt: skip
    columns = ["of", "period", "budget", "spent", "before", "most", "share", "unpriced", "number"]
    return pd.DataFrame(rows, columns=columns)
