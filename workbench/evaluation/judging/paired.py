"""The paired difference of a judge's scores, corrected where people have rated enough of the same answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from workbench.evaluation.arms import ArmScores, columns
from workbench.evaluation.judging.correction import corrected_mean
from workbench.evaluation.statistics import Paired, example_means, paired_interval, score_scale

__all__ = ["paired_difference"]


def paired_difference(
    base: ArmScores,
    arm: ArmScores,
    name: str,
    *,
    level: float,
    seed: int,
    binary: bool | None = None,
    resamples: int = 9_999,
) -> Paired | None:
    """`statistics.paired_interval` of the score `name`; of a judge's score that people have rated too (`ArmScores.people`) the
    one corrected by them, once they have rated both answers to enough examples. An example's label is the difference of its two
    ratings.

    `Paired.labels` says how many are rated, `judged` what the judge alone says where it was corrected. None as there.
    """
    before, after = base.scores[name], arm.scores[name]
    found = paired_interval(before, after, level=level, seed=seed, binary=binary, resamples=resamples)
    if found is None or name not in base.people or name not in arm.people:
        return found
    people = base.people[name], arm.people[name]
    judged, rated = _differences(before, after), _differences(*people)
    labels = int((~np.isnan(judged) & ~np.isnan(rated)).sum())
    low, high, known = score_scale((before, after, *(one for one in people if np.isfinite(one).any())))
    span = high - low
    corrected = corrected_mean(
        judged, rated, level=level, scale=(-span, span), known=known, seed=seed, resamples=resamples
    )
    if corrected is None:
        return replace(found, labels=labels)
    return replace(
        found, interval=corrected.interval, method="ppi" if corrected.weight else "people", p_value=corrected.p_value,
        sd=corrected.error * found.n**0.5, span=None, labels=labels, judged=corrected.judged,
    )  # fmt: skip


def _differences(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(examples,) of after - before, each the mean of its repeats; NaN where one has none."""
    (one, has), (other, had) = example_means(columns(before)), example_means(columns(after))
    return np.where(has & had, other - one, np.nan)
