"""One trace: its spans and calls as a tree, with when each began, how long it took, what it cost and how it failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from workbench import tables
from workbench.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Trace", "read_trace"]

_BAR = 24  # letters of the column that shows when a step ran
_STEPS = """
    select span_id as id, parent_id, name, kind, started_at as began, ended_at - started_at as seconds, null as model,
        null as prompt_tokens, null as completion_tokens, null as spent, null as source, error from spans where trace_id = $id
    union all by name
    select call_id as id, parent_id, coalesce(role, prompt_ref, feature, 'call') as name, 'call' as kind,
        ended_at - case when source = 'model' then coalesce(latency, 0) else 0 end as began,
        case when source = 'model' then latency else 0 end as seconds,
        model, prompt_tokens, completion_tokens, spent, source, error
    from calls where trace_id = $id or call_id = $id
    order by began, kind desc"""
_TRACE_OF = "select trace_id from calls where call_id = $id and trace_id is not null"
_LATEST = "select trace_id from spans order by started_at desc limit 1"


class _Log(Protocol):
    """What answers a query over the tables `calls` and `spans`."""

    def sql(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ...) -> pd.DataFrame:
        """The answer."""


@dataclass(frozen=True)
class Trace:
    """frame: one row a step, each behind the one that it belongs to. Columns: depth, id (of the span or the call), name, kind,
    began (Unix seconds), seconds, model, prompt_tokens, completion_tokens, spent (dollars), source, error."""

    trace_id: str
    frame: pd.DataFrame

    @property
    def seconds(self) -> float:
        """From the first step's begin to the last one's end."""
        return float((self.frame["began"] + self.frame["seconds"].fillna(0)).max() - self.frame["began"].min())

    def table(self) -> pd.DataFrame:
        """As people read it."""
        import pandas as pd

        first, whole = self.frame["began"].min(), self.seconds
        return pd.DataFrame(
            [
                {
                    "step": "  " * row["depth"] + ("└ " if row["depth"] else "") + str(row["name"]), "kind": row["kind"],
                    "after": tables.format_seconds(row["began"] - first), "took": tables.format_seconds(row["seconds"]),
                    "when": _bar(row["began"] - first, row["seconds"], whole), "model": row["model"] or "",
                    "tokens": _tokens(row), "spent": "" if row["kind"] != "call" else tables.format_money(row["spent"]),
                    "": row["error"] or ("" if row["source"] in (None, "model") else f"from the {row['source']} cache"),
                }
                for row in tables.to_records(self.frame)
            ]
        )  # fmt: skip

    @property
    def summary(self) -> str:
        """In one line."""
        calls = self.frame[self.frame["kind"] == "call"]
        failed = int(self.frame["error"].notna().sum())
        spent = tables.format_money(float(calls["spent"].sum()) if calls["spent"].notna().all() else None)
        said = f"{tables.format_count(len(self.frame), 'step')}, {tables.format_count(len(calls), 'call')}, "
        return f"Trace {self.trace_id}: {said}{tables.format_seconds(self.seconds)}, spent {spent}, {failed} failed"

    def __str__(self) -> str:
        return f"{self.summary}\n{tables.to_text(self.table())}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return tables.to_html(self.table(), caption=self.summary)


def read_trace(log: _Log, wanted: str | None = None) -> Trace:
    """See `CallLog.trace`."""
    if wanted is None:
        latest = log.sql(_LATEST)["trace_id"].tolist()
        if not latest:
            raise InputError(
                "the call log has no span yet. `workbench.span` and `bench.span` make them, around the steps of a pipeline."
            )
        trace_id = wanted = str(latest[0])
    else:
        of_call = log.sql(_TRACE_OF, {"id": wanted})["trace_id"].tolist()
        trace_id = str(of_call[0]) if of_call else wanted
    found = log.sql(_STEPS, {"id": trace_id})
    if not len(found):
        raise InputError(
            f"the call log has no trace and no call {wanted!r}. The table `spans` has the traces' ids: "
            f"{_LATEST.replace(' 1', ' 10')}"
        )
    return Trace(trace_id, _tree(found))


def _tree(found: pd.DataFrame) -> pd.DataFrame:
    """The steps in the order of a tree, with their depth. What names a parent that is not here is one of the first."""
    rows = tables.to_records(found)
    there = {row["id"] for row in rows}
    below: dict[Any, list[int]] = {}
    for at, row in enumerate(rows):
        parent = row["parent_id"] if row["parent_id"] in there and row["parent_id"] != row["id"] else None
        below.setdefault(parent, []).append(at)
    order: list[int] = []
    depths: dict[int, int] = {}
    waiting = [(at, 0) for at in reversed(below.get(None, []))]
    while waiting:
        at, depth = waiting.pop()
        order.append(at)
        depths[at] = depth
        waiting += [(child, depth + 1) for child in reversed(below.get(rows[at]["id"], []))]
    order += [at for at in range(len(rows)) if at not in depths]  # parents in a circle
    made = found.iloc[order].reset_index(drop=True).drop(columns=["parent_id"])
    made.insert(0, "depth", [depths.get(at, 0) for at in order])
    return made


def _bar(after: float, seconds: float | None, whole: float) -> str:
    if not whole:
        return "█" * _BAR
    first = min(_BAR - 1, int(after / whole * _BAR))
    length = max(1, min(_BAR - first, round((seconds or 0.0) / whole * _BAR)))
    return "·" * first + "█" * length + "·" * (_BAR - first - length)


def _tokens(row: Mapping[Any, Any]) -> str:
    if row["kind"] != "call" or row["prompt_tokens"] is None:
        return ""
    return f"{row['prompt_tokens']:,.0f} in, {row['completion_tokens'] or 0:,.0f} out"
