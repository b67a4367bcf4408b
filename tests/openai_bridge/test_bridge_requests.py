"""What a body asks for arrives at the server, in the form that its runtime takes, or is refused in words."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.errors import BadRequestError
from workbench.openai_bridge.requests import read_embedding, read_request
from workbench.records import Params
from workbench.serving.wire import request_body

ASK = {"role": "user", "content": "Hi"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": SCHEMA}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def sent(body: dict[str, Any], runtime: str = "vllm", kind: Any = "chat") -> dict[str, Any]:
    """The body that the server of such a runtime would get."""
    asked = read_request(kind, {"model": "m"} | body, f"{runtime}/m", runtime, 9.0)
    assert 9.0 == asked.request.timeout
    return request_body(asked.request, "m", stream=asked.stream, kind=runtime)


@pytest.mark.parametrize(
    "body",
    [
        {"temperature": 0.5, "top_p": 0.9, "max_tokens": 5, "seed": 1, "stop": ["a", "b"]},
        {"frequency_penalty": 1, "logit_bias": {"5": -100}, "user": "u1", "metadata": {"a": "b"}, "store": True},
        {"temperature": "hot", "max_tokens": 1.5, "seed": "x", "stop": [], "tools": [], "top_p": True, "n": "two"},
        {"max_tokens": 5, "max_completion_tokens": 6},
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": False},
        {"response_format": FORMAT},
        {"response_format": {"type": "json_object"}, "reasoning_effort": "low", "verbosity": "low"},
        {"logprobs": True, "top_logprobs": 3},
        {"logprobs": True},
        {"top_logprobs": 3},
        {"structured_outputs": {"choice": ["a"]}, "chat_template_kwargs": {"enable_thinking": False}, "unheard_of": None},
        {"modalities": ["text"], "service_tier": "flex"},
    ],
)  # fmt: skip
def test_a_chat_arrives_as_it_was_sent(body: dict[str, Any]) -> None:
    """Also what nobody here knows, and what has a wrong type: the server judges it. Null is not sent."""
    expected = {"model": "m", "messages": [ASK]} | {name: value for name, value in body.items() if value is not None}
    assert expected == sent({"messages": [ASK]} | body)


@pytest.mark.parametrize(
    "message",
    [
        ASK,
        {"role": "developer", "content": "Be short."},
        {"role": "user", "name": "ada", "content": "Hi"},
        {"role": "user", "content": [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": "data:,"}}]},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "assistant", "content": "Wait.", "tool_calls": [CALL]},
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": "No", "prefix": True, "reasoning_content": "Hm"},
        {"role": "tool", "tool_call_id": "c1", "content": "12 degrees"},
        {"role": "user", "content": 7},
    ],
)  # fmt: skip
def test_a_message_arrives_as_it_was_sent(message: dict[str, Any]) -> None:
    """Roles, names, parts, tool calls and their results."""
    assert [message] == sent({"messages": [message]})["messages"]


def test_what_differs_only_in_its_form_is_put_into_params() -> None:
    """One stop is a list of one, one answer is what there is anyway, and the older length limit is the newer one."""
    body = {"messages": [ASK], "stop": "x", "n": 1, "logprobs": False, "max_completion_tokens": 3, "stream": False}
    asked = read_request("chat", body, "vllm/m", "vllm", 1.0)
    assert Params(stop=("x",), max_tokens=3) == asked.request.params


def test_the_text_of_a_message_is_what_the_log_shows() -> None:
    """Of content in parts, its texts."""
    parts = [
        {"type": "text", "text": "What is"},
        {"type": "image_url", "image_url": {}},
        {"type": "text", "text": "this?"},
    ]
    asked = read_request("chat", {"messages": [{"role": "user", "content": parts}]}, "vllm/m", "vllm", 1.0)
    assert "What is\nthis?" == asked.request.text()


@pytest.mark.parametrize(
    ("given", "arrives"),
    [({"max_tokens": 5}, {"max_tokens": 5}), ({"max_completion_tokens": 5}, {"max_completion_tokens": 5})],
)
def test_an_openai_endpoint_gets_the_length_limit_by_the_name_that_was_given(
    given: dict[str, int], arrives: dict[str, int]
) -> None:
    """Compatible servers know the one, OpenAI's newer models the other."""
    found = sent({"messages": [ASK]} | given, "openai")
    assert arrives == {name: value for name, value in found.items() if name.startswith("max_")}


def test_runtimes_with_a_form_of_their_own_get_the_schema_itself() -> None:
    """Ollama and TGI do not take OpenAI's response_format."""
    asked = read_request("chat", {"messages": [ASK], "response_format": FORMAT}, "ollama/m", "ollama", 1.0)
    assert Params(schema=SCHEMA) == asked.request.params
    assert {"type": "json_schema", "value": {"name": "answer", "schema": SCHEMA}} == sent(
        {"messages": [ASK], "response_format": FORMAT}, "tgi"
    )["response_format"]
    for wanted, schema in (({"type": "json_object"}, {"type": "object"}), ({"type": "text"}, None)):
        asked = read_request("chat", {"messages": [ASK], "response_format": wanted}, "ollama/m", "ollama", 1.0)
        assert Params(schema=schema) == asked.request.params


def test_ollama_is_not_sent_what_it_has_no_place_for() -> None:
    """The user stands in the log; no effort is no thinking."""
    body = {"messages": [ASK], "user": "u1", "reasoning_effort": "none"}
    asked = read_request("chat", body, "ollama/m", "ollama", 1.0)
    assert (Params(think=False), {"user": "u1"}) == (asked.request.params, asked.fields)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"n": 2}, "n = 2: one call gives one answer here. Send 2 calls"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "spoken answers are not carried"),
        ({"modalities": ["text", "audio"]}, "spoken answers are not carried"),
        ({"functions": [{}]}, "use tools"),
        ({"function_call": "auto"}, "use tool_choice"),
        ({"stream_options": {"continuous_usage_stats": True}}, "usage comes once"),
        ({"messages": "Hi"}, r"messages = 'Hi' must be a list"),
        ({"messages": None}, "messages = None must be a list"),
        ({"messages": [{"content": "Hi"}]}, r"messages\[0\] = .* must be an object with a role"),
    ],
)
def test_what_an_answer_could_not_carry_is_refused(body: dict[str, Any], message: str) -> None:
    """In words that name the field and what to do."""
    with pytest.raises(BadRequestError, match=message) as raised:
        sent({"messages": [ASK]} | body)
    assert 400 == raised.value.status


@pytest.mark.parametrize(
    "body",
    [{"prompt": "Hi", "logprobs": 2, "echo": True, "best_of": 1, "suffix": "!"}, {"prompt": "Hi", "max_tokens": 1}],
)
def test_a_completion_arrives_as_it_was_sent(body: dict[str, Any]) -> None:
    """Its log probabilities are a number."""
    assert {"model": "m"} | body == sent(body, kind="completion")


def test_a_completion_takes_one_text() -> None:
    """A list of one is one; several, or tokens, are refused."""
    assert {"model": "m", "prompt": "Hi"} == sent({"prompt": ["Hi"]}, kind="completion")
    for wrong in (["a", "b"], [1, 2], None):
        with pytest.raises(BadRequestError, match="must be one text"):
            sent({"prompt": wrong}, kind="completion")


def test_embeddings_take_texts_and_nothing_that_would_be_lost() -> None:
    """Fewer dimensions than asked for would be other vectors."""
    assert (["a"], False) == read_embedding({"input": "a", "user": "u", "dimensions": None})
    assert (["a", "b"], True) == read_embedding({"input": ["a", "b"], "encoding_format": "base64"})
    for body, message in (
        ({"input": [1, 2]}, "tokens are not taken"),
        ({"input": []}, "must be a text"),
        ({"input": "a", "dimensions": 8}, "dimensions = 8"),
        ({"input": "a", "encoding_format": "hex"}, "must be 'float' or 'base64'"),
    ):
        with pytest.raises(BadRequestError, match=message):
            read_embedding(body)
