"""`workbench compare`."""

from __future__ import annotations

import asyncio
import difflib
import json
import os
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    from workbench.evaluation.estimate import Budget
    from workbench.evaluation.plan import Plan
    from workbench.workbench import Workbench

__all__ = ["check_target", "compare", "reuse_line"]

_FIELDS = (
    "prompts", "models", "dataset", "primary", "scorers", "margin", "control", "repeats", "seed", "level", "limit", "split",
    "concurrency", "timeout", "params", "guardrails", "budget", "sequential", "slices",
)  # fmt: skip


def compare(
    file: Path | None = None,
    *,
    prompt: list[str] | None = None,
    model: list[str] | None = None,
    data: str | None = None,
    scorer: list[str] | None = None,
    margin: float | None = None,
    repeats: int | None = None,
    limit: int | None = None,
    split: str | None = None,
    seed: int | None = None,
    control: str | None = None,
    concurrency: int | None = None,
    budget: float | None = None,
    minutes: float | None = None,
    sequential: bool | None = None,
    slices: list[str] | None = None,
    json_file: Annotated[str | None, Parameter(name="--json", allow_leading_hyphen=True)] = None,
    fresh: bool = False,
    plan_only: bool = False,
) -> int:
    """Compare prompt versions on a data set: plan, progress, version-performance table and verdict.

    Rows that were measured before are reused, so an interrupted comparison goes on where it stopped. Exit code 0 when
    every answer is there or a sequential comparison is clear, 1 when it stopped early or some calls failed, 2 for wrong
    input, 130 when it was interrupted.

    Parameters
    ----------
    file
        A TOML file with what does not fit into flags; flags are stronger.
    prompt
        NAME, NAME@3 or NAME@label; give it once for each version. The first is the control.
    model
        ENDPOINT/MODEL; give it once for each model. By default the settings' model.
    data
        A data set: its name in datasets/, or a path to .jsonl, .csv or .parquet.
    scorer
        A scorer's name, or MODULE:FUNCTION of yours; the first one decides. By default exact_match.
    margin
        A difference of the deciding score that does not matter (default 0.05).
    repeats
        How often each example is asked (default 1).
    limit
        Use a seeded random part of this many examples.
    split
        Use only this split of the data set.
    seed
        Of order and sampling (default 0).
    control
        Which variant the others are measured against.
    concurrency
        Calls at once; by default what the runtime can take.
    budget
        Dollars that the run may spend at most; it ends on whole examples below it.
    minutes
        Minutes that it may take at most, likewise.
    sequential
        Stop as soon as the answer is clear. The level holds over all looks together.
    slices
        A metadata field: print the score in each part of the data. Give it once for each field.
    json_file
        Write the result as JSON to this file; - is standard output.
    fresh
        Measure anew in place of reusing earlier rows.
    plan_only
        Print the plan and stop.
    """
    from workbench.errors import InputError

    flags = {
        "prompts": prompt, "models": model, "dataset": data, "margin": margin, "repeats": repeats, "limit": limit,
        "split": split, "seed": seed, "control": control, "concurrency": concurrency, "sequential": sequential,
        "slices": slices, "budget": _budget(budget, minutes),
        "primary": scorer[0] if scorer else None, "scorers": scorer[1:] if scorer else None,
    }  # fmt: skip
    options = _read(file) | {name: value for name, value in flags.items() if value is not None}
    for name, flag in (("prompts", "--prompt"), ("dataset", "--data")):
        if name not in options:
            raise InputError(
                f"{flag} is missing (or {name} in a TOML file): say what to compare. See workbench compare --help."
            )
    check_target(json_file)
    return asyncio.run(_compare(options, json_file, fresh=fresh, plan_only=plan_only))


def check_target(json_file: str | None) -> None:
    """Before anything is paid for, the result must have a place."""
    from workbench.errors import InputError

    if json_file is None or json_file == "-":
        return
    path = Path(json_file).expanduser().resolve()
    if not json_file or path.is_dir():
        raise InputError(f"--json {json_file!r} is a folder: name a file, such as --json {path / 'result.json'}.")
    if not path.parent.is_dir():
        raise InputError(f"--json {json_file!r}: there is no folder {path.parent}. Make it, or name another file.")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"--json {json_file!r}: {path.parent} cannot be written to. Name a file in a folder of yours.")


async def reuse_line(bench: Workbench, plan: Plan) -> str:
    """What to say of the plan's answers that are there from earlier runs; empty if there are none."""
    reused = await bench.reusable(plan)
    are = "is" if reused == 1 else "are"
    return (
        f"{reused:,} of {plan.estimate.calls:,} answers {are} there from earlier runs and {are} reused; "
        "--fresh measures anew."
        if reused
        else ""
    )


def _read(file: Path | None) -> dict[str, Any]:
    from workbench.errors import InputError

    if file is None:
        return {}
    try:
        table = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"there is no file {file}. A comparison is a TOML file with {', '.join(_FIELDS)}; or name prompts and data by "
            "--prompt NAME@1 --prompt NAME@2 --data FILE."
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{file}: {error}. A comparison is a TOML file with {', '.join(_FIELDS)}.") from None
    for name in table:
        if name not in _FIELDS:
            near = difflib.get_close_matches(name, _FIELDS, 1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            raise InputError(f"{file}: unknown field {name!r}.{meant} Known: {', '.join(_FIELDS)}.")
    if "guardrails" in table:
        from workbench.evaluation.verdict import Guardrail

        try:
            table["guardrails"] = [Guardrail(**item) for item in table["guardrails"]]
        except TypeError as error:
            raise InputError(f"{file}: guardrails need name and margin, and may have measure: {error}.") from None
    if "budget" in table:
        from workbench.evaluation.estimate import Budget

        given = table["budget"]
        try:
            table["budget"] = Budget(**given) if isinstance(given, dict) else Budget(usd=given)
        except TypeError:
            raise InputError(f"{file}: budget is a number of dollars, or {{ usd = 1.0, minutes = 10 }}.") from None
    return table


def _budget(usd: float | None, minutes: float | None) -> Budget | None:
    from workbench.evaluation.estimate import Budget

    return None if usd is None and minutes is None else Budget(usd, minutes)


async def _compare(options: dict[str, Any], json_file: str | None, *, fresh: bool, plan_only: bool) -> int:
    from workbench.evaluation.findings import metadata
    from workbench.workbench import Workbench

    out = sys.stderr if json_file == "-" else sys.stdout
    fields = options.pop("slices", [])
    async with Workbench() as bench:
        plan = bench.plan(**options)
        for name in fields:
            metadata(plan, name)  # before anything is paid for
        print(plan, end="\n\n", file=out, flush=True)
        if plan_only:
            return 0
        if not fresh and (line := await reuse_line(bench, plan)):
            print(line, end="\n\n", file=out, flush=True)
        result = await bench.compare(plan, fresh=fresh)
        if json_file is not None and json_file != "-":
            result.save(json_file)
        print(result, file=out)
        for name in fields:
            print(f"\n{result.slice_text(name)}", file=out)
        if json_file == "-":
            print(json.dumps(result.to_mapping(), indent=2))
    return 0 if result.complete or result.run.ended == "clear" else 130 if result.run.stopped == "interrupted" else 1
