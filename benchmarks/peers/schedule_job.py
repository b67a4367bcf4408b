"""A real scheduler whose clock stands still until somebody moves it: schedule_job.py PROJECT LEASE_SECONDS NOW.

It tells standard output each time that it would sleep (`{"wake": UNIX_SECONDS, "busy": whether a report runs}`), and goes on when
standard input gives it the time that it is by then. Reports run in their real worker processes, with real kernels.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from workbench.scheduling import Ledger, Scheduler, read_schedule
from workbench.scheduling.processes import Processes
from workbench.settings import load_settings


class Clock:
    """Moved from outside. now: Unix seconds."""

    def __init__(self, now: float) -> None:
        self.now, self.busy = now, 0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Say until when, and wait to be told the time."""
        print(json.dumps({"wake": self.now + seconds, "busy": bool(self.busy)}), flush=True)
        self.now = float(sys.stdin.readline())


class Counted:
    """The processes of reports; tells the clock how many run."""

    def __init__(self, processes: Processes, clock: Clock) -> None:
        self._processes, self._clock = processes, clock

    def start(self, job: Any) -> Any:
        """Begin an attempt."""
        running = self._processes.start(job)
        self._clock.busy += 1
        return _Counted(running, self._clock)

    def left(self, *which: Any) -> Any:
        """What an earlier attempt left."""
        return self._processes.left(*which)


class _Counted:
    def __init__(self, running: Any, clock: Clock) -> None:
        self._running, self._clock = running, clock

    def poll(self) -> Any:
        outcome = self._running.poll()
        self._clock.busy -= outcome is not None
        return outcome

    def stop(self) -> Any:
        self._clock.busy -= 1
        return self._running.stop()


def main() -> None:
    """Run until killed, or until standard input ends."""
    settings = load_settings(Path(sys.argv[1]), environ={})
    clock = Clock(float(sys.argv[3]))
    scheduler = Scheduler(
        read_schedule(settings.reports / "schedule.toml"),
        Ledger(settings.home / "schedule" / "ledger.sqlite", f"process {os.getpid()}"),
        Counted(Processes(settings), clock), clock=clock, sleep=clock.sleep, lease=timedelta(seconds=float(sys.argv[2])),
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )  # fmt: skip
    scheduler.run()


if __name__ == "__main__":
    main()
