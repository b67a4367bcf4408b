"""Votes on disk: appended, synced, undone, written by many processes, killed, purged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.errors import InputError, RunError
from workbench.evaluation.ratings.scale import scale_of
from workbench.evaluation.ratings.store import RatingStore, Vote

QUESTION = "Is it good?"
WRITER = Path(__file__).parent / "rating_writer.py"


def keep(store: RatingStore, item: str, rater: str = "ana", value: str | None = "pass", call: str = "c") -> Vote:
    """One vote on an answer."""
    score = None if value is None else float(value == "pass")
    return store.vote(
        QUESTION,
        rater=rater,
        item=item,
        answers=(item,),
        value=value,
        score=score,
        example_id=f"e-{item}",
        calls=(call,),
    )


@pytest.fixture
def store(tmp_path: Path) -> RatingStore:
    """An empty store that knows the question."""
    made = RatingStore(tmp_path / "ratings", clock=lambda: 7.0)
    made.ask(QUESTION, scale_of("pass/fail"))
    return made


def test_a_vote_is_read_back_as_it_was_kept(store: RatingStore) -> None:
    """By another store on the same folder too, with every field."""
    kept = keep(store, "x")
    assert [kept] == RatingStore(store.folder).votes(QUESTION)
    assert {QUESTION: scale_of("pass/fail")} == store.questions()
    assert 7.0 == kept.at


def test_half_a_surrogate_pair_in_a_comment_is_no_reason_to_lose_the_vote(store: RatingStore) -> None:
    """A browser's text field may send one; it is no UTF-8."""
    about = {"rater": "ana", "item": "x", "answers": ("x",), "value": "pass", "score": 1.0, "example_id": "e"}
    store.vote(QUESTION, **about, comment="cut \ud83d")
    assert ["cut \ufffd"] == [vote.comment for vote in RatingStore(store.folder).votes(QUESTION)]


def test_each_vote_is_synced_before_it_returns(store: RatingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """One fsync a vote, after its bytes are in the file."""
    sizes: list[int] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        sizes.append(os.fstat(descriptor).st_size)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    keep(store, "x")
    assert [store.path(QUESTION).stat().st_size] == sizes


def test_the_last_vote_of_a_rater_counts_and_an_undo_brings_back_the_one_before(store: RatingStore) -> None:
    """Nothing is rewritten: three events are in the file."""
    first = keep(store, "x", value="fail")
    second = keep(store, "x")
    other = keep(store, "x", rater="bob", value="fail")
    assert [second, other] == store.votes(QUESTION)
    store.undo(QUESTION, second.vote_id)
    assert [first, other] == store.votes(QUESTION)
    assert 5 == len(store.path(QUESTION).read_bytes().splitlines())


def test_a_question_keeps_its_scale(store: RatingStore) -> None:
    """Votes on two scales would not mix; asking again on the same one changes nothing."""
    before = store.path(QUESTION).read_bytes()
    store.ask(QUESTION, scale_of("pass/fail"))
    assert before == store.path(QUESTION).read_bytes()
    with pytest.raises(InputError, match="already asked on the scale pass/fail"):
        store.ask(QUESTION, scale_of("1-5"))
    with pytest.raises(InputError, match="question must be a text"):
        store.ask("  ", scale_of("1-5"))


def test_a_half_written_line_is_passed_over_and_closed_by_the_next_vote(store: RatingStore) -> None:
    """What a killed writer leaves costs no vote before or after it."""
    one = keep(store, "x")
    with store.path(QUESTION).open("ab") as file:
        file.write(b'{"event":"vote","vote_id":"to')
    assert [one] == store.votes(QUESTION)
    two = keep(store, "y")
    assert [one, two] == store.votes(QUESTION)


def test_a_disk_that_takes_only_a_part_leaves_the_file_as_it_was(
    store: RatingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vote is an error and can be given again."""
    keep(store, "x")
    before = store.path(QUESTION).read_bytes()
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:10]))
    with pytest.raises(RunError, match="took only a part of it"):
        keep(store, "y")
    monkeypatch.undo()
    assert before == store.path(QUESTION).read_bytes()
    assert 2 == len([keep(store, "y"), *store.votes(QUESTION)][1:])


def test_writers_at_once_lose_nothing_also_when_one_is_killed(tmp_path: Path) -> None:
    """Three processes, one killed while it votes: whatever was said to be kept is there, and whole."""
    folder = tmp_path / "ratings"
    many = [
        subprocess.Popen([sys.executable, WRITER, folder, name, count], stdout=subprocess.PIPE, text=True)
        for name, count in (("ana", "40"), ("bob", "40"), ("eve", "100000"))
    ]
    victim = many[2]
    assert victim.stdout is not None
    said = [victim.stdout.readline().strip() for _ in range(20)]
    victim.send_signal(signal.SIGKILL)
    for writer in many:
        rest, _ = writer.communicate(timeout=60)
        said += [line for line in rest.splitlines() if line]
    votes = RatingStore(folder).votes(QUESTION)
    items = {vote.item for vote in votes}
    assert set(said) <= items
    assert len(items) <= len(said) + 1  # kept, and killed before it could say so
    assert {"ana": 40, "bob": 40} == {name: sum(v.rater == name for v in votes) for name in ("ana", "bob")}


def test_purge_leaves_no_trace_of_an_example_a_call_or_a_rater(store: RatingStore) -> None:
    """The file holds neither the votes nor what undid them; the rest stays, and so does the question."""
    keep(store, "x", call="secret-call")
    undone = keep(store, "y")
    store.undo(QUESTION, undone.vote_id)
    kept = keep(store, "z")
    keep(store, "z", rater="bob")
    assert 1 == store.purge(calls=["secret-call"])
    assert 2 == store.purge(examples=["e-y"])
    assert 1 == store.purge(rater="bob")
    assert 0 == store.purge(examples=["nobody"])
    assert [kept] == store.votes(QUESTION)
    data = b"".join(path.read_bytes() for path in store.folder.iterdir())
    assert not [word for word in (b"secret-call", b"e-y", b"bob", undone.vote_id.encode()) if word in data]
    with pytest.raises(InputError, match="take lists"):
        store.purge(examples="e-y")


@pytest.mark.parametrize(
    ("name", "values", "scores"),
    [("pass/fail", ["fail", "pass"], [0, 1]), ("1-5", list("12345"), [0, 0.25, 0.5, 0.75, 1]), ("0-3", list("0123"), [0, 1 / 3,
    2 / 3, 1]),
     ("A/B", ["a", "tie", "b"], [1, 0.5, 0])],
)  # fmt: skip
def test_scales(name: str, values: list[str], scores: list[float]) -> None:
    """Choices, their scores, one key each, and what may be said for them."""
    scale = scale_of(name)
    assert values == [choice.value for choice in scale.choices]
    assert pytest.approx(scores) == [choice.score for choice in scale.choices]
    assert len({choice.key for choice in scale.choices}) == len(values)
    assert [scale.choice(c.key) for c in scale.choices] == [scale.choice(c.value.upper()) for c in scale.choices]


@pytest.mark.parametrize("name", ["5-1", "1-10", "good", "", "1-1"])
def test_what_is_no_scale_is_named(name: str) -> None:
    """With those that there are."""
    with pytest.raises(InputError, match="pass/fail"):
        scale_of(name)
    with pytest.raises(InputError, match=r"a vote of 6 is not on the scale 1-5: it has 1, 2, 3, 4, 5"):
        scale_of("1-5").choice(6)
