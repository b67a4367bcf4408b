"""What a process has counted and not sent yet, of one feature; and how it becomes batches for the store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from workbench.online.keys import KEEP_MINUTES, KEEP_STUDIES, key, user_field
from workbench.online.sketch import index_of

__all__ = ["Batch", "Figures", "Pending"]

_AT_ONCE = 2_000  # users or numbers in one batch, so that the store is never held for more than some milliseconds
_MOST_MINUTES = 5_000


@dataclass(slots=True)
class Figures:
    """What calls add up to. dollars: of those with a price; unpriced: how many have none. seconds: of those with a latency;
    buckets: as in `sketch`."""

    calls: int = 0
    errors: int = 0
    dollars: float = 0.0
    unpriced: int = 0
    seconds: float = 0.0
    buckets: dict[int, int] = field(default_factory=dict)

    def add(self, error: bool, latency: float | None, cost: float | None) -> None:
        """Count one call."""
        self.calls += 1
        self.errors += error
        if cost is None:
            self.unpriced += 1
        else:
            self.dollars += cost
        if latency is not None:
            self.seconds += latency
            index = index_of(latency)
            self.buckets[index] = self.buckets.get(index, 0) + 1

    def pairs(self) -> list[str | float]:
        """Field, number, field, number …: what is not 0."""
        named = {"calls": self.calls, "errors": self.errors, "dollars": self.dollars, "unpriced": self.unpriced,
                 "seconds": self.seconds}  # fmt: skip
        named |= {f"b{index}": count for index, count in self.buckets.items()}
        return [item for pair in named.items() if pair[1] for item in pair]


@dataclass(slots=True)
class Batch:
    """What one run of the script is given: names of keys, then what is added to them."""

    feature: str
    keys: dict[str, int] = field(default_factory=dict)
    h: list[list[Any]] = field(default_factory=list)
    g: list[list[Any]] = field(default_factory=list)
    e: list[list[Any]] = field(default_factory=list)
    u: list[list[Any]] = field(default_factory=list)
    number: int = 0
    tries: int = 0

    def place(self, name: str) -> int:
        """Where a key stands among KEYS, whose first two are the writer's mark and the rules."""
        return self.keys.setdefault(name, len(self.keys) + 3)

    def body(self) -> bytes:
        """As JSON."""
        import orjson

        return orjson.dumps({"h": self.h, "g": self.g, "e": self.e, "u": self.u})


class Pending:
    """cap: how many of a user's values count in a study, so that no user weighs more than that. most: users by study and metric
    that are kept; beyond it a value of another user is counted as lost."""

    def __init__(self, cap: int, most: int) -> None:
        self._cap, self._most = cap, most
        self.totals: dict[str, Figures] = {}
        self.minutes: dict[tuple[str, int], Figures] = {}
        self.exposed: dict[tuple[str, str, str], set[str]] = {}
        self.values: dict[tuple[str, str, str], dict[str, list[float]]] = {}
        self.users = 0
        self.lost = 0

    def __bool__(self) -> bool:
        return bool(self.totals or self.exposed or self.values or self.lost)

    def call(self, cell: str, minute: int, error: bool, latency: float | None, cost: float | None) -> None:
        """Count a call in its cell's figures."""
        total = self.totals.get(cell)
        if total is None:
            total = self.totals[cell] = Figures()
        total.add(error, latency, cost)
        figures = self.minutes.get((cell, minute))
        if figures is None:
            if len(self.minutes) >= _MOST_MINUTES:
                del self.minutes[min(self.minutes, key=lambda place: place[1])]
            figures = self.minutes[cell, minute] = Figures()
        figures.add(error, latency, cost)

    def expose(self, study: str, arm: str, stage: str, user: str) -> None:
        """Count a user in, once."""
        found = self.exposed.setdefault((study, arm, stage), set())
        if user in found:
            return
        if self.users >= self._most:
            self.lost += 1
            return
        self.users += 1
        found.add(user)

    def value(self, study: str, arm: str, metric: str, user: str, value: float) -> None:
        """Add a value of a user."""
        users = self.values.setdefault((study, arm, metric), {})
        held = users.get(user)
        if held is None:
            if self.users >= self._most:
                self.lost += 1
                return
            self.users += 1
            users[user] = [value, 1, value * value]
        elif held[1] < self._cap:
            held[0] += value
            held[1] += 1
            held[2] += value * value

    def batches(self, feature: str) -> Iterator[Batch]:
        """All of it, in the order in which it is to be sent."""
        batch, held = Batch(feature), 0
        for item in self._sums(feature):
            name, seconds, *pairs = item
            batch.h.append([batch.place(name), seconds, *pairs])
            held += len(pairs)
            if held >= _AT_ONCE:
                yield batch
                batch, held = Batch(feature), 0
        latest: dict[str, int] = {}
        for cell, minute in self.minutes:
            latest[cell] = max(minute, latest.get(cell, 0))
        if latest:
            batch.g.append(
                [batch.place(key(feature, "cells")), KEEP_STUDIES, *(x for pair in latest.items() for x in pair)]
            )
        for kind, places, users in self._studies():
            while taken := list(islice(users, _AT_ONCE - held)):
                self._put(batch, kind, places, taken)
                held += len(taken)
                if held >= _AT_ONCE:
                    yield batch
                    batch, held = Batch(feature), 0
        if batch.keys:
            yield batch

    def _sums(self, feature: str) -> Iterator[list[Any]]:
        for cell, figures in self.totals.items():
            yield [key(feature, "t", cell), KEEP_STUDIES, *figures.pairs()]
        for (cell, minute), figures in self.minutes.items():
            yield [key(feature, "m", f"{cell}|{minute}"), KEEP_MINUTES, *figures.pairs()]
        if self.lost:
            yield [key(feature, "lost"), KEEP_STUDIES, "values", self.lost]

    def _studies(self) -> Iterator[tuple[str, tuple[str, str, str], Iterator[tuple[Any, ...]]]]:
        for place, users in self.exposed.items():
            yield "e", place, ((user_field(user),) for user in users)
        for place, values in self.values.items():
            yield "u", place, ((user_field(user), *numbers) for user, numbers in values.items())

    def _put(self, batch: Batch, kind: str, place: tuple[str, str, str], taken: list[tuple[Any, ...]]) -> None:
        study, arm, last = place
        moments = batch.place(key(batch.feature, "x", study))
        flat = [item for group in taken for item in group]
        if kind == "e":
            users = batch.place(key(batch.feature, "e", f"{study}|{arm}"))
            batch.e.append([users, moments, KEEP_STUDIES, f"{last}|{arm}", *flat])
        else:
            users = batch.place(key(batch.feature, "u", f"{study}|{arm}|{last}"))
            batch.u.append([users, moments, KEEP_STUDIES, f"{arm}|{last}|", self._cap, *flat])
