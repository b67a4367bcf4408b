"""Progress of long work: a bar in a terminal or a notebook, a few lines where stderr goes into a file or a pipe, JSON in a file
for whoever started this kernel, or nothing.

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

__all__ = ["Progress", "Reporter", "can_draw", "default_reporter", "in_notebook", "silent", "tqdm_class"]

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
    return _Bar(clock) if can_draw() else _Lines()


def can_draw() -> bool:
    """Whether a bar can be drawn over itself here; in a file or a pipe each drawing of it would be a line more."""
    return in_notebook() or (sys.stderr is not None and sys.stderr.isatty())


class _Lines:
    """A line at each quarter of the calls, and one where it ends before."""

    def __init__(self) -> None:
        self._quarter = self._said = -1

    def __call__(self, progress: Progress) -> None:
        done, total = progress.done, progress.total
        if self._said < 0:
            self._quarter, self._said = 4 * progress.reused // max(total, 1), progress.reused
        quarter = 4 * done // max(total, 1)
        if quarter <= self._quarter and not (progress.finished and done > self._said):
            return
        self._quarter, self._said = quarter, done
        errors = f", {progress.errors:,} failed" if progress.errors else ""
        label = f"{progress.label}: " if progress.label else ""
        print(f"{label}{done:,} of {total:,} calls{errors}", file=sys.stderr, flush=True)


class _Seldom:
    """Shows at most ten states a second, and the last one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._next = 0.0

    def __call__(self, progress: Progress) -> None:
        now = self._clock()
        if progress.finished or now >= self._next:
            self._next = now + _EVERY
            self.show(progress)

    def show(self, progress: Progress) -> None:
        raise NotImplementedError


class _Bar(_Seldom):
    """tqdm; it finds out itself whether it is in a notebook."""

    _bar: Any = None

    def show(self, progress: Progress) -> None:
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
    if in_notebook():
        from tqdm.notebook import tqdm as notebook_bar

        return notebook_bar
    from tqdm import tqdm

    return tqdm


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel")  # that ipykernel is imported does not mean that this process is a kernel


class _ToFile(_Seldom):
    """The latest state, as JSON, replaced whole."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self._path = path

    def show(self, progress: Progress) -> None:
        temporary = self._path.with_name(f".{self._path.name}-{os.getpid()}")
        with suppress(OSError):  # whoever watched may be gone; the run goes on
            temporary.write_bytes(orjson.dumps(progress))
            temporary.replace(self._path)
