"""The openai package as an independent reader: the same servers, driven by it and by our runtime, say the same.

The recorded servers answer only to the very body that was recorded, so these tests also hold what our runtime sends.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from openai import AsyncOpenAI
from serving_doubles import ask, http, listen, sends, sse

from workbench.records import Completion, Message, Params, Request
from workbench.serving.openai_compatible import OpenAICompatible

Make = Callable[..., Any]
KNOWN = ("model", "messages", "prompt", "temperature", "seed", "max_tokens", "stream", "stream_options", "tools", "tool_choice",
         "response_format", "logprobs", "top_logprobs")  # fmt: skip


class Read(NamedTuple):
    """What both must find. logprobs: (token, logprob, alternatives)."""

    text: str
    finish: str | None
    usage: tuple[int | None, int | None, int | None, int | None] = (None, None, None, None)
    calls: tuple[tuple[str | None, str, str], ...] = ()
    logprobs: tuple[tuple[str, float, dict[str, float]], ...] = ()


def ours(found: Completion) -> Read:
    usage = found.usage
    return Read(
        found.text,
        found.finish_reason,
        (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.reasoning_tokens),
        tuple((call["id"], call["function"]["name"], call["function"]["arguments"]) for call in found.tool_calls),
        tuple((item["token"], item["logprob"], dict(item["top_logprobs"])) for item in found.logprobs),
    )


def counts(usage: Any) -> tuple[int | None, int | None, int | None, int | None]:
    if usage is None:
        return (None, None, None, None)
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    return (
        usage.prompt_tokens, usage.completion_tokens, prompt and prompt.cached_tokens, completion and completion.reasoning_tokens,
    )  # fmt: skip


def chances(found: Any) -> tuple[tuple[str, float, dict[str, float]], ...]:
    if found is None:
        return ()
    if getattr(found, "content", None) is not None:
        return tuple((i.token, i.logprob, {top.token: top.logprob for top in i.top_logprobs}) for i in found.content)
    return tuple(
        (token, value, dict(top or {}))
        for token, value, top in zip(found.tokens, found.token_logprobs, found.top_logprobs, strict=True)
    )


async def theirs(url: str, body: dict[str, Any]) -> Read:
    """What the openai package makes of it."""
    given = {name: value for name, value in body.items() if name in KNOWN}
    extra = {name: value for name, value in body.items() if name not in KNOWN}
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="K", max_retries=0) as client:
        api: Any = client.completions if "prompt" in body else client.chat.completions
        found = await api.create(**given, extra_body=extra)
        if not body.get("stream"):
            choice = found.choices[0]
            message = getattr(choice, "message", None)
            calls = [(c.id, c.function.name, c.function.arguments) for c in (message and message.tool_calls) or ()]
            text = (message.content or message.refusal or "") if message else choice.text
            return Read(text, choice.finish_reason, counts(found.usage), tuple(calls), chances(choice.logprobs))
        text, finish, usage, logprobs = "", None, None, ()
        parts: dict[int, list[Any]] = {}
        async for chunk in found:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                finish = choice.finish_reason or finish
                logprobs += chances(choice.logprobs)
                if "prompt" in body:
                    text += choice.text
                    continue
                text += choice.delta.content or choice.delta.refusal or ""
                for call in choice.delta.tool_calls or ():
                    kept = parts.setdefault(call.index, [call.id, "", ""])
                    kept[1] += call.function.name or ""
                    kept[2] += call.function.arguments or ""
    return Read(text, finish, counts(usage), tuple(tuple(kept) for kept in parts.values()), logprobs)


def request_of(body: dict[str, Any]) -> Request:
    """The request that must become this body."""
    extra = {name: body[name] for name in body if name not in KNOWN or name == "response_format"}
    logprobs = body.get("top_logprobs", 0) if body.get("logprobs") is True else body.get("logprobs")
    params = Params(
        temperature=body.get("temperature"), max_tokens=body.get("max_tokens"), seed=body.get("seed"), logprobs=logprobs,
        tools=tuple(body.get("tools", ())), tool_choice=body.get("tool_choice"), extra=extra,
    )  # fmt: skip
    if "prompt" in body:
        return Request(f"x/{body['model']}", "completion", prompt=body["prompt"], params=params)
    messages = tuple(Message(turn["role"], turn["content"]) for turn in body["messages"])
    return Request(f"x/{body['model']}", "chat", messages, params=params)


async def read(runtime: OpenAICompatible, body: dict[str, Any]) -> Read:
    request = request_of(body)
    return ours((await listen(runtime, request))[1] if body.get("stream") else await ask(runtime, request))


VLLM = (
    "chat",
    "chat_stream_usage",
    "chat_stream_no_usage",
    "completions",
    "json_schema",
    "structured_outputs_choice",
    "logprobs",
)


@pytest.mark.parametrize("name", VLLM)
async def test_a_recorded_vllm(recorded: Make, endpoint: Make, name: str) -> None:
    """Text, finish reason, counts and log probabilities of each exchange that succeeds."""
    server = recorded("vllm", "K")
    body = server.exchanges[name]["request"]["json"]
    options = {"stream_usage": "stream_options" in body}
    expected = await theirs(server.url, body)

    assert expected == await read(OpenAICompatible(endpoint(server.url, key="K", options=options)), body)
    assert expected.text
    assert 200 == server.exchanges[name]["response"]["status"]


TGI = ("chat", "chat_unknown_model_is_accepted", "chat_stream_usage", "chat_stream_no_usage", "completions", "completions_stream",
       "tools", "tools_stream", "json_schema")  # fmt: skip


@pytest.mark.parametrize("name", TGI)
async def test_a_tgi_as_its_source_says(recorded: Make, endpoint: Make, name: str) -> None:
    """The same; where TGI is not what OpenAI would be, the package shows it raw and our runtime as it was meant."""
    server = recorded("tgi", "K")
    body = server.exchanges[name]["request"]["json"]
    options = {"stream_usage": "stream_options" in body}
    expected = await theirs(server.url, body)
    meant = {
        "completions_stream": {"text": expected.text.removesuffix("<|im_end|>"), "finish": "stop"},
        "tools": {"finish": "tool_calls"},
        "tools_stream": {"finish": "tool_calls"},
    }
    runtime = OpenAICompatible(endpoint(server.url, key="K", name="tgi", kind="tgi", options=options))

    assert expected._replace(**meant.get(name, {})) == await read(runtime, body)
    assert expected.text or expected.calls


QUESTION: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
COMPLETION: dict[str, Any] = {"model": "m", "prompt": "hi", "logprobs": 2}
COUNTS = {
    "prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 5, "audio_tokens": 0},
}  # fmt: skip
HEAD = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m"}
CALLS = [
    {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": arguments}}
    for n, name, arguments in ((1, "weather", '{"city": "Lisbon"}'), (2, "time", "{}"))
]
OLD = {
    "tokens": ["a", "b"],
    "token_logprobs": [-0.5, -1.5],
    "top_logprobs": [{"a": -0.5}, {"b": -1.5}],
    "text_offset": [0, 1],
}
NEW = {
    "content": [
        {"token": "ok", "logprob": -0.25, "bytes": None, "top_logprobs": [{"token": "no", "logprob": -2.0, "bytes": None}]},
    ],
    "refusal": None,
}  # fmt: skip


def said(**message: Any) -> dict[str, Any]:
    finish = message.pop("finish", "stop")
    logprobs = message.pop("logprobs", None)
    whole = {"role": "assistant", "content": None, "refusal": None} | message
    return HEAD | {
        "choices": [{"index": 0, "message": whole, "finish_reason": finish, "logprobs": logprobs}],
        "usage": COUNTS,
    }


def chunk(delta: dict[str, Any], finish: str | None = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish} | fields
    return HEAD | {"object": "chat.completion.chunk", "choices": [choice]}


def parts(number: int, call: dict[str, Any]) -> list[dict[str, Any]]:
    """A call as it is streamed: who is called, then the arguments in two pieces."""
    arguments = call["function"]["arguments"]
    first = {"index": number, "id": call["id"], "type": "function", "function": call["function"] | {"arguments": ""}}
    rest = [{"index": number, "function": {"arguments": piece}} for piece in (arguments[:3], arguments[3:])]
    return [chunk({"tool_calls": [piece]}) for piece in (first, *rest)]


USAGE = HEAD | {"object": "chat.completion.chunk", "choices": [], "usage": COUNTS}
DOUBLES: dict[str, tuple[dict[str, Any], Any]] = {
    "counts": (QUESTION, said(content="ok")),
    "refusal": (QUESTION, said(refusal="I cannot help with that.")),
    "tool calls": (QUESTION, said(tool_calls=CALLS, finish="tool_calls")),
    "filtered": (QUESTION, said(content="", finish="content_filter")),
    "log probabilities": (QUESTION, said(content="ok", logprobs=NEW)),
    "completion": (
        COMPLETION,
        HEAD | {"object": "text_completion", "usage": COUNTS,
                "choices": [{"index": 0, "text": "ab", "finish_reason": "length", "logprobs": OLD}]},
    ),
    "streamed refusal": (QUESTION, [chunk({"refusal": "I "}), chunk({"refusal": "cannot."}), chunk({}, "stop"), USAGE]),
    "streamed tool calls": (
        QUESTION, [*parts(0, CALLS[0]), *parts(1, CALLS[1]), chunk({}, "tool_calls"), USAGE],
    ),
    "streamed log probabilities": (QUESTION, [chunk({"content": "ok"}, logprobs=NEW), chunk({}, "length"), USAGE]),
    "streamed completion": (
        COMPLETION,
        [HEAD | {"object": "text_completion", "choices": [{"index": 0, "text": "ab", "finish_reason": None, "logprobs": OLD}]},
         HEAD | {"object": "text_completion", "choices": [{"index": 0, "text": "", "finish_reason": "stop", "logprobs": None}]},
         USAGE | {"object": "text_completion"}],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DOUBLES)
async def test_a_double_of_openai(raw: Make, endpoint: Make, name: str) -> None:
    """What the recorded servers did not say: refusals, parallel calls, counts of cached and reasoning tokens."""
    body, answer = DOUBLES[name]
    streamed = isinstance(answer, list)
    bytes_ = http(sse(*answer, "[DONE]"), content_type="text/event-stream") if streamed else http(json.dumps(answer))
    server = raw(sends(bytes_))
    body = body | ({"stream": True} if streamed else {})
    expected = await theirs(server.url, body)

    assert expected == await read(OpenAICompatible(endpoint(server.url, kind="openai")), body)
    assert (9, 7, 4, 5) == expected.usage
    assert expected.text or expected.calls or name == "filtered"
