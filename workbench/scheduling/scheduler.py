"""The loop: find what is due, write it down, run it, write down what came of it.

One step does all there is to do at a moment and returns when the next one is; clock and sleep are arguments, and so is what runs
a report. Times are found by APScheduler's triggers (`cron.py`), kept in the ledger, and run in processes of their own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from workbench.errors import InputError
from workbench.scheduling.ledger import Attempt, Ledger, LostLeaseError
from workbench.scheduling.schedule import Entry, Schedule, read_schedule

__all__ = ["Job", "Launcher", "Outcome", "Running", "Scheduler", "upcoming"]

_ON_TIME = timedelta(seconds=90)
_LOOK_BACK = timedelta(days=31)
_RETRIED = ("failed", "timed out", "lost")
_AT_LEAST = 3  # attempts of a run that was not allowed to end, whatever `retries` says


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt at one slot."""

    entry: Entry
    due: datetime
    attempt: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. status: of the report. error: one line. page: its path."""

    status: str
    error: str = ""
    page: str = ""


class Running(Protocol):
    """A report that runs."""

    def poll(self) -> Outcome | None:
        """How it ended, None while it runs."""

    def stop(self) -> Outcome:
        """End it, keeping what there is; returns how it ended."""


class Launcher(Protocol):
    """What runs reports."""

    def start(self, job: Job) -> Running:
        """Begin an attempt."""

    def left(self, name: str, due: datetime, attempt: int) -> Outcome | None:
        """What an attempt of a scheduler that is gone left in the archive, if it got that far."""


class Scheduler:
    """Runs a schedule. lease: how long a scheduler that is gone keeps another waiting. say: told a line when something is up."""

    def __init__(
        self,
        schedule: Schedule,
        ledger: Ledger,
        launcher: Launcher,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
        lease: timedelta = timedelta(seconds=30),
        say: Callable[[str], object] = print,
    ) -> None:
        self.schedule, self._ledger, self._launcher = schedule, ledger, launcher
        self._clock, self._sleep, self._say = clock, sleep, say
        self._running: dict[str, tuple[Attempt, Running]] = {}
        self.outcomes: list[str] = []  # of the slots that this scheduler ended
        self._lease, self._rest = lease, lease / 3  # renewed well before its end
        self._renew = datetime.min.replace(tzinfo=UTC)
        self._holds = self._told_waiting = False
        self._until: datetime | None = None
        self._seen = _stamp(schedule.file)

    # -- running ----------------------------------------------------------------------------------------------------

    def run(self, until: Callable[[], bool] = lambda: False) -> None:
        """Go on until `until` is true, or an interrupt, which ends what runs in order and gives the lease up."""
        try:
            while not until():
                now = self._now()
                wake = self.step()
                self._sleep(max(0.05, min((wake - now).total_seconds(), 1.0 if self._running else 3600.0)))
        finally:
            self.stop()

    def run_due(self) -> None:
        """Run what is due now, wait for its end, and return: for a timer of the system's that calls once in a while. What becomes
        due meanwhile is the next one's, or with runs that take long this would never end."""
        self._until = self._now()
        try:
            while True:
                self.step()
                now = self._now()
                waits = any(slot.not_before <= now for slot in self._ledger.open_slots())
                if not self._holds or (not self._running and not waits):
                    return
                self._sleep(0.2)
        finally:
            self.stop()

    def stop(self) -> None:
        """End what runs, to be tried again at the next start, and give the lease up."""
        for name, (attempt, running) in list(self._running.items()):
            outcome = running.stop()
            del self._running[name]
            with suppress(LostLeaseError):  # its new holder writes down what came of it
                self._ended(attempt, outcome, again=outcome.status == "interrupted")
        if self._holds:
            self._ledger.release()
            self._holds = False

    def step(self) -> datetime:
        """Everything that there is to do now; returns when there will be more."""
        now = self._now()
        try:
            if not self._hold(now):
                return now + self._rest
            self._reread()
            self._collect()
            for entry in self.schedule.entries:
                if entry.enabled:
                    self._admit(entry, now if self._until is None else self._until)
            self._drop_unknown(now)
            self._start(now)
        except LostLeaseError:
            self._holds = False
            self._say("another scheduler took over: stopping what runs here.")
            self.stop()
            return now + self._rest
        return self._next(now)

    # -- parts of a step --------------------------------------------------------------------------------------------

    def _hold(self, now: datetime) -> bool:
        if self._holds and now < self._renew:
            return True
        held = self._ledger.hold(now, now + self._lease)
        self._renew = now + self._rest
        if held and not self._holds:
            self._holds, self._told_waiting = True, False
            self._recover()
        elif not held and self._holds:
            raise LostLeaseError
        elif not held and not self._told_waiting:
            self._told_waiting = True
            self._say(f"another scheduler of this home runs ({self._ledger.held_by(now)}): waiting to take over.")
        return held

    def _recover(self) -> None:
        """Attempts of a scheduler that is gone: what they left counts, else they are lost and made again."""
        for attempt in self._ledger.unfinished():
            found = self._launcher.left(attempt.report, attempt.due, attempt.number)
            self._ended(attempt, found or Outcome("lost", "the scheduler that ran it is gone"), again=found is None)

    def _reread(self) -> None:
        stamp = _stamp(self.schedule.file)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self.schedule = read_schedule(self.schedule.file)
        except InputError as error:
            self._say(f"the schedule changed and is not taken over: {error}")
        else:
            self._say(f"{self.schedule.file} changed and is read anew.")

    def _collect(self) -> None:
        for name, (attempt, running) in list(self._running.items()):
            outcome = running.poll()
            if outcome is not None:
                del self._running[name]
                self._ended(attempt, outcome)

    def _ended(self, attempt: Attempt, outcome: Outcome, *, again: bool = False) -> None:
        now, entry = self._now(), self._entry(attempt.report)
        retries = 0 if entry is None else entry.retries
        allowed = max(1 + retries, _AT_LEAST) if again else 1 + retries
        retry = entry is not None and attempt.number < allowed and (again or outcome.status in _RETRIED)
        wait = timedelta(seconds=0 if again or entry is None else entry.retry_after)
        self._ledger.end(
            attempt, outcome.status, now, error=outcome.error, page=outcome.page, again=now + wait if retry else None
        )
        if not retry:
            self.outcomes.append(outcome.status)
        said = f"{attempt.report}, due {_shown(attempt.due, entry)}: {outcome.status}"
        said += f" (attempt {attempt.number})" if attempt.number > 1 or retry else ""
        said += f"; {outcome.error}" if outcome.error else ""
        said += f"; again at {_shown(now + wait, entry)}" if retry else ""
        self._say(f"{said}{f'  {outcome.page}' if outcome.page else ''}")

    def _admit(self, entry: Entry, now: datetime) -> None:
        since = max(self._ledger.looked_until(entry.name, now), now - _LOOK_BACK)
        due = list(entry.cron.between(since, now))
        if not due:
            return
        self._ledger.admit(entry.name, due, now)
        if entry.catch_up == "all":
            return
        running = self._running.get(entry.name)
        fresh = [slot.due for slot in self._ledger.open_slots(entry.name) if not slot.attempts]
        keep = fresh[-1:]
        if entry.catch_up == "none" and (running or (keep and now - keep[0] > _ON_TIME)):
            keep = []
        for slot in fresh:
            if slot in keep:
                continue
            if running:
                why = ("skipped", f"the run that was due {_shown(running[0].due, entry)} was still going")
            elif slot not in due:
                why = ("skipped", "other runs were still going when the next one was due")
            else:
                why = ("missed", "the scheduler was not running then")
            if self._ledger.decide(entry.name, slot, why[0], now, why[1]):
                self._say(f"{entry.name}, due {_shown(slot, entry)}: {why[0]}, {why[1]}")

    def _drop_unknown(self, now: datetime) -> None:
        wanted = {entry.name for entry in self.schedule.entries if entry.enabled}
        for slot in self._ledger.open_slots():
            if slot.report not in wanted and slot.report not in self._running:
                self._ledger.decide(
                    slot.report, slot.due, "skipped", now, "it is not in the schedule any more, or not enabled"
                )

    def _start(self, now: datetime) -> None:
        for slot in self._ledger.open_slots():
            if len(self._running) >= self.schedule.running:
                return
            entry = self._entry(slot.report)
            if entry is None or slot.report in self._running or slot.not_before > now:
                continue
            number = self._ledger.begin(slot.report, slot.due, now)
            attempt = Attempt(slot.report, slot.due, number, self._ledger.holder)
            try:
                running = self._launcher.start(Job(entry, slot.due, number))
            except OSError as error:
                self._ended(attempt, Outcome("failed", f"its process could not be started: {error}"))
                continue
            self._running[slot.report] = attempt, running
            self._say(f"{slot.report}, due {_shown(slot.due, entry)}: started")

    def _next(self, now: datetime) -> datetime:
        times = [now + self._rest]
        times += [slot.not_before for slot in self._ledger.open_slots() if slot.not_before > now]
        times += [at for entry in self.schedule.entries if entry.enabled and (at := entry.cron.after(now)) is not None]
        return min(times)

    def _entry(self, name: str) -> Entry | None:
        return next((entry for entry in self.schedule.entries if entry.name == name and entry.enabled), None)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


def upcoming(schedule: Schedule, now: datetime, count: int) -> list[tuple[datetime, Entry]]:
    """The next `count` times of all enabled entries, oldest first, in UTC."""
    found: list[tuple[datetime, Entry]] = []
    for entry in schedule.entries:
        at = now if entry.enabled else None
        for _ in range(count):
            at = None if at is None else entry.cron.after(at)
            if at is not None:
                found.append((at, entry))
    return sorted(found, key=lambda one: (one[0], one[1].name))[:count]


def _shown(when: datetime, entry: Entry | None) -> str:
    zone = UTC if entry is None else entry.cron.tz
    return f"{when.astimezone(zone):%Y-%m-%d %H:%M %Z}"


def _stamp(path: Path) -> Mapping[str, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return {"size": stat.st_size, "time": stat.st_mtime_ns}
