"""From JSON lines to Parquet by day, and rewriting what is there, such that a kill at any point leaves each row there once."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from workbench.calls.places import FolderPlace, Place
from workbench.calls.reading import Files, lines_of, over, quoted, with_tables
from workbench.calls.rows import TABLES, Table
from workbench.calls.segment import seal
from workbench.calls.states import Part, State, commit, read_state
from workbench.errors import RunError
from workbench.tables import format_count

__all__ = ["Compacted", "compact", "rewrite"]

_STEP = 512 << 20  # bytes of JSON lines that are taken at once
_SMALL, _MANY = 200_000, 8  # parts of a day with fewer rows are made one when there are so many of them
_ORPHAN = 86400.0  # seconds after which a file that no state names is nobody's work in progress
_GONE_FOR = (
    30 * 86400.0
)  # seconds for which an uploaded segment's name is remembered, should a machine come back with it
_TRIES = 5
_TAKEN = ("No files found", "No such file or directory")  # how DuckDB says that another process has moved a segment

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Compacted:
    """What was done: rows moved from so many segments into so many Parquet files. left: segments that could not be sealed.
    expired: rows removed for their age."""

    rows: int = 0
    segments: int = 0
    parts: int = 0
    left: int = 0
    expired: int = 0

    def __str__(self) -> str:
        if not self.segments and not self.left and not self.expired:
            return "nothing to compact: there are no JSON lines"
        said = []
        if self.segments:
            moved = f"{format_count(self.rows, 'row')} of {format_count(self.segments, 'segment')}"
            said.append(
                f"{moved} {'is' if self.rows == 1 else 'are'} now in {format_count(self.parts, 'Parquet file')}"
            )
        if self.left:
            said.append(f"{format_count(self.left, 'segment')} left: cannot be locked here, or another user's")
        if self.expired:
            were, are = ("was", "is") if self.expired == 1 else ("were", "are")
            said.append(f"{format_count(self.expired, 'row')} that {were} too old {are} gone")
        return "; ".join(said)


def compact(place: Place, *, note: Progress = lambda _: None) -> Compacted:
    """Move all rows of segments to Parquet, also those of segments that are being written. Any number of processes may do so at
    once; each row is moved once. Raises RunError for a disk that takes nothing; then what was there is still there."""
    rows = segments = parts = left = 0
    for table in TABLES.values():
        waiting = set(
            place.names(table.folder, ".jsonl")
        )  # and not what writers begin meanwhile, or this would never end
        for _ in range(10_000):
            try:
                done = _step(place, table, waiting, note)
            except FileNotFoundError:  # another process has taken them
                continue
            if done is None:
                continue
            rows, segments, parts = rows + done.rows, segments + done.segments, parts + done.parts
            if not done.segments:
                left += done.left
                break
    _tidy(place)
    return Compacted(rows, segments, parts, left)


def rewrite(place: Place, table: Table, keep: str, parameters: Sequence[object] = ()) -> int:
    """Drop the rows of Parquet files for which the SQL condition `keep` is not true; returns how many. Segments are not touched:
    compact first."""
    for _ in range(_TRIES):
        state = read_state(place)
        removed, out = 0, list[str]()
        into: list[Part] = []
        try:
            for part in state.of(table.name):
                (path,) = place.local([part.name])
                count = _count(path, f"not coalesce({keep}, false)", parameters)
                if not count:
                    continue
                removed, out = removed + count, [*out, part.name]
                if count < part.rows:
                    source = f"select * from ({over(table, Files([path], [], []))}) where {keep}"  # noqa: S608
                    into += _write(place, table, source, parameters)
            if not out:
                return 0
            if _committed(place, state.changed(out=out, into=into), into):
                _delete(place, out)
                return removed
        except FileNotFoundError:
            _undo(place, into)
    raise RunError(f"the call log at {place.address} is being changed by another process. Try again.")


def _step(place: Place, table: Table, waiting: Collection[str], note: Progress) -> Compacted | None:
    """Some of these segments of a table; None if another process was quicker."""
    state = read_state(place)
    gone = {name for name, _ in state.gone}
    listed = place.names(table.folder, ".jsonl")
    for name in gone.intersection(listed):  # of a process that was killed before it could
        place.delete(name)
    taken, left, size = [], 0, 0
    for name in (name for name in listed if name in waiting and name not in gone):
        (path,) = place.local([name])
        if not place.shared and not seal(path):
            left += path.exists()
            continue
        taken.append(name)
        size += path.stat().st_size
        if size > _STEP:
            break
    if not taken:
        return Compacted(left=left)
    note(f"{table.name}: {format_count(len(taken), 'segment')}, {size / 1e6:,.0f} MB")
    paths = place.local(taken)
    days = _days(table, paths)
    old = _small(state, table, days)
    source = (
        over(table, Files(place.local([part.name for part in old]), [], []))
        + f" union all by name {lines_of(table, paths)}"
    )
    made: list[Part] = []
    try:
        if days:
            made = _write(place, table, source)
        forgotten = [
            name for name, at in state.gone
            if name not in listed and (not place.shared or at < time.time() - _GONE_FOR)
        ]  # fmt: skip
        names = [part.name for part in old]
        if not _committed(place, state.changed(out=names, into=made, gone=taken, forgotten=forgotten), made):
            return None
    except BaseException:
        with suppress(Exception):
            _undo(place, made)
        raise
    _delete(place, [*taken, *names])
    return Compacted(sum(days.values()), len(taken), len(made), left)


def _days(table: Table, paths: Sequence[Path]) -> dict[str, int]:
    """Rows of each day."""
    rows = f"select {_day(table)} as day, count(*) from ({lines_of(table, paths)}) group by day"  # noqa: S608
    with _taken_is_not_found():
        return dict(with_tables({}, lambda connection: connection.execute(rows).fetchall()))


def _small(state: State, table: Table, days: dict[str, int]) -> list[Part]:
    found: list[Part] = []
    for day in days:
        small = [part for part in state.of(table.name) if part.day == day and part.rows < _SMALL]
        found += small if len(small) >= _MANY else []
    return found


def _day(table: Table) -> str:
    return f"coalesce(strftime(make_timestamp(({table.when} * 1e6)::BIGINT), '%Y-%m-%d'), '1970-01-01')"


def _write(place: Place, table: Table, source: str, parameters: Sequence[object] = ()) -> list[Part]:
    """One Parquet file a day from this SELECT, in place but named by no state yet."""
    import duckdb

    home = place.root if isinstance(place, FolderPlace) else None
    if home is not None:
        home.mkdir(parents=True, exist_ok=True)
    drafts = Path(tempfile.mkdtemp(prefix=".drafts-", dir=home))
    try:
        with duckdb.connect(config={"temp_directory": str(drafts / "spill"), "memory_limit": "1GB"}) as connection:
            try:
                with _taken_is_not_found():
                    rows = f"select *, {_day(table)} as day from ({source}) order by day, {table.when}"  # noqa: S608
                    connection.execute(
                        f"copy ({rows}) to {quoted(drafts / 'days')} "
                        "(format parquet, compression zstd, partition_by (day), overwrite_or_ignore, row_group_size 65536)",
                        list(parameters),
                    )
            except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
                raise RunError(
                    f"Parquet files could not be written below {drafts.parent}: {error}. No row is lost: "
                    "free some space and try again."
                ) from None
            made: list[Part] = []
            for path in sorted((drafts / "days").glob("day=*/*.parquet")):
                day = path.parent.name.removeprefix("day=")
                (count,) = connection.execute(f"select count(*) from read_parquet({quoted(path)})").fetchall()[0]  # noqa: S608
                name = f"days/{table.name}/day={day}/{int(time.time())}-{secrets.token_hex(4)}.parquet"
                try:
                    place.put(name, path)
                except OSError as error:
                    _delete(place, [part.name for part in made])
                    raise RunError(
                        f"{name} could not be written to {place.address}: {error}. No row is lost."
                    ) from None
                made.append(Part(table.name, day, name, count))
            return made
    finally:
        shutil.rmtree(drafts, ignore_errors=True)


@contextmanager
def _taken_is_not_found() -> Iterator[None]:
    """FileNotFoundError where DuckDB misses a file, which another process has moved."""
    import duckdb

    try:
        yield
    except duckdb.IOException as error:
        if any(said in str(error) for said in _TAKEN):
            raise FileNotFoundError(str(error)) from None
        raise


def _committed(place: Place, state: State, made: Sequence[Part]) -> bool:
    """Whether it is the state now; if not, what was made for it is gone. A store whose confirmation was lost may refuse the
    second try of what it has already taken."""
    return commit(place, state) or not _undo(place, made)


def _undo(place: Place, made: Sequence[Part]) -> bool:
    """Delete what no state names; False if all of it counts."""
    counted = {part.name for part in read_state(place).parts}
    left = [part.name for part in made if part.name not in counted]
    _delete(place, left)
    return bool(left) or not made


def _count(path: Path, condition: str, parameters: Sequence[object]) -> int:
    import duckdb

    with duckdb.connect() as connection, _taken_is_not_found():
        query = f"select count(*) from read_parquet({quoted(path)}) where {condition}"  # noqa: S608
        found = connection.execute(query, list(parameters))
        return int(found.fetchall()[0][0])


def _delete(place: Place, names: Sequence[str]) -> None:
    """What no state names; one that stays is found by the next compaction."""
    for name in names:
        with suppress(OSError):
            place.delete(name)


def _tidy(place: Place) -> None:
    """Files that a killed compaction left."""
    counted = {part.name for part in read_state(place).parts}
    for table in TABLES.values():
        base = f"days/{table.name}"
        days = place.names(base, "")
        for name in (name for day in days for name in place.names(day, ".parquet")):
            made = name.rsplit("/", 1)[-1].partition("-")[0]
            if name not in counted and made.isdigit() and int(made) < time.time() - _ORPHAN:
                place.delete(name)
    if isinstance(place, FolderPlace):
        for path in place.root.glob(".drafts-*"):
            if path.stat().st_mtime < time.time() - _ORPHAN:
                shutil.rmtree(path, ignore_errors=True)
