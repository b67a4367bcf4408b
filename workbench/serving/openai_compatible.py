"""Models behind a server that speaks OpenAI's HTTP API: vLLM, TGI, OpenAI, llama-server, SGLang, LM Studio and many others."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any

import orjson

from workbench.errors import BadAnswerError, CallError, ConnectError, IncompleteStreamError, ModelNotFoundError
from workbench.records import (
    Chunk,
    Completion,
    Embeddings,
    Health,
    ModelInfo,
    Request,
    ServerMetrics,
    Timing,
    split_model,
)
from workbench.serving.connection import Connection, Exchange, encoded
from workbench.serving.limits import most_at_once
from workbench.serving.prometheus import read_metrics
from workbench.serving.wire import Answer, StreamedAnswer, answer_of, request_body, usage_of

if TYPE_CHECKING:
    import httpx

    from workbench.settings import Endpoint

__all__ = ["OpenAICompatible"]

_LOOK_UP = 10.0  # seconds for a list of models
_VERSION = {"tgi": "/info", "vllm": "/version"}
_PROBE = {"tgi": "/health", "vllm": "/health"}
_PATHS = {"chat": "/chat/completions", "completion": "/completions"}


class OpenAICompatible:
    """One endpoint over HTTP. Several addresses are replicas.

    The options of the endpoint: `stream_usage = false` for a server that refuses `stream_options`.
    clock: Unix seconds.
    """

    def __init__(self, endpoint: Endpoint, *, clock: Callable[[], float] = time.time) -> None:
        self.kind = endpoint.kind
        self.concurrency = most_at_once(endpoint)
        self._name = endpoint.name
        self._bases = tuple(_base(url) for url in endpoint.urls)
        self.connection = Connection(
            endpoint, self._bases, root=_root if self.kind in _PROBE else lambda base: base,
            probe=_PROBE.get(self.kind, "/models"), clock=clock,
        )  # fmt: skip
        self._faults = self.connection.faults
        self._stream_usage = endpoint.options.get("stream_usage", True) is not False
        self._known: dict[str, ModelInfo] = {}

    def __repr__(self) -> str:
        return f"OpenAICompatible({self._name!r}, kind={self.kind!r}, urls={list(self._bases)})"

    async def complete(self, request: Request) -> Completion:
        """One POST and one answer. Raises a CallError."""
        model = split_model(request.model)[1]
        body = encoded(request_body(request, model, stream=False, kind=self.kind), request.model)
        response, started_at, total = await self.connection.post(_PATHS[request.kind], body, request.timeout)
        if response.status_code != 200:
            raise await self._refused(response, model)
        found = self.connection.json(response)
        with self._hidden_key():
            answer = answer_of(found)
        identity = response.headers.get("x-request-id") or found.get("id") or None
        return _completion(request, answer, usage_of(found.get("usage")), Timing(started_at, total), identity)

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Server-sent events. The deadline counts only the time spent waiting for the server. Raises a CallError."""
        model = split_model(request.model)[1]
        body = request_body(request, model, stream=True, usage=self._stream_usage, kind=self.kind)
        async with await self.connection.stream(
            _PATHS[request.kind], encoded(body, request.model), request.timeout
        ) as exchange:
            response = exchange.response
            if response.status_code != 200 or "event-stream" not in response.headers.get("content-type", ""):
                completion = await self._unstreamed(request, exchange, model)
                yield Chunk(completion.text)
                yield Chunk(completion=completion)
                return
            answer, first = StreamedAnswer(), None

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
                            if text:
                                yield Chunk(text)
                        if answer.done:
                            break
            except (ConnectError, IncompleteStreamError):
                if not answer.ended:
                    raise
            if not answer.ended:
                raise self._faults.cut(exchange.url, received() or "nothing")
            timing = Timing(exchange.started_at, time.perf_counter() - exchange.start, first_token=first)
            identity = response.headers.get("x-request-id") or answer.request_id
        yield Chunk(completion=_completion(request, answer.answer, answer.usage, timing, identity))

    async def embed(self, texts: Sequence[str], model: str, timeout: float = 60.0) -> Embeddings:
        """One vector a text. Raises a CallError; BadRequestError where the server or the model makes none."""
        import numpy as np

        body = encoded({"model": model, "input": list(texts), "encoding_format": "float"}, f"{self._name}/{model}")
        response, started_at, total = await self.connection.post("/embeddings", body, timeout)
        if response.status_code != 200:
            raise await self._refused(response, model)
        found = self.connection.json(response)
        try:
            rows = sorted(found["data"], key=lambda row: row["index"])
            vectors = np.asarray([row["embedding"] for row in rows], dtype=np.float32)
            if vectors.ndim != 2 or len(vectors) != len(texts):
                raise ValueError(f"{len(rows)} vectors for {len(texts)} texts")
        except (KeyError, TypeError, ValueError) as error:
            raise BadAnswerError(
                f"{self._name} said 200, but sent no vectors: {error}. Is {model!r} an embedding model?", status=200
            ) from None
        timing = Timing(started_at, total)
        return Embeddings(vectors, usage_of(found.get("usage")), timing, f"{self._name}/{model}")

    async def metrics(self) -> ServerMetrics | None:
        """The load of all replicas together, from their /metrics; None where there is no such page. Raises a CallError."""
        pages = []
        for base in self._bases:
            response = await self.connection.get(f"{_root(base)}/metrics", _LOOK_UP)
            if response.status_code != 200:
                return None
            pages.append(response.text)
        return read_metrics(pages, self.connection.clock())

    async def describe(self, model: str) -> ModelInfo:
        """Asked of the server once per model. digest: these servers do not tell one."""
        if model in self._known:
            return self._known[model]
        base = await self._base_up()
        listed = await self._models(base)
        version = await self._version(base)
        found = next((item for item in listed or () if item.get("id") == model), None)
        if found is None and listed is not None and self.kind != "tgi":  # TGI takes any name
            raise self._faults.model_not_found(model, [str(item.get("id")) for item in listed])
        length = (found or {}).get("max_model_len") or (found or {}).get("context_length")
        parent = (found or {}).get("parent")
        info = ModelInfo(model, None, length if isinstance(length, int) else None, version, base=parent or None)
        self._known[model] = info
        return info

    async def health(self) -> Health:
        """Asks every address for its models."""
        models: set[str] = set()
        answers, faults = [], []
        for base in self._bases:
            try:
                models.update(str(item.get("id")) for item in await self._models(base) or ())
                answers.append(base)
            except CallError as error:
                faults.append(error)
        if faults:
            what, _, fix = str(faults[0]).partition(". ")
            others = f" ({len(answers)} of {len(self._bases)} replicas answer)" if answers else ""
            return Health(False, f"{what}{others}", models=tuple(sorted(models)), fix=fix)
        version = await self._version(self._bases[0])
        count = f"{len(models)} model{'' if len(models) == 1 else 's'}"
        upstream = "; TGI is in maintenance upstream since 2025-12: vLLM goes on" if self.kind == "tgi" else ""
        return Health(
            True, f"answers at {', '.join(self._bases)}, {count}{upstream}", version, tuple(sorted(models))
        )  # fmt: skip

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        await self.connection.aclose()

    async def _unstreamed(self, request: Request, exchange: Exchange, model: str) -> Completion:
        """The answer of a server that refused, or that does not stream."""
        response = await exchange.read()
        if response.status_code != 200:
            raise await self._refused(response, model)
        found = self.connection.json(response)
        with self._hidden_key():
            answer = answer_of(found)
        timing = Timing(exchange.started_at, time.perf_counter() - exchange.start)
        identity = response.headers.get("x-request-id") or found.get("id") or None
        return _completion(request, answer, usage_of(found.get("usage")), timing, identity)

    def _event(self, event: bytes, answer: StreamedAnswer, url: str, model: str) -> str:
        if event == b"[DONE]":
            answer.done = True
            return ""
        try:
            chunk = orjson.loads(event)
        except orjson.JSONDecodeError:
            raise self._faults.not_an_answer(event, "", url) from None
        if isinstance(chunk, dict) and chunk.get("error"):
            raise self._faults.event(chunk, url, model)
        with self._hidden_key():
            return answer.add(chunk)

    @contextmanager
    def _hidden_key(self) -> Iterator[None]:
        try:
            yield
        except BadAnswerError as error:
            raise BadAnswerError(self._faults.hide(str(error)), status=error.status) from None

    async def _refused(self, response: httpx.Response, model: str) -> CallError:
        url = str(response.request.url)
        error = self._faults.response(response.status_code, response.headers, response.content, url, model)
        if isinstance(error, ModelNotFoundError):
            try:
                listed = await self._models(next(base for base in self._bases if url.startswith(base)))
            except CallError:
                return error
            names = None if listed is None else [str(item.get("id")) for item in listed]
            return self._faults.model_not_found(model, names)
        return error

    async def _base_up(self) -> str:
        replica = await self.connection.replicas.choose()
        return replica.url if replica is not None else self._bases[0]

    async def _models(self, base: str) -> list[dict[str, Any]] | None:
        """What /models lists; None where there is no such list."""
        response = await self.connection.get(f"{base}/models", _LOOK_UP)
        if response.status_code in (404, 405, 501):
            return None
        if response.status_code != 200:
            raise self._faults.response(response.status_code, response.headers, response.content, f"{base}/models", "")
        found = self.connection.json(response)
        listed = found.get("data") if isinstance(found, dict) else None
        return [item for item in listed or () if isinstance(item, dict)]

    async def _version(self, base: str) -> str | None:
        path = _VERSION.get(self.kind)
        if path is None:
            return None
        try:
            response = await self.connection.get(_root(base) + path, 2.0)
            version = orjson.loads(response.content).get("version") if response.status_code == 200 else None
        except (CallError, orjson.JSONDecodeError, AttributeError):
            return None
        return f"{self.kind} {version}" if isinstance(version, str) else None


def _completion(request: Request, answer: Answer, usage: Any, timing: Timing, identity: str | None) -> Completion:
    return Completion(
        answer.text, answer.finish_reason, usage, timing, request.model, answer.tool_calls, "model", identity,
        answer.reasoning, answer.logprobs,
    )  # fmt: skip


def _base(url: str) -> str:
    """The address up to and with its version, such as http://gpu-a:8000/v1; a path that holds one is left as it is."""
    url = re.sub(r"/(chat/)?completions$", "", url.rstrip("/"))
    path = url.partition("://")[2].partition("/")[2]
    return url if re.search(r"(^|/)v\d", path) else f"{url}/v1"


def _root(base: str) -> str:
    """The address without its version: where health, version and metrics are."""
    return re.sub(r"/v\d[^/]*$", "", base)
