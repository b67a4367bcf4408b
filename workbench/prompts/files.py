"""Prompts as files, made for people and for git: `FOLDER/NAME/N.md` is version N, header and text, never changed.

    ---                                   YAML: kind, digest, author, created, message, parent, variables, config
    kind: completion
    …
    ---
    Message: {{message}}                  the text as it is, and one line end that is not part of it
    Sentiment:

In a chat each message begins with a line `=== role ===`; a line of content that looks like one has a backslash before
it. Files are found, read and written by `version_files`; what happens to versions and labels is in the `ledger`.
"""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import PromptError, PromptNotFoundError
from workbench.prompts.author import git_author
from workbench.prompts.base import (
    LATEST,
    LabelEvent,
    check_label,
    check_prompt_name,
    draft,
    dump_version,
    near_matches,
    parse_ref,
    parse_version,
    ranges,
)
from workbench.prompts.history import PromptHistory
from workbench.prompts.includes import PINNED, Resolving, pin, sound_first
from workbench.prompts.ledger import Entry, EntryKind, Ledger, check_because, said
from workbench.prompts.syncing import Syncing
from workbench.prompts.template import variables_in
from workbench.prompts.version_files import VersionFiles
from workbench.records import Message, Prompt, PromptKind
from workbench.tables import html_text

if TYPE_CHECKING:
    from workbench.stores.langfuse import Langfuse

__all__ = ["FilePrompts", "git_author"]


class FilePrompts(Syncing, Resolving):
    """The prompts in one folder. It satisfies PromptReader, and creates and labels as well.

    Safe for many processes and threads at once. The folder is made by the first `create`.
    author: a name, or a function that gives it. clock: Unix seconds. langfuse: gives the Langfuse that labels are mirrored to and
    that `push`, `pull` and `status` compare with, None if there is none.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        author: Callable[[], str] | str = git_author,
        clock: Callable[[], float] = time.time,
        langfuse: Callable[[], Langfuse | None] = lambda: None,
    ) -> None:
        self.folder = Path(folder)
        self._open_langfuse = langfuse
        self._author = author
        self._clock = clock
        self.ledger = Ledger(self.folder, clock)
        self._files = VersionFiles(self.folder)

    def __repr__(self) -> str:
        return f"FilePrompts({str(self.folder)!r}): {', '.join(self._files.names()) or 'no prompts yet'}"

    def list(self) -> tuple[Prompt, ...]:
        """The latest version of every prompt, by name. What is archived is left out."""
        kept = ((name, self._kept(name, self._files.numbers(name))) for name in self._files.names())
        return tuple(self._load(name, numbers[-1]) for name, numbers in kept if numbers)

    def names(self) -> tuple[str, ...]:
        """The names of all prompts, archived ones too."""
        return self._files.names()

    def get(self, ref: str) -> Prompt:
        """The version that `name` (the latest), `name@3` or `name@label` stands for.

        Raises PromptNotFoundError, which says what there is, and PromptError for a version file that was changed.
        """
        return self._load(*self._resolve(ref))

    def numbers(self, name: str) -> tuple[int, ...]:
        """The numbers of all versions, also of those whose files cannot be read; none where there is no such prompt."""
        return self._files.numbers(check_prompt_name(name))

    def versions(self, name: str) -> tuple[Prompt, ...]:
        """All versions of one prompt, oldest first."""
        return tuple(self._load(name, number) for number in self._files.known_numbers(check_prompt_name(name)))

    def bare(self, name: str) -> Iterator[Prompt]:
        """As in Resolving."""
        numbers = self._files.known_numbers(check_prompt_name(name))
        return sound_first(lambda number: self._files.load(name, number), numbers)

    def find(self, name: str, digest: str) -> Prompt:
        """As in Resolving."""
        return self._own(self.pinned(name, digest))

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
        """A new immutable version with the next number, or the version that has this kind, content and config already.

        content: text (kind `text`; `completion` if asked for), or messages (kind `chat`). Includes are pinned. message: what
        changed and why. parent: the reference it was made from, the latest version if None.
        """
        prompt = draft(name, content, kind=kind, config=config)
        pinned = pin(prompt, self.get, self.find)
        if pinned != prompt:
            body = pinned.messages if pinned.kind == "chat" else pinned.text
            prompt = draft(name, body, kind=pinned.kind, config=pinned.config)
        if parent is not None:
            parent = "{}@{}".format(*self._resolve(parent))
        return self.add(replace(prompt, author=author or self.who(), message=message, parent=parent))

    def add(self, prompt: Prompt) -> Prompt:
        """A version that was made elsewhere, with its author, date and message, under the next number here; or the one that has
        its digest already. What it includes must be here. parent: the latest version here if None."""
        name, numbers = check_prompt_name(prompt.name), self._files.numbers(prompt.name)
        self.resolve(prompt)  # says what is wrong before there is a version
        known = self._files.same(name, prompt.digest, numbers)
        if known is not None:
            return self._own(known)
        self._files.refuse_twin(name)
        parent = prompt.parent or (f"{name}@{numbers[-1]}" if numbers else None)
        created = prompt.created_at or datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        plain = variables_in(prompt.text, prompt.messages)
        prompt = replace(prompt, version=0, parent=parent, created_at=created, variables=plain)
        raw = dump_version(self.with_variables(prompt))
        if parse_version(raw, name, 0) != prompt:
            raise PromptError(
                f"{name}: this prompt would not come back from its file as it went in. Look for control characters in "
                "its config, message and author."
            )
        return self._own(self._files.add(prompt, raw))

    def adopt(self, ref: str, *, message: str = "", author: str | None = None) -> Prompt:
        """A new version from the text of a version file that was changed by hand.

        The changed file stays as it is: restore it with git afterwards.
        """
        name, number, _ = parse_ref(ref)
        numbers = self._files.known_numbers(name)
        if number not in numbers:
            raise PromptNotFoundError(
                f"adopt {ref!r}: name a changed file by its number, such as {name}@{numbers[-1]}."
            )
        edited = self._files.parse(name, number)
        content = edited.messages if edited.kind == "chat" else edited.text
        return self.create(
            name,
            content,
            kind=edited.kind,
            config=edited.config,
            message=message or f"from the changed text of {name}@{number}",
            author=author,
            parent=f"{name}@{number}",
        )

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
        """Put `label` on the version that `ref` stands for, and write down who, when, why, from where, and what justified it.

        Nothing is written if it stands there already. A label is a bookmark: it makes nothing live. evidence: such as a
        comparison's id. because: the reason's name, which a protected label needs (see `ledger.BECAUSE`).
        """
        check_label(label)
        reason = said(reason, f"label {label!r} on {ref}")
        prompt = self.get(ref)
        stood = self._stands(prompt.name).get(label)
        if stood == prompt.version:
            return prompt
        if prompt.version in self.archived(prompt.name):
            raise PromptError(f"{prompt.ref} is archived: restore it before you put {label!r} on it.")
        move = {"label": label, "from": stood, "to": prompt.version, "digest": prompt.digest[:PINNED]}
        self._move(prompt.name, "label", move, prompt.ref, by=by, reason=reason, evidence=evidence, because=because)
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
        """Take `label` off a prompt, and write down who, when and why; the version it stood on, None if it was taken off before.

        ref: the prompt's name, or the version that it is meant to be taken off. A protected label needs a named reason,
        as in `label`.
        """
        check_label(label)
        reason = said(reason, f"label {label!r} off {ref}")
        name, numbers = self._meant(ref)
        put = self.ledger.labels(name)
        labels = {key: entry.version for key, entry in put.items()} | self._stands(name, put)
        stood = labels.get(label)
        if stood is None:
            if any(event.label == label for event in self.events(name)):
                return None
            there = ", ".join(f"{key} ({version})" for key, version in labels.items()) or "none"
            raise PromptNotFoundError(
                f"{name} has no label {label!r}.{near_matches(label, labels)} There are: {there}."
            )
        if "@" in ref and stood not in numbers:
            raise PromptError(
                f"{label!r} of {name} stands on version {stood}, not on {numbers[0]}: nothing was taken off."
            )
        move = {"label": label, "from": stood}
        self._move(name, "unlabel", move, None, by=by, reason=reason, evidence=evidence, because=because)
        return stood

    def labels(self, name: str) -> dict[str, int]:
        """Which version each label stands on now, by label; without those whose text is not here. `latest` is not listed: it is
        the highest version."""
        self._files.known_numbers(check_prompt_name(name))
        return self._stands(name)

    def events(self, name: str) -> tuple[LabelEvent, ...]:
        """Every move of a label of this prompt, oldest first; one that was taken off moved to None."""
        return self.ledger.moves(check_prompt_name(name))

    def protect(
        self, label: str, *, reason: str, name: str | None = None, by: str | None = None, on: bool = True
    ) -> None:
        """From now on this label moves only for a named reason, in all prompts or in the one called `name`. on: False ends it."""
        check_label(label)
        reason = said(reason, f"protection of the label {label!r}")
        if name is not None:
            self._files.known_numbers(check_prompt_name(name))
        kind: EntryKind = "protect" if on else "unprotect"
        self.ledger.write(name, kind, {"label": label}, by=by or self.who(), reason=reason)

    def archive(self, ref: str, *, reason: str, by: str | None = None) -> tuple[int, ...]:
        """Put a version away, or all of a prompt where `ref` is its name; the numbers that were.

        What is archived is not listed and is nobody's latest; by its number it can still be read, as results refer to it.
        """
        reason = said(reason, f"archive {ref}")
        name, numbers = self._meant(ref)
        held = {number: label for label, number in self.labels(name).items() if label in self.ledger.protected(name)}
        for number in numbers:
            if number in held:
                raise PromptError(
                    f"{name}@{number} has the protected label {held[number]!r}: move it or take it off first."
                )
        away = self.archived(name)
        done = tuple(number for number in numbers if number not in away)
        for number in done:
            self.ledger.write(name, "archive", self._put(name, number), by=by or self.who(), reason=reason)
        return done

    def restore(self, ref: str, *, reason: str, by: str | None = None) -> tuple[int, ...]:
        """Take back what was archived; the numbers that are back."""
        reason = said(reason, f"restore {ref}")
        name, numbers = self._meant(ref)
        away = self.archived(name)
        done = tuple(number for number in numbers if number in away)
        for number in done:
            self.ledger.write(name, "restore", self._put(name, number), by=by or self.who(), reason=reason)
        return done

    def archived(self, name: str) -> frozenset[int]:
        """The versions of a prompt that are put away: the texts that were, whatever their numbers are after a merge."""
        return self._away(check_prompt_name(name), self._files.numbers(name))

    def history(self, name: str) -> PromptHistory:
        """All that happened to a prompt: versions, labels, what was archived; with protections of labels in all prompts."""
        return PromptHistory.of(name, self.versions(name), [*self.ledger.read(name), *self.ledger.read(None)])

    def who(self) -> str:
        """Who is named where nobody else is."""
        return self._author if isinstance(self._author, str) else self._author()

    def _move(
        self, name: str, kind: EntryKind, move: Mapping[str, Any], onto: str | None, *, by: str | None, reason: str,
        evidence: str, because: str | None,
    ) -> None:  # fmt: skip
        """Write a label's move down, if it may move, and mirror it. onto: the version that it comes to stand on, if any."""
        label = move["label"]
        if because is not None or label in self.ledger.protected(name):
            because = check_because(label, onto, because, evidence)
        fields = {**move, **{key: value for key, value in (("evidence", evidence), ("because", because)) if value}}
        self.ledger.write(name, kind, fields, by=by or self.who(), reason=reason)
        self._mirror(name, label)

    def _away(self, name: str, numbers: Sequence[int]) -> frozenset[int]:
        state = {self._number_of(name, entry, numbers): entry.kind for entry in self.ledger.archivings(name)}
        return frozenset(number for number, kind in state.items() if kind == "archive" and number is not None)

    def _kept(self, name: str, numbers: Sequence[int]) -> tuple[int, ...]:
        """Those that are not archived."""
        away = self._away(name, numbers)
        return tuple(number for number in numbers if number not in away)

    def _meant(self, ref: str) -> tuple[str, Sequence[int]]:
        if "@" in ref:
            name, number = self._resolve(ref)
            return name, (number,)
        return ref, self._files.known_numbers(check_prompt_name(ref))

    def _put(self, name: str, number: int) -> dict[str, int | str]:
        """How an event names a version: by its text, too, unless its file is broken."""
        try:
            return {"version": number, "digest": self._files.load(name, number).digest[:PINNED]}
        except (PromptError, FileNotFoundError):
            return {"version": number}

    def _stands(self, name: str, put: Mapping[str, Entry] | None = None) -> dict[str, int]:
        """By label. What was labelled is the text: another branch may have called it by a number that is another text's here.
        put: the ledger's labels, where they are read already."""
        put, numbers = self.ledger.labels(name) if put is None else put, self._files.numbers(name)
        found = ((label, self._number_of(name, entry, numbers)) for label, entry in put.items())
        return {label: number for label, number in found if number is not None}

    def _number_of(self, name: str, entry: Entry, numbers: Sequence[int]) -> int | None:
        """What was labelled or archived, by its number here; None if that number is another text's, and the text is not here."""
        number = entry.version
        if number is None or not entry.digest or number not in numbers:
            return number
        try:
            if self._files.load(name, number).digest.startswith(entry.digest):
                return number
        except (PromptError, FileNotFoundError):
            return number  # whoever reads it is told what is wrong with it
        found = self._files.same(name, entry.digest, numbers)
        return None if found is None else found.version

    def _labelled(self, name: str, label: str, numbers: Sequence[int]) -> int:
        put = self.ledger.labels(name)
        stands = self._number_of(name, put[label], numbers) if label in put else None
        if stands is not None and stands in numbers:
            return stands
        labels = self._stands(name, put)
        if label not in labels and label in put:
            number, digest = put[label].version, put[label].digest[:12]
            raise PromptNotFoundError(
                f"{name}@{label} stands on a text (digest {digest}) that was version {number} on another branch, and version "
                f"{number} is another text here. Create that text again, or move the label."
            )
        if label not in labels:
            meant = re.fullmatch(r"v?\.?([0-9]+)", label)
            hint = f" Did you mean {name}@{int(meant[1])}?" if meant else near_matches(label, [*labels, LATEST])
            there = ", ".join(f"{key} ({version})" for key, version in [*labels.items(), (LATEST, numbers[-1])])
            raise PromptNotFoundError(
                f"{name} has no label {label!r}.{hint} There are: {there}; its versions are {ranges(numbers)}."
            )
        raise PromptNotFoundError(
            f"{name}@{label} stands on version {labels[label]}, whose file is gone; there are {ranges(numbers)}. "
            "Bring the file back from git, or move the label."
        )

    def _latest(self, name: str, numbers: Sequence[int]) -> int:
        kept = self._kept(name, numbers)
        if not kept:
            raise PromptNotFoundError(
                f"{name} is archived: name a version ({ranges(numbers)}), or take it back with restore({name!r}, reason='…')."
            )
        return kept[-1]

    def _resolve(self, ref: str) -> tuple[str, int]:
        name, number, label = parse_ref(ref)
        numbers = self._files.known_numbers(name)
        if number is None:
            number = self._latest(name, numbers) if label == LATEST else self._labelled(name, label or "", numbers)
        elif number not in numbers:
            raise PromptNotFoundError(f"{name} has no version {number}; it has {ranges(numbers)}.")
        return name, number

    def _load(self, name: str, number: int) -> Prompt:
        return self._own(self._files.load(name, number))

    def _own(self, known: Prompt) -> Prompt:
        prompt = self.with_variables(known)
        # The caller gets a config of its own, so that nothing done to it reaches the next reader.
        return replace(prompt, config=copy.deepcopy(prompt.config)) if prompt.config else prompt

    def _repr_html_(self) -> str:
        rows = "".join(self._row(name) for name in self._files.names())
        heads = "".join(f"<th>{head}</th>" for head in ("prompt", "versions", "labels", "kind", "variables", "message"))
        empty = '<tr><td colspan="6">no prompts yet</td></tr>'
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows or empty}</tbody></table>"

    def _row(self, name: str) -> str:
        numbers = self._files.numbers(name)
        cells = [name, ranges(numbers)]
        try:
            prompt = self._load(name, numbers[-1])
            labels = ", ".join(f"{label} ({number})" for label, number in self.labels(name).items())
            cells += [labels, prompt.kind, ", ".join(prompt.variables), prompt.message]
        except PromptError as error:
            cells += ["", "", "", str(error)]
        return "<tr>" + "".join(f"<td>{html_text(cell)}</td>" for cell in cells) + "</tr>"
