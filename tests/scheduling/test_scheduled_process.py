"""Real processes and real kernels: a scheduled report from the file to its page, and a scheduler that is killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from workbench.reporting import Archive
from workbench.scheduling import Cron, Entry, Ledger
from workbench.scheduling.processes import Processes
from workbench.scheduling.scheduler import Job, Outcome, Running
from workbench.settings import load_settings

SLOW = """import time
from pathlib import Path
from workbench.reporting import publish
Path("begun").write_text("")
for _ in range(600):
    if not Path("wait").exists():
        break
    time.sleep(0.05)
publish({"cost.daily_usd": 12.5, "budget.daily_usd": 12.5}, says={"verdict": "fine"})
"""


@pytest.fixture
def scheduled(project: Path) -> Path:
    node = new_notebook(
        cells=[
            new_markdown_cell("# What it cost"),
            new_code_cell("days = 7", metadata={"tags": ["parameters"]}),
            new_code_cell(SLOW),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}},
    )
    (project / "notebooks").mkdir()
    nbformat.write(node, project / "notebooks" / "cost.ipynb")
    (project / "reports").mkdir()
    with (project / "workbench.toml").open("a") as file:
        file.write("\n[budgets]\ndaily_usd = 15\nmonthly_usd = 90\n")
    (project / "reports" / "schedule.toml").write_text(
        '[reports.cost]\nnotebook = "cost"\ncron = "* * * * *"\nparameters = { days = 3 }\nchecks = ["cost.daily_usd < 20"]\n'
    )
    ledger = Ledger(project / ".workbench" / "schedule" / "ledger.sqlite", "yesterday")
    now = datetime.now(UTC)
    ledger.hold(now, now)
    ledger.admit("cost", [], now - timedelta(seconds=90))  # so that something is due
    ledger.close()
    return project


def start(project: Path) -> subprocess.Popen[str]:
    """As `nohup workbench schedule run &` in a script does: interrupts are ignored."""
    return subprocess.Popen(
        [sys.executable, "-m", "workbench", "schedule", "run", "--once"], cwd=project, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | {"WORKBENCH_PROJECT": str(project)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )  # fmt: skip


def wait_for(path: Path, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < until, f"{path} did not come"
        time.sleep(0.05)


def test_a_killed_scheduler_s_run_stops_and_the_next_one_makes_it_again_once(scheduled: Path) -> None:
    (scheduled / "wait").touch()
    first = start(scheduled)
    wait_for(scheduled / "begun")
    first.send_signal(signal.SIGKILL)
    first.wait()
    results = scheduled / "reports" / "cost"
    until = time.monotonic() + 90
    while not list(results.glob("*.result.json")):
        assert time.monotonic() < until, "its worker should have stopped by itself"
        time.sleep(0.05)
    left = Archive(scheduled / "reports").runs("cost")[0]
    assert left.result["status"] == "interrupted"
    first.communicate()

    (scheduled / "wait").unlink()
    ledger = Ledger(scheduled / ".workbench" / "schedule" / "ledger.sqlite", "test")
    assert ledger.hold(datetime.now(UTC) + timedelta(seconds=31), datetime.now(UTC)), "the lease runs out by itself"
    ledger.release()
    second = start(scheduled)
    said, _ = second.communicate(timeout=200)
    assert second.returncode == 0, said
    slots = [slot for slot in ledger.history() if slot.attempts]
    ledger.close()
    assert (slots[-1].outcome, slots[-1].attempts) == ("completed", 2), said
    assert all(slot.outcome for slot in slots)
    made = Archive(scheduled / "reports").last("cost")
    assert made is not None
    assert made.result["numbers"] == {"cost.daily_usd": 12.5, "budget.daily_usd": 12.5}
    assert made.result["parameters"] == {"days": 3}
    checked = {one["check"]: one["holds"] for one in made.result["checks"]}
    assert checked == {"cost.daily_usd < 20": True, "budget.daily_usd <= 15": True}, "its own, and the project's budget"
    assert made.result["slot"] is not None
    index = (scheduled / "reports" / "index.html").read_text()
    assert f'href="cost/{made.page.name}"' in index
    listed = subprocess.run(
        [sys.executable, "-m", "workbench", "schedule", "list", "--json"],
        cwd=scheduled,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {row["outcome"] for row in json.loads(listed.stdout) if row["attempts"] != "0"} == {"completed"}


def test_failures_that_leave_no_page_are_told_too(project: Path, until: Callable[..., Any]) -> None:
    """A notebook that has no such parameter any more, and a process that dies; not before the last attempt."""
    program = "import pathlib, sys; pathlib.Path('told').open('a').write(sys.stdin.read() + chr(10))"
    entry = Entry("cost", "cost", Cron("@daily"), {"dayz": 3}, retries=1, command=(sys.executable, "-c", program),
                  webhook_env="NO_SUCH_HOOK")  # fmt: skip
    (project / "notebooks").mkdir()
    days = new_code_cell("days = 7", metadata={"tags": ["parameters"]})
    nbformat.write(new_notebook(cells=[days]), project / "notebooks" / "cost.ipynb")
    processes, due = Processes(load_settings(project=project)), datetime(2026, 11, 28, tzinfo=UTC)

    def ended(attempt: int, how: Callable[[Running], object] = lambda _: None) -> Outcome:
        running = processes.start(Job(entry, due, attempt))
        how(running)
        outcome: Outcome = until(running.poll)
        return outcome

    assert "days" in ended(1).error
    assert not (project / "told").exists(), "another attempt follows"
    last = ended(2)
    assert last.status == "failed"
    assert last.error.endswith("not told: the variable NO_SUCH_HOOK holds no address of a webhook")
    killed = ended(2, lambda running: running._process.kill())  # type: ignore[attr-defined]
    assert "killed by signal 9" in killed.error
    log = project / ".workbench" / "schedule" / "cost.log"
    until(lambda: "NO_SUCH_HOOK" in log.read_text())  # written last, when everybody was told
    first, second = map(json.loads, (project / "told").read_text().splitlines())
    assert "has no parameter 'dayz'" in first["text"]
    assert (second["result"]["status"], second["result"]["report"]) == ("failed", "cost")
