"""The exact cache on real servers: what it serves and keeps, who asks the model, and what happens without the store."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from workbench.cache import ExactCache
from workbench.cache.shared import PREFIX
from workbench.errors import ServerError, StoppedError, StoreError
from workbench.records import Completion, Timing, Usage
from workbench.stores.keyvalue import KeyValue

CALL = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"order": 3}'}}
ANSWER = Completion(
    text="It is positive.", finish_reason="stop", usage=Usage(30, 5, 10, 2), model="openai/m", request_id="r1",
    timing=Timing(1.7e9, 2.0, queued=0.25, first_token=0.5, loading=0.1, prefill=0.2, decode=1.5), reasoning="Hm.",
    tool_calls=(CALL,), logprobs=({"token": "It", "logprob": -0.25, "top_logprobs": {"It": -0.25, "I": -2.0}},),
)  # fmt: skip
KEY = "0123456789abcdef" * 4


class Model:
    """What is asked on a miss. answer: what it says next; calls: how often it was asked; hold: waits for `go` if set."""

    def __init__(self, answer: Completion | Exception = ANSWER) -> None:
        self.answer = answer
        self.calls = 0
        self.hold = False
        self.asked = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self) -> Completion:
        self.calls += 1
        self.asked.set()
        if self.hold:
            await self.go.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def scope() -> str:
    """A scope of the test's own, in a store that all tests share."""
    return f"scope {uuid.uuid4().hex}"


Make = Callable[..., ExactCache]


@pytest.fixture(params=["valkey"])
async def kv(
    request: pytest.FixtureRequest, valkey_of: Callable[[str], str], tmp_path: Path
) -> AsyncIterator[KeyValue]:
    """A store that runs."""
    store = KeyValue(valkey_of(request.param), tmp_path)
    yield store
    await store.aclose()


@pytest.fixture
async def embedded(valkey_home: Path) -> AsyncIterator[KeyValue]:
    """A store of the test's own, to be stopped, paused and filled."""
    store = KeyValue(None, valkey_home)
    yield store
    await store.aclose()


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """make(kv, ...) gives a cache as a process of its own would have it; look-ups may take as long as a busy machine needs."""
    made: list[ExactCache] = []

    def cache(kv: KeyValue, **options: Any) -> ExactCache:
        made.append(ExactCache(kv, **({"deadline": 2.0} | options)))
        return made[-1]

    yield cache
    for each in made:
        await each.aclose()


# -- what is served -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kv", ["valkey", "valkey-cluster"], indirect=True)
async def test_the_second_answer_is_the_first_one_from_every_layer(kv: KeyValue, make: Make, scope: str) -> None:
    """In this process, from the store, and from the layer in front of it; all that was measured comes along."""
    model, near, far = Model(), make(kv), make(kv)
    fresh = await near.fetch(KEY, scope, model)
    assert fresh == ANSWER
    for cache in (near, far, far):
        assert await cache.fetch(KEY, scope, model) == replace(ANSWER, source="exact")
    assert model.calls == 1
    total = (await near.stats()).total
    assert (await far.stats()).complete
    total = next(row.counts for row in (await far.stats()).rows if row.scope == scope)
    assert (total.local, total.store, total.misses, total.kept) == (2, 1, 1, 1)


async def test_another_key_and_another_scope_are_misses(kv: KeyValue, make: Make, scope: str) -> None:
    """Nothing but the same key in the same scope is a hit."""
    model, cache = Model(), make(kv)
    for key, where in ((KEY, scope), (KEY[::-1], scope), (KEY, f"{scope}!")):
        await cache.fetch(key, where, model)
    assert model.calls == 3


async def test_what_a_reader_changes_stays_with_the_reader(kv: KeyValue, make: Make, scope: str) -> None:
    """Tool calls are dicts: the next reader gets those that the model gave."""
    model, cache = Model(), make(kv)
    for _ in range(3):
        found = await cache.fetch(KEY, scope, model)
        assert found.tool_calls[0]["function"]["name"] == "look_up"
        if found.source == "exact":
            found.tool_calls[0]["function"]["name"] = "changed"
    assert model.calls == 1


async def test_known_failure_ttl_refreshed_on_every_hit(kv: KeyValue, make: Make, scope: str) -> None:
    """An answer expires at the time that was fixed when it was made, in each layer, however often it was served."""
    clock, model = Clock(1e9), Model()
    caches = [make(kv, clock=clock, ttl=10.0), make(kv, clock=clock, ttl=10.0)]
    for now in (0, 4, 8, 9.9):
        clock.now = 1e9 + now
        for cache in caches:
            await cache.fetch(KEY, scope, model)
    assert model.calls == 1
    clock.now = 1e9 + 10
    await caches[0].fetch(KEY, scope, model)
    assert model.calls == 2
    await caches[1].fetch(KEY, scope, model)
    assert model.calls == 2


async def test_the_store_forgets_an_answer_by_itself(kv: KeyValue, make: Make, scope: str) -> None:
    """Its key has the time to live that was asked for, and hits do not touch it."""
    cache, far = make(kv), make(kv)
    await cache.fetch(KEY, scope, Model(), ttl=100.0)
    await far.fetch(KEY, scope, Model())
    client: Any = await kv.client()
    left = await client.pttl(await entry_name(kv, cache, scope))
    assert 0 < left <= 100_000


async def test_pieces_of_a_stream_are_kept_and_served_as_one(kv: KeyValue, make: Make, scope: str) -> None:
    """`turn` is `fetch` in steps."""
    cache = make(kv)
    async with cache.turn(KEY, scope) as turn:
        assert turn.found is None
        await turn.keep(ANSWER)
    async with cache.turn(KEY, scope) as turn:
        assert turn.found == replace(ANSWER, source="exact")


def test_one_cache_serves_many_event_loops(valkey_of: Callable[[str], str], tmp_path: Path, scope: str) -> None:
    """A script may call `asyncio.run` many times."""
    store = KeyValue(valkey_of("valkey"), tmp_path)
    cache, sources = ExactCache(store, deadline=2.0), []

    async def ask() -> None:
        sources.append((await cache.fetch(KEY, scope, Model())).source)
        if len(sources) == 2:
            await cache.aclose()

    for _ in range(3):
        asyncio.run(ask())
    assert sources == ["model", "exact", "exact"]


# -- what is kept -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "unfit",
    [
        replace(ANSWER, finish_reason="length"),
        replace(ANSWER, finish_reason="content_filter"),
        replace(ANSWER, refused=True),
        replace(ANSWER, truncated=True),
        replace(ANSWER, finish_reason=None),
        replace(ANSWER, source="semantic"),
        replace(ANSWER, text="x" * 1_000_001),
        replace(ANSWER, logprobs=({"logprob": float("-inf")},)),
        replace(ANSWER, text="\ud800"),
    ],
    ids=[
        "cut off",
        "filtered",
        "refused",
        "truncated",
        "end unknown",
        "semantic",
        "too large",
        "no JSON number",
        "no text",
    ],
)
async def test_refusals_cut_off_and_truncated_answers_are_never_stored(
    kv: KeyValue, make: Make, scope: str, unfit: Completion
) -> None:
    """They are returned, and the next one who asks has the model asked again."""
    model, cache = Model(unfit), make(kv)
    for _ in range(2):
        assert await cache.fetch(KEY, scope, model) is unfit
    assert model.calls == 2
    assert await anything_stored(kv, cache, scope) is False
    assert (await counts(cache, scope)).not_kept == 2


async def test_errors_are_raised_and_never_stored(kv: KeyValue, make: Make, scope: str) -> None:
    """The next one who asks may get an answer."""
    model, cache = Model(ServerError("down")), make(kv)
    with pytest.raises(ServerError, match="down"):
        await cache.fetch(KEY, scope, model)
    assert await anything_stored(kv, cache, scope) is False
    model.answer = ANSWER
    assert await cache.fetch(KEY, scope, model) is ANSWER
    assert (await cache.fetch(KEY, scope, model)).source == "exact"
    assert (await counts(cache, scope)).errors == 1


# -- who asks the model -------------------------------------------------------------------------------------------


async def test_equal_requests_at_once_ask_once(kv: KeyValue, make: Make, scope: str) -> None:
    """In one process; who waited is told so, and counted apart."""
    model, cache = Model(), make(kv)
    answers = await asyncio.gather(*(cache.fetch(KEY, scope, model) for _ in range(50)))
    assert model.calls == 1
    assert sorted(answer.source for answer in answers) == ["exact"] * 49 + ["model"]
    assert (await counts(cache, scope)).shared == 49


@pytest.mark.parametrize("kv", ["valkey", "valkey-cluster"], indirect=True)
async def test_who_asks_the_same_elsewhere_is_waited_for(kv: KeyValue, make: Make, scope: str) -> None:
    """Two caches are two processes to each other."""
    model, one, other = Model(), make(kv), make(kv)
    model.hold = True
    first = asyncio.create_task(one.fetch(KEY, scope, model))
    await model.asked.wait()
    second = asyncio.create_task(other.fetch(KEY, scope, model))
    await until(lambda: leased(kv, one, scope))
    model.go.set()
    assert (await first).source == "model"
    assert (await second).source == "exact"
    assert model.calls == 1
    assert not await leased(kv, one, scope)


async def test_nobody_is_waited_for_longer_than_patience(kv: KeyValue, make: Make, scope: str) -> None:
    """Here and elsewhere: then the model is asked, and that answer is kept too."""
    stuck, model, one, other = Model(), Model(), make(kv), make(kv)
    stuck.hold = True
    first = asyncio.create_task(one.fetch(KEY, scope, stuck))
    await stuck.asked.wait()
    for cache in (other, one):
        assert await cache.fetch(KEY, scope, model, patience=0.0) is ANSWER
    assert (await other.fetch(KEY, scope, model)).source == "exact"
    assert model.calls == 2
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_who_waits_for_a_call_that_fails_asks_for_itself(kv: KeyValue, make: Make, scope: str) -> None:
    """An error is the leader's own: it is shared with nobody, in no process."""
    failing, model, one, other = Model(ServerError("down")), Model(), make(kv), make(kv)
    failing.hold = True
    first = asyncio.create_task(one.fetch(KEY, scope, failing))
    await failing.asked.wait()
    waiting = [asyncio.create_task(cache.fetch(KEY, scope, model)) for cache in (one, one, other)]
    await until(lambda: leased(kv, one, scope))
    failing.go.set()
    with pytest.raises(ServerError):
        await first
    assert [(await task).text for task in waiting] == [ANSWER.text] * 3


@pytest.mark.parametrize("stop", ["cancelled", "stopped"])
async def test_who_waits_for_a_call_that_is_given_up_takes_over(
    kv: KeyValue, make: Make, scope: str, stop: str
) -> None:
    """One of them, not all."""
    given_up, model, cache = Model(StoppedError("stopped")), Model(), make(kv)
    given_up.hold = True
    first = asyncio.create_task(cache.fetch(KEY, scope, given_up))
    await given_up.asked.wait()
    waiting = [asyncio.create_task(cache.fetch(KEY, scope, model)) for _ in range(10)]
    await asyncio.sleep(0)  # they are waiting now
    if stop == "cancelled":
        first.cancel()
    given_up.go.set()
    with pytest.raises((asyncio.CancelledError, StoppedError)):
        await first
    assert sorted([(await task).source for task in waiting]) == ["exact"] * 9 + ["model"]
    assert model.calls == 1


async def test_a_lease_is_renewed_for_as_long_as_the_model_takes(kv: KeyValue, make: Make, scope: str) -> None:
    """So that a short lease finds dead leaders without losing slow ones."""

    async def soon(_seconds: float) -> None:
        await asyncio.sleep(0.001)

    model, cache = Model(), make(kv, lease=100.0, sleep=soon)
    model.hold = True
    first = asyncio.create_task(cache.fetch(KEY, scope, model))
    await model.asked.wait()
    client: Any = await kv.client()
    name = lease_name(cache, scope)
    await client.pexpire(name, 50_000)

    async def renewed() -> bool:
        return bool(await client.pttl(name) > 50_000)

    await until(renewed)
    model.go.set()
    await first


async def test_only_the_holder_of_a_lease_gives_it_back(kv: KeyValue, make: Make, scope: str) -> None:
    """It may have expired and be another's by now: tokens are compared before it is deleted."""
    model, cache = Model(), make(kv)
    model.hold = True
    first = asyncio.create_task(cache.fetch(KEY, scope, model))
    await model.asked.wait()
    client: Any = await kv.client()
    await client.set(lease_name(cache, scope), "another's", px=60_000)
    model.go.set()
    await first
    assert await client.get(lease_name(cache, scope)) == b"another's"


# -- clearing -----------------------------------------------------------------------------------------------------


async def test_a_cleared_scope_is_forgotten_everywhere_within_a_second(kv: KeyValue, make: Make, scope: str) -> None:
    """Also by processes that had the answer in their own memory; other scopes stay."""
    clock, model = Clock(100.0), Model()
    one, other = (make(kv, monotonic=clock) for _ in range(2))
    for cache in (one, other):
        for where in (scope, f"{scope} 2"):
            await cache.fetch(KEY, where, model)
    assert model.calls == 2
    assert await one.clear(scope) == 1
    await one.fetch(KEY, f"{scope} 2", model)
    assert model.calls == 2
    clock.now += 0.9
    await other.fetch(KEY, scope, model)
    assert model.calls == 3
    await other.fetch(KEY, f"{scope} 2", model)
    assert model.calls == 3


async def test_an_answer_that_was_under_way_does_not_outlive_a_clear(kv: KeyValue, make: Make, scope: str) -> None:
    """It was asked for before, so it belongs to what was cleared."""
    model, one, other = Model(), make(kv), make(kv)
    model.hold = True
    first = asyncio.create_task(one.fetch(KEY, scope, model))
    await model.asked.wait()
    await other.clear(scope)
    model.go.set()
    await first
    model.hold = False
    await other.fetch(KEY, scope, model)
    assert model.calls == 2


@pytest.mark.parametrize("kv", ["valkey-cluster"], indirect=True)
async def test_clear_of_everything_and_a_look_at_all_entries(kv: KeyValue, make: Make, scope: str) -> None:
    """On a cluster: the keys of a scope share a hash tag, those of different scopes do not."""
    cache = make(kv)
    await cache.clear()
    for number in range(5):
        for key in (KEY, KEY[::-1]):
            await cache.fetch(key, f"{scope} {number}", Model(), cost=lambda _: 0.5)
    found = [(where, key, entry.cost) async for where, key, entry in cache.entries()]
    assert sorted(found) == sorted((f"{scope} {n}", key, 0.5) for n in range(5) for key in (KEY, KEY[::-1]))
    client: Any = await kv.client()
    names = [name.decode() async for name in client.scan_iter(match=f"{PREFIX}:{{*:e:*")]
    tags = {re.fullmatch(r"wb:exact:1:\{([0-9a-f]{32})\}:e:[0-9a-f]{64}", name).group(1) for name in names}  # type: ignore[union-attr]
    assert len(tags) == 5
    assert await cache.clear() == 10
    assert [entry async for entry in cache.entries()] == []


async def test_clear_says_so_if_it_cannot(tmp_path: Path, make: Make) -> None:
    """A person asked for it, and must not believe that it was done."""
    with pytest.raises(StoreError, match="failed"):
        await make(nobody(tmp_path)).clear("s")


# -- when the store does not ---------------------------------------------------------------------------------------


async def test_a_store_that_is_down_lets_the_call_through(tmp_path: Path, make: Make) -> None:
    """Nothing raises, the fault is counted and shown, and equal requests at once still ask once."""
    model, cache = Model(), make(nobody(tmp_path))
    for _ in range(3):
        assert await cache.fetch(KEY, "s", model) is ANSWER
    assert model.calls == 3
    model.hold = True
    model.asked.clear()
    tasks = [asyncio.create_task(cache.fetch(KEY, "s", model)) for _ in range(5)]
    await model.asked.wait()
    model.go.set()
    await asyncio.gather(*tasks)
    assert model.calls == 4
    stats = await cache.stats()
    assert stats.complete is False
    assert stats.total.down >= 1
    assert stats.total.passed_by >= 4
    assert "does not answer" in str(stats)
    assert "Connect call failed" in stats.last_fault


async def test_a_store_that_never_answers_lets_the_call_through(tmp_path: Path, make: Make) -> None:
    """It accepts connections, and that is all."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = KeyValue(f"redis://127.0.0.1:{silent.getsockname()[1]}", tmp_path)
        model, cache = Model(), make(store, deadline=0.025)
        async with asyncio.timeout(9):  # redis-py alone would take ten seconds a command
            for _ in range(3):
                assert await cache.fetch(KEY, "s", model) is ANSWER
        assert (await cache.stats()).total.passed_by >= 3
        await cache.aclose()
        await store.aclose()


async def test_a_store_that_becomes_slow_is_left_alone_until_it_answers_again(embedded: KeyValue, make: Make) -> None:
    """The look-up ends at its deadline; a probe in the background finds out when the store is back."""
    model, cache = Model(), make(embedded, deadline=0.025, memory=0)
    await until(lambda: served(cache, model))
    assert embedded.server is not None
    pid = int((embedded.server.folder / "valkey.pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    async with asyncio.timeout(10):
        assert (await cache.fetch(KEY, "s", model)).source == "model"
        assert (await cache.fetch(KEY, "s", model)).source == "model"
    os.kill(pid, signal.SIGCONT)
    await until(lambda: served(cache, model))
    total = (await cache.stats()).total
    assert total.slow >= 1
    assert total.faults > total.slow


async def test_a_store_that_is_killed_comes_back_with_its_answers(embedded: KeyValue, make: Make) -> None:
    """The embedded server is started again, by the probe; until then the model is asked."""
    model, cache = Model(), make(embedded, memory=0)
    await cache.fetch(KEY, "s", model)
    assert embedded.server is not None
    await asyncio.to_thread(embedded.server.stop)
    await until(lambda: served(cache, model))


async def test_a_store_that_is_full_lets_the_call_through(embedded: KeyValue, make: Make) -> None:
    """Reading goes on; what cannot be written is counted."""
    model, cache = Model(), make(embedded)
    await cache.fetch(KEY, "s", model)
    client: Any = await embedded.client()
    await client.config_set("maxmemory", "1")
    await client.config_set("maxmemory-policy", "noeviction")
    for _ in range(2):
        assert await cache.fetch(KEY[::-1], "s", model) is ANSWER
    assert (await cache.fetch(KEY, "s", model)).source == "exact"
    assert (await counts(cache, "")).full >= 2


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\x01\x00\x00\x00\x00\x00{}", None])
async def test_a_damaged_entry_is_dropped_counted_and_replaced(
    kv: KeyValue, make: Make, scope: str, damage: bytes | None
) -> None:
    """None: one byte of it is flipped."""
    model, cache = Model(), make(kv, memory=0)
    await cache.fetch(KEY, scope, model)
    client: Any = await kv.client()
    name = await entry_name(kv, cache, scope)
    value = await client.get(name)
    bad = value[:16] + damage if damage is not None else value[:-9] + bytes([value[-9] ^ 1]) + value[-8:]
    await client.set(name, bad)
    assert await cache.fetch(KEY, scope, model) is ANSWER
    assert (await cache.fetch(KEY, scope, model)).source == "exact"
    assert model.calls == 2
    assert (await counts(cache, scope)).corrupt == 1


# -- what is counted ----------------------------------------------------------------------------------------------


async def test_stats_add_up_over_processes_by_scope_and_day(kv: KeyValue, make: Make, scope: str) -> None:
    """Money and seconds that hits saved; an unknown price is counted, not taken for nothing."""
    clock = Clock(1_700_000_000.0)
    one, other = (make(kv, clock=clock) for _ in range(2))
    for cache in (one, other):
        await cache.fetch(KEY, scope, Model(), cost=lambda _: 0.25)
        await cache.fetch(KEY[::-1], scope, Model())
    clock.now += 86400
    for _ in range(3):
        await one.fetch(KEY, scope, Model())
    await other.stats()
    stats = await one.stats()
    rows = {row.day.isoformat(): row.counts for row in stats.rows if row.scope == scope}
    first, second = rows["2023-11-14"], rows["2023-11-15"]
    assert (first.misses, first.store, first.local) == (2, 2, 0)
    assert (first.dollars, first.unpriced, first.seconds) == (0.25, 1, 4.0)
    assert (second.hits, second.dollars, second.seconds) == (3, 0.75, 6.0)
    frame = stats.frame()
    assert frame[frame["scope"] == scope]["hit_rate"].tolist() == [1.0, 0.5]


async def test_stats_are_shown_escaped(kv: KeyValue, make: Make) -> None:
    """A scope's name comes from outside."""
    cache = make(kv)
    await cache.fetch(KEY, "<b>\x1b[31mbold", Model())
    stats = await cache.stats()
    assert "<b>" not in stats._repr_html_()
    assert "\x1b" not in str(stats)
    assert "answers came from the cache" in str(stats)


# -- helpers ------------------------------------------------------------------------------------------------------


def nobody(folder: Path) -> KeyValue:
    """A store where nobody listens."""
    return KeyValue("redis://127.0.0.1:1", folder)


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    """Look until it is so; a test does not wait for longer than a minute."""
    async with asyncio.timeout(60):
        while not await true():
            await asyncio.sleep(0.005)


async def served(cache: ExactCache, model: Model) -> bool:
    """Fetch, and say whether the answer came from the cache."""
    return (await cache.fetch(KEY, "s", model)).source == "exact"


async def counts(cache: ExactCache, scope: str) -> Any:
    """The numbers of a scope, of all days."""
    return next(row.counts for row in (await cache.stats()).rows if row.scope == scope)


def lease_name(cache: ExactCache, scope: str) -> str:
    """The lease's key in the store."""
    return f"{PREFIX}:{{{cache._local.scope(scope).tag}}}:l:{KEY}"


async def leased(kv: KeyValue, cache: ExactCache, scope: str) -> bool:
    """Whether somebody holds the lease."""
    client: Any = await kv.client()
    return bool(await client.exists(lease_name(cache, scope)))


async def entry_name(kv: KeyValue, cache: ExactCache, scope: str) -> str:
    """The entry's key in the store."""
    return f"{PREFIX}:{{{cache._local.scope(scope).tag}}}:e:{KEY}"


async def anything_stored(kv: KeyValue, cache: ExactCache, scope: str) -> bool:
    """Whether the store has the entry."""
    client: Any = await kv.client()
    return bool(await client.exists(await entry_name(kv, cache, scope)))
