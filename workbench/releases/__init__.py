"""Releases: what a feature of an application uses now, what it used before, and how to go back."""

from workbench.releases.check import ReleaseCheck, check_model
from workbench.releases.diff import ReleaseDiff, ReleasePlan, RollbackPlan
from workbench.releases.document import Live
from workbench.releases.history import Event, History, Standing
from workbench.releases.store import Releases
from workbench.releases.watcher import Watcher, WatchState

__all__ = [
    "Event",
    "History",
    "Live",
    "ReleaseCheck",
    "ReleaseDiff",
    "ReleasePlan",
    "Releases",
    "RollbackPlan",
    "Standing",
    "WatchState",
    "Watcher",
    "check_model",
]
