"""What one variant brings to a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

__all__ = ["ArmScores", "alike_concurrency", "columns", "example_differences", "not_comparable", "repeat_means"]

Array = npt.NDArray[np.float64]

_ALIKE = 1.25


@dataclass(frozen=True, slots=True, eq=False)
class ArmScores:
    """What one variant scored. Row i of every array, and of every other arm's, is example i; NaN is unscored.

    scores: for each scorer (examples, repeats). latency: seconds, cost: dollars, likewise, None if unknown throughout.
    people: of a judge's score NAME, what people said of the same answers, likewise.
    concurrency: how many calls were in flight on average when its latency was measured, None if unknown.
    """

    label: str
    scores: Mapping[str, Array]
    latency: Array | None = None
    cost: Array | None = None
    concurrency: float | None = None
    people: Mapping[str, Array] = field(default_factory=dict)


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
    return f"not comparable, measured with {one.concurrency:.3g} and with {other.concurrency:.3g} calls in flight"


def columns(values: Array) -> Array:
    """(examples, repeats) of values that may be (examples,)."""
    array = np.asarray(values, dtype=np.float64)
    return array[:, None] if array.ndim == 1 else array


def example_differences(scores: Array, control: int, variant: int) -> Array:
    """(examples,) of variant - control, each the mean of its scored repeats; NaN where one has none.

    scores: (variants, examples, repeats); control, variant: positions in it.
    """
    means = repeat_means(scores[[control, variant]])
    return np.asarray(means[1] - means[0])


def repeat_means(values: Array) -> Array:
    """Over the last axis, the mean of what is known; NaN where nothing is."""
    there = np.isfinite(values)
    counts = there.sum(axis=-1)
    sums = np.where(there, values, 0.0).sum(axis=-1)
    return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan))
