"""What the caches did: counted in this process, added up in the store, shown by scope and day."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Literal

from workbench import tables
from workbench.cache.codec import Entry
from workbench.cache.shared import FaultError, FaultKind

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CacheStats", "Counts", "Layer", "StatsRow", "Tally"]

Layer = Literal["local", "store", "shared", "semantic"]
"""Where a hit came from; see `Counts`."""

_SELDOM = ("local", "store", "shared", "semantic", "shadow", "vetoed", "not kept", "faults")
_SEND_EVERY = 1.0  # seconds


@dataclass(slots=True)
class Counts:
    """Numbers of look-ups and what became of them.

    local, store, shared: hits in this process, in the key-value store, and of who waited for the same question to be answered.
    semantic: hits of the semantic cache; vetoed: candidates that were near enough, where its guard said no; far: nothing was near
    enough; blind: it could not look (store, embedder). shadow: hits that it would have been if it were not in shadow mode, with
    the shadow_seconds and shadow_dollars that they would have saved.
    misses: the model was asked. kept: answers that were stored. not_kept: refusals, cut off or truncated answers, and what cannot
    be stored; errors: calls that failed. corrupt: entries that were damaged, and dropped.
    slow, down, full, broken, passed_by: faults of the store (see `shared.FaultKind`); each let the call through.
    seconds: that hits would have taken; dollars: that they would have cost, as far as that is known; unpriced: hits of which it
    is not.
    """

    local: int = 0
    store: int = 0
    shared: int = 0
    semantic: int = 0
    shadow: int = 0
    vetoed: int = 0
    far: int = 0
    blind: int = 0
    misses: int = 0
    kept: int = 0
    not_kept: int = 0
    errors: int = 0
    corrupt: int = 0
    slow: int = 0
    down: int = 0
    full: int = 0
    broken: int = 0
    passed_by: int = 0
    unpriced: int = 0
    seconds: float = 0.0
    dollars: float = 0.0
    shadow_seconds: float = 0.0
    shadow_dollars: float = 0.0

    @property
    def hits(self) -> int:
        """Answers that no model was asked for."""
        return self.local + self.store + self.shared + self.semantic

    @property
    def faults(self) -> int:
        """What went wrong: with the store, an entry or the embedder."""
        return self.slow + self.down + self.full + self.broken + self.passed_by + self.corrupt + self.blind

    def add(self, other: Counts) -> None:
        """Add another's numbers to these."""
        for name in _NAMES:
            setattr(self, name, getattr(self, name) + getattr(other, name))


_NAMES = tuple(item.name for item in fields(Counts))


@dataclass(frozen=True, slots=True)
class StatsRow:
    """One scope on one day (UTC). Faults that belong to no scope have the scope ""."""

    day: date
    scope: str
    counts: Counts


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What the caches did. complete: False where the store did not answer, so that only this process is counted.
    last_fault: what the store last said, empty if there was nothing."""

    rows: tuple[StatsRow, ...]
    complete: bool
    last_fault: str = ""

    @property
    def total(self) -> Counts:
        """All rows together."""
        total = Counts()
        for row in self.rows:
            total.add(row.counts)
        return total

    def to_mapping(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        rows = [{"day": r.day.isoformat(), "scope": r.scope, **asdict(r.counts)} for r in self.rows]
        return {
            "complete": self.complete, "last_fault": self.last_fault, "total": asdict(self.total), "rows": rows,
        }  # fmt: skip

    def frame(self) -> pd.DataFrame:
        """One row a scope and day."""
        import pandas as pd

        names = ("day", "scope", "hits", "hit_rate", *_NAMES, "faults")
        return pd.DataFrame([_cells(r.day.isoformat(), r.scope, r.counts) for r in self.rows], columns=names)

    def __str__(self) -> str:
        return "\n".join([self._summary(), "", tables.to_text(self._shown())] if self.rows else [self._summary()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return tables.to_html(self._shown(), caption=self._summary())

    def _summary(self) -> str:
        total = self.total
        asked = total.hits + total.misses
        said = [f"{total.hits:,} of {asked:,} answers came from the cache" if asked else "nothing was looked up yet"]
        if total.hits:
            said.append(f"they saved {tables.format_seconds(total.seconds)} of waiting; money saved: {_saved(total)}")
        looked = total.semantic + total.shadow + total.vetoed + total.far
        if looked:
            said.append(
                f"by meaning {looked:,} were looked up: {total.semantic:,} served, {total.vetoed:,} vetoed by the guard, "
                f"{total.far:,} with nothing near"
            )
        if total.shadow:
            saved = f"{tables.format_seconds(total.shadow_seconds)} and {tables.format_money(total.shadow_dollars)}"
            said.append(
                f"{total.shadow:,} more would have been served if the semantic cache were on, which saves {saved}"
            )
        if total.not_kept:
            said.append(f"{total.not_kept:,} answers were not kept (refused, cut off, truncated, too large)")
        if total.faults:
            said.append(f"{total.faults:,} faults" + (f", the last: {self.last_fault}" * bool(self.last_fault)))
        if not self.complete:
            said.append("the store does not answer: this is what this process counted and could not add to it")
        return "; ".join(said)

    def _shown(self) -> pd.DataFrame:
        import pandas as pd

        rows = []
        for row in self.rows:
            c = row.counts
            asked = c.hits + c.misses
            rows.append(
                {
                    "day": row.day.isoformat(), "scope": row.scope or "(the store)", "hits": c.hits, "misses": c.misses,
                    "hit rate": f"{c.hits / asked:.0%}" if asked else "", "local": c.local, "store": c.store,
                    "shared": c.shared, "semantic": c.semantic, "shadow": c.shadow, "vetoed": c.vetoed,
                    "not kept": c.not_kept, "faults": c.faults,
                    "saved": _saved(c), "waiting saved": tables.format_seconds(c.seconds),
                }
            )  # fmt: skip
        frame = pd.DataFrame(rows)
        unused = [name for name in _SELDOM if not frame[name].any()]
        return frame.drop(columns=unused)


def _cells(day: str, scope: str, counts: Counts) -> dict[str, Any]:
    asked = counts.hits + counts.misses
    rate = counts.hits / asked if asked else None
    return {
        "day": day, "scope": scope, "hits": counts.hits, "hit_rate": rate, **asdict(counts), "faults": counts.faults,
    }  # fmt: skip


def _saved(counts: Counts) -> str:
    """Dollars; "unknown" if no hit has a price, and how many have none if some do."""
    if counts.unpriced and counts.unpriced == counts.hits:
        return "unknown"
    more = f" + {counts.unpriced:,} unknown" if counts.unpriced else ""
    return tables.format_money(counts.dollars) + more


class Tally:
    """Counts of this process, sent to the store about once a second while something happens.

    clock: Unix seconds. send: takes a day (since 1970, UTC) and COUNTER:SCOPE -> number; raises FaultError.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pending: dict[tuple[int, str], Counts] = {}
        self._send_at = 0.0
        self._sending: set[asyncio.Task[None]] = set()
        self.send: Callable[[int, Mapping[str, float]], Awaitable[None]] | None = None
        self.last_fault = ""

    def of(self, scope: str, now: float | None = None) -> Counts:
        """Today's numbers of a scope, to be counted up."""
        if now is None:
            now = self._clock()
        place = int(now // 86400), scope
        found = self._pending.get(place)
        if found is None:
            found = self._pending[place] = Counts()
        if now >= self._send_at:
            self._send_soon(now)
        return found

    def hit(self, scope: str, layer: Layer, entry: Entry, now: float) -> None:
        """Count a hit, and what it saved."""
        counts = self.of(scope, now)
        if layer == "local":
            counts.local += 1
        elif layer == "store":
            counts.store += 1
        elif layer == "shared":
            counts.shared += 1
        else:
            counts.semantic += 1
        counts.seconds += entry.seconds
        if entry.cost is None:
            counts.unpriced += 1
        else:
            counts.dollars += entry.cost

    def fault(self, kind: FaultKind, message: str) -> None:
        """Count a fault of the store."""
        counts = self._pending.setdefault((int(self._clock() // 86400), ""), Counts())
        setattr(counts, kind, getattr(counts, kind) + 1)
        self.last_fault = message or self.last_fault

    async def flush(self) -> None:
        """Send what is pending; it stays pending if the store is down."""
        pending, self._pending = self._pending, {}
        days: dict[int, dict[str, float]] = {}
        for (day, scope), counts in pending.items():
            changed = {f"{name}:{scope}": value for name in _NAMES if (value := getattr(counts, name))}
            if changed:
                days.setdefault(day, {}).update(changed)
        for day, changed in days.items():
            try:
                assert self.send is not None  # noqa: S101  (for the type checker)
                await self.send(day, changed)
            except BaseException as error:
                # what was sent too slowly may have arrived: better a saving uncounted than counted twice
                if not (isinstance(error, FaultError) and error.kind == "slow"):
                    self._give_back(day, changed)
                if not isinstance(error, FaultError):
                    raise

    async def settle(self) -> None:
        """`flush`, after what is under way."""
        await self._under_way()
        await self.flush()

    async def aclose(self) -> None:
        """Send the rest."""
        await self._under_way()
        if any(scope for _, scope in self._pending):  # faults alone are not worth asking a store that has them
            await self.flush()

    def rows(self, stored: Iterable[tuple[int, Mapping[bytes, bytes]]]) -> tuple[StatsRow, ...]:
        """What the store has, by day, and what is pending here, together; the latest day first."""
        found: dict[tuple[int, str], Counts] = {}
        for day, numbers in stored:
            for name, value in numbers.items():
                counter, _, scope = name.decode().partition(":")
                if counter in _NAMES:
                    counts = found.setdefault((day, scope), Counts())
                    setattr(counts, counter, type(getattr(counts, counter))(float(value)))
        for place, counts in self._pending.items():
            found.setdefault(place, Counts()).add(counts)
        ordered = sorted(found.items(), key=lambda item: (-item[0][0], item[0][1]))
        return tuple(StatsRow(datetime.fromtimestamp(86400 * d, UTC).date(), s, c) for (d, s), c in ordered)

    async def _under_way(self) -> None:
        loop = asyncio.get_running_loop()
        mine = {task for task in self._sending if task.get_loop() is loop}
        if mine:
            await asyncio.wait(mine)

    def _send_soon(self, now: float) -> None:
        self._send_at = now + _SEND_EVERY
        if not self._sending:
            task = asyncio.create_task(self.flush())
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    def _give_back(self, day: int, changed: Mapping[str, float]) -> None:
        for name, value in changed.items():
            counter, _, scope = name.partition(":")
            counts = self._pending.setdefault((day, scope), Counts())
            setattr(counts, counter, getattr(counts, counter) + value)
