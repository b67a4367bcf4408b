"""Which slot of which report came to what: an SQLite file in the workbench home, so that each slot ends once.

A slot is a report's name and the time it was due. It is written down before anything runs, its attempts are numbered, and it
gets one outcome. Whoever holds the lease may write; a scheduler that lost it finds its writes refused.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workbench.errors import StoreError

__all__ = ["Attempt", "Ledger", "LostLeaseError", "Slot"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS reports (report TEXT PRIMARY KEY, looked_until TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS slots (
    report TEXT NOT NULL, slot TEXT NOT NULL, not_before TEXT NOT NULL, outcome TEXT, decided_at TEXT,
    note TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (report, slot)) STRICT;
CREATE INDEX IF NOT EXISTS open_slots ON slots (slot) WHERE outcome IS NULL;
CREATE TABLE IF NOT EXISTS attempts (
    report TEXT NOT NULL, slot TEXT NOT NULL, number INTEGER NOT NULL, holder TEXT NOT NULL, started_at TEXT NOT NULL,
    ended_at TEXT, status TEXT, error TEXT NOT NULL DEFAULT '', page TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (report, slot, number)) STRICT;
CREATE TABLE IF NOT EXISTS lease (id INTEGER PRIMARY KEY CHECK (id = 1), holder TEXT NOT NULL, until TEXT NOT NULL) STRICT;
"""


class LostLeaseError(Exception):
    """Another scheduler holds the lease now: stop what runs, and wait."""


@dataclass(frozen=True, slots=True)
class Slot:
    """due: UTC. outcome: None while open, else completed, breached, failed, timed out, interrupted, lost, missed or
    skipped. attempts: how many began. note: why it was missed or skipped, or the last error."""

    report: str
    due: datetime
    not_before: datetime
    outcome: str | None
    note: str
    attempts: int
    page: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that began and has no end yet."""

    report: str
    due: datetime
    number: int
    holder: str


class Ledger:
    """The ledger in `path`; made if it is not there. holder: who writes through this object. Raises StoreError."""

    def __init__(self, path: Path, holder: str) -> None:
        self.path, self.holder = path, holder
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")  # an outcome that was told is there after a power cut
            self._db.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"the schedule's ledger {path} cannot be opened: {error}.") from None

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # -- the lease --------------------------------------------------------------------------------------------------

    def hold(self, now: datetime, until: datetime) -> bool:
        """Take or renew the lease; False if another holds it."""
        with self._write():
            row = self._db.execute("SELECT holder, until FROM lease").fetchone()
            if row is not None and row[0] != self.holder and row[1] > _text(now):
                return False
            self._db.execute("INSERT OR REPLACE INTO lease VALUES (1, ?, ?)", (self.holder, _text(until)))
            return True

    def release(self) -> None:
        """Give the lease up, so that another need not wait for its end."""
        with self._write():
            self._db.execute("DELETE FROM lease WHERE holder = ?", (self.holder,))

    def held_by(self, now: datetime) -> str | None:
        """Who holds the lease, None if nobody does."""
        row = self._db.execute("SELECT holder, until FROM lease").fetchone()
        return None if row is None or row[1] <= _text(now) else str(row[0])

    # -- slots ------------------------------------------------------------------------------------------------------

    def looked_until(self, report: str, now: datetime) -> datetime:
        """Up to when the report's slots are written down; a report that is new here begins now."""
        row = self._db.execute("SELECT looked_until FROM reports WHERE report = ?", (report,)).fetchone()
        if row is not None:
            return _time(row[0])
        with self._mine():
            self._db.execute("INSERT OR IGNORE INTO reports VALUES (?, ?)", (report, _text(now)))
        return now

    def admit(self, report: str, due: Sequence[datetime], until: datetime) -> None:
        """Write slots down, and that there is no other up to `until`."""
        with self._mine():
            self._db.executemany(
                "INSERT OR IGNORE INTO slots (report, slot, not_before) VALUES (?, ?, ?)",
                [(report, _text(slot), _text(slot)) for slot in due],
            )
            self._db.execute("INSERT OR REPLACE INTO reports VALUES (?, ?)", (report, _text(until)))

    def decide(self, report: str, due: datetime, outcome: str, now: datetime, note: str = "") -> bool:
        """Give an open slot its outcome; False if it had one."""
        with self._mine():
            return self._decide(report, due, outcome, now, note)

    def begin(self, report: str, due: datetime, now: datetime) -> int:
        """Write down that an attempt begins; returns its number, from 1."""
        with self._mine():
            key = (report, _text(due))
            row = self._db.execute("SELECT count(*) FROM attempts WHERE report = ? AND slot = ?", key).fetchone()
            number = int(row[0]) + 1
            self._db.execute(
                "INSERT INTO attempts (report, slot, number, holder, started_at) VALUES (?, ?, ?, ?, ?)",
                (*key, number, self.holder, _text(now)),
            )
            return number

    def end(
        self, attempt: Attempt, status: str, now: datetime, *, error: str = "", page: str = "", again: datetime | None
    ) -> None:
        """An attempt's end. again: when the slot is tried once more; None decides it."""
        with self._mine():
            key = (attempt.report, _text(attempt.due))
            self._db.execute(
                "UPDATE attempts SET ended_at = ?, status = ?, error = ?, page = ? WHERE report = ? AND slot = ? AND number = ?",
                (_text(now), status, error, page, *key, attempt.number),
            )
            if again is None:
                self._decide(attempt.report, attempt.due, status, now, error)
            else:
                self._db.execute(
                    "UPDATE slots SET not_before = ?, note = ? WHERE report = ? AND slot = ?",
                    (_text(again), error, *key),
                )

    def open_slots(self, report: str | None = None) -> list[Slot]:
        """Those without an outcome, oldest first."""
        return self._slots("outcome IS NULL" + (" AND slots.report = ?" if report else ""), (report,) if report else ())

    def history(self, report: str | None = None, limit: int = 50) -> list[Slot]:
        """The latest slots, newest first."""
        where, values = ("slots.report = ?", (report,)) if report else ("1", ())
        return self._slots(where, values, order=f"DESC LIMIT {int(limit)}")

    def unfinished(self) -> list[Attempt]:
        """Attempts that began and have no end: they run, or whoever ran them is gone."""
        rows = self._db.execute(
            "SELECT report, slot, number, holder FROM attempts WHERE ended_at IS NULL ORDER BY slot"
        )
        return [Attempt(report, _time(slot), number, holder) for report, slot, number, holder in rows]

    def _slots(self, where: str, values: tuple[Any, ...], order: str = "ASC") -> list[Slot]:
        # `where` and `order` are texts of this file
        rows = self._db.execute(
            f"""SELECT slots.report, slots.slot, not_before, outcome, note,
            count(attempts.number), coalesce(max(attempts.page), '')
            FROM slots LEFT JOIN attempts ON attempts.report = slots.report AND attempts.slot = slots.slot
            WHERE {where} GROUP BY slots.report, slots.slot ORDER BY slots.slot {order}""",  # noqa: S608
            values,
        )
        return [Slot(row[0], _time(row[1]), _time(row[2]), *row[3:]) for row in rows]

    def _decide(self, report: str, due: datetime, outcome: str, now: datetime, note: str) -> bool:
        done = self._db.execute(
            "UPDATE slots SET outcome = ?, decided_at = ?, note = ? WHERE report = ? AND slot = ? AND outcome IS NULL",
            (outcome, _text(now), note, report, _text(due)),
        )
        return done.rowcount == 1

    @contextmanager
    def _mine(self) -> Iterator[None]:
        """A transaction of the lease's holder; LostLeaseError for another."""
        with self._write():
            row = self._db.execute("SELECT holder FROM lease").fetchone()
            if row is None or row[0] != self.holder:
                raise LostLeaseError(row[0] if row else "nobody")
            yield

    @contextmanager
    def _write(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(f"the schedule's ledger {self.path} cannot be written: {error}.") from None


def _text(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="microseconds")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
