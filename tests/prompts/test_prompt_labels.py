"""Labels: moves, the trail that they leave, and a trail that git or a crash has been at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from workbench.errors import PromptError, PromptNotFoundError
from workbench.prompts import FilePrompts


def fresh(prompts: FilePrompts) -> FilePrompts:
    """The same folder, read anew."""
    return FilePrompts(prompts.folder)


def files(prompts: FilePrompts, name: str) -> list[str]:
    return sorted(path.name for path in (prompts.folder / name).iterdir())


def test_labels_move_and_leave_a_trail(prompts: FilePrompts, clock: Any) -> None:
    """A label stands on one version; each move says who, when, why, from and to, on one more line of the file."""
    prompts.create("p", "one")
    prompts.create("p", "two")
    assert {} == prompts.labels("p")
    assert "p@2" == prompts.label("p", "candidate", reason="try it").ref
    path = prompts.folder / "p" / "events.jsonl"
    before = path.read_bytes()
    clock.now += 1.5
    assert "p@1" == prompts.label("p@1", "candidate", reason="é: slower", by="Bob").ref
    prompts.label("p@candidate", "stable", reason="same")
    assert {"candidate": 1, "stable": 1} == fresh(prompts).labels("p")
    assert ("p@1", "one") == (prompts.get("p@candidate").ref, prompts.get("p@stable").text)
    assert path.read_bytes().startswith(before)
    expected = {
        "at": "2026-11-23T10:00:01.500000+00:00", "event": "label", "label": "candidate", "from": 2, "to": 1,
        "digest": prompts.get("p@1").digest[:16], "by": "Bob", "reason": "é: slower",
    }  # fmt: skip
    assert expected == json.loads(path.read_text(encoding="utf-8").splitlines()[1])
    assert [(None, 2, "Ada"), (2, 1, "Bob"), (None, 1, "Ada")] == [
        (e.came_from, e.to, e.by) for e in prompts.events("p")
    ]


def test_labelling_again_writes_nothing(prompts: FilePrompts) -> None:
    """A label that stands there already is not written again, so a cell can be run again."""
    prompts.create("p", "one")
    prompts.label("p", "a", reason="r")
    prompts.label("p@1", "a", reason="another")
    assert 1 == len(prompts.events("p"))


def test_what_cannot_be_labelled(prompts: FilePrompts) -> None:
    """Without a reason, with a label that is none, or on a version that does not exist, nothing is written."""
    prompts.create("p", "one")
    for ref, label, reason, says in [
        ("p", "a", " ", "say why"),
        ("p", "latest", "r", "built in"),
        ("p", "3", "r", "more than digits"),
        ("p@2", "a", "r", "no version 2"),
    ]:
        with pytest.raises(PromptError, match=says):
            prompts.label(ref, label, reason=reason)
    assert ["1.md"] == files(prompts, "p")


def test_a_move_counts_though_the_clock_lags(prompts: FilePrompts, clock: Any) -> None:
    """A move after one from a machine whose clock is ahead still is the last."""
    prompts.create("p", "one")
    prompts.create("p", "two")
    prompts.label("p@1", "a", reason="r")
    clock.now -= 3600
    prompts.label("p@2", "a", reason="r")
    assert {"a": 2} == fresh(prompts).labels("p")


def test_events_count_by_time_where_a_merge_mixed_lines(prompts: FilePrompts, clock: Any) -> None:
    """The later move wins wherever git put its line."""
    prompts.create("p", "one")
    prompts.create("p", "two")
    prompts.label("p@1", "a", reason="r")
    clock.now += 60
    prompts.label("p@2", "a", reason="r")
    path = prompts.folder / "p" / "events.jsonl"
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    assert {"a": 2} == prompts.labels("p")


def test_a_line_cut_off_by_a_crash_does_not_count(prompts: FilePrompts) -> None:
    """Half a line was never confirmed: it is left out, and the next event starts a line of its own."""
    prompts.create("p", "one")
    prompts.create("p", "two")
    prompts.label("p@1", "a", reason="r")
    path = prompts.folder / "p" / "events.jsonl"
    path.write_bytes(path.read_bytes() + b'{"at": "2026-11-23T10:00:01')
    assert {"a": 1} == prompts.labels("p")
    prompts.label("p@2", "a", reason="r")
    assert {"a": 2} == prompts.labels("p")


@pytest.mark.parametrize("line", ["<<<<<<< HEAD", "{}", '{"event": "label", "to": "x"}', "[]", "nonsense"])
def test_a_broken_line_is_named(prompts: FilePrompts, line: str) -> None:
    """A line that is no event is an error with path and line number, not a label lost in silence."""
    prompts.create("p", "one")
    prompts.label("p", "a", reason="r")
    path = prompts.folder / "p" / "events.jsonl"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(PromptError, match="line 2, is no event") as caught:
        prompts.get("p@a")
    assert str(path) in str(caught.value)


def test_other_kinds_of_events_are_skipped(prompts: FilePrompts) -> None:
    """A trail written by a newer release can be read."""
    prompts.create("p", "one")
    (prompts.folder / "p" / "events.jsonl").write_text('{"event": "archived", "at": "x"}\n\n')
    assert {} == prompts.labels("p")


def test_a_label_on_a_version_that_is_gone(prompts: FilePrompts) -> None:
    """A label whose version's file was deleted says so."""
    prompts.create("p", "one")
    prompts.create("p", "two")
    prompts.label("p@1", "a", reason="r")
    (prompts.folder / "p" / "1.md").unlink()
    with pytest.raises(PromptNotFoundError, match="stands on version 1, whose file is gone; there are 2"):
        prompts.get("p@a")


def test_a_label_stands_on_the_text_that_was_labelled_whatever_its_number_is_here(tmp_path: Path) -> None:
    """Two branches made version 2 and labelled it; the file of one was kept, the events of both. No label moves by a merge."""
    ours, theirs = FilePrompts(tmp_path / "ours", author="Ada"), FilePrompts(tmp_path / "theirs", author="Bob")
    for prompts in (ours, theirs):
        prompts.create("triage", "First {{message}}")
    ours.create("triage", "Ours {{message}}")
    ours.label("triage@2", "candidate", reason="mine")
    theirs.create("triage", "Theirs {{message}}")
    theirs.protect("production", reason="customers see it")
    theirs.label("triage@2", "production", reason="better", because="comparison", evidence="run 1")
    with (ours.folder / "triage" / "events.jsonl").open("ab") as file:
        file.write((theirs.folder / "triage" / "events.jsonl").read_bytes())
    (ours.folder / "events.jsonl").write_bytes((theirs.folder / "events.jsonl").read_bytes())
    merged = FilePrompts(ours.folder, author="Ada")
    assert {"candidate": 2} == merged.labels("triage")
    with pytest.raises(
        PromptNotFoundError, match="was version 2 on another branch, and version 2 is another text here"
    ):
        merged.get("triage@production")
    with pytest.raises(PromptError, match="'production' is protected"):
        merged.label("triage@2", "production", reason="it stands there anyway")
    merged.create("triage", "Theirs {{message}}")
    assert "triage@3" == merged.get("triage@production").ref
    assert {"candidate": 2, "production": 3} == merged.labels("triage")
    assert 3 == merged.unlabel("triage", "production", reason="over", because="decision")


def test_what_was_archived_is_the_text_whatever_its_number_is_here(tmp_path: Path) -> None:
    """Two branches made version 2; one archived its own. After the merge kept the other's file, that one is not put away."""
    ours, theirs = FilePrompts(tmp_path / "ours", author="Ada"), FilePrompts(tmp_path / "theirs", author="Bob")
    for prompts, text in ((ours, "Ours"), (theirs, "Theirs")):
        prompts.create("triage", "First {{message}}")
        prompts.create("triage", f"{text} {{{{message}}}}")
    assert (2,) == theirs.archive("triage@2", reason="worse")
    (ours.folder / "triage" / "events.jsonl").write_bytes((theirs.folder / "triage" / "events.jsonl").read_bytes())
    merged = FilePrompts(ours.folder, author="Ada")
    assert frozenset() == merged.archived("triage")
    assert "triage@2" == merged.get("triage").ref
    merged.create("triage", "Theirs {{message}}")
    assert {3} == merged.archived("triage")
    assert "triage@2" == merged.get("triage").ref
    assert (3,) == merged.restore("triage@3", reason="better after all")
    assert frozenset() == merged.archived("triage")
