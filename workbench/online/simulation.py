"""Simulated traffic: how often the analysis raises a false alarm, and how many users it takes to see a real effect.

Users come at random times and make calls until the end, a few of them very many (Pareto). Calls of one user are alike: errors
are drawn from a rate of the user's own (beta distributed, so that two calls of one user correlate by `alike`), amounts from a
level of the user's own (log-normal). Everything is looked at after every call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.online.analysis import bounds, compared
from workbench.online.counters import CAP
from workbench.online.picture import Moments

__all__ = ["Traffic", "Trial", "users_until_seen"]

Array = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Traffic:
    """users: in both arms. alike: correlation of two calls of a user, 0 to below 1. tail: exponent of the Pareto distribution of
    calls a user, at least 1 and at most `most`; 1.5 has a mean of about 3, and no variance but for `most`."""

    users: int = 1_500
    alike: float = 0.3
    tail: float = 1.5
    most: int = 1_000


class Trial:
    """One run of an experiment with two arms of the same size, calls in the order of time. treated: whether a user is; who: the
    user of each call; calls: how many."""

    def __init__(self, traffic: Traffic, rng: np.random.Generator) -> None:
        users = traffic.users
        made = np.clip(np.floor(1 + rng.pareto(traffic.tail, users)), 1, traffic.most).astype(np.int64)
        came = np.sort(rng.random(users))
        who = np.repeat(np.arange(users), made)
        when = came[who] + (1.2 - came[who]) * rng.random(len(who))
        begins = np.cumsum(made) - made
        when[begins] = came
        self._traffic, self._rng, self._begins = traffic, rng, begins
        self.treated = rng.random(users) < 0.5
        self.who: Places = who[np.argsort(when, kind="stable")]
        self.calls = len(who)
        self._by_user: Places = np.argsort(self.who, kind="stable")

    def errors(self, rate: float, effect: float = 0.0) -> Array:
        """One value a call, 1 for an error. effect: what the treatment adds to the rate."""
        own = np.where(self.treated, rate + effect, rate)
        if self._traffic.alike:
            spread = (1 - self._traffic.alike) / self._traffic.alike
            own = self._rng.beta(own * spread, (1 - own) * spread)
        return (self._rng.random(self.calls) < own[self.who]).astype(float)

    def amounts(self, effect: float = 0.0) -> Array:
        """One value a call, log-normal with a mean of about 1.6. effect: what the treatment adds, as a share."""
        alike = self._traffic.alike
        own = self._rng.normal(size=len(self.treated)) * np.sqrt(alike)
        values: Array = np.exp(own[self.who] + np.sqrt(1 - alike) * self._rng.normal(size=self.calls))
        return values * np.where(self.treated[self.who], 1 + effect, 1.0)

    def moments(self, values: Array, cap: int = CAP) -> tuple[Moments, Moments]:
        """(treatment, control) after each call, as the counters in the store add them up."""
        user, ordered = self.who[self._by_user], values[self._by_user]
        before = np.cumsum(ordered) - ordered
        s, c = before - before[self._begins[user]], np.arange(self.calls) - self._begins[user]
        steps = np.stack(
            [
                c == 0,
                ordered,
                np.ones(self.calls),
                ordered**2,
                ordered * (2 * s + ordered),
                ordered * (c + 1) + s,
                2 * c + 1,
            ]
        )
        placed = np.empty_like(steps)
        placed[:, self._by_user] = steps * (c < cap)
        arm = self.treated[self.who]
        return Moments(*np.cumsum(placed * arm, axis=1)), Moments(*np.cumsum(placed * ~arm, axis=1))

    def exposures(self) -> tuple[Array, Array]:
        """Users (treatment, control) after each user that came."""
        return np.cumsum(self.treated).astype(float), np.cumsum(~self.treated).astype(float)


def users_until_seen(
    rate: float,
    effect: float,
    *,
    traffic: Traffic | None = None,
    level: float = 0.95,
    fewest: int = 100,
    runs: int = 200,
    seed: int = 0,
) -> dict[str, Any]:
    """How many users, in both arms, until an effect on a rate is seen: quantiles over simulated runs, None where so many runs
    ended without it. Keys: median, p80 (80% of the runs have seen it by then), seen (share of the runs that did at all)."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(runs):
        trial = Trial(traffic or Traffic(), rng)
        after, before = trial.moments(trial.errors(rate, effect))
        bound = compared(after, before)
        low, high = bounds(bound, (1 - level) / 2, fewest / 2)
        seen = (np.minimum(after.n, before.n) >= fewest) & ((low > 0) if effect > 0 else (high < 0))
        at = int(seen.argmax())
        found.append(float(after.n[at] + before.n[at]) if seen[at] else np.inf)
    middle, most = np.quantile(found, [0.5, 0.8], method="inverted_cdf")
    known = {"median": middle, "p80": most}
    return {name: int(value) if np.isfinite(value) else None for name, value in known.items()} | {
        "seen": float(np.isfinite(found).mean())
    }
