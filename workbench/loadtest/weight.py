"""What a prompt token takes of a server's time where an output token takes 1, fitted to a load's own requests.

The time of a load is cut into windows that end with every so-many-th answer, as many as were in flight. Each window has the
seconds in which anything was in flight, the uncached prompt tokens of the answers that began in it, and the output tokens that
were streamed in it; seconds = a x prompt tokens + b x output tokens, least squares with a and b not negative, and the weight is
a / b. What a request costs besides counts to its output tokens. The interval is a bootstrap over pairs of neighbouring windows.
Where prompts are all of one length, prompt and output tokens rise together and no data can tell a from b: then there is no
weight, and it is said why.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.loadtest.measures import Cell, Sample
from workbench.pricing import FittedWeight

__all__ = ["Unfitted", "fit_weight"]

Array = npt.NDArray[np.float64]

_FEWEST = 12  # windows
_VARIATION = 0.1  # of prompt tokens per output token, among windows: standard deviation by mean
_RESAMPLES, _RUN, _LEVEL = 2_000, 2, 0.95
_WIDEST = (2.0, 0.1)  # an interval wider than this many times the weight, and than this, says too little


class Unfitted(Exception):  # noqa: N818 - an answer, and no error of anybody's
    """The data cannot tell the weight; the message says why, and what to do."""


def fit_weight(cell: Cell, *, source: str = "", seed: int = 0) -> FittedWeight:
    """The weight of a prompt token under this load. source: what to say of where it comes from. Raises Unfitted."""
    samples = [s for s in cell.worked if s.latency is not None]
    if len(samples) < _FEWEST:
        raise Unfitted(f"{len(samples)} answers are too few: give --requests {_FEWEST} or more")
    if any(s.prompt_tokens is None or not s.output_tokens for s in samples):
        raise Unfitted("the server does not count tokens")
    busy = _union(samples)
    in_flight = sum(s.ended - s.sent for s in samples) / max(busy[-1][1], 1e-9)
    seconds, prompts, outputs = _windows(samples, busy, max(1, round(in_flight)))
    if len(seconds) < _FEWEST:
        wanted = math.ceil(_FEWEST * max(1.0, in_flight)) + 1
        raise Unfitted(
            f"{len(samples)} answers at {in_flight:.1f} at once are too few: give --requests {wanted} or more"
        )
    share = prompts / np.maximum(outputs, 1e-9)
    if share.std() < _VARIATION * share.mean() or not prompts.any():
        raise Unfitted("the prompts were all about as long: measure with --weigh, which varies them")
    weight = float(_solve(seconds[None], prompts[None], outputs[None])[0])
    drawn = _solve(*(column[_drawn(len(seconds), seed)] for column in (seconds, prompts, outputs)))
    low, high = (float(np.quantile(drawn, q, method="inverted_cdf")) for q in ((1 - _LEVEL) / 2, (1 + _LEVEL) / 2))
    if not math.isfinite(weight) or high - low > max(_WIDEST[0] * weight, _WIDEST[1]):
        shown = f"{low:.2g} to {high:.2g}" if math.isfinite(high) else f"{low:.2g} and above"
        raise Unfitted(f"its interval is too wide to be of use ({shown}): give more --requests, or longer prompts")
    return FittedWeight(weight, low, high, in_flight, source)


def _union(samples: list[Sample]) -> list[tuple[float, float]]:
    """(moment, busy seconds up to it) at both ends of each stretch in which anything was in flight; between two it is linear."""
    found: list[tuple[float, float]] = []
    total, reach = 0.0, -math.inf
    for sample in sorted(samples, key=lambda s: s.sent):
        if sample.sent > reach:
            found += [(sample.sent, total), (sample.ended, total + sample.ended - sample.sent)]
            total += sample.ended - sample.sent
            reach = sample.ended
        elif sample.ended > reach:
            total += sample.ended - reach
            reach = sample.ended
            found[-1] = (reach, total)
    return found


def _windows(samples: list[Sample], busy: list[tuple[float, float]], size: int) -> tuple[Array, Array, Array]:
    """Busy seconds, uncached prompt tokens and output tokens of each window, (windows,) each."""
    ends = np.array(sorted(s.ended for s in samples))
    edges = np.concatenate([[min(s.sent for s in samples) - 1e-9], ends[size - 1 :: size]])
    moments, seconds = (np.array(column) for column in zip(*busy, strict=True))
    first = np.array([s.sent if s.ttft is None else min(s.due + s.ttft, s.ended) for s in samples])
    last = np.maximum(np.array([s.ended for s in samples]), first + 1e-6)
    prompts: Any = np.array([max((s.prompt_tokens or 0) - (s.cached_tokens or 0), 0) for s in samples], dtype=float)
    rate = np.array([s.output_tokens or 0 for s in samples]) / (last - first)

    def ramps(starts: Array) -> Array:  # sum over requests of rate x (edge - start), of those that began before
        order = np.argsort(starts)
        count = np.searchsorted(starts[order], edges, side="right")
        rates = np.concatenate([[0.0], np.cumsum(rate[order])])
        moved = np.concatenate([[0.0], np.cumsum((rate * starts)[order])])
        return np.asarray(rates[count] * edges - moved[count])

    order = np.argsort(first)
    done = np.concatenate([[0.0], np.cumsum(prompts[order])])[np.searchsorted(first[order], edges, side="right")]
    return np.diff(np.interp(edges, moments, seconds)), np.diff(done), np.diff(ramps(first) - ramps(last))


def _solve(y: Array, p: Array, o: Array) -> Array:
    """The weight a / b of each row of (resamples, windows): least squares with both not negative; infinite where b is 0."""
    pp, po, oo = (p * p).sum(axis=1), (p * o).sum(axis=1), (o * o).sum(axis=1)
    py, oy = (p * y).sum(axis=1), (o * y).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (py * oo - oy * po), (oy * pp - py * po)  # both by the same determinant, which is not negative
        return np.asarray(np.where(b <= 0, np.inf, np.maximum(a, 0.0) / b))


def _drawn(windows: int, seed: int) -> npt.NDArray[np.int64]:
    """(resamples, windows) of positions: circular runs of neighbours."""
    starts = np.random.default_rng(seed).integers(windows, size=(_RESAMPLES, math.ceil(windows / _RUN)))
    runs = (starts[:, :, None] + np.arange(_RUN)) % windows
    return np.asarray(runs.reshape(_RESAMPLES, -1)[:, :windows])
