"""Cost of a comparison on servers that are paid by the hour: one rate for all variants on a model."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from workbench import Workbench
from workbench.evaluation.hourly import price_by_time
from workbench.evaluation.measurements import FRESH, Measurements
from workbench.pricing import FittedWeight, Price
from workbench.records import Usage
from workbench.running.progress import silent

if TYPE_CHECKING:
    from conftest import OpenAIDouble

GPU = {"gpu": Price(gpu_usd_per_hour=3.6)}  # a tenth of a cent a second


def measured(*rows: tuple[int, int, float, float, Usage], cost: float | None = None) -> Measurements:
    """rows: variant, example, began, ended, usage."""
    numbers = Measurements(["a", "b"], 3, 1, ["s"])
    for variant, example, began, ended, usage in rows:
        numbers.add(
            "ab"[variant], example, 0, state=FRESH, at=ended, scores={}, latency=ended - began, first_token=None, cost=cost,
            failed=False, in_flight=1, usage=usage,
        )  # fmt: skip
    return numbers


def test_the_busy_time_is_shared_by_work_at_one_rate_for_both_variants() -> None:
    # busy [0, 20] and [30, 40]: 30 s for 3 cents; a's calls were slow, which is not its prompt's doing
    numbers = measured(
        (0, 0, 0, 20, Usage(100, 10)), (1, 0, 10, 15, Usage(100, 10)), (1, 1, 30, 40, Usage(500, 10, cached_tokens=400))
    )
    weights = {"gpu/m": [FittedWeight(0.5, 0.4, 0.6, 1.0, "load test x")]}
    (rate,) = price_by_time(numbers, ["gpu/m", "gpu/m"], GPU, weights)
    assert np.nansum(numbers.cost) == pytest.approx(0.03)
    assert numbers.cost[0, 0, 0] == pytest.approx(0.01)
    assert numbers.cost[1, :2, 0] == pytest.approx([0.01, 0.01])
    assert np.isnan(numbers.cost[1, 2, 0])
    assert (rate.busy, rate.in_flight, rate.utilisation) == pytest.approx((30, 35 / 30, 0.75))
    assert "a prompt token weighs 0.5: load test x" in str(rate)


def test_each_model_has_its_own_busy_time_and_an_unpriced_endpoint_stays_unknown() -> None:
    numbers = measured((0, 0, 0, 10, Usage(0, 10)), (1, 0, 20, 40, Usage(0, 10)))
    found = price_by_time(numbers, ["gpu/m", "gpu/large"], GPU, {})
    assert [rate.model for rate in found] == ["gpu/m", "gpu/large"]
    assert numbers.cost[:, 0, 0] == pytest.approx([0.01, 0.02])
    other = measured((0, 0, 0, 10, Usage(0, 10)), (1, 0, 20, 40, Usage(0, 10)))
    assert [rate.model for rate in price_by_time(other, ["gpu/m", "vllm/m"], GPU, {})] == ["gpu/m"]
    assert np.isnan(other.cost[1]).all()


@pytest.mark.parametrize(
    "numbers",
    [
        measured((0, 0, 0, 10, Usage(10, None))),  # it does not count tokens
        measured((0, 0, 0, 10, Usage(10, 10)), cost=0.5),  # priced by the token
        measured(),
    ],
)
def test_what_cannot_be_shared_or_has_a_price_is_left_as_it_is(numbers: Measurements) -> None:
    before = numbers.cost.copy()
    assert price_by_time(numbers, ["gpu/m", "gpu/m"], GPU, {}) == ()
    assert np.array_equal(numbers.cost, before, equal_nan=True)


def test_a_comparison_on_a_server_paid_by_the_hour_has_a_cost_and_says_how_and_a_replay_says_the_same(
    project: Path, openai_double: OpenAIDouble
) -> None:
    (project / "workbench.toml").write_text(
        f'[endpoints.gpu]\nkind = "openai-compatible"\nurls = ["{openai_double.url}"]\n'
    )
    (project / "prices.toml").write_text('["gpu/*"]\ngpu_usd_per_hour = 36.0\nprompt_weight = 1.0\n')

    async def go() -> Any:
        async with Workbench(project) as bench:
            if not bench.prompts.names():
                bench.prompts.create("tone", "Say it:\n{{message}}")
                bench.prompts.create("tone", "Say it, and " + "think " * 30 + ":\n{{message}}")
            plan = bench.plan(prompts=["tone@1", "tone@2"], models=["gpu/m"], dataset="reviews", concurrency=2)
            return await bench.compare(plan, progress=silent)

    first = asyncio.run(go())
    cost, numbers = first.summary["cost_per_call"].tolist(), first.run.measurements
    work = (numbers.prompt_tokens + numbers.output_tokens).mean(axis=(1, 2))
    assert cost[1] / cost[0] == pytest.approx(work[1] / work[0], rel=1e-5)
    (rate,) = first.run.hourly
    assert np.nansum(numbers.cost) == pytest.approx(0.01 * rate.busy)
    assert "unknown" not in first.table()["cost/call"].tolist()
    assert any("$36.00 an hour" in note and "prices.toml" in note and "in flight" in note for note in first.notes())
    again = asyncio.run(go())
    assert again.summary["replayed"].tolist() == [40, 40]
    assert again.summary["cost_per_call"].tolist() == pytest.approx(cost)
