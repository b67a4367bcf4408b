"""What judges cost: in the plan before, in the budget while it runs, and never twice. The tests' cache is off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from workbench import Rule, Scripted, Workbench, errors, pricing, scorers
from workbench.evaluation.judging.reports import use_of
from workbench.records import Request
from workbench.running.progress import silent

CALL, JUDGED = 0.01, 0.02
GRADE = json.dumps({"reason": "r", "score": 4})


class Bench:
    """A project with two prompts, 30 questions, and a runtime that counts what the judge and the variants are asked."""

    def __init__(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.project, self.judged, self.asked = project, 0, 0
        self.says: Callable[[str], str] = lambda text: GRADE
        monkeypatch.setattr(
            pricing, "call_cost", lambda endpoint, model, usage, prices=None: JUDGED if model == "judge" else CALL
        )
        self._do(lambda bench: [bench.prompts.create("tell", f"{how}: {{{{question}}}}") for how in ("Short", "Long")])

    def _answer(self, request: Request) -> str:
        text = request.text()
        if request.model == "scripted/judge":
            self.judged += 1
            return self.says(text)
        self.asked += 1
        return "answer to " + text

    def _do(self, work: Callable[[Workbench], Any]) -> Any:
        async def go() -> Any:
            async with Workbench(self.project, runtimes={"scripted": Scripted([Rule(answer=self._answer)])}) as bench:
                found = work(bench)
                return await found if asyncio.iscoroutine(found) else found

        return asyncio.run(go())

    def plan_of(self, bench: Workbench, **options: Any) -> Any:
        data = pd.DataFrame({"question": [f"q {number}" for number in range(30)]})
        judge = scorers.judge("scripted/judge", rubric="Is it right?", params={"max_tokens": 50})
        given = {"prompts": ["tell@1", "tell@2"], "models": ["scripted/m"], "params": {"max_tokens": 5}}
        return bench.plan(**({"dataset": data, "primary": judge} | given | options))

    def plan(self, **options: Any) -> Any:
        """A plan that is not run."""
        return self._do(lambda bench: self.plan_of(bench, **options))

    def run(self, *, fresh: bool = False, then: Callable[[Any], Any] = lambda plan: plan, **options: Any) -> Any:
        """A comparison in a process' worth of its own; `judged` and `asked` count from 0."""
        self.judged = self.asked = 0
        return self._do(lambda bench: bench.compare(then(self.plan_of(bench, **options)), fresh=fresh, progress=silent))


@pytest.fixture
def bench(project: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """See `Bench`."""
    return Bench(project, monkeypatch)


def test_a_plan_has_the_judges_calls_apart_and_in_its_sums(bench: Bench) -> None:
    """60 answers, each judged once, at most three times; money is that of both."""
    plan = bench.plan()
    (one,) = plan.estimate.judges
    assert ((60, 60, 180), 60) == (one.calls, plan.estimate.calls)
    assert plan.estimate.usd == pytest.approx((60 * (CALL + JUDGED), 60 * CALL + 180 * JUDGED))
    assert plan.estimate.usd_expected == pytest.approx(60 * (CALL + JUDGED))
    lines = dict(plan.lines())
    assert lines["calls"] == "60, and 2 to warm up"
    assert lines["judging"].startswith("60 calls more of scripted/judge for judge (judge-rubric@0), at most 180")
    assert "of it for judging $1.20, from $1.20 to $3.60" in lines["cost"]


def test_the_estimate_holds_what_was_asked(bench: Bench) -> None:
    """Calls and money of a run lie between its low and its high."""
    bench.says = lambda text: json.dumps({"reason": "", "winner": "A"})
    result = bench.run(primary=scorers.judge_pairwise("scripted/judge"), dataset=_with_expected())
    estimate = result.run.plan.estimate
    use = use_of(result.run.plan.primary)
    assert use is not None
    (one,) = estimate.judges
    assert one.calls[0] <= use.calls == bench.judged == 120 <= one.calls[2]
    assert estimate.usd[0] <= result.run.spent <= estimate.usd[1] + 2 * CALL  # two to warm up


def _with_expected() -> pd.DataFrame:
    return pd.DataFrame({"question": [f"q {n}" for n in range(30)], "expected": [str(n) for n in range(30)]})


@pytest.mark.parametrize("limit", [0.2, 0.61])
@pytest.mark.parametrize("says", [GRADE, "no JSON"])
def test_a_budget_holds_with_the_judges_calls(bench: Bench, limit: float, says: str) -> None:
    """Whatever the judge says: calls, warm-ups, judgements and their retries stay below the budget, and pairs are whole."""
    bench.says = lambda text: says
    result = bench.run(budget=limit)
    money = CALL * bench.asked + JUDGED * bench.judged
    assert result.run.spent == pytest.approx(money)
    assert limit - 2 * (CALL + 3 * JUDGED) < money <= limit + 1e-9
    pairs = (bench.asked - 2) // 2
    assert bench.asked == 2 + 2 * pairs
    assert f"ended by its budget of ${limit:.2f} after {pairs} of 30 examples" in result.verdict.sentence


def test_judging_answers_of_before_counts_in_the_budget_too(bench: Bench) -> None:
    """Answers are there, the judge is new: it judges whole pairs as far as the money goes, the rest waits, and later runs pay
    only for that."""
    bench.run(primary=lambda text, example: 1.0)
    assert (62, 0) == (bench.asked, bench.judged)
    first = bench.run(budget=0.5)
    assert 0 == bench.asked
    assert JUDGED * bench.judged == pytest.approx(first.run.spent)
    assert 0.2 < first.run.spent <= 0.5
    assert first.verdict.contrasts[0].n == bench.judged / 2 == first.run.measurements.done / 2
    paid = bench.judged
    second = bench.run()
    assert (0, 60 - paid) == (bench.asked, bench.judged)
    assert second.complete


def test_a_judge_without_a_price_has_no_budget(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could not be kept: refused before anything is sent, by the judge's name."""
    monkeypatch.setattr(
        pricing, "call_cost", lambda endpoint, model, usage, prices=None: None if model == "judge" else CALL
    )
    with pytest.raises(errors.InputError, match="there is no price for scripted/judge"):
        bench.plan(budget=1.0)
    assert "unknown (no price for scripted/judge)" in str(bench.plan())


def test_a_replay_pays_no_judge_again(bench: Bench) -> None:
    """The scores, and what is said of the judge, are those of before; under another name too."""
    first = bench.run()
    assert (62, 60) == (bench.asked, bench.judged)
    again = bench.run()
    assert (0, 0, 0.0) == (bench.asked, bench.judged, again.run.spent)
    assert list(first.summary["judge"]) == list(again.summary["judge"]) == [0.75, 0.75]
    use = use_of(again.run.plan.primary)
    assert use is not None
    assert (60, 60, 60, pytest.approx(60 * JUDGED), 0.0) == (use.judgements, use.reused, use.calls, use.cost, use.spent)
    renamed = bench.run(then=lambda plan: plan.decided_by(plan.primary.named("tone")))
    assert (0, [0.75, 0.75]) == (bench.judged, list(renamed.summary["tone"]))


def test_what_is_another_judgement_is_asked(bench: Bench) -> None:
    """Another rubric, a fresh run, and what failed; not what could not be read: it was paid for."""
    bench.says = lambda text: "no JSON" if "Long: q 3\n" in text else GRADE
    bench.run()
    assert bench.judged == 59 + 3
    assert bench.run().summary["unscored"].tolist() == [0, 1]
    assert bench.judged == 0
    bench.run(primary=scorers.judge("scripted/judge", rubric="Is it kind?"))
    assert bench.judged == 59 + 3
    bench.run(fresh=True)
    assert bench.judged == 59 + 3


def test_a_torn_judgement_is_asked_again(bench: Bench) -> None:
    """A process killed in the middle of a line loses that one."""
    bench.run()
    (path,) = bench.project.glob(".workbench/runs/*/*/judgements-*.jsonl")
    path.write_bytes(path.read_bytes()[:-5])
    bench.run()
    assert bench.judged == 1
