"""`bench.purging`: list what would go, then remove it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from workbench import tables
from workbench.errors import RunError, WorkbenchError
from workbench.purging.who import Traces, Who, who_of

__all__ = ["Found", "Part", "PurgePlan", "Purged", "Purging"]

_BLOCK = 1 << 22  # bytes read at once


@dataclass(frozen=True, slots=True)
class Found:
    """In one place. count: how much of `what` there is (or was removed), None if it cannot be told. left: what stays, and why."""

    part: str
    count: int | None
    what: str
    left: str = ""


class Part(Protocol):
    """One place that keeps something. `find` also notes in the traces by which ids other places know it."""

    name: str

    async def find(self, who: Who, traces: Traces) -> list[Found]:
        """What would go; changes nothing."""
        ...

    async def remove(self, who: Who, traces: Traces) -> list[Found]:
        """Remove it; what could not be is in `left`."""
        ...


@dataclass(frozen=True)
class PurgePlan:
    """What would go. nothing: whether that is nothing at all."""

    who: Who
    found: Sequence[Found]
    traces: Traces

    @property
    def nothing(self) -> bool:
        """Whether no place has anything, or does not say."""
        return all(item.count == 0 and not item.left for item in self.found)

    def __str__(self) -> str:
        if self.nothing:
            return f"Nothing is kept of {tables.clean_text(str(self.who))}."
        return f"Kept of {tables.clean_text(str(self.who))}:\n{_table(self.found)}"

    __repr__ = __str__


@dataclass(frozen=True)
class Purged:
    """What was removed. named: files that still hold the user's or tenant's name, such as reports."""

    who: Who
    found: Sequence[Found]
    named: Sequence[Path]

    @property
    def complete(self) -> bool:
        """Whether nothing is left."""
        return not self.named and not any(item.left for item in self.found)

    def __str__(self) -> str:
        lines = [f"Removed of {tables.clean_text(str(self.who))}:", _table(self.found)]
        if self.named:
            lines.append("These files hold the name, and are yours to look at:")
            lines += [f"  {path}" for path in self.named[:20]]
            lines += [f"  and {len(self.named) - 20:,} more"] if len(self.named) > 20 else []
        if any(item.count and item.what == "rows" for item in self.found):
            lines.append(
                "Pages that were made of these comparisons may show such texts without the name: look in the reports."
            )
        return "\n".join(lines)

    __repr__ = __str__


class Purging:
    """parts: in order, since later ones go by the traces that earlier ones found. folders: those that are searched for the name
    afterwards."""

    def __init__(self, parts: Callable[[], Sequence[Part]], folders: Sequence[Path]) -> None:
        self._parts, self._folders = parts, folders

    async def plan(
        self, *, user: str | None = None, tenant: str | None = None, before: str | float | None = None
    ) -> PurgePlan:
        """What is kept of a user, of a tenant, or from before a date (UTC, or Unix seconds): what fits all that is given. Removes
        nothing. Raises InputError."""
        who, traces = who_of(user, tenant, before), Traces()
        found: list[Found] = []
        for part in self._parts():
            try:
                found += await part.find(who, traces)
            except (WorkbenchError, OSError) as error:
                found.append(Found(part.name, None, "cannot be told", str(error)))
        return PurgePlan(who, found, traces)

    async def remove(self, plan: PurgePlan) -> Purged:
        """Remove it, also what came since the plan. A part that fails does not keep the others from it: it is in the result, and
        the same purge again goes on from there. If the first one cannot be read, that is raised, and nothing is removed."""
        parts, found = self._parts(), dict[int, list[Found]]()
        for number, part in enumerate(parts):  # all are looked at first: ids that one knows lead to what others keep
            try:
                await part.find(plan.who, plan.traces)
            except (WorkbenchError, OSError):
                if not number:  # without the log's ids much would be missed, and not be found later
                    raise
        for number, part in reversed(
            list(enumerate(parts))
        ):  # the log last, so that a purge that was killed can be told again from it
            try:
                found[number] = await part.remove(plan.who, plan.traces)
            except (WorkbenchError, OSError) as error:
                found[number] = [Found(part.name, None, "not removed", str(error))]
        names = [name for name in (plan.who.user, plan.who.tenant) if name]
        named = list(_named(self._folders, names)) if names and plan.who.before is None else []
        return Purged(plan.who, [item for number in sorted(found) for item in found[number]], named)


def _table(found: Sequence[Found]) -> str:
    import pandas as pd

    rows = [
        {
            "where": item.part,
            "n": "?" if item.count is None else f"{item.count:,}",
            "what": item.what,
            "left": item.left,
        }
        for item in found
        if item.count != 0 or item.left
    ]
    frame = pd.DataFrame(rows, columns=["where", "n", "what", "left"])
    text = tables.to_text(frame if any(item.left for item in found) else frame.drop(columns="left"))
    empty = [f"{item.part} ({item.what})" for item in found if item.count == 0 and not item.left]
    return f"{text}\nNothing in: {', '.join(empty)}." if empty else text


def _named(folders: Sequence[Path], names: Sequence[str]) -> Iterator[Path]:
    """Files with one of the names as a word of its own, as it is or as JSON escapes it."""
    import orjson

    said = {name.encode() for name in names} | {orjson.dumps(name)[1:-1] for name in names}
    word = re.compile(rb"(?<![\w-])(?:" + b"|".join(re.escape(name) for name in sorted(said)) + rb")(?![\w-])")
    longest = max(map(len, said)) + 2
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                try:
                    if _holds(path, word, longest):
                        yield path
                except OSError as error:
                    raise RunError(f"{path} cannot be read, so it may still hold the name: {error}.") from None


def _holds(path: Path, word: re.Pattern[bytes], longest: int) -> bool:
    with path.open("rb") as file:
        before = b""
        while block := file.read(_BLOCK):
            if word.search(before + block):
                return True
            before = block[-longest:]
    return False
