"""Prompts as files, made for people and for git: `FOLDER/NAME/N.md` is version N, header and text, never changed.

    ---                                   YAML: kind, digest, author, created, message, parent, variables, config
    kind: completion
    …
    ---
    Message: {{message}}                  the text as it is, and one line end that is not part of it
    Sentiment:

In a chat each message begins with a line `=== role ===`; a line of content that looks like one has a backslash before
it. `FOLDER/NAME/events.jsonl` is the trail of labels, one JSON line a move, only ever appended to.

No locks: a version appears whole, under a number that nobody else can have taken (see `_publish`).
"""

from __future__ import annotations

import copy
import errno
import getpass
import html
import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workbench.errors import PromptError, PromptNotFoundError
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
from workbench.records import Message, Prompt, PromptKind

__all__ = ["FilePrompts", "git_author"]

_VERSION_FILE = re.compile(r"([1-9][0-9]{0,8})\.md")
_EVENTS = "events.jsonl"
# What file systems without hard links answer: FAT, exFAT, many network and FUSE mounts.
_NO_LINKS = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK}


def git_author() -> str:
    """Who is at the keyboard: git's user.name (GIT_AUTHOR_NAME first), else the login, else `unknown`."""
    name = os.environ.get("GIT_AUTHOR_NAME", "")
    git = shutil.which("git")
    if not name and git:
        asked = subprocess.run([git, "config", "user.name"], capture_output=True, check=False)  # noqa: S603
        name = asked.stdout.decode(errors="replace")
    if not name.strip():
        try:
            name = getpass.getuser()
        except (KeyError, OSError):
            name = "unknown"
    return name.strip()


class FilePrompts:
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
        self._parsed: dict[Path, tuple[tuple[int, int], Prompt]] = {}

    def __repr__(self) -> str:
        return f"FilePrompts({str(self.folder)!r}): {', '.join(self._names()) or 'no prompts yet'}"

    def list(self) -> tuple[Prompt, ...]:
        """The latest version of every prompt, by name."""
        return tuple(self._load(name, self._numbers(name)[-1]) for name in self._names())

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

        content: text (kind `text`; `completion` if asked for), or messages (kind `chat`). message: what changed and
        why. parent: the reference it was made from, the latest version if None.
        """
        prompt = draft(name, content, kind=kind, config=config)
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
        prompt = replace(prompt, author=author or self._who(), message=message, parent=parent, created_at=created)
        raw = dump_version(prompt)
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

    def label(self, ref: str, label: str, *, reason: str, by: str | None = None) -> Prompt:
        """Put `label` on the version that `ref` stands for, and write down who, when and why.

        Nothing is written if it stands there already. A label is a bookmark: it makes nothing live.
        """
        check_label(label)
        if not reason.strip():
            raise PromptError(f"label {label!r} on {ref}: say why, in `reason`. It is what people ask later.")
        prompt = self.get(ref)
        past = self.events(prompt.name)
        stood = _replay(past).get(label)
        if stood == prompt.version:
            return prompt
        now = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="microseconds")
        # Events are replayed by time, since a git merge mixes lines: a clock that lags must not undo this move.
        now = max([now, *(event.at for event in past)])
        fields = {"at": now, "event": "label", "label": label, "from": stood, "to": prompt.version}
        self._append(prompt.name, {**fields, "by": by or self._who(), "reason": reason})
        return prompt

    def labels(self, name: str) -> dict[str, int]:
        """Which version each label stands on now, by label. `latest` is not listed: it is the highest version."""
        self._known_numbers(check_prompt_name(name))
        return _replay(self.events(name))

    def events(self, name: str) -> tuple[LabelEvent, ...]:
        """Every move of a label of this prompt, oldest first."""
        path = self.folder / check_prompt_name(name) / _EVENTS
        if not path.exists():
            return ()
        lines = path.read_bytes().split(b"\n")
        found = (_event(path, number, line.strip()) for number, line in enumerate(lines, 1) if line.strip())
        return tuple(sorted((item for item in found if item), key=lambda item: item.at))

    def _who(self) -> str:
        return self._author if isinstance(self._author, str) else self._author()

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
        labels = _replay(self.events(name))
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

    def _resolve(self, ref: str) -> tuple[str, int]:
        name, number, label = parse_ref(ref)
        numbers = self._known_numbers(name)
        if number is None:
            number = numbers[-1] if label == LATEST else self._labelled(name, label or "", numbers)
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
        prompt = known[1]
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
                if _publish(temporary, self._path(prompt.name, number)):
                    return self._load(prompt.name, number)
        finally:
            temporary.unlink(missing_ok=True)

    def _append(self, name: str, event: Mapping[str, object]) -> None:
        path = self.folder / name / _EVENTS
        line = json.dumps(event, ensure_ascii=False).encode() + b"\n"
        with path.open("a+b", buffering=0) as file:
            if file.seek(0, os.SEEK_END) > 0:
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else b"\n" + line
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, "the label was not moved: the event could not be written whole", str(path))

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


def _publish(temporary: Path, target: Path) -> bool:
    """Give a whole file its final name; False if the name is taken. A hard link is both in one step."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _publish_without_links(temporary, target)
    return True


def _publish_without_links(temporary: Path, target: Path) -> bool:
    """The same by a claim: who makes `.N.md.claim` may rename to `N.md`. A claim left by a crash costs one number."""
    claim = target.with_name(f".{target.name}.claim")
    try:
        claim.open("xb").close()
    except FileExistsError:
        return False
    try:
        if target.exists():
            return False
        temporary.rename(target)
        return True
    finally:
        claim.unlink()


def _restore(path: Path) -> str:
    return f"git checkout HEAD -- {shlex.quote(str(path))}"


def _event(path: Path, number: int, line: bytes) -> LabelEvent | None:
    """One line of the trail; None for another kind of event, and a line that a crash cut off, which never counted."""
    if line.startswith(b"{") and not line.endswith(b"}"):
        return None
    try:
        fields = json.loads(line)
        if fields["event"] != "label":
            return None
        stood = None if fields["from"] is None else int(fields["from"])
        at, label, by, reason = (str(fields[key]) for key in ("at", "label", "by", "reason"))
        return LabelEvent(at, label, stood, int(fields["to"]), by, reason)
    except (ValueError, KeyError, TypeError) as error:
        raise PromptError(
            f"{path}, line {number}, is no event ({type(error).__name__}: {error}). If these are git's conflict "
            "markers, take only those lines away and keep both sides; otherwise restore the file with git."
        ) from None


def _replay(events: Iterable[LabelEvent]) -> dict[str, int]:
    return dict(sorted({event.label: event.to for event in events}.items()))


def _is_name(name: str) -> bool:
    try:
        return bool(check_prompt_name(name))
    except PromptError:
        return False
