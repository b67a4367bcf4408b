"""What a run asks: one task a row, and what its rows say of their variant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from workbench.evaluation.folder import RunFolder
from workbench.evaluation.plan import Plan, seeded
from workbench.records import Variant

__all__ = ["Arm", "Peekable", "Task"]


class Arm:
    """A variant and what each of its rows says of it, made once."""

    def __init__(self, variant: Variant, plan: Plan, folder: RunFolder) -> None:
        self.variant = variant
        self.label = variant.label
        self.params = [seeded(variant.params, plan.seed + repeat) for repeat in range(plan.repeats)]
        self.row_params = [params.to_mapping() for params in self.params]
        self.row_fields: dict[str, Any] = {
            "prompt_ref": variant.prompt.ref,
            "prompt_digest": variant.prompt.digest,
            "run_id": folder.run_id,
            "variant": self.label,
            "dataset_digest": plan.dataset.digest,
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
