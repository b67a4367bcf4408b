"""Append-only files of rows: one JSON object a line, one file a writer, so that no two processes share a file.

A row is in the file when `append` returns: it survives a SIGKILL of this process (not a power cut; `close` also syncs
to disk). What a killed writer leaves half-written is a last line without a newline, which readers pass over.

Compaction may take any segment, also one that is being written: it seals the file (takes its write permission away, under a
lock), and the writer, which looks under the same lock, goes on in a new one. So no row is written where nobody reads it.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import stat
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from workbench.calls.rows import Row
from workbench.errors import RunError
from workbench.running.saving import sound

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows has no such locks; nothing is sealed there
    fcntl = None

__all__ = ["Segment", "is_sealed", "read_rows", "seal"]

_JSON = orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS
_LONGEST, _KEPT = (
    12 << 20,
    1 << 20,
)  # bytes of a row that readers take, and characters that its texts are cut to beyond it
_LARGEST = 64 << 20  # bytes after which a new file is begun, so that compaction can go in steps


class Segment:
    """One writer's file of rows in `folder`, made at the first row, named PREFIX-host-pid-random.jsonl. Any number of threads may
    use it. sealable: whether compaction may take it; a run's own segments it leaves alone."""

    def __init__(self, folder: Path, prefix: str = "calls", *, sealable: bool = False) -> None:
        self.folder = folder
        self._prefix = prefix
        self._sealable = sealable and fcntl is not None
        self._descriptor: int | None = None
        self._pid = 0
        self._lock = threading.Lock()
        self._lock_pid = os.getpid()
        self.path: Path | None = None

    def append(self, row: Row) -> None:
        """Write one row. A full disk raises RunError and leaves the file as it was."""
        line = _line_of(row)
        if self._lock_pid != os.getpid():  # a thread of the parent's may have held it at the fork
            self._lock, self._lock_pid = threading.Lock(), os.getpid()
        with self._lock:
            if self._descriptor is None or self._pid != os.getpid():
                self._open()
            assert self._descriptor is not None  # noqa: S101  (for the type checker)
            if not self._sealable:
                self._write(line)
                return
            while not self._under_lock(self._descriptor, line):
                self._shut()
                self._open()

    def close(self) -> None:
        """Sync to disk and close; a later `append` begins a new file."""
        if self._descriptor is not None and self._pid == os.getpid():
            os.fsync(self._descriptor)
            os.close(self._descriptor)
        self._descriptor = None

    def _under_lock(self, descriptor: int, line: bytes) -> bool:
        """False if the file is sealed, or large."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        except OSError:  # a file system without locks: then nobody can seal either
            self._write(line)
            return True
        try:
            found = os.fstat(descriptor)
            if not found.st_mode & stat.S_IWUSR or not found.st_nlink or found.st_size > _LARGEST:
                return False
            self._write(line)
            return True
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _write(self, line: bytes) -> None:
        assert self._descriptor is not None  # noqa: S101  (for the type checker)
        try:
            written = os.write(self._descriptor, line)
        except OSError as error:
            raise self._failed(error) from error
        if written != len(line):
            os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
            raise self._failed(OSError("the disk took only a part of the row"))

    def _shut(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None

    def _open(self) -> None:
        # a forked child gets a file of its own
        self._pid = os.getpid()
        host = re.sub(r"[^A-Za-z0-9]+", "-", socket.gethostname())[:40]
        self.path = self.folder / f"{self._prefix}-{host}-{self._pid}-{secrets.token_hex(4)}.jsonl"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND
            # without O_BINARY, Windows would write each newline as two bytes
            self._descriptor = os.open(self.path, flags | getattr(os, "O_BINARY", 0), 0o600)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> RunError:
        return RunError(
            f"a row could not be written to {self.path}: {error}. Rows written before are kept; "
            "free some space (or point WORKBENCH_HOME elsewhere) and run the same again: it goes on where it stopped."
        )


def _line_of(row: Any) -> bytes:
    try:
        line = orjson.dumps(row, default=str, option=_JSON)
    except orjson.JSONEncodeError:  # half a surrogate pair, in an answer that was cut
        line = orjson.dumps(sound(asdict(row), "?"), default=str, option=_JSON)
    if len(line) > _LONGEST:
        short = {name: _shortened(value) for name, value in orjson.loads(line).items()}
        line = orjson.dumps(short, option=_JSON)
    return line


def _shortened(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _KEPT else f"{value[:_KEPT]}… ({len(value):,} characters)"
    return value if len(orjson.dumps(value)) <= _KEPT else None


def seal(path: Path) -> bool:
    """Make the segment final, whoever writes it; when this returns True, no row will be added. False where it cannot be: on
    Windows, on a file system without locks, and where the file is another user's or gone."""
    if fcntl is None:
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        if os.fstat(descriptor).st_mode & stat.S_IWUSR:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.fchmod(descriptor, 0o400)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def is_sealed(path: Path) -> bool:
    """Whether no row will be added."""
    return not path.stat().st_mode & stat.S_IWUSR


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of one segment, as dicts, in the order they were written; a torn last line is passed over."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                try:
                    yield orjson.loads(line)
                except orjson.JSONDecodeError:
                    continue
