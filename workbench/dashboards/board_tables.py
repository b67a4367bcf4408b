"""The texts of the dashboards' tables: frames as people read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench import tables

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "budget_table",
    "gpu_table",
    "known_number",
    "newest_first",
    "of_latest",
    "sparkline",
    "total_of",
    "version_keys",
    "version_table",
]

_BLOCKS = "▁▂▃▄▅▆▇█"


def budget_table(found: pd.DataFrame) -> pd.DataFrame:
    """What was spent of each budget, of a `budget_frame`."""
    from workbench.budgets import PERIODS

    rows = [
        {
            "budget of": row["of"], "a": PERIODS[row["period"]],
            "budget": tables.format_money(row["budget"]), "spent so far": tables.format_money(row["spent"]),
            "in that of yesterday": tables.format_money(row["before"]), "share": tables.format_share(row["share"]),
            "calls without a price": f"{row['unpriced']:,}", "": "OVER" if row["most"] > row["budget"] else "within",
        }
        for row in found.to_dict("records")
    ]  # fmt: skip
    columns = ["budget of", "a", "budget", "spent so far", "in that of yesterday", "share", "calls without a price", ""]
    return _frame(rows, columns)


def gpu_table(found: pd.DataFrame, against: str | None) -> pd.DataFrame:
    """As people read it: each cost says at what concurrency, and whether the server was shared."""
    rows = []
    for row in found.to_dict("records"):
        shared = " (shared)" if row["shared"] == "shared" else ""
        told = {
            "endpoint": row["endpoint"], "model": row["model"], "calls": f"{row['calls']:,}",
            "a prompt token weighs": f"{row['prompt_weight']:.2g}", "says": row["weight_from"], "work": f"{row['work']:,.0f}",
            "busy hours": f"{row['busy_hours']:.2f}", "window hours": f"{row['window_hours']:.0f}",
            "utilisation": tables.format_share(row["utilisation"]), "in flight": f"{row['in_flight']:.1f}",
            "used by others": row["shared"] if row["foreign"] != row["foreign"] else f"{row['foreign']:,.0f}",
        }  # fmt: skip
        for name in ("active", "idle_inclusive"):
            told[f"{name.replace('_', '-')} $"] = tables.format_money(row[f"{name}_usd"]) + shared
            told[f"{name.replace('_', '-')} $/call"] = tables.format_money(row[f"{name}_per_call"]) + shared
        if against is not None:
            told[f"{against} $/call"] = tables.format_money(known_number(row["api_per_call"]))
            told["break-even calls/h"] = (
                "unknown" if row["break_even"] != row["break_even"] else f"{row['break_even']:,.0f}"
            )
            told["calls/h while busy"] = f"{row['calls_per_busy_hour']:,.0f}"
        rows.append(told)
    return _frame(rows, list(rows[0]) if rows else ["endpoint", "model"])


def version_table(found: pd.DataFrame) -> pd.DataFrame:
    """The version-performance table of a `version_frame` that has a status."""
    rows = [
        {
            "prompt": row["prompt"],
            "version": f"@{row['version']}" if row["version"] else "",
            "model": row["model"],
            "score": _score(row),
            "latency P50": tables.format_seconds(row["latency_p50"]),
            "cost/call": tables.format_money(known_number(row["cost_per_call"])),
            "n": f"{row['n']:,}" + (f" ({row['errors']:,} failed)" if row["errors"] else ""),
            "status": row["status"],
            "calls a day": sparkline(row["per_day"]),
        }
        for row in found.to_dict("records")
    ]
    columns = ["prompt", "version", "model", "score", "latency P50", "cost/call", "n", "status", "calls a day"]
    return _frame(rows, columns)


def version_keys(found: pd.DataFrame) -> pd.DataFrame:
    """What the version table's columns are sorted by."""
    names = ["prompt", "version", "model", "score", "latency_p50", "cost_per_call", "n", "status"]
    return found[names].assign(calls=[sum(days) for days in found["per_day"]])


def sparkline(values: Sequence[float], bars: int = 20) -> str:
    """Small bars of text, one a value, as high as the largest allows; nothing is a dot. Of more values than `bars`, one is the
    mean of some neighbours: a month's days would push a table off its page.

    >>> sparkline([0, 1, 4])
    '·▃█'
    """
    size = max(1, -(-len(values) // bars))
    if size > 1:
        parts = [values[at : at + size] for at in range(0, len(values), size)]
        values = [sum(part) / len(part) for part in parts]
    most = max(values, default=0)
    return (
        "".join(_BLOCKS[round(value / most * 7)] if value > 0 else "·" for value in values)
        if most
        else "·" * len(values)
    )


def _frame(rows: list[dict[str, str]], columns: list[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=columns)


def newest_first(table: pd.DataFrame, every: str) -> pd.DataFrame:
    """The table as people read it: times as texts in a column called by what they are, the latest on top; counts with their
    thousands apart, and names in words."""
    form = "%Y-%m-%d %H:00" if every == "hour" else "%Y-%m-%d"
    counts = {str(name): table[name].map("{:,}".format) for name in table.select_dtypes("integer")}
    told = table.assign(at=[moment.strftime(form) for moment in table["at"]], **counts)
    words = {name: name.replace("_", " ") for name in told.columns}
    return told.sort_values("at", ascending=False, kind="stable", ignore_index=True).rename(
        columns=words | {"at": every}
    )


def of_latest(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the latest time that there is."""
    latest: pd.DataFrame = table[table["at"] == table["at"].max()]
    return latest


def _score(row: Mapping[Any, Any]) -> str:
    value, low, high = row["score"], row["score_low"], row["score_high"]
    if value != value or value is None:
        return "unscored"
    interval = f" [{low:.2f}, {high:.2f}]" if low == low else ""
    return f"{row['scorer']} {value:.2f}{interval}"


def total_of(column: pd.Series[float]) -> float | None:
    """The sum; None where none of it is known."""
    return known_number(column.sum(min_count=1)) if len(column) else 0.0


def known_number(value: Any) -> float | None:
    """As a float; None where there is none."""
    return None if value is None or value != value else float(value)
