"""A real llama-server with real weights over HTTP: what it says, what it hides, and that the openai package reads the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI
from serving_doubles import ask, listen

from workbench import errors, weights
from workbench.records import Message, Params, Request
from workbench.serving.openai_compatible import OpenAICompatible

Make = Callable[..., Any]
CONTEXT = 256  # tokens of one slot
SCHEMA = {
    "type": "object",
    "properties": {"late": {"type": "boolean"}},
    "required": ["late"],
    "additionalProperties": False,
}
CHAT = Request(
    "local/smollm2",
    "chat",
    (Message("user", "Say hello."),),
    params=Params(temperature=0, max_tokens=6, seed=1),
)
RAW = Request(
    "local/smollm2", "completion", prompt="The capital of France is", params=Params(temperature=0, max_tokens=4)
)


@pytest.fixture(scope="module")
def llama_server(real_weights: Path) -> Iterator[str]:
    """The address of a llama-server in this process, with a key, metrics and one slot."""
    xllamacpp = pytest.importorskip("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = str(weights.ensure("smollm2-135m", real_weights))
    params.model_alias = {"smollm2"}
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.n_parallel, params.n_ctx = 1, CONTEXT
    params.api_keys = ["K"]
    params.endpoint_metrics = params.endpoint_props = True
    params.ui = False
    params.verbosity = -1
    server = xllamacpp.Server(params)
    yield server.listening_address
    del server


@pytest.fixture
def local(llama_server: str, endpoint: Make) -> OpenAICompatible:
    return OpenAICompatible(endpoint(llama_server, name="local", kind="llama-server", key="K", key_setting="LOCAL_KEY"))


@pytest.mark.parametrize("stream", [False, True])
async def test_the_openai_package_reads_the_same(local: OpenAICompatible, llama_server: str, stream: bool) -> None:
    """Text, finish reason, counts and log probabilities, in one piece and streamed."""
    body: Any = {
        "model": "smollm2", "messages": [{"role": "user", "content": "Say hello."}], "temperature": 0, "seed": 1,
        "max_tokens": 6, "logprobs": True, "top_logprobs": 2,
    }  # fmt: skip
    request = replace(CHAT, params=replace(CHAT.params, logprobs=2))
    async with AsyncOpenAI(base_url=f"{llama_server}/v1", api_key="K", max_retries=0) as client:
        theirs = await client.chat.completions.create(**body)
    ours = (await listen(local, request))[1] if stream else await ask(local, request)

    choice = theirs.choices[0]
    assert (choice.message.content, choice.finish_reason) == (ours.text, ours.finish_reason)
    assert (theirs.usage.prompt_tokens, theirs.usage.completion_tokens) == (
        ours.usage.prompt_tokens,
        ours.usage.completion_tokens,
    )
    assert choice.logprobs is not None
    assert [(item.token, [top.token for top in item.top_logprobs]) for item in choice.logprobs.content] == [
        (item["token"], list(item["top_logprobs"])) for item in ours.logprobs
    ]
    assert [item.logprob for item in choice.logprobs.content] == pytest.approx(
        [item["logprob"] for item in ours.logprobs], abs=0.01
    )


@pytest.mark.parametrize("request_", [CHAT, RAW], ids=["chat", "completion"])
async def test_a_schema_is_kept(local: OpenAICompatible, request_: Request) -> None:
    """Also in a raw completion, where llama-server ignores response_format without a word."""
    found = await ask(local, replace(request_, params=Params(temperature=0, max_tokens=60, schema=SCHEMA)))
    assert {"late"} == set(json.loads(found.text))


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_filled_the_context_is_an_error(local: OpenAICompatible, stream: bool) -> None:
    """llama-server stops there with finish reason length; the counts tell that it was not max_tokens."""
    counting = replace(RAW, prompt=" ".join(map(str, range(1, 75))), params=Params(temperature=0, max_tokens=4000))
    with pytest.raises(errors.ContextLengthError, match=r"although max_tokens is 4,000.*n_ctx"):
        await (listen if stream else ask)(local, counting)


REFUSALS: list[tuple[Request, type[errors.CallError], int, str]] = [
    (
        replace(CHAT, messages=(Message("user", "word " * 600),)),
        errors.ContextLengthError,
        400,
        "available context size",
    ),
    (replace(CHAT, params=Params(extra={"temperature": "hot"})), errors.BadRequestError, 400, "type must be number"),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("request_", "kind", "status", "said"), REFUSALS, ids=["too long", "wrong type"])
async def test_refusals(
    local: OpenAICompatible, request_: Request, kind: type[errors.CallError], status: int, said: str, stream: bool
) -> None:
    """In its words."""
    with pytest.raises(kind, match=said) as caught:
        await (listen if stream else ask)(local, request_)
    assert (kind, status) == (type(caught.value), caught.value.status)


async def test_a_wrong_key(llama_server: str, endpoint: Make) -> None:
    """The message names the setting."""
    runtime = OpenAICompatible(
        endpoint(llama_server, name="local", kind="llama-server", key="wrong", key_setting="LOCAL_KEY")
    )
    with pytest.raises(errors.AuthenticationError, match="LOCAL_KEY"):
        await ask(runtime, CHAT)


async def test_it_makes_no_embeddings_with_a_chat_model(local: OpenAICompatible) -> None:
    """501 is no fault of the moment: it is not worth another try."""
    with pytest.raises(errors.BadRequestError, match=r"\(501: This server does not support embeddings.*--embeddings"):
        await local.embed(["x"], "smollm2")
    await local.aclose()


async def test_what_it_says_of_itself(local: OpenAICompatible) -> None:
    """Name, the context of a slot, version; any other name would get a 200 from this model, and is refused here."""
    found = await local.describe("smollm2")
    health = await local.health()
    with pytest.raises(errors.ModelNotFoundError, match=r"It has: smollm2\."):
        await local.describe("smollm3")
    await local.aclose()
    assert ("smollm2", CONTEXT) == (found.model, found.context_length)
    assert (True, ("smollm2",)) == (health.ok, health.models)
    assert found.server_version is not None
    assert found.server_version.startswith("llama-server")  # the wheel's build does not know its number
    assert found.server_version == health.version


async def test_its_metrics_count_what_was_asked(local: OpenAICompatible) -> None:
    """The difference of two pages is the call between them, cached prompt tokens included."""
    before = await local.metrics()
    answer = await local.complete(CHAT)
    after = await local.metrics()
    await local.aclose()
    assert before is not None
    assert after is not None
    assert answer.usage.prompt_tokens == after.prompt_tokens - before.prompt_tokens  # type: ignore[operator]
    assert answer.usage.completion_tokens == after.completion_tokens - before.completion_tokens  # type: ignore[operator]
    assert answer.usage.cached_tokens == after.prefix_hits - before.prefix_hits  # type: ignore[operator]
    assert (0, 0) == (after.running, after.waiting)
