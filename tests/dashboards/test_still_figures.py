"""Figures as SVG, for pages that run no scripts."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from workbench.dashboards import cost_figure, latency_histogram_figure, latency_time_figure, quality_figure
from workbench.dashboards.still import still

DAYS = [pd.Timestamp(2026, 11, day) for day in (1, 2, 3, 5)]
SVG = "{http://www.w3.org/2000/svg}"


def parts(svg: str, tag: str) -> list[ElementTree.Element]:
    """Its elements of this name; it is well-formed, or this fails."""
    return list(ElementTree.fromstring(svg).iter(f"{SVG}{tag}"))  # noqa: S314  (ours)


def texts(svg: str) -> list[str]:
    """What is written in it."""
    return [element.text or "" for element in parts(svg, "text")]


def heights(svg: str) -> list[float]:
    """Of the bars, without what is in hatchings and the legend."""
    rows = [element for element in parts(svg, "rect") if "x" in element.attrib]
    return [float(row.get("height", 0)) for row in rows if row.get("height") != "10"]


def test_bars_are_as_high_as_their_numbers_and_names_are_text() -> None:
    """Stacked, with the line of what was saved; a hostile name is no markup."""
    rows = [
        {"at": day, "model": name, "spent": spent, "saved": 0.5, "unpriced": 0, "calls": 3}
        for day in DAYS
        for name, spent in (("<script>a</script>", 1.0), ("b & c", 3.0))
    ]
    svg = still(cost_figure(pd.DataFrame(rows)))
    assert "<script" not in svg
    assert "Cost each day by model" in texts(svg)
    assert {"b & c", "saved by caches", "Nov 01", "$0", "$4"} <= set(texts(svg))
    small, large = sorted(set(heights(svg)))
    assert math.isclose(large, 3 * small, rel_tol=0.01)
    assert 8 == len(heights(svg))


def test_lines_break_where_nothing_is_known_and_intervals_and_releases_are_drawn() -> None:
    """A day without a value is no line through it."""
    table = pd.DataFrame({"at": DAYS, "scorer": "judge", "mean": [0.5, 0.6, math.nan, 0.7], "low": [0.4, 0.5, math.nan, 0.6],
                          "high": [0.6, 0.7, math.nan, 0.8], "n": [9, 9, 0, 9], "unscored": 0})  # fmt: skip
    figure = quality_figure(table, releases=[(DAYS[1], "release 2")])
    svg = still(figure)
    (line,) = [e.get("d", "") for e in parts(svg, "path") if e.get("stroke-width") == "2"]
    assert 2 == line.count("M")
    assert 3 == svg.count("<circle")
    assert "stroke-dasharray='2 4'" in svg
    latency = pd.DataFrame(
        {"at": DAYS, "model": "m", "calls": 3, "p50": 1.0, "p95": 2.0, "p99": 3.0, "first_token_p50": 0.1}
    )
    drawn = still(latency_time_figure(latency, by=["model"]))
    assert 1 == texts(drawn).count("m P50")
    assert "7 5" in drawn
    spread = pd.DataFrame({"model": "m", "low": [0.1, 1.0], "high": [0.12, 1.2], "calls": [30, 70]})
    assert {"0.2", "0.5", "1", "20%", "60%"} <= set(texts(still(latency_histogram_figure(spread))))


def test_what_cannot_be_drawn_so_is_left_to_the_table() -> None:
    """Nothing, names on an axis, other kinds of figures."""
    assert "" == still(go.Figure())
    assert "" == still(go.Figure(go.Bar(x=["a", "b"], y=[1, 2])))
    assert "" == still(go.Figure(go.Heatmap(z=[[1]])))
    assert texts(still(go.Figure(go.Scatter(x=[3], y=[None], name="one"))))


def test_intervals_may_be_arrays() -> None:
    """As a figure of one's own has them. Without a lower part both are alike; one of no width is not drawn."""
    for up, down, drawn in ((np.array([0.1, 0.2]), np.array([0.1, 0.1]), 2), (np.array([0.0, 0.2]), None, 1)):
        bars = {"array": up, "arrayminus": down}
        line = {"color": "#123456"}
        svg = still(go.Figure(go.Scatter(x=[1, 2], y=[1.0, 2.0], mode="markers", line=line, error_y=bars)))
        assert drawn == sum("V" in path.get("d", "") and path.get("stroke") == "#123456" for path in parts(svg, "path"))
