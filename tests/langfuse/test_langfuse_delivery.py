"""Live calls to Langfuse from the log, on a double of the server: at least once, each there once, also after an outage."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from workbench import Workbench
from workbench.cli import main
from workbench.errors import CallError, LangfuseError, RunError
from workbench.serving.scripted import Rule, Scripted
from workbench.settings import load_settings

RULES = [Rule(match="broken", error="BadRequestError"), Rule(match=".", answer="yes")]


def opened(project: Path, double: Any) -> Workbench:
    return Workbench(
        settings=load_settings(project, environ=double.environment), runtimes={"scripted": Scripted(RULES)}
    )


def ask(bench: Workbench, *messages: str) -> list[str]:
    async def go() -> list[str]:
        async with bench:
            ids = []
            for message in messages:
                with bench.span("answer", user="u1", session="s1", tags=["beta"]) as here:
                    done = await bench.ask(prompt="tone@1", inputs={"message": message}, model="scripted/m", user="u1")
                    here.set(input=message, output=done.text)
                assert done.call_id is not None
                bench.feedback(done.call_id, "helpful", 1, comment="good", feature="f")
                ids.append(done.call_id)
            return ids

    return asyncio.run(go())


@pytest.mark.parametrize("newer", [False, True])
def test_calls_are_traces_double(project: Path, langfuse_double: Any, newer: bool) -> None:
    """Generation below its span, with prompt version, usage, user, session, tags; errors too; feedback is a score."""
    data = langfuse_double.data
    data.newer = newer
    bench = opened(project, langfuse_double)
    bench.prompts.create("tone", "Label: {{message}}")
    bench.prompts.push("tone")
    ids = ask(bench, "one", "two")
    with pytest.raises(CallError):
        asyncio.run(bench.ask("broken", model="scripted/m"))
    assert "3 calls, 2 spans, 0 scores, 2 feedback" in str(bench.delivery.ship())
    calls = {one["langfuse.observation.metadata.call_id"]: one
             for one in data.attributes(langfuse__observation__type="generation")}  # fmt: skip
    spans = {one["spanId"]: one for one in data.attributes(langfuse__observation__type="chain")}
    assert (3, 2) == (len(calls), len(spans))
    for call_id in ids:
        made = calls[call_id]
        above = spans[made["parentSpanId"]]
        assert (above["traceId"], "u1", "s1") == (made["traceId"], made["user.id"], made["session.id"])
        assert ("tone", "1") == (made["langfuse.observation.prompt.name"], made["langfuse.observation.prompt.version"])
        assert ("yes", "yes") == (made["langfuse.observation.output"], above["langfuse.observation.output"])
        assert json.loads(made["langfuse.observation.usage_details"])["total"] > 0
        assert {"values": [{"stringValue": "beta"}]}["values"] == above["langfuse.trace.tags"]["values"]
        score = next(one for one in data.scores.values() if one["traceId"] == made["traceId"])
        assert ("helpful", 1, "good", made["spanId"]) == (
            score["name"], score["value"], score["comment"], score["observationId"],
        )  # fmt: skip
    failed = next(one for key, one in calls.items() if key not in ids)
    assert "ERROR" == failed["langfuse.observation.level"]
    assert failed["parentSpanId"] is None


def test_an_outage_costs_no_call_and_all_is_sent_later_double(project: Path, langfuse_double: Any) -> None:
    """While the server is away calls go on; afterwards each is there once, also when the memory of what was sent is lost."""
    data = langfuse_double.data
    bench = opened(project, langfuse_double)
    bench.prompts.create("tone", "Label: {{message}}")
    ask(bench, "one")
    assert 1 == bench.delivery.ship().calls
    assert "0 calls, 0 spans, 0 scores, 0 feedback" in str(bench.delivery.ship())
    langfuse_double.stop()
    before = len(langfuse_double.requests)
    ask(bench, "two", "three")
    assert before == len(langfuse_double.requests)
    with pytest.raises(LangfuseError):
        bench.delivery.ship()
    langfuse_double.start()
    again = opened(project, langfuse_double)
    assert (2, 2, 2) == ((done := again.delivery.ship()).calls, done.spans, done.feedback)
    assert (6, 3) == (len(data.spans), len(data.scores))
    state = next((again.settings.home / "langfuse").glob("*/delivered.json"))
    state.unlink()
    assert 3 == again.delivery.ship().calls
    assert 3 == again.delivery.ship(days=1).calls
    assert (6, 3) == (len(data.spans), len(data.scores))
    state.write_text("{")
    with pytest.raises(RunError, match="is damaged"):
        again.delivery.ship()


def test_a_large_span_holds_up_nothing_double(project: Path, langfuse_double: Any) -> None:
    """A span of several megabytes, which the server refuses, is sent with its texts cut, and so is all after it."""
    bench = opened(project, langfuse_double)
    bench.prompts.create("tone", "Label: {{message}}")
    with bench.span("search", kind="retrieval") as here:
        here.set(input="\U0001f600" * 300_000, output="\U0001f600" * 300_000, more="\U0001f600" * 300_000)
    ask(bench, "one")
    assert (1, 2) == ((done := bench.delivery.ship()).calls, done.spans)
    (found,) = langfuse_double.data.attributes(langfuse__observation__type="retriever")
    assert found["langfuse.observation.input"].startswith("\U0001f600" * 25_000)
    assert found["langfuse.observation.input"].endswith("more characters are in the call log)")


def test_the_command_double(
    project: Path, langfuse_double: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`workbench calls ship`."""
    bench = opened(project, langfuse_double)
    bench.prompts.create("tone", "Label: {{message}}")
    ask(bench, "one")
    monkeypatch.chdir(project)
    for name, value in langfuse_double.environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main(["calls", "ship"])
    assert 0 == ended.value.code
    assert "Sent to Langfuse: 1 calls, 1 spans, 0 scores, 1 feedback." in capsys.readouterr().out
