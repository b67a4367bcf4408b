"""Whose data is to go, and by which ids the places that keep some of it know it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from workbench.errors import InputError

__all__ = ["Traces", "Who", "who_of"]


@dataclass(frozen=True, slots=True)
class Who:
    """What goes is what fits all that is given. before: Unix seconds."""

    user: str | None = None
    tenant: str | None = None
    before: float | None = None

    def conditions(self, when: str) -> tuple[str, list[Any]]:
        """As SQL over a table of the log, and its parameters. when: the column with the time."""
        given = {'"user" = ?': self.user, "tenant = ?": self.tenant, f"{when} < ?": self.before}
        asked = {text: value for text, value in given.items() if value is not None}
        return " and ".join(asked), list(asked.values())

    def fits(self, user: Any, tenant: Any, at: float | None) -> bool:
        """Whether a row of theirs goes. at: Unix seconds."""
        return (
            (self.user is None or user == self.user)
            and (self.tenant is None or tenant == self.tenant)
            and (self.before is None or (at is not None and at < self.before))
        )

    def __str__(self) -> str:
        until = None if self.before is None else f"before {datetime.fromtimestamp(self.before, UTC):%Y-%m-%d %H:%M} UTC"
        user = None if self.user is None else f"user {self.user}"
        tenant = None if self.tenant is None else f"tenant {self.tenant}"
        return ", ".join(part for part in (user, tenant, until) if part)


@dataclass(slots=True)
class Traces:
    """Ids by which the calls that go are known elsewhere. calls: call_ids. traces: trace_ids. scopes: (model, prompt_ref) of
    them. examples: ids of data sets' examples that were made from them. judges: call_ids of calls about any of them. texts: what
    was asked and answered, by which other judges' calls are told."""

    calls: set[str] = field(default_factory=set)
    traces: set[str] = field(default_factory=set)
    scopes: set[tuple[str, str | None]] = field(default_factory=set)
    examples: set[str] = field(default_factory=set)
    judges: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)


def who_of(user: str | None, tenant: str | None, before: str | float | None) -> Who:
    """From what was given. before: a date (UTC), a date with a time, or Unix seconds. Raises InputError."""
    if user == "" or tenant == "":
        raise InputError("user and tenant must not be empty: nothing was removed.")
    if isinstance(before, str):
        try:
            at = datetime.fromisoformat(before.strip())
        except ValueError:
            raise InputError(f"before = {before!r} is no date: write one such as 2026-11-28.") from None
        before = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    if user is None and tenant is None and before is None:
        raise InputError("whose data? Name a user, a tenant or a date: --user U, --tenant T, --before 2026-11-28.")
    return Who(user, tenant, before)
