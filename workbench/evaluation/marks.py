"""What people note by hand on a run's answers: good or bad, a star, a comment. Kept beside its rows. They are no scores: no
verdict, table or report reads them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError
from workbench.evaluation.folder import RunFolder
from workbench.running import events

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MARKED", "Mark", "Marks"]

MARKED = ("", "marked", "unmarked", "good", "bad", "star", "comment")  # what examples can be chosen by
_FILE, _LOCK = "marks.jsonl", ".marks.lock"
_LONGEST = 20_000  # characters of a comment
_COLUMNS = ("example", "example_id", "variant", "mark", "star", "comment", "at", "calls")


@dataclass(frozen=True, slots=True)
class Mark:
    """What is noted on the answer of one variant to one example: nothing, if mark, star and comment are empty.

    example: its position in the plan. mark: "good", "bad" or "". at: Unix seconds of the last change. calls: the call_ids of the
    answers, one a repeat, that were there then.
    """

    example: int
    variant: str
    example_id: str = ""
    mark: str = ""
    star: bool = False
    comment: str = ""
    at: float = 0.0
    calls: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.mark or self.star or self.comment)

    def has(self, what: str) -> bool:
        """Whether it is one of those that `what`, of MARKED but "unmarked", chooses."""
        if what in ("good", "bad"):
            return self.mark == what
        if what in ("star", "comment"):
            return bool(getattr(self, what))
        return bool(self)


class Marks:
    """The marks of one run. Any number of threads and processes may read and write; see `running.events`. clock: Unix seconds."""

    def __init__(self, folder: RunFolder, clock: Callable[[], float] = time.time) -> None:
        self.path = folder.path / _FILE
        self._lock = folder.path / _LOCK
        self._clock = clock
        self._read: tuple[tuple[int, int, int], dict[tuple[int, str], Mark]] = ((0, 0, 0), {})
        self._reading = threading.Lock()

    def change(
        self,
        example: int,
        variant: str,
        *,
        example_id: str,
        calls: Collection[str] = (),
        mark: str | None = None,
        star: bool | None = None,
        comment: str | None = None,
    ) -> Mark:
        """Change what is given of a mark, and only that: what another session noted meanwhile stays. It is on disk when this
        returns. mark: "" takes it away. InputError for what is no mark, RunError if the disk does not take it."""
        change: dict[str, Any] = {}
        if mark is not None:
            if mark not in ("good", "bad", ""):
                raise InputError(f"a mark of {mark!r} must be 'good', 'bad' or '' (none).")
            change["mark"] = mark
        if star is not None:
            change["star"] = bool(star)
        if comment is not None:
            if len(comment) > _LONGEST:
                raise InputError(
                    f"a comment of {len(comment):,} characters is too long: {_LONGEST:,} are kept at most."
                )
            change["comment"] = comment.strip()
        about = {
            "example": example,
            "variant": variant,
            "example_id": example_id,
            "at": self._clock(),
            "calls": list(calls),
        }
        with events.locked(self._lock, "mark"):
            events.append(self.path, {"event": "mark", **about, "change": change})
        return self.of(example, variant)

    def every(self) -> dict[tuple[int, str], Mark]:
        """By example's position and variant, in the order of the first change; also those that were taken away again."""
        with self._reading:
            stamp = events.stamp(self.path)
            if stamp != self._read[0]:
                self._read = (stamp, _folded(events.read(self.path)))
            return self._read[1]

    def of(self, example: int, variant: str) -> Mark:
        """An empty one if nothing was noted."""
        return self.every().get((example, variant), Mark(example, variant))

    def frame(self) -> pd.DataFrame:
        """One row a mark, in the data's order: example (position), example_id, variant, mark ("good", "bad" or ""), star,
        comment, at (UTC, of the last change), calls."""
        import pandas as pd

        found = sorted((mark for mark in self.every().values() if mark), key=lambda mark: (mark.example, mark.variant))
        rows = [
            {**asdict(mark), "at": datetime.fromtimestamp(mark.at, UTC), "calls": list(mark.calls)} for mark in found
        ]
        return pd.DataFrame(rows, columns=list(_COLUMNS))

    def beside(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows of `Comparison.rows` with columns mark, star and comment; each repeat of a marked answer has them."""
        known, nothing = self.every(), Mark(-1, "")
        marks = [known.get(place, nothing) for place in zip(rows["example"], rows["variant"], strict=True)]
        return rows.assign(
            mark=[mark.mark for mark in marks], star=[mark.star for mark in marks], comment=[m.comment for m in marks]
        )

    def purge(self, *, examples: Collection[str] = (), calls: Collection[str] = (), dry_run: bool = False) -> int:
        """Remove every mark on these examples (ids) or calls (call_ids) for good. Returns how many went; dry_run: would go."""
        if not self.path.is_file():
            return 0
        with events.locked(self._lock, "mark"):
            found = list(events.read(self.path))
            gone = {
                (event.get("example"), event.get("variant"))
                for event in found
                if event.get("example_id") in examples or any(call in calls for call in event.get("calls", ()))
            }
            if gone and not dry_run:
                kept = [event for event in found if (event.get("example"), event.get("variant")) not in gone]
                events.replace(self.path, kept)
        return len(gone)


def _folded(found: Iterable[dict[str, Any]]) -> dict[tuple[int, str], Mark]:
    marks: dict[tuple[int, str], Mark] = {}
    for event in found:
        with suppress(KeyError, TypeError):  # what another version wrote, or nobody
            place = (int(event["example"]), str(event["variant"]))
            about = {"example_id": event["example_id"], "at": event["at"], "calls": tuple(event["calls"])}
            marks[place] = replace(marks.get(place, Mark(*place)), **about, **event["change"])
    return marks
