"""The ledger: protected labels, evidence, what is archived, history, search."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.errors import InputError, PromptError, PromptNotFoundError
from workbench.prompts import FilePrompts


@pytest.fixture
def three(prompts: FilePrompts) -> FilePrompts:
    """A prompt with three versions."""
    for text in ("one {{x}}", "two {{x}}", "three <b> {{x}}"):
        prompts.create("p", text, message=f"it says {text[:3]}")
    return prompts


def test_a_protected_label_needs_a_named_reason(three: FilePrompts, clock: Any) -> None:
    """It moves only because of something that has a name, and a comparison needs its id; the trail has both."""
    three.label("p@1", "production", reason="first")
    three.protect("production", reason="customers see it")
    for because, evidence, says in [
        (None, "", "is protected: it is moved to p@2 only for a named reason"),
        ("mood", "", "is no named reason"),
        ("comparison", "", "needs evidence"),
    ]:
        with pytest.raises(PromptError, match=says):
            three.label("p@2", "production", reason="r", because=because, evidence=evidence)
    assert {"production": 1} == three.labels("p")
    three.label("p@2", "production", reason="better", because="comparison", evidence="c41")
    last = FilePrompts(three.folder).events("p")[-1]
    assert ("Ada", "better", 1, 2, "c41", "comparison") == (
        last.by, last.reason, last.came_from, last.to, last.evidence, last.because,
    )  # fmt: skip
    clock.now += 1
    three.protect("production", reason="over", on=False)
    three.label("p@3", "production", reason="no name needed")


def test_a_label_is_taken_off_and_leaves_a_trail(three: FilePrompts, clock: Any) -> None:
    """Who, when, why and from where; afterwards it stands nowhere, and can be put on again as a new one."""
    three.label("p@2", "candidate", reason="try")
    clock.now += 60
    assert 2 == three.unlabel("p", "candidate", reason="the trial is over", by="Bob", evidence="c7")
    read = FilePrompts(three.folder, clock=clock)
    assert {} == read.labels("p")
    assert [(None, 2), (2, None)] == [(event.came_from, event.to) for event in read.events("p")]
    last = [*read.history("p")][-1]
    assert ("unlabel", "candidate off 2", "Bob", "the trial is over", "c7") == (
        last.event, last.what, last.by, last.reason, last.evidence,
    )  # fmt: skip
    with pytest.raises(PromptNotFoundError, match="has no label 'candidate'"):
        read.get("p@candidate")
    assert read.unlabel("p", "candidate", reason="again") is None
    assert 2 == len(read.events("p"))
    clock.now += 60
    read.label("p@3", "candidate", reason="another")
    assert (None, 3) == (read.events("p")[-1].came_from, read.labels("p")["candidate"])


def test_what_is_not_taken_off(three: FilePrompts) -> None:
    """A protected label without a named reason, one of another version, one that never was, or without a reason."""
    three.label("p@2", "production", reason="r")
    three.protect("production", reason="r")
    for ref, label, reason, says in [
        ("p", "production", "r", "is protected: it is taken off only for a named reason"),
        ("p@3", "production", "r", "stands on version 2, not on 3"),
        ("p", "prodution", "r", "no label 'prodution'. Did you mean 'production'"),
        ("p", "production", " ", "say why"),
        ("q", "production", "r", "no prompt 'q'"),
    ]:
        with pytest.raises(PromptError, match=says):
            three.unlabel(ref, label, reason=reason)
    with pytest.raises(PromptError, match="needs evidence"):
        three.unlabel("p", "production", reason="r", because="comparison")
    assert {"production": 2} == three.labels("p")
    assert 2 == three.unlabel("p@production", "production", reason="broken", because="incident")
    assert "production off 2 (because: incident)" == next(
        row.what for row in three.history("p") if row.event == "unlabel"
    )


def test_protection_of_one_prompt_leaves_the_others_free(three: FilePrompts) -> None:
    """A label may be protected in one prompt only."""
    three.create("q", "x")
    three.protect("stable", reason="r", name="p")
    three.label("q", "stable", reason="r")
    with pytest.raises(PromptError, match="protected"):
        three.label("p", "stable", reason="r")
    with pytest.raises(PromptNotFoundError):
        three.protect("stable", reason="r", name="zz")
    with pytest.raises(PromptError, match="say why"):
        three.protect("stable", reason=" ")


def test_what_is_archived_is_out_of_the_way_and_can_be_read(three: FilePrompts, clock: Any) -> None:
    """It is not the latest, not listed and takes no label; by number it is there; restored, all is as before."""
    assert (3,) == three.archive("p@3", reason="typo")
    assert () == three.archive("p@3", reason="again")
    assert ("p@2", ["p@2"]) == (three.get("p").ref, [item.ref for item in three.list()])
    assert "three <b> {{x}}" == three.get("p@3").text
    with pytest.raises(PromptError, match="is archived: restore it"):
        three.label("p@3", "a", reason="r")
    assert (1, 2) == three.archive("p", reason="not used")
    assert () == three.list()
    assert ("p",) == three.names()
    with pytest.raises(PromptNotFoundError, match=r"p is archived: name a version \(1-3\)"):
        three.get("p")
    clock.now += 1
    assert (1, 2, 3) == FilePrompts(three.folder, clock=clock).restore("p", reason="used again")
    assert "p@3" == three.get("p").ref
    assert frozenset() == three.archived("p")


def test_a_version_with_a_protected_label_is_not_archived(three: FilePrompts) -> None:
    """What people are told to rely on does not vanish from the list."""
    three.protect("production", reason="r")
    three.label("p@2", "production", reason="r", because="decision")
    with pytest.raises(PromptError, match="p@2 has the protected label 'production'"):
        three.archive("p", reason="r")
    assert frozenset() == three.archived("p")


def test_history_shows_all_that_happened(three: FilePrompts, clock: Any) -> None:
    """Versions, moves and what was put away, newest first, with who, why and evidence; text from people is escaped."""
    clock.now += 60
    three.label("p@1", "a", reason="<i>try</i>", evidence="c1")
    clock.now += 60
    three.label("p@2", "a", reason="r", because="decision")
    clock.now += 60
    three.protect("a", reason="r")
    clock.now += 60
    three.archive("p@3", reason="typo")
    history = three.history("p")
    assert ["created"] * 3 + ["label", "label", "protect", "archive"] == [row.event for row in history]
    assert ["a to 1 (new)", "a to 2 (from 1, because: decision)"] == [
        row.what for row in history if row.event == "label"
    ]
    assert "2026-11-23 10:01:00  label    a to 1 (new)" in str(history)
    assert str(history).index("typo") < str(history).index("it says one")
    page = history._repr_html_()
    assert "&lt;i&gt;try" in page
    assert "<i>" not in page


def test_search_finds_words_wherever_they_are(three: FilePrompts) -> None:
    """All words must be there, in any case; the newest version comes first; what is archived is left out."""
    three.create("other", [{"role": "user", "content": "TWO birds, three stones"}])
    three.label("p@1", "favourite", reason="r")
    assert ["other@1", "p@2"] == [hit.ref for hit in three.search("two")]
    assert ["other@1"] == [hit.ref for hit in three.search("THREE two")]
    assert [("p@1", "label")] == [(hit.ref, hit.where) for hit in three.search("favou")]
    assert [("p@3", "text, message")] == [(hit.ref, hit.where) for hit in three.search("three <b> says")]
    assert "&lt;b&gt;" in three.search("<b>")._repr_html_()
    three.archive("p@2", reason="r")
    assert ["other@1"] == [hit.ref for hit in three.search("two")]
    assert ["other@1", "p@2"] == [hit.ref for hit in three.search("two", archived=True)]
    assert "No prompt holds 'zzz'." == str(three.search("zzz"))
    with pytest.raises(InputError, match="which words"):
        three.search("  ")
