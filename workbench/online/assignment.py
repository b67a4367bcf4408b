"""Which release a user gets: pure, the same in every process, on every machine and in every language.

The algorithm, version 1 (docs/experiments.md has it with test vectors):

1. bucket(salt, unit) = the first 13 hex digits (52 bits) of SHA-256 over the UTF-8 bytes of salt + ":" + unit, as an integer. A
   salt holds no colon. A lone surrogate in the unit counts as U+FFFD. There is no other normalisation: "Ann" is not "ann".
2. A disabled experiment, and a call without a user (none, or an empty text), give the control's release; nothing is counted.
3. A user among the overrides gets the arm named there; not counted, since testers are no sample.
4. With an exclusion group: the user is in the experiment only if start <= bucket("group/" + group, user) < end, where start and
   end are floor(x * 2**52) of the group's slice. Else the control's release, not counted.
5. With k treatments, arm i (treatments in their order are 0 … k-1, the control is k) begins at b(i) = i * 2**52 // (k + 1). With
   s = floor(share * 2**52), a user whose bucket (with the experiment's salt) lies in b(i) <= bucket < b(i) + s is in arm i. All
   others get the control's release and are not counted.
6. A single treatment may have a share above one half. It is then served where bucket < s; counted are only
   bucket < 2**52 - s for the treatment, and s <= bucket for the control.
7. A stopped treatment's users get the control's release, and are not counted any more. If no treatment is left, nobody is.

So a growing share never moves a user out of a treatment, and no user is ever counted in two arms. All arms that are compared have
the same share at every moment, whatever the ramp: a comparison of shares that change in different ways could be reversed by what
changed over time (Simpson's paradox; Crook, Frasca, Kohavi and Longbotham 2009, Seven Pitfalls to Avoid when Running Controlled
Experiments on the Web, KDD, pitfall 6).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Literal

from workbench.errors import InputError
from workbench.records import check_name

__all__ = ["BUCKETS", "CONTROL", "Arm", "Assignment", "Experiment", "Parsed", "assign", "bucket"]

BUCKETS: Final = 2**52
CONTROL: Final = "control"
_VERSION = 1

Why = Literal["assigned", "override", "outside", "excluded", "stopped", "off", "anonymous"]


def bucket(salt: str, unit: str) -> int:
    """Where a unit falls, from 0 to 2**52 - 1, uniform and independent between salts."""
    try:
        text = f"{salt}:{unit}".encode()
    except UnicodeEncodeError:
        text = f"{salt}:{unit}".encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:7], "big") >> 4


@dataclass(frozen=True, slots=True)
class Arm:
    """One treatment. release: its number. stopped: None, or when, by whom and why its share was taken to 0, with the numbers."""

    name: str
    release: int
    stopped: Mapping[str, Any] | None = field(default=None, hash=False)


@dataclass(frozen=True, slots=True)
class Assignment:
    """What one user gets. release: a number. counted: whether this user is part of the analysis.

    arm: "control" or a treatment's name; None for who is in no arm. experiment: `Experiment.key`, None outside of any.
    stage: the arms that are compared now, joined by "+": what a sample ratio is expected of. why: how it came to this.
    """

    release: int
    arm: str | None = None
    experiment: str | None = None
    counted: bool = False
    stage: str = ""
    why: Why = "outside"

    @property
    def label(self) -> str:
        """What counters call it: "live", "tester", or EXPERIMENT/ARM."""
        if self.why == "override":
            return "tester"
        return f"{self.experiment}/{self.arm}" if self.arm is not None else "live"


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment on the live traffic of a feature.

    control, Arm.release: release numbers; equal ones make an A/A test. share: of all users (of the slice, where there is a
    group), 0 to 1, that each treatment gets, and as many are its control; with k treatments at most 1 / (k + 1), a single one up
    to 1.
    salt: by default FEATURE.NAME; an equal salt gives equal arms. group, slice: users of a group's slice, [start, end) of 0 to 1,
    are in this experiment at most; give other experiments of the group other slices. overrides: user -> arm. started_at: Unix
    seconds; data of an earlier start are left out. enabled: False is the kill switch. primary: the outcome that decides.
    """

    feature: str
    name: str
    control: int
    treatments: tuple[Arm, ...]
    share: float
    salt: str = ""
    group: str | None = None
    slice: tuple[float, float] = (0.0, 1.0)
    overrides: Mapping[str, str] = field(default_factory=dict, hash=False)
    started_at: float = 0.0
    enabled: bool = True
    primary: str = ""
    _bands: tuple[tuple[int, int, Assignment], ...] = field(init=False, repr=False, compare=False)
    _rest: Mapping[Why, Assignment] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_name(self.feature, "feature")
        check_name(self.name, "experiment")
        object.__setattr__(self, "salt", self.salt or f"{self.feature}.{self.name}")
        self._check()
        object.__setattr__(self, "_bands", tuple(self._lay_out()))
        whys: tuple[Why, ...] = ("outside", "excluded", "stopped", "off", "anonymous")
        object.__setattr__(self, "_rest", {why: Assignment(self.control, why=why) for why in whys})

    @property
    def key(self) -> str:
        """NAME@STARTED: what its data are kept under."""
        return f"{self.name}@{int(self.started_at)}"

    @property
    def arms(self) -> Mapping[str, int]:
        """Release number by arm, the control first."""
        return {CONTROL: self.control} | {arm.name: arm.release for arm in self.treatments}

    def ramped(self, share: float) -> Experiment:
        """With another share. Who is in a treatment stays in it if the share grows."""
        return replace(self, share=share)

    def stopped(self, arm: str, *, at: float, by: str, reason: str, **numbers: Any) -> Experiment:
        """With the share of one treatment at 0, for good, and why."""
        if arm not in self.arms or arm == CONTROL:
            names = ", ".join(item.name for item in self.treatments)
            raise InputError(f"experiment {self.name!r} has no treatment {arm!r}: it has {names}.")
        told = {"at": at, "by": by, "reason": reason, **({"numbers": numbers} if numbers else {})}
        arms = tuple(replace(item, stopped=told) if item.name == arm else item for item in self.treatments)
        return replace(self, treatments=arms)

    def to_mapping(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        arms = [
            {"name": a.name, "release": a.release, "stopped": a.stopped and dict(a.stopped)} for a in self.treatments
        ]
        return {
            "version": _VERSION, "feature": self.feature, "name": self.name, "control": self.control, "treatments": arms,
            "share": self.share, "salt": self.salt, "group": self.group, "slice": list(self.slice),
            "overrides": dict(self.overrides), "started_at": self.started_at, "enabled": self.enabled, "primary": self.primary,
        }  # fmt: skip

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Experiment:
        """The inverse. InputError for an unknown version, field or type."""
        given = dict(values)
        version = given.pop("version", None)
        if version != _VERSION:
            raise InputError(
                f"this experiment is written in version {version!r}, and this program reads {_VERSION}: update it."
            )
        known = {item.name for item in fields(cls) if item.init}
        if wrong := sorted(set(given) - known):
            raise InputError(f"experiment: unknown field {wrong[0]!r}. Known are {', '.join(sorted(known))}.")
        try:
            arms = tuple(Arm(arm["name"], arm["release"], arm.get("stopped")) for arm in given.pop("treatments"))
            return cls(treatments=arms, slice=tuple(given.pop("slice", (0.0, 1.0))), **given)
        except (TypeError, KeyError, AttributeError) as error:
            raise InputError(f"this is no experiment: {error!r}. Write it with Experiment.to_mapping.") from None

    def _check(self) -> None:
        if ":" in self.salt:
            raise InputError(
                f"salt = {self.salt!r} must hold no colon: it stands between salt and user where they are hashed."
            )
        arms, names = self.treatments, [arm.name for arm in self.treatments]
        for item in arms:
            check_name(item.name, "arm")
            if item.stopped is not None and not isinstance(item.stopped, Mapping):
                raise InputError(
                    f"stopped = {item.stopped!r} of arm {item.name!r} must be None, or tell when, by whom and why: "
                    "Experiment.stopped does so."
                )
        if not arms or len({CONTROL, *names}) <= len(names):
            raise InputError(f"treatments {names!r}: name at least one, each once, and none of them {CONTROL!r}.")
        for what, number in self.arms.items():
            if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                raise InputError(f"{what} = {number!r} must be the number of a release, such as 3.")
        if not _number(self.share) or not 0 <= self.share <= 1:
            raise InputError(f"share = {self.share!r} must be a number from 0 to 1, such as 0.05 for 5% of the users.")
        most = 1 / (len(arms) + 1)
        if len(arms) > 1 and self.share > most:
            raise InputError(
                f"share = {self.share!r}: {len(arms)} treatments and a control of the same size have room for {most:.4f} each."
            )
        if self.group is not None:
            check_name(self.group, "group")
        bounds = self.slice
        if not isinstance(bounds, Sequence) or len(bounds) != 2 or not all(map(_number, bounds)):
            raise InputError(f"slice = {bounds!r} must be two numbers, such as (0, 0.5).")
        if not 0 <= bounds[0] < bounds[1] <= 1:
            raise InputError(f"slice = {bounds!r} must have 0 <= start < end <= 1, such as (0, 0.5).")
        if self.group is None and tuple(bounds) != (0, 1):
            raise InputError(f"slice = {bounds!r} is the slice of a group: name the group too.")
        for user, arm in self.overrides.items():
            if arm not in self.arms:
                raise InputError(f"overrides: {user!r} is given arm {arm!r}; there are {', '.join(self.arms)}.")

    def _lay_out(self) -> list[tuple[int, int, Assignment]]:
        running = [arm for arm in self.treatments if arm.stopped is None]
        share, count = int(self.share * BUCKETS), len(self.treatments) + 1
        if not running:
            return []
        stage = "+".join(sorted([CONTROL, *(arm.name for arm in running)]))

        def of(name: str, counted: bool = True) -> Assignment:
            return Assignment(self.arms[name], name, self.key, counted, stage if counted else "", "assigned")

        if count == 2 and share > BUCKETS // 2:
            name, compared = running[0].name, BUCKETS - share
            spread = (compared, share, of(name, counted=False))
            return [(0, compared, of(name)), spread, (share, BUCKETS, of(CONTROL))]
        bands = []
        for index, name in enumerate([*(arm.name for arm in self.treatments), CONTROL]):
            low = index * BUCKETS // count
            lives = name == CONTROL or any(arm.name == name for arm in running)
            given = of(name) if lives else Assignment(self.control, why="stopped")
            bands.append((low, low + share, given))
        return bands


class Parsed:
    """Experiments read from what a watcher hands out, each mapping once. What cannot be read is None: the control for all."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[Mapping[str, Any], Experiment | None]] = {}

    def of(self, feature: str, mapping: Mapping[str, Any] | None, live: int) -> Experiment | None:
        """The experiment of a feature; the same object as long as the mapping is the same object. live: the number of the live
        release. None if that is not the experiment's control: after a rollback, an experiment against what was live is void."""
        if mapping is None:
            return None
        found = self._read(feature, mapping)
        return found if found is not None and found.control == live else None

    def _read(self, feature: str, mapping: Mapping[str, Any]) -> Experiment | None:
        held = self._held.get(feature)
        if held is not None and held[0] is mapping:
            return held[1]
        try:
            found: Experiment | None = Experiment.from_mapping(mapping)
        except InputError:  # written by a newer program: the live release is always right
            found = None
        self._held[feature] = (mapping, found)
        return found


def assign(experiment: Experiment, user: str | None) -> Assignment:
    """What a user gets; see the module for the exact rule. None or an empty text: nobody knows who it is."""
    rest = experiment._rest
    if not experiment.enabled:
        return rest["off"]
    if not user:
        return rest["anonymous"]
    if experiment.overrides and (arm := experiment.overrides.get(user)) is not None:
        return Assignment(experiment.arms[arm], arm, experiment.key, why="override")
    if experiment.group is not None:
        start, end = experiment.slice
        if not int(start * BUCKETS) <= bucket(f"group/{experiment.group}", user) < int(end * BUCKETS):
            return rest["excluded"]
    place = bucket(experiment.salt, user)
    for low, high, given in experiment._bands:
        if low <= place < high:
            return given
    return rest["outside"]


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
