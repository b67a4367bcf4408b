"""A circuit breaker: after a server failed, nobody waits for it again until it has had time, and then one asks first."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["Breaker"]


class Breaker:
    """Closed (all may ask), open (nobody may), then one trial; a trial that fails doubles the time to the next.

    first, longest: seconds between a failure and the trial. clock: seconds, monotonic. Any number of threads may use it.
    """

    def __init__(
        self, *, first: float = 5.0, longest: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._first = first
        self._longest = longest
        self._clock = clock
        self._lock = threading.Lock()
        self._pause = 0.0  # 0: closed
        self._until = 0.0
        self._trial = False
        self.reason = ""

    @property
    def closed(self) -> bool:
        """Whether the server answered when it was last asked, or was never asked."""
        return self._pause == 0.0

    @property
    def remaining(self) -> float:
        """Seconds until the next trial; 0 if one is due, or it is closed."""
        return 0.0 if self.closed else max(0.0, self._until - self._clock())

    def admit(self) -> bool:
        """Whether to ask now. Where a trial is due, the first that comes gets it; the others wait for what it finds."""
        with self._lock:
            if self._pause == 0.0:
                return True
            now = self._clock()
            if now < self._until:
                return False
            self._trial = True
            self._until = now + self._pause  # if the trial never reports, there is another one then
            return True

    def succeeded(self) -> None:
        """The server answered."""
        with self._lock:
            self._pause, self._trial, self.reason = 0.0, False, ""

    def failed(self, reason: str, *, retry_after: float | None = None) -> None:
        """It did not. retry_after: seconds that the server asked for."""
        with self._lock:
            opened = self._pause == 0.0
            now = self._clock()
            if opened or self._trial:  # the failures of others who asked at the same time count with it
                self._pause = self._first if opened else min(self._longest, 2 * self._pause)
                self._until = now + self._pause
            self._until = max(self._until, now + (retry_after or 0.0))
            self._trial = False
            self.reason = reason
