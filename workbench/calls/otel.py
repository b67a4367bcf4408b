"""Spans and calls to OpenTelemetry, where the application has set a provider up; else all of this is nothing.

Ids are OpenTelemetry's then, so that the log and the trace join. Texts are sent only with
OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true, as its conventions say.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.calls.rows import Span
    from workbench.records import Call

__all__ = ["around", "attach", "attributes_of", "detach", "export_call", "finish", "ids", "start"]

_OPERATIONS = {"chat": "chat", "completion": "text_completion", "embedding": "embeddings"}
_PARAMS = {
    "temperature": "gen_ai.request.temperature", "top_p": "gen_ai.request.top_p", "max_tokens": "gen_ai.request.max_tokens",
    "seed": "gen_ai.request.seed", "stop": "gen_ai.request.stop_sequences",
}  # fmt: skip
_USAGE = {
    "prompt_tokens": "gen_ai.usage.input_tokens", "completion_tokens": "gen_ai.usage.output_tokens",
    "cached_tokens": "gen_ai.usage.cache_read.input_tokens", "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
}  # fmt: skip
_OWN = (
    "call_id", "feature", "tenant", "release", "experiment", "arm", "prompt_digest", "model_digest", "variant", "source", "cost",
    "spent", "attempts", "tool_failures", "role", "run_id", "fallback",
)  # fmt: skip


def _tracer() -> Any:
    """None where nobody has set a provider up. Costs a look into a dict where OpenTelemetry is not even imported."""
    api = sys.modules.get("opentelemetry.trace")
    if api is None or "opentelemetry.sdk.trace" not in sys.modules:
        return None
    provider = api.get_tracer_provider()
    return None if isinstance(provider, api.ProxyTracerProvider) else provider.get_tracer("workbench")


def start(name: str) -> Any:
    """Begin a span under the current one; None without a provider."""
    tracer = _tracer()
    return None if tracer is None else tracer.start_span(name)


def ids(span: Any) -> tuple[str, str] | None:
    """(trace id, span id) in hex."""
    context = None if span is None else span.get_span_context()
    if context is None or not context.is_valid:
        return None
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def around() -> tuple[str, str] | None:
    """The ids of OpenTelemetry's own current span."""
    api = sys.modules.get("opentelemetry.trace")
    return None if api is None else ids(api.get_current_span())


def attach(span: Any) -> Any:
    """Make it OpenTelemetry's current span; the token is for `detach`."""
    if span is None:
        return None
    from opentelemetry import context, trace

    return context.attach(trace.set_span_in_context(span))


def detach(token: Any) -> None:
    """Undo `attach`."""
    if token is not None:
        with suppress(
            ValueError
        ):  # a generator that is closed from elsewhere; OpenTelemetry's own `detach` would log it
            token.var.reset(token)


def finish(span: Any, row: Span) -> None:
    """End a span with what is known of it."""
    if span is None:
        return
    attributes: dict[str, Any] = dict(row.attributes)
    for name in ("feature", "tenant"):
        if getattr(row, name):
            attributes[f"workbench.{name}"] = getattr(row, name)
    if row.user:
        attributes["user.id"] = row.user
    if row.tags:
        attributes["workbench.tags"] = list(row.tags)
    if row.documents is not None:
        attributes["workbench.documents"] = len(row.documents)
    if _texts_too():
        texts = {"workbench.input": row.input, "workbench.output": row.output}
        attributes.update({name: text for name, text in texts.items() if text is not None})
        if row.documents is not None:
            attributes["gen_ai.retrieval.documents"] = json.dumps([{"content": text} for text in row.documents])
    _end(span, attributes, row.error, row.error_message, row.ended_at)


def export_call(call: Call) -> None:
    """One span for a call that has ended."""
    tracer = _tracer()
    if tracer is None:
        return
    from opentelemetry import context, trace

    parent = context.get_current()
    if call.trace_id and call.parent_id:  # also where an answer's last piece is read elsewhere
        flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
        above = trace.SpanContext(int(call.trace_id, 16), int(call.parent_id, 16), is_remote=False, trace_flags=flags)
        current = trace.get_current_span().get_span_context()
        if current.span_id != above.span_id:
            parent = trace.set_span_in_context(trace.NonRecordingSpan(above))
    attributes = attributes_of(call)
    began = call.ended_at - (call.latency or 0.0) if call.source == "model" else call.ended_at
    name = f"{attributes['gen_ai.operation.name']} {attributes['gen_ai.request.model']}"
    span = tracer.start_span(name, parent, kind=trace.SpanKind.CLIENT, start_time=int(began * 1e9))
    if _texts_too():
        attributes["gen_ai.input.messages"] = call.request
        attributes["gen_ai.output.messages"] = call.text
    _end(span, attributes, call.error, call.error_message, call.ended_at)


def attributes_of(call: Call) -> dict[str, Any]:
    """A call in the names of OpenTelemetry's GenAI conventions; what they have no name for is under `workbench.`. No texts."""
    endpoint, _, model = call.model.partition("/")
    found: dict[str, Any] = {
        "gen_ai.operation.name": _OPERATIONS.get(call.kind, call.kind), "gen_ai.provider.name": endpoint,
        "gen_ai.request.model": model, "gen_ai.prompt.name": call.prompt_ref, "gen_ai.conversation.id": call.session,
        "user.id": call.user,
    }  # fmt: skip
    found |= {name: call.params.get(param) for param, name in _PARAMS.items()}
    found |= {name: getattr(call, field) for field, name in _USAGE.items()}
    if call.finish_reason:
        found["gen_ai.response.finish_reasons"] = [call.finish_reason]
    if call.first_token is not None:
        found["gen_ai.response.time_to_first_chunk"] = call.first_token
    found |= {f"workbench.{name}": getattr(call, name) for name in _OWN}
    return {name: value for name, value in found.items() if value is not None}


def _end(span: Any, attributes: Mapping[str, Any], error: str | None, message: str | None, at: float) -> None:
    plain = (str, bool, int, float)
    for name, value in attributes.items():
        if value is not None:
            listed = isinstance(value, (list, tuple)) and all(isinstance(item, plain) for item in value)
            span.set_attribute(name, value if isinstance(value, plain) or listed else json.dumps(value, default=str))
    if error is not None:
        from opentelemetry.trace import Status, StatusCode

        span.set_attribute("error.type", error)
        span.set_status(Status(StatusCode.ERROR, message or error))
    span.end(end_time=int(at * 1e9))


def _texts_too() -> bool:
    return os.environ.get("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "").lower() in (
        "true",
        "1",
        "span_only",
    )
