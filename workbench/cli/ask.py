"""`workbench ask`."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from workbench.cli.answers import Pieces, read_inputs
from workbench.cli.bench import read_params

if TYPE_CHECKING:
    from workbench.records import Completion
    from workbench.workbench import Workbench

__all__ = ["ask"]


def ask(
    *question: Annotated[str, Parameter(allow_leading_hyphen=True)],
    model: str | None = None,
    prompt: str | None = None,
    input_: Annotated[list[str] | None, Parameter(name="--input", alias="-v")] = None,
    params: str = "{}",
    raw: bool = False,
    timeout: float = 120.0,
    no_cache: bool = False,
) -> None:
    """Ask a model once. The answer is printed as it comes; what it took follows on standard error.

    Parameters
    ----------
    question
        What to ask; - reads it from standard input.
    model
        ENDPOINT/MODEL; by default the settings' model.
    prompt
        In place of a question: NAME, NAME@3 or NAME@label.
    input_
        VARIABLE=VALUE for the prompt; give it once for each variable.
    params
        Sampling params as JSON, such as '{"temperature": 0, "max_tokens": 100}'. With temperature 0, or a seed, an equal
        question's answer may come from the cache.
    raw
        Send the question as it is, without a chat template.
    timeout
        Seconds that the answer may take.
    no_cache
        Serve no answer from the cache, and keep none.
    """
    asked: dict[str, Any] = {
        "question": _question(question, prompt), "prompt": prompt, "inputs": read_inputs(input_ or []),
        "model": model, "params": read_params(params), "raw": raw, "timeout": timeout, "cached": False if no_cache else None,
    }  # fmt: skip
    asyncio.run(_ask(asked))


async def _ask(asked: dict[str, Any]) -> None:
    from workbench.workbench import Workbench

    async with Workbench() as bench:
        pieces = Pieces()
        try:
            async with aclosing(bench.stream(**asked)) as chunks:
                async for chunk in chunks:
                    pieces.show(chunk.text, chunk.reasoning)
                    if chunk.completion is not None:
                        done = chunk.completion
        finally:
            pieces.end()
        for call in done.tool_calls:
            pieces.show_line(json.dumps(call))
        print(_told(bench, done), file=sys.stderr)


def _told(bench: Workbench, done: Completion) -> str:
    """What one answer took, and who gave it. A cached one spends nothing now."""
    from workbench.tables import clean_text, format_money, format_seconds

    usage, timing, cached = done.usage, done.timing, done.source != "model"
    counts = [("unknown" if n is None else f"{n:,}") for n in (usage.prompt_tokens, usage.completion_tokens)]
    first, speed = timing.first_token, done.tokens_per_second
    cost = 0.0 if cached else bench.client.cost(done.model, done)
    parts = [
        f"{counts[0]} tokens in, {counts[1]} out",
        f"first token {'unknown' if first is None else format_seconds(first)}",
        f"{'unknown' if speed is None else f'{speed:,.1f}'} tokens/s",
        f"cost {format_money(cost)}",
        f"source {done.source}{' (times are those of when the answer was made)' if cached else ''}",
        clean_text(done.model),
    ]
    parts += ["cut off at its length limit"] if done.finish_reason == "length" else []
    parts += ["made from a prompt that the server cut"] if done.truncated else []
    return " · ".join(parts)


def _question(words: tuple[str, ...], prompt: str | None) -> str | None:
    from workbench.errors import InputError

    for word in words:
        if word.startswith("-") and word != "-":
            raise InputError(
                f"there is no option {word}: see workbench ask --help. A question that begins with a hyphen is read from "
                "standard input: echo '-1 + 2 = ?' | workbench ask -"
            )
    if len(words) > 1:
        raise InputError(f"the question is one text: put it in quotes, such as workbench ask '{' '.join(words)}'.")
    if bool(words) == (prompt is not None):
        both = "a question and a prompt were given" if words else "there is nothing to ask"
        raise InputError(f"{both}: workbench ask 'QUESTION', or workbench ask --prompt NAME@2 --input VARIABLE=VALUE.")
    return sys.stdin.read() if words == ("-",) else words[0] if words else None
