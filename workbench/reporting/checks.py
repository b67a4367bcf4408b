"""Thresholds on what a report published: `cost.daily_usd < 20`."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workbench.budgets import Budget
from workbench.errors import InputError, did_you_mean
from workbench.tables import format_number

__all__ = ["Check", "Checked", "budget_checks", "parse_check"]

_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_FORM = re.compile(
    r"\s*(?P<name>\S(?:.*?\S)??)\s*(?P<sign><=|>=|<|>)\s*(?P<limit>[-+]?[\d_]*\.?\d+(?:[eE][-+]?\d+)?)\s*"
)


@dataclass(frozen=True, slots=True)
class Checked:
    """A check and what came of it. holds: None if the number is not known, which is a breach too. said: one sentence."""

    text: str
    value: float | None
    holds: bool | None
    said: str


@dataclass(frozen=True, slots=True)
class Check:
    """What must hold: the number of this name, the sign, the limit."""

    name: str
    sign: str
    limit: float

    def __str__(self) -> str:
        return f"{self.name} {self.sign} {self.limit:g}"

    def on(self, numbers: Mapping[str, float | None]) -> Checked:
        """Held against what a report published; what it did not publish is unknown, and says what was probably meant."""
        value = numbers.get(self.name)
        if value is not None:
            holds = bool(_COMPARE[self.sign](value, self.limit))
            said = f"{self} {'holds' if holds else 'does not hold'}: it is {shown(value)}."
            return Checked(str(self), value, holds, said)
        if self.name in numbers:
            return Checked(str(self), None, None, f"{self} could not be checked: {self.name} is unknown.")
        there = did_you_mean(self.name, numbers) or f" There is: {', '.join(numbers) or 'none'}."
        return Checked(
            str(self), None, None, f"{self} could not be checked: the report has no number {self.name!r}.{there}"
        )


def budget_checks(budgets: Sequence[Budget]) -> list[Check]:
    """The project's budgets as checks, on the numbers that the cost dashboard publishes."""
    return [Check(budget.number, "<=", budget.usd) for budget in budgets]


def parse_check(text: str) -> Check:
    """`NAME < NUMBER`, with <, <=, > or >=. Raises InputError for anything else."""
    match = _FORM.fullmatch(text)
    if match is None or match["name"][-1] in "<>=!":  # `<<`, `=>`
        raise InputError(
            f"check {text!r} must be NAME, one of {', '.join(_COMPARE)}, and a number; such as 'cost.daily_usd < 20'."
        )
    return Check(match["name"], match["sign"], float(match["limit"]))


def shown(value: float | None) -> str:
    """A number as people read it: three significant digits of a small one, decimals cut from a large one."""
    if value is None:
        return "unknown"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return format_number(value, 1) if abs(value) >= 100 else f"{value:.3g}"
