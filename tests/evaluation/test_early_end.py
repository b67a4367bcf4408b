"""Plans that know what came before, and runs that end early by their own plan: on whole examples, against a double."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from workbench import Budget, Workbench, errors, pricing
from workbench.calls import read_rows
from workbench.evaluation.runner import run_plan
from workbench.evaluation.statistics import examples_needed
from workbench.running.progress import silent

if TYPE_CHECKING:
    from conftest import OpenAIDouble

GOOD = "Is this message positive or negative?\n{{message}}"
BAD = "Be wrong about this message:\n{{message}}"
CALL = 0.01


def plan_of(bench: Workbench, **options: Any) -> Any:
    """The plan that most tests run."""
    return bench.plan(**({"prompts": ["tone@1", "tone@2"], "models": ["openai/m"], "dataset": "reviews"} | options))


def run(bench: Workbench, plan: Any) -> Any:
    """Compare and close, in a loop of its own."""

    async def go() -> Any:
        async with bench:
            return await bench.compare(plan, progress=silent)

    return asyncio.run(go())


def rows_of(project: Path) -> list[dict[str, Any]]:
    """All answers of all runs, without warm-ups."""
    found = [row for path in project.glob(".workbench/runs/*/*/rows-*.jsonl") for row in read_rows(path)]
    return [row for row in found if not row["warmup"] and row["error"] is None]


@pytest.fixture
def bench(project: Path, openai_double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    """A workbench with a good and a bad prompt, whose every call costs a cent."""
    monkeypatch.setenv("OPENAI_BASE_URL", openai_double.url)
    monkeypatch.setattr(pricing, "call_cost", lambda endpoint, model, usage, prices=None: CALL)
    bench = Workbench(project)
    bench.prompts.create("tone", BAD)
    bench.prompts.create("tone", GOOD)
    return bench


def whole_examples(project: Path, answers: int) -> int:
    """How many examples were asked; each of them must have all its answers."""
    counts = Counter(row["example_id"] for row in rows_of(project))
    assert set(counts.values()) <= {answers}
    return len(counts)


# -- budget -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0.06, 0.31, 0.5])
def test_a_budget_is_never_exceeded_and_leaves_whole_pairs(
    bench: Workbench, openai_double: OpenAIDouble, limit: float
) -> None:
    """What was spent, warm-ups too, is below the budget by less than a pair; the verdict is about these pairs."""
    result = run(bench, plan_of(bench, budget=limit, params={"max_tokens": 5}))
    assert limit - 2 * CALL < result.run.spent <= limit + 1e-9
    count = whole_examples(bench.settings.project, 2)
    assert count == result.verdict.contrasts[0].n == (openai_double.calls - 2) / 2
    assert result.run.ended == "budget"
    assert f"ended by its budget of ${limit:.2f} after {count} of 40 examples" in result.verdict.sentence
    assert not result.complete


def test_a_run_that_ended_by_its_budget_goes_on_with_another(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """Without a budget only what is missing is asked, and the winner stands."""
    first = run(bench, plan_of(bench, budget=0.5))
    assert first.verdict.winner == "tone@2 · openai/m"
    before = openai_double.calls
    second = run(bench, plan_of(bench))
    assert second.complete
    assert openai_double.calls - before == 80 - first.run.measurements.done + 2


def test_a_budget_counts_all_models_of_an_example(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """Two models and two repeats: every example that was begun has its eight answers."""
    openai_double.models = ["m", "n"]
    options = {"models": ["openai/m", "openai/n"], "repeats": 2, "params": {"max_tokens": 5}}
    result = run(bench, plan_of(bench, budget=1.0, **options))
    assert result.run.spent <= 1.0 + 1e-9
    assert whole_examples(bench.settings.project, 8) == 12
    assert [contrast.n for contrast in result.verdict.contrasts] == [12, 12, 12]


def test_without_max_tokens_a_reserve_is_kept(bench: Workbench) -> None:
    """Nothing bounds the next answer, so that a pair is begun only if it may cost twice the dearest so far."""
    result = run(bench, plan_of(bench, budget=0.5))
    assert 0.5 - 4 * CALL <= result.run.spent <= 0.5 - 2 * CALL + 1e-9


def test_a_budget_too_small_for_one_pair_is_no_verdict(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """Nothing is sent, and a sentence says why."""
    result = run(bench, plan_of(bench, budget=0.02))
    assert openai_double.calls == 0
    assert "no verdict" in result.verdict.sentence
    assert "nan" not in str(result).lower()


def test_a_budget_in_minutes_ends_the_run_in_time(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """By a clock on which each call takes a second: half a minute is never passed, and pairs are whole."""
    plan = plan_of(bench, budget=Budget(minutes=0.5), concurrency=2)

    async def go() -> Any:
        async with bench:
            return await run_plan(plan, bench.client, progress=silent, clock=lambda: float(openai_double.calls))

    found = asyncio.run(go())
    assert found.ended == "budget"
    assert 16 <= openai_double.calls <= 30
    assert whole_examples(bench.settings.project, 2) == (openai_double.calls - 2) / 2


def test_a_budget_ends_when_a_cost_is_unknown(
    bench: Workbench, openai_double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A price that goes missing on the way: what is left cannot be told, so that no other round is begun."""
    monkeypatch.setattr(
        pricing, "call_cost", lambda endpoint, model, usage, prices=None: CALL if openai_double.calls < 10 else None
    )
    result = run(bench, plan_of(bench, budget=0.7, params={"max_tokens": 5}))
    assert result.run.ended == "budget"
    assert whole_examples(bench.settings.project, 2) == 10
    assert "the cost of an answer is unknown" in result.verdict.sentence


def test_a_budget_in_dollars_needs_a_price(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be kept is refused before anything is sent."""
    monkeypatch.setattr(pricing, "call_cost", lambda endpoint, model, usage, prices=None: None)
    with pytest.raises(errors.InputError, match="there is no price for openai/m"):
        plan_of(bench, budget=1.0)
    with pytest.raises(errors.InputError, match=r"usd = -1"):
        plan_of(bench, budget=-1)


# -- sequential -------------------------------------------------------------------------------------------------------


def test_a_sequential_run_stops_when_the_answer_is_clear(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """Always right against always wrong needs few examples; the verdict says what was saved; nothing is asked again."""
    result = run(bench, plan_of(bench, sequential=True))
    contrast = result.verdict.contrasts[0]
    assert (contrast.decision, contrast.method, contrast.p_value) == ("better", "sequence", None)
    assert result.verdict.winner == "tone@2 · openai/m"
    assert contrast.n == whole_examples(bench.settings.project, 2) < 40
    saved = 80 - 2 * contrast.n
    assert (
        f"clear after {contrast.n} of 40 examples: {saved} calls, about ${saved * CALL:.2f}" in result.verdict.sentence
    )
    before = openai_double.calls
    again = run(bench, plan_of(bench, sequential=True))
    assert openai_double.calls == before
    assert again.verdict.contrasts == result.verdict.contrasts


def test_a_sequential_run_without_an_answer_goes_to_its_end(bench: Workbench) -> None:
    """Two prompts that are alike are asked everything, and the last interval allows for the looks before it."""
    bench.prompts.create("tone", GOOD + "\nOne word.")
    fixed = run(bench, plan_of(bench, prompts=["tone@2", "tone@3"]))
    result = run(bench, plan_of(bench, prompts=["tone@2", "tone@3"], sequential=True))
    assert result.complete
    mine, plain = result.verdict.contrasts[0].interval, fixed.verdict.contrasts[0].interval
    assert mine.high - mine.low > plain.high - plain.low
    assert mine.level == plain.level


# -- what came before -------------------------------------------------------------------------------------------------


def test_a_plan_takes_the_spread_of_the_last_comparison(bench: Workbench) -> None:
    """Before the first it assumes one and says so; then it is that of the same score on the same data."""
    half = bench.prompts.create("tone", "{{message}}\nBe wrong if it is long.")
    assert half.version == 3
    assert "if 20% of the examples are judged differently" in str(plan_of(bench))
    result = run(bench, plan_of(bench, limit=30))
    sd = result.verdict.contrasts[0].sd
    spread = plan_of(bench, limit=30).spread
    assert spread is None if not sd else spread.sd == pytest.approx(sd)
    mixed = run(bench, plan_of(bench, primary=lambda text, example: float(len(example.id) % 2 == (text == "positive"))))
    plan = plan_of(bench, primary=mixed.run.plan.primary)
    assert plan.spread.sd == pytest.approx(mixed.verdict.contrasts[0].sd)
    assert plan.needed == examples_needed(plan.spread.sd, 0.05)
    assert f"by the spread of 40 examples in run {mixed.run.folder.run_id}" in str(plan)
    piloted = plan_of(bench, primary=mixed.run.plan.primary, pilot=mixed)
    assert "in the pilot" in str(piloted)
    with pytest.raises(errors.InputError, match="the pilot was decided by"):
        plan_of(bench, pilot=mixed)


def test_a_plan_says_money_and_minutes_as_low_expected_and_high(bench: Workbench) -> None:
    """After some calls the expected time comes from them, between that of the quicker and of the slower quarter."""
    run(bench, plan_of(bench, limit=10))
    plan = plan_of(bench)
    low, high = plan.estimate.minutes_range
    assert low <= plan.estimate.minutes <= high
    assert plan.estimate.usd_expected == pytest.approx(0.8)
    assert "from earlier calls" in str(plan)


def test_a_data_set_that_decided_often_asks_for_a_holdout(bench: Workbench) -> None:
    """The sixth comparison on the same examples is told so, in the plan and in the result; another sample is not."""
    for number in range(5):
        assert "already decided" not in str(plan_of(bench))
        run(bench, plan_of(bench, seed=number))
        run(bench, plan_of(bench, seed=number))
    plan = plan_of(bench, seed=9)
    assert "reviews has already decided 5 comparisons" in str(plan)
    assert any("reviews has already decided 5 comparisons" in note for note in run(bench, plan).notes())
    assert "already decided" not in str(plan_of(bench, limit=20))
    assert np.isfinite(plan.smallest_difference)
