"""Reading what all callers have counted: figures by release and arm, by minute, and sums over users for the analysis."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.errors import StoreError
from workbench.online.keys import SUMS, key
from workbench.online.pending import Figures
from workbench.online.sketch import Sketch

if TYPE_CHECKING:
    import pandas as pd

    from workbench.stores.keyvalue import KeyValue

__all__ = [
    "Cell",
    "Moments",
    "Picture",
    "Study",
    "asking",
    "minutes_frame",
    "read_minutes",
    "read_picture",
    "read_study",
]


class Moments(NamedTuple):
    """Sums over the users of an arm, for one metric; numbers, or arrays of them at many moments.

    n: users with a value; s: sum of all values; c: how many values; q: sum of their squares; ss, sc, cc: sums over users of s²,
    s c and c², where s and c are those of one user.
    """

    n: Any
    s: Any
    c: Any
    q: Any
    ss: Any
    sc: Any
    cc: Any


@dataclass(frozen=True, slots=True)
class Cell:
    """Calls of one release under one label ("live", "tester", EXPERIMENT/ARM); minute: the start of the minute that is meant, for
    a total that of the last call, Unix seconds."""

    release: int
    label: str
    figures: Figures
    minute: float

    @property
    def error_rate(self) -> float | None:
        """None of nothing."""
        return self.figures.errors / self.figures.calls if self.figures.calls else None

    def latency(self, q: float) -> float | None:
        """A quantile, seconds, within 1%."""
        return Sketch(self.figures.buckets).quantile(q)

    @property
    def cost(self) -> float | None:
        """Dollars a call, of those with a price; None if none has."""
        priced = self.figures.calls - self.figures.unpriced
        return self.figures.dollars / priced if priced else None


@dataclass(frozen=True, slots=True)
class Picture:
    """What a feature's callers counted. lost: values of users that could not be kept while the store was away."""

    feature: str
    cells: tuple[Cell, ...]
    lost: int

    def frame(self) -> pd.DataFrame:
        """One row a release and label."""
        return minutes_frame(self.cells)


@dataclass(frozen=True, slots=True)
class Study:
    """What the analysis of an experiment, or of a live release, rests on.

    exposures: by stage (the arms that were compared) and arm, users by where they were first seen. moments: by arm and metric.
    whole: False if the store has dropped a part of it (memory full), so that nothing can be concluded.
    """

    key: str
    exposures: Mapping[str, Mapping[str, int]]
    moments: Mapping[tuple[str, str], Moments]
    whole: bool

    def users(self, arm: str) -> int:
        """How many users an arm has."""
        return sum(stage.get(arm, 0) for stage in self.exposures.values())


def read_picture(kv: KeyValue, feature: str) -> Picture:
    """All cells of a feature since it was first counted (90 days back). StoreError if the store does not answer."""
    with asking(kv) as client:
        cells = []
        for name, minute in sorted(client.hgetall(key(feature, "cells")).items()):
            place = name.decode()
            cells.append(_cell(place, float(minute) * 60, client.hgetall(key(feature, "t", place))))
        lost = client.hget(key(feature, "lost"), "values")
        return Picture(feature, tuple(cells), int(float(lost or 0)))


def read_minutes(
    kv: KeyValue, feature: str, minutes: int = 60, *, clock: Callable[[], float] = time.time
) -> tuple[Cell, ...]:
    """The cells of the last `minutes` minutes (at most two days), the oldest first. StoreError if the store does not answer."""
    latest = int(clock() // 60)
    with asking(kv) as client:
        places = [(name.decode(), int(last)) for name, last in sorted(client.hgetall(key(feature, "cells")).items())]
        wanted = [(p, m) for m in range(latest - minutes + 1, latest + 1) for p, last in places if m <= last]
        pipe = client.pipeline(transaction=False)
        for place, minute in wanted:
            pipe.hgetall(key(feature, "m", f"{place}|{minute}"))
        found = zip(wanted, pipe.execute(), strict=True)
        return tuple(_cell(place, minute * 60.0, numbers) for (place, minute), numbers in found if numbers)


def read_study(kv: KeyValue, feature: str, study: str) -> Study:
    """The sums of an `Experiment.key`, or of "release-NUMBER". StoreError if the store does not answer."""
    with asking(kv) as client:
        stages: dict[str, dict[str, int]] = {}
        sums: dict[tuple[str, str], dict[str, float]] = {}
        for name, value in client.hgetall(key(feature, "x", study)).items():
            first, *rest = name.decode().split("|")
            if len(rest) == 1:
                stages.setdefault(first, {})[rest[0]] = int(float(value))
            else:
                sums.setdefault((first, rest[0]), {})[rest[1]] = float(value)
        moments = {place: Moments(*(found.get(name, 0.0) for name in SUMS)) for place, found in sums.items()}
        made = Study(study, stages, moments, whole=True)
        pipe = client.pipeline(transaction=False)
        expected: list[float] = []
        for arm in sorted({arm for stage in stages.values() for arm in stage}):
            pipe.scard(key(feature, "e", f"{study}|{arm}"))
            expected.append(made.users(arm))
        for arm, metric in moments:
            pipe.hlen(key(feature, "u", f"{study}|{arm}|{metric}"))
            expected.append(moments[arm, metric].n)
        there = pipe.execute()
        # callers go on counting between the reads, so there may be more by now, never fewer
        whole = all(now >= then for now, then in zip(there, expected, strict=True))
        return Study(study, stages, moments, whole)


@contextmanager
def asking(kv: KeyValue) -> Iterator[Any]:
    """A client; its faults are StoreErrors that say where."""
    from redis.exceptions import RedisClusterException, RedisError

    try:
        yield kv.sync()
    except (RedisError, RedisClusterException, OSError) as error:
        said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise StoreError(
            f"the key-value store ({kv.address}) failed: {said}. `workbench doctor` says whether it answers."
        ) from None


def _cell(place: str, minute: float, numbers: Mapping[bytes, bytes]) -> Cell:
    release, _, label = place.partition("|")
    named = {name.decode(): float(value) for name, value in numbers.items()}
    buckets = {int(name[1:]): int(count) for name, count in named.items() if name[0] == "b"}
    counts = {name: int(named.get(name, 0)) for name in ("calls", "errors", "unpriced")}
    figures = Figures(**counts, dollars=named.get("dollars", 0.0), seconds=named.get("seconds", 0.0), buckets=buckets)
    return Cell(int(release), label, figures, minute)


def minutes_frame(cells: tuple[Cell, ...]) -> pd.DataFrame:
    """One row a cell: times in UTC, latencies in seconds, cost in dollars a call."""
    import pandas as pd

    names = ("minute", "release", "label", "calls", "errors", "error_rate", "p50", "p95", "cost")
    rows = [
        (pd.Timestamp(c.minute, unit="s", tz="UTC"), c.release, c.label, c.figures.calls, c.figures.errors, c.error_rate,
         c.latency(0.5), c.latency(0.95), c.cost)
        for c in cells
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=names)
