"""Each of our errors is the openai package's own class, with our message in it and no key."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from serving_doubles import delta, http, sends, sse

from workbench import Rule, Scripted, Workbench, errors
from workbench.client import Client

Bench = Callable[..., Workbench]
KEY = "sk-not-to-be-seen"
HI: Any = [{"role": "user", "content": "Hi"}]


def client_of(bench: Workbench) -> openai.AsyncOpenAI:
    """Bound to a model that is not there; no call is sent twice, so that nothing sleeps."""
    bench.client = Client(bench.settings, log=bench.calls, sleep=_never)
    return bench.openai("vllm/m")


async def _never(seconds: float) -> None:
    """The wait before the next try, at once."""


def refuses(status: int, message: str, kind: str = "") -> Any:
    return sends(http(json.dumps({"error": {"message": message, "type": kind}}), status))


@pytest.mark.parametrize(
    ("act", "kind", "status", "code", "message"),
    [
        (refuses(401, f"bad {KEY}"), openai.AuthenticationError, 401, "invalid_api_key", "did not accept the key in VLLM_API"),
        (refuses(403, "no"), openai.PermissionDeniedError, 403, "invalid_api_key", "use another key or model"),
        (refuses(404, "model `m` does not exist"), openai.NotFoundError, 404, "model_not_found", "vllm has no model 'm'"),
        (refuses(404, "Not Found"), openai.NotFoundError, 404, None, "not that of an OpenAI-compatible API"),
        (refuses(400, "maximum context length"), openai.BadRequestError, 400, "context_length_exceeded", "Shorten the prompt"),
        (refuses(400, "hot"), openai.BadRequestError, 400, None, "vllm refused the request (400): hot"),
        (refuses(422, "hm"), openai.UnprocessableEntityError, 422, None, "vllm refused the request (422): hm"),
        (refuses(429, "slow"), openai.RateLimitError, 429, "rate_limit_exceeded", "Lower the endpoint's concurrency"),
        (refuses(429, "0", "insufficient_quota"), openai.RateLimitError, 429, "insufficient_quota", "has no credit left"),
        (refuses(500, "oh"), openai.InternalServerError, 500, None, "vllm failed (500): oh"),
        (refuses(502, "oh"), openai.InternalServerError, 502, None, "vllm failed (502): oh"),
        (refuses(503, "busy"), openai.InternalServerError, 503, None, "vllm takes no work now (503): busy"),
        (sends(http("<html>log in</html>", content_type="text/html")), openai.InternalServerError, 502, None, "sent HTML"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
async def test_a_status_of_a_double_raises_the_class_of_the_package(
    act: Any, kind: Any, status: int, code: str, message: str, stream: bool, raw: Callable[..., Any], bench_on: Bench
) -> None:
    """Streamed or not: a refusal comes before the first piece."""
    server = raw(act)
    client = client_of(bench_on(server.url))
    with pytest.raises(kind) as raised:
        await client.chat.completions.create(model="m", messages=HI, stream=stream)
    error = raised.value
    assert kind is type(error)
    assert (status, code) == (error.status_code, error.code)
    assert message in error.message
    assert KEY not in f"{error!r} {error.body} {error.response.text} {error.response.headers} {error.request.headers}"


async def test_what_cannot_be_reached_is_a_connection_error_with_the_fix(unused_port: int, bench_on: Bench) -> None:
    """The package's own says only "Connection error."."""
    client = client_of(bench_on(f"http://127.0.0.1:{unused_port}"))
    with pytest.raises(openai.APIConnectionError, match=r"nobody listens at .* Start it with `vllm serve") as raised:
        await client.chat.completions.create(model="m", messages=HI)
    assert isinstance(raised.value.__cause__, errors.ConnectError)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_timeout_of_the_call_is_the_deadline(stream: bool, raw: Callable[..., Any], bench_on: Bench) -> None:
    """As `timeout=` of the call or of with_options."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.hold(reader)

    server = raw(act)
    client = client_of(bench_on(server.url)).with_options(timeout=0.05)
    with pytest.raises(openai.APITimeoutError, match=r"no complete answer from .* within 0\.0\d* s") as raised:
        await client.chat.completions.create(model="m", messages=HI, stream=stream)
    assert isinstance(raised.value.__cause__, errors.CallTimeoutError)
    assert "max_tokens" in raised.value.message


@pytest.mark.parametrize(
    ("events", "kind", "message"),
    [
        ([], openai.APIConnectionError, "was cut off after"),
        ([{"error": {"message": "out of memory", "code": 500}}], openai.APIError, "vllm failed (500): out of memory"),
    ],
)
async def test_a_stream_of_a_double_that_breaks_raises_after_its_pieces(
    events: Any, kind: Any, message: str, raw: Callable[..., Any], bench_on: Bench
) -> None:
    """Half an answer is never taken for a whole one."""
    server = raw(sends(http(sse(delta("Half"), *events), content_type="text/event-stream")))
    stream = await client_of(bench_on(server.url)).chat.completions.create(model="m", messages=HI, stream=True)
    pieces: list[str | None] = []

    async def read() -> None:
        async for chunk in stream:
            pieces.append(chunk.choices[0].delta.content)  # noqa: PERF401  (they are there when it breaks)

    with pytest.raises(kind) as raised:
        await read()
    assert ["", "Half"] == pieces
    assert kind is type(raised.value)
    assert message in raised.value.message
    assert 1 == sum(head.startswith("POST") for head in server.heads)


async def test_the_package_does_not_try_again_on_top(project: Path, bench_on: Bench) -> None:
    """Whatever max_retries says: four tries are the workbench's, and the server's wait is told."""
    script = Scripted([Rule(error="RateLimitError", retry_after=0.001)])
    bench = bench_on(runtimes={"scripted": script})
    client = bench.openai("scripted/m").with_options(max_retries=5)
    bench.client._sleep = _never
    with pytest.raises(openai.RateLimitError, match="scripted RateLimitError") as raised:
        await client.chat.completions.create(model="m", messages=HI)
    assert 4 == script.calls
    assert "0.001" == raised.value.response.headers["retry-after"]


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda client: client.responses.create(model="m", input="Hi"), "POST /responses is not carried"),
        (lambda client: client.files.list(), "GET /files is not carried"),
        (lambda client: client.images.generate(prompt="a cat"), "It carries /chat/completions, /completions"),
        (lambda client: client.chat.completions.retrieve("x"), "GET /chat/completions/x is not carried"),
    ],
)
async def test_other_parts_of_the_api_say_what_there_is(act: Any, message: str, bench_on: Bench) -> None:
    """They are a 404, as from a server that does not know them."""
    with pytest.raises(openai.NotFoundError) as raised:
        await act(bench_on().openai("scripted/echo"))
    assert message in raised.value.message


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"n": 2}, "one call gives one answer"),
        ({"extra_query": {"api-version": "1"}}, "extra_query .* is not carried"),
        ({"model": 5}, "model = 5 must be a text"),
        ({"model": "nowhere.toml"}, "there is no file"),
    ],
)
async def test_a_request_that_cannot_be_carried_is_a_client_error(wanted: Any, message: str, bench_on: Bench) -> None:
    """In words that say what to do."""
    client = bench_on().openai("scripted/echo")
    with pytest.raises((openai.BadRequestError, openai.NotFoundError), match=message):
        await client.chat.completions.create(**({"model": "", "messages": HI} | wanted))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("strict/m", r"\[endpoints\.strict\.options\]: colour = 'red' is not an option of kind vllm"),
        ("silent/m", "no rule of silent/m matches this request"),
    ],
)
async def test_what_is_wrong_with_the_settings_is_a_client_error(
    model: str, message: str, stream: bool, bench_on: Bench
) -> None:
    """Found when the endpoint that a call names is first used, long after the client was made."""
    settings = """
[endpoints.strict]
kind = "vllm"
url = "http://127.0.0.1:9"
options = {colour = "red"}
[endpoints.silent]
kind = "scripted"
options = {rules = [{match = "never", answer = "x"}]}
"""
    client = bench_on(settings=settings).openai("scripted/echo")
    with pytest.raises(openai.BadRequestError, match=message):
        await client.chat.completions.create(model=model, messages=HI, stream=stream)


async def test_models_of_an_endpoint_that_is_down_are_an_error(unused_port: int, bench_on: Bench) -> None:
    """With its fix, rather than an empty list."""
    client = bench_on(f"http://127.0.0.1:{unused_port}").openai("vllm/m")
    with pytest.raises(openai.InternalServerError, match="vllm does not list its models: nobody listens"):
        await client.models.list()


def test_an_unknown_endpoint_is_named_at_once(bench_on: Bench) -> None:
    """Before any call is made."""
    with pytest.raises(errors.SettingsError, match=r"there is no endpoint 'vlm'\. Did you mean 'vllm'"):
        bench_on().openai("vlm/m")
    with pytest.raises(errors.InputError, match="does not name an endpoint"):
        bench_on().openai("m")
