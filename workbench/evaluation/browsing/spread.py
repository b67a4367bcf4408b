"""How the primary score, and its paired differences to the control, are spread over some examples."""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench import tables
from workbench.evaluation.browsing.metrics import gains, mean_of, values_of
from workbench.evaluation.run import Run

__all__ = ["spread"]

_BINS = 20  # of equal width; an even number, so that 0 is an edge of the differences'


def spread(run: Run, examples: np.ndarray) -> dict[str, Any]:
    """Of the primary score over these examples (positions), in plain types: `scores` and `differences`, each with `low` and
    `high` (its axis, one for all variants) and `variants`: counts by bin, and `text`, which says the same in words.

    An example's score is the mean of its repeats. Differences are the variant's less the control's, above 0 is better; equal ones
    are in the text, not in the counts, and the control has none.
    """
    scores, found = values_of(run, f"score_{run.plan.primary.name}")[:, examples], gains(run)[:, examples]
    low, high = _axis(scores)
    most = float(np.nanmax(np.abs(found))) if np.isfinite(found).any() else 0.0
    control = run.measurements.of(run.plan.control)
    return {
        "scores": {
            "low": low, "high": high,
            "variants": [{"counts": _counts(one, low, high), "text": _of_scores(one)} for one in scores],
        },
        "differences": {
            "low": -most, "high": most,
            "variants": [
                None if at == control else {"counts": _counts(one[one != 0], -most, most), "text": _of_differences(one)}
                for at, one in enumerate(found)
            ],
        },
    }  # fmt: skip


def _axis(values: np.ndarray) -> tuple[float, float]:
    """From 0 to 1 where all of it is in there."""
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


def _counts(values: np.ndarray, low: float, high: float) -> list[int]:
    known = values[np.isfinite(values)]
    if high <= low:
        return [int(known.size)] + [0] * (_BINS - 1)
    counts, _ = np.histogram(known, bins=_BINS, range=(low, high))
    return [int(count) for count in counts]


def _of_scores(values: np.ndarray) -> str:
    known = values[np.isfinite(values)]
    if not known.size:
        return "nothing scored"
    middle, (low, high) = float(np.median(known)), np.quantile(known, [0.25, 0.75])
    numbers = [tables.format_number(value) for value in (mean_of(known), middle, float(low), float(high))]
    return f"{known.size:,} examples, mean {numbers[0]}, median {numbers[1]}, half of them from {numbers[2]} to {numbers[3]}"


def _of_differences(values: np.ndarray) -> str:
    known = values[np.isfinite(values)]
    if not known.size:
        return "no example that both scored"
    worse, better = int((known < 0).sum()), int((known > 0).sum())
    mean = tables.format_number(float(known.mean()))
    return f"{worse:,} worse, {known.size - worse - better:,} the same, {better:,} better; mean difference {mean}"
