"""Progress of long work: a bar in a shell or a notebook, JSON in a file for whoever started this kernel, or nothing.

A headless notebook run shows no bar (it would be blank in the HTML); its parent sets WORKBENCH_PROGRESS to a file's path
and reads the latest state there.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson

__all__ = ["Progress", "Reporter", "default_reporter", "silent", "tqdm_class"]

_EVERY = 0.1


@dataclass(frozen=True, slots=True)
class Progress:
    """A run's state. reused: rows that were there before. usd: spent by now, None if a price is unknown."""

    done: int
    total: int
    reused: int
    errors: int
    usd: float | None
    label: str
    finished: bool = False


class Reporter(Protocol):
    """Gets every state; decides itself how often to draw."""

    def __call__(self, progress: Progress) -> None:
        """Take a state."""


def silent(progress: Progress) -> None:
    """Show nothing."""


def default_reporter(clock: Callable[[], float] = time.monotonic) -> Reporter:
    """The reporter that fits where this process runs."""
    path = os.environ.get("WORKBENCH_PROGRESS")
    if path:
        return _ToFile(Path(path), clock)
    if os.environ.get("WORKBENCH_STATIC"):
        return silent
    return _Bar(clock)


class _Bar:
    """tqdm, drawn at most ten times a second; it finds out itself whether it is in a notebook."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._bar: Any = None
        self._next = 0.0

    def __call__(self, progress: Progress) -> None:
        now = self._clock()
        if not progress.finished and now < self._next:
            return
        self._next = now + _EVERY
        if self._bar is None:
            if progress.finished and progress.done == progress.reused:
                return
            self._bar = tqdm_class()(total=progress.total, initial=progress.reused, unit="call", file=sys.stderr)
        self._bar.set_description_str(progress.label, refresh=False)
        spent = f"${progress.usd:.4f}" if progress.usd else ""
        errors = f"{progress.errors} failed" if progress.errors else ""
        self._bar.set_postfix_str(", ".join(filter(None, (spent, errors))), refresh=False)
        self._bar.update(progress.done - self._bar.n)
        if progress.finished:
            self._bar.close()


def tqdm_class() -> Any:
    """The tqdm that can draw here: in a notebook's output, or in a terminal."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if hasattr(shell, "kernel"):  # that ipykernel is imported does not mean that this process is a kernel
        from tqdm.notebook import tqdm as notebook_bar

        return notebook_bar
    from tqdm import tqdm

    return tqdm


class _ToFile:
    """The latest state, as JSON, replaced whole."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._next = 0.0

    def __call__(self, progress: Progress) -> None:
        now = self._clock()
        if not progress.finished and now < self._next:
            return
        self._next = now + _EVERY
        temporary = self._path.with_name(f".{self._path.name}-{os.getpid()}")
        with suppress(OSError):  # whoever watched may be gone; the run goes on
            temporary.write_bytes(orjson.dumps(progress))
            temporary.replace(self._path)
