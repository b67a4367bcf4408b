"""A month of two reports a day, two schedulers that are killed now and then, an outage, and a change of the clocks."""

from __future__ import annotations

import importlib
import random
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

if TYPE_CHECKING:
    from conftest import Home

    from workbench.scheduling import Scheduler

BERLIN = ZoneInfo("Europe/Berlin")
TWICE = 'timezone = "Europe/Berlin"\n[reports.quality]\nnotebook = "n"\ncron = "30 2,14 * * *"\nretries = 0\n'
LEASE = 4 * 3600
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def calendar(first: datetime, days: int) -> list[datetime]:
    """2:30 and 14:30 by the clocks of Berlin, each once a day: the first of two, and 3:30 where there is no 2:30."""
    dates = [(first + timedelta(days=day)).date() for day in range(days)]
    return [datetime(d.year, d.month, d.day, hour, 30, tzinfo=BERLIN) for d in dates for hour in (2, 14)]


@pytest.mark.parametrize("change", ["2026-03-29", "2026-10-25"])
def test_a_month_of_two_schedulers_with_kills_and_an_outage_ends_each_slot_once(home: Home, change: str) -> None:
    first = datetime.fromisoformat(change).replace(tzinfo=BERLIN) - timedelta(days=15)
    end, chance = (first + timedelta(days=30)).timestamp(), random.Random(change)
    home.clock.at = first.timestamp()
    home.reports.takes = 1200
    home.write(TWICE)
    both: list[Scheduler] = [home.scheduler(lease=LEASE), home.scheduler(lease=LEASE)]
    kills, outage = 0, first.timestamp() + 10 * 86_400
    while home.clock() < end:
        wakes = [one.step() for one in both]
        running = any(one._running for one in both)
        home.clock.at = min([end, *(wake.timestamp() for wake in wakes), *([home.clock() + 300] if running else [])])
        if home.clock() > outage:  # both are gone for more than a day
            both, outage = [home.scheduler(lease=LEASE), home.scheduler(lease=LEASE)], end + 1
            home.clock.sleep(1.6 * 86_400)
        elif chance.random() < (0.1 if running else 0.02):  # one is gone without a word, and started again
            both[chance.randrange(2)] = home.scheduler(lease=LEASE)
            kills += 1
    for _ in range(10):
        for one in both:
            one.step()
        home.clock.sleep(3600)
    assert kills > 10
    ledger = home.ledger("reader")
    slots = [slot for slot in ledger.history(limit=1000) if slot.due.timestamp() <= end]
    ledger.close()
    assert sorted(slot.due.timestamp() for slot in slots) == [at.timestamp() for at in calendar(first, 30)]
    outcomes = Counter(slot.outcome for slot in slots)
    assert set(outcomes) <= {"completed", "missed", "lost"}
    assert outcomes["missed"] in (2, 3), "of those of the outage all but the last, which is run"
    assert outcomes["lost"] <= 2, "three kills of one slot's attempts in a row, and no more are made"
    assert all(slot.attempts >= 1 for slot in slots if slot.outcome == "completed")


def test_a_night_with_real_kernels_and_a_scheduler_killed_in_a_run_is_what_its_benchmark_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The short form of benchmarks/schedule.py, which runs a month."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    counts = importlib.import_module("schedule").simulate(
        tmp_path, datetime(2026, 10, 24, 23, tzinfo=BERLIN), days=0.25, kills=1, seed=1
    )
    assert (counts.due, counts.slots, counts.strays, counts.twice) == (1, 1, 0, 0)
    assert counts.outcomes == {"completed": 1}
    assert (counts.kills, counts.kills_in_run) == (1, 1)
    assert counts.attempts in (1, 2), "a report that was complete when its scheduler was killed is not made again"
