"""What an import of promptfoo's files found, and what became of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench import tables

__all__ = ["Imported", "PromptfooImport"]


@dataclass
class Imported:
    """examples: rows of a data set, with metadata.checks for the scorer `checks`. prompts: texts, or messages, with {{name}}
    for variables. gates, rubrics: what is asked of answers beyond that. unmapped: `line 12: …`, for each thing not taken over."""

    examples: list[dict[str, Any]] = field(default_factory=list)
    prompts: list[str | list[dict[str, str]]] = field(default_factory=list)
    gates: list[str] = field(default_factory=list)
    rubrics: list[str] = field(default_factory=list)
    unmapped: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PromptfooImport:
    """source: the file. path: of the data set, None if the file has no tests. prompts: versions that were made, as NAME@1.
    examples, checked: how many, and how many of them have checks. gates: the nearest to asserts on latency and cost. rubrics:
    what a judge was asked. unmapped: each thing that was not taken over, with its place."""

    source: Path
    path: Path | None
    prompts: Sequence[str]
    examples: int
    checked: int
    gates: Sequence[str]
    rubrics: Sequence[str]
    unmapped: Sequence[str]

    def toml(self) -> str:
        """A file for `workbench compare`. In it, gates and judges are comments: an assert is about one answer."""
        lines = [f"# from {json.dumps(str(self.source))}, a file of promptfoo's"]
        lines += (
            [f"prompts = {json.dumps(list(self.prompts))}"] if self.prompts else ['# prompts = ["NAME@1", "NAME@2"]']
        )
        lines += [f"dataset = {json.dumps(self.path.stem)}"] if self.path is not None else ['# dataset = "NAME"']
        lines += (
            ['primary = "checks"']
            if self.checked
            else ["# primary: no assert could be taken over; exact_match decides"]
        )
        if self.gates:
            lines += [
                "# asserts on latency or cost; the nearest is over all answers:",
                f"# gates = {json.dumps(list(self.gates))}",
            ]
        if self.rubrics:
            lines += ["# rubrics of a judge model; the nearest judges every answer by one:", "# scorers = ["]
            lines += [
                f'#   {{ name = "judge", model = "ENDPOINT/MODEL", rubric = {json.dumps(rubric)}, as = "judge_{number}" }},'
                for number, rubric in enumerate(self.rubrics, 1)
            ]
            lines.append("# ]")
        if self.unmapped:
            lines += ["", "# not taken over:", *(f"#   {tables.clean_text(item)}" for item in self.unmapped)]
        return "\n".join(lines) + "\n"

    def __str__(self) -> str:
        lines = [f"From {self.source}:"]
        if self.path is not None:
            lines.append(
                f"  {tables.format_count(self.examples, 'example')}, {self.checked:,} with checks: "
                f"data set {self.path.stem} ({self.path})"
            )
        if self.prompts:
            lines.append(f"  prompts {', '.join(self.prompts)}")
        if self.unmapped:
            lines.append(f"  not taken over ({len(self.unmapped):,}):")
            lines += [f"    {tables.clean_text(item)}" for item in self.unmapped]
        else:
            lines.append("  everything was taken over")
        return "\n".join(lines)

    __repr__ = __str__
