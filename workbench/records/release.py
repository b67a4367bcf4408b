"""What a feature of an application calls: one immutable snapshot, and what answers where its model cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workbench.errors import InputError
from workbench.records.identity import check_name, digest, split_model
from workbench.records.plain import plain
from workbench.records.prompt import Prompt
from workbench.records.request import Message, Params

__all__ = ["Fallback", "Release"]

_RELEASE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Fallback:
    """What answers when the model of a release cannot: another model (`endpoint/model`; params None: the release's own), then,
    or instead, a fixed text."""

    model: str | None = None
    params: Params | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        if self.model is not None:
            split_model(self.model)
        elif self.params is not None:
            raise InputError("fallback: params are those of its model: name the model too.")
        elif self.text is None:
            raise InputError("fallback: name a model (ENDPOINT/MODEL), a text, or both.")

    def to_mapping(self) -> dict[str, Any]:
        """Only what is set, in plain types."""
        params = None if self.params is None else self.params.to_mapping()
        values = {"model": self.model, "params": params, "text": self.text}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Release:
    """All that a feature of an application needs to call a model: one immutable snapshot that refers to nothing else.

    number: counts up in a feature, from 1. prompt: with its text, everything that it includes filled in. model_digest: of the
    weights when it was released, None where the server does not say. created_at: Unix seconds. evidence: the id of the
    comparison that justified it. digest: SHA-256 of what determines the answers, so not of number, date, author and reason.
    """

    feature: str
    number: int
    prompt: Prompt
    model: str
    params: Params = field(default_factory=Params)
    model_digest: str | None = None
    fallback: Fallback | None = None
    created_at: float = 0.0
    by: str = ""
    reason: str = ""
    evidence: str | None = None
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        check_name(self.feature, "feature")
        split_model(self.model)
        object.__setattr__(self, "digest", digest(self._content()))

    @property
    def prompt_ref(self) -> str:
        """`name@version`, where it was made."""
        return self.prompt.ref

    @property
    def prompt_digest(self) -> str:
        """The prompt's identity wherever it is kept."""
        return self.prompt.digest

    @property
    def label(self) -> str:
        """What tables print: `triage-api 3 · triage@2 · ollama/llama3.2:3b`."""
        return f"{self.feature} {self.number} · {self.prompt.ref} · {self.model}"

    def _content(self) -> dict[str, Any]:
        prompt = self.prompt
        return {
            "feature": self.feature,
            "prompt": {
                "name": prompt.name, "version": prompt.version, "kind": prompt.kind, "text": prompt.text,
                "messages": [_plain_message(message) for message in prompt.messages], "config": plain(prompt.config),
                "variables": list(prompt.variables), "digest": prompt.digest,
            },
            "model": self.model, "model_digest": self.model_digest, "params": self.params.to_mapping(),
            "fallback": None if self.fallback is None else self.fallback.to_mapping(),
        }  # fmt: skip

    def to_mapping(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return {
            "version": _RELEASE_VERSION, **self._content(), "number": self.number, "created_at": self.created_at, "by": self.by,
            "reason": self.reason, "evidence": self.evidence, "digest": self.digest,
        }  # fmt: skip

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Release:
        """The inverse. InputError for an unknown version, for what is missing or malformed, and where the digest does not fit."""
        version = values.get("version")
        if version != _RELEASE_VERSION:
            raise InputError(
                f"this release is written in version {version!r}, and this program reads {_RELEASE_VERSION}: update it."
            )
        try:
            given = dict(values["prompt"])
            messages = tuple(_message_of(item) for item in given.pop("messages"))
            prompt = Prompt(messages=messages, variables=tuple(given.pop("variables")), **given)
            fallback = values["fallback"]
            if fallback is not None:
                params = fallback.get("params")
                over = None if params is None else Params.from_mapping(params, "fallback.params")
                fallback = Fallback(fallback.get("model"), over, fallback.get("text"))
            plain = {
                name: values[name]
                for name in ("feature", "number", "model", "model_digest", "created_at", "by", "reason")
            }
            made = cls(prompt=prompt, params=Params.from_mapping(values["params"]), fallback=fallback,
                       evidence=values["evidence"], **plain)  # fmt: skip
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"this is no release: {error!r}. Write it with Release.to_mapping.") from None
        if not isinstance(made.number, int) or isinstance(made.number, bool) or made.number < 1:
            raise InputError(f"this is no release: its number is {made.number!r}, and must be a whole number from 1.")
        if made.digest != values.get("digest"):
            raise InputError(
                f"release {made.feature} {made.number} was changed after it was made: its digest does not fit."
            )
        return made


def _plain_message(message: Message) -> dict[str, Any]:
    """Role and content, and what else is set."""
    rest = {name: getattr(message, name) for name in ("parts", "tool_calls", "tool_call_id", "extra")}
    set_ = {name: plain(value) for name, value in rest.items() if value}
    return {"role": message.role, "content": message.content, **set_}


def _message_of(values: Mapping[str, Any]) -> Message:
    given = dict(values)
    for name in ("parts", "tool_calls"):
        if name in given:
            given[name] = tuple(given[name])
    return Message(**given)
