"""Load tests that run: scripted runtimes in virtual time, whose figures are known exactly, and real HTTP."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from loadtest_doubles import block

from workbench import Rule, Scripted, Workbench, errors
from workbench.calls import CallLog
from workbench.loadtest.plan import Load
from workbench.loadtest.result import LoadTest
from workbench.loadtest.workload import poisson_arrivals
from workbench.records import Chunk, Completion, ModelInfo, Request, Timing, Usage
from workbench.running.progress import Progress, silent

if TYPE_CHECKING:
    from conftest import OpenAIDouble

Measure = Callable[..., LoadTest]
FOUR = "one two three four"


def numbers(test: LoadTest, row: int = 0) -> dict[str, Any]:
    """The figures of one cell."""
    return dict(test.summary.iloc[row])


class Serving:
    """A runtime in which one request after the other is served, each in `seconds`; calls() is run at the start of each."""

    kind = "scripted"
    concurrency = 1

    def __init__(
        self, seconds: float = 1.0, calls: Callable[[int], None] = lambda number: None, context: int | None = None
    ) -> None:
        self.asked = self.in_flight = self.most_in_flight = 0
        self._seconds = seconds
        self._calls = calls
        self._context = context
        self._one = asyncio.Semaphore(1)

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        self.asked += 1
        self._calls(self.asked)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        start = asyncio.get_running_loop().time()
        try:
            async with self._one:
                await asyncio.sleep(self._seconds / 2)
                first = asyncio.get_running_loop().time() - start
                yield Chunk("one ")
                await asyncio.sleep(self._seconds / 2)
        finally:
            self.in_flight -= 1
        timing = Timing(start, asyncio.get_running_loop().time() - start, first_token=first)
        usage = Usage(len(request.text().split()), 4)
        yield Chunk(completion=Completion(FOUR, "length", usage, timing, request.model))

    async def describe(self, model: str) -> ModelInfo:
        return ModelInfo(model, "d" * 64, self._context, "serving 1")

    async def complete(self, request: Request) -> Completion:
        raise NotImplementedError

    async def health(self) -> Any:
        raise NotImplementedError

    async def aclose(self) -> None:
        """Nothing to free."""


def test_a_closed_loop_by_hand(measure: Measure) -> None:
    """4 at once, 8 requests of 1 s with 4 tokens, the first after 0.4 s: 2 s in all, 16 tokens/s, TPOT (1 - 0.4) / 3."""
    runtime = Scripted([Rule(answer=FOUR, delay=1.0, first_token=0.4)])
    test = measure(runtime, concurrency=[4], requests=8, target={"ttft": 0.4, "tpot": 0.2})
    expected = {
        "requests": 8,
        "failed": 0,
        "tokens_per_second": 16.0,
        "requests_per_second": 4.0,
        "goodput": 4.0,
        "output_tokens": 4.0,
    }
    expected |= {
        f"{name}_p{p}": value for name, value in (("ttft", 0.4), ("tpot", 0.2), ("latency", 1.0)) for p in (50, 95, 99)
    }
    found = numbers(test)
    assert pytest.approx(expected) == {name: found[name] for name in expected}
    assert pytest.approx(0.0, abs=1e-9) == found["slip_p99"] + found["lag_p99"]
    assert (True, 2.0) == (test.complete, pytest.approx(test.cells[0].seconds))


def test_the_sweep_and_its_warm_ups(measure: Measure, project: Path) -> None:
    """Each load after a discarded round of its own; two calls find the prompt's length, which then is as asked."""
    runtime = Scripted([Rule(answer=FOUR, delay=1.0)])
    test = measure(runtime, concurrency=[1, 3], requests=6, prompt_tokens=40)
    assert [6, 6] == [len(cell.samples) for cell in test.cells]
    assert 2 + (1 + 6) + (3 + 6) == runtime.calls
    assert [4.0, 12.0] == pytest.approx([numbers(test, row)["tokens_per_second"] for row in (0, 1)])
    assert [(40.0, 40, 40)] * 2 == [cell.lengths("prompt_tokens") for cell in test.cells]
    rows = CallLog(test.path, test.path).frame()
    assert (6, 12) == (int(rows["warmup"].sum()), int((~rows["warmup"]).sum()))
    assert {test.test_id} == set(rows["run_id"])
    assert 18 == rows["request"].nunique()


def test_its_calls_are_in_no_ordinary_figure(measure: Measure, project: Path) -> None:
    """Neither the call log nor the limiter of the workbench knows of them."""
    bench = Workbench(project, runtimes={"scripted": Scripted([Rule(answer=FOUR)])})
    test = measure(None, bench=bench, concurrency=[2], requests=8)
    assert 0 == len(bench.calls.frame())
    assert test.path.parent == project / ".workbench" / "loadtests"
    assert LoadTest.read(test.path / "result.json").summary.equals(test.summary)


@pytest.mark.parametrize("at_once", [1, 3, 8])
def test_the_concurrency_is_exact(measure: Measure, at_once: int) -> None:
    """So many in flight, never more; with one server each waits for those before it, as in a queue."""
    runtime = Serving()
    test = measure(runtime, concurrency=[at_once], requests=24)
    assert at_once == runtime.most_in_flight
    # the first round begins at once, after that a request waits for all others in flight
    assert pytest.approx(float(at_once)) == numbers(test)["latency_p99"]
    assert pytest.approx(4.0) == numbers(test)["tokens_per_second"]


def test_an_open_loop_omits_no_waiting(measure: Measure) -> None:
    """Arrivals twice as fast as the server: latency counts from when each was due, as Lindley's recursion has it."""
    test = measure(Serving(seconds=1.0), rate=[2.0], requests=40, seed=5)
    due = poisson_arrivals(2.0, 40, seed=5)
    end, expected = 0.0, []
    for arrival in due:
        end = max(end, arrival) + 1.0
        expected.append(end - arrival)
    samples = test.cells[0].samples
    assert due == pytest.approx([sample.due for sample in samples])
    assert expected == pytest.approx([sample.latency for sample in samples])
    assert [latency - 0.5 for latency in expected] == pytest.approx([sample.ttft for sample in samples])
    assert pytest.approx(40 / end) == numbers(test)["requests_per_second"]
    assert numbers(test)["latency_p99"] > 10


def test_a_client_that_is_late_says_so(measure: Measure) -> None:
    """What holds the loop up for 0.3 s shows as lag and as slip, is part of the latencies, and is told."""
    test = measure(Serving(0.02, calls=lambda number: block(0.3)), rate=[50.0], requests=40, warmup=0)
    samples, found = test.cells[0].samples, numbers(test)
    assert found["lag_p99"] > 0.28
    assert found["slip_p99"] > 5
    last = samples[-1]
    assert last.latency is not None
    assert last.latency > last.sent - last.due > 5
    assert any("this client was late by" in note for note in test.notes())
    punctual = measure(Serving(0.02), rate=[5.0], requests=40)
    assert not any("late" in note for note in punctual.notes())


def test_failures_are_counted_by_class_and_not_tried_again(measure: Measure) -> None:
    """They are in no latency and not good; what was sent is what was asked for."""
    rules = [Rule(answer=FOUR, delay=1.0, times=3), Rule(error="RateLimitError", times=2), Rule(error="ServerError", times=1),
             Rule(answer=FOUR, delay=1.0)]  # fmt: skip
    runtime = Scripted(rules)
    test = measure(runtime, concurrency=[1], requests=8, target={"latency": 2.0})
    assert {"RateLimitError": 2, "ServerError": 1} == dict(test.cells[0].errors)
    assert 2 + 1 + 8 == runtime.calls
    assert (8, 3, 1.0) == tuple(numbers(test)[name] for name in ("requests", "failed", "latency_p99"))
    told = " ".join(test.notes())
    assert (
        "3 of 8 requests failed (RateLimitError 2, ServerError 1); they are in no latency, and not good. The first "
        in told
    )
    assert {"RateLimitError", "ServerError"} == set(test.cells[0].said)
    assert all(f"The first {name}: {text.rstrip('.')}" in told for name, text in test.cells[0].said.items())
    assert not test.complete


def test_a_warm_up_is_tried_again(measure: Measure) -> None:
    """A server that still loads its model refuses at first."""
    test = measure(Scripted([Rule(error="OverloadedError", times=2), Rule(answer=FOUR)]), concurrency=[1], requests=4)
    assert (4, True) == (len(test.cells[0].samples), test.complete)


def test_a_model_that_does_not_answer(measure: Measure, project: Path) -> None:
    """The first one is an error; a later one is given up, and the others are measured."""
    rules = [Rule(error="AuthenticationError", model="b"), Rule(answer=FOUR, delay=1.0)]
    with pytest.raises(errors.AuthenticationError):
        measure(Scripted(rules), models=["scripted/b", "scripted/a"])
    test = measure(Scripted(rules), models=["scripted/a", "scripted/b", "scripted/c"], concurrency=[1], requests=4)
    assert ["scripted/a", "scripted/c"] == [cell.model for cell in test.cells]
    assert "scripted AuthenticationError" in test.problems["scripted/b"]
    assert any(note.startswith("scripted/b was given up: ") for note in test.notes())
    assert not test.complete


def test_a_server_that_dies_is_not_asked_a_thousand_times(measure: Measure) -> None:
    """After 20 failures in a row the model is given up; what was measured is kept."""
    runtime = Scripted([Rule(answer=FOUR, delay=1.0, times=9), Rule(error="ConnectError")])
    test = measure(runtime, concurrency=[1, 2], requests=1000)
    assert 9 + 20 == runtime.calls
    assert [26] == [len(cell.samples) for cell in test.cells]
    assert "20 calls in a row failed with 1 at once" in test.problems["scripted/m"]
    open_ = measure(Scripted([Rule(answer=FOUR, times=8), Rule(error="ConnectError")]), rate=[10.0], requests=1000)
    assert len(open_.cells[0].samples) < 30


def test_a_load_that_answers_nothing_in_its_warm_up_is_not_measured(measure: Measure) -> None:
    """The loads before it stay."""
    runtime = Scripted([Rule(answer=FOUR, times=2 + 1 + 4), Rule(error="BadRequestError")])
    test = measure(runtime, concurrency=[1, 2], requests=4)
    assert [Load(concurrency=1)] == [cell.load for cell in test.cells]
    assert "it does not answer with 2 at once" in test.problems["scripted/m"]


def test_an_interrupt_leaves_what_there_is(measure: Measure) -> None:
    """Ctrl-C in the middle of the second load: its requests so far are kept and it says so."""

    def calls(number: int) -> None:
        if number == 2 + 1 + 8 + 2 + 5:
            os.kill(os.getpid(), signal.SIGINT)

    test = measure(Serving(calls=calls), concurrency=[1, 2, 4], requests=8)
    assert "interrupted" == test.stopped
    assert [8, 3] == [len(cell.samples) for cell in test.cells]
    assert "Partial, 11 of 24 requests (interrupted)" in test.notes()[0]
    assert "interrupted" == LoadTest.read(test.path / "result.json").stopped
    early = measure(Serving(calls=lambda number: os.kill(os.getpid(), signal.SIGINT)), requests=64)
    assert ((), "interrupted", "Nothing was measured.") == (early.cells, early.stopped, early.sentence)
    assert "Nothing was measured." in str(early)


def test_an_interrupt_while_the_servers_load_is_read(measure: Measure) -> None:
    """Between warm-up and measurement nothing of ours is in flight; it ends there all the same."""

    class Metered(Serving):
        async def metrics(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0.1)

    runtime = Metered()
    test = measure(runtime, concurrency=[1], requests=64)
    assert ("interrupted", ()) == (test.stopped, test.cells)
    assert 2 + 1 == runtime.asked


def test_what_is_no_call_error_is_raised(measure: Measure) -> None:
    """A script without a rule is its author's mistake; it ends the test as it is, and no task is left behind."""
    with pytest.raises(errors.InputError, match="no rule of scripted/m"):
        measure(Scripted([Rule(match="nothing like this")]))
    with pytest.raises(errors.InputError, match="no rule of scripted/m"):
        measure(Scripted([Rule(answer=FOUR, times=9)]), concurrency=[4])


def test_lengths_must_fit_the_context(measure: Measure) -> None:
    """Before anything is sent."""
    runtime = Serving(context=512)
    with pytest.raises(
        errors.InputError, match=r"context of 512 tokens.*prompt_tokens = 500 with output_tokens = 16 need 516"
    ):
        measure(runtime, prompt_tokens=500, output_tokens=16)
    assert 0 == runtime.asked


def test_progress_is_told(measure: Measure, project: Path) -> None:
    """Every measured request, with the model and load that are at it; warm-ups do not count."""
    seen: list[Progress] = []
    bench = Workbench(project, runtimes={"scripted": Scripted([Rule(answer=FOUR)])})
    plan = bench.load_plan(["scripted/m"], concurrency=[1, 2], requests=4)
    asyncio.run(bench.load_test(plan, progress=seen.append))
    assert [(8, 8, True), (8, 8, False)] == [(state.done, state.total, state.finished) for state in reversed(seen[-2:])]
    assert {"scripted/m, warming up", "scripted/m, 1 at once", "scripted/m, 2 at once", ""} == {
        state.label for state in seen
    }


@pytest.fixture
def remote(project: Path, streaming_double: Any) -> Workbench:
    """A workbench whose endpoint `gpu` is a double of a vLLM server."""
    (project / "workbench.toml").write_text(f'[endpoints.gpu]\nkind = "vllm"\nurls = ["{streaming_double.url}"]\n')
    return Workbench(project)


def http(bench: Workbench, *models: str, **options: Any) -> LoadTest:
    """A load test over real HTTP, in real time."""

    async def go() -> LoadTest:
        plan = bench.load_plan(
            models or ["gpu/m"], **({"concurrency": [2], "requests": 8, "output_tokens": 4} | options)
        )
        async with bench:
            return await bench.load_test(plan, progress=silent)

    return asyncio.run(go())


def test_double_over_http_sees_fixed_lengths_and_the_exact_load(remote: Workbench, streaming_double: Any) -> None:
    """Twenty at once, which is more than the endpoint's limiter begins with; every request streamed, sized and forced to its
    length; TTFT before the end; the server's version in the set-up."""
    streaming_double.pause = 0.05  # long enough for all to arrive before the first of them ends
    test = http(remote, concurrency=[20], requests=60, prompt_tokens=64, output_tokens=6)
    assert 20 == streaming_double.most_in_flight
    bodies = streaming_double.bodies
    assert 2 + 20 + 60 == len(bodies)
    asked = {(b["max_tokens"], b["ignore_eos"], b["temperature"], b["stream"]) for b in bodies}
    assert {(6, True, 0.0, True)} == asked
    assert len(bodies) == len({b["messages"][0]["content"] for b in bodies})
    cell, found = test.cells[0], numbers(test)
    assert ((64.0, 64, 64), (6.0, 6, 6)) == (cell.lengths("prompt_tokens"), cell.lengths("output_tokens"))
    assert 0 < found["ttft_p50"] < found["latency_p50"]
    setup = test.setup("gpu/m")
    assert setup is not None
    assert ("vllm", "vllm 0.32.0", 1.0) == (setup.kind, setup.server_version, setup.words_per_token)
    assert test.complete
    assert 16 == remote.client.limiter("gpu/m").limit  # type: ignore[union-attr]  (a server's endpoint has one)


def test_double_that_serves_others_too(remote: Workbench, streaming_double: Any) -> None:
    """Its counters grow by more than our requests, and its prefix cache knew our prompts: both are told."""
    alone = http(remote)
    assert (0.0, 0.0) == (alone.cells[0].foreign, alone.cells[0].prefix_share)
    streaming_double.foreign, streaming_double.hits = 2, 0.5
    shared = http(remote)
    assert 16.0 == shared.cells[0].foreign
    told = " ".join(shared.notes())
    assert "the server answered 16 requests of others in the meantime" in told
    assert "of the prompts' tokens came from the server's prefix cache" in told


def test_double_that_counts_no_tokens(remote: Workbench, streaming_double: Any) -> None:
    """Times are known, what needs tokens is unknown, and no length is claimed."""
    streaming_double.usage = False
    test = http(remote)
    found = numbers(test)
    assert found["ttft_p50"] > 0
    assert all(found[name] != found[name] for name in ("tpot_p50", "tokens_per_second", "output_tokens"))
    assert "it does not count the tokens of its answers" in " ".join(test.notes())
    assert test.sentence.startswith("gpu/m answers in ")


def test_double_that_does_not_stream(
    project: Path, openai_double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer in one piece has no first token: TTFT is unknown, not the latency."""
    monkeypatch.setenv("OPENAI_BASE_URL", openai_double.url)
    test = http(Workbench(project), "openai/m", target={"ttft": 9})
    found = numbers(test)
    assert found["latency_p50"] > 0
    assert all(found[name] != found[name] for name in ("ttft_p50", "tpot_p50", "goodput"))
    assert "its answers came in one piece" in " ".join(test.notes())
    assert "answers had 1 tokens on average where 4 were asked for" in " ".join(test.notes())


def test_double_that_refuses_under_load(
    project: Path, openai_double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503s lower no concurrency and are not tried again: the load stays what was asked for."""
    monkeypatch.setenv("OPENAI_BASE_URL", openai_double.url)
    openai_double.capacity, openai_double.delay = 4, 0.1
    test = http(Workbench(project), "openai/m", concurrency=[8], requests=64, warmup=0)
    assert 8 == openai_double.most_in_flight
    assert 2 + 64 == openai_double.calls
    assert 0 < test.cells[0].errors["OverloadedError"] < 64


async def test_no_server_there(project: Path) -> None:
    """One error that says where, before anything is kept as measured."""
    bench = Workbench(project)
    settings = bench.settings
    gone = replace(settings.endpoint("vllm"), urls=("http://127.0.0.1:9",))
    bench = Workbench(settings=replace(settings, endpoints={**settings.endpoints, "vllm": gone}))
    with pytest.raises(errors.ConnectError, match=r"127\.0\.0\.1:9"):
        await bench.load_test(bench.load_plan(["vllm/m"]), progress=silent)
    assert [] == bench.load_tests.ids()
    await bench.aclose()
