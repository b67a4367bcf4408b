"""A prompt's text as it is edited by hand, beside the version that it began as."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError, PromptError
from workbench.prompts import PromptDiff, draft
from workbench.prompts.includes import pin
from workbench.prompts.template import PLACEHOLDER, ROLES
from workbench.records import Message, Params, Prompt, PromptKind

if TYPE_CHECKING:
    from workbench.prompts import FilePrompts, ManagedPrompts

__all__ = ["PromptEditor"]


class PromptEditor:
    """base: the version. kind: of what is in the form. texts: of each message of a chat, else one; roles: theirs, "" of a prompt
    that is one text. names: of all prompts, and versions: of this one, oldest first, as they were when it was opened."""

    base: Prompt
    kind: PromptKind
    roles: list[str]
    texts: list[str]
    names: list[str]
    versions: tuple[Prompt, ...]

    def __init__(self, prompts: FilePrompts | ManagedPrompts, ref: str) -> None:
        self._prompts = prompts
        self.open(ref)

    def open(self, ref: str) -> None:
        """Show a version's text in place of what is there. Raises PromptNotFoundError."""
        self.base = self._prompts.get(ref)
        self.kind, self.roles, self.texts = _form_of(self.base)
        self.names = [prompt.name for prompt in self._prompts.list()]
        self.versions = self._prompts.versions(self.base.name)

    def edit(self, at: int, text: str) -> None:
        """Change one of the texts."""
        if not 0 <= at < len(self.texts):
            raise InputError(f"{self.base.ref} has {len(self.texts)} texts, and none is number {at + 1}.")
        self.texts[at] = text

    def rewrite(self, content: str | Sequence[Message | Mapping[str, str]], *, kind: PromptKind | None = None) -> None:
        """Put another text or other messages in place of what is in the form; its version stays what it is compared with.

        content, kind: as `bench.prompts.create` takes them. What is not finished, such as an empty message, may stand in the
        form: `prompt` tells. Raises InputError for a role that does not exist, or no message at all.
        """
        chat = not isinstance(content, str)
        kind = kind or ("chat" if chat else "text")
        if kind not in ("chat", "text", "completion") or chat != (kind == "chat"):
            raise InputError(f"kind {kind!r}: a chat takes messages, and text and completion take one text.")
        if isinstance(content, str):
            self.kind, self.roles, self.texts = kind, [""], [content]
            return
        turns = [_turn(number, item) for number, item in enumerate(content, 1)]
        if not turns:
            raise InputError("a chat has at least one message: keep one, and change its role or its text.")
        self.kind, self.roles, self.texts = kind, [role for role, _ in turns], [text for _, text in turns]

    @property
    def edited(self) -> bool:
        """Whether text, roles or kind are others than the version's."""
        return (self.kind, self.roles, self.texts) != _form_of(self.base)

    def prompt(self) -> Prompt:
        """What is in the form: the version itself, or an unsaved prompt (version 0). Raises PromptError for what can be none."""
        base = self.base
        if not self.edited:
            return base
        content: Any = self.texts[0]
        if self.kind == "chat":
            content = [Message(role, text) for role, text in zip(self.roles, self.texts, strict=True)]
        made = draft(base.name, content, kind=self.kind, config=base.config)
        return pin(made, self._prompts.get, self._prompts.find)

    def diff(self) -> PromptDiff | None:
        """The form against the version; None where nothing was changed, or it can be no prompt."""
        with contextlib.suppress(PromptError):
            return PromptDiff(self.base, self.prompt()) if self.edited else None
        return None

    @property
    def slots(self) -> list[str]:
        """The variables that take a list of messages."""
        return [text for role, text in zip(self.roles, self.texts, strict=True) if role == PLACEHOLDER]

    def newer(self) -> Prompt | None:
        """The newest version, if it was made since this one was opened, by whomever."""
        newest = self._prompts.versions(self.base.name)[-1]
        return newest if newest.version > self.versions[-1].version else None

    def save(self, message: str, *, params: Params | None = None) -> Prompt:
        """The text as a new version, made from the one it began as. Gives the version that says the same, if there is one.

        message: what changed and why. params: to be the version's own, over those that it has. Raises InputError without a
        message, or if nothing was changed; PromptError.
        """
        if not message.strip():
            raise InputError("say what you changed, and why: a version keeps that message for good.")
        prompt, config = self.prompt(), dict(self.base.config)
        if params is not None and params != Params():
            config["params"] = Params.from_mapping(config.get("params") or {}).merged(params).to_mapping()
        if not self.edited and config == self.base.config:
            raise InputError(f"nothing was changed: this is {self.base.ref}.")
        content = prompt.messages if prompt.kind == "chat" else prompt.text
        made = self._prompts.create(
            prompt.name, content, kind=prompt.kind, config=config, message=message.strip(), parent=self.base.ref
        )
        self.open(made.ref)
        return made


def _form_of(prompt: Prompt) -> tuple[PromptKind, list[str], list[str]]:
    """Kind, roles and texts."""
    if prompt.kind != "chat":
        return prompt.kind, [""], [prompt.text]
    return "chat", [item.role for item in prompt.messages], [item.content for item in prompt.messages]


def _turn(number: int, item: Message | Mapping[str, str]) -> tuple[str, str]:
    """Role and text of a message, as far as they can stand in the form."""
    if not isinstance(item, Message):
        if set(item) != {"role", "content"}:
            raise InputError(f"message {number} is {item!r:.80}; write {{'role': 'user', 'content': '…'}}.")
        item = Message(item["role"], item["content"])
    if item.role not in (*ROLES, PLACEHOLDER):
        raise InputError(f"message {number} has the role {item.role!r}; there are {', '.join((*ROLES, PLACEHOLDER))}.")
    return item.role, str(item.content)
