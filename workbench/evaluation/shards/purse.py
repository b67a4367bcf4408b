"""A worker's side of the ledger: the money of one shard, and the budgets a minute of its endpoints."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from workbench.evaluation.shards.ledger import Ledger
from workbench.settings import Endpoint

__all__ = ["Purse", "SharedBucket"]

_RENEW = 8.0
_AGAIN = 0.2
_STALE = 1.0  # seconds after which what was leased of a rate is not used any more: it would come as a burst


class Purse:
    """One lease, held while a shard runs. want: dollars of all its calls. `begin` before each call, `end` after it."""

    def __init__(self, ledger: Ledger, lease: str, want: float, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._ledger = ledger
        self._lease = lease
        self._want = want
        self._sleep = sleep
        self._settled = self._ended = 0.0
        self._one = asyncio.Lock()

    async def begin(self, most: float) -> bool:
        """Whether a call that costs at most this many dollars may be sent; waits while others hold what they may give back."""
        while True:
            async with self._one:
                settled, ended = self._settled, self._ended
                self._settled = self._ended = 0.0
                try:
                    grant = await self._ledger.turn(
                        self._lease, settled=settled, ended=ended, take=max(most, 1e-9), want=self._want
                    )
                except BaseException:
                    self._settled, self._ended = self._settled + settled, self._ended + ended
                    raise
            if grant.ok:
                self._want = max(0.0, self._want - most)
                return True
            if grant.leased + grant.left < most:
                return False
            await self._sleep(_AGAIN)

    def end(self, most: float, spent: float | None) -> None:
        """A call that was begun with `most` is over, and cost `spent`; None takes the whole."""
        self._ended += max(most, 1e-9)
        self._settled += most if spent is None else spent

    async def settle(self, more: float = 0.0) -> None:
        """Write down what has ended. more: dollars that were spent without a call that was begun here."""
        async with self._one:
            settled, ended = self._settled + more, self._ended
            self._settled = self._ended = 0.0
            await self._ledger.turn(self._lease, settled=settled, ended=ended)

    async def renew(self) -> None:
        """Keep the lease alive; cancel it when the shard is over."""
        while True:
            await asyncio.sleep(_RENEW)
            await self._ledger.turn(self._lease)

    async def close(self) -> None:
        """Settle, and give the rest back."""
        await self._ledger.turn(self._lease, settled=self._settled, ended=self._ended, close=True)


class SharedBucket:
    """A budget a minute that many processes share, in place of a limiter's own. workers: that share it."""

    def __init__(
        self,
        ledger: Ledger,
        endpoint: Endpoint,
        budget: str,
        per_minute: float,
        workers: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._endpoint = endpoint
        self._budget = budget
        self._per_minute = per_minute
        self._workers = workers
        self._clock = clock
        self._held, self._since = 0.0, clock()
        self._owed = 0.0

    async def take(self, amount: float) -> float:
        """As a limiter's bucket: the seconds to wait until it may be used."""
        if self._clock() - self._since > _STALE:
            self._held = 0.0
        if self._held >= amount + self._owed:
            self._held -= amount + self._owed
            self._owed = 0.0
            return 0.0
        needed, self._owed, self._held = amount + self._owed - self._held, 0.0, 0.0
        wait, taken = await self._ledger.rate(self._endpoint, self._budget, self._per_minute, needed, self._workers)
        self._held, self._since = taken - needed, self._clock()
        return wait

    def correct(self, amount: float) -> None:
        """So much more (or less) was used than was taken: the next one takes it along."""
        self._owed += amount
