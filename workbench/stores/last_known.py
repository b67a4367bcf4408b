"""Answers of a server that are kept: served at once while they are fresh, renewed behind the reader's back when they are not, and
served for as long as the server is away.

What this process has read is served at once, whatever its age (stale-while-revalidate). What an earlier process left on disk is
asked for first, and served if there is no answer.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from workbench.errors import LangfuseError, WorkbenchError

__all__ = ["LastKnown"]

_log = logging.getLogger("workbench.langfuse")
_MOST = 8  # renewals at once
_AGAIN = 5.0  # seconds from a renewal that failed to the next


class _Held(NamedTuple):
    value: Any
    at: float  # of the clock


class LastKnown:
    """JSON values by key, in memory and in `folder` (None: memory only).

    ready: whether the server may be asked by somebody who waits for the answer. due: whether it may be asked at all. fresh:
    seconds. clock: seconds, monotonic. prepare: called before the folder is first made. Any number of threads and processes
    may use it.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        ready: Callable[[], bool] = lambda: True,
        due: Callable[[], bool] = lambda: True,
        fresh: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder = folder
        self._ready = ready
        self._due = due
        self._fresh = fresh
        self._clock = clock
        self._prepare = prepare
        self._held: dict[str, _Held] = {}
        self._renewing: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()

    def get(self, key: str, load: Callable[[], Any]) -> Any:
        """The value of `key`; `load` asks the server.

        Raises what `load` raises, except that a LangfuseError that is an outage is only raised where nothing is known. Any other
        answer, such as that there is no such thing, ends what was known.
        """
        held = self._held.get(key)
        if held is not None:
            if self._clock() - held.at >= self._fresh:
                self._renew(key, load)
            return held.value
        kept = _MISSING if self._ready() else self._read(key)
        if kept is not _MISSING:
            self._hold(key, kept, age=self._fresh)
            self._renew(key, load)
            return kept
        try:
            return self._load(key, load)
        except LangfuseError as error:
            kept = self._read(key) if error.away else _MISSING
            if kept is _MISSING:
                raise
            self._hold(key, kept, age=self._fresh)
            return kept

    def forget(self, key: str | None = None) -> None:
        """Ask for it anew the next time; for all where no key is named. What is on disk stays, for outages."""
        with self._lock:
            for name in [*self._held] if key is None else [key]:
                self._held.pop(name, None)

    def settle(self, timeout: float = 10.0) -> None:
        """Wait for the renewals that run, at most `timeout` seconds."""
        deadline = time.monotonic() + timeout
        for thread in [*self._renewing.values()]:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _hold(self, key: str, value: Any, *, age: float = 0.0) -> None:
        with self._lock:
            self._held[key] = _Held(value, self._clock() - age)

    def _load(self, key: str, load: Callable[[], Any]) -> Any:
        try:
            value = load()
        except LangfuseError as error:
            if not error.away:
                self._drop(key)
            raise
        self._hold(key, value)
        self._write(key, value)
        return value

    def _renew(self, key: str, load: Callable[[], Any]) -> None:
        def run() -> None:
            try:
                self._load(key, load)
            except WorkbenchError as error:
                _log.debug("%s was not renewed: %s", key, error)
                held = self._held.get(key)
                if held is not None:  # not at each read again
                    self._hold(key, held.value, age=self._fresh - _AGAIN)
            except Exception:  # noqa: BLE001  (nobody else would hear of it)
                _log.exception("%s was not renewed", key)
            finally:
                self._renewing.pop(key, None)

        if not self._due():
            return
        with self._lock:
            if key in self._renewing or len(self._renewing) >= _MOST:
                return
            thread = threading.Thread(target=run, name="workbench-langfuse-renew", daemon=True)
            self._renewing[key] = thread
            thread.start()

    def _path(self, key: str) -> Path | None:
        name = hashlib.sha256(key.encode()).hexdigest()[:32]
        return None if self._folder is None else self._folder / f"{name}.json"

    def _read(self, key: str) -> Any:
        path = self._path(key)
        if path is None:
            return _MISSING
        try:
            kept = json.loads(path.read_bytes())
            return kept["value"] if kept["key"] == key else _MISSING
        except (OSError, ValueError, KeyError, TypeError):
            return _MISSING  # never written, or damaged: then it is not known

    def _write(self, key: str, value: Any) -> None:
        path = self._path(key)
        if path is None:
            return
        temporary = path.with_name(f".{secrets.token_hex(6)}.tmp")
        try:
            if not path.parent.is_dir():
                self._prepare()
                path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps({"key": key, "at": time.time(), "value": value}), "utf-8")
            os.replace(temporary, path)  # noqa: PTH105
        except OSError as error:
            _log.warning("what Langfuse said cannot be kept for an outage: %s", error)
            with suppress(OSError):
                temporary.unlink()

    def _drop(self, key: str) -> None:
        with self._lock:
            self._held.pop(key, None)
        path = self._path(key)
        if path is not None:
            with suppress(OSError):
                path.unlink()


_MISSING: Any = object()
