"""One call to a model: retry what is worth it, price it, and make the row that everything else is a view of."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from workbench import pricing
from workbench.errors import CallError, CallTimeoutError, StoppedError
from workbench.records import Call, Chunk, Completion, Health, ModelInfo, Request, split_model
from workbench.serving import Runtime, open_runtime

if TYPE_CHECKING:
    from workbench.calls import CallLog
    from workbench.settings import Settings

__all__ = ["Client", "Outcome", "stopped"]

RETRIES = 3
_LONGEST_WAIT = 60.0


_TOKEN = uuid.uuid4().hex[:16]
_numbers = itertools.count(1)


def _call_id() -> str:
    """Unique without asking the system each time: this interpreter, this process (after a fork), this call."""
    return f"{_TOKEN}-{os.getpid():x}-{next(_numbers):x}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one call ended: a completion or the error, after `attempts` tries.

    latency: seconds of the try that counts, None where there was no answer. cost: dollars, None if unknown.
    """

    completion: Completion | None
    error: CallError | None
    attempts: int
    cost: float | None

    def row(
        self, request: Request, info: ModelInfo | None = None, *, params: Mapping[str, Any] | None = None, **fields: Any
    ) -> Call:
        """This call as a row of the log; `fields` are those of `records.Call` that only the caller knows.

        params: the request's, where the caller has them as a mapping already.
        """
        completion, error = self.completion, self.error
        params = request.params.to_mapping() if params is None else params
        if completion is None:
            message = " ".join(str(error).split())[:2000]
            return Call(
                call_id=_call_id(), ended_at=time.time(), model=request.model, kind=request.kind,
                params=params, model_digest=info.digest if info else None,
                server_version=info.server_version if info else None, request=request.text(),
                error=type(error).__name__, error_message=message, attempts=self.attempts, **fields,
            )  # fmt: skip
        usage, timing = completion.usage, completion.timing
        return Call(
            call_id=_call_id(), ended_at=timing.started_at + timing.total, model=request.model, kind=request.kind,
            params=params, model_digest=info.digest if info else None,
            server_version=info.server_version if info else None, request=request.text(), text=completion.text,
            finish_reason=completion.finish_reason, prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens, cached_tokens=usage.cached_tokens,
            reasoning_tokens=usage.reasoning_tokens, latency=timing.total, queued=timing.queued,
            first_token=timing.first_token, cost=self.cost, spent=self.cost, source=completion.source,
            attempts=self.attempts, **fields,
        )  # fmt: skip


def stopped() -> Outcome:
    """The outcome of a call that was cancelled before its answer."""
    return Outcome(
        None, StoppedError("the call was stopped before its answer came: interrupted or cancelled."), 1, None
    )


class Client:
    """Sends requests to whatever endpoint their model names.

    runtimes: ready-made runtimes by endpoint name, such as {"scripted": Scripted(...)}; others are opened from the settings.
    clock, sleep, rng: for tests.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        log: CallLog | None = None,
        runtimes: Mapping[str, Runtime] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self.settings = settings
        self._log = log
        self._runtimes: dict[str, Runtime] = dict(runtimes or {})
        self._sleep = sleep
        self._rng = rng or random.Random()  # noqa: S311  (jitter)

    def runtime(self, model: str) -> Runtime:
        """The runtime that serves `endpoint/model`, opened on first use."""
        endpoint, _ = split_model(model)
        found = self._runtimes.get(endpoint)
        if found is None:
            found = self._runtimes[endpoint] = open_runtime(self.settings.endpoint(endpoint), self.settings)
        return found

    async def describe(self, model: str) -> ModelInfo:
        """Digest, context length and server version of a model; raises CallError if it is not there."""
        endpoint, name = split_model(model)
        info = await self.runtime(model).describe(name)
        if info.digest is not None or info.origin:
            return info
        settings = self.settings.endpoints.get(endpoint)
        parts = (self.runtime(model).kind, *(settings.urls if settings else ()), info.server_version or "")
        return replace(info, origin=" ".join(parts))

    async def health(self, endpoint: str) -> Health:
        """Does this endpoint answer?"""
        return await self.runtime(f"{endpoint}/-").health()

    async def call(self, request: Request, *, retries: int = RETRIES) -> Outcome:
        """Send once, and again (at most `retries` times, with jittered backoff or the server's Retry-After) if the error is
        one that passes. Never raises a CallError: the outcome holds it. Nothing is logged here.
        """
        runtime = self.runtime(request.model)
        attempt = 1
        while True:
            try:
                completion = await runtime.complete(request)
            except CallError as error:
                # a deadline that passed has cost all of its time: once more, not three times
                most = min(retries, 1) if isinstance(error, CallTimeoutError) else retries
                if not error.retryable or attempt > most:
                    return Outcome(None, error, attempt, None)
                await self._sleep(self._wait(attempt, error.retry_after))
                attempt += 1
            else:
                return Outcome(completion, None, attempt, self.cost(request.model, completion))

    async def complete(self, request: Request, *, retries: int = RETRIES, **fields: Any) -> Completion:
        """Send, log one row, and return the answer or raise the CallError. `fields`: see `records.Call`."""
        try:
            outcome = await self.call(request, retries=retries)
        except asyncio.CancelledError:
            self._write(stopped().row(request, **fields))
            raise
        self._write(outcome.row(request, **fields))
        if outcome.error is not None:
            raise outcome.error
        assert outcome.completion is not None  # noqa: S101  (for the type checker)
        return outcome.completion

    async def stream(self, request: Request, **fields: Any) -> AsyncIterator[Chunk]:
        """Pieces of text as they come; the last one carries the Completion. Logged once; a stream is not tried again."""
        outcome: Outcome | None = None
        try:
            async with aclosing(self.runtime(request.model).stream(request)) as chunks:
                async for chunk in chunks:
                    if chunk.completion is not None:
                        outcome = Outcome(chunk.completion, None, 1, self.cost(request.model, chunk.completion))
                    yield chunk
        except CallError as error:
            outcome = Outcome(None, error, 1, None)
            raise
        finally:
            self._write((outcome or stopped()).row(request, **fields))

    def cost(self, model: str, completion: Completion) -> float | None:
        """Dollars that making this answer cost, None if unknown."""
        endpoint, name = split_model(model)
        found = self.settings.endpoints.get(endpoint)
        return pricing.call_cost(found, name, completion.usage) if found else None

    async def aclose(self) -> None:
        """Close connections and unload embedded models."""
        for runtime in self._runtimes.values():
            await runtime.aclose()
        if self._log is not None:
            self._log.close()

    def _write(self, row: Call) -> None:
        if self._log is not None:
            self._log.append(row)

    def _wait(self, attempt: int, retry_after: float | None) -> float:
        backoff = min(0.25 * 2.0**attempt, _LONGEST_WAIT) * self._rng.uniform(0.5, 1.0)
        return max(backoff, min(retry_after or 0.0, _LONGEST_WAIT))
