"""What a plan says before anything is sent."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import nct, t

from workbench import Guardrail, Workbench
from workbench.errors import InputError
from workbench.evaluation.power import visible_difference


@pytest.fixture
def bench(project: Path) -> Workbench:
    """A project with two versions of a prompt."""
    bench = Workbench(project)
    bench.prompts.create("tone", "Positive or negative? {{message}}")
    bench.prompts.create("tone", "Which tone? {{message}}")
    return bench


def lines(bench: Workbench, **options: Any) -> dict[str, str]:
    """The plan's lines by name."""
    given = {"prompts": ["tone@1", "tone@2"], "models": ["scripted/echo"], "dataset": "reviews"}
    return dict(bench.plan(**(given | options)).lines())


@pytest.mark.parametrize(("n", "discordant"), [(500, 0.2), (96, 0.2), (40, 0.2), (20, 0.2), (30, 0.05)])
def test_a_visible_difference_is_seen_with_its_power(n: int, discordant: float) -> None:
    """A paired t test of right/wrong differences of that size has 80% power, and of a third less has clearly not."""
    found = visible_difference(n, discordant)
    assert found <= max(found, discordant)
    judged = max(found, discordant)  # the share that is judged differently

    def power(effect: float) -> float:
        noncentral = effect / math.sqrt(judged) * math.sqrt(n)
        return float(nct.sf(t.ppf(0.975, n - 1), n - 1, noncentral))

    assert power(found) == pytest.approx(0.8, abs=0.03)
    assert power(found / 1.5) < 0.7


def test_no_visible_difference_is_larger_than_can_be() -> None:
    """It is at most 1, or there is none; and more examples never see less."""
    found = np.array([visible_difference(n, 0.2) for n in range(1, 400)])
    assert all(value <= 1 for value in found[np.isfinite(found)])
    assert math.isinf(found[1])
    assert (np.diff(found[np.isfinite(found)]) < 0).all()


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (2, "no difference: there are too few examples"),
        (20, "only differences from about 0.44 (80% power, if none is judged the other way round)"),
        (None, "only differences from about 0.21 (80% power, if none is judged the other way round)"),
    ],
)
def test_what_it_can_see_is_possible(bench: Workbench, limit: int | None, expected: str) -> None:
    """Few examples see only large differences, or none: never one above 1."""
    assert lines(bench, limit=limit)["can see"] == expected


def test_enough_examples_see_a_difference_within_a_fifth(bench: Workbench, project: Path) -> None:
    """The usual case says what it takes for given."""
    (project / "datasets" / "many.csv").write_text(
        "message,expected\n" + "".join(f"message number {i},positive\n" for i in range(200))
    )
    assert lines(bench, dataset="many")["can see"] == (
        "differences from about 0.09 (80% power, if 20% of the examples are judged differently)"
    )


def test_unknown_minutes_name_only_what_is_unknown(bench: Workbench, project: Path) -> None:
    """A model that has been called is not the reason why the minutes are unknown."""
    (project / "mine.toml").write_text('[[rules]]\nanswer = "positive"\n')
    for _ in range(3):
        _asked(bench, "scripted/echo")
    assert lines(bench)["time"].endswith("(from earlier calls)")
    both = lines(bench, models=["scripted/echo", "scripted/mine.toml"])
    assert both["time"] == "unknown (scripted/mine.toml has not been called yet)"


def _asked(bench: Workbench, model: str) -> None:
    import asyncio

    asyncio.run(bench.ask("Positive or negative? fine", model=model))


@pytest.mark.parametrize("measure", ["latency", "cost"])
def test_a_guardrail_called_latency_says_how_to_mean_it(bench: Workbench, measure: str) -> None:
    """Whoever names it so means the calls' latency, not a scorer."""
    with pytest.raises(InputError, match=f'for the {measure} of the calls it needs measure = "{measure}"'):
        lines(bench, guardrails=[Guardrail(measure, 0.2)])
    with pytest.raises(InputError, match="add it to scorers=, or use one of exact_match"):
        lines(bench, guardrails=[Guardrail("token_f1", 0.2)])
