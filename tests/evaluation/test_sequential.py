"""Confidence sequences: valid at every look, of a stated width, and of plain numbers whatever comes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from workbench.errors import InputError
from workbench.evaluation.sequential import bounds, confidence_sequence, evidence
from workbench.evaluation.statistics import wilson


def test_the_capital_is_what_the_bets_made_of_it():
    """One bet at a time, by a plain loop: mixture of four bettors who know only what came before."""
    values, candidate, alpha, planned = np.array([1.0, 0.0, 0.5, 1.0, 1.0]), 0.4, 0.05, 40
    capitals = []
    for part in (1 / 8, 1 / 4, 1 / 2, 1):
        capital, total, squares, seen = 1.0, 0.5, 0.25, 0
        for value in values:
            spread = squares / (seen + 1)
            bet = min(math.sqrt(2 * math.log(1 / alpha) / (part * planned * spread)), 0.75 / candidate)
            capital *= 1 + bet * (value - candidate)
            seen, total = seen + 1, total + value
            squares += (value - total / (seen + 1)) ** 2
        capitals.append(capital)
    assert np.mean(capitals) == pytest.approx(math.exp(evidence(values, candidate, alpha, planned)[-1]))


@pytest.mark.parametrize("differ", [0.02, 0.2])
def test_looking_at_every_example_alarms_no_more_than_it_may(differ):
    """Over all looks at 200 equal pairs, the share of runs that ever exclude 0 stays below alpha."""
    fate = np.random.default_rng(1).random((1_500, 200))
    values = (np.where(fate < differ / 2, 1.0, np.where(fate < differ, -1.0, 0.0)) + 1) / 2
    threshold = math.log(2 / 0.05)
    alarms = sum((evidence(side, 0.5, 0.025, 200).max(axis=1) >= threshold - 0.0) for side in (values, 1 - values))
    assert wilson(int((alarms > 0).sum()), 1_500, 0.99).high < 0.065


def test_the_limits_are_where_the_bets_reach_their_threshold():
    """At the lower limit the largest capital so far is 2 / alpha."""
    rng = np.random.default_rng(2)
    differences = rng.choice([-1.0, 0.0, 0.0, 1.0, 1.0], 150)
    low, high = bounds(differences, 1.0, 0.05, 300)
    for limit, values in ((low, (differences + 1) / 2), (-high, (1 - differences) / 2)):
        assert math.log(2 / 0.05) == pytest.approx(evidence(values, (limit + 1) / 2, 0.025, 300).max(), abs=1e-6)
    assert low < differences.mean() < high


def test_the_interval_never_grows_as_examples_come():
    """What was excluded once stays so."""
    rng = np.random.default_rng(3)
    control, variant = (rng.random((2, 120)) < [[0.4], [0.6]]).astype(float)
    widths = []
    for n in range(1, 121, 7):
        found = confidence_sequence(control[:n], variant[:n], planned=200)
        widths.append(found.high - found.low)
        assert found.low <= found.estimate <= found.high
    assert widths == sorted(widths, reverse=True)


def test_what_is_no_scale_waits_for_fifty_examples():
    """Scores beyond 1 take the asymptotic sequence, and nothing is excluded before 50 examples."""
    rng = np.random.default_rng(4)
    control = 5 + rng.normal(0, 1, 200)
    variant = control + rng.normal(1, 0.5, 200)
    early = confidence_sequence(control[:49], variant[:49], planned=200)
    assert early.low < 0 < early.high
    assert confidence_sequence(control, variant, planned=200).low > 0.7


@pytest.mark.parametrize("n", [0, 1, 2, 30, 60])
@pytest.mark.parametrize("fill", [0.0, 1.0, 0.4, 7.0, np.nan])
def test_odd_input_gives_finite_limits_or_nothing(n, fill):
    """All equal, unscored, or none: no NaN, and no certainty from equal scores."""
    flat = np.full((n, 2), fill)
    found = confidence_sequence(flat, flat, planned=max(n, 1))
    if n == 0 or np.isnan(fill):
        assert found is None
    else:
        assert math.isfinite(found.low)
        assert math.isfinite(found.high)
        assert found.low <= 0 <= found.high


def test_more_examples_than_planned_are_refused():
    """The bets were tuned for fewer."""
    with pytest.raises(InputError, match="planned = 3"):
        confidence_sequence(np.ones(4), np.ones(4), planned=3)
