"""What a reader must know besides the verdict: what was reused, left out, failed or is missing, and how far it may be trusted."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd

from workbench.evaluation import effects, findings
from workbench.evaluation.history import MOST_DECISIONS, holdout_note, read_history
from workbench.evaluation.judging.reports import judge_notes
from workbench.evaluation.measurements import FRESH, REPLAYED
from workbench.evaluation.runner import Run
from workbench.evaluation.sentences import level_text
from workbench.records import Verdict
from workbench.tables import format_count, format_share

__all__ = ["notes"]


def notes(run: Run, verdict: Verdict, examples: np.ndarray, pareto: pd.DataFrame) -> list[str]:
    """One sentence each. examples: those that the verdict is about, in its order. pareto: `Comparison.pareto()`."""
    plan, numbers = run.plan, run.measurements
    said = []
    if run.stopped and run.ended != "clear":
        said.append("Run the same again, without fresh, to go on where it stopped.")
    fresh, replayed = (int(((numbers.state == state) & numbers.worked).sum()) for state in (FRESH, REPLAYED))
    if replayed:
        oldest = datetime.fromtimestamp(float(np.nanmin(numbers.at)), UTC)
        now = (
            f"{_were(fresh, 'answer')} measured now, {_were(replayed)}" if fresh else f"All {_were(replayed, 'answer')}"
        )
        said.append(f"{now} reused from earlier runs (the oldest of {oldest:%Y-%m-%d %H:%M} UTC) and cost nothing now.")
    if plan.left_out:
        count = len(plan.left_out)
        its = "its" if count == 1 else "their"
        said.append(f"{_were(count, 'example')} left out because {its} text occurs in a compared prompt.")
    failed = int(numbers.failed.sum())
    if failed:
        what = "call failed; it is unscored, and is" if failed == 1 else "calls failed; they are unscored, and are"
        said.append(f"{failed:,} {what} asked again when this is run again, without fresh.")
    for url, count in run.lost.items():
        if count:
            said.append(
                f"{url} failed {format_count(count, 'call')}, which other replicas took over: with one fewer the "
                "latencies may be longer."
            )
    said += [str(rate) for rate in run.hourly]
    said += _nothing_right(run)
    said += judge_notes(run.plan.scorers)
    for contrast in verdict.contrasts:
        sure = contrast.decision != "undecided"
        found = findings.hangs_on(plan, numbers, contrast, examples, most=1) if sure else None
        if found is not None:
            said.append(
                f"That {contrast.variant} is {contrast.decision} hangs on one example: without it, it is {found[1]}. See "
                "sensitivity()."
            )
    if len(plan.models) > 1 or any(variant.tag for variant in plan.variants):
        best = pareto["variant"][(pareto["beaten_by"] == "") & pareto[plan.primary.name].notna()]
        said.append(
            f"Beaten by no other in score, cost and latency at once: {', '.join(best) or 'none'}. See pareto()."
        )
    steady = _steadiness(run)
    if steady:
        said.append(steady)
    past = read_history(
        run.folder.path.parents[1], plan.dataset.digest, plan.primary.name, apart_from=run.folder.run_id
    ).decided
    if past >= MOST_DECISIONS:
        said.append(f"{holdout_note(past, plan.dataset)}.")
    for name, reasons in run.unscored.items():
        count, often = reasons.total(), reasons.most_common(1)
        if often and often[0][0]:
            said.append(
                f"{name}: {format_count(count, 'answer')} unscored, most often ({often[0][1]:,}): {often[0][0]}"
            )
    return said


def _were(count: int, noun: str = "") -> str:
    """`1 answer was`, `2 answers were`; without a noun `1 was`, `2 were`."""
    many = count != 1
    return " ".join(filter(None, (f"{count:,}", noun and f"{noun}{'s' if many else ''}", "were" if many else "was")))


def _steadiness(run: Run) -> str:
    """Of a run with repeats: what the control shows against itself."""
    plan, numbers = run.plan, run.measurements
    scores = numbers.scores[plan.primary.name][numbers.of(plan.control)]
    floor, differ = effects.noise_floor(scores, plan.level), effects.self_disagreement(scores)
    if floor is None or differ is None:
        return ""
    return (
        f"Noise floor: {plan.control} against itself differs by up to {floor.floor:.2g} on {plan.primary.name} "
        f"({level_text(plan.level)}), and scores otherwise in {format_share(differ)} of its pairs of repeats. See stability()."
    )


def _nothing_right(run: Run) -> list[str]:
    """A hint where every answer scores 0: that is seldom the prompt's doing."""
    primary = run.plan.primary
    scores = run.measurements.scores[primary.name]
    known = scores[~np.isnan(scores)]
    if not primary.higher_is_better or not len(known) or known.any():
        return []
    row = next((r for r in run.folder.rows() if r["error"] is None and not r["warmup"]), None)
    if row is None:
        return []
    example = run.plan.dataset[int(run.plan.indices[row["example"]])]
    expected = "" if example.expected is None else f" where {str(example.expected)[:80]!r} was expected"
    shown = f"{row['variant']} answered {row['text'].strip()[:120]!r} to example {example.id}{expected}"
    return [f"Every answer scores 0 on {primary.name}, so look at one first: {shown}."]
