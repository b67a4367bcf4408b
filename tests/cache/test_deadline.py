"""The deadline of a look-up: it ends what takes too long, and only that."""

from __future__ import annotations

import asyncio

import pytest

from workbench.cache.deadline import Deadline


async def test_what_takes_too_long_is_ended() -> None:
    """As a TimeoutError; the task goes on."""
    with pytest.raises(TimeoutError):
        async with Deadline(0.001):
            await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_cancelling_from_outside_stays_a_cancellation() -> None:
    """It is not taken for the deadline's."""
    begun = asyncio.Event()

    async def work() -> None:
        async with Deadline(60):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_busy_event_loop_does_not_end_what_has_its_answer() -> None:
    """While the loop was busy the answer came, and the timer was due: the answer counts."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()

    def busy() -> None:
        until = loop.time() + 0.4
        while loop.time() < until:
            pass
        loop.call_soon(loop.call_soon, answer.set_result, "here")

    loop.call_soon(busy)
    async with Deadline(0.2):
        assert await answer == "here"


async def test_an_error_inside_passes() -> None:
    """Unchanged."""
    with pytest.raises(KeyError):
        async with Deadline(60):
            raise KeyError
