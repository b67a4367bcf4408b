"""A judge that favours one variant, and people who put it right: the verdict is made of the corrected difference."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workbench import Guardrail, Rule, Scripted, Workbench, scorers
from workbench.evaluation.arms import ArmScores
from workbench.evaluation.judging.paired import paired_difference
from workbench.evaluation.verdict import decide
from workbench.records import Request
from workbench.running.progress import silent

QUESTION = "Is it right?"


def says(request: Request) -> str:
    """Prompt 2 is long-winded, and right as often as prompt 1, but not on the same questions. The judge takes length for
    merit."""
    text = request.text()
    if "You judge an answer" in text:
        answer = text.split("<answer>\n")[1].split("\n</answer>")[0]
        grade = 5 if "at length" in answer else 4 if answer.startswith("right") else 2
        return json.dumps({"reason": "", "score": grade})
    number = int(text.rsplit(" ", 1)[1])
    long = "Long" in text
    right = number % 2 == 0 if long else number % 4 < 2
    return f"{'right' if right else 'wrong'} {number}" + (" at length" if long else "")


def verdicts(project: Path, rated: list[int]) -> list[Any]:
    """The comparison by the judge, after a person has rated the answers to so many examples."""

    async def go() -> list[Any]:
        async with Workbench(project, runtimes={"scripted": Scripted([Rule(answer=says)])}) as bench:
            bench.prompts.create("tell", "Short: {{question}}")
            bench.prompts.create("tell", "Long: {{question}}")
            data = pd.DataFrame({"question": [f"q {number}" for number in range(200)]})
            judge = scorers.judge("scripted/judge", rubric="Is it right?", people=QUESTION)
            plan = bench.plan(prompts=["tell@1", "tell@2"], models=["scripted/m"], dataset=data, primary=judge)
            assert ["judge", "judge_by_people"] == [scorer.name for scorer in plan.scorers]
            found = [await bench.compare(plan, progress=silent)]
            for examples in rated:
                session = bench.ratings.session(found[0], rater="ana", question=QUESTION, examples=examples)
                while (card := session.current) is not None:
                    session.vote("pass" if card.answers[0].startswith("right") else "fail")
                found.append(await bench.compare(plan, progress=silent))
            return found

    return asyncio.run(go())


def test_people_put_a_biased_judge_right(project: Path) -> None:
    """Alone the judge names a winner; with 49 labels it still does and says what is missing; with 120 there is none, and the
    interval printed is the one that decides. The variants are equally often right."""
    alone, few, many = verdicts(project, [49, 120])
    for result, labels in ((alone, 0), (few, 49)):
        (contrast,) = result.verdict.contrasts
        assert ("better", labels, None) == (contrast.decision, contrast.labels, contrast.judged)
        assert (
            f"uncalibrated judge (scripted/judge): people have rated both answers to {labels} examples"
            in result.verdict.sentence
        )
    (contrast,) = many.verdict.contrasts
    assert contrast.interval is not None
    assert ("ppi", 120, 200) == (contrast.method, contrast.labels, contrast.n)
    assert contrast.decision == "undecided"
    assert contrast.interval.low < 0 < contrast.interval.high
    assert contrast.judged == pytest.approx(0.5)
    sentence = many.verdict.sentence
    assert f"interval {contrast.interval.low:+.2f} to {contrast.interval.high:+.2f}, 200 examples" in sentence
    assert "120 rated by people" in sentence
    assert "corrected by people's ratings of 120 examples (the judge alone says +0.50)" in sentence
    assert many.winner is None
    assert many.summary["judge_by_people"].between(0.4, 0.6).all()
    assert contrast.p_value is not None
    assert contrast.p_value > 0.05


def _arms(labels: int) -> tuple[ArmScores, ArmScores]:
    """300 examples; people see no difference, the judge one of 0.3."""
    draw = np.random.default_rng(11)
    truth = draw.integers(0, 2, (2, 300)).astype(float)
    judged = 0.6 * truth + np.array([[0.0], [0.3]]) + 0.1 * draw.random((2, 300))
    seen = np.where(np.arange(300) < labels, truth, np.nan)
    one, two = (
        ArmScores(name, {"judge": judged[at]}, people={"judge": seen[at]}) for at, name in enumerate(("a", "b"))
    )
    return one, two


def test_a_guardrail_on_a_judges_score_is_corrected_too() -> None:
    """By the same interval: what the judge alone finds broken is not, once people have rated."""
    base, arm = _arms(150)
    arms = [
        ArmScores(one.label, {**one.scores, "hits": np.tile([0.0, 1.0], 150)}, people=one.people) for one in (base, arm)
    ]
    guard = Guardrail("judge", 0.2, higher_is_better=False)
    told = decide(arms, primary="hits", control="a", margin=0.05, guardrails=[guard])
    (check,) = told.contrasts[0].guardrails
    found = paired_difference(base, arm, "judge", level=0.95, seed=0)
    assert found is not None
    assert (found.interval, "held") == (check.interval, check.state)
    bare = [ArmScores(one.label, one.scores) for one in arms]
    (alone,) = decide(bare, primary="hits", control="a", margin=0.05, guardrails=[guard]).contrasts[0].guardrails
    assert alone.state == "broken"


def test_several_variants_are_corrected_at_the_level_of_each() -> None:
    """Simultaneous like all intervals: wider with two contrasts than with one."""
    base, arm = _arms(100)
    third = ArmScores("c", arm.scores, people=arm.people)
    one = decide([base, arm], primary="judge", control="a", margin=0.05).contrasts[0].interval
    two = decide([base, arm, third], primary="judge", control="a", margin=0.05).contrasts[0].interval
    assert one is not None
    assert two is not None
    assert (0.95, 0.975) == (one.level, two.level)
    assert two.high - two.low > one.high - one.low


def test_no_label_in_common_corrects_nothing() -> None:
    """People who rated the one variant here and the other there have labelled no difference."""
    base, arm = _arms(300)
    first = np.arange(300) < 150
    split = [
        ArmScores(one.label, one.scores, people={"judge": np.where(mask, one.people["judge"], np.nan)})
        for one, mask in ((base, first), (arm, ~first))
    ]
    found = paired_difference(split[0], split[1], "judge", level=0.95, seed=0)
    assert found is not None
    assert (0, None) == (found.labels, found.judged)
