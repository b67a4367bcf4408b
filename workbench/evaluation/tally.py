"""What a run has come to so far: answers, errors and dollars, shown as progress."""

from __future__ import annotations

import time

from workbench.evaluation.judging.account import Judges
from workbench.evaluation.judging.asking import total
from workbench.evaluation.measurements import FRESH, Measurements
from workbench.records import Call, Usage
from workbench.running.progress import Progress, Reporter

__all__ = ["Tally"]

_MAX_CONSECUTIVE_ERRORS = 20
_REPORT_EVERY = 0.02


class Tally:
    """Counts a run's rows into its measurements. done: answers that are there."""

    def __init__(self, measurements: Measurements, judges: Judges, progress: Reporter) -> None:
        self._measurements = measurements
        self._judges = judges
        self._progress = progress
        self.done = 0
        self._reused = 0
        self._errors = 0
        self._consecutive = 0
        self._last_error: str | None = None
        self._asked: float | None = 0.0  # dollars, without the judges'
        self._reported = 0.0

    @property
    def spent(self) -> float | None:
        """Dollars now: of calls, warm-ups and judges."""
        return total(self._asked, self._judges.spent)

    def correct(self, spent: float | None) -> None:
        """So much was spent in truth, with what no row tells of."""
        known = self.spent
        self._asked = None if spent is None or known is None or self._asked is None else self._asked + spent - known

    def reuse(self, before: int) -> None:
        """Answers of earlier runs were taken in; there were so many before."""
        more = self._measurements.done - before
        self._reused += more
        self.done += more

    def note(self, row: Call) -> None:
        """Take in a row that was made now."""
        if row.error is None:
            self._asked = total(self._asked, row.spent)
        if row.warmup:
            return
        self._measurements.add(
            str(row.variant), row.example or 0, row.repeat or 0, state=FRESH, at=row.ended_at,
            scores=row.scores, latency=row.latency, first_token=row.first_token, cost=row.cost, failed=row.error is not None,
            in_flight=row.in_flight, usage=Usage(row.prompt_tokens, row.completion_tokens, row.cached_tokens),
        )  # fmt: skip
        if row.error is None:
            self.done += 1
            self._consecutive = 0
        else:
            self._errors += 1
            self._consecutive += 1
            self._last_error = row.error_message
        self.report(row.model)

    @property
    def failing(self) -> str | None:
        """Why going on makes no sense: too many calls in a row failed."""
        if self._consecutive < _MAX_CONSECUTIVE_ERRORS:
            return None
        return f"{self._consecutive} calls in a row failed, the last with: {self._last_error}"

    def report(self, label: str, *, finished: bool = False) -> None:
        """Show progress, at most fifty times a second."""
        now = time.monotonic()
        if not finished and now < self._reported + _REPORT_EVERY:
            return
        self._reported = now
        self._progress(
            Progress(self.done, self._measurements.total, self._reused, self._errors, self.spent, label, finished)
        )
