"""One contract for all stores of vectors, run on a real Valkey, one in cluster mode, and qdrant-client's local mode; then what is
the Valkey's own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from aiohttp import web
from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from workbench.errors import InputError, SettingsError
from workbench.stores import vectors_valkey
from workbench.stores.keyvalue import KeyValue
from workbench.stores.vectors import Found, VectorStore, open_vectors
from workbench.stores.vectors_qdrant import QdrantVectors
from workbench.stores.vectors_valkey import ValkeyVectors

if TYPE_CHECKING:
    from conftest import Clock

FOREVER = 4e9


def key(number: int) -> str:
    return f"{number:032x}"


def vector(*numbers: float) -> np.ndarray:
    return np.array(numbers, dtype=np.float32)


def payloads(found: list[Found]) -> list[bytes]:
    return [item.payload for item in found]


@pytest.fixture(params=["valkey", "valkey-cluster", "qdrant-local"])
async def store(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[VectorStore]:
    """An empty store."""
    if request.param == "qdrant-local":
        pytest.importorskip("qdrant_client")
        store: VectorStore = QdrantVectors(":memory:", clock=clock)
    else:
        kv = KeyValue(request.getfixturevalue("valkey_of")(request.param), Path())
        await (await kv.client()).flushall()
        store = ValkeyVectors(kv, clock=clock)
    yield store
    await store.aclose()
    if request.param != "qdrant-local":
        await kv.aclose()


pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant")


async def test_the_nearest_come_first(store: VectorStore) -> None:
    """By cosine, so that the length of a vector does not count, and a high score is near."""
    for number, direction in enumerate([(9, 0), (1, 1), (0, 0.1), (-2, 0)]):
        await store.add("c", "s", key(number), vector(*direction), b"%d" % number, FOREVER)
    found = await store.search("c", "s", vector(5, 0), limit=4)
    assert [b"0", b"1", b"2", b"3"] == payloads(found)
    assert [key(number) for number in range(4)] == [item.key for item in found]
    assert pytest.approx([1, 0.5**0.5, 0, -1], abs=1e-6) == [item.score for item in found]
    assert [b"0", b"1"] == payloads(await store.search("c", "s", vector(5, 0), limit=2))
    assert [b"0", b"1"] == payloads(await store.search("c", "s", vector(5, 0), limit=4, least=0.5))
    assert [] == await store.search("c", "s", vector(5, -5), limit=4, least=0.8)


async def test_it_finds_what_a_plain_matrix_finds(store: VectorStore) -> None:
    """The five nearest of 500 random vectors."""
    rng = np.random.default_rng(7)
    rows = rng.standard_normal((500, 16), dtype=np.float32)
    for number, row in enumerate(rows):
        await store.add("c", "s", key(number), row, b"", FOREVER)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    for query in rng.standard_normal((5, 16), dtype=np.float32):
        found = await store.search("c", "s", query, limit=5)
        scores = rows @ (query / np.linalg.norm(query))
        best = np.argsort(scores)[::-1][:5]
        assert [key(number) for number in best] == [item.key for item in found]
        np.testing.assert_allclose([item.score for item in found], scores[best], atol=1e-5)


async def test_a_search_stays_in_its_scope(store: VectorStore) -> None:
    """And in its collection, and among vectors of its dimension."""
    await store.add("c", "s", key(1), vector(1, 0), b"mine", FOREVER)
    await store.add("c", "other", key(1), vector(1, 0), b"another scope", FOREVER)
    await store.add("c2", "s", key(1), vector(1, 0), b"another collection", FOREVER)
    await store.add("c", "s", key(1), vector(1, 0, 0), b"another dimension", FOREVER)
    assert [b"mine"] == payloads(await store.search("c", "s", vector(1, 0), limit=9))
    assert [b"another dimension"] == payloads(await store.search("c", "s", vector(1, 0, 0), limit=9))
    assert [] == await store.search("c", "nobody's", vector(1, 0))
    assert [] == await store.search("nothing", "s", vector(1, 0))


async def test_an_entry_is_replaced(store: VectorStore) -> None:
    """The same key has one vector and one payload: the last."""
    await store.add("c", "s", key(1), vector(1, 0), b"old", FOREVER)
    await store.search("c", "s", vector(1, 0))
    await store.add("c", "s", key(1), vector(0, 1), b"new", FOREVER)
    assert [(key(1), pytest.approx(0), b"new")] == await store.search("c", "s", vector(1, 0), limit=9)
    assert 1 == await store.count("c", "s")


async def test_an_entry_expires(store: VectorStore, clock: Clock) -> None:
    """At its time, also where it has been found before; one that has expired already is not kept."""
    await store.add("c", "s", key(1), vector(1, 0), b"short", clock.now + 10)
    await store.add("c", "s", key(2), vector(0, 1), b"long", clock.now + 99)
    await store.add("c", "s", key(3), vector(1, 1), b"late", clock.now - 1)
    assert [b"short", b"long"] == payloads(await store.search("c", "s", vector(1, 0), limit=9))
    clock.now += 11
    assert [b"long"] == payloads(await store.search("c", "s", vector(1, 0), limit=9))


async def test_a_replaced_entry_has_its_new_expiry(store: VectorStore, clock: Clock) -> None:
    """Longer or shorter."""
    for number in (1, 2):
        await store.add("c", "s", key(number), vector(1, number), b"%d" % number, clock.now + 10)
    await store.add("c", "s", key(1), vector(1, 1), b"1", clock.now + 99)
    await store.add("c", "s", key(2), vector(1, 2), b"2", clock.now + 5)
    clock.now += 7
    assert [b"1"] == payloads(await store.search("c", "s", vector(1, 2), limit=9))


async def test_scopes_and_collections_are_deleted(store: VectorStore) -> None:
    """Each by itself, with the number of entries that there were; what comes afterwards is kept."""
    for scope in ("a", "b"):
        for number in range(3):
            await store.add("c", scope, key(number), vector(1, number), b"", FOREVER)
    await store.add("d", "a", key(1), vector(1, 1), b"", FOREVER)
    assert (6, 3, 1, 0) == (
        await store.count("c"), await store.count("c", "a"), await store.count("d"), await store.count("e")
    )  # fmt: skip
    assert 3 == await store.delete("c", "a")
    assert ([], 3) == (await store.search("c", "a", vector(1, 1)), await store.count("c"))
    await store.add("c", "a", key(9), vector(1, 0), b"again", FOREVER)
    assert [b"again"] == payloads(await store.search("c", "a", vector(1, 1), limit=9))
    assert 4 == await store.delete("c")
    assert 0 == await store.delete("c")
    assert (0, 1) == (await store.count("c"), await store.count("d"))
    await store.add("c", "b", key(9), vector(1, 0), b"again", FOREVER)
    assert [b"again"] == payloads(await store.search("c", "b", vector(1, 1), limit=9))


async def test_payloads_are_any_bytes(store: VectorStore) -> None:
    """None of them is taken for text."""
    payload = bytes(range(256)) * 40
    await store.add("c", "s", key(1), vector(1, 0), payload, FOREVER)
    assert [payload] == payloads(await store.search("c", "s", vector(1, 0)))


@pytest.mark.parametrize(
    "bad", [vector(0, 0), vector(1, np.nan), vector(1, np.inf), vector(), np.eye(2), np.float32(1)]
)
async def test_what_has_no_direction_is_refused(store: VectorStore, bad: np.ndarray) -> None:
    """When it is kept and when it is looked for."""
    with pytest.raises(InputError, match="has no direction"):
        await store.add("c", "s", key(1), bad, b"", FOREVER)
    with pytest.raises(InputError, match="has no direction"):
        await store.search("c", "s", bad)


@pytest.mark.parametrize("bad", ["", "1", "x" * 32, "A" * 32, key(1) + "0"])
async def test_what_is_no_key_is_refused(store: VectorStore, bad: str) -> None:
    """The message shows one that is."""
    with pytest.raises(InputError, match="32 hex digits"):
        await store.add("c", "s", bad, vector(1, 0), b"", FOREVER)


async def test_many_at_once(store: VectorStore) -> None:
    """Adding and searching at the same time loses nothing."""
    await asyncio.gather(
        *(store.add("c", "s", key(n), vector(1, n), b"%d" % n, FOREVER) for n in range(50)),
        *(store.search("c", "s", vector(1, n)) for n in range(50)),
    )
    assert {b"%d" % n for n in range(50)} == set(payloads(await store.search("c", "s", vector(1, 1), limit=99)))


# --- the Valkey's own ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def kv(valkey_of: Callable[[str], str]) -> AsyncIterator[KeyValue]:
    """A key-value store on an empty Valkey."""
    kv = KeyValue(valkey_of("valkey"), Path())
    await (await kv.client()).flushall()
    yield kv
    await kv.aclose()


@pytest.fixture
async def client(kv: KeyValue) -> Redis:
    return await kv.client()


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> int:
    """Of ten records of two numbers."""
    monkeypatch.setattr(vectors_valkey, "_SEGMENT", 320)
    return 10


async def fill(store: VectorStore, numbers: range, scope: str = "s") -> None:
    for number in numbers:
        await store.add("c", scope, key(number), vector(1, number), b"%d" % number, FOREVER)


async def everything(store: VectorStore, scope: str = "s") -> set[int]:
    return {int(item.payload) for item in await store.search("c", scope, vector(1, 0), limit=10_000)}


async def test_another_process_sees_at_once_what_is_added_and_deleted(kv: KeyValue, clock: Clock) -> None:
    """Two stores on one Valkey, as two processes have them."""
    one, other = ValkeyVectors(kv, clock=clock), ValkeyVectors(kv, clock=clock)
    await fill(one, range(3))
    assert {0, 1, 2} == await everything(other)
    await fill(other, range(3, 5))
    assert {0, 1, 2, 3, 4} == await everything(one)
    await one.add("c", "s", key(0), vector(0, 1), b"100", FOREVER)
    assert {100, 1, 2, 3, 4} == await everything(other)
    await other.delete("c", "s")
    assert set() == await everything(one)
    await fill(one, range(7, 8))
    assert {7} == await everything(other)


ADDS = """
import asyncio, sys
import numpy as np
from pathlib import Path
from workbench.stores.keyvalue import KeyValue
from workbench.stores.vectors_valkey import ValkeyVectors
async def main(first):
    kv = KeyValue(sys.argv[1], Path())
    store = ValkeyVectors(kv)
    for number in range(first, first + 200):
        await store.add("c", "s", f"{number:032x}", np.array([1, number], "f4"), b"%d" % number, 4e9)
    await kv.aclose()
asyncio.run(main(int(sys.argv[2])))
"""


async def test_processes_that_add_at_the_same_time_lose_nothing(
    kv: KeyValue, valkey_of: Callable[[str], str], small_segments: int
) -> None:
    """Three real processes write, this one reads meanwhile."""
    root = str(Path(vectors_valkey.__file__).parents[2])
    script = ADDS.replace("import asyncio, sys", f"import asyncio, sys; sys.path.insert(0, {root!r})").replace(
        "async def main", "from workbench.stores import vectors_valkey; vectors_valkey._SEGMENT = 320\nasync def main"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", script, valkey_of("valkey"), str(first)]) for first in (0, 1000, 2000)
    ]
    store = ValkeyVectors(kv)
    sizes = [0]
    while any(writer.poll() is None for writer in writers):
        sizes.append(len(await everything(store)))
        await asyncio.sleep(0)
    assert [0, 0, 0] == [writer.returncode for writer in writers]
    assert sorted(sizes) == sizes
    wanted = {first + number for first in (0, 1000, 2000) for number in range(200)}
    assert wanted == await everything(store)
    assert wanted == await everything(ValkeyVectors(kv))


async def test_the_oldest_go_when_a_scope_is_full(kv: KeyValue, client: Redis, small_segments: int) -> None:
    """In whole segments, for old readers and for new ones, and the server's memory is given back."""
    store, reader = ValkeyVectors(kv, scope_bytes=320 * 4), ValkeyVectors(kv, scope_bytes=320 * 4)
    await fill(store, range(25))
    assert set(range(25)) == await everything(reader)
    await fill(store, range(25, 95))
    assert set(range(60, 95)) == await everything(reader)
    assert set(range(60, 95)) == await everything(ValkeyVectors(kv, scope_bytes=320 * 4))
    segments = [name async for name in client.scan_iter(match="*:2:?")]
    assert 4 == len(segments)
    assert 80 >= len(next(iter(reader._mirrors.values()))._keys)


async def test_memory_here_is_bounded(kv: KeyValue) -> None:
    """Matrices that were not used for longest go, and are read again when they are needed."""
    store = ValkeyVectors(kv, memory=20_000)
    for scope in "abcdefgh":
        await fill(store, range(20), scope)
        assert 20 == len(await everything(store, scope))
        assert store.nbytes < 20_000
    assert 1 < len(store._mirrors) < 8
    assert store.nbytes == sum(mirror.nbytes for mirror in store._mirrors.values())
    assert 20 == len(await everything(store, "a"))
    for number in range(100):
        await store.search("c", f"empty {number}", vector(1, 1))
    assert len(store._mirrors) <= 10


async def test_every_key_expires_and_lives_on_one_node(
    kv: KeyValue, client: Redis, clock: Clock, small_segments: int
) -> None:
    """So that a server with `volatile-*` can evict them and a cluster can hold them."""
    store = ValkeyVectors(kv, clock=clock)
    for number in range(25):
        await store.add("c", "s", key(number), vector(1, number), b"", clock.now + 100 + number)
    names = [name async for name in client.scan_iter()]
    assert 25 + 3 + 1 == len(names)
    assert 1 == len({key_slot(name) for name in names})
    ends = {name: await client.pexpiretime(name) / 1000 - clock.now for name in names}
    assert all(99 < seconds < 130 for seconds in ends.values())
    assert max(ends.values()) == next(seconds for name, seconds in ends.items() if name.endswith(b":log"))
    await store.add("c", "other", key(1), vector(1, 1), b"", clock.now + 100)
    assert 2 == len({key_slot(name) async for name in client.scan_iter()})


async def test_what_the_server_evicts_is_not_found(kv: KeyValue, client: Redis, small_segments: int) -> None:
    """A payload, a segment or the log: the others are, new ones are, and nothing raises."""
    store = ValkeyVectors(kv)
    await fill(store, range(25))
    assert 25 == len(await everything(store))
    (payload,) = [name async for name in client.scan_iter(match=f"*:p:{key(3)}")]
    await client.delete(payload)
    assert set(range(25)) - {3} == await everything(store)
    (mirror,) = store._mirrors.values()
    assert key(3) not in [name for name, _ in mirror.nearest(vector(1, 0), 99, -1, 0)]
    assert 4 == int((await store.search("c", "s", vector(1, 3)))[0].payload)

    (segment,) = [name async for name in client.scan_iter(match="*:2:1")]
    await client.delete(segment)
    assert set(range(25)) - {3, *range(10, 20)} == await everything(ValkeyVectors(kv))

    (last,) = [name async for name in client.scan_iter(match="*:2:2")]
    await client.delete(last)
    await fill(store, range(25, 27))
    assert {*range(10), 25, 26} - {3} == await everything(ValkeyVectors(kv))

    (log,) = [name async for name in client.scan_iter(match="*:log")]
    await client.delete(log)
    assert set() == await everything(store)
    await fill(store, range(30, 32))
    assert {30, 31} == await everything(store) == await everything(ValkeyVectors(kv))


async def test_known_failure_no_search_module_and_no_vector_sets(kv: KeyValue, client: Redis) -> None:
    """The embedded Valkey knows neither FT.* nor vector sets; plain keys and scripts are all that is asked of it."""
    store = ValkeyVectors(kv)
    await store.add("c", "s", "0" * 32, np.ones(4), b"payload", time.time() + 60)
    assert [b"payload"] == [found.payload for found in await store.search("c", "s", np.ones(4))]
    for command in (("FT._LIST",), ("VADD", "set", "VALUES", "1", "1", "a")):
        with pytest.raises(ResponseError, match="unknown command"):
            await client.execute_command(*command)


async def test_a_server_that_lost_its_last_second(kv: KeyValue, client: Redis) -> None:
    """The same log with fewer records, as after a power cut: what is there now counts."""
    store, other = ValkeyVectors(kv), ValkeyVectors(kv)
    await fill(store, range(5))
    assert 5 == len(await everything(store))
    (log,) = [name async for name in client.scan_iter(match="*:log")]
    await client.hset(log, "n", "3")
    await client.delete(*[name async for name in client.scan_iter(match="*:p:*[34]")])
    assert {0, 1, 2} == await everything(store)
    await fill(other, range(10, 12))
    assert {0, 1, 2, 10, 11} == await everything(store)


async def test_a_restarted_server_is_told_the_scripts_again(kv: KeyValue, client: Redis) -> None:
    """It forgets them."""
    store = ValkeyVectors(kv)
    await fill(store, range(2))
    await client.script_flush()
    await fill(store, range(2, 3))
    await client.script_flush()
    assert {0, 1, 2} == await everything(store)


async def read_calls(client: Redis) -> int:
    stats: dict[str, Any] = await client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha"))


async def test_a_scope_is_read_once_for_all_who_wait(kv: KeyValue, client: Redis, small_segments: int) -> None:
    """And then each search asks once whether there is something new."""
    await fill(ValkeyVectors(kv), range(45))
    store = ValkeyVectors(kv)
    before = await read_calls(client)
    found = await asyncio.gather(*(store.search("c", "s", vector(1, 44)) for _ in range(30)))
    assert {b"44"} == {payload for result in found for payload in payloads(result)}
    assert before + 1 + 5 == await read_calls(client)
    await store.search("c", "s", vector(1, 44))
    assert before + 1 + 5 + 1 == await read_calls(client)


async def test_who_gives_up_does_not_stop_the_reading(kv: KeyValue) -> None:
    """A deadline that is shorter than the first reading of a large scope would else make every look-up a miss, for ever."""
    await fill(ValkeyVectors(kv), range(20))
    store = ValkeyVectors(kv)
    search = asyncio.create_task(store.search("c", "s", vector(1, 1)))
    while not (store._mirrors and next(iter(store._mirrors.values())).task):
        await asyncio.sleep(0)
    search.cancel()
    with pytest.raises(asyncio.CancelledError):
        await search
    (mirror,) = store._mirrors.values()
    assert mirror.task is not None
    await mirror.task
    assert 20 == mirror.position[1]


def test_it_works_in_one_event_loop_after_the_other(valkey_of: Callable[[str], str]) -> None:
    """As scripts do that call asyncio.run many times; what was read stays."""
    kv = KeyValue(valkey_of("valkey"), Path())
    store = ValkeyVectors(kv)

    async def run(step: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await step()
        finally:
            await kv.aclose()

    async def empty() -> None:
        await (await kv.client()).flushall()

    asyncio.run(run(empty))
    asyncio.run(run(lambda: fill(store, range(3))))
    for _ in range(2):
        assert {0, 1, 2} == asyncio.run(run(lambda: everything(store)))
    assert {0, 1, 2} == asyncio.run(run(lambda: everything(ValkeyVectors(kv))))


async def test_a_server_that_is_gone_raises(tmp_path: Path) -> None:
    """What its client raises; whoever waits for the reading gets it, and no task is left with an error that nobody saw."""
    store = ValkeyVectors(KeyValue(f"unix://{tmp_path}/none", tmp_path))
    found = await asyncio.gather(*(store.search("c", "s", vector(1, 1)) for _ in range(3)), return_exceptions=True)
    assert ["ConnectionError"] * 3 == [type(item).__name__ for item in found]
    with pytest.raises(RedisConnectionError):
        await store.add("c", "s", key(1), vector(1, 1), b"", FOREVER)


def test_the_address_decides(kv: KeyValue) -> None:
    """Qdrant if one is given, else the key-value store; a key is not shown."""
    assert isinstance(open_vectors(kv), ValkeyVectors)
    chosen = open_vectors(kv, qdrant_url="http://qdrant:6333", qdrant_key="s3cret")
    assert isinstance(chosen, QdrantVectors)
    assert "s3cret" not in repr(chosen)


# --- Qdrant's own -------------------------------------------------------------------------------------------------------------


class QdrantDouble:
    """Answers as a Qdrant server does, and keeps what it was sent. statuses: to answer with, by method and path's end."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, Any]] = []
        self.keys: set[str | None] = set()
        self.exists = False
        self.statuses: dict[str, int] = {}
        self.points: list[dict[str, Any]] = []

    async def answer(self, request: web.Request) -> web.Response:
        path = request.path.removeprefix("/collections")
        what = f"{request.method} {path.strip('/').partition('/')[2]}".strip()
        self.seen.append((what, path, await request.json() if request.can_read_body else None))
        self.keys.add(request.headers.get("api-key"))
        if what in self.statuses:
            return web.json_response({"status": {"error": "as told"}, "time": 0}, status=self.statuses[what])
        if what == "PUT":
            self.exists = True
        result = {
            "GET exists": {"exists": self.exists}, "PUT": True, "POST points/query": {"points": self.points}
        }.get(what, {"operation_id": 1, "status": "completed"})  # fmt: skip
        return web.json_response({"result": result, "status": "ok", "time": 0})

    def bodies(self, what: str) -> list[Any]:
        return [body for seen, _, body in self.seen if seen == what]


@pytest.fixture
async def qdrant() -> AsyncIterator[tuple[QdrantDouble, str]]:
    """A double on a loopback port, and its address."""
    double = QdrantDouble()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", double.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield double, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_a_qdrant_double_gets_what_a_server_needs(qdrant: tuple[QdrantDouble, str], clock: Clock) -> None:
    """A collection with a graph for each tenant, both indexes, the point, and a search that is filtered; all with the key."""
    double, url = qdrant
    store = QdrantVectors(url, "s3cret", clock=clock)
    with pytest.warns(UserWarning, match="insecure connection"):
        await store.add("c", "s", key(1), vector(3, 4), b"\x00payload", clock.now + 9)
    (made,) = double.bodies("PUT")
    assert {"size": 2, "distance": "Cosine"} == made["vectors"]
    assert {"m": 0, "payload_m": 16} == made["hnsw_config"]
    assert [("scope", {"type": "keyword", "is_tenant": True}), ("expires_at", "float")] == [
        (body["field_name"], body["field_schema"]) for body in double.bodies("PUT index")
    ]
    ((point,),) = [body["points"] for body in double.bodies("PUT points")]
    assert pytest.approx([0.6, 0.8]) == point["vector"]
    assert {"scope": "s", "key": key(1), "expires_at": clock.now + 9, "payload": "AHBheWxvYWQ="} == point["payload"]

    double.points = [{"id": point["id"], "version": 1, "score": 1.0000001, "payload": point["payload"]}]
    assert [Found(key(1), 1.0, b"\x00payload")] == await store.search("c", "s", vector(3, 4), 5, 0.9)
    (search,) = double.bodies("POST points/query")
    assert [
        {"key": "expires_at", "range": {"gt": clock.now}}, {"key": "scope", "match": {"value": "s"}}
    ] == search["filter"]["must"]  # fmt: skip
    assert (5, pytest.approx(0.9, abs=1e-5)) == (search["limit"], search["score_threshold"])
    assert {"s3cret"} == double.keys
    assert 1 == len({path.split("/")[1] for _, path, _ in double.seen})
    await store.aclose()


async def test_a_qdrant_double_is_rid_of_what_has_expired(qdrant: tuple[QdrantDouble, str], clock: Clock) -> None:
    """Ten minutes later, with the next entry, once."""
    double, url = qdrant
    store = QdrantVectors(url, clock=clock)
    for seconds in (0, 599, 1, 1):
        clock.now += seconds
        await store.add("c", "s", key(1), vector(3, 4), b"", clock.now + 9)
    (sweep,) = double.bodies("POST points/delete")
    assert [{"key": "expires_at", "range": {"lte": clock.now - 1}}] == sweep["filter"]["must"]
    await store.aclose()


async def test_a_qdrant_double_in_which_another_process_was_faster(qdrant: tuple[QdrantDouble, str]) -> None:
    """It made the collection, or deleted it: neither is a fault; what stays broken is raised."""
    double, url = qdrant
    store = QdrantVectors(url)
    assert [] == await store.search("c", "s", vector(1, 0))
    double.statuses = {"PUT": 409}
    with pytest.raises(Exception, match="409"):
        await store.add("c", "s", key(1), vector(1, 0), b"", FOREVER)
    double.exists = True
    await store.add("c", "s", key(1), vector(1, 0), b"", FOREVER)
    double.exists, double.statuses = False, {"POST points/query": 404}
    assert [] == await store.search("c", "s", vector(1, 0))
    double.exists, double.statuses = True, {"POST points/query": 500}
    with pytest.raises(Exception, match="500"):
        await store.search("c", "s", vector(1, 0))
    await store.aclose()


async def test_a_missing_qdrant_client_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.delitem(sys.modules, "qdrant_client", raising=False)
    monkeypatch.setattr("builtins.__import__", _without_qdrant(__import__))
    with pytest.raises(SettingsError, match="pip install qdrant-client"):
        await QdrantVectors("http://127.0.0.1:1").search("c", "s", vector(1, 0))


def _without_qdrant(really: Callable[..., Any]) -> Callable[..., Any]:
    def imported(name: str, *arguments: Any) -> Any:
        if name.startswith("qdrant_client"):
            raise ImportError(f"No module named {name!r}")
        return really(name, *arguments)

    return imported
