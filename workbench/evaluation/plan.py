"""What a comparison would do and cost, before it does anything.

`make_plan` reads prompts and data only: no model is asked. What it costs and takes is in `estimate`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from workbench import tables
from workbench.calls import Pace
from workbench.errors import InputError
from workbench.evaluation import power
from workbench.evaluation.datasets import Dataset
from workbench.evaluation.estimate import Budget, Estimate, estimate
from workbench.evaluation.history import MOST_DECISIONS, Spread, holdout_note
from workbench.evaluation.scorers import Scorer
from workbench.evaluation.sequential import EARLY
from workbench.evaluation.verdict import Guardrail
from workbench.prompts import render
from workbench.records import ModelInfo, Params, Prompt, Request, Usage, Variant, digest

__all__ = ["Budget", "Estimate", "Plan", "make_plan", "request_for", "seeded"]

_ASSUMED_DISCORDANCE = 0.2
_LEAK_CHARS = 12
# of Comparison.summary and Comparison.table
_COLUMNS = frozenset((
    "prompt", "version", "model", "params", "in_flight", "latency_p50", "first_token_p50", "cost_per_call", "n", "unscored",
    "errors", "fresh", "replayed", "oldest", "verdict", "status", "variant", "example", "repeat", "beaten_by",
))  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """A comparison that has not run yet: variants x examples x repeats, and what decides.

    indices: (n,) positions in `dataset` that take part. left_out: ids whose text occurs in a compared prompt.
    margin: differences of the primary score up to this do not matter. level: of the intervals, over all contrasts.
    sequential: it ends as soon as every contrast is decided. spread: what is known of the paired differences' spread, None
    assumes one. needed: examples that settle a true difference of 0 within the margin with 80% power, None if not defined.
    """

    variants: tuple[Variant, ...]
    dataset: Dataset
    indices: np.ndarray
    left_out: tuple[str, ...]
    primary: Scorer
    scorers: tuple[Scorer, ...]
    margin: float
    control: str
    repeats: int
    seed: int
    level: float
    guardrails: tuple[Guardrail, ...]
    concurrency: int | None
    timeout: float
    estimate: Estimate
    smallest_difference: float
    notes: tuple[str, ...] = field(default=())
    budget: Budget | None = None
    sequential: bool = False
    spread: Spread | None = None
    needed: int | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of what is measured: the same digest means that rows of one run answer the other. What only decides
        afterwards (scorers, margin, level) and how fast it goes (concurrency) are not in it."""
        return digest(
            {
                "variants": [[variant.label, variant.digest] for variant in self.variants],
                "dataset": self.dataset.digest,
                "left_out": list(self.left_out),
                "repeats": self.repeats,
                "seed": self.seed,
            }
        )

    @property
    def models(self) -> tuple[str, ...]:
        """The models, in the order of their blocks."""
        return tuple(dict.fromkeys(variant.model for variant in self.variants))

    def resolved(self, infos: Mapping[str, ModelInfo]) -> Plan:
        """The same plan with what the endpoints said of their models."""
        return replace(
            self,
            variants=tuple(
                replace(
                    v,
                    model_digest=infos[v.model].digest,
                    server_version=infos[v.model].server_version,
                    origin=infos[v.model].origin,
                )
                for v in self.variants
            ),
        )

    def lines(self) -> list[tuple[str, str]]:
        """What it says, as (name, value) pairs; text and HTML both print these."""
        calls, usd = self.estimate, self.estimate.usd
        low, high = (
            calls.prompt_tokens[0] + calls.completion_tokens[0],
            calls.prompt_tokens[1] + calls.completion_tokens[1],
        )
        if usd is None:
            money = "unknown (no price for " + ", ".join(self.estimate.unpriced) + ")"
        elif usd[0] == usd[1] or calls.usd_expected is None:
            money = tables.format_money(usd[1])
        else:
            money = f"{tables.format_money(calls.usd_expected)}, from {' to '.join(map(tables.format_money, usd))}"
        if calls.minutes is None or calls.minutes_range is None:
            time = f"unknown ({calls.minutes_basis})"
        else:
            quick, slow = (tables.format_seconds(value * 60) for value in calls.minutes_range)
            between = f", from {quick} to {slow}" if quick != slow else ""
            time = f"about {tables.format_seconds(calls.minutes * 60)}{between} ({calls.minutes_basis})"
        examples = f"{len(self.indices)} of {self.dataset.name}"
        if self.left_out:
            examples += f" ({len(self.left_out)} left out: their text occurs in a compared prompt)"
        if self.spread is None and _ASSUMED_DISCORDANCE < self.smallest_difference <= 1:
            seen = f"only differences from about {self.smallest_difference:.2f} "
            seen += "(80% power, if none is judged the other way round)"
        elif math.isfinite(self.smallest_difference):
            seen = f"differences from about {self.smallest_difference:.2f} "
            seen += f"(80% power, {self._by()})"
        else:
            seen = "no difference: there are too few examples"
        pairs = [
            ("variants", "; ".join(v.label + (" (control)" if v.label == self.control else "") for v in self.variants)),
            ("examples", examples + (f", {self.repeats} repeats each" if self.repeats > 1 else "")),
            ("decided by", f"{self.primary.name}, margin ±{self.margin:g}, {self.level:.0%} intervals"),
            ("calls", f"{calls.calls:,}, and {len(self.variants)} to warm up"),
            ("tokens", f"{low:,} to {high:,}"),
            ("cost", money),
            ("time", time),
            ("can see", seen),
        ]
        if self.needed is not None:
            enough = "these are enough" if self.needed <= len(self.indices) else f"about {self.needed:,} are needed"
            pairs.append(("the margin", f"to settle it within ±{self.margin:g}, {enough} (80% power, {self._by()})"))
        if self.budget is not None:
            pairs.append(("budget", f"{self.budget} at most: it then ends on whole examples"))
        if self.sequential:
            pairs.append(("stops early", "as soon as every variant is decided, at the same level over all looks"))
        if self.guardrails:
            pairs.insert(3, ("guardrails", ", ".join(map(_allowed, self.guardrails))))
        return pairs + [("note", note) for note in self.notes]

    def _by(self) -> str:
        """What the spread of the paired differences is taken from."""
        if self.spread is None:
            return f"if {_ASSUMED_DISCORDANCE:.0%} of the examples are judged differently"
        return f"by the spread of {self.spread.n:,} examples in {self.spread.source}"

    def __str__(self) -> str:
        return "Plan\n" + "\n".join(f"  {name:<11} {value}" for name, value in self.lines())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        import pandas as pd

        frame = pd.DataFrame(self.lines(), columns=["plan", "value"])
        return tables.to_html(frame, caption="Plan: what this comparison would do. A plan sends nothing.")


def _allowed(guardrail: Guardrail) -> str:
    """What a guardrail allows, in the words of its measure."""
    if guardrail.measure != "score":
        return f"{guardrail.name} at most +{100 * guardrail.margin:.4g}%"
    return f"{guardrail.name} within {guardrail.margin:g}"


def seeded(params: Params, seed: int) -> Params:
    """The same params with this seed; one of their own is moved by it, so that repeats differ."""
    return replace(params, seed=seed if params.seed is None else params.seed + seed)


def request_for(variant: Variant, inputs: Mapping[str, Any], params: Params, timeout: float) -> Request:
    """The request that asks `variant` about these inputs (only those the prompt names are used), with seeded params."""
    prompt = variant.prompt
    kind, messages, text = render(prompt, {name: inputs[name] for name in prompt.variables if name in inputs})
    return Request(variant.model, kind, messages, text, params, timeout)


def make_plan(
    *,
    variants: Sequence[Variant],
    dataset: Dataset,
    primary: Scorer,
    scorers: Sequence[Scorer] = (),
    margin: float,
    control: str | None = None,
    repeats: int = 1,
    seed: int = 0,
    level: float = 0.95,
    guardrails: Sequence[Guardrail] = (),
    concurrency: int | None = None,
    timeout: float = 120.0,
    cost: Callable[[str, Usage], float | None],
    pace: Callable[[str], Pace | None],
    workers: Callable[[str], int],
    limits: Callable[[str], tuple[float | None, float | None]] = lambda model: (None, None),
    budget: Budget | None = None,
    sequential: bool = False,
    spread: Spread | None = None,
    decided: int = 0,
) -> Plan:
    """A plan, or an InputError that names what is wrong.

    cost(model, usage): dollars. pace(model): how fast earlier calls were. workers(model): calls at once.
    limits(model): requests and tokens a minute that its endpoint may be sent, None without a limit. spread: of the paired
    differences, from a pilot or earlier runs. decided: how many comparisons this data set has decided before.
    """
    _check_numbers(margin=margin, level=level, timeout=timeout)
    _check_counts(repeats=(repeats, 1), seed=(seed, 0), concurrency=(concurrency, 1))
    if not variants:
        raise InputError("there is nothing to compare: pass prompts=[...] and models=[...].")
    labels = [variant.label for variant in variants]
    if len(set(labels)) < len(labels):
        twice = sorted({label for label in labels if labels.count(label) > 1})
        raise InputError(f"{', '.join(twice)} is there twice: name each prompt version and each model once.")
    control = _pick_control(control, variants)
    scorers = (primary, *(item for item in scorers if item is not primary))
    names = [item.name for item in scorers]
    if len(set(names)) < len(names):
        raise InputError(f"two scorers have one name among {', '.join(names)}: rename one with scorer.named('…').")
    taken = sorted(_COLUMNS.intersection(names))
    if taken:
        raise InputError(
            f"scorer {taken[0]!r} has the name of a column of the table: rename it with scorer.named('…')."
        )
    for given in guardrails:
        if not isinstance(given, Guardrail):
            raise InputError(
                f"guardrails holds {given!r}: each must be a Guardrail, such as Guardrail('token_f1', 0.05)."
            )
    direction = {item.name: item.higher_is_better for item in scorers}
    guardrails = [
        replace(item, higher_is_better=direction.get(item.name, True)) if item.measure == "score" else item
        for item in guardrails
    ]
    for guardrail in guardrails:
        if guardrail.measure == "score" and guardrail.name not in names:
            raise InputError(
                f"guardrail {guardrail.name!r} is no scorer of this plan: {_meant(guardrail.name, names)}."
            )
    for variant in variants:
        missing = [name for name in variant.prompt.variables if name not in dataset.inputs]
        if missing:
            raise InputError(
                f"{variant.prompt.ref} needs {', '.join(missing)}, which data set {dataset.name!r} does not have. "
                f"Its inputs are {', '.join(dataset.inputs)}: rename the column or the variable."
            )
    prompts = list({variant.prompt.digest: variant.prompt for variant in variants}.values())
    indices, left_out, chars, expected = _scan(dataset, prompts)
    if not len(indices):
        raise InputError(
            f"data set {dataset.name!r} has no example left: the texts of all {len(dataset)} occur in the compared "
            "prompts. Use other examples in the prompts or another data set."
        )
    notes = []
    for item in scorers:
        if item.needs_expected and not expected:
            raise InputError(
                f"scorer {item.name!r} needs expected answers, and no example of {dataset.name!r} has one: add a column "
                "'expected', or use another scorer."
            )
        if item.needs_expected and expected < len(indices):
            notes.append(
                f"{len(indices) - expected} examples have no expected answer: {item.name} leaves them unscored"
            )
    notes += [f"{p.ref} has no variables: it asks the same of every example" for p in prompts if not p.variables]
    unused = [name for name in dataset.inputs if not any(name in prompt.variables for prompt in prompts)]
    if unused:
        notes.append(f"input {', '.join(unused)} of the data set is used by no prompt")
    if repeats > 1 and all(variant.params.temperature == 0 for variant in variants):
        notes.append("temperature is 0: repeats will hardly differ")
    if decided >= MOST_DECISIONS:
        notes.append(holdout_note(decided, dataset))
    sd = power.discordance_sd(_ASSUMED_DISCORDANCE) if spread is None else spread.sd
    each = 1 - (1 - level) / max(1, len(variants) - 1) * (1 - EARLY if sequential else 1)
    guessed = estimate(variants, len(indices) * repeats, chars, concurrency, cost, pace, workers, limits)
    if budget is not None and budget.usd is not None and guessed.unpriced:
        raise InputError(
            f"a budget of {tables.format_money(budget.usd)} cannot be kept: there is no price for "
            f"{', '.join(guessed.unpriced)}. Give a budget in minutes instead."
        )
    return Plan(
        variants=tuple(variants), dataset=dataset, indices=indices, left_out=left_out, primary=primary,
        scorers=tuple(scorers), margin=float(margin), control=control, repeats=repeats, seed=seed, level=level,
        guardrails=tuple(guardrails), concurrency=concurrency, timeout=timeout, estimate=guessed,
        smallest_difference=power.visible_difference(len(indices), _ASSUMED_DISCORDANCE, each, 0.8)
        if spread is None
        else power.smallest_difference(len(indices), sd, each, 0.8),
        notes=tuple(notes), budget=budget, sequential=sequential, spread=spread,
        needed=power.examples_needed(sd, margin, each) if len(variants) > 1 else None,
    )  # fmt: skip


def _meant(guardrail: str, names: Sequence[str]) -> str:
    if guardrail in ("latency", "cost"):
        return f'for the {guardrail} of the calls it needs measure = "{guardrail}"'
    return f"add it to scorers=, or use one of {', '.join(names)}"


def _check_numbers(*, margin: float, level: float, timeout: float) -> None:
    for name, value in (("margin", margin), ("level", level), ("timeout", timeout)):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InputError(f"{name} = {value!r} must be a number.")
    if not 0 <= margin < math.inf:
        raise InputError(
            f"margin = {margin!r} must be 0 or more: the difference of the primary score that does not matter."
        )
    if not 0.5 <= level < 1:
        raise InputError(f"level = {level!r} must be from 0.5 to below 1, such as 0.95.")
    if not timeout > 0:
        raise InputError(f"timeout = {timeout!r} must be more than 0 seconds.")


def _check_counts(**counts: tuple[int | None, int]) -> None:
    for name, (value, least) in counts.items():
        if value is None and name == "concurrency":
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(f"{name} = {value!r} must be a whole number from {least}.")


def _pick_control(control: str | None, variants: Sequence[Variant]) -> str:
    """The control's label: the first variant, or the one that `control` names by label, prompt reference or model."""
    if control is None:
        return variants[0].label
    matches = [v.label for v in variants if control in (v.label, v.prompt.ref, v.model)]
    if len(matches) != 1:
        raise InputError(
            f"control = {control!r} names {len(matches) or 'none'} of the variants; write one of: "
            + "; ".join(v.label for v in variants)
        )
    return matches[0]


def _scan(dataset: Dataset, prompts: Sequence[Prompt]) -> tuple[np.ndarray, tuple[str, ...], dict[str, float], int]:
    """(positions that take part, ids left out, mean characters of the inputs by prompt digest, how many have an expected)."""
    haystack = " \x00 ".join(
        _normal(part) for prompt in prompts for part in (prompt.text, *(m.content for m in prompt.messages)) if part
    )
    asked = {name for prompt in prompts for name in prompt.variables}
    kept: list[int] = []
    left_out: list[str] = []
    expected = 0
    chars = dict.fromkeys((prompt.digest for prompt in prompts), 0.0)
    for index, example in enumerate(dataset):
        # the longest text is what the example is about; short fields such as a channel occur in prompts by chance
        texts = [value for name, value in example.inputs.items() if name in asked and isinstance(value, str)]
        if texts and _occurs(max(texts, key=len), haystack):
            left_out.append(example.id)
            continue
        kept.append(index)
        expected += example.expected is not None
        for prompt in prompts:
            chars[prompt.digest] += sum(len(str(example.inputs[name])) for name in prompt.variables)
    count = max(1, len(kept))
    means = {key: total / count for key, total in chars.items()}
    return np.asarray(kept, dtype=np.int64), tuple(left_out), means, expected


def _normal(text: str) -> str:
    words = re.findall(r"\w+", text.casefold())
    return f" {' '.join(words)} "


def _occurs(text: str, haystack: str) -> bool:
    """Whether the words of an example stand in a prompt; a single short word would match by chance and does not count."""
    words = _normal(text)
    return (len(words) - 2 >= _LEAK_CHARS or words.count(" ") > 2) and words in haystack
