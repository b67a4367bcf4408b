"""The examples of docs/applications.md, as they stand there: FastAPI, and a plain program; scripted model, real Valkey."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from workbench import Workbench
from workbench.online.assignment import assign
from workbench.online.picture import read_picture, read_study
from workbench.stores.valkey import EmbeddedValkey

ROOT = Path(__file__).resolve().parents[2]
FEATURE = "triage-api"
USERS = [f"user-{number}" for number in range(12)]
TOML = """
model = "bot/m"
author = "Ada"
[endpoints.bot]
kind = "scripted"
[endpoints.bot.options]
rules = [{match = "lost", answer = "", error = "AuthenticationError"}, {match = "Second", answer = "two"}, {answer = "one"}]
"""


def example(name: str) -> str:
    """The block of code that begins with this file's name."""
    page = (ROOT / "docs" / "applications.md").read_text("utf-8")
    (found,) = re.findall(rf"```python\n(# {re.escape(name)};.*?)```", page, re.DOTALL)
    return str(found)


@pytest.fixture
def home(project: Path) -> Iterator[Path]:
    """A project with releases 1 (live) and 2, in the embedded Valkey of its own home."""
    (project / "workbench.toml").write_text(TOML)
    bench = Workbench(project)
    bench.prompts.create("triage", "First: {{message}}")
    bench.prompts.create("triage", "Second: {{message}}")
    for version in (1, 2):
        (variant,) = bench.variants([f"triage@{version}"])
        bench.releases.create(FEATURE, variant, reason="test", live=version == 1)
    yield bench.settings.home
    asyncio.run(bench.aclose())
    EmbeddedValkey(bench.settings.home).stop()


async def test_the_fastapi_example_serves_its_users_and_takes_their_outcomes(
    home: Path, project: Path, load_module: Callable[[Path], ModuleType]
) -> None:
    """Each user the arm that is documented; outcomes in the arm's counts; what fails is said by the status."""
    async with Workbench(project) as bench:
        experiment = bench.experiments.start(
            FEATURE, treatment=2, share=0.5, primary="solved", reason="test"
        ).experiment
        path = project / "app.py"
        path.write_text(example("app.py"))
        app = load_module(path).app
        async with app.router.lifespan_context(app), _client(app) as client:
            calls = {}
            for user in USERS:
                answer = await client.post("/triage", json={"text": "it crashes", "user": user})
                assert answer.status_code == 200, answer.text
                assert {1: "one", 2: "two"}[assign(experiment, user).release] == answer.json()["label"]
                calls[user] = answer.json()["call_id"]
                told = await client.post(f"/calls/{calls[user]}/outcome", json={"solved": user != "user-3"})
                assert told.status_code == 204, told.text
            lost = await client.post("/triage", json={"text": "lost", "user": "user-0"})
            assert (503, "no model answers now, please try again") == (lost.status_code, lost.json()["detail"])
            unknown = await client.post("/calls/nobody/outcome", json={"solved": True})
            assert unknown.status_code == 404
            assert "no call 'nobody'" in unknown.json()["detail"]
            health = (await client.get("/health")).json()
            assert {"release": 1, "from": "store", "fault": None} == {
                k: health[k] for k in ("release", "from", "fault")
            }
            assert 0 <= health["seconds_old"] < 10
            bench.releases.create(FEATURE, bench.variants(["triage@2"])[0], reason="all")
            for _ in range(3000):  # the application follows by itself
                if (await client.get("/health")).json()["release"] == 3:
                    break
                await asyncio.sleep(0.01)
            assert (await client.post("/triage", json={"text": "hi", "user": "user-0"})).json()["label"] == "two"
        moments = read_study(bench._release_kv, FEATURE, experiment.key).moments
        arms = [assign(experiment, user).arm for user in USERS]
        for arm in ("control", "treatment"):
            solved = moments[arm, "solved"]
            assert (arms.count(arm), arms.count(arm) - (assign(experiment, "user-3").arm == arm)) == (
                solved.c,
                solved.s,
            )
        assert 1 == sum(cell.figures.errors for cell in read_picture(bench._release_kv, FEATURE).cells)


def test_the_plain_example_labels_what_it_reads(home: Path, project: Path) -> None:
    """In a process of its own: the labels in order, and all of it counted when it has ended."""
    (project / "label.py").write_text(example("label.py"))
    lines = "".join(f"{user}\tmessage of {user}\n" for user in USERS)
    command = [sys.executable, "label.py"]
    done = subprocess.run(command, input=lines, cwd=project, capture_output=True, text=True, timeout=120)
    assert (0, "") == (done.returncode, done.stderr)
    assert [f"one\tmessage of {user}" for user in USERS] == done.stdout.splitlines()
    bench = Workbench(project)
    (cell,) = read_picture(bench._release_kv, FEATURE).cells
    assert len(USERS) == cell.figures.calls
    asyncio.run(bench.aclose())


def _client(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test")
