"""Includes: pinned at create, resolved with their variables, and what is refused. Placeholders of a chat."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.errors import PromptError, PromptNotFoundError
from workbench.prompts import FilePrompts, render
from workbench.prompts.base import parse_version
from workbench.records import Message


def test_an_include_is_pinned_to_what_it_stands_for_now(prompts: FilePrompts) -> None:
    """A later version of what is included changes no version that exists; the same text again is a new one."""
    tone = prompts.create("tone", "Be kind to {{name}}.")
    first = prompts.create("triage", "{{message}} {{> tone}}")
    assert f"{{{{message}}}} {{{{> tone#{tone.digest[:16]}}}}}" == first.text
    assert ("message", "name") == first.variables == FilePrompts(prompts.folder).get("triage@1").variables
    later = prompts.create("tone", "Be brief.")
    assert (
        "hello Be kind to Ada." == prompts.render("triage@1", {"message": "hello", "name": "Ada"}).messages[0].content
    )
    second = prompts.create("triage", "{{message}} {{> tone@latest}}")
    assert ("triage@2", ("message",)) == (second.ref, second.variables)
    assert later.digest[:16] in second.text
    assert prompts.create("triage", first.text).ref == "triage@1"


def test_includes_may_be_named_by_number_and_label_and_be_nested(prompts: FilePrompts) -> None:
    """What is included brings its own includes; the resolved prompt keeps the digest that names it."""
    prompts.create("a", "A{{x}}")
    prompts.create("b", "B {{> a@1}}")
    prompts.label("b", "good", reason="r")
    outer = prompts.create("c", [{"role": "system", "content": "{{>b@good}}!"}, {"role": "user", "content": "{{q}}"}])
    whole = prompts.resolve(outer)
    assert ("B A{{x}}!", ("x", "q"), outer.digest) == (whole.messages[0].content, whole.variables, whole.digest)
    assert whole == prompts.resolve(whole)


def test_values_in_included_text_are_filled_once(prompts: FilePrompts) -> None:
    """A value that looks like an include or a variable stays as it is."""
    prompts.create("a", "<{{x}}>")
    prompts.create("b", "{{> a}}")
    assert "<{{> a}} {{x}}>" == prompts.render("b", {"x": "{{> a}} {{x}}"}).messages[0].content


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{{> nope}}", "no prompt 'nope'"),
        ("{{> a@7}}", "no version 7"),
        ("{{> a@stale}}", "no label 'stale'"),
        ("{{> talk}}", "is a chat: only a text"),
        ("{{> a b}}", "is no include"),
        ("{{> a#0123456789abcdef}}", "no version with the digest 0123456789ab"),
    ],
)
def test_includes_that_are_refused(prompts: FilePrompts, text: str, says: str) -> None:
    """What cannot be pinned makes no version."""
    prompts.create("a", "x")
    prompts.create("talk", [{"role": "user", "content": "x"}])
    with pytest.raises(PromptError, match=says):
        prompts.create("b", text)
    assert ("a", "talk") == prompts.names()


def test_no_prompt_includes_a_version_of_itself(prompts: FilePrompts) -> None:
    """Neither at once nor by way of others: it is refused before there is a version, and what is there stays readable."""
    prompts.create("tone", "Be kind.")
    prompts.create("triage", "{{> tone}} {{message}}")
    with pytest.raises(PromptError, match=r"triage includes triage: no prompt can include a version of itself"):
        prompts.create("triage", "{{> triage@1}} In one word.")
    with pytest.raises(PromptError, match=r"tone includes triage, which includes tone: no prompt"):
        prompts.create("tone", "{{> triage}} Be brief.")
    assert (["tone@1"], ["triage@1"]) == (
        [p.ref for p in prompts.versions("tone")],
        [p.ref for p in prompts.versions("triage")],
    )
    assert "Be kind. hi" == prompts.render("triage", {"message": "hi"}).messages[0].content


def test_a_version_file_that_includes_its_own_prompt_can_be_read(prompts: FilePrompts) -> None:
    """Such files can have been made before they were refused: they are shown, and rendering one says what is wrong."""
    first = prompts.create("triage", "{{message}}")
    other = prompts.create("other", "x {{> triage}}")
    path = prompts.folder / "triage" / "2.md"
    raw = (prompts.folder / "other" / "1.md").read_text().replace("parent: other", "parent: triage")
    path.write_text(raw)
    again = FilePrompts(prompts.folder)
    assert [first.ref, "triage@2"] == [prompt.ref for prompt in again.versions("triage")]
    assert other.digest == again.get("triage").digest
    assert "x hi" == again.render("other", {"message": "hi"}).messages[0].content
    with pytest.raises(PromptError, match="no prompt can include a version of itself"):
        again.render("triage", {"message": "hi"})


def test_a_broken_file_hides_no_version_that_is_included(prompts: FilePrompts) -> None:
    """What is included is looked for beside files that cannot be read; only if it is not there, they are the answer."""
    prompts.create("tone", "Be kind.")
    prompts.create("triage", "{{> tone}} {{message}}")
    prompts.create("tone", "Be brief.")
    path = prompts.folder / "tone" / "2.md"
    path.write_text(path.read_text().replace("brief", "long"))
    assert "Be kind. hi" == prompts.render("triage", {"message": "hi"}).messages[0].content
    (prompts.folder / "tone" / "1.md").unlink()
    with pytest.raises(PromptError, match="was changed by hand"):
        prompts.render("triage", {"message": "hi"})


def test_an_escaped_include_is_text(prompts: FilePrompts) -> None:
    """A backslash before it makes it plain, whatever it says."""
    made = prompts.create("a", "say \\{{> tone}} and \\{{> any thing}}")
    assert (
        "say {{> tone}} and {{> any thing}}"
        == prompts.render("a", {}).messages[0].content
        == render(made, {}).messages[0].content
    )


def test_what_is_not_resolved_is_not_rendered(prompts: FilePrompts) -> None:
    """No model is shown a tag in place of the text."""
    prompts.create("a", "x")
    with pytest.raises(PromptError, match="still has the include"):
        render(prompts.create("b", "{{> a}}"), {})


def test_too_long_a_whole_is_refused(prompts: FilePrompts) -> None:
    """Includes of includes cannot fill the memory."""
    prompts.create("n0", "x" * 1000)
    for level in range(1, 4):
        body = f"{{{{> n{level - 1}}}}}" * 10
        if level < 3:
            prompts.create(f"n{level}", body)
    with pytest.raises(PromptError, match="longer than 1,000,000"):
        prompts.create("n3", body + body)


def test_a_pin_whose_version_is_gone_says_so(prompts: FilePrompts) -> None:
    """The version can be looked at all the same, and rendering says what is missing."""
    prompts.create("a", "old")
    prompts.create("b", "{{> a}} {{x}}")
    prompts.create("a", "new")
    (prompts.folder / "a" / "1.md").unlink()
    assert ("x",) == FilePrompts(prompts.folder).get("b").variables
    with pytest.raises(PromptNotFoundError, match="a has no version with the digest"):
        prompts.render("b", {"x": 1})


HISTORY = [{"role": "user", "content": "hi {{q}}"}, Message("assistant", "hello")]


def test_placeholders_take_messages(prompts: FilePrompts) -> None:
    """Messages go in whole, in their place; values in them are not expanded; an empty list is fine."""
    turns = [
        {"role": "system", "content": "Be {{tone}}."},
        {"type": "placeholder", "name": "history"},
        Message("user", "{{q}}"),
    ]
    made = prompts.create("chat", turns)
    assert ("tone", "history", "q") == made.variables
    raw = (prompts.folder / "chat" / "1.md").read_bytes()
    assert b"=== placeholder ===\nhistory\n" in raw
    assert parse_version(raw, "chat", 1) == made
    rendered = prompts.render("chat", {"tone": "kind", "history": HISTORY, "q": "why?"})
    assert [("system", "Be kind."), ("user", "hi {{q}}"), ("assistant", "hello"), ("user", "why?")] == [
        (item.role, item.content) for item in rendered.messages
    ]
    assert 2 == len(prompts.render("chat", {"tone": "kind", "history": [], "q": "why?"}).messages)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("hi", "takes a list of messages"),
        ([{"role": "user"}], "its message 1 is"),
        ([{"role": "boss", "content": "x"}], "roles are system"),
        ([{"role": "user", "content": 1}], "its message 1 is"),
        ({"role": "user", "content": "x"}, "takes a list of messages"),
        ([Message("placeholder", "x")], "roles are system"),
    ],
)
def test_what_is_no_list_of_messages(prompts: FilePrompts, value: Any, says: str) -> None:
    """What a placeholder gets is checked."""
    made = prompts.create("c", [{"type": "placeholder", "name": "h"}, {"role": "user", "content": "x"}])
    with pytest.raises(PromptError, match=says):
        render(made, {"h": value})
    with pytest.raises(PromptError, match=r"needs a value for \{\{h\}\}"):
        render(made, {})


@pytest.mark.parametrize(
    ("turns", "says"),
    [
        ([{"type": "placeholder", "name": "a b"}, {"role": "user", "content": "x"}], "is a placeholder called 'a b'"),
        (
            [{"type": "placeholder", "name": "a"}, {"role": "user", "content": "{{a}}"}],
            "a is a placeholder and a variable",
        ),
    ],
)
def test_placeholders_that_are_refused(prompts: FilePrompts, turns: Any, says: str) -> None:
    """A placeholder has a variable's name, and it alone has it."""
    with pytest.raises(PromptError, match=says):
        prompts.create("c", turns)


def test_nothing_left_to_send_is_an_error(prompts: FilePrompts) -> None:
    """A chat of placeholders only, all empty, is no request."""
    made = prompts.create("c", [{"type": "placeholder", "name": "h"}])
    with pytest.raises(PromptError, match="no message left"):
        render(made, {"h": []})
