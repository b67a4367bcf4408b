"""Prompts in files: versions, exact round trips, finding, display, and what the errors say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from workbench.errors import PromptError, PromptNotFoundError
from workbench.prompts import FilePrompts, PromptReader, draft
from workbench.prompts.base import chat_messages, chat_text
from workbench.records import Message

ROOT = Path(__file__).resolve().parents[2]


def fresh(prompts: FilePrompts) -> FilePrompts:
    """The same folder, read anew."""
    return FilePrompts(prompts.folder)


def files(prompts: FilePrompts, name: str) -> list[str]:
    return sorted(path.name for path in (prompts.folder / name).iterdir())


def test_create_fills_the_record(prompts: FilePrompts) -> None:
    """A new version has number, author, date, parent, variables and digest, and can be got at once."""
    first = prompts.create("p", "{{a}} {{b}}", message="first")
    second = prompts.create("p", "{{a}}:", kind="completion", config={"params": {"stop": ("\n",)}}, author="Bob")
    third = prompts.create("p", "{{c}}", parent="p@1")
    assert ("p@1", "text", "Ada", "first", "2026-11-23T10:00:00Z", None, ("a", "b")) == (
        first.ref, first.kind, first.author, first.message, first.created_at, first.parent, first.variables,
    )  # fmt: skip
    assert ("p@2", "completion", "Bob", "p@1") == (second.ref, second.kind, second.author, second.parent)
    assert {"params": {"stop": ["\n"]}} == second.config
    assert ("p@3", "p@1") == (third.ref, third.parent)
    assert (first, second, third) == fresh(prompts).versions("p")


def test_the_same_content_again_is_the_same_version(prompts: FilePrompts, clock: Any) -> None:
    """Creating what exists returns it and writes nothing, so a notebook cell can be run again."""
    first = prompts.create("p", "one", message="m")
    prompts.create("p", "two")
    clock.now += 100
    assert first == prompts.create("p", "one", message="another message", author="Bob")
    assert ["1.md", "2.md"] == files(prompts, "p")


def test_a_parent_must_exist(prompts: FilePrompts) -> None:
    """A parent that does not exist is an error, and nothing is written."""
    prompts.create("p", "one")
    with pytest.raises(PromptNotFoundError, match="no version 9"):
        prompts.create("p", "two", parent="p@9")
    assert ["1.md"] == files(prompts, "p")


def test_names_that_differ_only_in_case_are_refused(prompts: FilePrompts) -> None:
    """Two folders that one machine takes for the same are not made."""
    prompts.create("triage", "x")
    with pytest.raises(PromptError, match="'triage' already"):
        prompts.create("Triage", "x")


def test_a_record_that_is_changed_does_not_reach_the_next_reader(prompts: FilePrompts) -> None:
    """Each reader gets a config of its own, and so does the one who created."""
    config: dict[str, Any] = {"params": {"stop": ["a"]}}
    created = prompts.create("p", "x", config=config)
    config["params"]["stop"].append("b")
    prompts.get("p").config["params"]["stop"].append("c")
    assert ["a"] == created.config["params"]["stop"] == prompts.get("p").config["params"]["stop"]


def test_the_file_is_readable(prompts: FilePrompts) -> None:
    """A version is a YAML header, then the text exactly as it was given and one line end."""
    prompt = prompts.create("p", "Message: {{m}}\nMood:", kind="completion", config={"n": [1]}, message="it's\nnew")
    expected = f"""---
kind: completion
digest: {prompt.digest}
author: Ada
created: '2026-11-23T10:00:00Z'
message: "it's\\nnew"
parent: null
variables: [m]
config:
  n: [1]
---
Message: {{{{m}}}}
Mood:
"""
    assert expected.encode() == (prompts.folder / "p" / "1.md").read_bytes()


def test_a_chat_is_readable(prompts: FilePrompts) -> None:
    """In a chat a line names the role, and content that looks like such a line is escaped."""
    prompts.create("p", [Message("system", "Be kind.\n"), Message("user", "{{m}}\n=== user ===")])
    body = (prompts.folder / "p" / "1.md").read_text().partition("config: {}\n---\n")[2]
    assert "=== system ===\nBe kind.\n\n=== user ===\n{{m}}\n\\=== user ===\n" == body


TEXTS = [
    "Sentiment:", "ends in space ", "ends in a line\n", "two\n\n", "\n\nbegins late", "  indented\n\ttab", "---",
    "---\nx: 1\n---\n", "a\n---\nb", "=== user ===", "\\=== user ===\n\\\\=== user ===", "x\n=== system ===\n",
    "=== nobody ===", "{{a}} \\{{b}} {\"c\": {}}", "é 😀 \u2028 \u2029 \x85 \x0b \x0c \x00 \ufeff", "\ufeffbom",
    "<<<<<<< HEAD\na\n=======\nb\n>>>>>>> x\n", "# heading\n\n- a",
]  # fmt: skip


@pytest.mark.parametrize("kind", ["text", "completion", "chat"])
@pytest.mark.parametrize("text", TEXTS)
def test_any_text_comes_back_exactly(prompts: FilePrompts, text: str, kind: Any) -> None:
    """Text comes back from its file to the last character, also where it looks like the file's own marks."""
    turns = [Message("system", ""), Message("user", text), Message("assistant", text + "\n"), Message("user", "")]
    created = prompts.create("p", turns if kind == "chat" else text, kind=kind)
    read = fresh(prompts).get("p")
    assert created == read
    assert (tuple(turns), "") == (read.messages, read.text) if kind == "chat" else text == read.text


AWKWARD = [
    "yes", "null", "1e3", "2026-01-01", "~", "=", "<<", "- a", "a: b", "#", "'", '"', "a\nb\n---\nc", " x ",
    "\x85 \u2028", "\x00", "{{x}}", "!!int 3", "&a", "*a", "%", "",
]  # fmt: skip


@pytest.mark.parametrize("awkward", AWKWARD)
def test_any_header_comes_back_exactly(prompts: FilePrompts, awkward: str) -> None:
    """Message, author and config come back as they were, also where YAML would read something else."""
    config = {"k" + awkward: [awkward, {awkward: awkward}], "n": [1, 0.0, 1e-07, 2**53 - 1, True, None, {}, []]}
    created = prompts.create("p", "x", message=awkward, author=awkward or "A", config=config)
    assert created == fresh(prompts).get("p")
    assert (config, awkward) == (created.config, created.message)


@pytest.mark.parametrize("text", ["a\r\nb\r\n", "a\rb\r", "a\nb\n"])
def test_line_ends_are_unix_ones(prompts: FilePrompts, text: str) -> None:
    """Windows and old Mac line ends become Unix ones, so all three are one version."""
    prompt = prompts.create("p", text)
    chat = prompts.create("q", [{"role": "user", "content": text}])
    assert ("a\nb\n", "a\nb\n") == (prompt.text, chat.messages[0].content)
    assert draft("p", "a\nb\n").digest == prompt.digest


def test_a_file_with_windows_line_ends_is_the_same_version(prompts: FilePrompts) -> None:
    """A checkout that turned line ends into Windows ones, or an editor that put a byte order mark, changes nothing."""
    prompt = prompts.create(
        "p", [Message("user", "a\n\n"), Message("assistant", "b")], message="x\ny", config={"a": "\n"}
    )
    path = prompts.folder / "p" / "1.md"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert prompt == fresh(prompts).get("p")


def test_chat_text_that_is_no_chat() -> None:
    """A chat begins with a role, and only with one that exists."""
    assert (Message("user", ""),) == chat_messages(chat_text([Message("user", "")]))
    with pytest.raises(PromptError, match="begins with 'hello'"):
        chat_messages("hello\n=== user ===\n")
    with pytest.raises(PromptError, match="'=== boss ===' names no role; there are system"):
        chat_messages("=== user ===\n=== boss ===\n")


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (b"", "first line is not '---'"),
        (b"just text\n", "first line is not '---'"),
        (b"---\nkind: text\n", "no closing line"),
        (b"---\nkind: [text\n---\nx\n", "header is not YAML"),
        (b"---\n- a\n---\nx\n", "not a list of fields"),
        (b"---\nkind: poem\n---\nx\n", "kind is 'poem'"),
        (b"---\nkind: text\n---\nx\n", "digest is None"),
        (b"---\nkind: text\ndigest: a\nconfig: 3\n---\nx\n", "config is 3"),
        (b"---\nkind: chat\ndigest: a\n---\nx\n", "begins with 'x'"),
        (b"---\nkind: text\n---\n\xff\n", "not UTF-8"),
        (b"---\nkind: !!python/name:os.system\n---\nx\n", "header is not YAML"),
    ],
)
def test_a_broken_file_is_named(prompts: FilePrompts, broken: bytes, says: str) -> None:
    """A version file that cannot be read is an error with its path, what is wrong and how to restore it."""
    path = prompts.folder / "p" / "1.md"
    path.parent.mkdir(parents=True)
    path.write_bytes(broken)
    with pytest.raises(PromptError, match=re.escape(says)) as caught:
        prompts.get("p")
    assert str(caught.value).startswith(str(path))
    assert "git checkout HEAD -- " in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("warm", "hot"),
        ("kind: text", "kind: completion"),
        ("n: 1", "n: 2"),
        ("warm", "warm "),
        ("n: 1", "n: 2026-01-01"),
    ],
)
def test_a_version_changed_by_hand_is_refused(prompts: FilePrompts, old: str, new: str) -> None:
    """A change of text, kind or config is found, also after the file was read once, and the error says what to do."""
    prompts.create("p", "It is warm.", config={"n": 1})
    assert "It is warm." == prompts.get("p").text
    path = prompts.folder / "p" / "1.md"
    path.write_text(path.read_text().replace(old, new))
    for action in (lambda: prompts.get("p@1"), lambda: prompts.versions("p"), prompts.list):
        with pytest.raises(
            PromptError, match=r"immutable.*adopt\('p@1', message='…'\).*git checkout HEAD -- "
        ) as caught:
            action()
        assert str(path) in str(caught.value)


def test_a_changed_file_can_be_adopted(prompts: FilePrompts) -> None:
    """The text of a changed file becomes a new version, whose parent is the one it was made from."""
    prompts.create("p", "It is warm.")
    path = prompts.folder / "p" / "1.md"
    original = path.read_bytes()
    path.write_text(path.read_text().replace("warm", "hot"))
    adopted = prompts.adopt("p@1", message="hotter")
    path.write_bytes(original)
    assert ("p@2", "It is hot.", "hotter", "p@1") == (adopted.ref, adopted.text, adopted.message, adopted.parent)
    assert ["It is warm.", "It is hot."] == [item.text for item in fresh(prompts).versions("p")]
    with pytest.raises(PromptNotFoundError, match="by its number, such as p@2"):
        prompts.adopt("p")


def test_author_and_message_may_be_corrected_in_the_file(prompts: FilePrompts) -> None:
    """Fields that are not part of a version's identity can be edited."""
    prompts.create("p", "x", message="frist")
    path = prompts.folder / "p" / "1.md"
    path.write_text(path.read_text().replace("frist", "first"))
    assert "first" == prompts.get("p").message


def test_other_files_are_left_alone(prompts: FilePrompts) -> None:
    """Notes, leftovers of a crash and folders without versions are no prompts."""
    prompts.create("p", "x")
    for name in (".0123.tmp", "README.md", "02.md", "2.md.bak", "0.md", "events.jsonl.orig"):
        (prompts.folder / "p" / name).write_text("half a vers")
    (prompts.folder / "empty").mkdir()
    (prompts.folder / ".git").mkdir()
    (prompts.folder / ".git" / "1.md").write_text("x")
    (prompts.folder / "notes.md").write_text("x")
    assert [("p", 1)] == [(item.name, item.version) for item in prompts.list()]
    assert "p@2" == prompts.create("p", "y").ref


def test_a_broken_version_does_not_stop_the_next(prompts: FilePrompts) -> None:
    """A broken file keeps its number, and new versions can still be made."""
    prompts.create("p", "x")
    (prompts.folder / "p" / "2.md").write_text("<<<<<<< HEAD")
    assert "p@3" == prompts.create("p", "y").ref


def test_list_gives_the_latest_of_each_by_name(prompts: FilePrompts) -> None:
    """One version a prompt, the highest, in order of names; numbers are compared as numbers."""
    for number in range(11):
        prompts.create("b", f"text {number}")
    prompts.create("a", "x")
    assert ["a@1", "b@11"] == [item.ref for item in prompts.list()]
    assert [f"b@{number}" for number in range(1, 12)] == [item.ref for item in prompts.versions("b")]
    assert "b@11" == prompts.get("b").ref == prompts.get("b@latest").ref


def test_it_is_a_prompt_reader(prompts: FilePrompts) -> None:
    """Files are one place to read prompts from, and fit the interface."""
    reader: PromptReader = prompts
    assert isinstance(reader, PromptReader)
    assert () == reader.list()


def test_not_found_says_what_there_is(prompts: FilePrompts) -> None:
    """Each kind of not found lists what exists and what was probably meant."""
    with pytest.raises(PromptNotFoundError, match=r"has none yet\. Make it with create\('triage'"):
        prompts.get("triage")
    prompts.create("triage", "x")
    prompts.create("triage", "y")
    prompts.label("triage@1", "stable", reason="r")
    for ref, says in {
        "triag": "Did you mean 'triage'? There are: triage.",
        "Triage": "Did you mean 'triage'?",
        "zzz": "no prompt 'zzz' in",
        "triage@7": "triage has no version 7; it has 1-2.",
        "triage@v2": "Did you mean triage@2?",
        "triage@stabel": "Did you mean 'stable'? There are: stable (1), latest (2); its versions are 1-2.",
    }.items():
        with pytest.raises(PromptNotFoundError, match=re.escape(says)):
            prompts.get(ref)
    with pytest.raises(PromptNotFoundError, match="Did you mean 'triage'"):
        prompts.versions("triages")
    with pytest.raises(PromptNotFoundError, match="Did you mean 'triage'"):
        prompts.labels("triages")


def test_html_is_a_table_with_everything_escaped(prompts: FilePrompts) -> None:
    """A notebook shows name, versions, labels, kind, variables and message; text from people is escaped."""
    assert "no prompts yet" in prompts._repr_html_()
    prompts.create("p", "one {{x}}")
    prompts.create("p", "two {{x}} {{y}}", kind="completion", message="<script>alert(1)</script>")
    prompts.label("p@1", "stable", reason="r")
    prompts.create("q", "fine")
    path = prompts.folder / "q" / "1.md"
    path.write_text(path.read_text().replace("fine", "<b>bad</b>"))
    page = prompts._repr_html_()
    row = "<tr><td>p</td><td>1-2</td><td>stable (1)</td><td>completion</td><td>x, y</td><td>&lt;script&gt;alert(1)"
    assert row in page
    assert "<script>" not in page
    assert "was changed by hand" in page
    assert f"FilePrompts({str(prompts.folder)!r}): p, q" == repr(prompts)


def test_the_manual_shows_a_real_version_file(prompts: FilePrompts) -> None:
    """The file printed in the manual is one that this code reads and whose digest fits."""
    manual = (ROOT / "docs" / "prompts.md").read_text(encoding="utf-8")
    shown = re.search(r"```yaml\n(---\n.*?)```\n", manual, re.DOTALL)
    assert shown is not None
    path = prompts.folder / "sentiment" / "2.md"
    path.parent.mkdir(parents=True)
    path.write_text(shown[1], encoding="utf-8")
    prompt = prompts.get("sentiment")
    assert ("completion", ("message",)) == (prompt.kind, prompt.variables)
    assert prompt.text.endswith("Sentiment:")
