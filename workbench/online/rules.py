"""Guardrails: what must not get worse, and by how much; written by who guards a feature, read by all who count for it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from workbench.errors import InputError
from workbench.records import check_name

__all__ = ["BUILT_IN", "COST", "ERRORS", "SLOW", "SLOW_SHARE", "Guardrail", "Rules", "slow_key"]

ERRORS: Final = "errors"
SLOW: Final = "slow"
COST: Final = "cost"
BUILT_IN: Final = (ERRORS, SLOW, COST)
SLOW_SHARE: Final = 0.05
"""P95 lies above a time if and only if more than this share of the calls takes longer."""


def slow_key(seconds: float) -> str:
    """The metric of calls that take longer than so many seconds."""
    return f"{SLOW}-{seconds:g}"


@dataclass(frozen=True, slots=True)
class Guardrail:
    """One measure that must not get worse.

    metric: "errors" (share of calls that fail), "slow" (share of calls that take longer than `seconds`), "cost" (dollars a call),
    or the name of an outcome, such as a quality score. margin: by how much a treatment may be worse than the control;
    relative: as a share of the control's. limit: what neither a treatment nor the live release may go beyond. None: not checked.
    lower_is_worse: for scores.
    """

    metric: str
    margin: float | None = None
    relative: bool = False
    limit: float | None = None
    lower_is_worse: bool = False
    seconds: float | None = None

    def __post_init__(self) -> None:
        check_name(self.metric, "guardrail")
        if self.margin is None and self.limit is None:
            raise InputError(
                f"guardrail {self.metric!r} checks nothing: give a margin against the control, a limit, or both."
            )
        for name, value in (("margin", self.margin), ("limit", self.limit), ("seconds", self.seconds)):
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value)
            ):
                raise InputError(f"guardrail {self.metric!r}: {name} = {value!r} must be a number.")
        if self.margin is not None and self.margin < 0:
            raise InputError(f"guardrail {self.metric!r}: margin = {self.margin!r} must be at least 0.")
        if (self.metric == SLOW) != (self.seconds is not None):
            raise InputError(f"guardrail {self.metric!r}: `seconds` belongs to the guardrail 'slow', and only to it.")

    @property
    def key(self) -> str:
        """What its values are kept under: slow ones apart by what slow meant."""
        return self.metric if self.seconds is None else slow_key(self.seconds)

    @classmethod
    def p95(cls, seconds: float, margin: float | None = None) -> Guardrail:
        """The 95th percentile of latency must not lie above `seconds`: at most 5% of the calls may take longer. margin: by how
        much more a treatment's share of such calls may be than the control's."""
        return cls(SLOW, margin=margin, limit=SLOW_SHARE, seconds=seconds)


@dataclass(frozen=True, slots=True)
class Rules:
    """All guardrails of a feature.

    level: the probability, all together and however often and long one looks, that any of them fails without cause: the budget
    that they share, over a live release and an experiment on it. fewest: users in each arm (or of the live release) below which
    nothing is decided.
    """

    guardrails: tuple[Guardrail, ...]
    level: float = 0.05
    fewest: int = 100

    def __post_init__(self) -> None:
        if not self.guardrails:
            raise InputError("there are no guardrails: give at least one, such as Guardrail('errors', margin=0.02).")
        names = [rail.metric for rail in self.guardrails]
        if len(set(names)) < len(names):
            raise InputError(f"guardrails {names!r}: each metric once; one guardrail can hold a margin and a limit.")
        if not 0 < self.level < 1:
            raise InputError(f"level = {self.level!r} must lie between 0 and 1, such as 0.05.")
        if not isinstance(self.fewest, int) or self.fewest < 30:
            raise InputError(
                f"fewest = {self.fewest!r}: the intervals are asymptotic, and need at least 30 users in each arm."
            )

    @property
    def seconds(self) -> float | None:
        """What a slow call takes longer than."""
        return next((rail.seconds for rail in self.guardrails if rail.metric == SLOW), None)

    @property
    def limits(self) -> bool:
        """Whether the live release is watched too."""
        return any(rail.limit is not None for rail in self.guardrails)

    def to_json(self) -> str:
        """One line."""
        told = {"version": 1, "level": self.level, "fewest": self.fewest}
        return json.dumps(told | {"guardrails": [asdict(rail) for rail in self.guardrails]}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> Rules:
        """The inverse. InputError for what is not that."""
        try:
            values = json.loads(text)
            if values["version"] != 1:
                raise InputError(
                    f"these guardrails are written in version {values['version']!r}; this program reads 1."
                )
            rails: Sequence[Mapping[str, Any]] = values["guardrails"]
            return cls(tuple(Guardrail(**rail) for rail in rails), values["level"], values["fewest"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"these are no guardrails: {error}. Write them with Rules.to_json.") from None
