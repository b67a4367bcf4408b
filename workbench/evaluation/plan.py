"""What a comparison would do and cost, before it does anything. `planning` makes plans; what one costs is in `estimate`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from workbench import tables
from workbench.errors import InputError
from workbench.evaluation import power
from workbench.evaluation.datasets import Dataset
from workbench.evaluation.estimate import Budget, Estimate, Judged
from workbench.evaluation.history import Spread
from workbench.evaluation.scorers import Scorer
from workbench.evaluation.scorers.registry import meaning
from workbench.evaluation.sentences import level_text
from workbench.evaluation.sequential import EARLY
from workbench.evaluation.verdict import Guardrail
from workbench.prompts import render
from workbench.records import ModelInfo, Params, Request, Variant, digest

__all__ = [
    "ASSUMED_DISCORDANCE",
    "Budget",
    "Estimate",
    "Plan",
    "check_numbers",
    "contrast_level",
    "request_for",
    "seeded",
    "with_people",
]

ASSUMED_DISCORDANCE = 0.2  # share of examples judged differently, where nothing is known of it


@dataclass(frozen=True)
class Plan:
    """A comparison that has not run yet: variants x examples x repeats, and what decides.

    indices: (n,) positions in `dataset` that take part. left_out: ids whose text occurs in a compared prompt.
    margin: differences of the primary score up to this do not matter. level: of the intervals, over all contrasts.
    sequential: it ends as soon as every contrast is decided. spread: what is known of the paired differences' spread, None
    assumes one. needed: examples that settle a true difference of 0 within the margin with 80% power, None if not defined.
    executor: the Dask scheduler whose workers make the calls (there were `workers` of them), None for this process.
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
    executor: str | None = None
    workers: int = 0

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

    def decided_by(self, primary: Scorer, *, margin: float | None = None) -> Plan:
        """The same measurements, decided by another score: answers that are there are scored anew, and none is asked for again.

        primary: such as `scorers.ratings("Is it helpful?")` once people have rated. The score that decided before stays in the
        table.
        """
        scorers = with_people((primary, *(item for item in self.scorers if item.name != primary.name)))
        each = contrast_level(self.level, len(self.variants), self.sequential)
        margin = self.margin if margin is None else margin
        check_numbers(margin=margin, level=self.level, timeout=self.timeout)
        sd = power.discordance_sd(ASSUMED_DISCORDANCE)
        return replace(
            self, primary=primary, scorers=scorers, margin=margin, spread=None,
            smallest_difference=power.visible_difference(len(self.indices), ASSUMED_DISCORDANCE, each, 0.8),
            needed=power.examples_needed(sd, margin, each) if len(self.variants) > 1 else None,
        )  # fmt: skip

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
        part = [sum(one.usd[place] for one in calls.judges if one.usd) for place in (1, 0, 2)]
        if usd is not None and part[2] > 0:
            expected, least, most = map(tables.format_money, part)
            money += f"; of it for judging {expected}, from {least} to {most}"
        if calls.minutes is None or calls.minutes_range is None:
            time = f"unknown ({calls.minutes_basis})"
        else:
            quick, slow = (tables.format_seconds(value * 60) for value in calls.minutes_range)
            between = f", from {quick} to {slow}" if quick != slow else ""
            time = f"about {tables.format_seconds(calls.minutes * 60)}{between} ({calls.minutes_basis})"
        examples = f"{len(self.indices)} of {self.dataset.name}"
        if self.left_out:
            examples += f" ({len(self.left_out)} left out: their text occurs in a compared prompt)"
        if self.spread is None and ASSUMED_DISCORDANCE < self.smallest_difference <= 1:
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
            ("decided by", f"{self.primary.name}, margin ±{self.margin:g}, {level_text(self.level)} intervals"),
            ("the score", meaning(self.primary)),
            ("calls", f"{calls.calls:,}, and {len(self.variants)} to warm up"),
            *(("judging", _judging(one)) for one in calls.judges),
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
        if self.executor is not None:
            many = "1 Dask worker" if self.workers == 1 else f"{self.workers:,} Dask workers"
            pairs.append(("runs on", f"{many} of {self.executor}"))
        if self.sequential:
            pairs.append(("stops early", "as soon as every variant is decided, at the same level over all looks"))
        if self.guardrails:
            pairs.insert(4, ("guardrails", ", ".join(map(_allowed, self.guardrails))))
        known = {one.scorer for one in calls.judges}
        later = [item.name for item in self.scorers if item.judge is not None and item.name not in known]
        beside = [f"the calls of the judge behind {name} are not in calls, tokens, cost and time" for name in later]
        return pairs + [("note", note) for note in (*self.notes, *beside)]

    def _by(self) -> str:
        """What the spread of the paired differences is taken from."""
        if self.spread is None:
            return f"if {ASSUMED_DISCORDANCE:.0%} of the examples are judged differently"
        return f"by the spread of {self.spread.n:,} examples in {self.spread.source}"

    def __str__(self) -> str:
        return tables.clean_text("Plan\n" + "\n".join(f"  {name:<11} {value}" for name, value in self.lines()))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        import pandas as pd

        frame = pd.DataFrame(self.lines(), columns=["plan", "value"])
        return tables.to_html(frame, caption="Plan: what this comparison would do. A plan sends nothing.")


def _judging(one: Judged) -> str:
    """A judge's calls."""
    low, usual, high = one.calls
    fewest = f"at least {low:,}, " if low < usual else ""
    most = f"at most {high:,} if answers cannot be read" if low == usual else f"at most {high:,}"
    return f"{tables.format_count(usual, 'call')} more of {one.model} for {one.scorer} ({one.prompt}), {fewest}{most}"


def with_people(scorers: Sequence[Scorer]) -> tuple[Scorer, ...]:
    """Each judge's people beside it, unless they are there."""
    names = {item.name for item in scorers}
    return tuple(
        one
        for item in scorers
        for one in (item, item.people)
        if one is not None and (one is item or one.name not in names)
    )


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


def contrast_level(level: float, variants: int, sequential: bool) -> float:
    """The level of each contrast's interval, so that all of them together, and over all looks, keep `level`."""
    return 1 - (1 - level) / max(1, variants - 1) * (1 - EARLY if sequential else 1)


def check_numbers(*, margin: float, level: float, timeout: float) -> None:
    """InputError for what cannot be one."""
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
