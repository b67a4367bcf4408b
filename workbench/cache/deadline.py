"""A deadline for a server's answer that does not run while our own event loop is too busy to look."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

__all__ = ["Deadline"]

_LATE = 0.004  # seconds after its time at which a timer shows that the loop was busy
_MOST = 5


class Deadline:
    """Like `asyncio.timeout(seconds)`, except that a timer which fires late is set again (a few times): the answer may be there,
    and nobody has had the time to read it."""

    __slots__ = ("_cancelling", "_expired", "_handle", "_left", "_seconds", "_task", "_when")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._left = _MOST
        self._expired = False

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (a coroutine runs in a task)
        self._task = task
        self._cancelling = task.cancelling()
        self._arm(asyncio.get_running_loop())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.cancel()
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        self._when = loop.time() + self._seconds
        self._handle = loop.call_at(self._when, self._fire, loop)

    def _fire(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._left and loop.time() - self._when > _LATE:
            self._left -= 1
            self._arm(loop)
        else:
            self._expired = True
            self._task.cancel()
