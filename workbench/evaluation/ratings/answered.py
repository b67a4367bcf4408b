"""A run's answers as people rate them: from a comparison at hand, or from a run that is kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.evaluation.datasets import Dataset
from workbench.evaluation.folder import RunFolder, describe
from workbench.evaluation.runs import KeptRun
from workbench.records import Example

if TYPE_CHECKING:
    from workbench.evaluation.comparison import Comparison

__all__ = ["Answered"]


@dataclass(frozen=True, slots=True)
class Answered:
    """references: the prompt of each variant, by label. control: a label. count: examples of the run. find: by position, the
    examples with these ids."""

    folder: RunFolder
    references: Mapping[str, str]
    control: str
    count: int
    find: Callable[[Mapping[int, str]], Mapping[int, Example]]

    @classmethod
    def of(cls, result: Comparison) -> Answered:
        """Of a comparison."""
        plan = result.run.plan

        def find(wanted: Mapping[int, str]) -> Mapping[int, Example]:
            return {at: plan.dataset[int(plan.indices[at])] for at in wanted}

        return cls._made(KeptRun(result.run.folder, describe(plan)), find)

    @classmethod
    def of_kept(cls, run: KeptRun, data: Dataset) -> Answered:
        """Of a run that is kept. data: the data set it was made on."""

        def find(wanted: Mapping[int, str]) -> Mapping[int, Example]:
            ids = set(wanted.values())
            known = {example.id: example for example in data if example.id in ids}
            return {at: known[name] for at, name in wanted.items() if name in known}

        return cls._made(run, find)

    @classmethod
    def _made(cls, run: KeptRun, find: Callable[[Mapping[int, str]], Mapping[int, Example]]) -> Answered:
        prompts = {variant["label"]: variant["prompt"] for variant in run.plan["variants"]}
        references = {label: f"{prompt['name']}@{prompt['version']}" for label, prompt in prompts.items()}
        return cls(run.folder, references, run.plan["control"], run.plan["examples"], find)

    def by_all(self, labels: Sequence[str]) -> np.ndarray:
        """Positions of the examples that each of these variants answered, ascending."""
        there = np.zeros((len(labels), self.count), dtype=bool)
        for row in self.folder.rows():
            if row["error"] is None and not row["warmup"] and row["variant"] in labels:
                there[labels.index(row["variant"]), row["example"]] = True
        return np.flatnonzero(there.all(axis=0))

    def answers(self, labels: Collection[str], examples: Collection[int]) -> dict[tuple[int, str], dict[str, Any]]:
        """By position and label, the row of the answer to the first repeat that has one."""
        found: dict[tuple[int, str], dict[str, Any]] = {}
        for row in self.folder.rows():
            if row["error"] is None and not row["warmup"] and row["variant"] in labels and row["example"] in examples:
                key = (row["example"], row["variant"])
                if key not in found or row["repeat"] <= found[key]["repeat"]:
                    found[key] = row
        return found
