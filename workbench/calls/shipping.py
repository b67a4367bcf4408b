"""Upload segments to the log's URL, in a thread of its own: no call waits for it, and what could not be sent is sent later.

Rows are first written here. Every half minute, and when the log is closed, segments are sealed and uploaded whole under their own
name, so that doing it twice changes nothing; then they are deleted here. What a killed process left is sent by the next one.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from pathlib import Path

from filelock import FileLock, Timeout

from workbench.calls.places import FolderPlace, Place
from workbench.calls.reading import Files, over
from workbench.calls.rows import TABLES, Table
from workbench.calls.segment import is_sealed, read_rows, seal
from workbench.calls.states import read_state

__all__ = ["Shipper"]

_EVERY = 30.0  # seconds
_QUIET = 60.0  # seconds after which another process' segment is taken too


class Shipper:
    """Uploads what is in `spool` to `place`. fault: why the last try failed, empty if it did not. clock: Unix seconds."""

    def __init__(self, spool: FolderPlace, place: Place) -> None:
        self._spool, self._place = spool, place
        self.fault = ""
        self._pid = 0
        self._wake = threading.Event()

    def start(self) -> None:
        """Begin to do so every half minute; a forked process begins its own."""
        if self._pid == os.getpid():
            return
        self._pid, self._wake = os.getpid(), threading.Event()
        threading.Thread(
            target=_serve, args=(weakref.ref(self), self._wake), name="workbench-calls", daemon=True
        ).start()

    def ship(self, *, all_of_them: bool = False) -> int:
        """Upload now; how many. all_of_them: also what other processes of this machine write to just now. Raises nothing that an
        unreachable place raises: it is in `fault`."""
        done = 0
        self._spool.root.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(str(self._spool.root / ".shipping"), timeout=0 if not all_of_them else 60):
                for table in TABLES.values():
                    for name in self._spool.names(table.folder, ".jsonl"):
                        done += self._one(table, name, all_of_them)
            self.fault = ""
        except Timeout:
            pass  # another process is at it
        except Exception as error:  # noqa: BLE001  (any file system's own errors)
            self.fault = f"{self._place.address}: {type(error).__name__}: {error}"
        return done

    def close(self) -> None:
        """Upload the rest, and end the thread."""
        self._wake.set()
        self._pid = 0
        self.ship()

    def _one(self, table: Table, name: str, everything: bool) -> int:
        path = self._spool.root / name
        try:
            mine = f"-{os.getpid()}-" in path.name
            fresh = not is_sealed(path)
            if fresh and not (mine or everything or time.time() - path.stat().st_mtime > _QUIET or _is_dead(path)):
                return 0
            if not seal(path):
                return 0
            if fresh or not self._is_there(table, name, path):
                self._place.put(name, path)
            path.unlink(missing_ok=True)
        except FileNotFoundError:  # it was compacted, or shipped
            return 0
        return 1

    def _is_there(self, table: Table, name: str, path: Path) -> bool:
        """Whether a segment that was sealed before may have been uploaded, and compacted, by a process that died then."""
        state = read_state(self._place)
        if name in self._place.names(table.folder, ".jsonl") or name in {gone for gone, _ in state.gone}:
            return True
        first = next(iter(read_rows(path)), None)
        parts = [part.name for part in state.of(table.name)]
        if first is None or not parts:
            return False
        import duckdb

        rows = over(table, Files(self._place.local(parts), [], []))
        found = f"select count(*) from ({rows}) where {table.key} = ? and {table.when} = ?"  # noqa: S608
        with duckdb.connect() as connection:
            return bool(connection.execute(found, [first[table.key], first[table.when]]).fetchall()[0][0])


def _is_dead(path: Path) -> bool:
    """Whether the process that wrote it, named in the file's name, is no more on this machine."""
    try:
        os.kill(int(path.stem.rsplit("-", 2)[1]), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, IndexError):
        return False
    return False


def _serve(me: weakref.ref[Shipper], wake: threading.Event) -> None:
    while not wake.wait(_EVERY):
        found = me()
        if found is None:
            return
        found.ship()
        del found
