"""`workbench bench`."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from workbench.cli.compare import check_target

if TYPE_CHECKING:
    from workbench.loadtest.result import LoadTest
    from workbench.records import Params

__all__ = ["bench", "read_params"]


def bench(
    *models: str,
    concurrency: str | None = None,
    rate: str | None = None,
    requests: int | None = None,
    warmup: int | None = None,
    prompt_tokens: int = 128,
    output_tokens: int = 32,
    shared_tokens: int = 0,
    target_ttft: float | None = None,
    target_tpot: float | None = None,
    target_latency: float | None = None,
    params: str = "{}",
    raw: bool = False,
    weigh: bool = False,
    seed: int = 0,
    timeout: float = 120.0,
    json_file: Annotated[str | None, Parameter(name="--json", allow_leading_hyphen=True)] = None,
    against: str | None = None,
    plan_only: bool = False,
    list_: Annotated[bool, Parameter(name="--list")] = False,
    show: str | None = None,
) -> int:
    """Measure how fast models are served: time to first token, time per output token, latency, throughput, goodput.

    Every model is measured under every load, each after a discarded warm-up, with prompts and answers of fixed lengths. The
    result is kept, so that the same can be held against it next week. Exit code 0 when all was measured, 1 when it stopped
    early or requests failed, 2 for wrong input, 130 when it was interrupted.

    Parameters
    ----------
    models
        ENDPOINT/MODEL, one or more.
    concurrency
        Loads as calls at once, such as 1,4,16 (the default): each worker sends its next request when the last is answered.
    rate
        Loads as arrivals a second, such as 0.5,2, in place of --concurrency: Poisson, however long the answers take.
    requests
        Measured requests of each load (default 32, or 4 for each at once where that is more).
    warmup
        Discarded requests before each load (default: one for each at once).
    prompt_tokens
        Length of each prompt, chat template included; no two prompts begin alike.
    output_tokens
        Length of each answer.
    shared_tokens
        So many of each prompt's first tokens are the same in all, as a system prompt is: what a prefix cache can use.
    target_ttft
        Seconds to the first token that a good request keeps; goodput counts the requests a second that keep all targets.
    target_tpot
        Likewise, seconds for each token after the first.
    target_latency
        Likewise, seconds for the whole.
    params
        Sampling params as JSON, such as '{"temperature": 0.7, "extra": {"ignore_eos": true}}'.
    raw
        Send prompts as they are, without a chat template.
    weigh
        Find what a prompt token takes of the server's time where an output token takes 1: waves of requests by turns have prompts
        of a fourth and of seven fourths of --prompt-tokens. It shares a GPU's cost among calls.
    seed
        Of the words and of the arrivals.
    timeout
        Seconds that one request may take.
    json_file
        Write the result as JSON to this file; - is standard output.
    against
        Hold the result against this earlier one: its id, the beginning of one, or last.
    plan_only
        Print the plan and stop.
    list_
        List the load tests that are kept.
    show
        Print a load test that is kept, with --against held against another.
    """
    from workbench.errors import InputError
    from workbench.workbench import Workbench

    if list_ or show is not None:
        if models:
            raise InputError("--list and --show measure nothing: leave the models out, or leave --list and --show out.")
        return _kept(show, against, json_file)
    if not models:
        raise InputError("name a model, such as workbench bench embedded/smollm2-135m (or --list, or --show ID).")
    check_target(json_file)
    target = {"ttft": target_ttft, "tpot": target_tpot, "latency": target_latency}
    workbench = Workbench()
    before = workbench.load_tests.get(against) if against is not None else None
    options = {
        "concurrency": _numbers("--concurrency", concurrency, int), "rate": _numbers("--rate", rate, float),
        "requests": requests, "warmup": warmup, "prompt_tokens": prompt_tokens, "output_tokens": output_tokens,
        "shared_tokens": shared_tokens, "target": {name: value for name, value in target.items() if value is not None},
        "params": read_params(params), "raw": raw, "weigh": weigh, "seed": seed, "timeout": timeout,
    }  # fmt: skip
    return asyncio.run(_bench(list(models), options, before, json_file, plan_only=plan_only))


async def _bench(
    models: list[str], options: dict[str, Any], before: LoadTest | None, json_file: str | None, *, plan_only: bool
) -> int:
    from workbench.workbench import Workbench

    out = sys.stderr if json_file == "-" else sys.stdout
    async with Workbench() as workbench:
        plan = workbench.load_plan(models, **options)
        print(plan, end="\n\n", file=out, flush=True)
        if plan_only:
            return 0
        test = await workbench.load_test(plan)
    _print(test, before, json_file)
    return 0 if test.complete else 130 if test.stopped == "interrupted" else 1


def _kept(show: str | None, against: str | None, json_file: str | None) -> int:
    from workbench import tables
    from workbench.workbench import Workbench

    tests = Workbench().load_tests
    if show is None:
        found = tests.list()
        print(tables.to_text(found) if len(found) else "No load tests yet: workbench bench ENDPOINT/MODEL")
        return 0
    check_target(json_file)
    _print(tests.get(show), tests.get(against) if against is not None else None, json_file)
    return 0


def _print(test: LoadTest, before: LoadTest | None, json_file: str | None) -> None:
    from workbench.errors import InputError

    out = sys.stderr if json_file == "-" else sys.stdout
    found = test.to_mapping()
    print(test, file=out)
    if before is not None:
        try:
            change = test.against(before)
        except InputError as error:  # what was measured must not be lost to it
            print(f"\n{error}", file=sys.stderr)
        else:
            print(f"\n{change}", file=out)
            found["against"] = change.to_mapping()
    if json_file == "-":
        print(json.dumps(found, indent=2))
    elif json_file is not None:
        from pathlib import Path

        from workbench.running.saving import write_json

        write_json(Path(json_file).expanduser().resolve(), found, indent=False)


def _numbers(flag: str, text: str | None, kind: type[int | float]) -> list[int] | list[float] | None:
    from workbench.errors import InputError

    if text is None:
        return None
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        what = "whole numbers" if kind is int else "numbers"
        raise InputError(f"{flag} {text!r} must be {what} with commas between, such as {flag} 1,4,16.") from None


def read_params(text: str) -> Params:
    """What `--params` says. Raises InputError."""
    from workbench.errors import InputError
    from workbench.records import Params

    try:
        table = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"--params is not valid JSON: {error}.") from None
    if not isinstance(table, dict):
        raise InputError("--params must be a JSON object, such as '{\"temperature\": 0.7}'.")
    return Params.from_mapping(table, "--params")
