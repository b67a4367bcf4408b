r"""`{{variable}}` templates: what a prompt needs, and a prompt with its values filled in.

A variable is `{{name}}`, with optional spaces inside the braces; a name is a letter or `_`, then letters, digits and
`_` (ASCII). `\{{name}}` is the text `{{name}}`; in front of a variable two backslashes are one backslash, so
`\\{{name}}` is a backslash and the value. Every other brace is text: JSON examples need no escaping.

Values are put in once and never looked at again, so a value that holds `{{name}}` stays as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, NamedTuple

from workbench.errors import PromptError
from workbench.records import Message, Prompt

__all__ = ["Rendered", "render", "variables_of"]

_VARIABLE = re.compile(r"(\\*)\{\{[ \t]*([A-Za-z_][A-Za-z0-9_]*)[ \t]*\}\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
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

    One C call fills a format, which is the fastest that Python offers; see `_format_of` for why it is safe.
    """

    names: tuple[str, ...]
    formats: tuple[tuple[str, str], ...]


def variables_of(text: str) -> tuple[str, ...]:
    """The variables of `text`, each once, in order of appearance."""
    return tuple(dict.fromkeys(match[2] for match in _VARIABLE.finditer(text) if len(match[1]) % 2 == 0))


def render(prompt: Prompt, values: Mapping[str, object], *, exact: bool = True) -> Rendered:
    """`prompt` with `values` filled in: kind text as one user message, chat as its messages, completion as raw text.

    Text goes in as it is; numbers, true/false, None, lists and dicts go in as JSON (`1`, `true`, `null`, `["a", 1]`).
    A missing value is a PromptError; so is one that the prompt does not use, unless `exact` is False.
    """
    plan = _compile(prompt.kind, prompt.text, prompt.messages)
    texts: dict[str, str] = {}
    for name in plan.names:
        value = values.get(name, _MISSING)
        if type(value) is str:
            texts[name] = value
        elif value is _MISSING:
            raise _mismatch(prompt, plan.names, values, exact)
        else:
            texts[name] = _to_text(prompt, name, value)
    if exact and len(values) != len(plan.names):
        raise _mismatch(prompt, plan.names, values, exact)
    if prompt.kind == "completion":
        return Rendered("completion", (), plan.formats[0][1] % texts)
    return Rendered("chat", tuple([Message(role, text % texts) for role, text in plan.formats]), "")


@lru_cache(maxsize=512)
def _compile(kind: str, text: str, messages: tuple[Message, ...]) -> _Plan:
    parts = [(item.role, item.content) for item in messages] if kind == "chat" else [("user", text)]
    names = dict.fromkeys(name for _, content in parts for name in variables_of(content))
    return _Plan(tuple(names), tuple((role, _format_of(content)) for role, content in parts))


def _format_of(text: str) -> str:
    """`text` as a %-format. Safe because every `%` of the text is doubled and names hold no parenthesis."""
    pieces: list[str] = []
    end = 0
    for match in _VARIABLE.finditer(text):
        slashes, name = match.groups()
        pieces.append(text[end : match.start()].replace("%", "%%"))
        pieces.append("\\" * (len(slashes) // 2))
        pieces.append(match[0][len(slashes) :] if len(slashes) % 2 else f"%({name})s")
        end = match.end()
    pieces.append(text[end:].replace("%", "%%"))
    return "".join(pieces)


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
