"""What happened to a feature: events, and what they say of each release."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

import orjson

from workbench.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Event", "EventKind", "History", "Standing", "State", "check_reason", "moment"]

EventKind = Literal["release", "candidate", "rollback", "experiment", "ramp", "stop", "guard"]
State = Literal["active", "candidate", "rolled back", "replaced"]
_KINDS: tuple[str, ...] = get_args(EventKind)


@dataclass(frozen=True, slots=True)
class Event:
    """One change. sequence: its place, from 1. at: Unix seconds. release: the number that is live after it, before: until then.

    made: the number of the release that it made. experiment: what runs after it, where it changed that; ended: the name of the
    experiment that it ended. evidence: such as a comparison's id. id: unique.
    """

    sequence: int
    id: str
    at: float
    kind: EventKind
    by: str
    reason: str
    release: int
    before: int | None = None
    made: int | None = None
    experiment: Mapping[str, Any] | None = None
    ended: str | None = None
    evidence: str | None = None

    @property
    def sentence(self) -> str:
        """What it did, for people."""
        if self.kind == "candidate":
            done = f"release {self.made} made, not live"
        elif self.release != self.before:
            done = f"release {self.release} live" + (f", in place of {self.before}" if self.before else "")
        elif self.experiment is not None:
            done = _told(self.experiment)
        else:
            done = ""
        ended = f"experiment {self.ended} ended" if self.ended else ""
        return "; ".join(part for part in (done, ended) if part)

    def encode(self) -> bytes:
        """As JSON."""
        return orjson.dumps(asdict(self))

    @classmethod
    def decode(cls, text: bytes) -> Event:
        """The inverse. InputError for what is none."""
        try:
            event = cls(**orjson.loads(text))
        except (orjson.JSONDecodeError, TypeError) as error:
            raise InputError(f"this event of a release's history cannot be read: {error}.") from None
        if event.kind not in _KINDS:
            raise InputError(f"this event is of kind {event.kind!r}, which this program does not know: update it.")
        return event


@dataclass(frozen=True, slots=True)
class Standing:
    """What became of a release. active: live now. candidate: never live. rolled back: it was live, and one before it was taken
    again. replaced: a newer one came after it. model: that it answers with."""

    feature: str
    number: int
    state: State
    model: str = ""


@dataclass(frozen=True, slots=True)
class History:
    """The events of one feature, oldest first. Shown newest first."""

    feature: str
    events: tuple[Event, ...]

    @property
    def standings(self) -> Mapping[int, State]:
        """The state of each release, by number."""
        return _walk(self.events)[1]

    @property
    def previous(self) -> int | None:
        """What `rollback(to="previous")` goes to: the release that the live one came after. Releases that were rolled back are
        passed over, so two rollbacks go back two steps."""
        line = _walk(self.events)[0]
        return line[-2] if len(line) > 1 else None

    def frame(self) -> pd.DataFrame:
        """One row an event, newest first."""
        import pandas as pd

        columns = ["seq", "when (UTC)", "kind", "what", "by", "reason", "evidence"]
        rows = [
            (e.sequence, moment(e.at), e.kind, e.sentence, e.by, e.reason, e.evidence or "")
            for e in reversed(self.events)
        ]
        return pd.DataFrame(rows, columns=columns)

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)

    def __str__(self) -> str:
        from workbench import tables

        return tables.to_text(self.frame(), title=f"History of {self.feature}")

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from workbench import tables

        return tables.to_html(self.frame(), caption=f"History of {self.feature}")


def _told(experiment: Mapping[str, Any]) -> str:
    """Such as `canary: 1 against 2, 5%`; as far as its writer said it."""
    from workbench.tables import format_share

    arms = experiment.get("treatments") or ()
    against = ", ".join(str(arm.get("release")) for arm in arms)
    said = f"{experiment.get('name')}: {experiment.get('control')} against {against}"
    share, stopped = experiment.get("share"), [str(arm.get("name")) for arm in arms if arm.get("stopped")]
    if experiment.get("enabled") is False:
        return f"{said}, switched off"
    if len(stopped) < len(arms) and isinstance(share, (int, float)):
        said += f", {format_share(share)}" + " each" * (len(arms) > 1)
    return said + (f"; {', '.join(stopped)} stopped" if stopped else "")


def check_reason(reason: str) -> str:
    """The reason of a change as its history shows it. InputError for none."""
    if not isinstance(reason, str) or not reason.strip():
        raise InputError(
            'a change of what is live needs a reason, which its history shows: reason="…" (in a shell: --reason "…").'
        )
    return reason.strip()


def moment(at: float) -> str:
    """`2026-11-24 05:30:00`, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _walk(events: Iterable[Event]) -> tuple[list[int], dict[int, State]]:
    """The line of releases that led to the live one, and the state of each release."""
    line: list[int] = []
    states: dict[int, State] = {}
    for event in events:
        if event.made is not None:
            states[event.made] = "candidate"
        if event.kind == "candidate" or (line and line[-1] == event.release):
            continue
        if event.release in line:
            while line[-1] != event.release:
                states[line.pop()] = "rolled back"
        else:
            if line:
                states[line[-1]] = "replaced"
            line.append(event.release)
        states[event.release] = "active"
    return line, states
