"""Judgements as a run's folder keeps them: what was paid for once is not asked for again, with no cache and after any time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from workbench.calls import Segment
from workbench.evaluation.judging.asking import JudgeUse
from workbench.records import Example, Score, digest

__all__ = ["Judgement", "Judgements"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """One line. key: of what judge, example and answer it is. example_id: for a purge: the explanation may quote the answer.
    use: what it took, see `JudgeUse.kept`."""

    key: str
    value: float | None
    explanation: str
    example_id: str
    use: Mapping[str, Any] = field(default_factory=dict)


class Judgements:
    """Those of one run's folder. In memory there is where each stands, not what it says.

    A judgement is named by its judge (model, prompts, options), the example and the answer's words, and not by its scorer's name:
    renaming a scorer, or deciding by another one, asks no judge again. One whose call failed is not kept.
    """

    def __init__(self, folder: Path) -> None:
        self._segment = Segment(folder, "judgements")
        self._places: dict[bytes, tuple[Path, int]] = {}
        self._open: dict[Path, BinaryIO] = {}
        for path in sorted(folder.glob("judgements-*.jsonl"), key=lambda item: (item.stat().st_mtime_ns, item.name)):
            at = 0
            with path.open("rb") as file:
                for line in file:
                    found = _read(line)
                    if found is not None:
                        self._places[bytes.fromhex(found["key"])] = (path, at)
                    at += len(line)

    def has(self, by: str, text: str, example: Example) -> bool:
        """Whether there is one."""
        return bytes.fromhex(_key(by, text, example)) in self._places

    def find(self, by: str, text: str, example: Example, use: JudgeUse) -> Score | None:
        """The judgement of before, and what it took, in `use`; None if there is none. by: the judge's digest."""
        place = self._places.get(bytes.fromhex(_key(by, text, example)))
        if place is None:
            return None
        path, at = place
        file = self._open.get(path) or self._open.setdefault(path, path.open("rb"))
        file.seek(at)
        line = _read(file.readline())
        if line is None:
            return None
        for name, value in line["use"].items():
            if hasattr(use, name):
                setattr(use, name, value)
        return Score(line["value"], line["explanation"])

    def add(self, by: str, text: str, example: Example, score: Score, use: JudgeUse) -> None:
        """Keep one. RunError if the disk is full."""
        line: Any = Judgement(_key(by, text, example), score.value, score.explanation, example.id, use.kept())
        self._segment.append(line)  # a segment takes any dataclass; the log's rows are named in its types

    def close(self) -> None:
        """Sync to disk and close all files."""
        self._segment.close()
        for file in self._open.values():
            file.close()
        self._open.clear()


def _key(by: str, text: str, example: Example) -> str:
    about = {"id": example.id, "inputs": example.inputs, "expected": example.expected, "context": example.context}
    return digest({"by": by, "example": about, "text": str(text)})[:32]


def _read(line: bytes) -> dict[str, Any] | None:
    """A line that was written whole."""
    if not line.endswith(b"\n"):
        return None
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) and "key" in found else None
