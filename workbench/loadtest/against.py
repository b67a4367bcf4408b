"""Two load tests held against each other: now and last week, or this server and another."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from workbench import tables
from workbench.errors import InputError
from workbench.loadtest.answer import same_lengths
from workbench.loadtest.measures import METRICS, Cell, Metric, figure, ratio_interval
from workbench.records import Interval

if TYPE_CHECKING:
    import pandas as pd

    from workbench.loadtest.result import LoadTest

__all__ = ["Change"]

_MANY = 10
_CAUTION = (
    "The intervals know the variation within each run. Servers also vary by some percent from run to run: measure twice before "
    "you act on a small difference."
)


class Change:
    """What differs between two load tests. Raises InputError if they have nothing to compare.

    A model is compared with itself; if no model is in both and each has one, these two are compared.
    """

    def __init__(self, before: LoadTest, now: LoadTest) -> None:
        self.before = before
        self.now = now
        models = [(model, model) for model in now.models if model in before.models]
        if not models and len(before.models) == len(now.models) == 1:
            models = [(before.models[0], now.models[0])]
        self.models = tuple(models)
        self.pairs: tuple[tuple[Cell, Cell], ...] = tuple(
            (old, new)
            for old_model, new_model in models
            for load in now.loads
            if (old := before.cell(old_model, load)) is not None and (new := now.cell(new_model, load)) is not None
        )
        if not self.pairs:
            raise InputError(
                f"{now.test_id} and {before.test_id} measured nothing in common: {_measured(now)} now, {_measured(before)} "
                "before. Run the same models under the same loads."
            )

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row a model, load and figure: before, now, ratio (now / before) with low and high, reading; NaN where unknown.

        Both are held against the target of now. reading: better, worse, no difference seen, too few requests, or unknown.
        """
        import pandas as pd

        rows = []
        for old, new in self.pairs:
            for metric in METRICS.values():
                if metric.name == "goodput" and not self.now.target:
                    continue
                rows.append(self._row(old, new, metric))
        return pd.DataFrame(rows)

    def _row(self, old: Cell, new: Cell, metric: Metric) -> dict[str, Any]:
        target = self.now.target
        before, now = figure(old, metric, target), figure(new, metric, target)
        ratio = ratio_interval(new, old, metric, target)
        known = before is not None and now is not None
        estimate = now / before if before and now is not None else float("nan")
        model = new.model if new.model == old.model else f"{new.model} (before: {old.model})"
        return {
            "model": model, "load": new.load.label, "figure": metric.title, "unit": metric.unit,
            "before": before, "now": now, "ratio": ratio.estimate if ratio else estimate,
            "low": ratio.low if ratio else float("nan"), "high": ratio.high if ratio else float("nan"),
            "reading": _reading(ratio, metric) if known else "unknown",
        }  # fmt: skip

    def table(self) -> pd.DataFrame:
        """The same as people read it: every cell is text."""
        import pandas as pd

        rows = []
        for row in self.frame.to_dict("records"):
            ratio = Interval(row["ratio"], row["low"], row["high"], 0.95)
            # an end that would be printed as 1.00 but is not shows its third digit
            digits = 3 if any(0 < abs(end - 1) < 0.005 for end in (ratio.low, ratio.high)) else 2
            shown = f"{ratio.estimate:.2f}" if ratio.low != ratio.low else tables.format_interval(ratio, digits=digits)
            rows.append(
                {
                    "model": row["model"],
                    "load": row["load"],
                    "figure": row["figure"],
                    "before": _amount(row["before"], row["unit"]),
                    "now": _amount(row["now"], row["unit"]),
                    "now / before": "unknown" if row["ratio"] != row["ratio"] else shown,
                    "reading": row["reading"],
                }
            )
        return pd.DataFrame(rows)

    def setups(self) -> list[tuple[str, str, str]]:
        """What differs between the two set-ups, as (what, before, now); what is equal is left out."""
        found: list[tuple[str, Any, Any]] = []
        for old_model, new_model in self.models:
            old, new = self.before.setup(old_model), self.now.setup(new_model)
            if old is None or new is None:
                continue
            named = "" if len(self.models) == 1 else f" of {new_model}"
            found += [
                (f"model{named}", old_model, new_model),
                (f"runtime{named}", old.kind, new.kind),
                (f"model digest{named}", _short_digest(old.digest), _short_digest(new.digest)),
                (f"server version{named}", old.server_version, new.server_version),
                (f"server{named}", old.origin, new.origin),
            ]
        one, other = self.before.settings, self.now.settings
        for name, what in (
            ("prompt_tokens", "prompt tokens"), ("output_tokens", "output tokens"), ("shared_tokens", "shared tokens"),
            ("raw", "raw"), ("params", "params"), ("timeout", "timeout"), ("seed", "seed"),
        ):  # fmt: skip
            found.append((what, one.get(name), other.get(name)))
        for name in dict.fromkeys((*self.before.machine, *self.now.machine)):
            found.append((f"machine: {name}", self.before.machine.get(name), self.now.machine.get(name)))
        return [(what, _text(old), _text(new)) for what, old, new in found if old != new]

    def notes(self) -> list[str]:
        """How the two set-ups differ, and what the intervals do not know."""
        differ = [
            f"The set-ups differ in {what}: {old or '–'} before, {new or '–'} now." for what, old, new in self.setups()
        ]
        for old_cell, new_cell in self.pairs:
            if (why := same_lengths(old_cell, new_cell, when=("before", "now"))) is not None:
                differ.append(
                    f"{new_cell.model}, {new_cell.load.label}: {why}, so these ratios are not of speed alone."
                )
        count = int(self.frame["low"].notna().sum())
        chance = (
            f"Of {count} ratios with an interval, about {count / 20:.0f} will read better or worse by chance alone."
        )
        return [
            *(differ or ["The set-ups are the same, as far as they are known."]),
            _CAUTION,
            *([chance] if count >= _MANY else []),
        ]

    def __str__(self) -> str:
        head = f"{self.now.test_id} against {self.before.test_id}"
        return "\n".join([tables.to_text(self.table(), title=head), *(f"Note: {note}" for note in self.notes())])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        told = "".join(f"<p>{tables.html_text(note)}</p>" for note in self.notes())
        return tables.to_html(self.table(), caption=f"{self.now.test_id} against {self.before.test_id}") + told

    def to_mapping(self) -> dict[str, Any]:
        """Everything in plain types, for JSON. NaN is None."""
        rows = [
            {name: None if value != value else value for name, value in row.items()}
            for row in self.frame.to_dict("records")
        ]
        return {"before": self.before.test_id, "now": self.now.test_id, "figures": rows, "notes": self.notes()}


def _measured(test: LoadTest) -> str:
    cells = [f"{cell.model} {cell.load.words}" for cell in test.cells]
    return ", ".join(cells[:6]) + (" …" if len(cells) > 6 else "") if cells else "nothing"


def _reading(ratio: Interval | None, metric: Metric) -> str:
    if ratio is None:
        return "too few requests"
    if ratio.low <= 1 <= ratio.high:
        return "no difference seen"
    return "better" if (ratio.estimate < 1) == metric.smaller else "worse"


def _amount(value: float | None, unit: str) -> str:
    if value is None or value != value:
        return "unknown"
    if unit == "s":
        return f"{value * 1000:,.1f} ms" if value < 0.9995 else f"{value:,.2f} s"
    return f"{value:,.0f}" if value >= 999.5 else f"{value:.3g}"


def _short_digest(digest: str | None) -> str | None:
    return digest[:16] if digest else None


def _text(value: Any) -> str:
    return "" if value is None else str(value)
