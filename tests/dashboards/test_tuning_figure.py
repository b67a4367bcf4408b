"""The figure of the semantic cache's thresholds, and the slider that moves through it."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.cache.pairs import Pair
from workbench.dashboards import tuning_figure
from workbench.evaluation.cache_thresholds import THRESHOLDS, CacheTuning

MANY = tuple(Pair(f"right {at}", "r", True, 0.95, "words: x" if at % 4 == 0 else None) for at in range(400))
TRAPS = tuple(Pair(f"<b>trap {at}</b>", "t", False, 0.8) for at in range(20))
TUNING = CacheTuning(MANY + TRAPS)


def lines(figure: Any) -> dict[tuple[str, str], Any]:
    """The drawn lines by name and dash."""
    return {
        (trace.name, trace.line.dash): trace for trace in figure.data if trace.name and trace.x[0] is not None
    }  # fmt: skip


def words(figure: Any) -> list[str]:
    return [annotation.text for annotation in figure.layout.annotations]


def test_three_lines_with_the_guard_and_without() -> None:
    """Solid with the guard, dotted without, false hits on an axis of their own."""
    found = lines(tuning_figure(TUNING))
    names = ("hit rate", "precision", "false-hit rate")
    assert {(name, dash) for name in names for dash in ("solid", "dot")} == set(found)
    hit, bare = found["hit rate", "solid"], found["hit rate", "dot"]
    assert THRESHOLDS == tuple(hit.x)
    assert pytest.approx((320 / 420, 300 / 420, 0.0)) == (hit.y[0], hit.y[20], hit.y[-1])
    assert pytest.approx((1.0, 400 / 420)) == (bare.y[0], bare.y[20])
    assert pytest.approx(300 / 320) == found["precision", "solid"].y[0]
    assert 0.95 == found["precision", "solid"].x[-1]
    false = found["false-hit rate", "solid"]
    assert pytest.approx((20 / 420, 0.0)) == (false.y[0], false.y[11])
    assert ("y2", "y", "y") == (false.yaxis, hit.yaxis or "y", bare.yaxis or "y")
    assert "300 of 420 served, 0 wrongly" in hit.text[20]


@pytest.mark.parametrize("guarded", [True, False])
def test_bands_reach_over_the_intervals(guarded: bool) -> None:
    """One for each line that the proposal is about, from its upper ends there to its lower ends back."""
    figure = tuning_figure(CacheTuning(MANY + TRAPS, guarded=guarded))
    bands = [trace for trace in figure.data if trace.fill == "toself"]
    assert 3 == len(bands)
    low, high = TUNING.at(0.7, guarded).hit_rate[1:3]
    assert pytest.approx((high, low)) == (bands[0].y[0], bands[0].y[-1])


def test_budget_and_proposal_are_marked() -> None:
    """A line across at the budget, one down at the threshold, each with its word; the axes say what they are."""
    figure = tuning_figure(TUNING)
    across, down = figure.layout.shapes
    assert (0.01, 0.01, "y2") == (across.y0, across.y1, across.yref)
    assert (0.81, 0.81) == (down.x0, down.x1)
    assert ["budget 1%", "<b>proposed: 0.81</b>"] == words(figure)
    layout = figure.layout
    assert "threshold (cosine from which on a cached answer is served)" == layout.xaxis.title.text
    assert ("hit rate, precision", "false-hit rate") == (layout.yaxis.title.text, layout.yaxis2.title.text)
    assert 0.05 <= layout.yaxis2.range[1] < 0.1


def test_another_threshold_can_be_marked() -> None:
    """The one that is asked for; without a proof the word is another."""
    assert "<b>0.90</b>" in words(tuning_figure(TUNING, 0.9))
    assert "<b>possible: 0.81</b>" in words(tuning_figure(CacheTuning(MANY[:50] + TRAPS)))
