"""The call log, judges' calls in it, and the segments of comparisons, as parts of a purge."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from workbench.calls import CallLog, CallScore, Span
from workbench.calls.compaction import rewrite
from workbench.calls.rows import TABLES
from workbench.evaluation.folder import RunFolder
from workbench.evaluation.marks import Marks
from workbench.purging.purging import Found
from workbench.purging.who import Traces, Who
from workbench.records import Call, Feedback
from workbench.running.saving import write_whole
from workbench.tables import to_records

__all__ = ["JudgesPart", "LogPart", "RunsPart"]

_ROUNDS = 3
_LEAST = 20  # characters of a text that a judge's request is told by
_LINKED = {Feedback: "call_id in (select unnest(?::varchar[]))", CallScore: "call_id in (select unnest(?::varchar[]))",
           Span: 'trace_id in (select unnest(?::varchar[])) and "user" is null'}  # fmt: skip
# in JSON, up to the text's end or its line's
_REASON = re.compile(rb'(answers? unscored), most often \([\d,]+\): (?:[^"\\]|\\[^n])*')


class LogPart:
    """Calls, and the feedback, scores and spans of them."""

    name = "call log"

    def __init__(self, log: CallLog) -> None:
        self._log = log

    async def find(self, who: Who, traces: Traces) -> list[Found]:
        """See `Part`."""
        return await asyncio.to_thread(self._find, who, traces)

    async def remove(self, who: Who, traces: Traces) -> list[Found]:
        """See `Part`. Rows that other processes write meanwhile are taken as well, some rounds long."""
        return await asyncio.to_thread(self._remove, who, traces)

    def _find(self, who: Who, traces: Traces) -> list[Found]:
        condition, values = who.conditions("ended_at")
        query = (
            "select call_id, trace_id, instead_of, model, prompt_ref, text, request from calls "  # noqa: S608
            f"where run_id is null and {condition}"
        )
        gone = to_records(self._log.sql(query, values))
        traces.calls |= {row["call_id"] for row in gone}
        traces.traces |= {row["trace_id"] for row in gone if row["trace_id"]}
        traces.scopes |= {(row["model"], row["prompt_ref"]) for row in gone}
        traces.texts |= {
            row[name] for row in gone for name in ("text", "request") if row[name] and len(row[name]) >= _LEAST
        }
        found = [Found(self.name, len(gone), "calls")]
        for kind, table in TABLES.items():
            if kind is not Call:
                keep, parameters = _kept(kind, who, traces)
                query = f"select count(*) as n from {table.name} where not coalesce({keep}, false)"  # noqa: S608
                count = self._log.sql(query, parameters)
                found.append(Found(self.name, int(count["n"].sum()), table.name))
        return found

    def _remove(self, who: Who, traces: Traces) -> list[Found]:
        counts = dict.fromkeys((table.name for table in TABLES.values()), 0)
        for _ in range(_ROUNDS):
            left = self._log.compact().left
            before = sum(counts.values())
            for kind, table in TABLES.items():
                keep, parameters = _kept(kind, who, traces)
                counts[table.name] += rewrite(self._log.place, table, keep, parameters)
            if sum(counts.values()) == before:
                break
        # what is written now by others, or could not be sealed
        also = sum(item.count or 0 for item in self._find(who, traces))
        why = f"{also:,} rows that are being written, or that cannot be locked here: run it again" if also else ""
        if left and not why:
            why = f"{left:,} segments cannot be locked here, or are another user's, and were not looked at"
        return [
            Found(self.name, count, name, why if name == TABLES[Call].name else "") for name, count in counts.items()
        ]


def _kept(kind: type[Any], who: Who, traces: Traces) -> tuple[str, list[Any]]:
    """The condition of rows that stay, and its parameters."""
    condition, values = who.conditions(TABLES[kind].when)
    linked = _LINKED.get(kind, "call_id in (select unnest(?::varchar[]))")
    ids = traces.traces if kind is Span else traces.calls
    return f"not (coalesce({condition}, false) or coalesce({linked}, false))", [*values, sorted(ids)]


class JudgesPart:
    """Calls in the log that scorers made about calls and examples that go: their requests hold the texts, and name nobody."""

    name = "judges"

    def __init__(self, log: CallLog) -> None:
        self._log = log

    async def find(self, who: Who, traces: Traces) -> list[Found]:
        """See `Part`."""
        return [Found(self.name, await asyncio.to_thread(self._find, traces), "calls about them")]

    async def remove(self, who: Who, traces: Traces) -> list[Found]:
        """See `Part`."""
        return [Found(self.name, await asyncio.to_thread(self._remove, traces), "calls about them")]

    def _find(self, traces: Traces) -> int:
        about = sorted(traces.examples | traces.calls)
        if not about:
            return 0
        query = (
            "select call_id, model, prompt_ref from calls where role is not null and run_id is null "
            "and call_id not in (select unnest($gone::varchar[])) "
            'and (example_id in (select unnest($about::varchar[])) or "user" is null and tenant is null '
            "and exists (select 1 from unnest($texts::varchar[]) as said(t) where contains(request, said.t)))"
        )
        values = {"gone": sorted(traces.calls - traces.judges), "about": about, "texts": sorted(traces.texts)}
        found = to_records(self._log.sql(query, values))
        traces.scopes |= {(row["model"], row["prompt_ref"]) for row in found}
        traces.judges |= {row["call_id"] for row in found}
        traces.calls |= traces.judges
        return len(found)

    def _remove(self, traces: Traces) -> int:
        self._find(traces)
        self._log.compact()
        keep = "not coalesce(call_id in (select unnest(?::varchar[])), false)"
        return rewrite(self._log.place, TABLES[Call], keep, [sorted(traces.judges)])


class RunsPart:
    """Rows of comparisons: whose they are, or of examples that were made from what goes; and what judges said of them. A row is
    overwritten with blanks where it stands, so that a comparison that runs goes on writing behind it; a run without rows goes.
    Marks on such answers go too."""

    name = "comparisons"

    def __init__(self, runs: Path) -> None:
        self._runs = runs

    async def find(self, who: Who, traces: Traces) -> list[Found]:
        """See `Part`."""
        return await asyncio.to_thread(self._each, who, traces, blank=False)

    async def remove(self, who: Who, traces: Traces) -> list[Found]:
        """See `Part`."""
        return await asyncio.to_thread(self._each, who, traces, blank=True)

    def _each(self, who: Who, traces: Traces, *, blank: bool) -> list[Found]:
        counts = dict.fromkeys(("rows", "judgements", "marks"), 0)
        for folder in sorted({path.parent for path in self._runs.glob("*/*/*.jsonl")}):
            for what, count in _purged(folder, who, traces, blank=blank).items():
                counts[what] += count
        return [Found(self.name, count, what) for what, count in counts.items()]


def _purged(folder: Path, who: Who, traces: Traces, *, blank: bool) -> dict[str, int]:
    """How many rows, judgements and marks of one run go."""
    examples = set(traces.examples)
    done = stay = judged = 0
    for path in sorted(folder.glob("rows-*.jsonl")):
        gone, kept = _lines(path, lambda row: _is_theirs(row, who, traces, examples))
        done, stay = done + len(gone), stay + kept
        if blank:
            _blank(path, gone)
    for path in sorted(folder.glob("judgements-*.jsonl")):  # one of old does not say of which example it is
        gone, _ = _lines(path, lambda row: row["example_id"] in examples if "example_id" in row else bool(done))
        judged += len(gone)
        if blank:
            _blank(path, gone)
    marks = Marks(RunFolder(folder, "")).purge(examples=traces.examples, calls=traces.calls, dry_run=not blank)
    if blank and done and not stay:
        shutil.rmtree(folder)
        with suppress(OSError):  # other runs of that plan
            folder.parent.rmdir()
    elif blank and (done or judged):
        _forget_reasons(folder / "result.json")
    return {"rows": done, "judgements": judged, "marks": marks}


def _is_theirs(row: Mapping[str, Any], who: Who, traces: Traces, examples: set[str]) -> bool:
    """Whether a row of a comparison goes; its call, which ratings are about, and its example are noted."""
    mine = who.fits(row.get("user"), row.get("tenant"), row.get("ended_at"))
    if not mine and row.get("example_id") not in traces.examples and row.get("call_id") not in traces.calls:
        return False
    traces.calls.add(row["call_id"])
    examples.add(row.get("example_id") or "")
    return True


def _forget_reasons(path: Path) -> None:
    """A result says why most answers have no score, and that may quote one."""
    with suppress(FileNotFoundError):
        text = path.read_bytes()
        kept = _REASON.sub(rb"\1", text)
        if kept != text:
            write_whole(path, kept)


def _lines(path: Path, goes: Callable[[dict[str, Any]], bool]) -> tuple[list[tuple[int, int]], int]:
    """Offset and bytes of each line that goes, and how many others there are."""
    gone, kept, at = [], 0, 0
    with path.open("rb") as file:
        for line in file:
            begin, at = at, at + len(line)
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            if goes(row):
                gone.append((begin, len(line.rstrip(b"\n"))))
            else:
                kept += 1
    return gone, kept


def _blank(path: Path, spans: list[tuple[int, int]]) -> None:
    if not spans:
        return
    descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_BINARY", 0))
    try:
        for begin, size in spans:
            os.lseek(descriptor, begin, os.SEEK_SET)
            os.write(descriptor, b" " * size)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
