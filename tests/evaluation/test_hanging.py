"""How far a decision hangs on single examples, reckoned by the very interval that decides it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from workbench import Rule, Scripted, Workbench, scorers
from workbench.evaluation.power import examples_needed
from workbench.evaluation.verdict import ArmScores, decide
from workbench.records import Request
from workbench.running.progress import silent

Compared = Callable[..., tuple[Any, Any, Any]]


def number(request: Request) -> int:
    return int(request.text().rsplit(" ", 1)[1])


ROWS = [{"expected": "yes", "metadata": {"part": "ab"[at % 2]}} for at in range(300)]


def test_an_early_end_hangs_on_the_interval_of_its_looks(compared: Compared) -> None:
    """A sequential comparison that is clear by a hair after 15 examples: without the strongest one it is not, and the interval
    without it is that of one example fewer, not the narrower one of a fixed number."""
    result, *_ = compared(
        lambda r: "yes" if "Long" in r.text() and number(r) % 3 != 2 else "no", ROWS, margin=0.05, sequential=True
    )
    (contrast,) = result.verdict.contrasts
    assert (result.run.ended, contrast.decision, contrast.method) == ("clear", "better", "sequence")
    found = result.sensitivity().iloc[0]
    assert found["difference"] == contrast.interval.estimate
    fixed = decide(
        [
            ArmScores(label, {"s": result.run.measurements.scores["exact_match"][at][result.run.examples]})
            for at, label in enumerate("ab")
        ],
        primary="s",
        control="a",
        margin=0.05,
    )
    assert fixed.contrasts[0].interval.low > contrast.interval.low + 0.1  # which would have let several examples go
    assert found["changes_at"] == 1
    assert any("hangs on one example: without it, it is undecided" in note for note in result.notes())
    assert "stopped as soon as the whole was clear, so these intervals are too narrow" in result.slice_text("part")


def test_what_people_put_right_hangs_on_people(project: Path, compared: Compared) -> None:
    """The judge finds the variant better and people find it worse: the difference, and what it is without an example, are of the
    corrected kind."""

    def says(request: Request) -> str:
        text = request.text()
        if "You judge an answer" in text:
            return '{"reason": "", "score": 5}' if "at length" in text else '{"reason": "", "score": 4}'
        return f"{'no' if 'Long' in text else 'yes'} {number(request)}" + (" at length" if "Long" in text else "")

    judge = scorers.judge("scripted/judge", rubric="Is it right?", people="Is it right?")
    result, plan, bench = compared(says, ROWS[:60], margin=0.05, primary=judge)
    assert result.verdict.contrasts[0].decision == "better"
    session = bench.ratings.session(result, rater="ana", question="Is it right?", examples=60)
    while (card := session.current) is not None:
        session.vote("pass" if card.answers[0].startswith("yes") else "fail")

    async def again() -> Any:
        async with Workbench(project, runtimes={"scripted": Scripted([Rule(answer=says)])}) as later:
            return await later.compare(plan, progress=silent)

    corrected = asyncio.run(again())
    (contrast,) = corrected.verdict.contrasts
    assert contrast.decision == "worse"
    found = corrected.sensitivity().iloc[0]
    assert found["difference"] == contrast.interval.estimate < -0.9
    assert found["without"] < -0.9
    assert "These are the judge's own scores" in corrected.slice_text("part")


def test_the_examples_that_would_decide_are_those_of_the_end() -> None:
    """A sequential comparison that ends undecided has the level that its looks left, and so needs more."""
    rng = np.random.default_rng(0)
    arms = [ArmScores(label, {"s": (rng.random(200) < 0.6).astype(float)}) for label in "abc"]
    fixed, looked = (
        decide(arms, primary="s", control="a", margin=0.05, planned=planned).contrasts[0] for planned in (None, 200)
    )
    assert "undecided" == fixed.decision == looked.decision
    assert fixed.n_needed == examples_needed(fixed.sd, 0.05, 1 - 0.05 / 2)
    assert looked.n_needed == examples_needed(looked.sd, 0.05, 1 - 0.05 / 4)
    assert looked.n_needed > 1.1 * fixed.n_needed
