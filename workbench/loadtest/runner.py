"""Run a load plan: model by model and load by load, each after a discarded warm-up, through the client's stream.

Nothing of ours stands between a request and its server: no limiter, no retry. In an open loop latency counts from when a request
was due, so that a client or a server that falls behind shows in the latencies and not in fewer requests (coordinated omission:
Tene, "How NOT to Measure Latency", 2015).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

import numpy as np

from workbench.client import RETRIES, Client
from workbench.errors import CallError, InputError
from workbench.loadtest.measures import Cell, Sample
from workbench.loadtest.plan import Load, LoadPlan
from workbench.loadtest.result import LoadTest, Setup
from workbench.loadtest.store import LoadFolder
from workbench.loadtest.workload import first_guess, next_guess, poisson_arrivals, prompt_text, request_of, sampling
from workbench.records import Completion, ModelInfo, Params, Request, ServerMetrics, split_model
from workbench.running.interrupt import on_interrupt
from workbench.running.progress import Progress, Reporter, default_reporter
from workbench.running.quiet import rare_collections

__all__ = ["run_load_plan"]

T = TypeVar("T")
Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[object]]

_TICK = 0.02  # seconds between two looks at how late this process is
_MOST_FAILURES = 20  # in a row, or two for each at once
_EXCERPT = 200  # letters of a failure's message


async def run_load_plan(
    plan: LoadPlan,
    client: Client,
    folder: LoadFolder,
    *,
    progress: Reporter | None = None,
    clock: Clock = time.perf_counter,
    sleep: Sleep = asyncio.sleep,
) -> LoadTest:
    """Measure the plan; what is there is saved after each load.

    client: one without limits, whose log is the folder's. clock: seconds, of any origin. The first interrupt stops it and returns
    what is there. Raises CallError if a model is not there, or if the first one does not answer; InputError if the lengths do
    not fit a model's context.
    """
    infos = {model: await client.describe(model) for model in plan.models}
    for model, info in infos.items():
        _check_context(plan, model, info)
    runner = _Runner(plan, client, folder, infos, progress or default_reporter(), clock, sleep)
    await runner.run()
    return runner.result


def _check_context(plan: LoadPlan, model: str, info: ModelInfo) -> None:
    longest = max(plan.prompt_lengths)
    wanted = longest + plan.output_tokens
    asked = f"prompt_tokens = {plan.prompt_tokens:,}"
    if plan.weigh:
        asked = f"prompts of up to {longest:,} ({asked}, by turns shorter and longer)"
    if info.context_length is not None and wanted > info.context_length:
        raise InputError(
            f"{model} has a context of {info.context_length:,} tokens, and {asked} with "
            f"output_tokens = {plan.output_tokens:,} need {wanted:,}: give shorter ones."
        )


@dataclass(frozen=True, slots=True)
class _Subject:
    """The model that is being measured, and how its requests are made. words: of a prompt."""

    model: str
    info: ModelInfo
    params: Params
    words: int


class _Trial:
    """What came of the requests of one load, as they end. start: when it began, in seconds of the clock."""

    def __init__(self, load: Load, start: float, *, warmup: bool) -> None:
        self.load = load
        self.start = start
        self.warmup = warmup
        self.samples: list[Sample] = []
        self.in_a_row = 0
        self.last_error: CallError | None = None
        self.said: dict[str, str] = {}
        self._patience = max(_MOST_FAILURES, 2 * (load.concurrency or 0))

    def add(self, sample: Sample, error: CallError | None = None) -> None:
        self.samples.append(sample)
        self.in_a_row = 0 if error is None else self.in_a_row + 1
        self.last_error = error or self.last_error
        if error is not None and type(error).__name__ not in self.said:
            self.said[type(error).__name__] = _in_one_line(str(error))

    @property
    def hopeless(self) -> bool:
        """So many failed in a row that the rest would too."""
        return self.in_a_row >= self._patience

    @property
    def silent(self) -> bool:
        """Nothing worked at all."""
        return bool(self.samples) and all(sample.error is not None for sample in self.samples)


class _Runner:
    def __init__(
        self, plan: LoadPlan, client: Client, folder: LoadFolder, infos: dict[str, ModelInfo], progress: Reporter, clock: Clock,
        sleep: Sleep,
    ) -> None:  # fmt: skip
        self._plan = plan
        self._client = client
        self._folder = folder
        self._infos = infos
        self._progress = progress
        self._clock = clock
        self._sleep = sleep
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopped: str | None = None
        self._errors = 0
        self._done = 0
        self._spent: float | None = None if plan.usd is None else 0.0
        unfinished = "it did not come to its end"  # what a killed one leaves
        self.result = LoadTest(folder.test_id, time.time(), plan.settings(), folder.path, stopped=unfinished)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            with on_interrupt(lambda: loop.call_soon_threadsafe(self._stop)), rare_collections():
                for model in self._plan.models:
                    if self._stopped is None:
                        await self._measure(model)
            self._keep(stopped=self._stopped)
        finally:
            self._report("", finished=True)

    def _stop(self) -> None:
        self._stopped = "interrupted"
        for task in self._tasks:
            task.cancel()

    def _halted(self) -> bool:
        return self._stopped is not None

    def _keep(self, **changes: Any) -> None:
        self.result = replace(self.result, **changes)
        self.result.save()

    def _give_up(self, model: str, why: str) -> None:
        self._keep(problems={**self.result.problems, model: why})

    # -- one model ------------------------------------------------------------------------------------------------

    async def _measure(self, model: str) -> None:
        self._report(f"{model}, warming up")
        try:
            subject = await self._unless_stopped(self._calibrate(model))
        except CallError as error:
            if not self.result.cells and not self.result.problems:
                raise
            self._give_up(model, str(error))
            return
        if subject is None:
            return
        for number, load in enumerate(self._plan.loads):
            why = await self._measure_load(subject, number, load)
            if why:
                self._give_up(model, why)
            if why or self._stopped is not None:
                return

    async def _calibrate(self, model: str) -> _Subject:
        """Load the model, and find out how many words make a prompt of the length: the chat template's tokens count too."""
        plan, kind = self._plan, self._client.runtime(model).kind
        words = first_guess(plan.prompt_tokens)
        subject = _Subject(model, self._infos[model], sampling(plan.params, kind, plan.output_tokens), words)
        counted: list[tuple[int, int]] = []
        for number in range(2):
            completion = await self._stream(self._request(subject, f"calibration {number}"), subject, warmup=True)
            if completion.usage.prompt_tokens is None:
                break
            counted.append((subject.words, completion.usage.prompt_tokens))
            subject = replace(subject, words=next_guess(plan.prompt_tokens, counted))
        setup = Setup.of(model, kind, subject.info, words=subject.words, words_per_token=_words_per_token(counted))
        self._keep(setups=(*self.result.setups, setup))
        return subject

    def _measured(self, subject: _Subject, load: Load, index: int) -> Request:
        """The request of this number under a load; of a plan that weighs, waves of two for each at once have one length."""
        plan, wave = self._plan, index // (2 * (load.concurrency or 2))
        more = plan.prompt_lengths[wave % len(plan.prompt_lengths)] - plan.prompt_tokens
        setup = self.result.setup(subject.model)
        words = subject.words + round(more * ((setup and setup.words_per_token) or 1.0))
        return self._request(replace(subject, words=max(1, words)), f"{load.label} {index}")

    def _request(self, subject: _Subject, key: str) -> Request:
        plan = self._plan
        text = prompt_text(
            subject.words, plan.shared_tokens, f"{plan.seed} {self._folder.test_id}/{subject.model}/{key}"
        )
        return request_of(subject.model, text, subject.params, raw=plan.raw, timeout=plan.timeout)

    # -- one load -------------------------------------------------------------------------------------------------

    async def _measure_load(self, subject: _Subject, number: int, load: Load) -> str | None:
        """Measure and keep a cell. Returns why the model must be given up, None if it need not."""
        count, warm = self._plan.requests[number], self._plan.warmup[number]
        requests = [self._measured(subject, load, index) for index in range(warm + count)]
        if warm:
            trial = await self._drive(subject, load, requests[:warm], warmup=True)
            if self._stopped is None and trial.silent:
                return f"it does not answer {load.words}: {trial.last_error}"
        if self._halted():
            return None
        before, started_at = await self._server(subject.model), time.time()
        if self._halted():
            return None
        async with _Lag(self._clock, self._sleep) as lag:
            trial = await self._drive(subject, load, requests[warm:], warmup=False)
        if not trial.samples:
            return None
        after = await self._server(subject.model) if self._stopped is None else None
        foreign, prefix_share = _meanwhile(before, after, len(trial.samples))
        cell = Cell(
            model=subject.model, load=load, planned=count, samples=tuple(trial.samples), started_at=started_at,
            lag=lag.percentiles(), slip=float(np.percentile([s.sent - s.due for s in trial.samples], 99)), foreign=foreign,
            prefix_share=prefix_share, busy=before.running if before else None, said=trial.said,
        )  # fmt: skip
        self._keep(cells=(*self.result.cells, cell))
        return f"{trial.in_a_row} calls in a row failed {load.words}: {trial.last_error}" if trial.hopeless else None

    async def _drive(self, subject: _Subject, load: Load, requests: list[Request], *, warmup: bool) -> _Trial:
        """Send all requests as the load says, and wait for their answers."""
        trial = _Trial(load, self._clock(), warmup=warmup)
        async with self._together() as begin:
            if load.concurrency is not None:
                shared = iter(requests)
                for _ in range(min(load.concurrency, len(requests))):
                    begin(self._work(trial, subject, shared))
            else:
                begin(self._arrive(trial, subject, requests, load.rate or 1.0, begin))
        return trial

    async def _work(self, trial: _Trial, subject: _Subject, requests: Iterator[Request]) -> None:
        for request in requests:
            await self._ask(trial, subject, request, None)
            if trial.hopeless:
                return

    async def _arrive(
        self, trial: _Trial, subject: _Subject, requests: list[Request], rate: float, begin: Callable[..., object]
    ) -> None:
        arrivals = poisson_arrivals(rate, len(requests), self._plan.seed)
        for request, due in zip(requests, arrivals, strict=True):
            await self._sleep(max(0.0, trial.start + due - self._clock()))
            if trial.hopeless:
                return
            begin(self._ask(trial, subject, request, due))

    async def _ask(self, trial: _Trial, subject: _Subject, request: Request, due: float | None) -> None:
        """Send one request and note what came of it. due: seconds since the trial began, None for now."""
        sent = self._clock() - trial.start
        due = sent if due is None else min(due, sent)  # a timer may be early by its resolution
        try:
            completion = await self._stream(request, subject, warmup=trial.warmup)
        except CallError as error:
            trial.add(Sample(due, sent, self._clock() - trial.start, error=type(error).__name__), error)
        else:
            ended = self._clock() - trial.start
            timing, usage = completion.timing, completion.usage
            # who waits in a runtime's own queue waits for the model, as in a server's
            waited = sent - due + timing.queued
            first = None if timing.first_token is None else waited + timing.first_token
            trial.add(
                Sample(
                    due, sent, ended, first, waited + timing.total,
                    usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens,
                )
            )  # fmt: skip
        if not trial.warmup:
            self._done += 1
            self._errors += trial.in_a_row > 0
            self._report(f"{subject.model}, {trial.load.label}")

    async def _stream(self, request: Request, subject: _Subject, *, warmup: bool) -> Completion:
        """One streamed call, logged in the test's own folder. Raises a CallError. Only a warm-up is tried again: a server that
        still loads its model refuses."""
        found: Completion | None = None
        chunks = self._client.stream(
            request, retries=RETRIES if warmup else 0, info=subject.info, run_id=self._folder.test_id, warmup=warmup
        )
        async with aclosing(chunks):
            async for chunk in chunks:
                found = chunk.completion or found
        assert found is not None  # noqa: S101  (for the type checker: the last chunk carries it)
        cost = self._client.cost(request.model, found)
        self._spent = None if self._spent is None or cost is None else self._spent + cost
        return found

    # -- help -----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _together(self) -> AsyncIterator[Callable[[Coroutine[Any, Any, T]], asyncio.Task[T]]]:
        """Begin tasks and wait for them at the end. An interrupt ends them all quietly; the first error of one is raised."""
        try:
            async with asyncio.TaskGroup() as group:

                def begin(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
                    task = group.create_task(work)
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                    return task

                yield begin
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What `work` gives; None if an interrupt came first."""
        async with self._together() as begin:
            task = begin(work)
        return None if task.cancelled() else task.result()

    async def _server(self, model: str) -> ServerMetrics | None:
        try:
            return await self._client.metrics(split_model(model)[0])
        except CallError:
            return None

    def _report(self, label: str, *, finished: bool = False) -> None:
        self._progress(Progress(self._done, self._plan.calls, 0, self._errors, self._spent, label, finished))


class _Lag:
    """How late the event loop is: by how much a short sleep took longer. A loop that is late sends late and reads late."""

    def __init__(self, clock: Clock, sleep: Sleep) -> None:
        self._clock = clock
        self._sleep = sleep
        self._late: list[float] = []

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            before = self._clock()
            await self._sleep(_TICK)
            self._late.append(max(0.0, self._clock() - before - _TICK))

    def percentiles(self) -> tuple[float, float] | None:
        """(P50, P99) in seconds; None if it was over too soon to tell."""
        if not self._late:
            return None
        p50, p99 = np.percentile(self._late, (50, 99))
        return float(p50), float(p99)


def _in_one_line(message: str) -> str:
    line = " ".join(message.split())
    return line if len(line) <= _EXCERPT else f"{line[: _EXCERPT - 1].rstrip()}…"


def _words_per_token(counted: list[tuple[int, int]]) -> float | None:
    """From what some words more cost, so that the chat template does not count."""
    if len(counted) < 2 or counted[0][1] == counted[1][1]:
        return None
    (words, tokens), (more_words, more_tokens) = counted[0], counted[1]
    return (more_words - words) / (more_tokens - tokens)


def _meanwhile(
    before: ServerMetrics | None, after: ServerMetrics | None, ours: int
) -> tuple[float | None, float | None]:
    """(requests of others, share of the prompts' tokens that the prefix cache held), each None where the server does not tell."""
    if before is None or after is None:
        return None, None
    foreign = share = None
    if before.requests is not None and after.requests is not None and after.requests >= before.requests:
        foreign = max(0.0, after.requests - before.requests - ours)
    if None not in (before.prefix_queries, after.prefix_queries, before.prefix_hits, after.prefix_hits):
        queries = (after.prefix_queries or 0) - (before.prefix_queries or 0)
        share = ((after.prefix_hits or 0) - (before.prefix_hits or 0)) / queries if queries > 0 else None
    return foreign, share
