"""Intervals and sample sizes, against scipy, statsmodels, published values and independent derivations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint

from workbench.errors import InputError
from workbench.evaluation import intervals
from workbench.evaluation.quantiles import quantile_interval
from workbench.evaluation.statistics import (
    discordance_sd,
    examples_needed,
    mean_interval,
    paired_interval,
    quantile_ratio_interval,
    smallest_difference,
    wilson,
)


def right_wrong(gained: int, lost: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Control and variant scores with so many examples won and lost."""
    control = np.r_[np.zeros(gained), np.ones(lost), np.zeros(n - gained - lost)]
    variant = np.r_[np.ones(gained), np.zeros(lost), np.zeros(n - gained - lost)]
    return control, variant


# -- one score --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("successes", "n"), [(0, 20), (1, 1), (17, 20), (20, 20), (81, 263), (1, 100_000)])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_wilson_is_statsmodels(successes, n, level):
    """Wilson's interval agrees with statsmodels, ends included."""
    low, high = proportion_confint(successes, n, alpha=1 - level, method="wilson")
    assert (successes / n, level) == wilson(successes, n, level)[::3]
    assert (low, high) == pytest.approx(wilson(successes, n, level)[1:3], abs=1e-12)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 3), (4, 3)])
def test_wilson_refuses_impossible_counts(successes, n):
    """Counts that cannot be are named in an InputError."""
    with pytest.raises(InputError, match=f"successes = {successes}"):
        wilson(successes, n)


def test_a_right_wrong_score_gets_wilson():
    """One score of 0 and 1, and repeats that agree, count examples."""
    values = np.r_[np.ones(15), np.zeros(5)]
    assert wilson(15, 20) == mean_interval(values)
    assert wilson(15, 20) == mean_interval(np.stack([values, values], axis=1))


def test_the_unit_is_the_example_not_the_call():
    """Ten copies of each answer bring no more certainty than one."""
    rng = np.random.default_rng(1)
    once = rng.random((40, 1))
    assert mean_interval(once, seed=3) == pytest.approx(mean_interval(np.repeat(once, 10, axis=1), seed=3))


def test_unscored_is_not_zero():
    """NaN repeats leave the example's mean, NaN examples leave the sample, and nothing scored is None."""
    values = np.array([[1.0, np.nan], [0.0, 0.0], [np.nan, np.nan], [1.0, 1.0]])
    assert wilson(2, 3) == mean_interval(values)
    assert mean_interval(np.full((5, 2), np.nan)) is None
    assert mean_interval(np.empty((0, 2))) is None
    assert mean_interval(np.empty((3, 0))) is None


def test_many_continuous_scores_get_students_t():
    """Beyond 2,000 examples the interval is scipy's t interval."""
    values = np.random.default_rng(2).beta(2, 5, 4_000)
    expected = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    assert expected == pytest.approx(mean_interval(values)[1:3], abs=1e-12)


@pytest.mark.parametrize("values", [[0.3], [0.3] * 5, [0.3] * 30, [7.0] * 30, [-2.0] * 3, [0.0], [1.0] * 4])
def test_equal_scores_are_no_certainty(values):
    """One example, or examples that agree, leave z**2 / (n + z**2) of the scale open on each side."""
    found = mean_interval(np.array(values), binary=False)
    low, high = (0.0, 1.0) if 0 <= values[0] <= 1 else (min(values[0], 0.0), max(values[0], 0.0))
    z2 = stats.norm.ppf(0.975) ** 2
    share = z2 / (len(values) + z2)
    expected = (values[0] - share * (values[0] - low), values[0] + share * (high - values[0]))
    assert expected == pytest.approx(found[1:3], abs=1e-6)


# -- right/wrong pairs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gained", "lost", "n", "level", "low", "high", "digits"),
    [
        (
            1,
            7,
            21,
            0.95,
            -0.517,
            -0.026,
            3,
        ),  # Bentur et al. 2009, in Fagerland, Lydersen, Laake 2014, Stat. Med. 33:2850
        (6, 16, 161, 0.95, -0.1240, -0.0054, 4),  # Cavo et al. 2012, in R's contingencytables, tests of chapter 8
        (28, 25, 618, 0.90, -0.0148, 0.0247, 4),  # R's PropCIs::scoreci.mp(25, 28, 618)
    ],
)
def test_tango_is_as_published(gained, lost, n, level, low, high, digits):
    """Tango's interval on tables whose interval others printed."""
    found = paired_interval(*right_wrong(gained, lost, n), level=level)
    assert found.method == "tango"
    assert (low, high) == tuple(round(limit, digits) for limit in found.interval[1:3])


def score_test(gained: int, lost: int, n: int, delta: float) -> float:
    """Signed score statistic, its nuisance parameter from a numeric search of the trinomial likelihood."""

    def minus_log_likelihood(losses: float) -> float:
        cells = ((gained, losses + delta), (lost, losses), (n - gained - lost, 1 - 2 * losses - delta))
        return -sum(count * math.log(max(p, 1e-300)) for count, p in cells if count)

    bounds = (max(0.0, -delta), (1 - delta) / 2)
    losses = optimize.minimize_scalar(minus_log_likelihood, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
    return (gained - lost - n * delta) / math.sqrt(n * (2 * losses + delta - delta * delta))


@pytest.mark.parametrize(("gained", "lost", "n"), [(5, 2, 20), (3, 1, 80), (34, 0, 96), (0, 6, 25), (40, 20, 160)])
@pytest.mark.parametrize("level", [0.9, 0.975])
def test_tango_inverts_the_score_test(gained, lost, n, level):
    """At both limits the score statistic, derived anew by numeric search, is the normal quantile."""
    low, high = paired_interval(*right_wrong(gained, lost, n), level=level).interval[1:3]
    z = stats.norm.ppf(0.5 + level / 2)
    assert (z, -z) == pytest.approx((score_test(gained, lost, n, low), score_test(gained, lost, n, high)), abs=2e-4)


@pytest.mark.parametrize(("gained", "lost", "n"), [(5, 2, 20), (0, 0, 30), (4, 0, 12), (9, 9, 300), (20, 0, 20)])
def test_the_score_interval_contains_tango_and_wilson(gained, lost, n):
    """The interval for any bounded score is Tango's and Wilson's where scores are right or wrong."""
    control, variant = right_wrong(gained, lost, n)
    general = paired_interval(control, variant, binary=False)
    assert general.method == "score"
    assert paired_interval(control, variant).interval == pytest.approx(general.interval, abs=1e-8)
    assert mean_interval(variant) == pytest.approx(mean_interval(variant, binary=False), abs=1e-8)


@pytest.mark.parametrize(("gained", "lost"), [(6, 16), (1, 7), (0, 5), (30, 12), (9, 9), (0, 0)])
def test_the_p_value_is_the_exact_mcnemar_test(gained, lost):
    """The exact p-values of statsmodels and of scipy's binomial test."""
    found = paired_interval(*right_wrong(gained, lost, 200)).p_value
    assert mcnemar([[0, gained], [lost, 0]], exact=True).pvalue == pytest.approx(found, abs=1e-12)
    if gained + lost:
        assert stats.binomtest(gained, gained + lost).pvalue == pytest.approx(found, abs=1e-12)


@pytest.mark.parametrize(("gained", "lost"), [(6, 16), (1, 7), (9, 9), (52.5, 40.25)])
def test_the_p_value_with_repeats_is_mcnemars_without_correction(gained, lost):
    """statsmodels' chi-square; effective counts need not be whole."""
    expected = mcnemar([[0, gained], [lost, 0]], exact=False, correction=False).pvalue
    assert intervals.tango_p(gained, lost) == pytest.approx(expected, abs=1e-12)


# -- right/wrong pairs with repeats -----------------------------------------------------------------------------------


def test_repeats_that_agree_are_plain_tango():
    """Copies of an answer bring no certainty, and agree with one repeat to the last digit."""
    control, variant = right_wrong(9, 3, 60)
    once, thrice = (
        paired_interval(control, variant),
        paired_interval(*(np.tile(x, (3, 1)).T for x in (control, variant))),
    )
    assert once == thrice


def test_independent_repeats_count_as_examples():
    """Where repeats of an example are as different as examples are, 3 x 400 pairs tell about as much as 1,200."""
    rng = np.random.default_rng(14)
    control, variant = (rng.random((400, 3)) < 0.5).astype(float), (rng.random((400, 3)) < 0.6).astype(float)
    nested, flat = paired_interval(control, variant), paired_interval(control.ravel(), variant.ravel())
    assert ("tango-cluster", "tango") == (nested.method, flat.method)
    width = [found.interval.high - found.interval.low for found in (nested, flat)]
    assert width[1] == pytest.approx(width[0], rel=0.08)


def test_many_examples_with_repeats_get_the_clusters_standard_error():
    """The width is that of Student's t on the examples' mean differences, the p-value that of its test."""
    rng = np.random.default_rng(15)
    taste = rng.beta(0.5, 0.5, (3_000, 1))
    control = (rng.random((3_000, 3)) < taste).astype(float)
    variant = (rng.random((3_000, 3)) < np.clip(taste + 0.01, 0, 1)).astype(float)
    found = paired_interval(control, variant)
    expected = stats.ttest_1samp(variant.mean(axis=1) - control.mean(axis=1), 0.0)
    assert "tango-cluster" == found.method
    assert tuple(expected.confidence_interval(0.95)) == pytest.approx(found.interval[1:3], abs=2e-4)
    assert expected.pvalue == pytest.approx(found.p_value, rel=0.02)


def test_one_score_with_repeats_gets_wilson_on_what_it_tells():
    """Between the interval of the examples alone and that of all repeats, which would take them for independent."""
    rng = np.random.default_rng(16)
    scores = (rng.random((100, 4)) < rng.beta(1, 1, (100, 1))).astype(float)
    low, high = mean_interval(scores)[1:3]
    share = scores.mean()
    widest, narrowest = (proportion_confint(share * n, n, method="wilson") for n in (100, 400))
    assert widest[0] < low < narrowest[0]
    assert narrowest[1] < high < widest[1]


def test_swapping_the_arms_mirrors_the_interval():
    """Control and variant exchanged give the same interval with the other sign."""
    control, variant = right_wrong(9, 3, 60)
    there, back = paired_interval(control, variant), paired_interval(variant, control)
    assert (-there.interval.high, -there.interval.low) == pytest.approx(back.interval[1:3], abs=1e-12)
    assert there.p_value == back.p_value


# -- any pairs --------------------------------------------------------------------------------------------------------


def test_pairs_count_examples_scored_in_both():
    """n, differing, left out and sd come from examples with a score in both, each the mean of its scored repeats."""
    nan = np.nan
    control = np.array([[1, 1, nan], [0, 0, 0], [nan, nan, nan], [1, 0, 1], [1, 1, 1]], dtype=float)
    variant = np.array([[1, nan], [1, 0], [1, 1], [nan, nan], [nan, 1]])
    found = paired_interval(control, variant)
    assert (3, 1, 2) == (found.n, found.discordant, found.left_out)
    assert 0.5 / 3 == pytest.approx(found.interval.estimate)
    assert np.std([0, 0.5, 0], ddof=1) == pytest.approx(found.sd)


def test_nothing_paired_is_none():
    """Without a single example scored in both there is nothing to say."""
    ones = np.ones((4, 2))
    assert paired_interval(ones * np.nan, ones) is None
    assert paired_interval(np.array([1.0, np.nan]), np.array([np.nan, 1.0])) is None
    assert paired_interval(np.empty((0, 1)), np.empty((0, 1))) is None


def test_many_continuous_pairs_get_the_paired_t_test():
    """Beyond 2,000 differing examples interval and p-value are those of scipy's paired t-test."""
    rng = np.random.default_rng(4)
    control = rng.random(3_000)
    variant = control + rng.normal(0.01, 0.3, 3_000)
    found, expected = paired_interval(control, variant), stats.ttest_rel(variant, control)
    assert "t" == found.method
    assert tuple(expected.confidence_interval(0.95)) == pytest.approx(found.interval[1:3], abs=1e-12)
    assert expected.pvalue == pytest.approx(found.p_value, rel=1e-9)


def test_bootstrap_t_is_the_textbooks_half_way_to_students():
    """Drawing departures only agrees with studentising whole resamples, within its Monte Carlo error."""
    rng = np.random.default_rng(5)
    gain = np.where(rng.random(60) < 0.6, rng.exponential(0.2, 60), 0.0)
    error = gain.std(ddof=1) / math.sqrt(60)
    samples = gain[rng.integers(0, 60, (20_000, 60))]
    draws = (samples.mean(axis=1) - gain.mean()) / (samples.std(axis=1, ddof=1) / math.sqrt(60))
    below, above = np.quantile(draws, [0.025, 0.975])
    found = paired_interval(np.zeros(60), gain, resamples=20_000)
    assert "bootstrap-t" == found.method
    student = stats.t.ppf(0.975, 59)
    expected = (gain.mean() - (above + student) / 2 * error, gain.mean() - (below - student) / 2 * error)
    assert expected == pytest.approx(found.interval[1:3], abs=0.08 * error)


def test_bootstrap_t_leans_with_the_skew():
    """A long right tail lengthens the upper side, which a symmetric interval cannot."""
    gain = np.random.default_rng(6).exponential(1, 40)
    found = paired_interval(np.full(40, 3.0), 3 + gain).interval
    assert found.high - found.estimate > 1.2 * (found.estimate - found.low)


def test_the_p_value_agrees_with_the_interval():
    """Bootstrap-t: 0 lies in the interval of level 1 - alpha exactly when p is above alpha."""
    rng = np.random.default_rng(7)
    sides = set()
    for shift in np.linspace(0.0, 0.12, 13):
        control = rng.random(50) * 0.8
        variant = control + rng.normal(shift, 0.2, 50)
        found = paired_interval(control, variant)
        inside = found.interval.low <= 0 <= found.interval.high
        assert inside == (found.p_value > 0.05)
        sides.add(inside)
    assert {True, False} == sides


def test_a_resample_without_variance_is_infinitely_far_out():
    """Resamples that miss all departures, or repeat one, count at the far end of their side, never as NaN."""
    draws = intervals.studentised(np.array([0.0, 0.0, 0.0, 1.0]), 0.0, 0, 4_000)
    missed = (3 / 4) ** 4
    assert missed == pytest.approx(np.mean(draws == -np.inf), abs=0.03)
    assert (1 / 4) ** 4 == pytest.approx(np.mean(draws == np.inf), abs=0.005)
    assert not np.isnan(draws).any()


def likeliest_variance(values: np.ndarray, lo: float, hi: float, mean: float) -> float:
    """Variance of the likeliest distribution on the values and both ends with this mean, by a general optimiser."""
    support = np.r_[values, lo, hi]
    start = np.full(len(support), 1 / len(support))
    found = optimize.minimize(
        lambda p: -np.log(np.maximum(p[: len(values)], 1e-12)).sum(),
        start,
        bounds=[(0, 1)] * len(support),
        constraints=[
            {"type": "eq", "fun": lambda p: p.sum() - 1},
            {"type": "eq", "fun": lambda p: p @ support - mean},
        ],
        options={"maxiter": 500, "ftol": 1e-14},
    )
    return float(found.x @ (support - mean) ** 2)


@pytest.mark.parametrize("gains", [[0.1, 0.5, 0.2], [0.0, 0.0, 0.0, 0.0, 0.7], [0.3, 0.3, 0.3], [-0.2, 0.7]])
def test_the_score_interval_inverts_its_test(gains):
    """At both limits the distance is the normal quantile, with the variance from a general optimiser."""
    x = np.array(gains)
    low, high = paired_interval(np.full(len(x), 0.25), 0.25 + x, binary=False).interval[1:3]
    distances = [math.sqrt(len(x) / likeliest_variance(x, -1, 1, at)) * (x.mean() - at) for at in (low, high)]
    assert [stats.norm.ppf(0.975), -stats.norm.ppf(0.975)] == pytest.approx(distances, rel=0.01)


@pytest.mark.parametrize(("n", "gain"), [(1, 0.0), (20, 0.0), (20, 0.5), (300, 0.0), (5_000, 0.25)])
def test_equal_differences_are_no_certainty(n, gain):
    """Examples that all differ by the same leave z**2 / (n + z**2) of the way to either end of the scale open."""
    found = paired_interval(np.full(n, 0.25), np.full(n, 0.25 + gain))
    z2 = stats.norm.ppf(0.975) ** 2
    share = z2 / (n + z2)
    assert "score" == found.method
    assert (gain - share * (1 + gain), gain + share * (1 - gain)) == pytest.approx(found.interval[1:3], abs=1e-6)
    assert (None if n == 1 else 0.0) == found.sd


def test_averages_that_rounding_tells_apart_are_equal():
    """0.1 + 0.2 and 0.3 are the same score: no example differs."""
    found = paired_interval(np.full((30, 2), [0.1, 0.2]), np.full((30, 1), 0.3) / 2)
    assert (0, 0.0) == (found.discordant, found.sd)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 8, 9, 25])
@pytest.mark.parametrize("kind", ["right/wrong", "thirds", "continuous", "judge", "equal", "gaps"])
def test_no_sample_is_too_small_or_odd(n, kind):
    """Every sample gives finite limits around the estimate, a p-value, and more than zero width."""
    rng = np.random.default_rng(n)
    make = {
        "right/wrong": lambda: rng.integers(0, 2, (n, 1)).astype(float),
        "thirds": lambda: rng.integers(0, 2, (n, 3)).astype(float),
        "continuous": lambda: rng.random((n, 2)),
        "judge": lambda: rng.integers(1, 6, (n, 1)).astype(float),
        "equal": lambda: np.full((n, 2), 4.0),
        "gaps": lambda: np.where((rng.random((n, 3)) < 0.4) & (np.arange(n) > 0)[:, None], np.nan, rng.random((n, 3))),
    }[kind]
    control, variant = make(), make()
    found = paired_interval(control, variant)
    for interval in (found.interval, mean_interval(control), mean_interval(variant)):
        assert interval.low <= interval.estimate <= interval.high
        assert math.isfinite(interval.low)
        assert math.isfinite(interval.high)
        assert interval.high > interval.low
    assert 0 <= found.p_value <= 1


def test_the_order_of_examples_does_not_matter():
    """The same pairs in another order give the same interval, bit for bit."""
    rng = np.random.default_rng(8)
    control, variant = rng.random((2, 60, 2))
    order = rng.permutation(60)
    here, there = paired_interval(control, variant), paired_interval(control[order], variant[order])
    assert (here.interval.low, here.interval.high, here.p_value) == (
        there.interval.low,
        there.interval.high,
        there.p_value,
    )
    before, after = control + 1, variant + 1
    assert quantile_ratio_interval(before, after) == quantile_ratio_interval(before[order], after[order])


def test_a_seed_repeats_and_another_resamples_anew():
    """The seed decides the resamples and nothing else does."""
    control, variant = np.random.default_rng(9).random((2, 60))
    assert paired_interval(control, variant, seed=1) == paired_interval(control, variant, seed=1)
    assert paired_interval(control, variant, seed=1) != paired_interval(control, variant, seed=2)


def test_a_hundred_thousand_examples_with_few_differences():
    """500 differing examples among 100,000 are resampled at the cost of 500, and agree with Tango."""
    control, variant = right_wrong(300, 200, 100_000)
    found = paired_interval(control, variant, binary=False)
    assert "bootstrap-t" == found.method
    assert paired_interval(control, variant).interval[1:3] == pytest.approx(found.interval[1:3], abs=3e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paired_interval(np.ones(3), np.ones(4)), "3 examples and variant has 4"),
        (lambda: paired_interval(np.ones((2, 2, 2)), np.ones(2)), "shape"),
        (lambda: paired_interval(np.ones(3), np.full(3, 0.5), binary=True), "other than 0 and 1"),
        (lambda: paired_interval(np.ones(3), np.ones(3), level=95), "level = 95"),
        (lambda: paired_interval(np.ones(3), np.ones(3), resamples=10), "resamples = 10"),
        (lambda: mean_interval(np.ones(3), 0), "level = 0"),
        (lambda: examples_needed(0.5, 0.1, power=1), "power = 1"),
        (lambda: smallest_difference(10, math.nan), "sd = nan"),
        (lambda: discordance_sd(1.1), "p_discordant = 1.1"),
        (lambda: quantile_ratio_interval(np.ones(9), -np.ones(9)), r"variant holds -1\.0"),
        (lambda: quantile_ratio_interval(np.ones(9), np.ones(8)), "9 examples and variant has 8"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    """What was passed wrongly is in the message."""
    with pytest.raises(InputError, match=message):
        call()


# -- coverage ---------------------------------------------------------------------------------------------------------


def right_wrong_pairs(share: float):
    def draw(rng, n):
        fate = rng.random(n)
        return np.where(fate < share / 2, 0.0, 1.0), np.where((fate >= share / 2) & (fate < share), 0.0, 1.0), 0.0

    return draw


def skewed_pairs(rng, n):
    before = rng.beta(1, 6, n) * 0.2
    return before, before + 0.8 * rng.beta(0.6, 2.4, n), 0.16


def tied_pairs(rng, n):
    before = rng.beta(1, 2, n)
    return before, np.where(rng.random(n) < 0.1, rng.beta(2, 1, n), before), 0.1 / 3


def repeated_pairs(rng, n):
    loose = rng.random((n, 1)) < 0.4
    chances = [np.where(loose, rng.beta(0.5, 0.5, (n, 1)), 1.0) for _ in range(2)]
    before, after = ((rng.random((n, 3)) < chance).astype(float) for chance in chances)
    return before, after, 0.0


def heavy_pairs(rng, n):
    before, after = rng.lognormal(0, 0.6, (2, n))
    return before, after, 0.0


@pytest.mark.parametrize("n", [20, 80])
@pytest.mark.parametrize(
    ("draw", "runs", "widest"),
    [
        (right_wrong_pairs(0.05), 1_000, (0.40, 0.15)),
        (right_wrong_pairs(0.20), 1_000, (0.48, 0.22)),
        (skewed_pairs, 300, (0.20, 0.09)),
        (tied_pairs, 100, (0.36, 0.12)),
        (repeated_pairs, 1_000, (0.40, 0.18)),
        (heavy_pairs, 300, (1.20, 0.55)),
    ],
    ids=["5% differ", "20% differ", "skewed", "ties", "3 repeats", "heavy tails"],
)
def test_95_percent_intervals_cover(draw, runs, widest, n):
    """Coverage is at least 93%, less three Monte Carlo errors (2.4 points at 1,000 runs), and not by sheer width."""
    rng = np.random.default_rng(10)
    covered, widths, known = 0, [], {}
    for run in range(runs):
        control, variant, truth = draw(rng, n)
        differences = np.sort((variant - control).reshape(n, -1).mean(axis=1)).tobytes()
        if differences not in known:
            known[differences] = paired_interval(control, variant, seed=run, resamples=999).interval
        interval = known[differences]
        covered += interval.low <= truth <= interval.high
        widths.append(interval.high - interval.low)
    assert covered / runs >= 0.93 - 3 * math.sqrt(0.93 * 0.07 / runs)
    assert np.mean(widths) <= widest[0 if n == 20 else 1]


# -- planning ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sd", "margin"), [(0.45, 0.1), (0.3, 0.15), (1.0, 0.3)])
def test_examples_needed_gives_its_power(sd, margin):
    """Equal variants: so many examples put the t interval inside the margin 8 times in 10, within Monte Carlo error."""
    n = examples_needed(sd, margin)
    x = np.random.default_rng(11).normal(0, sd, (4_000, n))
    reach = stats.t.ppf(0.975, n - 1) * x.std(axis=1, ddof=1) / math.sqrt(n)
    inside = (np.abs(x.mean(axis=1)) + reach <= margin).mean()
    assert 0.8 == pytest.approx(inside, abs=0.03)


@pytest.mark.parametrize(("sd", "margin"), [(0.45, 0.1), (0.3, 0.3), (0.1, 0.2)])
def test_examples_needed_is_the_first_that_is_enough(sd, margin):
    """Both one-sided t quantiles fit into the margin at n and not at n - 1."""

    def fits(n):
        reach = stats.t.ppf(0.975, n - 1) + stats.t.ppf(0.9, n - 1)
        return reach * sd / math.sqrt(n) <= margin

    n = examples_needed(sd, margin)
    assert [True, False] == [fits(n), fits(n - 1)]


def test_many_examples_needed_are_the_textbook_formula():
    """Beyond 1,000 the count is that of normal quantiles: ((z of 0.975 + z of 0.9) sd / margin)**2."""
    z = stats.norm.ppf(0.975) + stats.norm.ppf(0.9)
    assert math.ceil((z / 0.05) ** 2) == examples_needed(1.0, 0.05)


def test_examples_needed_where_it_is_not_defined():
    """No margin, no spread known: no number rather than a made-up one."""
    assert examples_needed(0.5, 0) is None
    assert examples_needed(0.5, -0.1) is None
    assert examples_needed(None, 0.1) is None
    assert examples_needed(math.nan, 0.1) is None
    assert examples_needed(0.0, 0.1) is None


@pytest.mark.parametrize(("sd", "margin"), [(1e9, 0.05), (1e99, 1e-99)])
def test_examples_needed_fit_every_format(sd, margin):
    """Beyond reach is a number that JSON and Parquet hold, with a scale too."""
    assert examples_needed(sd, margin) == examples_needed(0.0, margin, span=sd * 1e9) == 10**15


def test_examples_needed_without_any_difference_seen():
    """Right/wrong answers that never differed still need the examples after which Tango's interval fits the margin."""
    n = examples_needed(0.0, 0.02, span=1.0)
    widths = [paired_interval(np.ones(k), np.ones(k)).interval.high for k in (n - 1, n)]
    assert widths[1] <= 0.02 < widths[0]


@pytest.mark.parametrize(("n", "sd"), [(10, 0.4), (96, 0.45), (2_000, 1.0)])
def test_smallest_difference_is_the_power_of_the_paired_t_test(n, sd):
    """Within 2% of statsmodels' exact power calculation."""
    effect = TTestPower().solve_power(nobs=n, alpha=0.05, power=0.8)
    assert effect * sd == pytest.approx(smallest_difference(n, sd), rel=0.02)


def test_smallest_difference_of_one_example():
    """One example separates nothing."""
    assert math.inf == smallest_difference(1, 0.5)


def test_discordance_sd_is_that_of_the_differences():
    """The sd of +1, -1 and 0 when a share of examples differs either way."""
    differences = np.r_[np.ones(10), -np.ones(10), np.zeros(80)]
    assert differences.std() == pytest.approx(discordance_sd(0.2))


# -- ratio of medians -------------------------------------------------------------------------------------------------


def latencies(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(12)
    shared = rng.lognormal(-1, 0.5, n)
    return shared * rng.lognormal(0, 0.2, n), 1.2 * shared * rng.lognormal(0, 0.2, n)


@pytest.mark.parametrize("n", [60, 4_000])
def test_median_ratio_is_scipys_percentile_bootstrap(n):
    """The same as scipy.stats.bootstrap on pairs, also where resamples are smaller than the sample."""
    control, variant = latencies(n)
    found = quantile_ratio_interval(control, variant)
    expected = stats.bootstrap(
        (control, variant),
        lambda c, v, axis: np.median(v, axis=axis) / np.median(c, axis=axis),
        paired=True, method="percentile", n_resamples=1_000, batch=200, rng=np.random.default_rng(13),
    ).confidence_interval  # fmt: skip
    width = expected.high - expected.low
    assert np.median(variant) / np.median(control) == pytest.approx(found.estimate)
    assert tuple(expected) == pytest.approx(found[1:3], abs=0.12 * width)


def test_median_ratio_takes_an_examples_repeats_as_one():
    """Ten equal repeats bring no more certainty than one, and NaN repeats none less."""
    control, variant = (values[:, None] for values in latencies(40))
    gaps = np.hstack([variant, np.full((40, 2), np.nan)])
    assert quantile_ratio_interval(control, variant) == quantile_ratio_interval(np.repeat(control, 10, axis=1), gaps)


def test_median_ratio_needs_six_examples_and_a_median_above_zero():
    """Fewer cannot hold 95% for a median; a free control has no ratio."""
    control, variant = latencies(6)
    assert quantile_ratio_interval(control, variant) is not None
    assert quantile_ratio_interval(control[:5], variant[:5]) is None
    assert quantile_ratio_interval(np.zeros(20), np.ones(20)) is None
    assert quantile_ratio_interval(np.full(20, np.nan), np.ones(20)) is None


def test_a_high_quantile_is_scipys_percentile_bootstrap():
    """P95 of variant over P95 of control, against scipy.stats.bootstrap on the same pairs."""
    control, variant = latencies(300)
    found = quantile_ratio_interval(control, variant, 0.95)
    expected = stats.bootstrap(
        (control, variant),
        lambda c, v, axis: np.quantile(v, 0.95, axis=axis) / np.quantile(c, 0.95, axis=axis),
        paired=True, method="percentile", n_resamples=2_000, batch=200, rng=np.random.default_rng(13),
    ).confidence_interval  # fmt: skip
    assert np.quantile(variant, 0.95) / np.quantile(control, 0.95) == pytest.approx(found.estimate)
    assert tuple(expected) == pytest.approx(found[1:3], abs=0.12 * (expected.high - expected.low))


@pytest.mark.parametrize(("n", "share"), [(30, 0.5), (80, 0.9), (200, 0.95)])
@pytest.mark.parametrize("level", [0.9, 0.99])
def test_the_interval_of_a_quantile_is_scipys(n, share, level):
    """The order statistics of scipy's quantile_test, one-sided at each end, where it has them."""
    values = np.random.default_rng(n).lognormal(0, 1, n)
    found = quantile_interval(values, share, level)
    test = {side: stats.quantile_test(values, q=0.0, p=share, alternative=side) for side in ("less", "greater")}
    each = 1 - (1 - level) / 2
    low = test["greater"].confidence_interval(each).low
    high = test["less"].confidence_interval(each).high
    assert (low, np.inf if np.isnan(high) else high) == (found.low, found.high)


def test_a_high_quantile_needs_its_examples_and_takes_every_repeat():
    """P95 has no 95% interval below 59 examples; a slow repeat counts, and a missing one as its example's median."""
    control, variant = (values[:, None] for values in latencies(60))
    assert quantile_ratio_interval(control[:58], variant[:58], 0.95) is None
    both = np.hstack([variant, variant])
    gaps = np.where(np.arange(2) > 0, np.nan, both)
    assert quantile_ratio_interval(control, both, 0.95) == quantile_ratio_interval(control, gaps, 0.95)
    slow = both.copy()
    slow[::3, 1] *= 10
    assert quantile_ratio_interval(control, slow, 0.95).estimate > 3
    with pytest.raises(InputError, match="quantile = 95"):
        quantile_ratio_interval(control, variant, 95)
