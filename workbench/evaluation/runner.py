"""Run a plan: ask every variant about every example, score, and keep each row as soon as it is there.

Examples come in a seeded random order and prompts interleaved example by example, so that drift of the server hits all
prompts alike; models come in blocks, each after a discarded warm-up. Each row is appended to the run's segment before the
next is asked, so a killed run goes on where it stopped and repeats at most the calls that were in flight.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, nullcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from workbench.calls import Segment
from workbench.client import Client
from workbench.errors import BadAnswerError, BadRequestError, CallError, ContextLengthError, StoppedError
from workbench.evaluation.asking import Asker
from workbench.evaluation.deciding import clear
from workbench.evaluation.estimate import ceiling
from workbench.evaluation.folder import RunFolder, open_folder
from workbench.evaluation.hourly import price_by_time
from workbench.evaluation.judging.account import Judges
from workbench.evaluation.measurements import Measurements
from workbench.evaluation.plan import Plan, request_for
from workbench.evaluation.replay import Replay
from workbench.evaluation.rounds import Rounds
from workbench.evaluation.run import Run, Watch, bound, lost_by
from workbench.evaluation.tally import Tally
from workbench.evaluation.tasks import Arm, Peekable, Task, block_tasks
from workbench.records import Call, Example, ModelInfo, Usage
from workbench.running.interrupt import on_interrupt
from workbench.running.progress import Reporter, default_reporter
from workbench.running.quiet import rare_collections

if TYPE_CHECKING:
    from workbench.evaluation.elsewhere import Elsewhere
    from workbench.pricing import FittedWeight

__all__ = ["Run", "run_plan"]

_OF_THIS_REQUEST = (BadAnswerError, BadRequestError, ContextLengthError)


async def run_plan(
    plan: Plan,
    client: Client,
    *,
    fresh: bool = False,
    progress: Reporter | None = None,
    cost: Callable[[str, Usage], float | None] = lambda model, usage: None,
    clock: Callable[[], float] = time.monotonic,
    weights: Callable[[], Mapping[str, Sequence[FittedWeight]]] = dict,
    watch: Watch | None = None,
) -> Run:
    """Measure what the plan asks for and earlier runs have not; all of it with `fresh`.

    The first interrupt stops it and returns what is there; cancelling the task stops it and raises, with all rows kept.
    Raises CallError if a model does not answer while nothing is measured yet (one that fails later ends the run, with
    what is there), and RunError if another process is running the same plan.

    weights: of a prompt token, by model, for servers that are paid by the hour.
    """
    async with AsyncExitStack() as stack:
        elsewhere: Elsewhere | None = None
        if plan.executor is not None:
            from workbench.evaluation.elsewhere import open_elsewhere

            elsewhere = await stack.enter_async_context(open_elsewhere(plan, client))
        infos = {model: await client.describe(model) for model in plan.models}
        plan = bound(plan.resolved(infos), client)
        return await _run(
            plan, client, infos, elsewhere, fresh, progress or default_reporter(), cost, clock, weights, watch
        )


async def _run(
    plan: Plan,
    client: Client,
    infos: Mapping[str, ModelInfo],
    elsewhere: Elsewhere | None,
    fresh: bool,
    progress: Reporter,
    cost: Callable[[str, Usage], float | None],
    clock: Callable[[], float],
    weights: Callable[[], Mapping[str, Sequence[FittedWeight]]],
    watch: Watch | None,
) -> Run:
    folder = open_folder(client.settings.runs, plan, fresh=fresh)
    with folder.locked():
        judges = Judges(plan.scorers, folder.path, cost)
        try:
            runner = _Runner(plan, client, infos, folder, judges, elsewhere, progress, cost, clock)
            if elsewhere is not None:
                await runner.adopt(elsewhere)
            if watch is not None:
                watch.begun(Run(plan, runner.measurements, folder, None, None))
            await runner.replay()
            before = lost_by(plan, client)
            stopped = await runner.measure(None if watch is None else watch.stop)
            await runner.settle()
            lost = {url: count - before.get(url, 0) for url, count in lost_by(plan, client).items()}
            models = [variant.model for variant in plan.variants]
            hourly = price_by_time(runner.measurements, models, client.prices.gpus, weights())
            return Run(
                plan, runner.measurements, folder, stopped, runner.tally.spent, runner.asker.unscored, lost, runner.ended,
                runner.rounds.done if not runner.rounds.whole else None, runner.seconds, hourly,
            )  # fmt: skip
        finally:
            judges.close()


class _Runner:
    def __init__(
        self,
        plan: Plan,
        client: Client,
        infos: Mapping[str, ModelInfo],
        folder: RunFolder,
        judges: Judges,
        elsewhere: Elsewhere | None,
        progress: Reporter,
        cost: Callable[[str, Usage], float | None],
        clock: Callable[[], float],
    ) -> None:
        self._plan = plan
        self._client = client
        self._infos = infos
        self._folder = folder
        self._judges = judges
        self._elsewhere = elsewhere
        self._segment = Segment(folder.path, "rows")
        self.measurements = Measurements(
            [v.label for v in plan.variants], len(plan.indices), plan.repeats, [s.name for s in plan.scorers]
        )
        self.tally = Tally(self.measurements, judges, progress)
        self._example = lru_cache(maxsize=1024)(self._read)
        self.asker = Asker(client, plan.scorers, infos, plan.timeout, self._segment.append)
        self._replay = Replay(plan, folder, self.measurements, self.asker, judges, self._example)
        self._arms = [
            Arm(variant, seed=plan.seed, repeats=plan.repeats, run_id=folder.run_id, dataset_digest=plan.dataset.digest)
            for variant in plan.variants
        ]
        self._cost = cost
        self._clock = clock
        self._warm: set[str] = set()
        self.rounds = Rounds(plan, self.measurements, self._ceiling, clock, self._judging)
        self.ended: Literal["done", "clear", "budget", "stopped"] = "done"
        self.seconds = 0.0
        self._stopped: str | None = None

    def _read(self, example: int) -> Example:
        return self._plan.dataset[int(self._plan.indices[example])]

    async def settle(self) -> None:
        """Take in what a cluster's ledger says was spent with workers that were lost."""
        if self._elsewhere is not None:
            self.tally.correct(await self._elsewhere.spent(self.tally.spent))

    async def replay(self) -> None:
        """Take the rows that earlier runs of this plan left. Where a run may end early, an answer that a judge has not judged yet
        waits for its example's round: judging it costs money too."""
        await self._replay.take(lambda row: self.rounds.whole or self._replay.free(row))
        self.tally.reuse(0)

    async def _judge_kept(self, examples: np.ndarray) -> None:
        """Judge the answers of earlier runs to this round's examples, which waited for it."""
        if self._judges:
            there, now = self.measurements.done, set(examples.tolist())
            await self._replay.take(lambda row: row["example"] in now and not self._replay.there(row))
            self.tally.reuse(there)

    async def measure(self, ended: asyncio.Event | None = None) -> str | None:
        """Ask for what is missing. Returns why it stopped early, None if the plan is done. ended: set, it stops."""
        loop = asyncio.get_running_loop()
        workers: list[asyncio.Task[None]] = []

        def stop(reason: str) -> None:
            if self._stopped is None:
                self._stopped, self.ended = reason, "stopped"
            for worker in workers:
                worker.cancel()

        async def wait_for(end: asyncio.Event) -> None:
            await end.wait()
            stop("stopped by hand")

        began = self._clock()
        waiting = None if ended is None else asyncio.create_task(wait_for(ended))
        self.rounds = Rounds(self._plan, self.measurements, self._ceiling, self._clock, self._judging)
        left, deadline = self.rounds.remaining, None
        if left is not None:
            deadline = loop.call_later(left, stop, f"its time of {self._plan.budget} is over")
        try:
            with on_interrupt(lambda: loop.call_soon_threadsafe(stop, "interrupted")), rare_collections():
                if self.rounds.whole:
                    await self._ask_all(None, workers, stop)
                else:
                    await self._ask_in_rounds(workers, stop)
        finally:
            if deadline is not None:
                deadline.cancel()
            if waiting is not None:
                waiting.cancel()
            self.seconds = self._clock() - began
            self._segment.close()
            self.tally.report("", finished=True)
        return self._stopped

    async def _ask_in_rounds(self, workers: list[asyncio.Task[None]], stop: Callable[[str], None]) -> None:
        """Round by round, until all is there, a sequential plan's answer is clear, or the budget allows no other round."""
        count = len(self._plan.indices)
        while not self._halted():
            there = self.measurements.done == self.measurements.total
            if self._plan.sequential and not there and clear(self._plan, self.measurements, self.rounds.done):
                done = len(self.rounds.done)
                self._stopped, self.ended = f"the answer was clear after {done:,} of {count:,} examples", "clear"
                return
            at_once = min(self._count(model) for model in self._plan.models)
            if self._elsewhere is not None:
                await self.settle()
                at_once *= self._elsewhere.workers
            examples = self.rounds.next(self.tally.spent, at_once)
            if examples is None:
                if self.rounds.ended is not None:
                    self._stopped, self.ended = self.rounds.ended, "budget"
                return
            await self._judge_kept(examples)
            await self._ask_all(examples, workers, stop)

    async def _ask_all(
        self, examples: np.ndarray | None, workers: list[asyncio.Task[None]], stop: Callable[[str], None]
    ) -> None:
        """Ask every model about these examples, None for all."""
        for block, model in enumerate(self._plan.models):
            arms = [arm for arm in self._arms if arm.variant.model == model]
            tasks = Peekable(block_tasks(self._plan, arms, self.measurements, block, examples))
            if self._halted() or not tasks:
                continue
            self.tally.report(model)
            if self._elsewhere is not None:
                workers[:] = [
                    asyncio.create_task(self._ask_elsewhere(self._elsewhere, block, model, tasks, examples, stop))
                ]
                await self._join(workers)
                continue
            if model not in self._warm:
                self._warm.add(model)
                workers[:] = [asyncio.create_task(self._warm_up(block, model, stop))]
                await self._join(workers)
                if self._halted():
                    continue
            limiter = self._client.limiter(model)
            named = self._plan.concurrency
            with limiter.allow(named) if limiter is not None and named else nullcontext():
                workers[:] = [asyncio.create_task(self._work(tasks, stop)) for _ in range(self._count(model))]
                await self._join(workers)

    def _count(self, model: str) -> int:
        return self._plan.concurrency or self._client.runtime(model).concurrency

    def _ceiling(self, at: int, example: int) -> float | None:
        """Dollars that a variant's call about an example costs at most."""
        arm = self._arms[at]
        request = request_for(arm.variant, self._example(example).inputs, arm.params[0], self._plan.timeout)
        # bytes: letters beyond ASCII take more tokens
        size = len(request.text().encode()) + 8 * len(request.messages)
        return ceiling(arm.variant, size, self._cost)

    def _judging(self, at: int, example: int) -> float:
        """Dollars that judging an answer to it costs at most."""
        return self._judges.most(self._arms[at].variant, self._example(example)) if self._judges else 0.0

    def _halted(self) -> bool:
        return self._stopped is not None

    async def _join(self, workers: list[asyncio.Task[None]]) -> None:
        """Wait for all; the first that fails, or a cancellation of the run itself, ends the others."""
        try:
            await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for worker in workers:
                worker.cancel()
            results = await asyncio.gather(*workers, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result

    async def _warm_up(self, block: int, model: str, stop: Callable[[str], None]) -> None:
        """One discarded call for each prompt: it loads the model and tells at once if nothing works.

        What only this example was refused for is left to the run. Anything else ends it: with the error if it has no
        answer yet, else with a partial result.
        """
        for task in self._warm_ups(block, model):
            outcome, row = await self.asker.ask(task, self._example(0))
            self.tally.note(row)
            if outcome.error is not None and self._cold(model, outcome.error, stop):
                return

    def _warm_ups(self, block: int, model: str) -> list[Task]:
        return [Task(arm, 0, 0, block, -1, warmup=True) for arm in self._arms if arm.variant.model == model]

    def _cold(self, model: str, error: CallError, stop: Callable[[str], None]) -> bool:
        """Whether a warm-up that failed ends the run."""
        if isinstance(error, _OF_THIS_REQUEST):
            return False
        if not self.tally.done:
            raise error
        stop(f"{model} does not answer: {error}")
        return True

    async def _work(self, tasks: Iterator[Task], stop: Callable[[str], None]) -> None:
        for task in tasks:
            _, row = await self.asker.ask(task, self._example(task.example))
            self.tally.note(row)
            if self._failing(stop):
                return

    def _failing(self, stop: Callable[[str], None]) -> bool:
        why = self.tally.failing
        if why is not None:
            stop(why)
        return why is not None

    async def _ask_elsewhere(
        self,
        elsewhere: Elsewhere,
        block: int,
        model: str,
        tasks: Iterator[Task],
        examples: np.ndarray | None,
        stop: Callable[[str], None],
    ) -> None:
        """The same by the workers of a cluster, which warm up what runs in their own processes."""
        from workbench.evaluation.elsewhere import error_of

        most = tuple(self.rounds.dearest())
        at_once = self._client.runtime(model).concurrency
        if model not in self._warm:
            self._warm.add(model)
            failed: list[Call] = []

            def took(row: Call) -> None:
                self._segment.append(row)
                self.tally.note(row)
                failed.extend([row] if row.error is not None else [])

            warm_ups = self._warm_ups(block, model)
            ended = await elsewhere.ask(iter(warm_ups), 1, self._example, took, most, 1)
            if any(self._cold(model, error_of(row), stop) for row in failed):
                return
            if ended:
                self._end_elsewhere(ended, stop)
                return

        def take(row: Call) -> None:
            if row.error is None and self.measurements.has(str(row.variant), row.example or 0, row.repeat or 0):
                return  # of a worker that was lost and had done it after all
            self._segment.append(row)
            if row.error == StoppedError.__name__ or (row.error is None and len(row.scores) < len(self._plan.scorers)):
                return  # cancelled before its end: resuming asks, or scores, it
            for name, value in row.scores.items():
                if value is None:
                    self.asker.unscored.note(name, row.explanations.get(name, ""))
            self.tally.note(row)
            self._failing(stop)

        at = [self.measurements.of(arm.label) for arm in self._arms if arm.variant.model == model]
        worked = self.measurements.worked[at]
        worked = worked if examples is None else worked[:, examples]
        ended = await elsewhere.ask(tasks, worked.size - int(worked.sum()), self._example, take, most, at_once)
        if ended:
            self._end_elsewhere(ended, stop)

    def _end_elsewhere(self, why: str, stop: Callable[[str], None]) -> None:
        """It ended early there: the ledger has no money for the rest of a round, or its workers are gone."""
        if why != "budget":
            stop(why)
            return
        self.rounds.cut()
        self._stopped, self.ended = self._stopped or self.rounds.ended, "budget"

    async def adopt(self, elsewhere: Elsewhere) -> None:
        """Write down what workers still hold of this run."""
        found = await elsewhere.begin(self._plan, self._infos, self._folder, self._judges)
        known = {row["call_id"] for row in self._folder.rows()} if found else set()
        for row in found:
            if row.call_id not in known:
                self._segment.append(row)
        if found:
            await elsewhere.forget()
