"""Prompts as files, made for people and for git: `FOLDER/NAME/N.md` is version N, header and text, never changed.

    ---                                   YAML: kind, digest, author, created, message, parent, variables, config
    kind: completion
    …
    ---
    Message: {{message}}                  the text as it is, and one line end that is not part of it
    Sentiment:

In a chat each message begins with a line `=== role ===`; a line of content that looks like one has a backslash before
it. What happens to versions and labels is in the ledger (see `ledger`).

No locks: a version appears whole, under a number that nobody else can have taken (see `publishing`).
"""

from __future__ import annotations

import copy
import html
import os
import re
import secrets
import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workbench.errors import PromptError, PromptNotFoundError
from workbench.prompts.author import git_author
from workbench.prompts.base import (
    LATEST,
    LabelEvent,
    check_label,
    check_prompt_name,
    compute_digest,
    draft,
    dump_version,
    near_matches,
    parse_ref,
    parse_version,
    ranges,
)
from workbench.prompts.diff import PromptDiff
from workbench.prompts.history import PromptHistory
from workbench.prompts.includes import Resolving, pin
from workbench.prompts.ledger import EntryKind, Ledger, check_because, said
from workbench.prompts.publishing import publish
from workbench.prompts.search import SearchResult, search
from workbench.records import Message, Prompt, PromptKind

__all__ = ["FilePrompts", "git_author"]

_VERSION_FILE = re.compile(r"([1-9][0-9]{0,8})\.md")


class FilePrompts(Resolving):
    """The prompts in one folder. It satisfies PromptReader, and creates and labels as well.

    Safe for many processes and threads at once. The folder is made by the first `create`.
    author: a name, or a function that gives it. clock: Unix seconds.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        author: Callable[[], str] | str = git_author,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = Path(folder)
        self._author = author
        self._clock = clock
        self.ledger = Ledger(self.folder, clock)
        self._parsed: dict[Path, tuple[tuple[int, int], Prompt]] = {}

    def __repr__(self) -> str:
        return f"FilePrompts({str(self.folder)!r}): {', '.join(self._names()) or 'no prompts yet'}"

    def list(self) -> tuple[Prompt, ...]:
        """The latest version of every prompt, by name. What is archived is left out."""
        kept = ((name, self._kept(name)) for name in self._names())
        return tuple(self._load(name, numbers[-1]) for name, numbers in kept if numbers)

    def names(self) -> tuple[str, ...]:
        """The names of all prompts, archived ones too."""
        return self._names()

    def get(self, ref: str) -> Prompt:
        """The version that `name` (the latest), `name@3` or `name@label` stands for.

        Raises PromptNotFoundError, which says what there is, and PromptError for a version file that was changed.
        """
        return self._load(*self._resolve(ref))

    def versions(self, name: str) -> tuple[Prompt, ...]:
        """All versions of one prompt, oldest first."""
        return tuple(self._load(name, number) for number in self._known_numbers(check_prompt_name(name)))

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
            self.resolve(prompt)  # says what is wrong before there is a version
        numbers = self._numbers(name)
        known = self._same(prompt, numbers)
        if known is not None:
            return known
        self._refuse_twin(name)
        if parent is not None:
            parent = "{}@{}".format(*self._resolve(parent))
        elif numbers:
            parent = f"{name}@{numbers[-1]}"
        created = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        prompt = replace(prompt, author=author or self.who(), message=message, parent=parent, created_at=created)
        raw = dump_version(self.with_variables(prompt))
        if parse_version(raw, name, 0) != prompt:
            raise PromptError(
                f"{name}: this prompt would not come back from its file as it went in. Look for control characters in "
                "its config, message and author."
            )
        return self._add(prompt, raw)

    def adopt(self, ref: str, *, message: str = "", author: str | None = None) -> Prompt:
        """A new version from the text of a version file that was changed by hand.

        The changed file stays as it is: restore it with git afterwards.
        """
        name, number, _ = parse_ref(ref)
        numbers = self._known_numbers(name)
        if number not in numbers:
            raise PromptNotFoundError(
                f"adopt {ref!r}: name a changed file by its number, such as {name}@{numbers[-1]}."
            )
        edited = self._parse(name, number)
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
        stood = self.ledger.labels(prompt.name).get(label)
        if stood == prompt.version:
            return prompt
        if prompt.version in self.ledger.archived(prompt.name):
            raise PromptError(f"{prompt.ref} is archived: restore it before you put {label!r} on it.")
        if because is not None or label in self.ledger.protected(prompt.name):
            because = check_because(label, prompt.ref, because, evidence)
        fields: dict[str, object] = {"label": label, "from": stood, "to": prompt.version}
        fields |= {key: value for key, value in (("evidence", evidence), ("because", because)) if value}
        self.ledger.write(prompt.name, "label", fields, by=by or self.who(), reason=reason)
        return prompt

    def labels(self, name: str) -> dict[str, int]:
        """Which version each label stands on now, by label. `latest` is not listed: it is the highest version."""
        self._known_numbers(check_prompt_name(name))
        return self.ledger.labels(name)

    def events(self, name: str) -> tuple[LabelEvent, ...]:
        """Every move of a label of this prompt, oldest first."""
        return self.ledger.moves(check_prompt_name(name))

    def protect(self, label: str, *, reason: str, name: str | None = None, by: str | None = None, on: bool = True) -> None:
        """From now on this label moves only for a named reason, in all prompts or in the one called `name`. on: False ends it."""
        check_label(label)
        reason = said(reason, f"protection of the label {label!r}")
        if name is not None:
            self._known_numbers(check_prompt_name(name))
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
                raise PromptError(f"{name}@{number} has the protected label {held[number]!r}: move that one first.")
        away = self.ledger.archived(name)
        done = tuple(number for number in numbers if number not in away)
        for number in done:
            self.ledger.write(name, "archive", {"version": number}, by=by or self.who(), reason=reason)
        return done

    def restore(self, ref: str, *, reason: str, by: str | None = None) -> tuple[int, ...]:
        """Take back what was archived; the numbers that are back."""
        reason = said(reason, f"restore {ref}")
        name, numbers = self._meant(ref)
        away = self.ledger.archived(name)
        done = tuple(number for number in numbers if number in away)
        for number in done:
            self.ledger.write(name, "restore", {"version": number}, by=by or self.who(), reason=reason)
        return done

    def archived(self, name: str) -> frozenset[int]:
        """The versions of a prompt that are put away."""
        return self.ledger.archived(check_prompt_name(name))

    def history(self, name: str) -> PromptHistory:
        """All that happened to a prompt: versions, labels, what was archived; with protections of labels in all prompts."""
        return PromptHistory.of(name, self.versions(name), [*self.ledger.read(name), *self.ledger.read(None)])

    def diff(self, before: str | Prompt, after: str | Prompt) -> PromptDiff:
        """What is different between two versions, word by word; a reference, or a prompt from wherever it is kept."""
        return PromptDiff(*(self.get(item) if isinstance(item, str) else item for item in (before, after)))

    def search(self, text: str, *, archived: bool = False) -> SearchResult:
        """All versions that hold every word of `text` in name, text, labels, variables, author or message."""
        found: list[Prompt] = []
        labels: dict[str, list[str]] = {}
        for name in self._names():
            away = frozenset() if archived else self.ledger.archived(name)
            found += [prompt for prompt in self.versions(name) if prompt.version not in away]
            for label, number in self.ledger.labels(name).items():
                labels.setdefault(f"{name}@{number}", []).append(label)
        return search(text, found, labels)

    def who(self) -> str:
        """Who is named where nobody else is."""
        return self._author if isinstance(self._author, str) else self._author()

    def _kept(self, name: str) -> tuple[int, ...]:
        """The numbers that are not archived."""
        away = self.ledger.archived(name)
        return tuple(number for number in self._numbers(name) if number not in away)

    def _meant(self, ref: str) -> tuple[str, Sequence[int]]:
        if "@" in ref:
            name, number = self._resolve(ref)
            return name, (number,)
        return ref, self._known_numbers(check_prompt_name(ref))

    def _names(self) -> tuple[str, ...]:
        try:
            entries = sorted(self.folder.iterdir())
        except FileNotFoundError:
            return ()
        return tuple(entry.name for entry in entries if _is_name(entry.name) and self._numbers(entry.name))

    def _numbers(self, name: str) -> tuple[int, ...]:
        try:
            entries = [entry.name for entry in (self.folder / name).iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return ()
        return tuple(sorted(int(match[1]) for entry in entries if (match := _VERSION_FILE.fullmatch(entry))))

    def _known_numbers(self, name: str) -> tuple[int, ...]:
        numbers = self._numbers(name)
        if numbers:
            return numbers
        names = self._names()
        if names:
            known = ", ".join(names)
            raise PromptNotFoundError(
                f"There is no prompt {name!r} in {self.folder}.{near_matches(name, names)} There are: {known}."
            )
        raise PromptNotFoundError(
            f"There is no prompt {name!r}: {self.folder.absolute()} has none yet. Make it with create({name!r}, …), "
            "or check that you are in the folder of your project."
        )

    def _labelled(self, name: str, label: str, numbers: Sequence[int]) -> int:
        labels = self.ledger.labels(name)
        if label not in labels:
            meant = re.fullmatch(r"v?\.?([0-9]+)", label)
            hint = f" Did you mean {name}@{int(meant[1])}?" if meant else near_matches(label, [*labels, LATEST])
            there = ", ".join(f"{key} ({version})" for key, version in [*labels.items(), (LATEST, numbers[-1])])
            raise PromptNotFoundError(
                f"{name} has no label {label!r}.{hint} There are: {there}; its versions are {ranges(numbers)}."
            )
        if labels[label] not in numbers:
            raise PromptNotFoundError(
                f"{name}@{label} stands on version {labels[label]}, whose file is gone; there are {ranges(numbers)}. "
                f"Bring the file back from git, or move the label."
            )
        return labels[label]

    def _latest(self, name: str, numbers: Sequence[int]) -> int:
        kept = self._kept(name)
        if not kept:
            raise PromptNotFoundError(
                f"{name} is archived: name a version ({ranges(numbers)}), or take it back with restore({name!r}, reason='…')."
            )
        return kept[-1]

    def _resolve(self, ref: str) -> tuple[str, int]:
        name, number, label = parse_ref(ref)
        numbers = self._known_numbers(name)
        if number is None:
            number = self._latest(name, numbers) if label == LATEST else self._labelled(name, label or "", numbers)
        elif number not in numbers:
            raise PromptNotFoundError(f"{name} has no version {number}; it has {ranges(numbers)}.")
        return name, number

    def _path(self, name: str, number: int) -> Path:
        return self.folder / name / f"{number}.md"

    def _load(self, name: str, number: int) -> Prompt:
        path = self._path(name, number)
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_size)
        known = self._parsed.get(path)
        if known is None or known[0] != stamp:
            known = (stamp, self._checked(name, number))
            self._parsed[path] = known
        prompt = self.with_variables(known[1])
        # The caller gets a config of its own, so that nothing done to it reaches the next reader.
        return replace(prompt, config=copy.deepcopy(prompt.config)) if prompt.config else prompt

    def _checked(self, name: str, number: int) -> Prompt:
        prompt = self._parse(name, number)
        try:
            found = compute_digest(prompt.kind, prompt.text, prompt.messages, prompt.config)
        except PromptError:
            found = "what JSON cannot hold"
        if found != prompt.digest:
            path = self._path(name, number)
            raise PromptError(
                f"{path} was changed by hand: it no longer fits the digest in its header. Versions are immutable, "
                "because results refer to them. To keep the change, make a new version of it with "
                f"adopt({prompt.ref!r}, message='…'). Then, or to drop the change, restore the file: {_restore(path)}"
            )
        return prompt

    def _parse(self, name: str, number: int) -> Prompt:
        """The version in the file, whether or not it fits its digest."""
        path = self._path(name, number)
        raw = path.read_bytes()
        try:
            return parse_version(raw, name, number)
        except PromptError as error:
            if b"\n<<<<<<< " in raw and b"\n>>>>>>> " in raw:
                file = shlex.quote(str(path))
                raise PromptError(
                    f"{path} holds a git merge conflict: two branches made version {number}. Keep one side, with git "
                    f"checkout --ours -- {file} (or --theirs), and create the other text again: it gets a new number."
                ) from None
            raise PromptError(f"{path} cannot be read: {error} Restore it: {_restore(path)}") from None

    def _same(self, prompt: Prompt, numbers: Iterable[int]) -> Prompt | None:
        """The newest version with this digest. A broken file is no obstacle: reading it will say so."""
        for number in reversed(tuple(numbers)):
            try:
                known = self._load(prompt.name, number)
            except (PromptError, FileNotFoundError):
                continue
            if known.digest == prompt.digest:
                return known
        return None

    def _refuse_twin(self, name: str) -> None:
        others = [entry.name for entry in self.folder.iterdir()] if self.folder.exists() else []
        for other in others:
            if other != name and other.lower() == name.lower():
                raise PromptError(
                    f"There is a folder {other!r} already, and {name!r} is the same one on macOS and Windows. "
                    f"Use {other!r}, or another name."
                )

    def _add(self, prompt: Prompt, raw: bytes) -> Prompt:
        folder = self.folder / prompt.name
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{secrets.token_hex(8)}.tmp"
        number = 0
        try:
            with temporary.open("xb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            while True:
                # Looked up again for each number, so that of several processes with one text only one writes it.
                numbers = self._numbers(prompt.name)
                known = self._same(prompt, numbers)
                if known is not None:
                    return known
                number = max([number, *numbers]) + 1
                if publish(temporary, self._path(prompt.name, number)):
                    return self._load(prompt.name, number)
        finally:
            temporary.unlink(missing_ok=True)

    def _repr_html_(self) -> str:
        rows = "".join(self._row(name) for name in self._names())
        heads = "".join(f"<th>{head}</th>" for head in ("prompt", "versions", "labels", "kind", "variables", "message"))
        empty = '<tr><td colspan="6">no prompts yet</td></tr>'
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows or empty}</tbody></table>"

    def _row(self, name: str) -> str:
        numbers = self._numbers(name)
        cells = [name, ranges(numbers)]
        try:
            prompt = self._load(name, numbers[-1])
            labels = ", ".join(f"{label} ({number})" for label, number in self.labels(name).items())
            cells += [labels, prompt.kind, ", ".join(prompt.variables), prompt.message]
        except PromptError as error:
            cells += ["", "", "", str(error)]
        return "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"


def _restore(path: Path) -> str:
    return f"git checkout HEAD -- {shlex.quote(str(path))}"


def _is_name(name: str) -> bool:
    try:
        return bool(check_prompt_name(name))
    except PromptError:
        return False
