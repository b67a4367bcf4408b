"""The version-performance table's numbers, from all calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.frames.quality import add_intervals, clustered
from workbench.frames.window import Every, Log, Window

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["main_scores", "prompt_parts", "version_frame"]


def version_frame(
    log: Log, window: Window, *, score: str | None = None, every: Every = "day", level: float = 0.95
) -> pd.DataFrame:
    """One row for each prompt version and model that was called.

    Columns: prompt, version (0 where the reference has none), model, prompt_digest, scorer, score, score_low, score_high, scored,
    latency_p50 (seconds, of answers that a model made), cost_per_call (dollars as measured; NaN where one is unknown), n (calls
    that worked), errors, last (when it was last called, UTC), per_day (calls of every day in the window, for a sparkline).

    score: the scorer; None takes for each prompt the one with "faithfulness" in its name, else the one with most scores.
    """
    where, values = window.where()
    scored, more = window.where(time="moment")
    keys = ["prompt_ref", "model", "scorer"]
    scored += f" and prompt_ref is not null {'and scorer = ?' if score else ''}"
    rows = log.sql(
        f"""with v as (
            select prompt_ref, model, arg_max(prompt_digest, ended_at) as prompt_digest,
                median(latency) filter (source = 'model' and error is null and latency is not null) as latency_p50,
                case when count(*) filter (error is null and cost is null) = 0
                    then avg(cost) filter (error is null) end as cost_per_call,
                count(*) - count(error) as n, count(error) as errors, max(ended_at) as last,
                histogram({window.bin(every)}) as per_day
            from calls where {where} and prompt_ref is not null and role is null and not warmup group by all),
        s as ({clustered(", ".join(keys), keys, scored)})
        select v.*, s.* exclude (prompt_ref, model, n), s.n as scored
        from v left join s on v.prompt_ref = s.prompt_ref and v.model = s.model order by v.prompt_ref, v.model, scorer""",  # noqa: S608
        [*values, *more, *([score] if score else [])],
        since=window.since,
    )
    # a row for each version, model and scorer
    found = rows[list(rows.columns[: list(rows.columns).index("per_day") + 1])].drop_duplicates(["prompt_ref", "model"])
    scores = add_intervals(rows[rows["scored"] > 0], "mean", "score_low", "score_high", level, n="scored")
    scores = scores.rename(columns={"mean": "score"})
    found = found.merge(main_scores(scores), on=["prompt_ref", "model"], how="left")
    refs = found.pop("prompt_ref").tolist()
    parts = [prompt_parts(ref) for ref in refs]
    found.insert(0, "prompt", [name for name, _ in parts])
    found.insert(1, "version", [version for _, version in parts])
    bins = window.bins(every)
    found["per_day"] = [[int(days.get(at, 0)) for at in bins] for days in found["per_day"]]
    return found.sort_values(["prompt", "version", "model"], ignore_index=True)


def prompt_parts(ref: str) -> tuple[str, int]:
    """Name and version of `triage@3`; version 0 where it has none."""
    name, at, version = ref.rpartition("@")
    return (name, int(version)) if at and version.isdigit() else (ref, 0)


def main_scores(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each prompt the scores by one scorer: by "faithfulness" if it has that, else by the one with most scores.

    rows: prompt_ref, model, scorer, score, score_low, score_high, scored."""
    rows = rows.reset_index(drop=True)
    rows["name"] = [prompt_parts(ref)[0] for ref in rows["prompt_ref"]]
    totals = rows.groupby(["name", "scorer"])["scored"].transform("sum")
    rows["rank"] = totals + rows["scorer"].str.contains("faithfulness", case=False) * 1e12
    best = (
        rows.loc[rows.groupby("name")["rank"].idxmax(), ["name", "scorer"]] if len(rows) else rows[["name", "scorer"]]
    )
    kept = rows.merge(best, on=["name", "scorer"])
    return kept[["prompt_ref", "model", "scorer", "score", "score_low", "score_high", "scored"]]
