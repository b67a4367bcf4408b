"""`workbench experiment …`, as a person runs it, on a real Valkey."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from workbench import Workbench

Run = Callable[..., subprocess.CompletedProcess[str]]
FEATURE = "experiment-cli-api"


@pytest.fixture
def run(project: Path, monkeypatch: pytest.MonkeyPatch, valkey_of: Callable[[str], str]) -> Run:
    """run("show", …) is `workbench experiment show …` where release 1 is live, and 2 and 3 are candidates."""
    monkeypatch.setenv("REDIS_URL", valkey_of("valkey") + "?db=9")
    monkeypatch.setenv("WORKBENCH_MODEL", "scripted/echo")
    monkeypatch.setenv("WORKBENCH_AUTHOR", "Ada")
    bench = Workbench(project)
    bench._release_kv.sync().flushdb()
    bench.prompts.create("triage", "Bug or bill?\n{{message}}")
    for live in (True, False, False):
        bench.releases.create(FEATURE, bench.variants(["triage@1"])[0], reason="begin", live=live)

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "workbench", "experiment", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=project, env=dict(os.environ), timeout=60)

    return call


def test_from_the_start_to_a_promotion(run: Run) -> None:
    """Each step says how the experiment stands."""
    started = run("start", FEATURE, "2", "--share", "0.1", "-m", "half the tokens", "--primary", "solved",
                  "--override", "a=b@example.org=treatment")  # fmt: skip
    assert "running, release 1 against 2" in started.stdout, started.stderr
    assert "a=b@example.org: treatment" in started.stdout
    assert "release 2: arm treatment of canary@" in run("who", FEATURE, "a=b@example.org").stdout
    assert "(override, not counted)" in run("who", FEATURE, "a=b@example.org").stdout
    assert "50%" in run("ramp", FEATURE, "0.5", "-m", "no trouble").stdout
    assert "killed" in run("kill", FEATURE, "-m", "looks odd").stdout
    assert "release 1: in no arm (off, not counted)" in run("who", FEATURE, "a=b@example.org").stdout
    assert "running" in run("resume", FEATURE, "-m", "it was not").stdout
    assert "testers" not in run("override", FEATURE, "a=b@example.org=", "-m", "seen").stdout
    shown = json.loads(run("show", FEATURE, "--json").stdout)
    assert ("running", "solved") == (shown["state"]["status"], shown["analysis"]["primary"])
    assert 0.5 == shown["state"]["arms"]["treatment"]["served"]
    assert f"{FEATURE}, experiment canary@" in run("list").stdout
    promoted = run("promote", FEATURE, "-m", "as good")
    assert f"{FEATURE} 2 · triage@1 · scripted/echo: live\n" == promoted.stdout
    assert "No experiment runs" in run("list").stdout
    assert [] == json.loads(run("list", "--json").stdout)
    assert "ended, release 1 against 2" in run("show", FEATURE).stdout


def test_two_treatments_in_a_group(run: Run) -> None:
    """Named in the shell; one is stopped, then the whole."""
    started = run("start", FEATURE, "short=2", "long=3", "--share", "0.3", "-m", "which?", "--group", "home",
                  "--slice", "0:0.5", "--name", "two")  # fmt: skip
    assert "in group home" in started.stdout, started.stderr
    assert "stopped by Ada: too short" in run("stop", FEATURE, "--arm", "short", "-m", "too short").stdout
    assert "ended" in run("stop", FEATURE, "-m", "enough").stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["start", FEATURE, "two", "--share", "0.1", "-m", "x"], "write the number of a release, such as 3"),
        (["start", FEATURE, "a=2", "a=3", "--share", "0.1", "-m", "x"], "several as short=3 long=4"),
        (["start", FEATURE, "2", "--share", "10", "-m", "x"], "share = 10.0 must be a number from 0 to 1"),
        (["start", FEATURE, "2", "--share", "0.1", "-m", "x", "--slice", "half"], "must be START:END"),
        (["start", FEATURE, "2", "--share", "0.1", "-m", "x", "--override", "tess"], "must be USER=ARM"),
        (["start", FEATURE, "2", "--share", "0.1"], "--reason"),
        (["ramp", FEATURE, "0.5", "-m", "x"], "no experiment is on experiment-cli-api"),
        (["override", FEATURE, "-m", "x"], "name the testers"),
        (["show", FEATURE], "has had no experiment yet"),
    ],
)
def test_wrong_input_is_named(run: Run, arguments: list[str], says: str) -> None:
    """With what to write; exit code 2."""
    done = run(*arguments)
    assert 2 == done.returncode
    assert says in " ".join((done.stdout + done.stderr).split())
