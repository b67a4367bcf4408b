"""The vectors of one scope in this process, as one matrix that is kept in step with a log elsewhere.

The log is a row of records, numbered from 0, that only grows; a reader says which number it has reached and gets what came
after. A record is 16 bytes of key, 8 of expiry (float64, Unix seconds), then the vector (float32), all little-endian.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import asyncio

__all__ = ["Mirror", "Position", "pack", "record_size"]

Position = tuple[bytes | None, int]
"""Which log (its id, None for none), and the number of the record that is read next."""


_ROUNDING = 1e-6  # of a cosine in float32


def record_size(dimensions: int) -> int:
    """Bytes of a record."""
    return 24 + 4 * dimensions


def pack(key: str, expires_at: float, vector: np.ndarray) -> bytes:
    """One record. key: 32 hex digits. vector: (d,)."""
    return bytes.fromhex(key) + np.array(expires_at, "<f8").tobytes() + vector.astype("<f4").tobytes()


class Mirror:
    """Rows are records in the log's order. One is dead once it has expired; so is one whose expiry was set to 0 here, because it
    was replaced, lost or forgotten. Dead rows at the front go when the matrix has to grow.

    Its methods may be called from several threads. For its owner: task: what reads a lot of the log at the moment, for all who
    wait for it. counted: the bytes that it was last counted with.
    """

    def __init__(self, dimensions: int) -> None:
        self.task: asyncio.Task[None] | None = None
        self.counted = 0
        self._dimensions = dimensions
        self._layout = np.dtype([("key", "V16"), ("expires_at", "<f8"), ("vector", "<f4", (dimensions,))])
        self._lock = threading.Lock()
        self._reset(None, 0, 0)

    @property
    def position(self) -> Position:
        """How far it has come."""
        with self._lock:
            return self._log, self._start + self._count

    @property
    def nbytes(self) -> int:
        """About how much memory it takes."""
        return self._vectors.nbytes + 200 * len(self._keys) + 2000

    def begin(self, seen: Position, log: bytes | None, start: int, room: int = 0) -> None:
        """Forget all, and follow this log from record `start`. Nothing happens if the position is not `seen` any more.

        room: records to expect.
        """
        with self._lock:
            if seen == (self._log, self._start + self._count):
                self._reset(log, start, room)

    def extend(self, seen: Position, records: bytes, upto: int, now: float, *, first: int = 0) -> None:
        """Take the records that bring it to number `upto`. Nothing happens if the position is not `seen` any more.

        Records that are missing are lost. first: the oldest record that still counts.
        """
        with self._lock:
            wanted = upto - seen[1]
            if seen != (self._log, self._start + self._count) or wanted <= 0:
                return
            self._expires[: max(0, first - self._start)] = 0
            if self._count + wanted > len(self._expires):
                self._grow(wanted, now)
            there = min(wanted, len(records) // self._layout.itemsize)
            read = np.frombuffer(records, self._layout, there)
            new = slice(self._count, self._count + there)
            self._vectors[new], self._expires[new] = read["vector"], read["expires_at"]
            lost = slice(self._count + there, self._count + wanted)
            self._vectors[lost], self._expires[lost] = 0, 0
            keys: list[bytes] = read["key"].tolist()
            for number, key, expires in zip(range(seen[1], upto), keys, read["expires_at"].tolist(), strict=False):
                if expires:  # else nothing was ever written there
                    self._forget([key])
                    self._rows[key] = number
            self._keys += keys + [b""] * (wanted - there)
            self._count += wanted

    def nearest(self, vector: np.ndarray, most: int, least: float, now: float) -> list[tuple[str, float]]:
        """Key and cosine of at most `most` rows that are alive and not below `least`, the nearest first.

        vector: (d,), of length 1, as the rows are.
        """
        with self._lock:
            count, keys = self._count, self._keys
            vectors, expires = self._vectors[:count], self._expires[:count]
        # one thread, and faster than `@` there; BLAS's threads wait for each other many times longer where cores are busy
        scores = np.vecdot(vectors, vector)
        scores[expires <= now] = -np.inf
        rows = np.flatnonzero(scores >= least - _ROUNDING)
        if len(rows) > most:
            rows = rows[np.argpartition(scores[rows], -most)[-most:]]
        rows = rows[np.argsort(scores[rows])[::-1]]
        return [(keys[row].hex(), min(1.0, float(scores[row]))) for row in rows]

    def forget(self, keys: Iterable[str]) -> None:
        """These are found no more."""
        with self._lock:
            self._forget(bytes.fromhex(key) for key in keys)

    def _forget(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            number = self._rows.pop(key, -1)
            if number >= self._start:
                self._expires[number - self._start] = 0

    def _reset(self, log: bytes | None, start: int, room: int) -> None:
        self._log, self._start, self._count = log, start, 0
        self._vectors = np.empty((room, self._dimensions), dtype=np.float32)
        self._expires = np.empty(room, dtype=np.float64)
        self._keys: list[bytes] = []
        self._rows: dict[bytes, int] = {}  # key -> number of its newest record

    def _grow(self, wanted: int, now: float) -> None:
        """Room for `wanted` more and a quarter to spare. A search that runs elsewhere keeps the old arrays."""
        alive = self._expires[: self._count] > now
        dead = int(alive.argmax()) if alive.any() else self._count
        kept = slice(dead, self._count)
        self._start, self._count, self._keys = self._start + dead, self._count - dead, self._keys[kept]
        room = (self._count + wanted) * 5 // 4
        vectors, expires = np.empty((room, self._dimensions), dtype=np.float32), np.empty(room, dtype=np.float64)
        vectors[: self._count], expires[: self._count] = self._vectors[kept], self._expires[kept]
        self._vectors, self._expires = vectors, expires
        if dead:
            self._rows = {key: number for key, number in self._rows.items() if number >= self._start}
