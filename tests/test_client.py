"""One call: turns, deadlines and retries, against doubles of servers and the scripted runtime."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from workbench import errors
from workbench.calls import CallLog
from workbench.client import Client
from workbench.records import Message, Request
from workbench.serving.scripted import Rule, Scripted
from workbench.settings import load_settings

if TYPE_CHECKING:
    from conftest import OpenAIDouble


class Clock:
    """Seconds that pass only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def chat(text: str = "love it", model: str = "openai/m", timeout: float = 10.0) -> Request:
    """A request of one message."""
    return Request(model, "chat", (Message("user", text),), timeout=timeout)


def scripted(project: Path, *rules: Rule) -> tuple[Client, Scripted, Clock]:
    """A client whose endpoint `scripted` answers by these rules, on a clock of its own."""
    clock = Clock()
    runtime = Scripted(rules, sleep=clock.sleep)
    return (
        Client(load_settings(project), runtimes={"scripted": runtime}, sleep=clock.sleep, clock=clock),
        runtime,
        clock,
    )


@pytest.fixture
def toml(project: Path, openai_double: OpenAIDouble) -> Any:
    """toml(text) writes the table of the endpoint `openai`, whose address is the double's, and opens a client."""

    def write(text: str = "") -> Client:
        (project / "workbench.toml").write_text(f'[endpoints.openai]\nurl = "{openai_double.url}"\n{text}\n')
        return Client(load_settings(project))

    return write


async def test_the_double_never_sees_more_calls_at_once_than_its_endpoint_allows(
    toml: Any, openai_double: OpenAIDouble
) -> None:
    """Whoever calls, and however many at once: concurrency is the endpoint's."""
    openai_double.delay = 0.02
    client = toml("concurrency = 3")
    outcomes = await asyncio.gather(*(client.call(chat()) for _ in range(20)))
    await client.aclose()
    assert ["positive"] * 20 == [outcome.completion.text for outcome in outcomes]
    assert 3 == openai_double.most_in_flight
    assert {1, 2, 3} == {outcome.in_flight for outcome in outcomes}


async def test_waiting_for_a_turn_is_queued_time_and_no_latency(toml: Any, openai_double: OpenAIDouble) -> None:
    """The second of two calls says how long it waited, apart from what the double took."""
    openai_double.delay = 0.2
    client = toml("concurrency = 1")
    first, second = await asyncio.gather(client.call(chat()), client.call(chat()))
    await client.aclose()
    assert 0.0 == first.completion.timing.queued
    assert second.completion.timing.queued >= 0.19
    assert second.completion.timing.total < second.completion.timing.queued + 0.15


async def test_a_double_that_refuses_more_than_four_at_once_answers_every_call(
    toml: Any, openai_double: OpenAIDouble
) -> None:
    """The concurrency falls until the refusals end, and no call is lost."""
    openai_double.delay, openai_double.capacity = 0.01, 4
    client = toml()
    outcomes = await asyncio.gather(*(client.call(chat(), retries=8) for _ in range(150)))
    limit = client.limiter("openai/m").limit
    await client.aclose()
    assert Counter({"positive": 150}) == Counter(o.completion.text if o.completion else o.error for o in outcomes)
    assert limit < 8
    assert openai_double.calls < 300


async def test_all_tries_together_take_at_most_twice_the_timeout(project: Path) -> None:
    """A server that always fails slowly is not waited for for ever."""
    client, runtime, clock = scripted(project, Rule(error="ServerError", delay=8.0))
    outcome = await client.call(chat(model="scripted/m", timeout=10.0), retries=10)
    assert isinstance(outcome.error, errors.CallTimeoutError)  # of the third try, which had less than 10 s left
    assert clock.now <= 20.0
    assert 3 == runtime.calls


async def test_waiting_for_another_turn_takes_nothing_of_the_second_try(project: Path) -> None:
    """Who was refused goes to the end of the queue; however long that is, its next try has its whole time."""
    (project / "workbench.toml").write_text('[endpoints.fake]\nkind = "scripted"\nrequests_per_minute = 0.5\n')
    clock = Clock()
    runtime = Scripted([Rule(error="OverloadedError", times=1), Rule(answer="a", delay=8.0)], sleep=clock.sleep)
    client = Client(load_settings(project), runtimes={"fake": runtime}, sleep=clock.sleep, clock=clock)
    outcome = await client.call(chat(model="fake/m", timeout=10.0))
    assert (None, 2) == (outcome.error, outcome.attempts)
    assert 120.0 <= clock.now
    assert outcome.completion is not None
    assert 100.0 < outcome.completion.timing.queued


@pytest.mark.parametrize("act", ["complete", "stream", "embed"])
async def test_one_call_waits_for_its_turn_no_longer_than_its_timeout(
    act: str, toml: Any, openai_double: OpenAIDouble
) -> None:
    """Whoever asks once is answered or told in time, and it is logged; a run's calls wait as long as it takes."""
    client = toml("concurrency = 1")
    log = client._log = CallLog(client.settings.calls, client.settings.runs)
    limiter = client.limiter("openai/m")
    began = await limiter.enter()
    calls = {
        "complete": lambda: client.complete(chat(timeout=0.01)),
        "stream": lambda: anext(client.stream(chat(timeout=0.01))),
        "embed": lambda: client.embed("openai/m", ["x"], timeout=0.01),
    }
    with pytest.raises(errors.CallTimeoutError, match=r"openai/m was not asked: .* within 0.01 s .*: 1, at most 1 now"):
        await calls[act]()
    patient = asyncio.create_task(client.call(chat(timeout=5.0)))
    await asyncio.sleep(0)
    limiter.leave(began)
    assert (await patient).completion is not None
    await client.aclose()
    assert 1 == openai_double.calls
    assert ["CallTimeoutError"] == log.frame()["error"].tolist()


async def test_a_long_retry_after_ends_a_call_at_once(project: Path) -> None:
    """What cannot be waited for within the deadline is told now and not later."""
    client, runtime, clock = scripted(project, Rule(error="RateLimitError", retry_after=50.0))
    outcome = await client.call(chat(model="scripted/m", timeout=10.0))
    assert isinstance(outcome.error, errors.RateLimitError)
    assert 1 == runtime.calls
    assert 0.0 == clock.now


async def test_a_short_retry_after_is_waited_for(project: Path) -> None:
    """The server's wish counts, where it is longer than our own backoff."""
    client, runtime, clock = scripted(
        project, Rule(error="OverloadedError", retry_after=3.0, times=2), Rule(answer="positive")
    )
    outcome = await client.call(chat(model="scripted/m", timeout=10.0))
    assert outcome.completion is not None
    assert (3, 3) == (runtime.calls, outcome.attempts)
    assert 6.0 <= clock.now


async def test_the_servers_wish_is_never_cut_short(project: Path) -> None:
    """A wait of five minutes that the deadline allows is waited for, rather than three of one minute that must fail."""
    client, runtime, clock = scripted(
        project, Rule(error="RateLimitError", retry_after=300.0, times=1), Rule(answer="a")
    )
    outcome = await client.call(chat(model="scripted/m", timeout=600.0))
    assert outcome.completion is not None
    assert 2 == runtime.calls
    assert 300.0 <= clock.now


async def test_an_endpoint_without_a_limiter_counts_nobody(project: Path) -> None:
    """Scripted and embedded models bound themselves."""
    client, _, _ = scripted(project, Rule(answer="positive"))
    assert client.limiter("scripted/m") is None
    assert (await client.call(chat(model="scripted/m"))).in_flight is None


async def test_a_budget_makes_calls_wait_also_for_scripted_models(project: Path) -> None:
    """Sixty a minute on an endpoint of one's own: the seventh call waits for a second."""
    (project / "workbench.toml").write_text('[endpoints.fake]\nkind = "scripted"\nrequests_per_minute = 60\n')
    clock = Clock()
    client = Client(
        load_settings(project), runtimes={"fake": Scripted([Rule(answer="a")])}, sleep=clock.sleep, clock=clock
    )  # fmt: skip
    for _ in range(7):
        assert (await client.call(chat(model="fake/m"))).completion is not None
    assert 1.0 == pytest.approx(clock.now)


async def test_a_cancelled_stream_gives_its_turn_back(toml: Any, openai_double: OpenAIDouble) -> None:
    """Leaving a stream early lets the next call in."""
    client = toml("concurrency = 1")
    chunks = client.stream(chat())
    await anext(chunks)
    assert 1 == client.limiter("openai/m").in_flight
    await chunks.aclose()
    assert 0 == client.limiter("openai/m").in_flight
    assert (await client.call(chat())).completion is not None
    await client.aclose()


async def test_a_stream_is_tried_again_as_long_as_nothing_has_come(project: Path) -> None:
    """Refused twice, then answered: one row, three tries, jittered waits that honour the server's wish."""
    client, runtime, clock = scripted(
        project, Rule(error="OverloadedError", retry_after=5, times=2), Rule(answer="all well")
    )
    chunks = [chunk async for chunk in client.stream(chat(model="scripted/m"))]
    assert "all well" == "".join(chunk.text for chunk in chunks)
    assert chunks[-1].completion is not None
    assert 3 == runtime.calls
    assert [5, 5] == clock.slept


async def test_a_stream_that_broke_off_is_not_tried_again(project: Path) -> None:
    """What has been shown cannot be taken back."""
    client, runtime, _ = scripted(project, Rule(answer="a b c d", error="IncompleteStreamError"))
    pieces: list[str] = []

    async def read() -> None:
        async for chunk in client.stream(chat(model="scripted/m")):
            pieces.append(chunk.text)  # noqa: PERF401  (they are there when it breaks)

    with pytest.raises(errors.IncompleteStreamError):
        await read()
    assert (["a ", "b "], 1) == (pieces, runtime.calls)


async def test_a_stream_gives_up_after_its_tries(project: Path) -> None:
    """As a whole answer does; the last error is raised."""
    client, runtime, clock = scripted(project, Rule(error="RateLimitError"))
    with pytest.raises(errors.RateLimitError):
        await anext(client.stream(chat(model="scripted/m")))
    assert (4, 3) == (runtime.calls, len(clock.slept))


async def test_models_without_embeddings_say_so(project: Path) -> None:
    """The error names what to use."""
    client, _, _ = scripted(project, Rule(answer="positive"))
    with pytest.raises(errors.BadRequestError, match="make no embeddings here"):
        await client.embed("scripted/m", ["a"])


async def test_embeddings_of_a_double_come_in_order(toml: Any, openai_double: OpenAIDouble) -> None:
    """One row a text, float32, in the order in which they were given."""
    client = toml()
    found = await client.embed("openai/m", ["aaaa", "bb", "c"])
    await client.aclose()
    assert (3, 2) == found.vectors.shape
    assert np.float32 == found.vectors.dtype
    assert [4.0, 2.0, 1.0] == found.vectors[:, 0].tolist()
    assert 7 == found.usage.prompt_tokens


async def test_embeddings_of_a_double_count_in_the_budget_of_tokens(toml: Any, openai_double: OpenAIDouble) -> None:
    """As the server counted them, however few were taken for them before."""
    client = toml("tokens_per_minute = 60")
    clock = Clock()
    client = Client(client.settings, sleep=clock.sleep, clock=clock)
    for _ in range(2):
        await client.embed("openai/m", ["aaaa", "bb", "c"])
    await client.aclose()
    # a burst of 6, and 7 were used: the second one waits until its estimate of 1 is there
    assert [2.0] == clock.slept


async def test_closing_closes_all_and_the_log_also_if_one_fails(project: Path) -> None:
    """What failed is raised afterwards."""
    closed = []

    class Failing(Scripted):
        async def aclose(self) -> None:
            closed.append(self)
            raise OSError("made to fail")

    class Closing(Scripted):
        async def aclose(self) -> None:
            closed.append(self)

    class Log(CallLog):
        def close(self) -> None:
            closed.append(self)

    settings = load_settings(project)
    runtimes = {"a": Closing(), "b": Failing(), "c": Closing()}
    log = Log(settings.calls, settings.runs)
    with pytest.raises(OSError, match="made to fail"):
        await Client(settings, log=log, runtimes=runtimes).aclose()
    assert {*runtimes.values(), log} == set(closed)
    assert log is closed[-1]
