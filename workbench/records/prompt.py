"""One version of a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from workbench.records.plain import plain
from workbench.records.request import Message

__all__ = ["Prompt", "PromptKind", "asdict_prompt"]

PromptKind = Literal["chat", "text", "completion"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One immutable version of a prompt. Its identity is `digest`; the number belongs to the place it is kept in.

    kind chat: `messages`. kind text: one user message, in `text`. kind completion: `text`, sent raw, no chat template.
    config: what travels with the prompt, such as {"params": {...}}.
    """

    name: str
    version: int
    kind: PromptKind
    text: str = ""
    messages: tuple[Message, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    author: str = ""
    message: str = ""
    created_at: str = ""
    parent: str | None = None
    variables: tuple[str, ...] = ()
    digest: str = ""

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


def asdict_prompt(prompt: Prompt) -> dict[str, Any]:
    """A prompt in plain types, for JSON."""
    return plain(asdict(prompt))  # type: ignore[no-any-return]
