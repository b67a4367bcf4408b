"""The guard: holds guardrails against what was counted, stops the treatment that fails, and undoes a live release that does.

A treatment fails by its margins and limits, and its share goes to 0. The live release fails by its limits only, and is rolled
back to the one before; at most once for each release number, so that a guard never undoes what a person has decided after it.
What the guard did, why, and by which numbers is in the feature's history.

Any number of guards may run; one at a time holds a feature's lease and acts. If it dies, another takes over when the lease has
run out. All that it does is conditional on the sequence that it has read, so that one that was held up cannot act late.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from workbench.errors import InputError, StoreError, WorkbenchError
from workbench.online.assignment import Experiment
from workbench.online.keys import key
from workbench.online.picture import Study, asking, read_study
from workbench.online.rules import Rules

if TYPE_CHECKING:
    from workbench.online.checks import Check
    from workbench.stores.keyvalue import KeyValue

__all__ = [
    "Action",
    "Evaluation",
    "Guard",
    "Guarded",
    "LiveRelease",
    "ReleaseStore",
    "guarded",
    "read_rules",
    "write_rules",
]

_GUARDED = "wb:online:1:guarded"  # set: the features that have guardrails

_KEEP_LOOKED = 30 * 86400
_DRY = "dry run"

# allow-oom: what undoes a release must work when memory is full.
# KEYS: lease, looked. ARGV: token, who holds it, milliseconds, now, seconds to keep that
_HOLD = """#!lua flags=allow-oom
local held = redis.call('HGET', KEYS[1], 'token')
if held and held ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'holder', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('SET', KEYS[2], ARGV[4], 'EX', ARGV[5])
return 1
"""
_ACTED = """#!lua flags=allow-oom
return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
"""
_RELEASE = """#!lua
if redis.call('HGET', KEYS[1], 'token') == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


class _Numbered(Protocol):
    @property
    def number(self) -> int:
        """Of a release."""


class LiveRelease(Protocol):
    """What is live: the release, the sequence number of the feature's last change, the experiment on it."""

    @property
    def release(self) -> _Numbered:
        """The live one."""

    @property
    def sequence(self) -> int:
        """Of the last change."""

    @property
    def experiment(self) -> Mapping[str, Any] | None:
        """As `Experiment.to_mapping` writes it."""


class ReleaseStore(Protocol):
    """What a guard needs of `releases.Releases`. A sequence that is no longer the latest is refused with a WorkbenchError."""

    def live(self, feature: str) -> LiveRelease | None:
        """What is live, None if nothing is."""

    def set_experiment(
        self, feature: str, experiment: Mapping[str, Any] | None, *, reason: str, by: str, kind: Literal["guard"],
        expect_sequence: int,
    ) -> Any:  # fmt: skip
        """Put another experiment in place of the one that runs."""

    def rollback(
        self,
        feature: str,
        to: Literal["previous"],
        *,
        reason: str,
        by: str,
        kind: Literal["guard"],
        expect_sequence: int,
    ) -> Any:
        """Make the release before the live one live again."""


@dataclass(frozen=True, slots=True)
class Action:
    """What follows from a failed guardrail. done: False in a dry run, or if `why_not` says why it could not be."""

    kind: Literal["stop", "rollback"]
    arm: str
    reason: str
    checks: tuple[Check, ...]
    done: bool = False
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One look at a feature. notes: what stands in the way of a conclusion."""

    feature: str
    at: float
    release: int | None
    experiment: str | None
    checks: tuple[Check, ...] = ()
    actions: tuple[Action, ...] = ()
    ratio_p: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Nothing failed."""
        return not self.actions

    def to_mapping(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return asdict(self) | {"ok": self.ok}

    def __str__(self) -> str:
        lines = [self._summary()]
        lines += [f"  {check.state:8} {check.sentence}" for check in self.checks]
        lines += [f"  note     {note}" for note in self.notes]
        return "\n".join([*lines, *(f"  {told}" for told in self._told())])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        import pandas as pd

        from workbench import tables

        rows = [(check.state, check.sentence) for check in self.checks] + [("note", note) for note in self.notes]
        said = "; ".join([self._summary(), *self._told()])
        return tables.to_html(pd.DataFrame(rows, columns=["state", "what was looked at"]), caption=said)

    def _summary(self) -> str:
        against = f", {self.experiment}" if self.experiment else ""
        return f"{self.feature}: release {self.release if self.release is not None else 'none'}{against}"

    def _told(self) -> list[str]:
        """What was done, or why not."""
        told = []
        for action in self.actions:
            what = f"stop {action.arm}" if action.kind == "stop" else "roll back the live release"
            told.append(f"{what}: {'done' if action.done else f'not done: {action.why_not or _DRY}'}")
        return told


@dataclass(frozen=True, slots=True)
class Guarded:
    """A feature with guardrails. holder: who guards it now, None if nobody does (a scheduled guard is there for a moment only).
    looked: Unix seconds of any guard's last look, None if there was none in the last month."""

    feature: str
    rules: Rules
    holder: str | None
    looked: float | None


def write_rules(kv: KeyValue, feature: str, rules: Rules | None) -> None:
    """Set a feature's guardrails, or, with None, take them away; all who count for it know within about a second. StoreError if
    the store does not answer."""
    with asking(kv) as client:
        if rules is None:
            client.delete(key(feature, "rules"))
            client.srem(_GUARDED, feature)
        else:
            client.set(key(feature, "rules"), rules.to_json())
            client.sadd(_GUARDED, feature)


def read_rules(kv: KeyValue, feature: str) -> Rules | None:
    """A feature's guardrails, None if it has none. StoreError if the store does not answer."""
    with asking(kv) as client:
        text = client.get(key(feature, "rules"))
    return None if text is None else Rules.from_json(text)


def guarded(kv: KeyValue) -> tuple[Guarded, ...]:
    """All features with guardrails, and who guards them. StoreError if the store does not answer."""
    found = []
    with asking(kv) as client:
        for feature in sorted(name.decode() for name in client.smembers(_GUARDED)):
            rules, holder = read_rules(kv, feature), client.hget(key(feature, "lease"), "holder")
            looked = client.get(key(feature, "looked"))
            if rules is not None:
                found.append(Guarded(feature, rules, holder and holder.decode(), float(looked) if looked else None))
    return tuple(found)


@dataclass(slots=True)
class Guard:
    """One evaluator. by: who it says it is in the history. lease: seconds after which another takes over from one that died.
    clock: Unix seconds."""

    kv: KeyValue
    releases: ReleaseStore
    by: str = "guard"
    lease: float = 30.0
    clock: Callable[[], float] = time.time
    _token: str = field(default_factory=lambda: secrets.token_hex(8), init=False)

    def evaluate(self, feature: str, rules: Rules | None = None) -> Evaluation:
        """Look, and say what would follow; nothing is changed. rules: by default the feature's own. StoreError if a store does
        not answer."""
        return self._look(feature, rules)[0]

    def step(self, feature: str) -> Evaluation | None:
        """Look and act; None if another guard holds the feature. StoreError if a store does not answer."""
        if not self._hold(feature):
            return None
        found, live, experiment = self._look(feature, None)
        if live is None:
            return found
        told: list[Action] = []
        for action in found.actions:
            if told and told[-1].done:  # what is live has changed, and with it what the others rest on
                told += [
                    replace(item, why_not="one at a time: at the next look") for item in found.actions[len(told) :]
                ]
                break
            try:
                self._act(feature, action, live, experiment)
                told.append(replace(action, done=True))
            except StoreError:
                raise
            except WorkbenchError as error:  # somebody else was faster, or there is nothing to go back to
                told.append(replace(action, why_not=str(error)))
        return replace(found, actions=tuple(told))

    def watch(
        self,
        features: Sequence[str],
        *,
        every: float = 10.0,
        stop: threading.Event,
        tell: Callable[[Evaluation | StoreError], None],
    ) -> None:
        """`step` each feature every so many seconds (less than the lease) until `stop` is set; gives the leases back then. A
        store that is away is told and tried again."""
        try:
            while not stop.is_set():
                for feature in features:
                    try:
                        found = self.step(feature)
                    except StoreError as error:
                        tell(error)
                        continue
                    if found is not None:
                        tell(found)
                stop.wait(every)
        finally:
            self.release(features)

    def release(self, features: Sequence[str]) -> None:
        """Give the leases back, as far as the store answers."""
        for feature in features:
            try:
                with asking(self.kv) as client:
                    client.eval(_RELEASE, 1, key(feature, "lease"), self._token)
            except StoreError:
                return

    def _hold(self, feature: str) -> bool:
        who, milliseconds = f"{self.by} on {socket.gethostname()}, process {os.getpid()}", int(self.lease * 1000)
        with asking(self.kv) as client:
            names = [key(feature, "lease"), key(feature, "looked")]
            return bool(client.eval(_HOLD, 2, *names, self._token, who, milliseconds, self.clock(), _KEEP_LOOKED))

    def _look(self, feature: str, rules: Rules | None) -> tuple[Evaluation, LiveRelease | None, Experiment | None]:
        from workbench.online.analysis import sample_ratio
        from workbench.online.checks import LIVE, RATIO_LEVEL, check_live, check_treatments

        live, at = self.releases.live(feature), self.clock()
        rules = rules or read_rules(self.kv, feature)
        if live is None:
            return Evaluation(feature, at, None, None, notes=("nothing is live",)), None, None
        number, ratio_p = live.release.number, None
        notes: list[str] = []
        checks: list[Check] = []
        actions: list[Action] = []
        experiment = _running(live, notes)
        name = experiment.key if experiment is not None else None
        if rules is None:
            notes.append("it has no guardrails: give some, as in `workbench release guard FEATURE --error-margin 0.02`")
            return Evaluation(feature, at, number, name, notes=tuple(notes)), live, experiment
        if rules.limits:
            study = read_study(self.kv, feature, f"release-{number}")
            found = check_live(study, rules)
            checks += found
            failed = [check for check in found if check.state == "failed"]
            if failed and self._acted(feature, number):
                notes.append(f"release {number} fails; the guard has undone it before, and does so only once")
            elif failed and _usable(study, notes):
                actions.append(_action("rollback", LIVE, failed))
        if experiment is not None:
            study = read_study(self.kv, feature, experiment.key)
            ratio_p = float(sample_ratio(study.exposures))
            if ratio_p < RATIO_LEVEL:
                notes.append(f"the arms do not get equally many users (p = {ratio_p:.2g}): find out why")
            found = check_treatments(experiment, study, rules)
            checks += found
            failed = [check for check in found if check.state == "failed"]
            if failed and _usable(study, notes):
                arms = dict.fromkeys(check.arm for check in failed)
                actions += [_action("stop", arm, [check for check in failed if check.arm == arm]) for arm in arms]
        if experiment is None and not rules.limits:
            notes.append(
                "its guardrails are margins, which compare a treatment with the control, and no experiment runs"
            )
        look = Evaluation(feature, at, number, name, tuple(checks), tuple(actions), ratio_p, tuple(notes))
        return look, live, experiment

    def _acted(self, feature: str, number: int) -> bool:
        with asking(self.kv) as client:
            return bool(client.hexists(key(feature, "acted"), str(number)))

    def _act(self, feature: str, action: Action, live: LiveRelease, experiment: Experiment | None) -> None:
        if action.kind == "rollback":
            self.releases.rollback(
                feature, "previous", reason=action.reason, by=self.by, kind="guard", expect_sequence=live.sequence
            )
            with asking(self.kv) as client:
                client.eval(_ACTED, 1, key(feature, "acted"), live.release.number, self.clock())
        elif experiment is not None:
            numbers = [check.to_mapping() for check in action.checks]
            changed = experiment.stopped(action.arm, at=self.clock(), by=self.by, reason=action.reason, checks=numbers)
            self.releases.set_experiment(
                feature,
                changed.to_mapping(),
                reason=action.reason,
                by=self.by,
                kind="guard",
                expect_sequence=live.sequence,
            )


def _running(live: LiveRelease, notes: list[str]) -> Experiment | None:
    if live.experiment is None:
        return None
    try:
        found = Experiment.from_mapping(live.experiment)
    except InputError as error:
        notes.append(str(error))
        return None
    if found.control != live.release.number:
        notes.append(f"experiment {found.name!r} is void: its control is release {found.control}, which is not live")
        return None
    return found if found.enabled else None


def _usable(study: Study, notes: list[str]) -> bool:
    if not study.whole:
        notes.append(
            f"the store has dropped a part of the counts of {study.key}: its memory was full; nothing can be concluded"
        )
    return study.whole


def _action(kind: Literal["stop", "rollback"], arm: str, checks: Sequence[Check]) -> Action:
    return Action(kind, arm, "; ".join(check.sentence for check in checks), tuple(checks))
