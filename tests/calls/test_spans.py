"""Spans: what belongs together is joined, whatever the code in between is: sync, async, generators, threads."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import workbench
from workbench import Rule, Scripted, Workbench
from workbench.calls import CallLog, Span, Spans
from workbench.errors import CallError, InputError
from workbench.records import Call


@pytest.fixture
def log(tmp_path: Path) -> Iterator[CallLog]:
    """An own log."""
    found = CallLog(tmp_path / "calls", tmp_path / "runs")
    yield found
    found.close()


def rows(log: CallLog) -> dict[str, dict[str, Any]]:
    """Spans by name."""
    found = log.sql("select * from spans order by started_at").astype(object)
    return {row["name"]: row for row in found.where(found.notna(), None).to_dict("records")}


def test_spans_nest_and_hand_down_whose_they_are(log: CallLog) -> None:
    """A trace is one id; a parent is the span around; user, tenant, session, feature and tags reach what is inside."""
    span = Spans(log)
    with span("answer", user="u1", tenant="t1", session="s1", tags=["beta"]) as outer:
        with span("search", kind="retrieval", feature="helpdesk", top_k=3) as inner:
            inner.set(input="how?", documents=["one", {"text": "two"}])
        outer.set(output="so")
    found = rows(log)
    assert found["search"]["trace_id"] == found["answer"]["trace_id"] == outer.trace_id
    assert found["search"]["parent_id"] == outer.span_id
    assert found["answer"]["parent_id"] is None
    assert (32, 16) == (len(outer.trace_id), len(outer.span_id))
    assert ["one", "two"] == json.loads(found["search"]["documents"])
    assert ("u1", "t1", "s1", "helpdesk") == tuple(found["search"][n] for n in ("user", "tenant", "session", "feature"))
    assert found["answer"]["feature"] is None
    assert ["beta"] == json.loads(found["search"]["tags"])
    attributes = json.loads(found["search"]["attributes"])
    assert "retrieval" == attributes["gen_ai.operation.name"]
    assert 3 == attributes["top_k"]
    assert "s1" == attributes["gen_ai.conversation.id"]
    assert 0 <= found["search"]["ended_at"] - found["search"]["started_at"] < 5


def test_an_error_is_recorded_and_raised(log: CallLog) -> None:
    """The span has the error's class and words; whoever called gets the error itself."""
    span = Spans(log)
    with pytest.raises(ZeroDivisionError), span("outer"), span("inner"):
        _ = 1 / 0
    assert {"inner": "ZeroDivisionError", "outer": "ZeroDivisionError"} == {n: r["error"] for n, r in rows(log).items()}
    assert "division by zero" in rows(log)["inner"]["error_message"]


async def test_a_decorator_fits_every_kind_of_function(log: CallLog) -> None:
    """Plain and async functions, generators and async generators give what they gave, each call with a span of its own."""
    span = Spans(log)

    @span
    def plain(x: int) -> int:
        """Doc."""
        return x + 1

    @span(kind="retrieval")
    async def waits(x: int) -> list[str]:
        await asyncio.sleep(0)
        return [f"d{x}"]

    @span("numbers", kind="retrieval")
    def yields(count: int) -> Iterator[str]:
        got = yield "first"
        assert got == "sent"
        for number in range(count):
            yield str(number)
        return "returned"  # type: ignore[return-value]

    @span(kind="tool")
    async def streams(count: int) -> AsyncIterator[int]:
        for number in range(count):
            await asyncio.sleep(0)
            yield number

    assert 2 == plain(1)
    assert "Doc." == plain.__doc__
    assert ["d1"] == await waits(1)
    made = yields(2)
    assert "first" == next(made)
    assert "0" == made.send("sent")  # type: ignore[attr-defined]
    assert ["1"] == list(made)
    assert [0, 1, 2] == [number async for number in streams(3)]
    found = rows(log)
    assert {"plain", "waits", "numbers", "streams"} == set(found)
    assert ["d1"] == json.loads(found["waits"]["documents"])
    assert ["first", "0", "1"] == json.loads(found["numbers"]["documents"])
    assert 4 == len({row["trace_id"] for row in found.values()})
    plain(1)
    assert 2 == log.sql("select count(distinct span_id) from spans where name = 'plain'").iloc[0, 0]


@pytest.mark.parametrize("how", ["close", "throw", "raise"])
def test_a_generator_that_ends_early_leaves_one_span(log: CallLog, how: str) -> None:
    """One that nobody reads to its end is no error; what is thrown into it, or raised by it, is."""
    span, cleaned = Spans(log), []

    @span
    def numbers() -> Iterator[int]:
        try:
            yield 1
            raise KeyError("inside")
        finally:
            cleaned.append(True)

    made = numbers()
    assert 1 == next(made)
    if how == "close":
        made.close()  # type: ignore[attr-defined]
    elif how == "throw":
        with pytest.raises(ValueError, match="thrown"):
            made.throw(ValueError("thrown"))  # type: ignore[attr-defined]
    else:
        with pytest.raises(KeyError):
            next(made)
    assert [True] == cleaned
    assert {"close": None, "throw": "ValueError", "raise": "KeyError"}[how] == rows(log)["numbers"]["error"]


async def test_a_generator_is_current_only_while_it_runs(log: CallLog) -> None:
    """What its reader opens between two pieces does not belong to it; what it opens itself does."""
    span = Spans(log)

    @span
    async def pieces() -> AsyncIterator[int]:
        for number in range(2):
            with span(f"in {number}"):
                await asyncio.sleep(0)
            yield number

    async for number in pieces():
        with span(f"out {number}"):
            pass
    found = rows(log)
    assert {found["pieces"]["span_id"]} == {found["in 0"]["parent_id"], found["in 1"]["parent_id"]}
    assert found["out 0"]["parent_id"] is None
    assert found["out 1"]["parent_id"] is None


async def test_tasks_and_threads_that_run_at_once_stay_apart(log: CallLog) -> None:
    """A hundred pipelines at once, each with a step in a thread: every step is in its own trace; one object may serve all."""
    span = Spans(log)
    outer = span("pipeline")

    def step(number: int) -> None:
        with span("step", number=number):
            pass

    async def pipeline(number: int) -> None:
        async with outer:
            await asyncio.sleep(0.001 * (number % 3))
            await asyncio.to_thread(step, number)

    await asyncio.gather(*(pipeline(number) for number in range(100)))
    joined = log.sql("select count(*) as n, count(distinct a.trace_id) as traces from spans a join spans b "
                     "on a.parent_id = b.span_id and a.trace_id = b.trace_id where a.name = 'step'")  # fmt: skip
    assert [100, 100] == joined.iloc[0].tolist()
    with span("here"), ThreadPoolExecutor(1) as pool:
        pool.submit(step, 0).result()  # a bare thread has no context
        pool.submit(copy_context().run, step, 1).result()
    assert (
        1
        == log.sql("select count(*) from spans where parent_id = (select span_id from spans where name = 'here')").iloc[
            0, 0
        ]
    )


def test_what_is_wrong_is_told_at_once(log: CallLog) -> None:
    """A kind that is none, a user that is no text, a span without a name."""
    span = Spans(log)
    with pytest.raises(InputError, match="must be one of workflow, retrieval"):
        span("x", kind="retriever")
    with pytest.raises(InputError, match="user = 7"):
        span("x", user=7)  # type: ignore[call-overload]
    with pytest.raises(InputError, match="name the span"), span:
        pass


async def test_calls_inside_belong_to_the_trace(project: Path) -> None:
    """Answers, streams, embeddings and failures carry trace, parent and whose they are; calls outside carry none."""
    rules = [Rule(match="hi", answer="hello"), Rule(match="bad", error="ServerError")]
    async with Workbench(runtimes={"scripted": Scripted(rules)}) as bench:
        with workbench.span("pipeline", user="u1", session="s1", tenant="t1") as here:
            await bench.ask("hi", model="scripted/m")
            async for _ in bench.stream("hi", model="scripted/m"):
                with workbench.span("meanwhile"):
                    pass
            with pytest.raises(CallError):
                await bench.client.complete(_request("bad"), retries=0)
        await bench.ask("hi", model="scripted/m", user="u2")
        found = bench.calls.frame()
        assert [here.trace_id] * 3 == found["trace_id"].tolist()[:3]
        assert [here.span_id] * 3 == found["parent_id"].tolist()[:3]
        assert ["u1", "u1", "u1", "u2"] == found["user"].tolist()
        assert ["t1", "t1", "t1"] == found["tenant"].tolist()[:3]
        assert found["trace_id"].isna().tolist() == [False, False, False, True]
        assert found["model_digest"].notna().all()
        assert {"scripted"} == set(found["endpoint"])
        assert here.trace_id == bench.calls.sql("select trace_id from spans where name = 'pipeline'").iloc[0, 0]


def _request(text: str) -> Any:
    from workbench.records import Message, Request

    return Request("scripted/m", "chat", (Message("user", text),))


def test_a_disk_that_takes_no_span_fails_nobody(tmp_path: Path) -> None:
    """The pipeline goes on; the log says why."""
    (tmp_path / "calls").write_text("a file where the folder should be")
    log = CallLog(tmp_path / "calls", tmp_path / "runs")
    with Spans(log)("step"):
        pass
    assert "could not be written" in log.fault


async def test_opentelemetry_gets_spans_and_calls_where_it_is_set_up(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One trace over its own spans, ours and the calls, in the names of its conventions, without texts unless they are wanted."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    async with Workbench(runtimes={"scripted": Scripted([Rule(answer="hello")])}) as bench:
        with provider.get_tracer("web").start_as_current_span("GET /"):
            with bench.span("answer", session="s1"):
                with bench.span("search", kind="retrieval") as found:
                    found.set(documents=["secret text"])
                await bench.ask("hi", model="scripted/m", params={"temperature": 0.5})
            await bench.ask("outside of ours", model="scripted/m")
        calls = bench.calls.frame()
        spans = rows(bench.calls)
    done = {span.name: span for span in exporter.get_finished_spans()}
    assert {"GET /", "invoke_workflow answer", "retrieval search", "chat m"} == set(done)
    everything = exporter.get_finished_spans()
    assert 1 == len({span.context.trace_id for span in everything})
    assert {f"{everything[0].context.trace_id:032x}"} == {
        *calls["trace_id"],
        *(row["trace_id"] for row in spans.values()),
    }
    assert done["retrieval search"].parent.span_id == done["invoke_workflow answer"].context.span_id
    assert f"{done['retrieval search'].context.span_id:016x}" == spans["search"]["span_id"]
    chat = [span for span in everything if span.name == "chat m"]
    assert chat[0].parent.span_id == done["invoke_workflow answer"].context.span_id
    assert chat[1].parent.span_id == done["GET /"].context.span_id
    assert {"gen_ai.provider.name": "scripted", "gen_ai.request.temperature": 0.5, "gen_ai.conversation.id": "s1",
            "gen_ai.operation.name": "chat"}.items() <= dict(chat[0].attributes).items()  # fmt: skip
    assert chat[0].attributes["gen_ai.usage.output_tokens"] == calls["completion_tokens"][0]
    assert "secret" not in json.dumps([str(dict(span.attributes or {})) for span in everything])


def test_a_seed_that_somebody_sets_makes_no_two_traces_one(log: CallLog) -> None:
    """Ids come from the system."""
    import random

    ids = []
    for _ in range(2):
        random.seed(0)
        with Spans(log)("x") as here:
            ids.append(here.trace_id)
    assert ids[0] != ids[1]


async def test_a_trace_is_a_tree_of_spans_and_calls(project: Path) -> None:
    """By its id, by a call's, or the latest; with times, tokens, money, the cache that answered, and what failed."""
    runtime = Scripted([Rule("bad", error="BadRequestError"), Rule(answer="<b>so</b>", delay=0.02)])
    async with Workbench(runtimes={"scripted": runtime}) as bench:
        with bench.span("earlier"):
            pass
        with bench.span("answer") as here:
            with bench.span("search", kind="retrieval"):
                first = await bench.ask("why?", model="scripted/m")
            second = Call(
                "2" * 16 + "-1-1", time.time(), "scripted/m", "chat", latency=0.5, cost=0.1, spent=0.0, source="exact"
            )
            bench.calls.append(replace(second, trace_id=here.trace_id, parent_id=here.span_id))
            with pytest.raises(CallError), bench.span("write <it>"):
                await bench.ask("bad", model="scripted/m")
        trace = bench.calls.trace()
        assert here.trace_id == trace.trace_id
        steps = list(zip(trace.frame["depth"], trace.frame["name"], strict=True))
        assert [(0, "answer"), (1, "search"), (2, "call"), (1, "call"), (1, "write <it>"), (2, "call")] == steps
        assert ["", "", "", "from the exact cache", "BadRequestError", "BadRequestError"] == list(trace.table()[""])
        assert "6 steps, 3 calls" in str(trace)
        assert "2 failed" in trace.summary
        assert all(24 == len(bar) and "█" in bar for bar in trace.table()["when"])
        assert "write &lt;it&gt;" in trace._repr_html_()
        assert "write <it>" not in trace._repr_html_()
        assert first.call_id is not None
        assert trace.frame.equals(bench.calls.trace(first.call_id).frame)
        assert trace.frame.equals(bench.calls.trace(here.trace_id).frame)
        alone = await bench.ask("how?", model="scripted/m")
        assert [(0, "call")] == list(
            zip(*(bench.calls.trace(alone.call_id).frame[n] for n in ("depth", "name")), strict=True)
        )
        with pytest.raises(InputError, match="no trace and no call 'nope'"):
            bench.calls.trace("nope")


def test_a_trace_shows_each_step_also_where_parents_are_missing_or_go_in_a_circle(log: CallLog) -> None:
    """Of a killed process the outer span is never written; a foreign trace may be broken."""
    with pytest.raises(InputError, match="no span yet"):
        log.trace()
    for name, parent in (("orphan", "f" * 16), ("a", "b" * 16), ("b", "a" * 16), ("child", "orphan")):
        span_id = name if name == "orphan" else name[0] * 16
        log.add_span(Span(span_id, "t" * 32, 2.0, name, "workflow", 1.0, parent_id=parent))
    found = log.trace("t" * 32).frame
    assert {"orphan": 0, "child": 1, "a": 0, "b": 0} == dict(zip(found["name"], found["depth"], strict=True))
