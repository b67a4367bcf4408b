"""The embedded model behind llama.cpp's HTTP server: the same answers by three ways, its key, its slots and its end."""

from __future__ import annotations

import asyncio
import json
import os
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from workbench import errors, weights
from workbench.records import Completion, Message, Params, Request, ServerMetrics
from workbench.serving import engine as engines
from workbench.serving import open_runtime
from workbench.serving.embedded import Embedded
from workbench.serving.embedded_server import EmbeddedServer
from workbench.serving.local_server import check_port
from workbench.serving.openai_compatible import OpenAICompatible
from workbench.settings import Endpoint, Secret, load_settings

NAME = "smollm2-135m"
GREEDY = Params(temperature=0, seed=1, max_tokens=16)
ENDLESS = Params(temperature=0, seed=1, max_tokens=1900, extra={"ignore_eos": True})
SCHEMA = {"type": "object", "properties": {"city": {"enum": ["Lisbon", "Rome"]}, "sure": {"type": "boolean"}},
          "required": ["city", "sure"], "additionalProperties": False}  # fmt: skip
FEW_SHOT = (
    "Message: I love this\nSentiment: positive\n\nMessage: it broke at once\nSentiment: negative\n\n"
    "Message: waited three weeks and nobody answered\nSentiment:"
)


def chat(text: str, params: Params = GREEDY) -> Request:
    return Request(f"local/{NAME}", "chat", (Message("system", "Be brief."), Message("user", text)), params=params)


def raw(prompt: str, params: Params = GREEDY) -> Request:
    return Request(f"local/{NAME}", "completion", prompt=prompt, params=params)


REQUESTS = {
    "chat": chat("Name three colours."),
    "few-shot": raw(FEW_SHOT, replace(GREEDY, stop=("\n",))),
    "sampled": raw("Once upon a time", Params(temperature=1.2, top_p=0.95, seed=7, max_tokens=16)),
    "schema": chat("Where is Ana? As JSON:", replace(GREEDY, schema=SCHEMA, max_tokens=60)),
    "raw schema": raw("Where is Ana? As JSON:", replace(GREEDY, schema=SCHEMA, max_tokens=60)),
}


def _settings(real_weights: Path, folder: Path) -> Any:
    return load_settings(folder, environ={"WORKBENCH_WEIGHTS": str(real_weights)})


@pytest.fixture(scope="module")
def server(real_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    pytest.importorskip("xllamacpp")
    server = EmbeddedServer(_settings(real_weights, tmp_path_factory.mktemp("project")))
    asyncio.run(server.start(timeout=60))
    path = real_weights / weights.KNOWN[NAME].file
    engines.acquire(path, engines.EngineOptions())  # kept loaded for the tests that compare
    yield server
    engines.release(path, engines.EngineOptions())
    asyncio.run(server.stop())


async def test_streams_in_a_row_are_not_lost_to_connections_that_the_server_closes(runtime: OpenAICompatible) -> None:
    """llama-server closes a kept connection after a stream: the next request goes on another one."""
    for number in range(6):
        chunks = [chunk async for chunk in runtime.stream(chat(f"Say {number}.", replace(GREEDY, max_tokens=2)))]
        assert chunks[-1].completion is not None


@pytest.fixture
async def runtime(server: EmbeddedServer) -> AsyncIterator[OpenAICompatible]:
    runtime = open_runtime(server.endpoint("local"), server.settings)
    assert isinstance(runtime, OpenAICompatible)
    yield runtime
    await runtime.aclose()


@pytest.fixture
async def in_process(server: EmbeddedServer) -> AsyncIterator[Embedded]:
    runtime = Embedded(Endpoint("local", "embedded"), server.settings)
    yield runtime
    await runtime.aclose()


async def streamed(runtime: Any, request: Request) -> Completion:
    async with aclosing(runtime.stream(request)) as chunks:
        found = [chunk async for chunk in chunks]
    completion: Completion = found[-1].completion
    assert completion.text == "".join(chunk.text for chunk in found)
    return completion


def facts(answer: Completion) -> tuple[str, int | None, int | None, str | None]:
    return answer.text, answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.finish_reason


@pytest.mark.parametrize("name", REQUESTS)
async def test_over_http_and_in_process_the_answer_is_the_same(
    runtime: OpenAICompatible, in_process: Embedded, name: str
) -> None:
    """Text, token counts and finish reason, whole and streamed."""
    expected = facts(await in_process.complete(REQUESTS[name]))
    assert expected == facts(await streamed(in_process, REQUESTS[name]))
    assert expected == facts(await runtime.complete(REQUESTS[name]))
    assert expected == facts(await streamed(runtime, REQUESTS[name]))
    assert expected[0].strip()
    if "schema" in name:
        assert json.loads(expected[0])["city"] in ("Lisbon", "Rome")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ["chat", "few-shot", "sampled", "schema"])
async def test_the_openai_sdk_gets_the_same_from_the_server(
    server: EmbeddedServer, in_process: Embedded, name: str, stream: bool
) -> None:
    """An independent client, which builds its own requests."""
    from openai import AsyncOpenAI

    request = REQUESTS[name]
    params = request.params
    arguments: dict[str, Any] = {
        "model": NAME, "temperature": params.temperature, "seed": params.seed, "max_tokens": params.max_tokens, "stream": stream,
    }  # fmt: skip
    if params.top_p is not None:
        arguments["top_p"] = params.top_p
    if params.stop:
        arguments["stop"] = list(params.stop)
    if params.schema is not None:
        schema = {"name": "where", "schema": SCHEMA, "strict": True}
        arguments["response_format"] = {"type": "json_schema", "json_schema": schema}
    if stream:
        arguments["stream_options"] = {"include_usage": True}
    async with AsyncOpenAI(base_url=server.url, api_key=server.key.reveal()) as client:
        if request.kind == "chat":
            messages: Any = [{"role": item.role, "content": item.content} for item in request.messages]
            answer: Any = await client.chat.completions.create(messages=messages, **arguments)
        else:
            answer = await client.completions.create(prompt=request.prompt, **arguments)
        if stream:
            found = await _collected(answer)
        else:
            choice = answer.choices[0]
            text = choice.message.content if request.kind == "chat" else choice.text
            found = (text, answer.usage.prompt_tokens, answer.usage.completion_tokens, choice.finish_reason)
    assert facts(await in_process.complete(request)) == found


async def test_what_it_says_of_itself(runtime: OpenAICompatible, server: EmbeddedServer) -> None:
    """The model by its name, its context for one call, and its load."""
    info = await runtime.describe(NAME)
    assert 2048 == info.context_length
    assert (NAME,) == (await runtime.health()).models
    before = await runtime.metrics()
    answer = await runtime.complete(chat("Say hi"))
    after = await runtime.metrics()
    assert before is not None
    assert after is not None
    assert answer.usage.completion_tokens == (after.completion_tokens or 0) - (before.completion_tokens or 0)
    assert server.key.reveal() not in f"{server!r}{server.endpoint()!r}{runtime!r}{server.log}"


@pytest.mark.parametrize("key", [None, "wrong"])
@pytest.mark.parametrize(
    "path",
    ["/v1/models", "/v1/chat/completions", "/v1/completions", "/metrics", "/slots", "/props", "/tokenize", "/nothing"],
)
def test_only_health_is_open(server: EmbeddedServer, path: str, key: str | None) -> None:
    """Without the key, or with another one, all else is refused."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    method = "POST" if "completions" in path or path == "/tokenize" else "GET"
    request = urllib.request.Request(f"{server.root}{path}", data=b"{}" if method == "POST" else None, headers=headers)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=60)
    caught.value.close()
    assert 401 == caught.value.code
    with urllib.request.urlopen(f"{server.root}/health", timeout=60) as answer:
        assert b'{"status":"ok"}' == answer.read()


async def test_a_wrong_key_is_an_error_of_its_own(server: EmbeddedServer) -> None:
    """The runtime names the setting, and does not show the key."""
    wrong = OpenAICompatible(replace(server.endpoint("local"), key=Secret("wrong-key-7"), key_setting="LOCAL_KEY"))
    with pytest.raises(errors.AuthenticationError, match="LOCAL_KEY") as caught:
        await wrong.complete(chat("Say hi"))
    assert "wrong-key-7" not in str(caught.value)
    await wrong.aclose()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("ask", [chat, raw])
async def test_a_prompt_that_is_too_long(runtime: OpenAICompatible, ask: Callable[..., Request], stream: bool) -> None:
    """An error of its own, before anything is computed."""
    request = ask("word " * 3000)
    with pytest.raises(errors.ContextLengthError, match="2048"):
        await (streamed(runtime, request) if stream else runtime.complete(request))


async def test_many_at_once_are_all_answered(runtime: OpenAICompatible) -> None:
    """More than there are slots: they queue, and each gets its own answer."""
    words = ["apple", "table", "horse", "music", "silver", "winter", "paper", "river"]
    requests = [raw(f"{word}, {word}, {word}, {word}, {word},", replace(GREEDY, max_tokens=1)) for word in words * 4]
    answers = await asyncio.gather(*(runtime.complete(request) for request in requests))
    assert [f" {word}" for word in words * 4] == [answer.text for answer in answers]


async def test_a_cancelled_stream_frees_the_only_slot(real_weights: Path, tmp_path: Path) -> None:
    """The next call is answered at once, although the first would have kept the model busy for half a minute."""
    async with EmbeddedServer(_settings(real_weights, tmp_path), slots=1) as server:
        runtime = open_runtime(server.endpoint("local"), server.settings)
        assert isinstance(runtime, OpenAICompatible)
        async with aclosing(runtime.stream(raw("Once", ENDLESS))) as chunks:
            await anext(chunks)
            assert 1 == (await _metrics(runtime)).running
        answer = await runtime.complete(replace(raw("The capital of France is"), timeout=60))
        assert 16 == answer.usage.completion_tokens
        assert 0 == (await _metrics(runtime)).running
        assert 200 > ((await _metrics(runtime)).completion_tokens or 0)
        await runtime.aclose()


@pytest.mark.parametrize("stream", [False, True])
async def test_it_stops_while_it_answers(real_weights: Path, tmp_path: Path, stream: bool) -> None:
    """The port is free, its process is gone, and the call ends with an error."""
    server = EmbeddedServer(_settings(real_weights, tmp_path))
    await server.start(timeout=60)
    port, log = server.port, server.log
    runtime = open_runtime(server.endpoint("local"), server.settings)
    assert isinstance(runtime, OpenAICompatible)
    request = raw("Once", ENDLESS)
    call = asyncio.create_task(streamed(runtime, request) if stream else runtime.complete(request))
    async with asyncio.timeout(60):
        while not (await _metrics(runtime)).running:
            await asyncio.sleep(0.02)
    async with asyncio.timeout(5):
        await server.stop()
    with pytest.raises((errors.ConnectError, errors.IncompleteStreamError)):
        await call
    await runtime.aclose()
    check_port("127.0.0.1", port, "nobody")
    assert not server.running
    assert log is not None
    assert not log.exists()
    with pytest.raises(errors.LaunchError, match="no address"):
        _ = server.url
    await server.start(timeout=60)  # and it can be started again
    assert await server.healthy()
    await server.stop()


async def test_the_key_is_in_no_process_list(server: EmbeddedServer) -> None:
    """Nor in the log."""
    assert server.log is not None
    commands = b"".join(_read(path) for path in Path("/proc").glob("[0-9]*/cmdline"))
    assert b"embedded_host" in commands
    assert server.key.reveal().encode() not in commands
    assert server.key.reveal() not in server.log.read_text()


async def test_a_gguf_file_of_ones_own(real_weights: Path, tmp_path: Path, free_port: Callable[[], int]) -> None:
    """By its path in the project; it is served by the file's name. The port can be chosen."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.gguf").symlink_to(real_weights / weights.KNOWN[NAME].file)
    port = free_port()
    settings = _settings(real_weights, tmp_path)
    async with EmbeddedServer(settings, model="embedded/models/mine.gguf", port=port, key="mine") as server:
        assert f"http://127.0.0.1:{port}/v1" == server.url
        runtime = open_runtime(server.endpoint("local"), settings)
        assert (server.model,) == (await runtime.health()).models
        await runtime.aclose()
        with pytest.raises(errors.LaunchError, match=f"cannot listen at 127.0.0.1:{port}"):
            await EmbeddedServer(settings, port=port).start()
        assert settings.servers / f"embedded-{port}.log" == server.log


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"model": "nonesuch"}, errors.ModelNotFoundError, "It has: embedded/smollm2-135m"),
        ({"model": "nonesuch.gguf"}, errors.ModelNotFoundError, r"there is no file .*nonesuch.gguf"),
        ({"model": "broken.gguf"}, errors.LaunchError, r"ended before it was ready(.*\n)*.*broken.gguf"),
        ({"port": 80000}, errors.InputError, "port = 80000"),
        ({"slots": 0}, errors.SettingsError, "slots = 0"),
        ({"key": "zwei Wörter"}, errors.InputError, "printable ASCII"),
    ],
)
async def test_what_cannot_be_served(
    real_weights: Path, tmp_path: Path, fields: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Each with the reason; nothing is left running."""
    (tmp_path / "broken.gguf").write_bytes((real_weights / weights.KNOWN[NAME].file).read_bytes()[:4_000_000])
    with pytest.raises(error, match=message) as raised:
        await EmbeddedServer(_settings(real_weights, tmp_path), **fields).start(timeout=60)
    if isinstance(raised.value, errors.LaunchError):
        assert raised.value.log is not None
        assert raised.value.log.exists()
    commands = [_read(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert not any(os.fsencode(tmp_path) in command for command in commands)


async def _collected(chunks: Any) -> tuple[str, int, int, str | None]:
    pieces, usage, finish = [], None, None
    async for chunk in chunks:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            finish = choice.finish_reason or finish
            pieces.append((choice.delta.content if hasattr(choice, "delta") else choice.text) or "")
    assert usage is not None
    return "".join(pieces), usage.prompt_tokens, usage.completion_tokens, finish


async def _metrics(runtime: OpenAICompatible) -> ServerMetrics:
    found = await runtime.metrics()
    assert found is not None
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
