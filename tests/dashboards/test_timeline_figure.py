"""The timeline: shares that add up, pooled rates, marks whose words no line goes through."""

from __future__ import annotations

import random
from typing import Any

import pandas as pd
import pytest

from workbench.dashboards import timeline_figure
from workbench.dashboards.timeline import _ALARM
from workbench.errors import InputError
from workbench.releases import Event, History

START = pd.Timestamp("2026-11-28 02:00", tz="UTC")


def minutes(*rows: tuple[int, int, str, int, int]) -> pd.DataFrame:
    """(minute, release, label, calls, errors)."""
    table = pd.DataFrame(rows, columns=["minute", "release", "label", "calls", "errors"])
    table["minute"] = [START + pd.Timedelta(minutes=minute) for minute in table["minute"]]
    return table


TABLE = minutes(
    (0, 1, "live", 100, 1),
    (1, 1, "live", 80, 0),
    (1, 1, "canary@9/control", 10, 0),
    (1, 2, "canary@9/treatment", 10, 5),
    (2, 1, "live", 50, 0),
    (4, 1, "live", 100, 2),
)


def event(minute: int, kind: Any, release: int, before: int, **more: Any) -> Event:
    """One change, so many minutes after the start."""
    return Event(minute + 1, "x", START.timestamp() + 60 * minute, kind, "ann", "why", release, before, **more)


def canary(share: float, stopped: bool = False) -> dict[str, Any]:
    """As the history holds it."""
    arms = [{"name": "treatment", "release": 2, "stopped": {"by": "guard"} if stopped else None}]
    return {"name": "canary", "share": share, "control": 1, "treatments": arms}


HISTORY = History(
    "triage-api",
    (
        event(0, "release", 1, 0),
        event(1, "candidate", 1, 1, made=2),
        event(1, "experiment", 1, 1, experiment=canary(0.1)),
        event(1, "ramp", 1, 1, experiment=canary(0.2)),
        event(2, "guard", 1, 1, experiment=canary(0.2, stopped=True)),
        event(3, "release", 2, 1, ended="canary"),
        event(4, "guard", 1, 2),
        event(900, "release", 3, 1),
    ),
)


def test_shares_add_up_and_rates_are_pooled_over_three_minutes() -> None:
    """A release has one series whatever its label; where it served nothing its line is broken."""
    traces = {(trace.name, trace.mode): trace for trace in timeline_figure(TABLE, HISTORY).data if trace.name}
    shares = [traces[f"release {number}", "lines"].y for number in (1, 2)]
    assert [1.0, 0.9, 1.0, 1.0] == [pytest.approx(value) for value in shares[0]]
    assert [1.0] * 4 == [pytest.approx(sum(pair)) for pair in zip(*shares, strict=True)]
    assert [0.01, 0.0, 0.0, 0.02] == [pytest.approx(value) for value in traces["release 1", "markers"].y]
    line = next(t for t in timeline_figure(TABLE).data if t.name is None and t.legendgroup == "release 1").y
    assert pytest.approx(1 / 190) == line[0]
    assert pytest.approx(1 / 240) == line[1]
    assert pd.isna(line[3])
    assert "5 of 10 calls failed (50%)" in traces["release 2", "markers"].text[0]


def test_arms_can_be_kept_apart() -> None:
    """Without the moment when their experiment began."""
    names = {trace.name for trace in timeline_figure(TABLE, by="arm").data if trace.name}
    assert {"release 1, live", "release 1, canary control", "release 2, canary treatment"} == names


def test_marks_say_what_was_done_and_the_guards_are_apart() -> None:
    """What changed nothing that is served has none, nor what lies outside."""
    figure = timeline_figure(TABLE, HISTORY)
    said = [note.text for note in figure.layout.annotations]
    assert [
        "release 1 live", "canary, 10%", "ramp to 20%", "<b>guard: treatment stopped</b>", "release 2 live",
        "<b>guard: back to 1</b>",
    ] == said  # fmt: skip
    alarms = [shape.line.color == _ALARM for shape in figure.layout.shapes]
    assert [False, False, False, True, False, True] == alarms
    assert _ALARM not in {trace.line.color for trace in figure.data} | {trace.marker.color for trace in figure.data}
    assert "triage-api" in figure.layout.title.text


def boxes(figure: Any, width: float = 310) -> list[tuple[float, float, float, float, float]]:
    """Of each mark, on a plot of so many pixels: its line's place and top, its words' row, beginning and end."""
    first, last = (pd.Timestamp(end) for end in figure.layout.xaxis.range)
    found = []
    for note, shape in zip(figure.layout.annotations, figure.layout.shapes, strict=True):
        at = (pd.Timestamp(note.x) - first) / (last - first) * width
        long = 6.0 * len(note.text.replace("<b>", "").replace("</b>", ""))
        low, high = (at - 3 - long, at - 3) if note.xanchor == "right" else (at + 3, at + 3 + long)
        found.append((at, shape.y1, note.y, low, high))
    return found


def test_on_a_narrow_screen_words_are_whole_and_free() -> None:
    """As many as in the drill: all within the figure, none over others, and at most one with a line behind it."""
    history = History(
        "triage-api",
        (
            event(0, "release", 1, 0),
            event(6, "experiment", 1, 1, experiment=canary(0.1)),
            event(12, "ramp", 1, 1, experiment=canary(0.5)),
            event(24, "release", 2, 1, ended="canary"),
            event(28, "experiment", 2, 2, experiment=canary(0.1)),
            event(32, "ramp", 2, 2, experiment=canary(0.4)),
            event(35, "guard", 2, 2, experiment=canary(0.4, stopped=True)),
            event(38, "release", 3, 2),
            event(40, "guard", 2, 3),
        ),
    )
    table = minutes(*((minute, 1, "live", 100, 1) for minute in range(45)))
    found = boxes(timeline_figure(table, history))
    behind = 0
    for place, (at, top, row, low, high) in enumerate(found):
        assert low > -50
        assert high < 330
        for other, (_, _, level, start, end) in enumerate(found):
            if other != place:
                assert not (level == row and start < high and low < end)
                behind += start < at < end and level < top
    assert behind <= 1


@pytest.mark.parametrize("seed", range(20))
def test_words_never_cover_others(seed: int) -> None:
    """However close the events are."""
    rng = random.Random(seed)
    at = sorted(rng.choices(range(30), k=12))
    kinds = [rng.choice([("release", {}), ("ramp", {"experiment": canary(0.25)}),
                         ("guard", {"experiment": canary(0.2, stopped=True)})]) for _ in at]  # fmt: skip
    history = History(
        "f", tuple(event(minute, kind, 1, 1, **more) for minute, (kind, more) in zip(at, kinds, strict=True))
    )
    table = minutes(*((minute, 1, "live", 100, 1) for minute in range(30)))
    found = boxes(timeline_figure(table, history))
    assert len(at) == len(found)
    for place, (_, _, row, low, high) in enumerate(found):
        for _, _, level, start, end in found[:place]:
            assert not (level == row and start < high and low < end)


def test_without_data_there_is_a_sentence_and_without_columns_an_error() -> None:
    """As in the other figures; names from outside are no markup."""
    assert "nothing was counted" in timeline_figure(TABLE.iloc[:0]).layout.annotations[0].text
    with pytest.raises(InputError, match="needs the column 'errors'"):
        timeline_figure(TABLE.drop(columns="errors"))
    named = {"name": "<b>x</b>", "share": 0.1, "control": 1, "treatments": []}
    history = History("triage-api", (event(1, "experiment", 1, 1, experiment=named),))
    (note,) = timeline_figure(TABLE, history).layout.annotations
    assert "&lt;b&gt;x&lt;/b&gt;, 10%" == note.text
