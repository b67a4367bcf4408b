"""The decision rule, its guardrails, and the sentences that a reader gets who was not there."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest

from workbench.errors import InputError
from workbench.evaluation.sentences import figures_text
from workbench.evaluation.statistics import examples_needed, mean_interval, paired_interval, quantile_ratio_interval
from workbench.evaluation.verdict import ArmScores, Guardrail, decide
from workbench.records import canonical_json

MODEL = " · embedded/smollm2-135m"
ONE, TWO, THREE = (f"sentiment@{version}{MODEL}" for version in (1, 2, 3))
CONTROL = np.r_[np.ones(40), np.zeros(56)]
BETTER = np.r_[np.ones(72), np.zeros(24)]
GOOD = np.r_[np.ones(62), np.zeros(34)]
MIXED = np.r_[np.zeros(6), np.ones(46), np.zeros(44)]
SECONDS = np.random.default_rng(1).lognormal(-1, 0.4, (96, 2))


def arm(label, scores, *, latency=None, cost=None, **more):
    return ArmScores(label, {"exact_match": np.asarray(scores, dtype=float), **more}, latency, cost)


def verdict(*arms, **options):
    return decide(arms, **{"primary": "exact_match", "control": ONE, "margin": 0.05, **options})


# -- the rule ---------------------------------------------------------------------------------------------------------


def test_better():
    """An interval above 0 is better, wins, and is said in one sentence."""
    found = verdict(arm(ONE, CONTROL), arm(TWO, BETTER))
    assert ("better", TWO) == (found.contrasts[0].decision, found.winner)
    assert (
        "sentiment@2 is better than sentiment@1 on exact_match: +0.33 (95% interval +0.25 to +0.43, 96 examples, "
        "32 differ). Winner: sentiment@2."
    ) == found.sentence


def test_worse():
    """An interval below 0 is worse, and nobody wins."""
    found = verdict(arm(ONE, BETTER), arm(TWO, CONTROL))
    assert ("worse", None) == (found.contrasts[0].decision, found.winner)
    assert (
        "sentiment@2 is worse than sentiment@1 on exact_match: -0.33 (95% interval -0.43 to -0.25, 96 examples, "
        "32 differ)."
    ) == found.sentence


def test_lower_can_be_better():
    """Where less is better, an interval below 0 wins."""
    found = verdict(arm(ONE, BETTER), arm(TWO, CONTROL), higher_is_better=False)
    assert ("better", TWO) == (found.contrasts[0].decision, found.winner)
    assert "worse" == verdict(arm(ONE, CONTROL), arm(TWO, BETTER), higher_is_better=False).contrasts[0].decision


def test_equivalent_within_the_margin():
    """An interval inside ±margin is equivalent and wins nothing."""
    found = verdict(arm(ONE, CONTROL), arm(TWO, CONTROL))
    assert ("equivalent", None) == (found.contrasts[0].decision, found.winner)
    assert (
        "sentiment@2 is equivalent to sentiment@1 on exact_match within ±0.05: 0.000 (95% interval -0.038 to +0.038, "
        "96 examples, 0 differ)."
    ) == found.sentence


def test_equivalent_comes_before_better():
    """An interval inside the margin that excludes 0 is equivalent, and the sentence says that they differ."""
    rng = np.random.default_rng(2)
    control = rng.random(600)
    found = verdict(arm(ONE, control), arm(TWO, control + rng.normal(0.01, 0.01, 600)))
    assert found.contrasts[0].interval.low > 0
    assert ("equivalent", None) == (found.contrasts[0].decision, found.winner)
    assert found.sentence.endswith("They do differ, by less than the margin.")


def test_undecided_says_how_many_more():
    """Neither: the number of further examples comes from the paired variance and the margin, rounded up."""
    found = verdict(arm(ONE, CONTROL), arm(TWO, MIXED))
    contrast = found.contrasts[0]
    paired = paired_interval(CONTROL, MIXED)
    assert ("undecided", None) == (contrast.decision, found.winner)
    assert examples_needed(paired.sd, 0.05, span=1.0) == contrast.n_needed
    more = contrast.n_needed - 96
    assert 600 <= more <= 690
    said = math.ceil(more / 10) * 10
    assert (
        "sentiment@2 against sentiment@1 on exact_match is undecided: +0.06 (95% interval -0.03 to +0.16, 96 examples, "
        f"18 differ). About {said} more examples would settle it within ±0.05 (4 chances in 5)."
    ) == found.sentence


def test_the_number_needed_does_not_follow_the_observed_difference():
    """Spread alone decides: shifting every difference leaves the number of examples where it was."""
    rng = np.random.default_rng(3)
    control = rng.random(60) * 0.5
    noise = rng.normal(0, 0.1, 60)
    near = verdict(arm(ONE, control), arm(TWO, control + noise)).contrasts[0]
    far = verdict(arm(ONE, control), arm(TWO, control + noise + 0.3)).contrasts[0]
    assert near.n_needed == far.n_needed


def test_undecided_although_there_were_enough():
    """Near the margin no number is sure: the sentence says so in place of a negative number."""
    control, variant = np.zeros(1_000), np.zeros(1_000)
    control[:30], variant[30:73] = 1, 1
    found = verdict(arm(ONE, control), arm(TWO, variant), margin=0.028)
    assert "undecided" == found.contrasts[0].decision
    assert found.contrasts[0].n_needed < 1_000
    assert "the true difference probably lies near the margin" in found.sentence


def test_undecided_with_a_margin_of_zero():
    """Without a margin nothing can be shown equivalent: no number is made up."""
    found = verdict(arm(ONE, CONTROL), arm(TWO, MIXED), margin=0)
    assert found.contrasts[0].n_needed is None
    assert "With a margin of 0 nothing counts as equivalent" in found.sentence


def test_a_margin_out_of_reach():
    """Absurd numbers of examples are not printed to the digit."""
    rng = np.random.default_rng(4)
    found = verdict(arm(ONE, rng.random(50)), arm(TWO, rng.random(50)), margin=1e-4)
    assert "More than a million more examples" in found.sentence


def test_the_interval_is_the_packages_own():
    """Contrast and `paired_interval` are the same numbers."""
    contrast = verdict(arm(ONE, CONTROL), arm(TWO, MIXED)).contrasts[0]
    paired = paired_interval(CONTROL, MIXED)
    assert (paired.interval, paired.method, paired.p_value) == (contrast.interval, contrast.method, contrast.p_value)
    assert (96, 18, 0, 0.05) == (contrast.n, contrast.discordant, contrast.left_out, contrast.margin)


def test_the_same_comparison_says_the_same():
    """Equal input and seed give an equal verdict; the order of the arms matters only for the order of contrasts."""
    rng = np.random.default_rng(5)
    scores = rng.random((3, 60, 2))
    arms = [arm(label, values) for label, values in zip((ONE, TWO, THREE), scores, strict=True)]
    first, again, other = verdict(*arms, seed=4), verdict(*arms, seed=4), verdict(arms[2], arms[0], arms[1], seed=4)
    assert first == again
    assert (first.winner, set(first.contrasts)) == (other.winner, set(other.contrasts))


# -- several variants -------------------------------------------------------------------------------------------------


def test_several_variants_share_the_level():
    """With two variants each interval has 97.5%, is the one that is printed, and p is doubled to match."""
    found = verdict(arm(ONE, CONTROL), arm(TWO, BETTER), arm(THREE, MIXED))
    single = paired_interval(CONTROL, MIXED, level=0.975)
    assert single.interval == pytest.approx(found.contrasts[1].interval)
    assert min(1, 2 * single.p_value) == pytest.approx(found.contrasts[1].p_value)
    assert "97.5% interval" in found.contrasts[1].sentence
    figures = figures_text(found.contrasts[1].interval, (0.05,))
    assert "(97.5% interval" in figures
    assert found.sentence.endswith(
        f"Winner: sentiment@2. sentiment@3: undecided, {figures}. The 2 intervals hold together at 95%."
    )


def test_a_verdict_can_hang_on_how_many_were_tried():
    """What is better alone can be undecided among five, at the same overall level."""
    variant = CONTROL.copy()
    variant[40:46] = 1
    others = [arm(f"sentiment@{k}{MODEL}", CONTROL) for k in range(3, 12)]
    assert "better" == verdict(arm(ONE, CONTROL), arm(TWO, variant)).contrasts[0].decision
    assert "undecided" == verdict(arm(ONE, CONTROL), arm(TWO, variant), *others).contrasts[0].decision


def test_the_best_of_several_wins():
    """Of two that are better the higher estimate wins, and the sentence says that they were not compared."""
    found = verdict(arm(ONE, CONTROL), arm(TWO, GOOD), arm(THREE, BETTER))
    assert THREE == found.winner
    assert "Winner: sentiment@3, the best estimate of those that are better" in found.sentence
    assert "(they were not compared with each other)" in found.sentence
    assert "sentiment@2: better, +" in found.sentence


def test_the_lowest_of_several_wins_where_less_is_better():
    """The best estimate follows the direction of the score."""
    found = verdict(arm(ONE, BETTER), arm(TWO, GOOD), arm(THREE, CONTROL), higher_is_better=False, margin=0.01)
    assert ["better", "better"] == [contrast.decision for contrast in found.contrasts]
    assert THREE == found.winner


def test_no_variant_wins():
    """Without a winner every contrast is told."""
    found = verdict(arm(ONE, CONTROL), arm(TWO, CONTROL), arm(THREE, MIXED), margin=0.06)
    assert found.winner is None
    assert all(contrast.sentence in found.sentence for contrast in found.contrasts)
    assert "No variant wins." in found.sentence


# -- guardrails -------------------------------------------------------------------------------------------------------


def guarded(guardrail, *, winner=True, **measured):
    """The only check of a comparison whose variant is better, given {field: (control's, variant's)}."""
    arms = [
        arm(label, scores, **{name: both[at] for name, both in measured.items()})
        for at, (label, scores) in enumerate(((ONE, CONTROL), (TWO, BETTER)))
    ]
    found = verdict(*arms, guardrails=[guardrail])
    assert (TWO if winner else None) == found.winner
    (check,) = found.contrasts[0].guardrails
    return found, check


def test_latency_holds():
    """A median that rises by less than its margin, interval included, holds; the interval is the relative change."""
    noise = np.random.default_rng(6).lognormal(0, 0.1, (96, 2))
    found, check = guarded(Guardrail("latency", 0.2, "latency"), latency=(SECONDS, 1.05 * SECONDS * noise))
    assert "Guardrails held: latency. Winner: sentiment@2." in found.sentence
    ratio = quantile_ratio_interval(SECONDS, 1.05 * SECONDS * noise)
    assert ("held", 0.2) == (check.state, check.margin)
    assert tuple(limit - 1 for limit in ratio[:3]) == pytest.approx(check.interval[:3])
    assert check.sentence.startswith("Guardrail latency holds for sentiment@2 against sentiment@1: +")
    assert check.sentence.endswith("96 examples); +20% is allowed.")


def test_a_broken_guardrail_takes_the_win():
    """Better on the primary score, but wholly beyond the margin of a guardrail: no winner, and the reason is told."""
    found, check = guarded(Guardrail("latency", 0.2, "latency"), winner=False, latency=(SECONDS, 1.6 * SECONDS))
    assert ("broken", "better") == (check.state, found.contrasts[0].decision)
    assert found.sentence.endswith(
        "Guardrail latency is broken for sentiment@2 against sentiment@1: +60% at the median (95% interval +60% to +60%, "
        "96 examples); +20% is allowed. No winner."
    )


def test_an_unclear_guardrail_is_told_and_does_not_block():
    """An interval across the margin is unclear: the winner stands, with the doubt in the sentence."""
    noise = np.random.default_rng(7).lognormal(0, 0.8, (96, 2))
    found, check = guarded(Guardrail("latency", 0.2, "latency"), latency=(SECONDS, 1.2 * SECONDS * noise))
    assert "unclear" == check.state
    assert check.interval.low < 0.2 < check.interval.high
    assert check.sentence in found.sentence


def test_a_score_as_guardrail():
    """Another score holds, breaks or stays unclear by its own margin and paired interval."""
    fine, rarely, often = np.ones(96), np.r_[np.zeros(6), np.ones(90)], np.r_[np.zeros(40), np.ones(56)]
    guardrail = Guardrail("valid_json", 0.1)
    assert "held" == guarded(guardrail, valid_json=(fine, fine))[1].state
    assert "unclear" == guarded(guardrail, valid_json=(fine, rarely))[1].state
    found, check = guarded(guardrail, winner=False, valid_json=(fine, often))
    assert ("broken", paired_interval(fine, often).interval) == (check.state, check.interval)
    assert "a loss of 0.1 is allowed" in found.sentence
    assert "held" == guarded(guardrail, valid_json=(often, fine))[1].state


def test_a_score_guardrail_where_less_is_better():
    """Where less is better a rise is the loss."""
    low, high = np.zeros(96), np.r_[np.ones(40), np.zeros(56)]
    guardrail = Guardrail("refusals", 0.1, higher_is_better=False)
    assert "broken" == guarded(guardrail, winner=False, refusals=(low, high))[1].state
    assert "held" == guarded(guardrail, refusals=(high, low))[1].state


def test_a_guardrail_on_p95():
    """A tail that grows breaks P95 where the median stands; too few examples for P95 are told."""
    tail = SECONDS.copy()
    tail[::5] *= 4
    assert "held" == guarded(Guardrail("latency", 0.2, "latency"), latency=(SECONDS, tail))[1].state
    found, check = guarded(Guardrail("p95", 0.2, "latency", quantile=0.95), winner=False, latency=(SECONDS, tail))
    assert "broken" == check.state
    assert "at P95 (95% interval" in found.sentence
    few = np.where(np.arange(96)[:, None] < 50, SECONDS, np.nan)
    check = guarded(Guardrail("p95", 0.2, "latency", quantile=0.95), latency=(few, few))[1]
    assert ("unclear", None) == (check.state, check.interval)
    assert "at P95 of 50 examples: too few" in check.sentence


def test_latencies_at_different_concurrency_are_not_comparable():
    """8 calls at once against 1 says nothing about the prompt: unclear, with the reason; cost is still compared."""
    arms = [
        ArmScores(label, {"exact_match": scores}, latency=SECONDS, cost=SECONDS, concurrency=calls)
        for label, scores, calls in ((ONE, CONTROL, 1.0), (TWO, BETTER, 8.0))
    ]
    guardrails = [Guardrail("latency", 0.2, "latency"), Guardrail("cost", 0.2, "cost")]
    latency, cost = verdict(*arms, guardrails=guardrails).contrasts[0].guardrails
    assert ("unclear", "held") == (latency.state, cost.state)
    assert "not comparable, measured with 1 and with 8 calls in flight" in latency.sentence


@pytest.mark.parametrize(
    ("cost", "state", "says"),
    [
        ((None, None), "unclear", "no example has a known cost from both"),
        ((np.full(96, np.nan), np.ones(96)), "unclear", "no example has a known cost from both"),
        ((np.zeros(96), np.zeros(96)), "held", "it is 0 for both at the median of 96 examples"),
        ((np.zeros(96), np.full(96, 0.002)), "broken", "from 0 to 0.002 dollars at the median of 96 examples"),
        ((np.r_[[1.0] * 5, [np.nan] * 91], np.ones(96)), "unclear", "5 examples: too few"),
        ((np.full(96, -1.0), np.ones(96)), "unclear", "no example has a known cost from both"),
        ((np.full(96, 0.02), np.full(96, 0.01)), "held", "-50% at the median"),
    ],
    ids=["unknown", "half unknown", "both free", "control free", "five known", "negative", "cheaper"],
)
def test_cost_as_it_may_come(cost, state, says):
    """Unknown, free, rarely known or impossible cost gets a state and a reason, never an invented number."""
    _, check = guarded(Guardrail("cost", 0.2, "cost"), winner=state != "broken", cost=cost)
    assert state == check.state
    assert says in check.sentence


def test_a_better_variant_that_breaks_leaves_the_win_to_the_next():
    """The best estimate without a broken guardrail wins; the other is named with what it broke."""
    arms = [
        arm(ONE, CONTROL, latency=SECONDS),
        arm(TWO, BETTER, latency=2 * SECONDS),
        arm(THREE, GOOD, latency=SECONDS),
    ]
    found = verdict(*arms, guardrails=[Guardrail("latency", 0.2, "latency")])
    assert THREE == found.winner
    assert re.search(r"sentiment@2: better, [^.]+\.[^)]+\), but breaks latency\.", found.sentence)


# -- odd input --------------------------------------------------------------------------------------------------------


def test_one_variant_has_nothing_to_be_compared_with():
    """A single variant gets its score and the advice to add a second."""
    found = verdict(arm(ONE, CONTROL))
    assert ((), None) == (found.contrasts, found.winner)
    low, high = mean_interval(CONTROL)[1:3]
    assert (
        f"sentiment@1 scores 0.42 (95% interval {low:.2f} to {high:.2f}, 96 examples) on exact_match." in found.sentence
    )
    assert "nothing to compare it with" in found.sentence
    assert "not a single score" in verdict(arm(ONE, CONTROL * np.nan)).sentence


def test_one_example():
    """One example is undecided, and no number of examples is derived from it."""
    found = verdict(arm(ONE, [0.0]), arm(TWO, [1.0]))
    assert ("undecided", None) == (found.contrasts[0].decision, found.contrasts[0].n_needed)
    assert "1 example, 1 differs). 1 example cannot show how much examples vary" in found.sentence


@pytest.mark.parametrize(
    ("control", "variant", "why"),
    [
        (CONTROL, CONTROL * np.nan, "sentiment@2 has not a single score"),
        (CONTROL * np.nan, CONTROL, "sentiment@1 has not a single score"),
        (CONTROL * np.nan, CONTROL * np.nan, "neither has a single score"),
        ([1.0, np.nan], [np.nan, 1.0], "no example has a score from both"),
        (np.empty((0, 1)), np.empty((0, 1)), "there are no examples"),
        (np.empty((3, 0)), np.empty((3, 0)), "neither has a single score"),
    ],
    ids=["variant failed", "control failed", "both failed", "disjoint", "no examples", "no repeats"],
)
def test_nothing_to_pair(control, variant, why):
    """Without a pair the verdict is undecided and says why."""
    found = verdict(arm(ONE, control), arm(TWO, variant))
    contrast = found.contrasts[0]
    assert ("undecided", None, None, 0) == (contrast.decision, contrast.interval, contrast.p_value, contrast.n)
    assert len(control) == contrast.left_out
    assert why in found.sentence


def test_examples_left_out_are_told():
    """Unpaired examples are counted, and many of them are a warning."""
    few, many = BETTER.copy(), BETTER.copy()
    few[:3], many[:48] = np.nan, np.nan
    told = verdict(arm(ONE, CONTROL), arm(TWO, few)).sentence
    assert "93 examples, 32 differ, 3 left out for want of a score from both)" in told
    assert "see first why they have no score" not in told
    assert "see first why they have no score" in verdict(arm(ONE, CONTROL), arm(TWO, many)).sentence


@pytest.mark.parametrize("more", [None, 0, 20])
@pytest.mark.parametrize("n", [0, 1, 2, 5, 6, 30])
@pytest.mark.parametrize("fill", [0.0, 1.0, 0.4, 7.0, np.nan])
def test_every_verdict_is_plain_json(n, fill, more):
    """No input of these leaves NaN or infinity in the record, and every sentence is free of both words."""
    rng = np.random.default_rng(n)
    guardrails = [Guardrail("latency", 0.2, "latency"), Guardrail("cost", 0.2, "cost"), Guardrail("f1", 0.1)]
    flat, noisy = np.full((n, 2), fill), rng.random((n, 2))
    for first, second in ((flat, flat), (flat, noisy), (noisy, flat), (noisy, noisy)):
        found = verdict(
            arm(ONE, first, latency=first, cost=second, f1=second),
            arm(TWO, second, latency=second, cost=first, f1=first),
            arm(THREE, first, latency=first, cost=None, f1=noisy),
            guardrails=guardrails, planned=None if more is None else n + more,
        )  # fmt: skip
        text = json.dumps(found.to_mapping(), allow_nan=False)
        assert json.loads(canonical_json(found.to_mapping())) == json.loads(text)
        for word in (" nan", " inf", "+inf", "-inf", "None"):
            assert word not in found.sentence


def test_names_are_as_short_as_they_can_be():
    """What all labels share is left out: the model, the prompt, or nothing."""
    by_model = decide(
        [arm("triage@1 · ollama/a", CONTROL), arm("triage@1 · ollama/b", BETTER)],
        primary="exact_match", control="triage@1 · ollama/a", margin=0.05,
    )  # fmt: skip
    assert by_model.sentence.startswith("ollama/b is better than ollama/a on exact_match")
    assert "triage@1 · ollama/b" == by_model.winner
    both = decide(
        [arm("triage@1 · ollama/a", CONTROL), arm("triage@2 · ollama/b", BETTER)],
        primary="exact_match", control="triage@1 · ollama/a", margin=0.05,
    )  # fmt: skip
    assert both.sentence.startswith("triage@2 · ollama/b is better than triage@1 · ollama/a on exact_match")
    tagged = decide(
        [arm("triage@1 · ollama/a · temperature=0.0", CONTROL), arm("triage@2 · ollama/a · temperature=0.7", BETTER)],
        primary="exact_match", control="triage@1 · ollama/a · temperature=0.0", margin=0.05,
    )  # fmt: skip
    assert tagged.sentence.startswith("triage@2 · temperature=0.7 is better than triage@1 · temperature=0.0 on")


@pytest.mark.parametrize(
    ("scale", "figures"),
    [
        (1.0, "+0.296 (95% interval +0.255 to +0.337"),
        (1e-3, "+0.000296 (95% interval +0.000255 to +0.000337"),
        (1e4, "+2,961 (95% interval +2,548 to +3,373"),
    ],
)
def test_figures_have_the_digits_they_deserve(scale, figures):
    """Two digits of the interval's width, whatever the scale of the score."""
    rng = np.random.default_rng(8)
    control = rng.random(200) * 0.3 * scale
    variant = control + scale * np.clip(rng.normal(0.33, 0.35, 200), -0.2, 0.7)
    assert figures in verdict(arm(ONE, control), arm(TWO, variant), margin=0.01 * scale).sentence


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: verdict(arm(TWO, CONTROL)), "control = 'sentiment@1"),
        (lambda: decide([], primary="x", control="y", margin=0.1), "there are none"),
        (lambda: verdict(arm(ONE, CONTROL), arm(ONE, CONTROL)), "is there twice"),
        (lambda: verdict(arm(ONE, CONTROL), arm(TWO, CONTROL), primary="f1"), "has no score 'f1'. It has: exact_match"),
        (
            lambda: verdict(arm(ONE, CONTROL), arm(TWO, CONTROL), guardrails=[Guardrail("f1", 0.1)]),
            "has no score 'f1'",
        ),
        (lambda: verdict(arm(ONE, CONTROL), arm(TWO, CONTROL[:5])), "5, 96 examples"),
        (lambda: verdict(arm(ONE, CONTROL), arm(TWO, CONTROL, latency=np.ones(5))), "5, 96 examples"),
        (lambda: verdict(arm(ONE, CONTROL), arm(TWO, CONTROL), margin=-0.1), r"margin = -0\.1"),
        (lambda: verdict(arm(ONE, CONTROL), arm(TWO, CONTROL), margin=math.nan), "margin = nan"),
        (lambda: Guardrail("latency", -1, "latency"), "guardrail 'latency': margin = -1"),
        (lambda: Guardrail("speed", 0.1, "speed"), "measure = 'speed'"),
        (lambda: Guardrail("latency", 0.1, "latency", quantile=95), "quantile = 95"),
        (lambda: Guardrail("f1", 0.1, quantile=0.95), "is for latency and cost only"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    """What was passed wrongly is in the message."""
    with pytest.raises(InputError, match=message):
        call()


def test_one_that_is_as_good_says_what_became_of_its_guardrails():
    """Who changes to what is as good, because it is quicker or cheaper, is told what got worse."""
    held = verdict(
        arm(ONE, CONTROL, latency=SECONDS), arm(TWO, CONTROL, latency=SECONDS / 2),
        guardrails=[Guardrail("latency", 0.2, "latency")],
    )  # fmt: skip
    assert ("equivalent", None) == (held.contrasts[0].decision, held.winner)
    assert held.sentence.endswith("Guardrails held: latency.")
    broken = verdict(
        arm(ONE, CONTROL, latency=SECONDS), arm(TWO, CONTROL, latency=SECONDS * 2),
        guardrails=[Guardrail("latency", 0.2, "latency")],
    )  # fmt: skip
    assert "Guardrail latency is broken for sentiment@2 against sentiment@1: +100%" in broken.sentence
