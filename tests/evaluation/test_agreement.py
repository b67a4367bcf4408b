"""Agreement and correction, against the figures of the papers that define them."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa

from workbench.errors import InputError
from workbench.evaluation.judging.agreement import cohen_kappa, krippendorff_alpha
from workbench.evaluation.judging.correction import LEAST_LABELS, corrected_mean


def test_cohen_kappa_of_a_known_table() -> None:
    """20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: observed 0.7, chance 0.5, kappa 0.4."""
    one = ["yes"] * 25 + ["no"] * 25
    other = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohen_kappa(one, other) == pytest.approx(0.4)
    assert cohen_kappa([*one, None], [*other, "yes"]) == pytest.approx(0.4)
    assert cohen_kappa(one, one) == 1.0
    assert cohen_kappa(["yes", "no"], ["no", "yes"]) == -1.0


def test_weighted_kappa_by_hand() -> None:
    """Quadratic weights: seen 1/4 of squared distance 1, chance from the margins."""
    one, other = [1, 2, 3, 3], [1, 2, 3, 2]
    chance = np.mean([(a - b) ** 2 for a in one for b in other])
    assert cohen_kappa(one, other, weights="quadratic") == pytest.approx(1 - 0.25 / chance)


def test_kappa_where_it_is_not_defined() -> None:
    """No pair, or one and the same rating throughout; other lengths are an error."""
    assert cohen_kappa([], []) is None
    assert cohen_kappa(["a"], [None]) is None
    assert cohen_kappa(["a", "a"], ["a", "a"]) is None
    with pytest.raises(InputError, match="2 and 1 ratings"):
        cohen_kappa(["a", "b"], ["a"])


# Krippendorff 2011, section C: four observers, twelve units, "." for a missing rating
_OBSERVERS = {
    "A": "12332141 2...".replace(" ", ""),
    "B": "1233224125.3",
    "C": ".33323422" + "51.",
    "D": "1233244125" + "1.",
}


def test_krippendorff_alpha_of_the_paper() -> None:
    """0.743 for nominal and 0.849 for interval data."""
    units = [{name: int(line[place]) for name, line in _OBSERVERS.items() if line[place] != "."} for place in range(12)]
    assert krippendorff_alpha(units) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(units, scale="interval") == pytest.approx(0.849, abs=5e-4)


def test_alpha_where_it_is_not_defined() -> None:
    """Nothing rated twice, or no variation at all."""
    assert krippendorff_alpha([{"a": 1}, {}]) is None
    assert krippendorff_alpha([{"a": 1, "b": 1}]) is None


def test_correction_by_hand() -> None:
    """Weight 1: the judge's mean on the rest plus its mean error on the rated; the squared distances of both limits add up, which
    with so many examples is PPI's normal interval."""
    people = np.r_[np.tile([1.0, 0.0], 2_500), np.full(10_000, np.nan)]
    judged = np.r_[np.ones(5_000), np.tile([1.0, 0.5], 5_000)]
    found = corrected_mean(judged, people, weight=1.0)
    assert found is not None
    # rest: mean 0.75, var 0.0625; error: mean -0.5, var 0.25
    error = (0.0625 / 10_000 + 0.25 / 5_000) ** 0.5
    assert (0.25, 0.25 - 1.96 * error) == pytest.approx((found.interval.estimate, found.interval.low), abs=2e-5)
    assert found.error == pytest.approx(error, rel=1e-3)
    assert (5_000, 15_000) == (found.labels, found.examples)
    assert found.judged == pytest.approx((5_000 + 7_500) / 15_000)


def test_weight_and_estimate_are_those_of_ppi_plus_plus() -> None:
    """Example 6.1 of Angelopoulos, Duchi and Zrnic: the weight Cov(Y, f) / ((1 + n / N) Var f), the estimate and its
    variance, written out."""
    draw = np.random.default_rng(5)
    n, more = 80, 320
    truth = draw.normal(0.1, 0.5, n + more)
    judged = 0.5 * truth + 0.2 + draw.normal(0, 0.3, n + more)
    found = corrected_mean(judged, np.where(np.arange(n + more) < n, truth, np.nan))
    assert found is not None
    y, f, rest = truth[:n], judged[:n], judged[n:]
    weight = np.cov(y, f)[0, 1] / ((1 + n / more) * np.var(judged, ddof=1))
    assert found.weight == pytest.approx(weight)
    assert found.interval.estimate == pytest.approx(y.mean() + weight * (rest.mean() - f.mean()))
    assert found.error**2 == pytest.approx(np.var(y - weight * f, ddof=1) / n + weight**2 * np.var(rest, ddof=1) / more)
    assert found.interval.high - found.interval.low == pytest.approx(2 * 1.96 * found.error, rel=0.1)


def test_labels_that_never_vary_leave_room() -> None:
    """Fifty ratings that all agree with the judge do not make its error exactly 0; the p-value says what the interval says."""
    judged = np.r_[np.zeros(50), np.tile([0.0, 1.0], 100)]
    people = np.r_[np.zeros(50), np.full(200, np.nan)]
    found = corrected_mean(judged, people, scale=(-1.0, 1.0))
    assert found is not None
    assert found.interval.high - found.interval.low > 0.1
    for level in (0.9, 0.95, 0.99):
        again = corrected_mean(judged + 0.01, np.where(np.isnan(people), np.nan, people + 0.3), level=level)
        assert again is not None
        assert (again.p_value < 1 - level) == (not again.interval.low <= 0 <= again.interval.high)


def test_a_useless_judge_is_not_relied_on_and_a_perfect_one_is() -> None:
    """A judge without spread gets weight 0: people alone; one who says what people say gets the weight of its sample."""
    draw = np.random.default_rng(1)
    truth = draw.normal(0.1, 1, 400)
    people = np.where(np.arange(400) < 100, truth, np.nan)
    flat = corrected_mean(np.full(400, 0.5), people)
    perfect = corrected_mean(truth, people)
    assert flat is not None
    assert perfect is not None
    assert (0.0, pytest.approx(truth[:100].mean())) == (flat.weight, flat.interval.estimate)
    assert perfect.weight == pytest.approx(0.75, abs=0.15)
    assert perfect.interval.high - perfect.interval.low < 0.7 * (flat.interval.high - flat.interval.low)


def test_the_corrected_interval_covers_where_the_judge_is_biased() -> None:
    """200 seeded comparisons: the judge adds 0.3 to each difference; the corrected 95% interval holds the truth as often as it
    says."""
    draw = np.random.default_rng(7)
    held = 0
    for _ in range(200):
        truth = draw.choice([-1.0, 0.0, 1.0], 300, p=[0.2, 0.5, 0.3])
        judged = truth + 0.3 + draw.normal(0, 0.6, 300)
        people = np.where(np.arange(300) < 60, truth, np.nan)
        found = corrected_mean(judged, people, resamples=199)
        assert found is not None
        held += found.interval.low <= 0.1 <= found.interval.high
    assert 0.92 <= held / 200 <= 0.98


def test_too_few_labels_correct_nothing() -> None:
    """Below fifty; where people rated all, they decide alone."""
    values = np.zeros(100)
    few = np.where(np.arange(100) < LEAST_LABELS - 1, 0.0, np.nan)
    assert corrected_mean(values, few) is None
    alone = corrected_mean(np.r_[values, 1.0], np.r_[np.tile([0.0, 1.0], 50), np.nan])
    assert alone is not None
    assert (0.0, 0.5, 100) == (alone.weight, alone.interval.estimate, alone.labels)
    with pytest.raises(InputError, match="one number an example"):
        corrected_mean(values, values[:5])


@pytest.mark.parametrize("seed", range(4))
def test_kappa_is_that_of_statsmodels(seed: int) -> None:
    """Plain and quadratically weighted, for two raters who share some of their taste."""
    draw = np.random.default_rng(seed)
    one = draw.integers(1, 6, 60)
    other = np.where(draw.random(60) < 0.6, one, draw.integers(1, 6, 60))
    table = np.zeros((5, 5))
    np.add.at(table, (one - 1, other - 1), 1)
    assert cohen_kappa(one.tolist(), other.tolist()) == pytest.approx(cohens_kappa(table).kappa)
    expected = cohens_kappa(table, wt="quadratic").kappa
    assert cohen_kappa(one.tolist(), other.tolist(), weights="quadratic") == pytest.approx(expected)
