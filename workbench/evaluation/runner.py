"""Run a plan: ask every variant about every example, score, and keep each row as soon as it is there.

Examples come in a seeded random order and prompts interleaved example by example, so that drift of the server hits all
prompts alike; models come in blocks, each after a discarded warm-up. Each row is appended to the run's segment before the
next is asked, so a killed run goes on where it stopped and repeats at most the calls that were in flight.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from filelock import FileLock, Timeout

from workbench.calls import Segment
from workbench.client import Client, Outcome, stopped
from workbench.errors import BadAnswerError, BadRequestError, CallError, ContextLengthError, RunError, StoppedError
from workbench.evaluation.deciding import clear
from workbench.evaluation.estimate import ceiling
from workbench.evaluation.folder import RunFolder, open_folder
from workbench.evaluation.measurements import FRESH, REPLAYED, Measurements
from workbench.evaluation.plan import Plan, request_for
from workbench.evaluation.rounds import Rounds
from workbench.evaluation.scorers.scorer import Answer
from workbench.evaluation.tasks import Arm, Peekable, Task
from workbench.records import Call, Example, ModelInfo, Score, Usage
from workbench.running.interrupt import on_interrupt
from workbench.running.progress import Progress, Reporter, default_reporter
from workbench.running.quiet import rare_collections

__all__ = ["Run", "run_plan"]

_MAX_CONSECUTIVE_ERRORS = 20
_REPORT_EVERY = 0.02
_CHUNK = 512
_REASON, _REASONS = 200, 1000  # characters of a reason that are kept, and how many of them
_OF_THIS_REQUEST = (BadAnswerError, BadRequestError, ContextLengthError)


@dataclass(frozen=True, slots=True)
class Run:
    """What a run left: the plan as it was resolved, its numbers and its folder.

    stopped: why it ended early, or None. ended: how: "clear" is a sequential plan's early answer and "budget" the plan's budget,
    both on whole examples; "stopped" is anything else. examples: of such an end those that were asked, in the plan's order.
    seconds: that asking took now. spent: dollars that it spent now, warm-ups too; None if a price is unknown.
    unscored: by scorer, the reasons why answers have no score and how often. lost: by replica's address, calls that it failed.
    """

    plan: Plan
    measurements: Measurements
    folder: RunFolder
    stopped: str | None
    spent: float | None
    unscored: Mapping[str, Counter[str]] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    ended: Literal["done", "clear", "budget", "stopped"] = "done"
    examples: np.ndarray | None = None
    seconds: float = 0.0


async def run_plan(
    plan: Plan,
    client: Client,
    *,
    fresh: bool = False,
    progress: Reporter | None = None,
    cost: Callable[[str, Usage], float | None] = lambda model, usage: None,
    clock: Callable[[], float] = time.monotonic,
) -> Run:
    """Measure what the plan asks for and earlier runs have not; all of it with `fresh`.

    The first interrupt stops it and returns what is there; cancelling the task stops it and raises, with all rows kept.
    Raises CallError if a model does not answer while nothing is measured yet (one that fails later ends the run, with
    what is there), and RunError if another process is running the same plan.
    """
    infos = {model: await client.describe(model) for model in plan.models}
    plan = _bound(plan.resolved(infos), client)
    folder = open_folder(client.settings.runs, plan, fresh=fresh)
    lock = FileLock(str(folder.path / ".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(
            f"another process is running this comparison now ({folder.path}). Wait for it and run this again: its rows are "
            "reused. Or measure apart with fresh=True (--fresh)."
        ) from None
    try:
        runner = _Runner(plan, client, infos, folder, progress or default_reporter(), cost, clock)
        await runner.replay()
        before = _lost(plan, client)
        stopped = await runner.measure()
        lost = {url: count - before.get(url, 0) for url, count in _lost(plan, client).items()}
        return Run(
            plan, runner.measurements, folder, stopped, runner.spent, runner.unscored, lost, runner.ended,
            runner.rounds.done if not runner.rounds.whole else None, runner.seconds,
        )  # fmt: skip
    finally:
        lock.release()


def _bound(plan: Plan, client: Client) -> Plan:
    """The plan with scorers that can ask models."""
    scorers = tuple(scorer.bound(client) for scorer in plan.scorers)
    return replace(plan, scorers=scorers, primary=scorers[plan.scorers.index(plan.primary)])


def _lost(plan: Plan, client: Client) -> dict[str, int]:
    return {url: count for model in plan.models for url, count in client.lost(model).items()}


class _Runner:
    def __init__(
        self,
        plan: Plan,
        client: Client,
        infos: Mapping[str, ModelInfo],
        folder: RunFolder,
        progress: Reporter,
        cost: Callable[[str, Usage], float | None],
        clock: Callable[[], float],
    ) -> None:
        self._plan = plan
        self._client = client
        self._infos = infos
        self._folder = folder
        self._progress = progress
        self._segment = Segment(folder.path, "rows")
        self.measurements = Measurements(
            [v.label for v in plan.variants], len(plan.indices), plan.repeats, [s.name for s in plan.scorers]
        )
        self._example = lru_cache(maxsize=1024)(self._read)
        self._in_flight = 0
        self._errors = 0
        self._consecutive = 0
        self._done = 0
        self._reused = 0
        self._arms = [Arm(variant, plan, folder) for variant in plan.variants]
        self._reported = 0.0
        self.spent: float | None = 0.0
        self.unscored: dict[str, Counter[str]] = {scorer.name: Counter() for scorer in plan.scorers}
        self._last_error: CallError | None = None
        self._cost = cost
        self._clock = clock
        self._warm: set[str] = set()
        self.rounds = Rounds(plan, self.measurements, self._ceiling, clock)
        self.ended: Literal["done", "clear", "budget", "stopped"] = "done"
        self.seconds = 0.0
        self._stopped: str | None = None

    def _read(self, example: int) -> Example:
        return self._plan.dataset[int(self._plan.indices[example])]

    async def replay(self) -> None:
        """Take the rows that earlier runs of this plan left; they are scored again, so that a changed scorer counts."""
        known = {variant.label for variant in self._plan.variants}
        for row in self._folder.rows():
            if row["warmup"] or row["variant"] not in known or row["error"] == StoppedError.__name__:
                continue
            if row["error"] is not None and self.measurements.has(row["variant"], row["example"], row["repeat"]):
                continue
            scores: dict[str, float | None] = {}
            if row["error"] is None:
                answer = Answer(row["text"], row.get("tool_calls") or ())
                found = await self._score(answer, self._example(row["example"]))
                scores = {name: score.value for name, score in found.items()}
            self.measurements.add(
                row["variant"], row["example"], row["repeat"], state=REPLAYED, at=row["ended_at"], scores=scores,
                latency=row["latency"], first_token=row["first_token"], cost=row["cost"],
                failed=row["error"] is not None, in_flight=row.get("in_flight"),
            )  # fmt: skip
        self._reused = self._done = self.measurements.done

    async def measure(self) -> str | None:
        """Ask for what is missing. Returns why it stopped early, None if the plan is done."""
        loop = asyncio.get_running_loop()
        workers: list[asyncio.Task[None]] = []

        def stop(reason: str) -> None:
            if self._stopped is None:
                self._stopped, self.ended = reason, "stopped"
            for worker in workers:
                worker.cancel()

        began = self._clock()
        self.rounds = Rounds(self._plan, self.measurements, self._ceiling, self._clock)
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
            self.seconds = self._clock() - began
            self._segment.close()
            self._report("", finished=True)
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
            examples = self.rounds.next(self.spent, min(self._count(model) for model in self._plan.models))
            if examples is None:
                if self.rounds.ended is not None:
                    self._stopped, self.ended = self.rounds.ended, "budget"
                return
            await self._ask_all(examples, workers, stop)

    async def _ask_all(
        self, examples: np.ndarray | None, workers: list[asyncio.Task[None]], stop: Callable[[str], None]
    ) -> None:
        """Ask every model about these examples, None for all."""
        for block, model in enumerate(self._plan.models):
            tasks = Peekable(self._tasks(block, model, examples))
            if self._halted() or not tasks:
                continue
            self._report(model)
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

    def _tasks(self, block: int, model: str, among: np.ndarray | None) -> Iterator[Task]:
        """What is missing of one block, or of a round's examples, in its order: made one by one, so that memory does not grow
        with the rows."""
        arms = [arm for arm in self._arms if arm.variant.model == model]
        at = [self.measurements.of(arm.label) for arm in arms]
        position = 0
        for repeat in range(self._plan.repeats):
            rng = np.random.default_rng([self._plan.seed, block, repeat])
            examples = rng.permutation(len(self._plan.indices)) if among is None else among
            # for each example its own random order of the prompts
            orders = rng.permuted(np.tile(np.arange(len(arms), dtype=np.uint8), (len(examples), 1)), axis=1)
            for start in range(0, len(examples), _CHUNK):
                chunk = examples[start : start + _CHUNK]
                there = self.measurements.worked_at(at, chunk, repeat)
                for example, order, done in zip(
                    chunk.tolist(), orders[start : start + _CHUNK].tolist(), there.tolist(), strict=True
                ):
                    for which in order:
                        if not done[which]:
                            yield Task(arms[which], example, repeat, block, position)
                        position += 1

    async def _warm_up(self, block: int, model: str, stop: Callable[[str], None]) -> None:
        """One discarded call for each prompt: it loads the model and tells at once if nothing works.

        What only this example was refused for is left to the run. Anything else ends it: with the error if it has no
        answer yet, else with a partial result.
        """
        for arm in self._arms:
            if arm.variant.model != model:
                continue
            outcome = await self._ask(Task(arm, 0, 0, block, -1, warmup=True))
            if outcome.error is None or isinstance(outcome.error, _OF_THIS_REQUEST):
                continue
            if not self._done:
                raise outcome.error
            stop(f"{model} does not answer: {outcome.error}")
            return

    async def _work(self, tasks: Iterator[Task], stop: Callable[[str], None]) -> None:
        for task in tasks:
            await self._ask(task)
            if self._consecutive >= _MAX_CONSECUTIVE_ERRORS:
                stop(f"{self._consecutive} calls in a row failed, the last with: {self._last_error}")
                return

    async def _ask(self, task: Task) -> Outcome:
        arm, repeat = task.arm, task.repeat
        variant = arm.variant
        example = self._example(task.example)
        request = request_for(variant, example.inputs, arm.params[repeat], self._plan.timeout)
        self._in_flight += 1
        in_flight = self._in_flight
        outcome: Outcome | None = None
        scores: dict[str, float | None] = {}
        explanations: dict[str, str] = {}
        try:
            outcome = await self._client.call(request)
            if outcome.completion is not None and not task.warmup:
                answer = Answer(outcome.completion.text, outcome.completion.tool_calls)
                for name, score in (await self._score(answer, example)).items():
                    scores[name] = score.value
                    if score.explanation:
                        explanations[name] = score.explanation
        finally:
            # also when it is cancelled: an answer that came is kept (resuming scores it), and one that did not is a row too
            self._in_flight -= 1
            row = (outcome or stopped()).row(
                request, self._infos[variant.model], params=arm.row_params[repeat], **arm.row_fields,
                example_id=example.id, example=task.example, repeat=repeat, block=task.block, position=task.position,
                in_flight=(outcome.in_flight if outcome else None) or in_flight, seed=request.params.seed,
                warmup=task.warmup, scores=scores,
                explanations=explanations,
            )  # fmt: skip
            self._segment.append(row)
        if row.error is None:
            self.spent = None if self.spent is None or row.spent is None else self.spent + row.spent
        if not task.warmup:
            self._note(task, outcome, row)
        return outcome

    def _note(self, task: Task, outcome: Outcome, row: Call) -> None:
        self.measurements.add(
            task.arm.label, task.example, task.repeat, state=FRESH, at=row.ended_at,
            scores=row.scores, latency=row.latency, first_token=row.first_token, cost=row.cost, failed=row.error is not None,
            in_flight=row.in_flight,
        )  # fmt: skip
        if outcome.error is None:
            self._done += 1
            self._consecutive = 0
        else:
            self._errors += 1
            self._consecutive += 1
            self._last_error = outcome.error
        self._report(task.arm.variant.model)

    async def _score(self, text: str, example: Example) -> dict[str, Score]:
        found = {}
        for scorer in self._plan.scorers:
            score = scorer(text, example)
            found[scorer.name] = score = score if isinstance(score, Score) else await score
            reasons = self.unscored[scorer.name]
            if score.value is None:
                reason = score.explanation.partition("\n")[0][:_REASON]
                reasons[reason if reason in reasons or len(reasons) < _REASONS else "other"] += 1
        return found

    def _report(self, label: str, *, finished: bool = False) -> None:
        now = time.monotonic()
        if not finished and now < self._reported + _REPORT_EVERY:
            return
        self._reported = now
        self._progress(
            Progress(self._done, self.measurements.total, self._reused, self._errors, self.spent, label, finished)
        )
