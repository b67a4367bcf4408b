"""Which files of the log count: a numbered state, replaced whole, so that every reader sees each row once.

A change of the log's files is: write the new ones, make state N+1, delete the old ones. Whoever makes N+1 first has won; a kill
before that leaves files that no state names, and a kill after it leaves files that the state says are gone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import orjson

from workbench.calls.places import Place
from workbench.errors import RunError

__all__ = ["Part", "State", "commit", "latest_number", "read_state"]

_FOLDER = "state"
_KEPT = 3  # old states, for readers that just listed them
_VERSION = 1


class Part(NamedTuple):
    """One Parquet file. table: whose rows. day: UTC, such as 2026-11-28. name: in its place."""

    table: str
    day: str
    name: str
    rows: int


@dataclass(frozen=True, slots=True)
class State:
    """parts: the Parquet files that count. gone: segments whose rows are in parts, and since when (Unix seconds); should one
    still be there, it does not count."""

    number: int = 0
    parts: tuple[Part, ...] = ()
    gone: tuple[tuple[str, float], ...] = ()

    def of(self, table: str) -> list[Part]:
        """The parts of a table."""
        return [part for part in self.parts if part.table == table]

    def changed(self, *, out: Iterable[str] = (), into: Iterable[Part] = (), gone: Iterable[str] = (),
                forgotten: Iterable[str] = ()) -> State:  # fmt: skip
        """The next state: parts `out` replaced by `into`, segments `gone`, and those not named any longer."""
        dropped, forgot, now = set(out), set(forgotten), time.time()
        return replace(
            self, number=self.number + 1,
            parts=(*(part for part in self.parts if part.name not in dropped), *into),
            gone=(*((name, at) for name, at in self.gone if name not in forgot), *((name, now) for name in gone)),
        )  # fmt: skip


def read_state(place: Place) -> State:
    """The latest. Raises RunError for one that this version cannot read."""
    for _ in range(10):
        numbers = _numbers(place)
        if not numbers:
            return State()
        try:
            found: dict[str, Any] = orjson.loads(place.read(_name(numbers[-1])))
        except FileNotFoundError:  # newer ones came since it was listed
            continue
        if found.get("version") != _VERSION:
            raise RunError(
                f"the call log at {place.address} was compacted by another version of the workbench (its state is "
                f"{found.get('version')!r}, this one reads {_VERSION}): update this one."
            )
        return State(
            numbers[-1], tuple(Part(*part) for part in found["parts"]), tuple((name, at) for name, at in found["gone"])
        )
    raise RunError(f"the call log at {place.address} changes faster than it can be read. Try again.")


def latest_number(place: Place) -> int:
    """Of the latest state, 0 if there is none."""
    return max(_numbers(place), default=0)


def commit(place: Place, state: State) -> bool:
    """Make this the state; False if another process made one of this number first, and nothing has changed."""
    data = orjson.dumps({"version": _VERSION, "parts": [list(part) for part in state.parts], "gone": state.gone})
    if not place.create(_name(state.number), data):
        return False
    for number in _numbers(place):
        if number < state.number - _KEPT:
            place.delete(_name(number))
    return True


def _numbers(place: Place) -> list[int]:
    names = (name.rsplit("/", 1)[-1].removesuffix(".json") for name in place.names(_FOLDER, ".json"))
    return sorted(int(name) for name in names if name.isdigit())


def _name(number: int) -> str:
    return f"{_FOLDER}/{number:08d}.json"
