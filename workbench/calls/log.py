"""Read and write the call log.

A call that belongs to a comparison is written once, in its run's folder (the run's write-ahead record); all others go to
the log's own folder. Readers see the union, so that each call is there exactly once.
"""

from __future__ import annotations

import mmap
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from workbench.calls.compaction import Compacted, compact, rewrite
from workbench.calls.otel import export_call
from workbench.calls.places import FolderPlace, Place, open_place
from workbench.calls.reading import Files, look, retrying, runs_of, with_tables
from workbench.calls.rows import COMPARED, TABLES, CallScore, Span, Table
from workbench.calls.segment import Segment
from workbench.calls.shipping import Shipper
from workbench.calls.texts import Texts
from workbench.calls.traces import Trace, read_trace
from workbench.errors import InputError, RunError, WorkbenchError
from workbench.records import Call, Feedback
from workbench.tables import to_records

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CallLog", "Pace"]

_CALL_ID = re.compile(r"[0-9a-f]{16}-([0-9a-f]{1,8})-[0-9a-f]+")  # the process that made the call is in the middle


class Pace(NamedTuple):
    """Seconds of the quicker quarter of a model's calls, the median and the slower quarter, and the median of output tokens."""

    low: float
    expected: float
    high: float
    tokens: float


class CallLog:
    """All calls of one workbench home, or of all that share a folder or a URL.

    folder: this machine's segments. runs: the folder whose comparisons hold theirs. url: an fsspec URL that segments are sent to,
    and read from; None keeps them in `folder`. texts: what becomes of what people and models wrote; None keeps it as it is.
    keep_days: how old rows get before `compact` removes them, None for ever. fault: why the last span could not be written, empty
    if it could.
    """

    def __init__(
        self,
        folder: Path,
        runs: Path,
        *,
        url: str | None = None,
        texts: Texts | None = None,
        keep_days: float | None = None,
    ) -> None:
        self.folder, self.url, self.keep_days = folder, url, keep_days
        self.texts = texts or Texts()
        self.fault = ""
        self._runs = runs
        self._segments = {
            kind: Segment(folder / table.folder, table.name, sealable=True) for kind, table in TABLES.items()
        }
        self._segment = self._segments[Call]
        self._spool = FolderPlace(folder)
        self._opened: Place | None = self._spool if url is None else None
        self._shipping: Shipper | None = None

    @property
    def place(self) -> Place:
        """Where the log is kept. Raises InputError for a URL that cannot be opened."""
        if self._opened is None:
            self._opened = open_place(self.folder, self.url)
        return self._opened

    @property
    def address(self) -> str:
        """The folder or the URL."""
        return self.url or str(self.folder)

    @property
    def unsent(self) -> str:
        """Why segments could not be sent to the URL, empty if they could; they are kept, and sent later."""
        return self._shipping.fault if self._shipping is not None else ""

    def append(self, call: Call) -> None:
        """Add one row; it survives a kill of this process as soon as this returns."""
        call = self.texts.of(call)
        self._segment.append(call)
        if self.url is not None:
            self._shipper().start()
        export_call(call)

    def add_span(self, span: Span) -> Span:
        """Add a step of a pipeline; gives it as it was written. Never raises: what it describes has happened."""
        span = self.texts.of(span)
        try:
            self._segments[Span].append(span)
        except (RunError, OSError, TypeError, ValueError) as error:
            self.fault = str(error)
        return span

    def add_score(self, score: CallScore) -> None:
        """Add what a scorer found of a call; as sure as `append`."""
        self._segments[CallScore].append(self.texts.of(score))

    def add_feedback(self, feedback: Feedback) -> None:
        """Add what became of a call; as sure as `append`."""
        self._segments[Feedback].append(self.texts.of(feedback))

    def close(self) -> None:
        """Sync and close this process's files, and send them to the URL."""
        for segment in self._segments.values():
            segment.close()
        if self._shipping is not None:
            self._shipping.close()

    def compact(self, note: Callable[[str], None] = lambda _: None) -> Compacted:
        """Move all rows to Parquet files by day, also those of processes that are writing. Safe to be killed, to be run by
        several at once and while others read. Rows older than `keep_days` are removed. Raises RunError if the disk takes nothing;
        InputError for a URL that does not answer."""
        if self.url is not None:
            self._shipper().ship(all_of_them=True)
            if self.unsent:
                raise InputError(f"the log cannot be reached, nothing is lost: {self.unsent}")
        done = compact(self.place, note=note)
        if self.keep_days is None:
            return done
        least = time.time() - self.keep_days * 86_400
        return replace(
            done, expired=sum(rewrite(self.place, table, f"{table.when} >= ?", [least]) for table in TABLES.values())
        )

    def find(self, call_id: str) -> dict[str, Any] | None:
        """The row of a call, whichever process of this home made it; None if it is not here. Reads the files of that process."""
        made = _CALL_ID.fullmatch(call_id)
        if made is None:
            return None
        needle = b'"call_id":' + orjson.dumps(call_id)
        for path in self.folder.glob(f"*-{int(made[1], 16)}-*.jsonl"):
            with suppress(FileNotFoundError), path.open("rb") as file:  # compaction may take it
                if not path.stat().st_size:
                    continue
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    at = data.find(needle)
                    end = data.find(b"\n", at)
                    if at >= 0 and end >= 0:
                        row: dict[str, Any] = orjson.loads(data[data.rfind(b"\n", 0, at) + 1 : end])
                        return row
        rows = to_records(self.sql("select * from calls where call_id = ?", [call_id]))
        return rows[0] if rows else None

    def files(self, kind: type[Any] = Call, *, since: float | None = None) -> Files:
        """All files of this kind of row that readers see now; since: as of `sql`. Raises RunError if the URL does not answer."""
        return self._files_of(TABLES[kind], since)

    def _files_of(self, table: Table, since: float | None) -> Files:
        if table is COMPARED:
            return Files([], [], runs_of(self._runs))
        try:
            return look(self.place, self._spool, table, self._runs if table is TABLES[Call] else None, since=since)
        except (WorkbenchError, FileNotFoundError):
            raise
        except Exception as error:  # any file system's own errors
            if self.url is None:
                raise
            raise RunError(
                f"the call log cannot be reached at {self.place.address}: {type(error).__name__}: {error}. Rows that are made "
                "meanwhile are kept here and sent later."
            ) from None

    def sql(
        self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = (), *, since: float | None = None
    ) -> pd.DataFrame:
        """The answer to a DuckDB query over the tables `calls` (one row a call, columns as in `records.Call`, and `endpoint`),
        `feedback` (`records.Feedback`; a call may have none or many), `spans` (`rows.Span`) and `scores` (`rows.CallScore`), and
        `compared`: the calls of comparisons alone, which are few files.

        since: Unix seconds, if the query is only about rows written after that: Parquet files of days before it (UTC; an hour is
        allowed for clocks that differ) are not opened, nor fetched from a URL. It is no condition: the query has its own.

        >>> log.sql("select model, count(*) as n, median(latency) as p50 from calls where not warmup group by model")
        """
        named = [
            table for table in (*TABLES.values(), COMPARED) if re.search(rf"\b{table.name}\b", query, re.IGNORECASE)
        ]
        oldest = None if since is None else since - 3600
        given = dict(parameters) if isinstance(parameters, Mapping) else list(parameters)

        def read() -> pd.DataFrame:
            files = {table: self._files_of(table, oldest) for table in named}
            return with_tables(files, lambda connection: connection.execute(query, given).df())

        return retrying(read)

    def trace(self, wanted: str | None = None) -> Trace:
        """The spans and calls of one trace as a tree. wanted: a trace's id or a call's; None takes the latest with a span.
        InputError for one that is not in the log."""
        return read_trace(self, wanted)

    def _shipper(self) -> Shipper:
        if self._shipping is None:
            self._shipping = Shipper(self._spool, self.place)
        return self._shipping

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
