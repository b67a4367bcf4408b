"""The dashboards' frames by pandas and by SQLite, as somebody would write them who has no workbench: the same columns, over the
same window, of the same calls. Intervals and the forecast are made of their sums by the same functions as ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple


class Period(NamedTuple):
    """Unix seconds, and the later end as a datetime without a zone."""

    since: float
    until: float
    now: datetime


def intervals(found: Any) -> Any:
    """A frame of mean, n, users, tt, tk, kk and spread, with low and high."""
    from workbench.frames.quality import add_intervals

    return add_intervals(found, "mean", "low", "high", 0.95)


def costs(found: Any, period: Period) -> Any:
    """A frame of day, spent and more, and the forecast."""
    import pandas as pd

    from workbench.frames import forecast

    found["at"] = pd.to_datetime(found["day"] * 86_400, unit="s")
    return found, forecast(found, period.now)


def pandas(folder: Path, name: str, period: Period) -> Callable[[], Any]:
    import numpy as np
    import pandas as pd
    import pyarrow.dataset
    import pyarrow.parquet  # noqa: F401  pandas imports both at its first Parquet file
    import scipy.special  # noqa: F401

    import workbench.frames.quality  # noqa: F401

    files, scores = (json.loads((folder / f"{kind}.json").read_text()) for kind in ("files", "scores"))
    keys = ["prompt_ref", "model"]

    def read(*columns: str) -> pd.DataFrame:
        found = pd.read_parquet(files, columns=[*columns, "warmup"])
        found = found[(found["ended_at"] >= period.since) & (found["ended_at"] < period.until)]
        return found.assign(day=(found["ended_at"] // 86_400).astype("int64"))

    def cost() -> Any:
        table = read(
            "ended_at", "model", "tenant", "spent", "cost", "source", "error", "prompt_tokens", "completion_tokens"
        )
        table["saved"] = (table["cost"] - table["spent"]).where(table["source"] != "model", 0)
        table["unpriced"] = table["spent"].isna() & table["error"].isna()
        groups = table.groupby(["day", "model", "tenant"])
        sums = groups[["spent", "saved", "unpriced", "prompt_tokens", "completion_tokens"]].sum()
        return costs(sums.assign(calls=groups.size()).reset_index(), period)

    def made(table: pd.DataFrame) -> pd.DataFrame:
        return table[(table["source"] == "model") & table["error"].isna() & ~table["warmup"].astype(bool)]

    def latency() -> Any:
        table = made(read("ended_at", "model", "latency", "first_token", "source", "error"))
        groups = table.groupby(["day", "model"])
        quantiles = groups["latency"].quantile([0.5, 0.95, 0.99]).unstack()
        quantiles.columns = ["p50", "p95", "p99"]
        found = quantiles.assign(calls=groups.size(), first_token_p50=groups["first_token"].median())
        spread = np.floor(np.log10(table["latency"].clip(lower=1e-6)) * 20).astype("int64").rename("class")
        return found.reset_index(), table.groupby(["model", spread]).size().rename("calls").reset_index()

    def clustered(names: list[str]) -> pd.DataFrame:
        table = pd.read_parquet(
            scores, columns=["call_id", "scorer", "scored_at", "called_at", "value", "user", *names]
        )
        table = table.loc[:, ~table.columns.duplicated()]
        table = table.sort_values("scored_at").drop_duplicates(["call_id", "scorer"], keep="last")
        moment, value = table["called_at"].fillna(table["scored_at"]), table["value"]
        spread = np.where(value.isin((0, 1)), 0.0, np.where(value.between(0, 1), 1.0, 2.0))
        table = table.assign(
            day=moment // 86_400,
            unit=table["user"].fillna(table["call_id"]),
            spread=np.where(value.isna(), np.nan, spread),
        )
        table = table[(moment >= period.since) & (moment < period.until)]
        groups = table.groupby([*(names or ["day"]), "scorer", "unit"])
        users = groups["value"].agg(["sum", "count"]).assign(spread=groups["spread"].max(), unscored=groups.size())
        users["unscored"] -= users["count"]
        users["users"] = (users["count"] > 0).astype(int)
        users = users.assign(tt=users["sum"] ** 2, tk=users["sum"] * users["count"], kk=users["count"] ** 2.0)
        groups = users.groupby(level=list(range(users.index.nlevels - 1)))
        sums = groups[["sum", "count", "unscored", "users", "tt", "tk", "kk"]].sum().rename(columns={"count": "n"})
        return intervals(sums.assign(mean=sums.pop("sum") / sums["n"], spread=groups["spread"].max()).reset_index())

    def errors() -> Any:
        table = read("ended_at", "error", "tool_failures")
        table = table[~table["warmup"].astype(bool)]
        error = table["error"].where(table["error"].notna(), np.where(table["tool_failures"] > 0, "tool", ""))
        found = table.assign(error=error).groupby(["day", "error"]).size().rename("count").reset_index()
        found["calls"] = found.groupby("day")["count"].transform("sum")
        return (found.assign(rate=found["count"] / found["calls"]),)

    def cache() -> Any:
        table = read("ended_at", "source", "error", "cost", "spent", "latency")
        table = table[table["error"].isna() & ~table["warmup"].astype(bool)]
        hit = table["source"] != "model"
        table = table.assign(
            exact=table["source"] == "exact", semantic=table["source"] == "semantic", calls=1,
            saved=(table["cost"] - table["spent"]).where(hit, 0), seconds=table["latency"].where(hit, 0),
        )  # fmt: skip
        found = table.groupby("day")[["calls", "exact", "semantic", "saved", "seconds"]].sum().reset_index()
        return (found.assign(hit_rate=(found["exact"] + found["semantic"]) / found["calls"]),)

    def versions() -> Any:
        table = read("ended_at", *keys, "prompt_digest", "latency", "cost", "source", "error", "role")
        table = table[table["prompt_ref"].notna() & table["role"].isna() & ~table["warmup"].astype(bool)]
        worked, groups = table[table["error"].isna()], table.groupby(keys)
        digests = table.loc[groups["ended_at"].idxmax()].set_index(keys)["prompt_digest"]
        found = pd.DataFrame(
            {
                "prompt_digest": digests, "latency_p50": made(table).groupby(keys)["latency"].median(),
                "cost_per_call": worked.groupby(keys)["cost"].mean(), "n": worked.groupby(keys).size(),
                "errors": groups["error"].count(), "last": groups["ended_at"].max(),
            }
        )  # fmt: skip
        days = table.groupby([*keys, "day"]).size().unstack(fill_value=0)
        scored = clustered(keys).rename(
            columns={"mean": "score", "low": "score_low", "high": "score_high", "n": "scored"}
        )
        return found.reset_index().merge(scored.drop(columns=["users", "unscored"]), on=keys, how="left"), days

    jobs = {
        "cost": cost, "latency": latency, "quality": lambda: (clustered([]),), "errors": errors, "cache": cache,
        "versions": versions,
    }  # fmt: skip
    return jobs[name]


def sqlite(folder: Path, name: str, period: Period) -> Callable[[], Any]:
    import sqlite3

    import pandas as pd
    import scipy.special  # noqa: F401

    import workbench.frames.quality  # noqa: F401

    where = f"ended_at >= {period.since} and ended_at < {period.until}"
    day = "cast(ended_at / 86400 as integer)"
    made = "source = 'model' and error is null and not warmup"
    some = f"from calls where {where}"
    saved = "sum(case when source <> 'model' then cost - spent else 0 end) as saved"

    def quantile(by: str, q: float, value: str = "latency", of: str = made) -> str:
        return (
            f"select {by}, min(v) as q from (select {by}, v, cume_dist() over (partition by {by} order by v) as c from "
            f"(select {day} as day, model, prompt_ref, {value} as v {some} and {of})) where c >= {q} group by {by}"
        )

    def clustered(keys: str) -> str:
        # a bare column beside max() is that of the row with the maximum
        latest = (
            "select scorer, model, prompt_ref, value, coalesce(user, call_id) as unit, coalesce(called_at, scored_at) as moment, "
            "max(scored_at) from scores group by call_id, scorer"
        )
        users = (
            f"select {keys}, sum(value) as t, count(value) as k, count(*) - count(value) as empty, "
            "max(case when value in (0, 1) then 0 when value between 0 and 1 then 1 when value is not null then 2 end) as spread "
            f"from (select *, cast(moment / 86400 as integer) as day from ({latest})) "
            f"where moment >= {period.since} and moment < {period.until} group by {keys}, unit"
        )
        return (
            f"select {keys}, sum(t) / sum(k) as mean, sum(k) as n, sum(empty) as unscored, sum(k > 0) as users, "
            f"sum(t * t) as tt, sum(t * k) as tk, sum(k * k) as kk, max(spread) as spread from ({users}) group by {keys}"
        )

    def job() -> Any:
        with sqlite3.connect(f"file:{folder / 'calls.sqlite'}?mode=ro", uri=True) as connection:

            def ask(query: str) -> pd.DataFrame:
                return pd.read_sql_query(query, connection)

            if name == "cost":
                sums = "sum(prompt_tokens) as prompt_tokens, sum(completion_tokens) as completion_tokens"
                unpriced = "sum(spent is null and error is null) as unpriced"
                query = f"select {day} as day, model, tenant, count(*) as calls, sum(spent) as spent, {saved}, {unpriced}, {sums}"
                return costs(ask(f"{query} {some} group by 1, 2, 3"), period)
            if name == "latency":
                asked = {"p50": (0.5, "latency"), "p95": (0.95, "latency"), "p99": (0.99, "latency"),
                         "first_token_p50": (0.5, "first_token")}  # fmt: skip
                found = ask(f"select {day} as day, model, count(*) as calls {some} and {made} group by 1, 2")
                for column, (q, value) in asked.items():
                    one = ask(quantile("day, model", q, value)).rename(columns={"q": column})
                    found = found.merge(one, on=["day", "model"])
                spread = "cast(floor(log10(max(latency, 1e-6)) * 20) as integer)"
                return found, ask(f"select model, {spread} as class, count(*) as calls {some} and {made} group by 1, 2")
            if name == "quality":
                return (intervals(ask(clustered("day, scorer"))),)
            if name == "errors":
                error = "coalesce(error, case when tool_failures > 0 then 'tool' else '' end) as error"
                found = ask(f"select {day} as day, {error}, count(*) as count {some} and not warmup group by 1, 2")
                found["calls"] = found.groupby("day")["count"].transform("sum")
                return (found.assign(rate=found["count"] / found["calls"]),)
            if name == "cache":
                hits = "sum(source = 'exact') as exact, sum(source = 'semantic') as semantic"
                seconds = "sum(case when source <> 'model' then latency else 0 end) as seconds"
                found = ask(
                    f"select {day} as day, count(*) as calls, {hits}, {saved}, {seconds} {some} "
                    "and error is null and not warmup group by 1"
                )
                return (found.assign(hit_rate=(found["exact"] + found["semantic"]) / found["calls"]),)
            if name != "versions":
                raise SystemExit(f"no dashboard is called {name}")
            keys, live = "prompt_ref, model", f"{some} and prompt_ref is not null and role is null and not warmup"
            cost = "avg(case when error is null then cost end) as cost_per_call"
            counts = "sum(error is null) as n, count(error) as errors, prompt_digest, max(ended_at) as last"
            found = ask(f"select {keys}, {cost}, {counts} {live} group by 1, 2")
            days = ask(f"select {keys}, {day} as day, count(*) as calls {live} group by 1, 2, 3")
            medians = ask(quantile(keys, 0.5)).rename(columns={"q": "latency_p50"})
            scored = intervals(ask(clustered(f"{keys}, scorer"))).rename(
                columns={"mean": "score", "low": "score_low", "high": "score_high", "n": "scored"}
            )
            on = ["prompt_ref", "model"]
            scored = scored.drop(columns=["users", "unscored"])
            return found.merge(medians, on=on, how="left").merge(scored, on=on, how="left"), days

    return job
