"""Logged calls are scored later, with the context that they had, each once, within a budget; guardrails see it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from workbench import Workbench
from workbench.errors import InputError, RunError, SettingsError
from workbench.frames.quality import clustered_interval
from workbench.online.picture import read_study
from workbench.quality.candidates import since_when
from workbench.records import Example, Score


def has_context(text: str, example: Example) -> Score:
    """1 where the call rested on something."""
    return Score(float(bool(example.context)), str(example.context or ""))


def asked(text: str, example: Example) -> Score:
    """Tells the question."""
    return Score(0.5, example.inputs["question"])


def sometimes(text: str, example: Example) -> float:
    """A scorer that fails."""
    raise ConnectionError("judge away")


@pytest.fixture
async def helped(bench: Workbench, feature: str) -> str:
    """A feature that was called six times by three users: with a context among the inputs, with a retrieval, with none."""
    bench.prompts.create("helpdesk", "{{question}}")
    bench.releases.create(feature, bench.variants(["helpdesk@1"])[0], reason="test")
    for number in range(6):
        with bench.span("answer", user=f"u{number % 3}"):
            if number % 3 == 1:
                with bench.span("search", kind="retrieval") as found:
                    found.set(input="what is it?", documents=["page one", "page two"])
            context = {"context": "given context"} if number % 3 == 0 else {}
            await bench.call(feature, question=f"question {number}", user=f"u{number % 3}", **context)
    await bench.ask("another call")
    return feature


async def test_calls_are_scored_once_with_their_context(bench: Workbench, helped: str) -> None:
    """The input's, else what was retrieved in the trace, else none; the second run has nothing left, another scorer has all."""
    plan = bench.quality.plan(helped, has_context, since="1h")
    assert "6 answers" in str(plan)
    assert 6 == plan.n
    found = await bench.quality.score(plan)
    assert (6, 0, 0, None) == (len(found.scores), found.failed, found.spent, found.stopped)
    texts = [score.explanation for score in found.scores]
    assert [2, 2, 2] == [texts.count(text) for text in ("given context", "page one\n\npage two", "")]
    assert 4 / 6 == found.mean
    again = bench.quality.plan(helped, has_context, since="1h")
    assert 0 == again.n
    assert "6 scored by has_context before" in str(again)
    assert () == (await bench.quality.score(again)).scores
    questions = await bench.quality.score(bench.quality.plan(helped, asked, since="1h"))
    assert {"what is it?", "question 0"} <= {score.explanation for score in questions.scores}
    joined = bench.calls.sql(
        "select count(*) as n from scores join calls using (call_id) where calls.user = scores.user"
    )
    assert 12 == joined["n"][0]


async def test_a_sample_is_random_seeded_and_grows(bench: Workbench, helped: str) -> None:
    """The same seed draws the same calls; the next run draws among those that are left."""
    first = bench.quality.plan(helped, has_context, sample=2)
    assert [row["call_id"] for row in first.candidates.rows] == [
        row["call_id"] for row in bench.quality.plan(helped, has_context, sample=2).candidates.rows
    ]
    orders = {
        tuple(r["call_id"] for r in bench.quality.plan(helped, asked, sample=2, seed=s).candidates.rows)
        for s in range(9)
    }
    assert len(orders) > 2
    done = await bench.quality.score(first)
    more = await bench.quality.score(bench.quality.plan(helped, has_context, sample=10))
    ids = [score.call_id for score in (*done.scores, *more.scores)]
    assert 6 == len(ids) == len(set(ids))


async def test_a_budget_holds_and_the_rest_is_scored_another_time(bench: Workbench, helped: str) -> None:
    """The scripted judge's answer has ten tokens, a cent; three cents allow three. What it cost is known the next time."""
    scorer = {"name": "judge", "model": "bot/m", "rubric": "Second thoughts"}
    plan = bench.quality.plan(helped, scorer, budget=0.1)
    assert "not known" in str(plan)
    found = await bench.quality.score(plan)
    assert found.spent is not None
    assert 0 < found.spent <= 0.1
    assert found.stopped is not None
    assert "allows no other" in found.stopped
    left = bench.quality.plan(helped, scorer, budget=0.1)
    assert 0 < left.n < 6
    assert left.usd_each == pytest.approx(found.spent / len(found.scores))
    assert {"judge"} == set(bench.calls.sql("select role from calls where role is not null")["role"])


async def test_what_fails_is_no_score_and_is_tried_again(bench: Workbench, helped: str) -> None:
    """A scorer that raises leaves the call to the next run."""
    found = await bench.quality.score(bench.quality.plan(helped, sometimes))
    assert (0, 6) == (len(found.scores), found.failed)
    assert "most often: scorer raised ConnectionError: judge away" in str(found)
    assert 6 == bench.quality.plan(helped, sometimes).n


async def test_scores_are_outcomes_of_the_arm(bench: Workbench, feature: str) -> None:
    """An experiment's analysis has the score as a metric, by user."""
    for number in (1, 2):
        bench.releases.create(feature, bench.variants([f"triage@{number}"])[0], reason="test", live=number == 1)
    bench.experiments.start(feature, treatment=2, share=0.5, reason="test", guardrails=[])
    for number in range(30):
        await bench.call(feature, message="hi", language="en", user=f"u{number}")

    def right(text: str, example: Example) -> float:
        return float(text == "from two")

    await bench.quality.score(bench.quality.plan(feature, right))
    await asyncio.to_thread(bench.app.counters.flush)
    frame = bench.quality.frame(by=["arm"], every=None)
    means = dict(zip(frame["arm"], frame["mean"], strict=True))
    assert {"control": 0.0, "treatment": 1.0} == means
    study = read_study(bench.experiments._kv, feature, bench.calls.frame()["experiment"][0])
    arms = bench.calls.frame()["arm"].value_counts().to_dict()
    assert {arm: (float(count if arm == "treatment" else 0), count) for arm, count in arms.items()} == {
        arm: (float(found.s), int(found.n)) for (arm, metric), found in study.moments.items() if metric == "right"
    }


async def test_the_frame_has_intervals_clustered_by_user(bench: Workbench, helped: str) -> None:
    """Two scores of one user are one user's opinion: the interval is that of three users, whatever they asked."""
    await bench.quality.score(bench.quality.plan(helped, has_context))
    (row,) = bench.quality.frame(feature=helped, every=None).to_dict("records")
    assert (6, 0, 3) == (row["n"], row["unscored"], row["users"])
    assert row["mean"] == pytest.approx(4 / 6)
    assert (row["low"], row["high"]) == pytest.approx(
        clustered_interval(4 / 6, 6, 3, sum((2 * v - 2 * 4 / 6) ** 2 for v in (1, 1, 0)), binary=True)
    )
    assert row["low"] < 0.1  # of six independent calls it would be 0.30
    assert 0 == len(bench.quality.frame(scorer="other"))
    with pytest.raises(InputError, match="They may be by: scorer, feature"):
        bench.quality.frame(by=["moon"])


async def test_the_same_from_a_shell(bench: Workbench, helped: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`workbench score` prints the plan before anything, and exits 0 when all were scored."""
    from workbench.cli.score import score

    Path("my_checks.py").write_text("def short(text, example):\n    return len(text) < 20\n")

    def run(**options: Any) -> int:
        return score(feature=helped, scorer=["my_checks:short"], since="1d", **options)

    code = await asyncio.to_thread(run, plan_only=True)
    assert 0 == code
    assert "6 would be scored now" in capsys.readouterr().out
    assert 0 == await asyncio.to_thread(run, sample=4)
    assert "4 scored" in capsys.readouterr().out
    assert 0 == await asyncio.to_thread(run, json_output=True)
    assert '"scored": 2' in capsys.readouterr().out


async def test_what_cannot_be_is_told(bench: Workbench, helped: str) -> None:
    """A feature that nobody called, a scorer that needs what a call has not, a time that is none, a second process."""
    with pytest.raises(SettingsError, match="no endpoint 'scriptde'"):
        bench.quality.plan(helped, judge="scriptde/judge")
    with pytest.raises(InputError, match=f"Features in the log: {helped}"):
        bench.quality.plan("other", has_context)
    with pytest.raises(InputError, match="needs an expected answer"):
        bench.quality.plan(helped, "exact_match")
    with pytest.raises(InputError, match="is no time"):
        bench.quality.plan(helped, has_context, since="yesterday")
    assert "have no context" in str(bench.quality.plan(helped, "faithfulness"))
    plan = bench.quality.plan(helped, has_context)
    with FileLock(str(bench.calls.folder / ".scoring")), pytest.raises(RunError, match="no call is scored twice"):
        await bench.quality.score(plan)
    assert [100.0 - 90.0, 100.0 - 86400] == [since_when("1.5m", 100.0), since_when("1d", 100.0)]
