"""The tries of one call: each waits for its turn at the endpoint, and all of them have to be done in time."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

from workbench.errors import CallError, CallTimeoutError
from workbench.records import Completion, Embeddings, Request
from workbench.serving.limits import Limiter

__all__ = ["Tries"]

_LONGEST_BACKOFF = 60.0
_PATIENCE = 2.0  # times a request's timeout, for all tries and waits together
_NOTICEABLE = 1e-4  # seconds in our own queue that are worth a note
_SHORTEST = 0.001


class Tries:
    """The tries of one call to `endpoint/model`. limiter: None where nobody counts. timeout: seconds of one try. clock: monotonic
    seconds. patience: seconds that all waits for a turn may take together; None: as long as it takes.

    count: tries so far. in_flight: calls to the endpoint when the last one was sent, itself counted; None if nobody counts.
    """

    __slots__ = (
        "_began",
        "_clock",
        "_ends",
        "_limiter",
        "_model",
        "_patience",
        "_queued",
        "_retries",
        "_rng",
        "_sleep",
        "_timeout",
        "count",
        "in_flight",
    )

    def __init__(
        self,
        model: str,
        limiter: Limiter | None,
        timeout: float,
        retries: int,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        rng: random.Random,
        patience: float | None = None,
    ) -> None:
        self._model = model
        self._limiter = limiter
        self._timeout = timeout
        self._retries = retries
        self._clock = clock
        self._sleep = sleep
        self._rng = rng
        self._patience = patience
        self._queued = 0.0
        self._began = 0.0
        self._ends: float | None = None
        self.count = 0
        self.in_flight: int | None = None

    async def begin(self, tokens: int) -> CallTimeoutError | None:
        """Wait for a turn. tokens: what to take from the endpoint's budget. Returns the error if it does not come in time;
        then there is no turn to give back."""
        waiting = self._clock()
        if self._limiter is None:
            self._began = waiting
        else:
            left = None if self._patience is None else max(0.0, self._patience - self._queued)
            try:
                self._began = await self._limiter.enter(tokens, left)
            except TimeoutError:
                return self._no_turn(self._limiter)
            self.in_flight = self._limiter.in_flight
        self._queued += self._began - waiting
        if self._ends is None:
            self._ends = self._began + _PATIENCE * self._timeout
        else:
            self._ends += self._began - waiting  # our own queue is no fault of the server
        self.count += 1
        return None

    def _no_turn(self, limiter: Limiter) -> CallTimeoutError:
        return CallTimeoutError(
            f"{self._model} was not asked: its endpoint had no turn for this call within {self._patience:g} s (calls of this "
            f"process under way there: {limiter.in_flight:,}, at most {int(limiter.limit):,} now; a budget may hold back more). "
            "Send fewer at once, give the call a longer timeout, or raise concurrency, requests_per_minute or tokens_per_minute "
            "of the endpoint in workbench.toml."
        )

    def end(self, result: Completion | Embeddings | CallError | None, tokens: int = 0) -> None:
        """Give the turn back. result: None if the call was cancelled. tokens: used beyond those taken."""
        if self._limiter is not None:
            error = result if isinstance(result, CallError) else None
            self._limiter.leave(self._began, error, tokens=tokens, answered=result is not None)

    async def again(self, error: CallError) -> bool:
        """Whether to try again; returns when it is time to."""
        assert self._ends is not None  # noqa: S101  (begin sets it)
        # a deadline that passed has cost all of its time: once more, not three times
        most = min(self._retries, 1) if isinstance(error, CallTimeoutError) else self._retries
        backoff = min(0.25 * 2.0**self.count, _LONGEST_BACKOFF) * self._rng.uniform(0.5, 1.0)
        wait = max(backoff, error.retry_after or 0.0)
        if not error.retryable or self.count > most or self._clock() + wait >= self._ends:
            return False
        await self._sleep(wait)
        return True

    def within(self, request: Request) -> Request:
        """The request with no more time than is left."""
        left = self.left
        return replace(request, timeout=left) if left < request.timeout else request

    @property
    def left(self) -> float:
        """Seconds that this try may take."""
        if self.count == 1 or self._ends is None:
            return self._timeout
        return min(self._timeout, max(self._ends - self._clock(), _SHORTEST))

    def timed(self, completion: Completion) -> Completion:
        """The completion with the time in our own queue."""
        if self._queued <= _NOTICEABLE:
            return completion
        timing = replace(completion.timing, queued=completion.timing.queued + self._queued)
        return replace(completion, timing=timing)
