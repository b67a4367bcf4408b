"""Every fault that a user can meet, from a double of each kind of server: an error of its own, with the fix in its message,
whether trying again can help, and no key in it, in its traceback or in any log."""

from __future__ import annotations

import asyncio
import logging
import re
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from serving_doubles import ask, delta, http, listen, ndjson, sends, sse
from serving_doubles import chat as piece

from workbench import errors
from workbench.records import Message, Params, Request
from workbench.serving.ollama import Ollama
from workbench.serving.openai_compatible import OpenAICompatible
from workbench.settings import Endpoint, Secret

Make = Callable[..., Any]
KEY = "sk-secret-1"
VARIABLE = "SOME_KEY"
KINDS = ("llama-server", "ollama", "openai", "openai-compatible", "tgi", "vllm")
TOO_LONG = {
    "ollama": "the input length exceeds the context length",
    "tgi": "Input validation error: `inputs` must have less than 1536 tokens. Given: 1618",
}
VLLM_TOO_LONG = (
    "This model's maximum context length is 2048 tokens. However, your prompt contains at least 2049 input tokens."
)


class Fault(NamedTuple):
    """What the double does, given the kind of server, and what must come of it; `fix`: words of what to do."""

    answer: Callable[[str, bool], bytes]
    error: type[errors.CallError]
    fix: str
    retryable: bool
    retry_after: float | None = None


def said(status: int, text: str, **headers: str) -> Callable[[str, bool], bytes]:
    """Refuses, in that kind of server's form, and repeats the key."""

    def answer(kind: str, stream: bool) -> bytes:
        words = f"{text or TOO_LONG.get(kind, VLLM_TOO_LONG)} (key {KEY})"
        body: Any = {"error": words}
        if kind == "tgi":
            body = {"error": words, "error_type": "validation"}
        elif kind not in ("ollama", "tgi"):
            body = {"error": {"message": words, "type": "X", "code": status}}
        return http(ndjson(body).partition(b"\r\n\r\n")[2], 422 if kind == "tgi" and not text else status, **headers)

    return answer


def cut(kind: str, stream: bool) -> bytes:
    """Promises more than it sends."""
    if not stream:
        return http('{"choi', length=999)
    if kind == "ollama":
        return ndjson(piece("The", done=False), length=999)
    return http(sse(delta("The")), length=999, content_type="text/event-stream")


def ended(kind: str, stream: bool) -> bytes:
    """Ends well-formed, before the model's end was told."""
    if not stream or kind == "ollama":
        return ndjson(piece("The", done=False))
    return http(sse(delta("The")), content_type="text/event-stream")


def inside(kind: str, stream: bool) -> bytes:
    """200, a piece of the answer, and then an error."""
    if kind == "ollama":
        return ndjson(piece("The", done=False), {"error": f"out of memory ({KEY})"})
    return http(sse(delta("The"), {"error": {"message": f"out of memory ({KEY})"}}), content_type="text/event-stream")


def page(kind: str, stream: bool) -> bytes:
    return http(f"<html><p>Sign in {KEY}</html>", content_type="text/html")


FAULTS = {
    "401": Fault(said(401, "Unauthorized"), errors.AuthenticationError, VARIABLE, False),
    "unknown model": Fault(said(404, "model 'm' not found"), errors.ModelNotFoundError, "has no model 'm'", False),
    "context exceeded": Fault(said(400, ""), errors.ContextLengthError, "horten", False),
    "429": Fault(said(429, "slow down", retry_after="7"), errors.RateLimitError, "Lower the endpoint's", True, 7.0),
    "503": Fault(said(503, "busy", retry_after="7"), errors.OverloadedError, "wait", True, 7.0),
    "500": Fault(said(500, "oh no"), errors.ServerError, "The log of the server", True),
    "502": Fault(said(502, "bad gateway"), errors.ServerError, "The log of the server", True),
    "cut short": Fault(cut, errors.IncompleteStreamError, "trying again can help", True),
    "HTML": Fault(page, errors.BadAnswerError, "a web page.*Check .*workbench.toml", False),
}
STREAMS = {
    "ends early": Fault(ended, errors.IncompleteStreamError, "trying again can help", True),
    "error inside": Fault(inside, errors.ServerError, "The log of the server", True),
}


def runtime_at(url: str, kind: str) -> OpenAICompatible | Ollama:
    endpoint = Endpoint("place", kind, (url,), Secret(KEY), VARIABLE)
    return Ollama(endpoint) if kind == "ollama" else OpenAICompatible(endpoint)


async def fails(runtime: OpenAICompatible | Ollama, request: Request, stream: bool) -> errors.CallError:
    with pytest.raises(errors.CallError) as caught:
        await (listen(runtime, request) if stream else ask(runtime, request))
    shown = "".join(traceback.format_exception(caught.value, chain=True))
    for text in (shown, repr(caught.value), repr(vars(caught.value)), repr(runtime)):
        assert KEY not in text
    return caught.value


def request_for(timeout: float = 30.0) -> Request:
    params = Params(temperature=0, max_tokens=4)
    return Request("place/m", "chat", (Message("user", "Hello"),), params=params, timeout=timeout)


async def check(raw: Make, fault: Fault, kind: str, stream: bool) -> None:
    server = raw(sends(fault.answer(kind, stream)))
    error = await fails(runtime_at(server.url, kind), request_for(), stream)
    assert (fault.error, fault.retryable, fault.retry_after) == (type(error), error.retryable, error.retry_after)
    assert_fix(fault.fix, error)
    assert f"Bearer {KEY}" in server.heads[0]


def assert_fix(fix: str, error: errors.CallError) -> None:
    assert re.search(fix, str(error)), str(error)


@pytest.fixture(autouse=True)
def no_key_in_any_log(caplog: pytest.LogCaptureFixture) -> Any:
    """Of any library, at its most talkative."""
    caplog.set_level(logging.DEBUG)
    yield
    assert KEY not in caplog.text


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_fault_of_a_double_is_an_error_of_its_own(raw: Make, kind: str, name: str, stream: bool) -> None:
    """The same class whatever the server, whole or streamed."""
    await check(raw, FAULTS[name], kind, stream)


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_of_a_double_that_goes_wrong(raw: Make, kind: str, name: str) -> None:
    """Half an answer is never taken for a whole one."""
    await check(raw, STREAMS[name], kind, stream=True)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_double_that_says_nothing_costs_the_deadline(raw: Make, kind: str, stream: bool) -> None:
    """And its connection is closed, so that it need not go on."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.hold(reader)

    server = raw(act)
    error = await fails(runtime_at(server.url, kind), request_for(timeout=1.0), stream)
    assert (errors.CallTimeoutError, True) == (type(error), error.retryable)
    assert_fix(r"within 1 s.*Give it more time \(timeout\)", error)
    assert await asyncio.to_thread(server.closed.wait, 60)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", KINDS)
async def test_nobody_listens(unused_tcp_port: int, kind: str, stream: bool) -> None:
    """The message says how to start that kind of server, and where its address is set."""
    request = replace(request_for(), timeout=5.0)
    error = await fails(runtime_at(f"http://127.0.0.1:{unused_tcp_port}", kind), request, stream)
    assert (errors.ConnectError, True) == (type(error), error.retryable)
    assert_fix(r"nobody listens at .*(Start|Check the network) .*\[endpoints\.place\]", error)
