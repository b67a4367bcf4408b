"""The schedule as files for cron, systemd or Airflow, which then keep the times; each run is the same `workbench report run`."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from workbench.errors import InputError
from workbench.scheduling.cron import Cron
from workbench.scheduling.schedule import Entry, Schedule
from workbench.settings import Settings
from workbench.starter import find_notebook

__all__ = ["export"]


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def export(schedule: Schedule, settings: Settings, to: Literal["cron", "systemd", "airflow"]) -> Mapping[str, str]:
    """Text by file name, of the enabled entries. Secrets stay out: a webhook is taken from the environment.

    Raises InputError for what the other scheduler cannot say, and for an address of a webhook that stands in the file itself.
    """
    entries = [entry for entry in schedule.entries if entry.enabled]
    for entry in entries:
        if entry.webhook:
            raise InputError(
                f"{schedule.file}: [reports.{entry.name}] has its webhook's address in the file. It is a secret that the "
                "exported files would show: put it into a variable, and its name into webhook_env."
            )
    if to == "cron":
        return {"workbench.crontab": _crontab(entries, settings)}
    if to == "systemd":
        return {name: text for entry in entries for name, text in _units(entry, settings).items()}
    return {"workbench_reports.py": _dag(schedule, entries, settings)}


def _arguments(entry: Entry) -> list[str]:
    words = [sys.executable, "-m", "workbench", "report", "run", entry.notebook, "--report", entry.name]
    for name, value in entry.parameters.items():
        words += ["-p", f"{name}={json.dumps(value)}"]
    for check in entry.checks:
        words += ["--check", str(check)]
    words += ["--keep", str(entry.keep), "--timeout", f"{entry.timeout:g}"]
    if entry.command:
        words += ["--command", shlex.join(entry.command)]
    return words


def _crontab(entries: list[Entry], settings: Settings) -> str:
    lines = [
        "# Made by `workbench schedule export --to cron`. CRON_TZ is understood by cronie and systemd-cron; Debian's cron runs"
    ]
    lines += ["# in the machine's time zone: there, set the machine's, or write the times anew."]
    zone = None
    for entry in entries:
        if entry.cron.zone != zone:
            zone = entry.cron.zone
            lines.append(f"CRON_TZ={zone}")
        line = f"cd {shlex.quote(str(settings.project))} && {shlex.join(_arguments(entry))}"
        line = line.replace("%", "\\%")  # cron takes a bare % for a new line
        webhook = f' --webhook "${entry.webhook_env}"' if entry.webhook_env else ""
        lines.append(f"{_fields(entry.cron)}  {line}{webhook}")
    return "\n".join(lines) + "\n"


def _units(entry: Entry, settings: Settings) -> dict[str, str]:
    name = f"workbench-{entry.name}"
    words = " ".join(_systemd_word(word) for word in _arguments(entry))
    webhook = f' --webhook "${{{entry.webhook_env}}}"' if entry.webhook_env else ""
    service = (
        f"[Unit]\nDescription=Workbench report {entry.name}\n\n[Service]\nType=oneshot\n"
        f"WorkingDirectory={str(settings.project).replace('%', '%%')}\nExecStart={words}{webhook}\n"
        "# 3: a threshold was breached, which the report tells by itself\nSuccessExitStatus=3\n"
    )
    persistent = "true" if entry.catch_up != "none" else "false"
    timer = (
        f"[Unit]\nDescription=Times of the workbench report {entry.name}\n\n[Timer]\n"
        + "".join(f"OnCalendar={text}\n" for text in _calendar(entry.cron))
        + f"Persistent={persistent}\n\n[Install]\nWantedBy=timers.target\n"
    )
    return {f"{name}.service": service, f"{name}.timer": timer}


def _systemd_word(word: str) -> str:
    """Quoted for ExecStart, where %, $ and backslashes mean something."""
    plain = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return plain if plain and all(c.isalnum() or c in "-_=./:@%," for c in plain) else f'"{plain}"'


def _fields(cron: Cron) -> str:
    return " ".join(cron.fields)


def _calendar(cron: Cron) -> list[str]:
    """The expression as systemd's OnCalendar; two if either day field is enough."""
    minute, hour, day, month, weekday = cron.fields
    time = f"{_part(hour, 0, 23)}:{_part(minute, 0, 59)}:00 {cron.zone}"
    date = f"*-{_part(month, 1, 12)}-{_part(day, 1, 31)}"
    if weekday == "*":
        return [f"{date} {time}"]
    names = ",".join(name.capitalize() for name in cron.weekdays)
    if day.startswith("*"):
        return [f"{names} {date} {time}"]
    return [f"{date} {time}", f"{names} *-{_part(month, 1, 12)}-* {time}"]


def _part(field: str, low: int, high: int) -> str:
    """A cron field in systemd's words: ranges are `..`, a step follows its start."""
    parts = []
    for item in field.lower().split(","):
        for number, name in enumerate(_MONTHS, 1):
            item = item.replace(name, str(number))
        body, _, step = item.partition("/")
        if body == "*":
            parts.append(f"{low}/{step}" if step else "*")
            continue
        first, _, last = body.partition("-")
        end = last or (str(high) if step else "")
        if not all(text.isdigit() for text in (first, *([end] if end else []), *([step] if step else []))):
            raise InputError(
                f"{item!r} of a cron expression cannot be said in systemd's calendar; write it with numbers."
            )
        span = f"{int(first)}..{int(end)}" if end else f"{int(first)}"
        parts.append(f"{span}/{step}" if step else span)
    return ",".join(parts)


def _dag(schedule: Schedule, entries: list[Entry], settings: Settings) -> str:
    dags = []
    for entry in entries:
        notebook = find_notebook(settings, entry.notebook)
        made: Path = settings.reports / entry.name
        dags.append(
            f"""
with DAG(
    dag_id={f"workbench_{entry.name}".replace("-", "_")!r},
    schedule=CronTriggerTimetable({_fields(entry.cron)!r}, timezone={entry.cron.zone!r}),
    start_date=datetime(2024, 1, 1, tzinfo=ZoneInfo({entry.cron.zone!r})),
    catchup={entry.catch_up == "all"},
    max_active_runs=1,
    tags=["workbench"],
):
    PapermillOperator(
        task_id="report",
        input_nb={str(notebook)!r},
        output_nb={str(made) + "/{{ ts_nodash }}.executed.ipynb"!r},
        parameters={dict(entry.parameters)!r},
        retries={entry.retries},
        retry_delay=timedelta(seconds={entry.retry_after:g}),
        execution_timeout=timedelta(seconds={entry.timeout:g}),
    )
"""
        )
    return (
        '"""Made by `workbench schedule export --to airflow`. Needs apache-airflow-providers-papermill where the tasks run,\n'
        'and the workbench in the kernel\'s environment. Airflow keeps the times, the attempts and the executed notebooks."""\n\n'
        "from datetime import datetime, timedelta\nfrom zoneinfo import ZoneInfo\n\n"
        "from airflow.providers.papermill.operators.papermill import PapermillOperator\n"
        "from airflow.sdk import DAG\nfrom airflow.timetables.trigger import CronTriggerTimetable\n" + "".join(dags)
    )
