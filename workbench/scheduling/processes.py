"""Each attempt in a process of its own: the scheduler stays small for months, and a report that takes the interpreter down takes
only its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import orjson

from workbench.reporting import Archive
from workbench.scheduling.scheduler import Job, Outcome, Running
from workbench.scheduling.worker import tell
from workbench.settings import Settings

__all__ = ["Processes"]

_OVER = 120.0  # seconds that the process may take beyond the report's own limit
_ENDING = 20.0


class Processes:
    """Starts `python -m workbench.scheduling.worker`; what it prints goes to HOME/schedule/REPORT.log."""

    def __init__(self, settings: Settings, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._monotonic = settings, monotonic
        self._archive = Archive(settings.reports)

    def start(self, job: Job) -> Running:
        """Begin an attempt. Raises OSError if no process can be made."""
        folder = self._settings.home / "schedule"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{job.entry.name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "workbench.scheduling.worker"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=self._settings.project, start_new_session=True,
            )  # fmt: skip
        entry = job.entry
        asked: dict[str, Any] = {
            "name": entry.name,
            "notebook": entry.notebook,
            "parameters": dict(entry.parameters),
            "timeout": entry.timeout,
            "keep": entry.keep,
            "checks": [str(check) for check in entry.checks],
            "webhook": entry.webhook,
            "webhook_env": entry.webhook_env,
            "command": list(entry.command),
            "slot": job.due.isoformat(),
            "attempt": job.attempt,
            "last": job.attempt > entry.retries,
            "project": str(self._settings.project),
        }
        assert process.stdin is not None  # noqa: S101
        try:
            process.stdin.write(orjson.dumps(asked) + b"\n")
            process.stdin.flush()  # and stays open: its end tells the worker that we are gone
        except OSError:
            pass  # it is gone already, and says why in the log
        until = self._monotonic() + entry.timeout + _OVER
        return _Process(process, asked, self._monotonic, until, folder / f"{entry.name}.log")

    def left(self, name: str, due: datetime, attempt: int) -> Outcome | None:
        """What an attempt left in the archive, if it completed."""
        slot = due.astimezone(UTC).isoformat(timespec="seconds")
        for run in self._archive.runs(name):
            if run.result.get("slot") == slot and run.result.get("attempt") == attempt:
                status = str(run.result.get("status"))
                if status in ("completed", "breached"):
                    return Outcome(status, "", str(run.page))
        return None


class _Process:
    def __init__(
        self,
        process: subprocess.Popen[bytes],
        asked: Mapping[str, Any],
        monotonic: Callable[[], float],
        until: float,
        log: Path,
    ) -> None:
        self._process, self._asked, self._monotonic, self._until, self._log = process, asked, monotonic, until, log
        self._stopping = False

    def poll(self) -> Outcome | None:
        code = self._process.poll()
        if code is None and self._monotonic() > self._until:
            self._process.kill()
            self._process.wait()
            return self._dead("timed out", "the process did not end when its time was up, and was killed")
        return None if code is None else self._result(code)

    def stop(self) -> Outcome:
        self._stopping = True
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_ENDING)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        found = self._result(self._process.returncode)
        return found if found.status in ("completed", "breached") else Outcome("interrupted", found.error, found.page)

    def _result(self, code: int) -> Outcome:
        assert self._process.stdout is not None  # noqa: S101
        said = self._process.stdout.read()
        try:
            answer = orjson.loads(said)
            return self._close(Outcome(answer["status"], answer["error"], answer["page"]))
        except (orjson.JSONDecodeError, KeyError, TypeError):
            why = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
            if self._stopping:
                return self._close(Outcome("interrupted", f"stopped ({why})"))
            return self._dead("failed", f"its process ended without a result ({why}); see {self._log}")

    def _dead(self, status: str, why: str) -> Outcome:
        """A process that could not tell anybody itself. Beside the scheduler, whose lease does not wait for a slow webhook."""
        threading.Thread(target=self._tell, args=(status, why), name="tell").start()
        return self._close(Outcome(status, why))

    def _tell(self, status: str, why: str) -> None:
        for problem in tell(self._asked, status, why):
            with self._log.open("a", encoding="utf-8") as log:
                log.write(f"{problem}\n")

    def _close(self, outcome: Outcome) -> Outcome:
        for stream in (self._process.stdin, self._process.stdout):
            _shut(stream)
        return outcome


def _shut(stream: IO[bytes] | None) -> None:
    try:
        if stream is not None:
            stream.close()
    except OSError:
        pass  # a pipe whose other end is gone
