"""Time zones by their names."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from workbench.errors import InputError, did_you_mean

__all__ = ["time_zone"]


def time_zone(name: str, setting: str = "timezone") -> ZoneInfo:
    """The zone of that name, such as Europe/Berlin; InputError, with the setting and the nearest zone, if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        from zoneinfo import available_timezones

        meant = did_you_mean(name, available_timezones()) or " Names are like 'Europe/Berlin' or 'UTC'."
        raise InputError(f"{setting} = {name!r}: there is no such time zone.{meant}") from None
