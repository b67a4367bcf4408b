"""The kinds of rows beside calls, and what each is as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from workbench.records import Call, Feedback

__all__ = ["COMPARED", "TABLES", "CallScore", "Row", "Span", "Table"]


@dataclass(frozen=True, slots=True)
class Span:
    """One step of a pipeline: a row beside the call log.

    span_id, trace_id: 16 and 32 hex digits, as in OpenTelemetry; parent_id: the span it was made in, None for a trace's first.
    kind: see `calls.spans.KINDS`. started_at, ended_at: Unix seconds. input, output: texts that the pipeline's author kept.
    documents: of a retrieval, the texts found. attributes: by the GenAI conventions of OpenTelemetry where they have a name.
    error: class name, None if it worked.
    """

    span_id: str
    trace_id: str
    ended_at: float
    name: str
    kind: str
    started_at: float
    parent_id: str | None = None
    error: str | None = None
    error_message: str | None = None
    input: str | None = None
    output: str | None = None
    documents: Sequence[str] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    feature: str | None = None
    tenant: str | None = None
    user: str | None = None
    session: str | None = None
    tags: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class CallScore:
    """What a scorer found of a logged call, later: one row beside the call log.

    scored_at: Unix seconds. scorer, scorer_digest: its name, and SHA-256 of what determines its scores. value None means
    unscored, with the reason in `explanation`. called_at: when the call ended. spent: dollars of a judge's calls, None if
    unknown.
    """

    call_id: str
    scorer: str
    scorer_digest: str
    scored_at: float
    value: float | None
    explanation: str = ""
    called_at: float | None = None
    model: str | None = None
    prompt_ref: str | None = None
    feature: str | None = None
    release: int | None = None
    experiment: str | None = None
    arm: str | None = None
    user: str | None = None
    tenant: str | None = None
    spent: float | None = None


Row = Call | Feedback | Span | CallScore

_TYPES = {
    "str": "VARCHAR",
    "float": "DOUBLE",
    "int": "BIGINT",
    "bool": "BOOLEAN",
    "Mapping": "JSON",
    "Sequence": "JSON",
}


class Table(NamedTuple):
    """One kind of row. columns: DuckDB's type of each field. key: a column that every row has; what lacks it is a torn line.
    when: the column with the Unix seconds that days are made of. texts: columns that hold what people or models wrote.
    folder: below the log's own, "" for that itself. derived: columns that are reckoned from others, by their SQL."""

    name: str
    columns: Mapping[str, str]
    key: str
    when: str
    texts: tuple[str, ...]
    folder: str
    derived: Mapping[str, str]

    def __hash__(self) -> int:
        return hash(self.name)


def _table(
    name: str,
    record: type[Any],
    key: str,
    when: str,
    texts: tuple[str, ...],
    folder: str,
    derived: Mapping[str, str] | None = None,
) -> Table:
    columns = {item.name: _TYPES[str(item.type).split("[")[0].split(" ")[0]] for item in fields(record)}
    return Table(name, columns, key, when, texts, folder, derived or {})


TABLES: dict[type[Any], Table] = {
    Call: _table(
        "calls", Call, "call_id", "ended_at", ("request", "text", "context", "error_message", "explanations", "tool_calls"), "",
        {"endpoint": "split_part(model, '/', 1)"},
    ),
    Feedback: _table("feedback", Feedback, "call_id", "told_at", ("comment",), "feedback"),
    Span: _table("spans", Span, "span_id", "ended_at", ("input", "output", "documents", "attributes", "error_message"), "spans"),
    CallScore: _table("scores", CallScore, "call_id", "scored_at", ("explanation",), "scores"),
}  # fmt: skip
COMPARED = TABLES[Call]._replace(name="compared")
"""The calls of comparisons alone, which are in their runs' folders only: what is asked of them opens no other file of the log."""
