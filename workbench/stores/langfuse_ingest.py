"""Send spans and scores to Langfuse, in batches that it takes, on both generations of its server.

Every id is the sender's own, so sending again changes nothing. Accepted means queued: it shows within half a minute.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from workbench.errors import LangfuseError
from workbench.stores.langfuse import Langfuse

__all__ = ["Ingest", "langfuse_id", "timestamp"]

_BYTES = 700_000  # the server refuses bodies over 1 MB
_SCORES = 100
_AT_ONCE = 8
_VERSION = {"x-langfuse-ingestion-version": "4"}  # without it spans show ten minutes later


class _Exchange(Protocol):
    def __call__(self, call: Any, what: str) -> Any: ...


def langfuse_id(kind: str, *parts: str, digits: int = 32) -> str:
    """An id in hex that follows from what it names. digits: 32 of a trace, 16 of a span."""
    return hashlib.sha256("\n".join((kind, *parts)).encode()).hexdigest()[:digits]


class Ingest:
    """Sends to one Langfuse. exchange: `langfuse.insist` for what somebody asked for, `langfuse.ask` in the background."""

    def __init__(self, langfuse: Langfuse, exchange: _Exchange | None = None) -> None:
        self.langfuse = langfuse
        self._exchange = exchange or langfuse.insist
        self._lists = True  # servers after 4.16 take scores as lists

    def spans(self, spans: Iterable[Mapping[str, Any]]) -> int:
        """Send spans in OTLP's JSON form (see `calls.langfuse_spans`); how many. LangfuseError if a batch is not taken."""
        sent = 0
        for batch in _batches(spans):
            scope = {"scope": {"name": "langfuse-sdk", "attributes": [_text("public_key", self.langfuse.public_key)]}}
            resource = {"attributes": [_text("service.name", "llm-workbench")]}
            body = [{"resource": resource, "scopeSpans": [scope | {"spans": batch}]}]

            def call(api: Any, options: Any, body: Any = body) -> Any:
                more = options | {"additional_headers": _VERSION}
                return api.opentelemetry.export_traces(resource_spans=body, request_options=more)

            answer = self._exchange(call, f"{len(batch)} spans")
            refused = ((answer.model_extra or {}).get("partialSuccess") or {}).get("rejectedSpans")
            if refused and int(refused):
                raise LangfuseError(
                    f"Langfuse at {self.langfuse.address} refused {refused} of {len(batch)} spans.", status=200
                )
            sent += len(batch)
        return sent

    def scores(self, scores: Iterable[Mapping[str, Any]]) -> int:
        """Send scores in the form of its API, each with an id; how many. LangfuseError if any is not taken."""
        batch: list[Mapping[str, Any]] = []
        sent = 0
        for score in scores:
            batch.append(score)
            if len(batch) == _SCORES:
                sent += self._some_scores(batch)
                batch = []
        return sent + self._some_scores(batch)

    def _some_scores(self, batch: list[Mapping[str, Any]]) -> int:
        if not batch:
            return 0
        if self._lists:
            try:
                self._score(batch, f"{len(batch)} scores")
                return len(batch)
            except LangfuseError as error:
                if error.status != 400 or "expected object" not in str(error):
                    raise
                self._lists = False  # 4.16 takes one at a time
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda score: self._score(score, f"score {score['name']}"), batch))
        return len(batch)

    def _score(self, body: Any, what: str) -> None:
        answer = self._exchange(lambda api, options: api.scores.create(request=body, request_options=options), what)
        rejected = getattr(answer, "rejected", 0)
        if rejected:
            why = "; ".join(dict.fromkeys(error.message for error in answer.errors))
            raise LangfuseError(
                f"{what}: Langfuse at {self.langfuse.address} rejected {rejected} of them: {why[:300]}.", status=207
            )


def _batches(spans: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    batch: list[Mapping[str, Any]] = []
    size = 0
    for span in spans:
        length = len(orjson.dumps(span))
        if batch and size + length > _BYTES:
            yield batch
            batch, size = [], 0
        batch.append(span)
        size += length
    if batch:
        yield batch


def timestamp(at: float) -> str:
    """Unix seconds as Langfuse writes an instant."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}
