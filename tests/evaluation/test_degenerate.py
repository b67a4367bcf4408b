"""Inputs with nothing to tell, through whole comparisons and their figures: a sentence, and neither a crash nor a NaN."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from workbench import Guardrail, Rule, Scripted, Workbench, dashboards
from workbench.records import Request
from workbench.running.progress import silent

NOT_SHOWN = re.compile(r"(?<![\w])([+-]?nan|NaN|[+-]?inf|Infinity|None)(?![\w])")
ALL = ("9", "9", "9")
HUGE, TINY = ("1e300", "-3e300", "2e300"), ("1e-300", "-3e-300", "2e-300")


def number(text: str, example: Any) -> float | None:
    """The answer as a score."""
    return None if text == "none" else float(text) / 10 if text in "0123456789" else float(text)


def right(text: str, example: Any) -> bool | None:
    """Whether the answer is 9."""
    return None if text == "none" else text == "9"


def answers(texts: tuple[str, ...]) -> Any:
    """Version k always answers its text; of a text with a bar the left part to even examples, the right part to odd ones."""

    def says(request: Request) -> str:
        version, example = re.findall(r"\d+", request.text())
        choice = texts[int(version) - 1].split("|")
        return choice[int(example) % len(choice)]

    return says


@pytest.mark.parametrize(
    ("texts", "examples", "options", "says"),
    [
        (ALL, 12, {"primary": number}, "0 differ"),
        (ALL, 12, {"primary": right, "sequential": True}, "0 differ"),
        (("0", "9"), 1, {"primary": right, "sequential": True}, "1 example, 1 differs"),
        (("none",) * 3, 5, {"primary": right, "sequential": True, "repeats": 2}, "neither has a single score"),
        (("9", "fails", "0"), 5, {"primary": right}, "t@2 has not a single score"),
        (("fails", "9"), 5, {"primary": number, "sequential": True}, "t@1 has not a single score"),
        (HUGE, 12, {"primary": number}, "neither has a single score"),
        (TINY, 12, {"primary": number}, "0 differ"),
        (("1e99|2e99", "-1e99|3e99", "1e99|0"), 12, {"primary": number}, "undecided"),
    ],
)  # fmt: skip
async def test_nothing_to_tell_is_a_sentence(
    project: Path, texts: tuple[str, ...], examples: int, options: dict[str, Any], says: str
) -> None:
    """All equal, one example, nothing scored, one that always fails, scores beyond all scales: with guardrails and slices."""
    rules = [
        Rule(match=f"version {at} ", error="BadRequestError") for at, text in enumerate(texts, 1) if text == "fails"
    ]
    data = pd.DataFrame({"q": [f"example {at}" for at in range(examples)], "metadata.part": "a"})
    guardrails = [
        Guardrail("latency", 0.2, "latency"), Guardrail("p95", 0.2, "latency", quantile=0.95), Guardrail("cost", 0.2, "cost"),
        Guardrail("number", 0.1) if options["primary"] is right else Guardrail("right", 0.1),
    ]  # fmt: skip
    runtimes = {"scripted": Scripted([*rules, Rule(answer=answers(texts))])}
    async with Workbench(project, runtimes=runtimes) as bench:
        for at in range(1, len(texts) + 1):
            bench.prompts.create("t", f"version {at} {{{{q}}}}")
        plan = bench.plan(
            prompts=[f"t@{at}" for at in range(1, len(texts) + 1)], models=["scripted/m"], dataset=data,
            scorers=[number if options["primary"] is right else right], guardrails=guardrails, **options,
        )  # fmt: skip
        result = await bench.compare(plan, progress=silent)
    assert says in result.verdict.sentence
    assert result.winner is None
    primary = plan.primary.name
    tables = (result.table(), result.worst(), result.changed())
    figures = (
        dashboards.delta_figure(result.verdict.contrasts, score=primary),
        dashboards.score_figure(result.summary, score=primary),
        dashboards.latency_figure(result.latencies()),
        dashboards.slice_figure(result.slices("part")),
        dashboards.pareto_figure(result.pareto()),
    )
    gates = result.gate([f"{primary}: non-inferior 0.02", "p95_ms < 2000"])
    shown = [str(plan), str(result), result._repr_html_(), result.slice_text("part"), gates.markdown()]
    shown += [table.to_string() for table in tables] + [figure.to_json() for figure in figures]
    for text in shown:
        found = NOT_SHOWN.search(text.replace("scorer gave None", ""))
        assert found is None, text[max(0, found.start() - 200) : found.end() + 50]
    json.dumps([result.to_mapping(), result.headline()], allow_nan=False)
    assert len(result.effects()) == len(result.sensitivity()) == len(texts) - 1
    assert len(result.stability()) == len(texts)
