"""How an experiment stands: what it compares, who gets what, who guards it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from workbench import tables
from workbench.online.assignment import CONTROL, Experiment
from workbench.records import Release

if TYPE_CHECKING:
    import pandas as pd

    from workbench.online.rules import Rules

__all__ = ["ExperimentState", "Status", "shares"]

Status = Literal["running", "killed", "stopped", "ended"]


def shares(experiment: Experiment) -> Mapping[str, tuple[float, float]]:
    """By arm: which share of all users it is served to, and which share is compared in it (testers left out)."""
    start, end = experiment.slice
    room, share = end - start, experiment.share
    live = [arm.name for arm in experiment.treatments if arm.stopped is None] if experiment.enabled else []
    alone = len(experiment.treatments) == 1
    compared = (min(share, 1 - share) if alone else share) * room
    found = {arm.name: (share * room, compared) if arm.name in live else (0.0, 0.0) for arm in experiment.treatments}
    taken = sum(served for served, _ in found.values())
    return {CONTROL: (1 - taken, compared if live else 0.0)} | found


@dataclass(frozen=True, slots=True)
class ExperimentState:
    """One experiment, the latest of its feature or one that ended.

    status: running; killed (switched off, everybody gets the control); stopped (no treatment is left); ended. sequence: of the
    feature's last change. releases: those of its arms. at: when this was seen. holder, looked: who guards it now, and when any
    guard has looked last; None if there is none. Times in Unix seconds.
    """

    experiment: Experiment
    status: Status
    sequence: int
    releases: Mapping[int, Release]
    at: float
    rules: Rules | None = None
    holder: str | None = None
    looked: float | None = None

    def to_mapping(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        arms = {
            name: {"release": self.experiment.arms[name], "served": served, "compared": compared}
            for name, (served, compared) in shares(self.experiment).items()
        }
        rails = [] if self.rules is None else [rail.metric for rail in self.rules.guardrails]
        return {
            "feature": self.experiment.feature, "key": self.experiment.key, "status": self.status, "sequence": self.sequence,
            "arms": arms, "guardrails": rails, "guard": self.holder, "looked": self.looked,
            "experiment": self.experiment.to_mapping(),
        }  # fmt: skip

    def frame(self) -> pd.DataFrame:
        """One row an arm. served, compared: shares of all users."""
        import pandas as pd

        rows = []
        stopped = {arm.name: arm.stopped for arm in self.experiment.treatments if arm.stopped is not None}
        for arm, (served, compared) in shares(self.experiment).items():
            number = self.experiment.arms[arm]
            release, told = self.releases.get(number), stopped.get(arm)
            why = "" if told is None else f"stopped by {told.get('by')}: {told.get('reason')}"
            if self.status == "ended":
                served, compared = 0.0, 0.0
            rows.append((arm, number, *(_named(release)), served, compared, why))
        return pd.DataFrame(rows, columns=["arm", "release", "prompt", "model", "served", "compared", "note"])

    def __str__(self) -> str:
        return "\n".join([self._summary(), "", tables.to_text(self._shown()), *self._notes()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        import html

        notes = "".join(f"<p>{html.escape(tables.clean_text(note))}</p>" for note in self._notes())
        return tables.to_html(self._shown(), caption=self._summary()) + notes

    def _summary(self) -> str:
        made, against = self.experiment, ", ".join(str(arm.release) for arm in self.experiment.treatments)
        said = f"{made.feature}, experiment {made.key}: {self.status}, release {made.control} against {against}"
        return said + (f", in group {made.group}" if made.group else "")

    def _shown(self) -> pd.DataFrame:
        table = self.frame()
        for name in ("served", "compared"):
            table[name] = [tables.format_share(share) for share in table[name]]
        return table.rename(columns={"served": "served to", "compared": "compared"})

    def _notes(self) -> list[str]:
        made, notes = self.experiment, []
        if made.primary:
            notes.append(f"primary: {made.primary}")
        if made.overrides:
            notes.append(f"testers: {', '.join(f'{user}: {arm}' for user, arm in sorted(made.overrides.items()))}")
        if self.rules is not None:
            notes.append(f"guardrails: {', '.join(rail.metric for rail in self.rules.guardrails)}; {self._guard()}")
        return notes

    def _guard(self) -> str:
        if self.looked is None:
            return f"nobody has looked at them yet: run `workbench release guard {self.experiment.feature}`"
        return f"last look {tables.format_seconds(max(0.0, self.at - self.looked))} ago"


def _named(release: Release | None) -> tuple[str, str]:
    return ("", "") if release is None else (release.prompt_ref, release.model)
