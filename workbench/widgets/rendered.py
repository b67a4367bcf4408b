"""Markdown and JSON as trees of few kinds of nodes, which a view builds without ever reading HTML."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from workbench.tables import clean_text

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

__all__ = ["TAGS", "rendered"]

# kinds of nodes: the view builds these elements and no other
TAGS = frozenset(
    {"p", "h", "strong", "em", "s", "code", "pre", "ul", "ol", "li", "blockquote", "table", "thead", "tbody", "tr", "th", "td",
     "hr", "br", "a"}
)  # fmt: skip
_TEXT, _NODES = 12_000, 5_000  # characters and nodes: more would hold kernel and page up, and is shown as it is
_WEB = re.compile(r"https?://[^\s<>\"'`]+", re.IGNORECASE)
_JSON = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_DEEPEST = 60  # levels of JSON that are indented

Node = str | list[Any]


@lru_cache(maxsize=200)
def _kept(text: str) -> str:
    tree = _json(text)
    return json.dumps(_markdown(text) if tree is None else tree)


def rendered(text: str) -> list[Node] | None:
    """A text's nodes: JSON indented, else as Markdown (CommonMark, tables, strikethrough). None for one that is too long or deep.

    A node is a text, or [kind of TAGS, its nodes], with the address behind them for a link and the first number for "ol". HTML in
    the text stays text, images become links, and links lead to http and https only. All of it is made harmless by `clean_text`.
    """
    if len(text) > _TEXT:
        return None
    found: list[Node] | None = json.loads(_kept(text))
    return found


def _json(text: str) -> list[Node] | None:
    """An object or a list with each member on a line of its own: the same signs, so that no number or name changes."""
    if not text.strip().startswith(("{", "[")):
        return None
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    depth, parts, before = 0, [""], ""
    for sign in _JSON.findall(text):
        if sign in ("}", "]"):
            depth -= 1
        if depth > _DEEPEST:
            return None
        opens, empty = before in ("{", "["), sign in ("}", "]") and before in ("{", "[")
        if before and not empty and (opens or before == "," or sign in ("}", "]")):
            parts.append("\n" + "  " * depth)
        parts.append(sign + (" " if sign == ":" else ""))
        if sign in ("{", "["):
            depth += 1
        before = sign
    return [["pre", [clean_text("".join(parts))]]]


def _markdown(text: str) -> list[Node] | None:
    root: list[Node] = []
    stack: list[list[Node]] = [root]
    for count, token in enumerate(_flat(_parser().parse(text))):
        if count > _NODES:
            return None
        _put(token, stack)
    return root


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    made = MarkdownIt("commonmark", {"html": False, "maxNesting": 20}).enable(["table", "strikethrough"])
    return made.disable(["image", "html_block", "html_inline"])


def _flat(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        if token.type == "inline":
            yield from _flat(token.children or [])
        else:
            yield token


def _put(token: Token, stack: list[list[Node]]) -> None:
    """Add a token's node to those that are open; what closes one closes it."""
    tag = "h" if re.fullmatch(r"h[1-6]", token.tag) else token.tag
    if token.nesting < 0:
        if len(stack) > 1:
            stack.pop()
    elif token.nesting > 0:
        node: list[Any] = [tag if tag in TAGS else "p", []]
        if tag == "a":
            href = str(token.attrGet("href") or "")
            node = ["a", [], href] if _WEB.fullmatch(href) and href == clean_text(href) else ["em", []]
        elif tag == "ol":
            node.append(int(token.attrGet("start") or 1))
        stack[-1].append(node)
        stack.append(node[1])
    elif token.type in ("fence", "code_block"):
        stack[-1].append(["pre", [clean_text(token.content)]])
    elif token.type == "code_inline":
        stack[-1].append(["code", [clean_text(token.content)]])
    elif token.type in ("hr", "hardbreak"):
        stack[-1].append(["hr" if token.type == "hr" else "br", []])
    elif token.content or token.type == "softbreak":
        stack[-1].append("\n" if token.type == "softbreak" else clean_text(token.content))
