"""One call to a model: retry what is worth it, price it, and make the row that everything else is a view of."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from workbench import pricing
from workbench.cache.cache import scope_name
from workbench.cache.key import cache_key, cacheable, endpoint_identity
from workbench.errors import BadRequestError, CallError, InputError, StoppedError
from workbench.records import (
    Call,
    Chunk,
    Completion,
    Embeddings,
    Health,
    ModelInfo,
    Request,
    ServerMetrics,
    split_model,
)
from workbench.serving import Embedder, Limiter, Metered, Runtime, Tries, limiter_for, open_runtime
from workbench.serving.connection import Connection

if TYPE_CHECKING:
    from workbench.cache import Cache
    from workbench.cache.lookup import Meaning, Place
    from workbench.cache.turn import Turn
    from workbench.calls import CallLog
    from workbench.settings import Settings

__all__ = ["RETRIES", "Client", "Outcome", "Sink", "new_call_id", "stopped"]

Sink = Callable[[Call], None]

RETRIES = 3
_CHARS_PER_TOKEN = 4  # to take from a budget before the server has counted
_USUAL_ANSWER = 256
_KNOWN_FOR = 60.0  # seconds for which a model's digest is believed

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

        params: the request's, where the caller has them as a mapping already. call_id: a new one by default.
        """
        completion, error, call_id = self.completion, self.error, call_id or new_call_id()
        params = request.params.to_mapping() if params is None else params
        if completion is None:
            message = " ".join(str(error).split())[:2000]
            return Call(
                call_id=call_id, ended_at=time.time(), model=request.model, kind=request.kind,
                params=params, model_digest=info.digest if info else None,
                server_version=info.server_version if info else None, request=request.text(),
                error=type(error).__name__, error_message=message, attempts=self.attempts, **fields,
            )  # fmt: skip
        usage, timing = completion.usage, completion.timing
        cached = completion.source != "model"  # then all that was measured is of the day when the answer was made
        return Call(
            call_id=call_id, ended_at=time.time() if cached else timing.started_at + timing.total,
            model=request.model, kind=request.kind,
            params=params, model_digest=info.digest if info else None,
            server_version=info.server_version if info else None, request=request.text(), text=completion.text,
            finish_reason=completion.finish_reason, prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens, cached_tokens=usage.cached_tokens,
            reasoning_tokens=usage.reasoning_tokens, latency=timing.total, queued=timing.queued,
            first_token=timing.first_token, loading=timing.loading, truncated=completion.truncated,
            cost=self.cost, spent=0.0 if cached else self.cost, source=completion.source,
            attempts=self.attempts, tool_calls=completion.tool_calls, **fields,
        )  # fmt: skip


def stopped() -> Outcome:
    """The outcome of a call that was cancelled before its answer."""
    return Outcome(None, StoppedError("the call was stopped before its answer came: interrupted or cancelled."))


class Client:
    """Sends requests to whatever endpoint their model names.

    runtimes: ready-made runtimes by endpoint name, such as {"scripted": Scripted(...)}; others are opened from the settings.
    sleep, clock (monotonic seconds), rng: for tests.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        log: CallLog | None = None,
        runtimes: Mapping[str, Runtime] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
        cache: Cache | None = None,
    ) -> None:
        self.settings = settings
        self._log = log
        self._cache = cache
        self._identities: dict[str, tuple[str, float]] = {}
        self._runtimes: dict[str, Runtime] = dict(runtimes or {})
        self._limiters: dict[str, Limiter | None] = {}
        self._sleep = sleep
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311  (jitter)
        self._limited = True

    def unlimited(self, log: CallLog) -> Client:
        """A client of the same runtimes without limits, that writes to another log: for load tests, which say themselves how
        many calls there are at once. The runtimes stay this client's to close."""
        other = Client(self.settings, log=log, sleep=self._sleep, clock=self._clock, rng=self._rng)
        other._runtimes, other._limited = self._runtimes, False
        return other

    @property
    def endpoints(self) -> frozenset[str]:
        """The names of all endpoints."""
        return frozenset(self._runtimes) | frozenset(self.settings.endpoints)

    def runtime(self, model: str) -> Runtime:
        """The runtime that serves `endpoint/model`, opened on first use."""
        endpoint, _ = split_model(model)
        found = self._runtimes.get(endpoint)
        if found is None:
            found = self._runtimes[endpoint] = open_runtime(self.settings.endpoint(endpoint), self.settings)
        return found

    def limiter(self, model: str) -> Limiter | None:
        """What bounds the calls at once to the endpoint of `endpoint/model`; None for what needs no bound."""
        name, _ = split_model(model)
        if not self._limited:
            return None
        if name not in self._limiters:
            found = self.settings.endpoints.get(name)
            self._limiters[name] = (
                limiter_for(found, clock=self._clock, sleep=self._sleep) if found is not None else None
            )
        return self._limiters[name]

    def concurrency(self, model: str) -> int:
        """Calls at once that this model's endpoint would get now."""
        limiter = self.limiter(model)
        most = self.runtime(model).concurrency
        return most if limiter is None else min(most, int(limiter.limit))

    async def describe(self, model: str) -> ModelInfo:
        """Digest, context length and server version of a model; raises CallError if it is not there."""
        endpoint, name = split_model(model)
        info = await self.runtime(model).describe(name)
        if info.digest is not None or info.origin:
            return info
        settings = self.settings.endpoints.get(endpoint)
        parts = (self.runtime(model).kind, *(settings.urls if settings else ()), info.server_version or "")
        return replace(info, origin=" ".join(parts))

    def lost(self, model: str) -> dict[str, int]:
        """Calls that each replica of this model's endpoint failed so far; empty where there are none."""
        connection = getattr(self.runtime(model), "connection", None)
        return connection.replicas.lost() if isinstance(connection, Connection) and len(connection.bases) > 1 else {}

    async def health(self, endpoint: str) -> Health:
        """Does this endpoint answer?"""
        return await self.runtime(f"{endpoint}/-").health()

    async def call(self, request: Request, *, retries: int = RETRIES, patience: float | None = None) -> Outcome:
        """Send once, and again (at most `retries` times, with jittered backoff or the server's Retry-After) if the error is
        one that passes. Never raises a CallError: the outcome holds it. Nothing is logged here.

        One try may take `request.timeout` seconds; all tries and the waits between them at most twice that, not counting the
        time that each try waits for its turn at the endpoint's limiter. patience: seconds for these waits; None: as long as it
        takes, which is for runs, that keep the queue full themselves.
        """
        runtime = self.runtime(request.model)
        tries = self._tries(request.model, request.timeout, retries, patience)
        while True:
            if (late := await tries.begin(_tokens(request))) is not None:
                return Outcome(None, late, None, tries.count, tries.in_flight)
            completion: Completion | None = None
            error: CallError | None = None
            try:
                completion = await runtime.complete(tries.within(request))
            except CallError as raised:
                error = raised
            finally:
                tries.end(completion or error, _more_tokens(request, completion))
            if completion is not None:
                return Outcome(*self._priced(tries.timed(completion)), tries.count, tries.in_flight)
            assert error is not None  # noqa: S101  (for the type checker)
            if not await tries.again(error):
                return Outcome(None, error, None, tries.count, tries.in_flight)

    async def complete(
        self,
        request: Request,
        *,
        retries: int = RETRIES,
        cached: bool | None = None,
        meaning: Meaning | None = None,
        sink: Sink | None = None,
        **fields: Any,
    ) -> Completion:
        """Send, log one row, and return the answer or raise the CallError. `fields`: see `records.Call`. As in `call`, but waits
        for its turns at most `request.timeout` seconds.

        cached: whether an equal request's answer (of the same `tenant` among the fields) may be served and this one kept; None
        does so for requests that ask for the same answer each time (temperature 0, or a seed). meaning: how the request was
        made of a prompt, for a look-up by meaning where there is no equal one. sink: takes the row in place of the log.
        """
        write = sink or self._write
        try:
            key = await self._key(request, cached, fields.get("tenant"))
            if key is None:
                outcome = await self.call(request, retries=retries, patience=request.timeout)
            else:
                outcome = await self._fetch(request, key, retries, meaning, fields)
        except asyncio.CancelledError:
            write(stopped().row(request, **fields))
            raise
        row = outcome.row(request, **fields)
        write(row)
        if outcome.error is not None:
            raise outcome.error
        assert outcome.completion is not None  # noqa: S101  (for the type checker)
        return replace(outcome.completion, call_id=row.call_id)

    async def stream(
        self,
        request: Request,
        *,
        retries: int = RETRIES,
        cached: bool | None = None,
        meaning: Meaning | None = None,
        sink: Sink | None = None,
        **fields: Any,
    ) -> AsyncGenerator[Chunk, None]:
        """Pieces of text as they come; the last one carries the Completion. Logged once. Sent again as in `call`, as long as no
        piece has come; raises the CallError. cached, meaning, sink: as in `complete`; an answer from a cache is one piece."""
        write = sink or self._write
        fields = {"call_id": new_call_id()} | fields
        key = await self._key(request, cached, fields.get("tenant"))
        if key is None or self._cache is None:
            async with aclosing(self._stream(request, retries, fields, write)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        async with self._turn(request, key, fields) as turn:
            place = await self._look(turn, request.model, meaning, fields)
            if turn.found is not None:
                write(Outcome(turn.found, None, self.cost(request.model, turn.found)).row(request, **fields))
                yield Chunk(turn.found.text, reasoning=turn.found.reasoning)
                yield Chunk(completion=replace(turn.found, call_id=fields["call_id"]))
                return
            async with aclosing(self._stream(request, retries, fields, write)) as chunks:
                async for chunk in chunks:
                    if chunk.completion is not None:
                        await turn.keep(chunk.completion)
                        if place is not None:
                            await place.add(chunk.completion, cost=self.cost(request.model, chunk.completion))
                    yield chunk

    async def _stream(
        self, request: Request, retries: int, fields: Mapping[str, Any], write: Sink
    ) -> AsyncGenerator[Chunk, None]:
        runtime = self.runtime(request.model)
        tries = self._tries(request.model, request.timeout, retries, request.timeout)
        outcome: Outcome | None = None
        try:
            while True:
                if (late := await tries.begin(_tokens(request))) is not None:
                    outcome = Outcome(None, late, None, tries.count, tries.in_flight)
                    raise late
                outcome, begun = None, False
                try:
                    async with aclosing(runtime.stream(tries.within(request))) as chunks:
                        async for chunk in chunks:
                            begun = True
                            if chunk.completion is not None:
                                done = tries.timed(chunk.completion)
                                outcome = Outcome(*self._priced(done), tries.count, tries.in_flight)
                                chunk = replace(chunk, completion=replace(done, call_id=fields["call_id"]))
                            yield chunk
                    return
                except CallError as raised:
                    error = raised
                    outcome = Outcome(None, error, None, tries.count, tries.in_flight)
                finally:
                    answer = outcome.completion if outcome else None
                    tries.end((answer or outcome.error) if outcome else None, _more_tokens(request, answer))
                if begun or not await tries.again(error):
                    raise error
        finally:
            write((outcome or stopped()).row(request, **fields))

    async def embed(
        self, model: str, texts: Sequence[str], *, timeout: float = 60.0, retries: int = RETRIES, **fields: Any
    ) -> Embeddings:
        """One vector a text, from `endpoint/model`; logged as one row of kind "embedding". Raises a CallError; BadRequestError
        where the runtime makes none. `fields`: see `records.Call`."""
        runtime, (_, name) = self.runtime(model), split_model(model)
        if not isinstance(runtime, Embedder):
            raise BadRequestError(
                f"{model}: {runtime.kind} models make no embeddings here. Name a model that does, such as "
                "embedded/minilm-l6, ollama/nomic-embed-text or openai/text-embedding-3-small."
            )
        tries = self._tries(model, timeout, retries, timeout)
        tokens = sum(len(text) for text in texts if isinstance(text, str)) // _CHARS_PER_TOKEN
        while True:
            if (late := await tries.begin(tokens)) is not None:
                self._write_embedding(model, texts, late, tries.count, fields)
                raise late
            found: Embeddings | None = None
            error: CallError | None = None
            try:
                found = await runtime.embed(texts, name, tries.left)
            except CallError as raised:
                error = raised
            finally:
                used = found.usage.prompt_tokens if found else None
                tries.end(found or error, 0 if used is None else used - tokens)
            if found is not None:
                self._write_embedding(model, texts, found, tries.count, fields)
                return found
            assert error is not None  # noqa: S101  (for the type checker)
            if not await tries.again(error):
                self._write_embedding(model, texts, error, tries.count, fields)
                raise error

    async def metrics(self, endpoint: str) -> ServerMetrics | None:
        """What this endpoint's server says of its own load; None where it does not. Raises a CallError."""
        runtime = self.runtime(f"{endpoint}/-")
        return await runtime.metrics() if isinstance(runtime, Metered) else None

    def cost(self, model: str, completion: Completion) -> float | None:
        """Dollars that making this answer cost, None if unknown."""
        endpoint, name = split_model(model)
        found = self.settings.endpoints.get(endpoint)
        return pricing.call_cost(found, name, completion.usage) if found else None

    async def aclose(self) -> None:
        """Close connections and unload embedded models: all of them and the log, also if one fails. Raises what failed then."""
        async with AsyncExitStack() as stack:
            if self._log is not None:
                stack.callback(self._log.close)
            for runtime in self._runtimes.values():
                stack.push_async_callback(runtime.aclose)

    def _write(self, row: Call) -> None:
        if self._log is not None:
            self._log.append(row)

    async def _key(self, request: Request, cached: bool | None, tenant: str | None) -> str | None:
        """The request's name in the cache; None where it is not to be looked up, or cannot be."""
        if self._cache is None or cached is False or not (cached or cacheable(request)):
            return None
        try:
            return cache_key(request, identity=await self._identity(request.model), tenant=tenant)
        except (
            CallError,
            InputError,
        ):  # the server does not say what it serves, or the request is no JSON: the call will tell
            return None

    async def _identity(self, model: str) -> str:
        """Which weights on which kind of server, asked again after a minute."""
        known = self._identities.get(model)
        if known is None or known[1] < self._clock():
            endpoint = self.settings.endpoint(split_model(model)[0])
            info = await self.describe(model)
            known = (endpoint_identity(endpoint.kind, info, endpoint.options), self._clock() + _KNOWN_FOR)
            self._identities[model] = known
        return known[0]

    def _turn(self, request: Request, key: str, fields: Mapping[str, Any]) -> Turn:
        assert self._cache is not None  # noqa: S101  (there would be no key)
        scope = scope_name(request.model, fields.get("prompt_ref"))
        return self._cache.turn(key, scope, cost=self._cost_of(request.model), patience=request.timeout)

    async def _fetch(
        self, request: Request, key: str, retries: int, meaning: Meaning | None, fields: Mapping[str, Any]
    ) -> Outcome:
        """From the exact cache, else from the semantic one, else from the model."""
        assert self._cache is not None  # noqa: S101  (there would be no key)
        found = self._cache.held(key, scope_name(request.model, fields.get("prompt_ref")))
        asked: Outcome | None = None
        try:
            if found is None:
                async with self._turn(request, key, fields) as turn:
                    place = await self._look(turn, request.model, meaning, fields)
                    found = turn.found
                    if found is None:
                        asked = await self.call(request, retries=retries, patience=request.timeout)
                        if asked.error is not None:
                            raise asked.error
                        assert asked.completion is not None  # noqa: S101  (for the type checker)
                        await turn.keep(asked.completion)
                        if place is not None:
                            await place.add(asked.completion, cost=asked.cost)
        except CallError as error:
            return asked or Outcome(None, error)
        return asked or Outcome(found, None, self.cost(request.model, found) if found else None)

    async def _look(self, turn: Turn, model: str, meaning: Meaning | None, fields: Mapping[str, Any]) -> Place | None:
        """Look by meaning where there was no equal request. Returns where the model's answer is then to be kept."""
        if turn.found is not None or meaning is None or self._cache is None:
            return None
        scope, tenant = scope_name(model, fields.get("prompt_ref")), fields.get("tenant")
        place = await self._cache.place(turn, meaning, identity=await self._identity(model), tenant=tenant, scope=scope)
        if place is not None and (hit := await place.find()) is not None:
            turn.serve(hit.completion, cost=hit.cost)
        return place

    def _write_embedding(
        self, model: str, texts: Sequence[str], found: Embeddings | CallError, attempts: int, fields: Mapping[str, Any]
    ) -> None:
        """One row for one call, however many texts it had."""
        if self._log is None:
            return
        request = Request(model, "completion", (), texts[0] if len(texts) == 1 else f"{len(texts):,} texts")
        if isinstance(found, CallError):
            outcome = Outcome(None, found, None, attempts)
        else:
            usage = replace(found.usage, completion_tokens=0)
            made = Completion("", "stop", usage, found.timing, model)
            outcome = Outcome(made, None, self.cost(model, made), attempts)
        row = outcome.row(request, params={}, **fields)
        self._write(replace(row, kind="embedding", text=None, finish_reason=None))

    def _cost_of(self, model: str) -> Callable[[Completion], float | None]:
        return partial(self.cost, model)

    def _tries(self, model: str, timeout: float, retries: int, patience: float | None) -> Tries:
        return Tries(model, self.limiter(model), timeout, retries, self._clock, self._sleep, self._rng, patience)

    def _priced(self, completion: Completion) -> tuple[Completion, None, float | None]:
        return completion, None, self.cost(completion.model, completion)


def _tokens(request: Request) -> int:
    """What to take from a budget of tokens before the server has counted."""
    return len(request.text()) // _CHARS_PER_TOKEN + (request.params.max_tokens or _USUAL_ANSWER)


def _more_tokens(request: Request, completion: Completion | None) -> int:
    """What a call used beyond what was taken for it; 0 where nobody counted."""
    if completion is None or completion.usage.prompt_tokens is None:
        return 0
    return completion.usage.prompt_tokens + (completion.usage.completion_tokens or 0) - _tokens(request)
