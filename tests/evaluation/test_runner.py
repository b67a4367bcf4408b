"""The runner, against a double of an OpenAI-compatible server and real processes that are really killed."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from workbench import Workbench, errors, scorers
from workbench.calls import read_rows
from workbench.records import Example
from workbench.running.progress import Progress, silent

if TYPE_CHECKING:
    from conftest import OpenAIDouble

GOOD = "Is this message positive or negative?\n{{message}}"
BAD = "Be wrong about this message:\n{{message}}"


@pytest.fixture
def bench(project: Path, openai_double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    """A workbench with a good and a bad prompt, whose openai endpoint is the double."""
    monkeypatch.setenv("OPENAI_BASE_URL", openai_double.url)
    bench = Workbench(project)
    bench.prompts.create("tone", BAD)
    bench.prompts.create("tone", GOOD)
    return bench


def plan_of(bench: Workbench, **options: Any) -> Any:
    """The plan that most tests run."""
    return bench.plan(**({"prompts": ["tone@1", "tone@2"], "models": ["openai/m"], "dataset": "reviews"} | options))


def run(bench: Workbench, plan: Any, **options: Any) -> Any:
    """Compare and close, in a loop of its own."""

    async def go() -> Any:
        async with bench:
            return await bench.compare(plan, progress=silent, **options)

    return asyncio.run(go())


def rows_of(project: Path, *, warmups: bool = False) -> list[dict[str, Any]]:
    """All answers of all runs."""
    found = [row for path in project.glob(".workbench/runs/*/*/rows-*.jsonl") for row in read_rows(path)]
    return [row for row in found if (warmups or not row["warmup"]) and row["error"] is None]


def test_better_prompt_wins_against_the_double(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """A prompt that is always right beats one that is always wrong; each example is asked once of each."""
    result = run(bench, plan_of(bench))
    assert result.verdict.contrasts[0].decision == "better"
    assert result.winner is not None
    assert result.winner.prompt.ref == "tone@2"
    assert result.summary["exact_match"].tolist() == [0.0, 1.0]
    assert openai_double.calls == 80 + 2  # two warm-ups
    assert len(result.rows()) == 80


def test_same_plan_again_reuses_every_row(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """The second time nothing is sent, the verdict is the same, and the table says that all was replayed."""
    first = run(bench, plan_of(bench))
    before = openai_double.calls
    second = run(bench, plan_of(bench))
    assert openai_double.calls == before
    assert second.verdict == first.verdict
    assert second.summary["replayed"].tolist() == [40, 40]
    assert second.summary["latency_p50"].tolist() == first.summary["latency_p50"].tolist()
    assert any("reused" in note for note in second.notes())
    third = run(bench, plan_of(bench), fresh=True)
    assert openai_double.calls == 2 * before
    assert third.verdict.winner == first.verdict.winner


def test_examples_are_shuffled_and_prompts_interleaved(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """With one call at a time, both prompts answer an example before the next comes; the order is the seed's."""

    def order(seed: int) -> list[str]:
        openai_double.bodies.clear()
        run(bench, plan_of(bench, concurrency=1, seed=seed), fresh=True)
        texts = [str(body["messages"]).split("(order ")[1].split(")")[0] for body in openai_double.bodies[2:]]  # type: ignore[index]
        assert texts[0::2] == texts[1::2]
        return texts[0::2]

    first = order(1)
    assert sorted(first) == sorted(str(number) for number in range(40))
    assert order(1) == first
    assert order(2) != first


def test_repeats_get_seeds_of_their_own(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """Each repeat is sent with another seed, and every row says which."""
    result = run(bench, plan_of(bench, repeats=3, seed=7, limit=5))
    frame = result.rows()
    assert frame.groupby("repeat")["seed"].unique().map(list).to_dict() == {0: [7], 1: [8], 2: [9]}
    assert {body["seed"] for body in openai_double.bodies} == {7, 8, 9}
    assert result.verdict.contrasts[0].n == 5


def test_concurrency_is_bounded(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """Never more calls at once than asked for, and as many as asked for."""
    openai_double.delay = 0.02
    run(bench, plan_of(bench, concurrency=7))
    assert openai_double.most_in_flight == 7


def test_passing_errors_are_tried_again(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """A 503 and a 500 in the middle cost a second try, not a row."""
    openai_double.fail = {10: 503, 20: 500}
    result = run(bench, plan_of(bench))
    assert result.summary["errors"].tolist() == [0, 0]
    assert sorted(result.rows()["attempts"])[-2:] == [2, 2]


def test_wrong_key_fails_before_the_run(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """If the warm-up is refused, nothing else is sent."""
    openai_double.fail = dict.fromkeys(range(1, 200), 401)
    with pytest.raises(errors.AuthenticationError, match="OPENAI_API_KEY"):
        run(bench, plan_of(bench))
    assert openai_double.calls == 1


def test_failures_in_a_row_stop_the_run(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """A server that starts to refuse everything is not asked for ever; what is there is kept and asked again later."""
    openai_double.fail = dict.fromkeys(range(12, 1000), 400)
    result = run(bench, plan_of(bench, concurrency=1))
    assert not result.complete
    assert "calls in a row failed" in str(result)
    assert openai_double.calls == 11 + 20
    openai_double.fail = {}
    again = run(bench, plan_of(bench))
    assert again.complete
    assert again.summary["errors"].tolist() == [0, 0]
    assert again.verdict.winner == "tone@2 · openai/m"


def test_nothing_scored_is_a_sentence(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """A comparison without any score gives no verdict and no crash."""
    result = run(bench, plan_of(bench, primary=lambda text, example: None))
    assert result.winner is None
    assert result.table()[result.run.plan.primary.name].tolist() == ["unscored", "unscored"]
    assert "nan" not in str(result).lower()


def test_changed_scorer_scores_old_rows_again(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """Another scorer on the same measurements sends nothing and counts."""

    def length(text: str, example: Example) -> float:
        return float(len(text))

    async def slow_length(text: str, example: Example) -> float:
        await asyncio.sleep(0)
        return float(len(text))

    run(bench, plan_of(bench))
    before = openai_double.calls
    assert run(bench, plan_of(bench, primary=length)).summary["length"].tolist() == [8.0, 8.0]
    assert run(bench, plan_of(bench, primary=slow_length)).summary["slow_length"].tolist() == [8.0, 8.0]
    assert openai_double.calls == before


def test_an_old_answers_explanation_is_of_its_present_score(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """What another scorer said of it when it was made is not shown; what this one says is."""
    first = run(bench, plan_of(bench)).rows()
    assert first["explanations"].map(bool).sum() == 40
    assert set(first["explanations"].map(tuple)) == {(), ("exact_match",)}
    brief = scorers.length(max_characters=3)
    rows = run(bench, plan_of(bench, primary=brief, scorers=["exact_match"])).rows()
    assert {why["length"] for why in rows["explanations"]} == {"8 characters, at most 3 wanted"}
    assert (rows["explanations"].map(lambda why: why.get("exact_match")) == first["explanations"].map(
        lambda why: why.get("exact_match"))).sum() == 40  # fmt: skip
    assert openai_double.calls == 82


def test_examples_that_stand_in_a_prompt_are_left_out(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """An example that a prompt gives away is not asked, and the plan counts it."""
    leak = "love how quick the delivery was (order 0)"
    bench.prompts.create("tone", f"For example '{leak.upper()}' is positive.\n{{{{message}}}}")
    plan = plan_of(bench, prompts=["tone@1", "tone@3"])
    assert plan.left_out == ("m0",)
    assert "1 left out" in str(plan)
    result = run(bench, plan)
    assert result.verdict.contrasts[0].n == 39
    assert openai_double.calls == 78 + 2


def test_worst_and_changed_show_both_answers(bench: Workbench) -> None:
    """The examples behind a verdict come with input, expected and each variant's answer."""
    result = run(bench, plan_of(bench, control="tone@2"))
    worst = result.worst(3)
    assert len(worst) == 3
    assert worst["delta"].tolist() == [-1.0, -1.0, -1.0]
    assert set(worst["tone@2 · openai/m"]) <= {"positive", "negative"}
    assert len(result.changed(100)) == 40
    slices = result.slices("difficulty")
    assert slices.groupby("variant")["n"].sum().tolist() == [40, 40]
    with pytest.raises(errors.InputError, match="difficulty"):
        result.slices("no_such")


def test_every_row_records_its_provenance(bench: Workbench) -> None:
    """A row says what was asked, of whom, in which order, beside how many others."""
    result = run(bench, plan_of(bench, limit=4))
    frame = bench.calls.frame()
    assert len(frame) == 8 + 2
    row = frame[~frame["warmup"]].iloc[0]
    for name in ("prompt_ref", "prompt_digest", "dataset_digest", "example_id", "run_id", "variant", "request", "text"):
        assert isinstance(row[name], str), name
        assert row[name], name
    for name in ("repeat", "block", "position", "in_flight", "seed", "latency", "prompt_tokens", "completion_tokens"):
        assert row[name] == row[name], name
    assert row["run_id"] == result.run.folder.run_id
    assert json.loads((result.run.folder.path / "plan.json").read_text())["variants"][0]["prompt"]["text"] == BAD


def test_two_processes_do_not_run_the_same_plan(bench: Workbench) -> None:
    """A second runner of the same plan is told so; --fresh measures apart."""
    from filelock import FileLock

    result = run(bench, plan_of(bench, limit=2))
    with (
        FileLock(str(result.run.folder.path / ".lock")),
        pytest.raises(errors.RunError, match="another process is running this comparison"),
    ):
        run(bench, plan_of(bench, limit=2))


def test_cancelled_run_keeps_its_rows(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """Cancelling the task raises, leaves no worker behind, and the next run goes on."""
    openai_double.delay = 0.02

    async def go() -> None:
        seen = asyncio.Event()

        def progress(state: Progress) -> None:
            if state.done >= 10:
                seen.set()

        task = asyncio.create_task(bench.compare(plan_of(bench), progress=progress))
        await seen.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1
        await bench.aclose()

    asyncio.run(go())
    kept = len(rows_of(bench.settings.project))
    assert 10 <= kept < 80
    result = run(bench, plan_of(bench))
    assert result.summary["replayed"].sum() == kept
    assert result.complete


SCRIPT = """
import asyncio, sys
from workbench import Workbench
from workbench.running.progress import silent

async def main():
    async with Workbench() as bench:
        plan = bench.plan(prompts=["tone@1", "tone@2"], models=["openai/m"], dataset="reviews", concurrency=4)
        result = await bench.compare(plan, progress=silent)
        print(result)
        return 0 if result.complete else 130

sys.exit(asyncio.run(main()))
"""


def test_killed_run_resumes_without_losing_or_doubling_rows(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """SIGKILL at random points: calls never exceed rows plus calls in flight at each kill; at the end each row is there once."""
    openai_double.delay = 0.05  # so that a second of calls is left to be killed in
    rng = random.Random(5)
    kills = in_flight_at_kills = 0
    while True:
        target = openai_double.calls + rng.randint(8, 35)
        process = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        while process.poll() is None and openai_double.calls < target:
            time.sleep(0.002)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
            in_flight_at_kills += 4
        output = process.communicate()[0].decode()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, output
    assert kills >= 2
    rows = rows_of(bench.settings.project)
    assert openai_double.calls <= len(rows_of(bench.settings.project, warmups=True)) + in_flight_at_kills
    assert Counter((row["variant"], row["example_id"]) for row in rows).most_common(1)[0][1] == 1
    assert len(rows) == 80
    assert "tone@2" in output


def test_interrupt_leaves_a_usable_partial_result(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """Ctrl-C prints a table and a verdict from whole pairs; running again goes on."""
    openai_double.delay = 0.1  # so that more than a second of calls is left when it comes
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while openai_double.calls < 20:
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    output, noise = process.communicate(timeout=120)
    assert process.returncode == 130, noise
    assert "Verdict: Partial, " in output
    assert "No winner is named before all answers are there." in output
    assert "left out" not in output  # what was not asked is not missing
    assert noise == ""
    kept = len(rows_of(bench.settings.project))
    assert 10 <= kept < 80
    assert run(bench, plan_of(bench)).summary["replayed"].sum() == kept


def stop_after(answers: int) -> Any:
    """A reporter that presses Ctrl-C as soon as so many answers are there."""
    pressed = []

    def report(progress: Progress) -> None:
        if progress.done >= answers and not progress.finished and not pressed:
            pressed.append(True)
            signal.raise_signal(signal.SIGINT)

    return report


def test_what_was_not_asked_takes_no_part_in_a_partial_verdict(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """A model whose turn did not come is named, the verdict is about whole pairs, and nobody wins."""
    openai_double.delay = 0.03
    openai_double.models = ["m", "n"]
    plan = plan_of(bench, models=["openai/m", "openai/n"], concurrency=4)

    async def go() -> Any:
        async with bench:
            return await bench.compare(plan, progress=stop_after(24))

    result = asyncio.run(go())
    sentence = result.verdict.sentence
    assert sentence.startswith(f"Partial, {result.run.measurements.done} of 160 answers (interrupted): ")
    assert "Not asked yet: tone@1 · openai/n, tone@2 · openai/n." in sentence
    assert result.winner is None
    assert [contrast.decision for contrast in result.verdict.contrasts] == ["better"]
    assert 5 <= result.verdict.contrasts[0].n <= 16
    assert result.verdict.contrasts[0].left_out == 0
    assert result.table()["verdict"].tolist() == ["control", "better", "undecided", "undecided"]


def test_stopped_before_any_pair_says_so(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """With nothing to decide on there is no verdict, and no sentence about missing scores."""
    openai_double.delay = 0.2
    loop_stop = stop_after(0)

    async def go() -> Any:
        async with bench:
            return await bench.compare(plan_of(bench), progress=loop_stop)

    result = asyncio.run(go())
    assert result.verdict.sentence == "Stopped before the first example was answered by all variants: no verdict."
    assert len(result.provenance())
    assert "no verdict" in result._repr_html_()


def test_aborted_fresh_run_does_not_hide_the_complete_one(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """`fresh` that was stopped before its first answer leaves the earlier answers in use; the next fresh is a new run."""
    run(bench, plan_of(bench))
    openai_double.delay = 0.2

    async def go() -> Any:
        async with bench:
            return await bench.compare(plan_of(bench), fresh=True, progress=stop_after(0))

    aborted = asyncio.run(go())
    assert aborted.run.folder.run_id.endswith("/2")
    openai_double.delay = 0.0
    again = run(bench, plan_of(bench))
    assert again.summary["replayed"].tolist() == [40, 40]
    assert run(bench, plan_of(bench), fresh=True).run.folder.run_id.endswith("/3")


def test_reasons_for_unscored_answers_are_told_also_of_replayed_ones(bench: Workbench) -> None:
    """The note names the scorer, the count and the commonest reason, whether the answers are fresh or not."""

    def shaky(text: str, example: Example) -> float:
        raise ValueError("boom")

    for _ in range(2):
        result = run(bench, plan_of(bench, scorers=[shaky], limit=10))
        note = next(note for note in result.notes() if note.startswith("shaky: "))
        assert note.startswith("shaky: 20 answers unscored, most often (20): ")
        assert "ValueError: boom" in note


def test_where_every_answer_is_wrong_one_is_shown(bench: Workbench) -> None:
    """Nothing right at all is seldom the prompts' doing: the note shows what came and what was expected."""
    plan = plan_of(bench, prompts=["tone@1"])
    note = next(note for note in run(bench, plan).notes() if note.startswith("Every answer scores 0 on exact_match"))
    assert "answered 'negative' to example" in note or "answered 'positive' to example" in note
    assert "where 'positive' was expected" in note or "where 'negative' was expected" in note
    assert not any(note.startswith("Every answer") for note in run(bench, plan_of(bench)).notes())


def test_plan_says_what_a_budget_makes_of_its_time(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """80 calls at 60 a minute take 80 seconds at least, also on a model that was never called."""
    project = bench.settings.project
    (project / "workbench.toml").write_text(
        f'[endpoints.slow]\nkind = "openai"\nurl = "{openai_double.url}"\nrequests_per_minute = 60\n'
    )
    plan = plan_of(Workbench(project), models=["slow/m"])
    assert plan.estimate.minutes == pytest.approx(80 / 60)
    assert "at least, by the budget of slow" in str(plan)


def test_a_replica_that_is_lost_is_told(project: Path, openai_double: OpenAIDouble) -> None:
    """The double answers for both; the note names the address where nobody was, and no call is lost."""
    (project / "workbench.toml").write_text(
        f'[endpoints.two]\nkind = "openai"\nurls = ["{openai_double.url}", "http://127.0.0.1:1/v1"]\n'
    )
    bench = Workbench(project)
    bench.prompts.create("tone", GOOD)
    result = run(bench, plan_of(bench, prompts=["tone@1"], models=["two/m"]))
    assert result.complete
    assert any(note.startswith("http://127.0.0.1:1/v1 failed ") for note in result.notes())


def test_home_is_made_such_that_git_ignores_it(bench: Workbench) -> None:
    """The home that a comparison makes holds a .gitignore for all of it; one that was there already is left alone."""
    run(bench, plan_of(bench, limit=2))
    assert (bench.settings.home / ".gitignore").read_text() == "*\n"
    (bench.settings.home / ".gitignore").unlink()
    run(bench, plan_of(bench, limit=2))
    assert not (bench.settings.home / ".gitignore").exists()


def test_one_variant_that_fails_everywhere_is_a_sentence(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """The other one keeps its scores; the failed calls are counted, not scored, and no answer is made up for them."""
    bench.prompts.create("tone", "Refuse this one. {{message}}")
    openai_double.refuse = "Refuse this one"
    result = run(bench, plan_of(bench, prompts=["tone@2", "tone@3"], limit=12))
    assert result.winner is None
    assert not result.complete
    assert result.summary["errors"].tolist() == [0, 12]
    assert result.summary["fresh"].tolist() == [12, 0]
    assert "12 calls failed" in str(result)
    assert len(result.worst(5)) == 0


def test_failed_call_shows_as_failed_among_the_answers(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """Beside the other answers to an example, a failed call is named and not an empty or made-up answer."""
    bench.prompts.create("tone", "Refuse this one. {{message}}")
    openai_double.refuse = "Refuse this one"
    result = run(bench, plan_of(bench, prompts=["tone@2", "tone@1", "tone@3"], limit=8))
    assert set(result.worst(2)["tone@3 · openai/m"]) == {"(BadRequestError)"}


def test_versions_that_swapped_their_numbers_are_measured_again(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """Rows belong to what was asked, not to a number: another home with the same texts the other way round starts anew."""
    assert run(bench, plan_of(bench)).verdict.winner == "tone@2 · openai/m"
    folder = bench.settings.prompts / "tone"
    for path in folder.glob("*.md"):
        path.unlink()
    bench.prompts.create("tone", GOOD)
    bench.prompts.create("tone", BAD)
    again = run(bench, plan_of(bench))
    assert again.verdict.contrasts[0].decision == "worse"
    assert again.summary["replayed"].tolist() == [0, 0]


def test_another_server_is_measured_again(
    bench: Workbench, openai_double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that gives no digest of its weights is told apart by its address: its answers stand for no other one's."""
    run(bench, plan_of(bench))
    with type(openai_double)() as other:
        monkeypatch.setenv("OPENAI_BASE_URL", other.url)
        result = run(Workbench(bench.settings.project), plan_of(Workbench(bench.settings.project)))
        assert result.summary["fresh"].tolist() == [40, 40]
        assert other.calls == 82


def test_guardrail_follows_its_scorers_direction(bench: Workbench) -> None:
    """A score of which less is better is broken by more of it, and the better variant does not win."""
    from workbench import Guardrail, scorers

    right = scorers.exact_match()
    toxic = scorers.Scorer("toxicity", lambda text, example: 20.0 * (text == example.expected), higher_is_better=False)
    plan = plan_of(bench, primary=right, scorers=[toxic], guardrails=[Guardrail("toxicity", 0.05)])
    (contrast,) = run(bench, plan).verdict.contrasts
    assert contrast.decision == "better"
    assert contrast.guardrails[0].state == "broken"
    assert run(bench, plan).winner is None


def test_money_now_is_unknown_without_a_price(bench: Workbench) -> None:
    """A model without a price spends an unknown sum, never 0."""
    result = run(bench, plan_of(bench, limit=4))
    assert result.to_mapping()["calls"]["usd_now"] is None
    assert result.table()["cost/call"].tolist() == ["unknown", "unknown"]


def test_answer_survives_an_interrupt_of_its_scorer(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """An answer that came is kept although its scoring was cancelled; resuming scores it and asks for the rest only."""

    async def go() -> None:
        scoring = asyncio.Event()

        async def judge(text: str, example: Example) -> float:
            scoring.set()
            await asyncio.Event().wait()
            return 1.0

        task = asyncio.create_task(bench.compare(plan_of(bench, primary=judge, concurrency=4), progress=silent))
        await scoring.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await bench.aclose()

    asyncio.run(go())
    kept = len(rows_of(bench.settings.project))
    assert kept >= 1
    assert run(bench, plan_of(bench)).summary["replayed"].sum() == kept


def test_stopped_calls_are_rows_too(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """A call that is cancelled before its answer is in the log, as stopped."""

    async def go() -> None:
        openai_double.delay = 5.0
        async with bench:
            task = asyncio.create_task(bench.ask("hello", model="openai/m"))
            while openai_double.calls == 0:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(go())
    assert bench.calls.frame()["error"].tolist() == ["StoppedError"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed = -1"),
        ({"concurrency": 2.5}, "concurrency = 2.5"),
        ({"repeats": 0}, "repeats = 0"),
        ({"repeats": 1.5}, "repeats = 1.5"),
        ({"margin": "0.1"}, "margin = '0.1'"),
        ({"margin": -0.1}, "margin = -0.1"),
        ({"level": 1}, "level = 1"),
        ({"timeout": 0}, "timeout = 0"),
        ({"params": 5}, "params = 5"),
        ({"scorers": "token_f1"}, "must be a list"),
        ({"prompts": "tone@1"}, "take lists"),
        ({"prompts": []}, "nothing to compare"),
        ({"prompts": ["tone@1", "tone@1"]}, "is there twice"),
        ({"control": "tone@9"}, "names none of the variants"),
        ({"guardrails": ["x"]}, "Guardrail"),
    ],
)
def test_wrong_options_are_named_before_anything_is_sent(
    bench: Workbench, openai_double: OpenAIDouble, options: dict[str, Any], message: str
) -> None:
    """Each wrong value is an InputError that names it; no call is made."""
    with pytest.raises(errors.InputError, match=message):
        plan_of(bench, **options)
    assert openai_double.calls == 0


def test_scorers_that_cannot_work_are_refused(bench: Workbench, project: Path) -> None:
    """A scorer with a column's name, two of one name, and one that needs answers that the data do not have."""
    from workbench import scorers

    (project / "datasets" / "bare.jsonl").write_text('{"message": "a message without an answer"}\n')
    with pytest.raises(errors.InputError, match="name of a column"):
        plan_of(bench, scorers=[scorers.Scorer("verdict", lambda text, example: 1.0)])
    with pytest.raises(errors.InputError, match="two scorers are called exact_match"):
        plan_of(bench, primary="exact_match", scorers=[scorers.exact_match(ignore_case=False)])
    with pytest.raises(errors.InputError, match="two scorers are called short"):
        plan_of(
            bench,
            primary=scorers.Scorer("short", lambda t, e: 1.0),
            scorers=[scorers.Scorer("short", lambda t, e: 1.0)],
        )
    twice = plan_of(bench, primary="exact_match", scorers=["exact_match", "token_f1"])
    assert [scorer.name for scorer in twice.scorers] == ["exact_match", "token_f1"]
    with pytest.raises(errors.InputError, match="needs expected answers"):
        plan_of(bench, dataset="bare")


def test_short_fields_do_not_leave_examples_out(bench: Workbench, project: Path) -> None:
    """A channel that a prompt mentions is no leak; only an example's own text is."""
    lines = [
        json.dumps({"message": f"love it, number {i}", "channel": "phone call", "expected": "positive"})
        for i in range(6)
    ]
    (project / "datasets" / "calls.jsonl").write_text("\n".join(lines))
    bench.prompts.create("tone", "In a phone call or a chat, which mood? {{message}} ({{channel}})")
    assert plan_of(bench, prompts=["tone@3"], dataset="calls").left_out == ()
