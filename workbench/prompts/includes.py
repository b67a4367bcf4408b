r"""Includes: `{{> tone}}` in a prompt stands for the text of the prompt `tone`.

At create, `{{> tone}}`, `{{> tone@3}}` and `{{> tone@label}}` become `{{> tone#3fa9c1d2e4b57788}}`, the first 16 digits of what
they stand for now: a version that includes another never changes, wherever the two are kept and whatever their numbers are there.
`\{{> tone}}` is plain text. What is included brings its own variables and includes; it is a text, not a chat.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from workbench.errors import PromptError, PromptNotFoundError
from workbench.prompts.template import PLACEHOLDER, TAG, Rendered, render, variables_in
from workbench.records import Message, Prompt

__all__ = ["Include", "Resolving", "includes_of", "pin", "rewrite"]

_PINNED = 16
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
    if not any("{{>" in part for part in _parts(prompt)):
        return ()

    def note(include: Include) -> str:
        found[include] = None
        return ""

    for part in _parts(prompt):
        rewrite(part, note)
    return tuple(found)


def pin(prompt: Prompt, get: Callable[[str], Prompt], find: Callable[[str, str], Prompt]) -> Prompt:
    """`prompt` with every include pinned. get: by reference; find: by name and digest, whole or its first digits."""

    def one(include: Include) -> str:
        found = find(include.name, include.pinned) if include.pinned else get(include.ref)
        if found.kind == "chat":
            raise PromptError(f"{prompt.name} includes {include.ref}, which is a chat: only a text can be included.")
        return f"{{{{> {include.name}#{found.digest[:_PINNED]}}}}}"

    return _changed(prompt, lambda text: rewrite(text, one))


class Resolving:
    """What a place that keeps prompts can do with includes, on top of `get` and `versions`."""

    def get(self, ref: str) -> Prompt:
        """As in PromptReader."""
        raise NotImplementedError

    def versions(self, name: str) -> tuple[Prompt, ...]:
        """As in PromptReader."""
        raise NotImplementedError

    def find(self, name: str, digest: str) -> Prompt:
        """The newest version of that prompt with this digest, whole or its first 16 digits. Raises PromptNotFoundError."""
        for prompt in reversed(self.versions(name)):
            if prompt.digest.startswith(digest):
                return prompt
        raise PromptNotFoundError(
            f"{name} has no version with the digest {digest[:_PINNED]}: another home of prompts, or another branch, has it. "
            "Fetch it from there, such as with `workbench prompt pull`."
        )

    def resolve(self, prompt: Prompt) -> Prompt:
        """`prompt` with the text of all that it includes, and their variables. Its digest stays: it names the pinned text."""
        if not includes_of(prompt):
            return prompt

        def expand(text: str) -> str:
            def one(include: Include) -> str:
                if include.pinned is None:
                    raise PromptError(
                        f"{prompt.name} includes {include.ref} without a pin: `create` makes one. A version file that was "
                        "written by hand can be adopted."
                    )
                return expand(self.find(include.name, include.pinned).text)

            whole = rewrite(text, one)
            if len(whole) > _LONGEST:
                raise PromptError(f"{prompt.name}: with all that it includes it is longer than {_LONGEST:,} characters.")
            return whole

        changed = _changed(prompt, expand)
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


def _parts(prompt: Prompt) -> tuple[str, ...]:
    return (prompt.text, *(item.content for item in prompt.messages if item.role != PLACEHOLDER))


def _parse(body: str) -> Include:
    match = _BODY.fullmatch(body)
    if match is None:
        raise PromptError(
            f"{{{{{body}}}}} is no include: write {{{{> NAME}}}}, {{{{> NAME@3}}}} or {{{{> NAME@label}}}}, or "
            f"\\{{{{{body}}}}} if it is meant as plain text."
        )
    return Include(match[1], match[2], match[3])
