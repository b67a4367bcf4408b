"""OpenAI's JSON: what goes out for each kind of server, and what is made of what comes back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from serving_doubles import CHAT, RAW

from workbench.errors import BadAnswerError, BadRequestError
from workbench.records import Message, Params, Usage
from workbench.serving.quirks import refuse
from workbench.serving.wire import StreamedAnswer, answer_of, message_body, request_body, usage_of

CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Lisbon"}'}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
NAMED = {"name": "answer", "schema": SCHEMA}


def sent(kind: str, request: Any = CHAT, **params: Any) -> dict[str, Any]:
    """What a request adds to model and messages (or prompt)."""
    body = request_body(replace(request, params=Params(**params)), "m", stream=False, kind=kind)
    return {name: value for name, value in body.items() if name not in ("model", "messages", "prompt")}


@pytest.mark.parametrize(
    ("kind", "params", "expected"),
    [
        ("openai", {"max_tokens": 8}, {"max_completion_tokens": 8}),
        ("vllm", {"max_tokens": 8}, {"max_tokens": 8}),
        ("openai", {"schema": SCHEMA}, {"response_format": {"type": "json_schema", "json_schema": NAMED | {"strict": True}}}),
        ("vllm", {"schema": SCHEMA}, {"response_format": {"type": "json_schema", "json_schema": NAMED}}),
        ("tgi", {"schema": SCHEMA}, {"response_format": {"type": "json_schema", "value": NAMED}}),
        ("openai", {"think": True}, {"reasoning_effort": "medium"}),
        ("openai", {"think": False}, {"reasoning_effort": "none"}),
        ("openai", {"think": "high"}, {"reasoning_effort": "high"}),
        ("vllm", {"think": "low"}, {"reasoning_effort": "low"}),
        ("vllm", {"think": False}, {"chat_template_kwargs": {"enable_thinking": False}}),
        ("openai-compatible", {"think": True}, {"chat_template_kwargs": {"enable_thinking": True}}),
        ("llama-server", {"think": "low"}, {"chat_template_kwargs": {"reasoning_effort": "low"}}),
        ("vllm", {"logprobs": 0}, {"logprobs": True}),
        ("vllm", {"logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ("tgi", {"logprobs": 0}, {"logprobs": True, "top_logprobs": 1}),
        ("vllm", {"tools": (TOOL,), "tool_choice": "auto"}, {"tools": [TOOL], "tool_choice": "auto"}),
        ("vllm", {"extra": {"stop": ["x"], "min_p": 0.1}, "stop": ("y",)}, {"stop": ["x"], "min_p": 0.1}),
        ("vllm", {"top_p": 1.0, "temperature": 0}, {"top_p": 1.0, "temperature": 0}),
    ],
)  # fmt: skip
def test_a_chat_as_each_kind_takes_it(kind: str, params: dict[str, Any], expected: dict[str, Any]) -> None:
    """Nothing that is not set goes out; extra goes last."""
    assert expected == sent(kind, **params)


@pytest.mark.parametrize(
    ("kind", "params", "expected"),
    [
        ("openai", {"max_tokens": 8}, {"max_tokens": 8}),
        ("vllm", {"logprobs": 0}, {"logprobs": 0}),
        ("vllm", {"schema": SCHEMA}, {"response_format": {"type": "json_schema", "json_schema": NAMED}}),
        ("llama-server", {"schema": SCHEMA}, {"json_schema": SCHEMA}),
    ],
)
def test_a_completion_as_each_kind_takes_it(kind: str, params: dict[str, Any], expected: dict[str, Any]) -> None:
    """llama-server ignores response_format there, and takes its own field."""
    assert expected == sent(kind, RAW, **params)


@pytest.mark.parametrize(
    ("kind", "params", "said"),
    [
        ("vllm", {"tools": (TOOL,)}, r"params\.tools needs a chat"),
        ("openai", {"tool_choice": "auto"}, r"params\.tool_choice needs a chat"),
        ("llama-server", {"think": False}, r"params\.think needs a chat"),
        ("openai-compatible", {"schema": SCHEMA}, "not known that openai-compatible holds a raw completion"),
    ],
)
def test_what_servers_ignore_in_a_completion_is_refused(kind: str, params: dict[str, Any], said: str) -> None:
    """A schema or tools that nobody heeds must not pass for heeded ones."""
    with pytest.raises(BadRequestError, match=said):
        refuse(replace(RAW, params=Params(**params)), kind)


def test_what_is_heeded_passes() -> None:
    """A server of an unknown kind may take response_format by name."""
    for request in (CHAT, RAW, replace(RAW, params=Params(extra={"response_format": {}}, schema=SCHEMA, stop=("x",)))):
        for kind in ("llama-server", "openai", "openai-compatible", "vllm"):
            refuse(request, kind)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (Message("user", "hi"), {"role": "user", "content": "hi"}),
        (
            Message(
                "user", "hi", parts=({"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "x"}})
            ),
            {
                "role": "user",
                "content": [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "x"}}],
            },
        ),
        (Message("assistant", tool_calls=(CALL,)), {"role": "assistant", "content": None, "tool_calls": [CALL]}),
        (
            Message("assistant", "Let me look.", tool_calls=(CALL,)),
            {"role": "assistant", "content": "Let me look.", "tool_calls": [CALL]},
        ),
        (Message("tool", "22 °C", tool_call_id="c1"), {"role": "tool", "content": "22 °C", "tool_call_id": "c1"}),
    ],
)
def test_a_turn_in_openais_form(message: Message, expected: dict[str, Any]) -> None:
    """Parts are the content; calls without text have none."""
    assert expected == message_body(message)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, Usage()),
        ({"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}, Usage(3, 1)),
        ({"prompt_tokens": 3, "total_tokens": 3}, Usage(3, None)),
        (
            {"prompt_tokens": 9, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
             "completion_tokens_details": {"reasoning_tokens": 5, "accepted_prediction_tokens": 0}},
            Usage(9, 7, 4, 5),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 7, "prompt_tokens_details": None, "reasoning_tokens": 2},
            Usage(9, 7, None, 2),
        ),
    ],
)  # fmt: skip
def test_counts_in_the_forms_of_openai_vllm_and_sglang(found: Any, expected: Usage) -> None:
    """What is not said is unknown, not 0."""
    assert expected == usage_of(found)


def whole(message: dict[str, Any], finish: str = "stop") -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant"} | message, "finish_reason": finish}]}


def test_a_refusal_is_the_text_and_marked() -> None:
    """OpenAI sends it in a field of its own, with no content."""
    found = answer_of(whole({"content": None, "refusal": "I cannot help with that."}))
    assert ("I cannot help with that.", "stop", True) == (found.text, found.finish_reason, found.refused)


@pytest.mark.parametrize("arguments", [{"city": "Lisbon"}, '{"city":"Lisbon"}'])
def test_arguments_are_json_text(arguments: Any) -> None:
    """Also from a server that sends an object, as older ones do."""
    call = CALL | {"function": {"name": "weather", "arguments": arguments}}
    (found,) = answer_of(whole({"tool_calls": [call]}, "tool_calls")).tool_calls
    assert '{"city":"Lisbon"}' == found["function"]["arguments"]


def stream(*deltas: dict[str, Any], done: bool = True, finish: str | None = None) -> StreamedAnswer:
    answer = StreamedAnswer()
    for number, delta in enumerate(deltas, 1):
        last = finish if number == len(deltas) else None
        answer.add({"choices": [{"index": 0, "delta": delta, "finish_reason": last}]})
    answer.done = done
    return answer


def piece(
    arguments: str, index: int | None = 0, identity: str | None = None, name: str | None = None
) -> dict[str, Any]:
    found: dict[str, Any] = {"function": {"arguments": arguments} | ({"name": name} if name else {})}
    return {
        "tool_calls": [found | ({} if index is None else {"index": index}) | ({"id": identity} if identity else {})]
    }


@pytest.mark.parametrize("index", [1, 0])
def test_two_calls_in_a_stream_are_two(index: int) -> None:
    """Told apart by their number, or by their ids where a server numbers every call 0."""
    answer = stream(
        piece("", 0, "c1", "weather"), piece('{"city": ', 0), piece('"Lisbon"}', 0),
        piece("", index, "c2", "time"), piece("{}", index), finish="tool_calls",
    )  # fmt: skip
    second = {"id": "c2", "type": "function", "function": {"name": "time", "arguments": "{}"}}
    assert (CALL, second) == answer.answer.tool_calls


def test_calls_without_a_number() -> None:
    """Their place in the chunk numbers them."""
    assert (CALL,) == stream(piece('{"city": "Lisbon"}', None, "c1", "weather"), finish="stop").answer.tool_calls


@pytest.mark.parametrize(
    ("arguments", "finish", "expected"),
    [("{}", None, "tool_calls"), ("{}", "stop", "tool_calls"), ('{"a', None, None), ('{"a', "length", "length")],
)
def test_how_a_streamed_call_ended(arguments: str, finish: str | None, expected: str | None) -> None:
    """TGI does not say; arguments that break off are no whole call."""
    assert expected == stream(piece(arguments, 0, "0", "f"), finish=finish).answer.finish_reason


def test_an_older_stream_of_completions() -> None:
    """Texts are joined, an empty finish reason is none."""
    answer = StreamedAnswer()
    told = [
        answer.add({"choices": [{"index": 0, "text": text, "finish_reason": finish}]})
        for text, finish in ((" Lima", ""), (".", ""), ("<|im_end|>", "eos_token"))
    ]
    assert ([" Lima", ".", ""], " Lima.", "stop") == (told, answer.text, answer.finish_reason)


@pytest.mark.parametrize(
    "chunk",
    [
        [],
        {"choices": 3},
        {"choices": [{"delta": 3}]},
        {"choices": [{"delta": {"tool_calls": 3}}]},
        {"choices": [{"delta": {"content": 3}}]},
        {"choices": [{"delta": {"reasoning": {"a": 1}}}]},
    ],
)
def test_what_is_no_chunk(chunk: Any) -> None:
    """Is an error that shows it."""
    with pytest.raises(BadAnswerError, match="no part of an answer"):
        StreamedAnswer().add(chunk)
