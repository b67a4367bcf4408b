"""What is asked of a model: messages, params, and the request that holds them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from workbench.errors import InputError

__all__ = ["Message", "Params", "Request"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat.

    parts: the content in OpenAI's form, where it is more than text (images, files); `content` is then its text alone.
    tool_calls: what the assistant asked for, as in `Completion.tool_calls`; tool_call_id: which of them a tool's turn answers.
    extra: fields sent as they are, such as `name`.
    """

    role: str
    content: str = ""
    parts: tuple[Mapping[str, Any], ...] = ()
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    tool_call_id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)


# what a field of `Params` is called by servers and other tools
_ELSEWHERE = {
    "json_schema": "schema", "response_format": "schema", "response_schema": "schema", "guided_json": "schema",
    "max_completion_tokens": "max_tokens", "max_new_tokens": "max_tokens", "max_output_tokens": "max_tokens",
    "num_predict": "max_tokens", "n_predict": "max_tokens", "stop_sequences": "stop", "functions": "tools",
    "function_call": "tool_choice", "reasoning_effort": "think", "reasoning": "think", "thinking": "think",
    "top_logprobs": "logprobs", "random_seed": "seed",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Params:
    """How to sample. None means: not sent, the server's default holds.

    schema: a JSON schema that the answer must fit. tools, tool_choice: in OpenAI's form. logprobs: how many alternatives to tell
    for each token (0: only the token's own). think: whether, or how hard ("low", "medium", "high"), a model that can reason does.
    extra: fields sent as they are, for what only one server knows.
    """

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    logprobs: int | None = None
    think: bool | str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str = "params") -> Params:
        """Params from a TOML or YAML table. An unknown field or a wrong type is an InputError that names it."""
        known = {item.name for item in fields(cls)}
        for name in values:
            if name not in known:
                near = [_ELSEWHERE[name]] if name in _ELSEWHERE else difflib.get_close_matches(name, known, 1)
                meant = f" Did you mean {near[0]!r}?" if near else ""
                raise InputError(f"{where}: unknown field {name!r}.{meant} Known are {', '.join(sorted(known))}; "
                                 f"what only your server knows goes under 'extra'.")  # fmt: skip
        checks: dict[str, tuple[type, ...]] = {
            "temperature": (int, float), "top_p": (int, float), "max_tokens": (int,), "seed": (int,),
            "schema": (Mapping,), "extra": (Mapping,), "logprobs": (int,), "tool_choice": (str, Mapping),
        }  # fmt: skip
        cleaned = {name: value for name, value in values.items() if value is not None}
        for name, types in checks.items():
            value = cleaned.get(name)
            if value is not None and (not isinstance(value, types) or isinstance(value, bool)):
                raise InputError(f"{where}: {name} = {value!r} must be {' or '.join(t.__name__ for t in types)}.")
        if "stop" in cleaned:
            stop = cleaned["stop"]
            stop = (stop,) if isinstance(stop, str) else stop
            if not isinstance(stop, Sequence) or not all(isinstance(item, str) and item for item in stop):
                raise InputError(f"{where}: stop = {stop!r} must be a text or a list of texts, none of them empty.")
            cleaned["stop"] = tuple(stop)
        if "tools" in cleaned:
            tools = cleaned["tools"]
            if not isinstance(tools, (list, tuple)) or not all(isinstance(item, Mapping) for item in tools):
                raise InputError(f"{where}: tools = {tools!r} must be a list of tables, as OpenAI's API takes them.")
            cleaned["tools"] = tuple(tools)
        if not isinstance(cleaned.get("think", True), (bool, str)):
            raise InputError(f"{where}: think = {cleaned['think']!r} must be true, false or a level such as 'low'.")
        for name, low in (("temperature", 0), ("top_p", 0), ("max_tokens", 1), ("logprobs", 0)):
            if name in cleaned and cleaned[name] < low:
                raise InputError(f"{where}: {name} = {cleaned[name]!r} must be at least {low}.")
        return cls(**cleaned)

    def to_mapping(self) -> dict[str, Any]:
        """Only what is set, in plain types."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        values["stop"] = list(self.stop)
        values["schema"] = None if self.schema is None else dict(self.schema)
        values["tools"] = [dict(tool) for tool in self.tools]
        values["extra"] = dict(self.extra)
        return {name: value for name, value in values.items() if value not in (None, [], {})}

    def merged(self, over: Params) -> Params:
        """These params with what `over` sets laid over them."""
        return Params.from_mapping(self.to_mapping() | over.to_mapping())


@dataclass(frozen=True, slots=True)
class Request:
    """One question to one model, ready to be sent.

    kind chat: `messages` counts, and the model's chat template is applied.
    kind completion: `prompt` goes to the model raw.
    """

    model: str
    kind: Literal["chat", "completion"]
    messages: tuple[Message, ...] = ()
    prompt: str = ""
    params: Params = field(default_factory=Params)
    timeout: float = 120.0

    def text(self) -> str:
        """All that the model is shown, for look-ups and display."""
        return self.prompt if self.kind == "completion" else "\n".join(m.content for m in self.messages)
