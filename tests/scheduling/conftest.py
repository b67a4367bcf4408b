"""A clock that only moves when somebody sleeps, and reports that take as long as they are told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from workbench.scheduling import Ledger, Scheduler, read_schedule
from workbench.scheduling.scheduler import Job, Outcome

START = datetime(2026, 10, 1, tzinfo=UTC).timestamp()


class Clock:
    def __init__(self, at: float = START) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


class Reports:
    """Stands in for the processes: each attempt takes `takes` seconds of the clock and ends as `outcome` says."""

    def __init__(self, clock: Clock, takes: float = 10.0) -> None:
        self.clock, self.takes = clock, takes
        self.began: list[Job] = []
        self.outcome: Callable[[Job], Outcome] = lambda job: Outcome("completed", page=f"{job.attempt}.html")
        self.found: dict[tuple[str, datetime, int], Outcome] = {}
        self.at_once = 0
        self.most: Counter[str] = Counter()

    def start(self, job: Job) -> _Run:
        self.began.append(job)
        self.at_once += 1
        self.most["all"] = max(self.most["all"], self.at_once)
        return _Run(self, job)

    def left(self, name: str, due: datetime, attempt: int) -> Outcome | None:
        return self.found.get((name, due, attempt))


class _Run:
    def __init__(self, reports: Reports, job: Job) -> None:
        self.reports, self.job, self.until = reports, job, reports.clock() + reports.takes

    def poll(self) -> Outcome | None:
        if self.reports.clock() < self.until:
            return None
        self.reports.at_once -= 1
        return self.reports.outcome(self.job)

    def stop(self) -> Outcome:
        self.reports.at_once -= 1
        return Outcome("interrupted")


class Home:
    """A home with a schedule: makes schedulers on one ledger."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, Clock()
        self.reports = Reports(self.clock)
        self.said: list[str] = []
        self.made = 0

    def write(self, text: str) -> None:
        (self.folder / "schedule.toml").write_text(text)

    def ledger(self, holder: str = "") -> Ledger:
        self.made += 1
        ledger = Ledger(self.folder / "home" / "ledger.sqlite", holder or f"scheduler-{self.made}")
        ledger._db.execute("PRAGMA synchronous = OFF")  # no power is cut here, and a month is thousands of renewals
        return ledger

    def scheduler(self, ledger: Ledger | None = None, lease: float = 1800) -> Scheduler:
        return Scheduler(
            read_schedule(self.folder / "schedule.toml"), ledger or self.ledger(), self.reports,
            clock=self.clock, sleep=self.clock.sleep, lease=timedelta(seconds=lease), say=self.said.append,
        )  # fmt: skip

    def run(self, scheduler: Scheduler, seconds: float) -> None:
        until = self.clock() + seconds
        scheduler.run(until=lambda: self.clock() >= until)

    def outcomes(self) -> Counter[str | None]:
        ledger = self.ledger("reader")
        found = Counter(slot.outcome for slot in ledger.history(limit=10_000))
        ledger.close()
        return found


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)
