"""False alarms of the online analysis in experiments without any difference, and how many users it takes to see one.

python benchmarks/online.py [--json FILE] [--runs 2000] [--users 1500]

Users come at random times, a few of them make most of the calls (Pareto, up to 1,000 each), calls of one user are independent or
correlate by 0.3, and everything is looked at after every call, from the first to the last. A run alarms if it does so once.
Printed is the share of runs that alarm, with its Monte Carlo interval (95%, Wilson); it holds if the whole interval lies below
the level.

sequence     the two-sided confidence sequence of the difference in error rates, at 95%
guardrails   error rate, slow calls, cost and a score, each at the worst that is allowed (no difference, margin 0), 5% together
limits       error rate and slow calls of a live release, each exactly at its limit, 5% together
held         the same the other way round, where it is wrong to say that a guardrail held: a rate of 1% exactly at its limit; and
             a treatment worse by exactly the margin of 1 point than a control of 0.2%; each 5%
ratio        the sample-ratio test at 1%, after every user
by call      for contrast: the same sequence if every call were a user of its own; and a fixed z-test at 5%, looked at as often
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from common import Claims, arguments

from workbench.evaluation.statistics import wilson
from workbench.online.analysis import bounds, careful, compared, sample_ratio, single
from workbench.online.picture import Moments
from workbench.online.simulation import Traffic, Trial, users_until_seen

FEWEST = 100
ALIKE = (0.0, 0.3)
Alarm = Callable[[Trial], bool]


def enough(after: Moments, before: Moments) -> np.ndarray:
    """Where something may be concluded at all."""
    return np.minimum(after.n, before.n) >= FEWEST


def sequence(trial: Trial) -> bool:
    after, before = trial.moments(trial.errors(0.1))
    low, high = bounds(compared(after, before), 0.025, FEWEST / 2)
    return bool((enough(after, before) & ((low > 0) | (high < 0))).any())


def guardrails(trial: Trial) -> bool:
    score = 1 / (1 + trial.amounts())
    for values in (trial.errors(0.05), trial.errors(0.05), trial.amounts(), -score):
        after, before = trial.moments(values)
        low, _ = bounds(compared(after, before), 0.05 / 4, FEWEST / 2)
        if (enough(after, before) & (low > 0)).any():
            return True
    return False


def limits(trial: Trial) -> bool:
    for rate in (0.1, 0.05):
        moments, _ = trial.moments(trial.errors(rate))
        low, _ = bounds(single(moments), 0.05 / 2, FEWEST)
        if ((moments.n >= FEWEST) & (low > rate)).any():
            return True
    return False


def held(after: Moments, before: Moments | None, allowed: float, *, rare: bool = True) -> bool:
    """Whether it is said once. rare: with the bounds for few events, as the guard does."""
    start = FEWEST / (1 if before is None else 2)
    users = after.n if before is None else np.minimum(after.n, before.n)
    _, high = bounds(single(after) if before is None else compared(after, before), 0.05, start)
    looks = np.flatnonzero((users >= FEWEST) & (high <= allowed))  # the others are only wider
    if not rare or not len(looks):
        return bool(len(looks))
    arms = [arm and Moments(*(sums[looks] for sums in arm)) for arm in (after, before)]
    return bool((careful(arms[0], arms[1], 1.0, 0.05, start, rate=True)[1] <= allowed).any())


def held_limit(trial: Trial) -> bool:
    return held(trial.moments(trial.errors(0.01))[0], None, 0.01)


def held_margin(trial: Trial) -> bool:
    return held(*trial.moments(trial.errors(0.002, 0.01)), 0.01)


def held_without(trial: Trial) -> bool:
    return held(trial.moments(trial.errors(0.01))[0], None, 0.01, rare=False)


def ratio(trial: Trial) -> bool:
    treated, others = trial.exposures()
    return bool((sample_ratio({"control+treatment": {"control": others, "treatment": treated}}) < 0.01).any())


def by_call(trial: Trial) -> tuple[Moments, Moments]:
    """As if every call were a user of its own."""
    after, before = trial.moments(trial.errors(0.1), cap=10**9)
    alone = [Moments(m.c, m.s, m.c, m.q, m.q, m.s, m.c) for m in (after, before)]
    return alone[0], alone[1]


def sequence_by_call(trial: Trial) -> bool:
    after, before = by_call(trial)
    low, high = bounds(compared(after, before), 0.025, FEWEST / 2)
    return bool((enough(after, before) & ((low > 0) | (high < 0))).any())


def fixed_by_call(trial: Trial) -> bool:
    after, before = by_call(trial)
    found = compared(after, before)
    return bool((enough(after, before) & (np.abs(found.estimate) > 1.96 * found.se)).any())


def alarms(alarm: Alarm, alike: float, runs: int, users: int) -> tuple[int, float]:
    """How many runs alarm, and calls a run."""
    rng, found, calls = np.random.default_rng(1), 0, 0
    for _ in range(runs):
        trial = Trial(Traffic(users=users, alike=alike), rng)
        found += alarm(trial)
        calls += trial.calls
    return found, calls / runs


def false_alarms(claims: Claims, runs: int, users: int) -> None:
    judged: list[tuple[str, Alarm, float]] = [
        ("sequence", sequence, 0.05), ("guardrails", guardrails, 0.05), ("limits", limits, 0.05),
        ("held at the limit", held_limit, 0.05), ("held at the margin", held_margin, 0.05), ("ratio", ratio, 0.01),
    ]  # fmt: skip
    for alike in ALIKE:
        for name, alarm, level in judged:
            found, calls = alarms(alarm, alike, runs, users)
            share = wilson(found, runs)
            said = f"false alarms of {name}, correlation {alike:g}, {runs:,} runs of {users:,} users and {calls:,.0f} calls"
            interval = f" [{share.low:.2%}, {share.high:.2%}]"
            claims.add(
                said + interval, share.estimate, level, "level", share.estimate / level, "< 1", holds=share.high < level
            )
        contrast = (
            ("sequence by call", sequence_by_call), ("fixed test by call", fixed_by_call),
            ("held at the limit by the standard error alone", held_without),
        )  # fmt: skip
        for name, alarm in contrast:
            found, _ = alarms(alarm, alike, runs // 4, users)
            share = wilson(found, runs // 4)
            print(
                f"     for contrast, {name}, correlation {alike:g}: {share.estimate:.1%} [{share.low:.1%}, {share.high:.1%}]"
            )


def power(runs: int) -> None:
    print("\nusers in both arms until the sequence has seen a change of the error rate (median; in 80% of the runs):")
    for rate, effect in ((0.1, 0.1), (0.1, 0.05), (0.05, 0.05), (0.05, 0.02)):
        for alike in ALIKE:
            traffic = Traffic(users=8_000, alike=alike)
            found = users_until_seen(rate, effect, traffic=traffic, runs=runs)
            shown = [f"{found[name]:,}" if found[name] is not None else "over 8,000" for name in ("median", "p80")]
            print(f"     {rate:.0%} -> {rate + effect:.0%}, correlation {alike:g}: {shown[0]}; {shown[1]}", flush=True)


def main() -> None:
    """Print, and with --json write, one line for each claim."""
    parser = arguments(__doc__)
    parser.add_argument("--runs", type=int, default=2_000)
    parser.add_argument("--users", type=int, default=1_500)
    options = parser.parse_args()
    began, claims = time.perf_counter(), Claims()
    false_alarms(claims, options.runs, options.users)
    power(max(50, options.runs // 20))
    print(f"\n{time.perf_counter() - began:.0f} s")
    claims.write(options.json)


if __name__ == "__main__":
    main()
