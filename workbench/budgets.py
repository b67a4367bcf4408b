"""Budgets in dollars, as `[budgets]` of workbench.toml says them: of all, of a tenant, of a feature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.errors import SettingsError, did_you_mean

__all__ = ["PERIODS", "Budget", "read_budgets"]

PERIODS = {"daily": "day", "monthly": "month"}
_FIELDS = tuple(f"{period}_usd" for period in PERIODS)
_PARTS = {"tenants": "tenant", "features": "feature"}


@dataclass(frozen=True, slots=True)
class Budget:
    """usd: the most that may be spent in a day or a month (`period`); of one tenant or feature, or of all."""

    usd: float
    period: str
    tenant: str | None = None
    feature: str | None = None

    @property
    def of(self) -> str:
        """What it bounds: `all`, `tenant acme` or `feature triage-api`."""
        return f"tenant {self.tenant}" if self.tenant else f"feature {self.feature}" if self.feature else "all"

    @property
    def number(self) -> str:
        """The number of a report that is held against it, such as `budget.daily_usd` or `budget.tenant.acme.daily_usd`."""
        part = f"tenant.{self.tenant}." if self.tenant else f"feature.{self.feature}." if self.feature else ""
        return f"budget.{part}{self.period}_usd"

    def __str__(self) -> str:
        return f"${self.usd:,.2f} {self.period} of {self.of}"


def read_budgets(table: Any, where: str) -> tuple[Budget, ...]:
    """From the table `budgets`. Raises SettingsError that names field, value and fix; where: the file."""
    name = f"{where}: [budgets]"
    if not isinstance(table, dict):
        raise SettingsError(f"{name} must be a table with daily_usd or monthly_usd.")
    found = list(_of(table, name, (*_FIELDS, *_PARTS)))
    for part, field in _PARTS.items():
        named = table.get(part, {})
        if not isinstance(named, dict):
            raise SettingsError(f"{where}: [budgets.{part}] must hold tables, such as [budgets.{part}.NAME].")
        for key, values in named.items():
            place = f"{where}: [budgets.{part}.{key}]"
            if not isinstance(values, dict) or not key:
                raise SettingsError(f"{place} must be a table with daily_usd or monthly_usd.")
            bounds = _of(values, place, _FIELDS)
            found += [Budget(one.usd, one.period, **{field: key}) for one in bounds]
    return tuple(found)


def _of(table: Mapping[str, Any], where: str, known: tuple[str, ...]) -> list[Budget]:
    for name in table:
        if name not in known:
            meant = did_you_mean(name, known)
            raise SettingsError(f"{where}: unknown field {name!r}.{meant} Known: {', '.join(known)}.")
    found = []
    for period, field in zip(PERIODS, _FIELDS, strict=True):
        value = table.get(field)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e12:
            raise SettingsError(f"{where}: {field} = {value!r} must be dollars, a number above 0.")
        found.append(Budget(float(value), period))
    return found
