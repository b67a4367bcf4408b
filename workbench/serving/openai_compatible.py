"""Models behind a server that speaks OpenAI's HTTP API: vLLM, Ollama, TGI, OpenAI and many others."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import orjson

from workbench.errors import BadAnswerError, BadRequestError, CallError, ModelNotFoundError
from workbench.records import Chunk, Completion, Health, ModelInfo, Request, Timing, split_model
from workbench.serving.faults import Faults
from workbench.serving.transport import Transport
from workbench.serving.wire import StreamedAnswer, answer_of, request_body, usage_of

if TYPE_CHECKING:
    from workbench.settings import Endpoint

__all__ = ["OpenAICompatible"]

_CONCURRENCY = 8
_LOOK_UP = 10.0  # seconds for a list of models
_VERSION = {"ollama": "/api/version", "tgi": "/info", "vllm": "/version"}
_TRANSPORT_ERRORS = (httpx.HTTPError, aiohttp.ClientError, OSError)


class OpenAICompatible:
    """One endpoint over HTTP. Several addresses are replicas, taken in turn.

    The options of the endpoint: `stream_usage = false` for a server that refuses `stream_options`.
    clock: Unix seconds.
    """

    def __init__(self, endpoint: Endpoint, *, clock: Callable[[], float] = time.time) -> None:
        self.kind = endpoint.kind
        self.concurrency = endpoint.concurrency or _CONCURRENCY
        self._name = endpoint.name
        self._bases = tuple(_base(url) for url in endpoint.urls)
        self._turns = itertools.cycle(
            [(httpx.URL(f"{base}/chat/completions"), httpx.URL(f"{base}/completions")) for base in self._bases]
        )
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if endpoint.key:
            headers["Authorization"] = f"Bearer {endpoint.key.reveal()}"
        self._transport = Transport(self._bases, headers)
        self._faults = Faults(endpoint)
        self._stream_usage = endpoint.options.get("stream_usage", True) is not False
        self._clock = clock
        self._known: dict[str, ModelInfo] = {}

    def __repr__(self) -> str:
        return f"OpenAICompatible({self._name!r}, kind={self.kind!r}, urls={list(self._bases)})"

    async def complete(self, request: Request) -> Completion:
        """One POST and one answer. Raises a CallError."""
        model = split_model(request.model)[1]
        url = next(self._turns)[request.kind != "chat"]
        body = _encoded(request_body(request, model, stream=False, kind=self.kind), request)
        client = self._transport.client()
        started_at, start = self._clock(), time.perf_counter()
        try:
            async with asyncio.timeout(request.timeout):
                response = await client.post(url, content=body)
        except TimeoutError:
            raise self._faults.deadline(request.timeout, str(url)) from None
        except _TRANSPORT_ERRORS as error:
            raise self._faults.transport(error, str(url)) from None
        total = time.perf_counter() - start
        if response.status_code != 200:
            raise await self._refused(response, model)
        found = self._json(response)
        with self._hidden_key():
            text, finish, calls = answer_of(found)
        return Completion(
            text, finish, usage_of(found.get("usage")), Timing(started_at, total), request.model, calls, "model",
            response.headers.get("x-request-id") or found.get("id") or None,
        )  # fmt: skip

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Server-sent events. The deadline counts only the time spent waiting for the server. Raises a CallError."""
        model = split_model(request.model)[1]
        url = next(self._turns)[request.kind != "chat"]
        body = _encoded(request_body(request, model, stream=True, usage=self._stream_usage, kind=self.kind), request)
        client = self._transport.client()
        answer, events = StreamedAnswer(), _Events()
        started_at, start = self._clock(), time.perf_counter()
        left, first = request.timeout, None
        response: httpx.Response | None = None
        try:
            try:
                async with asyncio.timeout(left):
                    response = await client.send(client.build_request("POST", url, content=body), stream=True)
                left -= time.perf_counter() - start
                if response.status_code != 200 or "event-stream" not in response.headers.get("content-type", ""):
                    async with asyncio.timeout(left):
                        await response.aread()
                    if response.status_code != 200:
                        raise await self._refused(response, model)
                    found = self._json(response)  # a server that does not stream
                    with self._hidden_key():
                        text, answer.finish_reason, calls = answer_of(found)
                    yield Chunk(text)
                    timing = Timing(started_at, time.perf_counter() - start)
                    usage = usage_of(found.get("usage"))
                    completion = Completion(text, answer.finish_reason, usage, timing, request.model, calls)
                    yield Chunk(completion=completion)
                    return
                pieces = response.aiter_raw()
                while not answer.done:
                    waited = time.perf_counter()
                    try:
                        async with asyncio.timeout(left):
                            piece = await anext(pieces)
                    except StopAsyncIteration:
                        break
                    now = time.perf_counter()
                    left -= now - waited
                    for event in events.feed(piece):
                        text = self._event(event, answer, response, model)
                        if first is None and answer.begun:
                            first = now - start
                        if text:
                            yield Chunk(text)
            except TimeoutError:
                raise self._faults.deadline(request.timeout, str(url), _received(answer)) from None
            except _TRANSPORT_ERRORS as error:
                if not answer.ended:
                    raise self._faults.transport(error, str(url), _received(answer)) from None
            if not answer.ended:
                raise self._faults.cut(str(url), _received(answer) or "nothing")
            timing = Timing(started_at, time.perf_counter() - start, first_token=first)
            identity = response.headers.get("x-request-id") if response is not None else None
            completion = Completion(
                answer.text, answer.finish_reason, answer.usage, timing, request.model, answer.tool_calls, "model",
                identity or answer.request_id,
            )  # fmt: skip
            await _drain(pieces)
            yield Chunk(completion=completion)
        finally:
            if response is not None:
                await response.aclose()

    async def describe(self, model: str) -> ModelInfo:
        """Asked of the server once per model. digest: these servers do not tell one."""
        if model in self._known:
            return self._known[model]
        listed = await self._models(self._bases[0])
        version = await self._version(self._bases[0])
        found = next((item for item in listed or () if item.get("id") == model), None)
        if found is None and listed is not None and self.kind != "tgi":  # TGI takes any name
            raise self._faults.model_not_found(model, [str(item.get("id")) for item in listed])
        length = (found or {}).get("max_model_len") or (found or {}).get("context_length")
        info = ModelInfo(model, None, length if isinstance(length, int) else None, version)
        self._known[model] = info
        return info

    async def health(self) -> Health:
        """Asks every address for its models."""
        models: set[str] = set()
        try:
            for base in self._bases:
                models.update(str(item.get("id")) for item in await self._models(base) or ())
        except CallError as error:
            what, _, fix = str(error).partition(". ")
            return Health(False, what, fix=fix)
        version = await self._version(self._bases[0])
        where = ", ".join(self._bases)
        count = f"{len(models)} model{'' if len(models) == 1 else 's'}"
        return Health(True, f"answers at {where}, {count}", version, tuple(sorted(models)))

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        await self._transport.aclose()

    def _event(self, event: bytes, answer: StreamedAnswer, response: httpx.Response, model: str) -> str:
        if event == b"[DONE]":
            answer.done = True
            return ""
        try:
            chunk = orjson.loads(event)
        except orjson.JSONDecodeError:
            raise self._faults.not_an_answer(event, "", str(response.request.url)) from None
        if isinstance(chunk, dict) and chunk.get("error"):
            raise self._faults.event(chunk, str(response.request.url), model)
        with self._hidden_key():
            return answer.add(chunk)

    @contextmanager
    def _hidden_key(self) -> Iterator[None]:
        try:
            yield
        except BadAnswerError as error:
            raise BadAnswerError(self._faults.hide(str(error)), status=error.status) from None

    def _json(self, response: httpx.Response) -> Any:
        try:
            return orjson.loads(response.content)
        except orjson.JSONDecodeError:
            kind = response.headers.get("content-type", "")
            raise self._faults.not_an_answer(response.content, kind, str(response.request.url)) from None

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

    async def _models(self, base: str) -> list[dict[str, Any]] | None:
        """What /models lists; None where there is no such list."""
        response = await self._get(f"{base}/models", _LOOK_UP)
        if response.status_code in (404, 405, 501):
            return None
        if response.status_code != 200:
            raise self._faults.response(response.status_code, response.headers, response.content, f"{base}/models", "")
        found = self._json(response)
        listed = found.get("data") if isinstance(found, dict) else None
        return [item for item in listed or () if isinstance(item, dict)]

    async def _version(self, base: str) -> str | None:
        path = _VERSION.get(self.kind)
        if path is None:
            return None
        try:
            response = await self._get(re.sub(r"/v\d[^/]*$", "", base) + path, 2.0)
            version = orjson.loads(response.content).get("version") if response.status_code == 200 else None
        except (CallError, orjson.JSONDecodeError, AttributeError):
            return None
        return f"{self.kind} {version}" if isinstance(version, str) else None

    async def _get(self, url: str, timeout: float) -> httpx.Response:
        try:
            async with asyncio.timeout(timeout):
                return await self._transport.client().get(url)
        except TimeoutError:
            raise self._faults.deadline(timeout, url) from None
        except _TRANSPORT_ERRORS as error:
            raise self._faults.transport(error, url) from None


class _Events:
    """Cuts a byte stream into the payloads of its `data:` lines."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()


def _encoded(body: dict[str, Any], request: Request) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError as error:
        raise BadRequestError(
            f"{request.model}: this request is no JSON: {error}. Look for half of a surrogate pair in the text, and for "
            "objects in params.extra or params.schema."
        ) from None


def _base(url: str) -> str:
    """The address up to and with its version, such as http://gpu-a:8000/v1; a path that holds one is left as it is."""
    url = re.sub(r"/(chat/)?completions$", "", url.rstrip("/"))
    path = url.partition("://")[2].partition("/")[2]
    return url if re.search(r"(^|/)v\d", path) else f"{url}/v1"


def _received(answer: StreamedAnswer) -> str | None:
    return f"{len(answer.text):,} characters" if answer.begun else None


async def _drain(pieces: AsyncIterator[bytes]) -> None:
    """Read the end of the body, which lets the connection be used again."""
    with suppress(TimeoutError, *_TRANSPORT_ERRORS):
        async with asyncio.timeout(0.5):
            async for _ in pieces:
                pass
