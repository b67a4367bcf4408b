"""The decision: one primary paired interval for each variant against the control, guardrails beside it.

equivalent: the interval lies within ±margin. Otherwise better or worse if it excludes 0, otherwise undecided. With k
variants each interval has level 1 - (1 - level) / k (Bonferroni), so that all k hold together, and the interval that is
printed is the one that decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError
from workbench.evaluation.arms import ArmScores
from workbench.evaluation.guardrails import Guardrail, check_guardrail, check_margin
from workbench.evaluation.judging.paired import paired_difference
from workbench.evaluation.sentences import alone, contrast_sentence, nothing_paired, short_names, summary
from workbench.evaluation.sequential import EARLY, confidence_sequence
from workbench.evaluation.statistics import Paired, examples_needed, paired_interval
from workbench.records import Contrast, Interval, Verdict

__all__ = ["ArmScores", "Guardrail", "decide", "deciding_difference", "decision_of"]

Array = npt.NDArray[np.float64]
Decision = Literal["better", "worse", "equivalent", "undecided"]


def decide(
    arms: Sequence[ArmScores],
    *,
    primary: str,
    control: str,
    margin: float,
    level: float = 0.95,
    guardrails: Sequence[Guardrail] = (),
    higher_is_better: bool = True,
    binary: bool | None = None,
    seed: int = 0,
    final: bool = True,
    planned: int | None = None,
) -> Verdict:
    """The verdict of every other arm against `control` (a label) on the score `primary`.

    margin: the difference of the primary score that does not matter, in its units. level: of all contrasts together.
    binary: whether the primary score is right/wrong; None looks at it. Contrast.p_value is Bonferroni's, like the interval; None
    where a sequential comparison ended early. A guardrail's interval is the difference (score) or the relative change of its
    quantile (latency, cost). winner: better and no guardrail broken; of several the best estimate; None unless `final`, which is
    whether all planned answers are there, or the run ended by its own plan. planned: of a sequential comparison, its examples;
    rows are then in the plan's order, and before the last of them the interval is that of `sequential.confidence_sequence`.
    Raises InputError for unknown or repeated labels, a missing score, a bad margin, arrays that are not aligned, or binary=True
    with other scores than 0 and 1.
    """
    check_margin(margin, "margin")
    _check_arms(arms, primary, control, guardrails)
    by_label = {arm.label: arm for arm in arms}
    names = short_names(list(by_label))
    base = by_label.pop(control)
    if not by_label:
        return Verdict(primary, control, (), None, alone(names[control], primary, base, level, seed, binary))
    each = 1 - (1 - level) / len(by_label)
    contrasts = []
    for label, arm in by_label.items():
        checks = tuple(check_guardrail(guardrail, base, arm, names, each, seed) for guardrail in guardrails)
        found = deciding_difference(base, arm, primary, level=each, seed=seed, binary=binary, planned=planned)
        decision = "undecided" if found is None else decision_of(found.interval, margin, higher_is_better)
        needed = None if found is None else examples_needed(found.sd, margin, _ending(each, planned), span=found.span)
        if found is None:
            sentence = nothing_paired(primary, base, arm, names)
        else:
            sentence = contrast_sentence(decision, found, primary, names[label], names[control], margin, needed)
        contrasts.append(
            Contrast(
                variant=label,
                control=control,
                decision=decision,
                interval=None if found is None else found.interval,
                margin=margin,
                n=0 if found is None else found.n,
                discordant=0 if found is None else found.discordant,
                left_out=len(base.scores[primary]) if found is None else found.left_out,
                method="none" if found is None else found.method,
                p_value=_p_value(found, len(by_label), planned),
                n_needed=needed,
                guardrails=checks,
                sentence=sentence,
                sd=None if found is None else found.sd,
                labels=None if found is None else found.labels,
                judged=None if found is None else found.judged,
            )
        )
    best = _best(contrasts, higher_is_better) if final else None
    sentence = summary(contrasts, best, names, level, final=final)
    return Verdict(primary, control, tuple(contrasts), None if best is None else best.variant, sentence)


def deciding_difference(
    base: ArmScores,
    arm: ArmScores,
    primary: str,
    *,
    level: float,
    seed: int,
    binary: bool | None = None,
    planned: int | None = None,
    resamples: int = 9_999,
) -> Paired | None:
    """The interval that decides one contrast, at the `level` of one; None if no example has both scores.

    planned: of a sequential comparison, its examples: the interval then holds over all looks and the end together. A judge is
    corrected by people where a comparison is over, not at its looks.
    """
    ending = _ending(level, planned)
    if planned is None or len(base.scores[primary]) >= planned:
        found = paired_difference(base, arm, primary, level=ending, seed=seed, binary=binary, resamples=resamples)
        return found and replace(found, interval=found.interval._replace(level=level))
    before, after = base.scores[primary], arm.scores[primary]
    found = paired_interval(before, after, level=ending, seed=seed, binary=binary, resamples=resamples)
    interval = confidence_sequence(before, after, planned=planned, level=1 - (1 - level) * EARLY)
    if found is None or interval is None:
        return None
    return replace(found, interval=interval._replace(level=level), method="sequence", span=None)


def _ending(level: float, planned: int | None) -> float:
    """The level that is left for the planned end: all of it, or of a sequential comparison what its looks leave."""
    return level if planned is None else 1 - (1 - level) * (1 - EARLY)


def _p_value(found: Paired | None, contrasts: int, planned: int | None) -> float | None:
    """Bonferroni's, and at the end of a sequential comparison that of the part of the error which is left for it."""
    if found is None or found.method == "sequence":
        return None
    return min(1.0, found.p_value * contrasts / (1.0 if planned is None else 1 - EARLY))


def decision_of(interval: Interval, margin: float, higher_is_better: bool) -> Decision:
    """What the interval of a difference says about the margin."""
    if -margin <= interval.low and interval.high <= margin:
        return "equivalent"
    if interval.low > 0:
        return "better" if higher_is_better else "worse"
    if interval.high < 0:
        return "worse" if higher_is_better else "better"
    return "undecided"


def _best(contrasts: Sequence[Contrast], higher_is_better: bool) -> Contrast | None:
    able = [c for c in contrasts if c.decision == "better" and all(check.state != "broken" for check in c.guardrails)]

    def gain(contrast: Contrast) -> float:
        assert contrast.interval is not None  # noqa: S101  (better has an interval)
        return contrast.interval.estimate if higher_is_better else -contrast.interval.estimate

    return max(able, key=gain, default=None)


# -- checks -----------------------------------------------------------------------------------------------------------


def _check_arms(arms: Sequence[ArmScores], primary: str, control: str, guardrails: Sequence[Guardrail]) -> None:
    labels = [arm.label for arm in arms]
    if len(set(labels)) < len(labels):
        twice = sorted({label for label in labels if labels.count(label) > 1})
        raise InputError(f"{', '.join(twice)} is there twice: give each variant once.")
    if control not in labels:
        raise InputError(f"control = {control!r} is none of the variants: {', '.join(labels) or 'there are none'}.")
    needed = [primary, *(guardrail.name for guardrail in guardrails if guardrail.measure == "score")]
    sizes = set()
    for arm in arms:
        for name in needed:
            if name not in arm.scores:
                raise InputError(f"{arm.label} has no score {name!r}. It has: {', '.join(arm.scores) or 'none'}.")
            sizes.add(len(arm.scores[name]))
        sizes |= {len(values) for values in (arm.latency, arm.cost) if values is not None}
    if len(sizes) > 1:
        raise InputError(
            f"the arrays have {', '.join(map(str, sorted(sizes)))} examples: row i of each must be the same example; "
            "give NaN where there is no score."
        )
