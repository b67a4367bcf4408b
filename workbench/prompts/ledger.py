"""The ledger: what happened to the prompts of a folder, one JSON line an event, only ever appended to.

`FOLDER/NAME/events.jsonl` holds the events of one prompt, `FOLDER/events.jsonl` those of all. Nothing is kept of where a label
stands, what is archived or protected: it is what the events say, by their time, so that git can join two branches' lines.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from workbench.errors import PromptError
from workbench.prompts.base import LabelEvent

__all__ = ["BECAUSE", "Entry", "EntryKind", "Ledger", "check_because", "said"]

EntryKind = Literal["label", "unlabel", "archive", "restore", "protect", "unprotect", "mirror"]
BECAUSE: Mapping[str, str] = {
    "comparison": "a comparison shows that it is better (give its id as evidence)",
    "incident": "something is broken",
    "decision": "somebody decided it (the reason says who and why)",
}
"""The names that a reason can have where a label is protected."""

_EVENTS = "events.jsonl"
_KINDS: tuple[str, ...] = get_args(EntryKind)


@dataclass(frozen=True, slots=True)
class Entry:
    """One event. at: ISO 8601, UTC. version: what was labelled, archived or restored, and came_from where the label stood until
    then, or was taken from. digest: the first digits of what that is; "" in old events. remote: of a mirrored label, the
    number in Langfuse that it was put on."""

    at: str
    kind: EntryKind
    by: str
    reason: str = ""
    label: str | None = None
    version: int | None = None
    came_from: int | None = None
    evidence: str = ""
    because: str = ""
    remote: int | None = None
    digest: str = ""


class Ledger:
    """The events of the prompts in a folder. clock: Unix seconds. Safe for many processes and threads at once."""

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        self.folder = folder
        self._clock = clock

    def read(self, name: str | None) -> tuple[Entry, ...]:
        """All events of a prompt, oldest first; of all prompts together where `name` is None. PromptError for a broken line."""
        path = self._path(name)
        try:
            lines = path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return ()
        found = (_entry(path, number, line.strip()) for number, line in enumerate(lines, 1) if line.strip())
        return tuple(sorted((item for item in found if item), key=lambda item: item.at))

    def write(self, name: str | None, kind: EntryKind, fields: Mapping[str, object], *, by: str, reason: str) -> None:
        """Append an event, on disk when this returns. It is the last one even where a clock lags."""
        now = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="microseconds")
        # Events are replayed by time, since a git merge mixes lines: a clock that lags must not undo this one.
        now = max([now, *(entry.at for entry in self.read(name))])
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        _append(path, {"at": now, "event": kind, **fields, "by": by, "reason": reason})

    def labels(self, name: str) -> dict[str, Entry]:
        """The event that put each label where it stands now."""
        last = {e.label: e for e in self.read(name) if e.kind in ("label", "unlabel") and e.label is not None}
        return {label: entry for label, entry in sorted(last.items()) if entry.kind == "label"}

    def moves(self, name: str) -> tuple[LabelEvent, ...]:
        """Every move of a label of this prompt, oldest first; one that was taken off moved to None."""
        return tuple(
            LabelEvent(e.at, e.label, e.came_from, e.version, e.by, e.reason, e.evidence, e.because)
            for e in self.read(name)
            if e.kind in ("label", "unlabel") and e.label is not None
        )

    def archivings(self, name: str) -> tuple[Entry, ...]:
        """All that was put away or taken back, oldest first."""
        return tuple(e for e in self.read(name) if e.kind in ("archive", "restore"))

    def protected(self, name: str) -> frozenset[str]:
        """The labels of this prompt that need a named reason to move."""
        return _protected(self.read(None)) | _protected(self.read(name))

    def mirrored(self, name: str) -> dict[str, int]:
        """Where each label was put in Langfuse when it was last written there, by its number there."""
        found = {e.label: e.remote for e in self.read(name) if e.kind == "mirror"}
        return {label: remote for label, remote in found.items() if label is not None and remote is not None}

    def _path(self, name: str | None) -> Path:
        return self.folder / _EVENTS if name is None else self.folder / name / _EVENTS


def said(reason: str, what: str) -> str:
    """`reason` without spaces around it; PromptError if it says nothing."""
    if not isinstance(reason, str) or not reason.strip():
        raise PromptError(f"{what}: say why, in `reason` (in a shell: -m). It is what people ask later.")
    return reason.strip()


def check_because(label: str, ref: str | None, because: str | None, evidence: str) -> str:
    """The named reason that a protected label moves to `ref` for, or is taken off where that is None. PromptError says which."""
    where, what = ("off", "taken off only") if ref is None else (f"on {ref}", f"moved to {ref} only")
    known = "; ".join(f"{name!r}: {meaning}" for name, meaning in BECAUSE.items())
    if because is None:
        raise PromptError(
            f"label {label!r} is protected: it is {what} for a named reason, because= (in a shell: --because) {known}."
        )
    if because not in BECAUSE:
        raise PromptError(f"because = {because!r} is no named reason: there are {known}.")
    if because == "comparison" and not evidence:
        raise PromptError(f"label {label!r} {where}: because='comparison' needs evidence, the id of that comparison.")
    return because


def _protected(entries: Iterable[Entry]) -> frozenset[str]:
    state = {e.label: e.kind for e in entries if e.kind in ("protect", "unprotect")}
    return frozenset(label for label, kind in state.items() if kind == "protect" and label is not None)


def _append(path: Path, event: Mapping[str, object]) -> None:
    line = json.dumps(event, ensure_ascii=False).encode() + b"\n"
    with path.open("a+b", buffering=0) as file:
        if file.seek(0, os.SEEK_END) > 0:
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line
        if file.write(line) != len(line):
            raise OSError(errno.ENOSPC, "nothing was done: the event could not be written whole", str(path))


def _entry(path: Path, number: int, line: bytes) -> Entry | None:
    """One line; None for a kind of event that is not known here, and for a line that a crash cut off, which never counted."""
    if line.startswith(b"{") and not line.endswith(b"}"):
        return None
    try:
        fields = json.loads(line)
        kind = fields["event"]
        if kind not in _KINDS:
            return None
        at, by, reason = (str(fields[key]) for key in ("at", "by", "reason"))
        label = str(fields["label"]) if kind in ("label", "unlabel", "protect", "unprotect", "mirror") else None
        version = int(fields["to"]) if kind in ("label", "mirror") else None
        version = int(fields["version"]) if kind in ("archive", "restore") else version
        stood = int(fields["from"]) if kind in ("label", "unlabel") and fields["from"] is not None else None
        remote = int(fields["remote"]) if kind == "mirror" else None
    except (ValueError, KeyError, TypeError) as error:
        raise PromptError(
            f"{path}, line {number}, is no event ({type(error).__name__}: {error}). If these are git's conflict "
            "markers, take only those lines away and keep both sides; otherwise restore the file with git."
        ) from None
    evidence, because = str(fields.get("evidence") or ""), str(fields.get("because") or "")
    digest = str(fields.get("digest") or "") if kind in ("label", "archive", "restore") else ""
    return Entry(at, kind, by, reason, label, version, stood, evidence, because, remote, digest)
