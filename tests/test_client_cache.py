"""Calls through the exact cache: a real embedded Valkey, a double of a server that counts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from workbench import Workbench, errors
from workbench.records import Message, Params, Request
from workbench.stores.valkey import EmbeddedValkey

if TYPE_CHECKING:
    from conftest import OpenAIDouble

SURE = {"temperature": 0}


@pytest.fixture
def cached(project: Path, openai_double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """cached() opens a workbench of one project, whose cache is on and whose model is the double's; its Valkey is stopped."""
    monkeypatch.setenv("OPENAI_BASE_URL", openai_double.url)
    monkeypatch.setenv("WORKBENCH_MODEL", "openai/m")
    monkeypatch.setenv("WORKBENCH_CACHE", "on")
    yield lambda: Workbench(project)
    EmbeddedValkey(project / ".workbench").stop()


async def test_an_equal_question_is_answered_once_and_spends_nothing_the_second_time(
    cached: Any, openai_double: OpenAIDouble
) -> None:
    """Across two workbenches, as in two processes: the same text and measures, another source, and two rows in the log."""
    async with cached() as bench:
        first = await bench.ask("love it", params=SURE)
    async with cached() as bench:
        second = await bench.ask("love it", params=SURE)
        rows = bench.calls.frame()
        stats = await bench.cache.stats()
    assert ("model", "exact") == (first.source, second.source)
    assert (first.text, first.usage, first.timing) == (second.text, second.usage, second.timing)
    assert 1 == openai_double.calls
    assert ["model", "exact"] == rows["source"].tolist()
    assert 0.0 == rows["spent"].iloc[1]
    assert rows["ended_at"].is_monotonic_increasing
    assert (1, 1) == (stats.total.hits, stats.total.misses)


async def test_two_hundred_equal_questions_at_once_are_asked_once(cached: Any, openai_double: OpenAIDouble) -> None:
    """Whoever comes while the first is being answered waits for that answer."""
    openai_double.delay = 0.3
    async with cached() as bench:
        answers = await asyncio.gather(*(bench.ask("love it", params=SURE) for _ in range(200)))
    assert {"positive"} == {answer.text for answer in answers}
    assert 1 == openai_double.calls


async def test_what_may_differ_each_time_is_asked_each_time(cached: Any, openai_double: OpenAIDouble) -> None:
    """No temperature is not temperature 0; cached=True says so, cached=False says no."""
    async with cached() as bench:
        for options in ({}, {}, {"params": SURE, "cached": False}, {"params": SURE, "cached": False}):
            assert "model" == (await bench.ask("love it", **options)).source
        assert 4 == openai_double.calls
        await bench.ask("love it", cached=True)
        assert "exact" == (await bench.ask("love it", cached=True)).source
    assert 5 == openai_double.calls


async def test_tenants_share_nothing(cached: Any, openai_double: OpenAIDouble) -> None:
    """Equal questions of two tenants are two questions."""
    async with cached() as bench:
        for tenant in ("a", "b", None, "a", "b", None):
            await bench.ask("love it", params=SURE, tenant=tenant)
    assert 3 == openai_double.calls


async def test_a_stream_is_kept_and_served_as_one_piece(cached: Any, openai_double: OpenAIDouble) -> None:
    """What was streamed serves who does not stream, and the other way round."""
    request = Request("openai/m", "chat", (Message("user", "love it"),), params=Params(temperature=0))
    async with cached() as bench:
        chunks = [chunk async for chunk in bench.client.stream(request)]
        again = [chunk async for chunk in bench.client.stream(request)]
        whole = await bench.client.complete(request)
        rows = bench.calls.frame()
    assert chunks[-1].completion.text == again[-1].completion.text == whole.text
    assert ["positive", ""] == [chunk.text for chunk in again]
    assert ("exact", "exact") == (again[-1].completion.source, whole.source)
    assert 1 == openai_double.calls
    assert ["model", "exact", "exact"] == rows["source"].tolist()


async def test_errors_are_raised_logged_and_never_kept(cached: Any, openai_double: OpenAIDouble) -> None:
    """A refusal of the server is the caller's, and the next one asks again."""
    openai_double.refuse = "love"
    async with cached() as bench:
        for _ in range(2):
            with pytest.raises(errors.BadRequestError):
                await bench.ask("love it", params=SURE)
        openai_double.refuse = ""
        assert "model" == (await bench.ask("love it", params=SURE)).source
        assert ["BadRequestError", "BadRequestError"] == bench.calls.frame()["error"].dropna().tolist()


async def test_comparisons_do_not_use_it(cached: Any, openai_double: OpenAIDouble) -> None:
    """A comparison measures: its own rows are what it replays, and the cache is not asked."""
    async with cached() as bench:
        bench.prompts.create("tone", "Is it good? {{message}}", config={"params": {"temperature": 0}})
        plan = bench.plan(prompts=["tone@1"], dataset="reviews", limit=5)
        await bench.compare(plan)
        await bench.compare(plan, fresh=True)
    assert 12 == openai_double.calls
    assert not (bench.settings.home / "valkey").exists()


async def test_a_store_that_is_away_lets_every_call_through(
    cached: Any, openai_double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing raises, nothing waits long, and the fault is counted."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    async with cached() as bench:
        for _ in range(3):
            assert "model" == (await bench.ask("love it", params=SURE)).source
        stats = await bench.cache.stats()
    assert 3 == openai_double.calls
    assert stats.total.faults > 0
    assert not stats.complete


@pytest.mark.parametrize("stream", [False, True])
async def test_code_of_the_openai_package_gets_the_cache(
    cached: Any, openai_double: OpenAIDouble, stream: bool
) -> None:
    """The second call, and `ask` for the same, are answered from it; the answer says so, and the log has all three."""
    messages: Any = [{"role": "user", "content": "love it"}]
    async with cached() as bench:
        client = bench.openai("openai/m")
        found = []
        for _ in range(2):
            answer: Any = await client.chat.completions.create(
                model="m", messages=messages, temperature=0, stream=stream
            )
            chunks = [chunk async for chunk in answer] if stream else []
            text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) if stream else None
            found.append(text if stream else answer.choices[0].message.content)
        asked = await bench.ask("love it", params=SURE)
        assert ["model", "exact", "exact"] == bench.calls.frame()["source"].tolist()
        if not stream:
            assert "exact" == answer.workbench["source"]
    assert found[0]
    assert found[0] == found[1] == asked.text
    assert 1 == openai_double.calls
