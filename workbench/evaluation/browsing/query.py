"""What of a run's examples is asked for, and in which order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from workbench.errors import InputError, did_you_mean
from workbench.evaluation.marks import MARKED

__all__ = ["FILTERS", "SIDES", "SORTS", "Condition", "Query"]

FILTERS = ("all", "changed", "worse", "better", "different", "unscored", "error")
SORTS = ("data", "asked", "lowest", "worst", "best", "change", "slowest", "dearest")
SIDES = ("above", "below", "at least", "at most")


@dataclass(frozen=True, slots=True)
class Condition:
    """On a number of an answer, the mean of its repeats. metric: a name of `metrics.metric_names`. side: "above", "below",
    "at least" or "at most" the value. variant: a label, "" for any of the query's variants."""

    metric: str
    side: str
    value: float
    variant: str = ""

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise InputError(
                f"side = {self.side!r} must be one of {', '.join(SIDES)}.{did_you_mean(str(self.side), SIDES)}"
            )
        if not math.isfinite(self.value):
            raise InputError(f"{self.metric} {self.side} {self.value}: the value must be a number.")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Condition:
        """From what a browser sent. Raises InputError."""
        try:
            value = float(values["value"])
        except (KeyError, TypeError, ValueError):
            raise InputError(f"{values.get('value')!r} is no number to hold {values.get('metric')} against.") from None
        return cls(str(values.get("metric")), str(values.get("side")), value, str(values.get("variant") or ""))


@dataclass(frozen=True, slots=True)
class Query:
    """A filter, an order, and a part of the data.

    only: all; changed, worse or better (the primary score against the control's); different (an answer has other words than the
    control's first one); unscored (an answer without primary score); error (a call that failed).
    sort: data (its order), asked (as first answers came), lowest (the poorest primary score first), worst or best (the largest
    loss or gain against the control first), change (either), slowest or dearest (by the slowest or dearest answer). Ties, and
    what has no number, come in the data's order, the latter last.
    variant: a label that `only` and `sort` are about; "" for any of the variants.
    field, value: a metadata field and its value as text, "" for all. search: a text that stands in inputs, expected answer, id,
    any answer, a scorer's reason or an error, in any case of letters.
    marked: by what people noted: marked, good, bad, star or comment on the answer of one of these variants, unmarked on none of
    them; "" for any. where: conditions on scores, latency, cost and tokens, all of which must hold.
    """

    only: str = "all"
    sort: str = "data"
    variant: str = ""
    field: str = ""
    value: str = ""
    search: str = ""
    marked: str = ""
    where: tuple[Condition, ...] = ()

    def __post_init__(self) -> None:
        for name, known in (("only", FILTERS), ("sort", SORTS), ("marked", MARKED)):
            given = getattr(self, name)
            if given not in known:
                raise InputError(
                    f"{name} = {given!r} must be one of {', '.join(known)}.{did_you_mean(str(given), known)}"
                )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Query:
        """From what a browser sent; names that are none of ours are passed over. Raises InputError."""
        where = tuple(Condition.from_mapping(condition) for condition in values.get("where") or ())
        given = {
            item.name: str(values[item.name]) for item in fields(cls) if item.name in values and item.name != "where"
        }
        return cls(**given, where=where)

    def to_mapping(self) -> dict[str, Any]:
        """Plain types."""
        return asdict(self) | {"where": [asdict(condition) for condition in self.where]}
