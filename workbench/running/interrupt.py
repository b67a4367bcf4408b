"""The first interrupt (Ctrl-C, a kernel's stop button) ends a run in order; a second one is Python's own."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["on_interrupt"]

_running: list[Callable[[], Any]] = []
_before: list[Any] = []


@contextmanager
def on_interrupt(stop: Callable[[], Any]) -> Iterator[None]:
    """Within the block, the first SIGINT calls `stop` in place of raising KeyboardInterrupt; blocks may overlap.

    Only the main thread can do this; elsewhere the block changes nothing. `stop` runs in a signal handler: it should
    only hand over to the event loop (`loop.call_soon_threadsafe`).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _running.append(stop)
    if not _before:
        _before.append(signal.signal(signal.SIGINT, _handle))
    try:
        yield
    finally:
        _running.remove(stop)
        if not _running:
            _restore()


def _handle(number: int, frame: FrameType | None) -> None:
    _restore()
    for stop in tuple(_running):
        stop()


def _restore() -> None:
    """Give the signal back, unless someone else has taken it meanwhile."""
    if _before:
        before = _before.pop()
        if signal.getsignal(signal.SIGINT) is _handle:
            signal.signal(signal.SIGINT, before)
