"""Read the log with DuckDB: Parquet and JSON lines as one table of each kind, each row once, whatever is compacted meanwhile."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from workbench.calls.places import FolderPlace, Place, UrlPlace
from workbench.calls.rows import COMPARED, TABLES, Table
from workbench.calls.states import latest_number, read_state
from workbench.errors import InputError, RunError, did_you_mean

if TYPE_CHECKING:
    import duckdb

__all__ = ["Files", "lines_of", "look", "over", "quoted", "retrying", "runs_of", "with_tables"]

T = TypeVar("T")
_TRIES = 20
_NO_TABLE = re.compile(r"Table with name (.+?) does not exist")


class Files(NamedTuple):
    """What holds the rows of one table now. parts: Parquet. lines: JSON lines of the log itself, runs: of comparisons."""

    parts: list[Path]
    lines: list[Path]
    runs: list[Path]


def look(
    place: Place, spool: FolderPlace, table: Table, runs: Path | None = None, *, since: float | None = None
) -> Files:
    """Which files count. spool: where this machine's segments are (the place itself, if that is a folder). since: Unix seconds;
    files of days before that are left out.

    Raises FileNotFoundError if they are replaced while they are fetched, and RunError if that never ends.
    """
    first = "" if since is None else datetime.fromtimestamp(max(since, 0.0), UTC).strftime("%Y-%m-%d")
    for _ in range(_TRIES):
        state = read_state(place)
        gone = {name for name, _ in state.gone}
        mine = [
            name for name in spool.names(table.folder, ".jsonl") if name not in gone
        ]  # before the others: these go there
        shared = [name for name in place.names(table.folder, ".jsonl") if name not in gone] if place.shared else []
        if latest_number(place) != state.number:  # what was listed may belong to either
            continue
        parts = [part.name for part in state.of(table.name) if part.day >= first]
        local = place.local(parts), place.local(shared), spool.local([name for name in mine if name not in set(shared)])
        if isinstance(place, UrlPlace):
            for folder in {name.rsplit("/", 1)[0] if "/" in name else "" for name in (*parts, *shared)}:
                place.forget(folder, {*parts, *shared})
        return Files(local[0], [*local[1], *local[2]], runs_of(runs) if runs is not None else [])
    raise RunError(f"the call log at {place.address} changes faster than it can be read. Try again.")


def runs_of(runs: Path) -> list[Path]:
    """The segments of all comparisons in the folder `runs`."""
    return sorted(runs.glob("*/*/rows-*.jsonl"))


def with_tables(files: dict[Table, Files], use: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
    """What `use` makes of a connection with these tables. Raises duckdb.Error; duckdb.IOException if a file went away."""
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("set parquet_metadata_cache = true")  # a query looks at each file again
        for table, found in files.items():
            _view(connection, table, found)
        return use(connection)


def _view(connection: duckdb.DuckDBPyConnection, table: Table, files: Files) -> None:
    import duckdb

    create = f"create view {table.name} as "
    if files.parts and not files.lines and not files.runs:
        with suppress(duckdb.BinderException):  # a column that was unknown when all of them were written
            # nothing beside Parquet: without a union, DuckDB counts and leaves out by the files' statistics
            connection.execute(f"{create}select {_chosen(table)} from {_parts(files.parts)}")  # noqa: S608
            return
    connection.execute(create + over(table, files))


def over(table: Table, files: Files) -> str:
    """The SELECT over these files, with all columns that the table has in this version, whichever wrote them."""
    columns = {**table.columns, **dict.fromkeys(table.derived, "VARCHAR")}
    empty = ", ".join(f'null::{kind} as "{name}"' for name, kind in columns.items())
    union = [f"select {empty} where false"]
    if files.parts:
        union.append(f"select * from {_parts(files.parts)}")  # noqa: S608
    union += [lines_of(table, paths) for paths in (files.lines, files.runs) if paths]
    return f"select {_chosen(table)} from ({' union all by name '.join(union)})"  # noqa: S608


def _chosen(table: Table) -> str:
    return ", ".join(f'"{name}"' for name in (*table.columns, *table.derived))


def _parts(paths: Sequence[Path]) -> str:
    return f"read_parquet([{_listed(paths)}], union_by_name = true)"


def lines_of(table: Table, paths: Sequence[Path]) -> str:
    """The SELECT over segments."""
    columns = ", ".join(f"'{column}': '{kind}'" for column, kind in table.columns.items())
    more = "".join(f", {expression} as {name}" for name, expression in table.derived.items())
    return (
        f"select *{more} from read_json([{_listed(paths)}], format = 'newline_delimited', ignore_errors = true, "  # noqa: S608
        f"columns = {{{columns}}}) where {table.key} is not null"  # a torn line reads as nulls
    )


def retrying(job: Callable[[], T]) -> T:
    """`job` again where files were replaced while it read them."""
    import duckdb

    for left in range(_TRIES - 1, -1, -1):
        try:
            return job()
        except (FileNotFoundError, duckdb.IOException) as error:
            if not left:
                raise RunError(f"the call log cannot be read: {error}") from None
        except duckdb.CatalogException as error:
            raise InputError(_without_table(str(error))) from None
        except duckdb.Error as error:
            raise InputError(f"the call log cannot answer this query: {error}") from None
    raise AssertionError  # for the type checker


def _without_table(error: str) -> str:
    """What to say of a name that DuckDB does not know: of a table it would propose its own."""
    missing = _NO_TABLE.search(error)
    if missing is None:
        return f"the call log cannot answer this query: {error}"
    known = [table.name for table in (*TABLES.values(), COMPARED)]
    return f"the call log has no table {missing[1]!r}.{did_you_mean(missing[1], known)} It has: {', '.join(known)}."


def _listed(paths: Sequence[Any]) -> str:
    return ", ".join(map(quoted, paths))


def quoted(path: Any) -> str:
    """As a text in SQL: a folder's name may hold an apostrophe."""
    return "'" + str(path).replace("'", "''") + "'"
