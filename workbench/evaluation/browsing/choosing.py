"""Which of a run's examples, and in which order."""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np

from workbench.errors import InputError
from workbench.evaluation.browsing.metrics import gains, meets
from workbench.evaluation.browsing.query import FILTERS, Query
from workbench.evaluation.browsing.row_index import RowIndex
from workbench.evaluation.browsing.text_search import TextSearch
from workbench.evaluation.marks import MARKED, Marks
from workbench.evaluation.run import Run
from workbench.records import Example

__all__ = ["Choosing"]

_VALUES = 50  # different values of a metadata field that can be chosen from
_SEARCHES = 8  # that are kept


class Choosing:
    """Filters, orders and searches the examples of a run; see `ExamplePages`."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.marks = Marks(run.folder)
        self._index = RowIndex(run.folder, run.measurements)
        self._fields: dict[str, np.ndarray] | None = None
        self._searches: dict[str, TextSearch] = {}
        self._lock = threading.Lock()

    # -- which, and in which order --------------------------------------------------------------------------------

    def gains(self) -> np.ndarray:
        """(variants, examples); see `metrics.gains`."""
        return gains(self.run)

    def order(self, query: Query, gains: np.ndarray | None = None) -> np.ndarray:
        """Positions of the examples that it asks for, in its order. Only what was searched through so far counts for a search.
        gains: `gains()`, as below, where the caller has them."""
        which, found = self._which(query.variant), self.gains() if gains is None else gains
        among = np.flatnonzero(
            self._part(query) & self._marked(query.marked, which) & self._filter(query.only, which, found[which])
        )
        keys = self._keys(query.sort, which, found[which])
        return among if keys is None else among[np.argsort(keys[among], kind="stable")]

    def counts(self, query: Query, gains: np.ndarray | None = None) -> dict[str, int]:
        """How many examples each filter would leave, in the same part of the data and of those that are marked so."""
        which = self._which(query.variant)
        part = self._part(query) & self._marked(query.marked, which)
        found = (self.gains() if gains is None else gains)[which]
        return {only: int((part & self._filter(only, which, found)).sum()) for only in FILTERS}

    def marked(self, query: Query, gains: np.ndarray | None = None) -> dict[str, int]:
        """How many examples each choice by marks would leave, of those that the other filters leave."""
        which, part = self._which(query.variant), self._part(query)
        part = part & self._filter(query.only, which, (self.gains() if gains is None else gains)[which])
        return {what: int((part & self._marked(what, which)).sum()) for what in MARKED if what}

    def _marked(self, what: str, which: np.ndarray) -> np.ndarray:
        """(examples,) of True where an answer of these variants is marked so, or for "unmarked" none is."""
        count = len(self.run.plan.indices)
        if not what:
            return np.ones(count, dtype=bool)
        found, labels = np.zeros(count, dtype=bool), {self.run.measurements.variants[at] for at in which}
        for (at, variant), mark in self.marks.every().items():
            if variant in labels and at < count and mark.has("marked" if what == "unmarked" else what):
                found[at] = True
        return ~found if what == "unmarked" else found

    def _which(self, variant: str) -> np.ndarray:
        """Variants by their positions."""
        names = self.run.measurements.variants
        if variant and variant not in names:
            raise InputError(f"{variant!r} is none of the compared variants: {', '.join(names)}.")
        return np.asarray([names.index(variant)] if variant else range(len(names)), dtype=np.int64)

    def _part(self, query: Query) -> np.ndarray:
        inside = np.ones(len(self.run.plan.indices), dtype=bool)
        for condition in query.where:
            inside &= meets(self.run, condition, self._which(condition.variant or query.variant))
        if query.field:
            inside &= self._field(query.field) == query.value
        if query.search:
            inside &= self.search(query.search).hits
        return inside

    def _filter(self, only: str, which: np.ndarray, gains: np.ndarray) -> np.ndarray:
        """(examples,) of True where one of these variants is so. gains: theirs."""
        numbers = self.run.measurements
        if only == "all":
            return np.ones(gains.shape[1], dtype=bool)
        if only == "changed":
            return np.asarray((np.nan_to_num(gains) != 0).any(axis=0))
        if only in ("worse", "better"):
            known = np.nan_to_num(gains)
            return np.asarray((known < 0 if only == "worse" else known > 0).any(axis=0))
        if only == "error":
            return np.asarray(numbers.broken[which].any(axis=(0, 2)))
        if only == "unscored":
            scores = numbers.scores[self.run.plan.primary.name][which]
            return np.asarray((numbers.worked[which] & np.isnan(scores)).any(axis=(0, 2)))
        self._index.refresh()
        said = self._index.said
        first = said[numbers.of(self.run.plan.control), :, :1]
        return np.asarray(((said[which] != first) & (said[which] != 0) & (first != 0)).any(axis=(0, 2)))

    def _keys(self, sort: str, which: np.ndarray, gains: np.ndarray) -> np.ndarray | None:
        """(examples,) that an ascending sort goes by, NaN last."""
        numbers = self.run.measurements
        if sort == "data":
            return None
        if sort in ("asked", "lowest", "slowest", "dearest"):
            primary = self.run.plan.primary
            scores = numbers.scores[primary.name]
            values = {
                "asked": -numbers.at, "lowest": -scores if primary.higher_is_better else scores,
                "slowest": numbers.latency, "dearest": numbers.cost,
            }[sort]  # fmt: skip
            return -_largest(values[which].transpose(1, 0, 2).reshape(gains.shape[1], -1))
        if sort == "worst":
            return -_largest(-gains.T)
        return -_largest(gains.T if sort == "best" else np.abs(gains.T))

    # -- parts of the data ----------------------------------------------------------------------------------------

    def fields(self) -> dict[str, dict[str, int]]:
        """The metadata fields that split the data into at most 50 parts, with each value and its number of examples."""
        return {name: dict(Counter(values.tolist())) for name, values in self._metadata().items()}

    def _field(self, name: str) -> np.ndarray:
        fields = self._metadata()
        if name not in fields:
            raise InputError(f"no metadata {name!r} to choose by. There is: {', '.join(fields) or 'none'}.")
        return fields[name]

    def _metadata(self) -> dict[str, np.ndarray]:
        with self._lock:
            if self._fields is None:
                self._fields = self._read_metadata()
            return self._fields

    def _read_metadata(self) -> dict[str, np.ndarray]:
        count = len(self.run.plan.indices)
        found: dict[str, np.ndarray] = {}
        for at in range(count):
            for name, value in self._example(at).metadata.items():
                if name not in found:
                    found[name] = np.full(count, "(none)", dtype=object)
                found[name][at] = "(none)" if value is None else str(value)
        return {name: values for name, values in found.items() if 1 < len(set(values.tolist())) <= _VALUES}

    def search(self, text: str) -> TextSearch:
        """The search for a text; its `advance` reads what it has not read, and `hits` fills."""
        with self._lock:
            found = self._searches.pop(text, None)
            if found is None:
                found = TextSearch(text, self.run.folder, len(self.run.plan.indices), self._texts)
            self._searches[text] = found
            while len(self._searches) > _SEARCHES:
                self._searches.pop(next(iter(self._searches)))
            return found

    def _texts(self, at: int) -> list[str]:
        example = self._example(at)
        return [example.id, str(example.expected or ""), example.context or "", *map(str, example.inputs.values())]

    def _example(self, at: int) -> Example:
        return self.run.plan.dataset[int(self.run.plan.indices[at])]


def _largest(values: np.ndarray) -> np.ndarray:
    """(rows,) of the largest known value, NaN where none is."""
    known = ~np.isnan(values)
    return np.where(known.any(axis=1), np.where(known, values, -np.inf).max(axis=1), np.nan)
