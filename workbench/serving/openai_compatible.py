"""Models behind a server that speaks OpenAI's HTTP API: vLLM, TGI, OpenAI, llama-server, SGLang, LM Studio and many others."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

import orjson

from workbench.errors import BadAnswerError, ConnectError, IncompleteStreamError, ModelNotFoundError
from workbench.records import Chunk, Completion, Embeddings, Request, Timing, Usage, split_model
from workbench.serving.connection import encoded
from workbench.serving.openai_server import OpenAIServer
from workbench.serving.quirks import StopTexts, refuse, settle
from workbench.serving.wire import Answer, StreamedAnswer, answer_of, request_body, usage_of

if TYPE_CHECKING:
    import httpx

__all__ = ["OpenAICompatible"]

_PATHS = {"chat": "/chat/completions", "completion": "/completions"}
_NO_ROUTE = (404, 405, 501)


class OpenAICompatible(OpenAIServer):
    """One endpoint over HTTP: chat, completions and embeddings."""

    async def complete(self, request: Request) -> Completion:
        """One POST and one answer. Raises a CallError."""
        refuse(request, self.kind)
        model = split_model(request.model)[1]
        body = encoded(request_body(request, model, stream=False, kind=self.kind), request.model)
        response, started_at, total = await self.connection.post(_PATHS[request.kind], body, request.timeout)
        if response.status_code != 200:
            raise await self._refused(response, model)
        return self._whole(request, response, Timing(started_at, total))

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Server-sent events. The deadline counts only the time spent waiting for the server. Raises a CallError."""
        refuse(request, self.kind)
        model = split_model(request.model)[1]
        usage = self._options.get("stream_usage", True)
        body = request_body(request, model, stream=True, usage=usage, kind=self.kind)
        async with await self.connection.stream(
            _PATHS[request.kind], encoded(body, request.model), request.timeout
        ) as exchange:
            response = exchange.response
            if response.status_code != 200 or "event-stream" not in response.headers.get("content-type", ""):
                response = await exchange.read()
                if response.status_code != 200:
                    raise await self._refused(response, model)
                timing = Timing(exchange.started_at, time.perf_counter() - exchange.start)
                completion = self._whole(request, response, timing)
                yield Chunk(completion.text, None, completion.reasoning, completion.refused)
                yield Chunk(completion=completion)
                return
            answer, first = StreamedAnswer(), None
            stops = StopTexts(request.params.stop) if self.kind == "tgi" and request.params.stop else None

            def received() -> str | None:
                return f"{len(answer.text):,} characters" if answer.begun else None

            try:
                async with aclosing(exchange.lines(received)) as batches:
                    async for lines in batches:
                        now = time.perf_counter()
                        for line in lines:
                            if not line.startswith(b"data:"):
                                continue
                            text = self._event(line[5:].strip(), answer, exchange.url, model)
                            if first is None and answer.begun:
                                first = now - exchange.start
                            if stops is not None:
                                text = stops.take(text)
                            if text or answer.thought:
                                yield Chunk(text, None, answer.thought, answer.refused)
                        if answer.done:
                            break
            except (ConnectError, IncompleteStreamError):
                if not answer.ended:
                    raise
            if not answer.ended:
                raise self._faults.cut(exchange.url, received() or "nothing")
            timing = Timing(exchange.started_at, time.perf_counter() - exchange.start, first_token=first)
            identity = response.headers.get("x-request-id") or answer.request_id
        whole, counted = settle(request, self.kind, answer.answer, answer.usage, streamed=True)
        if stops is not None and (rest := stops.rest(whole.text)):
            yield Chunk(rest)
        yield Chunk(completion=_completion(request, whole, counted, timing, identity))

    async def embed(self, texts: Sequence[str], model: str, timeout: float = 60.0) -> Embeddings:
        """One vector a text. Raises a CallError; BadRequestError where the server or the model makes none."""
        import numpy as np

        body = encoded({"model": model, "input": list(texts), "encoding_format": "float"}, f"{self._name}/{model}")
        response, started_at, total = await self.connection.post("/embeddings", body, timeout)
        if response.status_code != 200:
            error = await self._refused(response, model)
            if response.status_code in _NO_ROUTE and not isinstance(error, ModelNotFoundError):
                raise self._faults.no_embeddings(model, response.content, response.status_code)
            raise error
        found = self.connection.json(response)
        try:
            rows = sorted(found["data"], key=lambda row: row["index"])
            vectors = np.asarray([row["embedding"] for row in rows], dtype=np.float32)
            if vectors.ndim != 2 or len(vectors) != len(texts):
                raise ValueError(f"{len(rows)} vectors for {len(texts)} texts")
        except (KeyError, TypeError, ValueError) as error:
            raise BadAnswerError(
                f"{self._name} said 200, but sent no vectors: {self._faults.hide(str(error))}. Is {model!r} an embedding model?",
                status=200,
            ) from None
        timing = Timing(started_at, total)
        return Embeddings(vectors, usage_of(found.get("usage")), timing, f"{self._name}/{model}")

    def _whole(self, request: Request, response: httpx.Response, timing: Timing) -> Completion:
        """The completion of an answer that came in one piece."""
        found = self.connection.json(response)
        try:
            answer = answer_of(found)
        except BadAnswerError:
            raise self._faults.no_text(found, str(response.request.url), split_model(request.model)[1]) from None
        answer, usage = settle(request, self.kind, answer, usage_of(found.get("usage")), streamed=False)
        identity = response.headers.get("x-request-id") or found.get("id") or None
        return _completion(request, answer, usage, timing, identity)

    def _event(self, event: bytes, answer: StreamedAnswer, url: str, model: str) -> str:
        if event == b"[DONE]":
            answer.done, answer.thought = True, ""
            return ""
        try:
            chunk = orjson.loads(event)
        except orjson.JSONDecodeError:
            raise self._faults.not_an_answer(event, "", url) from None
        if isinstance(chunk, dict) and chunk.get("error"):
            raise self._faults.event(chunk, url, model)
        try:
            return answer.add(chunk)
        except BadAnswerError:
            raise self._faults.no_text(chunk, url, model, streamed=True) from None


def _completion(request: Request, answer: Answer, usage: Usage, timing: Timing, identity: str | None) -> Completion:
    return Completion(
        answer.text, answer.finish_reason, usage, timing, request.model, answer.tool_calls, "model", identity,
        answer.reasoning, answer.logprobs, refused=answer.refused,
    )  # fmt: skip
