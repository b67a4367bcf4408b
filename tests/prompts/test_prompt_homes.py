"""What every home of prompts does alike: files, and Langfuse by a double of its server. One body a test, both homes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workbench.errors import PromptError, PromptNotFoundError
from workbench.prompts import FilePrompts, PromptReader
from workbench.prompts.langfuse import LangfusePrompts

CHAT = [
    {"role": "system", "content": "You are {{tone}}."},
    {"type": "placeholder", "name": "history"},
    {"role": "user", "content": "{{question}}"},
]


class Home:
    """A home, and how versions and labels get there: by `create` and `label` in files, which are then sent."""

    def __init__(self, reader: PromptReader, files: FilePrompts) -> None:
        self.reader = reader
        self.files = files

    def create(self, name: str, content: Any, **options: Any) -> None:
        self.files.create(name, content, **options)
        self.send()

    def label(self, ref: str, label: str) -> None:
        self.files.label(ref, label, reason="test")
        self.send()

    def send(self) -> None:
        if isinstance(self.reader, LangfusePrompts):
            assert self.files.push().ok
            self.reader.refresh()


@pytest.fixture(params=["files", "double_of_langfuse"])
def home(request: pytest.FixtureRequest, tmp_path: Path, clock: Any) -> Iterator[Home]:
    if request.param == "files":
        files = FilePrompts(tmp_path / "prompts", author="Ada", clock=clock)
        yield Home(files, files)
        return
    langfuse = request.getfixturevalue("langfuse")
    files = FilePrompts(tmp_path / "prompts", author="Ada", clock=clock, langfuse=lambda: langfuse)
    reader = LangfusePrompts(langfuse)
    yield Home(reader, files)
    reader.cache.settle()


def test_it_is_a_reader(home: Home) -> None:
    """Both satisfy the protocol, and an empty home lists nothing."""
    assert isinstance(home.reader, PromptReader)
    assert () == home.reader.list()


def test_versions_are_read_as_they_were_made(home: Home) -> None:
    """Kind, content, config, author, message, date and digest come back, whatever the kind."""
    home.create(
        "triage", "Label {{message}}", message="first", config={"params": {"temperature": 0}, "note": [1, None]}
    )
    home.create("raw", "Message: {{message}}\nLabel:", kind="completion", message="m" * 700)
    home.create("talk", CHAT)
    for name in ("triage", "raw", "talk"):
        ours, theirs = home.files.get(name), home.reader.get(name)
        assert (ours.digest, ours.kind, ours.text, ours.messages) == (
            theirs.digest,
            theirs.kind,
            theirs.text,
            theirs.messages,
        )
        assert (ours.config, ours.author, ours.message) == (theirs.config, theirs.author, theirs.message)
        assert (ours.created_at, ours.variables, ours.ref) == (theirs.created_at, theirs.variables, theirs.ref)
    assert ["raw@1", "talk@1", "triage@1"] == [prompt.ref for prompt in home.reader.list()]


def test_references(home: Home) -> None:
    """A name is the latest version; numbers and labels name others."""
    for text in ("one", "two", "three"):
        home.create("p", text)
    home.label("p@2", "candidate")
    texts = [home.reader.get(ref).text for ref in ("p", "p@latest", "p@1", "p@candidate")]
    assert ["three", "three", "one", "two"] == texts
    assert {"candidate": 2} == home.reader.labels("p")
    assert ["one", "two", "three"] == [prompt.text for prompt in home.reader.versions("p")]


@pytest.mark.parametrize(
    ("ref", "says"),
    [
        ("triagee", "no prompt 'triagee'.*Did you mean 'triage'"),
        ("triage@7", "no version 7.*it has 1"),
        ("triage@candidat", "no label 'candidat'.*Did you mean 'candidate'"),
        ("triage@v1", "Did you mean triage@1"),
    ],
)
def test_what_is_not_there(home: Home, ref: str, says: str) -> None:
    """Unknown names, versions and labels say what there is instead."""
    home.create("triage", "x")
    home.label("triage", "candidate")
    with pytest.raises(PromptNotFoundError, match=says):
        home.reader.get(ref)


def test_what_a_reader_does_to_a_config_reaches_nobody_else(home: Home) -> None:
    """Each reader has a copy."""
    home.create("triage", "x", config={"note": {"deep": [1]}})
    home.reader.get("triage").config["note"]["deep"].append(2)
    assert {"note": {"deep": [1]}} == home.reader.get("triage").config


def test_a_home_without_prompts_says_so(home: Home) -> None:
    """The first thing that a new user may see."""
    with pytest.raises(PromptNotFoundError, match="no prompt 'triage'"):
        home.reader.get("triage")
    with pytest.raises(PromptNotFoundError):
        home.reader.labels("triage")
    with pytest.raises(PromptError, match="has folders"):
        home.reader.get("support/triage")


def test_includes_are_pinned_and_resolved(home: Home) -> None:
    """An include stands for the text that it was pinned to, also after that prompt went on; variables come along."""
    home.create("name", "{{who}}")
    home.create("tone", "Be kind to {{> name}}.")
    home.create("triage", [{"role": "system", "content": "{{> tone}}"}, {"role": "user", "content": "{{message}}"}])
    home.create("tone", "Be brief.")
    prompt = home.reader.get("triage")
    assert ("who", "message") == prompt.variables
    assert home.files.get("triage").digest == prompt.digest
    assert "Be kind to {{who}}." == home.reader.resolve(prompt).messages[0].content
    rendered = home.reader.render("triage", {"who": "Ada", "message": "hi"})
    assert ["Be kind to Ada.", "hi"] == [item.content for item in rendered.messages]


def test_rendering_checks_variables(home: Home) -> None:
    """A missing value is an error; placeholders take messages."""
    home.create("talk", CHAT)
    with pytest.raises(PromptError, match="needs a value for"):
        home.reader.render("talk", {"tone": "kind", "history": []})
    said = home.reader.render(
        "talk@1", {"tone": "kind", "question": "why?", "history": [{"role": "user", "content": "hi"}]}
    )
    assert ["You are kind.", "hi", "why?"] == [item.content for item in said.messages]
