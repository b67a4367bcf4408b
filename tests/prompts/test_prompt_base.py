"""What every place that keeps prompts shares: references, labels, identity, and what can be a prompt."""

from __future__ import annotations

import re
from typing import Any

import pytest

from workbench.errors import PromptError
from workbench.prompts import FilePrompts, PromptRef, compute_digest, draft, parse_ref
from workbench.prompts.base import check_label, ranges
from workbench.records import Message


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ("triage", PromptRef("triage", None, "latest")),
        ("triage@latest", PromptRef("triage", None, "latest")),
        ("triage@12", PromptRef("triage", 12, None)),
        ("a.b-c_1@release-1.2", PromptRef("a.b-c_1", None, "release-1.2")),
    ],
)
def test_references(ref: str, expected: PromptRef) -> None:
    """A reference is a name, a name with a number or a name with a label."""
    assert expected == parse_ref(ref)


@pytest.mark.parametrize(
    "ref", ["", "@1", "a@", "a@0", "a@007", "a@1@2", "a@Prod", "a b", "../a", ".a", "a/b@1", "a@" + "9" * 5000, "a\n"]
)
def test_what_is_no_reference(ref: str) -> None:
    """Anything else is refused with the three forms that exist."""
    with pytest.raises(PromptError, match="NAME, NAME@3 or NAME@label"):
        parse_ref(ref)


def test_folders_are_refused_with_a_flat_name(prompts: FilePrompts) -> None:
    """A name with folders is an error that offers a flat one."""
    with pytest.raises(PromptError, match=r"call it 'support\.triage'"):
        prompts.create("support/triage", "x")


@pytest.mark.parametrize("label", ["latest", "", "1", "42", "Prod", "a b", "é", "x" * 37, "a\n"])
def test_labels_that_are_refused(label: str) -> None:
    """A label is lower case, at most 36 characters, more than digits and not the built-in one."""
    with pytest.raises(PromptError, match=re.escape(repr(label))):
        check_label(label)


def test_digest_covers_kind_content_and_config_only(prompts: FilePrompts) -> None:
    """Kind, content or config change the digest; name, number, author, message, parent and date do not."""
    first = prompts.create("a", "x {{y}}", message="m", author="A")
    prompts.create("b", "other")
    second = prompts.create("b", "x {{y}}", message="n", author="B")
    assert first.digest == second.digest == draft("c", "x {{y}}").digest
    others = [
        draft("a", "x {{y}}", kind="completion"),
        draft("a", "x {{y}} "),
        draft("a", "x {{y}}", config={"params": {"seed": 1}}),
        draft("a", [Message("user", "x {{y}}")]),
        draft("a", [Message("system", "x {{y}}")]),
    ]
    assert 6 == len({first.digest, *(item.digest for item in others)})


def test_digest_is_pinned() -> None:
    """The digest of given content never changes between releases: results refer to it."""
    expected = "4552ad939a12be1d5e2bba19890e9c319901eba83602ce219eeab0a0456eb699"
    assert expected == compute_digest("text", "Label: {{message}}", (), {"params": {"temperature": 0}})
    expected = "0b4234a9dca7f0b7c28f3c0bbe040cc5d0afd0554addc16ddab87e71d75c514a"
    assert expected == compute_digest("chat", "", (Message("user", "é {{x}}"),), {})


def test_ranges() -> None:
    """Numbers are shown as ranges."""
    assert ("1", "1-3, 7, 9-10", "") == (ranges([1]), ranges([1, 2, 3, 7, 9, 10]), ranges([]))


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        ("", {}, "is empty"),
        (" \n", {}, "is empty"),
        ([], {}, "is empty"),
        ("x", {"kind": "chat"}, "takes a list of messages"),
        ("x", {"kind": "story"}, "there are chat, text, completion"),
        ([Message("user", "x")], {"kind": "completion"}, "takes one text"),
        (5, {}, "got int"),
        ([{"role": "usr", "content": "x"}], {}, "message 1 has the role 'usr'; there are system"),
        ([{"role": "user", "content": None}], {}, "message 1 has content of type NoneType"),
        ([{"role": "user", "text": "x"}], {}, r"message 1 has the fields \['role', 'text'\]"),
        ([Message("user", "x"), "y"], {}, "message 2 is 'y'"),
        ("x", {"config": {"a": float("nan")}}, "identified"),
        ("x", {"config": {"a": {1, 2}}}, "identified"),
        ("x", {"config": ["a"]}, "it takes a dict"),
        ("x", {"config": {"params": {"temprature": 1}}}, "unknown field 'temprature'. Did you mean 'temperature'"),
        ("x", {"config": {"params": {"json_schema": {}}}}, "unknown field 'json_schema'. Did you mean 'schema'"),
        (
            "x",
            {"config": {"params": {"max_new_tokens": 1}}},
            "unknown field 'max_new_tokens'. Did you mean 'max_tokens'",
        ),
        ("x", {"config": {"params": 3}}, "params"),
        ("x \ud800", {}, "identified"),
    ],
)
def test_what_cannot_be_a_prompt(prompts: FilePrompts, content: Any, options: dict[str, Any], says: str) -> None:
    """What cannot be a prompt is refused before anything is written, with the reason."""
    with pytest.raises(PromptError, match=says):
        prompts.create("p", content, **options)
    assert not prompts.folder.exists()
