"""What one variant brings to a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["ArmScores", "alike_concurrency", "columns", "example_differences", "not_comparable"]

Array = npt.NDArray[np.float64]

_ALIKE = 1.25


@dataclass(frozen=True, slots=True, eq=False)
class ArmScores:
    """What one variant scored. Row i of every array, and of every other arm's, is example i; NaN is unscored.

    scores: for each scorer (examples, repeats). latency: seconds, cost: dollars, likewise, None if unknown throughout.
    concurrency: how many calls were typically in flight when its latency was measured, None if unknown.
    """

    label: str
    scores: Mapping[str, Array]
    latency: Array | None = None
    cost: Array | None = None
    concurrency: float | None = None


def alike_concurrency(one: float | None, other: float | None) -> bool:
    """Whether so many calls in flight load a server about alike; unknown ones do."""
    if one is None or other is None:
        return True
    few, many = sorted((one, other))
    return many <= _ALIKE * few


def not_comparable(one: ArmScores, other: ArmScores) -> str:
    """Why the latencies of two arms say nothing about each other, empty if they do: another number of calls at once."""
    if alike_concurrency(one.concurrency, other.concurrency):
        return ""
    return f"not comparable, measured with {one.concurrency:g} and with {other.concurrency:g} calls in flight"


def columns(values: Array) -> Array:
    """(examples, repeats) of values that may be (examples,)."""
    array = np.asarray(values, dtype=np.float64)
    return array[:, None] if array.ndim == 1 else array


def example_differences(scores: Array, control: int, variant: int) -> Array:
    """(examples,) of variant - control, each the mean of its scored repeats; NaN where one has none.

    scores: (variants, examples, repeats); control, variant: positions in it.
    """
    there = np.isfinite(scores[[control, variant]])
    counts = there.sum(axis=2)
    sums = np.where(there, scores[[control, variant]], 0.0).sum(axis=2)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return np.asarray(means[1] - means[0])
