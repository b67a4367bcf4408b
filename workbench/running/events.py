"""Files of JSON lines to which what people do by hand is appended, one event at a time, each on disk before the next.

An event is on disk when `append` returns, also through a power cut. Any number of processes may write: a lock lets one in at a
time, and a writer that was killed half-way leaves a last line without its end: readers pass it over, the next writer closes it.
Nothing is rewritten but by `replace`, for what must be gone.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
from filelock import FileLock, Timeout

from workbench.errors import RunError
from workbench.running.saving import sound, write_whole

__all__ = ["append", "locked", "read", "replace", "stamp"]

_LOCK_SECONDS = 30.0


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path`, whose folder is made, while events are written. what: such as "vote", for the RunError that says
    that it is not saved: the lock is another's for 30 s, or the disk fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(str(path), timeout=_LOCK_SECONDS):
            yield
    except Timeout:
        raise RunError(
            f"another process has held {path} for {_LOCK_SECONDS:g} s, so the {what} is not saved: {what} again."
        ) from None
    except OSError as error:
        raise RunError(
            f"the {what} could not be saved in {path.parent}: {error}. {what.capitalize()}s before it are kept; free some "
            f"space and {what} again."
        ) from error


def append(path: Path, event: Mapping[str, Any]) -> None:
    """Append one line and sync it; all of it or nothing. Call it `locked`. Raises OSError."""
    line = _line(event)
    new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o600)
    try:
        size = os.fstat(descriptor).st_size
        if size and _last_byte(descriptor, size) != b"\n":
            line = b"\n" + line  # a writer was killed half-way: its half stays a line of its own
        try:
            written = os.write(descriptor, line)
            if written != len(line):
                raise OSError("the disk took only a part of it")
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)
    if new:
        _sync_folder(path.parent)


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The events of a file, in order; what is no whole line is passed over."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    for line in data.split(b"\n")[:-1]:  # what follows the last newline is not whole yet
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(event, dict):
            yield event


def replace(path: Path, kept: Iterable[Mapping[str, Any]]) -> None:
    """The file with these events only, in one step. Call it `locked`. Raises OSError."""
    write_whole(path, b"".join(map(_line, kept)), synced=True)
    _sync_folder(path.parent)


def stamp(path: Path) -> tuple[int, int, int]:
    """Another one after every change."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return (0, 0, 0)
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def _line(event: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:  # half a surrogate pair, of a browser's text field
        return orjson.dumps(sound(event), option=orjson.OPT_APPEND_NEWLINE)


def _last_byte(descriptor: int, size: int) -> bytes:
    os.lseek(descriptor, size - 1, os.SEEK_SET)
    return os.read(descriptor, 1)


def _sync_folder(folder: Path) -> None:
    """So that a new name survives a power cut too; Windows cannot, and need not."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
