"""Which examples of a data set take part in a comparison, and how long their texts are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from workbench.evaluation.datasets import Dataset
from workbench.records import Prompt

__all__ = ["Scan", "scan"]

_LEAK_CHARS = 12


class Scan(NamedTuple):
    """indices: (n,) positions that take part. left_out: ids. chars: mean characters of the inputs, by prompt digest. expected:
    how many examples have an expected answer. shown: mean characters that a judge is shown, without the answer."""

    indices: np.ndarray
    left_out: tuple[str, ...]
    chars: dict[str, float]
    expected: int
    shown: float


def scan(dataset: Dataset, prompts: Sequence[Prompt]) -> Scan:
    """Read the data set once. What stands in a compared prompt is left out: it would be no test."""
    haystack = " \x00 ".join(
        _normal(part) for prompt in prompts for part in (prompt.text, *(m.content for m in prompt.messages)) if part
    )
    asked = {name for prompt in prompts for name in prompt.variables}
    kept: list[int] = []
    left_out: list[str] = []
    expected = 0
    shown = 0
    chars = dict.fromkeys((prompt.digest for prompt in prompts), 0.0)
    for index, example in enumerate(dataset):
        # the longest text is what the example is about; short fields such as a channel occur in prompts by chance
        texts = [value for name, value in example.inputs.items() if name in asked and isinstance(value, str)]
        if texts and _occurs(max(texts, key=len), haystack):
            left_out.append(example.id)
            continue
        kept.append(index)
        expected += example.expected is not None
        shown += sum(
            len(str(value)) for value in (*example.inputs.values(), example.context or "", example.expected or "")
        )
        for prompt in prompts:
            chars[prompt.digest] += sum(len(str(example.inputs[name])) for name in prompt.variables)
    count = max(1, len(kept))
    means = {key: total / count for key, total in chars.items()}
    return Scan(np.asarray(kept, dtype=np.int64), tuple(left_out), means, expected, shown / count)


def _normal(text: str) -> str:
    words = re.findall(r"\w+", text.casefold())
    return f" {' '.join(words)} "


def _occurs(text: str, haystack: str) -> bool:
    """Whether the words of an example stand in a prompt; a single short word would match by chance and does not count."""
    words = _normal(text)
    return (len(words) - 2 >= _LEAK_CHARS or words.count(" ") > 2) and words in haystack
