"""The JSON of Ollama's own API: request bodies, and answers whole or in pieces."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from workbench.errors import BadAnswerError, BadRequestError
from workbench.records import Message, Request, Timing, Usage
from workbench.serving.ollama_options import Choice
from workbench.serving.wire import logprobs_of

__all__ = ["Reply", "count_of", "request_body"]

_ROLES = {"developer": "system"}  # OpenAI's newer name; Ollama's templates would leave such a message out
_DATA_URL = re.compile(r"data:[^,]*;base64,(.*)", re.DOTALL | re.IGNORECASE)
_FINISH = {"": None}


def request_body(request: Request, model: str, choice: Choice, *, stream: bool) -> dict[str, Any]:
    """The body for /api/chat, or for /api/generate where the request is a completion. Raises BadRequestError for what Ollama
    cannot be given."""
    params = request.params
    body: dict[str, Any] = {"model": model, "stream": stream}
    if request.kind == "chat":
        body["messages"] = _messages(request)
    else:
        body |= {"prompt": request.prompt, "raw": True}
    if params.schema is not None:
        body["format"] = params.schema
    if params.tools and _offers_tools(request):
        body["tools"] = list(params.tools)
    if params.think is not None:
        body["think"] = params.think
    if params.logprobs is not None:
        body["logprobs"] = True
        if params.logprobs:
            body["top_logprobs"] = params.logprobs
    body |= choice.fields
    if choice.options:
        body["options"] = choice.options
    if not choice.allow_truncation:
        body |= {"truncate": False, "shift": False}
    return body


def _offers_tools(request: Request) -> bool:
    chosen = request.params.tool_choice
    if request.kind == "completion":
        raise BadRequestError(f"{request.model}: a completion takes no tools: ask in a chat.")
    if chosen not in (None, "auto", "none"):
        raise BadRequestError(
            f"{request.model}: tool_choice = {chosen!r} is not possible, because Ollama leaves the choice to the model. "
            "Leave it out, or name 'auto' or 'none'."
        )
    return chosen != "none"


def _messages(request: Request) -> list[dict[str, Any]]:
    if not request.messages:
        raise BadRequestError(f"{request.model}: there is no message: Ollama would load the model and say nothing.")
    names: dict[str, str] = {}
    return [_message(message, names, request.model) for message in request.messages]


def _message(message: Message, names: dict[str, str], model: str) -> dict[str, Any]:
    """names: of the tools called so far, by the id of the call; added to."""
    body: dict[str, Any] = {"role": _ROLES.get(message.role, message.role), "content": message.content}
    if message.parts:
        body |= _parts(message, model)
    if message.tool_calls:
        body["tool_calls"] = [_call(call, names, model) for call in message.tool_calls]
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
        if message.tool_call_id in names:
            body["tool_name"] = names[message.tool_call_id]
    body.update(message.extra)
    return body


def _parts(message: Message, model: str) -> dict[str, Any]:
    texts, images = [], []
    for part in message.parts:
        kind = part.get("type")
        if kind == "text":
            texts.append(str(part.get("text", "")))
        elif kind == "image_url":
            images.append(_image(part.get("image_url"), model))
        else:
            raise BadRequestError(f"{model}: Ollama takes texts and images in a message, not a part of type {kind!r}.")
    body: dict[str, Any] = {"content": "\n".join(texts) or message.content}
    return body | {"images": images} if images else body


def _image(given: Any, model: str) -> str:
    url = given.get("url") if isinstance(given, Mapping) else given
    found = _DATA_URL.fullmatch(url) if isinstance(url, str) else None
    if found is None:
        shown = f"{url[:60]!r}" if isinstance(url, str) else repr(url)
        raise BadRequestError(
            f"{model}: the image {shown} is not in the message itself, and Ollama fetches none. "
            "Read it, and give it as data:image/png;base64,…"
        )
    return found[1]


def _call(call: Mapping[str, Any], names: dict[str, str], model: str) -> dict[str, Any]:
    """OpenAI's form holds the arguments as JSON text, Ollama's as an object."""
    function = call.get("function") or {}
    name, arguments = str(function.get("name", "")), function.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = orjson.loads(arguments)
        except orjson.JSONDecodeError:
            arguments = None
    if not isinstance(arguments, Mapping):
        raise BadRequestError(
            f"{model}: the arguments of the tool call {name!r} in a message must be a JSON object, not "
            f"{str(function.get('arguments'))[:100]!r}."
        )
    body: dict[str, Any] = {"function": {"name": name, "arguments": arguments}}
    if call.get("id"):
        names[str(call["id"])] = name
        body["id"] = call["id"]
    return body


class Reply:
    """Puts an answer together, from one object or from the pieces of a stream. done: the last piece has come."""

    __slots__ = ("_calls", "_last", "_logprobs", "_pieces", "_thoughts", "done")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._thoughts: list[str] = []
        self._last: Mapping[str, Any] = {}
        self._calls: list[Mapping[str, Any]] = []
        self._logprobs: list[Mapping[str, Any]] = []
        self.done = False

    @property
    def text(self) -> str:
        """All text so far."""
        return "".join(self._pieces)

    @property
    def reasoning(self) -> str:
        """All thoughts so far."""
        return "".join(self._thoughts)

    @property
    def tool_calls(self) -> tuple[Mapping[str, Any], ...]:
        """In OpenAI's form: the arguments are JSON text, and each has an id."""
        return tuple(self._calls)

    @property
    def logprobs(self) -> tuple[Mapping[str, Any], ...]:
        """One mapping a token, as in `Completion.logprobs`."""
        return tuple(self._logprobs)

    @property
    def begun(self) -> bool:
        """Whether the model has said, or thought, anything yet."""
        return bool(self._pieces or self._calls or self._thoughts)

    @property
    def finish_reason(self) -> str | None:
        """stop, length or tool_calls; None where the server does not say."""
        reason = self._last.get("done_reason")
        if self._calls and reason in ("stop", None):
            return "tool_calls"
        return _FINISH.get(reason, reason) if isinstance(reason, str) else None

    @property
    def remote(self) -> bool:
        """Whether the server only handed the request on (a cloud model), so that its own context means nothing."""
        return bool(self._last.get("remote_host") or self._last.get("remote_model"))

    @property
    def usage(self) -> Usage:
        """Tokens as counted by the server."""
        return Usage(
            count_of(self._last.get("prompt_eval_count")),
            count_of(self._last.get("eval_count")),
            count_of(self._last.get("prompt_eval_cached_count")),
        )

    def timing(self, started_at: float, total: float, first: float | None = None) -> Timing:
        """With what the server says of loading, reading and writing."""
        seconds = (_seconds(self._last.get(f"{name}_duration")) for name in ("load", "prompt_eval", "eval"))
        loading, prefill, decode = seconds
        return Timing(started_at, total, first_token=first, loading=loading, prefill=prefill, decode=decode)

    def add(self, piece: Any) -> tuple[str, str]:
        """Take the answer or one piece of it; returns the text and the thought that it brought. Raises BadAnswerError if it is
        neither."""
        try:
            chat = "message" in piece
            message = piece["message"] if chat else piece
            text = (message.get("content") or "") if chat else piece["response"]
            thought = message.get("thinking") or ""
            if not (isinstance(text, str) and isinstance(thought, str)):
                raise TypeError(text)
            if thought:
                self._thoughts.append(thought)
            for call in message.get("tool_calls") or ():
                self._add_call(call)
            if piece.get("logprobs"):
                self._logprobs.extend(logprobs_of({"content": piece["logprobs"]}))
            if piece.get("done"):
                self.done, self._last = True, piece
        except (KeyError, TypeError, AttributeError):
            raise BadAnswerError(
                f"the server said 200, but this is no part of an answer of Ollama: {str(piece)[:300]}. "
                "Check that the address is Ollama's.",
                status=200,
            ) from None
        if text:
            self._pieces.append(text)
        return text, thought

    def _add_call(self, call: Mapping[str, Any]) -> None:
        function = call["function"]
        identity = call.get("id") or f"call_{len(self._calls)}"
        arguments = orjson.dumps(function.get("arguments") or {}).decode()
        named = {"name": function["name"], "arguments": arguments}
        self._calls.append({"id": identity, "type": "function", "function": named})


def count_of(value: Any) -> int | None:
    """A number that counts something; None if it is none."""
    return value if type(value) is int and value >= 0 else None


def _seconds(nanoseconds: Any) -> float | None:
    return nanoseconds / 1e9 if type(nanoseconds) is int and nanoseconds >= 0 else None
