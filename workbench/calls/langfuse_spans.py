"""A call as Langfuse's generation, in OTLP's JSON form. Ids follow from the call's id: sending it again makes no second one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from workbench.stores.langfuse_ingest import langfuse_id, timestamp

__all__ = ["generation", "span", "span_times", "trace_of"]

_LONGEST = 100_000  # characters of one text
_LARGEST = 600_000  # bytes of one span: a body over 1 MB is refused, and one that is refused for ever would hold up all after it


def trace_of(row: Mapping[str, Any]) -> str:
    """The trace of a call: the one that it was made in, else one of its own."""
    return row.get("trace_id") or langfuse_id("trace", row["call_id"])


def span_times(row: Mapping[str, Any]) -> tuple[float, float]:
    """When a call began and ended, in Unix seconds. What a cache answered took no time now."""
    took = row.get("latency") or 0.0
    return row["ended_at"] - (took if row.get("source", "model") == "model" else 0.0), row["ended_at"]


def generation(
    row: Mapping[str, Any], *, parent: str | None, version: int | None, more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A row of the call log (`records.Call`) as a generation. parent: the span above it. version: of its prompt in Langfuse, None
    where it is not there. more: attributes besides."""
    began, ended = span_times(row)
    first = row.get("first_token") if row.get("source", "model") == "model" else None
    attributes: dict[str, Any] = {
        "langfuse.observation.type": "generation",
        "langfuse.observation.model.name": row["model"].partition("/")[2] or row["model"],
        "langfuse.observation.model.parameters": _params(row.get("params")),
        "langfuse.observation.usage_details": _usage(row),
        "langfuse.observation.cost_details": None if row.get("spent") is None else {"total": row["spent"]},
        "langfuse.observation.input": row.get("request"),
        "langfuse.observation.output": row.get("text"),
        "langfuse.observation.completion_start_time": None if first is None else f'"{timestamp(began + first)}"',
        "user.id": row.get("user"),
        "session.id": row.get("session"),
    }  # fmt: skip
    if version is not None:
        attributes["langfuse.observation.prompt.name"] = str(row["prompt_ref"]).partition("@")[0]
        attributes["langfuse.observation.prompt.version"] = version
    for name in ("call_id", "prompt_ref", "prompt_digest", "model_digest", "source", "finish_reason", "feature", "tenant",
                 "release", "experiment", "arm", "fallback", "attempts", "variant", "run_id"):  # fmt: skip
        if row.get(name) is not None:
            attributes[f"langfuse.observation.metadata.{name}"] = row[name]
    own = langfuse_id("generation", row["call_id"], digits=16)
    return span(
        own, trace_of(row), row["model"], (began, ended), attributes | dict(more or {}), parent=parent, error=row.get("error"),
        message=row.get("error_message"),
    )  # fmt: skip


def span(
    own: str,
    trace: str,
    name: str,
    times: tuple[float, float],
    attributes: Mapping[str, Any],
    *,
    parent: str | None = None,
    error: str | None = None,
    message: str | None = None,
) -> dict[str, Any]:
    """One span. times: Unix seconds. attributes: texts, numbers, lists of texts; anything else goes as JSON; None is left out.
    Long texts are cut, the more so the more of them there are."""
    found = dict(attributes)
    if error is not None:
        found["langfuse.observation.level"] = "ERROR"
        found["langfuse.observation.status_message"] = f"{error}: {message}" if message else error
    made: dict[str, Any] = {
        "traceId": trace, "spanId": own, "name": name, "kind": 1,
        "startTimeUnixNano": str(int(times[0] * 1e9)), "endTimeUnixNano": str(int(times[1] * 1e9)),
        "status": {} if error is None else {"code": 2, "message": error},
    }  # fmt: skip
    made |= {} if parent is None else {"parentSpanId": parent}
    longest = _LONGEST
    while True:
        made["attributes"] = [
            {"key": key, "value": _value(value, longest)} for key, value in found.items() if value is not None
        ]
        if len(orjson.dumps(made)) <= _LARGEST or longest < 1000:
            return made
        longest //= 2


def _usage(row: Mapping[str, Any]) -> dict[str, int] | None:
    """Langfuse adds its kinds up, so those that are part of another are taken out of it."""
    asked, answered = row.get("prompt_tokens"), row.get("completion_tokens")
    if asked is None and answered is None:
        return None
    cached, reasoned = row.get("cached_tokens") or 0, row.get("reasoning_tokens") or 0
    found = {"input": max(0, (asked or 0) - cached), "output": max(0, (answered or 0) - reasoned)}
    found |= {"input_cached_tokens": cached} if cached else {}
    found |= {"output_reasoning_tokens": reasoned} if reasoned else {}
    return found | {"total": (asked or 0) + (answered or 0)}


def _params(params: Any) -> Any:
    if isinstance(params, str):
        return orjson.loads(params) or None
    return dict(params) if params else None


def _value(value: Any, longest: int) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return {"arrayValue": {"values": [{"stringValue": item} for item in value]}}
    return {"stringValue": _cut(value if isinstance(value, str) else orjson.dumps(value).decode(), longest)}


def _cut(text: str, longest: int) -> str:
    return (
        text
        if len(text) <= longest
        else f"{text[:longest]}… ({len(text) - longest:,} more characters are in the call log)"
    )
