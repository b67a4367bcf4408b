"""Bounds of a rate of which few events, or hardly anything else, have been seen; where a standard error says nothing.

Without a single error the users' sums do not vary, the standard error is 0, and the bound of a confidence sequence that rests on
it is the estimate itself: no errors among 100 users would prove a rate of 0. As long as fewer than `FEW` users' worth of events,
or of their contrary, is there, a rate has wider bounds too, as if x of n users had made one call each, with an event:

    all p with  B(x + 1/2, n - x + 1/2) / B(1/2, 1/2)  <  p^x (1 - p)^(n - x) / alpha

This is the beta mixture for a coin (Robbins 1970, Statistical Methods Related to the Law of the Iterated Logarithm, Annals of
Mathematical Statistics 41, 1397): the quotient of both sides is a martingale from 1, which exceeds 1 / alpha with a probability
of at most alpha, ever (Ville). Without any event it is exact, whatever the calls of a user have in common: then there is none
among the users' first calls either, which are independent. With some it takes x = n s/c, with n the effective number of users of
Korn and Graubard (1998, Confidence Intervals for Proportions with Small Expected Number of Positive Counts Estimated from Survey
Data, Survey Methodology 24, 193), mean (1 - mean) / se², at most the users that there are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import betaln, xlogy

from workbench.online.picture import Moments

__all__ = ["FEW", "coin_bounds", "few", "is_rate", "rate_bounds", "still"]

FEW = 10.0
_STEPS = 40  # of a bisection


def is_rate(arm: Moments) -> Any:
    """Whether all values are 0 or 1, as far as the sums tell."""
    return np.abs(arm.q - arm.s) <= 1e-9 * np.maximum(arm.s, 1)


def still(arm: Moments) -> Any:
    """Whether every user has the same mean, so that nothing is known of how much they vary."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = arm.s / arm.c
        terms = arm.ss + mean * mean * arm.cc
        return arm.ss - 2 * mean * arm.sc + mean * mean * arm.cc <= 1e-9 * terms


def few(arm: Moments) -> Any:
    """Whether fewer than `FEW` users with events, or with their contrary, have been seen (Kish's effective number of them)."""
    others, squares = arm.c - arm.s, arm.cc - 2 * arm.sc + arm.ss
    return (arm.s * arm.s < FEW * arm.ss) | (others * others < FEW * squares) | (arm.ss <= 0) | (squares <= 0)


def rate_bounds(arm: Moments, se: Any, alpha: float) -> tuple[Any, Any]:
    """(lower, upper) of a rate, each wrong with probability alpha, ever. se: of the mean."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.clip(arm.s / arm.c, 0, 1)
        users = np.where(still(arm), arm.n, np.minimum(mean * (1 - mean) / np.square(se), arm.n))
    return coin_bounds(mean * users, users, alpha)


def coin_bounds(x: Any, n: Any, alpha: float) -> tuple[Any, Any]:
    """(lower, upper) of the probability of a coin that fell on x of n sides; numbers, also broken ones, or arrays."""
    x, n = np.asarray(x, dtype=float), np.asarray(n, dtype=float)
    evidence = betaln(x + 0.5, n - x + 0.5) - betaln(0.5, 0.5) + np.log(alpha)

    def out(p: Any) -> Any:
        return evidence > xlogy(x, p) + xlogy(n - x, 1 - p)

    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(n > 0, x / n, 0.5)
        low_in, low_out = mean, np.zeros_like(mean)
        high_in, high_out = mean, np.ones_like(mean)
        for _ in range(_STEPS):
            low, high = (low_in + low_out) / 2, (high_in + high_out) / 2
            beyond = out(low)
            low_out, low_in = np.where(beyond, low, low_out), np.where(beyond, low_in, low)
            beyond = out(high)
            high_out, high_in = np.where(beyond, high, high_out), np.where(beyond, high_in, high)
    return np.where(out(0.0), low_out, 0.0), np.where(out(1.0), high_out, 1.0)
