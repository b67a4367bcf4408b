"""The prompts of a project whose registry is Langfuse: read from there, made and moved by way of the files and their ledger.

References mean Langfuse's numbers. What is created is written to `prompts/` first and then sent; what is labelled or put away
is fetched first, so that the ledger here has it all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.errors import LangfuseError, PromptError, PromptNotFoundError
from workbench.prompts.author import git_author
from workbench.prompts.base import LATEST, LabelEvent, draft, parse_ref
from workbench.prompts.files import FilePrompts
from workbench.prompts.history import PromptHistory
from workbench.prompts.includes import includes_of, pin
from workbench.prompts.langfuse import LangfusePrompts
from workbench.records import Message, Prompt, PromptKind
from workbench.settings import Settings

if TYPE_CHECKING:
    from workbench.prompts.sync_state import LabelState, SyncDone, SyncStatus
    from workbench.stores.langfuse import Langfuse, LangfuseSource

__all__ = ["ManagedPrompts", "open_prompts"]


class ManagedPrompts(LangfusePrompts):
    """LangfusePrompts that can be written to. files: the project's, with the ledger; they must know the same Langfuse."""

    def __init__(self, langfuse: Langfuse, files: FilePrompts) -> None:
        super().__init__(langfuse)
        self.files = files

    def list(self) -> tuple[Prompt, ...]:
        """The latest version of every prompt, by name. What is archived is left out, and what can be no prompt here."""
        found = []
        for prompt in super().list():
            if not self.files.archived(prompt.name):
                found.append(prompt)
            elif kept := self._kept(prompt.name):
                found.append(kept[-1])
        return tuple(found)

    def get(self, ref: str) -> Prompt:
        """As in LangfusePrompts; what is archived is nobody's latest."""
        name, _, label = parse_ref(ref)
        if label != LATEST or not self.files.archived(name):
            return super().get(ref)
        kept = self._kept(name)
        if not kept:
            raise PromptNotFoundError(
                f"{name} is archived: name a version, or take it back with restore({name!r}, reason='…')."
            )
        return kept[-1]

    def create(
        self,
        name: str,
        content: str | Sequence[Message | Mapping[str, str]],
        *,
        kind: PromptKind | None = None,
        config: Mapping[str, Any] | None = None,
        message: str = "",
        author: str | None = None,
        parent: str | None = None,
    ) -> Prompt:
        """A new version, in files and in Langfuse, or the one that has this kind, content and config already. Includes are
        pinned to what they stand for in Langfuse. Raises PromptError, and LangfuseError if it does not answer."""
        prompt = pin(draft(name, content, kind=kind, config=config), self.get, self.find)
        there = {*self.names()}
        self._fetch(*({name, *(item.name for item in includes_of(prompt))} & there))
        body = prompt.messages if prompt.kind == "chat" else prompt.text
        above = None if parent is None else self._mine(self.get(parent)).ref
        made = self.files.create(
            name, body, kind=prompt.kind, config=prompt.config, message=message, author=author, parent=above
        )
        done = self.files.push(name)
        if done.problems:
            raise PromptError(f"{made.ref} is in files and not in Langfuse. {' '.join(done.problems)}")
        self.refresh()
        return self.find(name, made.digest)

    def label(
        self,
        ref: str,
        label: str,
        *,
        reason: str,
        by: str | None = None,
        evidence: str = "",
        because: str | None = None,
    ) -> Prompt:
        """Put `label` on a version, in the ledger here and then in Langfuse; as in FilePrompts."""
        prompt = self.get(ref)
        mine = self._mine(prompt)
        self.files.label(mine.ref, label, reason=reason, by=by, evidence=evidence, because=because)
        self.refresh()
        return prompt

    def unlabel(
        self,
        ref: str,
        label: str,
        *,
        reason: str,
        by: str | None = None,
        evidence: str = "",
        because: str | None = None,
    ) -> int | None:
        """Take `label` off in the ledger here. Langfuse takes none off: do that on its page, or give it to another version."""
        target = self._mine(self.get(ref)).ref if "@" in ref else ref
        return self.files.unlabel(target, label, reason=reason, by=by, evidence=evidence, because=because)

    def protect(
        self, label: str, *, reason: str, name: str | None = None, by: str | None = None, on: bool = True
    ) -> None:
        """As in FilePrompts. Langfuse's own protection binds people on its pages, not this."""
        if name is not None and not self.files.numbers(name):
            self._fetch(name)
        self.files.protect(label, reason=reason, name=name, by=by, on=on)

    def archive(self, ref: str, *, reason: str, by: str | None = None) -> tuple[int, ...]:
        """Put a version away, or all of a prompt: in the ledger here, as Langfuse has no archive. The numbers, Langfuse's."""
        return self._put(ref, lambda mine: self.files.archive(mine, reason=reason, by=by))

    def restore(self, ref: str, *, reason: str, by: str | None = None) -> tuple[int, ...]:
        """Take back what was archived; the numbers that are back."""
        return self._put(ref, lambda mine: self.files.restore(mine, reason=reason, by=by))

    def archived(self, name: str) -> frozenset[int]:
        """The versions that are put away, by Langfuse's numbers."""
        away = self.files.archived(name)
        if not away:
            return away
        digests = {self.files.get(f"{name}@{number}").digest for number in away if number in self.files.numbers(name)}
        return frozenset(prompt.version for prompt in self.versions(name) if prompt.digest in digests)

    def events(self, name: str) -> tuple[LabelEvent, ...]:
        """Every move of a label in the ledger here; its numbers are those of the files."""
        return self.files.events(name)

    def history(self, name: str) -> PromptHistory:
        """What the ledger here says happened to a prompt; its numbers are those of the files."""
        if not self.files.numbers(name):
            self._fetch(name)
        return self.files.history(name)

    @property
    def mirrored(self) -> LabelState | None:
        """What became in Langfuse of the label that was moved last."""
        return self.files.mirrored

    def status(self, *names: str) -> SyncStatus:
        """As in FilePrompts."""
        return self.files.status(*names)

    def push(self, *names: str, overrule: Sequence[str] = ()) -> SyncDone:
        """As in FilePrompts."""
        done = self.files.push(*names, overrule=overrule)
        self.refresh()
        return done

    def pull(self, *names: str) -> SyncDone:
        """As in FilePrompts."""
        return self.files.pull(*names)

    def _put(self, ref: str, put: Any) -> tuple[int, ...]:
        name = parse_ref(ref).name
        if "@" in ref:
            prompt = self.get(ref)
            return (prompt.version,) if put(self._mine(prompt).ref) else ()
        self._fetch(name)
        digests = {self.files.get(f"{name}@{number}").digest for number in put(name)}
        return tuple(prompt.version for prompt in self.versions(name) if prompt.digest in digests)

    def _kept(self, name: str) -> tuple[Prompt, ...]:
        away = self.archived(name)
        return tuple(prompt for prompt in self.versions(name) if prompt.version not in away)

    def _fetch(self, *names: str) -> None:
        """Make files of what only Langfuse has."""
        for name in names:
            done = self.files.pull(name)
            if done.problems:
                raise PromptError(" ".join(done.problems))

    def _mine(self, prompt: Prompt) -> Prompt:
        """The same version in files, which is fetched if it is not there."""
        for fetched in (False, True):
            if self.files.numbers(prompt.name):
                try:
                    return self.files.find(prompt.name, prompt.digest)
                except PromptNotFoundError:
                    if fetched:
                        raise
            if not fetched:
                self._fetch(prompt.name)
        raise LangfuseError(
            f"{prompt.ref} was in Langfuse a moment ago and cannot be fetched now: try again.", away=True
        )


def open_prompts(settings: Settings, langfuse: LangfuseSource) -> FilePrompts | ManagedPrompts:
    """The prompts of a project, from where the setting `registry` says. SettingsError if it says langfuse and none is set."""
    files = FilePrompts(settings.prompts, author=settings.author or git_author, langfuse=langfuse)
    return files if settings.registry == "files" else ManagedPrompts(langfuse.need(), files)
