"""Numbers of answers that examples are chosen by, and their means over those that were chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from workbench import tables
from workbench.errors import InputError, did_you_mean
from workbench.evaluation.arms import repeat_means
from workbench.evaluation.browsing.query import Condition
from workbench.evaluation.measurements import Measurements
from workbench.evaluation.plan import Plan
from workbench.evaluation.run import Run

__all__ = ["gains", "mean_of", "means_of", "meets", "metric_names", "told", "values_of"]

_MEASURED = {
    "latency": "latency (s)", "first_token": "first token (s)", "cost": "cost ($)", "prompt_tokens": "prompt tokens, uncached",
    "output_tokens": "output tokens",
}  # fmt: skip


def metric_names(plan: Plan) -> dict[str, str]:
    """What can be asked about an answer, each with what it is called: score_NAME for each score; gain, which is of the primary
    score against the control's; latency, first_token (seconds), cost (dollars), prompt_tokens and output_tokens."""
    names = {f"score_{scorer.name}": scorer.name for scorer in plan.scorers}
    if len(plan.variants) > 1:
        names["gain"] = f"gain in {plan.primary.name}"
    return names | _MEASURED


def values_of(run: Run, metric: str) -> np.ndarray:
    """(variants, examples) of a metric: the mean of an answer's repeats, NaN where nothing is known. InputError for no metric."""
    known = metric_names(run.plan)
    if metric not in known:
        raise InputError(
            f"{metric!r} is no metric of this run.{did_you_mean(metric, known)} There is: {', '.join(known)}."
        )
    if metric == "gain":
        return gains(run)
    return repeat_means(_each(run.measurements, metric))


def gains(run: Run) -> np.ndarray:
    """(variants, examples) of the primary score against the control's, above 0 is better whatever the score; NaN where one has
    none, and for the control."""
    plan, numbers = run.plan, run.measurements
    scores, control = numbers.scores[plan.primary.name], numbers.of(plan.control)
    means = repeat_means(scores)
    found = means - means[control]
    found[control] = np.nan
    return np.asarray(found if plan.primary.higher_is_better else -found)


def meets(run: Run, condition: Condition, which: np.ndarray) -> np.ndarray:
    """(examples,) of True where an answer of one of the variants at `which` is so; what is unknown is not."""
    values = values_of(run, condition.metric)[which]
    compare = {"above": np.greater, "below": np.less, "at least": np.greater_equal, "at most": np.less_equal}
    held: np.ndarray = compare[condition.side](values, condition.value)
    return np.asarray(held.any(axis=0))


def means_of(run: Run, examples: np.ndarray | slice = slice(None)) -> list[dict[str, Any]]:
    """For each variant, of its answers to these examples: n (answers), errors, latency (median seconds), cost (mean dollars, None
    if that of one is unknown), score (mean of the primary), and `scores` by name: mean, n (scored), passed (how many are 1,
    of a score that is 0 or 1 in the whole run, else None)."""
    numbers, found = run.measurements, []
    answered, broken = numbers.worked, numbers.broken
    binary = {
        name: bool((np.isnan(values) | (values == 0) | (values == 1)).all()) for name, values in numbers.scores.items()
    }
    for at in range(len(numbers.variants)):
        worked = answered[at, examples]
        latency, cost = numbers.latency[at, examples], numbers.cost[at, examples][worked]
        latency = latency[~np.isnan(latency)]
        scores = {name: _score(values[at, examples], binary[name]) for name, values in numbers.scores.items()}
        found.append(
            {
                "n": int(worked.sum()),
                "errors": int(broken[at, examples].sum()),
                "latency": float(np.median(latency)) if latency.size else None,
                "cost": float(cost.mean()) if cost.size and not np.isnan(cost).any() else None,
                "score": scores[run.plan.primary.name]["mean"],
                "scores": scores,
            }
        )
    return found


def told(means: Mapping[str, Any]) -> dict[str, Any]:
    """One variant's means for people: `scores`, a name and a text each, such as `0.91, 10 of 11 passed`, and `facts`."""
    scores = []
    for name, score in means["scores"].items():
        count = f"n {score['n']:,}" if score["passed"] is None else f"{score['passed']:,} of {score['n']:,} passed"
        text = "unscored" if score["mean"] is None else f"{tables.format_number(score['mean'])}, {count}"
        scores.append([tables.clean_text(name), text])
    facts = [f"n {means['n']:,}"]
    facts += [] if means["latency"] is None else [f"P50 {tables.format_seconds(means['latency'])}"]
    facts += [] if means["cost"] is None else [f"{tables.format_money(means['cost'])}/call"]
    facts += [f"{means['errors']:,} failed"] if means["errors"] else []
    return {"scores": scores, "facts": ", ".join(facts)}


def mean_of(values: np.ndarray) -> float | None:
    """Of what is known, None if nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def _score(values: np.ndarray, binary: bool) -> dict[str, Any]:
    known = values[~np.isnan(values)]
    return {"mean": mean_of(known), "n": int(known.size), "passed": int((known == 1).sum()) if binary else None}


def _each(numbers: Measurements, metric: str) -> np.ndarray:
    if metric.startswith("score_"):
        return numbers.scores[metric.removeprefix("score_")]
    return np.asarray(getattr(numbers, metric), dtype=float)
