"""What a load test sends, and when: prompts of a fixed length that no cache has seen, answers of a fixed length, arrivals.

Prompts are common English words, each of which is one token to most of today's tokenisers; the words are drawn by the seed
and the run, so that no two prompts of any run begin alike and a prefix cache cannot help.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from workbench.records import Message, Params, Request

__all__ = ["FORCES_LENGTH", "first_guess", "next_guess", "poisson_arrivals", "prompt_text", "request_of", "sampling"]

FORCES_LENGTH = ("embedded", "vllm")
"""The kinds of runtime that know `ignore_eos`. Ollama and TGI have no such field, and OpenAI refuses fields it does not know."""

_INSTRUCTION = "Tell a long story with these words."  # at the end, so that prompts differ from their first word on
_TEMPLATE = 20  # tokens that instruction and chat template take, about
_TEXT = (
    "time people way day man thing woman life child world school state family student group country problem hand part "
    "place case week company system program question work government number night point home water room mother area "
    "money story fact month lot right study book eye job word business issue side kind head house service friend father "
    "power hour game line end member law car city community name president team minute idea kid body information back "
    "parent face others level office door health person art war history party result change morning reason research girl "
    "guy moment air teacher force education foot boy age policy music market sense nation plan college interest death "
    "experience effect use class control field development role effort rate heart drug show leader light voice wife police "
    "mind price report decision son view relationship town road arm difference value building action season society tax "
    "director position player record paper space ground form event official matter center couple site project activity star "
    "table need court oil situation cost industry figure street image phone data picture practice piece land product doctor "
    "wall patient worker news test movie north love support technology step baby computer type film attention draw tree"
)
_WORDS = _TEXT.split()


def prompt_text(words: int, shared: int, key: str) -> str:
    """A prompt of `words` words and a short instruction. key: what the words are drawn by; equal keys give equal prompts.

    shared: how many of the first words are the same in all prompts of a run, as a system prompt is: `key` up to its first
    "/" draws them.
    """
    run = key.partition("/")[0]
    first = random.Random(run).choices(_WORDS, k=min(shared, words))  # noqa: S311  (words, not secrets)
    own = random.Random(key).choices(_WORDS, k=max(0, words - shared))  # noqa: S311
    return f"{' '.join(first + own)}\n\n{_INSTRUCTION}"


def first_guess(tokens: int) -> int:
    """Words for a prompt of so many tokens, before the model has counted any."""
    return max(1, tokens - _TEMPLATE)


def next_guess(tokens: int, counted: Sequence[tuple[int, int]]) -> int:
    """Words for a prompt of `tokens`, from (words, prompt tokens) of the prompts that the model has counted so far.

    The last count says how many tokens are missing; two of them, how many tokens a word takes.
    """
    words, found = counted[-1]
    rate = 1.0
    if len(counted) > 1 and words != counted[-2][0]:
        rate = max(0.25, (found - counted[-2][1]) / (words - counted[-2][0]))
    return max(1, words + round((tokens - found) / rate))


def sampling(params: Params, kind: str, output_tokens: int) -> Params:
    """Params that make every answer `output_tokens` long where the kind of runtime can be made to; `params` are stronger.

    Temperature is 0, except for kind openai, whose newer models refuse to be told.
    """
    extra = ({"ignore_eos": True} if kind in FORCES_LENGTH else {}) | dict(params.extra)
    base = Params(temperature=None if kind == "openai" else 0.0, max_tokens=output_tokens)
    return replace(base.merged(params), extra=extra)


def request_of(model: str, text: str, params: Params, *, raw: bool, timeout: float) -> Request:
    """One request. raw: without the model's chat template."""
    if raw:
        return Request(model, "completion", (), text, params, timeout)
    return Request(model, "chat", (Message("user", text),), "", params, timeout)


def poisson_arrivals(rate: float, count: int, seed: int) -> list[float]:
    """Seconds at which `count` requests arrive, the first at 0: a Poisson process of `rate` a second, the same for a seed."""
    rng = random.Random(f"arrivals {seed}")  # noqa: S311  (arrivals, not secrets)
    times = [0.0]
    for _ in range(count - 1):
        times.append(times[-1] + rng.expovariate(rate))
    return times[:count]
