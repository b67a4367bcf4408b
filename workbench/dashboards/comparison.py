"""What a comparison looks like: scores, paired differences, latencies and slices.

Where there is nothing to draw, a figure says so in a sentence.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.dashboards.drawing import (
    COLOURS,
    FAINT,
    GREY,
    SYMBOLS,
    blank,
    columns_of,
    need,
    number,
    safe,
    sentence,
    style,
)
from workbench.errors import InputError
from workbench.tables import format_interval, format_seconds

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from workbench.records import Contrast

__all__ = ["delta_figure", "latency_figure", "score_figure", "slice_figure"]

_DECISIONS = {
    "better": ("#009E73", "triangle-up"),
    "worse": ("#D55E00", "triangle-down"),
    "equivalent": ("#0072B2", "square"),
    "undecided": (GREY, "circle-open"),
}
_MOST_SLICES = 20
_FEW = 12


class _Dot(NamedTuple):
    row: float
    value: float
    low: float
    high: float
    told: str


def score_figure(
    table: pd.DataFrame, *, score: str | None = None, level: float = 0.95, higher_is_better: bool = True
) -> go.Figure:
    """One dot with its interval for each variant.

    table: one row a variant, columns SCORE, SCORE_low, SCORE_high, either `variant` or `prompt`, `version` and `model`,
    and `n` where known. score: which one; None takes the first column that has a _low and a _high. level: of the
    intervals, for the title. Raises InputError if a column is missing.
    """
    name = score if score is not None else next((c for c in table.columns if _has_interval(table, c)), None)
    if not len(table):
        return sentence(f"There is no {name or 'score'} to draw: no variant has been run yet.")
    if name is None or not _has_interval(table, name):
        raise InputError(
            f"score_figure needs the columns NAME, NAME_low and NAME_high of a score"
            f"{f' ({name!r} was asked for)' if score else ''}. This table has: {columns_of(table)}."
        )
    labels = _variants(table)
    dots, missing = [], []
    for row, (label, record) in enumerate(zip(labels, table.to_dict("records"), strict=True)):
        value, low, high = (number(record[c]) for c in (name, f"{name}_low", f"{name}_high"))
        if math.isnan(value):
            missing.append(row)
        else:
            told = f"<b>{safe(label, 200)}</b><br>{_told(value, low, high)}{_of(record)}"
            dots.append(_Dot(row, value, low, high, told))
    if not dots:
        return sentence(f"There is no {name} to draw: no answer has been scored yet.")
    figure = _canvas(
        f"{name} of each variant",
        f"Dot: mean score. Line: {level:.0%} interval. {'Right' if higher_is_better else 'Left'} is better.",
        rows=[_label(label) for label in labels],
        axis=name,
    )
    _remark(figure, missing, "not scored")
    _dots(figure, dots, colour=COLOURS[0], symbol=SYMBOLS[0], label=name)
    _fit(figure, [value for dot in dots for value in (dot.value, dot.low, dot.high)], floor=0.0, ceiling=1.0)
    return figure


def delta_figure(
    contrasts: Sequence[Contrast], *, score: str = "primary score", higher_is_better: bool = True
) -> go.Figure:
    """Each variant's paired difference to the control, with its interval, the margin as a band and a line at zero.

    The symbol is the decision. A contrast without an interval keeps its row and says so.
    """
    import plotly.graph_objects as go

    if not contrasts:
        return sentence("There is no difference to draw: nothing was compared with the control.")
    controls = list(dict.fromkeys(contrast.control for contrast in contrasts))
    figure = _canvas(
        f"Difference in {score} to {' / '.join(controls)}",
        f"Paired by example, with its interval. {'Right' if higher_is_better else 'Left'} of zero: better than the "
        "control. Grey band: the margin that counts as no difference.",
        rows=[_label(contrast.variant) for contrast in contrasts],
        axis=f"difference in {score}",
    )
    figure.add_vline(x=0, line={"color": GREY, "width": 1.5})
    drawn = [0.0]
    for row, contrast in enumerate(contrasts):
        figure.add_shape(
            type="rect", x0=-contrast.margin, x1=contrast.margin, y0=row - 0.5, y1=row + 0.5, layer="below",
            line={"width": 0}, fillcolor="rgba(125,125,125,.18)",
        )  # fmt: skip
        drawn += [-contrast.margin, contrast.margin]
    _remark(figure, [row for row, contrast in enumerate(contrasts) if contrast.interval is None], "no interval")
    for decision, (colour, symbol) in _DECISIONS.items():
        mine = [
            _Dot(row, c.interval.estimate, c.interval.low, c.interval.high, _contrast_told(c))
            for row, c in enumerate(contrasts)
            if c.decision == decision and c.interval is not None
        ]
        if mine:
            _dots(figure, mine, colour=colour, symbol=symbol, label=decision)
            drawn += [value for dot in mine for value in (dot.low, dot.high)]
    if not figure.data:
        figure.add_trace(go.Scatter(x=[], y=[], showlegend=False))
    _fit(figure, drawn)
    figure.update_xaxes(tickformat="+~g")
    figure.update_layout(showlegend=True)
    return figure


def latency_figure(rows: pd.DataFrame) -> go.Figure:
    """The distribution of latency for each variant: box from the 25th to the 75th percentile, line at the median,
    whiskers to the 5th and 95th. Few values (12 at most) are drawn one by one.

    rows: columns `variant` and `latency` in seconds, one row a call; NaN is left out. The figure holds percentiles, not
    the values, so its size does not grow. Raises InputError if a column is missing.
    """
    import numpy as np
    import plotly.graph_objects as go

    if not len(rows):
        return sentence("There is no latency to draw: no call has been made yet.")
    need("latency_figure", rows, ("variant", "latency"))
    known = rows.dropna(subset=["latency"])
    groups = [(str(label), group["latency"].to_numpy(dtype=float)) for label, group in _groups(known, "variant")]
    if not groups:
        return sentence("There is no latency to draw: no call has been measured yet.")
    milliseconds = max(float(np.quantile(values, 0.95)) for _, values in groups) < 1
    factor, unit = (1000.0, "milliseconds") if milliseconds else (1.0, "seconds")
    figure = _canvas(
        "Latency of each variant",
        "Box: the middle half of the calls, line at the median; whiskers: 5th to 95th percentile. Left is faster.",
        rows=[_label(label) for label, _ in groups],
        axis=f"latency of a call, {unit}",
    )
    top = 0.0
    for row, (label, values) in enumerate(groups):
        p5, p25, p50, p75, p95 = (float(q) for q in np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95)))
        colour, symbol = style(row)
        told = (
            f"<b>{safe(label, 200)}</b><br>median {format_seconds(p50)}, P95 {format_seconds(p95)}, n {len(values):,}"
        )
        if len(values) > _FEW:
            figure.add_trace(
                go.Box(
                    y=[row], q1=[p25 * factor], median=[p50 * factor], q3=[p75 * factor], lowerfence=[p5 * factor],
                    upperfence=[p95 * factor], orientation="h", width=0.45, line={"color": colour, "width": 2},
                    fillcolor="rgba(125,125,125,.15)", hoverinfo="skip", showlegend=False,
                )
            )  # fmt: skip
            shown, top = [p50], max(top, p95 * factor)
        else:
            shown, top = sorted(values.tolist()), max(top, float(values.max()) * factor)
        figure.add_trace(
            go.Scatter(
                x=[value * factor for value in shown], y=[row] * len(shown), mode="markers", showlegend=False,
                marker={"color": colour, "symbol": symbol, "size": 9, "line": {"width": 1, "color": GREY}},
                hovertemplate=f"{told}<extra></extra>",
            )
        )  # fmt: skip
    figure.update_xaxes(range=[0, top * 1.06 or 1])
    return figure


def slice_figure(table: pd.DataFrame, *, by: str | None = None, score: str | None = None) -> go.Figure:
    """The score of each variant within each value of a metadata field.

    table: columns BY, `variant`, SCORE and, where known, `low`, `high` and `n`: one row for each value and variant.
    by, score: None takes the first two columns that have other names than those. Beyond 20 values the largest are
    drawn, and the figure says how many are not. Raises InputError if a column is missing.
    """
    if not len(table):
        return sentence("There are no slices to draw: no example has been run yet.")
    others = [str(c) for c in table.columns if c not in ("variant", "low", "high", "n")]
    by = by if by is not None else next(iter(others), None)
    score = score if score is not None else next((c for c in others if c != by), None)
    need("slice_figure", table, ("variant", by or "BY", score or "SCORE"))
    assert by is not None  # noqa: S101
    assert score is not None  # noqa: S101
    known = table.dropna(subset=[score])
    if not len(known):
        return sentence(f"There is no {score} by {by} to draw: no answer has been scored yet.")
    known = known.assign(**{by: known[by].map(str)})
    values = list(dict.fromkeys(known[by]))
    if "n" in known.columns:
        sizes = known.groupby(by, dropna=False)["n"].sum()
        values.sort(key=lambda value: -float(sizes.get(value, 0)))
    left_out, values = max(0, len(values) - _MOST_SLICES), values[:_MOST_SLICES]
    variants = list(dict.fromkeys(known["variant"]))
    place = {value: row for row, value in enumerate(values)}
    figure = _canvas(
        f"{score} by {by}, for each variant",
        "Dot: mean score. Line: its interval, wide where there are few examples."
        + (f" The {len(values)} largest values; {left_out} more are not drawn." if left_out else ""),
        rows=[safe(value, 40) for value in values],
        axis=score,
        height=30 + 17 * len(variants),
    )
    figure.update_yaxes(title={"text": safe(by, 40), "standoff": 14, "font": {"size": 13}})
    drawn: list[float] = []
    for at, variant in enumerate(variants):
        offset = (at - (len(variants) - 1) / 2) * min(0.22, 0.7 / len(variants))
        dots = []
        for record in known[known["variant"] == variant].to_dict("records"):
            if record[by] in place:
                value, low, high = (number(record.get(column)) for column in (score, "low", "high"))
                told = (
                    f"<b>{safe(record[by], 80)}</b><br>{safe(variant, 200)}<br>{_told(value, low, high)}{_of(record)}"
                )
                dots.append(_Dot(place[record[by]] + offset, value, low, high, told))
                drawn += [value, low, high]
        colour, symbol = style(at)
        _dots(figure, dots, colour=colour, symbol=symbol, label=str(variant))
    _fit(figure, drawn, floor=0.0, ceiling=1.0)
    figure.update_layout(showlegend=True, height=figure.layout.height + 20 * len(variants))
    return figure


# -- drawing ----------------------------------------------------------------------------------------------------------


def _canvas(title: str, subtitle: str, *, rows: Sequence[str], axis: str, height: int = 52) -> go.Figure:
    figure = blank(title, subtitle, plot=22 + height * len(rows))
    figure.update_xaxes(
        title={"text": safe(axis, 80), "standoff": 8, "font": {"size": 13}},
        gridcolor=FAINT,
        zeroline=False,
        linecolor=FAINT,
        automargin=True,
    )
    figure.update_yaxes(
        tickmode="array", tickvals=list(range(len(rows))), ticktext=list(rows), range=[len(rows) - 0.5, -0.5],
        gridcolor=FAINT, zeroline=False, automargin=True, ticklabelstandoff=6,
    )  # fmt: skip
    return figure


def _dots(figure: go.Figure, dots: Sequence[_Dot], *, colour: str, symbol: str, label: str) -> None:
    import plotly.graph_objects as go

    figure.add_trace(
        go.Scatter(
            x=[dot.value for dot in dots], y=[dot.row for dot in dots], mode="markers", name=_label(label),
            marker={"color": colour, "symbol": symbol, "size": 11, "line": {"width": 1.5, "color": colour}},
            error_x={
                "type": "data", "symmetric": False, "color": colour, "thickness": 2, "width": 5,
                "array": [_reach(dot.high - dot.value) for dot in dots],
                "arrayminus": [_reach(dot.value - dot.low) for dot in dots],
            },
            text=[dot.told for dot in dots], hovertemplate="%{text}<extra></extra>",
        )
    )  # fmt: skip


def _remark(figure: go.Figure, rows: Sequence[int], text: str) -> None:
    """Words where a dot would be."""
    for row in rows:
        figure.add_annotation(xref="paper", x=0.02, xanchor="left", y=row, showarrow=False, text=text)


def _fit(figure: go.Figure, values: Sequence[float], floor: float | None = None, ceiling: float | None = None) -> None:
    """The x axis around `values` with air, not beyond floor or ceiling where no value is."""
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    air = 0.08 * (high - low) or max(abs(high) * 0.1, 0.05)
    # A dot at the edge would be cut in half, so the edge lies a little beyond the floor or ceiling.
    least = low - air if floor is None or low < floor else max(low - air, floor - 0.02)
    most = high + air if ceiling is None or high > ceiling else min(high + air, ceiling + 0.02)
    figure.update_xaxes(range=[least, most])


# -- reading ----------------------------------------------------------------------------------------------------------


def _variants(table: pd.DataFrame) -> list[str]:
    if "variant" in table.columns:
        return [str(label) for label in table["variant"]]
    need("score_figure", table, ("prompt", "version", "model"))
    columns = (table["prompt"], table["version"], table["model"])
    return [f"{prompt}@{version} · {model}" for prompt, version, model in zip(*columns, strict=True)]


def _groups(frame: pd.DataFrame, column: str) -> list[tuple[Hashable, pd.DataFrame]]:
    return list(frame.groupby(column, sort=False))


def _has_interval(table: pd.DataFrame, column: object) -> bool:
    return {column, f"{column}_low", f"{column}_high"} <= set(table.columns)


def _reach(distance: float) -> float:
    return distance if math.isfinite(distance) and distance > 0 else 0.0


def _told(value: float, low: float, high: float) -> str:
    from workbench.records import Interval

    return f"{value:.3g}" if math.isnan(low) or math.isnan(high) else format_interval(Interval(value, low, high, 0.95))


def _contrast_told(contrast: Contrast) -> str:
    shown = format_interval(contrast.interval, signed=True, digits=3)
    return (
        f"<b>{safe(contrast.variant, 200)}</b><br>{contrast.decision}: {shown}<br>"
        f"n {contrast.n:,}, margin {contrast.margin:g}, {safe(contrast.method, 80)}"
    )


def _of(record: dict[Hashable, Any]) -> str:
    return f", n {int(record['n']):,}" if "n" in record and record["n"] == record["n"] else ""


def _label(text: str) -> str:
    """A variant's label on two lines: prompt, then model."""
    return "<br>".join(safe(part, 44) for part in text.split(" · ", 1))
