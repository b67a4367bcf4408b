"""One rater's way through a question: what is next, a vote, an undo, how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from workbench.errors import InputError
from workbench.evaluation.ratings.agreement import Agreement, agreement_of
from workbench.evaluation.ratings.items import Item
from workbench.evaluation.ratings.scale import Scale
from workbench.evaluation.ratings.store import RatingStore, Vote
from workbench.tables import clean_text

__all__ = ["Card", "RatingProgress", "RatingSession"]


class RatingProgress(NamedTuple):
    """rated, skipped: items with this rater's vote, or passed over. total: all of them."""

    rated: int
    skipped: int
    total: int

    @property
    def left(self) -> int:
        """Items that wait."""
        return self.total - self.rated - self.skipped

    def __str__(self) -> str:
        skipped = f", {self.skipped:,} skipped" if self.skipped else ""
        return f"{self.rated:,} of {self.total:,} rated{skipped}"


@dataclass(frozen=True, slots=True)
class Card:
    """What a rater may see of the item at hand, and nothing else. card_id: to vote on exactly this."""

    card_id: str
    inputs: tuple[tuple[str, str], ...]
    context: str
    expected: str
    answers: tuple[str, ...]


class RatingSession:
    """Rate item after item. Each vote is on disk when `vote` returns; a session made again goes on where the rater stopped.

    question, scale, rater: of all its votes. `bench.show(session)` draws it for the keyboard.
    """

    def __init__(
        self,
        store: RatingStore,
        question: str,
        scale: Scale,
        items: Sequence[Item],
        rater: str,
        *,
        reference: bool = False,
    ) -> None:
        if not rater.strip():
            raise InputError("rater must be a name: whose votes these are.")
        store.ask(question, scale)
        self.question, self.scale, self.rater = question, scale, rater.strip()
        self._store, self._reference = store, reference
        self._items = list(items)
        self._by_id = {item.item_id: item for item in self._items}
        self._stamp: tuple[int, int, int] | None = None
        self._votes: list[Vote] = []
        self._mine: dict[str, Vote] = {}
        self._pass_equal()

    def _read(self) -> dict[str, Vote]:
        """This rater's votes on this session's items, oldest first; other processes' too."""
        stamp = self._store.stamp(self.question)
        if stamp != self._stamp:
            self._stamp, self._votes = stamp, self._store.votes(self.question)
            self._mine = {v.item: v for v in self._votes if v.rater == self.rater and v.item in self._by_id}
        return self._mine

    def _pass_equal(self) -> None:
        """Keep the ties that need no look, as far as this rater has come: not before, or ties were rated more often than the
        rest."""
        while (item := self._item()) is not None and item.equal:
            self._keep(item, "tie", 0.5, by_itself=True)

    def _item(self) -> Item | None:
        mine = self._read()
        return next((item for item in self._items if item.item_id not in mine), None)

    @property
    def current(self) -> Card | None:
        """What is to be rated now; None when all is."""
        item = self._item()
        if item is None:
            return None
        expected = item.expected if self._reference else ""
        return Card(item.item_id, tuple(item.inputs.items()), item.context, expected, item.texts)

    @property
    def progress(self) -> RatingProgress:
        """How far this rater is."""
        mine = self._read().values()
        skipped = sum(vote.value is None for vote in mine)
        return RatingProgress(len(mine) - skipped, skipped, len(self._items))

    def vote(self, value: object, *, card: str | None = None, comment: str = "") -> Card | None:
        """Keep a vote on the current item (a choice's value or key) and return the next one.

        card: the card_id that was seen; a vote on one that is no longer current, as by a key pressed twice, is not kept.
        Raises InputError for what is not on the scale or if nothing is left, RunError if the disk does not take it.
        """
        choice = self.scale.choice(value)
        return self._answer(choice.value, choice.score, card, comment)

    def skip(self, *, card: str | None = None, comment: str = "") -> Card | None:
        """Pass the current item over: it stays unscored and is not asked again."""
        return self._answer(None, None, card, comment)

    def _answer(self, value: str | None, score: float | None, card: str | None, comment: str) -> Card | None:
        item = self._item()
        if card is not None and (item is None or item.item_id != card):
            return self.current
        if item is None:
            raise InputError(
                f"{self.rater} has rated all {len(self._items):,} items of this question: undo() takes the last back."
            )
        self._keep(item, value, score, comment)
        self._pass_equal()
        return self.current

    def _keep(
        self, item: Item, value: str | None, score: float | None, comment: str = "", *, by_itself: bool = False
    ) -> None:
        self._store.vote(
            self.question, rater=self.rater, item=item.item_id, answers=item.answers, value=value, score=score,
            example_id=item.example_id, calls=item.calls, comment=comment, by_itself=by_itself,
        )  # fmt: skip

    def undo(self) -> Card | None:
        """Take this rater's last vote back and return its item, which is the current one again; without any, nothing changes."""
        mine = [vote for vote in self._read().values() if not vote.by_itself]
        if mine:
            last = mine[-1]
            self._store.undo(self.question, last.vote_id)
            # it comes first again, wherever it stood
            item = self._by_id[last.item]
            self._items.remove(item)
            self._items.insert(0, item)
        return self.current

    def agreement(self) -> Agreement:
        """How far all raters of this question agree, on the items of this session."""
        self._read()
        return agreement_of([vote for vote in self._votes if vote.item in self._by_id], self.scale)

    def __repr__(self) -> str:
        return clean_text(f"{self.rater}: {self.progress} on the scale {self.scale.name}: {self.question}")
