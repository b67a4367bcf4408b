"""Sources of data sets: rows from JSON lines, CSV, Parquet or a DataFrame, one at a time, in one shape.

A row is either `{"id"?, "inputs": {...}, "expected"?, "context"?, "metadata"?, "split"?}` or flat: the columns id,
expected, context, metadata and split (and `metadata.x`) are reserved, all others are inputs. What JSON has and a table
lacks follows from that: an empty CSV cell, NaN, NaT or null in a reserved column means "not there".
"""

from __future__ import annotations

import contextlib
import csv
import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import orjson

from workbench.errors import DatasetError, short_repr
from workbench.tables import to_records

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Origin", "Rows", "input_column", "locate", "near", "normalised", "open_source"]

_RESERVED = ("id", "expected", "context", "metadata", "split")
_ENDINGS = (".jsonl", ".ndjson", ".csv", ".parquet")
_BATCH = 256
_ARRAY_FIX = (
    "write one object a line, pandas.read_json(file).to_json('data.jsonl', orient='records', lines=True) does it."
)
_LONGEST_CELL = 64_000_000

Rows = Iterator[tuple[int, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Origin:
    """Names a place in the source. by_line: a text file, where editors jump to `file:line`."""

    text: str
    by_line: bool = True

    def error(self, line: int, problem: str) -> DatasetError:
        """What to raise about the row at `line`, from 1."""
        return DatasetError(f"{self.text}:{line}: {problem}" if self.by_line else f"{self.text}, row {line}: {problem}")


def locate(text: str, project: Path, folder: Path) -> Path:
    """The file of a data set that was named: by its stem in `folder`, or by a path from here, from the project or from `folder`.

    Raises DatasetError that says what there is.
    """
    known = sorted(item for item in folder.glob("*") if item.suffix.lower() in _ENDINGS)
    there = f"Data sets in {folder}: {', '.join(item.name for item in known) or 'none'}."
    if Path(text).suffix.lower() in _ENDINGS or "/" in text or "\\" in text:
        given = Path(text).expanduser()
        for path in (given, project / given, folder / given):
            if path.is_file():
                return path
        if given.exists():
            return given
        beside = given.parent.iterdir() if given.parent.is_dir() else ()
        names = [item.name for item in (*beside, *known) if item.suffix.lower() in _ENDINGS]
        places = f"{given.absolute().parent} or {folder}" if given.name == text else f"{given.absolute().parent}"
        raise DatasetError(f"there is no file {given.name} in {places}.{near(given.name, names)} {there}")
    found = [item for item in known if item.stem == text]
    if len(found) == 1:
        return found[0]
    if found:
        raise DatasetError(f"data set {text!r} is there as {', '.join(p.name for p in found)}: name the file you mean.")
    raise DatasetError(
        f"there is no data set {text!r} in {folder}.{near(text, [item.stem for item in known])} {there} Pass one of these "
        "names, or a path that ends in .jsonl, .csv or .parquet."
    )


def open_source(source: str | Path | pd.DataFrame) -> tuple[Rows, Origin, str]:
    """The rows of `source` with their lines (from 1), its name in messages, and the file's stem, or "dataframe".

    A file is opened when the first row is asked for. Raises DatasetError, here or while reading, for what is no source.
    """
    if not isinstance(source, (str, Path)):
        return *_from_frame(source), "dataframe"
    path = _existing(Path(source).expanduser())
    ending = path.suffix.lower()
    origin = Origin(str(source), by_line=ending != ".parquet")
    return _READERS[ending](path, origin), origin, path.stem


def normalised(row: dict[str, Any], origin: Origin, line: int) -> dict[str, Any]:
    """A row in its one shape. Inputs keep the order of the source, which decides the order of `Dataset.inputs`."""
    record: dict[str, Any] = dict.fromkeys(_RESERVED)
    metadata, nested = row.get("metadata"), row.get("inputs")
    for key, value in (("metadata", metadata), ("inputs", nested)):
        if value is not None and not isinstance(value, dict):
            fix = "column for each, with just its name" if key == "inputs" else "column metadata.NAME for each"
            raise origin.error(
                line, f"{key} = {short_repr(value)} must be an object {{name: value}}. In a table, write a {fix}."
            )
    inputs: dict[str, Any] = dict(nested or {})
    labels: dict[str, Any] = dict(metadata or {})
    for key, value in row.items():
        if key in record or key == "inputs":
            continue
        if key.startswith("metadata."):
            labels[key.removeprefix("metadata.")] = value
        elif nested is not None:
            raise origin.error(line, f"column {key!r} stands beside 'inputs'.{near(key, _RESERVED)} Put it into "
                                     "inputs if the prompt needs it, else into metadata.")  # fmt: skip
        elif key.lower() in record or key.lower() == "inputs":
            raise origin.error(line, f"column {key!r} would be taken for an input. Did you mean {key.lower()!r}? "
                                     "Write it in lower case, or give the input another name.")  # fmt: skip
        else:
            inputs[key.removeprefix("inputs.")] = value
    if not inputs:
        raise origin.error(
            line, "this example has no inputs. Write the prompt's variables as columns, or under 'inputs'."
        )
    for key, value in inputs.items():
        if value is None:
            raise origin.error(line, f"input {key!r} is missing (null). Leave this example out, or write an empty text "
                                     "if that is what the prompt should get.")  # fmt: skip
    for key in ("context", "split"):
        value = row.get(key)
        if value is not None and not isinstance(value, str):
            fix = "Join several passages into one." if isinstance(value, list) else "Put it in quotes."
            raise origin.error(line, f"{key} = {short_repr(value)} must be a text. {fix}")
        record[key] = value or None
    record["id"] = _given_id(row.get("id"), origin, line)
    record["expected"] = row.get("expected")
    record["inputs"] = inputs
    record["metadata"] = {key: value for key, value in labels.items() if value is not None}
    return record


def _given_id(value: Any, origin: Origin, line: int) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    # A table with a missing id turns whole numbers into floats; beyond 2**53 they would no longer be the same number.
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value == int(value) and abs(value) < 2**53:
        return str(int(value))
    raise origin.error(line, f"id = {short_repr(value)} must be a text or a whole number. Put it in quotes.")


def input_column(name: str) -> str:
    """The column of an input in a flat table: `inputs.NAME` where NAME alone would be taken for something else."""
    taken = name in (*_RESERVED, "inputs") or name.startswith(("metadata.", "inputs."))
    return f"inputs.{name}" if taken else name


def near(word: str, known: Iterable[str]) -> str:
    """The end of a message: " Did you mean …?" with the known words like `word`, or nothing."""
    matches = difflib.get_close_matches(word, list(known), n=2)
    return f" Did you mean {' or '.join(map(repr, matches))}?" if matches else ""


def _existing(path: Path) -> Path:
    if path.is_dir():
        raise DatasetError(f"{path} is a folder. Name one file in it: {', '.join(_ENDINGS)}.")
    if not path.exists():
        folder = path.parent
        if not folder.is_dir():
            raise DatasetError(f"{path} does not exist, nor does the folder {folder} (looked from {Path.cwd()}).")
        files = [item.name for item in folder.iterdir() if item.suffix.lower() in _ENDINGS]
        there = f" There are: {', '.join(sorted(files)[:5])}." if files else f" {folder.absolute()} holds no data set."
        fix = near(path.name, files) or there
        raise DatasetError(f"{path} does not exist.{fix}")
    if path.suffix.lower() not in _ENDINGS:
        fix = {
            ".json": f"If it is a JSON array, {_ARRAY_FIX}",
            ".tsv": "Save it with commas as .csv, or pass pandas.read_csv(file, sep='\\t').",
            ".xlsx": "Save it as CSV UTF-8, or pass pandas.read_excel(file).",
        }.get(path.suffix.lower(), "Convert it, or pass a pandas DataFrame.")  # fmt: skip
        raise DatasetError(f"{path}: the ending {path.suffix!r} is not known; these are: {', '.join(_ENDINGS)}. {fix}")
    return path


def _check_start(path: Path, origin: Origin) -> None:
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise origin.error(1, "the file is UTF-16. Save it as UTF-8 (in Excel: 'CSV UTF-8'), or convert it with: "
                              "iconv -f UTF-16 -t UTF-8.")  # fmt: skip
    if path.suffix.lower() != ".csv" and start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
        raise origin.error(1, f"the file begins with '[', so it is probably a JSON array: {_ARRAY_FIX}")


def _not_utf8(origin: Origin, line: int, byte: int, offset: int) -> DatasetError:
    return origin.error(
        line,
        f"byte 0x{byte:02x} at position {offset} is not UTF-8. The file was probably saved as Windows-1252 or Latin-1: "
        "save it as UTF-8, or convert it with: iconv -f WINDOWS-1252 -t UTF-8.",
    )


def _from_jsonl(path: Path, origin: Origin) -> Rows:
    _check_start(path, origin)
    with path.open("rb") as file:
        for line, raw in enumerate(file, 1):
            text = raw.removeprefix(b"\xef\xbb\xbf") if line == 1 else raw
            if not text.strip():
                continue
            try:
                row = orjson.loads(text)
            except orjson.JSONDecodeError as error:
                raise _broken_json(text, error, origin, line) from None
            if not isinstance(row, dict):
                raise origin.error(
                    line, f'{short_repr(row)} is not an object. Write one {{"name": value, …}} on each line.'
                )
            yield line, row


def _broken_json(text: bytes, error: orjson.JSONDecodeError, origin: Origin, line: int) -> DatasetError:
    try:
        text.decode()
    except UnicodeDecodeError as wrong:
        return _not_utf8(origin, line, text[wrong.start], wrong.start + 1)
    fix = "Write one complete JSON object on this line."
    if re.match(rb"\s*\{\s*'", text):
        fix = "JSON wants double quotes: write it with json.dumps, not str."
    elif re.search(rb"\b(NaN|Infinity)\b", text):
        fix = "NaN and Infinity are not JSON: write null."
    elif text.strip() == b"{":
        fix = "The object seems to go on in the next lines: write each example on one line."
    elif re.search(rb",\s*[}\]]", text):
        fix = "There may be a comma too much at the end of an object or list."
    return origin.error(line, f"broken JSON at column {error.colno}: {error.msg}. {fix}")


def _from_csv(path: Path, origin: Origin) -> Rows:
    _check_start(path, origin)
    # The limit is the csv module's own global; it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(_text_lines(file, origin), strict=True)
        columns: list[str] = []
        ended = 0
        while True:
            try:
                cells = next(reader, None)
            except csv.Error as error:
                raise origin.error(
                    ended + 1,
                    f"the row that begins here is not CSV: {error}. Probably a quote is not closed, or one inside a "
                    'text is not doubled ("").',
                ) from None
            line, ended = ended + 1, reader.line_num
            if cells is None:
                return
            if not cells:
                continue
            if not columns:
                columns = _header(cells, origin, line)
            elif len(cells) != len(columns):
                raise origin.error(line, f"this row has {len(cells)} cells, the header has {len(columns)} "
                                         f"({', '.join(columns)}). A text with a comma or a line break in it needs "
                                         "double quotes around it.")  # fmt: skip
            else:
                # An empty cell is an empty text for an input, and nothing elsewhere.
                yield (
                    line,
                    {
                        key: cell if cell or not (key in _RESERVED or key.startswith("metadata.")) else None
                        for key, cell in zip(columns, cells, strict=True)
                    },
                )


def _text_lines(file: TextIO, origin: Origin) -> Iterator[str]:
    for line, text in enumerate(file, 1):
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as wrong:
                raise _not_utf8(origin, line, ord(text[wrong.start]) & 0xFF, wrong.start + 1) from None
        yield text


def _header(cells: list[str], origin: Origin, line: int) -> list[str]:
    columns = [cell.strip() for cell in cells]
    if len(columns) == 1 and (separator := next((sign for sign in ";\t|" if sign in columns[0]), None)):
        raise origin.error(line, f"the header is one column, {short_repr(columns[0])}, separated by {separator!r}. "
                                 f"Save it with commas, or pass pandas.read_csv(file, sep={separator!r}).")  # fmt: skip
    return _check_columns(columns, origin.error, line)


def _check_columns(columns: list[Any], error: Any, line: int) -> list[str]:
    for position, column in enumerate(columns, 1):
        if not isinstance(column, str) or not column:
            raise error(line, f"column {position} is named {column!r}, which is not a text. If it is an index, "
                              "leave it out: to_csv(index=False), reset_index(drop=True).")  # fmt: skip
        if columns.count(column) > 1:
            raise error(line, f"column {column!r} is there {columns.count(column)} times. Give each a name of its own.")
    return columns


def _from_parquet(path: Path, origin: Origin) -> Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    line = 0
    try:
        # Without pre_buffer and with a small buffer, Arrow holds pages, not whole row groups.
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 16) as file:
            _check_columns(file.schema_arrow.names, lambda _, problem: DatasetError(f"{path}: {problem}"), 0)
            for batch in file.iter_batches(batch_size=_BATCH, use_threads=False):
                for row in batch.to_pylist():
                    line += 1
                    yield line, {key: _plain(value, origin, line, key) for key, value in row.items()}
    except (pa.ArrowException, OSError, OverflowError) as error:  # a timestamp beyond the year 9999 overflows
        reason = f"{error} ".splitlines()[0]
        raise DatasetError(
            f"{path} cannot be read as Parquet: {reason.rstrip('. ')}. Was the file written completely?"
        ) from None


def _from_frame(frame: pd.DataFrame) -> tuple[Rows, Origin]:
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise DatasetError(
            f"a {type(frame).__name__} is not a data set. Pass the path of a {', '.join(_ENDINGS)} file, or a pandas "
            "DataFrame: pandas.DataFrame(rows) makes one from a list of dicts."
        )
    origin = Origin("DataFrame", by_line=False)
    _check_columns(list(frame.columns), lambda _, problem: DatasetError(f"DataFrame: {problem}"), 0)

    def rows() -> Rows:
        line = 0
        for start in range(0, len(frame), _BATCH):
            batch = frame.iloc[start : start + _BATCH]
            for row in to_records(batch):
                line += 1
                yield line, {key: _plain(value, origin, line, key) for key, value in row.items()}

    return rows(), origin


def _plain(value: Any, origin: Origin, line: int, column: str) -> Any:
    """A table's value as JSON has it: NaN is None, NumPy scalars are Python's, instants are ISO 8601 text."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if math.isinf(value):
            raise origin.error(
                line, f"column {column!r} is {value}, which JSON cannot hold. Write a number or leave it out."
            )
        return None if math.isnan(value) else float(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, origin, line, column) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, origin, line, column) for item in value]
    if hasattr(value, "isoformat"):
        with contextlib.suppress(TypeError):
            return None if value != value else str(value.isoformat())  # NaT alone differs from itself
    if hasattr(value, "tolist"):
        return _plain(value.tolist(), origin, line, column)
    if type(value).__name__ == "NAType":
        return None
    raise origin.error(
        line,
        f"column {column!r} holds a {type(value).__name__}, {short_repr(value)}, which is not a JSON type. Turn the column "
        "into text or numbers, such as with .astype(str).",
    )


_READERS = {".jsonl": _from_jsonl, ".ndjson": _from_jsonl, ".csv": _from_csv, ".parquet": _from_parquet}
