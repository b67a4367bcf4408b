"""The client: from the caches, else from the model; retried, priced and logged."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from workbench import pricing
from workbench.calls.spans import about
from workbench.client.cached import CachedRequest, Caching
from workbench.client.outcome import Outcome, new_call_id, stopped
from workbench.errors import BadRequestError, CallError
from workbench.records import (
    Call,
    Chunk,
    Completion,
    Embeddings,
    Health,
    ModelInfo,
    Request,
    ServerMetrics,
    Usage,
    split_model,
)
from workbench.running.forking import begin_anew, keep
from workbench.serving import Bucket, Embedder, Limiter, Metered, Replicated, Runtime, Tries, limiter_for, open_runtime
from workbench.serving.described import Described

if TYPE_CHECKING:
    from workbench.cache import Cache
    from workbench.cache.lookup import Meaning
    from workbench.calls import CallLog
    from workbench.settings import Endpoint, Settings

__all__ = ["RETRIES", "Client", "Sink"]

Sink = Callable[[Call], None]

RETRIES = 3
_CHARS_PER_TOKEN = 4  # to take from a budget before the server has counted
_USUAL_ANSWER = 256


class Client:
    """Sends requests to whatever endpoint their model names.

    runtimes: ready-made runtimes by endpoint name, such as {"scripted": Scripted(...)}; others are opened from the settings.
    sleep, clock (monotonic seconds), rng: for tests. buckets: an endpoint's budgets of requests and tokens a minute that it
    shares with other processes, in place of its own.
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
        buckets: Callable[[Endpoint], tuple[Bucket | None, Bucket | None]] = lambda endpoint: (None, None),
    ) -> None:
        self.settings = settings
        self.given = frozenset(runtimes or ())
        self._buckets = buckets
        self._log = log
        self._runtimes: dict[str, Runtime] = dict(runtimes or {})
        self._limiters: dict[str, Limiter | None] = {}
        self._sleep = sleep
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311  (jitter)
        self._limited = True
        self._described = Described(self.describe, clock)
        self._caching = None if cache is None else Caching(cache, settings, self._described, self.cost)
        self.prices = pricing.read_prices(settings.project / "prices.toml")
        begin_anew(self)

    def after_fork(self) -> None:
        """What is under way is the parent's: limits begin anew, and so do all runtimes that were opened here."""
        keep(self._limiters)
        self._limiters = {}
        if self._limited:  # else they are another client's to begin anew
            keep(*(self._runtimes.pop(name) for name in self._runtimes.keys() - self.given))

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
                limiter_for(found, clock=self._clock, sleep=self._sleep, shared=self._buckets(found))
                if found is not None
                else None
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
        runtime = self.runtime(model)
        return runtime.lost() if isinstance(runtime, Replicated) else {}

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
        write, fields = sink or self._write, about(fields)
        self._learn(request.model, fields)
        try:
            asked = await self._cached(request, cached, meaning, fields)
            if asked is None:
                outcome = await self.call(request, retries=retries, patience=request.timeout)
            else:
                outcome = await self._fetch(asked, retries)
        except asyncio.CancelledError:
            write(stopped().row(request, **fields))
            raise
        row = outcome.row(request, **await self._learned(request.model, fields, outcome))
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
        write, fields = sink or self._write, {"call_id": new_call_id()} | about(fields)
        self._learn(request.model, fields)
        asked = await self._cached(request, cached, meaning, fields)
        if asked is None:
            async with aclosing(self._stream(request, retries, fields, write)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        async with asked.turn() as turn:
            place = await asked.look(turn)
            if turn.found is not None:
                outcome = Outcome(turn.found, None, self.cost(request.model, turn.found))
                write(outcome.row(request, **await self._learned(request.model, fields, outcome)))
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
                                fields = await self._learned(request.model, fields, outcome)
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
        runtime, (_, name), fields = self.runtime(model), split_model(model), about(fields)
        if not isinstance(runtime, Embedder):
            raise BadRequestError(
                f"{model}: {runtime.kind} models make no embeddings here. Name a model that does, such as "
                "embedded/minilm-l6, ollama/nomic-embed-text or openai/text-embedding-3-small."
            )
        self._learn(model, fields)
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
                fields = await self._learned(model, fields)
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
        return self.price(model, completion.usage)

    def price(self, model: str, usage: Usage) -> float | None:
        """Dollars of a call with this usage, by the project's own prices first; None if unknown."""
        endpoint, name = split_model(model)
        found = self.settings.endpoints.get(endpoint)
        return pricing.call_cost(found, name, usage, self.prices) if found else None

    async def aclose(self) -> None:
        """Close connections and unload embedded models: all of them and the log, also if one fails. Raises what failed then."""
        async with AsyncExitStack() as stack:
            if self._log is not None:
                stack.callback(self._log.close)
            for runtime in self._runtimes.values():
                stack.push_async_callback(runtime.aclose)

    def _learn(self, model: str, fields: Mapping[str, Any]) -> None:
        """Ask beside the call who the model is, where nobody who makes it knows."""
        if "info" not in fields and "model_digest" not in fields:
            self._described.learn(model)

    async def _learned(self, model: str, fields: Mapping[str, Any], outcome: Outcome | None = None) -> dict[str, Any]:
        """The row's fields, with who the model is. Of a call that failed only what is known already."""
        if "info" in fields or "model_digest" in fields:
            return dict(fields)
        failed = outcome is not None and outcome.error is not None
        return {**fields, "info": self._described.known(model) if failed else await self._described.learned(model)}

    def _write(self, row: Call) -> None:
        if self._log is not None:
            self._log.append(row)

    async def _cached(
        self, request: Request, cached: bool | None, meaning: Meaning | None, fields: Mapping[str, Any]
    ) -> CachedRequest | None:
        return None if self._caching is None else await self._caching.of(request, cached, meaning, fields)

    async def _fetch(self, asked: CachedRequest, retries: int) -> Outcome:
        """From the exact cache, else from the semantic one, else from the model."""
        request, found = asked.request, asked.held()
        made: Outcome | None = None
        try:
            if found is None:
                async with asked.turn() as turn:
                    place = await asked.look(turn)
                    found = turn.found
                    if found is None:
                        made = await self.call(request, retries=retries, patience=request.timeout)
                        if made.error is not None:
                            raise made.error
                        assert made.completion is not None  # noqa: S101  (for the type checker)
                        await turn.keep(made.completion)
                        if place is not None:
                            await place.add(made.completion, cost=made.cost)
        except CallError as error:
            return made or Outcome(None, error)
        return made or Outcome(found, None, self.cost(request.model, found) if found else None)

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
