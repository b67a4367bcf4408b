"""The JSON that OpenAI-style servers speak: request bodies, answers and stream chunks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from workbench.errors import BadAnswerError
from workbench.records import Message, Params, Request, Usage

__all__ = ["Answer", "StreamedAnswer", "answer_of", "message_body", "request_body", "usage_of"]

_FINISH = {"eos_token": "stop", "stop_sequence": "stop", "end_turn": "stop", "function_call": "tool_calls",
           "max_tokens": "length", "": None}  # fmt: skip
_NO_USAGE = Usage()


def request_body(request: Request, model: str, *, stream: bool, usage: bool = True, kind: str = "") -> dict[str, Any]:
    """The body for /chat/completions or /completions. Only what is set is sent; `params.extra` goes last, as it is.

    kind: some servers name a field in their own way.
    """
    params = request.params
    body: dict[str, Any] = {"model": model}
    if request.kind == "chat":
        body["messages"] = [message_body(message) for message in request.messages]
    else:
        body["prompt"] = request.prompt
    if params.temperature is not None:
        body["temperature"] = params.temperature
    if params.top_p is not None and (kind != "tgi" or _narrows(params)):
        body["top_p"] = params.top_p
    if params.max_tokens is not None:
        # newer models of OpenAI refuse max_tokens in a chat; other servers know only that
        newer = kind == "openai" and request.kind == "chat"
        body["max_completion_tokens" if newer else "max_tokens"] = params.max_tokens
    if params.seed is not None:
        body["seed"] = params.seed
    if params.stop:
        body["stop"] = list(params.stop)
    if params.schema is not None:
        if kind == "llama-server" and request.kind == "completion":
            body["json_schema"] = params.schema  # it ignores response_format there
        else:
            body["response_format"] = _response_format(params.schema, kind)
    if params.tools:
        body["tools"] = list(params.tools)
    if params.tool_choice is not None:
        body["tool_choice"] = params.tool_choice
    if params.logprobs is not None:
        if request.kind == "chat":
            body["logprobs"] = True
            if params.logprobs or kind == "tgi":  # which tells none at all without alternatives
                body["top_logprobs"] = params.logprobs or 1
        else:
            body["logprobs"] = params.logprobs
    if params.think is not None:
        _think(body, params.think, kind)
    if stream:
        body["stream"] = True
        if usage:
            body["stream_options"] = {"include_usage": True}
    if params.extra:
        body.update(params.extra)
    return body


def message_body(message: Message) -> dict[str, Any]:
    """One message in OpenAI's form."""
    if not (message.parts or message.tool_calls or message.tool_call_id or message.extra):
        return {"role": message.role, "content": message.content}
    body: dict[str, Any] = {"role": message.role, "content": list(message.parts) or message.content}
    if message.tool_calls:
        body["tool_calls"] = list(message.tool_calls)
        body["content"] = body["content"] or None
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    body.update(message.extra)
    return body


def _narrows(params: Params) -> bool:
    """TGI refuses a top_p of 1, which asks for nothing, and with any top_p it samples, also at temperature 0."""
    return params.top_p is not None and params.top_p < 1 and params.temperature != 0


def _think(body: dict[str, Any], think: bool | str, kind: str) -> None:
    """OpenAI knows only how hard; vLLM and others hand the switch to the model's chat template."""
    if isinstance(think, str) and kind == "llama-server":
        body["chat_template_kwargs"] = {"reasoning_effort": think}
    elif isinstance(think, str):
        body["reasoning_effort"] = think
    elif kind == "openai":
        body["reasoning_effort"] = "medium" if think else "none"
    else:
        body["chat_template_kwargs"] = {"enable_thinking": think}


def _response_format(schema: Mapping[str, Any], kind: str) -> dict[str, Any]:
    if kind == "tgi":
        return {"type": "json_schema", "value": {"name": "answer", "schema": schema}}
    named: dict[str, Any] = {"name": "answer", "schema": schema}
    if kind == "openai":
        named["strict"] = True  # without it OpenAI treats a schema as a hint
    return {"type": "json_schema", "json_schema": named}


def usage_of(found: Any) -> Usage:
    """Token counts from a `usage` object; None where it does not say."""
    if not isinstance(found, dict):
        return _NO_USAGE
    prompt = found.get("prompt_tokens_details")
    completion = found.get("completion_tokens_details") or found  # SGLang has its reasoning_tokens beside the others
    return Usage(
        found.get("prompt_tokens"),
        found.get("completion_tokens"),
        prompt.get("cached_tokens") if prompt else None,
        completion.get("reasoning_tokens"),
    )


def finish_of(reason: str | None) -> str | None:
    """stop, length, tool_calls or content_filter, whatever the server calls it."""
    return _FINISH.get(reason, reason) if reason is not None else None


class Answer(NamedTuple):
    """What a choice holds."""

    text: str
    finish_reason: str | None
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    reasoning: str = ""
    logprobs: tuple[Mapping[str, Any], ...] = ()
    refused: bool = False


def answer_of(body: Any) -> Answer:
    """The first choice of a whole answer. Raises BadAnswerError if there is none."""
    try:
        choice = body["choices"][0]
        message = choice.get("message")
        logprobs = choice.get("logprobs")
        calls, reasoning, refused = None, "", False
        if message is None:
            text = choice["text"]
        else:
            text, calls = message.get("content"), message.get("tool_calls")
            reasoning = message.get("reasoning") or message.get("reasoning_content") or ""
            if text is None:
                text = message.get("refusal") or ""
                refused = bool(text)
        if not isinstance(text, str):
            raise TypeError(text)
        finish = finish_of(choice.get("finish_reason"))
        if calls and finish == "stop":
            finish = "tool_calls"  # TGI says stop, also where it calls
        found = logprobs_of(logprobs) if logprobs else ()
        return Answer(text, finish, _calls_of(calls) if calls else (), reasoning, found, refused)
    except (KeyError, IndexError, TypeError, AttributeError):
        raise BadAnswerError(
            f"the server said 200, but its answer has no text in choices: {str(body)[:300]}. "
            "Check that the address is that of an OpenAI-compatible server.",
            status=200,
        ) from None


def _calls_of(calls: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Tool calls, their arguments as JSON text, also from a server that sends an object."""
    found = []
    for call in calls:
        arguments = call["function"].get("arguments")
        if not isinstance(arguments, str):
            said = orjson.dumps({} if arguments is None else arguments).decode()
            call = {**call, "function": {**call["function"], "arguments": said}}
        found.append(call)
    return tuple(found)


def logprobs_of(found: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """One mapping a token (token, logprob, top_logprobs), from a chat's form or the older one of completions."""
    if found.get("content") is not None:
        return tuple(
            {
                "token": item["token"],
                "logprob": item["logprob"],
                "top_logprobs": {top["token"]: top["logprob"] for top in item.get("top_logprobs") or ()},
            }
            for item in found["content"]
        )
    tokens, values = found.get("tokens") or (), found.get("token_logprobs") or ()
    tops = found.get("top_logprobs") or [{}] * len(tokens)
    return tuple(
        {"token": token, "logprob": value, "top_logprobs": top or {}}
        for token, value, top in zip(tokens, values, tops, strict=False)
    )


class StreamedAnswer:
    """Puts the chunks of a streamed answer together."""

    __slots__ = ("_calls", "_logprobs", "_pieces", "_renumbered", "_thoughts", "done", "finish_reason", "refused",
                 "request_id", "thought", "usage")  # fmt: skip

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._thoughts: list[str] = []
        self._logprobs: list[Mapping[str, Any]] = []
        self._calls: dict[int, dict[str, Any]] = {}
        self._renumbered: dict[int, int] = {}
        self.finish_reason: str | None = None
        self.usage = _NO_USAGE
        self.request_id: str | None = None
        self.refused = False
        self.thought = ""
        self.done = False

    @property
    def text(self) -> str:
        """All text so far."""
        return "".join(self._pieces)

    @property
    def tool_calls(self) -> tuple[Mapping[str, Any], ...]:
        """All tool calls so far, their arguments joined."""
        return tuple(self._calls[index] for index in sorted(self._calls))

    @property
    def begun(self) -> bool:
        """Whether the model has said, or thought, anything yet."""
        return bool(self._pieces or self._calls or self._thoughts)

    @property
    def answer(self) -> Answer:
        """All of it so far."""
        finish = self.finish_reason
        if self._calls and (finish == "stop" or (finish is None and self._called)):
            finish = "tool_calls"  # TGI says stop, or nothing
        return Answer(
            self.text, finish, self.tool_calls, "".join(self._thoughts), tuple(self._logprobs), self.refused
        )  # fmt: skip

    @property
    def _called(self) -> bool:
        """Whether the arguments of all tool calls are whole."""
        try:
            return all(isinstance(orjson.loads(call["function"]["arguments"]), dict) for call in self._calls.values())
        except (KeyError, orjson.JSONDecodeError):
            return False

    @property
    def ended(self) -> bool:
        """Whether the server said that this is all."""
        return self.done or self.finish_reason is not None

    def add(self, chunk: Mapping[str, Any]) -> str:
        """Take one chunk; returns the text that it brought (`thought`: the reasoning). Raises BadAnswerError if it is none."""
        self.thought = ""
        try:
            if self.request_id is None:
                self.request_id = chunk.get("id") or None
            if chunk.get("usage"):
                self.usage = usage_of(chunk["usage"])
            choices = chunk.get("choices")
            if not choices:
                return ""
            choice = choices[0]
            if choice.get("finish_reason"):
                self.finish_reason = finish_of(choice["finish_reason"])
            delta = choice.get("delta")
            if delta is None:
                text = choice.get("text") or (choice.get("message") or {}).get("content")
                if choice.get("finish_reason") == "eos_token":
                    text = ""  # TGI sends the end token's own text
            else:
                text = delta.get("content")
                if not text and (text := delta.get("refusal")):
                    self.refused = True
                for position, call in enumerate(delta.get("tool_calls") or ()):
                    self._add_call(call.get("index"), position, call)
                thought = delta.get("reasoning") or delta.get("reasoning_content")
                if thought:
                    if not isinstance(thought, str):
                        raise TypeError(thought)
                    self._thoughts.append(thought)
                    self.thought = thought
            if choice.get("logprobs"):
                self._logprobs.extend(logprobs_of(choice["logprobs"]))
            if not text:
                return ""
            if not isinstance(text, str):
                raise TypeError(text)
            self._pieces.append(text)
            return text
        except (KeyError, IndexError, TypeError, AttributeError):
            raise BadAnswerError(
                f"the server streamed something that is no part of an answer: {str(chunk)[:300]}. "
                "Check that the address is that of an OpenAI-compatible server.",
                status=200,
            ) from None

    def _add_call(self, index: int | None, position: int, piece: Mapping[str, Any]) -> None:
        told = position if index is None else index
        index = self._renumbered.get(told, told)
        identity, function = piece.get("id"), piece.get("function") or {}
        if identity and function.get("name") and self._calls.get(index, piece)["id"] not in (None, identity):
            # some servers number every call 0
            index = self._renumbered[told] = max(self._calls) + 1
        call = self._calls.setdefault(index, {"id": None, "type": "function", "function": {}})
        call["id"] = call["id"] or identity
        kept = call["function"]
        kept["name"] = kept.get("name") or function.get("name")
        kept["arguments"] = kept.get("arguments", "") + (function.get("arguments") or "")
