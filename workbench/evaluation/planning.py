"""A plan with what earlier comparisons know: how much differences vary, and how often the data set has decided."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.errors import InputError
from workbench.evaluation.datasets import Dataset
from workbench.evaluation.estimate import Budget
from workbench.evaluation.history import Spread, read_history
from workbench.evaluation.plan import Plan, make_plan
from workbench.evaluation.scorers import Scorer

if TYPE_CHECKING:
    from workbench.evaluation.comparison import Comparison

__all__ = ["plan_with_history"]


def plan_with_history(
    *,
    runs: Path,
    dataset: Dataset,
    primary: Scorer,
    pilot: Comparison | None = None,
    budget: Budget | float | None = None,
    **options: Any,
) -> Plan:
    """`make_plan` with the spread of a pilot, else of the data set's latest comparison below `runs` on the same score.

    budget: a number is dollars.
    """
    if budget is not None and not isinstance(budget, Budget):
        budget = Budget(usd=budget)
    past = read_history(runs, dataset.digest, primary.name)
    return make_plan(
        dataset=dataset, primary=primary, budget=budget, decided=past.decided,
        spread=past.spread if pilot is None else spread_of(pilot, primary.name), **options,
    )  # fmt: skip


def spread_of(pilot: Comparison, primary: str) -> Spread:
    """How much a pilot's paired differences vary. InputError if it shows none, or decides by another score."""
    if pilot.verdict.primary != primary:
        raise InputError(
            f"the pilot was decided by {pilot.verdict.primary!r}, and this plan is by {primary!r}: their spreads differ. "
            "Use a pilot with the same primary score."
        )
    known = [contrast for contrast in pilot.verdict.contrasts if contrast.sd]
    if not known:
        raise InputError("the pilot shows no difference between any two answers: use more examples for it.")
    sd = float(np.sqrt(np.mean([contrast.sd**2 for contrast in known if contrast.sd])))
    return Spread(sd, min(contrast.n for contrast in known), f"the pilot {pilot.run.folder.run_id}")
