"""Read and write the call log.

A call that belongs to a comparison is written once, in its run's folder (the run's write-ahead record); all others go to
the log's own folder. Readers see the union, so that each call is there exactly once.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from workbench.calls.segment import Segment
from workbench.errors import InputError
from workbench.records import Call, Feedback

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

__all__ = ["CallLog", "Pace"]

_CALL_ID = re.compile(r"[0-9a-f]{16}-([0-9a-f]{1,8})-[0-9a-f]+")  # the process that made the call is in the middle
_TYPES = {
    "str": "VARCHAR",
    "float": "DOUBLE",
    "int": "BIGINT",
    "bool": "BOOLEAN",
    "Mapping": "JSON",
    "Sequence": "JSON",
}


class Pace(NamedTuple):
    """Seconds of the quicker quarter of a model's calls, the median and the slower quarter, and the median of output tokens."""

    low: float
    expected: float
    high: float
    tokens: float


def _columns(record: type[Call | Feedback]) -> dict[str, str]:
    """DuckDB's type for each field."""
    return {item.name: _TYPES[str(item.type).split("[")[0].split(" ")[0]] for item in fields(record)}


class CallLog:
    """All calls of one workbench home.

    folder: this log's own segments. runs: the folder whose comparisons hold theirs.
    """

    def __init__(self, folder: Path, runs: Path) -> None:
        self.folder = folder
        self._runs = runs
        self._segment = Segment(folder)
        self._feedback = Segment(folder / "feedback", "feedback")

    def append(self, call: Call) -> None:
        """Add one row; it survives a kill of this process as soon as this returns."""
        self._segment.append(call)

    def add_feedback(self, feedback: Feedback) -> None:
        """Add what became of a call; as sure as `append`."""
        self._feedback.append(feedback)

    def close(self) -> None:
        """Sync and close this process's files."""
        self._segment.close()
        self._feedback.close()

    def find(self, call_id: str) -> dict[str, Any] | None:
        """The row of a call, whichever process of this home made it; None if it is not here. Reads the files of that process."""
        made = _CALL_ID.fullmatch(call_id)
        if made is None:
            return None
        needle = b'"call_id":' + orjson.dumps(call_id)
        for path in self.folder.glob(f"*-{int(made[1], 16)}-*.jsonl"):
            with path.open("rb") as file:
                if not path.stat().st_size:
                    continue
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    at = data.find(needle)
                    end = data.find(b"\n", at)
                    if at >= 0 and end >= 0:
                        row: dict[str, Any] = orjson.loads(data[data.rfind(b"\n", 0, at) + 1 : end])
                        return row
        return None

    def files(self) -> list[Path]:
        """Every segment that readers see."""
        return sorted((*self.folder.glob("*.jsonl"), *self._runs.glob("*/*/rows-*.jsonl")))

    def sql(self, query: str, parameters: Sequence[Any] = ()) -> pd.DataFrame:
        """The answer to a DuckDB query over the tables `calls` (one row a call, columns as in `records.Call`) and `feedback` (as
        in `records.Feedback`; a call may have none or many).

        >>> log.sql("select model, count(*) as n, median(latency) as p50 from calls where not warmup group by model")
        """
        import duckdb

        with duckdb.connect() as connection:
            _view(connection, "calls", Call, self.files())
            _view(connection, "feedback", Feedback, sorted(self._feedback.folder.glob("*.jsonl")))
            try:
                return connection.execute(query, list(parameters)).df()
            except duckdb.Error as error:
                raise InputError(f"the call log cannot answer this query: {error}") from None

    def frame(self, *, model: str | None = None, run_id: str | None = None, since: float | None = None) -> pd.DataFrame:
        """The calls as a DataFrame, oldest first; since: Unix seconds."""
        conditions = {"model = ?": model, "run_id = ?": run_id, "ended_at >= ?": since}
        asked = {text: value for text, value in conditions.items() if value is not None}
        where = f"where {' and '.join(asked)}" if asked else ""
        return self.sql(f"select * from calls {where} order by ended_at, call_id", list(asked.values()))  # noqa: S608

    def pace(self, model: str) -> Pace | None:
        """How fast the last 200 calls that worked were, None without any."""
        found = self.sql(
            "select quantile_cont(latency, 0.25) as low, median(latency) as seconds, quantile_cont(latency, 0.75) as high, "
            "median(completion_tokens) as tokens from (select latency, completion_tokens "
            "from calls where model = ? and error is null and not warmup and latency is not null "
            "order by ended_at desc limit 200)",
            [model],
        )
        low, seconds, high, tokens = found.iloc[0]
        if seconds != seconds or seconds is None:
            return None
        return Pace(float(low), float(seconds), float(high), float(tokens) if tokens == tokens else 0.0)


def _view(
    connection: duckdb.DuckDBPyConnection, name: str, record: type[Call | Feedback], paths: Sequence[Path]
) -> None:
    """The rows of these files as a table."""
    found = _columns(record).items()
    if paths:
        columns = ", ".join(f"{column}: '{kind}'" for column, kind in found)
        listed = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths)
        connection.execute(
            f"create view {name} as from read_json([{listed}], format = 'newline_delimited', "
            f"ignore_errors = true, columns = {{{columns}}}) where call_id is not null"  # a torn line reads as nulls
        )
    else:
        columns = ", ".join(f'"{column}" {kind}' for column, kind in found)
        connection.execute(f"create table {name} ({columns})")
