"""How much one endpoint is asked at once: a concurrency that adapts, and budgets of requests and tokens a minute.

Additive increase, multiplicative decrease (Chiu and Jain, "Analysis of the increase and decrease algorithms for congestion
avoidance", 1989), on refusals (429, 503), timeouts, and, where nobody said how many are wanted, latency that rises while
throughput does not.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from workbench.errors import CallError, CallTimeoutError, OverloadedError, RateLimitError

if TYPE_CHECKING:
    from workbench.settings import Endpoint

__all__ = ["Bucket", "Limiter", "limiter_for", "most_at_once"]

# (calls at once to begin with, at most), by kind. Ollama runs few at once (OLLAMA_NUM_PARALLEL) and queues the rest
_CONCURRENCY = {"ollama": (2, 8), "vllm": (16, 256), "tgi": (8, 128), "openai": (8, 64)}
_OTHERS = (8, 64)
_UNLIMITED = 1024
_DECREASE = 0.7
_SLOW_DECREASE = 0.9
_SLOWER = 2.0  # times the latency that was seen with fewer calls at once
_FASTER = 1.1  # times the throughput: below that, more calls at once gained nothing


class Bucket(Protocol):
    """A budget a minute."""

    async def take(self, amount: float) -> float:
        """Take it now, on credit if need be; returns the seconds to wait until it may be used."""

    def correct(self, amount: float) -> None:
        """So much more (or less) was used than was taken."""


class Limiter:
    """Lets calls through, first come, first served. `limit`: calls at once now; `in_flight`: how many there are.

    start, most: of `limit`. adaptive: whether it moves. stated: somebody named it, so that only refusals and timeouts lower it
    (latency is then what is measured, and it rises also where this process is busy). requests, tokens: a minute, None without a
    budget; a budget allows a burst of a tenth of a minute; or buckets that others share. clock: monotonic seconds.
    """

    def __init__(
        self,
        start: int,
        most: int,
        *,
        adaptive: bool = True,
        stated: bool = False,
        requests: float | Bucket | None = None,
        tokens: float | Bucket | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._usual = float(min(start, most)), most
        self.limit, self.most = self._usual
        self.in_flight = 0
        self._adaptive = adaptive
        self._stated = self._usually_stated = stated
        self._clock = clock
        self._sleep = sleep
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._granted = 0  # turns that were given and not yet taken
        self._requests, self._tokens = _bucket(requests, clock), _bucket(tokens, clock)
        self._decreased_at = float("-inf")
        self._window = _Window(clock())
        self._best: tuple[float, float] | None = (
            None  # (seconds, calls a second) of the window that latency is held against
        )

    def __repr__(self) -> str:
        return f"Limiter({self.limit:.1f} of {self.most} at once, {self.in_flight} in flight, {len(self._waiting)} waiting)"

    @contextmanager
    def allow(self, count: int) -> Iterator[None]:
        """Within the block so many at once were asked for by name: begin there, and let that be the most; latency does not
        lower it."""
        self.limit, self.most, self._stated = float(count), count, True
        try:
            yield
        finally:
            (self.limit, self.most), self._stated = self._usual, self._usually_stated
            self._window = _Window(self._clock())

    async def enter(self, tokens: int = 0, patience: float | None = None) -> float:
        """Wait for a turn; returns when the call begins, in seconds of the limiter's clock. Each `enter` needs a `leave`,
        unless it is cancelled or raises: then it gives back what it took of the budgets.

        Raises TimeoutError after `patience` seconds, or at once where a budget will not allow the call within them.
        """
        ends = None if patience is None else self._clock() + patience
        taken: list[tuple[Bucket, float]] = []
        try:
            for bucket, amount in ((self._requests, 1.0), (self._tokens, float(tokens))):
                if bucket is not None:
                    taken.append((bucket, amount))
                    if (wait := await bucket.take(amount)) > 0:
                        if ends is not None and self._clock() + wait > ends:
                            raise TimeoutError
                        await self._sleep(wait)
            if self.in_flight + self._granted >= int(self.limit) or self._waiting:
                async with asyncio.timeout(None if ends is None else max(0.0, ends - self._clock())):
                    await self._wait()
        except BaseException:
            for bucket, amount in taken:
                bucket.correct(-amount)
            raise
        self.in_flight += 1
        return self._clock()

    def leave(self, began: float, error: CallError | None = None, *, tokens: int = 0, answered: bool = True) -> None:
        """The call that began then is over. tokens: what it used beyond what it was let in with, may be negative.
        answered: False for one that was cancelled, from which nothing is learnt."""
        self.in_flight -= 1
        if self._tokens is not None and tokens:
            self._tokens.correct(tokens)
        if self._adaptive and answered:
            self._learn(began, error)
        self._wake()

    def _learn(self, began: float, error: CallError | None) -> None:
        now = self._clock()
        if isinstance(error, (RateLimitError, OverloadedError, CallTimeoutError)):
            # once for all calls that were in flight together: they tell of the same moment
            if began > self._decreased_at:
                self._decrease(_DECREASE, now)
            return
        if error is not None:
            return
        full = self.in_flight + 1 >= int(self.limit)
        if full and self.limit < self.most:
            self.limit = min(float(self.most), self.limit + 1 / self.limit)
        if self._stated:
            return
        if self._window.add(now - began, full):
            if self._window.count >= 2 * self.limit:
                self._look(now)
        else:
            self._window = _Window(now)

    def _look(self, now: float) -> None:
        """A window of calls is over: has more at once only made them wait?"""
        seconds, rate = self._window.seconds, self._window.rate(now)
        self._window = _Window(now)
        if self._best is None or seconds <= self._best[0]:
            self._best = (seconds, rate)
        elif rate > _FASTER * self._best[1]:
            self._best = (seconds, rate)  # more at once did pay: that is what latency is held against from here on
        elif seconds > _SLOWER * self._best[0]:
            self._decrease(_SLOW_DECREASE, now)

    def _decrease(self, factor: float, now: float) -> None:
        self.limit = max(1.0, self.limit * factor)
        self._decreased_at = now
        self._window = _Window(now)

    async def _wait(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._granted -= 1
                self._wake()  # its turn had come: the next one's now
            elif turn in self._waiting:  # `_wake` passes over, and drops, one that is cancelled
                self._waiting.remove(turn)
            raise
        self._granted -= 1

    def _wake(self) -> None:
        while self._waiting and self.in_flight + self._granted < int(self.limit):
            turn = self._waiting.popleft()
            if not turn.done() and not turn.get_loop().is_closed():
                self._granted += 1
                turn.set_result(None)


class _Window:
    """Some calls in a row that all ran at the limit, and how long they took."""

    __slots__ = ("_began", "_total", "count")

    def __init__(self, now: float) -> None:
        self._began = now
        self._total = 0.0
        self.count = 0

    def add(self, seconds: float, full: bool) -> bool:
        """Take one; False if it did not run at the limit, which makes the window useless."""
        self._total += seconds
        self.count += 1
        return full

    @property
    def seconds(self) -> float:
        """Mean of the calls."""
        return self._total / self.count

    def rate(self, now: float) -> float:
        """Calls a second."""
        return self.count / max(now - self._began, 1e-9)


class _Bucket:
    """A token bucket: so much a minute, in bursts of a tenth of it at most."""

    def __init__(self, per_minute: float, clock: Callable[[], float]) -> None:
        self._rate = per_minute / 60
        self._most = max(1.0, per_minute / 10)
        self._level = self._most
        self._clock = clock
        self._at = clock()

    async def take(self, amount: float) -> float:
        """Take it now, on credit if need be; returns the seconds to wait until it may be used."""
        now = self._clock()
        self._level = min(self._most, self._level + (now - self._at) * self._rate)
        self._at = now
        # one that takes more than a burst goes with a full bucket, and the next ones wait for it
        wait = (min(amount, self._most) - self._level) / self._rate
        self._level -= amount
        return max(0.0, wait)

    def correct(self, amount: float) -> None:
        """So much more (or less) was used than was taken."""
        self._level -= amount


def _bucket(budget: float | Bucket | None, clock: Callable[[], float]) -> Bucket | None:
    if isinstance(budget, (int, float)):
        return _Bucket(budget, clock) if budget else None
    return budget


def most_at_once(endpoint: Endpoint) -> int:
    """The most calls at once that an endpoint may ever get."""
    return endpoint.concurrency or _CONCURRENCY.get(endpoint.kind, _OTHERS)[1] * len(endpoint.urls)


def limiter_for(
    endpoint: Endpoint,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    shared: tuple[Bucket | None, Bucket | None] = (None, None),
) -> Limiter | None:
    """The limiter of an endpoint; None for what has no server to spare (embedded, scripted), unless a budget is set.
    shared: buckets of requests and tokens in place of the endpoint's own."""
    remote = endpoint.kind not in ("embedded", "scripted")
    if not remote and endpoint.requests_per_minute is None and endpoint.tokens_per_minute is None:
        return None
    most = most_at_once(endpoint) if remote else _UNLIMITED
    start = endpoint.concurrency or (
        _CONCURRENCY.get(endpoint.kind, _OTHERS)[0] * len(endpoint.urls) if remote else most
    )
    return Limiter(
        start, most, adaptive=remote, stated=endpoint.concurrency is not None, requests=shared[0] or endpoint.requests_per_minute,
        tokens=shared[1] or endpoint.tokens_per_minute, clock=clock, sleep=sleep,
    )  # fmt: skip
