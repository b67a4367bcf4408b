"""What must be said of a judge in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench import tables
from workbench.evaluation.judging.asking import JudgeUse
from workbench.evaluation.judging.correction import LEAST_LABELS
from workbench.evaluation.statistics import Paired
from workbench.records import Contrast

if TYPE_CHECKING:
    from workbench.evaluation.scorers.scorer import Scorer

__all__ = ["by_whom", "judge_notes", "use_of"]


def use_of(scorer: Scorer) -> JudgeUse | None:
    """What the judge behind a bound scorer did; None if there is none."""
    use = getattr(scorer.function, "use", None)
    return use if isinstance(use, JudgeUse) else None


def by_whom(scorer: Scorer, found: Sequence[Contrast | Paired] = ()) -> str:
    """What must be added where scores are a model's opinion; else empty. found: the differences it is said of, if any."""
    use = use_of(scorer)
    if use is None:
        return ""
    corrected = [contrast for contrast in found if contrast.judged is not None]
    if corrected and len(corrected) == len(found):
        labels = sorted({contrast.labels or 0 for contrast in corrected})
        counted = f"{labels[0]:,}" if len(labels) == 1 else f"{labels[0]:,} to {labels[-1]:,}"
        alone = ", ".join(tables.format_signed(contrast.judged) for contrast in corrected)
        return (
            f" Scored by the judge {use.model}, corrected by people's ratings of {counted} examples "
            f"(the judge alone says {alone})."
        )
    text = f" Scored by an uncalibrated judge ({use.model})"
    if scorer.people is None or all(contrast.method == "none" for contrast in found):
        return f"{text}."
    if any(contrast.method == "sequence" for contrast in found):
        return f"{text}: it ended early, and people correct a judge only at the end."
    labels = [contrast.labels or 0 for contrast in found if contrast.judged is None]
    rated = min(labels, default=0)
    counted = tables.format_count(rated, "example")
    return f"{text}: people have rated both answers to {counted}, and a correction needs {LEAST_LABELS}."


def judge_notes(scorers: Sequence[Scorer]) -> list[str]:
    """One line a judge: what it was asked now and before, and what that cost; how steady it is stands in the judges' table."""
    notes = []
    for scorer in scorers:
        if (use := use_of(scorer)) is None or not use.calls + use.failed:
            continue
        paid = f"for {tables.format_money(use.cost)}, apart from the variants' cost"
        if use.spent != use.cost:
            paid += f", and {tables.format_money(use.spent)} of it now"
        many = tables.format_count
        said = [f"{many(use.calls, 'call')} ({use.cached:,} from the cache) {paid}"]
        said += [f"{many(use.reused, 'judgement')} kept from earlier runs"] * bool(use.reused)
        said += [f"{many(use.repaired, 'answer')} repaired"] * bool(use.repaired)
        said += [f"{many(use.unparsed, 'judgement')} could not be read"] * bool(use.unparsed)
        said += [f"{many(use.failed, 'call')} failed"] * bool(use.failed)
        notes.append(f"{scorer.name} asked the judge {use.model} ({use.prompt}): {'; '.join(said)}.")
    return notes
