"""`bench.ratings`: people rate answers blind; their votes are scores like any other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import InputError, did_you_mean
from workbench.evaluation.ratings.agreement import Agreement, agreement_of
from workbench.evaluation.ratings.answered import Answered
from workbench.evaluation.ratings.items import items_of
from workbench.evaluation.ratings.scale import Scale, scale_of
from workbench.evaluation.ratings.session import RatingSession
from workbench.evaluation.ratings.store import RatingStore
from workbench.evaluation.runs import Runs

if TYPE_CHECKING:
    import pandas as pd

    from workbench.evaluation.comparison import Comparison

__all__ = ["Ratings", "known_question"]


class Ratings:
    """The ratings of one workbench home. runs: its kept comparisons. make_home: called before the first vote is kept."""

    def __init__(self, folder: Path, runs: Runs, make_home: Callable[[], None] = lambda: None) -> None:
        self.store = RatingStore(folder)
        self._runs = runs
        self._make_home = make_home

    def session(
        self,
        result: Comparison | str,
        *,
        rater: str,
        question: str,
        scale: str | Scale = "pass/fail",
        variants: Sequence[str] | None = None,
        examples: int | None = 100,
        reference: bool = False,
        seed: int = 0,
    ) -> RatingSession:
        """What `rater` is to rate of a comparison's answers, from where they stopped: blind, and in an order of their own.

        result: what `compare` returned, or the id of a run that is kept, or its beginning (see `bench.runs.list()`).
        question: what people are asked, such as "Is the answer helpful?"; its votes are kept under this text. scale: "pass/fail",
        grades such as "1-5", or "pairwise" (which of two answers is better, or tie). examples: how many, drawn at random and
        the same for all raters; None is all. variants: which (labels or prompt references), by default all; pairs are of two.
        reference: whether the expected answer is shown. The same answer from two variants is rated once; two equal answers of a
        pair tie by themselves.
        """
        if examples is not None and (isinstance(examples, bool) or not isinstance(examples, int) or examples < 1):
            raise InputError(f"examples = {examples!r} must be a whole number of 1 or more, or None for all.")
        found = scale_of(scale)
        if isinstance(result, str):
            run = self._runs.get(result)
            answered = Answered.of_kept(run, self._runs.dataset(run))
        else:
            answered = Answered.of(result)
        self._make_home()
        items = items_of(
            answered, rater=rater.strip(), pairwise=found.pairwise, variants=variants, examples=examples, seed=seed
        )
        return RatingSession(self.store, question, found, items, rater, reference=reference)

    def questions(self) -> pd.DataFrame:
        """One row a question: question, scale, raters, votes, items (rated by anyone)."""
        import pandas as pd

        rows = []
        for question, scale in self.store.questions().items():
            votes = [vote for vote in self.store.votes(question) if vote.value is not None]
            raters = sorted({vote.rater for vote in votes})
            items = len({vote.item for vote in votes})
            rows.append((question, scale.name, ", ".join(raters), len(votes), items))
        return pd.DataFrame(rows, columns=["question", "scale", "raters", "votes", "items"])

    def votes(self, question: str) -> pd.DataFrame:
        """One row a vote that counts, oldest first: rater, example, value (None: skipped), score, comment, at (UTC), item,
        calls."""
        import pandas as pd

        known_question(self.store, question)
        rows = [
            (
                v.rater,
                v.example_id,
                v.value,
                v.score,
                v.comment,
                datetime.fromtimestamp(v.at, UTC),
                v.item,
                list(v.calls),
            )
            for v in self.store.votes(question)
        ]
        return pd.DataFrame(rows, columns=["rater", "example", "value", "score", "comment", "at", "item", "calls"])

    def agreement(self, question: str) -> Agreement:
        """How far the raters of a question agree: Cohen's kappa of two, Krippendorff's alpha of more."""
        return agreement_of(self.store.votes(question), known_question(self.store, question))

    def purge(
        self,
        *,
        examples: Collection[str] = (),
        calls: Collection[str] = (),
        rater: str | None = None,
        dry_run: bool = False,
    ) -> int:
        """Remove every vote on these examples (ids) or calls (call_ids), or of a rater, for good. Returns how many events
        went; dry_run: would go."""
        return self.store.purge(examples=examples, calls=calls, rater=rater, dry_run=dry_run)


def known_question(store: RatingStore, question: str) -> Scale:
    """Its scale. InputError, with the nearest one, if nobody was asked it."""
    known = store.questions()
    if question not in known:
        meant = did_you_mean(question, known) or f" Asked were: {'; '.join(known) or 'none'}."
        raise InputError(
            f"nobody was asked {question!r}.{meant} bench.ratings.session(result, rater=…, question=…) begins one."
        )
    return known[question]
