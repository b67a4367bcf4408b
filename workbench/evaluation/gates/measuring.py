"""From a comparison and its gates to what each says: by the interval that is printed, never by the estimate alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from workbench import tables
from workbench.evaluation.deciding import arms_of
from workbench.evaluation.gates.gate import Gate, Kind
from workbench.evaluation.gates.report import GateCheck, State
from workbench.evaluation.judging.paired import paired_difference
from workbench.evaluation.judging.reports import by_whom
from workbench.evaluation.measurements import MISSING
from workbench.evaluation.power import wilson_trials
from workbench.evaluation.quantiles import examples_for_quantile, quantile_interval
from workbench.evaluation.sentences import count_text, figures_text, level_text
from workbench.evaluation.statistics import mean_interval, wilson
from workbench.evaluation.verdict import decision_of
from workbench.records import Contrast, Interval

if TYPE_CHECKING:
    from workbench.evaluation.comparison import Comparison
    from workbench.evaluation.plan import Plan

__all__ = ["check_gates", "impossible"]

_MANY = 5  # one of so many without a score: the rest may not be like them


def check_gates(result: Comparison, gates: Sequence[Gate]) -> tuple[GateCheck, ...]:
    """One check for each gate and variant, and one for calls that failed where no gate says how many may."""
    checks = [_check(result, gate, label) for gate in gates for label in gate.variants]
    told = {label for gate in gates if gate.kind in ("errors", "error_rate") for label in gate.variants}
    named = dict.fromkeys(label for gate in gates for label in gate.variants)
    for label in named:
        failed = int(_of(result, label).failed.sum())
        if failed and label not in told:
            sentence = (
                f"{failed:,} of {label}'s calls failed, and the other gates say nothing of these. Run it again (it asks only "
                "them), or say how many may fail, by 'error_rate < 0.05'."
            )
            checks.append(GateCheck("every call is answered", label, "undecided", None, sentence))
    return tuple(checks)


def impossible(gates: Sequence[Gate], plan: Plan) -> list[str]:
    """Before anything is asked: one sentence for each gate that so few examples cannot pass, however good the answers are."""
    said, n = [], len(plan.indices)
    for gate in gates:
        least = _least(gate, plan)
        if least is not None and n < least:
            said.append(
                f"Gate {gate.text!r} cannot pass with {count_text(n)}: it needs {least:,}, even if all goes well."
            )
    return said


def _least(gate: Gate, plan: Plan) -> int | None:
    """The fewest examples with which this gate can pass; None where that depends on the answers."""
    if gate.kind in ("latency", "first_token"):
        return examples_for_quantile(gate.quantile, plan.level)
    room = None  # from the best share there is to the bound
    if gate.kind in ("error_rate", "unscored_rate"):
        room = gate.bound
    elif gate.test in ("<", "<=", ">", ">=") and any(one.name == gate.score and one.binary for one in plan.scorers):
        room = 1 - gate.bound if gate.test in (">", ">=") else gate.bound
    if room is None or not 0 < room < 1:
        return None
    needed = wilson_trials(0.0, room, plan.level)
    assert needed is not None  # noqa: S101  (room is more than 0)
    return needed + (gate.test in ("<", ">") and wilson(0, needed, plan.level).high >= room)


class _Numbers:
    """One variant's measurements, (examples, repeats)."""

    def __init__(self, result: Comparison, label: str) -> None:
        numbers = result.run.measurements
        at = numbers.of(label)
        self.asked = numbers.state[at] != MISSING
        self.failed = numbers.failed[at] & self.asked
        self.worked = self.asked & ~numbers.failed[at]
        self.scores = {name: values[at] for name, values in numbers.scores.items()}
        self.latency, self.first_token, self.cost = numbers.latency[at], numbers.first_token[at], numbers.cost[at]


def _of(result: Comparison, label: str) -> _Numbers:
    return _Numbers(result, label)


def _check(result: Comparison, gate: Gate, label: str) -> GateCheck:
    numbers = _of(result, label)
    if not numbers.asked.any():
        return GateCheck(gate.text, label, "undecided", None, f"{label} was not asked.")
    if gate.test in ("better", "non-inferior"):
        check = _against(result, gate, label)
    else:
        check = _MEASURES[gate.kind](result, gate, label, numbers)
    run = result.run
    if run.stopped and run.ended == "stopped" and check.state == "passed":
        sentence = f"{check.sentence} But the run is not complete: {run.stopped}."
        return GateCheck(gate.text, label, "undecided", check.interval, sentence)
    return check


# -- scores ---------------------------------------------------------------------------------------------------------------


def _against(result: Comparison, gate: Gate, label: str) -> GateCheck:
    """By the interval of the verdict itself where it is about the primary score, else by one of the same kind and level."""
    plan, numbers = result.run.plan, result.run.measurements
    scorer = next(scorer for scorer in plan.scorers if scorer.name == gate.score)
    contrast = _contrast(result, label)
    primary, found = scorer.name == plan.primary.name, None
    if primary:
        if contrast is None or contrast.interval is None:
            why = result.verdict.sentence if contrast is None else contrast.sentence
            return GateCheck(gate.text, label, "undecided", None, why)
        interval, n, differ, left, decision = (
            contrast.interval, contrast.n, contrast.discordant, contrast.left_out, contrast.decision,
        )  # fmt: skip
    else:
        each = 1 - (1 - plan.level) / max(1, len(plan.variants) - 1)
        base, arm = arms_of(plan, numbers, (plan.control, label), np.arange(len(plan.indices)))
        found = paired_difference(base, arm, scorer.name, level=each, seed=plan.seed, binary=scorer.binary)
        if found is None:
            return GateCheck(gate.text, label, "undecided", None, f"no example has {scorer.name} from both.")
        interval, n, differ, left = found.interval, found.n, found.discordant, found.left_out
        decision = decision_of(interval, 0.0, scorer.higher_is_better)
    said = by_whom(scorer, [one for one in ((contrast if primary else found),) if one is not None])
    state: State
    if gate.test == "better":
        state = "passed" if decision == "better" else "undecided" if decision == "undecided" else "failed"
        asked = "it is to be better"
        if decision == "equivalent":
            asked += f", and is equivalent within ±{plan.margin:g}"
    else:
        worst, mildest = (-interval.low, -interval.high) if scorer.higher_is_better else (interval.high, interval.low)
        state = "passed" if worst <= gate.bound else "failed" if mildest > gate.bound else "undecided"
        asked = f"it may {'lose' if scorer.higher_is_better else 'rise by'} {gate.bound:g}"
    counted = f"{count_text(n)}, {differ:,} {'differs' if differ == 1 else 'differ'}"
    counted += f", {left:,} left out for want of a score from both" if left else ""
    text = (
        f"{label} against {plan.control} on {scorer.name}: {figures_text(interval, (gate.bound,), counted)}; {asked}."
    )
    return _guarded(result, gate, label, state, interval, text + said, left * _MANY > n + left, primary)


def _score(result: Comparison, gate: Gate, label: str, numbers: _Numbers) -> GateCheck:
    plan = result.run.plan
    scorer = next(scorer for scorer in plan.scorers if scorer.name == gate.score)
    values = numbers.scores[scorer.name]
    interval = mean_interval(values, plan.level, plan.seed, scorer.binary)
    if interval is None:
        return GateCheck(gate.text, label, "undecided", None, f"{label} has not a single score on {scorer.name}.")
    n, asked = int(np.isfinite(values).any(axis=1).sum()), int(numbers.asked.any(axis=1).sum())
    counted = count_text(n) + (f", {asked - n:,} unscored" if asked > n else "")
    text = f"{label} scores {figures_text(interval, (gate.bound,), counted, signed=False)} on {scorer.name}; "
    text += f"{gate.test} {gate.bound:g} is asked for.{by_whom(scorer)}"
    return _guarded(result, gate, label, _held(interval, gate), interval, text, (asked - n) * _MANY > asked, False)


def _guarded(
    result: Comparison,
    gate: Gate,
    label: str,
    state: State,
    interval: Interval,
    text: str,
    many_missing: bool,
    planned: bool,
) -> GateCheck:
    """A score's check, undecided where its interval does not mean what it says."""
    if result.run.ended == "clear" and not planned:
        text += (
            " The run stopped as soon as the primary score was clear, so this interval is too narrow: ask all examples."
        )
        state = "undecided"
    elif many_missing and state == "passed":
        text += " So many have no score that the rest may not be like them: see first why."
        state = "undecided"
    return GateCheck(gate.text, label, state, interval, text)


def _contrast(result: Comparison, label: str) -> Contrast | None:
    return next((c for c in result.verdict.contrasts if c.variant == label), None)


# -- what a clock, a bill and a count say ---------------------------------------------------------------------------------


def _time(result: Comparison, gate: Gate, label: str, numbers: _Numbers) -> GateCheck:
    """A call that failed counts as slower than any bound: else a timeout would make the rest look quick."""
    values = numbers.latency if gate.kind == "latency" else numbers.first_token
    unknown = int((numbers.worked & ~np.isfinite(values)).sum())
    name = f"P{100 * gate.quantile:g} {'latency' if gate.kind == 'latency' else 'time to first token'}"
    if unknown:
        why = "not measured" if gate.kind == "latency" else "unknown: the answers were not streamed"
        sentence = f"{label}: its {name} is {why} for {unknown:,} of {int(numbers.worked.sum()):,} answers."
        return GateCheck(gate.text, label, "undecided", None, sentence)
    times = np.where(numbers.failed, np.inf, np.where(numbers.worked, values, np.nan))
    level = result.run.plan.level
    interval = quantile_interval(times, gate.quantile, level)
    assert interval is not None  # noqa: S101  (something was asked)
    n = int(np.isfinite(values).any(axis=1).sum() if not numbers.failed.any() else numbers.asked.any(axis=1).sum())
    failed = int(numbers.failed.sum())
    counted = count_text(n) + (f", {failed:,} failed calls taken for slower than any" if failed else "")
    text = f"{label}: {name} {_figures(interval, counted, tables.format_seconds)}; {gate.test} "
    text += f"{tables.format_seconds(gate.bound)} is asked for."
    state = _held(interval, gate)
    least = examples_for_quantile(gate.quantile, level)
    if state == "undecided" and n < least:
        text += f" {count_text(n).capitalize()} set no upper limit to it: {least:,} can."
    return GateCheck(gate.text, label, state, interval, text)


def _cost_per_call(result: Comparison, gate: Gate, label: str, numbers: _Numbers) -> GateCheck:
    known = _known_cost(gate, label, numbers)
    if isinstance(known, GateCheck):
        return known
    plan = result.run.plan
    top = float(np.nanmax(known))
    if top == 0:
        interval = Interval(0.0, 0.0, 0.0, plan.level)
    else:
        # dollars below 1 are no shares: on a scale of their own they are not taken for scores from 0 to 1
        found = mean_interval(known * (2 / top), plan.level, plan.seed, False)
        assert found is not None  # noqa: S101  (an answer is there)
        estimate, low, high, level = found
        interval = Interval(estimate * top / 2, max(0.0, low * top / 2), high * top / 2, level)
    counted = count_text(int(np.isfinite(known).any(axis=1).sum()))
    text = f"{label}: {_figures(interval, counted, tables.format_money)} a call; {gate.test} "
    text += f"{tables.format_money(gate.bound)} is asked for."
    return GateCheck(gate.text, label, _held(interval, gate), interval, text)


def _usd(result: Comparison, gate: Gate, label: str, numbers: _Numbers) -> GateCheck:
    known = _known_cost(gate, label, numbers)
    if isinstance(known, GateCheck):
        return known
    total = float(np.nansum(known))
    answers = int(numbers.worked.sum())
    counted = f"its answer cost {tables.format_money(total)} when it was made"
    if answers != 1:
        counted = f"its {answers:,} answers cost {tables.format_money(total)} when they were made"
    text = f"{label}: {counted}; "
    text += f"{gate.test} {tables.format_money(gate.bound)} is asked for."
    return GateCheck(gate.text, label, "passed" if _true(total, gate) else "failed", None, text)


def _known_cost(gate: Gate, label: str, numbers: _Numbers) -> np.ndarray | GateCheck:
    """Dollars of each answer, or the check that says they are unknown."""
    answers, unknown = int(numbers.worked.sum()), int((numbers.worked & ~np.isfinite(numbers.cost)).sum())
    if not answers:
        return GateCheck(gate.text, label, "undecided", None, f"{label} has no answer, so what one costs is unknown.")
    if unknown:
        sentence = (
            f"{label}: the cost of {unknown:,} of {answers:,} answers is unknown: there is no price for its model."
        )
        return GateCheck(gate.text, label, "undecided", None, sentence)
    return np.where(numbers.worked, numbers.cost, np.nan)


def _rate(result: Comparison, gate: Gate, label: str, numbers: _Numbers) -> GateCheck:
    errors, of, what = _counted(result, gate.kind, numbers)
    values = np.where(of, errors.astype(np.float64), np.nan)
    interval = mean_interval(values, result.run.plan.level, result.run.plan.seed, True)
    if interval is None:
        return GateCheck(gate.text, label, "undecided", None, f"{label} has no answer that could be scored.")
    counted = f"{int(errors.sum()):,} of {int(of.sum()):,}"
    text = f"{label}: {_figures(interval, counted, lambda share: f'{100 * share:.3g}%')} {what}; {gate.test} "
    text += f"{100 * gate.bound:g}% is asked for."
    state = _held(interval, gate)
    if state == "undecided" and interval.estimate < gate.bound:
        needed = wilson_trials(interval.estimate, gate.bound, interval.level)
        text += f" About {count_text(needed)} with this rate would show it." if needed else ""
    return GateCheck(gate.text, label, state, interval, text)


def _count(result: Comparison, gate: Gate, label: str, numbers: _Numbers) -> GateCheck:
    errors, of, what = _counted(result, gate.kind, numbers)
    count = int(errors.sum())
    text = f"{label}: {count:,} of {int(of.sum()):,} {what} in this run; {gate.test} {gate.bound:g} is asked for."
    return GateCheck(gate.text, label, "passed" if _true(count, gate) else "failed", None, text)


def _counted(result: Comparison, kind: Kind, numbers: _Numbers) -> tuple[np.ndarray, np.ndarray, str]:
    """What is counted, among what, and its name."""
    if kind in ("errors", "error_rate"):
        return numbers.failed, numbers.asked, "calls failed"
    primary = result.run.plan.primary.name
    return numbers.worked & np.isnan(numbers.scores[primary]), numbers.worked, f"answers have no {primary}"


_MEASURES: dict[Kind, Callable[[Comparison, Gate, str, _Numbers], GateCheck]] = {
    "score": _score, "latency": _time, "first_token": _time, "cost_per_call": _cost_per_call, "usd": _usd,
    "error_rate": _rate, "errors": _count, "unscored_rate": _rate, "unscored": _count,
}  # fmt: skip


def _held(interval: Interval, gate: Gate) -> State:
    """Passed if the whole interval keeps the bound, failed if none of it does."""
    ends = [_true(interval.low, gate), _true(interval.high, gate)]
    return "passed" if all(ends) else "undecided" if any(ends) else "failed"


def _true(value: float, gate: Gate) -> bool:
    if gate.test == "<":
        return value < gate.bound
    if gate.test == "<=":
        return value <= gate.bound
    return value > gate.bound if gate.test == ">" else value >= gate.bound


def _figures(interval: Interval, counted: str, shown: Callable[[float], str]) -> str:
    high = "no limit" if math.isinf(interval.high) else shown(interval.high)
    estimate, low = ("beyond any" if math.isinf(end) else shown(end) for end in (interval.estimate, interval.low))
    return f"{estimate} ({level_text(interval.level)} interval {low} to {high}, {counted})"
