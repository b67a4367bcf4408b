"""What earlier comparisons on the same data set (by its digest) say: how often it has decided, and how much differences vary."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from workbench.evaluation.datasets import Dataset

__all__ = ["MOST_DECISIONS", "History", "Spread", "holdout_note", "read_history"]

MOST_DECISIONS = 5
"""Comparisons that one data set may decide before a holdout is asked for."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The sd of paired differences of a score, from `n` examples; source: in which comparison it was seen."""

    sd: float
    n: int
    source: str


@dataclass(frozen=True, slots=True)
class History:
    """decided: comparisons with a verdict on this data set. spread: of the latest with the same primary score, else None."""

    decided: int
    spread: Spread | None


def read_history(runs: Path, dataset: str, primary: str, *, apart_from: str = "") -> History:
    """From the results below `runs` on the data set with this digest. apart_from: a run_id whose plan does not count.

    A comparison that was run again counts once. Results that cannot be read count as none.
    """
    found: dict[str, float] = {}
    latest: tuple[float, Spread] | None = None
    for path in runs.glob("*/*/result.json"):
        plan = path.parent.parent.name
        if plan == apart_from.partition("/")[0]:
            continue
        try:
            result: dict[str, Any] = json.loads(path.read_text("utf-8"))
            if result["dataset"]["digest"] != dataset or not result.get("decided", result["complete"]):
                continue
            contrasts = result["verdict"]["contrasts"]
            if not contrasts:
                continue
            written = path.stat().st_mtime
            found[plan] = written
            spread = _spread(contrasts, f"run {result['run']}") if result["verdict"]["primary"] == primary else None
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if spread is not None and (latest is None or written > latest[0]):
            latest = written, spread
    return History(len(found), None if latest is None else latest[1])


def _spread(contrasts: list[dict[str, Any]], source: str) -> Spread | None:
    known = [item for item in contrasts if item.get("sd")]
    if not known:
        return None
    return Spread(
        float(np.sqrt(np.mean([item["sd"] ** 2 for item in known]))), min(item["n"] for item in known), source
    )


def holdout_note(decided: int, dataset: Dataset) -> str:
    """What is said once a data set has decided more often than it should."""
    others = dataset.other_splits
    how = (
        f"its split {' or '.join(others)} (--split {others[0]})"
        if others
        else "hold some out, with a split of their own"
    )
    return (
        f"{dataset.name} has already decided {decided} comparisons: who chooses again and again on the same examples fits them "
        f"by chance. Confirm the choice on examples that took no part: {how}"
    )
