"""TGI: what its router does otherwise than OpenAI, against answers derived from its source, and doubles of the rest."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from serving_doubles import ask, delta, http, listen, sends, sse

from workbench import errors
from workbench.records import Health, Message, ModelInfo, Params, Request, Usage
from workbench.serving.openai_compatible import OpenAICompatible

Make = Callable[..., Any]
SERVED = "HuggingFaceTB/SmolLM2-135M-Instruct"
SHA = "0f1e2d3c4b5a69788796a5b4c3d2e1f001234567"
CHATS = "/v1/chat/completions"
CHAT = Request(
    "tgi/tgi",
    "chat",
    (
        Message("system", "Name the team for this ticket: billing or support."),
        Message("user", "I was charged twice in March."),
    ),
    params=Params(temperature=0, seed=42, max_tokens=8),
)
COUNTING = Request(
    "tgi/tgi", "completion", prompt="One, two, three,", params=Params(temperature=0, max_tokens=4)
)  # fmt: skip
INVOICE = {
    "type": "function",
    "function": {
        "name": "get_invoice",
        "description": "Looks up one invoice",
        "parameters": {"type": "object", "properties": {"number": {"type": "string"}}, "required": ["number"]},
    },
}
TOOLS = Request(
    "tgi/tgi",
    "chat",
    (Message("user", "Show me invoice A-17."),),
    params=Params(temperature=0, max_tokens=64, tools=(INVOICE,), tool_choice="required"),
)


def runtime(endpoint: Make, server: Any, key: str = "K", **fields: Any) -> OpenAICompatible:
    given = {"name": "tgi", "kind": "tgi", "key_setting": "TGI_API_KEY"} | fields
    return OpenAICompatible(endpoint(server.url, key=key, **given))


def answer(text: str, finish: str = "stop", tokens: int = 3) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return {"id": "", "choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": tokens}}


# -- what succeeds


async def test_a_chat_is_asked_and_read_as_the_source_says(recorded: Make, endpoint: Make) -> None:
    """The id is always empty, which is none; nothing is known of cached tokens."""
    found = await ask(runtime(endpoint, recorded("tgi", "K")), CHAT)

    assert ("billing", "stop", Usage(38, 3, None, None)) == (found.text, found.finish_reason, found.usage)
    assert found.request_id is None


@pytest.mark.parametrize(("usage", "expected"), [(True, Usage(38, 3)), (False, Usage())])
async def test_a_streamed_chat(recorded: Make, endpoint: Make, usage: bool, expected: Usage) -> None:
    """Counts come only where they are asked for, in a chunk of their own."""
    tgi = runtime(endpoint, recorded("tgi", "K"), options={"stream_usage": usage})
    pieces, found = await listen(tgi, CHAT)

    assert (["bill", "ing"], "billing", "stop", expected) == (pieces, found.text, found.finish_reason, found.usage)


async def test_a_completion(recorded: Make, endpoint: Make) -> None:
    """The prompt goes out raw."""
    found = await ask(runtime(endpoint, recorded("tgi", "K")), COUNTING)
    assert (" four, five", "length", Usage(6, 4)) == (found.text, found.finish_reason, found.usage)


async def test_the_end_token_of_a_streamed_completion_is_no_text(recorded: Make, endpoint: Make) -> None:
    """TGI streams it, with finish reason eos_token, which the plain answer does not hold."""
    request = replace(COUNTING, prompt="The capital of Peru is", params=Params(temperature=0, max_tokens=8))
    tgi = runtime(endpoint, recorded("tgi", "K"), options={"stream_usage": False})
    pieces, found = await listen(tgi, request)

    assert ([" Lima", "."], " Lima.", "stop", Usage(5, 3)) == (pieces, found.text, found.finish_reason, found.usage)


@pytest.mark.parametrize(("stream", "arguments"), [(False, '{"number":"A-17"}'), (True, '{ "number": "A-17"}')])
async def test_tool_calls_end_with_tool_calls(recorded: Make, endpoint: Make, stream: bool, arguments: str) -> None:
    """TGI says stop for them, and in a stream nothing at all."""
    tgi = runtime(endpoint, recorded("tgi", "K"), options={"stream_usage": False})
    found = (await listen(tgi, TOOLS))[1] if stream else await ask(tgi, TOOLS)

    (call,) = found.tool_calls
    assert ("0", "get_invoice") == (call["id"], call["function"]["name"])
    assert arguments == call["function"]["arguments"]
    assert ("", "tool_calls") == (found.text, found.finish_reason)


async def test_a_schema_goes_into_value(recorded: Make, endpoint: Make) -> None:
    """As the exchange shows; the shape of OpenAI is refused."""
    server = recorded("tgi", "K")
    server.play("json_schema")
    schema = {"type": "object", "properties": {"team": {"type": "string"}}, "required": ["team"]}
    found = await ask(runtime(endpoint, server), replace(CHAT, params=Params(schema=schema)))

    assert '{"team": "billing", "urgent": false}' == found.text
    sent = server.seen[0][2]["response_format"]
    assert {"type": "json_schema", "value": {"name": "answer", "schema": schema}} == sent


async def test_comment_lines_of_a_silent_stream_of_a_double(raw: Make, endpoint: Make) -> None:
    """TGI sends one every 15 s."""
    body = ":\n\n" + sse(delta("ok")) + ":\n\n" + sse(delta("", "stop"), "[DONE]")
    server = raw(sends(http(body, content_type="text/event-stream")))
    assert "ok" == (await listen(runtime(endpoint, server), CHAT))[1].text


# -- what it would do otherwise than it was told


@pytest.mark.parametrize(
    ("params", "sent"),
    [
        (Params(top_p=1.0), None),
        (Params(top_p=0.9, temperature=0), None),
        (Params(top_p=0.9), 0.9),
        (Params(top_p=0.9, temperature=0.5), 0.9),
    ],
)
async def test_top_p_is_sent_only_where_it_narrows(
    recorded: Make, endpoint: Make, params: Params, sent: float | None
) -> None:
    """1 is refused by TGI, and with any top_p it samples, even at temperature 0."""
    server = recorded("tgi", "K")
    server.play("chat")
    await ask(runtime(endpoint, server), replace(CHAT, params=params))
    assert sent == server.seen[0][2].get("top_p")


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (Params(extra={"presence_penalty": 0}), "presence_penalty . 2 as its repetition penalty"),
        (
            Params(extra={"n": 2}),
            r"does nothing with n,.*takes frequency_penalty, guideline, response_format, tool_prompt\.",
        ),
        (Params(extra={"logit_bias": {}}), "does nothing with logit_bias"),
        (Params(extra={"guided_choice": ["a"]}), "guided_choice.*response_format.*regex"),
        (Params(extra={"structured_outputs": {}}), "structured_outputs.*response_format.*regex"),
        (Params(think=True), "think"),
    ],
)
async def test_what_it_ignores_is_refused(endpoint: Make, params: Params, said: str) -> None:
    """Before anything is sent; nobody listens at this address."""
    tgi = OpenAICompatible(endpoint("http://127.0.0.1:1", name="tgi", kind="tgi"))
    with pytest.raises(errors.BadRequestError, match=said):
        await ask(tgi, replace(CHAT, params=params))


@pytest.mark.parametrize("params", [Params(logprobs=1), Params(schema={"properties": {}}), Params(tools=(INVOICE,))])
async def test_what_a_completion_cannot_have_is_refused(endpoint: Make, params: Params) -> None:
    """TGI gives completions no logprobs, no grammar and no tools, and says nothing."""
    tgi = OpenAICompatible(endpoint("http://127.0.0.1:1", name="tgi", kind="tgi"))
    with pytest.raises(errors.BadRequestError, match="Use a prompt of kind chat"):
        await ask(tgi, replace(COUNTING, params=params))


async def test_a_turn_with_text_and_calls_is_refused(endpoint: Make) -> None:
    """TGI would forget the calls."""
    call = {"id": "0", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turns = (*CHAT.messages, Message("assistant", "Let me look.", tool_calls=(call,)))
    tgi = OpenAICompatible(endpoint("http://127.0.0.1:1", name="tgi", kind="tgi"))
    with pytest.raises(errors.BadRequestError, match="forgets the tool calls"):
        await ask(tgi, replace(CHAT, messages=turns))


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_a_double_cut_below_max_tokens_is_an_error(
    raw: Make, endpoint: Make, stream: bool
) -> None:
    """TGI counts a max_tokens above 1024 as 1024 and does not say so; the counts tell."""
    events = [delta("text", "length"), {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 1024}}]
    streamed = http(sse(*events, "[DONE]"), content_type="text/event-stream")
    server = raw(sends(streamed if stream else http(json.dumps(answer("text", "length", 1024)))))
    request = replace(CHAT, params=Params(max_tokens=3000))
    with pytest.raises(
        errors.ContextLengthError, match=r"after 1,024 tokens although max_tokens is 3,000.*to 1,024 or"
    ):
        await (listen if stream else ask)(runtime(endpoint, server), request)
    whole = await (listen if stream else ask)(runtime(endpoint, server), replace(CHAT, params=Params(max_tokens=1024)))
    assert "length" == (whole[1] if isinstance(whole, tuple) else whole).finish_reason


async def test_the_stop_text_is_taken_off_the_answer_of_a_double(recorded: Make, endpoint: Make) -> None:
    """TGI leaves it there, OpenAI and vLLM do not."""
    server = recorded("tgi", "K")
    server.say(CHATS, answer("billing\nEND", "stop_sequence"))
    found = await ask(runtime(endpoint, server), replace(CHAT, params=Params(stop=("END", "\nEND"))))
    assert ("billing", "stop") == (found.text, found.finish_reason)


@pytest.mark.parametrize(
    ("told", "finish", "expected"),
    [
        (["bill", "ing ", "EN", "D"], "stop_sequence", ["bill", "ing "]),
        (["a E", "Nd EN", "D"], "stop_sequence", ["a ", "ENd "]),
        (["almost E", "N"], "stop", ["almost ", "EN"]),
        (["cut EN"], "length", ["cut ", "EN"]),
    ],
)
async def test_a_stop_text_is_held_back_in_a_stream_of_a_double(
    raw: Make, endpoint: Make, told: list[str], finish: str, expected: list[str]
) -> None:
    """What may become one waits until it is known; pieces and completion say the same."""
    events = [delta(text, finish if number == len(told) else None) for number, text in enumerate(told, 1)]
    server = raw(sends(http(sse(*events, "[DONE]"), content_type="text/event-stream")))
    pieces, found = await listen(runtime(endpoint, server), replace(CHAT, params=Params(stop=("END",))))
    assert (expected, "".join(expected)) == (pieces, found.text)


async def test_counts_of_a_double_that_chose_no_tool_are_unknown(recorded: Make, endpoint: Make) -> None:
    """It generates twice then, and gives the first one's counts and finish reason with the second one's text."""
    server = recorded("tgi", "K")
    server.say(CHATS, answer("Which invoice?", "stop", 12))
    found = await ask(runtime(endpoint, server), replace(CHAT, params=Params(tools=(INVOICE,))))
    assert ("Which invoice?", None, Usage(9, None)) == (found.text, found.finish_reason, found.usage)


async def test_counts_of_a_stream_of_a_double_that_chose_no_tool_hold(raw: Make, endpoint: Make) -> None:
    """There they are those of the text."""
    events = [
        delta("Which?"),
        delta("", "stop"),
        {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3}},
    ]
    server = raw(sends(http(sse(*events, "[DONE]"), content_type="text/event-stream")))
    _, found = await listen(runtime(endpoint, server), replace(CHAT, params=Params(tools=(INVOICE,))))
    assert ("Which?", "stop", Usage(9, 3)) == (found.text, found.finish_reason, found.usage)


# -- refusals


REFUSALS = [
    ("unauthorized", errors.AuthenticationError, 401, False, "TGI_API_KEY"),
    ("input_too_long", errors.ContextLengthError, 422, False, "must have less than 1536 tokens. Given: 1618"),
    ("overloaded", errors.RateLimitError, 429, True, "concurrency"),
    ("malformed_json", errors.BadRequestError, 400, False, "EOF while parsing"),
    ("json_schema_openai_shape_is_refused", errors.BadRequestError, 422, False, "missing field `value`"),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("name", "kind", "status", "retryable", "said"), REFUSALS, ids=[item[0] for item in REFUSALS])
async def test_refusals_as_the_source_says(
    recorded: Make, endpoint: Make, name: str, kind: type[errors.CallError], status: int, retryable: bool, said: str,
    stream: bool,
) -> None:  # fmt: skip
    """Each is its own error, whatever the form of TGI's body: an object, a text, nothing; and no Retry-After."""
    server = recorded("tgi", "K")
    server.play(name)
    with pytest.raises(kind) as caught:
        await (listen if stream else ask)(runtime(endpoint, server), CHAT)

    found = caught.value
    assert (kind, status, retryable, None) == (type(found), found.status, found.retryable, found.retry_after)
    assert said in str(found)


TROUBLE = [
    ("Model is overloaded", 429, errors.RateLimitError, True, "concurrency"),
    ("Request failed during generation: Server error: out of memory", 424, errors.ServerError, True, "out of memory"),
    ("Incomplete generation", 500, errors.ServerError, True, "Incomplete generation"),
    ("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 1618 `inputs` tokens and 1024", 422,
     errors.ContextLengthError, False, "Shorten"),
    ("Input validation error: grammar is not valid: Grammar must have a 'properties' field", 422, errors.BadRequestError, False,
     "an object with properties at its top"),
    ("Template error: template not found", 422, errors.BadRequestError, False, "use a prompt of kind completion"),
]  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("text", "status", "kind", "retryable", "said"), TROUBLE, ids=[item[0][:24] for item in TROUBLE]
)
async def test_the_same_error_inside_a_stream_and_without(
    recorded: Make, raw: Make, endpoint: Make, text: str, status: int, kind: type[errors.CallError], retryable: bool,
    said: str, stream: bool,
) -> None:  # fmt: skip
    """In a stream TGI says 200 and 422 whatever it is: only the words tell."""
    if stream:
        event = {"error": {"message": text, "http_status_code": 422}}
        server = raw(sends(http(sse(event, "[DONE]"), content_type="text/event-stream")))
    else:
        server = recorded("tgi", "K")
        server.say(CHATS, {"error": text, "error_type": "x"}, status=status)
    with pytest.raises(kind, match=said) as caught:
        await (listen if stream else ask)(runtime(endpoint, server), CHAT)
    assert (kind, status, retryable) == (type(caught.value), caught.value.status, caught.value.retryable)


async def test_an_overload_inside_a_stream_as_the_source_says(recorded: Make, endpoint: Make) -> None:
    """The exchange itself: a 200 whose only event is the error."""
    server = recorded("tgi", "K")
    server.play("chat_stream_error_event")
    with pytest.raises(errors.RateLimitError, match="Model is overloaded"):
        await listen(runtime(endpoint, server), CHAT)


async def test_it_makes_no_embeddings(recorded: Make, endpoint: Make) -> None:
    """The message says what does."""
    server = recorded("tgi", "K")
    exchange = server.exchanges["unknown_path"]
    server.exchanges["embeddings"] = {"request": {"method": "POST", "path": "/v1/embeddings", "json": None}} | {
        "response": exchange["response"]
    }
    server.play("embeddings")
    tgi = runtime(endpoint, server)
    with pytest.raises(errors.BadRequestError, match="text-embeddings-inference") as caught:
        await tgi.embed(["x"], "tgi")
    await tgi.aclose()
    assert (404, False) == (caught.value.status, caught.value.retryable)


# -- what it says of itself


@pytest.mark.parametrize("name", ["tgi", SERVED])
async def test_describe_takes_the_model_from_info(recorded: Make, endpoint: Make, name: str) -> None:
    """Id, commit of the weights, context and version."""
    server = recorded("tgi", "K")
    tgi = runtime(endpoint, server)
    found = await tgi.describe(name)
    await tgi.aclose()
    assert ModelInfo(SERVED, SHA, 2048, "tgi 3.3.6-dev0") == found
    assert ["/info"] == [path for path, _, _ in server.seen]


async def test_describe_sees_a_double_that_was_started_with_another_model(recorded: Make, endpoint: Make) -> None:
    """What was true of the one before is not believed."""
    server = recorded("tgi", "K")
    tgi = runtime(endpoint, server)
    assert SHA == (await tgi.describe("tgi")).digest
    server.say("/info", {"model_id": "another/model", "model_sha": "b" * 40, "version": "3.3.6-dev0"})
    found = await tgi.describe("tgi")
    with pytest.raises(errors.ModelNotFoundError, match="tgi serves 'another/model'"):
        await tgi.describe(SERVED)
    await tgi.aclose()
    assert ("another/model", "b" * 40) == (found.model, found.digest)


async def test_a_name_that_it_would_take_for_its_own_is_said(recorded: Make, endpoint: Make) -> None:
    """Any name gets a 200 from the one model that is there, so a typing error would go unseen."""
    server = recorded("tgi", "K")
    tgi = runtime(endpoint, server)
    with pytest.raises(errors.ModelNotFoundError, match=rf"serves '{SERVED}' under any name.*tgi/{SERVED}.*adapters"):
        await tgi.describe("no-such-model")
    assert "billing" == (await ask(tgi, replace(CHAT, model="tgi/no-such-model"))).text


async def test_an_adapter_is_named_in_the_options(recorded: Make, endpoint: Make) -> None:
    """TGI lists none; then it has the served model as its base."""
    tgi = runtime(endpoint, recorded("tgi", "K"), options={"adapters": ["mine"]})
    found = await tgi.describe("mine")
    await tgi.aclose()
    assert ("mine", SERVED, 2048) == (found.model, found.base, found.context_length)


async def test_health_says_that_it_is_in_maintenance(recorded: Make, endpoint: Make) -> None:
    """And lists its one model."""
    server = recorded("tgi", "K")
    server.say("/tokenize", [{"id": 1, "text": "x", "start": 0, "stop": 1}])
    tgi = runtime(endpoint, server)
    found = await tgi.health()
    await tgi.aclose()

    detail = f"in maintenance upstream since 2025-12, which points to vLLM; answers at {server.url}/v1, 1 model"
    assert Health(True, detail, "tgi 3.3.6-dev0", (SERVED,)) == found


async def test_health_of_a_sick_double(recorded: Make, endpoint: Make) -> None:
    """/v1/models answers all the same."""
    server = recorded("tgi", "K")
    server.say("/health", {"error": "unhealthy", "error_type": "healthcheck"}, status=503)
    tgi = runtime(endpoint, server)
    found = await tgi.health()
    await tgi.aclose()
    assert not found.ok
    assert "tgi takes no work now (503): unhealthy" == found.detail


async def test_health_finds_a_wrong_key_of_a_double(recorded: Make, endpoint: Make) -> None:
    """TGI's list of models and its health need no key: something that does is asked."""
    server = recorded("tgi", "K")
    server.say("/tokenize", "", status=401)
    tgi = runtime(endpoint, server, key="wrong")
    found = await tgi.health()
    await tgi.aclose()
    assert not found.ok
    assert "did not accept the key in TGI_API_KEY" in found.detail
