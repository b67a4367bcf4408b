"""Whether the intervals of a verdict cover, how wide they are, how often they alarm for nothing, and what they cost.

python benchmarks/intervals.py [--json FILE] [--runs 4000] [--only coverage|errors|speed|rivals]

coverage   of 95% intervals of a paired difference, for 20, 80 and 300 examples, once and three times repeated: right/wrong
           scores of which 5 or 20% differ (evenly, and three to one), and skewed or heavy-tailed ones. Target 94% from 80
           examples on, 92% below. Repeats of one example are alike. With its Monte Carlo interval (95%, Wilson).
width      the mean width by that of an oracle which is told the distribution. With skewed scores: 1.96 true standard errors
           to each side. With right/wrong ones: the narrowest on average for this very distribution of all intervals whose ends
           are wrong in at most 2.5% each *whatever* the distribution (Pratt 1961, J. Am. Stat. Assoc. 56, 549; a lower bound
           of it, see `pratt`). Where next to nothing differs, no honest interval can be as narrow as the first kind of oracle:
           20 answers that agree cannot exclude a difference of 15 points. That ratio is printed too. Target 1.15.
errors     family-wise: four variants without any difference to the control, a verdict "better" or "worse" for any of them.
           sequential: looking after every example up to the end, the same. Target: the upper end of the Monte Carlo interval
           (99%) below 6.5%, at a level of 5%. And what stopping saves.
rivals     BCa (scipy's, 1,999 resamples) and the bootstrap-t by itself, on the same draws: coverage and width beside ours.
speed      10,000 examples, 4 variants, 10 scores, all paired intervals, by a loop of scipy.stats.bootstrap over the same (9,999
           resamples, percentile, its cheapest). Target 20 times.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable

import numpy as np
from common import Claims, arguments
from scipy import stats

from workbench.evaluation.intervals import studentised, tails
from workbench.evaluation.sequential import EARLY, evidence
from workbench.evaluation.statistics import paired_interval, quantile_ratio_interval, wilson
from workbench.evaluation.verdict import ArmScores, decide

Array = np.ndarray
Draw = Callable[[np.random.Generator, int, int], tuple[Array, Array]]

SIZES = (20, 80, 300)
REPEATS = (1, 3)
LARGE = 1_000_000
RESAMPLES = 999


# -- what is drawn ----------------------------------------------------------------------------------------------------


def right_wrong(differ: float, lean: float) -> Draw:
    """A share `differ` of the answers is judged differently, (1 + lean) / 2 of these in favour of the variant.

    With repeats an example is either firm or one of those whose answers vary, each side with a probability of its own.
    """

    def draw(rng: np.random.Generator, n: int, repeats: int) -> tuple[Array, Array]:
        base = (rng.random(n) < 0.6).astype(float)
        if repeats == 1:
            fate = rng.random(n)
            gained, lost = fate < differ * (1 + lean) / 2, (fate >= differ * (1 + lean) / 2) & (fate < differ)
            changed = gained | lost
            return np.where(changed, lost, base)[:, None], np.where(changed, gained, base)[:, None]
        one, other = rng.beta(0.5, 0.5, (2, n))
        swapped = rng.random(n) < lean
        low, high = np.minimum(one, other), np.maximum(one, other)
        one, other = np.where(swapped, low, one), np.where(swapped, high, other)
        loose = rng.random(n) < 2 * differ
        chances = [np.where(loose, chance, base)[:, None] for chance in (one, other)]
        before, after = ((rng.random((n, repeats)) < chance).astype(float) for chance in chances)
        return before, after

    return draw


def bounded(rng: np.random.Generator, n: int, repeats: int) -> tuple[Array, Array]:
    """Scores from 0 to 1 where few gain much."""
    before = rng.beta(1, 6, n)[:, None] * 0.2 + np.zeros((n, repeats))
    after = before + 0.8 * rng.beta(0.6, 2.4, n)[:, None]
    if repeats > 1:
        before = before + 0.15 * rng.beta(0.6, 2.4, (n, repeats))
        after = after + 0.15 * (rng.beta(0.6, 2.4, (n, repeats)) - 0.2)
    return before, after


def exponential(rng: np.random.Generator, n: int, repeats: int) -> tuple[Array, Array]:
    """Gains with an exponential distribution, on no scale."""
    noise = rng.normal(0, 0.5, (n, repeats)) if repeats > 1 else np.zeros((n, 1))
    return np.full((n, repeats), 3.0), 3 + rng.exponential(1, n)[:, None] + noise


def heavy(rng: np.random.Generator, n: int, repeats: int) -> tuple[Array, Array]:
    """Differences of log-normal scores: heavy tails on both sides."""
    noise = rng.lognormal(0, 0.3, (2, n, repeats)) if repeats > 1 else np.ones((2, n, 1))
    return rng.lognormal(0, 0.6, n)[:, None] * noise[0], rng.lognormal(0.2, 0.6, n)[:, None] * noise[1]


KINDS: dict[str, Draw] = {
    "right/wrong, 5% differ": right_wrong(0.05, 0.0),
    "right/wrong, 5% differ, 3 to 1": right_wrong(0.05, 0.5),
    "right/wrong, 20% differ": right_wrong(0.2, 0.0),
    "right/wrong, 20% differ, 3 to 1": right_wrong(0.2, 0.5),
    "skewed, 0 to 1": bounded,
    "skewed, exponential": exponential,
    "heavy-tailed": heavy,
}


# -- oracles ----------------------------------------------------------------------------------------------------------


def pratt(values: Array, shares: Array, n: int, seed: int = 0, draws: int = 20_000) -> float:
    """A lower bound of the mean width that an interval can have here if each end is wrong in at most 2.5% everywhere.

    The mean distance from the true mean to an upper end is the integral, over means above it, of the chance that they are not
    excluded; and no valid end excludes a mean more often than the most powerful test of any one distribution with that mean
    (Neyman and Pearson) against the truth. Three such distributions are tried for each mean, and the one that is excluded least
    often counts. Errors by simulation, with a randomised test.
    """
    return sum(_one_side(side * values, shares, n, np.random.default_rng(seed), draws) for side in (1, -1))


def _one_side(values: Array, shares: Array, n: int, rng: np.random.Generator, draws: int) -> float:
    truth, top = float(values @ shares), int(values.argmax())
    spread = math.sqrt(float(shares @ (values - truth) ** 2) / n)
    ends = truth + np.unique(np.r_[0, np.geomspace(0.02 * spread, float(values[top]) - truth - 1e-9, 60)])
    kept = [1.0]
    seen = rng.multinomial(n, shares, draws)
    for mean in ends[1:]:
        chances = []
        for other in _likely(values, shares, mean, top):
            drawn = rng.multinomial(n, other, draws)
            ratio = np.log(np.maximum(other, 1e-300)) - np.log(np.maximum(shares, 1e-300))
            under, here = np.round(drawn @ ratio, 9), np.round(seen @ ratio, 9)
            cut = np.quantile(under, 0.025, method="inverted_cdf")
            below, at = (under < cut).mean(), (under == cut).mean()
            randomised = (0.025 - below) / at
            chances.append(1 - (here < cut).mean() - randomised * (here == cut).mean())
        kept.append(max(chances))
        if kept[-1] < 1e-4:
            break
    return float(np.trapezoid(kept, ends[: len(kept)]))


def _likely(values: Array, shares: Array, mean: float, top: int) -> list[Array]:
    """Distributions with this mean that are hard to tell from the truth."""
    truth = float(values @ shares)
    moved = (mean - truth) / (values[top] - truth)
    found = [(1 - moved) * shares + moved * (np.arange(len(values)) == top)]
    for tilted in (
        lambda tilt: shares * np.exp(tilt * (values - values[top])),
        lambda tilt: (
            shares / np.maximum(1 + 1e-9 - tilt / (1 + tilt) * (values - truth) / (values[top] - truth), 1e-12)
        ),
    ):
        low, high = 0.0, 1e6
        for _ in range(200):
            tilt = (low + high) / 2
            weights = tilted(tilt)
            low, high = (tilt, high) if float(values @ weights) / weights.sum() < mean else (low, tilt)
        weights = tilted(low) / tilted(low).sum()
        if abs(float(values @ weights) - mean) < 1e-3 * (mean - truth) + 1e-9:
            found.append(weights)
    return found


# -- coverage ---------------------------------------------------------------------------------------------------------


def coverage(claims: Claims, runs: int) -> None:
    for name, draw in KINDS.items():
        for repeats in REPEATS:
            before, after = draw(np.random.default_rng(99), LARGE, repeats)
            differences = after.mean(axis=1) - before.mean(axis=1)
            truth, spread = float(differences.mean()), float(differences.std())
            if name.startswith("right/wrong") and "3 to 1" not in name:
                truth = 0.0
            for n in SIZES:
                covered, width, method = cell(draw, n, repeats, runs, truth)
                share, least = wilson(covered, runs), 0.94 if n >= 80 else 0.92
                where = f"{name}, n {n}, {repeats} repeat{'s' if repeats > 1 else ''} ({method})"
                claims.add(
                    f"coverage of 95%: {where} [{share.low:.1%}, {share.high:.1%}]",
                    share.estimate, least, "target", share.estimate / least, "≥ 1", holds=share.estimate >= least,
                )  # fmt: skip
                known = 2 * 1.96 * spread / math.sqrt(n)
                oracle = known
                if name.startswith("right/wrong"):
                    values, counts = np.unique(np.round(differences, 9), return_counts=True)
                    oracle = pratt(values, counts / LARGE, n)
                claims.add(
                    f"mean width: {where}; {width / known:.2f} of 1.96 true standard errors",
                    width, oracle, "oracle", width / oracle, "≤ 1.15", holds=width / oracle <= 1.15,
                )  # fmt: skip


def cell(draw: Draw, n: int, repeats: int, runs: int, truth: float) -> tuple[int, float, str]:
    """How many intervals hold the truth, their mean width, and the method that most of them are by."""
    rng = np.random.default_rng([1, n, repeats])
    covered, widths, methods, known = 0, [], [], {}
    for run in range(runs):
        before, after = draw(rng, n, repeats)
        key = np.sort(after.mean(axis=1) - before.mean(axis=1)).tobytes()
        if key not in known:
            known[key] = paired_interval(before, after, resamples=RESAMPLES, seed=run)
        found = known[key]
        covered += found.interval.low <= truth <= found.interval.high
        widths.append(found.interval.high - found.interval.low)
        methods.append(found.method)
    return covered, float(np.mean(widths)), max(set(methods), key=methods.count)


def rivals(runs: int) -> None:
    """Printed beside the grid: what BCa and the bootstrap-t alone would have done."""
    print(f"\ncoverage of 95% (mean width by 1.96 true standard errors), {runs:,} runs: ours; bootstrap-t alone; BCa")
    for name in (
        "right/wrong, 5% differ",
        "right/wrong, 20% differ",
        "skewed, 0 to 1",
        "skewed, exponential",
        "heavy-tailed",
    ):
        before, after = KINDS[name](np.random.default_rng(99), LARGE, 1)
        differences = (after - before)[:, 0]
        truth = 0.0 if name.startswith("right") else float(differences.mean())
        for n in SIZES:
            known = 2 * 1.96 * float(differences.std()) / math.sqrt(n)
            rng, hits, widths = np.random.default_rng([11, n]), np.zeros(3), np.zeros(3)
            for run in range(runs):
                before, after = KINDS[name](rng, n, 1)
                x = (after - before)[:, 0]
                own = paired_interval(before, after, resamples=RESAMPLES, seed=run).interval
                for at, (low, high) in enumerate(((own.low, own.high), _studentised(x, run), _bca(x, run))):
                    hits[at] += low <= truth <= high
                    widths[at] += (high - low) / runs / known
            shown = "; ".join(f"{hit / runs:.1%} ({width:.2f})" for hit, width in zip(hits, widths, strict=True))
            print(f"     {name}, n {n}: {shown}", flush=True)


def _studentised(x: Array, seed: int) -> tuple[float, float]:
    """The bootstrap-t by itself; where nothing, or only one kind of departure, was seen it has no ends: the mean."""
    error, mean = float(x.std(ddof=1)) / math.sqrt(len(x)), float(x.mean())
    if error == 0:
        return mean, mean
    values, counts = np.unique(x, return_counts=True)
    below, above = tails(studentised(x, float(values[counts.argmax()]), seed, RESAMPLES), 0.95)
    return max(mean - above * error, -10.0), min(mean - below * error, 10.0)


def _bca(x: Array, seed: int) -> tuple[float, float]:
    if not x.std():
        return float(x.mean()), float(x.mean())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of nearly all alike
        found = stats.bootstrap(
            (x,), np.mean, n_resamples=1_999, method="BCa", confidence_level=0.95, rng=np.random.default_rng(seed)
        ).confidence_interval
    return (float(found.low), float(found.high)) if np.isfinite(found.low + found.high) else (float(x.mean()),) * 2


def latency(runs: int) -> None:
    """Printed beside the grid: no target was set for it."""
    print("\ncoverage of 95% intervals for the ratio of latencies (log-normal, the slow ones slower):")
    for quantile, n in ((0.5, 20), (0.5, 80), (0.5, 300), (0.95, 80), (0.95, 300)):
        rng, covered = np.random.default_rng(3), 0
        for run in range(runs):
            shared = rng.lognormal(0, 0.5, n)
            before, after = shared * rng.lognormal(0, 0.3, n), 1.2 * shared * rng.lognormal(0, 0.3, n)
            found = quantile_ratio_interval(before, after, quantile, seed=run)
            covered += found is not None and found.low <= 1.2 <= found.high
        share = wilson(covered, runs)
        print(f"     P{100 * quantile:g}, n {n}: {share.estimate:.1%} [{share.low:.1%}, {share.high:.1%}]", flush=True)


# -- errors -----------------------------------------------------------------------------------------------------------


def family(claims: Claims, runs: int) -> None:
    """Four variants that differ from the control by chance only."""
    for name, n, repeats in (
        ("right/wrong", 80, 1),
        ("right/wrong", 80, 3),
        ("right/wrong", 300, 1),
        ("skewed", 80, 1),
    ):
        rng, alarms = np.random.default_rng(4), 0
        for run in range(runs):
            if name == "skewed":
                scores = rng.beta(0.6, 2.4, (5, n, 1)) * rng.beta(2, 1, n)[:, None]
            else:
                scores = (rng.random((5, n, repeats)) < rng.beta(2, 1, n)[:, None]).astype(float)
            verdict = decide(
                [ArmScores(str(at), {"s": values}) for at, values in enumerate(scores)],
                primary="s", control="0", margin=0.0, seed=run,
            )  # fmt: skip
            alarms += any(contrast.decision in ("better", "worse") for contrast in verdict.contrasts)
        report(claims, f"family-wise error, 4 variants, {name}, n {n}, {repeats} repeats", alarms, runs)


def report(claims: Claims, what: str, alarms: int, runs: int) -> None:
    share = wilson(alarms, runs, 0.99)
    claims.add(
        f"{what}, 99% Monte Carlo interval [{share.low:.2%}, {share.high:.2%}]",
        share.high, 0.065, "bound", share.high / 0.065, "< 1", holds=share.high < 0.065,
    )  # fmt: skip


def first_time(found: Array, threshold: float) -> Array:
    """(runs,) examples until `found` (runs, n) reaches the threshold, infinite if never."""
    there = found >= threshold
    return np.where(there.any(axis=1), there.argmax(axis=1) + 1, np.inf)


def stops(differences: Array, margin: float, alpha: float) -> tuple[Array, Array]:
    """(runs,) examples until better or worse, and until equivalent, is clear. Together these are the interval's rule."""
    planned = differences.shape[1]
    values, threshold = (differences + 1) / 2, math.log(2 / alpha)

    def above(mean: float) -> Array:
        return first_time(evidence(values, (mean + 1) / 2, alpha / 2, planned), threshold)

    def below(mean: float) -> Array:
        return first_time(evidence(1 - values, (1 - mean) / 2, alpha / 2, planned), threshold)

    return np.minimum(above(0.0), below(0.0)), np.maximum(above(-margin), below(margin))


def sequential(claims: Claims, runs: int) -> None:
    """Right/wrong answers of which `differ` are judged differently, looked at after each example, then at the end."""
    alpha = 0.05 * EARLY
    for kind, n in (("5%", 300), ("20%", 300), ("20%", 1_000), ("skewed", 300)):
        rng = np.random.default_rng(5)
        draw = bounded_null if kind == "skewed" else right_wrong(float(kind[:-1]) / 100, 0.0)
        pairs = [draw(rng, n, 1) for _ in range(runs)]
        differences = np.stack([(after - before)[:, 0] for before, after in pairs])
        clear, _ = stops(differences, 0.0, alpha)
        early = clear < n
        late = [at for at in np.flatnonzero(~early) if not _holds(*pairs[at], 1 - 0.05 * (1 - EARLY), int(at))]
        report(claims, f"sequential error, {n} looks, {kind} differ", int(early.sum()) + len(late), runs)
    print(
        "\nwhat stopping saves, of 300 (or 1,000) planned examples, margin 0.05; stopped early of all runs; mean saving:"
    )
    for differ, lean, n in (
        (0.05, 0.0, 300), (0.2, 0.0, 300), (0.2, 0.5, 300), (0.2, 0.8, 300), (0.05, 0.0, 1_000), (0.2, 0.0, 1_000),
        (0.2, 0.5, 1_000),
    ):  # fmt: skip
        fate = np.random.default_rng(6).random((runs // 2, n))
        differences = np.where(fate < differ * (1 + lean) / 2, 1.0, np.where(fate < differ, -1.0, 0.0))
        clear, equal = stops(differences, 0.05, alpha)
        stop = np.minimum(np.minimum(clear, equal), n)
        print(
            f"     {differ:.0%} differ, true difference {differ * lean:+.2f}, {n:,} planned: {(stop < n).mean():.0%} stopped, "
            f"saving {1 - stop.mean() / n:.0%}",
            flush=True,
        )


def bounded_null(rng: np.random.Generator, n: int, repeats: int) -> tuple[Array, Array]:
    """Two skewed scores between 0 and 1, alike in distribution."""
    shared = rng.beta(2, 1, n)[:, None]
    before, after = (shared * rng.beta(0.6, 2.4, (n, repeats)) for _ in range(2))
    return before, after


def _holds(before: Array, after: Array, level: float, seed: int) -> bool:
    interval = paired_interval(before, after, level=level, resamples=RESAMPLES, seed=seed).interval
    return interval.low <= 0 <= interval.high


# -- speed ------------------------------------------------------------------------------------------------------------


def speed(claims: Claims) -> None:
    rng = np.random.default_rng(7)
    shared = rng.beta(2, 1, (10, 1, 10_000))
    uniform = rng.random((10, 4, 10_000))
    scores = np.where(np.arange(10)[:, None, None] < 5, uniform < shared, shared * uniform)
    began = time.perf_counter()
    ours = [paired_interval(s[0], s[at], level=1 - 0.05 / 3) for s in scores for at in (1, 2, 3)]
    mine = time.perf_counter() - began
    began = time.perf_counter()
    theirs = [
        stats.bootstrap(
            (s[at] - s[0],), np.mean, n_resamples=9_999, method="percentile", batch=500, confidence_level=1 - 0.05 / 3,
            rng=np.random.default_rng(8),
        ).confidence_interval
        for s in scores
        for at in (1, 2, 3)
    ]  # fmt: skip
    peer = time.perf_counter() - began
    apart = max(abs(o.interval.low - t.low) / (t.high - t.low) for o, t in zip(ours, theirs, strict=True))
    print(f"     limits agree within {apart:.1%} of the width; methods: {', '.join(sorted({o.method for o in ours}))}")
    claims.add(
        "seconds for 10,000 examples x 4 variants x 10 scores, all paired intervals",
        mine, peer, "scipy.stats.bootstrap in a loop", peer / mine, "≥ 20", holds=peer / mine >= 20,
    )  # fmt: skip


def main() -> None:
    """Print, and with --json write, one line for each claim."""
    parser = arguments(__doc__)
    parser.add_argument("--runs", type=int, default=4_000)
    parser.add_argument("--only", choices=("coverage", "errors", "speed", "rivals"))
    options = parser.parse_args()
    began, claims = time.perf_counter(), Claims()
    if options.only in (None, "speed"):
        speed(claims)
    if options.only in (None, "errors"):
        family(claims, options.runs)
        sequential(claims, options.runs)
    if options.only in (None, "rivals"):
        rivals(max(200, options.runs // 4))
    if options.only in (None, "coverage"):
        coverage(claims, options.runs)
        latency(max(200, options.runs // 10))
    print(f"\n{time.perf_counter() - began:.0f} s")
    claims.write(options.json)


if __name__ == "__main__":
    main()
