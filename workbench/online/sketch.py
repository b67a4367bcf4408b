"""Latencies in buckets whose widths grow by a constant factor, so that any number of them can be added up.

Bucket i holds the values in (g**(i-1), g**i], g = (1 + a) / (1 - a), and is shown as 2 g**i / (g + 1), so that every quantile is
within a share a = 1% of the true value of its rank: DDSketch (Masson, Rim and Lee 2019, PVLDB 12, 2195). Adding is addition of
counts: the order, and who adds to whom, never matters. Values below a nanosecond are counted as one, above 10**6 s as that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

__all__ = ["ACCURACY", "Sketch", "index_of"]

ACCURACY = 0.01
_GROWTH = (1 + ACCURACY) / (1 - ACCURACY)
_LOG = math.log(_GROWTH)
_LEAST, _MOST = 1e-9, 1e6


def index_of(value: float) -> int:
    """The bucket of a value; it must be no NaN."""
    return math.ceil(math.log(min(max(value, _LEAST), _MOST)) / _LOG)


class Sketch:
    """Counts by bucket. counts: bucket -> how many."""

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self.counts: dict[int, int] = dict(counts or {})

    @classmethod
    def of(cls, values: Iterable[float]) -> Sketch:
        """A sketch of these values."""
        made = cls()
        for value in values:
            made.add(value)
        return made

    @property
    def total(self) -> int:
        """How many values."""
        return sum(self.counts.values())

    def add(self, value: float) -> None:
        """Count a value in."""
        index = index_of(value)
        self.counts[index] = self.counts.get(index, 0) + 1

    def merge(self, other: Sketch) -> None:
        """Count all of another's values in."""
        for index, count in other.counts.items():
            self.counts[index] = self.counts.get(index, 0) + count

    def quantile(self, q: float) -> float | None:
        """The value of rank floor(q (n - 1)), counted from 0, within 1%; None of nothing. q: 0 to 1."""
        left = math.floor(q * (self.total - 1))
        for index in sorted(self.counts):
            left -= self.counts[index]
            if left < 0:
                return 2 * _GROWTH**index / (_GROWTH + 1)
        return None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sketch) and self.counts == other.counts

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Sketch({self.total} values)"
