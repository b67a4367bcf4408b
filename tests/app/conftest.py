"""A project whose features can be called: a scripted model `bot/m`, another one `spare/m`, releases in a real Valkey."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from workbench import Workbench, pricing
from workbench.records import Usage
from workbench.serving.scripted import Rule, Scripted

TOML = """
model = "bot/m"
[endpoints.bot]
kind = "scripted"
[endpoints.bot.options]
rules = [{match = "Second", answer = "from two"}, {answer = "from one"}]
[endpoints.spare]
kind = "scripted"
"""
RULES = (
    Rule(match="busy", answer="", error="OverloadedError"),
    Rule(match="refused", answer="", error="BadRequestError"),
    Rule(match="halfway", answer="one two three four", error="IncompleteStreamError"),
    Rule(match="slow", answer="slow", delay=30.0),
    Rule(match="Second", answer="from two", delay=0.004, completion_tokens=20),
    Rule(answer="from one", delay=0.002, completion_tokens=10),
)


@pytest.fixture
def models() -> dict[str, Scripted]:
    """The runtimes, to see how often they were asked."""
    return {
        "bot": Scripted(RULES),
        "spare": Scripted([Rule(match="lost", answer="", error="ServerError"), Rule(answer="spare")]),
    }


@pytest.fixture
def feature(request: pytest.FixtureRequest) -> str:
    """A name that no other test has, since they share a store; always the same one, and with it each user's arm."""
    return f"f-{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:8]}"


@pytest.fixture
async def bench(
    project: Path, monkeypatch: pytest.MonkeyPatch, valkey_of: Callable[[str], str], models: dict[str, Scripted]
) -> AsyncIterator[Workbench]:
    """With prompts triage@1 and triage@2; a token costs a thousandth of a dollar."""
    (project / "workbench.toml").write_text(TOML)
    monkeypatch.setenv("RELEASES_URL", valkey_of("valkey"))
    monkeypatch.setenv("WORKBENCH_AUTHOR", "Ada")
    monkeypatch.setattr(pricing, "call_cost", lambda endpoint, model, usage, prices=None: _cost(usage))
    made = Workbench(project, runtimes=models)
    made.prompts.create("triage", "First: {{message}}", config={"params": {"temperature": 0}})
    made.prompts.create("triage", "Second: {{message}} in {{language}}", config={"params": {"temperature": 0}})
    yield made
    await made.aclose()


def _cost(usage: Usage) -> float:
    return 0.001 * (usage.completion_tokens or 0)
