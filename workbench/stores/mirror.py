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
_SLACK = 1e-5  # for a bound on one
_HEAD = 96  # numbers of a vector that are looked at first; with 384 of them this leaves a few rows at a cosine of 0.85 and more


def record_size(dimensions: int) -> int:
    """Bytes of a record."""
    return 24 + 4 * dimensions


def pack(key: str, expires_at: float, vector: np.ndarray) -> bytes:
    """One record. key: 32 hex digits. vector: (d,)."""
    return bytes.fromhex(key) + np.array(expires_at, "<f8").tobytes() + vector.astype("<f4").tobytes()


class Mirror:
    """Rows are records in the log's order, each vector cut in two: only rows whose head leaves it possible that they are near
    enough are looked at in whole. One is dead once it has expired; so is one whose expiry was set to 0 here, because it
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
        return self._heads.nbytes + self._tails.nbytes + 200 * len(self._keys) + 2000

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
            self._heads[new], self._tails[new] = read["vector"][:, :_HEAD], read["vector"][:, _HEAD:]
            self._rests[new] = np.linalg.norm(self._tails[new], axis=1)
            self._expires[new] = read["expires_at"]
            lost = slice(self._count + there, self._count + wanted)
            self._heads[lost], self._tails[lost], self._rests[lost], self._expires[lost] = 0, 0, 0, 0
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
            keys = self._keys
            heads, tails, rests, expires = (array[: self._count] for array in self._arrays())
        tail = vector[_HEAD:]
        # vecdot is one thread; `@` would be BLAS's, which wait for each other many times longer where cores are busy
        scores = np.vecdot(heads, vector[:_HEAD])
        # by Cauchy and Schwarz the tails cannot add more than the product of their lengths
        possible = scores + rests * np.linalg.norm(tail) >= least - _SLACK
        rows = np.flatnonzero(possible & (expires > now))
        # picking rows one by one pays only if they are few
        scores = (
            scores[rows] + np.vecdot(tails[rows], tail)
            if len(rows) * 4 < len(scores)
            else (scores + np.vecdot(tails, tail))[rows]
        )
        near = scores >= least - _ROUNDING
        rows, scores = rows[near], scores[near]
        best = np.argpartition(scores, -most)[-most:] if len(rows) > most else np.arange(len(rows))
        best = best[np.argsort(scores[best])[::-1]]
        return [(keys[rows[one]].hex(), min(1.0, float(scores[one]))) for one in best]

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
        self._keys: list[bytes] = []
        self._rows: dict[bytes, int] = {}  # key -> number of its newest record
        self._make(room)

    def _make(self, room: int) -> None:
        self._heads = np.empty((room, min(_HEAD, self._dimensions)), dtype=np.float32)
        self._tails = np.empty((room, max(0, self._dimensions - _HEAD)), dtype=np.float32)
        self._rests = np.empty(room, dtype=np.float32)  # lengths of the tails
        self._expires = np.empty(room, dtype=np.float64)

    def _arrays(self) -> tuple[np.ndarray, ...]:
        return self._heads, self._tails, self._rests, self._expires

    def _grow(self, wanted: int, now: float) -> None:
        """Room for `wanted` more and a quarter to spare. A search that runs elsewhere keeps the old arrays."""
        alive = self._expires[: self._count] > now
        dead = int(alive.argmax()) if alive.any() else self._count
        old = [array[dead : self._count] for array in self._arrays()]
        self._start, self._count, self._keys = self._start + dead, self._count - dead, self._keys[dead:]
        self._make((self._count + wanted) * 5 // 4)
        for array, kept in zip(self._arrays(), old, strict=True):
            array[: self._count] = kept
        if dead:
            self._rows = {key: number for key, number in self._rows.items() if number >= self._start}
