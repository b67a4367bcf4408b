"""The OpenAI-compatible runtime: what it asks and what it makes of the answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from serving_doubles import ANSWER, CHAT, MESSAGES, OLLAMA, RAW, ask, delta, http, listen, sends, sse

from workbench import errors
from workbench.records import ModelInfo, Params, Request, Usage
from workbench.serving import open_runtime
from workbench.serving.openai_compatible import OpenAICompatible

Make = Callable[..., Any]


async def test_a_chat_is_what_a_recorded_vllm_answered(recorded: Make, endpoint: Make) -> None:
    """Text, usage, finish reason and id come over; only vLLM's own exchange is answered by the double."""
    server = recorded("vllm", "K")
    answer = await ask(OpenAICompatible(endpoint(server.url, key="K"), clock=lambda: 7.0))

    assert "The box was crushed." == answer.text
    assert "stop" == answer.finish_reason
    assert Usage(33, 6, 0, None) == answer.usage
    assert "chatcmpl-acd3966e708ee7c4" == answer.request_id
    assert ("vllm/smollm2", "model", ()) == (answer.model, answer.source, answer.tool_calls)
    assert (7.0, None) == (answer.timing.started_at, answer.timing.first_token)
    assert answer.timing.total > 0


async def test_a_raw_completion_is_what_a_recorded_vllm_answered(recorded: Make, endpoint: Make) -> None:
    """The prompt goes to /v1/completions as it is."""
    answer = await ask(OpenAICompatible(endpoint(recorded("vllm", "K").url, key="K")), RAW)

    assert ("-by-date", "length", Usage(1, 4, 0, None)) == (answer.text, answer.finish_reason, answer.usage)


async def test_a_chat_is_what_a_recorded_ollama_answered(recorded: Make, endpoint: Make) -> None:
    """Ollama's /v1 counts no cached tokens, which is unknown and not 0."""
    answer = await ask(OpenAICompatible(endpoint(recorded("ollama").url, name="ollama", kind="ollama")), OLLAMA)

    assert ("The box was crushed.", Usage(33, 6, None, None)) == (answer.text, answer.usage)


@pytest.mark.parametrize(("name", "key", "request_"), [("vllm", "K", CHAT), ("ollama", "", OLLAMA)])
async def test_a_recorded_stream_comes_in_pieces(
    recorded: Make, endpoint: Make, name: str, key: str, request_: Request
) -> None:
    """However the bytes are cut on the way; the last chunk carries usage and the time to the first token."""
    pieces, answer = await listen(OpenAICompatible(endpoint(recorded(name, key).url, key=key)), request_)

    assert ["The", " box", " was", " crushed", "."] == pieces
    assert ("The box was crushed.", "stop") == (answer.text, answer.finish_reason)
    assert (33, 6) == (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    assert answer.timing.first_token is not None
    assert 0 < answer.timing.first_token <= answer.timing.total


async def test_a_recorded_stream_without_usage(recorded: Make, endpoint: Make) -> None:
    """With stream_usage = false no stream_options are sent, and the counts are unknown."""
    server = recorded("vllm", "K")
    _, answer = await listen(OpenAICompatible(endpoint(server.url, key="K", options={"stream_usage": False})))

    assert ("The box was crushed.", Usage()) == (answer.text, answer.usage)
    assert "stream_options" not in server.seen[0][2]


@pytest.mark.parametrize("stream", [False, True])
async def test_the_openai_sdk_reads_the_same_from_the_recorded_double(
    recorded: Make, endpoint: Make, stream: bool
) -> None:
    """An independent client finds the same text and usage in the same bytes."""
    from openai import AsyncOpenAI

    server = recorded("vllm", "K")
    messages: Any = [{"role": item.role, "content": item.content} for item in MESSAGES]
    asked: dict[str, Any] = {"model": "smollm2", "messages": messages, "temperature": 0, "seed": 42, "max_tokens": 8}
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="K", max_retries=0) as client:
        if stream:
            text, usage = "", None
            async for chunk in await client.chat.completions.create(
                **asked, stream=True, stream_options={"include_usage": True}
            ):
                text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
                usage = chunk.usage or usage
        else:
            whole = await client.chat.completions.create(**asked)
            text, usage = whole.choices[0].message.content, whole.usage
    runtime = OpenAICompatible(endpoint(server.url, key="K"))
    ours = (await listen(runtime))[1] if stream else await ask(runtime)

    assert usage is not None
    assert text == ours.text
    assert (usage.prompt_tokens, usage.completion_tokens) == (ours.usage.prompt_tokens, ours.usage.completion_tokens)


async def test_a_schema_reaches_a_recorded_vllm(recorded: Make, endpoint: Make) -> None:
    """It goes out as response_format, and the answer is JSON that fits it."""
    server = recorded("vllm", "K")
    server.play("json_schema")
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    answer = await ask(
        OpenAICompatible(endpoint(server.url, key="K")), replace(CHAT, params=Params(schema=schema, max_tokens=40))
    )

    assert {"city"} == set(json.loads(answer.text))
    sent = server.seen[0][2]["response_format"]
    assert {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}} == sent


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (
            "vllm",
            {
                "max_tokens": 8,
                "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {}}},
            },
        ),
        (
            "tgi",
            {"max_tokens": 8, "response_format": {"type": "json_schema", "value": {"name": "answer", "schema": {}}}},
        ),
        (
            "openai",
            {
                "max_completion_tokens": 8,
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {}, "strict": True},
                },
            },
        ),
    ],
)
async def test_each_kind_of_server_is_sent_its_own_field_names(
    recorded: Make, endpoint: Make, kind: str, expected: dict[str, Any]
) -> None:
    """Unset params are not sent at all, and extra goes out as it is."""
    server = recorded("vllm")
    server.play("chat")
    params = Params(max_tokens=8, schema={}, stop=("\n",), top_p=0.5, extra={"frequency_penalty": 0.1, "stop": ["x"]})
    await ask(OpenAICompatible(endpoint(server.url, kind=kind)), replace(CHAT, params=params))

    messages = [{"role": item.role, "content": item.content} for item in MESSAGES]
    assert {
        "model": "smollm2",
        "messages": messages,
        "top_p": 0.5,
        "frequency_penalty": 0.1,
        "stop": ["x"],
    } | expected == server.seen[0][2]


async def test_no_key_no_authorization_header(recorded: Make, endpoint: Make) -> None:
    """And with a key it is a bearer token."""
    server = recorded("vllm")
    server.play("chat")
    await ask(OpenAICompatible(endpoint(server.url)))
    await ask(OpenAICompatible(endpoint(server.url, key="K")))

    assert [None, "Bearer K"] == [headers.get("Authorization") for _, headers, _ in server.seen]


async def test_tool_calls_and_all_token_counts_of_a_double(raw: Make, endpoint: Make) -> None:
    """Cached and reasoning tokens and tool calls are read, and the header's request id is preferred."""
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Lisbon"}'}}
    body = {
        "id": "a1",
        "choices": [{"message": {"content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}],
        "usage": {
            "prompt_tokens": 9, "completion_tokens": 7,
            "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 5},
        },
    }  # fmt: skip
    server = raw(sends(http(json.dumps(body), x_request_id="req_1")))
    answer = await ask(OpenAICompatible(endpoint(server.url)))

    assert ("", (call,), "tool_calls", "req_1") == (
        answer.text,
        answer.tool_calls,
        answer.finish_reason,
        answer.request_id,
    )
    assert Usage(9, 7, 4, 5) == answer.usage


async def test_streamed_tool_calls_of_a_double_are_joined(raw: Make, endpoint: Make) -> None:
    """Name and id come once, arguments in pieces; [DONE] alone ends it, as TGI does."""
    start = {"index": 0, "id": "c1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    pieces = [{"index": 0, "function": {"arguments": part}} for part in ('{"city": ', '"Lisbon"}')]
    events = [{"choices": [{"delta": {"tool_calls": [piece]}}]} for piece in [start, *pieces]]
    server = raw(sends(http(sse(*events, "[DONE]"), content_type="text/event-stream")))
    _, answer = await listen(OpenAICompatible(endpoint(server.url)))

    expected = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Lisbon"}'}}
    assert (expected,) == answer.tool_calls
    assert "tool_calls" == answer.finish_reason


async def test_a_double_that_does_not_stream_is_understood(raw: Make, endpoint: Make) -> None:
    """A whole answer to a streamed request is one piece, without a time to the first token."""
    server = raw(sends(http(json.dumps(ANSWER))))
    pieces, answer = await listen(OpenAICompatible(endpoint(server.url)))

    assert (["ok"], "ok", None) == (pieces, answer.text, answer.timing.first_token)


async def test_a_stream_of_a_double_cut_after_its_finish_reason_is_whole(raw: Make, endpoint: Make) -> None:
    """Only [DONE] or the usage is missing then, and usage is unknown."""
    body = sse(delta("ok", "stop"))
    server = raw(sends(http(body, length=9999, content_type="text/event-stream")))
    _, answer = await listen(OpenAICompatible(endpoint(server.url)))

    assert ("ok", "stop", Usage()) == (answer.text, answer.finish_reason, answer.usage)


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/", "/v1/chat/completions"])
async def test_the_address_may_end_with_or_without_v1(recorded: Make, endpoint: Make, suffix: str) -> None:
    """All of these reach the same recorded server."""
    runtime = OpenAICompatible(endpoint(recorded("vllm", "K").url + suffix, key="K"))
    assert "The box was crushed." == (await ask(runtime)).text


async def test_describe_asks_a_recorded_vllm(recorded: Make, endpoint: Make) -> None:
    """Context length and version, no digest."""
    server = recorded("vllm", "K")
    runtime = OpenAICompatible(endpoint(server.url, key="K"))
    found = await runtime.describe("smollm2")
    await runtime.aclose()
    assert ModelInfo("smollm2", None, 2048, "vllm 0.32.0") == found
    assert ["/v1/models", "/version"] == [path for path, _, _ in server.seen]


async def test_describe_a_model_that_a_recorded_ollama_does_not_have(recorded: Make, endpoint: Make) -> None:
    """`{"data": null}` is an empty list."""
    server = recorded("ollama")
    server.play("v1_models_empty")
    runtime = OpenAICompatible(endpoint(server.url, name="ollama", kind="ollama"))
    with pytest.raises(errors.ModelNotFoundError, match=r"no model at all.*ollama pull llama"):
        await runtime.describe("llama")
    await runtime.aclose()


async def test_describe_where_models_are_not_listed(raw: Make, endpoint: Make) -> None:
    """A double without /v1/models tells nothing, which is no error."""
    server = raw(sends(http("", 404)))
    runtime = OpenAICompatible(endpoint(server.url, name="mine", kind="openai-compatible"))
    assert ModelInfo("m") == await runtime.describe("m")
    await runtime.aclose()


async def test_health_of_a_recorded_vllm(recorded: Make, endpoint: Make) -> None:
    """Version and models, for people and for doctor."""
    runtime = open_runtime(endpoint(recorded("vllm", "K").url, key="K"), None)  # type: ignore[arg-type]
    health = await runtime.health()
    await runtime.aclose()
    assert (True, "vllm 0.32.0", ("smollm2",)) == (health.ok, health.version, health.models)
