"""The examples behind a verdict: every row, and those that changed most, with all answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from workbench.errors import InputError
from workbench.evaluation.arms import example_differences
from workbench.evaluation.runner import Run
from workbench.evaluation.scorers.scorer import Answer, Scorer
from workbench.records import Score

__all__ = ["deltas", "example_table", "explanations", "rows"]


def deltas(run: Run, variant: str | None) -> np.ndarray:
    """(examples,) how much a variant gained against the control on the primary score; below 0 it lost.

    variant: a label, prompt reference or model; None is the first that is not the control.
    """
    plan, numbers = run.plan, run.measurements
    others = [v for v in plan.variants if v.label != plan.control]
    if variant is not None:
        others = [v for v in others if variant in (v.label, v.prompt.ref, v.model)]
    if not others:
        named = f"{variant!r} is none of the compared variants" if variant else "there is only one variant"
        raise InputError(f"{named}: no difference to the control to show. Variants: {', '.join(numbers.variants)}.")
    scores = numbers.scores[plan.primary.name]
    found = example_differences(scores, numbers.of(plan.control), numbers.of(others[0].label))
    return np.asarray(found if plan.primary.higher_is_better else -found)


def example_table(run: Run, gains: np.ndarray, n: int, *, largest_loss: bool) -> pd.DataFrame:
    """The n examples with the largest loss, or the largest change, by `gains`, with input and every variant's answer."""
    plan, numbers = run.plan, run.measurements
    keys = gains if largest_loss else -np.abs(gains)
    order = [int(i) for i in np.argsort(keys, kind="stable") if not np.isnan(gains[i]) and keys[i] < 0][:n]
    answers = rows(run, set(order))
    result = []
    for index in order:
        example = plan.dataset[int(plan.indices[index])]
        row: dict[str, Any] = {
            "example": example.id,
            "input": "\n".join(str(value) for value in example.inputs.values()),
            "expected": "" if example.expected is None else str(example.expected),
            "delta": gains[index],
        }
        for label in numbers.variants:
            mine = answers[(answers["example"] == index) & (answers["variant"] == label)]
            row[label] = _answer(mine)
        result.append(row)
    return pd.DataFrame(result, columns=["example", "input", "expected", "delta", *numbers.variants])


def rows(run: Run, examples: set[int] | None = None) -> pd.DataFrame:
    """One row for each variant, example and repeat that was measured, of these examples or of all."""
    found: dict[tuple[str, int, int], dict[str, Any]] = {}
    for row in run.folder.rows():
        if row["warmup"] or (examples is not None and row["example"] not in examples):
            continue
        key = (row["variant"], row["example"], row["repeat"])
        if key not in found or row["error"] is None:
            found[key] = row
    numbers = run.measurements
    records = []
    for (label, example, repeat), row in sorted(found.items(), key=lambda item: (item[0][1], item[0][0], item[0][2])):
        place = (numbers.of(label), example, repeat)
        scores = {f"score_{name}": values[place] for name, values in numbers.scores.items()}
        kept = {name: value for name, value in row.items() if name not in ("scores", "warmup")}
        records.append(kept | {"explanations": explanations(run, row)} | scores)
    columns = [*(f"score_{name}" for name in numbers.scores)]
    return (
        pd.DataFrame(records) if records else pd.DataFrame(columns=["variant", "example", "repeat", "text", *columns])
    )


def explanations(run: Run, row: Mapping[str, Any]) -> dict[str, str]:
    """By scorer of this plan, why an answer has its score: what was said when it was made, if the score is still that one, else
    what the scorer says now. What a judge said of an answer from before stays with its judgement."""
    if row["error"] is not None:
        return {}
    said, before = row.get("explanations") or {}, row.get("scores") or {}
    place = (run.measurements.of(row["variant"]), row["example"], row["repeat"])
    found: dict[str, str] = {}
    anew: list[Scorer] = []
    for scorer in run.plan.scorers:
        now = float(run.measurements.scores[scorer.name][place])
        then = before.get(scorer.name, math.inf)
        if now == then or (now != now and then is None):
            found[scorer.name] = said.get(scorer.name, "")
        elif not scorer.asks and scorer.needs is None:
            anew.append(scorer)
    if anew:
        answer = Answer(row["text"], row.get("tool_calls") or ())
        example = run.plan.dataset[int(run.plan.indices[row["example"]])]
        scores = {scorer.name: scorer(answer, example) for scorer in anew}
        found |= {name: score.explanation for name, score in scores.items() if isinstance(score, Score)}
    return {name: why for name, why in found.items() if why}


def _answer(rows: pd.DataFrame) -> str:
    """What one variant answered to one example: the first answer among its repeats, or why there is none."""
    worked = rows[rows["error"].isna()] if len(rows) else rows
    if len(worked):
        return str(worked["text"].iloc[0]).strip()
    return f"({rows['error'].iloc[0]})" if len(rows) else "(not asked)"
