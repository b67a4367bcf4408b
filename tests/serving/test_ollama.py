"""The Ollama runtime: what it sends and what it reads, against recorded answers and doubles."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from serving_doubles import OLLAMA, SHORT, ask, bodies, chat, listen, ollama_at, serve

from workbench.records import Message, Params, Request, Usage
from workbench.serving import Embedder, Runtime, open_runtime
from workbench.serving.ollama import Ollama

Make = Callable[..., Any]
CTX = {"num_ctx": 1024}
LOOSE = {"allow_truncation": True, "num_ctx": 1024}
RAW = Request("ollama/smollm2:135m", "completion", prompt="Say hi.", params=SHORT.params)
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


# -- one answer


async def test_a_chat_is_asked_and_read_as_ollama_was_recorded(recorded: Make, endpoint: Make) -> None:
    """The very body that a real server was sent: text, counts, and the seconds that it says it took."""
    runtime = ollama_at(endpoint, serve(recorded).url, options=LOOSE, clock=lambda: 7.0)
    answer = await ask(runtime, OLLAMA)

    assert ("The box was crushed.", "stop", "ollama/smollm2:135m") == (answer.text, answer.finish_reason, answer.model)
    assert Usage(33, 6, None, None) == answer.usage
    timing = answer.timing
    assert (7.0, 0.540238767, 0.193579, 0.062268) == (timing.started_at, timing.loading, timing.prefill, timing.decode)
    assert (None, False) == (timing.first_token, answer.truncated)


async def test_a_stream_is_read_as_ollama_was_recorded(recorded: Make, endpoint: Make) -> None:
    """JSON lines, however they are cut on the way, and the time to the first."""
    pieces, answer = await listen(ollama_at(endpoint, serve(recorded).url, options=LOOSE), OLLAMA)

    assert ["The", " box", " was", " crushed", "."] == pieces
    assert ("The box was crushed.", "stop", Usage(33, 6, None, None)) == (
        answer.text,
        answer.finish_reason,
        answer.usage,
    )
    assert answer.timing.first_token is not None
    assert 0 < answer.timing.first_token <= answer.timing.total
    assert 0.060323 == answer.timing.decode


async def test_an_address_may_be_written_in_capitals(recorded: Make, endpoint: Make) -> None:
    """HTTP writes a host in small letters; answers are known by their address all the same."""
    url = serve(recorded).url.replace("127.0.0.1", "LOCALHOST")
    assert "The box was crushed." == (await ask(ollama_at(endpoint, url, options=LOOSE), OLLAMA)).text


@pytest.mark.parametrize("stream", [False, True])
async def test_a_raw_completion_goes_to_generate(recorded: Make, endpoint: Make, stream: bool) -> None:
    """The prompt is sent as it is, without the model's template."""
    server = serve(recorded)
    server.play("generate_stream" if stream else "generate")
    runtime = ollama_at(endpoint, server.url)
    answer = (await listen(runtime, RAW))[1] if stream else await ask(runtime, RAW)

    expected = ("Hello there. I'm here to help", 12) if stream else ("I'm here to help with any kind", 22)
    assert expected == (answer.text, answer.usage.prompt_tokens)
    assert ("length", 8) == (answer.finish_reason, answer.usage.completion_tokens)
    body = bodies(server, "/api/generate")[0]
    assert (True, "Say hi.", stream) == (body["raw"], body["prompt"], body["stream"])


async def test_a_completion_through_the_template(recorded: Make, endpoint: Make) -> None:
    """raw = false has Ollama put the prompt, and a system text, into the model's template."""
    server = serve(recorded)
    server.play("generate")
    extra = CTX | {"raw": False, "system": "You are terse."}
    answer = await ask(ollama_at(endpoint, server.url), replace(RAW, params=replace(RAW.params, extra=extra)))

    assert "I'm here to help with any kind" == answer.text
    sent = bodies(server, "/api/generate")[0]
    exchange = server.exchanges["generate"]["request"]["json"]
    assert exchange | {"raw": False, "truncate": False, "shift": False} == sent


async def test_a_schema_is_sent_as_format(recorded: Make, endpoint: Make) -> None:
    """The body with `format` is the one that a real server was sent."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    request = Request(
        "ollama/smollm2:135m", "chat", (Message("user", "Customer Ana, city Lisbon. Give JSON."),),
        params=Params(temperature=0, seed=42, max_tokens=40, schema=schema),
    )  # fmt: skip
    answer = await ask(ollama_at(endpoint, serve(recorded).url, options=LOOSE), request)

    assert {"city": "São João"} == json.loads(answer.text)


async def test_what_is_sent_is_refused_rather_than_cut(recorded: Make, endpoint: Make) -> None:
    """Unless it is allowed, the server is told to cut neither the prompt nor, while it answers, what it has read."""
    server = serve(recorded)
    server.play("chat")
    await ask(ollama_at(endpoint, server.url), SHORT)

    body = bodies(server, "/api/chat")[0]
    assert server.exchanges["chat"]["request"]["json"] | {"truncate": False, "shift": False} == body


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_of_a_double_without_any_metric(recorded: Make, endpoint: Make, stream: bool) -> None:
    """What the server does not say is unknown, not 0."""
    server = serve(recorded)
    server.say(
        "/api/chat", *([chat("o", done=False), chat("k")] if stream else [{"message": {"content": "ok"}, "done": True}])
    )
    runtime = ollama_at(endpoint, server.url)
    answer = (await listen(runtime, SHORT))[1] if stream else await ask(runtime, SHORT)

    assert ("ok", Usage()) == (answer.text, answer.usage)
    timing = answer.timing
    assert (None, None, None) == (timing.loading, timing.prefill, timing.decode)


async def test_a_double_that_tells_cached_tokens(recorded: Make, endpoint: Make) -> None:
    """They are a part of the prompt's tokens."""
    server = serve(recorded)
    server.say("/api/chat", chat(prompt_eval_count=40, prompt_eval_cached_count=32, eval_count=5))
    answer = await ask(ollama_at(endpoint, server.url), SHORT)

    assert Usage(40, 5, 32) == answer.usage


@pytest.mark.parametrize("stream", [False, True])
async def test_a_double_that_thinks(recorded: Make, endpoint: Make, stream: bool) -> None:
    """Thoughts are kept apart from the answer, and the first of them counts as the first token."""
    server = serve(recorded)
    pieces = [
        chat("", message={"thinking": "Is it "}, done=False), chat("", message={"thinking": "late?"}, done=False),
        chat("negative", done=False), chat("", eval_count=9),
    ]  # fmt: skip
    server.say("/api/chat", *(pieces if stream else [chat("negative", message={"thinking": "Is it late?"})]))
    runtime = ollama_at(endpoint, server.url)
    request = replace(SHORT, params=replace(SHORT.params, think="low"))
    if stream:
        chunks = [chunk async for chunk in runtime.stream(request)]
        await runtime.aclose()
        assert ["Is it ", "late?", "", ""] == [chunk.reasoning for chunk in chunks]
        answer = chunks[-1].completion
        assert answer is not None
        assert answer.timing.first_token is not None
    else:
        answer = await ask(runtime, request)

    assert ("negative", "Is it late?") == (answer.text, answer.reasoning)
    assert "low" == bodies(server, "/api/chat")[0]["think"]


async def test_logprobs_of_a_double(recorded: Make, endpoint: Make) -> None:
    """They are asked for beside the options, and come in pieces."""
    server = serve(recorded)

    def piece(token: str, value: float, **fields: Any) -> dict[str, Any]:
        tops = [{"token": token, "logprob": value, "bytes": [1]}, {"token": "no", "logprob": -3.0}]
        return chat(token, logprobs=[{"token": token, "logprob": value, "top_logprobs": tops}], **fields)

    server.say("/api/chat", piece("y", -0.5, done=False), piece("es", -0.25))
    _, answer = await listen(ollama_at(endpoint, server.url), replace(SHORT, params=replace(SHORT.params, logprobs=2)))

    first = {"token": "y", "logprob": -0.5, "top_logprobs": {"y": -0.5, "no": -3.0}}
    assert [first, "es"] == [answer.logprobs[0], answer.logprobs[1]["token"]]
    body = bodies(server, "/api/chat")[0]
    assert (True, 2) == (body["logprobs"], body["top_logprobs"])


# -- tools and images


@pytest.mark.parametrize("stream", [False, True])
async def test_tool_calls_of_a_double_come_in_openais_form(recorded: Make, endpoint: Make, stream: bool) -> None:
    """Ollama gives the arguments as an object, and mostly no id."""
    server = serve(recorded)
    calls = [
        {"function": {"index": 0, "name": "weather", "arguments": {"city": "Faro"}}},
        {"id": "call_x", "function": {"name": "time", "arguments": {}}},
    ]
    whole = chat("", message={"tool_calls": calls})
    pieces = [chat("", message={"tool_calls": [call]}, done=False) for call in calls] + [chat("")]
    server.say("/api/chat", *(pieces if stream else [whole]))
    runtime = ollama_at(endpoint, server.url)
    request = replace(SHORT, params=replace(SHORT.params, tools=(WEATHER,), tool_choice="auto"))
    answer = (await listen(runtime, request))[1] if stream else await ask(runtime, request)

    expected = (
        {"id": "call_0", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Faro"}'}},
        {"id": "call_x", "type": "function", "function": {"name": "time", "arguments": "{}"}},
    )
    assert (expected, "tool_calls") == (answer.tool_calls, answer.finish_reason)
    assert [WEATHER] == bodies(server, "/api/chat")[0]["tools"]


async def test_a_conversation_with_tools_goes_back_in_ollamas_form(recorded: Make, endpoint: Make) -> None:
    """JSON text becomes an object again, and a tool's result names its tool."""
    server = serve(recorded)
    server.say("/api/chat", chat())
    call = {"id": "call_0", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Faro"}'}}
    messages = (
        Message("developer", "Be brief."), Message("user", "Weather?"), Message("assistant", tool_calls=(call,)),
        Message("tool", "sunny", tool_call_id="call_0"),
    )  # fmt: skip
    await ask(ollama_at(endpoint, server.url), replace(SHORT, messages=messages))

    expected = [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "", "tool_calls": [
            {"id": "call_0", "function": {"name": "weather", "arguments": {"city": "Faro"}}}]},
        {"role": "tool", "content": "sunny", "tool_call_id": "call_0", "tool_name": "weather"},
    ]  # fmt: skip
    assert expected == bodies(server, "/api/chat")[0]["messages"]


async def test_no_tools_are_offered_where_none_may_be_called(recorded: Make, endpoint: Make) -> None:
    """tool_choice = none."""
    server = serve(recorded)
    server.say("/api/chat", chat())
    await ask(
        ollama_at(endpoint, server.url),
        replace(SHORT, params=replace(SHORT.params, tools=(WEATHER,), tool_choice="none")),
    )

    assert "tools" not in bodies(server, "/api/chat")[0]


async def test_an_image_is_sent_beside_the_text(recorded: Make, endpoint: Make) -> None:
    """Its base64 is taken out of the data: address."""
    server = serve(recorded)
    server.say("/api/chat", chat())
    picture = base64.b64encode(b"\x89PNG").decode()
    parts = (
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}},
    )
    await ask(
        ollama_at(endpoint, server.url), replace(SHORT, messages=(Message("user", "What is this?", parts=parts),))
    )

    expected = {"role": "user", "content": "What is this?", "images": [picture]}
    assert [expected] == bodies(server, "/api/chat")[0]["messages"]


# -- the endpoint


@pytest.mark.parametrize("path", ["", "/", "/v1", "/api"])
async def test_any_usual_form_of_the_address(recorded: Make, endpoint: Make, path: str) -> None:
    """Whoever comes from the OpenAI-compatible API need not change it."""
    runtime = ollama_at(endpoint, serve(recorded).url + path, options=LOOSE)
    assert "The box was crushed." == (await ask(runtime, OLLAMA)).text


def test_an_endpoint_of_kind_ollama_opens_this_runtime(endpoint: Make) -> None:
    """It answers, embeds, and is asked a few at a time."""
    runtime = open_runtime(endpoint("http://127.0.0.1:9", name="mine", kind="ollama"), None)  # type: ignore[arg-type]
    assert isinstance(runtime, Ollama)
    assert isinstance(runtime, Runtime)
    assert isinstance(runtime, Embedder)
    assert ("ollama", 8) == (runtime.kind, runtime.concurrency)
    assert "Ollama('mine', urls=['http://127.0.0.1:9'])" == repr(runtime)
