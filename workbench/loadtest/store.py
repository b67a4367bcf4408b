"""Where load tests are kept: HOME/loadtests/ID/ with result.json and the row of every call."""

from __future__ import annotations

import builtins
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from workbench.calls import CallLog
from workbench.errors import InputError, RunError
from workbench.loadtest.result import LoadTest
from workbench.pricing import FittedWeight

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LoadFolder", "LoadTests"]

_LOOKED_AT = 50  # load tests, the latest, when weights are asked for


@dataclass(frozen=True, slots=True)
class LoadFolder:
    """One load test's folder."""

    path: Path

    @property
    def test_id(self) -> str:
        """Its name, such as `20261124-031500-1209f03c7e1`: UTC with milliseconds, so that names sort by time."""
        return self.path.name

    def log(self) -> CallLog:
        """A log of its own, so that a load test's calls are in no ordinary figure of cost or latency."""
        return CallLog(self.path, self.path)


class LoadTests:
    """All load tests of one workbench home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def new(self, now: float) -> LoadFolder:
        """A folder for a test that begins now (Unix seconds). Raises RunError if it cannot be made."""
        moment = datetime.fromtimestamp(now, UTC)
        path = self.folder / f"{moment:%Y%m%d-%H%M%S}-{moment.microsecond // 1000:03}{secrets.token_hex(4)}"
        try:
            path.mkdir(parents=True)
        except OSError as error:
            raise RunError(
                f"the load test's folder {path} cannot be made: {error}. Point WORKBENCH_HOME to a folder you may write."
            ) from None
        return LoadFolder(path)

    def ids(self) -> list[str]:
        """All of them that hold a result, the latest first."""
        return sorted((path.parent.name for path in self.folder.glob("*/result.json")), reverse=True)

    def get(self, test_id: str = "last") -> LoadTest:
        """By its id or the beginning of one; `last` is the latest. Raises InputError that lists what is there."""
        known = self.ids()
        found = known[:1] if test_id == "last" else [name for name in known if test_id and name.startswith(test_id)]
        if len(found) != 1:
            what = f"{len(found)} load tests begin with {test_id!r}" if found else f"there is no load test {test_id!r}"
            there = ", ".join((found or known)[:10]) or "none: run `workbench bench MODEL` first"
            raise InputError(
                f"{what} in {self.folder}. There is: {there}. Write an id, enough of its beginning, or 'last'."
            )
        return LoadTest.read(self.folder / found[0] / "result.json")

    def weights(self) -> dict[str, Sequence[FittedWeight]]:
        """What a prompt token takes of a model's server, by model: of the latest test that could tell, one for each load."""
        found: dict[str, Sequence[FittedWeight]] = {}
        for name in self.ids()[:_LOOKED_AT]:
            try:
                kept = orjson.loads((self.folder / name / "result.json").read_bytes()).get("weights", [])
            except (OSError, ValueError, AttributeError):
                continue
            told: dict[str, builtins.list[FittedWeight]] = {}
            for one in kept:
                if "unknown" not in one:
                    fitted = FittedWeight(*(one[part] for part in ("value", "low", "high", "in_flight", "source")))
                    told.setdefault(one["model"], []).append(fitted)
            found = told | found
        return found

    def list(self) -> pd.DataFrame:
        """One row a load test, the latest first: id, when (UTC), models, loads, requests, status."""
        import pandas as pd

        rows = []
        for name in self.ids():
            try:
                test = self.get(name)
            except RunError as error:
                rows.append({"id": name, "when": "", "models": "", "loads": "", "requests": 0, "status": str(error)})
                continue
            rows.append(
                {
                    "id": name,
                    "when": f"{datetime.fromtimestamp(test.created_at, UTC):%Y-%m-%d %H:%M}",
                    "models": ", ".join(test.models),
                    "loads": ", ".join(load.label for load in test.loads),
                    "requests": sum(len(cell.samples) for cell in test.cells),
                    "status": _status(test),
                }
            )
        return pd.DataFrame(rows, columns=["id", "when", "models", "loads", "requests", "status"])


def _status(test: LoadTest) -> str:
    if test.complete:
        return "complete"
    failed, sent = sum(cell.errors.total() for cell in test.cells), sum(len(cell.samples) for cell in test.cells)
    said = [test.stopped or "", *test.problems.values(), f"{failed:,} of {sent:,} failed" if failed else ""]
    return "; ".join(filter(None, said)) or "not all was measured"
