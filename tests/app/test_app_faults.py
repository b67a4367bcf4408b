"""`bench.call` while its store is cut off, dead, hanging or full, its disk takes nothing, or its process is killed; all real."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from workbench import Workbench
from workbench.errors import StoreError
from workbench.online.assignment import Arm, Experiment
from workbench.online.picture import read_picture, read_study
from workbench.releases.last_good import copy_of, file_of
from workbench.serving.scripted import Rule, Scripted

if TYPE_CHECKING:
    from conftest import OpenAIDouble, Proxy, Server

TOML = 'model = "bot/m"\n[endpoints.bot]\nkind = "scripted"\n[endpoints.bot.options]\nrules = [{answer = "fine"}]\n'
USERS = [f"user-{number}" for number in range(60)]
QUICK = 1.0  # seconds; a call takes milliseconds, and what waits for the store takes longer than this

Make = Callable[[str], Workbench]


@pytest.fixture
async def bench_of(project: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    """bench_of(url): a process's own workbench of one project, whose releases are there."""
    (project / "workbench.toml").write_text(TOML)
    made: list[Workbench] = []

    def make(url: str) -> Workbench:
        monkeypatch.setenv("RELEASES_URL", url)
        bench = Workbench(
            project, runtimes={"bot": Scripted([Rule(match="slow", answer="x", delay=30), Rule(answer="fine")])}
        )
        bench.prompts.create("triage", "Label: {{message}}")
        bench.app.counters._every = 0.1  # instead of a second, so that no test waits for it
        made.append(bench)
        return bench

    yield make
    for bench in made:
        await bench.aclose()


def start(bench: Workbench) -> Experiment:
    """Release 1 against release 2 of feature f, half of the users each."""
    for live in (True, False):
        bench.releases.create("f", bench.variants(["triage"])[0], reason="test", live=live)
    given = Experiment("f", "canary", 1, (Arm("treatment", 2),), 0.5)
    bench.releases.set_experiment("f", given.to_mapping(), reason="test")
    return given


async def call_all(bench: Workbench, users: list[str]) -> float:
    """The slowest call's seconds."""
    slowest = 0.0
    for user in users:
        began = time.perf_counter()
        assert "fine" == (await bench.call("f", message="hi", user=user)).text
        slowest = max(slowest, time.perf_counter() - began)
    return slowest


async def until(holds: Callable[[], Any]) -> None:
    """Within a minute."""
    for _ in range(1200):
        with suppress(StoreError):
            if await asyncio.to_thread(holds):
                return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come about")


def rows(bench: Workbench) -> list[dict[str, Any]]:
    found = bench.calls.sql("select * from calls where feature = 'f'")
    return [dict(row) for row in json.loads(found.to_json(orient="records"))]


def counted(bench: Workbench) -> int:
    return sum(cell.figures.calls for cell in read_picture(bench._release_kv, "f").cells)


@contextmanager
def fault(kind: str, server: Server, proxy: Proxy) -> Iterator[None]:
    """The store does not answer, or takes nothing, for as long as this lasts."""
    if kind == "cut":
        proxy.cut()
        yield
        proxy.mend()
    elif kind == "killed":
        server.kill()
        yield
        server.start()
    elif kind == "paused":
        server.signal(signal.SIGSTOP)
        yield
        server.signal(signal.SIGCONT)
    else:
        with server.client() as client:
            client.config_set("maxmemory", "1mb")
            yield
            client.config_set("maxmemory", "0")


@pytest.mark.parametrize("kind", ["cut", "killed", "paused", "memory full"])
async def test_calls_go_on_without_the_store_and_all_is_counted_after_it(
    kind: str, server: Server, proxy: Proxy, bench_of: Make
) -> None:
    """Nobody waits; what is live is known with its age; counts and exposures arrive once, and agree with the log."""
    bench = bench_of(f"{proxy.url}?socket_timeout=0.3")
    given = start(bench)
    await call_all(bench, USERS[:20])
    with fault(kind, server, proxy):
        assert await call_all(bench, USERS[20:40]) < QUICK
        if kind == "memory full":
            await until(lambda: "maxmemory" in bench.app.counters.last_fault)
            bench.releases.rollback("f", to=2, reason="it works all the same")
            bench.releases.rollback("f", to=1, reason="back")
            bench.releases.set_experiment("f", given.to_mapping(), reason="again")
            assert await asyncio.to_thread(_sequence, bench, 6)
        else:
            await until(lambda: "failed" in (bench.app.state("f").fault or ""))
            state = bench.app.state("f")
            assert state.live is not None
            assert ("store", 1) == (state.source, state.live.release.number)
            assert 0 < state.staleness < 30
        assert await call_all(bench, USERS[40:]) < QUICK
    await until(lambda: counted(bench) == 60)
    found = rows(bench)
    study = read_study(bench._release_kv, "f", given.key)
    for arm in ("control", "treatment"):
        mine = [row for row in found if row["arm"] == arm]
        assert len(mine) == study.users(arm) == study.moments[arm, "errors"].c
    assert (60, 60) == (len(found), counted(bench))
    await until(lambda: bench.app.state("f").fault is None)


def _sequence(bench: Workbench, number: int) -> bool:
    watcher = bench.app._watcher
    assert watcher is not None
    live = watcher.current("f")
    while live is None or live.sequence < number:
        live = watcher.next("f", after=live, timeout=60)
        assert live is not None
    return True


@pytest.mark.parametrize("damage", [None, "text", "cut short", "gone"])
async def test_an_application_starts_without_the_store(damage: str | None, server: Server, bench_of: Make) -> None:
    """From the last known good, or its copy where that is damaged; it says from where, how old and what is wrong."""
    first = bench_of(server.url)
    start(first)
    await call_all(first, USERS[:1])
    await first.aclose()
    server.kill()
    path = file_of(first.settings.home / "releases", "f")
    if damage == "gone":
        path.unlink()
    elif damage is not None:
        path.write_bytes(b"not JSON" if damage == "text" else path.read_bytes()[:200])
    second = bench_of(server.url)
    assert await call_all(second, USERS) < 5.0
    state = second.app.state("f")
    assert ("file", True) == (state.source, "failed" in (state.fault or ""))
    assert 0 < state.staleness < 60
    assert (damage in ("text", "cut short")) == ("Its copy is used" in (state.fault or ""))
    server.start()
    await until(lambda: second.app.state("f").source == "store" and second.app.state("f").fault is None)


async def test_without_file_copy_and_store_it_is_said_and_heals(server: Server, bench_of: Make) -> None:
    """The error names both; as soon as the store is there, calls are answered, and the files are written anew."""
    first = bench_of(server.url)
    start(first)
    await call_all(first, USERS[:1])
    await first.aclose()
    server.kill()
    folder = first.settings.home / "releases"
    for path in (file_of(folder, "f"), copy_of(folder, "f")):
        path.write_bytes(path.read_bytes()[:-1])
    second = bench_of(server.url)
    for _ in range(2):
        with pytest.raises(StoreError, match=r"not known what is live for f: .*no last known good"):
            await second.call("f", message="hi")
    assert "is damaged" in (second.app.state("f").fault or "")
    server.start()
    await until(lambda: second.app.state("f").live)
    await call_all(second, USERS[:1])
    await second.aclose()
    server.kill()
    assert await call_all(bench_of(server.url), USERS[:3]) < 5.0


async def test_many_first_calls_at_once_wait_together_for_a_store_that_hangs(server: Server, bench_of: Make) -> None:
    """Not one after the other: all have their answer after about a second."""
    first = bench_of(server.url)
    start(first)
    await call_all(first, USERS[:1])
    await first.aclose()
    server.signal(signal.SIGSTOP)
    second = bench_of(server.url)
    began = time.perf_counter()
    answers = await asyncio.gather(*(second.call("f", message="hi", user=user) for user in USERS))
    assert time.perf_counter() - began < 5.0
    assert {"fine"} == {answer.text for answer in answers}
    server.signal(signal.SIGCONT)


async def test_calls_that_are_cancelled_anywhere_are_logged_and_counted(server: Server, bench_of: Make) -> None:
    """Each has one row and one count, an error if it did not end; nothing goes on afterwards."""
    bench = bench_of(server.url)
    start(bench)
    await bench.app.ready("f")
    dice = random.Random(5)
    before = asyncio.all_tasks()
    tasks = [asyncio.create_task(bench.call("f", message=f"slow {user}", user=user)) for user in USERS]
    for task in tasks:
        for _ in range(dice.randrange(4)):
            await asyncio.sleep(0)
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(item, asyncio.CancelledError) for item in ended)
    found = rows(bench)
    assert {"StoppedError"} == {row["error"] for row in found}
    await until(lambda: counted(bench) == len(found))
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before
    assert 30 < len(found) <= len(USERS)
    await call_all(bench, USERS[:1])


def run(script: str, project: Path, stdin: int | None = None) -> subprocess.Popen[str]:
    """A process of an application."""
    return subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=project,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


CALLER = """
import os, sys
from workbench import Workbench
bench = Workbench()
def calls(count):
    for number in range(count):
        print(bench.call_sync("f", message="hi", user=f"user-{number}").call_id, flush=True)
calls(1)
for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        print("pid", os.getpid(), flush=True)
        calls(1_000_000)
    os.waitpid(child, 0)
    print("\\ndead", flush=True)  # on a line of its own: the child may have died before the end of its line
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
async def test_what_a_killed_process_answered_is_in_the_log(server: Server, bench_of: Make, project: Path) -> None:
    """SIGKILL at 8 random moments; a row more for the call in flight, no half row; the store never has more than the log."""
    bench = bench_of(server.url)
    start(bench)
    dice = random.Random(3)
    with run(CALLER, project, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        answered, kills, longest = [process.stdout.readline().strip()], 0, 0.15
        while kills < 8 or len(answered) <= 10:
            assert kills < 80
            before, kills = len(answered), kills + 1
            process.stdin.write("\n")
            process.stdin.flush()
            pid = int(process.stdout.readline().split()[1])
            await asyncio.sleep(dice.uniform(0.0, longest))
            os.kill(pid, signal.SIGKILL)
            while (line := process.stdout.readline()) != "dead\n":
                assert line, process.stderr and process.stderr.read()
                answered += line.split()
            if len(answered) == before:  # a busy machine gets nothing done in the time of an idle one
                longest *= 1.3
        process.stdin.close()
    found = [row["call_id"] for row in rows(bench)]
    assert set(answered) <= set(found)
    assert len(found) == len(set(found)) <= len(answered) + kills
    assert counted(bench) <= len(found)


FULL = """
import json, resource, sys
from workbench import Workbench
bench = Workbench()
said = []
def calls(count):
    for number in range(count):
        assert bench.call_sync("f", message="hi", user=f"user-{number}").text == "fine"
        said.append(bench.app.fault)
calls(5)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (bench.calls._segment.path.stat().st_size + 300, hard))
calls(20)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
calls(5)
print(json.dumps(said))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
async def test_a_disk_that_is_full_fails_no_call(server: Server, bench_of: Make, project: Path) -> None:
    """The system takes only a part of a row, and then none: it is said, no torn row stays, and counting is whole."""
    bench = bench_of(server.url)
    start(bench)
    with run(FULL, project) as process:
        out, error = process.communicate(timeout=120)
    assert (0, "") == (process.returncode, error)
    said = json.loads(out)
    assert ["", *[""] * 4] == said[:5] == said[-5:]
    assert all("could not be written" in text for text in said[5:25])
    assert 10 == len(rows(bench))
    lines = b"".join(path.read_bytes() for path in bench.calls.folder.glob("*.jsonl")).splitlines()
    assert 10 == len([json.loads(line) for line in lines])
    await until(lambda: counted(bench) == 30)


FORK = """
import os, sys, threading
from workbench import Workbench
bench = Workbench()
def call(user): return bench.call_sync("f", message="hi", user=user).text
call("parent")
stop = threading.Event()
def busy():
    while not stop.is_set():
        call("parent")
threads = [threading.Thread(target=busy) for _ in range(3)]
for thread in threads: thread.start()
for number in range(3):
    child = os.fork()
    if child == 0:
        told = [call(f"child-{number}"), bench.app.state("f").source]
        bench.app._close()
        print(*told, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
stop.set()
for thread in threads: thread.join()
print("parent", call("parent"), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
async def test_a_forked_process_calls_while_its_parent_does(server: Server, bench_of: Make, project: Path) -> None:
    """The parent's threads are in the middle of calls: the child begins its own loop, client, log file and counts."""
    bench = bench_of(server.url)
    start(bench)
    with run(FORK, project) as process:
        try:
            out, error = process.communicate(timeout=120)
        finally:
            process.kill()
    assert 0 == process.returncode, error
    assert [*["fine store"] * 3, "parent fine"] == out.splitlines()
    found = rows(bench)
    assert {f"child-{number}" for number in range(3)} <= {row["user"] for row in found}
    await until(lambda: counted(bench) == len(found))


FORK_HTTP = """
import asyncio, os, sys, threading
from workbench import Workbench
bench = Workbench()
def call(text):
    assert bench.call_sync("f", message=text, timeout=60).text == f"heard Label: {text}"
async def acall(text):
    assert (await bench.call("f", message=text, timeout=60)).text == f"heard Label: {text}"
stop, failed = threading.Event(), []
def busy(number):
    while not stop.is_set():
        call(f"parent {number}")
async def side_by_side():
    while not stop.is_set():
        await asyncio.gather(*(acall(f"parent {number}") for number in range(6)))
def guarded(work, *arguments):
    try: work(*arguments)
    except BaseException as error: failed.append(repr(error))
threads = [threading.Thread(target=guarded, args=(busy, number)) for number in range(6)]
threads.append(threading.Thread(target=guarded, args=(asyncio.run, side_by_side())))
call("parent")
for thread in threads: thread.start()
for end in (sys.exit, os._exit):
    call("parent")
    child = os.fork()
    if child == 0:
        for number in range(3):
            call(f"child {number}")
        asyncio.run(acall("child"))
        if end is os._exit: bench.app._close()
        end(0)
    print(os.waitpid(child, 0)[1], flush=True)
stop.set()
for thread in threads: thread.join()
call("parent")
print(failed, flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
async def test_a_forked_process_asks_a_http_double_by_connections_of_its_own(
    server: Server, bench_of: Make, project: Path, openai_double: OpenAIDouble
) -> None:
    """The endpoint's limit is full of the parent's calls at the fork: the child has a limit of its own, no connection is used by
    both, every answer is that of its question, and the parent is not disturbed by a child that ends."""
    bench = bench_of(server.url)
    (project / "workbench.toml").write_text(
        f'model = "gpu/m"\n[endpoints.gpu]\nkind = "vllm"\nurls = ["{openai_double.url}"]\nconcurrency = 4\n'
    )
    async with Workbench(project) as other:
        other.releases.create("f", other.variants(["triage"])[0], reason="test")
    openai_double.delay = 0.05
    openai_double.says = lambda text: f"heard {text}"
    with run(FORK_HTTP, project) as process:
        try:
            out, error = await asyncio.to_thread(process.communicate, timeout=120)
        finally:
            process.kill()
    assert ["0", "0", "[]"] == out.splitlines(), error
    ports = {who: {port for port, text in openai_double.heard if who in text} for who in ("child", "parent")}
    assert ports["child"]
    assert not ports["child"] & ports["parent"]
    assert 8 == sum("child" in text for _, text in openai_double.heard)
    await until(lambda: counted(bench) == len(openai_double.heard))


async def test_an_application_ends_though_its_store_hangs(server: Server, bench_of: Make, project: Path) -> None:
    """Within some seconds, and with its answer."""
    bench = bench_of(f"{server.url}?socket_timeout=0.3")
    start(bench)
    script = (
        "import sys\nfrom workbench import Workbench\nbench = Workbench()\n"
        "print(bench.call_sync('f', message='hi', user='u').text, flush=True)\nsys.stdin.readline()\n"
        "print(bench.call_sync('f', message='hi', user='u').text, flush=True)\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=project, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert "fine\n" == process.stdout.readline()
        server.signal(signal.SIGSTOP)
        began = time.monotonic()
        process.stdin.write("\n")
        process.stdin.flush()
        assert "fine\n" == process.stdout.readline()
        await asyncio.to_thread(process.wait, 60)
        assert time.monotonic() - began < 10
    server.signal(signal.SIGCONT)
    assert 2 == len(rows(bench))


async def test_the_embedded_servers_death_is_not_noticed(valkey_home: Path, bench_of: Make, monkeypatch: Any) -> None:
    """kill -9: calls go on, it is started again on its data, and all is counted."""
    monkeypatch.setenv("WORKBENCH_HOME", str(valkey_home))
    monkeypatch.delenv("RELEASES_URL", raising=False)
    bench = bench_of("")
    start(bench)
    await call_all(bench, USERS[:20])
    assert bench._release_kv.server is not None
    pid = int((bench._release_kv.server.folder / "valkey.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    assert await call_all(bench, USERS[20:]) < QUICK
    await until(lambda: counted(bench) == 60)
    assert 1 == bench.releases.must_be_live("f").release.number
