"""The ledger that workers share, in a real Valkey: money in leases that expire, and budgets a minute."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from workbench.evaluation.shards.ledger import Ledger
from workbench.evaluation.shards.purse import Purse, SharedBucket
from workbench.settings import Endpoint
from workbench.stores.keyvalue import KeyValue


@pytest.fixture(params=["valkey", "valkey-cluster"])
async def ledger(
    request: pytest.FixtureRequest, valkey_of: Callable[[str], str], tmp_path: Path
) -> AsyncIterator[Ledger]:
    kv = KeyValue(valkey_of(request.param), tmp_path)
    ledger = Ledger(kv, secrets.token_hex(8))
    await ledger.open(1.0)
    yield ledger
    await ledger.close()
    await kv.aclose()


async def test_many_workers_never_spend_more_than_there_is(ledger: Ledger) -> None:
    """Eight purses at once, calls that cost less than they may: all but the last bit is spent, and never more."""
    spent = 0.0
    most = 0.0

    async def work(name: str) -> None:
        nonlocal spent, most
        purse = Purse(ledger, name, 0.2, asyncio.sleep)
        begun = 0.0
        while await purse.begin(0.03):
            begun += 0.03
            most = max(most, spent + 0.03)
            await asyncio.sleep(0)
            spent += 0.02
            purse.end(0.03, 0.02)
        await purse.close()

    await asyncio.gather(*(work(str(number)) for number in range(8)))
    assert 0.97 < spent <= 1.0
    assert most <= 1.0 + 0.03 * 8
    assert await ledger.spent() == pytest.approx(spent)


async def test_a_lost_workers_lease_comes_back_but_for_what_it_had_begun(ledger: Ledger) -> None:
    """It leased all; its one call may have been charged; the rest is there for others when the lease has expired, and what the
    lost one believes to have is not."""
    lost = await ledger.turn("lost", take=0.1, want=5.0, seconds=1.0)
    assert lost.ok
    other = await ledger.turn("other", take=0.1)
    assert (other.ok, other.leased, other.left) == (False, 1.0, 0.0)
    await asyncio.sleep(1.05)
    assert (await ledger.turn("other", take=0.9, want=0.9)).ok
    assert not (await ledger.turn("other", take=0.01)).ok
    assert not (await ledger.turn("lost", take=0.01)).ok
    await ledger.turn("other", settled=0.4, ended=0.9)
    assert await ledger.spent() == pytest.approx(0.5)


async def test_who_is_refused_waits_for_what_others_may_give_back(ledger: Ledger) -> None:
    """The first holds all and needs little of it: the second gets the rest when the first is done, and nobody waits for ever."""
    first = Purse(ledger, "first", 1.0, asyncio.sleep)
    second = Purse(ledger, "second", 0.5, asyncio.sleep)
    assert await first.begin(0.6)
    waiting = asyncio.create_task(second.begin(0.5))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    first.end(0.6, 0.1)
    await first.close()
    assert await waiting
    assert not await Purse(ledger, "third", 1.0, asyncio.sleep).begin(1.0)


async def test_a_rate_is_shared(ledger: Ledger) -> None:
    """Three buckets of 1,200 a minute: together, after the burst of a tenth of it, 20 a second, and no less."""
    endpoint = Endpoint("gpu", "vllm", (f"http://{secrets.token_hex(4)}",))
    began, waits = time.monotonic(), list[float]()

    async def work() -> None:
        bucket = SharedBucket(ledger, endpoint, "requests", 1200, 3)
        while len(waits) < 120 + 16:
            waits.append(await bucket.take(1))
            await asyncio.sleep(waits[-1])

    await asyncio.gather(work(), work(), work())
    assert time.monotonic() - began >= (16 - 2) / 20
    assert max(waits) <= 4 / 20  # for those who wait already, however slow this machine is
