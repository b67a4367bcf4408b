"""The version files of a folder, `FOLDER/NAME/N.md`: found, read and checked, and added so that none is ever half there.

No locks: a version appears whole, under a number that nobody else can have taken (see `publishing`).
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
from collections.abc import Iterable
from pathlib import Path

from workbench.errors import PromptError, PromptNotFoundError
from workbench.prompts.base import check_prompt_name, compute_digest, near_matches, parse_version
from workbench.prompts.publishing import publish
from workbench.records import Prompt

__all__ = ["VersionFiles"]

_VERSION_FILE = re.compile(r"([1-9][0-9]{0,8})\.md")


class VersionFiles:
    """The version files in one folder, which need not be there yet. Safe for many processes and threads at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._parsed: dict[Path, tuple[tuple[int, int], Prompt]] = {}

    def names(self) -> tuple[str, ...]:
        """The names of all prompts."""
        try:
            entries = sorted(self.folder.iterdir())
        except FileNotFoundError:
            return ()
        return tuple(entry.name for entry in entries if _is_name(entry.name) and self.numbers(entry.name))

    def numbers(self, name: str) -> tuple[int, ...]:
        """The versions of a prompt, lowest first; none for an unknown name."""
        try:
            entries = [entry.name for entry in (self.folder / name).iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return ()
        return tuple(sorted(int(match[1]) for entry in entries if (match := _VERSION_FILE.fullmatch(entry))))

    def known_numbers(self, name: str) -> tuple[int, ...]:
        """`numbers`; PromptNotFoundError, which says what there is, for an unknown name."""
        numbers = self.numbers(name)
        if numbers:
            return numbers
        names = self.names()
        if names:
            known = ", ".join(names)
            raise PromptNotFoundError(
                f"There is no prompt {name!r} in {self.folder}.{near_matches(name, names)} There are: {known}."
            )
        raise PromptNotFoundError(
            f"There is no prompt {name!r}: {self.folder.absolute()} has none yet. Make it with create({name!r}, …), "
            "or check that you are in the folder of your project."
        )

    def load(self, name: str, number: int) -> Prompt:
        """A version; read again only if its file has changed. PromptError for one that no longer fits its digest."""
        path = self._path(name, number)
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_size)
        known = self._parsed.get(path)
        if known is None or known[0] != stamp:
            known = (stamp, self._checked(name, number))
            self._parsed[path] = known
        return known[1]

    def parse(self, name: str, number: int) -> Prompt:
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

    def same(self, name: str, digest: str, numbers: Iterable[int]) -> Prompt | None:
        """The newest version with this digest, whole or its first digits. A broken file is no obstacle: its reader is told."""
        for number in reversed(tuple(numbers)):
            try:
                known = self.load(name, number)
            except (PromptError, FileNotFoundError):
                continue
            if known.digest.startswith(digest):
                return known
        return None

    def refuse_twin(self, name: str) -> None:
        """PromptError for a name that differs from a known one only in case."""
        others = [entry.name for entry in self.folder.iterdir()] if self.folder.exists() else []
        for other in others:
            if other != name and other.lower() == name.lower():
                raise PromptError(
                    f"There is a folder {other!r} already, and {name!r} is the same one on macOS and Windows. "
                    f"Use {other!r}, or another name."
                )

    def add(self, prompt: Prompt, raw: bytes) -> Prompt:
        """`raw` as the next version, or the version that has this digest already."""
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
                numbers = self.numbers(prompt.name)
                known = self.same(prompt.name, prompt.digest, numbers)
                if known is not None:
                    return known
                number = max([number, *numbers]) + 1
                if publish(temporary, self._path(prompt.name, number)):
                    return self.load(prompt.name, number)
        finally:
            temporary.unlink(missing_ok=True)

    def _path(self, name: str, number: int) -> Path:
        return self.folder / name / f"{number}.md"

    def _checked(self, name: str, number: int) -> Prompt:
        prompt = self.parse(name, number)
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


def _restore(path: Path) -> str:
    return f"git checkout HEAD -- {shlex.quote(str(path))}"


def _is_name(name: str) -> bool:
    try:
        return bool(check_prompt_name(name))
    except PromptError:
        return False
