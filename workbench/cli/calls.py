"""`workbench calls …`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

__all__ = ["app"]

app = App(name="calls", help="The log of all calls: ask it, compact it, send it to Langfuse; make a sample.")


@app.command
def compact() -> None:
    """Move the log's JSON lines to Parquet files by day, also those of processes that are writing.

    Each row is there once for every reader, also if this is killed, or run by several machines at once.
    """
    from workbench.workbench import Workbench

    bench = Workbench()
    print(bench.calls.compact(lambda step: print(step, file=sys.stderr)))


@app.command
def sql(query: str, /, *, json_output: Annotated[bool, Parameter(name="--json")] = False) -> None:
    """Answer a DuckDB query over the tables calls, feedback, spans, scores and compared.

    Parameters
    ----------
    query
        Such as "select model, count(*) as n, median(latency) from calls group by model".
    json_output
        Print JSON lines in place of the table.
    """
    from workbench import tables
    from workbench.workbench import Workbench

    calls = Workbench().calls
    found = calls.sql(query)
    if json_output:
        print(found.to_json(orient="records", lines=True).rstrip())
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(tables.to_text_or_blocks(found, width))
    if not len(found) and not len(calls.sql("select 1 from calls limit 1")):
        print("The log is empty. `workbench calls sample` makes one to look at.", file=sys.stderr)


@app.command
def trace(wanted: str | None = None, /) -> None:
    """Show the steps of one trace as a tree: when each began, how long it took, what it cost, how it failed.

    Parameters
    ----------
    wanted
        A trace's id or a call's, by default the latest trace with a span.
    """
    from workbench.workbench import Workbench

    print(Workbench().calls.trace(wanted))


@app.command
def sample(folder: Path | None = None, /, *, days: int = 30, calls: int = 120, seed: int = 0) -> None:
    """Make a month of calls to look at before there are any of your own: by a scripted model, in a project of its own.

    Two features with users, tenants, releases, caches, errors and scores. Your own log is not touched. It takes some seconds.

    Parameters
    ----------
    folder
        Where, by default .workbench/sample in this project; a sample that is there is made anew, anything else is refused.
    days
        How many, up to now.
    calls
        About so many a day.
    seed
        Of what users ask and of how the model answers.
    """
    import asyncio
    import shlex

    from workbench.sample import make_sample
    from workbench.stores.valkey import EmbeddedValkey

    where = None if folder is None else folder.expanduser().resolve()

    async def make() -> tuple[int, Path]:
        bench = await make_sample(where, days=days, calls=calls, seed=seed)
        try:
            return int(bench.calls.sql("select count(*) as n from calls")["n"][0]), bench.settings.project
        finally:
            await bench.aclose()
            EmbeddedValkey(bench.settings.home).stop()  # it starts again when it is needed

    print(f"making about {days * calls:,} calls …", file=sys.stderr, flush=True)
    count, place = asyncio.run(make())
    print(f"{count:,} calls of {days} days in {place}, which is a project of its own:")
    print(f"  cd {shlex.quote(str(place))}")
    print('  workbench calls sql "select feature, model, count(*) as n, sum(spent) as usd from calls group by all"')
    print("  workbench report run dashboards")
    print("  workbench data purge --user user-1")


@app.command
def ship(*, every: float | None = None, days: float | None = None) -> int:
    """Send the log to Langfuse as traces: what was not sent yet. No call waits for it.

    Parameters
    ----------
    every
        Do so again each so many seconds, until it is interrupted.
    days
        Everything of the last so many days, also what was sent: nothing is there twice.
    """
    import time

    from workbench.errors import LangfuseError
    from workbench.workbench import Workbench

    bench = Workbench()
    if every is None:
        print(bench.delivery.ship(days=days))
        return 0
    while True:
        try:
            print(bench.delivery.ship(days=days), flush=True)
            days = None
        except LangfuseError as error:
            print(f"not sent, kept for the next time: {error}", file=sys.stderr, flush=True)
        time.sleep(max(1.0, every))
