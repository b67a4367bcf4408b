"""What a judge will be asked: calls, tokens, money and seconds before, and the most that one judgement may cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from workbench.calls import Pace
from workbench.evaluation.estimate import (
    CHARS_PER_TOKEN,
    TEMPLATE,
    UNBOUNDED_OUTPUT,
    Estimate,
    Judged,
    seconds_of_call,
)
from workbench.evaluation.judging.asking import RETRIES
from workbench.records import Example, Prompt, Usage, Variant, split_model

__all__ = ["JudgeLoad", "judged", "most_of_judgement", "with_judges"]

_ASKED_AGAIN = 64  # tokens of the wish for another form, at most
_TRIES = 1 + RETRIES


@dataclass(frozen=True, slots=True)
class JudgeLoad:
    """What a judge is asked about one answer.

    model: ENDPOINT/MODEL. calls: fewest, usual and most, if each answer can be read at once; steps: how many of them one after
    the other. prompt: its prompt, or a reference to one of the project's. chars: of what else is in it, such as the rubric.
    max_tokens: of its answers, None if nothing bounds them.
    """

    model: str
    calls: tuple[int, int, int]
    steps: int
    prompt: str | Prompt
    chars: int = 0
    max_tokens: int | None = None

    @property
    def output(self) -> int:
        """Tokens of one answer at most, as far as can be said before."""
        return self.max_tokens or UNBOUNDED_OUTPUT


def most_of_judgement(
    load: JudgeLoad,
    prompts: Sequence[Prompt],
    variant: Variant,
    example: Example,
    cost: Callable[[str, Usage], float | None],
) -> float | None:
    """Dollars that judging one answer costs at most, all tries counted, as far as can be said before; None if unknown.

    prompts: of the judge. Sizes are in bytes, since letters beyond ASCII take more tokens.
    """
    shown = [*map(str, example.inputs.values()), example.context or "", str(example.expected or "")]
    size = sum(len(text.encode()) for text in shown) + max(_size(prompt) for prompt in prompts) + 4 * load.chars
    answer = variant.params.max_tokens or UNBOUNDED_OUTPUT
    tokens = math.ceil(size / CHARS_PER_TOKEN[1]) + TEMPLATE + answer
    first = cost(load.model, Usage(tokens, load.output))
    again = cost(load.model, Usage(tokens + load.output + _ASKED_AGAIN, load.output))
    return None if first is None or again is None else load.calls[2] * (first + RETRIES * again)


def _size(prompt: Prompt) -> int:
    return len(prompt.text.encode()) + sum(len(message.content.encode()) + 8 for message in prompt.messages)


def judged(
    load: JudgeLoad,
    scorer: str,
    variants: Sequence[Variant],
    answers_each: int,
    chars: float,
    concurrency: int | None,
    cost: Callable[[str, Usage], float | None],
    pace: Callable[[str], Pace | None],
    workers: Callable[[str], int],
    limits: Callable[[str], tuple[float | None, float | None]],
) -> Judged:
    """What judging every answer would take. The highest figures hold if no answer of the judge's can be read before its last
    try. load.prompt: a Prompt. answers_each: of every variant; chars: mean characters of inputs, context and expected."""
    assert isinstance(load.prompt, Prompt)  # noqa: S101  (resolved by who calls)
    fixed = len(load.prompt.text) + sum(len(message.content) + 8 for message in load.prompt.messages)
    known = pace(load.model)
    usual_out = min(load.output, known.tokens if known is not None else math.sqrt(load.output))
    one, basis = seconds_of_call(load.model, known, fixed + load.chars + chars, load.output)
    calls, tokens_in, tokens_out = [0, 0, 0], [0, 0, 0], [0, 0, 0]
    usd: list[float | None] = [0.0, 0.0, 0.0]
    seconds = [0.0, 0.0, 0.0]
    for variant in variants:
        most = variant.params.max_tokens or UNBOUNDED_OUTPUT
        told = pace(variant.model)
        usual = min(most, told.tokens if told is not None else math.sqrt(most))
        at_once, judges = concurrency or workers(variant.model), workers(load.model)
        for place, (count, rate, answer, out, tries) in enumerate(
            (
                (load.calls[0], CHARS_PER_TOKEN[0], 1.0, 1.0, 1),
                (load.calls[1], sum(CHARS_PER_TOKEN) / 2, usual, usual_out, 1),
                (load.calls[2], CHARS_PER_TOKEN[1], float(most + TEMPLATE), float(load.output), _TRIES),
            )
        ):
            asked = answers_each * count * tries
            # a question may be in several columns of which the prompt shows not all
            prompt = round((fixed + load.chars + (chars if place else 0)) / rate + answer)
            if place == 2:
                prompt += (load.output + _ASKED_AGAIN) * RETRIES // _TRIES
            calls[place] += asked
            tokens_in[place] += asked * prompt
            tokens_out[place] += asked * max(1, round(out))
            each, before = cost(load.model, Usage(prompt, max(1, round(out)))), usd[place]
            usd[place] = None if each is None or before is None else before + each * asked
            took = (one[0], one[2], one[1])[place]
            seconds[place] += max(answers_each * load.steps * took / at_once, asked * took / judges)
    requests, tokens_a_minute = limits(load.model)
    for place in range(3):
        paced = 60 * calls[place] / requests if requests else 0.0
        paced = max(paced, 60 * (tokens_in[place] + tokens_out[place]) / tokens_a_minute if tokens_a_minute else 0.0)
        if paced and not seconds[place] > paced:  # certain, also of a judge that was never called
            seconds[place], basis = paced, f"at least, by the budget of {split_model(load.model)[0]}"
    low, expected, high = usd
    return Judged(
        scorer, load.model, load.prompt.ref, (calls[0], calls[1], calls[2]), (tokens_in[0], tokens_in[2]),
        (tokens_out[0], tokens_out[2]),
        None if low is None or expected is None or high is None else (low, min(max(expected, low), high), high),
        (seconds[0], seconds[1], seconds[2]), basis,
    )  # fmt: skip


def with_judges(variants: Estimate, judges: Sequence[Judged]) -> Estimate:
    """The estimate of a run that is scored by judges: tokens, money and minutes are of all calls."""
    whole = variants
    for one in judges:
        unpriced = whole.unpriced if one.usd is not None else tuple(dict.fromkeys((*whole.unpriced, one.model)))
        usd = expected = None
        if whole.usd is not None and whole.usd_expected is not None and one.usd is not None:
            usd = (whole.usd[0] + one.usd[0], whole.usd[1] + one.usd[2])
            expected = whole.usd_expected + one.usd[1]
        minutes, between, basis = None, None, whole.minutes_basis
        timed = not math.isnan(one.seconds[1])
        if whole.minutes is not None and whole.minutes_range is not None and timed:
            minutes = whole.minutes + one.seconds[1] / 60
            between = whole.minutes_range[0] + one.seconds[0] / 60, whole.minutes_range[1] + one.seconds[2] / 60
            basis = ", ".join(dict.fromkeys((basis, one.basis)))
        elif whole.minutes is not None:
            basis = one.basis
        elif not timed and one.basis not in basis:
            basis = f"{basis}, {one.basis}"
        whole = replace(
            whole, usd=usd, usd_expected=expected, unpriced=unpriced, minutes=minutes, minutes_range=between,
            minutes_basis=basis, judges=(*whole.judges, one),
            prompt_tokens=(whole.prompt_tokens[0] + one.prompt_tokens[0], whole.prompt_tokens[1] + one.prompt_tokens[1]),
            completion_tokens=(
                whole.completion_tokens[0] + one.completion_tokens[0], whole.completion_tokens[1] + one.completion_tokens[1],
            ),
        )  # fmt: skip
    return whole
