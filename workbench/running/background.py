"""An event loop in a thread of its own, for code that does not await."""

from __future__ import annotations

import asyncio
import atexit
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from workbench.errors import InputError
from workbench.running.forking import begin_anew, keep

__all__ = ["BackgroundLoop"]

_Result = TypeVar("_Result")


class BackgroundLoop:
    """Runs coroutines for any number of threads at once. Begun when it is first needed; a forked process begins its own.

    instead: what the caller should write inside of a running event loop, which waiting here would hold up.
    """

    def __init__(self, instead: str) -> None:
        self._instead = instead
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        me = weakref.ref(self)
        self._at_exit = lambda: _close(me)
        begin_anew(self)

    def run(self, job: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
        """What the coroutine returns or raises; an interrupt cancels it. InputError inside of a running event loop."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise InputError(f"an event loop runs in this thread, and waiting would hold it up: {self._instead}")
        future = asyncio.run_coroutine_threadsafe(job(), self._running())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self, last: Callable[[], Coroutine[Any, Any, object]] | None = None, *, timeout: float = 10.0) -> None:
        """Cancel what runs, and end. last: run in the loop before that."""
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        atexit.unregister(self._at_exit)
        if loop is None or thread is None:
            return
        try:
            if last is not None:
                asyncio.run_coroutine_threadsafe(last(), loop).result(timeout)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(timeout)

    def after_fork(self) -> None:
        """The parent's thread is not here."""
        keep(self._loop)
        self._lock, self._loop, self._thread = threading.Lock(), None, None

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_serve, args=(self._loop,), name="workbench-calls", daemon=True)
                self._thread.start()
                atexit.register(self._at_exit)
            return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _close(me: weakref.ref[BackgroundLoop]) -> None:
    found = me()
    if found is not None:
        found.close()
