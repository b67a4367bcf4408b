"""Slices, effects, steadiness and sensitivity of a comparison, against a double of a server."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from workbench import Workbench
from workbench.evaluation.statistics import mean_interval, paired_interval
from workbench.running.progress import silent

if TYPE_CHECKING:
    from conftest import OpenAIDouble

ONE, TWO = "tone@1 · openai/m", "tone@2 · openai/m"


@pytest.fixture
def bench(project: Path, openai_double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    """A workbench with a prompt that is always wrong and one that is always right."""
    monkeypatch.setenv("OPENAI_BASE_URL", openai_double.url)
    bench = Workbench(project)
    bench.prompts.create("tone", "Be wrong about this message:\n{{message}}")
    bench.prompts.create("tone", "Is this message positive or negative?\n{{message}}")
    return bench


def compare(bench: Workbench, **options: Any) -> Any:
    async def go() -> Any:
        async with bench:
            plan = bench.plan(prompts=["tone@1", "tone@2"], models=["openai/m"], dataset="reviews", **options)
            return await bench.compare(plan, progress=silent)

    return asyncio.run(go())


def test_slices_hold_together_and_warn(bench: Workbench) -> None:
    """Each part has both scores and a difference whose interval is as wide as all parts together need; the text warns."""
    result = compare(bench)
    table = result.slices("difficulty")
    parts = table["difficulty"].nunique()
    assert parts > 1
    first = table[table["difficulty"] == table["difficulty"].iloc[0]].set_index("variant")
    n = int(first.loc[TWO, "n"])
    expected = paired_interval(np.zeros(n), np.ones(n), level=1 - 0.05 / parts).interval
    assert tuple(first.loc[TWO, ["difference", "difference_low", "difference_high"]]) == pytest.approx(expected[:3])
    assert tuple(first.loc[TWO, ["exact_match", "low", "high"]]) == pytest.approx(mean_interval(np.ones(n))[:3])
    assert first["decision"].to_dict() == {ONE: "control", TWO: "better"}
    text = result.slice_text("difficulty")
    assert f"Warning: {parts} differences were looked at" in text
    assert "nan" not in text.lower()


def test_effects_count_the_examples(bench: Workbench) -> None:
    """40 better and none worse: no odds ratio is made up, and no spread, no standardised difference."""
    row = compare(bench).effects().iloc[0]
    assert (row["better"], row["worse"], row["same"], row["superiority"]) == (40, 0, 0, 1.0)
    assert np.isnan(row["odds_ratio"])
    assert np.isnan(row["standardised"])


def test_steadiness_needs_repeats_and_counts_texts(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """Answers that always differ in words but never in their score: texts differ, scores do not, the noise floor is 0."""
    assert compare(bench).stability()["scores_differ"].isna().all()
    count = itertools.count()
    openai_double.says = lambda message: f"positive {next(count)}"
    result = compare(bench, repeats=3, seed=5, limit=10)
    table = result.stability()
    assert table["texts_differ"].tolist() == [1.0, 1.0]
    assert table["scores_differ"].tolist() == [0.0, 0.0]
    assert table["noise_floor"].tolist() == [0.0, 0.0]
    assert table["examples"].tolist() == [10, 10]
    assert any("Noise floor: tone@1 · openai/m against itself differs by up to 0 on" in note for note in result.notes())


def test_a_decision_that_hangs_on_one_example_is_noted(bench: Workbench) -> None:
    """4 of 4 is better by a hair, which the note says; of 6 three must be left out before nothing is clear."""
    result = compare(bench, limit=6)
    found = result.sensitivity().iloc[0]
    assert result.verdict.contrasts[0].decision == "better"
    assert found["changes_at"] == 3
    assert found["to"] == "undecided"
    small = compare(bench, limit=4)
    assert small.verdict.contrasts[0].decision == "better"
    assert small.sensitivity()["changes_at"].tolist() == [1]
    assert any("hangs on one example: without it, it is undecided" in note for note in small.notes())


@pytest.mark.parametrize("options", [{"limit": 1}, {"primary": lambda text, example: None}, {"limit": 1, "repeats": 2}])
def test_odd_comparisons_have_tables_too(bench: Workbench, options: dict[str, Any]) -> None:
    """One example, or nothing scored: every table is there, and no sentence says nan."""
    result = compare(bench, **options)
    for table in (result.effects(), result.stability(), result.sensitivity(), result.slices("difficulty")):
        assert len(table)
    assert "nan" not in (str(result) + result.slice_text("difficulty")).lower()
    assert len(result.worst(3)) <= 1


def test_a_variant_that_fails_everywhere_has_tables_too(bench: Workbench, openai_double: OpenAIDouble) -> None:
    """The other keeps its scores; nothing is paired, nothing is made up."""
    openai_double.refuse = "Be wrong"
    result = compare(bench, limit=8)
    assert result.winner is None
    assert "has not a single score" in result.verdict.sentence
    assert result.effects()["better"].tolist() == [0]
    assert result.sensitivity()["changes_at"].tolist() == [None]
    assert "unscored" in result.slice_text("difficulty")
