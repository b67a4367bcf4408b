"""The dashboards of running calls: cost, latency, quality, errors and caches over time.

Each takes the frame of the same name (`workbench.frames`) and says in a sentence what there is where nothing can be drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workbench.dashboards.drawing import COLOURS, GREY, blank, need, safe, sentence, style
from workbench.dashboards.over_time import add_bars, add_line, add_marks, named, pattern, time_figure, whole_days
from workbench.tables import format_money, format_share

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from workbench.frames import CostForecast

__all__ = [
    "cache_figure",
    "cost_figure",
    "error_figure",
    "first_token_figure",
    "latency_histogram_figure",
    "latency_time_figure",
    "quality_figure",
]


def cost_figure(
    table: pd.DataFrame,
    *,
    by: Sequence[str] = ("model",),
    budget: float | None = None,
    forecast: CostForecast | None = None,
    every: str = "day",
) -> go.Figure:
    """Dollars spent each day (hour, week), stacked by group; what caches saved as a line, the budget as another.

    table: as `frames.cost_frame`. budget: dollars for each of these times. Raises InputError if a column is missing.
    """
    import plotly.graph_objects as go

    need("cost_figure", table, ["at", "spent", "saved", "unpriced", "calls"])
    if not len(table):
        return sentence("There is no cost to draw: nothing was called in this time.")
    rows = table.assign(series=named(table, by, "spent"))
    spent, saved, unpriced = (float(table[name].sum()) for name in ("spent", "saved", "unpriced"))
    said = [f"{format_money(spent)} spent on {int(table['calls'].sum()):,} calls."]
    said += [f"Caches saved {format_money(saved)}."] if saved else []
    said += [f"{int(unpriced):,} calls have no known price and are not in it."] if unpriced else []
    if forecast is not None:
        said.append(
            f"This month {format_money(forecast.spent)} so far; by its end {format_money(forecast.expected)}, from "
            f"{format_money(forecast.low)} to {format_money(forecast.high)} (80%, from the last {forecast.days} days)."
        )
    grouped = f" by {' and '.join(by)}" if by else ""
    figure = time_figure(f"Cost each {every}{grouped}", " ".join(said), axis="US dollars")
    add_bars(figure, whole_days(rows, ["spent"]), told="$,.4~f")
    if saved:
        sums = rows.groupby("at")["saved"].sum()
        figure.add_trace(
            go.Scatter(
                x=list(sums.index), y=sums.tolist(), name="saved by caches", mode="lines+markers", hovertemplate="$%{y:,.4~f}",
                line={"color": GREY, "width": 2, "dash": "dash"}, marker={"symbol": "star", "size": 7},
            )
        )  # fmt: skip
    if budget is not None:
        _level(figure, budget, f"budget {format_money(budget)} a {every}")
    figure.update_yaxes(tickprefix="$")
    return figure


def latency_time_figure(table: pd.DataFrame, *, by: Sequence[str] = ("endpoint", "model")) -> go.Figure:
    """P50 (solid), P95 (dashed) and P99 (dotted) over time, a colour and a symbol for each group.

    table: as `frames.latency_frame`. Raises InputError if a column is missing.
    """
    need("latency_time_figure", table, ["at", "calls", "p50", "p95", "p99", "first_token_p50"])
    if not len(table):
        return sentence("There is no latency to draw: no model answered in this time.")
    rows = table.assign(series=named(table, _shorter(table, by), "calls"))
    rows = rows[rows["series"] != "others"]
    figure = time_figure(
        "Latency",
        "Solid: P50. Dashed: P95. Dotted: P99. Answers that a model made, without our own queue.",
        axis="seconds",
    )
    for at, name in enumerate(sorted(rows["series"].unique())):
        mine = _gaps(rows[rows["series"] == name])
        for column, dash in (("p50", "solid"), ("p95", "dash"), ("p99", "dot")):
            add_line(
                figure, at, f"{name} {column.upper()}", mine, column, told=".3s", dash=dash,
                group={"legendgroup": name, "showlegend": column == "p50"},
            )  # fmt: skip
    figure.update_layout(hovermode="closest")
    return figure


def first_token_figure(table: pd.DataFrame, *, by: Sequence[str] = ("endpoint", "model")) -> go.Figure:
    """The median time to the first token of answers that were streamed, over time.

    table: as `frames.latency_frame`. Raises InputError if a column is missing.
    """
    need("first_token_figure", table, ["at", "calls", "first_token_p50"])
    streamed = table[table["first_token_p50"].notna()]
    if not len(streamed):
        return sentence("There is no time to the first token to draw: no answer was streamed in this time.")
    rows = streamed.assign(series=named(streamed, _shorter(streamed, by), "calls"))
    rows = rows[rows["series"] != "others"]
    figure = time_figure("Time to first token", "Median of answers that were streamed.", axis="seconds", plot=200)
    for at, name in enumerate(sorted(rows["series"].unique())):
        add_line(figure, at, name, _gaps(rows[rows["series"] == name]), "first_token_p50", told=".3s")
    figure.update_layout(hovermode="closest")
    return figure


def latency_histogram_figure(table: pd.DataFrame, *, by: Sequence[str] = ("model",)) -> go.Figure:
    """How latencies are spread, on a logarithmic axis: the share of each group's calls in each class.

    table: as `frames.latency_histogram`. Raises InputError if a column is missing.
    """
    import plotly.graph_objects as go

    need("latency_histogram_figure", table, [*by, "low", "high", "calls"])
    if not len(table):
        return sentence("There is no latency to draw: no model answered in this time.")
    rows = table.assign(series=named(table, by, "calls"))
    figure = blank("Spread of latencies", "Share of each group’s calls; 20 classes a decade.", plot=240, below=96)
    figure.update_layout(showlegend=True, margin_l=64, legend={"y": 0.02, "font": {"size": 12}})
    for at, name in enumerate(sorted(rows["series"].unique())):
        mine = rows[rows["series"] == name].groupby(["low", "high"], as_index=False)["calls"].sum().sort_values("low")
        colour, symbol = style(at)
        figure.add_trace(
            go.Scatter(
                x=[(low * high) ** 0.5 for low, high in zip(mine["low"], mine["high"], strict=True)],
                y=(mine["calls"] / mine["calls"].sum()).tolist(), name=safe(name, 60), mode="lines+markers",
                line={"color": colour, "width": 2, "shape": "linear"}, marker={"symbol": symbol, "size": 6, "color": colour},
                hovertemplate="%{x:.2s}s: %{y:.1%}<extra></extra>",
            )
        )  # fmt: skip
    figure.update_xaxes(
        type="log", title={"text": "seconds", "font": {"size": 12}}, showgrid=False, linecolor=GREY, ticks="outside",
        tickcolor=GREY, tickformat="~r", nticks=8, dtick="D2",
    )  # fmt: skip
    figure.update_yaxes(tickformat=".0%", gridcolor="rgba(125,125,125,.28)", rangemode="tozero", nticks=5)
    return figure


def quality_figure(
    table: pd.DataFrame,
    *,
    by: Sequence[str] = ("scorer",),
    releases: Sequence[tuple[Any, str]] = (),
    level: float = 0.95,
) -> go.Figure:
    """Mean scores over time with their intervals; dotted lines are releases.

    table: as `frames.quality_frame`. releases: (when, text), local without a zone. Raises InputError if a column is missing.
    """
    need("quality_figure", table, ["at", "scorer", "mean", "low", "high", "n", "unscored"])
    known = table[table["n"] > 0]
    if not len(known):
        return sentence(
            "There is no score to draw: nothing was scored in this time. `workbench score` scores logged calls."
        )
    rows = known.assign(series=named(known, by, "n"))
    rows = rows[rows["series"] != "others"]
    unscored = int(table["unscored"].sum())
    said = f"Mean of {int(known['n'].sum()):,} scores; bars: {level:.0%} intervals, users independent."
    said += f" {unscored:,} unscored are left out." if unscored else ""
    said += " Dotted lines: releases." if releases else ""
    figure = time_figure("Quality", said, axis="mean score")
    for at, name in enumerate(sorted(rows["series"].unique())):
        mine = _gaps(rows[rows["series"] == name])
        add_line(figure, at, name, mine, "mean", told=".3f", interval=("low", "high"))
    add_marks(figure, releases)
    if float(known["mean"].max()) <= 1 and float(known["mean"].min()) >= 0:
        figure.update_yaxes(range=[0, 1.05])
    return figure


def error_figure(table: pd.DataFrame, *, every: str = "day") -> go.Figure:
    """The share of calls that failed each day (hour, week), stacked by class of error.

    table: as `frames.error_frame`. Raises InputError if a column is missing.
    """
    need("error_figure", table, ["at", "error", "count", "calls", "rate"])
    if not len(table):
        return sentence("There are no errors to draw: nothing was called in this time.")
    totals = table.groupby(["at", "error"], as_index=False)["count"].sum()
    calls = totals.groupby("at")["count"].sum()
    failed = totals[totals["error"] != ""]
    if not len(failed):
        return sentence(f"No call failed: {int(calls.sum()):,} calls, no error.")
    rows = failed.assign(series=named(failed, ["error"], "count"))
    wide = whole_days(rows, ["count"]).reindex(calls.index, fill_value=0).div(calls, axis=0)
    share = float(failed["count"].sum()) / float(calls.sum())
    worst = failed.groupby("error")["count"].sum().sort_values(ascending=False, kind="stable")
    listed = ", ".join(f"{name} {int(count):,}" for name, count in worst.head(4).items())
    figure = time_figure(
        f"Errors each {every}",
        f"{int(failed['count'].sum()):,} of {int(calls.sum()):,} calls failed ({format_share(share)}): {listed}.",
        axis="share of calls",
    )
    add_bars(figure, wide, told=".2%")
    figure.update_yaxes(tickformat=".1~%")
    return figure


def cache_figure(table: pd.DataFrame, *, vetoed: int | None = None, every: str = "day") -> go.Figure:
    """The share of calls that the exact and the semantic cache answered each day (hour, week).

    table: as `frames.cache_frame`. vetoed: near answers that the semantic cache's guard refused, where that is counted. Raises
    InputError if a column is missing.
    """
    import plotly.graph_objects as go

    need("cache_figure", table, ["at", "calls", "exact", "semantic", "saved", "seconds"])
    if not len(table):
        return sentence("There is nothing of the caches to draw: nothing was called in this time.")
    sums = table.groupby("at")[["calls", "exact", "semantic"]].sum()
    hits, calls = int(sums[["exact", "semantic"]].sum().sum()), int(sums["calls"].sum())
    said = [f"{hits:,} of {calls:,} calls were answered from a cache ({format_share(hits / calls)})."]
    said += [f"That saved {format_money(float(table['saved'].sum()))}."] if float(table["saved"].sum()) else []
    said += [f"The guard refused {vetoed:,} answers that were near but not the same."] if vetoed else []
    figure = time_figure(f"Cache hits each {every}", " ".join(said), axis="share of calls")
    for at, name in enumerate(("exact", "semantic")):
        figure.add_trace(
            go.Bar(
                x=list(sums.index), y=(sums[name] / sums["calls"]).tolist(), name=name, hovertemplate="%{y:.1%}",
                marker={"color": style(at)[0], "pattern": pattern(at)},
            )
        )  # fmt: skip
    figure.update_yaxes(tickformat=".0%")
    return figure


def _level(figure: go.Figure, value: float, text: str) -> None:
    figure.add_hline(y=value, line={"color": COLOURS[1], "width": 2, "dash": "dashdot"})
    figure.add_annotation(
        x=0, xref="paper", y=value, text=safe(text, 60), showarrow=False, xanchor="left", yanchor="bottom",
        font={"size": 11, "color": COLOURS[1]},
    )  # fmt: skip


def _shorter(table: pd.DataFrame, by: Sequence[str]) -> list[str]:
    """Without the endpoint where the model begins with it."""
    return [name for name in by if not (name == "endpoint" and "model" in by)] or list(by)


def _gaps(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows in order, with an empty one where a time is left out, so that a line breaks there."""
    import pandas as pd

    rows = rows.groupby("at", as_index=False).first().sort_values("at")
    if len(rows) < 3:
        return rows
    step = rows["at"].diff().min()
    whole = pd.date_range(rows["at"].iloc[0], rows["at"].iloc[-1], freq=step) if step > pd.Timedelta(0) else rows["at"]
    return rows.set_index("at").reindex(whole).rename_axis("at").reset_index() if len(whole) < 2000 else rows
