"""What a run asks: one task a row, and what its rows say of their variant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from workbench.evaluation.measurements import Measurements
from workbench.evaluation.plan import Plan, seeded
from workbench.records import Variant

__all__ = ["Arm", "Peekable", "Task", "block_tasks"]

_CHUNK = 512


class Arm:
    """A variant and what each of its rows says of it, made once."""

    def __init__(self, variant: Variant, *, seed: int, repeats: int, run_id: str, dataset_digest: str) -> None:
        self.variant = variant
        self.label = variant.label
        self.params = [seeded(variant.params, seed + repeat) for repeat in range(repeats)]
        self.row_params = [params.to_mapping() for params in self.params]
        self.row_fields: dict[str, Any] = {
            "prompt_ref": variant.prompt.ref,
            "prompt_digest": variant.prompt.digest,
            "run_id": run_id,
            "variant": self.label,
            "dataset_digest": dataset_digest,
        }


class Task(NamedTuple):
    """One row to be measured."""

    arm: Arm
    example: int
    repeat: int
    block: int
    position: int
    warmup: bool = False


class Peekable(Iterator[Task]):
    """An iterator that many workers share and that says, before the first is taken, whether there is anything in it."""

    def __init__(self, items: Iterator[Task]) -> None:
        self._items = items
        self._first = next(items, None)

    def __bool__(self) -> bool:
        return self._first is not None

    def __next__(self) -> Task:
        if self._first is not None:
            item, self._first = self._first, None
            return item
        return next(self._items)


def block_tasks(
    plan: Plan, arms: Sequence[Arm], numbers: Measurements, block: int, among: np.ndarray | None
) -> Iterator[Task]:
    """What is missing of a block (one model's arms), or of a round's examples, in its order: made one by one, so that memory does
    not grow with the rows."""
    at = [numbers.of(arm.label) for arm in arms]
    position = 0
    for repeat in range(plan.repeats):
        rng = np.random.default_rng([plan.seed, block, repeat])
        examples = rng.permutation(len(plan.indices)) if among is None else among
        # for each example its own random order of the prompts
        orders = rng.permuted(np.tile(np.arange(len(arms), dtype=np.uint8), (len(examples), 1)), axis=1)
        for start in range(0, len(examples), _CHUNK):
            chunk = examples[start : start + _CHUNK]
            there = numbers.worked_at(at, chunk, repeat)
            for example, order, done in zip(
                chunk.tolist(), orders[start : start + _CHUNK].tolist(), there.tolist(), strict=True
            ):
                for which in order:
                    if not done[which]:
                        yield Task(arms[which], example, repeat, block, position)
                    position += 1
