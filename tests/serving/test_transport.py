"""Connections: event loops, cancelling, replicas, proxies."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from serving_doubles import ANSWER, CHAT, ask, delta, http, listen, sends, sse

import workbench
from workbench.serving.openai_compatible import OpenAICompatible

Make = Callable[..., Any]


async def test_the_time_of_the_reader_is_not_counted_against_the_deadline(
    raw: Make, endpoint: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who takes an hour over a piece of a double's stream still gets the rest."""
    hours, real = [0], time.perf_counter
    monkeypatch.setattr(time, "perf_counter", lambda: real() + 3600 * hours[0])
    piece_is_read = threading.Semaphore(0)

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parts = [sse(delta("a")), sse(delta("b")), sse(delta("c", "stop"), "[DONE]")]
        writer.write(http("", length=len("".join(parts)), content_type="text/event-stream"))
        for part in parts:
            writer.write(part.encode())
            assert await asyncio.to_thread(piece_is_read.acquire, True, 60)

    runtime = OpenAICompatible(endpoint(raw(act).url))
    seen = []
    async for chunk in runtime.stream(CHAT):
        hours[0] += 1
        seen.append(chunk.text)
        piece_is_read.release()
    await runtime.aclose()
    assert ["a", "b", "c", ""] == seen


@pytest.mark.parametrize("stream", [False, True])
async def test_cancelling_a_call_hangs_up_on_the_double(raw: Make, endpoint: Make, stream: bool) -> None:
    """So the server stops generating."""
    server = raw(lambda reader, writer: server.hold(reader))
    runtime = OpenAICompatible(endpoint(server.url))
    task = asyncio.create_task(listen(runtime) if stream else ask(runtime))
    assert await asyncio.to_thread(server.arrived.wait, 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(server.closed.wait, 60)


async def test_leaving_a_stream_early_hangs_up_on_the_double(raw: Make, endpoint: Make) -> None:
    """Closing the iterator is enough."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http(sse(delta("The")), length=999, content_type="text/event-stream"))
        await server.hold(reader)

    server = raw(act)
    runtime = OpenAICompatible(endpoint(server.url))
    pieces = runtime.stream(CHAT)
    assert "The" == (await anext(pieces)).text
    await pieces.aclose()
    assert await asyncio.to_thread(server.closed.wait, 60)
    await runtime.aclose()


async def test_connections_are_not_the_bound_on_calls_at_once(raw: Make, endpoint: Make) -> None:
    """All of 150 calls reach the double before one is answered."""
    count, everybody = 150, asyncio.Event()

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(server.heads) == count:
            everybody.set()
        await asyncio.wait_for(everybody.wait(), 60)
        writer.write(http(json.dumps(ANSWER)))

    server = raw(act)
    runtime = OpenAICompatible(endpoint(server.url))
    answers = await asyncio.gather(*(runtime.complete(CHAT) for _ in range(count)))
    await runtime.aclose()
    assert ["ok"] * count == [answer.text for answer in answers]


def test_one_runtime_in_many_event_loops(recorded: Make, endpoint: Make) -> None:
    """Each asyncio.run gets connections of its own, closed with it, without a word about unclosed ones."""
    server = recorded("vllm", "K")
    runtime = OpenAICompatible(endpoint(server.url, key="K"))

    async def twice() -> list[str]:
        return [(await runtime.complete(CHAT)).text for _ in range(2)]

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        texts = [asyncio.run(twice()) for _ in range(3)]
        gc.collect()
    assert [["The box was crushed."] * 2] * 3 == texts
    assert [] == [str(item.message) for item in seen]


async def test_a_runtime_that_is_dropped_closes_its_connections(recorded: Make, endpoint: Make) -> None:
    """As when a notebook's variable is set anew; even as part of a cycle, and without a word about unclosed ones."""
    server = recorded("vllm", "K")
    runtime = OpenAICompatible(endpoint(server.url, key="K"))
    await runtime.complete(CHAT)
    client = runtime.connection._transport.client()
    cycle: list[Any] = [runtime]
    cycle.append(cycle)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        del runtime, cycle
        gc.collect()
        for _ in range(10):
            await asyncio.sleep(0)
    assert client.is_closed
    assert [] == [str(item.message) for item in seen]


async def test_a_closed_runtime_opens_again(recorded: Make, endpoint: Make) -> None:
    """aclose frees connections and ends nothing."""
    runtime = OpenAICompatible(endpoint(recorded("vllm", "K").url, key="K"))
    assert "The box was crushed." == (await ask(runtime)).text
    assert "The box was crushed." == (await ask(runtime)).text


async def test_replicas_of_a_double_are_asked_in_turn(raw: Make, endpoint: Make) -> None:
    """Several addresses are one endpoint."""
    servers = [raw(sends(http(json.dumps(ANSWER)))) for _ in range(2)]
    runtime = OpenAICompatible(endpoint(*(server.url for server in servers)))
    for _ in range(4):
        await runtime.complete(CHAT)
    await runtime.aclose()
    assert [2, 2] == [len(server.heads) for server in servers]


async def test_the_proxy_of_the_environment_is_used(raw: Make, endpoint: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A double of a proxy is asked for a host that only it could know."""
    proxy = raw(sends(http(json.dumps(ANSWER))))
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", "localhost")
    answer = await ask(OpenAICompatible(endpoint("http://models.invalid:8000")))
    assert "ok" == answer.text
    assert proxy.heads[0].startswith("POST http://models.invalid:8000/v1/chat/completions")


LEFT = """
import asyncio, sys
from workbench.records import Message, Request
from workbench.serving.openai_compatible import OpenAICompatible
from workbench.settings import Endpoint
runtime = OpenAICompatible(Endpoint("vllm", "vllm", (sys.argv[1],)))
request = Request("vllm/smollm2", "chat", (Message("user", "x"),))
for _ in range(2):
    loop = asyncio.new_event_loop()
    print(loop.run_until_complete(runtime.complete(request)).text)
    if sys.argv[2] == "closed":
        loop.close()
"""


@pytest.mark.parametrize("how", ["left", "closed"])
def test_a_process_may_end_without_closing_anything(recorded: Make, how: str) -> None:
    """With event loops that were left or closed by hand, as notebooks do: no word on stderr."""
    server = recorded("vllm")
    server.play("chat")
    environ = os.environ | {"PYTHONPATH": str(Path(workbench.__file__).parents[1])}
    ended = subprocess.run(
        [sys.executable, "-c", LEFT, server.url, how],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (0, "The box was crushed.\n" * 2, "") == (ended.returncode, ended.stdout, ended.stderr)
