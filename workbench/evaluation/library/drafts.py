"""Drafts of data sets: a file to be reviewed, and the versions that come of it. Nothing is ever overwritten."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from workbench import tables
from workbench.errors import DatasetError, InputError, did_you_mean
from workbench.records import check_name
from workbench.running.saving import write_whole

__all__ = ["Draft", "add_to_draft", "publish_rows", "read_draft", "write_draft"]

_VERSION = re.compile(r"-v(\d+)")


@dataclass(frozen=True, eq=False)
class Draft:
    """Examples that wait for a review. path: datasets/drafts/NAME.jsonl, one example a line, metadata.reviewed false at first;
    edit it by hand, by `review`, or by `workbench data review NAME`. notes: what was left out of it, and why."""

    name: str
    path: Path
    notes: Sequence[str] = ()

    def rows(self) -> list[dict[str, Any]]:
        """As the file has them now. DatasetError names a line that is none."""
        rows = []
        for number, line in enumerate(self.path.read_bytes().splitlines(), 1):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise DatasetError(f"{self.path}:{number}: {error}. Write one example a line.") from None
            if not isinstance(row, dict) or not isinstance(row.get("metadata"), dict) or "id" not in row:
                raise DatasetError(
                    f"{self.path}:{number}: this is no example of a draft: it needs id, inputs and metadata."
                )
            rows.append(row)
        return rows

    @property
    def waiting(self) -> int:
        """How many examples nobody has reviewed."""
        return sum(row["metadata"].get("reviewed") is not True for row in self.rows())

    def review(
        self,
        *,
        accept: Iterable[str] | None = None,
        reject: Iterable[str] = (),
        expected: Mapping[str, Any] | None = None,
    ) -> Draft:
        """Accept examples by their ids (with `expected`, their right answers, which accepts them too), and take out the rejected.

        The file is written whole. Raises InputError for an id that is not there.
        """
        rows, right = self.rows(), dict(expected or {})
        ids = {row["id"] for row in rows}
        taken, gone = {*(accept or ()), *right}, set(reject)
        unknown = sorted((taken | gone) - ids)
        if unknown or taken & gone:
            what = (
                f"{unknown[0]!r} is no example of it" if unknown else f"{min(taken & gone)!r} is accepted and rejected"
            )
            raise InputError(f"draft {self.name}: {what}.")
        kept = [row for row in rows if row["id"] not in gone]
        for row in kept:
            if row["id"] in right:
                row["expected"] = right[row["id"]]
            if row["id"] in taken:
                row["metadata"]["reviewed"] = True
        _write(self.path, kept)
        return self

    def publish(self) -> Path:
        """The reviewed examples as the data set's next version, datasets/NAME-v1.jsonl, -v2 …; the others stay in the draft.

        Raises InputError if none is reviewed.
        """
        rows = self.rows()
        done = [row for row in rows if row["metadata"].get("reviewed") is True]
        if not done:
            raise InputError(
                f"no example of draft {self.name} is reviewed: look at {self.path}, or run `workbench data review {self.name}`."
            )
        target = publish_rows(self.path.parent.parent, self.name, done)
        _write(self.path, [row for row in rows if row["metadata"].get("reviewed") is not True])
        return target

    def __str__(self) -> str:
        rows = self.rows()
        lines = [
            f"Draft {self.name}: {tables.format_count(len(rows), 'example')}, {self.waiting:,} to be reviewed ({self.path})"
        ]
        return "\n".join([*lines, *(f"  {tables.clean_text(note)}" for note in self.notes)])

    __repr__ = __str__


def publish_rows(folder: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
    """The file NAME-v1.jsonl, -v2 … with these rows: a new one, or the latest if it holds just these."""
    content = _lines(rows)
    while True:
        taken = {int(found[1]): path for path in folder.glob(f"{name}-v*.*")
                 if (found := _VERSION.fullmatch(path.stem.removeprefix(name)))}  # fmt: skip
        number = max(taken, default=0)
        if number and taken[number].suffix == ".jsonl" and taken[number].read_bytes() == content:
            return taken[number]
        target = folder / f"{name}-v{number + 1}.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("xb") as file:
                file.write(content)
            return target
        except FileExistsError:  # another process was quicker
            continue


def write_draft(folder: Path, name: str, rows: Sequence[Mapping[str, Any]], notes: Sequence[str] = ()) -> Draft:
    """A new draft. folder: of the data sets. InputError if there is one of that name with examples left."""
    check_name(name, "data set")
    path = folder / "drafts" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file() and path.read_bytes().strip():
        raise InputError(
            f"there is a draft {name!r} already, with examples that wait ({path}). Review and publish it, delete the file, or "
            "take another name."
        )
    _write(path, rows)
    return Draft(name, path, notes)


def add_to_draft(folder: Path, name: str, row: Mapping[str, Any]) -> Draft:
    """One example more in the draft of that name, which is begun if there is none; one with its id is replaced. folder: of the
    data sets. InputError if its inputs are not those of the others."""
    draft = Draft(check_name(name, "data set"), folder / "drafts" / f"{name}.jsonl")
    rows = [] if not draft.path.is_file() else [one for one in draft.rows() if one["id"] != row["id"]]
    mine, theirs = sorted(row["inputs"]), sorted(rows[0].get("inputs") or ()) if rows else None
    if theirs is not None and mine != theirs:
        raise InputError(
            f"draft {name!r} holds examples with the inputs {', '.join(theirs) or 'none'}, and this one has "
            f"{', '.join(mine) or 'none'}: take another name for it."
        )
    draft.path.parent.mkdir(parents=True, exist_ok=True)
    _write(draft.path, [*rows, row])
    return draft


def read_draft(folder: Path, name: str) -> Draft:
    """The draft of that name. InputError if there is none."""

    path = folder / "drafts" / f"{check_name(name, 'data set')}.jsonl"
    if not path.is_file():
        known = sorted(item.stem for item in path.parent.glob("*.jsonl"))
        meant = did_you_mean(name, known)
        raise InputError(f"there is no draft {name!r}.{meant} There is: {', '.join(known) or 'none'}.")
    return Draft(name, path)


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    write_whole(path, _lines(rows))


def _lines(rows: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
