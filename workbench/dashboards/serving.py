"""What a load test looks like: throughput, latency, and the times to the first and to each later token, against the load.

All take `LoadTest.summary`: one row a model and load. A model has one colour and symbol in all of them, a percentile one dash.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workbench.dashboards.drawing import FAINT, GREY, blank, need, number, safe, sentence, style
from workbench.tables import format_seconds

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

__all__ = ["load_latency_figure", "throughput_figure", "token_time_figure"]

_PLOT = 300  # pixels
_BELOW = 74
_LEGEND_LINE, _KEY, _LETTER, _WIDTH = 22, 70, 7, 850  # a line, an entry without its name, a letter, the whole
_DASHES = {50: "solid", 95: "dash", 99: "dot"}


def throughput_figure(table: pd.DataFrame) -> go.Figure:
    """Output tokens a second of the whole, with its 95% interval, against the load: one line a model.

    table: columns model, concurrency, rate, tokens_per_second and, where known, tokens_per_second_low and _high. Raises
    InputError if a column is missing.
    """
    if not len(table):
        return sentence("There is no throughput to draw: nothing was measured.")
    need("throughput_figure", table, ("model", "concurrency", "rate", "tokens_per_second"))
    known = table.dropna(subset=["tokens_per_second"])
    if not len(known):
        return sentence("There is no throughput to draw: no server counted its tokens.")
    figure = blank(
        "Throughput against load",
        "Output tokens a second of all requests together. Bars: 95% interval, of the variation within this run. Higher is "
        "better.",
        plot=_PLOT, below=_below(known, 0),
    )  # fmt: skip
    top = 0.0
    for at, (model, rows) in enumerate(known.groupby("model", sort=False)):
        values = [number(value) for value in rows["tokens_per_second"]]
        lows, highs = (
            [number(value) for value in rows.get(f"tokens_per_second_{end}", values)] for end in ("low", "high")
        )
        reach = [
            [0.0 if math.isnan(v) else abs(v - value) for v, value in zip(ends, values, strict=True)]
            for ends in (lows, highs)
        ]
        shown = [f"<b>{safe(model, 200)}</b><br>{v:,.1f} tokens/s" for v in values]
        colour, _ = style(at)
        bars = {
            "type": "data", "symmetric": False, "color": colour, "thickness": 2, "width": 5, "array": reach[1],
            "arrayminus": reach[0],
        }  # fmt: skip
        _line(figure, at, str(model), _loads(rows), values, shown, error_y=bars)
        top = max(top, *values, *(value for value in highs if not math.isnan(value)))
    _axes(figure, known, "tokens/s", top)
    return figure


def load_latency_figure(table: pd.DataFrame) -> go.Figure:
    """P50, P95 and P99 of the end-to-end latency against the load.

    table: columns model, concurrency, rate, latency_p50, latency_p95, latency_p99, in seconds. Raises InputError if a column is
    missing.
    """
    columns = tuple(f"latency_p{percent}" for percent in _DASHES)
    if not len(table):
        return sentence("There is no latency to draw: nothing was measured.")
    need("load_latency_figure", table, ("model", "concurrency", "rate", *columns))
    known = table.dropna(subset=["latency_p50"])
    if not len(known):
        return sentence("There is no latency to draw: no request was answered.")
    figure = blank(
        "Latency against load",
        "End to end, from when a request was due to the last byte of its answer. Lower is better.",
        plot=_PLOT, below=_below(known, len(_DASHES)),
    )  # fmt: skip
    factor, unit = _unit(known, columns)
    top = _percentiles(figure, known, "latency", tuple(_DASHES), factor)
    _axes(figure, known, f"latency, {unit}", top)
    _dash_legend(figure, tuple(_DASHES))
    return figure


def token_time_figure(table: pd.DataFrame) -> go.Figure:
    """Time to first token and time per output token against the load, P50 and P95, side by side.

    table: columns model, concurrency, rate, ttft_p50, ttft_p95, tpot_p50, tpot_p95, in seconds. Raises InputError if a column is
    missing.
    """
    percents = (50, 95)
    columns = tuple(f"{name}_p{percent}" for name in ("ttft", "tpot") for percent in percents)
    if not len(table):
        return sentence("There are no token times to draw: nothing was measured.")
    need("token_time_figure", table, ("model", "concurrency", "rate", *columns))
    known = table.dropna(subset=["ttft_p50"])
    if not len(known):
        return sentence("There are no token times to draw: no answer came in pieces.")
    figure = blank(
        "Time to first token, and time for each token after it",
        "Left: until the first piece of an answer (TTFT). Right: for each later token (TPOT). Lower is better.",
        plot=_PLOT, below=_below(known, len(percents)),
    )  # fmt: skip
    for name, title, axis in (("ttft", "time to first token", ""), ("tpot", "time per output token", "2")):
        factor, unit = _unit(known, tuple(f"{name}_p{percent}" for percent in percents))
        top = _percentiles(figure, known, name, percents, factor, axis=axis, legend=not axis)
        _axes(figure, known, f"{title}, {unit}", top, axis=axis)
    figure.update_layout(xaxis={"domain": [0, 0.44]}, xaxis2={"domain": [0.56, 1]})
    _dash_legend(figure, percents)
    return figure


def _percentiles(
    figure: go.Figure, table: pd.DataFrame, name: str, percents: Sequence[int], factor: float, *, axis: str = "",
    legend: bool = True,
) -> float:  # fmt: skip
    """One line a model and percentile; returns the highest value drawn."""
    top = 0.0
    for at, (model, rows) in enumerate(table.groupby("model", sort=False)):
        for percent in percents:
            seconds = [number(value) for value in rows[f"{name}_p{percent}"]]
            told = [f"<b>{safe(model, 200)}</b><br>P{percent} {format_seconds(value)}" for value in seconds]
            values = [value * factor for value in seconds]
            _line(
                figure, at, str(model), _loads(rows), values, told, dash=_DASHES[percent], axis=axis,
                legend=legend and percent == percents[0],
            )  # fmt: skip
            top = max([top, *(value for value in values if not math.isnan(value))])
    return top


def _line(
    figure: go.Figure, at: int, model: str, loads: Sequence[float], values: Sequence[float], told: Sequence[str], *,
    dash: str = "solid", axis: str = "", legend: bool = True, **more: Any,
) -> None:  # fmt: skip
    import plotly.graph_objects as go

    colour, symbol = style(at)
    figure.add_trace(
        go.Scatter(
            x=list(loads), y=list(values), mode="lines+markers", name=safe(model, 60), legendgroup=model, showlegend=legend,
            line={"color": colour, "width": 2, "dash": dash}, xaxis=f"x{axis}", yaxis=f"y{axis}",
            marker={"color": colour, "symbol": symbol, "size": 9 if dash == "solid" else 7},
            text=list(told), hovertemplate="%{text}<extra></extra>", **more,
        )
    )  # fmt: skip


def _dash_legend(figure: go.Figure, percents: Sequence[int]) -> None:
    """What the dashes mean, in grey, behind the models."""
    import plotly.graph_objects as go

    for percent in percents:
        line = {"color": GREY, "width": 2, "dash": _DASHES[percent]}
        figure.add_trace(go.Scatter(x=[None], y=[None], mode="lines", name=f"P{percent}", line=line, legendrank=2000))


def _axes(figure: go.Figure, table: pd.DataFrame, title: str, top: float, *, axis: str = "") -> None:
    """Loads on a logarithmic axis with a tick each; values from 0."""
    loads = sorted(set(_loads(table)))
    closed = not math.isnan(number(table["concurrency"].iloc[0]))
    span = math.log10(loads[-1] / loads[0]) or 1.0
    look = {"gridcolor": FAINT, "zeroline": False, "linecolor": FAINT, "automargin": True}
    figure.update_layout({
        f"xaxis{axis}": look | {
            "type": "log", "tickmode": "array", "tickvals": loads, "ticktext": [f"{load:g}" for load in loads],
            "range": [math.log10(loads[0]) - 0.06 * span, math.log10(loads[-1]) + 0.06 * span], "anchor": f"y{axis}",
            "title": {"text": "requests at once" if closed else "arrivals a second", "standoff": 8, "font": {"size": 13}},
        },
        f"yaxis{axis}": look | {
            "range": [0, top * 1.08 or 1], "anchor": f"x{axis}",
            "title": {"text": safe(title, 80), "standoff": 8, "font": {"size": 13}},
        },
        "showlegend": True,
    })  # fmt: skip


def _loads(rows: pd.DataFrame) -> list[float]:
    pairs = zip(rows["concurrency"], rows["rate"], strict=True)
    return [number(rate) if math.isnan(number(count)) else number(count) for count, rate in pairs]


def _unit(table: pd.DataFrame, columns: Sequence[str]) -> tuple[float, str]:
    most = max(
        (number(value) for column in columns for value in table[column]),
        key=lambda value: -1 if math.isnan(value) else value,
    )
    return (1000.0, "milliseconds") if most < 1 else (1.0, "seconds")


def _below(table: pd.DataFrame, percentiles: int) -> int:
    """Room for the axis and for a legend of all models and percentiles, in as many lines as it takes."""
    width = sum(_KEY + _LETTER * min(len(str(model)), 60) for model in table["model"].unique()) + _KEY * percentiles
    return _BELOW + _LEGEND_LINE * int(width // _WIDTH)
