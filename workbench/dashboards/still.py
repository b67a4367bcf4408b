"""Figures over time or over numbers as inline SVG: what a page shows that runs no scripts, such as an exported notebook."""

from __future__ import annotations

import html
import itertools
import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.dashboards.drawing import FAINT, GREY

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["still"]

_WIDTH, _LEFT, _RIGHT, _PLOT, _LETTER = 760, 64, 14, 240, 6.4  # pixels
_DASHES = {"dash": "7 5", "dot": "2 4", "dashdot": "7 4 2 4"}
_TAG, _BREAK = re.compile(r"<[^>]*>"), re.compile(r"<br\s*/?>")
_numbers = itertools.count()  # of hatchings: their names are the page's


class _Axis(NamedTuple):
    """first, last: its ends, as `place` gives numbers. ticks: with their texts."""

    place: Callable[[Any], float]
    first: float
    last: float
    ticks: Sequence[tuple[float, str]]

    def share(self, value: float) -> float:
        return (value - self.first) / (self.last - self.first)


def still(figure: go.Figure) -> str:
    """An SVG of bars, lines and symbols with axes and legend; "" of a figure with anything else in it, or with nothing."""
    traces = [trace for trace in figure.data if trace.x is not None and len(trace.x)]
    if not traces or any(trace.type not in ("bar", "scatter") or trace.xaxis or trace.yaxis for trace in traces):
        return ""
    try:
        across = _across(figure, traces)
        tops, up = _up(figure, traces)
    except (TypeError, ValueError):  # names in place of numbers
        return ""
    title, *lines = (_lines(figure.layout.title.text) or [""]) + _lines(figure.layout.title.subtitle.text)
    top = 34 + 17 * len(lines)

    def x(value: Any) -> float:
        return _LEFT + across.share(across.place(value)) * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return top + _PLOT * (1 - up.share(value))

    parts = [_text(0, 16, title, "font-size='15' font-weight='600'")]
    parts += [_text(0, 35 + 17 * at, line, f"fill='{GREY}'") for at, line in enumerate(lines)]
    for value, said in up.ticks:
        parts.append(f"<path d='M{_LEFT} {y(value):.1f}H{_WIDTH - _RIGHT}' stroke='{FAINT}'/>")
        parts.append(_text(_LEFT - 6, y(value) + 4, said, "text-anchor='end'"))
    for value, said in across.ticks:
        at = _LEFT + across.share(value) * (_WIDTH - _LEFT - _RIGHT)
        parts.append(_text(at, top + _PLOT + 18, said, "text-anchor='middle'"))
    under = " · ".join(_lines(figure.layout.xaxis.title.text) + _lines(figure.layout.yaxis.title.text))
    parts.append(_text(_LEFT, top + _PLOT + 36, under, f"fill='{GREY}'"))
    places = sorted({x(value) for trace in traces for value in trace.x})
    width = 0.75 * min((b - a for a, b in itertools.pairwise(places)), default=80.0)
    keys = []
    for at, trace in enumerate(traces):
        if trace.type == "bar":
            colour, drawn = _hatched(str(trace.marker.color or GREY), at)
            drawn += "".join(
                f"<rect x='{x(v) - width / 2:.1f}' y='{y(high):.1f}' width='{width:.1f}' height='{y(low) - y(high):.1f}' "
                f"fill='{colour}'/>"
                for v, (low, high) in zip(trace.x, tops[at], strict=True)
                if high > low
            )
        else:
            colour, drawn = str(trace.line.color or GREY), _line(trace, x, y)
        parts.append(drawn)
        if trace.name and trace.showlegend is not False:
            keys.append((colour, _plain(trace.name)))
    parts.append(f"<path d='M{_LEFT} {top + _PLOT}H{_WIDTH - _RIGHT}' stroke='{GREY}'/>")
    for shape in figure.layout.shapes:
        parts.append(_level(shape, x, y, top))
    legend, height = _legend(keys, top + _PLOT + 60)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {height}' style='max-width:{_WIDTH}px;width:100%' "
        f"role='img' aria-label='{html.escape(title)}' font-family='sans-serif' font-size='12' fill='currentColor'>"
        f"{''.join(parts)}{legend}</svg>"
    )


def _across(figure: go.Figure, traces: Sequence[Any]) -> _Axis:
    kind = figure.layout.xaxis.type
    place = _moment if kind == "date" else (lambda v: math.log10(float(v))) if kind == "log" else float
    values = [place(value) for trace in traces for value in trace.x]
    low, high = min(values), max(values)
    if kind == "date":
        days = sorted(set(values))
        step = min((b - a for a, b in itertools.pairwise(days)), default=86_400.0)
        every = max(1, round((high - low) / step / 7)) * step
        form = "%b %d" if step >= 86_400 else "%b %d %H:00"
        ticks = [(at, f"{datetime.fromtimestamp(at, UTC):{form}}") for at in _range(low, high, every)]
        return _Axis(place, low - step * 0.7, high + step * 0.7, ticks)
    if kind == "log":
        marks = [(math.log10(m * 10.0**p), f"{m * 10.0**p:g}") for p in range(-9, 10) for m in (1, 2, 5)]
        return _Axis(place, low - 0.03, high + 0.03, [mark for mark in marks if low - 0.03 <= mark[0] <= high + 0.03])
    room = (high - low) * 0.02 or 1.0
    return _Axis(place, low - room, high + room, [(at, f"{at:g}") for at in _nice(low, high, 7)])


def _up(figure: go.Figure, traces: Sequence[Any]) -> tuple[dict[int, list[tuple[float, float]]], _Axis]:
    """From where to where each bar goes, and the axis."""
    sums: dict[Any, float] = {}
    tops: dict[int, list[tuple[float, float]]] = {}
    values = [0.0]
    for at, trace in enumerate(traces):
        numbers = [_number(value) for value in trace.y]
        if trace.type == "bar":
            tops[at] = []
            for place, value in zip(trace.x, numbers, strict=True):
                low = sums.get(place, 0.0)
                sums[place] = low + (0.0 if math.isnan(value) else value)
                tops[at].append((low, sums[place]))
            values += sums.values()
        else:
            values += [value for value in numbers if not math.isnan(value)]
    low, high = min(values), max(values) or 1.0
    axis = figure.layout.yaxis
    percent, before = "%" in (axis.tickformat or ""), axis.tickprefix or ""
    ticks = [
        (at, f"{before}{at:.3g}" if not percent else f"{at:.3%}".rstrip("0%").rstrip(".") + "%")
        for at in _nice(low, high, 5)
    ]
    return tops, _Axis(float, low, max(high, ticks[-1][0]) * 1.03, ticks)


def _line(trace: Any, x: Callable[[Any], float], y: Callable[[float], float]) -> str:
    """Lines between neighbours that are known, a symbol at each, and intervals."""
    colour, mode = str(trace.line.color or trace.marker.color or GREY), trace.mode or "lines"
    path, marks, begun = [], [], False
    above = itertools.repeat(0) if trace.error_y.array is None else trace.error_y.array
    below = trace.error_y.arrayminus if trace.error_y.arrayminus is not None else above  # as plotly has it
    for place, value, more, less in zip(trace.x, map(_number, trace.y), above, below, strict=False):
        if math.isnan(value):
            begun = False
            continue
        path.append(f"{'L' if begun else 'M'}{x(place):.1f} {y(value):.1f}")
        begun = True
        if more or less:
            marks.append(f"<path d='M{x(place):.1f} {y(value - less):.1f}V{y(value + more):.1f}' stroke='{colour}'/>")
        if "markers" in mode:
            marks.append(f"<circle cx='{x(place):.1f}' cy='{y(value):.1f}' r='3' fill='{colour}'/>")
    dash = _DASHES.get(trace.line.dash or "", "")
    drawn = f"<path d='{''.join(path)}' fill='none' stroke='{colour}' stroke-width='2' stroke-dasharray='{dash}'/>"
    return (drawn if "lines" in mode else "") + "".join(marks)


def _level(shape: Any, x: Callable[[Any], float], y: Callable[[float], float], top: int) -> str:
    """A line across at a value, or up at a moment; nothing of other shapes."""
    pen = f"stroke='{GREY}' stroke-dasharray='2 4'"
    try:
        if shape.type == "line" and shape.x0 == shape.x1 and shape.xref in (None, "x"):
            return f"<path d='M{x(shape.x0):.1f} {top}V{top + _PLOT}' {pen}/>"
        if shape.type == "line" and shape.y0 == shape.y1 and shape.yref in (None, "y"):
            return f"<path d='M{_LEFT} {y(shape.y0):.1f}H{_WIDTH - _RIGHT}' {pen}/>"
    except (TypeError, ValueError):
        pass
    return ""


def _hatched(colour: str, at: int) -> tuple[str, str]:
    """What to fill with, so that neighbours also differ in black and white, and what defines it."""
    if not at:
        return colour, ""
    name = f"wb-hatch-{next(_numbers)}"
    turned = (45, -45, 90, 0)[(at - 1) % 4]
    return f"url(#{name})", (
        f"<pattern id='{name}' width='7' height='7' patternUnits='userSpaceOnUse' patternTransform='rotate({turned})'>"
        f"<rect width='7' height='7' fill='{colour}'/><path d='M0 0V7' stroke='#fff' stroke-opacity='.75' stroke-width='2'/>"
        "</pattern>"
    )


def _legend(keys: Sequence[tuple[str, str]], top: int) -> tuple[str, int]:
    """The names with their colours, in as many rows as they need, and where they end."""
    parts, at = [], float(_LEFT)
    for colour, name in keys:
        if at > _LEFT and at + 24 + _LETTER * len(name) > _WIDTH:
            at, top = float(_LEFT), top + 18
        parts.append(
            f"<rect x='{at:.0f}' y='{top - 10}' width='12' height='10' fill='{colour}'/>"
            + _text(at + 17, top, name, "")
        )
        at += 36 + _LETTER * len(name)
    return "".join(parts), top + 14


def _text(x: float, y: float, text: str, more: str) -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' {more}>{html.escape(text)}</text>"


def _plain(text: str) -> str:
    """What plotly would show of a text that `drawing.safe` made."""
    return html.unescape(_TAG.sub("", text)).replace("<", "‹") if text else ""


def _lines(text: str | None) -> list[str]:
    return [_plain(line) for line in _BREAK.split(text)] if text else []


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _moment(value: Any) -> float:
    import pandas as pd

    return float(pd.Timestamp(value).tz_localize("UTC").timestamp())


def _nice(low: float, high: float, count: int) -> list[float]:
    """About so many round numbers between them."""
    size = (high - low) / count or 1.0
    power = 10.0 ** math.floor(math.log10(size))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= size)
    return _range(math.ceil(low / step - 1e-9) * step, high, step)


def _range(first: float, last: float, step: float) -> list[float]:
    return [first + at * step for at in range(int((last - first) / step + 1e-9) + 1)]
