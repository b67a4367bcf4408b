"""What stands above the rows of a comparison: cost, what is missing, and a few facts of each variant; all of it text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench import tables
from workbench.evaluation.comparison import Comparison
from workbench.evaluation.measurements import FRESH

__all__ = ["cost", "facts", "facts_so_far", "offer", "total"]


def offer(missing: int, failed: int) -> str:
    """What the button says that goes on; "" for none."""
    calls = f"the {tables.format_count(failed, 'failed call')}"
    if not missing:
        return f"Ask {calls} again" if failed else ""
    answers = f"{missing:,} {'answer is' if missing == 1 else 'answers are'} missing"
    return f"Go on: {answers}, and {calls} will be asked again" if failed else f"Go on: {answers}"


def total(result: Comparison, at: int | slice = slice(None)) -> str:
    """What the answers of a variant, or of all, cost as they were measured; unknown if that of one is."""
    numbers = result.run.measurements
    return tables.format_money(float(numbers.cost[at][numbers.worked[at]].sum()))


def cost(result: Comparison) -> str:
    """The comparison's cost as measured, and what was spent on it now: warm-ups and judges are in that."""
    run, fresh = result.run, int((result.run.measurements.state == FRESH).sum())
    calls = f" in {tables.format_count(fresh, 'call')}, warm-ups and judges" if fresh else ""
    answers = tables.format_count(run.measurements.done, "answer")
    return f"{answers} cost {total(result)}; {tables.format_money(run.spent)} spent now{calls}."


def facts(row: Mapping[Any, Any], primary: str, total: str) -> list[str]:
    """A variant's head: score with its interval first. total: cost of its answers."""
    return [
        str(row[primary]),
        str(row["verdict"]),
        f"P50 {row['latency P50']}",
        f"{row['cost/call']}/call, {total} in all",
        f"n {row['n']}",
    ]


def facts_so_far(means: Mapping[str, Any]) -> list[str]:
    """The same of a run that goes on, by `ExamplePages.means`."""
    score = "unscored" if means["score"] is None else f"{means['score']:.2f} so far"
    latency = [] if means["latency"] is None else [f"P50 {tables.format_seconds(means['latency'])}"]
    errors = [f"{means['errors']:,} failed"] if means["errors"] else []
    return [score, f"n {means['n']:,}", *latency, *errors]
