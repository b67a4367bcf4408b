"""A thread for what a view asks of stores and disks: neither the kernel's loop nor the page waits for it."""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections.abc import Callable

__all__ = ["Worker"]

_LIVE: weakref.WeakSet[Worker] = weakref.WeakSet()
_AT_EXIT = 5.0  # seconds for the jobs that run: a thread that Python ends inside of a query aborts the process


class Worker:
    """Does jobs in turn, in one thread that lives while there are any. Any thread may give it jobs.

    failed: is told what a job raised.
    """

    def __init__(self, name: str, failed: Callable[[Exception], None]) -> None:
        self._name, self._failed = name, failed
        self._news = threading.Condition()
        self._jobs: list[tuple[float, Callable[[], None]]] = []
        self._thread: threading.Thread | None = None
        self._ended = False
        _LIVE.add(self)

    def do(self, job: Callable[[], None], *, after: float = 0.0, instead: bool = False) -> None:
        """Do `job` when those before it are done. after: seconds to wait, in which another may come. instead: leave out the jobs
        that wait; the one that runs is not stopped. Nothing is done once it was ended."""
        with self._news:
            if self._ended:
                return
            if instead:
                self._jobs.clear()
            self._jobs.append((time.monotonic() + after, job))
            self._news.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def end(self) -> None:
        """Leave out what waits, and let the thread end after the job that runs. Does not wait for it."""
        with self._news:
            self._ended = True
            self._jobs.clear()
            self._news.notify_all()

    def join(self, seconds: float) -> None:
        """Wait for the thread, if there is one."""
        thread = self._thread
        if thread is not None:
            thread.join(max(seconds, 0.0))

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except Exception as problem:  # noqa: BLE001  the page is told; a thread that ends would do no other job
                self._failed(problem)

    def _next(self) -> Callable[[], None] | None:
        with self._news:
            while self._jobs:
                left = self._jobs[0][0] - time.monotonic()
                if left <= 0:
                    return self._jobs.pop(0)[1]
                self._news.wait(left)
            self._thread = None
        return None


@atexit.register
def _end_all() -> None:
    ends, workers = time.monotonic() + _AT_EXIT, list(_LIVE)
    for worker in workers:
        worker.end()
    for worker in workers:
        worker.join(ends - time.monotonic())
