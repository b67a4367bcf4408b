"""What the calls of a plan would cost and take: low, expected and high.

Token counts are ranges from text lengths (3 to 4.5 characters a token, as English text has in today's tokenisers), money
follows from them, minutes from what the call log knows of the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from workbench import tables
from workbench.calls import Pace
from workbench.errors import InputError
from workbench.records import Usage, Variant, split_model

__all__ = [
    "CHARS_PER_TOKEN",
    "TEMPLATE",
    "UNBOUNDED_OUTPUT",
    "Budget",
    "Estimate",
    "Judged",
    "ceiling",
    "estimate",
    "seconds_of_call",
]

CHARS_PER_TOKEN = (4.5, 3.0)
UNBOUNDED_OUTPUT = 512
# one thread of a small CPU: seconds for a prompt token that no slot has cached, and for an output token
_EMBEDDED_SECONDS = (0.008, 0.02)
_CHARS = 3.75  # a token, expected
TEMPLATE = 24  # tokens that a chat template adds at most, about


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may spend at most: dollars, minutes, or both. It ends on whole examples before either is exceeded."""

    usd: float | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("usd", self.usd), ("minutes", self.minutes)):
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf
            ):
                raise InputError(f"budget: {name} = {value!r} must be a number above 0.")

    def __str__(self) -> str:
        money = [] if self.usd is None else [tables.format_money(self.usd)]
        return " and ".join([*money, *([] if self.minutes is None else [f"{self.minutes:g} min"])])


@dataclass(frozen=True, slots=True)
class Judged:
    """What one judge adds to a run: calls, usd and seconds as (low, expected, high), tokens as (low, high). scorer: its name.
    usd is None if the price is unknown, and seconds are NaN if its pace is; basis says from what they come."""

    scorer: str
    model: str
    prompt: str
    calls: tuple[int, int, int]
    prompt_tokens: tuple[int, int]
    completion_tokens: tuple[int, int]
    usd: tuple[float, float, float] | None
    seconds: tuple[float, float, float]
    basis: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """For the whole run. calls: of the variants; those of judges are in `judges`, and tokens, money and minutes are of both.
    Tokens and usd: (low, high); usd_expected by the tokens that earlier answers had, else by a guess.

    minutes: expected, with minutes_range from the quicker and slower quarter of earlier calls. What is unknown is None;
    `basis` says from what it comes.
    """

    calls: int
    prompt_tokens: tuple[int, int]
    completion_tokens: tuple[int, int]
    usd: tuple[float, float] | None
    minutes: float | None
    minutes_basis: str
    unpriced: tuple[str, ...] = ()
    usd_expected: float | None = None
    minutes_range: tuple[float, float] | None = None
    judges: tuple[Judged, ...] = ()


def estimate(
    variants: Sequence[Variant],
    calls_each: int,
    chars: Mapping[str, float],
    concurrency: int | None,
    cost: Callable[[str, Usage], float | None],
    pace: Callable[[str], Pace | None],
    workers: Callable[[str], int],
    budget: Callable[[str], tuple[float | None, float | None]],
) -> Estimate:
    """calls_each: of every variant; chars: mean characters of the inputs, by prompt digest."""
    prompt_low = prompt_high = out_low = out_high = 0
    usd = [0.0, 0.0, 0.0]
    unpriced: dict[str, None] = {}
    seconds = [0.0, 0.0, 0.0]  # NaN: unknown
    bases: dict[str, None] = {}
    unknown: dict[str, None] = {}
    for variant in variants:
        prompt = variant.prompt
        fixed = len(prompt.text) + sum(len(message.content) + 8 for message in prompt.messages)
        own = chars[prompt.digest]
        low, high = ((fixed + own) / rate for rate in CHARS_PER_TOKEN)
        low, high = math.floor(low), math.ceil(high) + TEMPLATE
        most = variant.params.max_tokens or UNBOUNDED_OUTPUT
        prompt_low, prompt_high = prompt_low + low * calls_each, prompt_high + high * calls_each
        out_low, out_high = out_low + calls_each, out_high + most * calls_each
        known = pace(variant.model)
        usual = min(most, known.tokens if known is not None else math.sqrt(most))
        middle = (fixed + own) / _CHARS + TEMPLATE / 2
        for place, (tokens, out) in enumerate(((low, 1), (high, most), (round(middle), max(1, round(usual))))):
            one_call = cost(variant.model, Usage(tokens, out))
            if one_call is None:
                unpriced[variant.model] = None
            else:
                usd[place] += one_call * calls_each
        one, basis = seconds_of_call(variant.model, known, own, most)
        requests, tokens_a_minute = budget(variant.model)
        paced = 60 * calls_each / requests if requests else 0.0
        paced = max(paced, 60 * calls_each * (low + 1) / tokens_a_minute if tokens_a_minute else 0.0)
        taken = [calls_each * each / (concurrency or workers(variant.model)) for each in one]
        if paced and not taken[2] > paced:  # this much is certain, also of a model that was never called
            taken, basis = (
                [paced, max(paced, 0 if math.isnan(taken[1]) else taken[1]), paced],
                (f"at least, by the budget of {split_model(variant.model)[0]}"),
            )
        (unknown if math.isnan(taken[2]) else bases)[basis] = None
        seconds = [before + more for before, more in zip(seconds, taken, strict=True)]
    timed = not math.isnan(seconds[2])
    return Estimate(
        calls=calls_each * len(variants),
        prompt_tokens=(prompt_low, prompt_high),
        completion_tokens=(out_low, out_high),
        usd=None if unpriced else (usd[0], usd[1]),
        minutes=seconds[2] / 60 if timed else None,
        minutes_basis=", ".join(unknown or bases),
        unpriced=tuple(unpriced),
        usd_expected=None if unpriced else min(max(usd[2], usd[0]), usd[1]),
        minutes_range=(seconds[0] / 60, seconds[1] / 60) if timed else None,
    )


def seconds_of_call(model: str, known: Pace | None, chars: float, most: int) -> tuple[tuple[float, float, float], str]:
    """((low, high, expected), from what they come); NaN if unknown. known: its pace in earlier calls. chars: of a prompt that no
    slot has cached; most: tokens of the answer."""
    if known is not None:
        return (known.low, known.high, known.expected), "from earlier calls"
    if split_model(model)[0] == "embedded":
        guess = _EMBEDDED_SECONDS[0] * chars / CHARS_PER_TOKEN[1] + _EMBEDDED_SECONDS[1] * min(most, 64)
        return (guess / 3, guess * 2, guess), "assumed for one CPU thread"
    return (math.nan, math.nan, math.nan), f"{model} has not been called yet"


def ceiling(variant: Variant, size: int, cost: Callable[[str, Usage], float | None]) -> float | None:
    """Dollars that one call with a request of so many bytes costs at most, as far as can be said before; None if unknown."""
    tokens = math.ceil(size / CHARS_PER_TOKEN[1]) + TEMPLATE
    return cost(variant.model, Usage(tokens, variant.params.max_tokens or UNBOUNDED_OUTPUT))
