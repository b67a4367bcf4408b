"""`workbench cache …`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from workbench.workbench import Workbench

__all__ = ["app"]

app = App(name="cache", help="What the caches did and saved; clear and export them.")

_Json = Annotated[bool, Parameter(name="--json")]


@app.command
def stats(*, days: int = 30, json_output: _Json = False) -> None:
    """Show hits and misses by scope and day, and what the hits saved.

    Parameters
    ----------
    days
        How far to look back; counts are kept for 90.
    json_output
        Print JSON in place of the table.
    """

    async def run(bench: Workbench) -> None:
        found = await bench.cache.stats(days)
        print(json.dumps(found.to_mapping(), indent=2) if json_output else found)

    _with_bench(run)


@app.command
def clear(*, scope: str | None = None) -> None:
    """Forget answers, here and, within a second, in all processes that share the store.

    Parameters
    ----------
    scope
        Only these: a model and, where there is one, a prompt, such as "ollama/llama3.2:3b helpdesk@2"; * stands for any
        characters. By default all.
    """

    async def run(bench: Workbench) -> None:
        removed = await bench.cache.clear(scope)
        print(f"{removed:,} answer{'s' if removed != 1 else ''} removed")
        if scope and not removed and (names := await bench.cache.scopes()):
            print("scopes that have answers: " + ", ".join(names))

    _with_bench(run)


@app.command
def export(path: Path, *, scope: str = "*", pairs: bool = False) -> None:
    """Write what the exact cache holds as JSON lines, or, with --pairs, what shadow mode found near, for labelling.

    Parameters
    ----------
    path
        The file to write; it is replaced.
    scope
        Only answers of these scopes; * stands for any characters.
    pairs
        Questions that were asked beside earlier ones that were near, with both answers. Set "same" in each line to true or false,
        and give the file to the notebook cache_tuning.
    """

    target = path.expanduser()

    async def run(bench: Workbench) -> None:
        import orjson

        from workbench.errors import InputError
        from workbench.running.saving import write_whole

        if pairs:
            from workbench.cache.pairs import write_pairs

            found = await bench.cache.pairs()
            write_pairs(path, found)
            print(f"{len(found):,} pair{'s' if len(found) != 1 else ''} written to {path}")
            return
        lines = [
            orjson.dumps(
                {
                    "scope": name,
                    "key": key,
                    "expires_at": entry.expires_at,
                    "cost": entry.cost,
                    "completion": entry.completion,
                },
                option=orjson.OPT_APPEND_NEWLINE,
            )
            async for name, key, entry in bench.cache.entries(scope)
        ]
        try:
            write_whole(target, b"".join(lines))
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror or error}. Choose another path.") from None
        print(f"{len(lines):,} answer{'s' if len(lines) != 1 else ''} written to {path}")

    _with_bench(run)


@app.command
def savings(*, days: float = 7, json_output: _Json = False) -> None:
    """Say what the exact cache would have saved on the calls that were made, by the call log. Nothing is asked.

    Parameters
    ----------
    days
        How far to look back.
    json_output
        Print JSON in place of the table.
    """

    async def run(bench: Workbench) -> None:
        found = bench.cache_savings(days=days)
        print(json.dumps(found.to_mapping(), indent=2) if json_output else found)

    _with_bench(run)


def _with_bench(run: Any) -> None:
    async def job() -> None:
        from workbench.workbench import Workbench

        async with Workbench() as bench:
            await run(bench)

    asyncio.run(job())
