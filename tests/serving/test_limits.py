"""The limiter: turns, budgets, and a concurrency that finds out what a server can take (on a clock of its own)."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Any

import pytest

from workbench.errors import CallTimeoutError, OverloadedError, RateLimitError, ServerError
from workbench.serving.limits import Limiter, limiter_for, most_at_once


class Clock:
    """Seconds that pass when told to; sleeping on it takes no time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


async def use(limiter: Limiter, clock: Clock, calls: int, seconds: Callable[[int], float]) -> list[int]:
    """Send calls as fast as the limiter lets them to a server that takes seconds(n) with n in flight; returns the limits."""
    ends: list[tuple[float, int, float]] = []
    limits = []
    sent = 0
    while sent < calls or ends:
        while sent < calls and limiter.in_flight < int(limiter.limit):
            began = await limiter.enter()
            sent += 1
            heapq.heappush(ends, (clock.now + seconds(limiter.in_flight), sent, began))
        clock.now, _, began = heapq.heappop(ends)
        limiter.leave(began)
        limits.append(int(limiter.limit))
    return limits


async def test_first_come_first_served_and_never_more_than_the_limit() -> None:
    """Ten want in, two may: they go in the order in which they came."""
    limiter = Limiter(2, 2)
    order, most = [], 0

    async def one(number: int) -> None:
        nonlocal most
        began = await limiter.enter()
        most = max(most, limiter.in_flight)
        order.append(number)
        await asyncio.sleep(0)
        limiter.leave(began)

    await asyncio.gather(*(one(number) for number in range(10)))
    assert list(range(10)) == order
    assert 2 == most
    assert 0 == limiter.in_flight


async def test_who_gives_up_waiting_leaves_the_queue_and_passes_a_turn_on() -> None:
    """A cancelled waiter is forgotten, also when its turn had just come."""
    limiter = Limiter(1, 1)
    began = await limiter.enter()
    first, second, third = (asyncio.create_task(limiter.enter()) for _ in range(3))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    limiter.leave(began)  # the second's turn has come …
    second.cancel()  # … and it goes away before it takes it
    await asyncio.wait([first, second, third], timeout=5)
    assert first.cancelled()
    assert second.cancelled()
    assert third.done()
    assert 1 == limiter.in_flight
    limiter.leave(third.result())
    assert 0 == limiter.in_flight


async def test_who_comes_again_at_once_does_not_take_a_turn_that_was_given() -> None:
    """A worker whose call is over asks for its next turn before the one that was waiting has begun."""
    limiter = Limiter(1, 1)
    most = []

    async def work() -> None:
        for _ in range(3):
            began = await limiter.enter()
            most.append(limiter.in_flight)
            await asyncio.sleep(0)
            limiter.leave(began)

    await asyncio.gather(work(), work())
    assert [1] * 6 == most


async def test_an_interrupt_of_all_ends_those_that_wait_too() -> None:
    """Who was in flight leaves while the others are cancelled already, and not yet out of the queue."""
    limiter = Limiter(1, 1)

    async def call() -> None:
        began = await limiter.enter()
        try:
            await asyncio.Event().wait()
        finally:
            limiter.leave(began, answered=False)

    tasks = [asyncio.create_task(call()) for _ in range(3)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [asyncio.CancelledError] * 3 == [type(error) for error in found]
    assert 0 == limiter.in_flight
    await asyncio.wait_for(limiter.enter(), 5)


async def test_it_rises_while_the_server_keeps_its_pace() -> None:
    """Latency that does not rise: additive increase up to the most."""
    clock = Clock()
    limiter = Limiter(2, 40, clock=clock)
    limits = await use(limiter, clock, 2000, lambda at_once: 1.0)
    assert 40 == limits[-1]
    assert sorted(limits) == limits


async def test_it_stays_low_when_few_calls_come() -> None:
    """One call at a time says nothing about twenty at once."""
    clock = Clock()
    limiter = Limiter(4, 40, clock=clock)
    for _ in range(500):
        began = await limiter.enter()
        clock.now += 1.0
        limiter.leave(began)
    assert 4 == int(limiter.limit)


async def test_latency_that_rises_without_throughput_holds_it_back() -> None:
    """A server that works on eight at once, and lets the others wait, ends near twice that and not at 256."""
    clock = Clock()
    limiter = Limiter(2, 256, clock=clock)
    limits = await use(limiter, clock, 6000, lambda at_once: max(1.0, at_once / 8))
    assert 8 <= min(limits[-1000:])
    assert max(limits[-1000:]) <= 28


async def test_what_was_asked_for_by_name_is_lowered_by_refusals_alone() -> None:
    """Latency of a stated number of calls is what is measured, and it rises too where this process is the busy one."""
    clock = Clock()
    limiter = Limiter(2, 64, clock=clock)
    stated = Limiter(40, 40, stated=True, clock=clock)
    with limiter.allow(40):
        for asked in (limiter, stated):
            limits = await use(asked, clock, 2000, lambda at_once: max(1.0, at_once / 8))
            assert [40.0] * 2000 == limits
            asked.leave(await asked.enter(), OverloadedError("503"))
            assert 28 == round(asked.limit)
    limits = await use(limiter, clock, 6000, lambda at_once: max(1.0, at_once / 8))
    assert max(limits[-1000:]) <= 28


async def test_latency_that_rises_with_throughput_does_not() -> None:
    """Batching makes each call slower and all of them faster: 64 at once take three times as long and give 21 times as much."""
    clock = Clock()
    limiter = Limiter(4, 64, clock=clock)
    limits = await use(limiter, clock, 6000, lambda at_once: 1 + at_once / 32)
    assert 48 <= min(limits[-500:])


@pytest.mark.parametrize("error", [RateLimitError("429"), OverloadedError("503"), CallTimeoutError("late")])
async def test_a_refusal_lowers_it_once_for_all_that_were_in_flight(error: Any) -> None:
    """Twenty refusals of one moment are one: times 0.7, and not 0.7 to the twentieth."""
    clock = Clock()
    limiter = Limiter(20, 40, clock=clock)
    began = [await limiter.enter() for _ in range(20)]
    clock.now += 1.0
    for each in began:
        limiter.leave(each, error)
    assert 14 == int(limiter.limit)
    clock.now += 1.0
    later = await limiter.enter()
    limiter.leave(later, error)
    assert 9 == int(limiter.limit)


async def test_other_errors_and_cancelled_calls_teach_nothing() -> None:
    """A 500, or somebody who stopped waiting, is no sign of too many calls."""
    limiter = Limiter(4, 8)
    limiter.leave(await limiter.enter(), ServerError("500"))
    limiter.leave(await limiter.enter(), answered=False)
    assert 4.0 == limiter.limit


async def test_it_never_falls_below_one() -> None:
    """However often it is refused, one call goes through."""
    clock = Clock()
    limiter = Limiter(4, 8, clock=clock)
    for _ in range(30):
        clock.now += 1.0
        limiter.leave(await limiter.enter(), OverloadedError("503"))
    assert 1.0 == limiter.limit


def test_what_one_run_was_allowed_holds_for_that_run() -> None:
    """Afterwards the endpoint's own limit is back."""
    limiter = Limiter(16, 256)
    with limiter.allow(1):
        assert (1.0, 1) == (limiter.limit, limiter.most)
    assert (16.0, 256) == (limiter.limit, limiter.most)


async def test_requests_a_minute() -> None:
    """Sixty a minute: a burst of six, then one a second."""
    clock = Clock()
    limiter = Limiter(100, 100, requests=60, clock=clock, sleep=clock.sleep)
    for _ in range(66):
        limiter.leave(await limiter.enter())
    assert 60.0 == pytest.approx(clock.now - 100.0)
    assert 60 == len(clock.slept)


async def test_who_is_cancelled_gives_its_budget_back() -> None:
    """Six hundred that wait for their pace are stopped: the next one need not wait for ten minutes."""
    clock, asleep = Clock(), asyncio.Event()

    async def sleep(seconds: float) -> None:
        clock.slept.append(seconds)
        await asleep.wait()

    limiter = Limiter(1000, 1000, requests=60, clock=clock, sleep=sleep)
    tasks = [asyncio.create_task(limiter.enter()) for _ in range(606)]
    await asyncio.sleep(0)
    assert 600 == len(clock.slept)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    asleep.set()
    await limiter.enter()
    assert 1.0 == pytest.approx(clock.slept[-1])


async def test_who_waits_too_long_for_a_turn_leaves_the_queue() -> None:
    """Its place is the next one's, and its budget is given back."""
    limiter = Limiter(1, 1, requests=600)
    began = await limiter.enter(patience=10.0)
    before = await limiter._requests.take(0.0)
    with pytest.raises(TimeoutError):
        await limiter.enter(patience=0.01)
    assert before >= await limiter._requests.take(0.0)
    assert "1 in flight, 0 waiting" in repr(limiter)
    limiter.leave(began)
    await limiter.enter(patience=0.01)
    assert 1 == limiter.in_flight


async def test_a_budget_that_will_take_too_long_is_told_at_once() -> None:
    """Nobody waits for what cannot come in time; those who wait longer are not held up by it."""
    clock = Clock()
    limiter = Limiter(8, 8, requests=6, clock=clock, sleep=clock.sleep)  # one at once, then one in ten seconds
    await limiter.enter()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await limiter.enter(patience=9.0)
    assert [] == clock.slept
    await limiter.enter(patience=11.0)
    assert [10.0] == pytest.approx(clock.slept)


async def test_tokens_a_minute_follow_what_was_really_used() -> None:
    """What was taken for a call is corrected by what it used."""
    clock = Clock()
    limiter = Limiter(100, 100, tokens=6000, clock=clock, sleep=clock.sleep)
    for _ in range(10):
        limiter.leave(await limiter.enter(1000), tokens=-900)  # it used only a hundred of them
    # in all 1,000 tokens: 600 at once, the rest at 100 a second; and the last one's reserve
    assert 4.0 <= clock.now - 100.0 <= 14.0
    assert 9 >= len(clock.slept)


def test_settings_make_it(endpoint: Callable[..., Any]) -> None:
    """Kinds begin differently, replicas count, a stated concurrency is where it begins and what it may never exceed."""
    ollama = limiter_for(endpoint("http://a", kind="ollama"))
    vllm = limiter_for(endpoint("http://a", "http://b"))
    stated = limiter_for(endpoint("http://a", concurrency=5))
    assert ollama is not None
    assert vllm is not None
    assert stated is not None
    assert (2.0, 8) == (ollama.limit, ollama.most)
    assert (32.0, 512) == (vllm.limit, vllm.most)
    assert (5.0, 5) == (stated.limit, stated.most)
    assert 5 == most_at_once(endpoint("http://a", concurrency=5))
    assert limiter_for(endpoint(kind="embedded")) is None
    budget = limiter_for(endpoint(kind="scripted", requests_per_minute=60))
    assert budget is not None
    assert 1024.0 == budget.limit
