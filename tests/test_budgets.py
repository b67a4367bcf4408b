"""Budgets: read from the settings, held against the log, on the dashboard, in doctor, and a breach of a report."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from workbench import Workbench
from workbench.boards import Boards
from workbench.budgets import Budget, read_budgets
from workbench.calls import CallLog
from workbench.errors import SettingsError
from workbench.frames import budget_frame
from workbench.pricing import Prices
from workbench.records import Call
from workbench.settings import load_settings

BERLIN = ZoneInfo("Europe/Berlin")
TOML = """
[budgets]
daily_usd = 5
monthly_usd = 100
[budgets.tenants.acme]
daily_usd = 1.5
[budgets.features."triage api"]
monthly_usd = 50
"""


def add(log: CallLog, at: float, spent: float | None, **fields: Any) -> None:
    number = f"{int(at * 1000):016x}-{len(fields)}-{int((spent or 0) * 100)}"
    log.append(Call(call_id=number, ended_at=at, model="openai/m", kind="chat", cost=spent, spent=spent, **fields))


def test_budgets_are_read_with_what_they_bound(tmp_path: Path) -> None:
    (tmp_path / "workbench.toml").write_text(TOML)
    budgets = load_settings(tmp_path, environ={}).budgets
    assert budgets == (
        Budget(5, "daily"), Budget(100, "monthly"), Budget(1.5, "daily", tenant="acme"),
        Budget(50, "monthly", feature="triage api"),
    )  # fmt: skip
    assert [budget.number for budget in budgets] == [
        "budget.daily_usd", "budget.monthly_usd", "budget.tenant.acme.daily_usd", "budget.feature.triage api.monthly_usd",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (20, "must be a table with daily_usd"),
        ({"daily": 20}, "Did you mean 'daily_usd'"),
        ({"daily_usd": "20"}, "must be dollars, a number above 0"),
        ({"daily_usd": 0}, "must be dollars"),
        ({"daily_usd": True}, "must be dollars"),
        ({"tenants": 3}, r"\[budgets.tenants\] must hold tables"),
        ({"tenants": {"acme": 3}}, r"\[budgets.tenants.acme\] must be a table"),
        ({"features": {"a": {"tenants": {}}}}, r"\[budgets.features.a\]: unknown field 'tenants'"),
    ],
)
def test_what_is_no_budget_names_its_place_and_the_fix(table: Any, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        read_budgets(table, "workbench.toml")


def test_spending_is_that_of_the_zone_s_day_and_month_and_yesterday_s_is_seen_whole(tmp_path: Path) -> None:
    def berlin(text: str) -> float:
        return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()

    log = CallLog(tmp_path / "calls", tmp_path / "runs")
    add(log, berlin("2026-10-01 00:30"), 1.0)  # in Berlin the month has begun, in UTC not
    add(log, berlin("2026-10-30 12:00"), 2.0)
    add(log, berlin("2026-10-31 23:59"), 4.0, tenant="acme")
    add(log, berlin("2026-11-01 00:01"), 8.0)
    add(log, berlin("2026-11-01 02:00"), None, tenant="acme")
    budgets = (Budget(3, "daily"), Budget(10, "monthly"), Budget(5, "daily", tenant="acme"))

    def found(now: str) -> list[tuple[float, float, float, int]]:
        frame = budget_frame(log, budgets, berlin(now), zone="Europe/Berlin")
        return list(frame[["spent", "before", "most", "unpriced"]].itertuples(index=False, name=None))

    assert found("2026-11-01 03:00") == [(8, 4, 8, 1), (8, 7, 8, 1), (0, 4, 4, 1)]
    assert found("2026-11-02 03:00") == [(0, 8, 8, 1), (8, 8, 8, 1), (0, 0, 0, 1)]
    assert found("2026-11-03 03:00") == [(0, 0, 0, 0), (8, 8, 8, 1), (0, 0, 0, 0)]
    log.close()


def test_the_cost_dashboard_has_the_budget_s_line_of_what_is_shown_and_its_numbers(tmp_path: Path) -> None:
    log, now = CallLog(tmp_path / "calls", tmp_path / "runs"), datetime(2026, 11, 5, 12, tzinfo=BERLIN).timestamp()
    add(log, now - 60, 2.0, tenant="acme")
    budgets = (Budget(5, "daily"), Budget(1.5, "daily", tenant="acme"))
    boards = Boards(log, prices=Prices, budgets=budgets, clock=lambda: now)

    def lines(**options: Any) -> list[str]:
        texts = [note.text or "" for note in boards.cost(7, **options).figure.layout.annotations]
        return [text for text in texts if "budget" in text]

    assert lines() == ["budget $5.00 a day"]
    assert lines(tenant="acme") == ["budget $1.50 a day"]
    assert lines(tenant="other") == lines(every="week") == lines(model="openai/m") == []
    assert lines(budget=9.0) == ["budget $9.00 a day"]
    numbers = boards.cost(7, tenant="other").numbers
    assert (numbers["budget.daily_usd"], numbers["budget.tenant.acme.daily_usd"]) == (2.0, 2.0)
    assert boards.budgets().table.iloc[:, -1].tolist() == ["within", "OVER"]
    log.close()


@pytest.fixture
def overdrawn(project: Path) -> Path:
    """A project that spent 2 dollars just now, with a notebook that publishes it."""
    noon = time.gmtime().tm_hour - 12  # there it is noon, so that no day ends while the test runs
    (project / "workbench.toml").write_text(
        f'timezone = "Etc/GMT{noon:+d}"\n[budgets]\ndaily_usd = 5\n[budgets.tenants.acme]\ndaily_usd = 1.5\n'
    )
    cell = "from workbench import Workbench\nfrom workbench.reporting import publish\n"
    cell += "publish(Workbench().dashboards.cost().numbers)"
    node = new_notebook(
        cells=[new_code_cell("days = 1", metadata={"tags": ["parameters"]}), new_code_cell(cell)],
        metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}},
    )
    (project / "notebooks").mkdir()
    nbformat.write(node, project / "notebooks" / "spent.ipynb")
    log = CallLog(project / ".workbench" / "calls", project / ".workbench" / "runs")
    add(log, time.time(), 2.0, tenant="acme")
    log.close()
    return project


def test_a_report_that_publishes_what_was_spent_breaches_over_a_budget_without_being_asked_and_tells(
    overdrawn: Path,
) -> None:
    teller = overdrawn / "tell.py"
    teller.write_text("import sys; open('told.json', 'w').write(sys.stdin.read())")
    done = subprocess.run(
        [sys.executable, "-m", "workbench", "report", "run", "spent", "--command", f"{sys.executable} {teller}"],
        cwd=overdrawn, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 3, done.stdout + done.stderr
    assert "ok: budget.daily_usd <= 5 holds: it is 2." in done.stdout
    assert "BREACHED: budget.tenant.acme.daily_usd <= 1.5 does not hold: it is 2." in done.stdout
    told = json.loads((overdrawn / "told.json").read_text())
    assert "breached" in told["text"]
    assert "budget.tenant.acme" in told["text"]


def test_doctor_says_what_was_spent_and_an_overdrawn_budget_is_a_hint_and_no_fault(overdrawn: Path) -> None:
    async def go() -> Any:
        async with Workbench(overdrawn) as bench:
            return await bench.doctor()

    diagnosis = asyncio.run(go())
    check = next(check for check in diagnosis.checks if check.part == "budgets")
    assert check.ok
    assert check.detail == "all: $2.00 today; tenant acme: $2.00 today"
    assert "over: daily of tenant acme" in check.fix
    assert "$5.00 daily of all" in check.chosen
