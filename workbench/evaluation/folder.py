"""Where a run keeps itself: RUNS/DATASET-DIGEST/NUMBER/ with plan.json, rows-*.jsonl and, when it is over, result.json.

The rows are the only write-ahead record; everything else can be made again from them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from workbench.calls import read_rows
from workbench.errors import RunError
from workbench.evaluation.plan import Plan
from workbench.records import asdict_prompt
from workbench.running.saving import write_json

__all__ = ["RunFolder", "describe", "latest_folder", "open_folder"]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run's folder. `run_id` is its path below the folder of all runs, such as `reviews-3f2a…/1`."""

    path: Path
    run_id: str

    def segments(self) -> list[Path]:
        """The files of rows, oldest first."""
        return sorted(self.path.glob("rows-*.jsonl"), key=lambda item: (item.stat().st_mtime_ns, item.name))

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every row, oldest segment first."""
        for segment in self.segments():
            yield from read_rows(segment)

    def has_answers(self) -> bool:
        """Whether any row is an answer: a run that was aborted at once leaves none."""
        return any(row["error"] is None and not row["warmup"] for row in self.rows())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Run this here alone. RunError if another process is at it."""
        lock = FileLock(str(self.path / ".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RunError(
                f"another process is running this comparison now ({self.path}). Wait for it and run this again: its rows are "
                "reused. Or measure apart with fresh=True (--fresh)."
            ) from None
        try:
            yield
        finally:
            lock.release()

    def write(self, name: str, value: Any) -> Path:
        """Write a JSON file whole or not at all."""
        return write_json(self.path / name, value)


def latest_folder(runs: Path, plan: Plan) -> RunFolder | None:
    """The latest folder of this plan that holds an answer (else the latest), None if it was never run."""
    folders = _folders(runs, plan)
    return next((folder for folder in folders if folder.has_answers()), folders[0] if folders else None)


def _folders(runs: Path, plan: Plan) -> list[RunFolder]:
    """All folders of this plan, the latest first."""
    name = _name(plan)
    numbers = sorted((int(item.name) for item in (runs / name).glob("*") if item.name.isdigit()), reverse=True)
    return [RunFolder(runs / name / str(number), f"{name}/{number}") for number in numbers]


def open_folder(runs: Path, plan: Plan, *, fresh: bool) -> RunFolder:
    """The latest folder of this plan (to go on or to reuse), or with `fresh` a new one.

    The plan's digest names it, so equal measurements meet in one place. Raises RunError if it cannot be made.
    """
    folder = None if fresh else latest_folder(runs, plan)
    if folder is None:
        name, before = _name(plan), _folders(runs, plan)
        number = int(before[0].path.name) + 1 if before else 1
        folder = RunFolder(runs / name / str(number), f"{name}/{number}")
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"the run's folder {folder.path} cannot be made: {error}. Point WORKBENCH_HOME to a folder you may write."
        ) from None
    if not (folder.path / "plan.json").is_file():
        folder.write("plan.json", describe(plan))
    return folder


def _name(plan: Plan) -> str:
    words = re.sub(r"[^A-Za-z0-9_.]+", "-", plan.dataset.name).strip("-.")[:60]
    return f"{words or 'data'}-{plan.digest[:16]}"


def describe(plan: Plan) -> dict[str, Any]:
    """The plan with all provenance, in plain types."""
    return {
        "digest": plan.digest,
        "dataset": {name: getattr(plan.dataset, name) for name in ("name", "source", "digest", "stored")},
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
        "scores": {s.name: {"higher_is_better": s.higher_is_better, "binary": s.binary} for s in plan.scorers},
        "margin": plan.margin,
        "level": plan.level,
        "repeats": plan.repeats,
        "seed": plan.seed,
    }
