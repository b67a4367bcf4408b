"""One scheduled attempt: reads a job from standard input, runs the report, prints what came of it as JSON.

Standard input stays open while the scheduler lives. When it ends, the scheduler is gone, and the run is interrupted in order: the
page keeps what there was, and no report runs on with nobody to write it down.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.reporting import Alert

__all__ = ["main", "tell"]


def main() -> int:
    """Run the job on standard input; always prints one JSON object with status, error and page."""
    # a scheduler that a script started in the background ignores interrupts, and would hand that on to its reports
    signal.signal(signal.SIGINT, signal.default_int_handler)
    job = orjson.loads(sys.stdin.buffer.readline())
    answer_to = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints belongs into the log
    threading.Thread(target=_watch, name="scheduler-gone", daemon=True).start()
    try:
        answer = _run(job)
    except WorkbenchError as error:  # it could not begin: the notebook is gone, or has no such parameter any more
        answer = {"status": "failed", "error": "; ".join([str(error), *tell(job, "failed", str(error))]), "page": ""}
    except KeyboardInterrupt:
        answer = {"status": "interrupted", "error": "stopped before it began", "page": ""}
    os.write(answer_to, orjson.dumps(answer))
    return 0


def tell(job: Mapping[str, Any], status: str, error: str) -> list[str]:
    """Tell whoever is to be told that a report failed and left no page, if no attempt follows; what went wrong with telling."""
    alert = _alert(job)
    if alert is None or not job["last"]:
        return []
    result = {"report": job["name"], "status": status, "error": error, "slot": job["slot"], "attempt": job["attempt"]}
    return _untold(alert.send(f"Report {job['name']}: {status}. {error}", result))


def _alert(job: Mapping[str, Any]) -> Alert | None:
    from workbench.reporting import alert_of

    return alert_of(job["webhook"], job["webhook_env"], job["command"])


def _untold(problems: Iterable[str]) -> list[str]:
    return [f"not told: {problem}" for problem in problems]


def _run(job: dict[str, Any]) -> dict[str, str]:
    from workbench.reporting import Archive, budget_checks, parse_check, run_report
    from workbench.settings import load_settings
    from workbench.starter import find_notebook

    settings = load_settings(project=Path(job["project"]))
    report = run_report(
        find_notebook(settings, job["notebook"]),
        job["parameters"],
        archive=Archive(settings.reports),
        name=job["name"],
        checks=[parse_check(text) for text in job["checks"]],
        standing=budget_checks(settings.budgets),
        alert=_alert(job),
        alert_failures=job["last"],
        keep=job["keep"],
        timeout=job["timeout"],
        cwd=settings.project,
        slot=datetime.fromisoformat(job["slot"]),
        attempt=job["attempt"],
    )
    error = report.run.error or " ".join(one.said for one in report.checked if not one.holds)
    return {
        "status": report.status,
        "error": "; ".join([error, *_untold(report.problems)]).strip("; "),
        "page": str(report.page),
    }


def _watch() -> None:
    while sys.stdin.buffer.read(1024):
        pass
    main_thread = threading.main_thread().ident
    if main_thread is not None:
        signal.pthread_kill(main_thread, signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
