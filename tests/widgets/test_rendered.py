"""Markdown and JSON as trees: what may be in them, whatever a model answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from workbench.tables import clean_text
from workbench.widgets.rendered import TAGS, rendered

HOSTILE = [
    "<script>alert(1)</script> <img src=x onerror=alert(1)>\n\n<div onclick=x>\n\n<!-- c --><svg onload=x>",
    "[a](javascript:alert(1)) [b](JaVaScRiPt:x) [c](data:text/html,x) [d](vbscript:x) [e](//evil.example) [f](file:///etc/passwd)",
    "![i](http://evil.example/i.png) ![j][k]\n\n[k]: javascript:x\n\n<javascript:alert(1)> <http://e.example/a>",
    "&lt;script&gt; &#x202e;evil &#7; &#x1b;[31m &zwj; \u202egnp.exe \x1b[2J \x00 \ud800",
    "[l](https://e.example/\u202egnp) [m](https://e.example/\"onclick=x) [n](<https://e.example/a b>)",
    "```<b>\n</code><script>x</script>\u2066\n```\n\n    <i>\n\n`<u>\x07`",
    '{"<script>": "\u202e </pre><script>", "x": "[a](javascript:x)"}',
    "| <b> | [x](javascript:x) |\n|---|---|\n| <script> | ![i](http://evil.example) |",
]  # fmt: skip


def nodes(tree: list[Any]) -> Iterator[Any]:
    """All of them, texts too."""
    for node in tree:
        yield node
        if not isinstance(node, str):
            yield from nodes(node[1])


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_of_an_answer_acts(text: str) -> None:
    """Kinds are of the list, links lead to the web, and no sign reorders or controls what is read, also by an entity."""
    tree = rendered(text)
    assert tree
    for node in nodes(tree):
        if isinstance(node, str):
            assert node == clean_text(node)
        else:
            assert node[0] in TAGS
            assert node[0] != "a" or re.fullmatch(r"https?://[!#-;=?-~]+", node[2])
            assert len(node) == 2 or node[0] in ("a", "ol")
    json.dumps(tree).encode()


def test_markdown_is_what_it_says() -> None:
    """Text, marks, lists that begin where they begin, tables, code, links; and no word is lost."""
    text = "# Hi *there*\n\n3. one\n4. **two**\n\n| a | b |\n|---|--:|\n| 1 | ~~2~~ |\n\n> q `c<d>`\nr\n\n[w](https://e.example/x?y=1&z)\n***\n"
    assert [
        ["h", ["Hi ", ["em", ["there"]]]],
        ["ol", [["li", [["p", ["one"]]]], ["li", [["p", [["strong", ["two"]]]]]]], 3],
        ["table", [["thead", [["tr", [["th", ["a"]], ["th", ["b"]]]]]],
                   ["tbody", [["tr", [["td", ["1"]], ["td", [["s", ["2"]]]]]]]]]],
        ["blockquote", [["p", ["q ", ["code", ["c<d>"]], "\n", "r"]]]],
        ["p", [["a", ["w"], "https://e.example/x?y=1&z"]]],
        ["hr", []],
    ] == rendered(text)  # fmt: skip


def test_json_keeps_each_sign_and_is_indented() -> None:
    """Numbers, doubled names and escapes stay; what is no JSON, or too deep, is not taken for it."""
    (node,) = rendered('{"a":[1.10,{"b":[]},{}], "a":"x\\u202e, {y", "c" : -1E5}') or []
    lines = [
        "{",
        '  "a": [',
        "    1.10,",
        "    {",
        '      "b": []',
        "    },",
        "    {}",
        "  ],",
        '  "a": "x\\u202e, {y",',
        '  "c": -1E5',
        "}",
    ]
    assert ["pre", ["\n".join(lines)]] == node
    assert [["p", ["{no json}"]]] == rendered("{no json}")
    assert "pre" not in [node[0] for node in rendered("[" * 2_000 + "]" * 2_000) or []]


def test_what_is_too_long_or_has_too_many_parts_stays_as_it_is() -> None:
    """None: the view shows the text."""
    assert rendered("x" * 12_001) is None
    assert rendered("*a* " * 2_999) is None
    assert rendered("") == []
