"""The decision: one primary paired interval for each variant against the control, guardrails beside it.

equivalent: the interval lies within ±margin. Otherwise better or worse if it excludes 0, otherwise undecided. With k
variants each interval has level 1 - (1 - level) / k (Bonferroni), so that all k hold together, and the interval that is
printed is the one that decides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError
from workbench.evaluation.statistics import (
    Paired,
    examples_needed,
    mean_interval,
    median_ratio_interval,
    paired_interval,
)
from workbench.records import Contrast, GuardrailCheck, Interval, Verdict

__all__ = ["ArmScores", "Guardrail", "decide"]

Array = npt.NDArray[np.float64]
Decision = Literal["better", "worse", "equivalent", "undecided"]
State = Literal["held", "broken", "unclear"]


@dataclass(frozen=True, slots=True)
class Guardrail:
    """What must not get worse by more than `margin`.

    measure score: `name` is a scorer's, margin in its units, higher_is_better as the scorer says.
    measure latency or cost: margin is the allowed relative increase of the median, 0.2 for 20%; `name` is only shown.
    """

    name: str
    margin: float
    measure: Literal["score", "latency", "cost"] = "score"
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        if self.measure not in ("score", "latency", "cost"):
            raise InputError(
                f"guardrail {self.name!r}: measure = {self.measure!r} is unknown: use 'score' (with a scorer's name), "
                "'latency' or 'cost'."
            )
        _check_margin(self.margin, f"guardrail {self.name!r}: margin")


@dataclass(frozen=True, slots=True, eq=False)
class ArmScores:
    """What one variant scored. Row i of every array, and of every other arm's, is example i; NaN is unscored.

    scores: for each scorer (examples, repeats). latency: seconds, cost: dollars, likewise, None if unknown throughout.
    """

    label: str
    scores: Mapping[str, Array]
    latency: Array | None = None
    cost: Array | None = None


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
) -> Verdict:
    """The verdict of every other arm against `control` (a label) on the score `primary`.

    margin: the difference of the primary score that does not matter, in its units. level: of all contrasts together.
    binary: whether the primary score is right/wrong; None looks at it. Contrast.p_value is Bonferroni's, like the
    interval. A guardrail's interval is the difference (score) or the relative change of the median (latency, cost).
    winner: better and no guardrail broken; of several the best estimate; None unless `final`, which is whether all planned
    answers are there. Raises InputError for unknown or repeated
    labels, a missing score, a bad margin, arrays that are not aligned, or binary=True with other scores than 0 and 1.
    """
    _check_margin(margin, "margin")
    _check_arms(arms, primary, control, guardrails)
    by_label = {arm.label: arm for arm in arms}
    names = _short_names(list(by_label))
    base = by_label.pop(control)
    if not by_label:
        return Verdict(primary, control, (), None, _alone(names[control], primary, base, level, seed, binary))
    each = 1 - (1 - level) / len(by_label)
    contrasts = []
    for label, arm in by_label.items():
        checks = tuple(_check(guardrail, base, arm, names, each, seed) for guardrail in guardrails)
        found = paired_interval(base.scores[primary], arm.scores[primary], level=each, seed=seed, binary=binary)
        decision = "undecided" if found is None else _decision(found.interval, margin, higher_is_better)
        needed = None if found is None else examples_needed(found.sd, margin, each, span=found.span)
        if found is None:
            sentence = _nothing_paired(primary, base, arm, names)
        else:
            sentence = _sentence(decision, found, primary, names[label], names[control], margin, needed)
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
                p_value=None if found is None else min(1.0, found.p_value * len(by_label)),
                n_needed=needed,
                guardrails=checks,
                sentence=sentence,
            )
        )
    best = _best(contrasts, higher_is_better) if final else None
    sentence = _summary(contrasts, best, names, level, final=final)
    return Verdict(primary, control, tuple(contrasts), None if best is None else best.variant, sentence)


def _decision(interval: Interval, margin: float, higher_is_better: bool) -> Decision:
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


# -- guardrails -------------------------------------------------------------------------------------------------------


def _check(
    guardrail: Guardrail, base: ArmScores, arm: ArmScores, names: Mapping[str, str], level: float, seed: int
) -> GuardrailCheck:
    variant, control = names[arm.label], names[base.label]
    if guardrail.measure == "score":
        interval, state, text = _check_score(guardrail, base, arm, level, seed)
    else:
        interval, state, text = _check_relative(guardrail, base, arm, level, seed)
    verb = {"held": "holds", "broken": "is broken", "unclear": "is unclear"}[state]
    sentence = f"Guardrail {guardrail.name} {verb} for {variant} against {control}: {text}."
    return GuardrailCheck(guardrail.name, guardrail.margin, interval, state, sentence)


def _check_score(
    guardrail: Guardrail, base: ArmScores, arm: ArmScores, level: float, seed: int
) -> tuple[Interval | None, State, str]:
    found = paired_interval(base.scores[guardrail.name], arm.scores[guardrail.name], level=level, seed=seed)
    if found is None:
        return None, "unclear", "no example has this score from both"
    low, high = found.interval.low, found.interval.high
    worst, mildest = (-low, -high) if guardrail.higher_is_better else (high, low)
    state: State = "held" if worst <= guardrail.margin else "broken" if mildest > guardrail.margin else "unclear"
    direction = "loss" if guardrail.higher_is_better else "rise"
    allowed = f"a {direction} of {guardrail.margin:g} is allowed"
    return found.interval, state, f"{_figures(found.interval, (guardrail.margin,), _counted(found.n))}; {allowed}"


def _check_relative(
    guardrail: Guardrail, base: ArmScores, arm: ArmScores, level: float, seed: int
) -> tuple[Interval | None, State, str]:
    before, after = (base.latency, arm.latency) if guardrail.measure == "latency" else (base.cost, arm.cost)
    before, after = _measured(before), _measured(after)
    pairs = _paired_medians(before, after)
    if before is None or after is None or not pairs.shape[1]:
        return None, "unclear", f"no example has a known {guardrail.measure} from both"
    was, now = float(np.median(pairs[0])), float(np.median(pairs[1]))
    counted = _counted(pairs.shape[1])
    if was == 0:
        if now == 0:
            return None, "held", f"it is 0 for both at the median of {counted}"
        unit = "s" if guardrail.measure == "latency" else "dollars"
        return None, "broken", f"from 0 to {now:.3g} {unit} at the median of {counted}, where no increase is relative"
    ratio = median_ratio_interval(before, after, level, seed)
    if ratio is None:
        why = "too few, or too often 0, for an interval"
        return None, "unclear", f"{_percent(now / was - 1)} at the median of {counted}: {why}"
    change = Interval(ratio.estimate - 1, ratio.low - 1, ratio.high - 1, level)
    state: State = (
        "held" if change.high <= guardrail.margin else "broken" if change.low > guardrail.margin else "unclear"
    )
    shown = f"{_percent(change.low)} to {_percent(change.high)}"
    text = f"{_percent(change.estimate)} at the median ({_level(level)} interval {shown}, {counted})"
    return change, state, f"{text}; {_percent(guardrail.margin)} is allowed"


def _measured(values: Array | None) -> Array | None:
    """(examples, repeats) with NaN for what no clock and no bill can have said: below 0 or infinite."""
    if values is None:
        return None
    array = _columns(values)
    return np.where(np.isfinite(array) & (array >= 0), array, np.nan)


def _paired_medians(before: Array | None, after: Array | None) -> Array:
    """Medians over repeats where both have one, (2, examples)."""
    if before is None or after is None:
        return np.empty((2, 0))
    both = np.isfinite(before).any(axis=1) & np.isfinite(after).any(axis=1)
    return np.stack([np.nanmedian(before[both], axis=1), np.nanmedian(after[both], axis=1)])


# -- sentences --------------------------------------------------------------------------------------------------------


def _sentence(
    decision: Decision, found: Paired, primary: str, variant: str, control: str, margin: float, needed: int | None
) -> str:
    differ = "1 differs" if found.discordant == 1 else f"{found.discordant:,} differ"
    left = f", {found.left_out:,} left out for want of a score from both" if found.left_out else ""
    figures = _figures(found.interval, (margin,), f"{_counted(found.n)}, {differ}{left}")
    if decision in ("better", "worse"):
        text = f"{variant} is {decision} than {control} on {primary}: {figures}."
    elif decision == "equivalent":
        text = f"{variant} is equivalent to {control} on {primary} within ±{margin:g}: {figures}."
        if found.interval.low > 0 or found.interval.high < 0:
            text += " They do differ, by less than the margin."
    else:
        text = f"{variant} against {control} on {primary} is undecided: {figures}. {_more(found, margin, needed)}"
    if found.left_out * 5 > found.n + found.left_out:
        text += " So many left out that the rest may not be like them: see first why they have no score."
    return text


def _more(found: Paired, margin: float, needed: int | None) -> str:
    """What would settle an undecided contrast."""
    if margin == 0:
        return "With a margin of 0 nothing counts as equivalent, so no number of examples is sure to settle it."
    if needed is None:
        return f"{_counted(found.n).capitalize()} cannot show how much examples vary: measure more of them."
    missing = needed - found.n
    if missing > 1_000_000:
        return f"More than a million more examples would be needed to settle it within ±{margin:g}: widen the margin."
    if missing > 0:
        noun = "example" if missing == 1 else "examples"
        return f"About {_rounded_up(missing):,} more {noun} would settle it within ±{margin:g} (4 chances in 5)."
    return (
        f"Its {found.n:,} examples are as many as usually settle it within ±{margin:g} ({needed:,}): "
        "the true difference probably lies near the margin. Measure more, or ask whether so small a difference matters."
    )


def _nothing_paired(primary: str, base: ArmScores, arm: ArmScores, names: Mapping[str, str]) -> str:
    empty = [names[a.label] for a in (base, arm) if not np.isfinite(np.asarray(a.scores[primary], np.float64)).any()]
    if not len(base.scores[primary]):
        why = "there are no examples"
    elif len(empty) == 2:
        why = "neither has a single score"
    elif empty:
        why = f"{empty[0]} has not a single score"
    else:
        why = "no example has a score from both"
    return (
        f"{names[arm.label]} against {names[base.label]} on {primary} is undecided: {why}. "
        "Look at the errors and the reasons for unscored answers."
    )


def _alone(name: str, primary: str, base: ArmScores, level: float, seed: int, binary: bool | None) -> str:
    found = mean_interval(base.scores[primary], level, seed, binary)
    if found is None:
        return f"{name} is the only variant and has not a single score on {primary}: there is nothing to decide."
    counted = _counted(int(np.isfinite(_columns(base.scores[primary])).any(axis=1).sum()))
    figures = _figures(found, (), counted, signed=False)
    return (
        f"{name} scores {figures} on {primary}. It is the only variant, so there is nothing to compare it with: "
        "add a second prompt version or model."
    )


def _summary(
    contrasts: Sequence[Contrast], best: Contrast | None, names: Mapping[str, str], level: float, *, final: bool
) -> str:
    if len(contrasts) == 1:
        parts = [contrasts[0].sentence]
    elif best is not None:
        parts = [best.sentence]
    else:
        parts = [contrast.sentence for contrast in contrasts]
    if best is None:
        blocked = [c for c in contrasts if c.decision == "better"]
        parts += [check.sentence for c in blocked for check in c.guardrails if check.state == "broken"]
        if not final:
            parts.append("No winner is named before all answers are there.")
        else:
            parts.append("No variant wins." if len(contrasts) > 1 else "No winner." if blocked else "")
    else:
        parts += [check.sentence for check in best.guardrails if check.state == "unclear"]
        held = [check.name for check in best.guardrails if check.state == "held"]
        parts.append(f"Guardrails held: {', '.join(held)}." if held else "")
        rivals = [c for c in contrasts if c.decision == "better" and c is not best]
        why = ", the best estimate of those that are better (they were not compared with each other)" if rivals else ""
        parts.append(f"Winner: {names[best.variant]}{why}.")
        for other in contrasts:
            if other is best:
                continue
            broken = [check.name for check in other.guardrails if check.state == "broken"]
            but = f" but breaks {', '.join(broken)}" if broken and other.decision == "better" else ""
            parts.append(f"{names[other.variant]}: {other.decision}{but}.")
    if len(contrasts) > 1:
        parts.append(f"The {len(contrasts)} intervals hold together at {_level(level)}.")
    return " ".join(part for part in parts if part)


def _figures(interval: Interval, others: Sequence[float], counted: str, *, signed: bool = True) -> str:
    """`+0.31 (95% interval +0.20 to +0.41, ...)` with as many decimals as the interval's width deserves."""
    estimate, low, high, level = interval
    width = high - low
    digits = 2 if width <= 0 else min(8, max(0, 1 - math.floor(math.log10(width)), 2 if width < 5 else 0))
    shown = [value for value in (low, high, *others) if value != 0]
    while digits < 8 and any(round(value, digits) == 0 for value in shown):
        digits += 1
    sign = "+" if signed else ""

    def one(value: float) -> str:
        rounded = round(value, digits)
        return f"{rounded:{sign},.{digits}f}" if rounded else f"{0:.{digits}f}"

    return f"{one(estimate)} ({_level(level)} interval {one(low)} to {one(high)}, {counted})"


def _percent(share: float) -> str:
    digits = 0 if abs(share) >= 0.1 or share == 0 else 1
    rounded = round(100 * share, digits)
    return f"{rounded:+,.{digits}f}%" if rounded else "0%"


def _level(level: float) -> str:
    return f"{100 * level:.4g}%"


def _counted(n: int) -> str:
    return "1 example" if n == 1 else f"{n:,} examples"


def _rounded_up(n: int) -> int:
    """Two significant digits, upwards: more would pretend to know."""
    unit: int = 10 ** max(0, len(str(n)) - 2)
    return math.ceil(n / unit) * unit


def _short_names(labels: Sequence[str]) -> dict[str, str]:
    """Labels without the part (` · model`, or the prompt) that all of them share."""
    parts = [label.partition(" · ") for label in labels]
    for keep, shared in ((0, 2), (2, 0)):
        kept = [part[keep] for part in parts]
        if all(kept) and len({part[shared] for part in parts}) == 1 and len(set(kept)) == len(labels):
            return dict(zip(labels, kept, strict=True))
    return {label: label for label in labels}


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


def _columns(values: Array) -> Array:
    array = np.asarray(values, dtype=np.float64)
    return array[:, None] if array.ndim == 1 else array


def _check_margin(margin: float, what: str) -> None:
    if not (isinstance(margin, (int, float)) and 0 <= margin < math.inf):
        raise InputError(f"{what} = {margin!r} must be a number of 0 or more: the loss that does not matter.")
