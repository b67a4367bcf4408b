"""What was measured, and the figures made of it.

TTFT     time to first token: from when a request was due (or sent, in a closed loop) to the first piece of its answer.
TPOT     time per output token after the first: (latency - TTFT) / (output tokens - 1), one value a request, not defined for
         answers of one token; vLLM's benchmark defines it so (vllm/benchmarks/serve.py), as do Zhong et al. (below).
latency  end to end: to the last byte of the answer.
P50, P95, P99 are percentiles with linear interpolation, as numpy.percentile makes them, over the requests that worked.
tokens/s, requests/s: output tokens and answers of all of a load's requests, by the time from the first to the last of them.
goodput  answers a second that keep every stated target. Zhong et al. (2024), "DistServe", OSDI, arXiv:2401.09670, call goodput
         the highest rate at which a stated share of requests keeps its targets; vLLM's benchmark reports this count a second at
         the rate that was run, and so does this: over a sweep of rates, the two meet.

Intervals: requests that ran together slow each other down, so they are not resampled one by one but in runs of neighbours
(circular block bootstrap: Politis and Romano 1992, in LePage and Billard, Exploring the Limits of Bootstrap, 263), in the order
in which they ended; a run is as long as there were requests in flight. With few such runs percentile intervals are too narrow, so
they are expanded (Hesterberg 2015, The American Statistician 69, 371, section 5.3, with runs for observations). For throughput
each request carries its part of the time: in a closed loop in proportion to how long it took, since the number in flight is given
(Little 1961, Operations Research 9, 383: throughput = in flight / mean time), in an open loop the time since the one before it
ended. A percentile has no interval where even the slowest request may lie below it (q**n > 2.5%: P95 needs 72 requests, P99 368).
All of it knows the variation within one run only: in simulated closed loops whose waves of requests share their speed it covered
90 to 95%, with a speed that drifts slowly through the run 57 to 84%.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from workbench.loadtest.plan import Load, Target
from workbench.records import Interval

__all__ = ["METRICS", "Cell", "Metric", "Sample", "figure", "interval", "percentiles", "ratio_interval"]

Array = npt.NDArray[np.float64]

_LEVEL = 0.95
_FEWEST = 8
_RESAMPLES = (200, 2_000)
_WORK = 20_000_000  # resampled requests, at most


class Sample(NamedTuple):
    """One measured request. Seconds; due, sent and ended count from when its load began, and due is sent in a closed loop.

    ttft, latency: counted from `due`; None where it failed, and ttft where the answer did not come in pieces. Tokens: as the
    server counted, None where it did not. error: the class of a failure.
    """

    due: float
    sent: float
    ended: float
    ttft: float | None = None
    latency: float | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    error: str | None = None

    @property
    def tpot(self) -> float | None:
        """Seconds for each token after the first; None for answers of one token, and where a part is unknown."""
        if self.ttft is None or self.latency is None or self.output_tokens is None or self.output_tokens < 2:
            return None
        return (self.latency - self.ttft) / (self.output_tokens - 1)

    def good(self, target: Target) -> bool | None:
        """Whether it worked and kept the target; None where that is unknown. One token has no TPOT to be too long."""
        if self.error is not None or self.output_tokens == 0:
            return False
        for value, limit in ((self.ttft, target.ttft), (self.latency, target.latency)):
            if limit is not None and value is None:
                return None
            if limit is not None and value is not None and value > limit:
                return False
        if target.tpot is None or self.output_tokens == 1:
            return True
        return None if self.tpot is None else self.tpot <= target.tpot


@dataclass(frozen=True)
class Cell:
    """One model under one load.

    planned: requests that were asked for. lag: (P50, P99) seconds by which this process was late in what it had to do.
    slip: P99 of the seconds by which requests were sent after they were due. foreign: requests of others that the server
    answered meanwhile, prefix_share: share of the prompts' tokens that its prefix cache held; None where it does not tell.
    busy: requests that it was at before the load began. said: the first message of each class of failure, in one line.
    """

    model: str
    load: Load
    planned: int
    samples: tuple[Sample, ...]
    started_at: float
    lag: tuple[float, float] | None = None
    slip: float = 0.0
    foreign: float | None = None
    prefix_share: float | None = None
    busy: float | None = None
    said: Mapping[str, str] = field(default_factory=dict)

    @property
    def worked(self) -> tuple[Sample, ...]:
        """The requests that were answered."""
        return tuple(sample for sample in self.samples if sample.error is None)

    @property
    def errors(self) -> Counter[str]:
        """How many failed, by class."""
        return Counter(sample.error for sample in self.samples if sample.error is not None)

    @property
    def seconds(self) -> float:
        """From the first request's turn to the end of the last."""
        return max((s.ended for s in self.samples), default=0.0) - min((s.due for s in self.samples), default=0.0)

    def lengths(self, name: str) -> tuple[float, int, int] | None:
        """(mean, least, most) of prompt_tokens or output_tokens; None if any is unknown."""
        counts = [getattr(sample, name) for sample in self.worked]
        if not counts or None in counts:
            return None
        return sum(counts) / len(counts), min(counts), max(counts)


class _Requests:
    """The requests of a cell as arrays (n,), in the order in which they ended; NaN where unknown, or where one failed."""

    def __init__(self, cell: Cell, target: Target) -> None:
        ordered = sorted(cell.samples, key=lambda sample: sample.ended)
        nan = math.nan
        self.n = len(ordered)
        self.ttft = np.array([nan if s.ttft is None else s.ttft for s in ordered])
        self.tpot = np.array([nan if s.tpot is None else s.tpot for s in ordered])
        self.latency = np.array([nan if s.latency is None else s.latency for s in ordered])
        self.worked = np.array([float(s.error is None) for s in ordered])
        self.tokens = np.array(
            [0.0 if s.error else nan if s.output_tokens is None else s.output_tokens for s in ordered]
        )
        good = [s.good(target) if target else None for s in ordered]
        self.good = np.array([nan if g is None else float(g) for g in good])
        start = min((s.due for s in ordered), default=0.0)
        took = np.array([s.ended - s.sent for s in ordered])
        self.part = np.diff([start, *(s.ended for s in ordered)])
        together = took.sum() / max(float(self.part.sum()), 1e-9)
        if cell.load.concurrency is not None and took.sum() > 0:
            self.part = took / together
        self.block = min(max(round(together), math.ceil(self.n ** (1 / 3))), max(1, self.n // 4))


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a cell. title: for people. unit: s, /s. smaller: whether smaller is better. share: of a percentile."""

    name: str
    title: str
    unit: str
    smaller: bool
    share: float | None = field(default=None)
    values: Callable[[_Requests], Array] = field(repr=False, default=lambda requests: requests.latency)


def _of(name: str) -> Callable[[_Requests], Array]:
    return lambda requests: getattr(requests, name)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("tokens_per_second", "tokens/s", "/s", False, None, _of("tokens")),
        Metric("requests_per_second", "requests/s", "/s", False, None, _of("worked")),
        Metric("goodput", "goodput", "/s", False, None, _of("good")),
        *(
            Metric(f"{name}_p{percent}", f"{title} P{percent}", "s", True, percent / 100, _of(name))
            for name, title in (("ttft", "TTFT"), ("tpot", "TPOT"), ("latency", "latency"))
            for percent in (50, 95, 99)
        ),
    )
}
"""Every figure of a cell, by its name."""


def percentiles(values: Sequence[float]) -> tuple[float, float, float] | None:
    """(P50, P95, P99), linear interpolation; None without values."""
    if not len(values):
        return None
    p50, p95, p99 = np.percentile(np.asarray(values, dtype=float), (50, 95, 99))
    return float(p50), float(p95), float(p99)


def figure(cell: Cell, metric: Metric, target: Target) -> float | None:
    """The figure of a cell, None if unknown."""
    if not cell.samples:
        return None
    found = _compute(metric, _Requests(cell, target), None)
    return None if math.isnan(found[0]) else float(found[0])


def interval(cell: Cell, metric: Metric, target: Target, *, seed: int = 0) -> Interval | None:
    """The figure with its 95% interval; None if there are too few requests for one."""
    resampled = _resampled(cell, metric, target, seed)
    if resampled is None or not np.isfinite(resampled.drawn).all():
        return None
    return Interval(resampled.estimate, *_ends(resampled.drawn, resampled.runs), _LEVEL)


def ratio_interval(cell: Cell, base: Cell, metric: Metric, target: Target, *, seed: int = 0) -> Interval | None:
    """The figure of `cell` divided by that of `base`, with its 95% interval; None if there are too few requests for one."""
    over, under = _resampled(cell, metric, target, seed), _resampled(base, metric, target, seed + 1)
    if over is None or under is None or under.estimate <= 0:
        return None
    count = min(len(over.drawn), len(under.drawn))
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = over.drawn[:count] / under.drawn[:count]
    if not np.isfinite(drawn).all():
        return None
    return Interval(over.estimate / under.estimate, *_ends(drawn, min(over.runs, under.runs)), _LEVEL)


class _Resampled(NamedTuple):
    """A figure, what it is in resamples of its cell's requests, and how many runs of neighbours there were to draw from."""

    estimate: float
    drawn: Array
    runs: float


def _resampled(cell: Cell, metric: Metric, target: Target, seed: int) -> _Resampled | None:
    requests = _Requests(cell, target) if cell.samples else None
    if requests is None:
        return None
    worked = int(requests.worked.sum())
    if worked < _FEWEST or (metric.share is not None and metric.share**worked > (1 - _LEVEL) / 2):
        return None
    estimate = float(_compute(metric, requests, None)[0])
    if math.isnan(estimate):
        return None
    rng = np.random.default_rng(seed)
    least, most = _RESAMPLES
    count = int(min(most, max(least, _WORK // requests.n)))
    parts = []
    for start in range(0, count, 100):
        size = min(100, count - start)
        first = rng.integers(requests.n, size=(size, math.ceil(requests.n / requests.block)))
        drawn = (first[:, :, None] + np.arange(requests.block)) % requests.n
        parts.append(_compute(metric, requests, drawn.reshape(size, -1)[:, : requests.n]))
    return _Resampled(estimate, np.concatenate(parts), requests.n / requests.block)


def _compute(metric: Metric, requests: _Requests, drawn: npt.NDArray[np.int64] | None) -> Array:
    """The figure of the requests (drawn None: (1,)), or of each resample: drawn (resamples, n) -> (resamples,)."""
    drawn = np.arange(requests.n)[None, :] if drawn is None else drawn
    values = metric.values(requests)[drawn]
    if metric.share is None:
        seconds = requests.part[drawn].sum(axis=1)
        return np.asarray(values.sum(axis=1) / np.where(seconds > 0, seconds, np.nan))
    known = ~np.isnan(values)
    if known.all():
        return np.asarray(np.percentile(values, 100 * metric.share, axis=1))
    return np.array(
        [
            np.percentile(row[there], 100 * metric.share) if there.any() else np.nan
            for row, there in zip(values, known, strict=True)
        ]
    )


def _ends(drawn: Array, runs: float) -> tuple[float, float]:
    """Both ends of the interval, from the resamples."""
    from scipy.special import ndtr, stdtrit

    tail = float(ndtr(math.sqrt(runs / (runs - 1)) * stdtrit(runs - 1, (1 - _LEVEL) / 2)))
    low, high = np.percentile(drawn, (100 * tail, 100 * (1 - tail)))
    return float(low), float(high)
