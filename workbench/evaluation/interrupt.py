"""The first interrupt (Ctrl-C, a kernel's stop button) ends a run in order; a second one is Python's own."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["on_interrupt"]


@contextmanager
def on_interrupt(stop: Callable[[], Any]) -> Iterator[None]:
    """Within the block, the first SIGINT calls `stop` in place of raising KeyboardInterrupt.

    Only the main thread can do this; elsewhere the block changes nothing. `stop` runs in a signal handler: it should
    only hand over to the event loop (`loop.call_soon_threadsafe`).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def handler(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        stop()

    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is handler:
            signal.signal(signal.SIGINT, before)
