"""How many examples a margin needs, and what a number of examples can see."""

from __future__ import annotations

import math

from scipy.special import ndtri, stdtrit

from workbench.errors import InputError
from workbench.evaluation.intervals import check_shares, z_of

__all__ = ["discordance_sd", "examples_needed", "smallest_difference", "visible_difference", "wilson_trials"]

_MOST = 10**15  # fits every format of numbers


def wilson_trials(share: float, bound: float, level: float = 0.95) -> int | None:
    """Trials after which Wilson's interval for a share that stays at `share` ends below `bound`; None if share >= bound.

    The score test's own condition, (bound - share)**2 = z**2 bound (1 - bound) / n, solved for n.
    """
    if share >= bound:
        return None
    return math.ceil(z_of(level) ** 2 * bound * (1 - bound) / (bound - share) ** 2)


def examples_needed(
    sd: float | None, margin: float, level: float = 0.95, power: float = 0.8, *, span: float | None = None
) -> int | None:
    """Examples after which the interval lies within ±margin with this power if the variants are truly equal.

    sd: of the paired differences (`Paired.sd`), so that no observed difference enters. Two one-sided tests, each at
    (1 - level) / 2, as the interval implies: Chow, Shao and Wang (2008), Sample Size Calculations, 3.1, with t for z.
    A true difference of the margin's size is then told from 0 with more than this power.
    span: `Paired.span`; where the interval keeps part of the scale open, equal scores need z**2 (span / margin - 1).
    None if the margin is not positive or the sd unknown, or 0 without a span. At most 10**15, for whatever is beyond reach.
    """
    check_shares(level, power)
    if not margin > 0 or sd is None or not math.isfinite(sd) or sd < 0 or (sd == 0 and span is None):
        return None
    errors = min(_MOST, (z_of(level) + float(ndtri(0.5 + power / 2))) * sd / margin)
    n = max(2, math.ceil(min(_MOST, errors**2)))
    # Beyond 1,000 t and z agree to an example or two.
    while n < 1_000 and n < ((stdtrit(n - 1, 0.5 + level / 2) + stdtrit(n - 1, 0.5 + power / 2)) * sd / margin) ** 2:
        n += 1
    floor = 0 if span is None else math.ceil(min(_MOST, z_of(level) ** 2 * (span / margin - 1)))
    return max(n, floor)


def smallest_difference(n: int, sd: float, level: float = 0.95, power: float = 0.8) -> float:
    """True mean difference that n examples separate from 0 with this power: (t + t) sd / sqrt(n); inf for n < 2."""
    check_shares(level, power)
    if not (math.isfinite(sd) and sd >= 0):
        raise InputError(f"sd = {sd!r} must be a number of at least 0: the spread of the paired differences.")
    if n < 2:
        return math.inf
    return float(stdtrit(n - 1, 0.5 + level / 2) + stdtrit(n - 1, power)) * sd / math.sqrt(n)


def discordance_sd(p_discordant: float) -> float:
    """Sd of right/wrong differences when this share of examples differs and no side is better: sqrt(p), at most 1."""
    if not 0 <= p_discordant <= 1:
        raise InputError(f"p_discordant = {p_discordant!r} must be a share between 0 and 1.")
    return math.sqrt(p_discordant)


def visible_difference(n: int, discordant: float, level: float = 0.95, power: float = 0.8) -> float:
    """Difference of a right/wrong score that n examples separate from 0 with this power, if a share `discordant` is judged
    differently; inf if n is too few for any.

    No difference is larger than the share that is judged differently. Where that share is too small, it is the smallest one
    that is large enough when all of it goes one way: d = (t + t) sqrt(d / n).
    """
    found = smallest_difference(n, discordance_sd(discordant), level, power)
    if found > discordant:
        found = smallest_difference(n, 1.0, level, power) ** 2
    return found if found <= 1 else math.inf
