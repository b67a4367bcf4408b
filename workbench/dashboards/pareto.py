"""Quality against cost and against latency, for every variant of a matrix at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from workbench.dashboards.drawing import COLOURS, FAINT, GREY, blank, columns_of, need, number, safe, sentence
from workbench.errors import InputError
from workbench.tables import format_money, format_seconds

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

__all__ = ["pareto_figure"]

_NAMED = 14


def pareto_figure(table: pd.DataFrame, *, score: str | None = None) -> go.Figure:
    """Left: score against dollars a call; right: against latency. Filled: beaten by no other in all three; hollow: beaten.

    table: `Comparison.pareto()`: columns variant, SCORE, cost_per_call, latency_p50, beaten_by and, where known, SCORE_low and
    SCORE_high. A side of which nothing is known says so. Raises InputError if a column is missing.
    """
    import plotly.graph_objects as go

    if not len(table):
        return sentence("There is nothing to draw: no variant has been run yet.")
    need("pareto_figure", table, ("variant", "cost_per_call", "latency_p50", "beaten_by"))
    others = {"variant", "cost_per_call", "latency_p50", "beaten_by", "in_flight"}
    name = score or next((str(c) for c in table.columns if c not in others), None)
    if name is None or name not in table.columns:
        raise InputError(f"pareto_figure needs the column of a score. This table has: {columns_of(table)}.")
    rows = [row for row in table.to_dict("records") if not math.isnan(number(row[name]))]
    if not rows:
        return sentence(f"There is nothing to draw: no variant has a {name} yet.")
    from workbench.evaluation.sentences import short_names

    short = short_names([str(row["variant"]) for row in rows])
    for row in rows:
        row["short"] = short[str(row["variant"])] if len(rows) <= _NAMED else ""
    figure = blank(
        f"{name} against cost and latency",
        "Up is better quality, left is cheaper or faster. Filled: no other variant is at least as good in all three. "
        "Hollow: one is, see the hover text. Lines: intervals of the score.",
        plot=380,
    )
    sides = (("cost_per_call", "dollars a call", [0.0, 0.46], ""), ("latency_p50", "seconds, median", [0.56, 1.0], "2"))
    for column, title, domain, axis in sides:
        known = [row for row in rows if not math.isnan(number(row[column]))]
        places = {number(row[column]) for row in known}
        alone = places.pop() if len(places) == 1 else None  # in the middle, so that no label lies over the axis
        figure.update_layout({
            f"xaxis{axis}": {
                "domain": domain, "anchor": f"y{axis}", "title": {"text": title, "font": {"size": 13}}, "gridcolor": FAINT,
                "linecolor": FAINT, "zeroline": False, "rangemode": "tozero", "automargin": True,
                **({} if alone is None else {"range": [alone - (alone or 1), alone + (alone or 1)], "tickvals": [alone]}),
            },
            f"yaxis{axis}": {
                "anchor": f"x{axis}", "title": {"text": safe(name, 60) if not axis else "", "font": {"size": 13}},
                "gridcolor": FAINT, "zeroline": False, "automargin": True, **({"matches": "y"} if axis else {}),
            },
        })  # fmt: skip
        if not known:
            figure.add_annotation(
                text=f"{title}: unknown", xref=f"x{axis} domain", yref="paper", x=0.5, y=0.5, showarrow=False
            )
        for beaten in (False, True):
            mine = [row for row in known if bool(row["beaten_by"]) is beaten]
            if mine:
                figure.add_trace(_dots(go, mine, name, column, axis, beaten))
    return figure


def _dots(go: Any, rows: list[dict[Any, Any]], name: str, column: str, axis: str, beaten: bool) -> Any:
    colour = GREY if beaten else COLOURS[0]
    reach = [[_reach(row, name, side) for row in rows] for side in ("high", "low")]
    return go.Scatter(
        x=[number(row[column]) for row in rows], y=[number(row[name]) for row in rows], xaxis=f"x{axis}", yaxis=f"y{axis}",
        mode="markers+text", text=["<br>".join(safe(part, 28) for part in row["short"].split(" · ")) for row in rows],
        cliponaxis=False,
        textposition="top center", textfont={"size": 10, "color": GREY}, name="beaten" if beaten else "not beaten",
        marker={"color": colour, "symbol": "circle-open" if beaten else "circle", "size": 11, "line": {"width": 1.5}},
        error_y={"type": "data", "symmetric": False, "array": reach[0], "arrayminus": reach[1], "color": colour,
                 "thickness": 1, "width": 3},
        customdata=[_told(row, name) for row in rows], hovertemplate="%{customdata}<extra></extra>",
    )  # fmt: skip


def _reach(row: dict[Any, Any], name: str, side: str) -> float:
    distance = abs(number(row.get(f"{name}_{side}")) - number(row[name]))
    return 0.0 if math.isnan(distance) else distance


def _told(row: dict[Any, Any], name: str) -> str:
    cost, latency = number(row["cost_per_call"]), number(row["latency_p50"])
    facts = [
        f"{safe(name, 60)} {number(row[name]):.3g}",
        f"cost {'unknown' if math.isnan(cost) else format_money(cost)}",
        f"latency {'unknown' if math.isnan(latency) else format_seconds(latency)}",
    ]
    beaten = f"<br>beaten by {safe(row['beaten_by'], 200)}" if row["beaten_by"] else ""
    return f"<b>{safe(row['variant'], 200)}</b><br>{', '.join(facts)}{beaten}"
