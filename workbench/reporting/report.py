"""One run of a report: the page, its numbers, what changed since the last run, the thresholds, and who is told."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.reporting.alerts import Alert
from workbench.reporting.archive import Archive
from workbench.reporting.changes import Changes, changes, lead_html
from workbench.reporting.checks import Check, Checked
from workbench.reporting.masking import mask_value
from workbench.reporting.publishing import Published, published_in
from workbench.reporting.run import ReportRun, run_notebook

__all__ = ["Report", "run_report"]

EXIT_CODES = {"completed": 0, "breached": 3, "interrupted": 130}


@dataclass(frozen=True, slots=True)
class Report:
    """A run of a report. status: that of the run, or "breached" if it completed and a threshold did not hold. page: the HTML;
    result: result.json. problems: of telling people, a line each. exit_code: 0, 3 breached, 130 interrupted, else 1."""

    name: str
    status: str
    run: ReportRun
    result: Path
    published: Published
    changes: Changes | None
    checked: tuple[Checked, ...] = ()
    problems: tuple[str, ...] = field(default=())

    @property
    def page(self) -> Path:
        """The page."""
        return self.run.html

    @property
    def exit_code(self) -> int:
        """For a shell."""
        return EXIT_CODES.get(self.status, 1)


def run_report(
    notebook: Path,
    parameters: Mapping[str, Any],
    *,
    archive: Archive,
    name: str | None = None,
    checks: Sequence[Check] = (),
    standing: Sequence[Check] = (),
    alert: Alert | None = None,
    alert_failures: bool = True,
    keep: int | None = None,
    self_contained: bool = False,
    timeout: float | None = 3600,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    slot: datetime | None = None,
    attempt: int = 1,
    clock: Callable[[], float] = time.time,
) -> Report:
    """Run `notebook` and keep page, executed notebook and result.json in `archive`, listed in its index.

    name: of the report, by default the notebook's; runs of one name are held against each other. checks: a number that does not
    hold, or is not known, makes the status "breached". standing: likewise, where the report publishes such a number. alert: who
    is told of a breach and, with alert_failures, of a failure. keep: how many runs stay, None for all. self_contained: plotly's
    script in the page instead of one file beside all reports. slot, attempt: of a scheduled run.

    Raises what `run_notebook` raises before it starts.
    """
    name = name or notebook.stem
    started = datetime.fromtimestamp(clock(), UTC)
    before = archive.last(name)
    page = archive.place(name, started)
    seen: dict[str, Any] = {}

    def lead(executed: Any, status: str) -> str:
        said = published_in(executed)
        asked = [*checks, *(check for check in standing if check.name in said.numbers and check not in checks)]
        checked = tuple(check.on(said.numbers) for check in asked) if status == "completed" else ()
        moved = None if before is None or status != "completed" else changes(before.result, said, _shown(parameters))
        seen.update(published=said, checked=checked, changes=moved)
        return lead_html(moved, checked, first=before is None and bool(said.numbers))

    try:
        run = run_notebook(
            notebook, parameters, out=page, timeout=timeout, env=env, cwd=cwd, clock=clock, lead=lead,
            plotly="inline" if self_contained else "shared", assets=archive.root / "_assets",
        )  # fmt: skip
    except WorkbenchError:
        if page.stat().st_size == 0:
            page.unlink()
        raise
    checked = seen["checked"]
    status = "breached" if run.status == "completed" and not all(one.holds for one in checked) else run.status
    result = {
        "report": name,
        "title": run.title,
        "status": status,
        "error": run.error,
        "started_at": started.astimezone().isoformat(timespec="seconds"),
        "seconds": round(run.seconds, 3),
        "slot": None if slot is None else slot.astimezone(UTC).isoformat(timespec="seconds"),
        "attempt": attempt,
        "notebook": {"path": str(notebook), "sha256": hashlib.sha256(notebook.read_bytes()).hexdigest()},
        "parameters": _shown(parameters),
        "numbers": dict(seen["published"].numbers),
        "says": dict(seen["published"].says),
        "causes": dict(seen["published"].causes),
        "checks": [{"check": one.text, "value": one.value, "holds": one.holds, "said": one.said} for one in checked],
        "changes": None if seen["changes"] is None else seen["changes"].to_mapping(),
        "page": run.html.name,
        "executed": run.notebook.name,
    }
    kept = archive.write(page, result)
    tell = status == "breached" or (alert_failures and status in ("failed", "timed out"))
    problems = alert.send(_told(name, status, run, checked), result) if alert and tell else []
    if keep is not None:
        archive.prune(name, keep)
    return Report(name, status, run, kept, seen["published"], seen["changes"], checked, tuple(problems))


def _told(name: str, status: str, run: ReportRun, checked: Sequence[Checked]) -> str:
    what = " ".join(one.said for one in checked if not one.holds) or run.error or ""
    return f"Report {name}: {status}. {what} Page: {run.html}".replace("  ", " ")


def _shown(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {key: mask_value(key, value) for key, value in parameters.items()}
