"""Load tests on a loop whose time is virtual: hours pass in milliseconds, and every duration is exact."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from workbench import Workbench
from workbench.loadtest.measures import Cell, Sample
from workbench.loadtest.plan import Load, LoadPlan
from workbench.loadtest.result import LoadTest
from workbench.loadtest.runner import run_load_plan
from workbench.running.progress import silent
from workbench.serving import Runtime

LOAD = Load(concurrency=4)


class _Jump(selectors.DefaultSelector):  # type: ignore[misc,valid-type]  (the system's best one)
    """Where a real selector would wait, time goes on instead."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        found = super().select(0 if timeout is not None else None)
        if not found and timeout:
            self.loop.now += timeout
        return list(found)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: `now` goes on to the next timer. `block` stands for work that holds the loop up."""

    def __init__(self) -> None:
        selector = _Jump()
        selector.loop = self
        self.now = 0.0
        super().__init__(selector)

    def time(self) -> float:
        return self.now

    def block(self, seconds: float) -> None:
        self.now += seconds


def block(seconds: float) -> None:
    """Hold the running virtual loop up."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.block(seconds)


Measure = Callable[..., LoadTest]


@pytest.fixture
def measure(project: Path) -> Measure:
    """measure(runtime, **plan) runs a load test of `scripted/m` in virtual time; `models`, `bench` may be given."""

    def run(runtime: Runtime, *, bench: Workbench | None = None, models: Sequence[str] = ("scripted/m",), **options: Any) -> LoadTest:
        workbench = bench or Workbench(project, runtimes={"scripted": runtime})
        plan: LoadPlan = workbench.load_plan(list(models), **{"prompt_tokens": 20, "output_tokens": 4, **options})

        async def go() -> LoadTest:
            folder = workbench.load_tests.new(0.0)
            log = folder.log()
            try:
                clock = asyncio.get_running_loop().time
                return await run_load_plan(plan, workbench.client.unlimited(log), folder, progress=silent, clock=clock)
            finally:
                log.close()

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(go())

    return run


def sample(
    ended: float, latency: float | None = 1.0, ttft: float | None = 0.4, tokens: int | None = 4, *, due: float | None = None,
    prompt: int | None = 20, error: str | None = None,
) -> Sample:  # fmt: skip
    """A request that ended then, sent when it was due."""
    start = ended - (latency or 0.0) if due is None else due
    if error is not None:
        return Sample(start, start, ended, error=error)
    return Sample(start, start, ended, ttft, latency, prompt, tokens, 0)


def cell_of(samples: Sequence[Sample], model: str = "a/m", load: Load = LOAD, **fields: Any) -> Cell:
    """A cell with these requests."""
    return Cell(model, load, len(samples), tuple(samples), 0.0, **fields)


def waves(count: int, latency: float = 1.0, width: int = 4, **fields: Any) -> list[Sample]:
    """`count` equal requests of a closed loop, `width` at once."""
    return [sample((number // width + 1) * latency, latency, **fields) for number in range(count)]


def test_of(*cells: Cell, path: Path | None = None, **fields: Any) -> LoadTest:
    """A load test that measured these cells."""
    loads = list(dict.fromkeys(cell.load for cell in cells))
    settings = {
        "models": list(dict.fromkeys(cell.model for cell in cells)),
        "loads": [{"concurrency": l.concurrency, "rate": l.rate, "requests": 8, "warmup": 1} for l in loads],
        "prompt_tokens": 20, "output_tokens": 4, "shared_tokens": 0, "seed": 0, "params": {}, "raw": False, "timeout": 120.0,
        "target": {"ttft": None, "tpot": None, "latency": None},
    }  # fmt: skip
    settings |= fields.pop("settings", {})
    given: dict[str, Any] = {"machine": {"host": "here", "cores": "2"}} | fields
    return LoadTest(given.pop("test_id", "20261124-000000-aaaa"), 1.79e9, settings, path or Path("nowhere"), cells=cells, **given)
