"""When a report is due: five cron fields in a time zone, with cron's meaning where APScheduler's differs.

APScheduler finds what the clocks show. Three things are put right around it: it counts weekdays from Monday, cron from Sunday; it
wants both day fields to match where cron takes either; and over a change of the clocks it fires twice, or leaves a night out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from workbench.errors import InputError
from workbench.zones import time_zone

__all__ = ["Cron"]

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NAMES = {
    "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}  # fmt: skip
_CHANGE = timedelta(hours=3)  # more than any clock is put forward or back
_FIELDS = ("minute", "hour", "day of month", "month", "day of week")


class Cron:
    """A cron expression in a time zone.

    In the hour that summer time leaves out, a fixed time runs once, an hour later by the clock; in the hour that its end
    repeats, it runs once, the first time. Hours written with `*` go on by elapsed time. Raises InputError for what is none.
    """

    def __init__(self, expression: str, zone: str = "UTC") -> None:
        self.expression, self.zone = expression, zone
        self.tz = time_zone(zone)
        fields = _NAMES.get(expression.strip().lower(), expression).split()
        if len(fields) != len(_FIELDS):
            raise InputError(
                f"cron = {expression!r} has {len(fields)} fields, but cron has five: {', '.join(_FIELDS)}; "
                "such as '0 3 * * *' for every night at three, or @daily."
            )
        self.fields = tuple(fields)
        minute, hour, day, month, weekday = fields
        self._elapsed = hour.startswith("*")
        weekdays = _weekdays(weekday, expression)
        self.weekdays = () if weekdays == "*" else tuple(weekdays.split(","))
        either = not day.startswith("*") and not weekday.startswith("*")
        wanted = [(day, "*"), ("*", weekdays)] if either else [(day, weekdays)]
        self._triggers = [self._trigger(minute, hour, of, month, on) for of, on in wanted]
        if self.after(datetime(2024, 1, 1, tzinfo=UTC)) is None:
            raise InputError(f"cron = {expression!r} never comes: is there such a day in that month?")

    def _trigger(self, minute: str, hour: str, day: str, month: str, weekday: str) -> Any:
        from apscheduler.triggers.cron import CronTrigger

        try:
            return CronTrigger(
                minute=minute, hour=hour, day=day, month=month.lower(), day_of_week=weekday, timezone=UTC
            )
        except ValueError as error:
            raise InputError(f"cron = {self.expression!r}: {error}.") from None

    def after(self, when: datetime) -> datetime | None:
        """The first time later than `when`, in UTC; None if there is none in the next years."""
        at = when.astimezone(UTC)
        wall = self._next_wall(self._wall(at))
        if wall is None:
            return None
        found = wall.replace(tzinfo=self.tz).astimezone(UTC)
        return self._near_change(at) if self._changes(at) or self._changes(found) else found

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """The times later than `after` up to `until`, oldest first, in UTC."""
        at = self.after(after)
        while at is not None and at <= until:
            yield at
            at = self.after(at)

    def _near_change(self, at: datetime) -> datetime | None:
        """As `after`, where the clock is put forward or back near by: walls are looked at one by one, from before the change."""
        best: datetime | None = None
        wall = self._next_wall(self._wall(at) - _CHANGE)
        while wall is not None:
            times = self._times(wall)
            if best is not None and wall.replace(tzinfo=self.tz).astimezone(UTC) > best + _CHANGE:
                break
            best = min((time for time in [*times, *([best] if best else [])] if time > at), default=None)
            wall = self._next_wall(wall)
        return best

    def _times(self, wall: datetime) -> list[datetime]:
        """When the clocks show this, in UTC: once, not at all, or twice."""
        first, second = (wall.replace(tzinfo=self.tz, fold=fold).astimezone(UTC) for fold in (0, 1))
        if first == second or not self._elapsed:
            return [first]  # of a wall that is left out, zoneinfo's answer lies as far behind the change
        return [first, second] if first < second else []

    def _next_wall(self, wall: datetime) -> datetime | None:
        """What the clocks show at the next time; the triggers see it as UTC, for over a change their own sums go wrong."""
        asked = wall.replace(tzinfo=UTC) + timedelta(
            microseconds=1
        )  # a trigger that is asked anew gives the same time too
        found = [trigger.get_next_fire_time(None, asked) for trigger in self._triggers]
        return min((time.replace(tzinfo=None) for time in found if time is not None), default=None)

    def _wall(self, at: datetime) -> datetime:
        return at.astimezone(self.tz).replace(tzinfo=None)

    def _changes(self, at: datetime) -> bool:
        return (at - _CHANGE).astimezone(self.tz).utcoffset() != (at + _CHANGE).astimezone(self.tz).utcoffset()

    def __repr__(self) -> str:
        return f"Cron({self.expression!r}, {self.zone!r})"


def _weekdays(field: str, expression: str) -> str:
    """The field as names, for numbers mean other days to the trigger: 0 and 7 are Sunday to cron."""
    if field == "*":
        return field
    days: set[int] = set()
    for part in field.lower().split(","):
        match = re.fullmatch(r"(\*|[0-7]|[a-z]{3})(?:-([0-7]|[a-z]{3}))?(?:/(\d+))?", part)
        step = int(match[3] or 1) if match else 0
        if match is None or (match[1] == "*" and match[2]) or not step:
            raise InputError(
                f"cron = {expression!r}: {part!r} is no day of the week; write 0 to 7 (0 and 7 are Sunday), sun to sat, "
                "a range such as mon-fri, or a list."
            )
        if match[1] == "*":
            days.update(range(0, 7, step))
            continue
        first = _weekday(match[1], expression)
        last = _weekday(match[2], expression) if match[2] else 6 if match[3] else first
        last += 7 if last < first else 0  # fri-mon, 5-7
        days.update(day % 7 for day in range(first, last + 1, step))
    return ",".join(_DAYS[day] for day in sorted(days))


def _weekday(text: str, expression: str) -> int:
    if text.isdigit():
        return int(text) % 7
    if text in _DAYS:
        return _DAYS.index(text)
    raise InputError(f"cron = {expression!r}: {text!r} is no day of the week; they are {', '.join(_DAYS)}.")
