"""`workbench schedule …`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from workbench.scheduling import Ledger, Schedule
    from workbench.settings import Settings

__all__ = ["app"]

app = App(name="schedule", help="Run reports at their times, as reports/schedule.toml says.")
_Json = Annotated[bool, Parameter(name="--json")]


@app.command
def run(*, once: bool = False, file: Path | None = None) -> int:
    """Run the schedule until Ctrl-C: what was missed once, then each report at its time.

    One scheduler runs for a workbench home; a second one waits to take over. The file is read anew when it changes.

    Parameters
    ----------
    once
        Run what is due now, wait for its end and exit: for a timer of the system's. Exit code 1 if a report failed, 3 if one
        breached a threshold.
    file
        The schedule, by default reports/schedule.toml.
    """
    import os
    import signal
    import socket

    from workbench.scheduling import Scheduler
    from workbench.scheduling.processes import Processes

    settings, schedule = _read(file)
    ledger = _ledger(settings, f"{socket.gethostname()}:{os.getpid()}")
    scheduler = Scheduler(schedule, ledger, Processes(settings), say=lambda line: print(line, flush=True))

    def ended(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, ended)  # a service is stopped as Ctrl-C stops it: in order
    try:
        if not once:
            _announce(schedule)
            scheduler.run()
        else:
            scheduler.run_due()
    finally:
        signal.signal(signal.SIGTERM, before)
        ledger.close()
    made = set(scheduler.outcomes)
    return 1 if made & {"failed", "timed out", "lost"} else 3 if "breached" in made else 0


@app.command(name="list")
def list_(report: str | None = None, *, limit: int = 20, file: Path | None = None, json_: _Json = False) -> int:
    """List what came of the latest slots: outcome, attempts, page.

    Parameters
    ----------
    report
        Only this one.
    limit
        How many, newest first.
    file
        The schedule, by default reports/schedule.toml.
    json_
        Print JSON.
    """
    import pandas as pd

    from workbench.tables import to_text

    settings, schedule = _read(file)
    if report is not None:
        schedule[report]
    ledger = _ledger(settings, "reader")
    slots = ledger.history(report, limit)
    ledger.close()
    rows = [
        {
            "report": slot.report,
            "due": _local(slot.due, schedule, slot.report),
            "outcome": slot.outcome or "open",
            "attempts": str(slot.attempts),
            "note": slot.note,
            "page": slot.page,
        }
        for slot in slots
    ]
    if json_:
        print(json.dumps(rows, indent=2))
    elif rows:
        print(to_text(pd.DataFrame(rows)))
    else:
        print("Nothing was due yet. `workbench schedule next` shows what comes, `workbench schedule run` runs it.")
    return 0


@app.command(name="next")
def next_(*, count: int = 10, file: Path | None = None, json_: _Json = False) -> int:
    """Show the next times.

    Parameters
    ----------
    count
        How many.
    file
        The schedule, by default reports/schedule.toml.
    json_
        Print JSON.
    """
    from datetime import UTC, datetime

    import pandas as pd

    from workbench.scheduling.scheduler import upcoming
    from workbench.tables import to_text

    settings, schedule = _read(file)
    now = datetime.now(UTC)
    rows = [
        {
            "due": at.astimezone(entry.cron.tz).strftime("%a %Y-%m-%d %H:%M %Z"),
            "utc": at.isoformat(timespec="minutes"),
            "report": entry.name,
            "notebook": entry.notebook,
            "cron": entry.cron.expression,
        }
        for at, entry in upcoming(schedule, now, count)
    ]
    if json_:
        print(json.dumps(rows, indent=2))
        return 0
    print(to_text(pd.DataFrame(rows)) if rows else f"{schedule.file} has no report that is enabled.")
    ledger = _ledger(settings, "reader")
    holder = ledger.held_by(now)
    ledger.close()
    print("".join(f"{line}\n" for line in _untold(schedule)), end="")
    print(f"The scheduler runs: {holder}." if holder else "No scheduler runs: `workbench schedule run` starts one.")
    return 0


@app.command
def export(*, to: Literal["cron", "systemd", "airflow"], out: Path | None = None, file: Path | None = None) -> int:
    """Write the schedule for a scheduler that is there already.

    Parameters
    ----------
    to
        cron: lines for a crontab. systemd: a service and a timer for each report. airflow: a DAG file with papermill's operator.
    out
        A folder to write into; by default the files are printed.
    file
        The schedule, by default reports/schedule.toml.
    """
    from workbench.running.saving import write_whole
    from workbench.scheduling.export import export as files_of

    settings, schedule = _read(file)
    files = files_of(schedule, settings, to)
    for name, text in files.items():
        if out is None:
            print(f"# {name}\n{text}" if len(files) > 1 else text, end="")
        else:
            out.mkdir(parents=True, exist_ok=True)
            print(write_whole(out / name, text.encode()))
    return 0


def _read(file: Path | None) -> tuple[Settings, Schedule]:
    from workbench.scheduling import read_schedule
    from workbench.settings import load_settings

    settings = load_settings()
    return settings, read_schedule(file or settings.reports / "schedule.toml")


def _ledger(settings: Settings, holder: str) -> Ledger:
    from workbench.scheduling import Ledger

    settings.make_home()
    return Ledger(settings.home / "schedule" / "ledger.sqlite", holder)


def _local(when: Any, schedule: Schedule, report: str) -> str:
    entry = next((entry for entry in schedule.entries if entry.name == report), None)
    return f"{when.astimezone(entry.cron.tz) if entry else when:%Y-%m-%d %H:%M %Z}"


def _announce(schedule: Schedule) -> None:
    from datetime import UTC, datetime

    from workbench.scheduling.scheduler import upcoming

    print(f"{schedule.file}: {len(schedule.entries)} report(s). Ctrl-C ends it.", flush=True)
    for at, entry in upcoming(schedule, datetime.now(UTC), 3):
        print(f"  next: {entry.name}, {at.astimezone(entry.cron.tz):%a %Y-%m-%d %H:%M %Z}", flush=True)
    for line in _untold(schedule):
        print(f"  {line}", flush=True)


def _untold(schedule: Schedule) -> list[str]:
    """Of whom nobody would hear, as things are here."""
    alerts = ((entry, entry.alert()) for entry in schedule.entries if entry.enabled)
    return [f"{entry.name}: {alert.missing} is not set here: no webhook would be told of a breach or a failure."
            for entry, alert in alerts if alert is not None and alert.missing]  # fmt: skip
