"""The row of a call says all that the other parts know of it, whichever part made it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from workbench import Rule, Scripted, Workbench
from workbench.calls.context import context_of
from workbench.calls.tool_failures import count_tool_failures
from workbench.records import ModelInfo

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def asks(name: str, arguments: Any) -> dict[str, Any]:
    """A tool call in OpenAI's form."""
    return {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize(
    ("calls", "failures"),
    [
        ([], 0),
        ([asks("weather", '{"city": "Oslo"}')], 0),
        ([asks("weather", {"city": "Oslo"})], 0),
        ([asks("wetter", '{"city": "Oslo"}')], 1),
        ([asks("weather", '{"city": "Oslo"')], 1),
        ([asks("weather", '["Oslo"]')], 1),
        ([asks("weather", '{"town": "Oslo"}'), asks("weather", '{"city": 3}'), asks("weather", '{"city": ""}')], 2),
        ([{"id": "1"}], 1),
    ],
)
def test_a_tool_call_that_cannot_be_run_is_counted(calls: list[dict[str, Any]], failures: int) -> None:
    """Unknown tools, arguments that are no JSON object, and those that do not fit the schema."""
    assert failures == count_tool_failures(calls, [WEATHER])


def test_no_tools_are_no_failures() -> None:
    """Nothing offered and nothing called is None; a tool without a schema takes what comes; a broken schema blames nobody."""
    assert count_tool_failures([], []) is None
    assert 0 == count_tool_failures([asks("any", "")], [{"function": {"name": "any"}}])
    assert 0 == count_tool_failures(
        [asks("any", "{}")], [{"function": {"name": "any", "parameters": {"type": "nonsense"}}}]
    )


def test_the_context_is_found_among_the_inputs() -> None:
    """By the usual names, as a text or a list of texts; anything else is none."""
    assert "a" == context_of({"question": "q", "context": "a"})
    assert "a\n\nb" == context_of({"documents": ["a", "b"]})
    assert context_of({"question": "q", "context": " ", "sources": [{"text": "x"}]}) is None


class Slow(Scripted):
    """Says who it is a moment late, and counts how often it was asked."""

    asked = 0

    async def describe(self, model: str) -> ModelInfo:
        Slow.asked += 1
        await asyncio.sleep(0.05)
        if model == "gone":
            raise RuntimeError("no describe here")
        return await super().describe(model)


async def test_every_call_says_which_weights_answered(project: Path) -> None:
    """Many calls at once ask the server once; one that cannot say leaves the digest empty and no call waits or fails for it."""
    Slow.asked = 0
    async with Workbench(runtimes={"scripted": Slow([Rule(answer="hello")])}) as bench:
        await asyncio.gather(*(bench.ask(f"hi {n}", model="scripted/m") for n in range(5)))
        assert 1 == Slow.asked
        [chunk async for chunk in bench.stream("hi", model="scripted/m")]
        await bench.ask("hi", model="scripted/gone")
        await bench.ask("hi", model="scripted/gone")
        assert 2 == Slow.asked
        rows = bench.calls.frame()
    expected = (await Scripted([Rule(answer="hello")]).describe("m")).digest
    assert [expected] * 6 == rows["model_digest"].tolist()[:6]
    assert rows["model_digest"].tolist()[6:] != [expected] * 2
    assert {"scripted"} == set(rows["server_version"].dropna())
