"""The sentences of a verdict: plain English, with as many digits as an interval deserves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from workbench.evaluation.arms import ArmScores, columns
from workbench.evaluation.statistics import Paired, mean_interval
from workbench.records import Contrast, Interval
from workbench.tables import format_count

__all__ = [
    "alone",
    "contrast_sentence",
    "count_text",
    "digits_of",
    "figures_text",
    "level_text",
    "nothing_paired",
    "percent",
    "short_names",
    "summary",
]


def contrast_sentence(
    decision: str, found: Paired, primary: str, variant: str, control: str, margin: float, needed: int | None
) -> str:
    """What one contrast says, with its figures and, undecided, what would settle it."""
    differ = "1 differs" if found.discordant == 1 else f"{found.discordant:,} differ"
    differ += "" if found.judged is None else " by the judge"
    rated = "" if found.judged is None else f", {found.labels:,} rated by people"
    left = f", {found.left_out:,} left out for want of a score from both" if found.left_out else ""
    figures = figures_text(found.interval, (margin,), f"{count_text(found.n)}, {differ}{rated}{left}")
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
        return f"{count_text(found.n).capitalize()} cannot show how much examples vary: measure more of them."
    missing = needed - found.n
    if missing > 1_000_000:
        return f"More than a million more examples would be needed to settle it within ±{margin:g}: widen the margin."
    if missing > 0:
        noun = "example" if missing == 1 else "examples"
        rated = "" if found.judged is None else ", as large a part of them rated by people,"
        return f"About {_rounded_up(missing):,} more {noun}{rated} would settle it within ±{margin:g} (4 chances in 5)."
    return (
        f"Its {found.n:,} examples are as many as usually settle it within ±{margin:g} ({needed:,}): "
        "the true difference probably lies near the margin. Measure more, or ask whether so small a difference matters."
    )


def nothing_paired(primary: str, base: ArmScores, arm: ArmScores, names: Mapping[str, str]) -> str:
    """Why there is no difference to speak of."""
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


def alone(name: str, primary: str, base: ArmScores, level: float, seed: int, binary: bool | None) -> str:
    """What is said of a single variant."""
    found = mean_interval(base.scores[primary], level, seed, binary)
    if found is None:
        return f"{name} is the only variant and has not a single score on {primary}: there is nothing to decide."
    counted = count_text(int(np.isfinite(columns(base.scores[primary])).any(axis=1).sum()))
    figures = figures_text(found, (), counted, signed=False)
    return (
        f"{name} scores {figures} on {primary}. It is the only variant, so there is nothing to compare it with: "
        "add a second prompt version or model."
    )


def summary(
    contrasts: Sequence[Contrast], best: Contrast | None, names: Mapping[str, str], level: float, *, final: bool
) -> str:
    """The whole verdict: contrasts, guardrails, winner."""
    if len(contrasts) == 1:
        parts = [contrasts[0].sentence]
    elif best is not None:
        parts = [best.sentence]
    else:
        parts = [contrast.sentence for contrast in contrasts]
    if best is None:
        blocked = [c for c in contrasts if c.decision == "better"]
        parts += [check.sentence for c in blocked for check in c.guardrails if check.state == "broken"]
        for alike in [c for c in contrasts if c.decision == "equivalent"]:
            parts += [check.sentence for check in alike.guardrails if check.state != "held"]
            parts.append(_held(alike, names if len(contrasts) > 1 else {}))
        if not final:
            parts.append("No winner is named before all answers are there.")
        else:
            parts.append("No variant wins." if len(contrasts) > 1 else "No winner." if blocked else "")
    else:
        parts += [check.sentence for check in best.guardrails if check.state == "unclear"]
        parts.append(_held(best, {}))
        rivals = [c for c in contrasts if c.decision == "better" and c is not best]
        why = ", the best estimate of those that are better (they were not compared with each other)" if rivals else ""
        parts.append(f"Winner: {names[best.variant]}{why}.")
        for other in contrasts:
            if other is best:
                continue
            broken = [check.name for check in other.guardrails if check.state == "broken"]
            but = f", but breaks {', '.join(broken)}" if broken and other.decision in ("better", "equivalent") else ""
            figures = "" if other.interval is None else f", {figures_text(other.interval, (other.margin,))}"
            parts.append(f"{names[other.variant]}: {other.decision}{figures}{but}.")
    if len(contrasts) > 1:
        parts.append(f"The {len(contrasts)} intervals hold together at {level_text(level)}.")
    return " ".join(part for part in parts if part)


def _held(contrast: Contrast, names: Mapping[str, str]) -> str:
    """Which guardrails held; of whom, if `names` has it."""
    held = [check.name for check in contrast.guardrails if check.state == "held"]
    of = f" by {names[contrast.variant]}" if contrast.variant in names else ""
    return f"Guardrails held{of}: {', '.join(held)}." if held else ""


def figures_text(interval: Interval, others: Sequence[float], counted: str = "", *, signed: bool = True) -> str:
    """`+0.31 (95% interval +0.20 to +0.41, ...)` with as many decimals as the interval's width deserves."""
    estimate, low, high, level = interval
    digits = digits_of(interval, others)
    sign = "+" if signed else ""

    def one(value: float) -> str:
        rounded = round(value, digits)
        return f"{rounded:{sign},.{digits}f}" if rounded else f"{0:.{digits}f}"

    counted = f", {counted}" if counted else ""
    return f"{one(estimate)} ({level_text(level)} interval {one(low)} to {one(high)}{counted})"


def digits_of(interval: Interval, others: Sequence[float] = ()) -> int:
    """As many decimals as the width deserves, and as keep an end, or one of `others`, from looking like 0 that is not."""
    width = interval.high - interval.low
    digits = 2 if width <= 0 else min(8, max(0, 1 - math.floor(math.log10(width)), 2 if width < 5 else 0))
    shown = [value for value in (interval.low, interval.high, *others) if value != 0]
    while digits < 8 and any(round(value, digits) == 0 for value in shown):
        digits += 1
    return digits


def percent(share: float) -> str:
    """A relative change, such as +12%."""
    digits = 0 if abs(share) >= 0.1 or share == 0 else 1
    rounded = round(100 * share, digits)
    return f"{rounded:+,.{digits}f}%" if rounded else "0%"


def level_text(level: float) -> str:
    """95%, 97.5%."""
    return f"{100 * level:.4g}%"


def count_text(n: int) -> str:
    """1 example, 20 examples."""
    return format_count(n, "example")


def _rounded_up(n: int) -> int:
    """Two significant digits, upwards: more would pretend to know."""
    unit: int = 10 ** max(0, len(str(n)) - 2)
    return math.ceil(n / unit) * unit


def short_names(labels: Sequence[str]) -> dict[str, str]:
    """Labels without the parts (prompt, model or params, with ` · ` between) that all of them share."""
    parts = [label.split(" · ") for label in labels]
    if len({len(part) for part in parts}) == 1:
        telling = [at for at in range(len(parts[0])) if len({part[at] for part in parts}) > 1] or [0]
        kept = [" · ".join(part[at] for at in telling) for part in parts]
        if all(kept) and len(set(kept)) == len(labels):
            return dict(zip(labels, kept, strict=True))
    return {label: label for label in labels}
