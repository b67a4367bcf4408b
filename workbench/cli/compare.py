"""`workbench compare`."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    from workbench.evaluation.comparison import Comparison
    from workbench.evaluation.estimate import Budget
    from workbench.evaluation.plan import Plan
    from workbench.workbench import Workbench

__all__ = ["check_target", "compare", "reuse_line"]

_FIELDS = (
    "prompts", "models", "dataset", "primary", "scorers", "margin", "control", "repeats", "seed", "level", "limit", "split",
    "concurrency", "timeout", "params", "guardrails", "budget", "sequential", "slices", "executor", "gates",
)  # fmt: skip


def compare(
    *file: Path,
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
    executor: str | None = None,
    slices: list[str] | None = None,
    worst: int = 0,
    gate: list[str] | None = None,
    junit: str | None = None,
    markdown: str | None = None,
    parquet: str | None = None,
    html: str | None = None,
    json_file: Annotated[str | None, Parameter(name="--json", allow_leading_hyphen=True)] = None,
    fresh: bool = False,
    plan_only: bool = False,
) -> int:
    """Compare prompt versions on a data set: plan, progress, version-performance table and verdict.

    Rows that were measured before are reused, so an interrupted comparison goes on where it stopped. Exit code 0 when
    every answer is there or a sequential comparison is clear, 1 when it stopped early or some calls failed, 2 for wrong
    input, 130 when it was interrupted. With gates: 0 when all passed, 4 when one failed, 5 when one is undecided.

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
    executor
        dask://HOST:8786, a Dask scheduler whose workers make the calls. By default this process does.
    slices
        A metadata field: print the score in each part of the data. Give it once for each field.
    worst
        Print so many examples on which each variant lost most against the control, with all answers.
    gate
        What must be shown, such as 'accuracy: non-inferior 0.02', 'accuracy >= 0.8', 'p95_ms < 2000', 'cost_per_call < 0.002' or
        'error_rate < 0.05' (see docs/gates.md). Give it once for each gate.
    junit
        Write the gates to this file as JUnit XML.
    markdown
        Write gates, verdict and table to this file as Markdown, for a comment on a pull request.
    parquet
        Write every row, with request, answer, scores and all that it was made by, to this Parquet file.
    html
        Write verdict, table and answers to this file as one page to send, which any browser filters and searches.
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
        "executor": executor, "slices": slices, "gates": gate, "budget": _budget(budget, minutes),
        "primary": scorer[0] if scorer else None, "scorers": scorer[1:] if scorer else None,
    }  # fmt: skip
    options = _read(_the_file(file, prompt)) | {name: value for name, value in flags.items() if value is not None}
    for name, flag in (("prompts", "--prompt"), ("dataset", "--data")):
        if name not in options:
            raise InputError(
                f"{flag} is missing (or {name} in a TOML file): say what to compare. See workbench compare --help."
            )
    check_target(json_file)
    for flag, target, example in (("--junit", junit, "gates.xml"), ("--markdown", markdown, "gates.md")):
        if target is not None and "gates" not in options:
            raise InputError(
                f"{flag} writes what the gates say, and there is none: add --gate 'accuracy: non-inferior 0.02'."
            )
        if target == "-":
            raise InputError(
                f"{flag} -: the result goes to standard output already. Name a file, such as {flag} {example}."
            )
        check_target(target, flag, example)
    for flag, target, example in (("--parquet", parquet, "rows.parquet"), ("--html", html, "answers.html")):
        if target == "-":
            raise InputError(f"{flag} - is no file: name one, such as {flag} {example}.")
        check_target(target, flag, example)
    return asyncio.run(
        _compare(options, json_file, junit, markdown, parquet, html, worst=worst, fresh=fresh, plan_only=plan_only)
    )


def check_target(target: str | None, flag: str = "--json", example: str = "result.json") -> None:
    """Before anything is paid for, the result must have a place."""
    from workbench.errors import InputError

    if target is None or target == "-":
        return
    path = Path(target).expanduser().resolve()
    if not target or path.is_dir():
        raise InputError(f"{flag} {target!r} is a folder: name a file, such as {flag} {path / example}.")
    if not path.parent.is_dir():
        raise InputError(f"{flag} {target!r}: there is no folder {path.parent}. Make it, or name another file.")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{flag} {target!r}: {path.parent} cannot be written to. Name a file in a folder of yours.")


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


def _the_file(words: tuple[Path, ...], prompt: list[str] | None) -> Path | None:
    """The one TOML file among them. Raises InputError that says what was probably meant by others, such as prompts."""
    from workbench.errors import InputError

    known = [path for path in words if path.suffix.lower() == ".toml" or path.is_file()]
    others = [str(path) for path in words if path not in known]
    if others:
        named = " ".join(f"--prompt {shlex.quote(name)}" for name in [*(prompt or ()), *others])
        raise InputError(
            f"{', '.join(others)}: no such file, and prompts are named by a flag each. Did you mean: workbench compare {named}? "
            "A word without a flag is a TOML file with a comparison."
        )
    if len(known) > 1:
        raise InputError(f"one comparison at a time: these are {len(known)} files, {', '.join(map(str, known))}.")
    return known[0] if known else None


def _read(file: Path | None) -> dict[str, Any]:
    from workbench.errors import InputError, did_you_mean

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
            meant = did_you_mean(name, _FIELDS)
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


async def _compare(
    options: dict[str, Any],
    json_file: str | None,
    junit: str | None,
    markdown: str | None,
    parquet: str | None,
    html: str | None,
    *,
    worst: int,
    fresh: bool,
    plan_only: bool,
) -> int:
    from workbench.evaluation.findings import metadata
    from workbench.workbench import Workbench

    out = sys.stderr if json_file == "-" else sys.stdout
    fields, gates = options.pop("slices", []), options.pop("gates", None)
    async with Workbench() as bench:
        plan = bench.plan(**options)
        for name in fields:
            metadata(plan, name)  # before anything is paid for
        warnings = [] if gates is None else _read_gates(gates, plan)
        print(plan, end="\n\n", file=out, flush=True)
        for warning in warnings:
            print(f"Warning: {warning}", end="\n\n", file=out, flush=True)
        if plan_only:
            return 0
        if not fresh and (line := await reuse_line(bench, plan)):
            print(line, end="\n\n", file=out, flush=True)
        result = await bench.compare(plan, fresh=fresh)
        report = None if gates is None else result.gate(gates)
        told = {} if report is None else {"gates": report.to_mapping()}
        if json_file is not None and json_file != "-":
            result.save(json_file, **told)
        print(result, file=out)
        for name in fields:
            print(f"\n{result.slice_text(name)}", file=out)
        for part in _lost(result, worst):
            print(f"\n{part}", file=out)
        if report is not None:
            print(f"\n{report}", file=out)
            report.save(junit=junit, markdown=markdown)
        if parquet is not None:
            print(f"Parquet: {result.to_parquet(parquet)}", file=out)
        if html is not None:
            print(f"Page: {result.to_html(html)}", file=out)
        if json_file == "-":
            print(json.dumps(result.to_mapping() | told, indent=2))
    if result.run.stopped == "interrupted" and not result.complete:
        return 130
    if report is not None:
        return report.exit_code
    return 0 if result.complete or result.run.ended == "clear" else 1


def _lost(result: Comparison, count: int) -> Iterator[str]:
    """The examples that each variant lost most on."""
    from workbench.tables import to_text

    if count < 1:
        return
    plan = result.run.plan
    for label in [variant.label for variant in plan.variants if variant.label != plan.control]:
        found = result.worst(count, variant=label)
        if not len(found):
            yield f"{label} lost on no example against the control."
            continue
        shown = found[["example", "delta", "input", "expected", plan.control, label]]
        yield f"Where {label} lost most on {plan.primary.name} against the control\n{to_text(shown)}"


def _read_gates(gates: Any, plan: Plan) -> list[str]:
    """What must be said of the gates before anything is paid for; InputError for what is none."""
    from workbench.evaluation.gates import read_gates
    from workbench.evaluation.gates.measuring import impossible

    return impossible(read_gates(gates, plan), plan)
