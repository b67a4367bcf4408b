"""What a GPU of your own cost: the time that it was busy, and the whole time, both said with how busy it was.

Active cost is the price of the time in which at least one call was in flight (the union, so that calls at once are not counted
twice). It is shared among the calls by their work: prompt tokens that no prefix cache had, times a weight, plus output tokens.
Idle-inclusive cost is the price of the whole window. Both hold at the concurrency that there was: more calls at once make each
cheaper. Where the server's own counters were read, they say whether others used it too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from workbench.frames.window import Log, Window

if TYPE_CHECKING:
    import pandas as pd

    from workbench.pricing import FittedWeight, Price
    from workbench.records import ServerMetrics

__all__ = ["Others", "break_even", "gpu_frame", "others_of"]

_COLUMNS = (
    "endpoint", "model", "calls", "prompt_tokens", "cached_tokens", "output_tokens", "prompt_weight", "weight_from", "work",
    "busy_hours", "window_hours", "utilisation", "in_flight", "foreign", "shared", "active_usd", "active_per_call",
    "idle_inclusive_usd", "idle_inclusive_per_call",
)  # fmt: skip
_TOLERATED = (
    2.0,
    0.02,
)  # more than the log has, by requests in flight at the readings; or by a share of what was counted


def gpu_frame(
    log: Log, window: Window, gpus: Mapping[str, Price], *, weights: Mapping[str, Sequence[FittedWeight]] | None = None,
    readings: Mapping[str, Sequence[ServerMetrics]] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """One row for each model of each endpoint that has a price per hour.

    gpus: by endpoint, such as `prices.gpus`. weights: of a prompt token, by model, as load tests found them. readings: of each
    endpoint's counters. Columns: endpoint, model, calls, prompt_tokens, cached_tokens, output_tokens, prompt_weight and
    weight_from, work (tokens, prompt tokens weighed), busy_hours, window_hours (both of the endpoint), utilisation (their
    ratio), in_flight (calls at once, on average while busy), foreign (requests or tokens that the server counted and the log
    does not have; NaN unknown), shared ("shared", "no", "unknown"), active_usd, active_per_call, idle_inclusive_usd,
    idle_inclusive_per_call (dollars).
    """
    import pandas as pd

    from workbench.pricing import weigh

    parts = []
    for endpoint, price in gpus.items():
        where, values = window.where(only=())
        found = log.sql(
            f"""with made as (
                select model, ended_at - latency as began, ended_at, latency, coalesce(prompt_tokens, 0) as prompt,
                    least(coalesce(cached_tokens, 0), coalesce(prompt_tokens, 0)) as cached,
                    coalesce(completion_tokens, 0) as output
                from calls where {where} and endpoint = ? and source = 'model' and latency is not null),
            reach as (
                select *, max(ended_at) over (order by began, ended_at rows between unbounded preceding and 1 preceding) as before
                from made),
            busy as (select sum(ended_at - greatest(began, coalesce(before, began))) as seconds
                from reach where before is null or ended_at > before)
            select model, count(*) as calls, sum(prompt) as prompt_tokens, sum(cached) as cached_tokens,
                sum(output) as output_tokens, sum(latency) as held, any_value(busy.seconds) as busy
            from made, busy group by model order by model""",  # noqa: S608
            [*values, endpoint],
            since=window.since,
        )
        if not len(found):
            continue
        hours, busy = (window.until - window.since) / 3600, float(found["busy"].iloc[0]) / 3600
        at_once = float(found["held"].sum()) / 3600 / busy if busy else math.nan
        rate = float(price.gpu_usd_per_hour or 0)
        weighed = [weigh(price, (weights or {}).get(model, ()), at_once) for model in found["model"]]
        found["prompt_weight"] = [one.value for one in weighed]
        found["weight_from"] = [one.source for one in weighed]
        found["work"] = (found["prompt_tokens"] - found["cached_tokens"]) * found["prompt_weight"] + found[
            "output_tokens"
        ]
        work = found["work"].astype(float)
        share = work / work.sum() if work.sum() else found["calls"] / found["calls"].sum()
        found.insert(0, "endpoint", endpoint)
        found["busy_hours"], found["window_hours"], found["utilisation"] = busy, hours, busy / hours
        found["in_flight"] = at_once
        others = others_of(log, window, endpoint, (readings or {}).get(endpoint, ()))
        found["foreign"] = math.nan if others is None else others.foreign
        found["shared"] = "unknown" if others is None else "shared" if others.shared else "no"
        for name, dollars in (("active", rate * busy), ("idle_inclusive", rate * hours)):
            found[f"{name}_usd"] = share * dollars
            found[f"{name}_per_call"] = found[f"{name}_usd"] / found["calls"]
        parts.append(found[list(_COLUMNS)])
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(_COLUMNS))


class Others(NamedTuple):
    """What a server did besides the log's calls. foreign: requests (`unit`), or output tokens where it does not count requests.
    counted: all that it counted. hours: between the first reading of its counters and the last."""

    foreign: float
    counted: float
    unit: str
    hours: float

    @property
    def shared(self) -> bool:
        """Whether that is more than what was in flight when the counters were read."""
        least = _TOLERATED[0] if self.unit == "requests" else 0.0
        return self.foreign > max(least, _TOLERATED[1] * self.counted)


def others_of(log: Log, window: Window, endpoint: str, readings: Sequence[ServerMetrics]) -> Others | None:
    """From the readings of a server's counters that lie in the window; None with fewer than two of them. A counter that fell was
    set back by a restart, and what it shows since is counted."""
    inside = sorted((one for one in readings if window.since <= one.at < window.until), key=lambda one: one.at)
    for field, unit, ours in (
        ("requests", "requests", "count(*)"),
        ("completion_tokens", "tokens", "coalesce(sum(completion_tokens), 0)"),
    ):
        known = [(one.at, float(value)) for one in inside if (value := getattr(one, field)) is not None]
        if len(known) < 2:
            continue
        counted = sum(after - before if after >= before else after for (_, before), (_, after) in pairwise(known))
        first, last = known[0][0], known[-1][0]
        made = log.sql(
            f"select {ours} as made from calls where ended_at > ? and ended_at <= ? and endpoint = ? and source = 'model'",  # noqa: S608
            [first, last, endpoint],
        )
        return Others(max(0.0, counted - float(made["made"].iloc[0])), counted, unit, (last - first) / 3600)
    return None


def break_even(usd_per_hour: float, api_usd_per_call: float) -> float:
    """From how many calls an hour a GPU is cheaper than an API at that price a call. Hold it against calls / busy_hours, which is
    what the GPU has shown that it can do."""
    return float("inf") if api_usd_per_call <= 0 else usd_per_hour / api_usd_per_call
