"""Beside a verdict: slices, effect sizes, how steady each variant is, and on how few examples a decision hangs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from workbench import tables
from workbench.errors import InputError
from workbench.evaluation import effects, statistics
from workbench.evaluation.arms import example_differences
from workbench.evaluation.deciding import arms_of
from workbench.evaluation.measurements import Measurements
from workbench.evaluation.plan import Plan
from workbench.evaluation.sentences import digits_of, level_text
from workbench.evaluation.statistics import Paired
from workbench.evaluation.verdict import deciding_difference, decision_of
from workbench.records import Contrast, Interval, Verdict

__all__ = ["effect_table", "hangs_on", "metadata", "sensitivity", "slice_table", "slice_text", "stability_table"]

_NONE = Interval(np.nan, np.nan, np.nan, np.nan)
_TAKEN = ("variant", "low", "high", "n", "difference", "difference_low", "difference_high", "decision")


def metadata(plan: Plan, key: str) -> list[Any]:
    """The field of every example that takes part, None where it has none. InputError if none has it, or it cannot be shown."""
    if key in (*_TAKEN, plan.primary.name):
        raise InputError(f"metadata {key!r} has the name of a column of this table: rename it in the data set.")
    values = [plan.dataset[int(i)].metadata.get(key) for i in plan.indices]
    if all(value is None for value in values):
        known = sorted({name for i in plan.indices[:50] for name in plan.dataset[int(i)].metadata})
        raise InputError(f"no example has metadata {key!r}. There is: {', '.join(known) or 'no metadata at all'}.")
    return values


def slice_table(plan: Plan, numbers: Measurements, key: str) -> pd.DataFrame:
    """The primary score by a metadata field: one row for each value and variant, with its interval and n, and the paired
    difference to the control. The intervals of all differences hold together (Bonferroni over slices and variants)."""
    primary, values = plan.primary, metadata(plan, key)
    texts = np.asarray(["(none)" if value is None else str(value) for value in values], dtype=object)
    parts = sorted(set(texts))
    together = 1 - (1 - plan.level) / max(1, len(parts) * (len(numbers.variants) - 1))
    scores = numbers.scores[primary.name]
    rows: list[dict[str, Any]] = []
    for value in parts:
        inside = np.flatnonzero(texts == value)
        base = scores[numbers.of(plan.control)][inside]
        for label in numbers.variants:
            mine = scores[numbers.of(label)][inside]
            estimate, low, high, _ = statistics.mean_interval(mine, plan.level, plan.seed, primary.binary) or _NONE
            row = {
                key: value, "variant": label, primary.name: estimate, "low": low, "high": high,
                "n": int((~np.isnan(mine)).any(axis=1).sum()),
            }  # fmt: skip
            paired, decision = None, "control"
            if label != plan.control:
                paired = statistics.paired_interval(base, mine, level=together, seed=plan.seed, binary=primary.binary)
                decision = "undecided"
                if paired is not None:
                    decision = decision_of(paired.interval, plan.margin, primary.higher_is_better)
            difference, lowest, highest, _ = _NONE if paired is None else paired.interval
            rows.append(
                row
                | {"difference": difference, "difference_low": lowest, "difference_high": highest, "decision": decision}
            )
    return pd.DataFrame(rows)


def slice_text(plan: Plan, numbers: Measurements, key: str, *, besides: str = "") -> str:
    """The table in words, with the warning that belongs to it, and what else must be said."""
    table = slice_table(plan, numbers, key)
    shown = pd.DataFrame(
        {
            key: table[key],
            "variant": table["variant"],
            plan.primary.name: [_interval(row, plan.primary.name, "low", "high") for row in table.to_dict("records")],
            "n": table["n"].map(str),
            "difference": [
                ""
                if row["decision"] == "control"
                else _interval(row, "difference", "difference_low", "difference_high")
                for row in table.to_dict("records")
            ],
            "decision": table["decision"],
        }
    )
    parts = table[key].nunique()
    looked = parts * (len(numbers.variants) - 1)
    warning = (
        "Who goes through many fields finds something by chance: take a slice for a hint, and test it on new examples."
    )
    if looked > 1:
        level = level_text(plan.level)
        together = f"{looked} differences were looked at: their intervals are so wide that all of them hold together at {level}."
        warning = f"{together} {warning}"
    warning = f"{besides} {warning}" if besides else warning
    return f"{plan.primary.name} by {key}\n{tables.to_text(shown)}\nWarning: {warning}"


def _interval(row: dict[Any, Any], name: str, low: str, high: str) -> str:
    if np.isnan(row[name]):
        return "unscored"
    interval = Interval(row[name], row[low], row[high], 0.95)
    if name != "difference":
        return tables.format_interval(interval)
    return tables.format_interval(
        interval, signed=True, digits=digits_of(interval)
    )  # an end that decides is not shown as 0


def effect_table(plan: Plan, numbers: Measurements, verdict: Verdict) -> pd.DataFrame:
    """One row a contrast: difference with its interval, examples better, worse and the same, superiority, odds ratio,
    standardised difference. What is not defined is NaN."""
    scores, rows = numbers.scores[plan.primary.name], []
    for contrast in verdict.contrasts:
        effect = effects.effect_size(
            scores[numbers.of(plan.control)], scores[numbers.of(contrast.variant)],
            higher_is_better=plan.primary.higher_is_better, level=contrast.interval.level if contrast.interval else 0.95,
        )  # fmt: skip
        difference, low, high, _ = contrast.interval or _NONE
        odds, odds_low, odds_high, _ = (effect.odds_ratio if effect else None) or _NONE
        size = effect.standardised if effect else None
        rows.append(
            {
                "variant": contrast.variant, "difference": difference, "low": low, "high": high,
                "better": effect.better if effect else 0, "worse": effect.worse if effect else 0,
                "same": effect.same if effect else 0, "superiority": effect.superiority if effect else np.nan,
                "odds_ratio": odds, "odds_low": odds_low, "odds_high": odds_high,
                "standardised": np.nan if size is None else size, "p_value": contrast.p_value, "method": contrast.method,
            }
        )  # fmt: skip
    columns = [
        "variant", "difference", "low", "high", "better", "worse", "same", "superiority", "odds_ratio", "odds_low",
        "odds_high", "standardised", "p_value", "method",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def stability_table(plan: Plan, numbers: Measurements, texts: dict[str, np.ndarray]) -> pd.DataFrame:
    """How steady each variant is over its repeats: scores_differ and texts_differ are shares of pairs of one example's repeats;
    noise_floor is the difference of the primary score that two runs of this same variant may show. NaN without repeats.

    texts: for each variant a number for each different answer, (examples, repeats), NaN where there is none.
    """
    rows = []
    for label in numbers.variants:
        scores = numbers.scores[plan.primary.name][numbers.of(label)]
        differ, worded = effects.self_disagreement(scores), effects.self_disagreement(texts[label])
        floor = effects.noise_floor(scores, plan.level)
        rows.append(
            {
                "variant": label,
                "examples": 0 if floor is None else floor.n,
                "scores_differ": np.nan if differ is None else differ,
                "texts_differ": np.nan if worded is None else worded,
                "noise_floor": np.nan if floor is None else floor.floor,
            }
        )
    return pd.DataFrame(rows)


class _Pairs:
    """The examples behind one contrast, and what it is without some of them, reckoned as the verdict reckons it.

    differences: of each example, (examples,), NaN without a pair; where people put a judge right, by what people said.
    """

    def __init__(self, plan: Plan, numbers: Measurements, contrast: Contrast, examples: np.ndarray) -> None:
        self._plan = plan
        self._contrast = contrast
        self._arms = arms_of(plan, numbers, (contrast.control, contrast.variant), examples)
        name = plan.primary.name
        by_people = contrast.judged is not None
        self.differences = example_differences(
            np.stack([arm.people[name] if by_people else arm.scores[name] for arm in self._arms]), 0, 1
        )

    def without(self, left_out: np.ndarray) -> Paired | None:
        """The difference that would decide, had these examples no score."""
        plan, name = self._plan, self._plan.primary.name
        blank = np.isin(np.arange(len(self.differences)), left_out)[:, None]
        base, arm = (
            replace(arm, scores={**arm.scores, name: np.where(blank, np.nan, arm.scores[name])}) for arm in self._arms
        )
        return deciding_difference(
            base, arm, name, level=self._contrast.interval.level if self._contrast.interval else plan.level,
            seed=plan.seed, binary=plan.primary.binary, planned=len(plan.indices) if plan.sequential else None,
            resamples=999,
        )  # fmt: skip

    def decision(self, left_out: np.ndarray) -> str:
        """The decision without these."""
        found = self.without(left_out)
        if found is None:
            return "undecided"
        if (found.judged is None) != (self._contrast.judged is None):
            return self._contrast.decision  # too few ratings are left to correct by: that is no change of mind
        return decision_of(found.interval, self._plan.margin, self._plan.primary.higher_is_better)


def hangs_on(
    plan: Plan, numbers: Measurements, contrast: Contrast, examples: np.ndarray, *, most: int = 10
) -> tuple[int, str] | None:
    """How few examples that speak for a decision change it if they are left out, and to what; None beyond `most`.

    examples: those that the verdict is about, in its order.
    """
    pairs = _Pairs(plan, numbers, contrast, examples)
    return effects.fragility(pairs.differences, contrast.decision, pairs.decision, most=most)


def sensitivity(plan: Plan, numbers: Measurements, verdict: Verdict, examples: np.ndarray) -> pd.DataFrame:
    """One row a contrast: its decision, the example that moves the difference most, the difference without it, how few examples
    change the decision if left out (None beyond 10) and what it is then. examples: those that the verdict is about, in its
    order."""
    rows = []
    for contrast in verdict.contrasts:
        pairs = _Pairs(plan, numbers, contrast, examples)
        deltas = pairs.differences
        known = np.flatnonzero(~np.isnan(deltas))
        row: dict[str, Any] = {"variant": contrast.variant, "decision": contrast.decision, "example": None}
        row |= {"difference": np.nan, "without": np.nan, "changes_at": None, "to": None}
        if len(known) > 1 and contrast.interval is not None:
            at = known[np.argmax(np.abs(deltas[known] - deltas[known].mean()))]
            without = pairs.without(np.asarray([at]))
            found = effects.fragility(deltas, contrast.decision, pairs.decision)
            row |= {
                "example": plan.dataset[int(plan.indices[examples[at]])].id,
                "difference": contrast.interval.estimate,
                "without": np.nan if without is None else without.interval.estimate,
                "changes_at": None if found is None else found[0],
                "to": None if found is None else found[1],
            }
        rows.append(row)
    columns = ["variant", "decision", "example", "difference", "without", "changes_at", "to"]
    return pd.DataFrame(rows, columns=columns)
