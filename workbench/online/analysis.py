"""What can be concluded at any time, however often one looks. The unit is the user: calls of one user are alike.

Means are ratios of sums over users, such as all errors by all calls (`Moments`), and their variance comes from the spread of the
users' own sums around them (delta method; Deng, Knoblich and Lu 2018, Applying the Delta Method in Metric Analytics, KDD).

Confidence sequences are the one-sided asymptotic ones of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024, Time-uniform
central limit theory and asymptotic confidence sequences, Annals of Statistics 52, 2613; arXiv:2103.06476, appendix "One-sided
asymptotic confidence sequences"): at intrinsic time t the estimate is off by more than

    se * sqrt(2 (1 + m/t) log(1 + sqrt(1 + t/m) / (2 alpha)))

on one side, at any time at all, with a probability that approaches alpha from below as the least number of users grows. A
two-sided one is two of them, at alpha/2 each. It is Robbins' mixture boundary for Brownian motion; m sets where it is tightest.

Intrinsic time is the variance of the sum, counted in calls' variances: t = se² h² / s², with h = c1 c0 / (c1 + c0) for two arms
of c1 and c0 calls, h = c for one, and s² the variance of single values. A user's own sum grows while one looks, which is not in
the theorem. It does no harm: values of one user are alike, so for two times the standardised sum is at least as correlated as
Brownian motion is at these intrinsic times, and by Slepian's lemma (1962, Bell System Technical Journal 41, 463) the more
correlated of two Gaussian processes crosses a boundary no more often. benchmarks/online.py holds all of it against simulations.

A rate with few events so far has wider bounds too (`rare`); what has not varied yet, and is no rate, has none.

The sample-ratio test is Lindon and Malek (2022, Anytime-Valid Inference for Multinomial Count Data, NeurIPS; arXiv:2011.03567):
the likelihood of the counts under a Dirichlet mixture by that under the intended ratio is a martingale from 1, which exceeds
1 / level with a probability of at most `level`, ever (Ville). This one is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from workbench.online.picture import Moments
from workbench.online.rare import few, is_rate, rate_bounds, still

__all__ = ["Bound", "bounds", "careful", "compared", "p_value", "per_user", "sample_ratio", "single", "width"]

Array = npt.NDArray[np.float64]

CONCENTRATION = 100.0
"""Of the Dirichlet mixture around the intended ratio: as if so many users had been seen. Ratios that are far off show with a few
hundred users, ones that are near with many; a flat mixture (2) would be later with the near ones."""


class Bound(NamedTuple):
    """An estimate with its standard error and intrinsic time; numbers or arrays."""

    estimate: Any
    se: Any
    time: Any


def width(time: Any, alpha: float, start: float) -> Any:
    """How many standard errors the one-sided bound is from the estimate. start: the m above."""
    ratio = np.maximum(time, 1e-9) / start
    return np.sqrt(2 * (1 + 1 / ratio) * np.log1p(np.sqrt(1 + ratio) / (2 * alpha)))


def bounds(found: Bound, alpha: float, start: float) -> tuple[Any, Any]:
    """(lower, upper), each wrong with probability alpha, ever."""
    half = found.se * width(found.time, alpha, start)
    return found.estimate - half, found.estimate + half


def p_value(found: Bound, beyond: float, start: float) -> Any:
    """The smallest alpha at which the lower bound lies above `beyond`; 1 if none does. Valid at any time."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.maximum(found.time, 1e-9) / start
        away = np.maximum(found.estimate - beyond, 0)
        z = np.where(away > 0, away / found.se, 0)
        value = np.sqrt(1 + ratio) / (2 * np.expm1(np.minimum(z * z * ratio / (2 * (1 + ratio)), 700)))
    return np.minimum(value, 1.0)


def per_user(arm: Moments, exposed: Any) -> Moments:
    """The same for what a user's values add up to, where users without any count as 0. exposed: users in the arm."""
    return Moments(n=exposed, s=arm.s, c=exposed, q=arm.ss, ss=arm.ss, sc=arm.s, cc=exposed)


def single(arm: Moments) -> Bound:
    """The mean of one arm."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mean, spread = _ratio(arm)
        variance = spread / np.square(arm.c)
        return Bound(mean, np.sqrt(variance), _time(spread, _value_variance(arm), arm.n))


def compared(treatment: Moments, control: Moments, weight: float = 1.0) -> Bound:
    """The mean of the treatment minus `weight` times that of the control."""
    with np.errstate(divide="ignore", invalid="ignore"):
        after, spread1 = _ratio(treatment)
        before, spread0 = _ratio(control)
        variance = spread1 / np.square(treatment.c) + weight * weight * spread0 / np.square(control.c)
        share = treatment.c / (treatment.c + control.c)
        values = share * _value_variance(treatment) + (1 - share) * weight * weight * _value_variance(control)
        calls = treatment.c * control.c / (treatment.c + control.c)
        users = treatment.n * control.n / (treatment.n + control.n)
        time = _time(variance * np.square(calls), values, users)
        return Bound(after - weight * before, np.sqrt(variance), time)


def careful(
    treatment: Moments, control: Moments | None, weight: float, alpha: float, start: float, *, rate: bool
) -> tuple[Any, Any]:
    """`bounds` of `compared`, or without a control of `single`, as far as they can be relied on.

    rate: values are 0 or 1 if all so far were. Then bounds are widened where few events, or few others, have been seen. Of
    anything else they are infinite where the users of an arm do not differ at all.
    """
    found = single(treatment) if control is None else compared(treatment, control, weight)
    low, high = bounds(found, alpha, start)
    arms = [treatment] if control is None else [treatment, control]
    rates = [is_rate(arm) if rate else np.zeros_like(arm.s, dtype=bool) for arm in arms]
    if np.any(rare := np.any([few(arm) & binary for arm, binary in zip(arms, rates, strict=True)], axis=0)):
        each = alpha / len(arms)
        below, above = rate_bounds(treatment, single(treatment).se, each)
        if control is not None:
            least, most = rate_bounds(control, single(control).se, each)
            below, above = below - weight * most, above - weight * least
        rare = rare & np.all(rates, axis=0)
        low, high = np.where(rare, np.minimum(low, below), low), np.where(rare, np.maximum(high, above), high)
    unknown = np.any([still(arm) & ~binary for arm, binary in zip(arms, rates, strict=True)], axis=0)
    return np.where(unknown, -np.inf, low), np.where(unknown, np.inf, high)


def sample_ratio(stages: Mapping[str, Mapping[str, Any]]) -> Any:
    """The p-value, valid at any time, of as many users in each arm as in the others. stages: users (numbers or arrays) by stage,
    then arm; the arms of a stage are its name, joined by "+", so that one without users counts too."""
    evidence: Any = 0.0
    for stage, found in stages.items():
        arms = stage.split("+")
        counts = [np.asarray(found.get(arm, 0), dtype=float) for arm in arms]
        prior = CONCENTRATION / len(arms)
        total: Any = sum(counts)
        evidence = evidence + gammaln(CONCENTRATION) - gammaln(CONCENTRATION + total) + total * np.log(len(arms))
        for count in counts:
            evidence = evidence + gammaln(prior + count) - gammaln(prior)
    return np.minimum(1.0, np.exp(-np.maximum(evidence, 0.0)))


def _ratio(arm: Moments) -> tuple[Any, Any]:
    """The mean, and the sum over users of (s - mean c)², made a little larger as a variance of n - 1 degrees of freedom is."""
    mean = arm.s / arm.c
    spread = np.maximum(arm.ss - 2 * mean * arm.sc + mean * mean * arm.cc, 0)
    return mean, spread * arm.n / np.maximum(arm.n - 1, 1)


def _value_variance(arm: Moments) -> Any:
    mean = arm.s / arm.c
    return np.maximum(arm.q / arm.c - mean * mean, 0)


def _time(spread: Any, values: Any, users: Any) -> Any:
    return np.where(values > 1e-12 * spread, spread / np.maximum(values, 1e-300), users)
