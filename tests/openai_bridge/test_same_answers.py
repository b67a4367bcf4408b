"""The same code on the workbench's client and on the openai package's own gets the same answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel
from serving_doubles import http, sends, sse

from workbench import Workbench

if TYPE_CHECKING:
    from conftest import OpenAIDouble

Bench = Callable[..., Workbench]
Stock = Callable[[str], openai.AsyncOpenAI]

CHAT: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Answer with one word: positive or negative."},
        {"role": "user", "content": "The delivery was late and the box was crushed."},
    ],
    "temperature": 0,
    "seed": 42,
    "max_tokens": 8,
}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
RECORDED: dict[str, dict[str, Any]] = {
    "chat": {},
    "json_schema": {
        "max_tokens": 40,
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}},
    },
    "logprobs": {"max_tokens": 2, "logprobs": True, "top_logprobs": 2},
    "structured_outputs": {"extra_body": {"structured_outputs": {"choice": ["positive", "negative"]}}},
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
TOOLS: list[Any] = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10,
         "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2}}  # fmt: skip


def whole(message: dict[str, Any], finish: str = "stop") -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": None} | message, "finish_reason": finish}
    return http(json.dumps({"id": "a1", "model": "m", "choices": [choice], "usage": USAGE}))


def piece(part: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": part, "finish_reason": finish}
    return {"id": "s1", "object": "chat.completion.chunk", "model": "m", "created": 1, "choices": [choice]}


def streamed(*events: Any) -> Any:
    return sends(http(sse(*events, "[DONE]"), content_type="text/event-stream"))


def said(answer: ChatCompletion) -> dict[str, Any]:
    """What code reads of an answer; null and absent are the same to it."""
    plain = answer.model_dump(exclude_none=True)
    choice = plain["choices"][0]
    return {
        "id": plain["id"], "model": plain["model"], "finish": choice["finish_reason"], "message": choice["message"],
        "logprobs": choice.get("logprobs"), "tokens": plain["usage"]["total_tokens"],
        "cached": plain["usage"].get("prompt_tokens_details", {}).get("cached_tokens"),
        "reasoned": plain["usage"].get("completion_tokens_details", {}).get("reasoning_tokens"),
    }  # fmt: skip


async def heard(stream: AsyncIterator[ChatCompletionChunk]) -> dict[str, Any]:
    """The same of a stream: its pieces and what they come to."""
    found: dict[str, Any] = {"pieces": [], "finish": None, "tokens": None, "calls": {}, "reasoning": [], "refusal": []}
    async for chunk in stream:
        if chunk.usage:
            found["tokens"] = chunk.usage.total_tokens
        for choice in chunk.choices:
            found["finish"] = choice.finish_reason or found["finish"]
            if choice.delta.content:
                found["pieces"].append(choice.delta.content)
            if choice.delta.refusal:
                found["refusal"].append(choice.delta.refusal)
            if thought := getattr(choice.delta, "reasoning", None):
                found["reasoning"].append(thought)
            for call in choice.delta.tool_calls or ():
                name, arguments = found["calls"].get(call.index, ("", ""))
                named = call.function.name or "" if call.function else ""
                found["calls"][call.index] = (name + named, arguments + (call.function.arguments or ""))
    return found


@pytest.mark.parametrize("name", RECORDED)
async def test_recorded_chats_are_the_same(name: str, vllm: Any, bench_on: Bench, stock_on: Stock) -> None:
    """Text, finish, usage, log probabilities and identity; and the server is sent the same body."""
    wanted = CHAT | RECORDED[name]
    theirs = await stock_on(vllm.url).chat.completions.create(model="smollm2", **wanted)
    ours = await bench_on(vllm.url).openai("vllm/smollm2").chat.completions.create(model="vllm/smollm2", **wanted)
    assert said(theirs) == said(ours)
    assert vllm.seen[0][2] == vllm.seen[1][2]


async def test_a_recorded_stream_is_the_same(vllm: Any, bench_on: Bench, stock_on: Stock) -> None:
    """Piece by piece, with the usage at the end."""
    wanted = CHAT | {"stream": True, "stream_options": {"include_usage": True}, "model": "smollm2"}
    ours = bench_on(vllm.url).openai("vllm/smollm2")
    expected = await heard(await stock_on(vllm.url).chat.completions.create(**wanted))
    assert ["The", " box", " was", " crushed", "."] == expected["pieces"]
    assert expected == await heard(await ours.chat.completions.create(**wanted))
    assert vllm.seen[0][2] == vllm.seen[1][2]


async def test_a_stream_tells_its_usage_only_if_asked(vllm: Any, bench_on: Bench) -> None:
    """The first chunk says who speaks, the one with the finish reason what it took."""
    client = bench_on(vllm.url).openai("vllm/smollm2")
    chunks = [chunk async for chunk in await client.chat.completions.create(model="smollm2", stream=True, **CHAT)]
    assert ("assistant", "") == (chunks[0].choices[0].delta.role, chunks[0].choices[0].delta.content)
    assert "stop" == chunks[-1].choices[0].finish_reason
    assert "model" == chunks[-1].model_extra["workbench"]["source"]
    assert [None] * len(chunks) == [chunk.usage for chunk in chunks]
    assert 1 == len({chunk.id for chunk in chunks})


async def test_a_recorded_completion_is_the_same(vllm: Any, bench_on: Bench, stock_on: Stock) -> None:
    """The older API without a chat template."""
    wanted: dict[str, Any] = {"model": "smollm2", "prompt": "Hello", "max_tokens": 4, "temperature": 0}
    theirs = await stock_on(vllm.url).completions.create(**wanted)
    ours = await bench_on(vllm.url).openai("vllm/smollm2").completions.create(**wanted)
    shown = {"object", "id", "model", "choices"}
    expected, found = (answer.model_dump(include=shown, exclude_none=True) for answer in (theirs, ours))
    for extra in ("stop_reason", "token_ids", "prompt_logprobs", "prompt_token_ids", "routed_experts"):
        expected["choices"][0].pop(extra, None)
    assert expected == found
    assert theirs.usage.total_tokens == ours.usage.total_tokens == 5


async def test_completions_of_a_double_stream_with_log_probabilities(
    raw: Callable[..., Any], bench_on: Bench, stock_on: Stock
) -> None:
    """The arrays of the older API come whole, at the end."""
    logprobs = {"tokens": ["Hi", "!"], "token_logprobs": [-0.5, -1.0], "top_logprobs": [{"Hi": -0.5}, None],
                "text_offset": [0, 2]}  # fmt: skip
    events = [{"id": "c1", "choices": [{"index": 0, "text": "Hi!", "logprobs": logprobs, "finish_reason": "length"}]}]
    server = raw(streamed(*events))
    wanted: dict[str, Any] = {"model": "m", "prompt": "Say", "logprobs": 1, "stream": True}
    for client in (stock_on(server.url), bench_on(server.url).openai("vllm/m")):
        choices = [chunk.choices[0] async for chunk in await client.completions.create(**wanted)]
        assert "Hi!" == "".join(choice.text for choice in choices)
        assert "length" == choices[-1].finish_reason
        assert logprobs == choices[-1].logprobs.to_dict()


async def test_models_are_listed_and_described(vllm: Any, bench_on: Bench, stock_on: Stock) -> None:
    """By the names that the endpoint's own server gives them."""
    client = bench_on(vllm.url).openai("vllm/smollm2")
    theirs = [model.id async for model in stock_on(vllm.url).models.list()]
    assert theirs == [model.id async for model in client.models.list()] == ["smollm2"]
    assert 2048 == (await client.models.retrieve("smollm2")).model_extra["max_model_len"]
    with pytest.raises(openai.NotFoundError, match="It has: smollm2"):
        await client.models.retrieve("nope")


async def test_a_recorded_ollama_is_asked_by_its_own_api(ollama: Any, bench_on: Bench, stock_on: Stock) -> None:
    """It says there what it says by its compatible one, and takes the options and the schema in its own form."""
    ollama.play("chat")
    theirs = await stock_on(ollama.url).chat.completions.create(model="smollm2:135m", **CHAT)
    form: Any = {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}
    client = bench_on(ollama.url, kind="ollama").openai("ollama/smollm2:135m")
    ours = await client.chat.completions.create(
        model="smollm2:135m", **CHAT, response_format=form, extra_body={"num_ctx": 2048}
    )
    for answer in (theirs, ours):
        assert theirs.choices[0].message.content == answer.choices[0].message.content
        assert theirs.choices[0].finish_reason == answer.choices[0].finish_reason
        assert theirs.usage.total_tokens == answer.usage.total_tokens
    (body,) = [body for path, _, body in ollama.seen if path == "/api/chat"]
    assert SCHEMA == body["format"]
    assert {"temperature": 0, "seed": 42, "num_predict": 8, "num_ctx": 2048} == body["options"]


@pytest.mark.parametrize("stream", [False, True])
async def test_tool_calls_of_a_double_are_the_same(
    stream: bool, raw: Callable[..., Any], bench_on: Bench, stock_on: Stock
) -> None:
    """Also where their arguments come in pieces, and where the model thinks before it calls."""
    function = {"name": "weather", "arguments": '{"city": '}
    act = streamed(
        piece({"role": "assistant", "reasoning": "Where? "}),
        piece({"reasoning": "Oslo."}),
        piece({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]}),
        piece({"tool_calls": [{"index": 0, "function": {"arguments": '"Oslo"}'}}]}),
        piece({}, "tool_calls"),
        {"id": "s1", "choices": [], "usage": USAGE},
    )  # fmt: skip
    if not stream:
        act = sends(whole({"tool_calls": [CALL], "reasoning": "Where? Oslo."}, "tool_calls"))
    server = raw(act)
    wanted: dict[str, Any] = CHAT | {"model": "m", "tools": TOOLS, "tool_choice": "auto"}
    stock, client = stock_on(server.url), bench_on(server.url).openai("vllm/m")
    if stream:
        wanted |= {"stream": True, "stream_options": {"include_usage": True}}
        expected = await heard(await stock.chat.completions.create(**wanted))
        assert {0: ("weather", '{"city": "Oslo"}')} == expected["calls"]
        assert ["Where? ", "Oslo."] == expected["reasoning"]
        assert expected == await heard(await client.chat.completions.create(**wanted))
        return
    theirs, ours = [said(await c.chat.completions.create(**wanted)) for c in (stock, client)]
    assert CALL == ours["message"]["tool_calls"][0]
    assert "Where? Oslo." == ours["message"].pop("reasoning_content")
    assert theirs == ours


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_of_a_double_stays_one(
    stream: bool, raw: Callable[..., Any], bench_on: Bench, stock_on: Stock
) -> None:
    """It is never taken for an answer, so `parse` does not try to read it."""
    act = streamed(piece({"role": "assistant"}), piece({"refusal": "No."}), piece({}, "stop"))
    server = raw(act if stream else sends(whole({"refusal": "No."})))
    for client in (stock_on(server.url), bench_on(server.url).openai("vllm/m")):
        if stream:
            found = await heard(await client.chat.completions.create(model="m", stream=True, **CHAT))
            assert (["No."], []) == (found["refusal"], found["pieces"])
        else:
            message = (await client.chat.completions.parse(model="m", response_format=City, **CHAT)).choices[0].message
            assert ("No.", None, None) == (message.refusal, message.content, message.parsed)


class City(BaseModel):
    """What `parse` shall fill."""

    city: str


async def test_parse_and_the_stream_helper_work_on_a_double(
    raw: Callable[..., Any], bench_on: Bench, stock_on: Stock
) -> None:
    """A pydantic model goes out as OpenAI's strict schema and comes back filled."""
    text = '{"city": "Oslo"}'
    bodies = []
    for make in (stock_on, lambda url: bench_on(url).openai("vllm/m")):
        server = raw(sends(whole({"content": text})))
        answer = await make(server.url).chat.completions.parse(model="m", response_format=City, **CHAT)
        assert City(city="Oslo") == answer.choices[0].message.parsed
        bodies.append(answer.choices[0].message.content)
        server = raw(streamed(piece({"content": text[:6]}), piece({"content": text[6:]}), piece({}, "stop")))
        async with make(server.url).chat.completions.stream(model="m", response_format=City, **CHAT) as stream:
            events = [event.type async for event in stream]
            final = await stream.get_final_completion()
        assert City(city="Oslo") == final.choices[0].message.parsed
        assert {"chunk", "content.delta", "content.done"} == set(events)
    assert [text, text] == bodies


async def test_raw_and_streaming_responses_work(vllm: Any, bench_on: Bench) -> None:
    """Headers, status and body are there as from a server."""
    completions = bench_on(vllm.url).openai("vllm/smollm2").chat.completions
    found = await completions.with_raw_response.create(model="smollm2", **CHAT)
    assert (200, "application/json") == (found.http_response.status_code, found.headers["content-type"])
    assert "The box was crushed." == found.parse().choices[0].message.content
    assert found.parse().id == found.request_id
    async with completions.with_streaming_response.create(model="smollm2", stream=True, **CHAT) as response:
        lines = [line async for line in response.iter_lines() if line]
    assert "data: [DONE]" == lines[-1]


@pytest.mark.parametrize("form", [None, "float", "base64"])
async def test_embeddings_of_a_double_are_the_same(
    form: Any, openai_double: OpenAIDouble, bench_on: Bench, stock_on: Stock
) -> None:
    """In either encoding, in the order of the texts."""
    root = openai_double.url.removesuffix("/v1")
    wanted: dict[str, Any] = {"model": "m", "input": ["love it", "sad"]} | ({"encoding_format": form} if form else {})
    theirs = await stock_on(root).embeddings.create(**(wanted | {"encoding_format": "float"}))
    ours = await bench_on(root).openai("vllm/m").embeddings.create(**wanted)
    if form == "base64":  # asked for by name, the package leaves it as it is
        assert all(isinstance(row.embedding, str) for row in ours.data)
    else:
        assert {row.index: row.embedding for row in theirs.data} == {row.index: row.embedding for row in ours.data}
    assert [0, 1] == [row.index for row in ours.data]
    assert theirs.usage.prompt_tokens == ours.usage.prompt_tokens
