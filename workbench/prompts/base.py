"""What every place that keeps prompts shares: how versions are named, what makes two of them the same, how one reads.

Reading (`PromptReader`) is apart from creating, because a place may be read-only, far away or managed by others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn, Protocol, cast, get_args, runtime_checkable

from workbench.errors import InputError, PromptError
from workbench.prompts.template import PLACEHOLDER, ROLES, Rendered, variables_in, variables_of
from workbench.records import Message, Params, Prompt, PromptKind, check_name, digest

__all__ = [
    "LATEST",
    "RESERVED",
    "LabelEvent",
    "PromptReader",
    "PromptRef",
    "chat_messages",
    "chat_text",
    "check_label",
    "check_prompt_name",
    "compute_digest",
    "draft",
    "dump_version",
    "near_matches",
    "parse_ref",
    "parse_version",
    "prompt_text",
    "ranges",
    "unix_newlines",
]

LATEST = "latest"
RESERVED = "workbench"  # the field of a config that carries kind and digest where the place has none for them
_KINDS: tuple[str, ...] = get_args(PromptKind)
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_MARKER = re.compile(r"(\\*)=== ([a-z]+) ===")
_LABEL = re.compile(r"[a-z0-9_.-]{1,36}")


@runtime_checkable
class PromptReader(Protocol):
    """Where prompts are read from. Unknown names, versions and labels raise PromptNotFoundError."""

    def list(self) -> tuple[Prompt, ...]:
        """The latest version of every prompt, by name."""

    def get(self, ref: str) -> Prompt:
        """The version that `name` (the latest), `name@3` or `name@label` stands for."""

    def versions(self, name: str) -> tuple[Prompt, ...]:
        """All versions of one prompt, oldest first."""

    def labels(self, name: str) -> dict[str, int]:
        """Which version each label stands on now, by label; `latest` is not listed."""

    def resolve(self, prompt: Prompt) -> Prompt:
        """`prompt` with the text of all that it includes."""

    def render(self, ref: str | Prompt, values: Mapping[str, object], *, exact: bool = True) -> Rendered:
        """A version with its includes and `values` filled in."""


class LabelEvent(NamedTuple):
    """One move of a label. `came_from`: the version it stood on before, None for a new label. `to`: None where it was taken
    off. evidence: such as the id of the comparison that justified it. because: the reason's name, where it is protected."""

    at: str
    label: str
    came_from: int | None
    to: int | None
    by: str
    reason: str
    evidence: str = ""
    because: str = ""


class PromptRef(NamedTuple):
    """A parsed reference: exactly one of `version` and `label` is set. A bare name has the label `latest`."""

    name: str
    version: int | None
    label: str | None


def parse_ref(ref: str) -> PromptRef:
    """`name`, `name@3` or `name@label` in its parts. Anything else is a PromptError."""
    name, at, rest = ref.partition("@")
    try:
        check_prompt_name(name)
        if not at:
            return PromptRef(name, None, LATEST)
        if _NUMBER.fullmatch(rest):
            return PromptRef(name, int(rest), None)
        return PromptRef(name, None, rest if rest == LATEST else check_label(rest))
    except PromptError as error:
        raise PromptError(f"{ref!r} refers to no prompt: write NAME, NAME@3 or NAME@label. {error}") from None


def check_prompt_name(name: str) -> str:
    """`name` if a prompt may be called so. There are no folders: the name is flat."""
    if "/" in name or "\\" in name:
        flat = re.sub(r"[/\\]+", ".", name).strip(".")
        raise PromptError(f"The prompt name {name!r} has folders, which there are none of: call it {flat!r}.")
    try:
        return check_name(name, "prompt")
    except InputError as error:
        raise PromptError(str(error)) from None


def check_label(label: str) -> str:
    """`label` if a version may be labelled so: 1 to 36 of a-z, 0-9, `_`, `-`, `.`, not only digits, not `latest`."""
    if label == LATEST:
        raise PromptError("The label 'latest' is built in: it is always the highest version. Choose another label.")
    if re.fullmatch(r"[0-9]+", label):
        raise PromptError(f"{label!r} is no label, because a label is more than digits; versions are written 1, 2, 3 …")
    if not _LABEL.fullmatch(label):
        raise PromptError(
            f"{label!r} is not usable as a label: use 1 to 36 of a-z, 0-9, '_', '-' and '.', such as 'candidate'."
        )
    return label


def compute_digest(kind: PromptKind, text: str, messages: Iterable[Message], config: Mapping[str, Any]) -> str:
    """SHA-256 over kind, text (of a chat: messages) and config: the prompt's identity wherever it is kept.

    Name, number, author, message, parent and date are not in it. Raises PromptError for what JSON cannot hold.
    """
    content: dict[str, object] = {"kind": kind, "config": dict(config)}
    if kind == "chat":
        content["messages"] = [{"role": item.role, "content": item.content} for item in messages]
    else:
        content["text"] = text
    try:
        return digest(content)
    except InputError as error:
        raise PromptError(f"This prompt cannot be identified. Its text or config is not plain: {error}") from None


def unix_newlines(text: str) -> str:
    r"""`text` with `\r\n` and `\r` as `\n`: git may swap them on the way, and identity must survive that."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def chat_text(messages: Iterable[Message]) -> str:
    """Messages as one text: a line `=== role ===` before each, and a backslash before content that looks like one."""
    lines: list[str] = []
    for item in messages:
        lines.append(f"=== {item.role} ===")
        lines.extend(f"\\{line}" if _MARKER.fullmatch(line) else line for line in item.content.split("\n"))
    return "\n".join(lines)


def prompt_text(prompt: Prompt) -> str:
    """The text that people edit: of a chat, all its messages."""
    return chat_text(prompt.messages) if prompt.kind == "chat" else prompt.text


def chat_messages(text: str) -> tuple[Message, ...]:
    """The exact inverse of `chat_text`. A text that is no chat is a PromptError."""
    turns: list[tuple[str, list[str]]] = []
    for line in text.split("\n"):
        marker = _MARKER.fullmatch(line)
        if marker and not marker[1]:
            if marker[2] not in (*ROLES, PLACEHOLDER):
                raise PromptError(
                    f"the line {line!r} names no role; there are {', '.join(ROLES)} and {PLACEHOLDER}. Content is \\{line}."
                )
            turns.append((marker[2], []))
        elif turns:
            turns[-1][1].append(line[1:] if marker else line)
        else:
            raise PromptError(f"its text begins with {line!r:.60}, and a chat begins with a line like '=== user ==='.")
    return tuple(Message(role, "\n".join(lines)) for role, lines in turns)


def dump_version(prompt: Prompt) -> bytes:
    """One version as a readable file: YAML header between `---` lines, then the text and one line end."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Line ends in double quotes, as escapes: PyYAML's other forms are hard to read, and lose U+0085 and U+2028."""

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if value.isprintable() else '"')

    Dumper.add_representer(str, text)
    header = {
        "kind": prompt.kind,
        "digest": prompt.digest,
        "author": prompt.author,
        "created": prompt.created_at,
        "message": prompt.message,
        "parent": prompt.parent,
        "variables": [*prompt.variables],
        "config": prompt.config,
    }
    top = yaml.dump(header, Dumper=Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=10**6)
    body = prompt_text(prompt)
    try:
        return f"---\n{top}---\n{body}\n".encode()
    except UnicodeEncodeError as error:
        raise PromptError(f"{prompt.name}: text that is not Unicode cannot be kept in a file: {error}") from None


def parse_version(raw: bytes, name: str, number: int) -> Prompt:
    """The inverse of `dump_version`. PromptError says what is broken; whether `digest` fits is not checked."""
    import yaml

    try:
        text = unix_newlines(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        _broken(f"it is not UTF-8 ({error}).")
    if not text.startswith("---\n"):
        _broken("its first line is not '---'.")
    top, found, body = text[4:].partition("\n---\n")
    if not found:
        _broken("its header has no closing line '---'.")
    try:
        header = yaml.safe_load(top)
    except yaml.YAMLError as error:
        _broken(f"its header is not YAML: {' '.join(str(error).split())}.")
    if not isinstance(header, dict):
        _broken("its header is not a list of fields.")
    kind, config = header.get("kind"), header.get("config") or {}
    if kind not in ("chat", "text", "completion"):
        _broken(f"kind is {kind!r}, and must be chat, text or completion.")
    if not isinstance(config, dict):
        _broken(f"config is {config!r:.60}, and must hold fields.")
    if not isinstance(header.get("digest"), str):
        _broken(f"digest is {header.get('digest')!r:.60}, and must be 64 hex digits.")
    body = body.removesuffix("\n")
    messages = chat_messages(body) if kind == "chat" else ()
    text = "" if kind == "chat" else body
    parent = header.get("parent")
    return Prompt(
        name=name,
        version=number,
        kind=kind,
        text=text,
        messages=messages,
        config=config,
        author=str(header.get("author") or ""),
        message=str(header.get("message") or ""),
        created_at=str(header.get("created") or ""),
        parent=None if parent is None else str(parent),
        variables=variables_in(text, messages),
        digest=header["digest"],
    )


def _broken(why: str) -> NoReturn:
    raise PromptError(why)


def draft(
    name: str,
    content: str | Sequence[Message | Mapping[str, str]],
    *,
    kind: PromptKind | None = None,
    config: Mapping[str, Any] | None = None,
) -> Prompt:
    r"""A checked prompt that is kept nowhere yet: version 0, with digest and variables.

    content: text (kind `text` unless `completion` is asked for), or messages (kind `chat`) as Message or
    {"role": …, "content": …}; {"type": "placeholder", "name": …} is where messages go in later. Line ends become `\n`.
    Raises PromptError for what cannot be a prompt.
    """
    check_prompt_name(name)
    chat = not isinstance(content, str)
    kind = kind or ("chat" if chat else "text")
    if kind not in _KINDS:
        raise PromptError(f"{name}: kind {kind!r} does not exist; there are {', '.join(_KINDS)}.")
    if chat != (kind == "chat") or not isinstance(content, Sequence):
        needs = "a list of messages such as [{'role': 'user', 'content': '…'}]" if kind == "chat" else "one text"
        raise PromptError(f"{name}: kind {kind!r} takes {needs}, and got {type(content).__name__}.")
    text = ""
    messages: tuple[Message, ...] = ()
    if isinstance(content, str):
        text = unix_newlines(content)
    else:
        messages = tuple(_message(name, number, item) for number, item in enumerate(content, 1))
    if not any(part.strip() for part in (text, *(item.content for item in messages))):
        raise PromptError(f"{name}: the prompt is empty. Give it a text or at least one message with content.")
    if not isinstance(config, Mapping | None):
        raise PromptError(
            f"{name}: config is {config!r:.60}; it takes a dict such as {{'params': {{'temperature': 0}}}}."
        )
    known = dict(config or {})
    if RESERVED in known:
        raise PromptError(f"{name}: config[{RESERVED!r}] is the workbench's own: choose another name for it.")
    clash = {item.content for item in messages if item.role == PLACEHOLDER} & {
        variable for item in messages if item.role != PLACEHOLDER for variable in variables_of(item.content)
    }
    if clash:
        raise PromptError(f"{name}: {min(clash)} is a placeholder and a variable: give one of them another name.")
    fingerprint = compute_digest(kind, text, messages, known)
    if known.get("params") is not None:
        try:
            Params.from_mapping(known["params"], "config.params")
        except (InputError, AttributeError, TypeError) as error:
            raise PromptError(f"{name}: what config holds for params is not usable. {error}") from None
    # A copy through JSON: later changes by the caller cannot reach the record, and tuples become lists as in the file.
    plain = json.loads(json.dumps(known))
    return Prompt(name, 0, kind, text, messages, plain, variables=variables_in(text, messages), digest=fingerprint)


def _message(name: str, number: int, item: object) -> Message:
    where = f"{name}: message {number}"
    if isinstance(item, Mapping):
        fields = cast("Mapping[str, object]", item)
        if fields.get("type") == PLACEHOLDER and set(fields) == {"type", "name"}:
            fields = {"role": PLACEHOLDER, "content": fields["name"]}
        if set(fields) != {"role", "content"}:
            raise PromptError(f"{where} has the fields {sorted(map(str, fields))}; it takes 'role' and 'content'.")
        role, content = fields["role"], fields["content"]
    elif isinstance(item, Message):
        role, content = item.role, item.content
    else:
        raise PromptError(f"{where} is {item!r:.60}; write {{'role': 'user', 'content': '…'}}.")
    if role not in (*ROLES, PLACEHOLDER):
        raise PromptError(f"{where} has the role {role!r}; there are {', '.join(ROLES)}.")
    if not isinstance(content, str):
        raise PromptError(f"{where} has content of type {type(content).__name__}; it takes text.")
    if role == PLACEHOLDER and variables_of(f"{{{{{content}}}}}") != (content,):
        raise PromptError(
            f"{where} is a placeholder called {content!r}: use letters, digits and '_', and begin with no digit."
        )
    return Message(role, unix_newlines(content))


def near_matches(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` with up to three names that look like `name`, or nothing."""
    from difflib import get_close_matches

    lowered = {item.lower(): item for item in known}
    near = [repr(lowered[item]) for item in get_close_matches(name.lower(), lowered, 3, 0.6)]
    return f" Did you mean {' or '.join(near)}?" if near else ""


def ranges(numbers: Sequence[int]) -> str:
    """1, 2, 3, 7 -> `1-3, 7`."""
    groups: list[tuple[int, int]] = []
    for number in numbers:
        if groups and groups[-1][1] == number - 1:
            groups[-1] = (groups[-1][0], number)
        else:
            groups.append((number, number))
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in groups)
