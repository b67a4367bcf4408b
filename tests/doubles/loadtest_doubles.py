"""A loop whose time is virtual (hours pass in milliseconds, every duration is exact), a server's double, and cells by hand."""

from __future__ import annotations

import asyncio
import json
import selectors
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from workbench.loadtest.measures import Cell, Sample
from workbench.loadtest.plan import Load
from workbench.loadtest.result import LoadTest

LOAD = Load(concurrency=4)


class _Jump(selectors.DefaultSelector):  # type: ignore[misc,valid-type]  (the system's best one)
    """Where a real selector would wait, time goes on instead."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        found = super().select(0 if timeout is not None else None)
        if not found and timeout:
            self.loop.now += timeout
        return list(found)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: `now` goes on to the next timer. `block` stands for work that holds the loop up."""

    def __init__(self) -> None:
        selector = _Jump()
        selector.loop = self
        self.now = 0.0
        super().__init__(selector)

    def time(self) -> float:
        return self.now

    def block(self, seconds: float) -> None:
        self.now += seconds


def block(seconds: float) -> None:
    """Hold the running virtual loop up."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.block(seconds)


def sample(
    ended: float, latency: float | None = 1.0, ttft: float | None = 0.4, tokens: int | None = 4, *, due: float | None = None,
    prompt: int | None = 20, error: str | None = None,
) -> Sample:  # fmt: skip
    """A request that ended then, sent when it was due."""
    start = ended - (latency or 0.0) if due is None else due
    if error is not None:
        return Sample(start, start, ended, error=error)
    return Sample(start, start, ended, ttft, latency, prompt, tokens, 0)


def cell_of(samples: Sequence[Sample], model: str = "a/m", load: Load = LOAD, **fields: Any) -> Cell:
    """A cell with these requests."""
    return Cell(model, load, len(samples), tuple(samples), 0.0, **fields)


def waves(count: int, latency: float = 1.0, width: int = 4, **fields: Any) -> list[Sample]:
    """`count` equal requests of a closed loop, `width` at once."""
    return [sample((number // width + 1) * latency, latency, **fields) for number in range(count)]


def load_test(*cells: Cell, path: Path | None = None, **fields: Any) -> LoadTest:
    """A load test that measured these cells."""
    loads = list(dict.fromkeys(cell.load for cell in cells))
    settings = {
        "models": list(dict.fromkeys(cell.model for cell in cells)),
        "loads": [{"concurrency": at.concurrency, "rate": at.rate, "requests": 8, "warmup": 1} for at in loads],
        "prompt_tokens": 20, "output_tokens": 4, "shared_tokens": 0, "seed": 0, "params": {}, "raw": False, "timeout": 120.0,
        "target": {"ttft": None, "tpot": None, "latency": None},
    }  # fmt: skip
    settings |= fields.pop("settings", {})
    given: dict[str, Any] = {"machine": {"host": "here", "cores": "2"}} | fields
    return LoadTest(
        given.pop("test_id", "20261124-000000-aaaa"), 1.79e9, settings, path or Path("nowhere"), cells=cells, **given
    )


class StreamingDouble:
    """A small HTTP server that streams answers of as many tokens as were asked for, as vLLM does, on a thread of its own.

    most_in_flight: calls at once that it saw. foreign: requests of others that its metrics count with each call. hits: share of a
    prompt's tokens that it says its prefix cache held. bodies: what it was asked. usage: whether it counts tokens.
    """

    def __init__(self) -> None:
        self.foreign = 0
        self.hits = 0.0
        self.usage = True
        self.pause = 0.002  # seconds after each token
        self.bodies: list[dict[str, Any]] = []
        self.in_flight = self.most_in_flight = self._requests = self._queries = 0

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *exc: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/version", self._version)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "m", "object": "model", "max_model_len": 512}]})

    async def _version(self, request: web.Request) -> web.Response:
        return web.json_response({"version": "0.32.0"})

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(
            text=f'vllm:num_requests_running{{model_name="m"}} {self.in_flight}\n'
            f'vllm:request_success_total{{finished_reason="length",model_name="m"}} {self._requests}\n'
            f'vllm:prefix_cache_queries_total{{model_name="m"}} {self._queries}\n'
            f'vllm:prefix_cache_hits_total{{model_name="m"}} {self._queries * self.hits}\n'
        )

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            body = await request.json()
            self.bodies.append(body)
            prompt, count = len(body["messages"][-1]["content"].split()) + 10, body["max_tokens"]
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            for number in range(count):
                finish = "length" if number == count - 1 else None
                await self._send(
                    response, {"choices": [{"index": 0, "delta": {"content": "w "}, "finish_reason": finish}]}
                )
                await asyncio.sleep(self.pause)
            if self.usage:
                await self._send(
                    response, {"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": count}}
                )
            await response.write(b"data: [DONE]\n\n")
            self._queries += prompt
            self._requests += 1 + self.foreign
            return response
        finally:
            self.in_flight -= 1

    async def _send(self, response: web.StreamResponse, event: dict[str, Any]) -> None:
        await response.write(f"data: {json.dumps(event)}\n\n".encode())
