r"""`{{variable}}` templates: what a prompt needs, and a prompt with its values filled in.

A variable is `{{name}}`, with optional spaces inside the braces; a name is a letter or `_`, then letters, digits and
`_` (ASCII). `\{{name}}` is the text `{{name}}`; in front of a variable two backslashes are one backslash, so
`\\{{name}}` is a backslash and the value. `{{> name}}` is an include (see `includes`), and `\{{> name}}` that text. Every
other brace is text: JSON examples need no escaping.

A message with the role `placeholder` holds a name instead of content: the messages of that value go in its place.

Values are put in once and never looked at again, so a value that holds `{{name}}` stays as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from workbench.errors import PromptError
from workbench.records import Message, Prompt

__all__ = [
    "PLACEHOLDER",
    "ROLES",
    "TAG",
    "Rendered",
    "as_template",
    "near_note",
    "near_variables",
    "parts_of",
    "render",
    "variables_in",
    "variables_of",
]

PLACEHOLDER = "placeholder"
ROLES = ("system", "developer", "user", "assistant", "tool")
TAG = re.compile(r"(\\*)\{\{(?:[ \t]*([A-Za-z_][A-Za-z0-9_]*)[ \t]*|(>[^{}\n]*))\}\}")
"""Backslashes before it, then the name of a variable or the body of an include."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NEAR = re.compile(r"(?<![\\{])\{{1,2}[\w .-]{1,40}\}{1,2}(?!\})")
_MISSING = object()


class Rendered(NamedTuple):
    """What a Request needs of a prompt, in its order: `Request(model, *rendered, params=params)`.

    kind chat: `messages` counts. kind completion: `prompt` does.
    """

    kind: Literal["chat", "completion"]
    messages: tuple[Message, ...]
    prompt: str


class _Plan(NamedTuple):
    """A compiled prompt: its variables in order of appearance, and a %-format for each message (role, format).

    One C call fills a format, which is the fastest that Python offers; see `_format_of` for why it is safe. slots: the names
    that are placeholders; in `formats` theirs has this role, and the name in place of a format.
    """

    names: tuple[str, ...]
    formats: tuple[tuple[str, str], ...]
    slots: frozenset[str]


def variables_of(text: str) -> tuple[str, ...]:
    """The variables of `text`, each once, in order of appearance."""
    found = (match for match in TAG.finditer(text) if match[2] is not None and len(match[1]) % 2 == 0)
    return tuple(dict.fromkeys(match[2] for match in found))


def near_variables(text: str) -> tuple[str, ...]:
    """What stands in braces and is text, though a variable was probably meant: `{name}`, `{{name}`, `{{first name}}`."""
    return tuple(dict.fromkeys(found[0] for found in _NEAR.finditer(text) if not TAG.fullmatch(found[0])))


def parts_of(prompt: Prompt) -> tuple[str, ...]:
    """All its templates: the text, and what messages that are no placeholders say."""
    return (prompt.text, *(item.content for item in prompt.messages if item.role != PLACEHOLDER))


def near_note(prompt: Prompt) -> str:
    """A sentence on what stands in braces and is text, though a variable was probably meant; "" where nothing does."""
    near = dict.fromkeys(found for part in parts_of(prompt) for found in near_variables(part))
    if not near:
        return ""
    there = ", ".join(f"{{{{{variable}}}}}" for variable in prompt.variables) or "none"
    return (
        f"{', '.join(near)} goes out as it stands. A variable is {{{{name}}}}, of letters, digits and _; "
        f"{prompt.ref if prompt.version else 'this text'} has: {there}."
    )


def as_template(text: str) -> str:
    """The template that renders to `text`: what would be a variable or an include in it stays text."""

    def one(match: re.Match[str]) -> str:
        slashes = match[1] if match[2] is not None else ""
        return f"{slashes}\\{match[0]}"

    return TAG.sub(one, text)


def variables_in(text: str, messages: Iterable[Message]) -> tuple[str, ...]:
    """The variables and placeholders of a text or of a chat's messages, each once, in order of appearance."""
    names = dict.fromkeys(variables_of(text))
    for item in messages:
        names |= dict.fromkeys([item.content] if item.role == PLACEHOLDER else variables_of(item.content))
    return tuple(names)


def render(prompt: Prompt, values: Mapping[str, object], *, exact: bool = True) -> Rendered:
    """`prompt` with `values` filled in: kind text as one user message, chat as its messages, completion as raw text.

    Text goes in as it is; numbers, true/false, None, lists and dicts go in as JSON (`1`, `true`, `null`, `["a", 1]`).
    A placeholder takes a list of messages, each a Message or {"role": …, "content": …}; an empty one is fine.
    A missing value is a PromptError; so is one that the prompt does not use, unless `exact` is False.
    """
    plan = _compile(prompt.kind, prompt.text, prompt.messages)
    texts: dict[str, str] = {}
    turns: dict[str, tuple[Message, ...]] = {}
    for name in plan.names:
        value = values.get(name, _MISSING)
        if name in plan.slots and value is not _MISSING:
            turns[name] = _turns(prompt, name, value)
        elif type(value) is str:
            texts[name] = value
        elif value is _MISSING:
            raise _mismatch(prompt, plan.names, values, exact)
        else:
            texts[name] = _to_text(prompt, name, value)
    if exact and len(values) != len(plan.names):
        raise _mismatch(prompt, plan.names, values, exact)
    if prompt.kind == "completion":
        return Rendered("completion", (), plan.formats[0][1] % texts)
    if not plan.slots:
        return Rendered("chat", tuple([Message(role, text % texts) for role, text in plan.formats]), "")
    filled: list[Message] = []
    for role, text in plan.formats:
        filled += turns[text] if role == PLACEHOLDER else [Message(role, text % texts)]
    if not filled:
        raise PromptError(f"{_title(prompt)}: with empty placeholders there is no message left to send.")
    return Rendered("chat", tuple(filled), "")


@lru_cache(maxsize=512)
def _compile(kind: str, text: str, messages: tuple[Message, ...]) -> _Plan:
    turns = messages if kind == "chat" else (Message("user", text),)
    slots = frozenset(item.content for item in turns if item.role == PLACEHOLDER)
    formats = ((item.role, item.content if item.role == PLACEHOLDER else _format_of(item.content)) for item in turns)
    return _Plan(variables_in("", turns), tuple(formats), slots)


def _format_of(text: str) -> str:
    """`text` as a %-format. Safe because every `%` of the text is doubled and names hold no parenthesis."""
    pieces: list[str] = []
    end = 0
    for match in TAG.finditer(text):
        slashes, name, include = match.groups()
        pieces.append(text[end : match.start()].replace("%", "%%"))
        end = match.end()
        if include is None:
            pieces.append("\\" * (len(slashes) // 2))
            pieces.append(match[0][len(slashes) :] if len(slashes) % 2 else f"%({name})s")
        elif slashes:
            pieces.append(match[0][1:].replace("%", "%%"))
        else:
            raise PromptError(
                f"this prompt still has the include {match[0]}: fill it in with the `resolve` of the place it is kept in, or "
                "render it there: bench.prompts.render(ref, values)."
            )
    pieces.append(text[end:].replace("%", "%%"))
    return "".join(pieces)


def _turns(prompt: Prompt, name: str, value: object) -> tuple[Message, ...]:
    """The messages that go in the place of a placeholder."""
    wants = f"{_title(prompt)}: the placeholder {name} takes a list of messages, [{{'role': 'user', 'content': '…'}}, …], and"
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise PromptError(f"{wants} got {value!r:.80}.")
    found: list[Message] = []
    for number, item in enumerate(value, 1):
        if isinstance(item, Mapping):
            if set(item) != {"role", "content"} or not isinstance(item["content"], str):
                raise PromptError(f"{wants} its message {number} is {item!r:.80}.")
            item = Message(item["role"], item["content"])
        if not isinstance(item, Message) or item.role not in ROLES:
            raise PromptError(f"{wants} its message {number} is {item!r:.80}; roles are {', '.join(ROLES)}.")
        found.append(item)
    return tuple(found)


def _to_text(prompt: Prompt, name: str, value: object) -> str:
    if type(value) is int:
        return str(value)
    if isinstance(value, str):
        return str.__str__(value)
    try:
        return _JSON.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        kind = type(value).__name__
        raise PromptError(
            f"{_title(prompt)}: the value of {{{{{name}}}}} is {value!r:.80} ({kind}), which has no JSON form: {error}."
            f" Pass text, a number, true/false, None, a list or a dict. NaN is often an empty cell of a "
            "table: give it a text or leave that row out. Turn dates and other objects into text first, with str()."
        ) from None


def _plain(value: object) -> object:
    """NumPy's scalars and arrays, which tables hand out, as Python's own types."""
    convert = getattr(value, "tolist", None)
    if convert is None:
        raise TypeError(f"{type(value).__name__} is not one of JSON's types")
    return convert()


_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_plain)


def _mismatch(prompt: Prompt, names: tuple[str, ...], values: Mapping[str, object], exact: bool) -> PromptError:
    from difflib import get_close_matches

    missing = [name for name in names if name not in values]
    unused = [str(name) for name in values if name not in names]
    sentences: list[str] = []
    renamed: set[str] = set()
    for name in missing:
        near = get_close_matches(name.lower(), [item.lower() for item in unused], 1, 0.6)
        old = next((item for item in unused if near and item.lower() == near[0]), None)
        sentences.append(f"it needs a value for {{{{{name}}}}}")
        if old is not None:
            renamed.add(old)
            sentences[-1] += f"; there is one called {old!r}, which it does not use: call that {name!r}"
        else:
            sentences[-1] += f": pass {name!r}, or write \\{{{{{name}}}}} in the prompt if it is meant as plain text"
    for name in unused if exact else ():
        if name in renamed:
            continue
        sentences.append(f"it does not use the value {name!r}")
        near = get_close_matches(name, names, 1, 0.6)
        if not _NAME.fullmatch(name):
            sentences[-1] += ", and cannot: a variable's name is letters, digits and '_', and begins with no digit"
        elif near:
            sentences[-1] += f" (did you mean {near[0]!r}?): take it away or rename it"
        else:
            sentences[-1] += f": take it away, make a version with {{{{{name}}}}}, or render with exact=False"
    known = ", ".join(names) if names else "none"
    return PromptError(f"{_title(prompt)}: {'. Also, '.join(sentences)}. Its variables: {known}.")


def _title(prompt: Prompt) -> str:
    return f"prompt {prompt.ref}" if prompt.version else f"prompt {prompt.name} (not saved)"
