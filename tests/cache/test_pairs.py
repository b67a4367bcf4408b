"""Pairs of questions as files of JSON lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.cache.pairs import Pair, read_pairs, write_pairs
from workbench.errors import DatasetError

FULL = Pair("Ünder?", "Über?", False, 0.875, "numbers: 2 against 3", "helpdesk@2", "yes\nno", "no")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "pairs.jsonl"


def test_pairs_come_back_equal(written: Path) -> None:
    """What was written is read in the same order; `same` is in each line, to be filled in there."""
    pairs = [FULL, Pair("a", "b"), Pair("c", "d", True)]
    assert written == write_pairs(written, pairs)
    assert pairs == read_pairs(written)
    lines = [json.loads(line) for line in written.read_text("utf-8").splitlines()]
    assert {"asked": "a", "cached": "b", "same": None} == lines[1]
    assert [written] == [*written.parent.iterdir()]


def test_other_fields_and_empty_lines_are_ignored(written: Path) -> None:
    """A file of somebody else's making, with a byte order mark, Windows' line ends, nulls and more fields."""
    written.write_bytes(
        b'\xef\xbb\xbf{"asked": "a", "cached": "b", "same": true, "kind": "plain", "prompt": null}\r\n\r\n'
        b'{"cached": "d", "asked": "c", "cosine": 1}\r\n'
    )
    assert [Pair("a", "b", True), Pair("c", "d", cosine=1)] == read_pairs(written)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"asked": "a"}', "pairs.jsonl:2: the field 'cached' is missing; there is: asked. Write {"),
        ('{"asked": "a", "cached": " "}', "pairs.jsonl:2: cached = ' ' must be a question."),
        ('{"asked": 3, "cached": "b"}', "pairs.jsonl:2: asked = 3 must be a text, in quotes."),
        ('{"asked": "a", "cached": "b", "same": "yes"}', "same = 'yes' must be true or false, without quotes, or null"),
        ('{"asked": "a", "cached": "b", "same": 1}', "same = 1 must be true or false"),
        ('{"asked": "a", "cached": "b", "cosine": 97}', "cosine = 97 must be a number from -1 to 1. Leave it out"),
        ('{"asked": "a", "cached": "b", "cosine": true}', "cosine = True must be a number"),
        ('{"asked": "a", "cached": "b", "prompt": ["x"]}', "prompt = ['x'] must be a text"),
        ('["a", "b"]', "pairs.jsonl:2: ['a', 'b'] must be an object."),
        ("asked,cached", "pairs.jsonl:2: this is no JSON"),
    ],
)
def test_a_wrong_line_is_named(written: Path, line: str, said: str) -> None:
    """The error says file, line, field and value, and what to write there."""
    written.write_text('{"asked": "a", "cached": "b"}\n' + line + "\n")
    with pytest.raises(DatasetError) as caught:
        read_pairs(written)
    assert said in str(caught.value)


def test_a_path_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """Reading what is not there, and writing where nothing can be."""
    with pytest.raises(DatasetError, match=r"none\.jsonl cannot be read: No such file"):
        read_pairs(tmp_path / "none.jsonl")
    with pytest.raises(DatasetError, match=r"p\.jsonl cannot be written: No such file or directory"):
        write_pairs(tmp_path / "not there" / "p.jsonl", [FULL])


@pytest.mark.parametrize(
    ("pair", "label"),
    [
        (Pair("a", "b"), None),
        (Pair("a", "b", asked_answer="Yes,  of course.", cached_answer=" yes, of\ncourse. "), True),
        (Pair("a", "b", asked_answer="Yes.", cached_answer="No."), None),
        (Pair("a", "b", asked_answer=" ", cached_answer=""), None),
        (Pair("a", "b", asked_answer="Yes."), None),
        (Pair("a", "b", False, asked_answer="Yes.", cached_answer="Yes."), False),
    ],
)
def test_equal_answers_label_a_pair(pair: Pair, label: bool | None) -> None:
    """If nobody has said, equal answers mean the same; different ones mean nothing, for a model words things differently."""
    assert label is pair.label


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
anything = st.builds(
    Pair, texts, texts, st.none() | st.booleans(), st.none() | st.floats(-1, 1), st.none() | texts, texts, st.none() | texts,
    st.none() | texts,
)  # fmt: skip


@given(pairs=st.lists(anything, max_size=5))
def test_any_pairs_come_back(pairs: list[Pair], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever the texts hold: line ends of every kind, quotes, other scripts."""
    assert pairs == read_pairs(write_pairs(tmp_path_factory.getbasetemp() / "any.jsonl", pairs))
