"""Scores over time, with intervals in which users are the independent units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.errors import InputError
from workbench.frames.window import Every, Log, Window, groups, put_after, selected

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["add_intervals", "clustered", "clustered_interval", "quality_frame"]

_BY = ("scorer", "feature", "model", "prompt_ref", "release", "arm", "experiment", "tenant", "scorer_digest")
_SHARED = ", ".join(
    f'"{name}"' for name in ("feature", "model", "prompt_ref", "release", "arm", "experiment", "tenant")
)
# One row a score. Of a call that was scored twice by the same scorer the later one counts. To find it takes longer than all else,
# so it is looked for only if hashes say that there is one. Materialized: JSON lines are to be read once.
_LATER = f"""
    with scored as materialized (
        select scorer, scorer_digest, {_SHARED}, call_id, scored_at, coalesce("user", call_id) as unit,
            coalesce(called_at, scored_at) as moment, value from scores),
    rescored as materialized (select count(distinct hash(call_id, scorer)) < count(*) as repeats from scored)
    select * exclude (call_id, scored_at) from scored where not (select repeats from rescored) union all
    select * exclude (call_id, scored_at) from scored where (select repeats from rescored)
    qualify row_number() over (partition by call_id, scorer order by scored_at desc) = 1"""  # noqa: S608
_COMPARED = f"""
    select name as scorer, null as scorer_digest, {_SHARED}, coalesce("user", call_id) as unit, ended_at as moment,
        try_cast(json_extract_string(scores, '$."' || name || '"') as double) as value
    from (select *, unnest(json_keys(scores)) as name from compared where not warmup)"""  # noqa: S608
_MOMENTS = ("tt", "tk", "kk", "spread")
_BINARY, _WITHIN = 0, 1  # of a `spread`: all values are 0 or 1, and all lie between them; 2 of any others


def quality_frame(
    log: Log,
    window: Window,
    *,
    by: Sequence[str] = ("scorer",),
    every: Every | None = "day",
    scorer: str | None = None,
    level: float = 0.95,
    compared: bool = True,
) -> pd.DataFrame:
    """One row for each day (hour, week) and group: at, those of `by`, mean, low, high (its interval), n, unscored, users.

    A user's scores are alike, so users are the independent units of the interval; a call without a user is a unit of its own, and
    counts as a user. low and high are NaN with fewer than two. See `clustered_interval`.

    by: scorer, which is always there, and any of feature, model, prompt_ref, release, arm, experiment, tenant, scorer_digest.
    every: None takes the window as one, and there is no `at`. scorer: only this one. compared: also scores of comparisons, not
    only those of logged calls that were scored later. Raises InputError for another `by`, and a level outside 0..1.
    """
    names = groups(["scorer", *[name for name in by if name != "scorer"]], known=_BY)
    bins = {} if every is None else {"bin": window.bin(every, time="moment")}
    where, values = window.where(time="moment")
    if scorer is not None:
        where, values = f"{where} and scorer = ?", [*values, scorer]
    query = clustered(selected(names, also=bins), [*bins, *names], where, compared=compared)
    found = log.sql(query, values, since=window.since)  # a score is written after its call
    if every is not None:
        found.insert(0, "at", window.begin(found.pop("bin"), every))
    return add_intervals(found, "mean", "low", "high", level)


def clustered(keys: str, names: Sequence[str], where: str, *, compared: bool = True) -> str:
    """The query for each group's mean, n, unscored, users and what `add_intervals` makes intervals of.

    keys: the groups' columns as SQL, names: what they are called. where: over a score's columns, and `moment` (Unix seconds).
    compared: as of `quality_frame`.
    """
    # 64 bits of a hash stand for a user: numbers are grouped twice as fast as names; and doubles are summed faster than integers
    listed = ", ".join(f'"{name}"' for name in names)
    return f"""with u as (
            select {keys}, hash(unit) as unit, sum(value) as total, count(value)::double as k, count(*)::double as scored,
                max(case when value in (0, 1) then {_BINARY} when value between 0 and 1 then {_WITHIN}
                    when value is not null then 2 end) as spread
            from ({f"{_LATER} union all {_COMPARED}" if compared else _LATER}) where {where} group by all)
        select {listed}, sum(total) / nullif(sum(k), 0) as mean, sum(k)::bigint as n, (sum(scored) - sum(k))::bigint as unscored,
            count(*) filter (k > 0) as users, sum(total * total) as tt, sum(total * k) as tk, sum(k * k) as kk,
            max(spread) as spread
        from u group by {listed} order by {listed}"""  # noqa: S608 - names come from fixed lists


def add_intervals(found: pd.DataFrame, mean: str, low: str, high: str, level: float, *, n: str = "n") -> pd.DataFrame:
    """The answer to `clustered` with columns `low` and `high` behind the column `mean`, and no moments any more."""
    if not 0 < level < 1:
        raise InputError(f"level = {level!r} must lie between 0 and 1, such as 0.95.")
    names = [mean, n, "users", "tt", "tk", "kk", "spread"]
    rows = found[names].itertuples(index=False)
    ends = [
        clustered_interval(
            m, count, users, tt - 2 * m * tk + m * m * kk, level=level, binary=spread == _BINARY, within=spread <= _WITHIN
        )
        if count
        else (math.nan, math.nan)
        for m, count, users, tt, tk, kk, spread in rows
    ]  # fmt: skip
    put_after(found, mean, {low: [a for a, _ in ends], high: [b for _, b in ends]})
    return found.drop(columns=[name for name in _MOMENTS if name in found.columns])


def clustered_interval(
    mean: float, n: int, units: int, squares: float, *, level: float = 0.95, binary: bool = False, within: bool = False
) -> tuple[float, float]:
    """An interval of the mean of n values from so many independent units (users); NaN with fewer than two units.

    squares: the sum over units of the square of (sum of its values - their number x mean). The variance is that of a ratio of
    unit totals (Cochran 1977, 11.8), with units - 1 degrees of freedom. binary: each value is 0 or 1, which takes Wilson's
    interval (1927) with the effective n of Korn and Graubard (1998): n over the design effect, and over what the fewer degrees
    of freedom cost. It is plain Wilson's where each unit has one value. Else Student's t. within: all values lie in 0..1, so that
    the interval is cut to that.
    """
    from scipy.special import ndtri, stdtrit

    if units < 2:
        return math.nan, math.nan
    tail = 0.5 + level / 2
    t = float(stdtrit(units - 1, tail))
    variance = max(squares, 0.0) * units / (units - 1) / n**2
    if not binary:
        half = t * math.sqrt(variance)
        low, high = mean - half, mean + half
        return (max(0.0, low), min(1.0, high)) if within else (low, high)
    z = float(ndtri(tail))
    if 0 < mean < 1:
        effect = variance / (mean * (1 - mean) / (n - 1)) * (t / float(stdtrit(n - 1, tail))) ** 2
        effective = min(float(n), n / effect) if effect > 0 else float(n)
    else:  # all alike: nothing tells how alike a user's are, so each user is one
        effective = float(units)
    centre, scale = mean + z * z / (2 * effective), 1 + z * z / effective
    half = z * math.sqrt(mean * (1 - mean) / effective + z * z / (4 * effective**2))
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)
