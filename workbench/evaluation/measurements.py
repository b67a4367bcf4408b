"""The numbers of a run in memory: a few bytes a row, so that 100,000 rows stay small; texts stay in the run's segments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from workbench.records import Usage

__all__ = ["FRESH", "MISSING", "REPLAYED", "Measurements"]

MISSING, FRESH, REPLAYED = 0, 1, 2


class Measurements:
    """Arrays of shape (variants, examples, repeats); NaN where nothing was scored, measured or known.

    state: MISSING, FRESH (measured by this call of the runner) or REPLAYED (measured by an earlier one).
    failed: the call ended in an error. in_flight: calls at once when it was made.
    at: Unix seconds when it was measured. prompt_tokens: those that no cache of the server had.
    """

    def __init__(self, variants: Sequence[str], examples: int, repeats: int, scores: Iterable[str]) -> None:
        shape = (len(variants), examples, repeats)
        self.variants = tuple(variants)
        self._index = {label: position for position, label in enumerate(variants)}
        self.scores = {name: np.full(shape, np.nan) for name in scores}
        self.latency = np.full(shape, np.nan)
        self.first_token = np.full(shape, np.nan)
        self.cost = np.full(shape, np.nan)
        self.prompt_tokens = np.full(shape, np.nan, dtype=np.float32)
        self.output_tokens = np.full(shape, np.nan, dtype=np.float32)
        self.at = np.full(shape, np.nan)
        self.in_flight = np.full(shape, np.nan, dtype=np.float32)
        self.state = np.zeros(shape, dtype=np.uint8)
        self.failed = np.zeros(shape, dtype=bool)

    def add(
        self,
        variant: str,
        example: int,
        repeat: int,
        *,
        state: int,
        at: float,
        scores: Mapping[str, float | None],
        latency: float | None,
        first_token: float | None,
        cost: float | None,
        failed: bool,
        in_flight: int | None = None,
        usage: Usage | None = None,
    ) -> None:
        """Put one row in its place; a later row for the same place replaces it."""
        place = (self._index[variant], example, repeat)
        for name, values in self.scores.items():
            score = scores.get(name)
            values[place] = np.nan if score is None else score
        self.latency[place] = np.nan if latency is None else latency
        self.first_token[place] = np.nan if first_token is None else first_token
        self.cost[place] = np.nan if cost is None else cost
        prompt = (
            None if usage is None or usage.prompt_tokens is None else usage.prompt_tokens - (usage.cached_tokens or 0)
        )
        self.prompt_tokens[place] = np.nan if prompt is None else max(prompt, 0)
        output = None if usage is None else usage.completion_tokens
        self.output_tokens[place] = np.nan if output is None else output
        self.at[place] = at
        self.in_flight[place] = np.nan if in_flight is None else in_flight
        self.state[place] = state
        self.failed[place] = failed

    def has(self, variant: str, example: int, repeat: int) -> bool:
        """Whether this place is measured and need not be asked again; a failed call is asked again."""
        place = (self._index[variant], example, repeat)
        return bool(self.state[place] != MISSING and not self.failed[place])

    def worked_at(self, variants: Sequence[int], examples: np.ndarray, repeat: int) -> np.ndarray:
        """(examples, variants) of True where an answer is there."""
        place = np.ix_(np.asarray(variants), examples, np.asarray([repeat]))
        return np.asarray(((self.state[place] != MISSING) & ~self.failed[place])[:, :, 0].T)

    def of(self, variant: str) -> int:
        """The first axis' position of a variant."""
        return self._index[variant]

    @property
    def worked(self) -> np.ndarray:
        """(variants, examples, repeats) of True where an answer is there."""
        return np.asarray((self.state != MISSING) & ~self.failed)

    @property
    def broken(self) -> np.ndarray:
        """(variants, examples, repeats) of True where a call was made and failed."""
        return np.asarray((self.state != MISSING) & self.failed)

    @property
    def done(self) -> int:
        """Answers that are there; a failed call is none."""
        return int(np.count_nonzero(self.worked))

    @property
    def total(self) -> int:
        """Rows that the plan asks for."""
        return int(self.state.size)

    def answers(self, example: int) -> list[int]:
        """How many answers to this example are there, for each variant."""
        worked = (self.state[:, example] != MISSING) & ~self.failed[:, example]
        return [int(count) for count in worked.sum(axis=1)]

    def concurrency(self, variant: str) -> float | None:
        """How many calls were in flight on average when this variant was measured.

        Of small rounds, as a budget and looks make them, the median jumps between whole numbers for variants asked in turns.
        """
        known = self.in_flight[self.of(variant)]
        known = known[np.isfinite(known)]
        return float(known.mean(dtype=np.float64)) if len(known) else None
