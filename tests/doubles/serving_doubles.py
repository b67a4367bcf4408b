"""Doubles of model servers, each on a loopback port and an event loop of its own thread."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from workbench.records import Completion, Message, Params, Request
from workbench.serving.ollama import Ollama
from workbench.serving.openai_compatible import OpenAICompatible

RECORDED = Path(__file__).parents[1] / "serving" / "recorded"


class _InThread:
    """Runs `_start` and `_stop` in a loop of a thread; `url` is set by `_start`."""

    url = ""

    def __enter__(self) -> Self:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self.loop).result(10)
        return self

    def __exit__(self, *exc: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    async def _start(self) -> None:
        raise NotImplementedError

    async def _stop(self) -> None:
        raise NotImplementedError


class RecordedServer(_InThread):
    """Answers as a real server was recorded to: to the same method, path, key and body, and to nothing else.

    seen: (path, headers, body) of what came. play(name): answer that path as in this exchange, whatever the body says.
    """

    def __init__(self, name: str, key: str = "") -> None:
        self.exchanges = {
            item["name"]: item for item in json.loads((RECORDED / f"{name}.json").read_text())["exchanges"]
        }
        self.key = key
        self.seen: list[tuple[str, Mapping[str, str], Any]] = []
        self._forced: dict[str, dict[str, Any]] = {}

    def play(self, name: str) -> None:
        exchange = self.exchanges[name]
        self._forced[exchange["request"]["path"]] = exchange

    def say(self, path: str, *answers: Any, status: int = 200) -> None:
        """Answer that path with one object, or with several as JSON lines."""
        if len(answers) == 1:
            response: dict[str, Any] = {"json": answers[0], "headers": {"content-type": "application/json"}}
        else:
            response = {
                "lines": [json.dumps(item) for item in answers],
                "headers": {"content-type": "application/x-ndjson"},
            }
        self._forced[path] = {"response": response | {"status": status}}

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _stop(self) -> None:
        await self._runner.cleanup()

    def _find(self, request: web.Request, body: Any) -> dict[str, Any] | None:
        if request.path in self._forced:
            return self._forced[request.path]
        authorized = not self.key or request.headers.get("Authorization") == f"Bearer {self.key}"
        for exchange in self.exchanges.values():
            wanted = exchange["request"]
            if (wanted["method"], wanted["path"]) != (request.method, request.path):
                continue
            if request.method == "POST" and (
                wanted.get("authorized", True) != authorized or wanted.get("json", wanted.get("content")) != body
            ):
                continue
            return exchange
        return None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body = _json(raw) if raw else None
        self.seen.append((request.path, dict(request.headers), body))
        exchange = self._find(request, body)
        if exchange is None:
            return web.json_response(
                {"detail": f"nothing recorded for {request.method} {request.path} {body}"}, status=418
            )
        recorded = exchange["response"]
        # how the bytes were framed is this server's own affair
        headers = {name: value for name, value in recorded["headers"].items() if name != "transfer-encoding"}
        headers.setdefault("content-type", "text/plain")
        if "lines" not in recorded:
            text = json.dumps(recorded["json"]) if "json" in recorded else recorded["text"]
            return web.Response(status=recorded["status"], body=text.encode(), headers=headers)
        response = web.StreamResponse(status=recorded["status"], headers=headers)
        await response.prepare(request)
        sent = ("\n".join(recorded["lines"]) + "\n").encode()
        for start in range(0, len(sent), 97):  # events are cut wherever the network likes
            await response.write(sent[start : start + 97])
        return response


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except json.JSONDecodeError:
        return raw.decode()


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class RawServer(_InThread):
    """Reads one request a connection, then does what `act` does with the connection; for what no proper server would do.

    heads: the head of each request. closed: set when a client hangs up while `act` waits in `hold`.
    """

    def __init__(self, act: Handler) -> None:
        self.act = act
        self.heads: list[str] = []
        self.closed = threading.Event()
        self.arrived = threading.Event()

    async def hold(self, reader: asyncio.StreamReader) -> None:
        """Wait for the client to hang up."""
        self.arrived.set()
        await reader.read()
        self.closed.set()

    async def _start(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            length = next((line for line in head.lower().splitlines() if line.startswith("content-length:")), ":0")
            await reader.readexactly(int(length.partition(":")[2]))
            await self.act(reader, writer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)


def http(body: bytes | str, status: int = 200, length: int | None = None, **headers: str) -> bytes:
    """An HTTP answer as bytes; `length` promises another length than the body's."""
    body = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body) if length is None else length}", "Connection: close"]
    named = {"content_type": "application/json"} | headers
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in named.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def sends(answer: bytes) -> Handler:
    """An `act` that sends these bytes and closes."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    return act


MESSAGES = (
    Message("system", "Answer with one word: positive or negative."),
    Message("user", "The delivery was late and the box was crushed."),
)
CHAT = Request("vllm/smollm2", "chat", MESSAGES, params=Params(temperature=0, seed=42, max_tokens=8))
OLLAMA = replace(CHAT, model="ollama/smollm2:135m")
RAW = Request("vllm/smollm2", "completion", prompt="Hello", params=Params(temperature=0, max_tokens=4))
ANSWER = {
    "id": "a1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1},
}


async def ask(runtime: OpenAICompatible | Ollama, request: Request = CHAT) -> Completion:
    """One call, and the connections closed after it."""
    try:
        return await runtime.complete(request)
    finally:
        await runtime.aclose()


async def listen(runtime: OpenAICompatible | Ollama, request: Request = CHAT) -> tuple[list[str], Completion]:
    """One streamed call: its pieces and its completion."""
    pieces, completion = [], None
    try:
        async for chunk in runtime.stream(request):
            if chunk.completion is None:
                pieces.append(chunk.text)
            else:
                completion = chunk.completion
    finally:
        await runtime.aclose()
    assert completion is not None
    return pieces, completion


def sse(*events: Any) -> str:
    return "".join(f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n" for event in events)


def delta(text: str, finish: str | None = None) -> dict[str, Any]:
    return {"id": "s1", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


SHORT = replace(OLLAMA, params=replace(OLLAMA.params, extra={"num_ctx": 1024}))
OLLAMA_SHOW = {
    "model_info": {"general.architecture": "llama", "llama.context_length": 8192},
    "capabilities": ["completion"],
}


def ollama_at(
    endpoint: Callable[..., Any], *urls: str, clock: Callable[[], float] = time.time, **fields: Any
) -> Ollama:
    """A runtime for the `endpoint` fixture, named ollama."""
    return Ollama(endpoint(*urls, name="ollama", kind="ollama", key_setting="OLLAMA_API_KEY", **fields), clock=clock)


def serve(recorded: Callable[..., Any]) -> Any:
    """The recorded Ollama when it had its model, of the `recorded` fixture."""
    server = recorded("ollama")
    server.play("tags")
    return server


def chat(text: str = "ok", **fields: Any) -> dict[str, Any]:
    """A whole answer of Ollama, or a piece of one with done = False."""
    message = {"role": "assistant", "content": text} | fields.pop("message", {})
    return {"model": "m", "message": message, "done": True, "done_reason": "stop"} | fields


def bodies(server: Any, path: str) -> list[Any]:
    """What came to a path."""
    return [body for seen, _, body in server.seen if seen == path]


def ndjson(*pieces: dict[str, Any], **fields: Any) -> bytes:
    return http("".join(json.dumps(piece) + "\n" for piece in pieces), content_type="application/x-ndjson", **fields)
