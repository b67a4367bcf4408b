"""`workbench prompt try`: a playground's run in a shell."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from workbench.cli.answers import Pieces, read_inputs
from workbench.cli.bench import read_params

if TYPE_CHECKING:
    from workbench.playground import Answer, Playground

__all__ = ["try_prompt"]

_TICK = 0.03  # seconds between two looks at what came


def try_prompt(
    ref: str,
    *,
    model: list[str] | None = None,
    version: list[int] | None = None,
    input_: Annotated[list[str] | None, Parameter(name="--input", alias="-v")] = None,
    dataset: str | None = None,
    example: int = 1,
    params: str = "{}",
    no_cache: bool = False,
    json_output: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Try a prompt by hand, on up to four models or versions at once. Each answer is printed as it comes; what it took follows.

    It is a run of the playground: bench.playground(NAME) in a notebook has it in its history, and brings it back. Exit code 1 if
    an answer failed.

    Parameters
    ----------
    ref
        NAME, NAME@3 or NAME@label.
    model
        ENDPOINT/MODEL; give it once for each. By default the settings' model.
    version
        A version's number, in place of the one of REF; give it once for each. Every version is asked of every model.
    input_
        VARIABLE=VALUE; give it once for each variable.
    dataset
        A data set whose example fills in what --input does not.
    example
        Which example, from 1.
    params
        Sampling params as JSON, over the prompt's own, such as '{"temperature": 0, "max_tokens": 100}'.
    no_cache
        Serve no answer from the cache.
    json_output
        Print one line of JSON for each answer, when all are there.
    """
    from workbench.playground import Playground
    from workbench.playground.sampling import typed_params
    from workbench.workbench import Workbench

    async def run() -> int:
        async with Workbench() as bench:
            play = Playground(bench, ref, models=model or (), versions=version or (), dataset=dataset)
            if dataset is not None:
                play.pick(example - 1)
            given = read_inputs(input_ or [])
            _check(play, given, filled=dataset is not None)
            play.inputs |= given
            play.set_params(typed_params(read_params(params).to_mapping()), fresh=no_cache)
            return await _run(play, json_output)

    return asyncio.run(run())


def _check(play: Playground, given: dict[str, str], *, filled: bool) -> None:
    """Raise InputError for a value that is missing, or that nothing takes: a form shows both, a shell does not."""
    from workbench.errors import InputError, did_you_mean

    names = play.variables
    for name in given:
        if name not in names:
            known = ", ".join(names) or "none"
            raise InputError(
                f"--input {name}: {play.base.name} has no such variable.{did_you_mean(name, names)} Its variables: {known}."
            )
    missing = [name for name in names if name not in given and name not in play.inputs and name not in play.slots]
    if missing:
        also = "" if filled else ", or take them from an example: --dataset NAME --example 1"
        asked = " ".join(f"--input {name}='…'" for name in missing)
        raise InputError(f"{play.base.ref} needs a value for {', '.join(missing)}: give {asked}{also}.")


async def _run(play: Playground, as_json: bool) -> int:
    """Show the answers, each in its turn while all of them come."""
    running = asyncio.ensure_future(play.prepare()())
    try:
        if not as_json:
            for answer in play.answers:
                await _show(answer, titled=len(play.answers) > 1)
        await running
    finally:
        if not running.done():
            running.cancel()
            await asyncio.wait([running])  # it keeps what there is
    if as_json:
        for answer in play.answers:
            print(json.dumps(_row(answer), ensure_ascii=False))
    return int(any(answer.state == "failed" for answer in play.answers))


async def _show(answer: Answer, *, titled: bool) -> None:
    from workbench.tables import clean_text

    pieces = Pieces()
    if titled:
        pieces.show_line(f"── {answer.title}")
    text = thought = 0
    try:
        while True:
            over = answer.over  # before what came is read: nothing comes after it
            pieces.show(answer.text[text:], answer.reasoning[thought:])
            text, thought = len(answer.text), len(answer.reasoning)
            if over:
                break
            await asyncio.sleep(_TICK)
    finally:
        pieces.end()
    for call in answer.calls_shown():
        pieces.show_line(call)
    told = " · ".join(f"{what} {value}" for what, value in answer.figures())
    for line in filter(None, (told, answer.remark(), answer.failure and f"failed: {answer.failure}")):
        print(clean_text(line), file=sys.stderr)


def _row(answer: Answer) -> dict[str, Any]:
    """What a program reads of an answer: seconds, dollars, None for what is unknown."""
    return {name: value for name, value in answer.to_mapping().items() if name != "reasoning"}
