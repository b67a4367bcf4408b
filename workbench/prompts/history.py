"""What happened to a prompt: versions made, labels moved, versions put away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench import tables
from workbench.prompts.ledger import Entry
from workbench.records import Prompt

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["HistoryRow", "PromptHistory"]


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """What happened once. at: ISO 8601, UTC. event: created, label, unlabel, archive, restore, protect, unprotect, mirror."""

    at: str
    event: str
    what: str
    by: str
    reason: str
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class PromptHistory:
    """All that happened to one prompt, oldest first. Shown newest first."""

    name: str
    rows: tuple[HistoryRow, ...]

    @classmethod
    def of(cls, name: str, versions: Iterable[Prompt], entries: Iterable[Entry]) -> PromptHistory:
        """From the versions' headers and the ledger."""
        made = [
            HistoryRow(
                prompt.created_at or "",
                "created",
                f"{prompt.ref} ({prompt.digest[:12]})",
                prompt.author,
                prompt.message,
            )
            for prompt in versions
        ]
        moves = [HistoryRow(e.at, e.kind, _what(name, e), e.by, e.reason, e.evidence) for e in entries]
        # headers know seconds only: what was labelled within the second that it was made in comes after it
        rows = sorted([*made, *moves], key=lambda row: (row.at[:19], row.event != "created", row.at))
        return cls(name, tuple(rows))

    def frame(self) -> pd.DataFrame:
        """One row an event, newest first."""
        import pandas as pd

        columns = ["when (UTC)", "event", "what", "by", "reason", "evidence"]
        rows = [(r.at[:19].replace("T", " "), r.event, r.what, r.by, r.reason, r.evidence) for r in reversed(self.rows)]
        return pd.DataFrame(rows, columns=columns)

    def __iter__(self) -> Iterator[HistoryRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        return tables.to_text(self.frame(), title=f"History of {self.name}")

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return tables.to_html(self.frame(), caption=f"History of {self.name}")


def _what(name: str, entry: Entry) -> str:
    if entry.kind == "label":
        came = "new" if entry.came_from is None else f"from {entry.came_from}"
        named = f", because: {entry.because}" if entry.because else ""
        return f"{entry.label} to {entry.version} ({came}{named})"
    if entry.kind == "unlabel":
        named = f" (because: {entry.because})" if entry.because else ""
        return f"{entry.label} off {entry.came_from}{named}"
    if entry.kind == "mirror":
        return f"{entry.label} on {entry.version}, which is {entry.remote} in Langfuse"
    if entry.kind in ("archive", "restore"):
        return f"{name}@{entry.version}"
    return str(entry.label)
