"""Models behind Ollama's own API, which can do (and tells) more than its OpenAI-compatible one: context size and other options,
thinking, raw prompts, what it took to load a model, and whether a prompt was cut."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.errors import BadAnswerError, BadRequestError, CallError, ConnectError, IncompleteStreamError
from workbench.records import Chunk, Completion, Embeddings, Request, Timing, Usage, split_model
from workbench.serving.connection import Exchange, encoded
from workbench.serving.ollama_options import DROPPED, Choice, choose
from workbench.serving.ollama_server import OllamaServer, context_of, same_model
from workbench.serving.ollama_window import Window, least_tokens, left_out
from workbench.serving.ollama_wire import Reply, request_body

if TYPE_CHECKING:
    import httpx

    from workbench.settings import Endpoint

__all__ = ["Ollama"]

_PATHS = {"chat": "/api/chat", "completion": "/api/generate"}
_SHORT_LOOK_UP = 2.0
_RELOADED = 0.1  # seconds: finding a model that is in memory takes a few milliseconds
_DROPPED_IN = (0, 7)


class _Call(NamedTuple):
    """A request, ready to be sent."""

    request: Request
    model: str
    choice: Choice
    body: bytes

    @property
    def num_ctx(self) -> int | None:
        return self.choice.options.get("num_ctx")


class Ollama(OllamaServer):
    """An Ollama endpoint: chat, raw completions (a template's with `raw = false` in params.extra) and embeddings.

    params.extra: Ollama's options (num_ctx, top_k, …), `keep_alive`, `format`, `allow_truncation`; names and types are checked.
    What the server leaves out of a prompt is a ContextLengthError, or flagged in the Completion where truncation is allowed.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(endpoint, clock=clock, sleep=sleep)
        self._told: dict[tuple[str, str], Window] = {}
        self._trained: dict[tuple[str, str], tuple[int | None, bool]] = {}

    async def complete(self, request: Request) -> Completion:
        """One POST and one answer. Raises a CallError."""
        call = await self._prepared(request, stream=False)
        response, started_at, total = await self.connection.post(_PATHS[request.kind], call.body, request.timeout)
        reply = await self._whole(response, call)
        return await self._checked(call, reply, reply.timing(started_at, total), str(response.request.url))

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """JSON lines. The deadline counts only the time spent waiting for the server. Raises a CallError."""
        call = await self._prepared(request, stream=True)
        async with await self.connection.stream(_PATHS[request.kind], call.body, request.timeout) as exchange:
            kind = exchange.response.headers.get("content-type", "")
            if exchange.response.status_code != 200 or "ndjson" not in kind:
                reply, first = await self._whole(await exchange.read(), call), None
                yield Chunk(reply.text, reasoning=reply.reasoning)
            else:
                reply, first = Reply(), None
                async with aclosing(self._pieces(exchange, reply, call)) as pieces:
                    async for text, thought in pieces:
                        if first is None and reply.begun:
                            first = time.perf_counter() - exchange.start
                        if text or thought:
                            yield Chunk(text, reasoning=thought)
            timing = reply.timing(exchange.started_at, time.perf_counter() - exchange.start, first)
        yield Chunk(completion=await self._checked(call, reply, timing, exchange.url))

    async def embed(self, texts: Sequence[str], model: str, timeout: float = 60.0) -> Embeddings:
        """One vector a text. A text that is longer than the model's context is a ContextLengthError, unless truncation is
        allowed. Raises a CallError; BadRequestError where the model makes none."""
        import numpy as np

        body: dict[str, Any] = {"model": model, "input": list(texts), **self.defaults.fields}
        if self.defaults.runner:
            body["options"] = self.defaults.runner
        if not self.defaults.allow_truncation:
            body["truncate"] = False
        response, started_at, total = await self.connection.post(
            "/api/embed", encoded(body, f"{self._name}/{model}"), timeout
        )  # fmt: skip
        if response.status_code != 200:
            raise await self._refused(response, model, self.defaults.options.get("num_ctx"))
        found = self.connection.json(response)
        try:
            vectors = np.asarray(found["embeddings"], dtype=np.float32)
            if len(vectors) != len(texts) or (len(texts) and vectors.ndim != 2):
                raise ValueError(f"{len(vectors)} vectors for {len(texts)} texts")
        except (KeyError, TypeError, ValueError) as error:
            raise BadAnswerError(
                f"{self._name} said 200, but sent no vectors: {self._faults.hide(str(error))}. Is {model!r} an embedding model?",
                status=200,
            ) from None
        loading = found.get("load_duration")
        timing = Timing(started_at, total, loading=loading / 1e9 if isinstance(loading, int) else None)
        usage = Usage(found.get("prompt_eval_count"))
        return Embeddings(vectors.reshape(len(texts), -1 if len(texts) else 0), usage, timing, f"{self._name}/{model}")

    async def _prepared(self, request: Request, *, stream: bool) -> _Call:
        model = split_model(request.model)[1]
        choice = choose(request.params, self.defaults, request.kind, request.model)
        if dropped := sorted(DROPPED.intersection(choice.options)):
            await self._refuse_dropped(dropped, request.model)
        body = encoded(request_body(request, model, choice, stream=stream), request.model)
        return _Call(request, model, choice, body)

    async def _refuse_dropped(self, names: Sequence[str], model: str) -> None:
        version = await self.version() or ""
        number = re.match(r"(\d+)\.(\d+)", version)
        found = (int(number[1]), int(number[2])) if number else _DROPPED_IN
        # a server that was built from source calls itself 0.0.0
        if version and (found >= _DROPPED_IN or found == (0, 0)):
            raise BadRequestError(
                f"{model}: Ollama has not known {', '.join(names)} since 0.7 and ignores it without a word (this one is "
                f"{version}): leave it out, in params.extra or in the endpoint's options."
            )

    async def _whole(self, response: httpx.Response, call: _Call) -> Reply:
        if response.status_code != 200:
            raise await self._refused(response, call.model, call.num_ctx)
        url = str(response.request.url)
        reply = Reply()
        await self._add(reply, self.connection.json(response), url, call)
        if not reply.done:
            raise self._faults.cut(url, f"{len(reply.text):,} characters")
        return reply

    async def _pieces(self, exchange: Exchange, reply: Reply, call: _Call) -> AsyncGenerator[tuple[str, str], None]:
        """(text, thought) of each line, until the last one."""

        def received() -> str | None:
            return f"{len(reply.text):,} characters" if reply.begun else None

        try:
            async with aclosing(exchange.lines(received)) as batches:
                async for lines in batches:
                    for line in filter(None, lines):
                        yield await self._add(reply, self._line(line, exchange.url), exchange.url, call)
                    if reply.done:
                        return
        except (ConnectError, IncompleteStreamError):
            if not reply.done:
                raise
        if not reply.done:
            raise self._faults.cut(exchange.url, received() or "nothing")

    async def _add(self, reply: Reply, piece: Any, url: str, call: _Call) -> tuple[str, str]:
        if isinstance(piece, Mapping) and piece.get("error"):
            error = self._faults.event(piece, url, call.model)
            raise await self._explained(error, call.model, self._base(url), call.num_ctx)
        try:
            return reply.add(piece)
        except BadAnswerError as error:
            raise BadAnswerError(self._faults.hide(str(error)), status=200) from None

    async def _checked(self, call: _Call, reply: Reply, timing: Timing, url: str) -> Completion:
        """The answer, if the model was shown the whole prompt."""
        request, finish = call.request, reply.finish_reason
        if finish in ("load", "unload"):
            raise BadRequestError(
                f"{request.model}: the prompt is empty, so Ollama did no more than {finish} the model."
            )
        completion = Completion(
            reply.text, finish, reply.usage, timing, request.model, reply.tool_calls,
            reasoning=reply.reasoning, logprobs=reply.logprobs,
        )  # fmt: skip
        if reply.remote:
            return completion
        reloaded = timing.loading is not None and timing.loading >= _RELOADED
        window = await self._window(self._base(url), call.model, call.num_ctx, reloaded=reloaded)
        wanted = call.choice.options.get("num_predict")
        lost = left_out(
            window, _least(request, window), reply.usage, finish, wanted if wanted and wanted > 0 else None
        )  # fmt: skip
        if lost is None:
            return completion
        if call.choice.allow_truncation:
            return replace(completion, truncated=True)
        raise await self.too_long(lost, window.context, call.model, self._base(url))

    async def _window(self, base: str, model: str, num_ctx: int | None, *, reloaded: bool) -> Window:
        """Asked of the server once per model, and again where it was loaded anew."""
        key = (base, model)
        if num_ctx is not None:
            if key not in self._trained:
                self._trained[key] = await self._training(base, model)
            trained, counts_all = self._trained[key]
            # more than the model was trained with is not given
            return Window(min(num_ctx, trained or num_ctx), sure=True, counts_all=counts_all)
        if reloaded or key not in self._told:
            self._told[key] = await self._loaded(base, model)
        return self._told[key]

    async def _training(self, base: str, model: str) -> tuple[int | None, bool]:
        """(context that the model was trained with, whether the server is one that counts cached tokens)."""
        try:
            shown = await self._show(base, model, _SHORT_LOOK_UP)
        except CallError:
            return None, False
        return context_of(shown), "capabilities" in shown

    async def _loaded(self, base: str, model: str) -> Window:
        try:
            rows = await self._listed(base, "ps", _SHORT_LOOK_UP)
        except CallError:
            return Window()
        for row in rows:
            context = row.get("context_length")
            if same_model(str(row.get("name")), model) and isinstance(context, int) and context > 0:
                return Window(context, sure=True, counts_all=True)
        return Window()


def _least(request: Request, window: Window) -> int:
    """Tokens that the prompt has at least; 0 where that cannot matter. What an assistant said is left out, as templates drop
    earlier thoughts."""
    texts = (
        [request.prompt]
        if request.kind == "completion"
        else [m.content for m in request.messages if m.role != "assistant"]
    )
    # half a context of words takes a context of characters
    return least_tokens(texts) if sum(map(len, texts)) >= window.context - 1 else 0
