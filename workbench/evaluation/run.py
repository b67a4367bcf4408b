"""What a run left."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from workbench.client import Client
from workbench.evaluation.folder import RunFolder
from workbench.evaluation.hourly import HourlyRate
from workbench.evaluation.measurements import Measurements
from workbench.evaluation.plan import Plan

__all__ = ["Run", "Watch", "bound", "lost_by"]


@dataclass(frozen=True, slots=True)
class Run:
    """What a run left: the plan as it was resolved, its numbers and its folder.

    stopped: why it ended early, or None. ended: how: "clear" is a sequential plan's early answer and "budget" the plan's budget,
    both on whole examples; "stopped" is anything else. examples: of such an end those that were asked, in the plan's order.
    hourly: of models on servers paid by the hour, how their calls were priced. seconds: that asking took now. spent: dollars that
    it spent now, warm-ups too; None if a price is unknown.
    unscored: by scorer, the reasons why answers have no score and how often. lost: by replica's address, calls that it failed.
    """

    plan: Plan
    measurements: Measurements
    folder: RunFolder
    stopped: str | None
    spent: float | None
    unscored: Mapping[str, Counter[str]] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    ended: Literal["done", "clear", "budget", "stopped"] = "done"
    examples: np.ndarray | None = None
    seconds: float = 0.0
    hourly: tuple[HourlyRate, ...] = ()


@dataclass(frozen=True, slots=True)
class Watch:
    """Looks at a run while it goes on, and may end it.

    begun: gets the run before its first answer; its numbers and its folder fill from then on. stop: set (in the run's loop), it
    ends the run as an interrupt does, with what is there.
    """

    begun: Callable[[Run], None]
    stop: asyncio.Event


def bound(plan: Plan, client: Client) -> Plan:
    """The plan with scorers that can ask models."""
    scorers = tuple(scorer.bound(client) for scorer in plan.scorers)
    return replace(plan, scorers=scorers, primary=scorers[plan.scorers.index(plan.primary)])


def lost_by(plan: Plan, client: Client) -> dict[str, int]:
    """Calls that each replica of the plan's endpoints failed so far."""
    return {url: count for model in plan.models for url, count in client.lost(model).items()}
