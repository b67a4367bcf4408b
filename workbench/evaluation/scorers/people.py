"""The scorer that is people: what raters said of an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError, did_you_mean
from workbench.evaluation.ratings.identity import answer_id
from workbench.evaluation.ratings.store import RatingStore
from workbench.evaluation.scorers.scorer import Scorer, model_scorer
from workbench.records import Example, Score
from workbench.tables import format_count

if TYPE_CHECKING:
    from workbench.client import Client

__all__ = ["Rated", "ratings"]


class Rated:
    """What people said, by `answer_id` and rater: called with (text, example). without: why an answer has no vote."""

    def __init__(
        self, gains: Mapping[str, Mapping[str, list[float]]], without: str = "nobody has rated this answer"
    ) -> None:
        self._gains = gains
        self._without = without

    def __bool__(self) -> bool:
        return bool(self._gains)

    def by_rater(self, answer: str) -> dict[str, float]:
        """What each rater said of one answer, from 0 to 1: of several pairs that it stood in, the mean."""
        return {rater: sum(votes) / len(votes) for rater, votes in self._gains.get(answer, {}).items()}

    def __call__(self, text: str, example: Example) -> Score:
        """The mean over all votes."""
        found = [gain for votes in self._gains.get(answer_id(example, text), {}).values() for gain in votes]
        if not found:
            return Score(None, self._without)
        return Score(sum(found) / len(found), format_count(len(found), "vote"))


def ratings(question: str, *, raters: Sequence[str] | None = None) -> Scorer:
    """What people said of an answer when they were asked `question` (see `bench.ratings.session`), from 0 to 1: the mean over
    raters.

    raters: only these, by default all. Grades go from 0 (worst) to 1 (best). Of pairs it is the share won against what it was
    shown with, a tie being half: between two variants the difference is the share won less the share lost. What nobody has
    rated is unscored. Votes are read when a comparison begins.
    """
    if not isinstance(question, str) or not question.strip():
        raise InputError(f"ratings: question = {question!r} must be the question that people were asked.")
    if isinstance(raters, str):
        raise InputError(f"ratings: raters = {raters!r} must be a list, such as [{raters!r}].")

    def bind(client: Client) -> Callable[[str, Example], Any]:
        gains: dict[str, dict[str, list[float]]] = {}
        store = RatingStore(client.settings.ratings)
        known = store.questions()
        if question not in known:
            return Rated({}, f"nobody was asked {question!r} yet.{did_you_mean(question, known)}")
        for vote in store.votes(question):
            if raters is not None and vote.rater not in raters:
                continue
            for answer in dict.fromkeys(vote.answers):
                gain = vote.gain(answer)
                if gain is not None:
                    gains.setdefault(answer, {}).setdefault(vote.rater, []).append(gain)
        return Rated(gains)

    options = {"question": question} | ({} if raters is None else {"raters": list(raters)})
    return model_scorer("ratings", bind, options, binary=None)
