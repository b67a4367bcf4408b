"""Data sets: examples in flat memory, read by position from one normalised file.

Identity: each example is written as one line of JSON, UTF-8, with exactly the keys context, expected, id, inputs,
metadata, split, all objects sorted by key (orjson, OPT_SORT_KEYS). A data set's digest is the SHA-256 of these lines
in order: it depends neither on format nor on column order, and `sha256sum` of the file in the cache folder prints it.
"""

from __future__ import annotations

import hashlib
import operator
import os
import random
import tempfile
import weakref
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from workbench.errors import DatasetError
from workbench.evaluation.sources import Origin, Rows, input_column, near, normalised, open_source
from workbench.records import Example
from workbench.tables import html_text

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["Dataset", "load_dataset"]

_HAS_PREAD = hasattr(os, "pread")

_CANONICAL = orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE


def load_dataset(source: str | Path | pd.DataFrame, *, cache: Path, name: str | None = None) -> Dataset:
    """The data set in `source`: a .jsonl, .ndjson, .csv or .parquet file, or a DataFrame (its index is not read).

    The source is streamed once into `cache/DIGEST.jsonl`, which is kept if it is already there and intact; examples are
    then read from that file one by one, so 100,000 of them need no more memory than their positions.

    An example without an id gets the first 12 hex digits of its content's SHA-256, and `-2`, `-3` … where equal rows
    repeat. name: what tables print; the file's stem if None. Raises DatasetError, with file and line, for anything that
    is not a data set.
    """
    rows, origin, stem = open_source(source)
    return _store(rows, origin, cache, name or stem)


class Dataset:
    """Examples in order. Made by `load_dataset` and by `select`; reading is safe from several threads.

    name, source: text for people. digest: SHA-256 of the content (see the module). inputs: names of the inputs.
    splits: how many examples each named split holds; examples without a split are in none.
    """

    def __init__(
        self,
        lines: _Lines,
        rows: np.ndarray[Any, np.dtype[np.int64]],
        *,
        name: str,
        source: str,
        digest: str,
        inputs: tuple[str, ...],
    ) -> None:
        self._lines = lines
        self._rows = rows
        self.name = name
        self.source = source
        self.digest = digest
        self.inputs = inputs
        counts = Counter(lines.splits[code] for code in lines.split_codes[rows].tolist() if code)
        self.splits: dict[str, int] = {split: counts[split] for split in lines.splits[1:] if split in counts}

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Example:
        """The example at `index`, from 0; negative counts from the end."""
        position = operator.index(index)
        if not -len(self) <= position < len(self):
            raise IndexError(f"example {position} of data set {self.name!r}, which has {len(self)} (counted from 0)")
        row = int(self._rows[position])
        raw = orjson.loads(self._lines.read(row))
        values = raw["inputs"]
        return Example(
            id=raw["id"],
            inputs={key: values[key] for key in self.inputs},
            expected=raw["expected"],
            context=raw["context"],
            metadata=raw["metadata"],
            split=raw["split"],
            line=self._lines.numbers[row],
        )

    def __iter__(self) -> Iterator[Example]:
        for index in range(len(self)):
            yield self[index]

    @property
    def stored(self) -> str:
        """The digest of the whole that this is a selection of: the name of its file in the cache folder."""
        return self._lines.path.stem

    @property
    def other_splits(self) -> list[str]:
        """Splits of the whole of which this selection has no example."""
        return [split for split in self._lines.splits[1:] if split not in self.splits]

    def select(self, *, split: str | None = None, limit: int | None = None, seed: int = 0) -> Dataset:
        """A view: the examples of `split`, at most `limit` of them, in their original order.

        The sample is drawn without replacement, each example equally likely, and depends only on `seed` and how many
        there are: a smaller limit with the same seed is a part of the larger one. The digest is that of the selected
        examples alone, so choosing all of them is the same data set.
        """
        import numpy as np

        rows = self._rows
        if split is not None:
            if split not in self.splits:
                known = ", ".join(f"{key} ({count})" for key, count in self.splits.items())
                fix = f"It has {known}.{near(split, self.splits)}" if known else "None of its examples names a split."
                raise DatasetError(f"data set {self.name!r} has no split {split!r}. {fix}")
            rows = rows[self._lines.split_codes[rows] == self._lines.splits.index(split)]
        if limit is not None:
            if isinstance(limit, bool) or not hasattr(limit, "__index__") or limit < 1:
                raise DatasetError(
                    f"limit (--limit) = {limit!r} must be a whole number from 1; without it all examples are used."
                )
            if not isinstance(seed, int):
                raise DatasetError(f"seed = {seed!r} must be a whole number, so that the sample can be drawn again.")
            if limit < len(rows):
                # Only random.random() is promised to give the same numbers in every Python version.
                draw = random.Random(seed).random  # noqa: S311
                keys = np.fromiter((draw() for _ in range(len(rows))), dtype=np.float64, count=len(rows))
                rows = rows[np.sort(np.argsort(keys, kind="stable")[:limit])]
        if len(rows) == len(self._rows):
            return self
        content = hashlib.sha256()
        for row in rows.tolist():
            content.update(self._lines.read(row))
        return Dataset(
            self._lines, rows, name=self.name, source=self.source, digest=content.hexdigest(), inputs=self.inputs
        )

    def head(self, n: int = 5) -> pd.DataFrame:
        """The first `n` examples as `to_frame` shows them."""
        return self._frame(range(min(max(n, 0), len(self))))

    def to_frame(self) -> pd.DataFrame:
        """All examples, in memory: id, the inputs, expected, context, split, then `metadata.x`.

        `load_dataset` of the frame is this data set again. Columns whose values differ in type, or are partly missing,
        have the dtype object. An input that is named like a reserved column is shown as `inputs.NAME`.
        """
        return self._frame(range(len(self)))

    def _frame(self, indices: Iterable[int]) -> pd.DataFrame:
        import pandas as pd

        examples = [self[index] for index in indices]
        columns: dict[str, list[Any]] = {"id": [example.id for example in examples]}
        for key in self.inputs:
            columns[input_column(key)] = [example.inputs[key] for example in examples]
        columns["expected"] = [example.expected for example in examples]
        columns["context"] = [example.context for example in examples]
        columns["split"] = [example.split for example in examples]
        for key in dict.fromkeys(key for example in examples for key in example.metadata):
            columns[f"metadata.{key}"] = [example.metadata.get(key) for example in examples]
        frame: dict[str, pd.Series[Any]] = {}
        for title, values in columns.items():
            column = pd.Series(values, dtype=object)
            frame[title] = column.infer_objects() if len(set(map(type, values))) == 1 else column
        return pd.DataFrame(frame)

    def _facts(self) -> list[tuple[str, str]]:
        total = len(self._lines.numbers)
        part = "" if total == len(self) else f" of {total:,}"
        splits = ", ".join(f"{split} {count:,}" for split, count in self.splits.items())
        return [
            ("examples", f"{len(self):,}{part}"),
            ("inputs", ", ".join(self.inputs)),
            ("splits", splits or "none"),
            ("digest", self.digest[:12]),
        ]

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}: " + "; ".join(f"{key} {value}" for key, value in self._facts()) + ")"

    def _repr_html_(self) -> str:
        cells = "".join(f"<tr><th>{key}</th><td>{html_text(value)}</td></tr>" for key, value in self._facts())
        return f"<table><caption>Data set {html_text(self.name)}</caption><tbody>{cells}</tbody></table>"


class _Lines:
    """The normalised file, and where each example is in it. All arrays are one item a row of the file.

    offsets: int64, one more than rows, byte positions. numbers: int64, the line in the source, from 1.
    split_codes: index into `splits`, whose item 0 stands for no split.
    """

    def __init__(self, path: Path, offsets: array[int], numbers: array[int], codes: array[int], splits: list[str]):
        import numpy as np

        self.path = path
        self.offsets, self.numbers = offsets, numbers
        self.split_codes = np.frombuffer(codes, dtype=np.int64)
        self.splits = splits
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._descriptor)

    def read(self, row: int) -> bytes:
        """The bytes of a row. A positioned read shares no file position with other threads or forked processes."""
        start, end = self.offsets[row], self.offsets[row + 1]
        if _HAS_PREAD:
            return os.pread(self._descriptor, end - start, start)
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(end - start)


def _store(rows: Rows, origin: Origin, cache: Path, name: str) -> Dataset:
    """Write the canonical lines, next to their final place so that moving them there is atomic."""
    import numpy as np

    offsets, numbers, codes = array("q", [0]), array("q"), array("q")
    splits: dict[str, int] = {"": 0}
    ids = _Ids(origin)
    first: tuple[int, tuple[str, ...]] | None = None
    content = hashlib.sha256()
    position = 0
    cache.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".loading-", suffix=".jsonl", dir=cache)
    try:
        with os.fdopen(handle, "wb") as file:
            for line, row in rows:
                record = normalised(row, origin, line)
                if first is None:
                    first = line, tuple(record["inputs"])
                elif record["inputs"].keys() != set(first[1]):
                    raise _other_inputs(record["inputs"], first, origin, line)
                record["id"] = ids.claim(record, line)
                encoded = _encoded(record, origin, line)
                file.write(encoded)
                content.update(encoded)
                position += len(encoded)
                offsets.append(position)
                numbers.append(line)
                codes.append(splits.setdefault(record["split"] or "", len(splits)))
        if first is None:
            raise DatasetError(f"{origin.text} holds no examples. Write one example a line, or a header and rows.")
        target = cache / f"{content.hexdigest()}.jsonl"
        if not _intact(target, content.hexdigest()):
            Path(temporary).replace(target)
    finally:
        Path(temporary).unlink(missing_ok=True)
    lines = _Lines(target, offsets, numbers, codes, list(splits))
    everything = np.arange(len(numbers), dtype=np.int64)
    return Dataset(lines, everything, name=name, source=origin.text, digest=content.hexdigest(), inputs=first[1])


def _intact(path: Path, expected: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == expected
    except FileNotFoundError:
        return False


class _Ids:
    """Gives each example an id of its own."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._lines: dict[str, int] = {}
        self._repeats: dict[str, int] = {}

    def claim(self, record: dict[str, Any], line: int) -> str:
        given: str | None = record.pop("id")
        if given is None:
            base = hashlib.sha256(_encoded(record, self._origin, line)).hexdigest()[:12]
            given = base
            while given in self._lines:
                self._repeats[base] = self._repeats.get(base, 1) + 1
                given = f"{base}-{self._repeats[base]}"
        elif given in self._lines:
            earlier = f"{'line' if self._origin.by_line else 'row'} {self._lines[given]}"
            raise self._origin.error(
                line,
                f"id {given!r} was given before, at {earlier}. Give each example an id of its own, or leave the ids "
                "out: they are then made of the content.",
            )
        self._lines[given] = line
        return given


def _encoded(record: dict[str, Any], origin: Origin, line: int) -> bytes:
    try:
        return orjson.dumps(record, option=_CANONICAL)
    except orjson.JSONEncodeError as error:
        raise origin.error(line, f"a value cannot be written as JSON: {error}. Turn it into text first.") from None


def _other_inputs(
    inputs: Mapping[str, Any], first: tuple[int, tuple[str, ...]], origin: Origin, line: int
) -> DatasetError:
    missing = [key for key in first[1] if key not in inputs]
    extra = [key for key in inputs if key not in first[1]]
    parts = [f"input {key!r} is missing" for key in missing]
    parts += [f"input {key!r} is not in the first example" for key in extra]
    guess = next(filter(None, (near(key, missing) for key in extra)), "")
    return origin.error(
        line,
        f"{' and '.join(parts)}.{guess} All examples need the same inputs as the first, "
        f"{'line' if origin.by_line else 'row'} {first[0]}: {', '.join(first[1])}. "
        "What is no input of the prompt goes under 'metadata'.",
    )
