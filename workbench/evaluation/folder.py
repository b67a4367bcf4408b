"""Where a run keeps itself: RUNS/DATASET-DIGEST/NUMBER/ with plan.json, rows-*.jsonl and, when it is over, result.json.

The rows are the only write-ahead record; everything else can be made again from them.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from workbench.calls import read_rows
from workbench.errors import RunError
from workbench.evaluation.plan import Plan
from workbench.records import asdict_prompt

__all__ = ["RunFolder", "open_folder"]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run's folder. `run_id` is its path below the folder of all runs, such as `reviews-3f2a…/1`."""

    path: Path
    run_id: str

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every row, oldest segment first."""
        for segment in sorted(self.path.glob("rows-*.jsonl"), key=lambda item: (item.stat().st_mtime_ns, item.name)):
            yield from read_rows(segment)

    def write(self, name: str, value: Any) -> Path:
        """Write a JSON file whole or not at all."""
        target = self.path / name
        descriptor, temporary = tempfile.mkstemp(dir=self.path, prefix=f".{name}-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY))
            Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return target


def open_folder(runs: Path, plan: Plan, *, fresh: bool) -> RunFolder:
    """The latest folder of this plan (to go on or to reuse), or with `fresh` a new one.

    The plan's digest names it, so equal measurements meet in one place. Raises RunError if another process runs it now.
    """
    name = f"{re.sub(r'[^A-Za-z0-9_.]+', '-', plan.dataset.name)[:60]}-{plan.digest[:16]}"
    parent = runs / name
    numbers = sorted(int(item.name) for item in parent.glob("*") if item.name.isdigit()) if parent.is_dir() else []
    number = (numbers[-1] if numbers else 0) + (1 if fresh or not numbers else 0)
    path = parent / str(number)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"the run's folder {path} cannot be made: {error}. Point WORKBENCH_HOME to a folder you may write."
        ) from None
    folder = RunFolder(path, f"{name}/{number}")
    if not (path / "plan.json").is_file():
        folder.write("plan.json", describe(plan))
    return folder


def describe(plan: Plan) -> dict[str, Any]:
    """The plan with all provenance, in plain types."""
    return {
        "digest": plan.digest,
        "dataset": {"name": plan.dataset.name, "source": plan.dataset.source, "digest": plan.dataset.digest},
        "examples": len(plan.indices),
        "left_out": list(plan.left_out),
        "variants": [
            {
                "label": v.label,
                "digest": v.digest,
                "prompt": asdict_prompt(v.prompt),
                "model": v.model,
                "model_digest": v.model_digest,
                "server_version": v.server_version,
                "params": v.params.to_mapping(),
            }
            for v in plan.variants
        ],
        "control": plan.control,
        "primary": dict(plan.primary.spec),
        "scorers": [dict(item.spec) for item in plan.scorers],
        "margin": plan.margin,
        "level": plan.level,
        "repeats": plan.repeats,
        "seed": plan.seed,
    }
