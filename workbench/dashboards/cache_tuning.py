"""What each threshold of the semantic cache would do: hit rate, precision and false-hit rate, drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.dashboards.drawing import FAINT, GREY, blank, style
from workbench.tables import format_share

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from workbench.evaluation.cache_tuning import CacheTuning

__all__ = ["tuning_figure"]

_PLOT, _BELOW = 470, 86  # pixels
_MEASURES = (("hit_rate", "hit rate", ""), ("precision", "precision", ""), ("false_hit_rate", "false-hit rate", "2"))
_BUDGETS = 5  # how many of them the lower axis holds at least
_EDGE = 0.01


def tuning_figure(tuning: CacheTuning, threshold: float | None = None) -> go.Figure:
    """Hit rate and precision above, false-hit rate with its budget below, against the threshold: solid with the guard, dotted
    without, and the intervals of those that the proposal is about.

    threshold: which one to mark, None for the proposed one or, if there is none, the one that comes closest.
    """
    import plotly.graph_objects as go

    table = tuning.frame()
    chosen = tuning.shown if threshold is None else threshold
    figure = blank(
        "What each threshold would do",
        f"Bands: {tuning.level:.0%} interval, of {len(tuning.pairs):,} pairs. Above, higher is better; below, the band must stay "
        "under the budget, at the marked threshold and at every higher one.",
        plot=_PLOT, below=_BELOW,
    )  # fmt: skip
    for at, (name, _, axis) in enumerate(_MEASURES):
        for guarded in (False, True):
            rows = table[table["guarded"] == guarded].dropna(subset=[name])
            if guarded == tuning.guarded:
                _band(figure, at, rows, name, axis)
            _line(figure, tuning, at, rows, guarded=guarded)
    dotted = {"color": GREY, "width": 2, "dash": "dot"}
    figure.add_trace(
        go.Scatter(x=[None], y=[None], mode="lines", name="without the guard", line=dotted, legendrank=2000)
    )
    _axes(figure, tuning, table)
    _marks(figure, tuning, chosen)
    return figure


def _line(figure: go.Figure, tuning: CacheTuning, at: int, rows: pd.DataFrame, *, guarded: bool) -> None:
    import plotly.graph_objects as go

    name, title, axis = _MEASURES[at]
    colour, symbol = style(at)
    how = "with the guard" if guarded else "without the guard"
    shown = [
        f"<b>{title}</b>, {how}<br>{tuning.written(row['threshold'])}: {format_share(row[name])} "
        f"[{format_share(row[f'{name}_low'])}, {format_share(row[f'{name}_high'])}]<br>"
        f"{row['served']:,} of {row['asked']:,} served, {row['wrong']:,} wrongly"
        for row in rows.to_dict("records")
    ]
    figure.add_trace(
        go.Scatter(
            x=[*rows["threshold"]], y=[*rows[name]], mode="lines+markers" if guarded else "lines", name=title,
            legendgroup=name, showlegend=guarded, yaxis=f"y{axis}",
            line={"color": colour, "width": 2, "dash": "solid" if guarded else "dot"},
            marker={"color": colour, "symbol": symbol, "size": 6}, text=shown, hovertemplate="%{text}<extra></extra>",
        )
    )  # fmt: skip


def _band(figure: go.Figure, at: int, rows: pd.DataFrame, name: str, axis: str) -> None:
    import plotly.graph_objects as go

    red, green, blue = (int(style(at)[0][place : place + 2], 16) for place in (1, 3, 5))
    figure.add_trace(
        go.Scatter(
            x=[*rows["threshold"], *rows["threshold"][::-1]], y=[*rows[f"{name}_high"], *rows[f"{name}_low"][::-1]],
            fill="toself", fillcolor=f"rgba({red},{green},{blue},.18)", line={"width": 0}, mode="lines", yaxis=f"y{axis}",
            legendgroup=name, showlegend=False, hoverinfo="skip",
        )
    )  # fmt: skip


def _axes(figure: go.Figure, tuning: CacheTuning, table: pd.DataFrame) -> None:
    """Rates above on the whole scale; below so that the budget can be seen, whatever the cache without its guard would do."""
    judged = table[table["guarded"] == tuning.guarded]
    top = max(_BUDGETS * tuning.budget, 1.1 * float(judged["false_hit_rate"].max()))
    look = {"gridcolor": FAINT, "zeroline": False, "linecolor": FAINT, "automargin": True}
    title = {"standoff": 8, "font": {"size": 13}}
    figure.update_layout(
        showlegend=True,
        xaxis=look | {
            "range": [tuning.thresholds[0] - _EDGE, tuning.thresholds[-1] + _EDGE], "anchor": "y2", "tickformat": ".2f",
            "title": title | {"text": "threshold (cosine from which on a cached answer is served)"},
        },
        yaxis=look | {
            "domain": [0.46, 1], "range": [0, 1.03], "tickformat": ".0%",
            "title": title | {"text": "hit rate, precision"},
        },
        yaxis2=look | {
            "domain": [0, 0.38], "range": [0, min(top, 1.03)], "tickformat": ".2~%", "anchor": "x",
            "title": title | {"text": "false-hit rate"},
        },
    )  # fmt: skip


def _marks(figure: go.Figure, tuning: CacheTuning, chosen: float) -> None:
    """The budget across, the chosen threshold down through both."""
    right = tuning.thresholds[-1] + _EDGE
    figure.add_shape(
        type="line", x0=tuning.thresholds[0] - _EDGE, x1=right, y0=tuning.budget, y1=tuning.budget, yref="y2",
        line={"color": GREY, "width": 2, "dash": "dash"},
    )  # fmt: skip
    figure.add_annotation(
        x=right, y=tuning.budget, yref="y2", text=f"budget {100 * tuning.budget:.4g}%", showarrow=False,
        xanchor="right", yanchor="bottom",
    )  # fmt: skip
    word = "proposed: " if chosen == tuning.proposal else "possible: " if chosen == tuning.possible else ""
    figure.add_shape(
        type="line", x0=chosen, x1=chosen, y0=0, y1=1, yref="paper", line={"color": GREY, "width": 2}, layer="below"
    )
    left = chosen > (tuning.thresholds[0] + tuning.thresholds[-1]) / 2
    figure.add_annotation(
        x=chosen, y=0.42, yref="paper", text=f"<b>{word}{tuning.written(chosen)}</b>", showarrow=False,
        xanchor="right" if left else "left", xshift=-6 if left else 6,
    )  # fmt: skip
