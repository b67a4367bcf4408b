"""Effect sizes, noise floor, self-disagreement and fragility, against scipy, statsmodels and simulation."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from scipy import stats

from workbench.evaluation.effects import effect_size, fragility, noise_floor, self_disagreement
from workbench.evaluation.statistics import paired_interval


def pairs(better: int, worse: int, same: int) -> tuple[np.ndarray, np.ndarray]:
    control = np.r_[np.zeros(better), np.ones(worse), np.zeros(same)]
    variant = np.r_[np.ones(better), np.zeros(worse), np.zeros(same)]
    return control, variant


@pytest.mark.parametrize(("better", "worse"), [(12, 4), (1, 7), (30, 30)])
def test_the_odds_ratio_is_that_of_the_exact_binomial(better, worse):
    """Gained to lost, with scipy's Clopper-Pearson limits as odds."""
    found = effect_size(*pairs(better, worse, 40))
    exact = stats.binomtest(better, better + worse).proportion_ci(0.95, "exact")
    expected = [better / worse, exact.low / (1 - exact.low), exact.high / (1 - exact.high)]
    assert expected == pytest.approx(found.odds_ratio[:3])
    assert (better, worse, 40) == (found.better, found.worse, found.same)


def test_the_standardised_difference_is_cohens_with_hedges_correction():
    """The paired t statistic over sqrt(n), times 1 - 3 / (4 df - 1)."""
    rng = np.random.default_rng(1)
    control = rng.random(25)
    variant = control + rng.normal(0.1, 0.2, 25)
    expected = stats.ttest_rel(variant, control).statistic / 5 * (1 - 3 / (4 * 24 - 1))
    assert expected == pytest.approx(effect_size(control, variant).standardised)
    assert -expected == pytest.approx(effect_size(control, variant, higher_is_better=False).standardised)


def test_superiority_counts_ties_by_half():
    """6 better, 2 worse, 2 the same of 10 is 0.7."""
    assert effect_size(*pairs(6, 2, 2)).superiority == 0.7


@pytest.mark.parametrize(
    ("control", "variant"),
    [
        (np.ones(5), np.ones(5)),
        (np.zeros(1), np.ones(1)),
        (np.zeros(4), np.ones(4)),
        (np.array([[1.0, np.nan], [np.nan, np.nan]]), np.array([[0.0, 1.0], [1.0, 1.0]])),
    ],
)
def test_what_is_not_defined_is_none(control, variant):
    """No infinite odds, no division by no spread: plain JSON whatever comes."""
    json.dumps(asdict(effect_size(control, variant)), allow_nan=False)
    assert effect_size(control, variant).odds_ratio is None
    assert effect_size(control * np.nan, variant) is None


def test_the_noise_floor_holds_in_95_of_100_reruns():
    """Two runs of the same variant differ by more than the floor in about 5% of the cases."""
    rng = np.random.default_rng(2)
    taste = rng.beta(0.5, 0.5, (60, 1))
    beyond = 0
    for _ in range(1_000):
        first, second = (rng.random((2, 60, 3)) < taste).astype(float)
        beyond += abs(first.mean() - second.mean()) > noise_floor(first).floor
    assert 0.03 <= beyond / 1_000 <= 0.075


def test_the_noise_floor_is_that_of_a_one_way_analysis_of_variance():
    """z sqrt(2 w / (r n)) with w the within-example mean square."""
    scores = np.random.default_rng(3).random((20, 4))
    within = sum(((row - row.mean()) ** 2).sum() for row in scores) / (20 * 3)
    assert stats.norm.ppf(0.975) * np.sqrt(2 * within / 80) == pytest.approx(noise_floor(scores).floor)
    assert noise_floor(scores[:, :1]) is None
    assert noise_floor(np.full((3, 2), np.nan)) is None


def test_self_disagreement_is_the_share_of_differing_pairs():
    """Of three repeats with one that differs 2 of 3 pairs do; an example counts once; one score is no pair."""
    nan = np.nan
    scores = np.array([[1, 1, 0], [1, 1, 1], [0, nan, 1], [1, nan, nan]], dtype=float)
    assert (2 / 3 + 0 + 1) / 3 == pytest.approx(self_disagreement(scores))
    assert self_disagreement(scores[:, :1]) is None


def decision(control, variant):
    found = paired_interval(control, variant)
    return "better" if found.interval.low > 0 else "undecided"


def test_fragility_counts_the_examples_that_a_decision_hangs_on():
    """Leaving out one fewer keeps the decision, leaving out that many changes it; a clear one stands without ten."""

    def left(control: np.ndarray, variant: np.ndarray) -> tuple[int, str] | None:
        return fragility(
            variant - control, "better", lambda out: decision(np.delete(control, out), np.delete(variant, out))
        )

    control, variant = pairs(9, 1, 60)
    count, now = left(control, variant)
    assert now == "undecided"
    assert decision(control[count - 1 :], variant[count - 1 :]) == "better"
    assert decision(control[count:], variant[count:]) == "undecided"
    assert left(*pairs(60, 1, 30)) is None
    assert left(np.ones(1), np.ones(1)) is None
