"""From the numbers of a run to its verdict: the same while it goes on, when it ends early and at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from workbench.evaluation.arms import ArmScores
from workbench.evaluation.judging.reports import by_whom
from workbench.evaluation.measurements import Measurements
from workbench.evaluation.plan import Plan
from workbench.evaluation.verdict import decide
from workbench.records import Verdict

__all__ = ["arms_of", "clear", "verdict_of"]


def arms_of(plan: Plan, numbers: Measurements, labels: Sequence[str], examples: np.ndarray) -> list[ArmScores]:
    """What these variants scored and took on these examples, in this order."""
    return [
        ArmScores(
            label=label,
            scores={name: values[numbers.of(label)][examples] for name, values in numbers.scores.items()},
            latency=numbers.latency[numbers.of(label)][examples],
            cost=numbers.cost[numbers.of(label)][examples],
            concurrency=numbers.concurrency(label),
            people={
                scorer.name: numbers.scores[scorer.people.name][numbers.of(label)][examples]
                for scorer in plan.scorers
                if scorer.people is not None
            },
        )
        for label in labels
    ]


def verdict_of(
    plan: Plan, numbers: Measurements, labels: Sequence[str], examples: np.ndarray, *, final: bool
) -> Verdict:
    """The decision on these variants by these examples."""
    verdict = decide(
        arms_of(plan, numbers, labels, examples), primary=plan.primary.name, control=plan.control, margin=plan.margin,
        level=plan.level, guardrails=plan.guardrails, higher_is_better=plan.primary.higher_is_better,
        binary=plan.primary.binary, seed=plan.seed, final=final, planned=len(plan.indices) if plan.sequential else None,
    )  # fmt: skip
    return replace(verdict, sentence=verdict.sentence + by_whom(plan.primary, verdict.contrasts))


def clear(plan: Plan, numbers: Measurements, examples: np.ndarray) -> bool:
    """Whether these first examples of a sequential plan already decide every contrast."""
    if not len(examples) or len(plan.variants) < 2:
        return False
    verdict = decide(
        arms_of(plan, numbers, numbers.variants, examples), primary=plan.primary.name, control=plan.control,
        margin=plan.margin, level=plan.level, higher_is_better=plan.primary.higher_is_better, binary=plan.primary.binary,
        seed=plan.seed, final=False, planned=len(plan.indices),
    )  # fmt: skip
    return all(contrast.decision != "undecided" for contrast in verdict.contrasts)
