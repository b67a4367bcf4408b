"""Experiments of all features: start one, let it grow, read it, end it. What `bench.experiments` is.

Each change is one change of the feature's release, with who, when and why in its history, and is refused if somebody else has
changed the feature since it was looked at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from workbench.errors import InputError, StalePlanError
from workbench.online.assignment import Arm, Assignment, Experiment, assign
from workbench.online.guard import Guard, guarded, read_rules, write_rules
from workbench.online.rules import Guardrail, Rules
from workbench.online.state import ExperimentState, Status
from workbench.records import Release
from workbench.releases import Live, Releases
from workbench.releases.history import check_reason

if TYPE_CHECKING:
    import pandas as pd

    from workbench.online.checks import Analysis
    from workbench.online.guard import Evaluation
    from workbench.stores.keyvalue import KeyValue

__all__ = ["Experiments"]

Treatment = int | Release
Change = Literal["experiment", "ramp", "stop"]


class Experiments:
    """All features' experiments, in the store of their releases. Methods block; any number of threads, processes and hosts may
    use it. clock: Unix seconds.
    """

    def __init__(self, releases: Releases, kv: KeyValue, *, clock: Callable[[], float] = time.time) -> None:
        self._releases = releases
        self._kv = kv
        self._clock = clock

    # -- changing -------------------------------------------------------------------------------------------------

    def start(
        self,
        feature: str,
        *,
        treatment: Treatment | Mapping[str, Treatment],
        share: float,
        reason: str,
        name: str = "canary",
        primary: str = "",
        guardrails: Rules | Sequence[Guardrail] = (),
        group: str | None = None,
        slice: tuple[float, float] = (0.0, 1.0),  # noqa: A002  (as the record calls it)
        overrides: Mapping[str, str] | None = None,
        salt: str = "",
        by: str | None = None,
        evidence: str | None = None,
    ) -> ExperimentState:
        """Serve candidates to a share of the users, beside what is live.

        treatment: a release or its number; several as {"short": 4, "long": 5}. share: of the users, that each treatment gets, and
        as many are compared with it in the control. primary: the outcome that decides. guardrails: kept with the feature in place
        of those that it has; without any, those stay. group, slice, overrides, salt: see `Experiment`. evidence: such as the id
        of a comparison. Refused while another experiment runs, or where the slice is taken by one of the same group.
        """
        live = self._releases.must_be_live(feature)
        if live.experiment is not None:
            ran = live.experiment.get("name")
            raise InputError(
                f"experiment {ran!r} is on {feature} already: ramp it, or end it first with "
                f'bench.experiments.stop("{feature}", reason="…") (`workbench experiment stop {feature} -m "…"`).'
            )
        made = Experiment(
            feature, name, live.release.number, _arms(feature, treatment), share, salt, group, slice,
            dict(overrides or {}), self._start_of(feature, name), primary=primary,
        )  # fmt: skip
        for arm in made.treatments:
            self._releases.get(feature, arm.release)
        self._check_group(made)
        rules = _rules(guardrails)
        if rules is None:
            return self._put(live, made, "experiment", reason, by, evidence)
        before = read_rules(self._kv, feature)
        write_rules(self._kv, feature, rules)  # first, so that no call of the experiment goes unguarded
        try:
            return self._put(live, made, "experiment", reason, by, evidence)
        except (InputError, StalePlanError):
            write_rules(self._kv, feature, before)
            raise

    def ramp(
        self, feature: str, share: float, *, reason: str, by: str | None = None, shrink: bool = False
    ) -> ExperimentState:
        """Serve the treatments to more users; who has one keeps it. shrink: allow a smaller share, which takes the treatment away
        from users who have had it."""
        live, experiment = self._running(feature)
        if all(arm.stopped is not None for arm in experiment.treatments):
            raise InputError(
                f"every treatment of {experiment.key} was stopped, for good, so that a share is served to nobody. End it with "
                f'bench.experiments.stop("{feature}", reason="…"), and start another.'
            )
        made = experiment.ramped(share)
        if share < experiment.share and not shrink:
            raise InputError(
                f"share = {share!r} is less than the {experiment.share!r} of {experiment.key}: users who have had the treatment "
                "would lose it. A ramp only grows; `kill` takes it from everybody, and shrink=True (--shrink) from some."
            )
        return self._put(live, made, "ramp", reason, by)

    def stop(self, feature: str, *, reason: str, arm: str | None = None, by: str | None = None) -> ExperimentState:
        """End the experiment: everybody gets what is live, and what was counted stays readable. arm: only take the share of this
        one to 0, for good; the others go on."""
        live, experiment = self._running(feature)
        if arm is not None:
            made = experiment.stopped(arm, at=self._clock(), by=self._releases.who(by), reason=reason)
            return self._put(live, made, "stop", reason, by)
        self._releases.set_experiment(
            feature, None, reason=reason, by=by, kind="stop", expect_sequence=live.sequence, evidence=experiment.key
        )
        return self.get(feature)

    def kill(self, feature: str, *, reason: str, by: str | None = None) -> ExperimentState:
        """The kill switch: everybody, testers too, gets the control at once. `resume` takes it back. What is killed stays so."""
        live, experiment = self._running(feature)
        if not experiment.enabled:
            check_reason(reason)
            return self.get(feature)
        return self._put(live, replace(experiment, enabled=False), "stop", reason, by)

    def resume(self, feature: str, *, reason: str, by: str | None = None) -> ExperimentState:
        """Take `kill` back: all users have the arm again that they had."""
        live, experiment = self._running(feature)
        if experiment.enabled:
            raise InputError(f"experiment {experiment.key} of {feature} is not switched off.")
        return self._put(live, replace(experiment, enabled=True), "experiment", reason, by)

    def override(
        self, feature: str, overrides: Mapping[str, str | None], *, reason: str, by: str | None = None
    ) -> ExperimentState:
        """Give testers an arm, as {"tess": "treatment"}; None takes it away again. They are in no analysis."""
        live, experiment = self._running(feature)
        wanted = dict(experiment.overrides) | dict(overrides)
        kept = {user: arm for user, arm in wanted.items() if arm is not None}
        return self._put(live, replace(experiment, overrides=kept), "experiment", reason, by)

    def promote(
        self, feature: str, arm: str | None = None, *, reason: str, by: str | None = None, evidence: str | None = None
    ) -> Release:
        """Make a treatment's release live for everybody; the experiment ends in the same step. arm: may be left out where one
        treatment is left. evidence: by default the experiment's key."""
        live, experiment = self._running(feature)
        left = [item.name for item in experiment.treatments if item.stopped is None]
        if arm is None and len(left) != 1:
            raise InputError(f"name the arm to promote: {', '.join(left) or 'every treatment was stopped'}.")
        wanted = arm or left[0]
        if wanted not in {item.name for item in experiment.treatments}:
            names = ", ".join(item.name for item in experiment.treatments)
            raise InputError(f"experiment {experiment.key} has no treatment {wanted!r}: it has {names}.")
        return self._releases.promote(
            feature, experiment.arms[wanted], reason=reason, by=by, evidence=evidence or f"experiment {experiment.key}",
            expect_sequence=live.sequence,
        )  # fmt: skip

    def set_guardrails(self, feature: str, guardrails: Rules | Sequence[Guardrail] | None) -> None:
        """What must not get worse on a feature, in place of what was set; None takes them away."""
        self._releases.must_be_live(feature)
        rules = None if guardrails is None else _rules(guardrails)
        if rules is None and guardrails is not None:
            raise InputError("there are no guardrails in this list: pass None to take a feature's guardrails away.")
        write_rules(self._kv, feature, rules)

    # -- reading --------------------------------------------------------------------------------------------------

    def get(self, feature: str, name: str | None = None) -> ExperimentState:
        """How the experiment of a feature stands: the one that is there, or else the last one that was. name: another one."""
        live = self._releases.must_be_live(feature)
        found = self._find(live, name)
        releases = {number: self._releases.get(feature, number) for number in {*found.arms.values()}}
        guard = next((item for item in guarded(self._kv) if item.feature == feature), None)
        state = ExperimentState(found, _status(live, found), live.sequence, releases, self._clock())
        if guard is None:
            return state
        return replace(state, rules=guard.rules, holder=guard.holder, looked=guard.looked)

    def list(self) -> tuple[ExperimentState, ...]:
        """Of all features with an experiment now."""
        names = [name for name in self._releases.features() if self._experiment_on(name) is not None]
        return tuple(self.get(name) for name in names)

    def assign(self, feature: str, user: str | None) -> Assignment:
        """What a user gets now, and why."""
        live = self._releases.must_be_live(feature)
        experiment = None if live.experiment is None else Experiment.from_mapping(live.experiment)
        if experiment is None or experiment.control != live.release.number:
            return Assignment(live.release.number)
        return assign(experiment, user)

    def analyse(
        self, feature: str, name: str | None = None, *, level: float = 0.95, fewest: int = 100
    ) -> Analysis:  # fmt: skip
        """What the experiment says so far, or the last one if none runs; look as often as you like. fewest: users in each arm
        below which there is no interval."""
        from workbench.online.checks import analyse
        from workbench.online.picture import read_study

        experiment = self._find(self._releases.must_be_live(feature), name)
        study = read_study(self._kv, feature, experiment.key)
        return analyse(experiment, study, level=level, fewest=fewest)

    def minutes(self, feature: str, minutes: int = 60) -> pd.DataFrame:
        """What all callers counted in the last minutes (at most two days): one row a minute, release and arm."""
        from workbench.online.picture import minutes_frame, read_minutes

        return minutes_frame(read_minutes(self._kv, feature, minutes, clock=self._clock))

    def check(self, feature: str) -> Evaluation:
        """Hold the feature's guardrails against what was counted, and say what a guard would do. Nothing is changed."""
        return Guard(self._kv, self._releases, clock=self._clock).evaluate(feature)

    def guard(self, feature: str, *, by: str = "guard") -> Evaluation | None:
        """One look of a guard: a treatment that fails is stopped, a live release that fails is rolled back. None if another guard
        has the feature. `workbench release guard` does so all the time."""
        guard = Guard(self._kv, self._releases, by, clock=self._clock)
        try:
            return guard.step(feature)
        finally:
            guard.release([feature])

    def __repr__(self) -> str:
        return f"Experiments({self._kv.address})"

    # -- how ------------------------------------------------------------------------------------------------------

    def _experiment_on(self, feature: str) -> Mapping[str, Any] | None:
        live = self._releases.live(feature)
        return None if live is None else live.experiment

    def _running(self, feature: str) -> tuple[Live, Experiment]:
        live = self._releases.must_be_live(feature)
        if live.experiment is None:
            raise InputError(
                f"no experiment is on {feature}: release {live.release.number} is live for everybody. Begin one with "
                f'bench.experiments.start("{feature}", treatment=NUMBER, share=0.05, reason="…").'
            )
        return live, Experiment.from_mapping(live.experiment)

    def _find(self, live: Live, name: str | None) -> Experiment:
        """The one that is there, else the last; by name (or key), the last of that name."""
        told = [live.experiment, *(e.experiment for e in reversed(self._releases.history(live.feature).events))]
        known = [Experiment.from_mapping(mapping) for mapping in told if mapping is not None]
        for found in known:
            if name is None or name in (found.name, found.key):
                return found
        there = ", ".join(dict.fromkeys(found.key for found in known))
        if not there:
            raise InputError(
                f'{live.feature} has had no experiment yet: begin one with bench.experiments.start("{live.feature}", …).'
            )
        raise InputError(f"{live.feature} has had no experiment {name!r}: it has had {there}.")

    def _put(
        self, live: Live, experiment: Experiment, kind: Change, reason: str, by: str | None,
        evidence: str | None = None,
    ) -> ExperimentState:  # fmt: skip
        self._releases.set_experiment(
            live.feature, experiment.to_mapping(), reason=reason, by=by, kind=kind, expect_sequence=live.sequence,
            evidence=evidence,
        )  # fmt: skip
        return self.get(live.feature)

    def _start_of(self, feature: str, name: str) -> float:
        """Now; a second later than an experiment of the same name that began in this one, whose data it would share."""
        now = self._clock()
        past = [e.experiment for e in self._releases.history(feature) if e.experiment is not None]
        same = [int(found.get("started_at", 0)) for found in past if found.get("name") == name]
        return float(max(same) + 1) if same and max(same) >= int(now) else now

    def _check_group(self, made: Experiment) -> None:
        """Users must not be in two experiments of a group."""
        if made.group is None:
            return
        for feature in self._releases.features():
            mapping = self._experiment_on(feature) if feature != made.feature else None
            if mapping is None or mapping.get("group") != made.group:
                continue
            start, end = Experiment.from_mapping(mapping).slice
            if made.slice[0] < end and start < made.slice[1]:
                low, high = (end, 1) if 1 - end >= start else (0, start)
                free = f"take a slice beside it, such as slice=({low:g}, {high:g}), or end" if low < high else "end"
                raise InputError(
                    f"slice = {made.slice!r} of group {made.group!r}: users from {start:g} to {end:g} are in experiment "
                    f"{mapping.get('name')!r} of {feature}: {free} that one."
                )


def _arms(feature: str, treatment: Treatment | Mapping[str, Treatment]) -> tuple[Arm, ...]:
    named = treatment if isinstance(treatment, Mapping) else {"treatment": treatment}
    arms = []
    for name, what in named.items():
        if isinstance(what, Release) and what.feature != feature:
            raise InputError(f"treatment {what.label!r} is a release of {what.feature}, not of {feature}.")
        arms.append(Arm(name, what.number if isinstance(what, Release) else what))
    return tuple(arms)


def _rules(guardrails: Rules | Sequence[Guardrail]) -> Rules | None:
    if isinstance(guardrails, Rules):
        return guardrails
    given = [guardrails] if isinstance(guardrails, Guardrail) else [*guardrails]
    for item in given:
        if not isinstance(item, Guardrail):
            raise InputError(
                f"a guardrail online is a workbench.online.Guardrail, such as Guardrail('errors', margin=0.02), and this is "
                f"{item!r}."
            )
    return Rules(tuple(given)) if given else None


def _status(live: Live, experiment: Experiment) -> Status:
    now = None if live.experiment is None else Experiment.from_mapping(live.experiment)
    if now is None or now.key != experiment.key or now.control != live.release.number:
        return "ended"
    if not now.enabled:
        return "killed"
    return "running" if any(arm.stopped is None for arm in now.treatments) else "stopped"
