"""The key-value store by address, on real servers, one of them a cluster."""

from __future__ import annotations

import asyncio
import gc
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from workbench.errors import SettingsError
from workbench.stores.keyvalue import KeyValue
from workbench.stores.lane import Lane

KINDS = ("embedded", "valkey", "valkey-cluster")


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, valkey_home: Path, valkey_of: Callable[[str], str]) -> KeyValue:
    """One store of each kind."""
    return KeyValue(None if request.param == "embedded" else valkey_of(request.param), valkey_home)


async def test_both_clients_see_the_same_bytes(store: KeyValue) -> None:
    """What one writes the other reads."""
    client = await store.client()
    await client.set("both", "ä")
    assert store.sync().get("both") == "ä".encode()
    await store.aclose()


async def test_health_tells_version_and_policy(store: KeyValue) -> None:
    """Of a server that runs."""
    await (await store.client()).get("a")
    health = await store.health()
    assert health.ok is True
    assert health.version is not None
    assert health.version.startswith("Valkey 9")
    assert health.policy == ("volatile-ttl" if store.server else "noeviction")
    await store.aclose()


async def test_a_full_server_that_refuses_what_is_new_is_not_well(
    valkey_of: Callable[[str], str], tmp_path: Path
) -> None:
    """It answers, so nobody would see it; where it drops something in place of refusing, all is well."""
    store = KeyValue(valkey_of("valkey"), tmp_path)
    client = await store.client()
    try:
        await client.config_set("maxmemory", "1kb")
        health = await store.health()
        assert health.ok is False
        assert health.fix.startswith("its memory is full, and it refuses what is new")
        await client.config_set("maxmemory-policy", "volatile-ttl")
        assert ((await store.health()).ok, (await store.health()).fix) == (True, "")
    finally:
        await client.config_set("maxmemory", "0")
        await client.config_set("maxmemory-policy", "noeviction")
        await store.aclose()


async def test_health_does_not_start_the_embedded_server(valkey_home: Path) -> None:
    """Looking is no use."""
    health = await KeyValue(None, valkey_home).health()
    assert health.ok is None
    assert "not running" in health.detail
    assert not valkey_home.exists()


async def test_health_of_a_server_that_is_not_there(tmp_path: Path) -> None:
    """It says so, and shows no password."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        store = KeyValue(f"redis://user:s3cret@127.0.0.1:{free.getsockname()[1]}/0", tmp_path)
        health = await store.health()
    assert health.ok is False
    assert "Start the server, or correct the address" in health.fix
    assert "s3cret" not in f"{health} {store!r} {store.address}"


def test_a_script_may_run_many_event_loops_and_close_nothing(store: KeyValue) -> None:
    """Connections are closed with their loop, without a warning."""

    async def once() -> bytes | str | None:
        client = await store.client()
        await client.set("loops", "1")
        lane = Lane(client)
        return await lane("GET", "loops")

    assert [asyncio.run(once()) for _ in range(3)] == [b"1"] * 3
    gc.collect()  # an unclosed connection would warn here
    store.close()


def test_a_process_that_closes_nothing_ends_in_silence(valkey_home: Path) -> None:
    """Nothing is printed at exit."""
    script = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom workbench.stores.keyvalue import KeyValue\n"
        "kv = KeyValue(None, Path(sys.argv[1]))\n"
        "async def go():\n    await (await kv.client()).set('a', 1)\n"
        "loop = asyncio.new_event_loop()\nloop.run_until_complete(go())\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(valkey_home)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


async def test_a_lane_sends_again_on_a_broken_connection(store: KeyValue) -> None:
    """The server has closed it in the meantime."""
    client = await store.client()
    lane = Lane(client)
    await lane("SET", "lane", "1")
    for connection in store.sync().client_list(_type="normal") if store.server else []:
        if connection["cmd"] == "set":
            store.sync().client_kill_filter(_id=connection["id"])
    assert await lane("GET", "lane") == b"1"
    with pytest.raises(redis.ResponseError):
        await lane("INCR", "lane", "too", "many")
    assert await lane("GET", "lane") == b"1"
    await store.aclose()


async def test_a_thousand_commands_at_once_find_connections(store: KeyValue) -> None:
    """More than redis-py's own pool would open."""
    client = await store.client()
    await client.set("many", "1")
    assert await asyncio.gather(*(client.get("many") for _ in range(300))) == [b"1"] * 300
    await store.aclose()


def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    """Before anything connects."""
    with pytest.raises(SettingsError, match="url: 'http://h' is not the address of a Redis or Valkey"):
        KeyValue("http://u:pw@h", tmp_path)
