"""Guardrails held against what was counted, and the outcomes of an experiment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from workbench import tables
from workbench.online.analysis import Bound, bounds, careful, compared, p_value, per_user, sample_ratio, single
from workbench.online.assignment import CONTROL, Experiment
from workbench.online.picture import Moments, Study
from workbench.online.rules import BUILT_IN, COST, ERRORS, SLOW, Guardrail, Rules
from workbench.records import Interval

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LIVE", "Analysis", "Check", "Outcome", "alphas", "analyse", "check_live", "check_treatments"]

LIVE = "live"
RATIO_LEVEL = 0.01
_PER_USER = " per user"

_NONE = Moments(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Check:
    """One guardrail of one treatment, or of the live release (arm "live").

    kind: against the control ("margin"), or by itself ("limit"). state: "failed" if it is worse than allowed, "held" if it is
    not, each for sure; "unclear"; "too few" users. value, control: the arm's mean and the control's. loss: by how much it is
    worse (than the control, or what is allowed of it; by itself, than 0), allowed: by how much it may be; low, high: bounds of
    the loss, each wrong with probability alpha, ever; high is None while nothing has varied. p_value: the smallest alpha at which
    it fails. users: in the smaller arm.
    """

    metric: str
    arm: str
    kind: Literal["margin", "limit"]
    state: Literal["failed", "held", "unclear", "too few"]
    value: float | None
    control: float | None
    loss: float | None
    low: float | None
    high: float | None
    allowed: float
    p_value: float | None
    alpha: float
    users: int
    sentence: str

    def to_mapping(self) -> dict[str, Any]:
        """Plain types, for JSON and the history."""
        return asdict(self)


def alphas(rules: Rules, treatments: int) -> tuple[float, float]:
    """What each check of the live release, and of the treatments, gets of the budget.

    Bonferroni, so that nothing has to be assumed of how checks go together: half for the limits of the live release, if there are
    any, the rest for the treatments; in equal parts.
    """
    margins = sum(rail.margin is not None for rail in rules.guardrails)
    limits = sum(rail.limit is not None for rail in rules.guardrails)
    half = rules.level / 2 if limits else 0.0
    return half / max(limits, 1), (rules.level - half) / (max(treatments, 1) * (margins + limits))


def check_treatments(experiment: Experiment, study: Study, rules: Rules) -> tuple[Check, ...]:
    """All guardrails of all treatments that still run."""
    alpha = alphas(rules, len(experiment.treatments))[1]
    found = []
    for arm in experiment.treatments:
        if arm.stopped is None:
            for rail in rules.guardrails:
                after = study.moments.get((arm.name, rail.key), _NONE)
                before = study.moments.get((CONTROL, rail.key), _NONE)
                if rail.margin is not None:
                    found.append(_against_control(rail, arm.name, after, before, rules, alpha))
                if rail.limit is not None:
                    found.append(_by_itself(rail, arm.name, after, rules, alpha))
    return tuple(found)


def check_live(study: Study, rules: Rules) -> tuple[Check, ...]:
    """The limits of the live release."""
    alpha = alphas(rules, 1)[0]
    limited = [rail for rail in rules.guardrails if rail.limit is not None]
    return tuple(_by_itself(rail, LIVE, study.moments.get((LIVE, rail.key), _NONE), rules, alpha) for rail in limited)


def _against_control(rail: Guardrail, arm: str, after: Moments, before: Moments, rules: Rules, alpha: float) -> Check:
    margin = rail.margin or 0.0
    sign = -1.0 if rail.lower_is_worse else 1.0
    weight = 1 + sign * margin if rail.relative else 1.0
    users = int(min(after.n, before.n))
    bound = compared(after, before, weight) if users >= rules.fewest else None
    allowed = 0.0 if rail.relative else margin
    more = f"{margin:.0%}" if rail.relative else _show(rail, margin)
    if not rail.relative and rail.metric in (ERRORS, SLOW):
        more = f"{100 * margin:g} points"
    beyond = f"the control's by more than {more}"
    return _check(rail, arm, "margin", bound, sign, allowed, users, rules, alpha, after, before, beyond, weight)


def _by_itself(rail: Guardrail, arm: str, moments: Moments, rules: Rules, alpha: float) -> Check:
    sign = -1.0 if rail.lower_is_worse else 1.0
    limit = rail.limit or 0.0
    users = int(moments.n)
    bound = single(moments) if users >= rules.fewest else None
    return _check(
        rail,
        arm,
        "limit",
        bound,
        sign,
        sign * limit,
        users,
        rules,
        alpha,
        moments,
        None,
        f"the limit of {_show(rail, limit)}",
    )


def _check(
    rail: Guardrail, arm: str, kind: Literal["margin", "limit"], bound: Bound | None, sign: float, allowed: float, users: int,
    rules: Rules, alpha: float, after: Moments, before: Moments | None, beyond: str, weight: float = 1.0,
) -> Check:  # fmt: skip
    value, control = _mean(after), _mean(before)
    if bound is None:
        sentence = f"{_name(rail)} of {arm}: {users:,} users, of {rules.fewest:,} that it takes"
        return Check(
            rail.metric, arm, kind, "too few", value, control, None, None, None, allowed, None, alpha, users, sentence
        )
    turned = Bound(sign * bound.estimate, bound.se, bound.time)
    start = rules.fewest / (2 if kind == "margin" else 1)
    low = float(bounds(turned, alpha, start)[0])
    least, most = careful(after, before, weight, alpha, start, rate=rail.metric != COST)
    high = float(most if sign > 0 else -least)
    state: Literal["failed", "held", "unclear"] = (
        "failed" if low > allowed else "held" if high <= allowed else "unclear"
    )
    p = float(p_value(turned, allowed, start))
    says = {"failed": "worse than", "held": "not worse than", "unclear": "may be worse than"}[state]
    shown = _show(rail, value) + (f" ({_show(rail, control)} in the control)" if before is not None else "")
    if state == "unclear" and math.isinf(high):
        says = "has not varied yet, and may be worse than"
    sentence = (
        f"{_name(rail)} of {arm} {shown}: {says} {beyond}; {users:,} users, p = {p:.2g} (fails below {alpha:.2g})"
    )
    return Check(
        rail.metric,
        arm,
        kind,
        state,
        value,
        control,
        float(turned.estimate),
        low,
        high if math.isfinite(high) else None,
        allowed,
        p,
        alpha,
        users,
        sentence,
    )


def _mean(moments: Moments | None) -> float | None:
    return float(moments.s / moments.c) if moments is not None and moments.c else None


def _name(rail: Guardrail) -> str:
    if rail.metric == ERRORS:
        return "error rate"
    if rail.metric == SLOW:
        return f"share of calls above {tables.format_seconds(rail.seconds)}"
    return "cost of a call" if rail.metric == COST else rail.metric


def _plain(metric: str) -> str:
    """`slow-3` in words."""
    seconds = metric.removeprefix(f"{SLOW}-")
    return metric if seconds == metric else f"share of calls above {tables.format_seconds(float(seconds))}"


def _with_interval(found: Interval) -> str:
    """With as many digits as the interval's width makes sense of."""
    wide = found.high - found.low
    digits = min(max(2 - math.floor(math.log10(wide)), 0), 12) if wide > 0 else 4
    return f"{found.estimate:+.{digits}f} [{found.low:+.{digits}f}, {found.high:+.{digits}f}]"


def _show(rail: Guardrail, value: float | None) -> str:
    if value is None:
        return "unknown"
    if rail.metric in (ERRORS, SLOW):
        return tables.format_share(value)
    return tables.format_money(value) if rail.metric == COST else tables.format_number(value, 3)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A metric of a treatment against the control. difference: treatment minus control, with an interval that holds at all times
    together; None below the least number of users, and where the users of an arm do not differ yet. says: "higher", "lower",
    "undecided" or "too few"."""

    metric: str
    arm: str
    value: float | None
    control: float | None
    difference: Interval | None
    users: int
    users_control: int
    says: Literal["higher", "lower", "undecided", "too few"]


@dataclass(frozen=True, slots=True)
class Analysis:
    """What an experiment says so far. ratio_p: of the sample-ratio test; below 1%, arms do not get the users that they should,
    and nothing else here can be trusted. whole: False if the store has lost a part of the counts."""

    experiment: str
    primary: str
    outcomes: tuple[Outcome, ...]
    users: Mapping[str, int]
    ratio_p: float
    whole: bool
    level: float

    @property
    def trusted(self) -> bool:
        """Whether the counts are whole and the arms get the users that they should."""
        return self.whole and self.ratio_p >= RATIO_LEVEL

    def to_mapping(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        plain = asdict(self)
        for row in plain["outcomes"]:
            row["difference"] = row["difference"] and Interval(*row["difference"])._asdict()
        return plain | {"trusted": self.trusted}

    def frame(self) -> pd.DataFrame:
        """One row a metric and treatment."""
        import pandas as pd

        nothing = (None, None, None, None)
        names = ("metric", "arm", "value", "control", "difference", "low", "high", "users", "users_control", "says")
        rows = [
            (o.metric, o.arm, o.value, o.control, *(o.difference or nothing)[:3], o.users, o.users_control, o.says)
            for o in self.outcomes
        ]
        return pd.DataFrame(rows, columns=names)

    def __str__(self) -> str:
        return "\n".join([self._summary(), "", tables.to_text(self._shown())] if self.outcomes else [self._summary()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return tables.to_html(self._shown(), caption=self._summary())

    def _summary(self) -> str:
        users = ", ".join(f"{count:,} in {arm}" for arm, count in self.users.items())
        said = [f"{self.experiment}: {users if any(self.users.values()) else 'no users yet'}"]
        if not self.whole:
            said.append("the store has dropped a part of the counts (its memory was full): nothing can be concluded")
        if self.ratio_p < RATIO_LEVEL:
            said.append(
                f"the arms do not get equally many users (p = {self.ratio_p:.2g}): find out why, and trust nothing here"
            )
        if self.trusted:
            said += [
                f"{row.arm} has too few users" if row.says == "too few" else f"{row.metric} is {row.says} in {row.arm}"
                for row in self.outcomes
                if row.metric == self.primary
            ]
        return "; ".join(said)

    def _shown(self) -> pd.DataFrame:
        import pandas as pd

        rows = []
        for row in self.outcomes:
            d = row.difference
            shown = tables.NOTHING if d is None else _with_interval(d)
            rows.append(
                {"metric": _plain(row.metric) + " (primary)" * (row.metric == self.primary), "arm": row.arm,
                 "control": tables.format_number(row.control, 4), "treatment": tables.format_number(row.value, 4),
                 f"difference, {self.level:.0%} at all times": shown, "users": f"{row.users:,} / {row.users_control:,}",
                 "says": row.says}
            )  # fmt: skip
        return pd.DataFrame(rows)


def analyse(experiment: Experiment, study: Study, *, level: float = 0.95, fewest: int = 100) -> Analysis:
    """The outcomes of all treatments: means of values, and for outcomes also "NAME per user", what a user's values add up to,
    where users without any count as 0. Each interval has its level by itself, so one metric has to be the primary one, declared
    before. fewest: users in each arm below which there is no interval."""
    found: list[Outcome] = []
    users = {arm: study.users(arm) for arm in experiment.arms}
    for metric in _metrics(study, experiment.primary):
        arms = {name: _moments(study, name, metric) for name in users}
        found += [
            _outcome(metric, arm.name, arms[arm.name], arms[CONTROL], level, fewest) for arm in experiment.treatments
        ]
    return Analysis(
        experiment.key,
        experiment.primary,
        tuple(found),
        users,
        float(sample_ratio(study.exposures)),
        study.whole,
        level,
    )


def _metrics(study: Study, primary: str) -> list[str]:
    names = {metric for _, metric in study.moments}
    names |= {name + _PER_USER for name in names if name not in BUILT_IN and not name.startswith(f"{SLOW}-")}
    return sorted(names, key=lambda name: (name != primary, name))


def _moments(study: Study, arm: str, metric: str) -> Moments:
    if metric.endswith(_PER_USER):
        return per_user(study.moments.get((arm, metric.removesuffix(_PER_USER)), _NONE), float(study.users(arm)))
    return study.moments.get((arm, metric), _NONE)


def _outcome(metric: str, arm: str, after: Moments, before: Moments, level: float, fewest: int) -> Outcome:
    users, others = int(after.n), int(before.n)
    values = _mean(after), _mean(before)
    if min(users, others) < fewest:
        return Outcome(metric, arm, *values, None, users, others, "too few")
    rate = metric != COST and not metric.endswith(_PER_USER)
    low, high = map(float, careful(after, before, 1.0, (1 - level) / 2, fewest / 2, rate=rate))
    says: Literal["higher", "lower", "undecided"] = "higher" if low > 0 else "lower" if high < 0 else "undecided"
    estimate = float(compared(after, before).estimate)
    found = Interval(estimate, low, high, level) if math.isfinite(low) else None
    return Outcome(metric, arm, *values, found, users, others, says)
