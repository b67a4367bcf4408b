"""`workbench report …`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from workbench.reporting import Alert

__all__ = ["app"]

app = App(name="report", help="Run a parameterized notebook and keep it as an HTML page.")


@app.command
def run(
    name: str,
    *,
    parameter: Annotated[list[str] | None, Parameter(alias="-p")] = None,
    check: list[str] | None = None,
    report: str | None = None,
    out: Path | None = None,
    self_contained: bool = False,
    keep: int | None = None,
    webhook: str | None = None,
    command: str | None = None,
    timeout: float = 3600,
) -> int:
    """Run a notebook headless; keep its page, its numbers, and what changed since its last run.

    Exit code 0 when it completed, 3 when a threshold was breached, 1 when it failed, 130 after Ctrl-C.

    Parameters
    ----------
    name
        A notebook of the project (ab_comparison) or a path to one.
    parameter
        KEY=VALUE for the notebook's parameters cell; VALUE is JSON, or text if it is not JSON.
    check
        What must hold, such as 'cost.daily_usd < 20', on a number that the notebook publishes. The budgets of workbench.toml are
        checked without it, where the notebook publishes what was spent, as dashboards does.
    report
        The report's name, by default the notebook's: runs of one name are held against each other.
    out
        A page to write instead, complete in itself and without a history; a folder or a path that ends in .html.
    self_contained
        Put plotly's script (4.8 MB) into the page, which can then be mailed; else all pages share one file.
    keep
        How many runs of this report stay; by default all.
    webhook
        An address that is told of a breach or a failure.
    command
        A program that is started then, with the result as JSON on its standard input.
    timeout
        Seconds that the whole run may take.
    """
    from workbench.errors import InputError
    from workbench.reporting import Archive, budget_checks, parse_check, run_notebook, run_report
    from workbench.settings import load_settings
    from workbench.starter import find_notebook
    from workbench.tables import clean_text

    settings = load_settings()
    checks = [parse_check(text) for text in check or []]
    notebook = find_notebook(settings, name)
    values = _parameters(parameter or [])
    if keep is not None and keep < 1:
        raise InputError(f"--keep {keep}: at least this run stays, so it is 1 or more.")
    if timeout <= 0:
        raise InputError(f"--timeout {timeout:g}: seconds that the run may take must be above 0.")
    if out is not None:
        if checks or report or keep is not None or webhook is not None or command:
            raise InputError(
                "--out writes one page and keeps no history: --check, --report and the like need it. Leave one out."
            )
        made = run_notebook(notebook, values, out=out, timeout=timeout, cwd=settings.project)
        print(f"{made.status} in {made.seconds:.0f} s: {made.html}")
        if made.error:
            print(f"error: {clean_text(made.error)}")
        return 0 if made.status == "completed" else 130 if made.status == "interrupted" else 1
    done = run_report(
        notebook,
        values,
        archive=Archive(settings.reports),
        name=report,
        checks=checks,
        standing=budget_checks(settings.budgets),
        alert=_alert(webhook, command),
        keep=keep,
        self_contained=self_contained,
        timeout=timeout,
        cwd=settings.project,
    )
    print(f"{done.status} in {done.run.seconds:.0f} s: {done.page}")
    if done.run.error:
        print(f"error: {clean_text(done.run.error)}")
    for one in done.checked:
        print(f"{'  ok' if one.holds else '  BREACHED'}: {clean_text(one.said)}")
    if done.changes is not None:
        lines = done.changes.lines() or ["nothing"]
        print(f"changed since {done.changes.since[:16].replace('T', ' ')}:")
        print("\n".join(f"  {clean_text(line)}" for line in lines))
    for problem in done.problems:
        print(f"not told: {clean_text(problem)}")
    return done.exit_code


@app.command(name="list")
def list_(name: str | None = None, *, limit: int = 20, json_: Annotated[bool, Parameter(name="--json")] = False) -> int:
    """List the reports that ran, or the runs of one, newest first.

    Parameters
    ----------
    name
        A report; by default all, with the latest run of each.
    limit
        How many runs.
    json_
        Print the results as JSON.
    """
    import pandas as pd

    from workbench.errors import InputError
    from workbench.reporting import Archive
    from workbench.settings import load_settings
    from workbench.tables import format_seconds, to_text

    archive = Archive(load_settings().reports)
    names = archive.names()
    if name is not None and name not in names:
        raise InputError(f"no report {name!r} has run here. There is: {', '.join(names) or 'none'}.")
    runs = archive.runs(name)[:limit] if name else [run for one in names for run in archive.runs(one)[:1]]
    if json_:
        print(json.dumps([dict(run.result) for run in runs], indent=2))
    elif not runs:
        print("No report has run yet: `workbench report run ab_comparison`.")
    else:
        rows = [
            {
                "report": run.name,
                "began": str(run.result.get("started_at", ""))[:16].replace("T", " "),
                "status": str(run.result.get("status")),
                "took": format_seconds(run.result.get("seconds")),
                "page": str(run.page),
            }
            for run in runs
        ]
        print(to_text(pd.DataFrame(rows)))
        print(f"All of them: {archive.root / 'index.html'}")
    return 0


def _alert(webhook: str | None, command: str | None) -> Alert | None:
    """Who is told. What could tell nobody is an error now, not on the night when there is something to tell; only an empty
    address, of a variable that an exported schedule's machine has not set, keeps no report from running."""
    import shlex

    from workbench.reporting import Alert, alert_of, check_webhook, find_program

    words = shlex.split(command or "")
    find_program(words)
    if webhook:
        check_webhook(webhook)
    return Alert(None, tuple(words), missing="--webhook") if webhook == "" else alert_of(webhook or "", command=words)


def _parameters(pairs: list[str]) -> dict[str, Any]:
    from workbench.errors import ParameterError

    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise ParameterError(f"parameter {pair!r} must be KEY=VALUE, such as -p limit=20.")
        try:
            found[name] = json.loads(text)
        except json.JSONDecodeError:
            found[name] = text
    return found
