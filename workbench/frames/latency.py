"""How long answers took, of those that a model made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.frames.window import Every, Log, Window, by_time, groups, put_after, selected

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PER_DECADE", "latency_frame", "latency_histogram"]

PER_DECADE = 20
_MADE = "source = 'model' and error is null and not warmup and latency is not null"


def latency_frame(
    log: Log, window: Window, *, by: Sequence[str] = ("endpoint", "model"), every: Every = "day"
) -> pd.DataFrame:
    """One row for each day (hour, week) and group: at, those of `by`, calls, p50, p95, p99 and first_token_p50 in seconds (NaN
    where nothing streamed). Hits of a cache, failed calls and warm-ups are left out; our own queue is in no latency.
    """
    found = by_time(
        log,
        window,
        "count(*) as calls, quantile_cont(latency, [0.5, 0.95, 0.99]) as q, "
        "quantile_cont(first_token, 0.5) as first_token_p50",
        names=groups(by),
        every=every,
        only=_MADE,
    )
    quantiles = found.pop("q")
    put_after(
        found, "calls", {name: [float(row[at]) for row in quantiles] for at, name in enumerate(("p50", "p95", "p99"))}
    )
    return found


def latency_histogram(log: Log, window: Window, *, by: Sequence[str] = ("model",)) -> pd.DataFrame:
    """One row for each group and class of latencies that occurs: those of `by`, low and high (seconds; 20 a decade), calls."""
    names = groups(by)
    where, values = window.where()
    found = log.sql(
        f"""select {selected(names)}, cast(floor(log10(greatest(latency, 1e-6)) * {PER_DECADE}) as bigint) as class,
            count(*) as calls
        from calls where {where} and {_MADE} group by all order by all""",  # noqa: S608 - names come from a fixed list
        values,
        since=window.since,
    )
    classes = found.pop("class").astype(float)
    found.insert(len(names), "low", 10 ** (classes / PER_DECADE))
    found.insert(len(names) + 1, "high", 10 ** ((classes + 1) / PER_DECADE))
    return found
