"""Finished comparisons, as their folders keep them: list them, read one, and say what changed from one to another."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError, RunError, did_you_mean
from workbench.evaluation.datasets import Dataset, load_dataset
from workbench.evaluation.folder import RunFolder
from workbench.evaluation.marks import Marks

if TYPE_CHECKING:
    import pandas as pd

    from workbench.evaluation.changes import RunChange
    from workbench.evaluation.comparison import Comparison
    from workbench.evaluation.publishing import Published
    from workbench.stores.langfuse import Langfuse

__all__ = ["KeptRun", "Runs"]


@dataclass(frozen=True)
class KeptRun:
    """One run's folder, read. plan: by `folder.describe`; result: by `Comparison.to_mapping`, empty if it never ended."""

    folder: RunFolder
    plan: Mapping[str, Any]
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        """Its path below the folder of all runs."""
        return self.folder.run_id

    @cached_property
    def at(self) -> float:
        """Unix seconds when its latest answer was measured, 0 without any."""
        return max((row["ended_at"] for row in self.answers()), default=0.0)

    @property
    def labels(self) -> list[str]:
        """Its variants."""
        return [variant["label"] for variant in self.plan["variants"]]

    @property
    def primary(self) -> str:
        """The name of the score that decided."""
        told = self.result.get("verdict", {}).get("primary")
        spec = self.plan["primary"]
        return str(told or spec.get("as") or spec.get("name"))

    def answers(self) -> Iterator[dict[str, Any]]:
        """Its rows without warm-ups and errors."""
        return (row for row in self.folder.rows() if row["error"] is None and not row["warmup"])

    def marks(self) -> pd.DataFrame:
        """What people noted on its answers: one row a mark; see `Marks.frame`."""
        return Marks(self.folder).frame()

    def dataset(self, datasets: Path) -> Dataset:
        """The data set it was made on, whole. datasets: the folder of normalised ones. InputError if it is gone."""
        about = self.plan["dataset"]
        path = datasets / f"{about.get('stored', about['digest'])}.jsonl"
        if not path.is_file():
            raise InputError(
                f"run {self.run_id}: the data set it was made on is gone ({path}). Load {about['name']} again as it was then."
            )
        return load_dataset(path, cache=datasets, name=about["name"])


class Runs:
    """All comparisons of one workbench home. folder: of the runs; datasets: of the normalised data sets; langfuse: gives it, or
    raises SettingsError if there is none."""

    def __init__(self, folder: Path, datasets: Path, langfuse: Callable[[], Langfuse]) -> None:
        self._folder = folder
        self._datasets = datasets
        self._langfuse = langfuse

    def _ids(self) -> list[str]:
        """The latest written first; a mark by hand makes none newer."""
        paths = [path for path in self._folder.glob("*/*/plan.json") if path.parent.name.isdigit()]
        newest = sorted(paths, key=lambda path: _written(path.parent), reverse=True)
        return [f"{path.parent.parent.name}/{path.parent.name}" for path in newest]

    def latest(self) -> KeptRun:
        """The one that was written last, of those that hold an answer. InputError if there is none."""
        for run_id in self._ids():
            if (run := self._read(run_id)).folder.has_answers():
                return run
        raise InputError("there is no run yet: `workbench compare` makes one.")

    def get(self, run: str) -> KeptRun:
        """By its id, such as "tickets-3f2a…/1", or a beginning that only one has. InputError if there is none."""
        ids = self._ids()
        given = str(run).rstrip("/")
        found = [known for known in ids if known == given] or [known for known in ids if known.startswith(given)]
        if len(found) != 1:
            meant = did_you_mean(given, ids, 0.5)
            what = f"is the beginning of {len(found)} runs: {', '.join(found[:5])}." if found else f"is no run.{meant}"
            latest = f" The latest are: {', '.join(ids[:5])}." if ids and not found else ""
            raise InputError(f"run {run!r} {what}{latest} See `workbench runs list`.")
        return self._read(found[0])

    def dataset(self, run: KeptRun) -> Dataset:
        """The data set a run was made on, whole. InputError if it is gone."""
        return run.dataset(self._datasets)

    def _read(self, run_id: str) -> KeptRun:
        path = self._folder / run_id
        try:
            plan = json.loads((path / "plan.json").read_text("utf-8"))
            kept = path / "result.json"
            result = json.loads(kept.read_text("utf-8")) if kept.is_file() else {}
        except (OSError, ValueError) as error:
            raise RunError(f"run {run_id} cannot be read: {error}. Its rows are in {path}.") from None
        return KeptRun(RunFolder(path, run_id), plan, result)

    def list(self) -> pd.DataFrame:
        """The latest first: run, at (UTC), dataset, examples, variants, primary, complete, verdict."""
        import pandas as pd

        rows = []
        for run_id in self._ids():
            try:
                run = self._read(run_id)
            except RunError:
                continue
            rows.append(
                {
                    "run": run_id,
                    "at": datetime.fromtimestamp(run.at, UTC) if run.at else None,
                    "dataset": run.plan["dataset"]["name"],
                    "examples": run.plan["examples"],
                    "variants": ", ".join(run.labels),
                    "primary": run.primary,
                    "complete": bool(run.result.get("complete")),
                    "verdict": run.result.get("verdict", {}).get("sentence", "not finished"),
                }
            )
        columns = ["run", "at", "dataset", "examples", "variants", "primary", "complete", "verdict"]
        return pd.DataFrame(rows, columns=columns)

    def compare(
        self, before: str | None = None, after: str | None = None, *, variants: tuple[str, str] | None = None
    ) -> RunChange:
        """What changed from one finished run to another: causes, and a paired verdict where both measured the same examples.

        By default the two latest of one data set. variants: the labels to hold against each other, the earlier run's first; by
        default those that are alike in prompt, model and params. InputError if there is nothing to compare.
        """
        from workbench.evaluation.changes import changes

        if before is None or after is None:
            before, after = self._latest_two()
        return changes(self.get(before), self.get(after), datasets=self._datasets, variants=variants)

    def push(self, run: str | Comparison, *, to: str | None = None) -> Published:
        """Send a finished run to Langfuse, as a dataset run for each variant: items linked to traces, with scores and verdict.

        run: its id, the beginning of it, or what `compare` returned. to: the data set's name there, by default the same; it is
        pushed if it is not there. Sending a run again changes nothing. InputError if it is not finished; DatasetError if other
        content has the data set's name there.
        """
        from workbench.evaluation.publishing import publish_run

        kept = self.get(run if isinstance(run, str) else run.run.folder.run_id)
        return publish_run(self._langfuse(), kept, self._datasets, to=to)

    def _latest_two(self) -> tuple[str, str]:
        seen: dict[str, str] = {}
        for run_id in self._ids():
            run = self._read(run_id)
            if not run.result:
                continue
            name = run.plan["dataset"]["name"]
            if name in seen:
                return run_id, seen[name]
            seen[name] = run_id
        raise InputError(
            "there are no two finished runs of one data set: run `workbench compare` first, or name two runs."
        )


def _written(folder: Path) -> int:
    """When a run was last written, in nanoseconds."""
    return max(path.stat().st_mtime_ns for path in folder.iterdir() if "marks" not in path.name)
