"""Differences word by word: what they hold, how they look in a shell and as HTML."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.prompts import FilePrompts, PromptDiff, draft
from workbench.prompts.diff import Piece, word_diff

words = st.lists(st.sampled_from(["a", "b ", " ", "\n", "{{x}}", "é.", "c\n", "\r", "d"]), max_size=30).map("".join)


@given(words, words)
def test_both_sides_can_be_had_from_the_pieces(before: str, after: str) -> None:
    """Nothing is lost or invented, whatever the texts."""
    pieces = word_diff(before, after)
    assert before == "".join(piece.text for piece in pieces if piece.kind != "+")
    assert after == "".join(piece.text for piece in pieces if piece.kind != "-")


def test_only_the_words_that_differ_are_marked() -> None:
    """A word, a variable or a sign is one thing; changes with one space between them are one change."""
    pieces = word_diff("Label the message: {{message}}\nsame\n", "Label every single message: {{text}}\nsame\n")
    assert (
        Piece("=", "Label "), Piece("-", "the"), Piece("+", "every single"), Piece("=", " message: "),
        Piece("-", "{{message}}"), Piece("+", "{{text}}"), Piece("=", "\nsame\n"),
    ) == tuple(_merged(pieces))  # fmt: skip


def _merged(pieces: tuple[Piece, ...]) -> list[Piece]:
    out: list[Piece] = []
    for piece in pieces:
        if out and out[-1].kind == piece.kind:
            out[-1] = Piece(piece.kind, out[-1].text + piece.text)
        else:
            out.append(piece)
    return out


def test_in_a_shell(prompts: FilePrompts) -> None:
    """Marks, or colours where they show; what else differs is a table; long equal stretches are cut."""
    prompts.create("p", "Say yes.\n" + "same\n" * 20 + "end")
    prompts.create("p", "Say no.\n" + "same\n" * 20 + "end", config={"params": {"seed": 1}}, message="no\x1b[2J")
    diff = prompts.diff("p@1", "p@2")
    assert diff
    assert "Say [-yes-]{+no+}.\n" in str(diff)
    assert "⋯ " in str(diff)
    assert ("seed", "not set", "1") in diff.rows
    assert "Say \x1b[31;9myes\x1b[0m\x1b[32mno\x1b[0m.\n" in diff.to_text(colour=True)
    assert "\x1b[2J" not in diff.to_text(colour=True)
    same = prompts.diff("p@1", "p@1")
    assert not same
    assert "They are the same." in str(same)


def test_as_html_everything_is_escaped() -> None:
    """What was taken away and what is new is marked; nothing of the texts is read as HTML; a change of spaces shows."""
    diff = PromptDiff(draft("p", "a <script>x</script>  b"), draft("p", "a <img src=x> b\nc"))
    page = diff.to_html()
    assert page.startswith("<!doctype html>")
    assert "<script>" not in page
    assert "<img" not in page
    assert "<del>" in page
    assert "<ins>" in page
    assert "·" in diff._repr_html_() or "⏎" in diff._repr_html_()


@pytest.mark.parametrize("kind", ["text", "completion"])
def test_kinds_and_chats_differ_too(kind: str) -> None:
    """A chat is compared with its roles; a change of kind only has no marked words."""
    chat = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "{{q}}"}]
    other = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "{{q}}"}]
    assert "Be [-kind-]{+brief+}." in str(PromptDiff(draft("p", chat), draft("p", other)))
    diff = PromptDiff(draft("p", "x"), draft("p", "x", kind="completion"))
    assert [("kind", "text", "completion")] == diff.rows
    assert "{+" not in str(diff)
    assert bool(PromptDiff(draft("p", "x"), draft("p", "x", kind=kind))) == (kind != "text")  # type: ignore[arg-type]


def test_a_whole_rewrite_of_a_long_text_is_quick_and_whole() -> None:
    """Beyond some length a changed block is not taken apart into words."""
    before, after = "a b " * 5000, "c d " * 5000
    assert (Piece("-", before), Piece("+", after)) == word_diff(before, after)
