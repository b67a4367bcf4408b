"""The latency sketch: any quantile within 1%, however it was put together."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from workbench.online.sketch import ACCURACY, Sketch

VALUES = st.lists(st.floats(1e-6, 1e5), min_size=1, max_size=200)


@given(VALUES, st.floats(0, 1))
def test_quantiles_are_within_one_percent(values: list[float], q: float) -> None:
    """Of the value that has the rank."""
    exact = sorted(values)[math.floor(q * (len(values) - 1))]
    found = Sketch.of(values).quantile(q)
    assert found is not None
    assert abs(found - exact) <= ACCURACY * exact * 1.000001


@given(st.lists(VALUES, min_size=1, max_size=4))
def test_merging_is_the_sketch_of_all(parts: list[list[float]]) -> None:
    """In whatever order."""
    forth, back = Sketch(), Sketch()
    for part in parts:
        forth.merge(Sketch.of(part))
    for part in reversed(parts):
        back.merge(Sketch.of(part))
    assert Sketch.of(value for part in parts for value in part) == forth == back


def test_nothing_and_extremes() -> None:
    """No value has no quantile; 0 and beyond a million seconds stay countable."""
    assert Sketch().quantile(0.5) is None
    extreme = Sketch.of([0.0, 1e12])
    assert 2 == extreme.total
    assert "2 values" in repr(extreme)
