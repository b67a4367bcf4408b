"""What all figures over time share: an axis of days with its gaps, bars and lines that tell apart without colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.dashboards.drawing import FAINT, GREY, blank, need, safe, style

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

__all__ = ["add_bars", "add_line", "add_marks", "named", "pattern", "time_figure", "whole_days"]

_PATTERNS = ("", "/", "x", ".", "\\", "-", "+")
MOST_SERIES = 7
OTHERS = "others"


def time_figure(title: str, subtitle: str, *, axis: str, plot: int = 300) -> go.Figure:
    """A figure with an axis of time and one of values. axis: the values' name. plot: pixels that it is high."""
    figure = blank(title, subtitle, plot=plot, below=96)
    figure.update_layout(
        showlegend=True, margin_l=64, barmode="stack", bargap=0.25, hovermode="x unified",
        legend={"y": 0.02, "font": {"size": 12}},
    )  # fmt: skip
    figure.update_xaxes(
        type="date", showgrid=False, linecolor=GREY, ticks="outside", tickcolor=GREY, automargin=True, nticks=9
    )
    figure.update_yaxes(
        title={"text": safe(axis, 60), "font": {"size": 12}}, gridcolor=FAINT, zerolinecolor=GREY, rangemode="tozero",
        automargin=True, nticks=6,
    )  # fmt: skip
    return figure


def named(table: pd.DataFrame, by: Sequence[str], weight: str) -> pd.Series[str]:
    """The series that each row belongs to, by the columns of `by`; of many, the heaviest and "others"."""
    need("this figure", table, [*by, weight])
    names = table[list(by)].astype(str).replace("", "none").agg(" · ".join, axis=1) if by else None
    if names is None:
        return table.assign(series="all")["series"]
    heavy = table[weight].groupby(names).sum().sort_values(ascending=False, kind="stable").index[: MOST_SERIES - 1]
    if names.nunique() <= MOST_SERIES:
        return names
    return names.where(names.isin(set(heavy)), OTHERS)


def whole_days(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Sums by time and series: one row a time that occurs, one column a series; what is not there is 0."""
    wide = table.pivot_table(index="at", columns="series", values=next(iter(columns)), aggfunc="sum", fill_value=0)
    order = wide.sum().sort_values(ascending=False, kind="stable").index
    rest = [name for name in order if name != OTHERS] + [name for name in order if name == OTHERS]
    return wide[rest].sort_index()


def pattern(at: int) -> dict[str, Any]:
    """Lines over the colour of the series at that place, so that print in black and white tells it apart."""
    colour, _ = style(at)
    return {"shape": _PATTERNS[at % len(_PATTERNS)], "bgcolor": colour, "fgcolor": "rgba(255,255,255,.75)", "size": 7}


def add_bars(figure: go.Figure, wide: pd.DataFrame, *, told: str) -> None:
    """A stack of bars. told: plotly's format of a value, such as `$,.2f`."""
    import plotly.graph_objects as go

    for at, name in enumerate(wide.columns):
        colour, _ = style(at)
        figure.add_trace(
            go.Bar(
                x=list(wide.index), y=wide[name].tolist(), name=safe(name, 60),
                marker={"color": colour, "pattern": pattern(at)},
                hovertemplate=f"%{{y:{told}}}",
            )
        )  # fmt: skip


def add_line(
    figure: go.Figure, at: int, name: str, rows: pd.DataFrame, column: str, *, told: str, dash: str = "solid",
    group: Mapping[str, Any] | None = None, interval: tuple[str, str] | None = None,
) -> None:  # fmt: skip
    """A line with a symbol at each value, broken where there is none. interval: the columns of its ends, drawn as bars."""
    import plotly.graph_objects as go

    colour, symbol = style(at)
    error = None
    if interval is not None:
        low, high = (rows[column_].astype(float) for column_ in interval)
        value = rows[column].astype(float)
        error = {
            "type": "data", "symmetric": False, "array": (high - value).fillna(0).tolist(),
            "arrayminus": (value - low).fillna(0).tolist(), "thickness": 1.2, "width": 0, "color": colour,
        }  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=list(rows["at"]), y=rows[column].astype(float).tolist(), name=safe(name, 70), mode="lines+markers",
            connectgaps=False, line={"color": colour, "width": 2, "dash": dash}, error_y=error,
            marker={"symbol": symbol, "size": 7, "color": colour}, hovertemplate=f"%{{y:{told}}}", **(group or {}),
        )
    )  # fmt: skip


def add_marks(figure: go.Figure, marks: Sequence[tuple[Any, str]]) -> None:
    """A dotted vertical line with its text for each (when, text): what was released."""
    for at, text in marks:
        figure.add_vline(x=at, line={"color": GREY, "width": 1, "dash": "dot"})
        figure.add_annotation(
            x=at, y=1, yref="paper", text=safe(text, 40), showarrow=False, font={"size": 11, "color": GREY},
            xanchor="left", yanchor="top", textangle=90, xshift=2,
        )  # fmt: skip
