"""The watcher beside a real server that is cut off, restarted, paused, emptied or away from the start."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from workbench.errors import InputError
from workbench.releases import Live, Releases, Watcher
from workbench.releases.keys import Keys
from workbench.releases.last_good import copy_of, file_of
from workbench.stores.keyvalue import KeyValue

if TYPE_CHECKING:
    from conftest import Make, Proxy, Server


class Clock:
    """Real time, and what was added to it."""

    def __init__(self) -> None:
        import time

        self._now = time.monotonic
        self.more = 0.0

    def __call__(self) -> float:
        return self._now() + self.more


@pytest.fixture
def watcher_of(tmp_path: Path) -> Iterator[Callable[..., Watcher]]:
    """watcher_of(url): watches feature f, quick to try again."""
    made: list[tuple[Watcher, KeyValue]] = []

    def make(url: str, *features: str, **options: Any) -> Watcher:
        kv = KeyValue(url, tmp_path)
        given = {"poll": 0.1, "pauses": (0.01, 0.05)} | options
        watcher = Watcher(kv, tmp_path / "home", features or ("f",), **given)
        made.append((watcher, kv))
        return watcher.start()

    yield make
    for watcher, kv in made:
        watcher.close(timeout=20)
        kv.close()


def seen(watcher: Watcher, number: int, feature: str = "f") -> Live:
    """What is live, once it is release `number`."""
    live = watcher.current(feature)
    while live is None or live.release.number != number:
        live = watcher.next(feature, after=live, timeout=30)
        assert live is not None, watcher.state(feature)
    return live


def until(watcher: Watcher, holds: Callable[[], bool]) -> None:
    """Until something holds, looking whenever the watcher has heard of the store."""
    for _ in range(2000):
        if holds():
            return
        watcher.changed(timeout=0.05)
    raise AssertionError(watcher.state())


def test_a_change_is_seen_by_its_message(
    server: Server, releases: Releases, variant: Make, watcher_of: Callable[..., Watcher]
) -> None:
    """Long before the next poll; several features, and one that is added later."""
    watcher = watcher_of(server.url, "f", "g", poll=1000.0)
    assert watcher.wait("f") is None
    releases.create("g", variant(2), reason="a")
    releases.create("f", variant(1), reason="a")
    assert "triage@1" == seen(watcher, 1).release.prompt_ref
    assert "triage@2" == seen(watcher, 1, "g").release.prompt_ref
    releases.create("f", variant(3), reason="b")
    two = seen(watcher, 2)
    releases.rollback("f", reason="c")
    assert (2, 3) == (two.sequence, seen(watcher, 1).sequence)
    releases.create("h", variant(1), reason="a")
    watcher.add("h")
    assert 1 == seen(watcher, 1, "h").sequence
    with pytest.raises(InputError, match="name the feature: f, g, h"):
        watcher.current()


def test_a_message_that_was_lost_costs_one_poll(
    server: Server, releases: Releases, variant: Make, watcher_of: Callable[..., Watcher]
) -> None:
    """The sequence in the store is the truth."""
    releases.create("f", variant(1), reason="a")
    watcher = watcher_of(server.url)
    seen(watcher, 1)
    keys = Keys.of("f")
    with server.client() as client:
        old = client.hgetall(keys.live)
        releases.create("f", variant(2), reason="b")
        seen(watcher, 2)
        client.hset(keys.live, mapping=old)  # without a message; and a step back, as after a failover
    assert 1 == seen(watcher, 1).sequence


def test_a_cut_connection_is_made_up_for(
    proxy: Proxy, releases: Releases, variant: Make, watcher_of: Callable[..., Watcher]
) -> None:
    """What was said meanwhile is there after it; until then the old one is served."""
    releases.create("f", variant(1), reason="a")
    watcher = watcher_of(proxy.url)
    seen(watcher, 1)
    for number in (2, 3):
        proxy.cut()
        releases.create("f", variant(number), reason="b")
        faults = watcher.faults
        until(watcher, lambda faults=faults: watcher.faults > faults)  # type: ignore[misc]
        assert number - 1 == watcher.current().release.number  # type: ignore[union-attr]
        assert "failed" in (watcher.state().fault or "")
        proxy.mend()
        seen(watcher, number)
        until(watcher, lambda: watcher.state().fault is None)


def test_an_outage_of_eight_seconds_is_survived_and_its_age_is_told(
    proxy: Proxy, releases: Releases, variant: Make, watcher_of: Callable[..., Watcher]
) -> None:
    """More tries than redis-py makes by itself; the seconds are those of an injected clock."""
    releases.create("f", variant(1), reason="a")
    clock = Clock()
    watcher = watcher_of(proxy.url, clock=clock)
    seen(watcher, 1)
    assert watcher.staleness() < 5
    proxy.cut()
    releases.create("f", variant(2), reason="b")
    for _ in range(16):
        faults = watcher.faults
        until(watcher, lambda faults=faults: watcher.faults > faults)  # type: ignore[misc]
        clock.more += 0.5
    state = watcher.state()
    assert state.staleness >= 8
    assert (1, "store") == (state.live.release.number if state.live else 0, state.source)
    proxy.mend()
    seen(watcher, 2)
    assert watcher.staleness() < 5


def test_a_server_that_dies_and_comes_back_is_followed_again(
    server: Server, releases: Releases, variant: Make, watcher_of: Callable[..., Watcher]
) -> None:
    """kill -9, restart on its append-only file."""
    releases.create("f", variant(1), reason="a")
    watcher = watcher_of(server.url)
    one = seen(watcher, 1)
    server.kill()
    until(watcher, lambda: watcher.faults > 2)
    assert one is watcher.current()
    server.start()
    until(watcher, lambda: watcher.state().fault is None)
    assert one is watcher.current()
    releases.create("f", variant(2), reason="b")
    seen(watcher, 2)


def test_a_paused_server_makes_it_old_not_wrong(
    server: Server, releases: Releases, variant: Make, watcher_of: Callable[..., Watcher]
) -> None:
    """SIGSTOP: reads go on from memory, their age grows; SIGCONT: it is followed again."""
    releases.create("f", variant(1), reason="a")
    watcher = watcher_of(f"{server.url}?socket_timeout=0.1")
    seen(watcher, 1)
    server.signal(signal.SIGSTOP)
    until(watcher, lambda: watcher.faults > 1)
    assert watcher.staleness() >= 0.1
    assert 1 == seen(watcher, 1).release.number
    server.signal(signal.SIGCONT)
    releases.create("f", variant(2), reason="b")
    seen(watcher, 2)


def test_an_application_starts_while_the_store_is_away(
    server: Server, releases: Releases, variant: Make, watcher_of: Callable[..., Watcher], tmp_path: Path
) -> None:
    """From the last known good on disk, which says how old it is; the store takes over when it is there."""
    releases.create("f", variant(1, "Ä {{message}}"), reason="a")
    first = watcher_of(server.url)
    one = seen(first, 1)
    first.close()
    server.kill()
    second = watcher_of(server.url, wall=lambda: time.time() + 3600)
    assert one == second.wait()
    state = second.state()
    assert (one, "file") == (state.live, state.source)
    assert 3600 <= state.staleness < 3700
    until(second, lambda: second.faults > 0)
    assert "failed" in (second.state().fault or "")
    server.start()
    until(second, lambda: second.state().source == "store")
    assert one == second.current()


def test_a_file_of_the_future_is_served_and_its_age_called_unknown(
    server: Server, releases: Releases, watcher_of: Callable[..., Watcher], variant: Make
) -> None:
    """A clock that was set back would else make an old release look fresh."""
    releases.create("f", variant(), reason="x")
    first = watcher_of(server.url)
    seen(first, 1)
    first.close(timeout=20)
    server.kill()
    second = watcher_of(server.url, wall=lambda: time.time() - 3600)
    live = second.current()
    assert live is not None
    assert 1 == live.release.number
    assert "is of this machine's future" in (second.state().fault or "")
    server.start()
    until(second, lambda: second.state().source == "store")
    assert second.state().fault is None


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "text", "another feature's"])
def test_a_damaged_file_is_never_served(
    damage: str, server: Server, releases: Releases, variant: Make, watcher_of: Callable[..., Watcher], tmp_path: Path
) -> None:
    """Nor its copy, where both are; it says so; the store's answer is served, and the files are written anew."""
    for feature in ("f", "g"):
        releases.create(feature, variant(1), reason="a")
    first = watcher_of(server.url, "f", "g")
    seen(first, 1, "f"), seen(first, 1, "g")
    first.close()
    folder = tmp_path / "home" / "releases"
    path = file_of(folder, "f")
    whole = path.read_bytes()
    middle = len(whole) // 2
    damaged = (
        {
            "flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :], "cut": whole[:middle], "empty": b"",
            "text": b"not JSON\n", "another feature's": file_of(folder, "g").read_bytes(),
        }[damage]
    )  # fmt: skip
    for each in (path, copy_of(folder, "f")):
        each.write_bytes(damaged)
    server.kill()
    second = watcher_of(server.url)
    assert second.wait() is None
    state = second.state()
    assert ("none", math.inf) == (state.source, state.staleness)
    assert "is damaged" in (state.fault or "") or "belongs to g" in (state.fault or "")
    server.start()
    seen(second, 1)
    second.close()
    assert whole.partition(b"\n")[2] == path.read_bytes().partition(b"\n")[2]
    assert path.read_bytes() == copy_of(folder, "f").read_bytes()
    for place in (folder, folder / "copies"):
        assert ["f.json", "g.json"] == sorted(item.name for item in place.glob("*") if item.is_file() and item.suffix)


def test_a_store_that_was_emptied_takes_nothing_from_readers(
    server: Server, releases: Releases, variant: Make, watcher_of: Callable[..., Watcher]
) -> None:
    """Nor does one whose document is broken; the fault says which."""
    releases.create("f", variant(1), reason="a")
    watcher = watcher_of(server.url)
    one = seen(watcher, 1)
    with server.client() as client:
        client.hset(Keys.of("f").live, mapping={"sequence": "7", "document": "{"})
        until(watcher, lambda: "cannot be read" in (watcher.state().fault or ""))
        client.flushall()
    until(watcher, lambda: "no release of f any more" in (watcher.state().fault or ""))
    assert one is watcher.current()
    releases.create("f", variant(2), reason="new")
    seen(watcher, 1)
    until(watcher, lambda: watcher.state().fault is None)


def test_readers_never_see_half_of_a_release(
    server: Server, releases: Releases, variant: Make, watcher_of: Callable[..., Watcher]
) -> None:
    """Two threads read while another goes back and forth: every part belongs to the same release."""
    first = releases.create("f", variant(1, "one {{message}}", seed=1), reason="a")
    second = releases.create("f", variant(2, "two {{message}}", seed=2), reason="b")
    whole = {(r.number, r.prompt.text, r.params.seed, r.digest) for r in (first, second)}
    watcher = watcher_of(server.url)
    watcher.wait()
    torn: list[object] = []
    numbers: set[int] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            live = watcher.current()
            release = live.release if live else first
            numbers.add(release.number)
            found = (release.number, release.prompt.text, release.params.seed, release.digest)
            if found not in whole or live is None or live.releases[release.number] is not release:
                torn.append(found)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(30):
        releases.rollback("f", to=1 + number % 2, reason="x")
    for number in (1, 2):  # the watcher may have seen no more than the last of those, and the readers what lasted
        releases.rollback("f", to=number, reason="x")
        seen(watcher, number)
        while number not in numbers:
            time.sleep(0.001)
    done.set()
    for thread in threads:
        thread.join()
    assert ([], {1, 2}) == (torn, numbers)


def test_a_folder_that_cannot_be_written_is_told_and_nothing_else(
    server: Server, releases: Releases, variant: Make, tmp_path: Path, watcher_of: Callable[..., Watcher]
) -> None:
    """The store is followed all the same."""
    (tmp_path / "home").write_text("a file where the folder should be")
    releases.create("f", variant(1), reason="a")
    watcher = watcher_of(server.url)
    seen(watcher, 1)
    until(watcher, lambda: "cannot be written" in (watcher.state().fault or ""))


async def test_code_that_awaits_can_wait_too(
    server: Server, releases: Releases, variant: Make, watcher_of: Callable[..., Watcher]
) -> None:
    """`ready` does not hold the loop."""
    releases.create("f", variant(1), reason="a")
    live = await watcher_of(server.url).ready()
    assert live is not None
    assert 1 == live.release.number


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_follows_by_itself(server: Server, releases: Releases, variant: Make, tmp_path: Path) -> None:
    """As servers do that load the application before they fork their workers."""
    releases.create("f", variant(1), reason="a")
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from workbench.stores.keyvalue import KeyValue\n"
        "from workbench.releases import Watcher\n"
        "watcher = Watcher(KeyValue(sys.argv[1], Path(sys.argv[2])), Path(sys.argv[2]), ['f']).start()\n"
        "one = watcher.wait()\n"
        "if os.fork() == 0:\n"
        "    print('forked', flush=True)\n"
        "    found = watcher.next(after=one, timeout=60)\n"
        "    print(found.release.number, flush=True)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    )
    command = [sys.executable, "-c", script, server.url, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "forked\n" == process.stdout.readline()
        releases.create("f", variant(2), reason="b")
        assert "2\n" == process.stdout.readline()
