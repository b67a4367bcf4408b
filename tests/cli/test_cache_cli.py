"""`workbench cache …`, and what `workbench doctor` says of the caches; a real Valkey, a double of a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from workbench import Workbench
from workbench.stores.valkey import EmbeddedValkey

if TYPE_CHECKING:
    from conftest import OpenAIDouble

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(project: Path, openai_double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """run("stats") is `workbench cache stats` in the project, whose cache is on."""
    monkeypatch.setenv("OPENAI_BASE_URL", openai_double.url)
    monkeypatch.setenv("WORKBENCH_MODEL", "openai/m")
    monkeypatch.setenv("WORKBENCH_CACHE", "on")

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "workbench", "cache", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=project, env=dict(os.environ), timeout=60)

    yield call
    EmbeddedValkey(project / ".workbench").stop()


async def ask(project: Path, *questions: str) -> None:
    async with Workbench(project) as bench:
        for question in questions:
            await bench.ask(question, params={"temperature": 0})


async def test_stats_and_savings_tell_what_was_asked_twice(project: Path, run: Run) -> None:
    """As a table and as JSON, from another process."""
    await ask(project, "love it", "love it", "hate it")
    assert "1 of 3 answers came from the cache" in run("stats").stdout
    assert 2 == json.loads(run("stats", "--json").stdout)["total"]["misses"]
    assert "1 of 3 answered calls (33%)" in run("savings").stdout
    assert 1 == json.loads(run("savings", "--days", "1", "--json").stdout)["total"]["repeats"]


async def test_clear_takes_a_scope_or_all(project: Path, run: Run, openai_double: OpenAIDouble) -> None:
    """A scope that is not there is told beside those that are."""
    await ask(project, "love it", "hate it")
    wrong = run("clear", "--scope", "ollama/*").stdout
    assert "0 answers removed\nscopes that have answers: openai/m\n" == wrong
    assert "2 answers removed\n" == run("clear", "--scope", "openai/*").stdout
    await ask(project, "love it")
    assert 3 == openai_double.calls
    assert "1 answer removed\n" == run("clear").stdout


async def test_export_writes_answers_and_pairs(project: Path, run: Run) -> None:
    """One JSON object a line; a folder that is not there is an error of one line."""
    await ask(project, "love it")
    assert "1 answer written to all.jsonl\n" == run("export", "all.jsonl").stdout
    (line,) = (project / "all.jsonl").read_text("utf-8").splitlines()
    found: dict[str, Any] = json.loads(line)
    assert ("openai/m", "positive") == (found["scope"], found["completion"]["text"])
    assert "0 pairs written to pairs.jsonl\n" == run("export", "pairs.jsonl", "--pairs").stdout
    failed = run("export", "nowhere/all.jsonl")
    assert 0 != failed.returncode
    assert "nowhere/all.jsonl cannot be written" in failed.stderr
    assert "Traceback" not in failed.stderr


async def test_doctor_tells_both_caches(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On or off, by which setting; an embedder that is none and a Qdrant that does not answer fail."""
    async with Workbench(project) as bench:
        rows = {check.part: check for check in (await bench.doctor()).checks}
    assert ("off", None) == (rows["semantic cache"].chosen, rows["semantic cache"].ok)
    monkeypatch.setenv("WORKBENCH_CACHE", "on")
    monkeypatch.setenv("WORKBENCH_SEMANTIC_CACHE", "shadow")
    async with Workbench(project) as bench:
        rows = {check.part: check for check in (await bench.doctor()).checks}
    assert ("on", "WORKBENCH_CACHE (environment)") == (rows["exact cache"].chosen, rows["exact cache"].by)
    assert ("shadow", True) == (rows["semantic cache"].chosen, rows["semantic cache"].ok)
    monkeypatch.setenv("QDRANT_URL", "http://127.0.0.1:9")
    async with Workbench(project) as bench:
        rows = {check.part: check for check in (await bench.doctor()).checks}
    assert rows["semantic cache"].ok is False
    assert "QDRANT_URL" in rows["semantic cache"].fix
