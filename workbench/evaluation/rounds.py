"""Which examples to ask next, where a run may end early: in rounds of whole examples, each asked of every variant.

A round holds only examples whose calls the budget can pay for at the highest price they may have, and in a time that they will
take at the pace so far; so it ends on whole pairs, below its budget. Without budget and looks there is one round of all.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from workbench.evaluation.measurements import MISSING, Measurements
from workbench.evaluation.plan import Plan

__all__ = ["Rounds"]

_LOOKS = 20
_FEWEST = 10
_RESERVE = 2.0  # times the dearest call so far, where no max_tokens bounds the next


class Rounds:
    """Hands out rounds; `ended` says why there is no other, if it is the budget.

    ceiling(variant's position, example): dollars that one call costs at most, None if unknown. judging: likewise what judging its
    answer costs. clock: seconds.
    """

    def __init__(
        self,
        plan: Plan,
        numbers: Measurements,
        ceiling: Callable[[int, int], float | None],
        clock: Callable[[], float],
        judging: Callable[[int, int], float] = lambda at, example: 0.0,
    ) -> None:
        self._plan = plan
        self._numbers = numbers
        self._ceiling = ceiling
        self._judging = judging
        self._clock = clock
        self._began = clock()
        self._next = self._asked = 0
        self.order = np.random.default_rng([plan.seed, len(plan.indices)]).permutation(len(plan.indices))
        self.ended: str | None = None

    @property
    def whole(self) -> bool:
        """Whether all examples come in one round, in an order of its own for each model and repeat."""
        return self._plan.budget is None and not self._plan.sequential

    @property
    def done(self) -> np.ndarray:
        """The examples of all rounds so far, in order."""
        return np.asarray(self.order[: self._next])

    @property
    def remaining(self) -> float | None:
        """Seconds until the budget's end, None without one."""
        budget = self._plan.budget
        if budget is None or budget.minutes is None:
            return None
        return budget.minutes * 60 - (self._clock() - self._began)

    def next(self, spent: float | None, workers: int) -> np.ndarray | None:
        """The next round's examples; None if there are none, or none that the budget allows. spent: dollars so far."""
        size = max(_FEWEST, math.ceil(len(self.order) / _LOOKS))
        allowed = self._in_time(size, workers)
        if allowed == 0:
            self._refuse()
            return None
        budget, reserved = self._plan.budget, spent or 0.0
        if spent is None and budget is not None and budget.usd is not None:
            self._refuse(" (the cost of an answer is unknown, so that the rest of it is too)")
            return None
        start, asked = self._next, 0
        dearest = self.dearest() if budget is not None and budget.usd is not None else []
        if dearest and not self._asked:  # warm-ups cost too
            reserved += sum(max(self._ceiling(at, 0) or 0.0, most) for at, most in enumerate(dearest))
        while self._next < len(self.order) and self._next - start < size and asked < allowed:
            example = int(self.order[self._next])
            calls = self._missing(example)
            if calls and budget is not None and budget.usd is not None:
                reserved += sum(
                    (max(self._ceiling(at, example) or 0.0, dearest[at]) + self._judging(at, example)) * n
                    for at, n in calls.items()
                )
                if reserved > budget.usd * (1 + 1e-9):  # a sum of cents
                    break
            asked += bool(calls)
            self._next += 1
        self._asked += asked
        if self._next == start:
            self._refuse()
            return None
        return np.asarray(self.order[start : self._next])

    def _refuse(self, why: str = "") -> None:
        if self._next < len(self.order):
            self.ended = (
                f"ended by its budget of {self._plan.budget} after {self._next:,} of {len(self.order):,} examples{why}"
            )

    def _in_time(self, size: int, workers: int) -> int:
        """How many examples can be asked before the time is up, at the pace so far."""
        left = self.remaining
        if left is None:
            return size
        if not self._asked:
            return min(size, max(1, workers)) if left > 0 else 0
        pace = (self._clock() - self._began) / self._asked
        # half of what is left, so that a slower round still ends in time; one at a time towards the end
        allowed = int(left / 2 / pace) if pace > 0 else size
        return min(size, max(allowed, 1 if left > 2 * pace * max(1, workers) else 0))

    def _missing(self, example: int) -> dict[int, int]:
        """How many answers to it are not there, by the variant's position."""
        got = self._numbers.answers(example)
        return {at: self._plan.repeats - int(count) for at, count in enumerate(got) if count < self._plan.repeats}

    def cut(self) -> None:
        """End before the first example that has not been asked of every variant: the money for it is gone."""
        asked = (self._numbers.state[:, self.order[: self._next]] != MISSING).all(axis=(0, 2))
        self._next = len(asked) if asked.all() else int(asked.argmin())
        self._refuse(" (what was lost with a worker counts)")

    def dearest(self) -> list[float]:
        """By variant, the most that a call has cost, with a reserve where nothing bounds the next one."""
        found = []
        for variant, seen in zip(self._plan.variants, self._numbers.cost, strict=True):
            known = seen[np.isfinite(seen)]
            reserve = _RESERVE if variant.params.max_tokens is None else 1.0
            found.append(float(known.max()) * reserve if len(known) else 0.0)
        return found
