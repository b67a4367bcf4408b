"""How one call ended, and the row that everything else is a view of."""

from __future__ import annotations

import itertools
import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.calls.spans import in_trace
from workbench.calls.tool_failures import count_tool_failures
from workbench.errors import CallError, StoppedError
from workbench.records import Call, Completion, ModelInfo, Request

__all__ = ["Outcome", "new_call_id", "stopped"]

_TOKEN = uuid.uuid4().hex[:16]
_numbers = itertools.count(1)


def new_call_id() -> str:
    """Unique without asking the system each time: this interpreter, this process (after a fork), this call."""
    return f"{_TOKEN}-{os.getpid():x}-{next(_numbers):x}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one call ended: a completion or the error, after `attempts` tries.

    latency: seconds of the try that counts, None where there was no answer. cost: dollars, None if unknown.
    in_flight: calls of this process to the endpoint when it was last sent, itself counted; None where nobody counts.
    """

    completion: Completion | None
    error: CallError | None
    cost: float | None = None
    attempts: int = 1
    in_flight: int | None = None

    def row(
        self,
        request: Request,
        info: ModelInfo | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        call_id: str | None = None,
        **fields: Any,
    ) -> Call:
        """This call as a row of the log; `fields` are those of `records.Call` that only the caller knows.

        params: the request's, where the caller has them as a mapping already. call_id: a new one by default. The trace is the
        current one, unless `fields` hold a `parent_id`.
        """
        completion, error, call_id = self.completion, self.error, call_id or new_call_id()
        params = request.params.to_mapping() if params is None else params
        if "parent_id" not in fields:
            fields = in_trace() | fields
        if info is not None:
            fields = {"model_digest": info.digest, "server_version": info.server_version} | fields
        if completion is None:
            message = " ".join(str(error).split())[:2000]
            return Call(
                call_id=call_id, ended_at=time.time(), model=request.model, kind=request.kind,
                params=params, request=request.text(),
                error=type(error).__name__, error_message=message, attempts=self.attempts, **fields,
            )  # fmt: skip
        usage, timing = completion.usage, completion.timing
        cached = completion.source != "model"  # then all that was measured is of the day when the answer was made
        return Call(
            call_id=call_id, ended_at=time.time() if cached else timing.started_at + timing.total,
            model=request.model, kind=request.kind,
            params=params, request=request.text(), text=completion.text,
            finish_reason=completion.finish_reason, prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens, cached_tokens=usage.cached_tokens,
            reasoning_tokens=usage.reasoning_tokens, latency=timing.total, queued=timing.queued,
            first_token=timing.first_token, loading=timing.loading, truncated=completion.truncated,
            cost=self.cost, spent=0.0 if cached else self.cost, source=completion.source,
            attempts=self.attempts, tool_calls=completion.tool_calls,
            tool_failures=count_tool_failures(completion.tool_calls, request.params.tools), **fields,
        )  # fmt: skip


def stopped() -> Outcome:
    """The outcome of a call that was cancelled before its answer."""
    return Outcome(None, StoppedError("the call was stopped before its answer came: interrupted or cancelled."))
