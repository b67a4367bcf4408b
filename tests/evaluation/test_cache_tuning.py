"""The semantic cache's thresholds judged by pairs, against figures worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import Workbench
from workbench.cache.pairs import Pair, read_pairs, write_pairs
from workbench.errors import BadAnswerError, InputError
from workbench.evaluation.cache_thresholds import THRESHOLDS, CacheTuning
from workbench.evaluation.cache_tuning import tune
from workbench.evaluation.statistics import wilson, wilson_trials
from workbench.starter import find_pairs


async def never(texts: Sequence[str]) -> np.ndarray:
    raise AssertionError(f"nothing was to be embedded: {texts}")


def stops(asked: str, cached: str) -> str | None:
    """A guard's double: it vetoes what says so."""
    return "words: said so" if "veto" in asked else None


def pair(number: int, same: bool | None, cosine: float, veto: str | None = None) -> Pair:
    return Pair(f"asked {number}", f"cached {number}", same, cosine, veto)


FIVE = (
    pair(1, True, 0.96),
    pair(2, True, 0.9, "words: x"),
    pair(3, False, 0.92),
    pair(4, False, 0.86, "words: x"),
    pair(5, True, 0.6),
)


def test_figures_worked_out_by_hand() -> None:
    """Of five pairs, four are at 0.85 or above, and the guard vetoes two of these; each share is of its own whole."""
    tuning = CacheTuning(FIVE)
    guarded, bare = tuning.at(0.85), tuning.at(0.85, guarded=False)
    assert (5, 2, 1, 1) == (guarded.asked, guarded.served, guarded.right, guarded.wrong)
    assert (5, 4, 2, 2) == (bare.asked, bare.served, bare.right, bare.wrong)
    assert (0.4, 0.2) == (guarded.hit_rate.estimate, guarded.false_hit_rate.estimate)
    assert (wilson(2, 5), wilson(1, 5)) == (guarded.hit_rate, guarded.false_hit_rate)
    assert wilson(1, 2) == guarded.precision
    assert (1, 0, 1) == (tuning.at(0.95).served, tuning.at(0.95).wrong, tuning.at(0.96).served)
    assert tuning.at(0.97).precision is None


def test_wilson_by_hand() -> None:
    """0 of 120 at 95%: z**2 / (n + z**2) with z = 1.959964; 381 are the fewest with an upper end within 1%."""
    assert pytest.approx(3.841459 / 123.841459, rel=1e-6) == wilson(0, 120).high
    assert 381 == wilson_trials(0.0, 0.01)
    assert wilson(0, 381).high <= 0.01 < wilson(0, 380).high
    assert wilson_trials(0.01, 0.01) is None


@given(st.floats(0, 0.9), st.floats(0.001, 0.09), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_trials_are_the_fewest(share: float, above: float, level: float) -> None:
    """The score test holds at that number and not at one less, which is Wilson's interval for shares that are counts."""
    bound = share + above
    n = wilson_trials(share, bound, level)
    assert n is not None
    z = math.sqrt(wilson(0, 1, level).high / (1 - wilson(0, 1, level).high))
    reach = [z * math.sqrt(bound * (1 - bound) / count) for count in (n, max(n - 1, 1e-9))]
    assert reach[0] <= (bound - share) * (1 + 1e-9)
    assert reach[1] >= (bound - share) * (1 - 1e-9)


def many(right: int, wrong: int, unlabelled: int = 0, *, wrong_at: float = 0.8) -> tuple[Pair, ...]:
    """Right ones at 0.9, wrong ones at `wrong_at`, unlabelled ones at 0.85."""
    return (
        *(pair(at, True, 0.9) for at in range(right)),
        *(pair(10_000 + at, False, wrong_at) for at in range(wrong)),
        *(pair(20_000 + at, None, 0.85) for at in range(unlabelled)),
    )


def test_the_proposal_is_the_lowest_that_surely_keeps_the_budget() -> None:
    """400 pairs without a false hit above 0.80: 0.81 is proven, as 0 of 410 reach to 0.93%."""
    tuning = CacheTuning(many(400, 10))
    assert (0.81, 0.81, 0.81) == (tuning.proposal, tuning.possible, tuning.shown)
    assert tuning.sentence == (
        "With the guard, 0.81 is the lowest threshold that keeps the budget of 1%: 400 of 410 pairs are served (97.6%), "
        "0 of them wrongly (0% of all, 95% interval to 0.93%)."
    )
    assert not len(tuning.worst)


def test_too_few_pairs_prove_nothing() -> None:
    """0 wrong of 120 is within the budget by its estimate alone; the sentence says how many pairs would do."""
    tuning = CacheTuning(many(110, 10))
    assert tuning.proposal is None
    assert 0.81 == tuning.possible == tuning.shown
    assert tuning.sentence == (
        "With the guard, no threshold is proven to keep the budget of 1%. By the estimate alone 0.81 does: 110 of 120 pairs "
        "are served (91.7%), 0 of them wrongly (0% of all, 95% interval to 3.1%). To be sure takes about 381 pairs without "
        "one false hit."
    )


def test_a_small_share_needs_more_pairs() -> None:
    """1 of 250 is 0.4%: z**2 0.01 0.99 / 0.006**2 = 1,057 pairs; 1 of 100 is the budget itself, and nothing proves it."""
    assert CacheTuning(many(249, 1, wrong_at=1.0)).sentence.endswith(
        "To be sure takes about 1,057 pairs with as small a share of false hits."
    )
    assert CacheTuning(many(99, 1, wrong_at=1.0)).sentence.endswith(
        "That is the budget itself, which no number of pairs would prove to be kept."
    )


def test_it_says_that_none_does() -> None:
    """A false hit that no threshold keeps out; and thresholds that keep the budget only because nothing is served."""
    tuning = CacheTuning(many(3, 2, wrong_at=1.0))
    assert (None, None, 1.0) == (tuning.proposal, tuning.possible, tuning.shown)
    assert tuning.sentence == (
        "With the guard, no threshold that serves anything keeps the budget of 1%: even at 1.00, 2 of 5 pairs are served (40%), "
        "2 of them wrongly (40% of all, 95% interval to 77%)."
    )
    below = CacheTuning(many(3, 2, wrong_at=0.95))
    assert (None, None, 0.95) == (below.proposal, below.possible, below.shown)
    assert "even at 0.95, 2 of 5" in below.sentence
    assert ["asked 10000", "asked 10001"] == [*below.worst["asked"]]


def test_nothing_served_is_nothing_proposed() -> None:
    """All pairs lie below every threshold."""
    tuning = CacheTuning((pair(1, True, 0.5),) * 400)
    assert tuning.proposal is None
    assert "With the guard, nothing is served at any threshold: there is nothing to propose." == tuning.sentence


def test_unlabelled_pairs_may_be_wrong() -> None:
    """400 easy labels do not stand for 100 pairs that nobody labelled: those are served from 0.85 down, and count as doubt."""
    tuning = CacheTuning(many(400, 0, 100))
    point = tuning.at(0.85)
    assert (500, 500, 400, 0, 100) == (point.asked, point.served, point.right, point.wrong, point.unlabelled)
    assert point.precision is not None
    assert (1.0, wilson(400, 500).low, 1.0) == point.precision[:3]
    assert (0.0, 0.0, wilson(100, 500).high) == point.false_hit_rate[:3]
    assert 0.86 == tuning.proposal
    assert 100 == len(tuning.to_label(0.85))
    assert not tuning.to_label(0.86)


def test_it_says_what_to_label() -> None:
    """Where doubt alone stands between a threshold and the budget, the sentence asks for labels, not for more pairs."""
    pairs = (*many(400, 0), *(pair(at, None, 1.0) for at in range(500, 510)))
    assert CacheTuning(pairs).sentence.endswith("Without a label are 10 of the served: label these first.")


async def test_missing_cosines_are_computed_and_the_guard_is_asked_anew() -> None:
    """Each text once, in batches; what was recorded stays, and an old veto does not."""
    seen: list[str] = []
    vectors = {"a": [3.0, 0.0], "b": [1.0, 0.0], "c": [1.0, 1.0], "veto": [0.0, 0.0]}

    async def embed(texts: Sequence[str]) -> np.ndarray:
        seen.extend(texts)
        return np.array([vectors[text] for text in texts], dtype=np.float32)

    given_pairs = [
        Pair(" a ", "b", True), Pair("a", "c", False), Pair("veto", "c", False), Pair("x", "y", True, 0.75, "old: word"),
    ]  # fmt: skip
    tuning = await tune(given_pairs, embed, guard=stops)
    assert pytest.approx([1.0, math.sqrt(0.5), 0.0, 0.75]) == [found.cosine for found in tuning.pairs]
    assert [None, None, "words: said so", None] == [found.veto for found in tuning.pairs]
    assert ["a", "b", "c", "veto"] == sorted(seen)
    assert 1 == tuning.recorded


async def test_a_guard_that_fails_vetoes() -> None:
    """As in the cache: unsure means no."""

    def broken(asked: str, cached: str) -> str | None:
        raise KeyError(asked)

    tuning = await tune([pair(1, True, 1.0)], never, guard=broken)
    assert "the guard failed: KeyError" == tuning.pairs[0].veto
    assert 0 == tuning.at(0.7).served


async def test_repeats_count_once() -> None:
    """The same two texts of one prompt are one pair; what people said beats equal answers, and a no beats a yes."""
    same = {"asked_answer": "Yes.", "cached_answer": "yes."}
    tuning = await tune(
        [
            Pair("a", "b", True, 0.9), Pair("a", "b", False, 0.9), Pair("a ", "b", None, 0.9, **same),
            Pair("a", "b", None, 0.8, prompt="p@1", **same), Pair("c", "d", None, 0.8),
        ],
        never,
    )  # fmt: skip
    assert [False, True, None] == [found.same for found in tuning.pairs]
    assert (2, 1, 1, 3) == (tuning.repeats, tuning.contradictions, tuning.equal_answers, tuning.recorded)
    notes = "\n".join(tuning.notes())
    for said in (
        "Pairs that came with their cosine: 3.", "as their two answers are equal: 1.", "Pairs without a label: 1.",
        "Repeats, which count once with the pair that they repeat: 2.", "count as not the same: 1.", "2 prompts (none, p@1)",
    ):  # fmt: skip
        assert said in notes


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"budget": 1}, "budget = 1 must lie between 0 and 1, such as 0.01 for 1%"),
        ({"budget": 0}, "budget = 0 must"),
        ({"level": 95}, "level = 95 must"),
        ({"thresholds": []}, "thresholds = [] must be cosines above 0 and at most 1"),
        ({"thresholds": [0.9, 90]}, "thresholds = [0.9, 90] must"),
        ({"pairs": []}, "there are no pairs to tune with"),
        ({"pairs": [Pair("a", "b")]}, "none of the 1 pairs is labelled: each needs a field `same`"),
    ],
)
async def test_what_does_not_fit_is_refused(fields: dict[str, object], said: str) -> None:
    """The error names the field and its value."""
    with pytest.raises(InputError) as caught:
        await tune(**({"pairs": [pair(1, True, 0.9)], "embed": never} | fields))  # type: ignore[arg-type]
    assert said in str(caught.value)


async def test_an_embedder_that_answers_nonsense_is_told() -> None:
    """One vector for two texts raises; nothing is guessed."""

    async def one(texts: Sequence[str]) -> np.ndarray:
        return np.zeros((len(texts) + 1, 2), dtype=np.float32)

    with pytest.raises(BadAnswerError, match="Is it an embedding model"):
        await tune([Pair("a", "b", True)], one)


pairs_strategy = st.lists(
    st.tuples(
        st.sampled_from([True, True, True, False, None]), st.floats(0.6, 1.0), st.sampled_from([None, None, "words: x"])
    ),
    min_size=1, max_size=60,
)  # fmt: skip


@given(pairs_strategy, st.sampled_from([0.01, 0.1, 0.3]), st.booleans())
def test_thresholds_behave(rows: list[tuple[bool | None, float, str | None]], budget: float, guarded: bool) -> None:
    """A higher threshold never serves more; the guard never adds; the proposal and all above it keep the budget, the next
    lower one does not."""
    pairs = tuple(pair(at, *row) for at, row in enumerate(rows))
    tuning = CacheTuning(pairs, budget=budget, guarded=guarded)
    points = [tuning.at(threshold) for threshold in THRESHOLDS]
    for lower, higher in pairwise(points):
        assert lower.served >= higher.served
        assert lower.wrong >= higher.wrong
    for threshold in THRESHOLDS:
        assert tuning.at(threshold, guarded=True).served <= tuning.at(threshold, guarded=False).served
    ends = [point.false_hit_rate.high for point in points]
    if tuning.proposal is not None:
        at = THRESHOLDS.index(tuning.proposal)
        assert points[at].served
        assert max(ends[at:]) <= budget
        assert at == 0 or ends[at - 1] > budget
        assert tuning.possible is not None
        assert tuning.possible <= tuning.proposal
    else:
        assert not any(end <= budget and point.served for end, point in zip(ends, points, strict=True))


def test_the_frame_has_every_threshold_twice() -> None:
    """With the guard and without, shares with both ends; a precision that nothing tells is NaN."""
    table = CacheTuning(FIVE).frame()
    assert 2 * len(THRESHOLDS) == len(table)
    row = table[(table["threshold"] == 0.85) & table["guarded"]].iloc[0]
    assert (5, 2, 1, 1, 0) == tuple(row[["asked", "served", "right", "wrong", "unlabelled"]])
    assert pytest.approx([0.4, *wilson(2, 5)[1:3]]) == [*row[["hit_rate", "hit_rate_low", "hit_rate_high"]]]
    last = table[(table["threshold"] == 1.0) & table["guarded"]].iloc[0]
    assert math.isnan(last["precision"])


def test_it_shows_itself_and_escapes() -> None:
    """Text and HTML hold the sentence, the chosen thresholds and the false hits, in which nothing is markup."""
    tuning = CacheTuning((Pair("<script>x</script>", "b", False, 0.9), *many(20, 0)), budget=0.3)
    text, page = str(tuning), tuning._repr_html_()
    assert tuning.sentence in text
    assert "0.70 (proposed)" in text
    assert "0.95 (default)" in text
    assert "Served wrongly at 0.70\n" in text
    assert "<script>" not in page
    assert "&lt;script&gt;x&lt;/script&gt;" in page
    assert "Served wrongly at 1.00: none of these pairs." in tuning.false_hits_html(1.0)


def test_a_long_list_of_false_hits_is_cut() -> None:
    """The table says how many there are."""
    tuning = CacheTuning(many(1, 45), thresholds=(0.75,))
    assert 45 == len(tuning.worst)
    assert "Served wrongly at 0.75, the first 20 of 45" in str(tuning)


def test_the_sample_is_what_its_description_says() -> None:
    """120 pairs, 60 of each kind, none twice."""
    pairs = read_pairs(Path(__file__).resolve().parents[2] / "datasets" / "cache_pairs_sample.jsonl")
    assert (120, 60) == (len({(one.asked, one.cached) for one in pairs}), sum(one.same is True for one in pairs))
    assert not any(one.same is None or one.cosine is not None for one in pairs)


async def test_a_workbench_tunes_with_its_embedder(project: Path, minilm_weights: Path) -> None:
    """On real vectors of the sample: without a guard many traps are served at 0.85, with it far fewer; a path is found below
    the project."""
    async with Workbench(project) as bench:
        assert minilm_weights == bench.settings.weights
        sample = read_pairs(find_pairs(bench.settings))
        tuning = await bench.tune_cache(sample, budget=0.2)
        write_pairs(project / "datasets" / "mine.jsonl", tuning.pairs)
        again = await bench.tune_cache("mine.jsonl", budget=0.2)
    bare = tuning.at(0.85, guarded=False)
    assert bare.wrong >= 20
    assert tuning.at(0.85).wrong <= bare.wrong / 4
    assert tuning.proposal is not None
    assert tuning.sentence == again.sentence
    assert 120 == again.recorded
