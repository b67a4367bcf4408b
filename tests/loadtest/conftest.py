"""Fixtures for load tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from loadtest_doubles import StreamingDouble, VirtualLoop

from workbench import Workbench
from workbench.loadtest.plan import LoadPlan
from workbench.loadtest.result import LoadTest
from workbench.loadtest.runner import run_load_plan
from workbench.running.progress import silent
from workbench.serving import Runtime

Measure = Callable[..., LoadTest]


@pytest.fixture
def measure(project: Path) -> Measure:
    """measure(runtime, **plan) runs a load test of `scripted/m` in virtual time; `models`, `bench` may be given."""

    def run(
        runtime: Runtime, *, bench: Workbench | None = None, models: Sequence[str] = ("scripted/m",), **options: Any
    ) -> LoadTest:
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


@pytest.fixture
def streaming_double() -> Iterator[Any]:
    """A double of a vLLM server that streams, counts, and has a page of metrics."""
    with StreamingDouble() as double:
        yield double
