"""The OpenAI-compatible runtime against servers that refuse, break or send nonsense."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from serving_doubles import CHAT, OLLAMA, ask, delta, http, listen, sends, sse

from workbench import errors
from workbench.records import Params, Request
from workbench.serving.faults import retry_after
from workbench.serving.openai_compatible import OpenAICompatible

Make = Callable[..., Any]


RECORDED_FAULTS = [
    ("unauthorized", CHAT, "", errors.AuthenticationError, 401, "VLLM_API_KEY"),
    ("unknown_model", replace(CHAT, model="vllm/nope"), "K", errors.ModelNotFoundError, 404, "It has: smollm2."),
    ("empty_messages", replace(CHAT, messages=()), "K", errors.BadRequestError, 400, "empty conversation"),
    (
        "max_tokens_exceeds",
        replace(CHAT, params=replace(CHAT.params, max_tokens=100000)),
        "K",
        errors.ContextLengthError,
        400,
        "max_model_len=2048",
    ),
    (
        "wrong_type",
        replace(CHAT, params=replace(CHAT.params, extra={"temperature": "hot"})),
        "K",
        errors.BadRequestError,
        400,
        "valid number",
    ),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("name", "request_", "key", "kind", "status", "said"), RECORDED_FAULTS, ids=[item[0] for item in RECORDED_FAULTS]
)
async def test_refusals_of_a_recorded_vllm(
    recorded: Make, endpoint: Make, name: str, request_: Request, key: str, kind: type[errors.CallError], status: int,
    said: str, stream: bool,
) -> None:  # fmt: skip
    """Each becomes its own error with the server's words and the fix."""
    server = recorded("vllm", "K")
    if stream:
        server.play(name)
    runtime = OpenAICompatible(endpoint(server.url, key=key))
    with pytest.raises(kind) as caught:
        await (listen(runtime, request_) if stream else ask(runtime, request_))

    assert (kind, status, False) == (type(caught.value), caught.value.status, caught.value.retryable)
    assert said in str(caught.value)


async def test_a_prompt_too_long_for_a_recorded_vllm(recorded: Make, endpoint: Make) -> None:
    """It says so instead of a bare bad request."""
    server = recorded("vllm", "K")
    server.play("context_exceeded")
    with pytest.raises(errors.ContextLengthError, match="maximum context length is 2048 tokens"):
        await ask(OpenAICompatible(endpoint(server.url, key="K")))


async def test_an_unknown_model_of_a_recorded_ollama(recorded: Make, endpoint: Make) -> None:
    """The message lists what is there and how to pull what is not."""
    server = recorded("ollama")
    server.play("v1_unknown_model")
    server.play("v1_models")
    runtime = OpenAICompatible(endpoint(server.url, name="ollama", kind="ollama"))
    with pytest.raises(errors.ModelNotFoundError) as caught:
        await ask(runtime, replace(OLLAMA, model="ollama/nope"))
    expected = (
        "ollama has no model 'nope'. It has: smollm2:135m. Name one of those as ollama/MODEL, "
        "or get it with `workbench model pull ollama/nope` (or `ollama pull nope`)."
    )
    assert expected == str(caught.value)


async def test_an_address_may_be_written_in_capitals(recorded: Make, endpoint: Make) -> None:
    """What a server says is told from its address, which HTTP writes in its own way."""
    server = recorded("ollama")
    server.play("v1_unknown_model")
    server.play("v1_models")
    url = server.url.replace("127.0.0.1", "LOCALHOST")
    with pytest.raises(errors.ModelNotFoundError, match="It has: smollm2:135m"):
        await ask(OpenAICompatible(endpoint(url, name="ollama", kind="ollama")), replace(OLLAMA, model="ollama/nope"))


def error(message: str, **fields: Any) -> str:
    return json.dumps({"error": {"message": message} | fields})


FAULTS: list[tuple[int, dict[str, str], str, type[errors.CallError], float | None, bool, str]] = [
    (401, {}, '{"error": "Unauthorized"}', errors.AuthenticationError, None, False, "set VLLM_API_KEY"),
    (403, {}, error("no access"), errors.AuthenticationError, None, False, "no access"),
    (404, {}, '{"detail": "Not Found"}', errors.BadRequestError, None, False, "http://HOST:PORT"),
    (404, {}, "404 page not found", errors.BadRequestError, None, False, "VLLM_BASE_URL"),
    (404, {}, error("The model `x` does not exist", code="model_not_found"), errors.ModelNotFoundError, None, False, "has no"),
    (400, {}, error("too long", code="context_length_exceeded"), errors.ContextLengthError, None, False, "Shorten"),
    (
        400, {}, error("request (3001 tokens) exceeds the available context size", type="exceed_context_size_error"),
        errors.ContextLengthError, None, False, "3001",
    ),
    (422, {}, '{"error": "Input validation error: `inputs` must have less than 1536 tokens", "error_type": "validation"}',
     errors.ContextLengthError, None, False, "1536"),
    (422, {}, "Failed to deserialize the JSON body", errors.BadRequestError, None, False, "deserialize"),
    (400, {}, error("bad"), errors.BadRequestError, None, False, "params.extra"),
    (429, {"retry_after": "7"}, error("slow down"), errors.RateLimitError, 7.0, True, "concurrency"),
    (429, {}, '{"error": "Model is overloaded", "error_type": "overloaded"}', errors.RateLimitError, None, True, "overloaded"),
    (429, {}, error("pay", type="insufficient_quota", code="insufficient_quota"), errors.RateLimitError, None, False, "credit"),
    (503, {"retry_after": "3"}, '{"error": "server busy, please try again."}', errors.OverloadedError, 3.0, True, "busy"),
    (500, {}, error("boom"), errors.ServerError, None, True, "boom"),
    (502, {"content_type": "text/html"}, "<html>bad gateway</html>", errors.ServerError, None, True, "502"),
    (308, {"location": "https://elsewhere/v1"}, "", errors.BadAnswerError, None, False, "https://elsewhere/v1"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind", "wait", "retryable", "said"),
    FAULTS,
    ids=[f"{f[0]}-{n}" for n, f in enumerate(FAULTS)],
)
async def test_http_errors_of_a_double(
    raw: Make, endpoint: Make, status: int, headers: dict[str, str], body: str,
    kind: type[errors.CallError], wait: float | None, retryable: bool, said: str,
) -> None:  # fmt: skip
    """Each wording that real servers use becomes one error, with the fix and the seconds to wait."""
    server = raw(sends(http(body, status, **headers)))
    with pytest.raises(kind) as caught:
        await ask(OpenAICompatible(endpoint(server.url)))

    found = caught.value
    assert (kind, status, wait, retryable) == (type(found), found.status, found.retry_after, found.retryable)
    assert said in str(found)


WAITS = [
    ({"retry_after": "7"}, 7.0),
    ({"retry_after_ms": "1500"}, 1.5),
    ({"retry_after": "Mon, 23 Nov 2020 12:00:00 GMT"}, 0.0),
    ({"retry_after": "soon"}, None),
    ({}, None),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("headers", "wait"), WAITS)
@pytest.mark.parametrize(("status", "kind"), [(429, errors.RateLimitError), (503, errors.OverloadedError)])
async def test_how_long_a_double_asks_to_wait(
    raw: Make, endpoint: Make, status: int, kind: type[errors.CallError], headers: dict[str, str], wait: float | None,
    stream: bool,
) -> None:  # fmt: skip
    """In seconds, milliseconds or as a date, which is over here; also where a stream was asked for."""
    runtime = OpenAICompatible(endpoint(raw(sends(http(error("busy"), status, **headers))).url))
    with pytest.raises(kind) as caught:
        await (listen if stream else ask)(runtime)
    assert (wait, True) == (caught.value.retry_after, caught.value.retryable)


FLAT = '{"object": "error", "message": "MESSAGE", "type": "TYPE", "param": null, "code": 400}'
OTHERS: list[tuple[int, str, type[errors.CallError], bool, str]] = [
    (400, FLAT.replace("MESSAGE", "The input (3000 tokens) is longer than the model's context length (2048 tokens)."),
     errors.ContextLengthError, False, "3000 tokens"),
    (400, FLAT.replace("TYPE", "context_length_exceeded"), errors.ContextLengthError, False, "MESSAGE"),
    (413, "length limit exceeded", errors.BadRequestError, False, "larger than the server takes"),
    (501, error("no tokens here", type="not_supported_error"), errors.BadRequestError, False, "cannot do this"),
    (200, '{"error": {"message": "upstream is down", "code": 502}}', errors.ServerError, True, "upstream is down"),
    (200, '{"error": "Unexpected endpoint or method. (POST /chat). Returning 200 anyway"}', errors.BadAnswerError, False,
     "Unexpected endpoint"),
]  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "body", "kind", "retryable", "said"), OTHERS, ids=[f"{f[0]}-{n}" for n, f in enumerate(OTHERS)]
)
async def test_errors_in_the_words_of_other_servers(
    raw: Make,
    endpoint: Make,
    status: int,
    body: str,
    kind: type[errors.CallError],
    retryable: bool,
    said: str,
    stream: bool,
) -> None:
    """Doubles of SGLang, of a router and of LM Studio, which say 200 with an error."""
    with pytest.raises(kind, match=said) as caught:
        await (listen if stream else ask)(OpenAICompatible(endpoint(raw(sends(http(body, status))).url)))
    assert (kind, retryable) == (type(caught.value), caught.value.retryable)


NO_ANSWERS = [
    ("<html>Sign in</html>", "text/html", "HTML"),
    ("", "application/json", "nothing"),
    ('{"choices": [', "application/json", "no JSON"),
    ('{"choices": []}', "application/json", "no text in choices"),
    ('{"hello": "world"}', "application/json", "no text in choices"),
    ('{"choices": [{"message": {"content": 3}}]}', "application/json", "no text in choices"),
    ("[]", "application/json", "no text in choices"),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("body", "content_type", "said"), NO_ANSWERS)
async def test_200_without_an_answer_from_a_double(
    raw: Make, endpoint: Make, body: str, content_type: str, said: str, stream: bool
) -> None:
    """A login page or broken JSON is an error, never an empty text."""
    server = raw(sends(http(body, content_type=content_type)))
    runtime = OpenAICompatible(endpoint(server.url))
    with pytest.raises(errors.BadAnswerError, match=said):
        await (listen(runtime) if stream else ask(runtime))


STREAM_FAULTS: list[tuple[str, int | None, type[errors.CallError], str]] = [
    (sse(delta("The")), None, errors.IncompleteStreamError, "3 characters"),
    (sse(delta("The")), 9999, errors.IncompleteStreamError, "3 characters"),
    (sse(delta("The"))[:-9], None, errors.IncompleteStreamError, "nothing"),
    ("", None, errors.IncompleteStreamError, "nothing"),
    (sse(delta("The"), {"error": {"message": "engine died", "code": 500}}), None, errors.ServerError, "engine died"),
    (
        sse({"error": {"message": "Model is overloaded", "http_status_code": 422}}, "[DONE]"),
        None,
        errors.RateLimitError,
        "overloaded",
    ),
    (
        sse({"error": {"message": "`inputs` must have less than 9 tokens", "http_status_code": 422}}),
        None,
        errors.ContextLengthError,
        "9 tokens",
    ),
    (sse(delta("The"), "<html>"), None, errors.BadAnswerError, "HTML"),
    (sse(["x"]), None, errors.BadAnswerError, "no part of an answer"),
]


@pytest.mark.parametrize(("body", "length", "kind", "said"), STREAM_FAULTS)
async def test_streams_of_a_double_that_go_wrong(
    raw: Make,
    endpoint: Make,
    body: str,
    length: int | None,
    kind: type[errors.CallError],
    said: str,
) -> None:
    """A cut, an error inside a 200, and what is no event are errors; half an answer is never taken for a whole one."""
    server = raw(sends(http(body, length=length, content_type="text/event-stream")))
    with pytest.raises(kind, match=said):
        await listen(OpenAICompatible(endpoint(server.url)))


async def test_a_body_cut_by_a_double(raw: Make, endpoint: Make) -> None:
    """A connection that breaks inside an answer is worth another try."""
    server = raw(sends(http('{"choices"', length=500)))
    with pytest.raises(errors.IncompleteStreamError) as caught:
        await ask(OpenAICompatible(endpoint(server.url)))
    assert caught.value.retryable


async def test_nobody_listens(endpoint: Make, unused_tcp_port: int) -> None:
    """The message says how to start the server and which setting holds its address."""
    runtime = OpenAICompatible(endpoint(f"http://127.0.0.1:{unused_tcp_port}", by="VLLM_BASE_URL (environment)"))
    with pytest.raises(errors.ConnectError, match=r"vllm serve MODEL.*VLLM_BASE_URL \(environment\)") as caught:
        await ask(runtime)
    assert caught.value.retryable

    health = await runtime.health()
    await runtime.aclose()
    assert not health.ok
    assert "nobody listens" in health.detail
    assert "vllm serve" in health.fix


async def test_an_unknown_host(endpoint: Make) -> None:
    """A name that does not resolve is told from a server that is down."""
    with pytest.raises(errors.ConnectError, match="host is unknown"):
        await ask(OpenAICompatible(endpoint("http://no-such-host.invalid:1", name="gpu-a")))


async def test_a_double_that_resets_before_it_answers(raw: Make, endpoint: Make) -> None:
    """A server that restarts is worth another try, and is no timeout."""
    with pytest.raises(errors.ConnectError, match="before it answered") as caught:
        await ask(OpenAICompatible(endpoint(raw(sends(b"")).url)))
    assert caught.value.retryable


async def test_a_double_that_does_not_speak_http(raw: Make, endpoint: Make) -> None:
    """Such as a port of Redis."""
    with pytest.raises(errors.BadAnswerError, match="does not speak HTTP"):
        await ask(OpenAICompatible(endpoint(raw(sends(b"-ERR unknown command\r\n")).url)))


async def test_the_deadline_covers_the_whole_call_to_a_double(raw: Make, endpoint: Make) -> None:
    """A server that never answers costs the timeout, and its connection is closed."""
    server = raw(lambda reader, writer: server.hold(reader))
    with pytest.raises(errors.CallTimeoutError, match=r"within 1 s"):
        await ask(OpenAICompatible(endpoint(server.url)), replace(CHAT, timeout=1.0))
    assert await asyncio.to_thread(server.closed.wait, 60)


async def test_a_stream_of_a_double_that_stalls(raw: Make, endpoint: Make) -> None:
    """The message says how much had come."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http(sse(delta("The")), length=999, content_type="text/event-stream"))
        await server.hold(reader)

    server = raw(act)
    with pytest.raises(errors.CallTimeoutError, match="stopped after 3 characters"):
        await listen(OpenAICompatible(endpoint(server.url)), replace(CHAT, timeout=1.0))
    assert await asyncio.to_thread(server.closed.wait, 60)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, error("wrong key sk-secret-1")), (500, "sk-secret-1"), (200, '{"x": "sk-secret-1"}'), (200, "<p>sk-secret-1"),
        (200, sse({"error": {"message": "sk-secret-1"}})), (200, sse(["sk-secret-1"])), (200, sse("sk-secret-1")),
    ],
)  # fmt: skip
async def test_the_key_is_in_no_message_and_no_repr(raw: Make, endpoint: Make, status: int, body: str) -> None:
    """Not even when a double of a server sends it back."""
    kind = "text/event-stream" if body.startswith("data:") else "application/json"
    server = raw(sends(http(body, status, content_type=kind)))
    runtime = OpenAICompatible(endpoint(server.url, key="sk-secret-1"))
    with pytest.raises(errors.CallError) as caught:
        await listen(runtime)
    assert "****" in str(caught.value)
    assert "sk-secret-1" not in f"{caught.value!r} {runtime!r} {vars(runtime)!r}"


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (500, "x" * 590 + "sk-secret-1", {}),
        (200, '{"choices": "' + "x" * 280 + 'sk-secret-1"}', {}),
        (200, "<p>" + "x" * 112 + "sk-secret-1", {}),
        (308, "", {"location": "https://elsewhere/?key=sk-secret-1"}),
        (400, '{"error": {"message": "no", "type": "sk-secret-1 context_length_exceeded"}}', {}),
    ],
)
async def test_no_part_of_the_key_is_left_by_a_cut(
    raw: Make, endpoint: Make, status: int, body: str, headers: dict[str, str]
) -> None:
    """A double that sends it back where its words are cut, or in a header."""
    runtime = OpenAICompatible(endpoint(raw(sends(http(body, status, **headers))).url, key="sk-secret-1"))
    with pytest.raises(errors.CallError) as caught:
        await ask(runtime)
    assert "sk-" not in str(caught.value)


async def test_the_key_is_in_no_log(
    raw: Make, recorded: Make, endpoint: Make, unused_tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither ours nor that of a library, at its most talkative, when a call works, is refused or finds nobody."""
    caplog.set_level(logging.DEBUG)
    urls = (recorded("vllm", "sk-secret-1").url, raw(sends(http(error("sk-secret-1"), 500))).url,
            raw(sends(http("sk-secret-1"))).url, f"http://127.0.0.1:{unused_tcp_port}")  # fmt: skip
    for url in urls:
        runtime = OpenAICompatible(endpoint(url, key="sk-secret-1"))
        for call in (ask, listen):
            with suppress(errors.CallError):
                await call(runtime)
        await runtime.health()
        await runtime.aclose()
    assert caplog.records
    assert "sk-secret-1" not in caplog.text


@pytest.mark.parametrize("params", [Params(extra={"x": object()}), Params(schema={"x": {1, 2}})])
async def test_what_is_no_json_is_refused_before_it_is_sent(endpoint: Make, params: Params) -> None:
    """The message says where to look."""
    with pytest.raises(errors.BadRequestError, match=r"params\.extra or params\.schema"):
        await ask(OpenAICompatible(endpoint("http://127.0.0.1:1")), replace(CHAT, params=params))


NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "12"}, 12.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "Mon, 23 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Mon, 23 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
    ],
)
def test_retry_after_in_seconds_or_as_a_date(headers: dict[str, str], expected: float | None) -> None:
    """Both forms of RFC 9110, and OpenAI's milliseconds."""
    assert expected == retry_after(headers, lambda: NOW)
