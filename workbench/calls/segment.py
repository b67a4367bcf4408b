"""Append-only files of rows: one JSON object a line, one file a writer, so that no two processes share a file.

A row is in the file when `append` returns: it survives a SIGKILL of this process (not a power cut; `close` also syncs
to disk). What a killed writer leaves half-written is a last line without a newline, which readers pass over.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from workbench.errors import RunError
from workbench.records import Call, Feedback

__all__ = ["Segment", "read_rows"]


class Segment:
    """One writer's file of rows in `folder`, made at the first row, named PREFIX-host-pid-random.jsonl. Any number of threads may
    use it."""

    def __init__(self, folder: Path, prefix: str = "calls") -> None:
        self.folder = folder
        self._prefix = prefix
        self._descriptor: int | None = None
        self._pid = 0
        self._lock = threading.Lock()
        self._lock_pid = os.getpid()
        self.path: Path | None = None

    def append(self, row: Call | Feedback) -> None:
        """Write one row. A full disk raises RunError and leaves the file as it was."""
        line = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
        if self._lock_pid != os.getpid():  # a thread of the parent's may have held it at the fork
            self._lock, self._lock_pid = threading.Lock(), os.getpid()
        with self._lock:
            if self._descriptor is None or self._pid != os.getpid():
                self._open()
            assert self._descriptor is not None  # noqa: S101  (for the type checker)
            try:
                written = os.write(self._descriptor, line)
            except OSError as error:
                raise self._failed(error) from error
            if written != len(line):
                os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
                raise self._failed(OSError("the disk took only a part of the row"))

    def close(self) -> None:
        """Sync to disk and close; a later `append` begins a new file."""
        if self._descriptor is not None and self._pid == os.getpid():
            os.fsync(self._descriptor)
            os.close(self._descriptor)
        self._descriptor = None

    def _open(self) -> None:
        # a forked child gets a file of its own
        self._pid = os.getpid()
        host = re.sub(r"[^A-Za-z0-9]+", "-", socket.gethostname())[:40]
        self.path = self.folder / f"{self._prefix}-{host}-{self._pid}-{secrets.token_hex(4)}.jsonl"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
            # without O_BINARY, Windows would write each newline as two bytes
            self._descriptor = os.open(self.path, flags | getattr(os, "O_BINARY", 0), 0o600)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> RunError:
        return RunError(
            f"a row could not be written to {self.path}: {error}. Rows written before are kept; "
            "free some space (or point WORKBENCH_HOME elsewhere) and run the same again: it goes on where it stopped."
        )


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of one segment, as dicts, in the order they were written; a torn last line is passed over."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                try:
                    yield orjson.loads(line)
                except orjson.JSONDecodeError:
                    continue
