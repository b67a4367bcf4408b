"""One check of one part, and all of them together."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from workbench import tables

__all__ = ["TIMEOUT", "Check", "Diagnosis"]

TIMEOUT = 10.0  # seconds that a part may take to answer


@dataclass(frozen=True, slots=True)
class Check:
    """One part. ok: True, False, or None where it was not chosen and does not answer (which is no fault).

    by: the setting that chose it. version: what the part says of itself. fix: what to do, empty if nothing.
    """

    part: str
    chosen: str
    by: str
    ok: bool | None
    detail: str
    version: str | None = None
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All checks. `ok` is False when something that was configured does not work."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing that was configured is broken."""
        return all(check.ok is not False for check in self.checks)

    @property
    def broken(self) -> tuple[Check, ...]:
        """What was configured and does not work."""
        return tuple(check for check in self.checks if check.ok is False)

    @property
    def short(self) -> Diagnosis:
        """Of models and their endpoints only those that answer, and whatever needs attention."""

        def matters(check: Check) -> bool:
            return check.ok is False or (check.ok is True and check.part.startswith(("model", "endpoint")))

        return Diagnosis(tuple(check for check in self.checks if matters(check)))

    @property
    def summary(self) -> str:
        """One sentence."""
        if not self.broken:
            return "All that is configured answers."
        count = len(self.broken)
        parts = ", ".join(check.part for check in self.broken)
        return f"{count} part{' needs' if count == 1 else 's need'} attention: {parts}."

    def to_mapping(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return {"ok": self.ok, "summary": self.summary, "checks": [asdict(check) for check in self.checks]}

    def frame(self) -> pd.DataFrame:
        """One row a part."""
        states = {True: "ok", False: "FAILS", None: "-"}
        return pd.DataFrame(
            [
                {
                    "part": c.part, "state": states[c.ok], "chosen": c.chosen, "by": c.by, "says": c.detail,
                    "version": c.version or "",
                }
                for c in self.checks
            ]
        )  # fmt: skip

    def _advice(self) -> list[tuple[str, list[str]]]:
        """What must be done, apart from what could be: (heading, a line each)."""
        broken = [f"{check.part}: {_advised(check)}" for check in self.broken]
        hints = [f"{check.part}: {_advised(check)}" for check in self.checks if check.fix and check.ok is not False]
        said = (("To fix:", broken), ("Hints, none of which must be followed:", hints))
        return [(heading, [tables.clean_text(line) for line in lines]) for heading, lines in said if lines]

    def __str__(self) -> str:
        advice = [line for heading, lines in self._advice() for line in ("", heading, *(f"  {line}" for line in lines))]
        return "\n".join([tables.to_text(self.frame()), *advice, "", self.summary])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        advice = "".join(
            f"<p>{heading}</p><ul>{''.join(f'<li>{tables.html_text(line)}</li>' for line in lines)}</ul>"
            for heading, lines in self._advice()
        )
        table = tables.to_html(self.frame(), caption="What was chosen, by which setting, and whether it answers")
        return f"{table}{advice}<p><strong>{tables.html_text(self.summary)}</strong></p>"


def _advised(check: Check) -> str:
    """What to do, without what the row above says already."""
    return check.fix.removeprefix(check.detail).lstrip(". ") or check.detail
