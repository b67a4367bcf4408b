"""The exact cache: the same request gets the same answer, and is asked once, also when many ask at the same time.

A look-up goes to the layer in this process, then to whoever asks the same in this process, then to the store, then to whoever
asks the same in another process; only then to the model. Whatever fails on that way, the model is asked.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from workbench.cache.codec import CorruptError, Entry, decode
from workbench.cache.local import LocalLayer
from workbench.cache.shared import FaultError, SharedLayer
from workbench.cache.stats import CacheStats, Tally
from workbench.cache.turn import Cost, Flights, Parts, Turn
from workbench.records import Completion

if TYPE_CHECKING:
    from workbench.stores.keyvalue import KeyValue

__all__ = ["ExactCache"]


class ExactCache:
    """Answers by key, shared by all processes that use one store.

    ttl: seconds that an answer is kept, from when it was made; hits do not prolong it. deadline: seconds that a look-up in the
    store may take. lease: seconds after which a leader that died is given up. fresh: seconds for which a scope that was cleared
    elsewhere may still be served from this process. largest: bytes of an answer. memory: bytes of the layer in this process.
    clock: Unix seconds; monotonic, sleep, rng: for tests.
    """

    def __init__(
        self,
        kv: KeyValue,
        *,
        ttl: float = 7 * 86400.0,
        deadline: float = 0.025,
        lease: float = 5.0,
        fresh: float = 0.5,
        largest: int = 1_000_000,
        memory: int = 32_000_000,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self.kv = kv
        self.ttl = ttl
        self._largest = largest
        self._clock = clock
        self._monotonic = monotonic
        self._tally = Tally(clock)
        self._local = LocalLayer(memory, fresh)
        self._shared = SharedLayer(kv, deadline=deadline, lease=lease, count=self._tally.fault, clock=monotonic)
        self._tally.send = self._shared.add_stats
        self._parts = Parts(
            self._local, self._shared, self._tally, Flights(), ttl, lease, largest, clock, monotonic, sleep,
            rng or random.Random(),  # noqa: S311  (jitter)
        )  # fmt: skip

    async def fetch(
        self,
        key: str,
        scope: str,
        ask: Callable[[], Awaitable[Completion]],
        *,
        cost: Cost | None = None,
        ttl: float | None = None,
        patience: float = 120.0,
    ) -> Completion:
        """The stored answer, with source "exact", or what `ask` gives, which is stored if it is fit to be (see `turn.not_kept`).

        key: from `cache_key`. scope: what is counted and cleared together. cost: dollars of an answer, None if unknown.
        patience: seconds to wait for somebody who asks the same already. Raises only what `ask` raises.
        """
        held = self.held(key, scope)
        if held is not None:
            return held
        async with Turn(self._parts, key, scope, cost=cost, ttl=ttl, patience=patience) as turn:
            if turn.found is not None:
                return turn.found
            completion = await ask()
            await turn.keep(completion)
            return completion

    def held(self, key: str, scope: str) -> Completion | None:
        """The answer if this process has it."""
        now = self._clock()
        entry = self._local.get(scope, key, self._monotonic(), now)
        if entry is None:
            return None
        self._tally.hit(scope, "local", entry, now)
        return entry.completion

    def turn(self, key: str, scope: str, *, cost: Cost | None = None, patience: float = 120.0) -> Turn:
        """`fetch` in steps, for answers that come in pieces.

        async with cache.turn(key, scope) as turn:
            if turn.found is None:
                ...  # ask the model
                await turn.keep(completion)
        """
        return Turn(self._parts, key, scope, cost=cost, ttl=None, patience=patience)

    async def clear(self, scope: str | None = None) -> int:
        """Remove the answers of a scope, or all; how many there were. This process forgets them now, others within a second.
        Raises StoreError."""
        names = [scope] if scope is not None else await self._shared.scopes()
        removed = sum([await self._shared.clear(self._local.scope(name)) for name in names])
        self._local.forget(scope)
        return removed

    async def scopes(self) -> list[str]:
        """Names of scopes that have entries, or had. Raises StoreError."""
        return await self._shared.scopes()

    async def entries(self, scope: str | None = None) -> AsyncIterator[tuple[str, str, Entry]]:
        """(scope, key, entry) for all that is stored. Raises StoreError."""
        for name in [scope] if scope is not None else await self._shared.scopes():
            for key, value in await self._shared.entries(self._local.scope(name)):
                with suppress(CorruptError):
                    yield name, key, decode(value, largest=self._largest)

    async def stats(self, days: int = 30) -> CacheStats:
        """What all processes counted in the last `days` (UTC), and what it saved. Never raises."""
        await self._tally.settle()
        today = int(self._clock() // 86400)
        wanted = range(today, today - days, -1)
        try:
            found = await self._shared.read_stats(wanted)
        except FaultError:
            return CacheStats(self._tally.rows(()), complete=False, last_fault=self._tally.last_fault)
        rows = self._tally.rows(zip(wanted, found, strict=True))
        return CacheStats(rows, complete=True, last_fault=self._tally.last_fault)

    async def aclose(self) -> None:
        """Store what was counted. The key-value store is not closed."""
        await self._tally.aclose()
        await self._shared.aclose()

    @property
    def tally(self) -> Tally:
        """What is counted in this process."""
        return self._tally

    def __repr__(self) -> str:
        return f"ExactCache({self._shared.address})"
