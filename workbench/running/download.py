"""A bar for what is fetched, in a shell or a notebook."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from workbench.running.progress import tqdm_class

__all__ = ["download_bar"]


@contextmanager
def download_bar() -> Iterator[Callable[[int, int, str], None]]:
    """Yields what takes (bytes done, bytes in all, what is being done) and draws it; nothing is drawn in a headless run
    (WORKBENCH_STATIC), where a bar would stay blank."""
    if os.environ.get("WORKBENCH_STATIC"):
        yield lambda done, total, status: None
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
