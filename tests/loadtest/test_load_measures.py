"""The figures of a load test, against numpy and values worked out by hand."""

from __future__ import annotations

import heapq
import math

import numpy as np
import pytest
from loadtest_doubles import LOAD, cell_of, sample, waves

from workbench.loadtest.measures import METRICS, Cell, Sample, figure, interval, percentiles, ratio_interval
from workbench.loadtest.plan import Load, Target

SPEED, P50, P95, P99 = (METRICS[name] for name in ("tokens_per_second", "latency_p50", "latency_p95", "latency_p99"))
NONE = Target()


def test_percentiles_are_those_of_numpy() -> None:
    """With linear interpolation: 1 to 100 has P50 50.5, P95 95.05 and P99 99.01."""
    assert pytest.approx((50.5, 95.05, 99.01)) == percentiles(range(1, 101))
    values = np.random.default_rng(0).lognormal(size=137)
    assert pytest.approx(tuple(np.percentile(values, [50, 95, 99]))) == percentiles(values)
    assert percentiles([]) is None


def test_time_per_output_token() -> None:
    """(latency - TTFT) / (tokens - 1); of one token, or with a part unknown, there is none."""
    assert pytest.approx(0.2) == sample(1.0, latency=1.0, ttft=0.4, tokens=4).tpot
    without = (
        sample(1.0, tokens=1),
        sample(1.0, tokens=None),
        sample(1.0, ttft=None),
        sample(1.0, error="ServerError"),
    )
    assert [None] * 4 == [request.tpot for request in without]


@pytest.mark.parametrize(
    ("request_", "target", "good"),
    [
        (sample(1), Target(ttft=0.4, tpot=0.2, latency=1.0), True),
        (sample(1), Target(ttft=0.39), False),
        (sample(1), Target(tpot=0.19), False),
        (sample(1), Target(latency=0.9), False),
        (sample(1, tokens=1), Target(tpot=0.01), True),
        (sample(1, tokens=0, ttft=None), Target(latency=5), False),
        (sample(1, ttft=None), Target(ttft=1), None),
        (sample(1, tokens=None), Target(tpot=1), None),
        (sample(1, ttft=None), Target(ttft=1, latency=0.5), None),
        (sample(1, error="ServerError"), Target(ttft=9), False),
    ],
)
def test_a_good_request(request_: Sample, target: Target, good: bool | None) -> None:
    """It worked and kept every target, to the very value; what is unknown is not guessed."""
    assert good is request_.good(target)


def test_figures_by_hand() -> None:
    """Eight requests in two waves of four, 1 s and 4 tokens each, one of them failed: 28 tokens and 7 answers in 2 s."""
    samples = [*waves(7), sample(2.0, error="ServerError", due=1.0)]
    samples[0] = sample(1.0, ttft=0.7)
    cell = cell_of(samples)
    target = Target(ttft=0.5, tpot=0.25)
    found = {name: figure(cell, metric, target) for name, metric in METRICS.items()}
    expected = {"tokens_per_second": 14.0, "requests_per_second": 3.5, "goodput": 3.0, "ttft_p50": 0.4, "ttft_p99": 0.682,
                "tpot_p50": 0.2, "latency_p50": 1.0, "latency_p99": 1.0}  # fmt: skip
    assert pytest.approx(expected) == {name: found[name] for name in expected}
    assert (2.0, 7, {"ServerError": 1}) == (cell.seconds, len(cell.worked), dict(cell.errors))
    assert (4.0, 4, 4) == cell.lengths("output_tokens")


def test_what_is_unknown_is_none() -> None:
    """No tokens counted, no pieces, no target, nothing at all: no figure, and never 0."""
    silent = cell_of([sample(1, tokens=None, ttft=None, prompt=None)] * 9)
    assert [None] * 4 == [
        figure(silent, METRICS[name], NONE) for name in ("tokens_per_second", "ttft_p50", "tpot_p95", "goodput")
    ]
    assert 1.0 == figure(silent, P50, NONE)
    assert silent.lengths("output_tokens") is None
    empty = cell_of([])
    assert [None, None, None] == [
        figure(empty, SPEED, NONE),
        interval(empty, P50, NONE),
        empty.lengths("prompt_tokens"),
    ]
    failed = cell_of([sample(1.0, error="ServerError", due=0.0)] * 9)
    assert [0.0, None] == [figure(failed, SPEED, NONE), figure(failed, P50, NONE)]


def test_an_open_loop_counts_from_when_requests_were_due() -> None:
    """The time of the whole is from the first request's turn to the last one's end."""
    late = [Sample(due, due + 0.5, due + 2.0, 1.0, 2.0, 20, 4) for due in (0.0, 1.0, 6.0)]
    assert pytest.approx(12 / 8) == figure(cell_of(late, load=Load(rate=1.0)), SPEED, NONE)


def test_equal_requests_have_intervals_without_width() -> None:
    """Where nothing varies, nothing is in doubt: half the latency is twice the speed."""
    slow, fast = cell_of(waves(16)), cell_of(waves(16, latency=0.5))
    for metric, ratio in ((SPEED, 2.0), (P50, 0.5)):
        found = ratio_interval(fast, slow, metric, NONE)
        assert found is not None
        assert pytest.approx((ratio, ratio, ratio, 0.95)) == tuple(found)


def test_a_percentile_that_cannot_be_bounded_has_no_interval() -> None:
    """P95 needs 72 requests and P99 368, so that the slowest lies above it 39 times of 40; anything needs 8."""
    for metric, least in ((P50, 8), (P95, 72), (P99, 368)):
        assert interval(cell_of(waves(least - 1)), metric, NONE) is None
        assert interval(cell_of(waves(least)), metric, NONE) is not None
    assert interval(cell_of(waves(7)), SPEED, NONE) is None


def test_nothing_is_divided_by_zero() -> None:
    """A goodput of 0, in the whole or in some resamples, gives no ratio."""
    target = Target(latency=1.0)
    good, none = cell_of(waves(16)), cell_of(waves(16, latency=2.0))
    rare = cell_of([*waves(15, latency=2.0), sample(9.0)])
    assert ratio_interval(good, none, METRICS["goodput"], target) is None
    assert ratio_interval(good, rare, METRICS["goodput"], target) is None
    assert ratio_interval(none, good, METRICS["goodput"], target) is not None


def simulated(workers: int, count: int, rng: np.random.Generator, *, shared: float, own: float) -> Cell:
    """A closed loop: log-normal latencies around 1 s, with a part that each wave of requests shares."""
    free = [(0.0, worker) for worker in range(workers)]
    samples, wave = [], 0.0
    for number in range(count):
        if number % workers == 0:
            wave = rng.normal(0, shared)
        at, worker = heapq.heappop(free)
        latency = math.exp(wave + rng.normal(0, own))
        samples.append(sample(at + latency, latency, due=at, tokens=32))
        heapq.heappush(free, (at + latency, worker))
    return cell_of(samples, load=Load(concurrency=workers))


@pytest.mark.parametrize(("workers", "count"), [(1, 32), (4, 32), (16, 128)])
def test_intervals_cover_when_requests_slow_each_other_down(workers: int, count: int) -> None:
    """200 simulated tests whose waves share most of their variation: the interval of the speed holds the truth in most.

    Resampling single requests, as if they were independent, holds it in a third of the tests with 16 at once.
    """
    rng = np.random.default_rng(7)
    cells = [simulated(workers, count, rng, shared=0.15, own=0.02) for _ in range(200)]
    truth = np.mean([figure(cell, SPEED, NONE) for cell in cells])
    found = [interval(cell, SPEED, NONE, seed=seed) for seed, cell in enumerate(cells)]
    assert sum(item is not None and item.low <= truth <= item.high for item in found) >= 165


def test_intervals_repeat() -> None:
    """The same requests give the same interval; another seed hardly another one."""
    cell = simulated(4, 64, np.random.default_rng(1), shared=0.1, own=0.1)
    first, again, other = (interval(cell, SPEED, NONE, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first is not None
    assert other is not None
    assert first != other
    assert pytest.approx(first.low, rel=0.03) == other.low


def test_loads_of_many_requests_are_quick_enough() -> None:
    """Resamples are fewer where there are many requests: 50,000 of them take no minute and no gigabyte."""
    rng = np.random.default_rng(0)
    ends = np.sort(rng.uniform(0, 1000, 50_000))
    cell = cell_of(
        [sample(float(end), float(latency)) for end, latency in zip(ends, rng.lognormal(size=50_000), strict=True)],
        load=LOAD,
    )
    found = interval(cell, P99, NONE)
    assert found is not None
    assert found.low < found.estimate < found.high
