"""Does the interval of a judge's difference hold once people correct it? A judge that is biased for one variant, 50 and 200
ratings of 1,000 examples.

    python benchmarks/judge_correction.py [--json FILE] [--runs 1000]

Prints how often each 95% interval holds the true difference (what people would say of all), and its mean width: of the judge
alone, of the rated examples alone, and corrected. The claim is that the corrected interval covers as often as it says, and is no
wider than that of the ratings alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from common import Claims, arguments

from workbench.evaluation.judging.correction import corrected_mean
from workbench.evaluation.statistics import paired_interval

EXAMPLES, SPAN = 1_000, (-1.0, 1.0)
Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


def pass_fail(draw: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(2, n) people's and judge's scores: wrong in 15%, and the second variant passes 15% more often than it should."""
    first = draw.random(n) < 0.6
    second = np.where(draw.random(n) < 0.2, ~first, first)
    judged = [np.where(draw.random(n) < 0.85, truth, ~truth) for truth in (first, second)]
    judged[1] = judged[1] | (draw.random(n) < 0.15)
    return np.asarray([first, second], float), np.asarray(judged, float)


def grades(draw: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Five grades; the judge gives the second variant 0.4 of a grade too much."""
    quality = draw.normal(size=n)
    truth = [np.clip(np.round(2 + quality + more + 0.5 * draw.normal(size=n)), 0, 4) for more in (0.0, 0.2)]
    judged = [
        np.clip(np.round(t + more + 0.7 * draw.normal(size=n)), 0, 4) for t, more in zip(truth, (0, 0.4), strict=True)
    ]
    return np.asarray(truth) / 4, np.asarray(judged) / 4


def rare(draw: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Variants that differ in one example of twenty; the judge is wrong in 10%, of the second variant in 20%."""
    first = draw.random(n) < 0.9
    second = np.where(draw.random(n) < 0.05, ~first, first)
    judged = [np.where(draw.random(n) < right, truth, ~truth) for truth, right in ((first, 0.9), (second, 0.8))]
    return np.asarray([first, second], float), np.asarray(judged, float)


def main() -> None:
    """One line a kind of scores and number of ratings; with --json, its claim written."""
    parser = arguments(__doc__)
    parser.add_argument("--runs", type=int, default=1_000)
    options = parser.parse_args()
    runs, claims = options.runs, Claims()
    print(f"{runs:,} runs a line, {EXAMPLES:,} examples; covers, mean width")
    kinds: list[tuple[str, Draw]] = [("pass or fail", pass_fail), ("grades", grades), ("few differ", rare)]
    for name, make in kinds:
        people, judge = make(np.random.default_rng(99), 4_000_000)
        truth, bias = float((people[1] - people[0]).mean()), float((judge[1] - judge[0]).mean())
        for labels in (50, 200):
            draw = np.random.default_rng([labels, len(name)])
            found: dict[str, list[tuple[bool, float]]] = {"judge alone": [], "ratings alone": [], "corrected": []}
            for _ in range(runs):
                seen, judged = make(draw, EXAMPLES)
                rated = np.where(np.arange(EXAMPLES) < labels, seen[1] - seen[0], np.nan)
                corrected = corrected_mean(judged[1] - judged[0], rated, scale=SPAN, resamples=999)
                alone = paired_interval(judged[0], judged[1], resamples=999)
                only = paired_interval(seen[0][:labels], seen[1][:labels], resamples=999)
                assert corrected is not None
                assert alone is not None
                assert only is not None
                for key, (_, low, high, _) in zip(
                    found, (alone.interval, only.interval, corrected.interval), strict=True
                ):
                    found[key].append((low <= truth <= high, high - low))
            means = {key: np.mean(rows, axis=0) for key, rows in found.items()}
            said = "; ".join(f"{key} {100 * covers:.1f}%, {width:.3f}" for key, (covers, width) in means.items())
            print(f"{name}, {labels} rated (truth {truth:+.3f}, judge {bias:+.3f}): {said}", flush=True)
            (covers, width), (_, alone) = (means[key].tolist() for key in ("corrected", "ratings alone"))
            due = 0.94 if labels >= 80 else 0.92  # as in intervals.py
            claims.add(
                f"{name}, {labels} rated: mean width of the corrected interval, which covers in {covers:.1%} of the runs",
                width, alone, "the ratings alone", width / alone, f"<= 1, and covers in {due:.0%}",
                holds=width <= alone and covers >= due,
            )  # fmt: skip
    claims.write(options.json)


if __name__ == "__main__":
    main()
