"""`reports/schedule.toml`: which report runs when, with what, and who is told."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

from workbench.errors import InputError, did_you_mean
from workbench.reporting import Alert, Check, alert_of, check_webhook, parse_check
from workbench.scheduling.cron import Cron
from workbench.zones import time_zone

__all__ = ["CatchUp", "Entry", "Schedule", "read_schedule"]

CatchUp = Literal["once", "all", "none"]
_Made = TypeVar("_Made")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,79}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A report that runs by itself. notebook: a name or a path. timeout, retry_after: seconds. retries: after the first attempt.

    catch_up: of times that were missed, the latest ("once"), every one ("all") or none. keep: runs that stay in the archive.
    """

    name: str
    notebook: str
    cron: Cron
    parameters: Mapping[str, Any] = field(default_factory=dict)
    timeout: float = 3600.0
    catch_up: CatchUp = "once"
    retries: int = 1
    retry_after: float = 300.0
    keep: int = 60
    checks: tuple[Check, ...] = ()
    webhook: str = field(default="", repr=False)
    webhook_env: str = ""
    command: tuple[str, ...] = ()
    enabled: bool = True

    def alert(self, env: Mapping[str, str] | None = None) -> Alert | None:
        """Who is told; the webhook's address may stand in a variable of the environment. None if nobody is."""
        return alert_of(self.webhook, self.webhook_env, self.command, env)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The entries of a file. running: reports at once; those of one name never overlap."""

    file: Path
    entries: tuple[Entry, ...]
    zone: str = "UTC"
    running: int = 1

    def __getitem__(self, name: str) -> Entry:
        for entry in self.entries:
            if entry.name == name:
                return entry
        known = [entry.name for entry in self.entries]
        meant = did_you_mean(name, known)
        raise InputError(f"{self.file} has no report {name!r}.{meant} It has: {', '.join(known) or 'none'}.")


def read_schedule(path: Path) -> Schedule:
    """The schedule in a TOML file. Raises InputError that names file, field, value and fix."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"there is no schedule {path}. Write one, such as:\n\n{_SAMPLE}\nthen see `workbench schedule next`."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not TOML: {error}.") from None
    known = {"timezone": str, "running": int, "reports": dict}
    _fields(data, known, str(path))
    zone = str(data.get("timezone", "UTC"))
    try:
        time_zone(zone)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    running = data.get("running", 1)
    if running < 1:
        raise InputError(f"{path}: running = {running}: how many reports run at once is at least 1.")
    entries = tuple(_entry(path, name, values, zone) for name, values in data.get("reports", {}).items())
    return Schedule(path, entries, zone, running)


_SAMPLE = """timezone = "Europe/Berlin"

[reports.nightly]
notebook = "ab_comparison"
cron = "0 3 * * *"          # every night at three
parameters = { limit = 40 }
"""
_ENTRY: Mapping[str, type | tuple[type, ...]] = {
    "notebook": str, "cron": str, "timezone": str, "parameters": dict, "timeout": (int, float), "catch_up": str,
    "retries": int, "retry_after": (int, float), "keep": int, "checks": list, "webhook": str, "webhook_env": str,
    "command": list, "enabled": bool,
}  # fmt: skip


def _entry(path: Path, name: str, values: Any, zone: str) -> Entry:
    where = f"{path}: [reports.{name}]"
    if not _NAME.fullmatch(name):
        raise InputError(f"{where}: a report's name has letters, digits, '_', '-' and '.', at most 80.")
    if not isinstance(values, dict):
        raise InputError(f"{where} must be a table with notebook and cron.")
    _fields(values, _ENTRY, where)
    for needed in ("notebook", "cron"):
        if not values.get(needed):
            raise InputError(f"{where}: {needed} is missing.")
    if values.get("catch_up", "once") not in get_args(CatchUp):
        raise InputError(f"{where}: catch_up = {values['catch_up']!r} must be one of {', '.join(get_args(CatchUp))}.")
    for key, least in (("timeout", 1), ("retries", 0), ("retry_after", 0), ("keep", 1)):
        if key in values and values[key] < least:
            raise InputError(f"{where}: {key} = {values[key]} must be at least {least}.")
    for key in ("checks", "command"):
        if not all(isinstance(item, str) for item in values.get(key, [])):
            raise InputError(f"{where}: {key} = {values[key]!r} must be a list of texts.")
    if values.get("webhook"):
        _told(where, lambda: check_webhook(values["webhook"]))
    plain = {
        key: values[key]
        for key in ("notebook", "parameters", "retries", "keep", "webhook", "webhook_env", "enabled")
        if key in values
    }
    return Entry(
        name=name,
        cron=_told(where, lambda: Cron(values["cron"], values.get("timezone", zone))),
        checks=_told(where, lambda: tuple(parse_check(text) for text in values.get("checks", []))),
        command=tuple(values.get("command", [])),
        timeout=float(values.get("timeout", 3600)),
        retry_after=float(values.get("retry_after", 300)),
        catch_up=cast("CatchUp", values.get("catch_up", "once")),
        **plain,
    )


def _told(where: str, make: Callable[[], _Made]) -> _Made:
    try:
        return make()
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _fields(values: Mapping[str, Any], known: Mapping[str, type | tuple[type, ...]], where: str) -> None:
    for key, value in values.items():
        if key not in known:
            meant = did_you_mean(key, known)
            raise InputError(f"{where}: there is no field {key!r}.{meant} It may have: {', '.join(known)}.")
        wanted = known[key]
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            kinds = wanted if isinstance(wanted, tuple) else (wanted,)
            names = {str: "text", dict: "a table", list: "a list", bool: "true or false"}
            told = names.get(kinds[0], "a number")
            raise InputError(f"{where}: {key} = {value!r} must be {told}.")
