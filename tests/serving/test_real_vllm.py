"""The runtime against a real vLLM, if one is named: WORKBENCH_VLLM_TEST_URL, and WORKBENCH_VLLM_TEST_KEY where it wants a key.

Such as `WORKBENCH_VLLM_TEST_URL=http://gpu:8000 WORKBENCH_VLLM_TEST_KEY=… pytest tests/serving/test_real_vllm.py`, with a
server started by `workbench serve vllm MODEL`. The first model that it lists is asked; it must have a chat template.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from workbench import errors
from workbench.records import Completion, Message, Params, Request, ServerMetrics
from workbench.serving.openai_compatible import OpenAICompatible
from workbench.settings import Endpoint, Secret

URL = os.environ.get("WORKBENCH_VLLM_TEST_URL", "")
KEY = os.environ.get("WORKBENCH_VLLM_TEST_KEY", "")

pytestmark = pytest.mark.skipif(not URL, reason="WORKBENCH_VLLM_TEST_URL names no running vLLM")

GREEDY = Params(temperature=0, seed=1, max_tokens=12)
SCHEMA = {"type": "object", "properties": {"city": {"enum": ["Lisbon", "Rome"]}}, "required": ["city"],
          "additionalProperties": False}  # fmt: skip


@pytest.fixture
async def runtime() -> AsyncIterator[OpenAICompatible]:
    runtime = OpenAICompatible(
        Endpoint("vllm", "vllm", (URL,), Secret(KEY) if KEY else None, "WORKBENCH_VLLM_TEST_KEY")
    )
    yield runtime
    await runtime.aclose()


@pytest.fixture
async def model(runtime: OpenAICompatible) -> str:
    health = await runtime.health()
    assert health.ok, f"{health.detail} {health.fix}"
    return health.models[0]


def chat(model: str, text: str = "What is the capital of France?", params: Params = GREEDY) -> Request:
    return Request(f"vllm/{model}", "chat", (Message("user", text),), params=params)


def raw(model: str, prompt: str, params: Params = GREEDY) -> Request:
    return Request(f"vllm/{model}", "completion", prompt=prompt, params=params)


async def last(runtime: OpenAICompatible, request: Request) -> tuple[list[str], Completion]:
    pieces, completion = [], None
    async for chunk in runtime.stream(request):
        if chunk.text:
            pieces.append(chunk.text)
        completion = chunk.completion or completion
    assert completion is not None
    return pieces, completion


async def test_what_it_says_of_itself(runtime: OpenAICompatible, model: str) -> None:
    """Version and context length."""
    info = await runtime.describe(model)
    assert (info.server_version or "").startswith("vllm ")
    assert (info.context_length or 0) > 0


async def test_a_chat_and_its_stream_say_the_same(runtime: OpenAICompatible, model: str) -> None:
    """Text and counts; the stream's usage comes in its last chunk. No end token stops the twelve."""
    request = chat(model, params=replace(GREEDY, extra={"ignore_eos": True}))
    whole = await runtime.complete(request)
    pieces, streamed = await last(runtime, request)
    assert whole.text == streamed.text == "".join(pieces)
    assert len(pieces) > 1
    assert whole.usage.prompt_tokens == streamed.usage.prompt_tokens
    assert whole.usage.completion_tokens == streamed.usage.completion_tokens == 12
    assert "length" == whole.finish_reason == streamed.finish_reason
    assert streamed.timing.first_token is not None
    assert 0 < streamed.timing.first_token < streamed.timing.total


@pytest.mark.parametrize("ask", [chat, raw])
async def test_the_openai_package_reads_the_same(
    runtime: OpenAICompatible, model: str, ask: Callable[..., Request]
) -> None:
    """An independent client, which builds its own request: text, counts and finish reason."""
    from openai import AsyncOpenAI

    text = "The capital of France is"
    ours = await runtime.complete(ask(model, text))
    fields: dict[str, Any] = {"model": model, "temperature": 0, "seed": 1, "max_tokens": GREEDY.max_tokens}
    async with AsyncOpenAI(base_url=f"{URL.removesuffix('/v1')}/v1", api_key=KEY or "none", max_retries=0) as client:
        if ask is chat:
            found: Any = await client.chat.completions.create(messages=[{"role": "user", "content": text}], **fields)
            said = found.choices[0].message.content
        else:
            found = await client.completions.create(prompt=text, **fields)
            said = found.choices[0].text
    assert (said, found.choices[0].finish_reason) == (ours.text, ours.finish_reason)
    assert found.usage.prompt_tokens == ours.usage.prompt_tokens
    assert found.usage.completion_tokens == ours.usage.completion_tokens


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_that_must_be_called_is(runtime: OpenAICompatible, model: str, stream: bool) -> None:
    """vLLM holds the model to the schema of a strict tool, so that any model calls it; it says stop then, which we correct."""
    function = {"name": "where", "description": "Where somebody is.", "parameters": SCHEMA, "strict": True}
    params = replace(
        GREEDY, max_tokens=60, tools=({"type": "function", "function": function},),
        tool_choice={"type": "function", "function": {"name": "where"}},
    )  # fmt: skip
    request = chat(model, "Where is Ana?", params)
    answer = (await last(runtime, request))[1] if stream else await runtime.complete(request)
    assert ["where"] == [call["function"]["name"] for call in answer.tool_calls]
    assert json.loads(answer.tool_calls[0]["function"]["arguments"])["city"] in ("Lisbon", "Rome")
    assert "tool_calls" == answer.finish_reason


async def test_a_raw_completion_stops_where_it_is_told(runtime: OpenAICompatible, model: str) -> None:
    """No chat template: the prompt is short, and the stop text is left out."""
    answer = await runtime.complete(
        raw(model, "One, two, three, four,", replace(GREEDY, stop=(" six",), max_tokens=40))
    )
    assert " five," == answer.text
    assert "stop" == answer.finish_reason
    assert (answer.usage.prompt_tokens or 99) < 15


@pytest.mark.parametrize("ask", [chat, raw])
async def test_logprobs_come_for_each_token(runtime: OpenAICompatible, model: str, ask: type) -> None:
    """With the alternatives that were asked for; the chosen token is the likeliest at temperature 0."""
    answer = await runtime.complete(ask(model, "The capital of France is", replace(GREEDY, logprobs=2)))
    assert answer.usage.completion_tokens == len(answer.logprobs)
    assert answer.text == "".join(item["token"] for item in answer.logprobs)
    for item in answer.logprobs:
        assert len(item["top_logprobs"]) >= 2
        assert max(item["top_logprobs"].values()) == pytest.approx(item["logprob"], abs=1e-4)


async def test_a_schema_holds(runtime: OpenAICompatible, model: str) -> None:
    """In a chat, in a raw completion, and streamed."""
    params = replace(GREEDY, schema=SCHEMA, max_tokens=40)
    answers = [
        await runtime.complete(chat(model, "Where is Ana? As JSON:", params)),
        await runtime.complete(raw(model, "Where is Ana? As JSON:", params)),
        (await last(runtime, chat(model, "Where is Ana? As JSON:", params)))[1],
    ]
    for answer in answers:
        assert json.loads(answer.text)["city"] in ("Lisbon", "Rome")


async def test_structured_outputs_of_vllm_hold(runtime: OpenAICompatible, model: str) -> None:
    """A choice and a pattern, by params.extra; the older names are refused before they are sent."""
    choice = replace(GREEDY, extra={"structured_outputs": {"choice": ["lemon", "quartz"]}})
    pattern = replace(GREEDY, extra={"structured_outputs": {"regex": r"[0-9]{3}-[0-9]{2}"}})
    assert (await runtime.complete(chat(model, "Say hello.", choice))).text in ("lemon", "quartz")
    digits = (await runtime.complete(chat(model, "Say hello.", pattern))).text
    assert (6, "-") == (len(digits), digits[3])
    with pytest.raises(errors.BadRequestError, match="structured_outputs"):
        await runtime.complete(chat(model, "Say hello.", replace(GREEDY, extra={"guided_choice": ["lemon"]})))


@pytest.mark.parametrize("stream", [False, True])
async def test_an_unknown_model_is_named_with_what_is_there(
    runtime: OpenAICompatible, model: str, stream: bool
) -> None:
    """By describe, by a call and by a stream."""
    with pytest.raises(errors.ModelNotFoundError, match=model):
        await runtime.describe("nonesuch")
    with pytest.raises(errors.ModelNotFoundError, match=model):
        await (last(runtime, chat("nonesuch")) if stream else runtime.complete(chat("nonesuch")))


@pytest.mark.skipif(not KEY, reason="the server wants no key")
async def test_a_wrong_key_is_refused_and_not_shown(model: str) -> None:
    """The message names the setting to correct."""
    wrong = OpenAICompatible(Endpoint("vllm", "vllm", (URL,), Secret("wrong-key-7"), "WORKBENCH_VLLM_TEST_KEY"))
    with pytest.raises(errors.AuthenticationError, match="WORKBENCH_VLLM_TEST_KEY") as caught:
        await wrong.complete(chat(model))
    assert "wrong-key-7" not in str(caught.value)
    await wrong.aclose()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("ask", [chat, raw])
async def test_a_prompt_that_is_too_long(runtime: OpenAICompatible, model: str, ask: type, stream: bool) -> None:
    """An error of its own."""
    length = (await runtime.describe(model)).context_length or 0
    request = ask(model, "word " * (length + 100))
    with pytest.raises(errors.ContextLengthError, match=str(length)):
        await (last(runtime, request) if stream else runtime.complete(request))


async def test_the_load_is_told(runtime: OpenAICompatible, model: str) -> None:
    """Running requests while one runs, none afterwards, and the tokens that were counted."""
    before = await runtime.metrics()
    assert before is not None
    endless = replace(GREEDY, max_tokens=1000, extra={"ignore_eos": True})
    async with aclosing(runtime.stream(chat(model, params=endless))) as chunks:
        await anext(chunks)
        during = await runtime.metrics()
    assert during is not None
    assert (during.running or 0) >= 1
    after = await _state(runtime, busy=False)
    assert after.completion_tokens is not None
    assert after.completion_tokens > (before.completion_tokens or 0)
    assert None not in (after.cache_use, after.prefix_queries, after.prefix_hits, after.waiting)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cancelled_call_frees_the_server(runtime: OpenAICompatible, model: str, stream: bool) -> None:
    """It has nothing left to do long before the answer would have been complete."""
    endless = chat(model, params=replace(GREEDY, max_tokens=1500, extra={"ignore_eos": True}))
    task = asyncio.create_task(last(runtime, endless) if stream else runtime.complete(endless))  # type: ignore[arg-type]
    before = await _state(runtime, busy=True)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    after = await _state(runtime, busy=False)
    assert (after.completion_tokens or 0) - (before.completion_tokens or 0) < 700


async def test_a_prefix_that_was_seen_is_counted_as_cached(runtime: OpenAICompatible, model: str) -> None:
    """With --enable-prompt-tokens-details; without it, unknown."""
    text = "A list of words: " + "apple banana cherry " * 60
    await runtime.complete(chat(model, text))
    again = await runtime.complete(chat(model, text))
    assert again.usage.cached_tokens is None or again.usage.cached_tokens > 100


async def test_many_at_once_are_all_answered(runtime: OpenAICompatible, model: str) -> None:
    """They queue; none is refused, and each gets its own answer."""
    requests = [
        raw(model, f"{number}, {number + 1}, {number + 2},", replace(GREEDY, max_tokens=6)) for number in range(32)
    ]
    answers = await asyncio.gather(*(runtime.complete(request) for request in requests))
    assert [6] * 32 == [answer.usage.completion_tokens for answer in answers]
    right = sum(f"{number + 3}" in answer.text for number, answer in enumerate(answers))
    assert right > 16


async def _state(runtime: OpenAICompatible, *, busy: bool) -> ServerMetrics:
    """The metrics once something runs, or nothing does."""
    async with asyncio.timeout(15):
        while True:
            found = await runtime.metrics()
            assert found is not None
            if bool(found.running) == busy:
                return found
            await asyncio.sleep(0.05)
