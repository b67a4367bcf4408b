"""Several addresses of one endpoint: who is asked, who rests, who comes back, and that no call is lost."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest
from serving_doubles import ANSWER, CHAT, ask, delta, http, listen, sends, sse

from workbench import errors
from workbench.records import Message
from workbench.serving.openai_compatible import OpenAICompatible
from workbench.serving.replicas import Replica, Replicas

Make = Callable[..., Any]
REST = 1.0  # seconds of the first rest


class Clock:
    """Monotonic seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Probes:
    """Says for each address whether it is back; counts how often it was asked."""

    def __init__(self, *back: str) -> None:
        self.back = set(back)
        self.asked: Counter[str] = Counter()

    async def __call__(self, url: str) -> bool:
        self.asked[url] += 1
        await asyncio.sleep(0)
        return url in self.back


def of(count: int, probes: Probes | None = None) -> tuple[Replicas, Clock]:
    clock = Clock()
    return Replicas([f"r{number}" for number in range(count)], probes or Probes(), clock=clock), clock


async def chosen(replicas: Replicas, count: int = 1) -> list[str | None]:
    found = [await replicas.choose() for _ in range(count)]
    return [replica.url if replica else None for replica in found]


# -- who is asked


async def test_equal_ones_take_turns() -> None:
    """Also when one of them rests: the others are asked equally often."""
    replicas, _ = of(3)
    assert {"r0": 4, "r1": 4, "r2": 4} == Counter(await chosen(replicas, 12))
    replicas.failed(replicas.all[1], "refused", refused=True)
    assert {"r0": 6, "r2": 6} == Counter(await chosen(replicas, 12))


async def test_the_one_with_the_fewest_calls_in_flight() -> None:
    """A slow one gets fewer, whoever's turn it is."""
    replicas, _ = of(3)
    for replica, count in zip(replicas.all, (3, 1, 2), strict=True):
        replica.outstanding = count
    assert ["r1"] * 5 == await chosen(replicas, 5)


async def test_one_that_was_tried_is_not_asked_again_for_the_same_call() -> None:
    """None when all were."""
    replicas, _ = of(2)
    first = await replicas.choose()
    assert first is not None
    second = await replicas.choose([first])
    assert second is not None
    assert {"r0", "r1"} == {first.url, second.url}
    assert await replicas.choose([first, second]) is None


# -- who rests, and comes back


async def test_one_of_several_that_refuses_rests_at_once() -> None:
    """Nobody listens there."""
    replicas, _ = of(2)
    replicas.failed(replicas.all[0], "refused", refused=True)
    assert ["r1"] * 3 == await chosen(replicas, 3)
    assert "resting: refused" in repr(replicas)


async def test_one_of_several_rests_after_three_failures_in_a_row() -> None:
    """A success in between begins the count anew."""
    replicas, _ = of(2)
    flaky = replicas.all[0]
    for _ in range(2):
        replicas.failed(flaky, "no answer in time")
    replicas.worked(flaky)
    for _ in range(2):
        replicas.failed(flaky, "no answer in time")
    assert {"r0", "r1"} == set(await chosen(replicas, 2))
    replicas.failed(flaky, "no answer in time")
    assert ["r1"] * 2 == await chosen(replicas, 2)


async def test_a_probe_brings_one_back_and_keeps_nobody_waiting() -> None:
    """While another is up, the probe runs beside the calls; before the rest is over there is none."""
    probes = Probes("r0")
    replicas, clock = of(2, probes)
    replicas.failed(replicas.all[0], "refused", refused=True)
    await chosen(replicas, 2)
    assert {} == probes.asked
    clock.now += REST
    assert ["r1"] == await chosen(replicas)
    for _ in range(3):
        await asyncio.sleep(0)
    assert {"r0", "r1"} == set(await chosen(replicas, 2))
    assert {"r0": 1} == probes.asked


async def test_each_rest_is_twice_as_long_up_to_a_limit() -> None:
    """Until it comes back."""
    probes = Probes()
    replicas, clock = of(1, probes)
    for _ in range(5):
        replicas.failed(replicas.all[0], "refused")
    rests = []
    for _ in range(7):
        rests.append(replicas.retry_after())
        clock.now += rests[-1]
        assert [None] == await chosen(replicas)
    assert [1, 2, 4, 8, 16, 30, 30] == rests
    clock.now += replicas.retry_after()
    probes.back = {"r0"}
    assert ["r0"] == await chosen(replicas)
    for _ in range(5):
        replicas.failed(replicas.all[0], "refused")
    assert REST == replicas.retry_after()


async def test_many_callers_share_one_probe() -> None:
    """A server that has just come up is not met by a crowd of probes."""
    probes = Probes("r0")
    replicas, clock = of(1, probes)
    for _ in range(5):
        replicas.failed(replicas.all[0], "refused")
    clock.now += REST
    found = await asyncio.gather(*(replicas.choose() for _ in range(20)))
    assert [replicas.all[0]] * 20 == found
    assert {"r0": 1} == probes.asked


async def test_the_probe_that_answers_counts_not_the_first_that_ends() -> None:
    """One of three is back, and its probe takes longest."""

    async def alive(url: str) -> bool:
        for _ in range(5 * int(url[1:])):
            await asyncio.sleep(0)
        return url == "r2"

    clock = Clock()
    replicas = Replicas(["r0", "r1", "r2"], alive, clock=clock)
    for replica in replicas.all:
        replicas.failed(replica, "refused", refused=True)
    clock.now += REST
    assert ["r2"] == await chosen(replicas)


async def test_a_caller_that_gives_up_leaves_the_probe_to_the_others() -> None:
    """Cancelling one of two that wait."""
    ready = asyncio.Event()

    async def alive(url: str) -> bool:
        await ready.wait()
        return True

    clock = Clock()
    replicas = Replicas(["r0"], alive, clock=clock)
    for _ in range(5):
        replicas.failed(replicas.all[0], "refused")
    clock.now += REST
    impatient, patient = (asyncio.create_task(replicas.choose()) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    ready.set()
    assert replicas.all[0] is await patient


async def test_closing_ends_a_probe() -> None:
    """Nothing is left behind in the event loop."""

    async def alive(url: str) -> bool:
        await asyncio.Event().wait()
        return True

    clock = Clock()
    replicas = Replicas(["r0", "r1"], alive, clock=clock)
    replicas.failed(replicas.all[0], "refused", refused=True)
    clock.now += REST
    await replicas.choose()
    assert replicas.all[0].probe is not None
    async with asyncio.timeout(5):
        await replicas.aclose()
    assert replicas.all[0].probe.cancelled()


async def test_an_answer_of_an_older_call_ends_the_rest() -> None:
    """It works, whatever the probe would have said."""
    replicas, _ = of(2)
    replicas.failed(replicas.all[0], "refused", refused=True)
    replicas.worked(replicas.all[0])
    assert {"r0", "r1"} == set(await chosen(replicas, 2))


# -- calls over HTTP


def raising(status: int, **headers: str) -> Any:
    return sends(http('{"error": {"message": "no"}}', status, **headers))


GOOD = sends(http(json.dumps(ANSWER)))


def counts(runtime: OpenAICompatible) -> list[tuple[int, int, bool]]:
    """For each replica: in flight, served, resting."""
    return [(r.outstanding, r.served, bool(r.resting_until)) for r in runtime.connection.replicas.all]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("act", "resting"),
    [(sends(b""), False), (raising(502), False), (raising(503), False), (raising(504), False), (sends(b"-ERR\r\n"), False),
     (None, True)],
    ids=["reset", "502", "503", "504", "no-http", "refused"],
)  # fmt: skip
async def test_another_double_takes_over(
    raw: Make, endpoint: Make, unused_tcp_port: int, act: Any, resting: bool, stream: bool
) -> None:
    """The call succeeds, whoever of the two was asked first; one that refuses rests at once."""
    bad = f"http://127.0.0.1:{unused_tcp_port}" if act is None else raw(act).url
    good = raw(sends(http(sse(delta("ok", "stop"), "[DONE]"), content_type="text/event-stream")) if stream else GOOD)
    runtime = OpenAICompatible(endpoint(bad, good.url))
    texts = [(await listen(runtime))[1].text if stream else (await ask(runtime)).text for _ in range(2)]

    assert ["ok", "ok"] == texts
    assert [(0, 0, resting), (0, 2, False)] == counts(runtime)


async def test_a_double_that_only_fails_does_not_draw_the_calls(raw: Make, endpoint: Make) -> None:
    """500 is an answer, and so quick that the broken replica would always be the least busy: it rests after three."""
    bad, good = raw(raising(500)), raw(GOOD)
    runtime = OpenAICompatible(endpoint(bad.url, good.url))
    failed = 0
    for _ in range(10):
        try:
            await runtime.complete(CHAT)
        except errors.ServerError:
            failed += 1
    await runtime.aclose()
    assert (3, 3) == (failed, len(bad.heads))


async def test_a_stream_of_a_double_that_breaks_before_its_first_byte_is_taken_over(raw: Make, endpoint: Make) -> None:
    """The head alone promises nothing; nobody has seen anything of it yet."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 500\r\n\r\n"
    good = sends(http(sse(delta("ok", "stop"), "[DONE]"), content_type="text/event-stream"))
    runtime = OpenAICompatible(endpoint(raw(sends(head)).url, raw(good).url))
    for _ in range(2):
        assert (["ok"], "ok") == (lambda pieces, found: (pieces, found.text))(*await listen(runtime))
    assert [0, 2] == [served for _, served, _ in counts(runtime)]


async def test_a_stream_of_a_double_that_breaks_later_is_an_error(raw: Make, endpoint: Make) -> None:
    """Who reads it has a part already; it is never begun again behind their back."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http(sse(delta("The")), length=500, content_type="text/event-stream"))
        await writer.drain()
        await seen.wait()

    servers = [raw(act) for _ in range(2)]
    seen = asyncio.Event()
    runtime = OpenAICompatible(endpoint(*(server.url for server in servers)))
    pieces: list[str] = []

    async def read() -> None:
        async for chunk in runtime.stream(CHAT):
            pieces.append(chunk.text)
            for server in servers:
                server.loop.call_soon_threadsafe(seen.set)

    with pytest.raises(errors.IncompleteStreamError):
        await read()
    await runtime.aclose()
    assert ["The"] == pieces
    assert [1] == [len(server.heads) for server in servers if server.heads]


async def test_replicas_that_are_all_busy_are_overloaded(raw: Make, endpoint: Make) -> None:
    """The last one's own answer is told, with its Retry-After; each was asked once, and none rests for it."""
    servers = [raw(raising(503, retry_after="3")) for _ in range(2)]
    runtime = OpenAICompatible(endpoint(*(server.url for server in servers)))
    for _ in range(4):
        with pytest.raises(errors.OverloadedError) as caught:
            await runtime.complete(CHAT)
        assert 3.0 == caught.value.retry_after
    await runtime.aclose()
    assert [4, 4] == [len(server.heads) for server in servers]
    assert [(0, False), (0, False)] == [(busy, rests) for busy, _, rests in counts(runtime)]


async def test_a_double_that_is_silent_rests_after_three_deadlines(raw: Make, endpoint: Make) -> None:
    """The deadline is for the call, not for each replica, so such a call is lost; the fourth is not."""
    silent = raw(lambda reader, writer: silent.hold(reader))
    good = raw(GOOD)
    runtime = OpenAICompatible(endpoint(silent.url, good.url))
    good_one = runtime.connection.replicas.all[1]
    good_one.outstanding = 5  # so that the silent one is asked
    for _ in range(3):
        with pytest.raises(errors.CallTimeoutError):
            await runtime.complete(replace(CHAT, timeout=0.5))
    assert "ok" == (await ask(runtime)).text
    assert [(0, 0, True), (5, 1, False)] == counts(runtime)


async def test_one_deadline_holds_for_all_replicas_together(
    raw: Make, endpoint: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two calls, of which one is sent to two doubles, begin two deadlines."""
    deadlines: list[float | None] = []
    original = asyncio.timeout
    monkeypatch.setattr(asyncio, "timeout", lambda delay: (deadlines.append(delay), original(delay))[1])
    servers = [raw(sends(b"")), raw(GOOD)]
    runtime = OpenAICompatible(endpoint(*(server.url for server in servers)))
    for _ in range(2):
        await ask(runtime)
    # the first is asked twice: it might have been closing a kept connection
    assert [2, 2] == [len(server.heads) for server in servers]
    assert [CHAT.timeout] * 2 == [delay for delay in deadlines if delay is not None]


async def test_a_cancelled_call_is_no_longer_in_flight(raw: Make, endpoint: Make) -> None:
    """The count of a double goes back."""
    server = raw(lambda reader, writer: server.hold(reader))
    runtime = OpenAICompatible(endpoint(server.url))
    for begin in (lambda: runtime.complete(CHAT), lambda: anext(runtime.stream(CHAT))):
        task = asyncio.ensure_future(begin())
        await asyncio.to_thread(server.arrived.wait, 5)
        assert 1 == runtime.connection.replicas.all[0].outstanding
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert 0 == runtime.connection.replicas.all[0].outstanding
        server.arrived.clear()
    await runtime.aclose()


async def test_too_many_open_files_are_no_fault_of_a_replica(
    endpoint: Make, monkeypatch: pytest.MonkeyPatch, raw: Make
) -> None:
    """This process cannot connect to anybody; nobody is sent to rest for it."""
    runtime = OpenAICompatible(endpoint(*(raw(GOOD).url for _ in range(2))))

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socket", fail)
    for _ in range(4):
        with pytest.raises(errors.ConnectError, match="too many open files"):
            await runtime.complete(CHAT)
    monkeypatch.undo()
    assert [False, False] == [rests for _, _, rests in counts(runtime)]
    assert "ok" == (await ask(runtime)).text


# -- a single address


async def test_the_breaker_of_a_single_address(endpoint: Make, raw: Make, unused_tcp_port: int) -> None:
    """After five refusals it is not asked: the error says when it will be. Then a probe, and it is asked again."""
    clock = Clock()
    url = f"http://127.0.0.1:{unused_tcp_port}"
    runtime = OpenAICompatible(endpoint(url), monotonic=clock)
    for _ in range(5):
        with pytest.raises(errors.ConnectError, match="nobody listens"):
            await runtime.complete(CHAT)
    with pytest.raises(errors.ConnectError, match=r"was not asked.*nobody listens.*asked again in 1\.0 s") as caught:
        await runtime.complete(CHAT)
    assert (REST, True) == (caught.value.retry_after, caught.value.retryable)

    clock.now += REST
    with pytest.raises(errors.ConnectError, match=r"was not asked.*asked again in 2\.0 s"):
        await runtime.complete(CHAT)  # the probe was refused, too

    with ExitStack() as stack:
        stack.enter_context(Process(unused_tcp_port))
        with pytest.raises(errors.ConnectError, match="was not asked"):
            await runtime.complete(CHAT)
        clock.now += 2 * REST
        assert CHAT.messages[-1].content == (await ask(runtime)).text


async def test_a_server_that_answers_breaks_no_circuit(raw: Make, endpoint: Make) -> None:
    """A double that says 500 to everything is asked each time; it is for the caller to stop."""
    server = raw(raising(500))
    runtime = OpenAICompatible(endpoint(server.url))
    for _ in range(8):
        with pytest.raises(errors.ServerError):
            await runtime.complete(CHAT)
    await runtime.aclose()
    assert 8 == len(server.heads)


# -- one of three is killed in the middle of a run


class Process:
    """echo_server.py on a port, as a process that can be killed and started again."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._command = [sys.executable, "-S", str(Path(__file__).with_name("echo_server.py")), str(port)]

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert b"listening\n" == self.process.stdout.readline()
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def three(free_port: Callable[[], int]) -> Iterator[list[Process]]:
    """Three servers, each a process."""
    with ExitStack() as stack:
        yield [stack.enter_context(Process(free_port())) for _ in range(3)]


@pytest.mark.parametrize("stream", [False, True])
async def test_no_call_is_lost_when_one_of_three_doubles_is_killed(
    three: list[Process], endpoint: Make, stream: bool
) -> None:
    """200 calls, 16 at once; a server is killed with SIGKILL after 60. All are answered, and rightly; it comes back."""
    clock = Clock()
    runtime = OpenAICompatible(endpoint(*(server.url for server in three)), monotonic=clock)
    left, answers = iter(range(200)), {}

    async def call(number: int) -> str:
        request = replace(CHAT, messages=(Message("user", f"call {number}"),), timeout=30.0)
        if not stream:
            return (await runtime.complete(request)).text
        return "".join([chunk.text async for chunk in runtime.stream(request)])

    async def work() -> None:
        for number in left:
            answers[number] = await call(number)
            if len(answers) == 60:
                three[1].process.kill()

    await asyncio.gather(*(work() for _ in range(16)))
    victim: Replica = runtime.connection.replicas.all[1]
    served = victim.served
    assert {number: f"call {number}" for number in range(200)} == answers
    assert [0, 0, 0] == [busy for busy, _, _ in counts(runtime)]
    assert (200, True) == (sum(count for _, count, _ in counts(runtime)), bool(victim.resting_until))
    assert 0 < served < 60

    three[1].__exit__()
    three[1].__enter__()
    clock.now += REST
    async with asyncio.timeout(60):
        while victim.resting_until:
            await call(0)  # the others answer while the probe is on its way
    for _ in range(3):
        await call(0)
    await runtime.aclose()
    assert victim.served > served
