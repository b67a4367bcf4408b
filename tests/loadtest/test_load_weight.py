"""The weight of a prompt token, fitted to requests: known exactly where the server is a simulation."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest
from loadtest_doubles import cell_of, waves

from workbench import Workbench
from workbench.loadtest.measures import Cell, Sample
from workbench.loadtest.plan import Load
from workbench.loadtest.result import LoadTest
from workbench.loadtest.weight import Unfitted, fit_weight
from workbench.records import Chunk, Completion, ModelInfo, Request, Timing, Usage

PREFILL, STEP, OUTPUT = 0.0005, 0.02, 33  # seconds a prompt token, and a step that gives each call in flight one token


def batched(at_once: int, count: int, lengths: Callable[[int], int], seed: int = 1) -> Cell:
    """A closed loop on a server that computes calls together: a prompt stops all others while it is read."""
    rng, now, sent = random.Random(seed), 0.0, 0
    active: list[dict[str, Any]] = []
    samples = []

    def send() -> None:
        nonlocal sent
        if sent < count:
            active.append({"sent": now, "prompt": lengths(sent), "first": None, "made": 0})
            sent += 1

    for _ in range(at_once):
        send()
    while active:
        fresh = [one for one in active if one["first"] is None]
        for one in fresh:
            now += one["prompt"] * PREFILL * rng.lognormvariate(0, 0.05)
            one |= {"first": now, "made": 1}
        if not fresh:
            now += STEP * rng.lognormvariate(0, 0.05)
            for one in active:
                one["made"] += 1
        for one in [one for one in active if one["made"] >= OUTPUT]:
            active.remove(one)
            start = one["sent"]
            samples.append(Sample(start, start, now, one["first"] - start, now - start, one["prompt"], OUTPUT, 0))
            send()
    return Cell("a/m", Load(at_once), count, tuple(samples), 0.0)


@pytest.mark.parametrize("at_once", [1, 4, 16])
def test_the_weight_is_that_of_the_server_s_own_time_at_each_load(at_once: int) -> None:
    cell = batched(at_once, 16 * at_once + 16, lambda n: 50 if n // (2 * at_once) % 2 else 350)
    step = STEP / at_once * (OUTPUT - 1) / OUTPUT  # seconds an output token; the first comes with its prompt
    fitted = fit_weight(cell, source="load test x")
    assert fitted.value == pytest.approx(PREFILL / step, rel=0.03)
    assert fitted.low <= fitted.value <= fitted.high < 1.2 * fitted.low
    assert fitted.in_flight == pytest.approx(at_once, rel=0.1)


def test_prompts_of_one_length_cannot_tell_the_weight_and_say_what_to_do() -> None:
    with pytest.raises(Unfitted, match="about as long: measure with --weigh"):
        fit_weight(batched(4, 80, lambda n: 200))


def test_a_server_whose_prompts_cost_nothing_has_a_weight_of_about_nothing() -> None:
    found = fit_weight(cell_of([Sample(n, n, n + 1.0, 0.1, 1.0, 10 + 90 * (n % 2), 20, 0) for n in range(40)]))
    assert found.value == pytest.approx(0, abs=1e-3)
    assert found.low == 0


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        (cell_of(waves(8)), "too few"),
        (cell_of(waves(40, prompt=None)), "does not count tokens"),
        (cell_of(waves(40, width=20)), "at once are too few"),
        (cell_of([Sample(n, n, n + 1 - n % 3 / 3, 0.1, 1.0, 1 + n % 2, 1 + n % 5, 0) for n in range(13)]), "too wide"),
    ],
)
def test_what_the_data_cannot_tell_is_said(cell: Cell, why: str) -> None:
    with pytest.raises(Unfitted, match=why):
        fit_weight(cell)


class Reading:
    """A runtime that takes one call after the other: 1 ms a prompt token, 10 ms an output token."""

    kind = "scripted"
    concurrency = 1

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        start, prompt = asyncio.get_running_loop().time(), len(request.text().split())
        await asyncio.sleep(0.001 * prompt + 0.01)
        first = asyncio.get_running_loop().time() - start
        yield Chunk("one ")
        await asyncio.sleep(0.01 * 7)
        timing = Timing(start, asyncio.get_running_loop().time() - start, first_token=first)
        yield Chunk(completion=Completion("one two", "length", Usage(prompt, 8), timing, request.model))

    async def describe(self, model: str) -> ModelInfo:
        return ModelInfo(model, "d" * 64, 4096, "reading 1")

    async def complete(self, request: Request) -> Completion:
        raise NotImplementedError

    async def health(self) -> Any:
        raise NotImplementedError

    async def aclose(self) -> None:
        """Nothing to free."""


def test_a_load_test_that_weighs_varies_its_prompts_keeps_the_weight_and_says_it(
    measure: Callable[..., LoadTest], project: Path
) -> None:
    test = measure(Reading(), concurrency=[1], prompt_tokens=80, output_tokens=8, weigh=True)
    prompts = [sample.prompt_tokens for sample in test.cells[0].samples]
    assert set(prompts) == {20, 140}
    assert sum(map(int, filter(None, prompts))) / len(prompts) == 80
    assert "the weight of a prompt token is 0.1 [0.1, 0.1]" in str(test)
    assert not any("tokens on average" in note for note in test.notes())
    kept = Workbench(project).load_tests
    assert kept.get("last").weights == test.weights
    (fitted,) = kept.weights()["scripted/m"]
    assert fitted.value == pytest.approx(0.1, rel=0.02)
    assert test.test_id in fitted.source
    plain = measure(Reading(), concurrency=[1], prompt_tokens=80, output_tokens=8)
    assert "weight" not in str(plain)
    assert kept.weights()["scripted/m"] == [fitted], "the latest test that could tell"


async def test_gpu_cost_looks_at_the_server_s_counters_and_says_whether_others_used_it(
    project: Path, streaming_double: Any
) -> None:
    (project / "workbench.toml").write_text(f'[endpoints.gpu]\nkind = "vllm"\nurls = ["{streaming_double.url}"]\n')
    (project / "prices.toml").write_text('["gpu/*"]\ngpu_usd_per_hour = 2.0\n["gone/*"]\ngpu_usd_per_hour = 1.0\n')

    async def ask(bench: Workbench, count: int) -> None:
        for n in range(count):
            async for _ in bench.stream(f"question {n}", model="gpu/m", params={"max_tokens": 2}):
                pass

    async with Workbench(project) as bench:
        assert not len((await bench.gpu_cost()).frame), "nothing was asked yet"
        await ask(bench, 6)
        alone = (await bench.gpu_cost()).frame.iloc[0]
        assert (alone["calls"], alone["foreign"], alone["shared"]) == (6, 0, "no")
        streaming_double.foreign = 2  # two requests of others with each of ours
        await ask(bench, 3)
        board = await bench.gpu_cost()
    row = board.frame.iloc[0]
    assert (row["calls"], row["foreign"], row["shared"]) == (9, 6, "shared")
    assert str(board).count("(shared)") == 4
    assert len((project / ".workbench" / "metrics" / "gpu.jsonl").read_text().splitlines()) == 3
