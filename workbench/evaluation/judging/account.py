"""The judges of one run: what they spend, what another judgement may cost, and whether one is there from before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from workbench.evaluation.judging.asking import total
from workbench.evaluation.judging.kept import Judgements
from workbench.evaluation.judging.load import most_of_judgement
from workbench.evaluation.scorers.judges import Judging
from workbench.evaluation.scorers.scorer import Scorer
from workbench.records import Example, Usage, Variant

__all__ = ["Judges"]

_RESERVE = 2.0  # times the dearest judgement so far, where nothing bounds the next one


class Judges:
    """scorers: of the run, bound. folder: the run's, where judgements are kept. cost(model, usage): dollars."""

    def __init__(self, scorers: Sequence[Scorer], folder: Path, cost: Callable[[str, Usage], float | None]) -> None:
        found = [(scorer.judge, scorer.function) for scorer in scorers]
        self._all = [(load, made) for load, made in found if load is not None and isinstance(made, Judging)]
        self._cost = cost
        self._kept = Judgements(folder) if self._all else None
        for _, made in self._all:
            made.kept = self._kept

    def __bool__(self) -> bool:
        return bool(self._all)

    @property
    def spent(self) -> float | None:
        """Dollars so far, None once a price was unknown."""
        spent: float | None = 0.0
        for _, made in self._all:
            spent = total(spent, made.use.spent)
        return spent

    def most(self, variant: Variant, example: Example) -> float:
        """Dollars that judging one answer costs at most, as far as can be said before."""
        return sum(
            max(
                most_of_judgement(load, made.prompts, variant, example, self._cost) or 0.0,
                made.use.dearest * (1.0 if load.max_tokens and variant.params.max_tokens else _RESERVE),
            )
            for load, made in self._all
        )

    def know(self, text: str, example: Example) -> bool:
        """Whether every judge has judged this answer before, so that scoring it costs nothing."""
        return self._kept is None or all(self._kept.has(made.by, text, example) for _, made in self._all)

    def close(self) -> None:
        """Sync what was judged to disk."""
        if self._kept is not None:
            self._kept.close()
