"""Writers and servers that die, hang, lose answers or have no memory left; all real."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from workbench.errors import StoreError
from workbench.releases import Releases
from workbench.releases.keys import Keys

if TYPE_CHECKING:
    from conftest import Make, Proxy, Server

WRITER = Path(__file__).with_name("release_writer.py")


@contextmanager
def writer(url: str, count: int = -1) -> Iterator[subprocess.Popen[str]]:
    """A process that makes releases, endlessly if count is -1."""
    process = subprocess.Popen([sys.executable, str(WRITER), url, str(count)], stdout=subprocess.PIPE, text=True)
    with process:
        yield process
        process.kill()


def assert_whole(releases: Releases, acknowledged: set[int]) -> None:
    """Nothing acknowledged is missing, and live, history and releases agree."""
    history, numbers = releases.history("f"), [release.number for release in releases.list("f")]
    live = releases.live("f")
    assert live is not None
    assert acknowledged <= set(numbers)
    assert list(range(1, len(numbers) + 1)) == numbers
    assert list(range(1, len(history) + 1)) == [event.sequence for event in history]
    assert len(history) == live.sequence
    assert (history.events[-1].release, releases.get("f", live.release.number)) == (live.release.number, live.release)


def test_a_writer_that_is_killed_leaves_all_or_nothing(releases: Releases, server: Server) -> None:
    """SIGKILL in the middle of releases, twice; the next writer goes on from there."""
    acknowledged: set[int] = set()
    for _ in range(2):
        with writer(server.url) as process:
            assert process.stdout is not None
            for _ in range(7):
                acknowledged.add(int(process.stdout.readline()))
            process.kill()
            acknowledged |= {int(line) for line in process.stdout.read().split()}
        assert_whole(releases, acknowledged)
    assert len(acknowledged) >= 14


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_writer_killed_at_any_moment_leaves_all_or_nothing(releases: Releases, server: Server) -> None:
    """SIGKILL at 30 random moments of the first releases of a process: before, in and after the change, and between two."""
    dice = random.Random(11)
    with subprocess.Popen(
        [sys.executable, str(WRITER), server.url, "forks"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        acknowledged, kills, longest = [int(process.stdout.readline())], 0, 0.06
        while kills < 30 or len(acknowledged) <= 10:
            assert kills < 200
            before, kills = len(acknowledged), kills + 1
            process.stdin.write("\n")
            process.stdin.flush()
            pid = int(process.stdout.readline().split()[1])
            time.sleep(dice.uniform(0.0, longest))
            os.kill(pid, signal.SIGKILL)
            while (line := process.stdout.readline()) != "dead\n":
                assert line
                acknowledged += map(int, line.split())
            if len(acknowledged) == before:  # a busy machine gets nothing done in the time of an idle one
                longest *= 1.1
    assert len(acknowledged) == len(set(acknowledged)) > 10
    assert_whole(releases, set(acknowledged))
    assert max(acknowledged) <= len(releases.list("f")) <= len(acknowledged) + kills


def test_what_was_acknowledged_survives_the_servers_death(releases: Releases, server: Server) -> None:
    """kill -9 while a process writes, three times; the data are those of the append-only file."""
    acknowledged: set[int] = set()
    for _ in range(3):
        with writer(server.url) as process:
            assert process.stdout is not None
            for _ in range(5):
                acknowledged.add(int(process.stdout.readline()))
            server.kill()
            said = process.stdout.read().splitlines()
        acknowledged |= {int(line) for line in said if line.isdigit()}
        assert "error the key-value store of the releases" in said[-1]
        server.start()
        assert_whole(releases, acknowledged)


def test_writers_at_once_lose_nothing(releases: Releases, server: Server) -> None:
    """Three processes make 20 each: each has a number of its own, and every change begins where the one before ended."""
    running = [
        subprocess.Popen([sys.executable, str(WRITER), server.url, "20"], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [int(number) for process in running for number in process.communicate(timeout=120)[0].split()]
    assert list(range(1, 61)) == sorted(said)
    assert_whole(releases, set(said))
    events = releases.history("f").events
    assert [None, *(event.release for event in events[:-1])] == [event.before for event in events]


@pytest.mark.parametrize("policy", ["noeviction", "volatile-ttl"])
def test_known_failure_a_rollback_fails_when_memory_is_full(
    policy: str, server: Server, releases: Releases, variant: Make
) -> None:
    """Also the first release of a feature; other writes are refused, and under volatile-ttl only what expires goes."""
    releases.create("f", variant(1), reason="a")
    with server.client() as client:
        client.set("expires", "x" * 1000, ex=1000)
        used = int(client.info("memory")["used_memory"])
        client.config_set("maxmemory-policy", policy)
        client.config_set("maxmemory", used + 300_000)
        with suppress(redis.exceptions.OutOfMemoryError):
            for number in range(10_000):
                client.set(f"filler-{number}", "x" * 1000)
        releases.create("f", variant(2, "Label: {{message}} " * 100), reason="b")
        releases.rollback("f", reason="c")
        releases.create("g", variant(1), reason="d")
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.set("more", "x" * 1000)
        assert (policy == "noeviction") == bool(client.exists("expires"))
    assert (("f", "g"), 1, 2) == (
        releases.features(),
        releases.history("f").events[-1].release,
        len(releases.list("f")),
    )


@pytest.mark.parametrize(("policy", "stays"), [("allkeys-lru", False), ("volatile-lru", True), ("volatile-ttl", True)])
def test_known_failure_a_live_release_is_evicted_under_allkeys_lru(
    policy: str, stays: bool, server: Server, releases: Releases, variant: Make
) -> None:
    """A cache that fills memory drives it out there, which is why `doctor` refuses allkeys-…; a volatile-… policy only takes what
    expires, and a release does not."""
    releases.create("f", variant(1), reason="a")
    with server.client() as client:
        client.config_set("maxmemory-policy", policy)
        client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + 300_000)
        for number in range(5_000):
            client.set(f"answer-{number}", "x" * 1000, ex=1000)
        assert int(client.info("stats")["evicted_keys"]) > 1_000
    assert stays == (releases.live("f") is not None)


def test_an_answer_that_is_lost_does_not_make_two(
    proxy: Proxy, releases_of: Callable[[str], Releases], variant: Make
) -> None:
    """The server has done it, the connection breaks before it says so: the command goes out again and finds itself done."""
    releases = releases_of(proxy.url)
    releases.create("f", variant(1), reason="a")
    proxy.swallow = b"RPUSH"
    assert 2 == releases.create("f", variant(2), reason="b").number
    assert proxy.swallow == b""
    assert [1, 2] == [event.release for event in releases.history("f")]


def test_a_server_that_hangs_is_told_with_what_it_may_have_done(
    server: Server, releases_of: Callable[[str], Releases], releases: Releases, variant: Make
) -> None:
    """SIGSTOP: nobody knows, and the error says so; once it goes on, the history tells."""
    releases.create("f", variant(1), reason="a")
    hasty = releases_of(f"{server.url}?socket_timeout=1")
    read = hasty._look

    def stop_then(feature: str, unsaid: str) -> object:
        seen = read(feature, unsaid)
        server.signal(signal.SIGSTOP)
        return seen

    hasty._look = stop_then  # type: ignore[method-assign, assignment]
    with pytest.raises(StoreError, match="may have been made or not: look at the history of f"):
        hasty.create("f", variant(2), reason="b")
    server.signal(signal.SIGCONT)
    assert_whole(releases, {1})


def test_a_server_that_is_away_is_an_error_that_says_so(server: Server, releases: Releases, variant: Make) -> None:
    """And nothing is made up; who wanted to change something is told that nothing was changed."""
    server.kill()
    for ask in (lambda: releases.live("f"), lambda: releases.create("f", variant(), reason="x"), releases.features):
        with pytest.raises(StoreError, match=r"key-value store of the releases .* failed"):
            ask()
    for change in (lambda: releases.rollback("f", reason="x"), lambda: releases.plan_rollback("f")):
        with pytest.raises(StoreError, match=r"failed: .* So nothing was changed"):
            change()
    server.start()


def test_where_the_server_has_an_append_only_file_it_is_waited_for(
    server: Server, releases: Releases, variant: Make
) -> None:
    """WAITAOF goes out with each change; without such a file nothing is waited for."""
    with server.client() as client:
        before = client.info("commandstats").get("cmdstat_waitaof", {}).get("calls", 0)
        releases.create("f", variant(1), reason="a")
        assert before + 1 == client.info("commandstats")["cmdstat_waitaof"]["calls"]
        client.config_set("appendonly", "no")
    releases.create("f", variant(2), reason="b")
    assert 2 == len(releases.history("f"))


def test_the_embedded_servers_file_is_written_to_the_disk(
    valkey_home: Path, monkeypatch: pytest.MonkeyPatch, variant: Make
) -> None:
    """By this process, because its WAITAOF answers too early."""
    from workbench.stores.keyvalue import KeyValue

    kv = KeyValue(None, valkey_home)
    synced: list[str] = []
    real = os.fsync

    def fsync(number: int) -> None:
        synced.append(Path(f"/proc/self/fd/{number}").readlink().name if sys.platform == "linux" else "incr.aof")
        real(number)

    monkeypatch.setattr(os, "fsync", fsync)
    Releases(kv, valkey_home).create("f", variant(), reason="a")
    kv.close()
    assert any(name.endswith("incr.aof") for name in synced)


def test_a_newer_programs_data_are_refused_not_guessed(server: Server, releases: Releases, variant: Make) -> None:
    """A document of another version is an error that says to update."""
    from workbench.errors import InputError

    releases.create("f", variant(), reason="a")
    with server.client() as client:
        client.hset(Keys.of("f").live, "document", '{"version": 2}')
    with pytest.raises(InputError, match="version 2, and this program reads 1: update it"):
        releases.live("f")
