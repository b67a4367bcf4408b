"""Makes plans, from prompts and data only (no model is asked), and with what earlier comparisons know: how much differences vary,
and how often the data set has decided."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from workbench import tables
from workbench.calls import Pace
from workbench.errors import InputError
from workbench.evaluation import power
from workbench.evaluation.datasets import Dataset
from workbench.evaluation.estimate import Budget, estimate
from workbench.evaluation.history import MOST_DECISIONS, Spread, holdout_note, read_history
from workbench.evaluation.judging.load import judged, with_judges
from workbench.evaluation.plan import ASSUMED_DISCORDANCE, Plan, check_numbers, contrast_level, with_people
from workbench.evaluation.scan import scan
from workbench.evaluation.scorers import Scorer
from workbench.evaluation.scorers.order import check_needs
from workbench.evaluation.shards.scoring import sent_scorers
from workbench.evaluation.verdict import Guardrail
from workbench.records import Prompt, Usage, Variant

if TYPE_CHECKING:
    from workbench.evaluation.comparison import Comparison

__all__ = ["make_plan", "plan_with_history"]

# of Comparison.summary and Comparison.table
_COLUMNS = frozenset((
    "prompt", "version", "model", "params", "in_flight", "latency_p50", "first_token_p50", "cost_per_call", "n", "unscored",
    "errors", "fresh", "replayed", "oldest", "verdict", "status", "variant", "example", "repeat", "beaten_by",
))  # fmt: skip


def plan_with_history(
    *,
    runs: Path,
    dataset: Dataset,
    primary: Scorer,
    pilot: Comparison | None = None,
    budget: Budget | float | None = None,
    **options: Any,
) -> Plan:
    """`make_plan` with the spread of a pilot, else of the data set's latest comparison below `runs` on the same score.

    budget: a number is dollars.
    """
    if budget is not None and not isinstance(budget, Budget):
        budget = Budget(usd=budget)
    past = read_history(runs, dataset.digest, primary.name)
    return make_plan(
        dataset=dataset, primary=primary, budget=budget, decided=past.decided,
        spread=past.spread if pilot is None else spread_of(pilot, primary.name), **options,
    )  # fmt: skip


def spread_of(pilot: Comparison, primary: str) -> Spread:
    """How much a pilot's paired differences vary. InputError if it shows none, or decides by another score."""
    if pilot.verdict.primary != primary:
        raise InputError(
            f"the pilot was decided by {pilot.verdict.primary!r}, and this plan is by {primary!r}: their spreads differ. "
            "Use a pilot with the same primary score."
        )
    known = [contrast for contrast in pilot.verdict.contrasts if contrast.sd]
    if not known:
        raise InputError("the pilot shows no difference between any two answers: use more examples for it.")
    sd = float(np.sqrt(np.mean([contrast.sd**2 for contrast in known if contrast.sd])))
    return Spread(sd, min(contrast.n for contrast in known), f"the pilot {pilot.run.folder.run_id}")


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
    executor: str | None = None,
    cluster: int = 0,
    judge_prompt: Callable[[str | Prompt], Prompt] = lambda prompt: cast("Prompt", prompt),
) -> Plan:
    """A plan, or an InputError that names what is wrong.

    cost(model, usage): dollars. pace(model): how fast earlier calls were. workers(model): calls at once.
    limits(model): requests and tokens a minute that its endpoint may be sent, None without a limit. spread: of the paired
    differences, from a pilot or earlier runs. decided: how many comparisons this data set has decided before. cluster: workers
    that the executor has. judge_prompt: of a judge's reference to one of the project's prompts, the prompt.
    """
    check_numbers(margin=margin, level=level, timeout=timeout)
    _check_counts(repeats=(repeats, 1), seed=(seed, 0), concurrency=(concurrency, 1))
    control = _control(control, variants)
    scorers = _scorers(primary, scorers, executor)
    guardrails = _guardrails(guardrails, scorers)
    _check_inputs(variants, dataset)
    prompts = list({variant.prompt.digest: variant.prompt for variant in variants}.values())
    indices, left_out, chars, expected, shown = scan(dataset, prompts)
    if not len(indices):
        raise InputError(
            f"data set {dataset.name!r} has no example left: the texts of all {len(dataset)} occur in the compared "
            "prompts. Use other examples in the prompts or another data set."
        )
    notes = _unscored(scorers, dataset, expected, len(indices))
    notes += [f"{p.ref} has no variables: it asks the same of every example" for p in prompts if not p.variables]
    unused = [name for name in dataset.inputs if not any(name in prompt.variables for prompt in prompts)]
    if unused:
        notes.append(f"input {', '.join(unused)} of the data set is used by no prompt")
    if repeats > 1 and all(variant.params.temperature == 0 for variant in variants):
        notes.append("temperature is 0: repeats will hardly differ")
    if decided >= MOST_DECISIONS:
        notes.append(holdout_note(decided, dataset))
    sd = power.discordance_sd(ASSUMED_DISCORDANCE) if spread is None else spread.sd
    each = contrast_level(level, len(variants), sequential)
    answers = len(indices) * repeats
    guessed = estimate(variants, answers, chars, concurrency, cost, pace, workers, limits)
    loads = [(item.name, replace(item.judge, prompt=judge_prompt(item.judge.prompt))) for item in scorers if item.judge]
    guessed = with_judges(
        guessed,
        [
            judged(load, name, variants, answers, shown, concurrency, cost, pace, workers, limits)
            for name, load in loads
        ],
    )
    if budget is not None and budget.usd is not None and guessed.unpriced:
        raise InputError(
            f"a budget of {tables.format_money(budget.usd)} cannot be kept: there is no price for "
            f"{', '.join(guessed.unpriced)}. Give a budget in minutes instead."
        )
    return Plan(
        variants=tuple(variants), dataset=dataset, indices=indices, left_out=left_out, primary=primary,
        scorers=scorers, margin=float(margin), control=control, repeats=repeats, seed=seed, level=level,
        guardrails=guardrails, concurrency=concurrency, timeout=timeout, estimate=guessed,
        smallest_difference=power.visible_difference(len(indices), ASSUMED_DISCORDANCE, each, 0.8)
        if spread is None
        else power.smallest_difference(len(indices), sd, each, 0.8),
        notes=tuple(notes), budget=budget, sequential=sequential, spread=spread,
        needed=power.examples_needed(sd, margin, each) if len(variants) > 1 else None, executor=executor, workers=cluster,
    )  # fmt: skip


def _scorers(primary: Scorer, others: Sequence[Scorer], executor: str | None) -> tuple[Scorer, ...]:
    """All scorers, the one that decides first, each by a name of its own; an InputError for what cannot be used."""
    scorers = with_people((primary, *(item for item in others if not _same(item, primary))))
    names = [item.name for item in scorers]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InputError(
            f"two scorers are called {', '.join(twice)}: name it once, or rename one of two with scorer.named('…')."
        )
    taken = sorted(_COLUMNS.intersection(names))
    if taken:
        raise InputError(
            f"scorer {taken[0]!r} has the name of a column of the table: rename it with scorer.named('…')."
        )
    check_needs(scorers)
    if executor is not None:
        sent_scorers(scorers)  # said now, before anything runs
    return scorers


def _guardrails(guardrails: Sequence[Guardrail], scorers: Sequence[Scorer]) -> tuple[Guardrail, ...]:
    """With each one's direction; an InputError for one that is none, or of no scorer of these."""
    direction = {item.name: item.higher_is_better for item in scorers}
    for given in guardrails:
        if not isinstance(given, Guardrail):
            raise InputError(
                f"guardrails holds {given!r}: each must be a Guardrail, such as Guardrail('token_f1', 0.05)."
            )
        if given.measure == "score" and given.name not in direction:
            raise InputError(f"guardrail {given.name!r} is no scorer of this plan: {_meant(given.name, direction)}.")
    return tuple(
        replace(item, higher_is_better=direction[item.name]) if item.measure == "score" else item for item in guardrails
    )


def _check_inputs(variants: Sequence[Variant], dataset: Dataset) -> None:
    """InputError for a prompt with a variable that the data set does not have."""
    for variant in variants:
        missing = [name for name in variant.prompt.variables if name not in dataset.inputs]
        if missing:
            raise InputError(
                f"{variant.prompt.ref} needs {', '.join(missing)}, which data set {dataset.name!r} does not have. "
                f"Its inputs are {', '.join(dataset.inputs)}: rename the column or the variable."
            )


def _unscored(scorers: Sequence[Scorer], dataset: Dataset, expected: int, examples: int) -> list[str]:
    """Notes on examples without the expected answer that a scorer needs; an InputError where none has one."""
    notes = []
    for item in [item for item in scorers if item.needs_expected]:
        if not expected:
            raise InputError(
                f"scorer {item.name!r} needs expected answers, and no example of {dataset.name!r} has one: add a column "
                "'expected', or use another scorer."
            )
        if expected < examples:
            missing = examples - expected
            have, them = ("has", "it") if missing == 1 else ("have", "them")
            counted = tables.format_count(missing, "example")
            notes.append(f"{counted} {have} no expected answer: {item.name} leaves {them} unscored")
    return notes


def _meant(guardrail: str, names: Iterable[str]) -> str:
    if guardrail in ("latency", "cost"):
        return f'for the {guardrail} of the calls it needs measure = "{guardrail}"'
    return f"add it to scorers=, or use one of {', '.join(names)}"


def _check_counts(**counts: tuple[int | None, int]) -> None:
    for name, (value, least) in counts.items():
        if value is None and name == "concurrency":
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(f"{name} = {value!r} must be a whole number from {least}.")


def _same(scorer: Scorer, primary: Scorer) -> bool:
    """Whether the score that decides was named among the others too. A user's function must be the same object: equal code may
    hold other values."""
    return scorer is primary or (scorer.spec == primary.spec and "function" not in scorer.spec)


def _control(control: str | None, variants: Sequence[Variant]) -> str:
    """The control's label: the first variant, or the one that `control` names by label, prompt reference or model. InputError
    also for variants that are none, or there twice."""
    if not variants:
        raise InputError("there is nothing to compare: pass prompts=[...] and models=[...].")
    labels = [variant.label for variant in variants]
    if len(set(labels)) < len(labels):
        twice = sorted({label for label in labels if labels.count(label) > 1})
        raise InputError(f"{', '.join(twice)} is there twice: name each prompt version and each model once.")
    if control is None:
        return variants[0].label
    matches = [v.label for v in variants if control in (v.label, v.prompt.ref, v.model)]
    if len(matches) != 1:
        raise InputError(
            f"control = {control!r} names {len(matches) or 'none'} of the variants; write one of: "
            + "; ".join(v.label for v in variants)
        )
    return matches[0]
