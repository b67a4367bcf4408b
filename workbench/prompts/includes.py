r"""Includes: `{{> tone}}` in a prompt stands for the text of the prompt `tone`.

At create, `{{> tone}}`, `{{> tone@3}}` and `{{> tone@label}}` become `{{> tone#3fa9c1d2e4b57788}}`, the first 16 digits of what
they stand for now: a version that includes another never changes, wherever the two are kept and whatever their numbers are there.
`\{{> tone}}` is plain text. What is included brings its own variables and includes; it is a text, not a chat, and never a version
of the prompt that includes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from workbench.errors import PromptError, PromptNotFoundError
from workbench.prompts.diff import PromptDiff
from workbench.prompts.search import SearchResult, search
from workbench.prompts.template import PLACEHOLDER, TAG, Rendered, parts_of, render, variables_in
from workbench.records import Message, Prompt

__all__ = ["PINNED", "Include", "Resolving", "includes_of", "pin", "pinned_tag", "rewrite", "sound_first"]

PINNED = 16  # digits
_LONGEST = 1_000_000  # characters; a few nested includes could ask for more than memory holds
_BODY = re.compile(r">[ \t]*([A-Za-z0-9][A-Za-z0-9_.-]{0,99})(?:@([a-z0-9_.-]{1,36})|#([0-9a-f]{16,64}))?[ \t]*")


class Include(NamedTuple):
    """What a tag asks for: a digest's first digits where it is pinned, else a number or label, None for the latest."""

    name: str
    which: str | None
    pinned: str | None

    @property
    def ref(self) -> str:
        """`name`, `name@3` or `name@label`."""
        return self.name if self.which is None else f"{self.name}@{self.which}"


def rewrite(text: str, change: Callable[[Include], str]) -> str:
    """`text` with each include replaced by what `change` makes of it. A malformed one is a PromptError."""

    def one(match: re.Match[str]) -> str:
        if match[3] is None or match[1]:
            return match[0]
        return change(_parse(match[3]))

    return TAG.sub(one, text)


def includes_of(prompt: Prompt) -> tuple[Include, ...]:
    """The includes of a prompt, each once, in order of appearance."""
    found: dict[Include, None] = {}
    if not any("{{>" in part for part in parts_of(prompt)):
        return ()

    def note(include: Include) -> str:
        found[include] = None
        return ""

    for part in parts_of(prompt):
        rewrite(part, note)
    return tuple(found)


def pin(prompt: Prompt, get: Callable[[str], Prompt], find: Callable[[str, str], Prompt]) -> Prompt:
    """`prompt` with every include pinned. get: by reference; find: by name and digest, whole or its first digits."""

    def one(include: Include) -> str:
        found = find(include.name, include.pinned) if include.pinned else get(include.ref)
        if found.kind == "chat":
            raise PromptError(f"{prompt.name} includes {include.ref}, which is a chat: only a text can be included.")
        return pinned_tag(include.name, found.digest)

    return _changed(prompt, lambda text: rewrite(text, one))


def pinned_tag(name: str, digest: str) -> str:
    """The include of the version of `name` with this digest."""
    return f"{{{{> {name}#{digest[:PINNED]}}}}}"


def sound_first(load: Callable[[int], Prompt], numbers: Iterable[int]) -> Iterator[Prompt]:
    """Versions, newest first. One that cannot be read hides no other: its PromptError comes last."""
    broken: PromptError | None = None
    for number in sorted(numbers, reverse=True):
        try:
            yield load(number)
        except PromptError as error:
            broken = broken or error
    if broken is not None:
        raise broken


class Resolving:
    """What every place that keeps prompts can do, on top of `get`, `versions`, `names` and `labels`."""

    def get(self, ref: str) -> Prompt:
        """As in PromptReader."""
        raise NotImplementedError

    def versions(self, name: str) -> tuple[Prompt, ...]:
        """As in PromptReader."""
        raise NotImplementedError

    def names(self) -> tuple[str, ...]:
        """The names of all prompts."""
        raise NotImplementedError

    def labels(self, name: str) -> dict[str, int]:
        """As in PromptReader."""
        raise NotImplementedError

    def archived(self, name: str) -> frozenset[int]:
        """The versions of a prompt that are put away; none where there is no archive."""
        return frozenset()

    def diff(self, before: str | Prompt, after: str | Prompt) -> PromptDiff:
        """What is different between two versions, word by word; a reference, or a prompt from wherever it is kept."""
        return PromptDiff(*(self.get(item) if isinstance(item, str) else item for item in (before, after)))

    def search(self, text: str, *, archived: bool = False) -> SearchResult:
        """All versions that hold every word of `text` in name, text, labels, variables, author or message."""
        found: list[Prompt] = []
        labels: dict[str, list[str]] = {}
        for name in self.names():
            away = frozenset() if archived else self.archived(name)
            found += [prompt for prompt in self.versions(name) if prompt.version not in away]
            for label, number in self.labels(name).items():
                labels.setdefault(f"{name}@{number}", []).append(label)
        return search(text, found, labels)

    def bare(self, name: str) -> Iterable[Prompt]:
        """All versions as they are kept, without the variables of what they include, looked for here; see `sound_first`."""
        raise NotImplementedError

    def find(self, name: str, digest: str) -> Prompt:
        """The newest version of that prompt with this digest, whole or its first 16 digits. Raises PromptNotFoundError."""
        return self.with_variables(self.pinned(name, digest))

    def pinned(self, name: str, digest: str) -> Prompt:
        """What `find` finds, as it is kept."""
        for prompt in self.bare(name):
            if prompt.digest.startswith(digest):
                return prompt
        raise PromptNotFoundError(
            f"{name} has no version with the digest {digest[:PINNED]}: another home of prompts, or another branch, has it. "
            "Fetch it from there, such as with `workbench prompt pull`."
        )

    def resolve(self, prompt: Prompt) -> Prompt:
        """`prompt` with the text of all that it includes, and their variables. Its digest stays: it names the pinned text."""
        if not includes_of(prompt):
            return prompt

        def expand(text: str, above: tuple[str, ...]) -> str:
            def one(include: Include) -> str:
                if include.pinned is None:
                    raise PromptError(
                        f"{prompt.name} includes {include.ref} without a pin: `create` makes one. A version file that was "
                        "written by hand can be adopted."
                    )
                if include.name in above:
                    way = ", which includes ".join([*above[1:], include.name])
                    raise PromptError(
                        f"{prompt.name} includes {way}: no prompt can include a version of itself. Copy the text, or make a "
                        "prompt of its own from what both need."
                    )
                return expand(self.pinned(include.name, include.pinned).text, (*above, include.name))

            whole = rewrite(text, one)
            if len(whole) > _LONGEST:
                raise PromptError(
                    f"{prompt.name}: with all that it includes it is longer than {_LONGEST:,} characters."
                )
            return whole

        changed = _changed(prompt, lambda text: expand(text, (prompt.name,)))
        return replace(changed, variables=variables_in(changed.text, changed.messages))

    def render(self, ref: str | Prompt, values: Mapping[str, object], *, exact: bool = True) -> Rendered:
        """A version with its includes and `values` filled in: what `workbench.prompts.render` gives. Raises PromptError."""
        prompt = self.get(ref) if isinstance(ref, str) else ref
        return render(self.resolve(prompt), values, exact=exact)

    def with_variables(self, prompt: Prompt) -> Prompt:
        """`prompt`, whose variables are also those of what it includes, as far as that is here."""
        try:
            whole = self.resolve(prompt)
            return prompt if whole is prompt else replace(prompt, variables=whole.variables)
        except PromptError:
            return prompt  # shown and compared all the same; whoever renders it is told


def _changed(prompt: Prompt, change: Callable[[str], str]) -> Prompt:
    messages = tuple(
        item if item.role == PLACEHOLDER else Message(item.role, change(item.content)) for item in prompt.messages
    )
    return replace(prompt, text=change(prompt.text), messages=messages)


def _parse(body: str) -> Include:
    match = _BODY.fullmatch(body)
    if match is None:
        raise PromptError(
            f"{{{{{body}}}}} is no include: write {{{{> NAME}}}}, {{{{> NAME@3}}}} or {{{{> NAME@label}}}}, or "
            f"\\{{{{{body}}}}} if it is meant as plain text."
        )
    return Include(match[1], match[2], match[3])
