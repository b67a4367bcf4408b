"""A server as a process: with its log in a file, a deadline to come up, and an end that leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from workbench.errors import LaunchError
from workbench.serving import guard

__all__ = ["Progress", "ServerProcess"]

Progress = Callable[[float, str], None]
"""Called with (seconds since the start, last line of the log), when the line is a new one and at least every ten seconds."""

_LOOK = 0.25
_TELL = 10.0
_TAIL_BYTES = 1 << 16
_TAIL_LINES = 20
_TAIL_SEARCHED = 400
_FRAME = re.compile(r'\bFile "[^"]+", line \d+')
_MARKS = re.compile(r"[\^~]+")
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


class ServerProcess:
    """A running command. A guard beside it ends it, with all that it started, when it is stopped or this process is gone.

    name: for messages, such as vLLM. log: is begun anew, readable for its owner only. hide: what no message may show, such as a
    key. grace: seconds between SIGTERM and SIGKILL. Raises LaunchError if it cannot be started at all.
    """

    def __init__(
        self, command: Sequence[str], *, name: str, log: Path, environ: Mapping[str, str], hide: str = "", grace: float = 15.0
    ) -> None:  # fmt: skip
        if os.name != "posix":
            raise LaunchError(
                f"{name} can be started from here on Linux and macOS only. Start it elsewhere and set its address."
            )
        self.name = name
        self.log = log
        self._hide = hide
        self._grace = grace
        kept = [sys.executable, "-I", "-S", guard.__file__, str(grace), *command]
        try:
            log.unlink(missing_ok=True)
            file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        except OSError as error:
            raise LaunchError(f"{name} is not started: its log {log} cannot be written ({error.strerror}).") from None
        try:
            self._process = subprocess.Popen(  # noqa: S603
                kept, stdin=subprocess.PIPE, stdout=file, stderr=file, env=dict(environ), start_new_session=True
            )
        finally:
            os.close(file)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    async def wait_until(
        self,
        ready: Callable[[], Awaitable[bool]],
        *,
        timeout: float,
        progress: Progress | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Return once `ready` says so. Raises LaunchError, with the end of the log, if it ends or the timeout passes before."""
        began = told = clock()
        said = ""
        while not (await ready() and self.running):
            now = clock()
            if not self.running:
                raise self.ended("before it was ready")
            if now - began >= timeout:
                raise self._error(f"{self.name} was not ready within {timeout:g} s (give it more time with timeout)")
            last = self.last_line()
            if progress is not None and (last != said or now - told >= _TELL):
                progress(now - began, last)
                said, told = last, now
            await sleep(_LOOK)

    def ended(self, when: str) -> LaunchError:
        """The error for a server that is no longer there."""
        return self._error(f"{self.name} ended {when}, with exit code {self._process.poll()}")

    def tail(self, lines: int = _TAIL_LINES) -> str:
        """The last lines of the log, as text that is safe to print."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
        # a progress bar draws over itself: only what it showed last counts
        found = [_ESCAPES.sub("", line).rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n")]
        clean = "\n".join(line for line in found if line)
        if self._hide:
            clean = clean.replace(self._hide, "****")
        printable = "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in clean)
        return "\n".join(printable.split("\n")[-lines:])

    def last_line(self) -> str:
        """The last line of the log that is not empty."""
        return self.tail(1)

    def stop(self) -> None:
        """End it and all that it started; returns when that is done. Blocks for `grace` and a few seconds at most."""
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(self._grace + 5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)

    def _error(self, what: str) -> LaunchError:
        tail = "\n".join(_without_frames(self.tail(_TAIL_SEARCHED).split("\n"))[-_TAIL_LINES:])
        said = f" The end of its log ({self.log}):\n{tail}" if tail else f" It wrote nothing into its log ({self.log})."
        return LaunchError(f"{what}.{said}", log=self.log)


def _without_frames(lines: list[str]) -> list[str]:
    """A log without the stack frames of its tracebacks, which push what happened out of sight."""
    kept: list[str] = []
    code = False
    for line in lines:
        frame = _FRAME.search(line) is not None
        if not (frame or (code and "    " in line) or _MARKS.fullmatch(line.rpartition(" ")[2])):
            kept.append(line)
        code = frame
    return kept
