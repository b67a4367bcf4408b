"""Where votes are kept: one file of JSON lines a question, to which events are appended and synced to disk one by one.

A vote is on disk when `vote` returns, and any number of processes may write: see `running.events`. An undo is an event too, so
that nothing is rewritten; only `purge` rewrites, since what is purged must be gone.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import InputError
from workbench.evaluation.ratings.scale import Scale, scale_of
from workbench.running import events

__all__ = ["RatingStore", "Vote"]


@dataclass(frozen=True, slots=True)
class Vote:
    """One vote that counts. item: what was rated (an answer, or a pair). answers: it, or the pair in the order shown. value: the
    choice, None for skipped. score: of the first answer, from 0 to 1. calls: the call_ids of what was rated. at: Unix seconds.
    by_itself: made for two equal answers, a tie that nobody need look at."""

    vote_id: str
    rater: str
    item: str
    answers: tuple[str, ...]
    value: str | None
    score: float | None
    example_id: str
    calls: tuple[str, ...]
    at: float
    comment: str = ""
    by_itself: bool = False

    def gain(self, answer: str) -> float | None:
        """What it gives one answer, from 0 to 1; None if it was skipped or is about others."""
        if self.score is None or answer not in self.answers:
            return None
        return self.score if answer == self.answers[0] else 1 - self.score


class RatingStore:
    """All votes below one folder. clock: Unix seconds."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self._clock = clock

    # -- questions ------------------------------------------------------------------------------------------------

    def questions(self) -> dict[str, Scale]:
        """Every question that was asked, with its scale."""
        found = {}
        for path in sorted(self.folder.glob("*.jsonl")):
            head = next(events.read(path), None)
            if head is not None and head.get("event") == "question":
                found[str(head["question"])] = scale_of(str(head["scale"]))
        return found

    def ask(self, question: str, scale: Scale) -> None:
        """Make sure that the question is there with this scale. InputError if it was asked with another."""
        if not question.strip():
            raise InputError(
                "question must be a text that tells people what to rate, such as 'Is the answer helpful?'."
            )
        path = self.path(question)
        with events.locked(self._lock, "vote"):
            known = self.questions().get(question)
            if known is None:
                events.append(
                    path, {"event": "question", "question": question, "scale": scale.name, "at": self._clock()}
                )
            elif known.name != scale.name:
                raise InputError(
                    f"{question!r} was already asked on the scale {known.name}: votes on {scale.name} would not mix with those. "
                    "Keep the scale, or word the question differently."
                )

    def path(self, question: str) -> Path:
        """The question's file."""
        words = re.sub(r"[^a-z0-9]+", "-", question.lower()).strip("-")[:40].strip("-")
        return self.folder / f"{words or 'question'}-{hashlib.sha256(question.encode()).hexdigest()[:8]}.jsonl"

    # -- votes ----------------------------------------------------------------------------------------------------

    def vote(
        self,
        question: str,
        *,
        rater: str,
        item: str,
        answers: tuple[str, ...],
        value: str | None,
        score: float | None,
        example_id: str,
        calls: tuple[str, ...] = (),
        comment: str = "",
        by_itself: bool = False,
    ) -> Vote:
        """Keep one vote; it is on disk when this returns. A rater's later vote on the same item replaces the earlier. RunError
        if the disk does not take it."""
        vote = Vote(
            secrets.token_hex(8),
            rater,
            item,
            answers,
            value,
            score,
            example_id,
            calls,
            self._clock(),
            comment,
            by_itself,
        )
        with events.locked(self._lock, "vote"):
            events.append(
                self.path(question), {"event": "vote", **{name: getattr(vote, name) for name in Vote.__slots__}}
            )
        return vote

    def undo(self, question: str, vote_id: str) -> None:
        """Take a vote back; an earlier one of the same rater on the same item counts again."""
        with events.locked(self._lock, "vote"):
            events.append(self.path(question), {"event": "undo", "vote_id": vote_id, "at": self._clock()})

    def votes(self, question: str) -> list[Vote]:
        """The votes that count, oldest first: not undone, and of one rater on one item the last."""
        kept: dict[str, Vote] = {}
        for event in events.read(self.path(question)):
            if event.get("event") == "vote":
                with suppress(KeyError, TypeError):  # what another version wrote, or nobody
                    vote = Vote(**{name: event[name] for name in Vote.__slots__})
                    vote = _tuples(vote)
                    kept[vote.vote_id] = vote
            elif event.get("event") == "undo":
                kept.pop(event.get("vote_id", ""), None)
        last: dict[tuple[str, str], Vote] = {}
        for vote in kept.values():
            last.pop((vote.rater, vote.item), None)  # so that the order is that of the votes that count
            last[vote.rater, vote.item] = vote
        return list(last.values())

    def stamp(self, question: str) -> tuple[int, int, int]:
        """Another one after every change."""
        return events.stamp(self.path(question))

    def purge(
        self,
        *,
        examples: Collection[str] = (),
        calls: Collection[str] = (),
        rater: str | None = None,
        dry_run: bool = False,
    ) -> int:
        """Remove every vote on these examples (ids) or calls (call_ids), or by this rater, for good. Returns how many events
        went; dry_run: would go."""
        if isinstance(examples, str) or isinstance(calls, str):
            raise InputError("examples= and calls= take lists, such as examples=['m1'].")
        gone = 0
        with events.locked(self._lock, "vote"):
            for path in sorted(self.folder.glob("*.jsonl")):
                kept, removed = [], set()
                before = 0
                for event in events.read(path):
                    before += 1
                    if event.get("event") == "vote" and (
                        event.get("example_id") in examples
                        or (rater is not None and event.get("rater") == rater)
                        or any(call in calls for call in event.get("calls", ()))
                    ):
                        removed.add(event.get("vote_id"))
                    elif not (event.get("event") == "undo" and event.get("vote_id") in removed):
                        kept.append(event)
                if removed:
                    gone += before - len(kept)
                    if not dry_run:
                        events.replace(path, kept)
        return gone

    @property
    def _lock(self) -> Path:
        return self.folder / ".lock"


def _tuples(vote: Vote) -> Vote:
    """With the lists of JSON as tuples again."""
    values = {name: getattr(vote, name) for name in Vote.__slots__}
    return Vote(**values | {"answers": tuple(vote.answers), "calls": tuple(vote.calls)})
