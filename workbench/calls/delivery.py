"""Send the call log to Langfuse, from a process of its own: no call waits for it, and what could not be sent is sent later.

At least once, with ids that follow from the rows, so that what is sent twice is there once. What was delivered is kept in one
file: per table a time, and the rows sent within the hour before it, since rows of other processes and machines come late.
"""

# ruff: noqa: S608  (the queries are made of the constants below; values are bound)

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from filelock import FileLock

from workbench.calls.langfuse_spans import generation, span, trace_of
from workbench.calls.log import CallLog
from workbench.errors import RunError
from workbench.running.saving import write_json
from workbench.stores.langfuse_ingest import Ingest, langfuse_id, timestamp
from workbench.tables import to_records

__all__ = ["Delivered", "Delivery"]

_LATE = 3600.0  # seconds that a row may come after a later one, and still be sent
_CHUNK = 500
_WHOLE = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "release", "attempts")
_KINDS = {"retrieval": "retriever", "workflow": "chain", "embedding": "embedding", "tool": "tool", "agent": "agent"}
_LIVE = "run_id is null and not warmup"  # comparisons go as dataset runs
_OF_CALL = "left join (select call_id, trace_id from calls where run_id is null) c on c.call_id = t.call_id"

# table -> (what names a row, its time, where it is from)
_SOURCES = {
    "calls": ("t.call_id", "t.ended_at", f"select t.* from calls t where {_LIVE}"),
    "spans": ("t.span_id", "t.ended_at", "select t.* from spans t where true"),
    "scores": (
        "t.call_id || ' ' || t.scorer || ' ' || t.scored_at", "t.scored_at",
        f"select t.*, c.trace_id from scores t {_OF_CALL} where t.value is not null",
    ),
    "feedback": (
        "t.call_id || ' ' || t.name || ' ' || t.told_at", "t.told_at",
        f"select t.*, c.trace_id from feedback t {_OF_CALL} where true",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Delivered:
    """How many rows of each table were taken by Langfuse now."""

    calls: int = 0
    spans: int = 0
    scores: int = 0
    feedback: int = 0

    def __str__(self) -> str:
        parts = [f"{getattr(self, name):,} {name}" for name in _SOURCES]
        return f"Sent to Langfuse: {', '.join(parts)}."


class Delivery:
    """From one log to one Langfuse. state: the file that says what was delivered. version_of: (prompt reference, digest) ->
    the number of that version in Langfuse, or None. clock: Unix seconds."""

    def __init__(
        self,
        log: CallLog,
        ingest: Ingest,
        state: Path,
        version_of: Callable[[str, str | None], int | None],
        clock: Callable[[], float],
    ) -> None:
        self._log, self._ingest, self._state, self._version_of, self._clock = log, ingest, state, version_of, clock

    def ship(self, *, days: float | None = None) -> Delivered:
        """Send what was not sent. days: of the last so many days everything, again; the first time, by default, of one day.

        Raises LangfuseError if it is not taken; what was, is remembered, and the next `ship` goes on from there.
        """
        self._state.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self._state}.lock"):
            state = self._read()
            first = self._clock() - 86_400.0 * (1.0 if days is None else days)
            counts = {}
            for table in _SOURCES:
                own = state.get(table)
                if own is None or days is not None:
                    since = first + _LATE if own is None else min(first + _LATE, own["since"])
                    own = state[table] = {"since": since, "sent": {}}
                counts[table] = 0
                for keys, rows in self._pending(table, own):
                    if table in ("calls", "spans"):
                        self._ingest.spans(self._span(table, row) for row in rows)
                    else:
                        self._ingest.scores(_score(table, row) for row in rows)
                    counts[table] += len(rows)
                    own["sent"] |= keys
                    own["since"] = max(own["since"], *keys.values())
                    own["sent"] = {key: at for key, at in own["sent"].items() if at >= own["since"] - _LATE}
                    write_json(self._state, state, indent=False)
            return Delivered(**counts)

    def _read(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = orjson.loads(self._state.read_bytes())
            return found
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise RunError(
                f"{self._state}, which says what Langfuse has, is damaged ({error}). Delete it, and send the last days again "
                "(--days): what is there already is not doubled."
            ) from None

    def _pending(self, table: str, own: dict[str, Any]) -> Iterator[tuple[dict[str, float], list[dict[str, Any]]]]:
        """Rows that were not sent, the earliest first, in parts: their keys with times, and themselves."""
        key, when, source = _SOURCES[table]
        since = own["since"] - _LATE
        index = self._log.sql(
            f"select {key} as k, {when} as w from ({source} and {when} >= ?) t order by w, k", [since]
        )
        waiting = [(k, float(w)) for k, w in zip(index["k"], index["w"], strict=True) if k not in own["sent"]]
        for start in range(0, len(waiting), _CHUNK):
            part = dict(waiting[start : start + _CHUNK])
            query = f"select * from ({source} and {when} between ? and ?) t where {key} in (select unnest(?))"
            yield part, to_records(self._log.sql(query, [min(part.values()), max(part.values()), list(part)]))

    def _span(self, table: str, row: dict[str, Any]) -> dict[str, Any]:
        tags = row.get("tags")
        tags = orjson.loads(tags) if isinstance(tags, str) else list(tags or ())
        tags += [f"{name}:{row[name]}" for name in ("feature", "arm") if row.get(name)]
        more: dict[str, Any] = {"langfuse.trace.tags": tags or None}
        if row.get("parent_id") is None:
            more["langfuse.trace.name"] = row.get("feature") or row.get("name") or row.get("model")
        if table == "calls":
            row |= {name: int(row[name]) for name in _WHOLE if row.get(name) is not None}
            ref = row.get("prompt_ref")
            version = self._version_of(ref, row.get("prompt_digest")) if ref else None
            if row.get("kind") == "embedding":
                more["langfuse.observation.type"] = "embedding"
            return generation(row, parent=row.get("parent_id"), version=version, more=more)
        more |= {
            "langfuse.observation.type": _KINDS.get(row["kind"], "span"), "langfuse.observation.input": row["input"],
            "langfuse.observation.output": row["output"] if row["output"] is not None else row["documents"],
            "langfuse.observation.metadata.attributes": row["attributes"], "user.id": row["user"], "session.id": row["session"],
        }  # fmt: skip
        times = (row["started_at"], row["ended_at"])
        return span(row["span_id"], row["trace_id"], row["name"], times, more, parent=row["parent_id"], error=row["error"],
                    message=row["error_message"])  # fmt: skip


def _score(table: str, row: dict[str, Any]) -> dict[str, Any]:
    """A later score takes the place of an earlier one of the same scorer; every feedback counts."""
    scored = table == "scores"
    name = row["scorer"] if scored else row["name"]
    own = (row["call_id"], name) if scored else (row["call_id"], name, repr(row["told_at"]))
    found = {
        "id": langfuse_id(table, *own), "name": name, "value": float(row["value"]), "dataType": "NUMERIC",
        "traceId": trace_of(row), "observationId": langfuse_id("generation", row["call_id"], digits=16),
        "timestamp": timestamp((row.get("called_at") or row["scored_at"]) if scored else row["told_at"]),
    }  # fmt: skip
    comment = row["explanation"] if scored else row["comment"]
    return found | ({"comment": comment[:2000]} if comment else {})
