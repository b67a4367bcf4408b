"""A bar for what is fetched, in a shell or a notebook."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from workbench.running.progress import can_draw, tqdm_class

__all__ = ["download_bar"]

_EVERY = 1.0


@contextmanager
def download_bar() -> Iterator[Callable[[int, int, str], None]]:
    """Yields what takes (bytes done, bytes in all, what is being done) and draws it. Nothing is drawn in a headless run
    (WORKBENCH_STATIC), where a bar would stay blank; where stderr goes into a file or a pipe there are a few lines instead."""
    if os.environ.get("WORKBENCH_STATIC"):
        yield lambda done, total, status: None
        return
    if not can_draw():
        yield _lines()
        return
    with tqdm_class()(unit="B", unit_scale=True, unit_divisor=1000, file=sys.stderr) as bar:

        def show(done: int, total: int, status: str) -> None:
            if (
                total and total != bar.total
            ):  # a notebook's bar learns a new end by `reset` alone, which forgets all else
                began, before = bar.start_t, bar.n
                bar.reset(total)
                bar.start_t, bar.n = began, before
            bar.set_description_str(status, refresh=False)
            bar.update(done - bar.n)

        yield show


def _lines() -> Callable[[int, int, str], None]:
    """A line for each thing that is begun, and one at each quarter of it if the last was a second ago."""
    last: dict[str, int] = {}  # quarter of each status
    at = float("-inf")

    def show(done: int, total: int, status: str) -> None:
        nonlocal at
        quarter, now = 4 * done // total if total else 0, time.monotonic()
        if status in last and (quarter <= last[status] or now < at + _EVERY):
            return
        last[status], at = quarter, now
        of = f": {done / 1e6:,.0f} of {total / 1e6:,.0f} MB" if total else ""
        print(f"{status}{of}", file=sys.stderr, flush=True)

    return show
