"""Answers the requests of the openai package from a `Client`, in place of a network."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, Literal, NoReturn

import httpx
import openai
import orjson

from workbench.client import Client
from workbench.errors import (
    AuthenticationError,
    BadAnswerError,
    BadRequestError,
    CallError,
    CallTimeoutError,
    ConnectError,
    ContextLengthError,
    IncompleteStreamError,
    InputError,
    ModelNotFoundError,
    OverloadedError,
    RateLimitError,
    StoppedError,
    WorkbenchError,
)
from workbench.openai_bridge.answers import DONE, Events, answer_body, embedding_body, event
from workbench.openai_bridge.requests import Asked, read_embedding, read_request
from workbench.records import Chunk, split_model

__all__ = ["BenchTransport"]

_KINDS: dict[str, Literal["chat", "completion"]] = {"/chat/completions": "chat", "/completions": "completion"}
_NO_TIMEOUT = 600.0  # seconds where the caller set no timeout: the package's own default; nothing here waits for ever
_STATUS: tuple[tuple[type[WorkbenchError], int, str | None], ...] = (
    (AuthenticationError, 401, "invalid_api_key"),
    (ModelNotFoundError, 404, "model_not_found"),
    (ContextLengthError, 400, "context_length_exceeded"),
    (RateLimitError, 429, "rate_limit_exceeded"),
    (OverloadedError, 503, None),
    (BadAnswerError, 502, None),
    (BadRequestError, 400, None),
    (InputError, 400, None),
)  # with the codes that OpenAI's API gives, where it has one
_UNREACHED = (ConnectError, IncompleteStreamError, StoppedError)


class BenchTransport(httpx.AsyncBaseTransport):
    """Opens no socket. model: `endpoint/model`; a call may name that model, another of its endpoint, or another `endpoint/model`.

    Raises SettingsError if there is no such endpoint.
    """

    def __init__(self, client: Client, model: str) -> None:
        client.runtime(model)
        self._client = client
        self._model = model

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer; a CallError becomes the status, or the exception, from which the package makes its own error."""
        try:
            return await self._answer(request)
        except WorkbenchError as error:
            return _refusal(error, request)

    async def aclose(self) -> None:
        """The workbench stays open: others use it too."""

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        path = re.sub(r"^/v\d+(?=/)", "", request.url.path).rstrip("/")
        if request.method == "GET" and path == "/models":
            return _json(await self._models())
        if request.method == "GET" and path.startswith("/models/"):
            return _json(await self._describe(path.removeprefix("/models/")))
        if request.method != "POST" or path not in (*_KINDS, "/embeddings"):
            raise BadRequestError(
                f"{request.method} {path} is not carried by the workbench. It carries /chat/completions, /completions, "
                "/embeddings and /models: use client.chat.completions, client.completions, client.embeddings and "
                "client.models, or a client of the openai package itself for the rest.",
                status=404,
            )
        if request.url.query:
            raise BadRequestError(
                f"extra_query ({request.url.query.decode()!r:.80}) is not carried: leave it out, or use the openai package's "
                "own client."
            )
        body = await _body(request)
        model, timeout = self._named(body.get("model")), _timeout(request)
        if path == "/embeddings":
            texts, encoded = read_embedding(body)
            return _json(embedding_body(await self._client.embed(model, texts, timeout=timeout), encoded=encoded))
        asked = read_request(_KINDS[path], body, model, self._client.runtime(model).kind, timeout)
        if asked.stream:
            return await self._stream(asked, request)
        completion = await self._client.complete(asked.request, **asked.fields)
        answer = answer_body(asked.request.kind, completion, self._client.cost(model, completion))
        return _json(answer, {"x-request-id": str(answer["id"]).encode("ascii", "replace").decode()})

    async def _stream(self, asked: Asked, request: httpx.Request) -> httpx.Response:
        """Waits for the first piece, so that a refusal comes as a status, as it does from a server."""
        chunks = self._client.stream(asked.request, **asked.fields)
        first = await anext(chunks)
        stream = _EventStream(self._client, asked, chunks, first, request)
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=stream)

    async def _models(self) -> dict[str, Any]:
        """Those of the endpoint, named without it."""
        endpoint, _ = split_model(self._model)
        health = await self._client.health(endpoint)
        if not health.ok and not health.models:
            raise OverloadedError(f"{endpoint} does not list its models: {health.detail}. {health.fix}")
        kind = self._client.runtime(self._model).kind
        models = [{"id": name, "object": "model", "created": 0, "owned_by": kind} for name in health.models]
        return {"object": "list", "data": models}

    async def _describe(self, named: str) -> dict[str, Any]:
        model = self._named(named)
        info = await self._client.describe(model)
        return {
            "id": named, "object": "model", "created": 0, "owned_by": self._client.runtime(model).kind,
            "max_model_len": info.context_length, "parent": info.base,
        }  # fmt: skip

    def _named(self, named: object) -> str:
        """`endpoint/model` for what a call names: "" or nothing is the client's own model."""
        if not named:
            return self._model
        if not isinstance(named, str):
            raise BadRequestError(f"model = {named!r:.80} must be a text.")
        own, own_name = split_model(self._model)
        first, slash, name = named.partition("/")
        # a model's own name may begin like an endpoint's, as openai/gpt-oss-20b does on a vLLM server
        if named != own_name and slash and name and first in self._client.endpoints:
            return named
        return f"{own}/{named}"


class _EventStream(httpx.AsyncByteStream):
    """The events of one answer. Closing it stops the model."""

    def __init__(
        self, client: Client, asked: Asked, chunks: AsyncGenerator[Chunk, None], first: Chunk, request: httpx.Request
    ) -> None:
        self._client = client
        self._asked = asked
        self._chunks = chunks
        self._first = first
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        model = self._asked.request.model
        events = Events(self._asked.request.kind, model, usage=self._asked.usage)
        for piece in events.begin():
            yield piece
        chunk: Chunk | None = self._first
        while chunk is not None:
            done = chunk.completion
            for piece in events.piece(chunk) if done is None else events.end(done, self._client.cost(model, done)):
                yield piece
            try:
                chunk = await anext(self._chunks, None)
            except WorkbenchError as error:
                if isinstance(error, (*_UNREACHED, CallTimeoutError)):
                    _raise(error, self._request)
                yield event({"error": _told(error)[1]})
                return
        yield DONE

    async def aclose(self) -> None:
        await self._chunks.aclose()


async def _body(request: httpx.Request) -> dict[str, Any]:
    try:
        body = orjson.loads(await request.aread())
    except orjson.JSONDecodeError as error:
        raise BadRequestError(f"the request's body is no JSON: {error}.") from None
    if not isinstance(body, dict):
        raise BadRequestError("the request's body must be a JSON object.")
    return body


def _timeout(request: httpx.Request) -> float:
    """Seconds for the whole answer, from the package's read timeout."""
    return request.extensions.get("timeout", {}).get("read") or _NO_TIMEOUT


def _json(body: Mapping[str, Any], headers: Mapping[str, str] | None = None, status: int = 200) -> httpx.Response:
    named = {"content-type": "application/json", **(headers or {})}
    return httpx.Response(status, headers=named, content=orjson.dumps(body))


def _refusal(error: WorkbenchError, request: httpx.Request) -> httpx.Response:
    if isinstance(error, (*_UNREACHED, CallTimeoutError)):
        _raise(error, request)
    status, told = _told(error)
    headers = {"x-should-retry": "false"}  # what is worth trying again was tried again
    if isinstance(error, CallError) and error.retry_after is not None:
        headers["retry-after"] = f"{error.retry_after:g}"
    return _json({"error": told}, headers, status)


def _told(error: WorkbenchError) -> tuple[int, dict[str, Any]]:
    """(status, error object). Where a server gave a status of the same kind, it is kept."""
    status, code = next(((status, code) for kind, status, code in _STATUS if isinstance(error, kind)), (500, None))
    given = error.status if isinstance(error, CallError) else None
    if given is not None and given // 100 == status // 100 and status in (400, 401, 500):
        status = given
    if isinstance(error, RateLimitError) and not error.retryable:
        code = "insufficient_quota"
    return status, {"message": str(error), "type": type(error).__name__, "param": None, "code": code}


def _raise(error: CallError, request: httpx.Request) -> NoReturn:
    """What has no status, as the package's own error, with our message in place of its general one."""
    raised: openai.APIConnectionError
    if isinstance(error, CallTimeoutError):
        raised = openai.APITimeoutError(request=request)  # type: ignore[arg-type]
        raised.message, raised.args = str(error), (str(error),)
    else:
        raised = openai.APIConnectionError(message=str(error), request=request)  # type: ignore[arg-type]
    raise raised from error
