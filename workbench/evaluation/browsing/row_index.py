"""Where in a run's segments each row is, so that a page of them is read without the rest; grows while the run goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

from workbench.evaluation.folder import RunFolder
from workbench.evaluation.measurements import Measurements

__all__ = ["Found", "RowIndex", "Tail"]


class Found(NamedTuple):
    """A row, and where it stands: the segment's number, its first byte, and how many bytes it has."""

    row: dict[str, Any]
    segment: int
    offset: int
    length: int


class Tail:
    """Reads a run's rows that were written since it last looked, segment by segment; a half-written last line waits."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}
        self.paths: list[Path] = []

    def __iter__(self) -> Iterator[Found]:
        for path in self._folder.segments():
            if path not in self._read:
                self._read[path] = 0
                self.paths.append(path)
            begin = self._read[path]
            if path.stat().st_size > begin:
                yield from self._lines(path, begin)

    def _lines(self, path: Path, begin: int) -> Iterator[Found]:
        number = self.paths.index(path)
        with path.open("rb") as file:
            file.seek(begin)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                offset = self._read[path]
                self._read[path] = offset + len(line)
                try:
                    yield Found(orjson.loads(line), number, offset, len(line))
                except orjson.JSONDecodeError:
                    continue


class RowIndex:
    """The place of every row of a run: a few bytes a row in memory, no text. Any number of threads may use it.

    said: (variants, examples, repeats) of a number for each different answer (whitespace around it aside), 0 where none is.
    """

    def __init__(self, folder: RunFolder, numbers: Measurements) -> None:
        self._tail = Tail(folder)
        self._numbers = numbers
        shape = numbers.state.shape
        self._segment = np.full(shape, -1, dtype=np.int32)
        self._offset = np.zeros(shape, dtype=np.int64)
        self._length = np.zeros(shape, dtype=np.int32)
        self._worked = np.zeros(shape, dtype=bool)
        self.said = np.zeros(shape, dtype=np.int64)
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Take in what was written since."""
        known = set(self._numbers.variants)
        with self._lock:
            for found in self._tail:
                row = found.row
                if row["warmup"] or row["variant"] not in known:
                    continue
                place = (self._numbers.of(row["variant"]), row["example"], row["repeat"])
                worked = row["error"] is None
                if self._segment[place] >= 0 and self._worked[place] and not worked:
                    continue  # a failed call is asked again; an answer is not taken back
                self._segment[place], self._offset[place] = found.segment, found.offset
                self._length[place], self._worked[place] = found.length, worked
                self.said[place] = (hash((row["text"] or "").strip()) or 1) if worked else 0

    def read(self, example: int) -> list[list[dict[str, Any] | None]]:
        """For each variant the rows of its repeats, None where there is none."""
        variants, _, repeats = self._segment.shape
        return [[self._row((variant, example, repeat)) for repeat in range(repeats)] for variant in range(variants)]

    def _row(self, place: tuple[int, int, int]) -> dict[str, Any] | None:
        segment = int(self._segment[place])
        if segment < 0:
            return None
        variant, example, repeat = place
        try:
            with self._tail.paths[segment].open("rb") as file:
                file.seek(int(self._offset[place]))
                row: dict[str, Any] = orjson.loads(file.read(int(self._length[place])))
        except (OSError, orjson.JSONDecodeError):  # purged meanwhile
            return None
        same = (row["variant"], row["example"], row["repeat"]) == (self._numbers.variants[variant], example, repeat)
        return row if same else None
