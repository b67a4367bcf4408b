"""The timeline: shares that add up, pooled rates, marks whose words no line goes through."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from workbench.dashboards import timeline_figure
from workbench.dashboards.timeline import _ALARM, _LETTER, _rows_of
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


def test_no_line_goes_through_words() -> None:
    """The words of a mark stand above those of all later marks that begin within them."""
    figure = timeline_figure(TABLE, HISTORY)
    first, last = (pd.Timestamp(end) for end in figure.layout.xaxis.range)
    width = 800 / (last - first).total_seconds()
    notes = [((pd.Timestamp(n.x) - first).total_seconds() * width, n.y, len(n.text)) for n in figure.layout.annotations]
    tops = [shape.y1 for shape in figure.layout.shapes]
    for place, (begins, low, letters) in enumerate(notes):
        for later in range(place + 1, len(notes)):
            if notes[later][0] < begins + _LETTER * letters * 0.8:
                assert tops[later] <= low or notes[later][1] < low
        assert begins + _LETTER * 0.8 * letters <= 800
    assert [] == _rows_of([], first, last)


def test_without_data_there_is_a_sentence_and_without_columns_an_error() -> None:
    """As in the other figures; names from outside are no markup."""
    assert "nothing was counted" in timeline_figure(TABLE.iloc[:0]).layout.annotations[0].text
    with pytest.raises(InputError, match="needs the column 'errors'"):
        timeline_figure(TABLE.drop(columns="errors"))
    named = {"name": "<b>x</b>", "share": 0.1, "control": 1, "treatments": []}
    history = History("triage-api", (event(1, "experiment", 1, 1, experiment=named),))
    (note,) = timeline_figure(TABLE, history).layout.annotations
    assert "&lt;b&gt;x&lt;/b&gt;, 10%" == note.text
