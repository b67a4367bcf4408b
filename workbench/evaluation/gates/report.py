"""What gates say of a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench import tables
from workbench.records import Interval

if TYPE_CHECKING:
    import pandas as pd

    from workbench.evaluation.comparison import Comparison

__all__ = ["GateCheck", "GateReport", "State"]

State = Literal["passed", "failed", "undecided"]


@dataclass(frozen=True, slots=True)
class GateCheck:
    """One gate and one variant. interval: what decided, None for a count, a sum or an unknown. sentence: with its figures."""

    gate: str
    variant: str
    state: State
    interval: Interval | None
    sentence: str


@dataclass(frozen=True, slots=True, eq=False)
class GateReport:
    """All gates of a comparison. `state` is failed if any failed, else undecided if any is, else passed."""

    result: Comparison
    checks: tuple[GateCheck, ...]

    @property
    def state(self) -> State:
        """Of all gates together."""
        states = {check.state for check in self.checks}
        return "failed" if "failed" in states else "undecided" if "undecided" in states else "passed"

    @property
    def passed(self) -> bool:
        """Whether every gate passed."""
        return self.state == "passed"

    @property
    def exit_code(self) -> int:
        """For a pipeline: 0 passed, 4 failed, 5 undecided."""
        return {"passed": 0, "failed": 4, "undecided": 5}[self.state]

    @property
    def sentence(self) -> str:
        """How it ended, in one line."""
        counts = {state: sum(c.state == state for c in self.checks) for state in ("passed", "failed", "undecided")}
        told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        return f"Gates {self.state}: {told}."

    def table(self) -> pd.DataFrame:
        """One row a check: gate, variant, state, why."""
        import pandas as pd

        rows = [(check.gate, check.variant, check.state, check.sentence) for check in self.checks]
        return pd.DataFrame(rows, columns=["gate", "variant", "state", "why"])

    def to_mapping(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        checks = [
            {"gate": c.gate, "variant": c.variant, "state": c.state, "sentence": c.sentence,
             "interval": None if c.interval is None else _finite(c.interval)}
            for c in self.checks
        ]  # fmt: skip
        return {"state": self.state, "checks": checks}

    def junit(self) -> str:
        """JUnit XML, one test case a check: what failed is a failure, what is undecided an error."""
        from workbench.evaluation.gates.writing import junit

        return junit(self)

    def markdown(self) -> str:
        """A comment for a pull request: verdict, gates, version-performance table, and the examples that lost most."""
        from workbench.evaluation.gates.writing import markdown

        return markdown(self)

    def save(self, *, junit: Path | str | None = None, markdown: Path | str | None = None) -> None:
        """Write either; each whole or not at all. Raises RunError if it cannot be written."""
        from workbench.evaluation.gates.writing import save

        save(junit, self.junit)
        save(markdown, self.markdown)

    def __str__(self) -> str:
        signs = {"passed": "passed", "failed": "FAILED", "undecided": "undecided"}
        lines = [
            f"  {signs[check.state]:<9}  {check.gate}: {tables.clean_text(check.sentence)}" for check in self.checks
        ]
        return "\n".join([self.sentence, *lines])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<p><strong>{tables.html_text(self.sentence)}</strong></p>{tables.to_html(self.table())}"


def _finite(interval: Interval) -> dict[str, float | None]:
    """JSON has no infinity: an open end is None."""
    return {name: value if abs(value) != float("inf") else None for name, value in interval._asdict().items()}
