"""Keep Python's own housekeeping out of what is measured."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["rare_collections"]

_ALLOCATIONS = 50_000


@contextmanager
def rare_collections() -> Iterator[None]:
    """Let Python's cycle collector look less often while hundreds of calls are in flight.

    By default it walks all their live objects every 700 allocations: with 256 calls at once that was over a third of
    this process's time, and it shows as latency of the model. The cost is at most a few megabytes.
    """
    before = gc.get_threshold()
    if before[0]:
        gc.set_threshold(max(before[0], _ALLOCATIONS), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
