"""The judges' table beside the variants': agreement with people, flips, self-agreement, cost, and what could not be scored."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.inter_rater import cohens_kappa

from workbench import Rule, Scripted, Workbench, pricing, scorers
from workbench.records import Request
from workbench.running.progress import silent

QUESTION = "Is it right?"


def says(request: Request) -> str:
    """A judge that takes every third wrong answer for right, prefers the first of a pair for even numbers, and cannot grade
    number 7; number 6 it grades once so and once so."""
    text = request.text()
    if "You judge" not in text:
        number = int(text.rsplit(" ", 1)[1])
        return f"{'right' if number % 2 else 'wrong'} {number}" + (" at length" if "Long" in text else "")
    shown = text.split("<answer>\n" if "<answer>\n" in text else "<answer_a>\n")[1].split("\n</")[0]
    number = int(shown.split()[1]) if len(shown.split()) > 1 else int(shown)
    if "which of two" in text:
        return json.dumps({"reason": "", "winner": "A" if number % 2 == 0 or "right" in shown else "B"})
    if number == 7:
        return "hm"
    steady = request.params.seed != 1 or number != 6
    return json.dumps({"reason": "", "score": 5 if "right" in shown or (number % 3 == 0 and steady) else 1})


def compared(project: Path, *, raters: tuple[str, ...], scorers_: Any, limit: int = 30) -> Any:
    """A comparison by judges, after these people have rated everything."""

    async def go() -> Any:
        async with Workbench(project, runtimes={"scripted": Scripted([Rule(answer=says)])}) as bench:
            for how in ("Short", "Long"):
                bench.prompts.create("tell", f"{how}: {{{{question}}}}")
            data = pd.DataFrame(
                {"question": [f"q {n}" for n in range(limit)], "expected": [str(n) for n in range(limit)]}
            )
            primary, *others = scorers_
            plan = bench.plan(
                prompts=["tell@1", "tell@2"], models=["scripted/m"], dataset=data, primary=primary, scorers=others
            )
            found = await bench.compare(plan, progress=silent)
            for rater in raters:
                session = bench.ratings.session(found, rater=rater, question=QUESTION, examples=limit)
                while (card := session.current) is not None:
                    lenient = rater == "ben" and card.answers[0].split()[1] == "4"
                    session.vote("pass" if card.answers[0].startswith("right") or lenient else "fail")
            return await bench.compare(plan, progress=silent)

    return asyncio.run(go())


@pytest.fixture(autouse=True)
def _prices(monkeypatch: pytest.MonkeyPatch) -> None:
    cost = {"judge": 0.02, "m": 0.01}
    monkeypatch.setattr(pricing, "call_cost", lambda endpoint, model, usage, prices=None: cost[model])


JUDGE = scorers.judge("scripted/judge", rubric="Is it right?", people=QUESTION)


def test_agreement_with_one_rater_is_cohens_kappa(project: Path) -> None:
    """Statsmodels' value, with an interval around it; what the judge could not grade is left out and counted."""
    result = compared(project, raters=("ana",), scorers_=[JUDGE])
    (row,) = result.judges.to_dict("records")
    graded = [n for n in range(30) if n != 7]
    pairs = np.zeros((2, 2))
    for n in graded * 2:
        pairs[int(n % 2 or n % 3 == 0), n % 2] += 1
    assert ("Cohen's kappa", 1, 58) == (row["statistic"], row["raters"], row["rated"])
    assert row["agreement"] == pytest.approx(cohens_kappa(pairs).kappa)
    assert 0.3 < row["agreement_low"] < row["agreement"] < row["agreement_high"] < 1
    assert (58, 2, 2) == (row["scored"], row["unscored"], row["unparsed"])
    assert (64, 0.0) == (row["calls"], row["spent"])
    assert row["cost"] == pytest.approx(1.28)
    assert list(result.summary["cost_per_call"]) == pytest.approx([0.01, 0.01])


def test_agreement_with_several_is_krippendorffs_alpha(project: Path) -> None:
    """Of the judge and all raters; the table is wherever the other one is."""
    result = compared(project, raters=("ana", "ben"), scorers_=[JUDGE])
    (row,) = result.judges.to_dict("records")
    assert ("Krippendorff's alpha", 2, 58) == (row["statistic"], row["raters"], row["rated"])
    assert 0.3 < row["agreement_low"] < row["agreement"] < row["agreement_high"] < 1
    shown = f"Krippendorff's alpha {row['agreement']:.2f}"
    for text in (str(result), result._repr_html_().replace("&#x27;", "'"), result.gate(["judge > 0.1"]).markdown()):
        assert "scripted/judge" in text
        assert shown in text
    assert result.to_mapping()["judges"][0]["agreement"] == row["agreement"]
    facts = dict(result.provenance().itertuples(index=False))
    prompt = result.run.plan.primary.function.prompts[0]
    assert facts["judge of judge"] == f"scripted/judge by the prompt judge-rubric@0, digest {prompt.digest[:16]}"


def test_flips_and_self_agreement(project: Path) -> None:
    """Of pairs and of repeated grades, each only where there are any. Without ratings the table says so."""
    twice = scorers.judge("scripted/judge", rubric="Is it right?", votes=2).named("twice")
    result = compared(project, raters=(), scorers_=[twice, scorers.judge_pairwise("scripted/judge")], limit=10)
    table = result.judge_table().set_index("score")
    assert "89% of 18" == table["with itself"]["twice"]
    assert "asked once" == table["with itself"]["judge_pairwise"]
    assert ["not rated", "not rated"] == list(table["agrees with people"])
    flips = result.judges.set_index("scorer")
    assert 20 == flips["pairs"]["judge_pairwise"]
    assert 0 < flips["flip_rate"]["judge_pairwise"] < 1
    assert table["flips"]["twice"] == "no pairs"


def test_without_a_judge_there_is_no_table(project: Path) -> None:
    """Nothing is added to what others see."""
    result = compared(project, raters=(), scorers_=[scorers.as_scorer("contains")], limit=4)
    assert 0 == len(result.judges)
    assert "The judges" not in str(result) + result._repr_html_()
