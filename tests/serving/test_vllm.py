"""vLLM: what it was recorded to answer, and doubles of what it answers with other models and flags."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from serving_doubles import ANSWER, CHAT, RAW, ask, delta, http, listen, sends, sse

from workbench import errors
from workbench.records import ModelInfo, Params, ServerMetrics, Usage
from workbench.serving.openai_compatible import OpenAICompatible

Make = Callable[..., Any]
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


def with_params(**fields: Any) -> Any:
    return replace(CHAT, params=replace(CHAT.params, **fields))


async def test_log_probabilities(recorded: Make, endpoint: Make) -> None:
    """Asked for as OpenAI does; one mapping a token, with the alternatives."""
    found = await ask(
        OpenAICompatible(endpoint(recorded("vllm", "K").url, key="K")), with_params(max_tokens=2, logprobs=2)
    )

    assert ("The box", "length") == (found.text, found.finish_reason)
    assert (
        {"token": "The", "logprob": -1.3028624057769775,
         "top_logprobs": {"The": -1.3028624057769775, "I": -2.3028624057769775}},
        {"token": " box", "logprob": -1.8409584760665894,
         "top_logprobs": {" box": -1.8409584760665894, " sentence": -1.8409584760665894}},
    ) == found.logprobs  # fmt: skip


async def test_structured_outputs_are_sent_as_they_are(recorded: Make, endpoint: Make) -> None:
    """Today's parameter works; it is an extra."""
    request = with_params(extra={"structured_outputs": {"choice": ["positive", "negative"]}})
    found = await ask(OpenAICompatible(endpoint(recorded("vllm", "K").url, key="K")), request)
    assert ("negative", "stop", Usage(33, 2, 0)) == (found.text, found.finish_reason, found.usage)


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("guided_json", '{"json": …}}, or params.schema'), ("guided_regex", '{"regex": …}}'),
        ("guided_choice", '{"choice": …}}'), ("guided_grammar", '{"grammar": …}}'),
        ("guided_whitespace_pattern", '{"whitespace_pattern": …}}'),
        ("guided_decoding_backend", "--structured-outputs-config"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
async def test_guided_parameters_are_refused(
    recorded: Make, endpoint: Make, name: str, instead: str, stream: bool
) -> None:
    """The recorded server said 200 and did nothing with them; the message says what to write today."""
    server = recorded("vllm", "K")
    runtime = OpenAICompatible(endpoint(server.url, key="K"))
    with pytest.raises(errors.BadRequestError, match="ignores guided_") as caught:
        await (listen if stream else ask)(runtime, with_params(extra={name: ["positive", "negative"]}))
    assert instead in str(caught.value)
    assert [] == server.seen


async def test_tools_without_the_flags(recorded: Make, endpoint: Make) -> None:
    """The message names the line to start it with."""
    with pytest.raises(errors.BadRequestError) as caught:
        await ask(OpenAICompatible(endpoint(recorded("vllm", "K").url, key="K")), with_params(tools=(FUNCTION,)))
    assert '"auto" tool choice requires --enable-auto-tool-choice' in str(caught.value)
    assert "`vllm serve MODEL --enable-auto-tool-choice --tool-call-parser PARSER`" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("temperature_out_of_range", "temperature must be non-negative, got -1.0"),
        ("malformed_json", "JSON decode error"),
        ("empty_messages", "Look at the roles and the order of the messages"),
    ],
)
async def test_other_refusals(recorded: Make, endpoint: Make, name: str, said: str) -> None:
    """In the server's words."""
    server = recorded("vllm", "K")
    server.play(name)
    with pytest.raises(errors.BadRequestError) as caught:
        await ask(OpenAICompatible(endpoint(server.url, key="K")))
    assert said in str(caught.value)


async def test_the_same_again_has_an_id_of_its_own(recorded: Make, endpoint: Make) -> None:
    """So that two equal calls can be told apart in the server's log."""
    server = recorded("vllm", "K")
    runtime = OpenAICompatible(endpoint(server.url, key="K"))
    first = await ask(runtime)
    server.play("chat_again")
    second = await ask(runtime)
    assert first.text == second.text
    assert ("chatcmpl-acd3966e708ee7c4", "chatcmpl-91dd534d4a9e95a5") == (first.request_id, second.request_id)


@pytest.mark.parametrize("model", ["smollm2", "nope"])
async def test_embeddings_of_a_chat_model(recorded: Make, endpoint: Make, model: str) -> None:
    """A server with a chat model has no such route: the message says what to start."""
    server = recorded("vllm", "K")
    server.play("embeddings_on_chat_model")
    runtime = OpenAICompatible(endpoint(server.url, key="K"))
    with pytest.raises(
        errors.BadRequestError, match=rf"makes no embeddings with '{model}' \(404: Not Found\)"
    ) as caught:
        await runtime.embed(["x"], model)
    await runtime.aclose()
    assert "start vLLM with an embedding model" in str(caught.value)
    assert not caught.value.retryable


async def test_embeddings_of_a_double(raw: Make, endpoint: Make) -> None:
    """In the order of the texts, whatever the order of the answer."""
    rows = [{"index": 1, "embedding": [3, 4]}, {"index": 0, "embedding": [1, 2]}]
    server = raw(sends(http(json.dumps({"data": rows, "usage": {"prompt_tokens": 5, "total_tokens": 5}}))))
    runtime = OpenAICompatible(endpoint(server.url))
    found = await runtime.embed(["a", "b"], "bge-m3")
    await runtime.aclose()
    assert ([[1, 2], [3, 4]], Usage(5, None), "vllm/bge-m3") == (found.vectors.tolist(), found.usage, found.model)


async def test_metrics(recorded: Make, endpoint: Make) -> None:
    """The recorded page; the second of two replicas doubles the sums and leaves the share."""
    servers = [recorded("vllm", "K") for _ in range(2)]
    found = []
    for some in (servers[:1], servers):
        runtime = OpenAICompatible(endpoint(*(server.url for server in some), key="K"), clock=lambda: 7.0)
        found.append(await runtime.metrics())
        await runtime.aclose()
    assert [
        ServerMetrics(7.0, 0, 0, 0, 265, 0, 265, 58, 9),
        ServerMetrics(7.0, 0, 0, 0, 530, 0, 530, 116, 18),
    ] == found


@pytest.mark.parametrize(("status", "kind"), [(404, "text/plain"), (200, "application/json")])
async def test_no_metrics_of_a_double(raw: Make, endpoint: Make, status: int, kind: str) -> None:
    """A page that is not there, or LM Studio's 200 for every address, is None."""
    runtime = OpenAICompatible(
        endpoint(raw(sends(http('{"error": "Unexpected endpoint"}', status, content_type=kind))).url)
    )
    assert await runtime.metrics() is None
    await runtime.aclose()


CARDS = [
    {"id": "llama", "root": "meta-llama/Llama-3.2-1B", "parent": None, "max_model_len": 4096},
    {"id": "sql", "root": "/lora/sql", "parent": "llama", "max_model_len": None},
]


async def test_an_adapter_of_a_double_has_a_base(recorded: Make, endpoint: Make) -> None:
    """LoRA adapters are listed with their parent, whose context they have."""
    server = recorded("vllm", "K")
    server.say("/v1/models", {"object": "list", "data": CARDS})
    runtime = OpenAICompatible(endpoint(server.url, key="K"))
    found = [await runtime.describe(name) for name in ("sql", "llama")]
    await runtime.aclose()
    assert [
        ModelInfo("sql", None, 4096, "vllm 0.32.0", base="llama"),
        ModelInfo("llama", None, 4096, "vllm 0.32.0"),
    ] == found


async def test_health_of_a_double_whose_engine_died(recorded: Make, endpoint: Make) -> None:
    """It lists its models all the same; /health tells."""
    server = recorded("vllm", "K")
    server.say("/health", "", status=503)
    runtime = OpenAICompatible(endpoint(server.url, key="K"))
    found = await runtime.health()
    await runtime.aclose()
    assert (False, "vllm takes no work now (503): no reason given") == (found.ok, found.detail)


async def test_health_of_replicas_with_different_models(recorded: Make, endpoint: Make) -> None:
    """They would answer some calls and refuse others."""
    servers = [recorded("vllm", "K") for _ in range(2)]
    servers[1].say("/v1/models", {"object": "list", "data": CARDS})
    runtime = OpenAICompatible(endpoint(*(server.url for server in servers), key="K"))
    found = await runtime.health()
    await runtime.aclose()
    assert not found.ok
    assert f"{servers[0].url}/v1: smollm2; {servers[1].url}/v1: llama, sql" in found.detail
    assert "its own endpoint" in found.fix


async def test_describe_asks_another_replica_than_the_dead_one(
    recorded: Make, endpoint: Make, unused_tcp_port: int
) -> None:
    """A comparison can start while one of them is down."""
    dead = f"http://127.0.0.1:{unused_tcp_port}"
    runtime = OpenAICompatible(endpoint(dead, recorded("vllm", "K").url, key="K"))
    found = await runtime.describe("smollm2")
    await runtime.aclose()
    assert 2048 == found.context_length


async def test_a_schema_and_log_probabilities_of_a_completion(recorded: Make, endpoint: Make) -> None:
    """vLLM takes response_format there too; log probabilities have the older form."""
    server = recorded("vllm", "K")
    server.play("completions")
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    await ask(OpenAICompatible(endpoint(server.url, key="K")), replace(RAW, params=Params(schema=schema, logprobs=2)))

    expected = {
        "model": "smollm2", "prompt": "Hello", "logprobs": 2,
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
    }  # fmt: skip
    assert expected == server.seen[0][2]


OLD_FORM = {
    "text_offset": [0, 1], "token_logprobs": [-0.5, -1.5], "tokens": ["a", "b"],
    "top_logprobs": [{"a": -0.5, "x": -2.0}, None],
}  # fmt: skip
NEW_FORM = {
    "content": [
        {
            "token": "a",
            "logprob": -0.5,
            "bytes": [97],
            "top_logprobs": [{"token": "x", "logprob": -2.0, "bytes": None}],
        },
        {"token": "b", "logprob": -1.5, "bytes": [98], "top_logprobs": []},
    ]
}


@pytest.mark.parametrize("form", [OLD_FORM, NEW_FORM], ids=["completion", "chat"])
@pytest.mark.parametrize("stream", [False, True])
async def test_both_forms_of_log_probabilities_of_a_double(
    raw: Make, endpoint: Make, form: dict[str, Any], stream: bool
) -> None:
    """A completion's and a chat's are read alike, in one piece and streamed."""
    choice: dict[str, Any] = {"index": 0, "logprobs": form, "finish_reason": "stop"}
    if stream:
        whole = {"choices": [choice | ({"text": "ab"} if form is OLD_FORM else {"delta": {"content": "ab"}})]}
        server = raw(sends(http(sse(whole, "[DONE]"), content_type="text/event-stream")))
    else:
        whole = {"choices": [choice | ({"text": "ab"} if form is OLD_FORM else {"message": {"content": "ab"}})]}
        server = raw(sends(http(json.dumps(whole))))
    request = RAW if form is OLD_FORM else CHAT
    runtime = OpenAICompatible(endpoint(server.url))
    found = (await listen(runtime, request))[1] if stream else await ask(runtime, request)

    first = {"a": -0.5, "x": -2.0} if form is OLD_FORM else {"x": -2.0}
    assert (
        {"token": "a", "logprob": -0.5, "top_logprobs": first},
        {"token": "b", "logprob": -1.5, "top_logprobs": {}},
    ) == found.logprobs
    assert "ab" == found.text


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_double_thought(raw: Make, endpoint: Make, field: str, stream: bool) -> None:
    """vLLM's field, and the older one that others still use; the first token may be a thought."""
    if stream:
        thoughts = [{"choices": [{"index": 0, "delta": {field: text}}]} for text in ("Hm, ", "so")]
        body = sse(*thoughts, delta("ok", "stop"), "[DONE]")
        _, found = await listen(
            OpenAICompatible(endpoint(raw(sends(http(body, content_type="text/event-stream"))).url))
        )
        assert found.timing.first_token is not None
    else:
        message = {"role": "assistant", "content": "ok", field: "Hm, so"}
        whole = ANSWER | {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        found = await ask(OpenAICompatible(endpoint(raw(sends(http(json.dumps(whole)))).url)))
    assert ("ok", "Hm, so") == (found.text, found.reasoning)
