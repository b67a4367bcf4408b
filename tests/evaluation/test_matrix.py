"""Prompts x models x params, and what nothing beats in quality, cost and latency at once."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from workbench import Workbench
from workbench.dashboards import pareto_figure, score_figure
from workbench.errors import InputError
from workbench.evaluation.comparison import Comparison
from workbench.evaluation.matrix import pareto_table
from workbench.running.progress import silent

if TYPE_CHECKING:
    from conftest import OpenAIDouble


def row(
    variant: str, quality: float, cost: float | None, latency: float | None, in_flight: float | None = 4
) -> dict[str, Any]:
    return {
        "variant": variant, "f1": quality, "f1_low": quality - 0.1, "f1_high": quality + 0.1, "cost_per_call": cost,
        "latency_p50": latency, "in_flight": in_flight,
    }  # fmt: skip


def beaten(*rows: dict[str, Any], **options: Any) -> dict[str, str]:
    table = pareto_table(rows, "f1", **options)
    return dict(zip(table["variant"], table["beaten_by"], strict=True))


def test_what_is_worse_in_all_three_is_beaten_by_the_best() -> None:
    """Better in one suffices to stand; equal in all three stands too; the best that beats is named."""
    rows = [
        row("a", 0.9, 3.0, 2.0),
        row("b", 0.8, 1.0, 1.0),
        row("c", 0.7, 3.0, 2.0),
        row("d", 0.6, 0.5, 9.0),
        row("e", 0.8, 1.0, 1.0),
    ]
    assert beaten(*rows) == {"a": "", "b": "", "e": "", "c": "a", "d": ""}


def test_a_few_milliseconds_beat_nobody() -> None:
    """Latencies and costs within 5% are equal; a better score then decides."""
    assert beaten(row("a", 0.8, 1.0, 1.0), row("b", 0.8, 1.0, 1.04)) == {"a": "", "b": ""}
    assert beaten(row("a", 0.8, 1.0, 1.0), row("b", 0.8, 1.0, 1.06)) == {"a": "", "b": "a"}
    assert beaten(row("a", 0.9, 1.04, 1.04), row("b", 0.8, 1.0, 1.0)) == {"a": "", "b": "a"}


def test_less_can_be_better() -> None:
    """Where a low score is good, the high one is beaten."""
    assert beaten(row("a", 0.9, 1.0, 1.0), row("b", 0.1, 1.0, 1.0), higher_is_better=False) == {"b": "", "a": "b"}


def test_what_is_unknown_beats_nothing_and_is_not_beaten() -> None:
    """An unknown cost beside a known one decides nothing; a cost that nobody knows does not count."""
    assert beaten(row("a", 0.9, None, 1.0), row("b", 0.5, 2.0, 2.0)) == {"a": "", "b": ""}
    assert beaten(row("a", 0.9, None, 1.0), row("b", 0.5, None, 2.0)) == {"a": "", "b": "a"}
    assert beaten(row("a", 0.9, 1.0, 1.0), row("b", np.nan, 2.0, 2.0)) == {"a": "", "b": ""}
    assert beaten() == {}


def test_latencies_at_different_concurrency_do_not_beat() -> None:
    """8 calls in flight against 1: neither beats the other, whatever the figures say."""
    assert beaten(row("a", 0.9, 1.0, 1.0, 1), row("b", 0.5, 2.0, 2.0, 8)) == {"a": "", "b": ""}
    assert beaten(row("a", 0.9, 1.0, 1.0, 8), row("b", 0.5, 2.0, 2.0, 7)) == {"a": "", "b": "a"}


def test_the_figure_shows_both_sides_and_who_beats_whom() -> None:
    """Score against cost and latency, beaten ones hollow and named in the hover text, markup only as text."""
    figure = pareto_figure(pareto_table([row("<b>a</b>", 0.9, 1.0, 1.0), row("b", 0.5, 2.0, 2.0)], "f1"))
    assert [(trace.name, trace.xaxis, tuple(trace.x), tuple(trace.y)) for trace in figure.data] == [
        ("not beaten", "x", (1.0,), (0.9,)), ("beaten", "x", (2.0,), (0.5,)),
        ("not beaten", "x2", (1.0,), (0.9,)), ("beaten", "x2", (2.0,), (0.5,)),
    ]  # fmt: skip
    assert "beaten by &lt;b&gt;a" in figure.data[1].customdata[0]
    assert "<b>a</b>" not in figure.to_json()


def test_variants_of_one_cost_stand_beside_the_axis() -> None:
    """Where all are free, their names do not lie over the numbers of the score."""
    figure = pareto_figure(pareto_table([row("a", 0.9, 0.0, 1.0), row("b", 0.8, 0.0, 2.0)], "f1"))
    assert ((-1, 1), (0,)) == (figure.layout.xaxis.range, figure.layout.xaxis.tickvals)
    assert figure.layout.xaxis2.range is None


def test_the_figure_says_what_is_unknown() -> None:
    """No cost at all is words, nothing scored a sentence, a missing column an error."""
    figure = pareto_figure(pareto_table([row("a", 0.9, None, 1.0)], "f1"))
    assert "dollars a call: unknown" in json.dumps(json.loads(figure.to_json()))
    assert "no variant has a f1 yet" in pareto_figure(pareto_table([row("a", np.nan, 1.0, 1.0)], "f1")).to_json()
    assert "no variant has been run" in pareto_figure(pareto_table([], "f1")).to_json()
    with pytest.raises(InputError, match="beaten_by"):
        pareto_figure(pareto_table([row("a", 0.9, 1.0, 1.0)], "f1").drop(columns="beaten_by"))


@pytest.fixture
def bench(project: Path, openai_double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    """A workbench with a prompt that is always wrong and one that is always right, and two models."""
    monkeypatch.setenv("OPENAI_BASE_URL", openai_double.url)
    openai_double.models = ["m", "n"]
    bench = Workbench(project)
    bench.prompts.create("tone", "Be wrong about this message:\n{{message}}")
    bench.prompts.create("tone", "Is this message positive or negative?\n{{message}}")
    return bench


def compare(bench: Workbench, **options: Any) -> Any:
    async def go() -> Any:
        async with bench:
            return await bench.compare(
                bench.plan(prompts=["tone@1", "tone@2"], dataset="reviews", **options), progress=silent
            )

    return asyncio.run(go())


def test_prompts_times_models_times_params(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """Eight variants, each asked with its own params, each with a row, named by what tells its params apart."""
    grid = [{"temperature": 0.0, "max_tokens": 5}, {"temperature": 0.7, "max_tokens": 5}]
    result = compare(bench, models=["openai/m", "openai/n"], params=grid, limit=12, concurrency=2)
    labels = [f"tone@{v} · openai/{m} · temperature={t}" for m in "mn" for t in (0.0, 0.7) for v in (1, 2)]
    assert result.summary["variant"].tolist() == labels
    assert (
        result.table()["params"].tolist()
        == ["temperature=0.0"] * 2 + ["temperature=0.7"] * 2 + ["temperature=0.0"] * 2 + ["temperature=0.7"] * 2
    )
    asked = {(body["model"], body["temperature"]) for body in openai_double.bodies}
    assert asked == {(model, temperature) for model in "mn" for temperature in (0.0, 0.7)}
    decisions = [contrast.decision for contrast in result.verdict.contrasts]
    assert decisions[0::2] == ["better"] * 4
    assert result.winner is not None
    table = result.pareto()
    assert set(table["variant"]) == set(labels)
    assert any("Beaten by no other" in note for note in result.notes())
    assert len(score_figure(result.summary).data[0].x) == 8
    figure = pareto_figure(table)
    assert {name for trace in figure.data for name in trace.text} == {label.replace(" · ", "<br>") for label in labels}


def test_equal_params_are_refused(bench: Workbench) -> None:
    """A matrix with one point twice would compare a variant with itself."""
    with pytest.raises(InputError, match="each must differ in a value"):
        bench.plan(
            prompts=["tone@1"], dataset="reviews", models=["openai/m"], params=[{"temperature": 0}, {"temperature": 0}]
        )
    with pytest.raises(InputError, match=r"params = \[\]"):
        bench.plan(prompts=["tone@1"], dataset="reviews", models=["openai/m"], params=[])


def test_latency_of_another_concurrency_says_so_in_the_table(
    bench: Workbench, project: Path, openai_double: OpenAIDouble
) -> None:
    """A model that was asked one call at a time beside one with eight at once: not comparable, in the table."""
    (project / "workbench.toml").write_text(
        f'[endpoints.one]\nkind = "openai"\nurl = "{openai_double.url}"\nconcurrency = 1\n'
        f'[endpoints.many]\nkind = "openai"\nurl = "{openai_double.url}"\nconcurrency = 8\n'
    )
    openai_double.delay = 0.01
    result = compare(Workbench(project), models=["many/m", "one/m"])
    shown = result.table()["latency P50"].tolist()
    assert ["not comparable" in cell for cell in shown] == [False, False, True, True]
    assert "(not comparable: 1 in flight)" in shown[2]


def test_variants_asked_in_turns_are_comparable(bench: Workbench) -> None:
    """Small rounds leave one and the other variant's median at 3 and at 4.5 calls in flight; on average they were alike."""
    result = compare(bench, models=["openai/m"], limit=20)
    numbers = result.run.measurements
    numbers.in_flight[0, :, 0] = [1] * 7 + [3] * 4 + [8] * 9
    numbers.in_flight[1, :, 0] = [1] * 4 + [2] * 3 + [4.5] * 6 + [8] * 7
    one, two = (numbers.concurrency(label) for label in numbers.variants)
    assert (one, two) == pytest.approx((4.55, 4.65))
    shown = Comparison(result.run).table()["latency P50"]  # anew: the first may have what was truly in flight
    assert not any("not comparable" in cell for cell in shown)
    numbers.in_flight[1] = 9
    assert "(not comparable: 9 in flight)" in Comparison(result.run).table()["latency P50"][1]
