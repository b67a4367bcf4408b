"""What a body for OpenAI's API asks for, as a `records.Request`.

What Params and Message can hold unchanged goes there, everything else into their `extra`, which is sent as it is. What an answer
could not carry back is refused. Null means the same as leaving a field out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeGuard

from workbench.errors import BadRequestError
from workbench.records import Message, Params, Request

__all__ = ["Asked", "read_embedding", "read_request"]

_OWN_SCHEMA = ("ollama", "tgi")  # they take a JSON schema in a form of their own, without OpenAI's name and strictness


class Asked(NamedTuple):
    """A request, whether to stream the answer, whether to send its usage then, and what the log's row says besides."""

    request: Request
    stream: bool
    usage: bool
    fields: dict[str, Any]


def read_request(
    kind: Literal["chat", "completion"], body: Mapping[str, Any], model: str, runtime: str, timeout: float
) -> Asked:
    """From the body of /chat/completions or /completions. model: `endpoint/model`; runtime: its kind, such as vllm.

    Raises BadRequestError for what cannot be carried.
    """
    rest = {name: value for name, value in body.items() if value is not None and name != "model"}
    stream = rest.pop("stream", False) is True
    usage = _stream_options(rest.pop("stream_options", {}))
    messages: tuple[Message, ...] = ()
    prompt = ""
    if kind == "chat":
        messages = _messages(rest.pop("messages", None))
    else:
        prompt = _prompt(rest.pop("prompt", None))
    _refuse(rest)
    user = rest.get("user")
    if runtime == "ollama":
        rest.pop("user", None)  # it has no such field; the log does
    params = _params(rest, kind, runtime)
    fields = {"user": user} if isinstance(user, str) else {}
    return Asked(Request(model, kind, messages, prompt, params, timeout), stream, usage, fields)


def read_embedding(body: Mapping[str, Any]) -> tuple[list[str], bool]:
    """(texts, whether the vectors are wanted in base64) from the body of /embeddings. Raises BadRequestError."""
    texts = body.get("input")
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise _bad(f"input = {_short(body.get('input'))} must be a text or a list of texts; tokens are not taken.")
    known = {"input", "model", "encoding_format", "user"}
    for name, value in body.items():
        if name not in known and value is not None:
            raise _bad(
                f"{name} = {_short(value)}: embeddings take input, model and encoding_format here. Leave it out."
            )
    form = body.get("encoding_format") or "float"
    if form not in ("float", "base64"):
        raise _bad(f"encoding_format = {_short(form)} must be 'float' or 'base64'.")
    return texts, form == "base64"


def _messages(found: Any) -> tuple[Message, ...]:
    if not isinstance(found, list):
        raise _bad(f"messages = {_short(found)} must be a list, such as [{{'role': 'user', 'content': '…'}}].")
    return tuple(_message(item, number) for number, item in enumerate(found))


def _message(item: Any, number: int) -> Message:
    if not isinstance(item, dict) or not isinstance(item.get("role"), str):
        raise _bad(f"messages[{number}] = {_short(item)} must be an object with a role and content.")
    rest = {name: value for name, value in item.items() if value is not None and name != "role"}
    content = rest.pop("content", None)
    calls = tuple(rest.pop("tool_calls")) if _objects(rest.get("tool_calls")) else ()
    answers = rest.pop("tool_call_id") if isinstance(rest.get("tool_call_id"), str) else None
    parts: tuple[Mapping[str, Any], ...] = ()
    text = ""
    if isinstance(content, str):
        text = content
    elif _objects(content):
        parts = tuple(content)
        text = "\n".join(str(part["text"]) for part in parts if part.get("type") == "text" and "text" in part)
    elif content is not None or not calls:
        rest["content"] = content
    return Message(item["role"], text, parts, calls, answers, rest)


def _prompt(found: Any) -> str:
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    if not isinstance(found, str):
        raise _bad(f"prompt = {_short(found)} must be one text: send a call for each, and texts instead of tokens.")
    return found


def _refuse(rest: dict[str, Any]) -> None:
    """What an answer could not carry back."""
    count = rest.get("n")
    if _whole(count):
        if count > 1:
            raise _bad(
                f"n = {count}: one call gives one answer here. Send {count} calls (with different seeds, if any)."
            )
        del rest["n"]
    modalities = rest.get("modalities")
    if "audio" in rest or (isinstance(modalities, list) and "audio" in modalities):
        raise _bad(
            "audio and modalities: spoken answers are not carried. Leave them out, or use the openai package directly."
        )
    for name, instead in (("functions", "tools"), ("function_call", "tool_choice")):
        if name in rest:
            raise _bad(f"{name} is the form of 2023 and not carried: use {instead}.")


def _stream_options(found: Any) -> bool:
    """Whether usage is wanted. The chunks are ours, so other options have nothing to act on."""
    options = found if isinstance(found, dict) else {}
    if options.get("continuous_usage_stats"):
        raise _bad("stream_options.continuous_usage_stats is not carried: usage comes once, at the end.")
    return bool(options.get("include_usage"))


def _params(rest: dict[str, Any], kind: str, runtime: str) -> Params:
    """Takes from `rest` what Params has a place for; what is left, also of a wrong type, is for the server to judge."""
    held: dict[str, Any] = {}

    def take(name: str, fits: Callable[[Any], bool], place: str | None = None) -> None:
        if name in rest and fits(rest[name]):
            held[place or name] = rest.pop(name)

    take("temperature", _number)
    take("top_p", _number)
    take("seed", _whole)
    most = {"max_tokens", "max_completion_tokens"} & rest.keys()
    # an endpoint of kind openai would be sent max_completion_tokens, which not every compatible server knows
    if len(most) == 1 and not (runtime == "openai" and most == {"max_tokens"}):
        take(most.pop(), _whole, "max_tokens")
    take("stop", lambda value: _text(value) or (isinstance(value, list) and bool(value) and all(map(_text, value))))
    if "stop" in held:
        held["stop"] = (held["stop"],) if isinstance(held["stop"], str) else tuple(held["stop"])
    if kind == "completion":
        take("logprobs", _whole)
        return Params(**held, extra=rest)
    if rest.get("logprobs") is True and _whole(rest.get("top_logprobs", 0)):
        held["logprobs"] = rest.pop("top_logprobs", 0)
        del rest["logprobs"]
    elif rest.get("logprobs") is False and "top_logprobs" not in rest:
        del rest["logprobs"]
    take("tools", _objects)
    held["tools"] = tuple(held.get("tools", ()))
    take("tool_choice", lambda value: isinstance(value, (str, dict)))
    take("reasoning_effort", _text, "think")
    if runtime == "ollama" and held.get("think") == "none":
        held["think"] = False
    if runtime in _OWN_SCHEMA:
        held["schema"] = _schema(rest)
    return Params(**held, extra=rest)


def _schema(rest: dict[str, Any]) -> Mapping[str, Any] | None:
    """The JSON schema of a response_format, which is taken out of `rest`."""
    wanted = rest.get("response_format")
    if not isinstance(wanted, dict):
        return None
    named = wanted.get("json_schema")
    schema: Any = None
    if wanted.get("type") == "json_schema" and isinstance(named, dict):
        schema = named.get("schema")
    elif wanted.get("type") == "json_object":
        schema = {"type": "object"}
    if isinstance(schema, dict) or wanted == {"type": "text"}:
        del rest["response_format"]
    return schema if isinstance(schema, dict) else None


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}…"


def _bad(message: str) -> BadRequestError:
    return BadRequestError(message, status=400)
