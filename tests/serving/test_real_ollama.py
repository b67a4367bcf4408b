"""The runtime against a real Ollama, if one is named: WORKBENCH_OLLAMA_TEST_URL, and WORKBENCH_OLLAMA_TEST_MODEL for one of its
models (by default the first that it lists; it must chat, and be a small one).

Such as `WORKBENCH_OLLAMA_TEST_URL=http://127.0.0.1:11434 pytest tests/serving/test_real_ollama.py`. It was run on 0.9.3, which
cuts prompts silently; servers from 0.12.6 on refuse them when they are asked to.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from workbench import errors
from workbench.records import Completion, Message, Params, Request
from workbench.serving.ollama import Ollama
from workbench.settings import Endpoint

URL = os.environ.get("WORKBENCH_OLLAMA_TEST_URL", "")
MODEL = os.environ.get("WORKBENCH_OLLAMA_TEST_MODEL", "")
THREADS = int(os.environ.get("WORKBENCH_OLLAMA_TEST_THREADS", "0"))

pytestmark = pytest.mark.skipif(not URL, reason="WORKBENCH_OLLAMA_TEST_URL names no running Ollama")

GREEDY = Params(temperature=0, seed=1, max_tokens=8)
SCHEMA = {"type": "object", "properties": {"city": {"enum": ["Lisbon", "Rome"]}}, "required": ["city"],
          "additionalProperties": False}  # fmt: skip


@pytest.fixture
async def runtime() -> AsyncIterator[Ollama]:
    options = {"num_thread": THREADS} if THREADS else {}  # more threads than free cores make it many times slower
    runtime = Ollama(Endpoint("ollama", "ollama", (URL,), None, "OLLAMA_API_KEY", options=options))
    yield runtime
    await runtime.aclose()


@pytest.fixture
async def model(runtime: Ollama) -> str:
    health = await runtime.health()
    assert health.ok, f"{health.detail} {health.fix}"
    assert health.models, health.fix
    return MODEL or health.models[0]


def chat(model: str, text: str = "What is the capital of France?", params: Params = GREEDY) -> Request:
    return Request(f"ollama/{model}", "chat", (Message("user", text),), params=params)


def raw(model: str, prompt: str, params: Params = GREEDY) -> Request:
    return Request(f"ollama/{model}", "completion", prompt=prompt, params=params)


async def last(runtime: Ollama, request: Request) -> tuple[list[str], Completion]:
    pieces, completion = [], None
    async for chunk in runtime.stream(request):
        if chunk.text:
            pieces.append(chunk.text)
        completion = chunk.completion or completion
    assert completion is not None
    return pieces, completion


async def test_what_it_says_of_itself(runtime: Ollama, model: str) -> None:
    """Version, digest, context length and capabilities; the list has the same digest."""
    info = await runtime.describe(model)
    assert (info.server_version or "").startswith("ollama ")
    assert 64 == len(info.digest or "")
    assert (info.context_length or 0) > 0
    assert "completion" in info.capabilities
    assert info.digest in {str(item["digest"]).removeprefix("sha256:") for item in await runtime.list()}


async def test_a_model_is_loaded_and_unloaded(runtime: Ollama, model: str) -> None:
    """In memory it is listed as running, with its size and until when; afterwards it is not."""
    await runtime.unload(model)
    state = await runtime.load(model, keep_alive="10m")
    assert state is not None
    assert state["size"] > 0
    assert state["expires_at"]
    await runtime.unload(model)
    async with asyncio.timeout(20):
        while await runtime.running():
            await asyncio.sleep(0.05)


async def test_a_chat_and_its_stream_say_the_same(runtime: Ollama, model: str) -> None:
    """Text and counts, and durations in seconds that fit into the whole."""
    await runtime.complete(chat(model))
    whole = await runtime.complete(chat(model))
    pieces, streamed = await last(runtime, chat(model))
    assert whole.text == streamed.text == "".join(pieces)
    assert len(pieces) > 1
    assert whole.usage.prompt_tokens == streamed.usage.prompt_tokens
    assert whole.usage.completion_tokens == streamed.usage.completion_tokens
    assert whole.finish_reason == streamed.finish_reason
    timing = streamed.timing
    assert timing.first_token is not None
    assert 0 < timing.first_token < timing.total
    assert timing.decode is not None
    assert 0 < timing.decode < timing.total


async def test_the_openai_package_reads_the_same(runtime: Ollama, model: str) -> None:
    """By the server's other API: an independent client gets the same text and counts."""
    from openai import AsyncOpenAI

    text = "The capital of France is"
    ours = await runtime.complete(chat(model, text))
    async with AsyncOpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0) as client:
        messages: Any = [{"role": "user", "content": text}]
        found = await client.chat.completions.create(
            model=model, messages=messages, temperature=0, seed=1, max_tokens=GREEDY.max_tokens
        )
    assert (found.choices[0].message.content, found.choices[0].finish_reason) == (ours.text, ours.finish_reason)
    assert found.usage is not None
    assert found.usage.prompt_tokens == ours.usage.prompt_tokens
    assert found.usage.completion_tokens == ours.usage.completion_tokens


async def test_a_raw_completion_stops_where_it_is_told(runtime: Ollama, model: str) -> None:
    """No template: the prompt is short, and the stop text is left out; with raw = false it is longer."""
    prompt = "One, two, three, four,"
    free = await runtime.complete(raw(model, prompt))
    stop = free.text[3:6]
    answer = await runtime.complete(raw(model, prompt, replace(GREEDY, stop=(stop,))))
    assert free.text.partition(stop)[0].rstrip() == answer.text.rstrip()
    assert ("length", "stop") == (free.finish_reason, answer.finish_reason)
    templated = await runtime.complete(
        raw(model, prompt, replace(GREEDY, max_tokens=2, extra={"raw": False, "system": "Count."}))
    )
    assert (templated.usage.prompt_tokens or 0) > (answer.usage.prompt_tokens or 0) > 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_schema_holds(runtime: Ollama, model: str, stream: bool) -> None:
    """The answer is JSON that fits it."""
    request = chat(model, "Where is Ana? As JSON:", replace(GREEDY, schema=SCHEMA, max_tokens=60))
    answer = (await last(runtime, request))[1] if stream else await runtime.complete(request)
    assert json.loads(answer.text)["city"] in ("Lisbon", "Rome")


@pytest.mark.parametrize("stream", [False, True])
async def test_an_unknown_model_is_named_with_what_is_there(runtime: Ollama, model: str, stream: bool) -> None:
    """And with how to get it."""
    request = chat("nonesuch:1b")
    with pytest.raises(errors.ModelNotFoundError, match=f"{model}.*workbench model pull ollama/nonesuch:1b"):
        await (last(runtime, request) if stream else runtime.complete(request))
    with pytest.raises(errors.ModelNotFoundError, match=model):
        await runtime.describe("nonesuch:1b")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("ask", [chat, raw])
async def test_a_prompt_that_is_too_long(runtime: Ollama, model: str, ask: Any, stream: bool) -> None:
    """An error that names the context, whether the server refuses or cuts silently; flagged where cutting is allowed."""
    text = "word " * 1500
    small = replace(GREEDY, max_tokens=2, extra={"num_ctx": 512})
    with pytest.raises(errors.ContextLengthError, match="num_ctx"):
        await (last(runtime, ask(model, text, small)) if stream else runtime.complete(ask(model, text, small)))
    allowed = ask(model, text, replace(small, extra=small.extra | {"allow_truncation": True}))
    try:
        answer = (await last(runtime, allowed))[1] if stream else await runtime.complete(allowed)
    except errors.ServerError as error:  # 0.9.3 cuts a raw prompt so that there is no room for an answer, and crashes
        if "runner has unexpectedly stopped" not in str(error):
            raise
    else:
        assert answer.truncated
    fits = await runtime.complete(ask(model, "word " * 90, small))
    assert not fits.truncated


@pytest.mark.parametrize(
    ("params", "capability"),
    [(replace(GREEDY, think=True), "thinking"), (replace(GREEDY, tools=({"type": "function", "function": {
        "name": "where", "description": "Where?", "parameters": SCHEMA}},)), "tools")],
)  # fmt: skip
async def test_what_a_model_cannot_do_is_said(runtime: Ollama, model: str, params: Params, capability: str) -> None:
    """Where its capabilities do not name it, the server refuses; the message says how to look."""
    if capability in (await runtime.describe(model)).capabilities:
        pytest.skip(f"{model} can do that")
    with pytest.raises(errors.BadRequestError, match=f"does not support {capability}.*workbench model show"):
        await runtime.complete(chat(model, params=params))


async def test_a_wrong_option_never_reaches_it(runtime: Ollama, model: str) -> None:
    """It would ignore a name that it does not know, and fail on a wrong type."""
    with pytest.raises(errors.BadRequestError, match="num_ctx"):
        await runtime.complete(chat(model, params=replace(GREEDY, extra={"num_contx": 8192})))
    with pytest.raises(errors.BadRequestError, match="whole number"):
        await runtime.complete(chat(model, params=replace(GREEDY, extra={"top_k": "many"})))


async def test_a_pull_that_fails_in_its_stream_is_an_error(runtime: Ollama) -> None:
    """Nobody listens at that registry: the server says so inside a 200."""
    seen: list[str] = []
    with pytest.raises(errors.ServerError, match=r"could not pull .*What it has by now is kept"):
        await runtime.pull("127.0.0.1:1/library/none", progress=lambda done, total, status: seen.append(status))
    assert seen


async def test_a_cancelled_stream_frees_the_server(runtime: Ollama, model: str) -> None:
    """The next call is answered although the first would have gone on for thousands of tokens."""
    endless = raw(model, "Once upon a time", replace(GREEDY, max_tokens=4000, extra={"num_ctx": 8192}))
    async with aclosing(runtime.stream(endless)) as chunks:
        await anext(chunks)
    next_one = raw(model, "One, two,", replace(GREEDY, max_tokens=2, extra={"num_ctx": 8192}))
    answer = await runtime.complete(replace(next_one, timeout=30.0))
    assert 2 == answer.usage.completion_tokens


async def test_several_at_once_are_all_answered(runtime: Ollama, model: str) -> None:
    """They queue; each gets its own answer."""
    requests = [raw(model, f"{number}, {number + 1},", replace(GREEDY, max_tokens=3)) for number in range(8)]
    answers = await asyncio.gather(*(runtime.complete(request) for request in requests))
    assert [3] * 8 == [answer.usage.completion_tokens for answer in answers]


async def test_embeddings_or_why_there_are_none(runtime: Ollama, model: str) -> None:
    """One row a text; a server or a model that makes none says what to take."""
    try:
        found = await runtime.embed(["one", "another"], model)
    except errors.BadRequestError as error:
        if "embed" not in str(error):
            raise
    else:
        assert 2 == len(found.vectors)
        assert found.vectors.shape[1] > 8
