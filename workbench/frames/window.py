"""Which calls a frame is about, and the parts of SQL that say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args
from zoneinfo import ZoneInfo

from workbench.errors import InputError, did_you_mean
from workbench.zones import time_zone

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["GROUPS", "SAVED", "Every", "Log", "Window", "by_time", "groups", "put_after", "selected"]

Every = Literal["hour", "day", "week"]
GROUPS = ("model", "endpoint", "tenant", "feature", "prompt_ref", "release", "arm", "user", "role", "source", "run_id")
SAVED = "coalesce(sum(cost - coalesce(spent, 0)) filter (source <> 'model'), 0)"  # dollars that hits would have cost
_SECONDS = {"hour": 3600, "day": 86_400, "week": 604_800}
_MONDAY = 4 * 86_400  # the epoch began on a Thursday


class Log(Protocol):
    """What answers a query over the tables `calls`, `scores`, `feedback`, `spans` and `compared`."""

    def sql(self, query: str, parameters: Sequence[Any] = (), *, since: float | None = None) -> pd.DataFrame:
        """The answer as a DataFrame. since: Unix seconds; no row written before it is needed."""


@dataclass(frozen=True, slots=True)
class Window:
    """since, until: Unix seconds, until not included. zone: whose days they are. model, tenant, feature: only these."""

    since: float
    until: float
    zone: str = "UTC"
    model: str | None = None
    tenant: str | None = None
    feature: str | None = None

    def __post_init__(self) -> None:
        if not self.since < self.until:
            raise InputError(f"since = {self.since} must lie before until = {self.until}.")
        self.tz  # noqa: B018

    @classmethod
    def last(cls, days: float, now: float, *, zone: str = "UTC", **only: Any) -> Window:
        """The last `days` days up to `now`: whole days of the zone, today as far as it has come."""
        if not days > 0:
            raise InputError(f"days = {days!r} must be above 0.")
        midnight = datetime.fromtimestamp(now, time_zone(zone, "zone")).replace(
            hour=0, minute=0, second=0, microsecond=0
        )
        first = (
            midnight - timedelta(days=int(days) - 1) if days >= 1 else datetime.fromtimestamp(now - days * 86_400, UTC)
        )
        return cls(first.timestamp(), now + 1e-3, zone, **only)

    @property
    def tz(self) -> ZoneInfo:
        """The zone."""
        return time_zone(self.zone, "zone")

    def where(
        self, *, time: str = "ended_at", only: Sequence[str] = ("model", "tenant", "feature")
    ) -> tuple[str, list[Any]]:
        """A condition and its parameters. time: the column that the window is over."""
        conditions, values = [f"{time} >= ?", f"{time} < ?"], [self.since, self.until]
        for name in only:
            wanted = getattr(self, name)
            if wanted is not None:
                conditions.append(f"{name} = ?")
                values.append(wanted)
        return " and ".join(conditions), values

    def bin(self, every: Every, *, time: str = "ended_at") -> str:
        """SQL for the number of the hour, day or week in the zone that a moment is in. See `begin`."""
        if every not in get_args(Every):
            raise InputError(f"every = {every!r} must be one of {', '.join(get_args(Every))}.")
        offset = self._offset(time)
        return f"cast(floor(({time} + {offset} - {_shift(every)}) / {_SECONDS[every]}) as bigint)"

    def begin(self, bins: Any, every: Every) -> Any:
        """When these bins begin, as local times without a zone (datetime64)."""
        import pandas as pd

        return pd.to_datetime(bins * _SECONDS[every] + _shift(every), unit="s")

    def bins(self, every: Every) -> list[int]:
        """All bins of the window, also those without a call."""
        local = [datetime.fromtimestamp(at, self.tz) for at in (self.since, self.until - 1e-3)]
        first, last = (int((at.replace(tzinfo=UTC).timestamp() - _shift(every)) // _SECONDS[every]) for at in local)
        return list(range(first, last + 1))

    def _offset(self, time: str) -> str:
        """Seconds that the zone is ahead of UTC, by the moment: one number, or a case over the changes of the clock."""
        steps, at = [], datetime.fromtimestamp(self.since, UTC)
        end = datetime.fromtimestamp(self.until, UTC)
        before = _ahead(at, self.tz)
        while at < end:
            following = min(at + timedelta(hours=6), end)
            after = _ahead(following, self.tz)
            if after != before:
                low, high = at, following
                while high - low > timedelta(seconds=1):
                    middle = low + (high - low) / 2
                    low, high = (middle, high) if _ahead(middle, self.tz) == before else (low, middle)
                steps.append((round(high.timestamp()), before))
                before = after
            at = following
        if not steps:
            return str(before)
        return f"(case {' '.join(f'when {time} < {moment} then {ahead}' for moment, ahead in steps)} else {before} end)"


def groups(by: Sequence[str], *, known: Sequence[str] = GROUPS) -> list[str]:
    """`by`, if these are columns to group by; InputError names the nearest."""
    names = [by] if isinstance(by, str) else list(by)
    for name in names:
        if name not in known:
            meant = did_you_mean(name, known)
            raise InputError(
                f"by = {name!r}: calls are not grouped by that.{meant} They may be by: {', '.join(known)}."
            )
    return names


def by_time(
    log: Log, window: Window, columns: str, *, names: Sequence[str], every: Every, source: str = "calls", time: str = "ended_at",
    only: str = "true",
) -> pd.DataFrame:  # fmt: skip
    """One row for each hour, day or week (`at`, local, without a zone) and group of `names` that occurs, with `columns` (SQL).

    source: a table or a query, over whose column `time` the window is. only: a further condition.
    """
    where, values = window.where(time=time)
    found = log.sql(
        f"""select {selected(names, also={"bin": window.bin(every, time=time)})}, {columns}
        from {source} where {where} and {only} group by all order by all""",  # noqa: S608 - names come from a fixed list
        values,
        since=window.since,
    )
    found.insert(0, "at", window.begin(found.pop("bin"), every))
    return found


def put_after(frame: pd.DataFrame, column: str, values: Mapping[str, Any]) -> None:
    """Add columns behind another one."""
    place = list(frame.columns).index(column) + 1
    for at, (name, made) in enumerate(values.items()):
        frame.insert(place + at, name, made)


def selected(names: Sequence[str], *, also: Mapping[str, str] | None = None) -> str:
    """Columns for a select: `model, coalesce(tenant, '') as tenant`, with expressions in front."""
    parts = [f"{expression} as {name}" for name, expression in (also or {}).items()]
    parts += [f"""coalesce(cast("{name}" as varchar), '') as "{name}\"""" for name in names]
    return ", ".join(parts)


def _ahead(at: datetime, zone: ZoneInfo) -> int:
    offset = at.astimezone(zone).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())


def _shift(every: str) -> int:
    return _MONDAY if every == "week" else 0
