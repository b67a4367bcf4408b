"""What happened to a feature, minute by minute: who served how much, who failed how often, and what was done about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from workbench.dashboards.drawing import COLOURS, FAINT, GREY, blank, need, safe, sentence, style
from workbench.tables import clean_text, format_share

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from workbench.releases import Event, History

__all__ = ["timeline_figure"]

_SHARES, _RATES, _BELOW = 150, 220, 84  # pixels
_ROW, _LETTER = 19, 6.2  # pixels of a mark's words: height of a row, width of a letter
_WIDTH, _LEFT, _RIGHT = 310, 45, 15  # of the plot on a screen of 400 pixels, and of what words may use beside it
_ALARM = COLOURS[1]
_SERIES = (0, 2, 3, 5, 4)  # places of colours and symbols; the alarm's is not among them
_COLUMNS = ("minute", "release", "label", "calls", "errors")


@dataclass(frozen=True, slots=True)
class _Mark:
    at: pd.Timestamp
    text: str
    alarm: bool


class _Place(NamedTuple):
    """Of a mark's words: row, from below; whether they stand left of the mark's line; from where to where, pixels."""

    row: int
    left: bool
    low: float
    high: float


def timeline_figure(
    table: pd.DataFrame, history: History | None = None, *, by: Literal["release", "arm"] = "release"
) -> go.Figure:
    """Above, the share of all calls that each release served; below, its error rate; for each minute. Marks: what was released,
    ramped, stopped and undone, what a guard did in another colour.

    table: as `bench.experiments.minutes` gives it. history: of the feature. by: "arm" keeps the arms of an experiment apart from
    calls of the same release that are in none. Raises InputError if a column is missing.
    """
    if not len(table):
        return sentence("There is no timeline to draw: nothing was counted in these minutes.")
    need("timeline_figure", table, _COLUMNS)
    minutes = _pooled(table, by)
    first, last = minutes["minute"].min(), minutes["minute"].max() + _minute()
    marks = _marks(history, first, last)
    places = _lay_out(marks, first, last)
    room = _ROW * (1 + max((place.row for place in places), default=-1))
    plot = room + _SHARES + 40 + _RATES
    figure = blank(
        "What happened" if history is None else f"What happened to {history.feature}",
        "Above: which share of the calls each release served. Below: which share of its calls failed, pooled over 3 minutes; "
        "dots are single minutes." + (" Thick lines: what the guard did." if any(mark.alarm for mark in marks) else ""),
        plot=plot, below=_BELOW, letters=50,
    )  # fmt: skip
    wide = minutes.pivot_table(
        index="minute", columns="series", values="calls", aggfunc="sum", fill_value=0, sort=False
    )
    wide = wide.sort_index()
    for at, series in enumerate(sorted(minutes["series"].unique(), key=_order)):
        _share(figure, at, series, wide)
        _rate(figure, at, series, minutes[minutes["series"] == series])
    _axes(figure, minutes, first, last, plot)
    for mark, place in zip(marks, places, strict=True):
        _draw(figure, mark, place, plot, room)
    return figure


def _minute() -> pd.Timedelta:
    import pandas as pd

    return pd.Timedelta(minutes=1)


def _pooled(table: pd.DataFrame, by: str) -> pd.DataFrame:
    """Calls and errors by minute and series."""
    named = table.copy()
    release = "release " + named["release"].astype(str)
    named["series"] = release if by == "release" else release + ", " + named["label"].map(_label)
    return named.groupby(["minute", "series"], as_index=False, sort=True)[["calls", "errors"]].sum()


def _label(label: str) -> str:
    """`canary@1795/treatment` without the moment when it began."""
    name, slash, arm = str(label).partition("/")
    return f"{name.partition('@')[0]} {arm}" if slash else name


def _order(series: str) -> tuple[int, str]:
    number = series.removeprefix("release ").partition(",")[0]
    return (int(number) if number.isdecimal() else 0, series)


def _share(figure: go.Figure, at: int, series: str, wide: pd.DataFrame) -> None:
    import plotly.graph_objects as go

    colour, _ = style(_SERIES[at % len(_SERIES)])
    shares = (wide[series] / wide.sum(axis=1)).tolist()
    told = [
        f"<b>{safe(series, 80)}</b><br>{moment:%H:%M}: {format_share(share)} of {total:,} calls"
        for moment, share, total in zip(wide.index, shares, wide.sum(axis=1), strict=True)
    ]
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    figure.add_trace(
        go.Scatter(
            x=[*wide.index], y=shares, mode="lines", name=safe(series, 60), legendgroup=series, showlegend=False,
            stackgroup="shares", line={"color": colour, "width": 1.5, "shape": "hv"},
            fillcolor=f"rgba({red},{green},{blue},.35)", yaxis="y", text=told, hovertemplate="%{text}<extra></extra>",
        )
    )  # fmt: skip


def _rate(figure: go.Figure, at: int, series: str, rows: pd.DataFrame) -> None:
    """A line of rates pooled over three minutes, broken where nothing was served; a dot for each minute."""
    import plotly.graph_objects as go

    colour, symbol = style(_SERIES[at % len(_SERIES)])
    whole = rows.set_index("minute")[["calls", "errors"]].asfreq("min", fill_value=0)
    pooled = whole.rolling(3, min_periods=1, center=True).sum()
    line = (pooled["errors"] / pooled["calls"]).where(whole["calls"] > 0)
    figure.add_trace(
        go.Scatter(
            x=[*whole.index], y=line.tolist(), mode="lines", yaxis="y2", legendgroup=series, showlegend=False,
            line={"color": colour, "width": 2.5}, hoverinfo="skip",
        )
    )  # fmt: skip
    told = [
        f"<b>{safe(series, 80)}</b><br>{moment:%H:%M}: {errors:,} of {calls:,} calls failed ({format_share(errors / calls)})"
        for moment, calls, errors in zip(rows["minute"], rows["calls"], rows["errors"], strict=True)
    ]
    figure.add_trace(
        go.Scatter(
            x=[*rows["minute"]], y=(rows["errors"] / rows["calls"]).tolist(), mode="markers", name=safe(series, 60),
            legendgroup=series, yaxis="y2", opacity=0.9, text=told, hovertemplate="%{text}<extra></extra>",
            marker={"color": colour, "symbol": symbol, "size": 8},
        )
    )  # fmt: skip


def _axes(figure: go.Figure, minutes: pd.DataFrame, first: Any, last: Any, plot: int) -> None:
    """One axis of time for both; the rates' one reaches as far as half of the calls, or as far as they go."""
    rates = minutes["errors"] / minutes["calls"]
    top = max(0.05, float(rates[minutes["calls"] >= 5].max()) if (minutes["calls"] >= 5).any() else 0.05)
    look = {"gridcolor": FAINT, "zeroline": False, "linecolor": FAINT, "automargin": True}
    title = {"standoff": 8, "font": {"size": 13}}
    figure.update_layout(
        showlegend=True,
        xaxis=look | {
            "range": [first, last], "anchor": "y2", "tickformat": "%H:%M",
            "title": title | {"text": "time, UTC"},
        },
        yaxis=look | {
            "domain": [(_RATES + 40) / plot, (_RATES + 40 + _SHARES) / plot], "range": [0, 1], "tickformat": ".0%",
            "title": title | {"text": "calls served"},
        },
        yaxis2=look | {
            "domain": [0, _RATES / plot], "range": [-0.02 * top, 1.08 * top], "tickformat": ".0%", "anchor": "x",
            "title": title | {"text": "calls that failed"},
        },
    )  # fmt: skip


def _marks(history: History | None, first: Any, last: Any) -> list[_Mark]:
    import pandas as pd

    found = []
    for event in history or ():
        at, text = pd.Timestamp(event.at, unit="s", tz="UTC"), _words(event)
        if text and first <= at <= last:
            found.append(_Mark(at, text, event.kind == "guard"))
    return found


def _words(event: Event) -> str:
    """What a mark says; empty for what changes nothing that is served."""
    experiment = event.experiment or {}
    share = experiment.get("share")
    shown = format_share(share) if isinstance(share, (int, float)) else ""
    if event.kind == "candidate":
        return ""
    if event.kind in ("release", "rollback") or (event.kind == "guard" and event.release != event.before):
        word = {"release": "release {} live", "rollback": "back to {}", "guard": "guard: back to {}"}[event.kind]
        return word.format(event.release)
    if event.kind == "guard":
        stopped = [str(arm.get("name")) for arm in experiment.get("treatments") or () if arm.get("stopped")]
        return clean_text(f"guard: {', '.join(stopped)} stopped")
    if event.kind == "ramp":
        return f"ramp to {shown}"
    if experiment.get("enabled") is False:
        return "switched off"
    if event.kind == "stop":
        return clean_text(f"{event.ended} ended") if event.ended else "arm stopped"
    return clean_text(f"{experiment.get('name')}, {shown}")


def _lay_out(marks: list[_Mark], first: Any, last: Any) -> list[_Place]:
    """Where the words stand, so that on a narrow screen too none cover others, all lie within the figure, and lines go through as
    few as possible: right of their lines up to some mark, left of them from there on."""
    at = [(mark.at - first) / (last - first) * _WIDTH for mark in marks]
    tried = [_placed(marks, at, split) for split in range(len(marks), -1, -1)]
    return min(tried, key=lambda found: _fault(found, at)) if marks else []


def _placed(marks: list[_Mark], at: list[float], split: int) -> list[_Place]:
    """From the mark `split` on, left. Of two whose words meet, those are above that the other's line would go through."""
    spans = []
    for place, mark in enumerate(marks):
        long = _LETTER * len(mark.text) + 8
        spans.append((at[place] - long, at[place]) if place >= split else (at[place], at[place] + long))
    below: list[set[int]] = [set() for _ in marks]
    for i in range(len(marks)):
        for j in range(i + 1, len(marks)):
            if spans[i][1] > spans[j][0] and spans[j][1] > spans[i][0]:
                if spans[j][0] <= at[i] <= spans[j][1] and j >= split:
                    below[j].add(i)
                else:
                    below[i].add(j)
    rows: dict[int, int] = {}

    def row(place: int, above: frozenset[int]) -> int:
        if place not in rows:
            lower = [row(other, above | {place}) for other in below[place] - above]
            rows[place] = max(lower, default=-1) + 1
        return rows[place]

    for place in range(len(marks)):
        row(place, frozenset())
    taken: list[tuple[int, float, float]] = []
    for place in sorted(rows, key=lambda place: rows[place]):  # where three need each other's place
        low, high = spans[place]
        while any(rows[place] == level and high > start and end > low for level, start, end in taken):
            rows[place] += 1
        taken.append((rows[place], low, high))
    return [_Place(rows[place], place >= split, *spans[place]) for place in range(len(marks))]


def _fault(places: list[_Place], at: list[float]) -> tuple[float, int, int]:
    """How many pixels of words lie outside, how many lines go through words, and how high they are stacked."""
    outside = sum(max(0.0, -_LEFT - place.low) + max(0.0, place.high - _WIDTH - _RIGHT) for place in places)
    through = sum(
        place.low < at[other] < place.high and places[other].row > place.row
        for place in places
        for other in range(len(places))
    )
    return outside, through, max(place.row for place in places)


def _draw(figure: go.Figure, mark: _Mark, place: _Place, plot: int, room: int) -> None:
    """A line through both plots, up to its words."""
    colour = _ALARM if mark.alarm else GREY
    at = (plot - room + _ROW * place.row + 2) / plot
    figure.add_shape(
        type="line", x0=mark.at, x1=mark.at, y0=0, y1=at + 0.6 * _ROW / plot, yref="paper", layer="below",
        line={"color": colour, "width": 2.5 if mark.alarm else 1.2, "dash": "solid" if mark.alarm else "dot"},
    )  # fmt: skip
    words = safe(mark.text, 60)
    figure.add_annotation(
        x=mark.at, y=at, yref="paper", text=f"<b>{words}</b>" if mark.alarm else words, showarrow=False,
        xanchor="right" if place.left else "left", yanchor="bottom", xshift=-3 if place.left else 3,
        font={"color": colour, "size": 12},
    )  # fmt: skip
