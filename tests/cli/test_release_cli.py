"""`workbench release …` as a process, on a real Valkey."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from workbench import Workbench

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(project: Path, monkeypatch: pytest.MonkeyPatch, valkey_of: Callable[[str], str]) -> Run:
    """run("list") is `workbench release list` in a project with the prompt triage."""
    monkeypatch.setenv("REDIS_URL", valkey_of("valkey") + "?db=8")
    monkeypatch.setenv("WORKBENCH_MODEL", "scripted/echo")
    monkeypatch.setenv("WORKBENCH_AUTHOR", "Ada")
    bench = Workbench(project)
    bench.prompts.create("triage", "Bug or bill?\n{{message}}", config={"params": {"max_tokens": 5}})
    bench.prompts.create("triage", "Bug or bill? One word.\n{{message}}")

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "workbench", "release", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=project, env=dict(os.environ), timeout=60)

    return call


def test_from_the_first_release_to_a_rollback(run: Run, project: Path) -> None:
    """Each command, with what it prints."""
    name = "cli-api"
    assert "cli-api 1 · triage@1 · scripted/echo: live\n" == run("create", name, "triage@1", "-m", "first").stdout
    made = run(
        "create",
        name,
        "triage@2",
        "-m",
        "shorter",
        "--params",
        '{"seed": 1}',
        "--fallback-text",
        "other",
        "--evidence",
        "r/1",
    )
    assert "cli-api 2 · triage@2 · scripted/echo: live\n" == made.stdout, made.stderr
    assert "cli-api" in run("list").stdout
    listed = run("list", name).stdout
    assert "release 2 live, in place of 1" in listed
    assert "r/1" in listed
    shown = run("show", name)
    assert "Bug or bill? One word." in shown.stdout
    assert "is the model that was released" in shown.stdout
    assert "+Bug or bill? One word." in run("diff", name, "1").stdout
    plan = run("rollback", name, "--plan").stdout
    assert "Rollback of cli-api from release 2 to 1" in plan
    assert "workbench release rollback cli-api --from 2 --to 1 --reason" in plan
    done = run("rollback", name, "--from", "2", "-m", "p95 above 2 s")
    assert done.stdout.endswith("live now: cli-api 1 · triage@1 · scripted/echo\n"), done.stderr
    late = run("rollback", name, "--from", "2", "-m", "p95 above 2 s")
    assert (1, "") == (late.returncode, late.stdout), late.stderr
    assert "release 1 of cli-api is live, not 2. Nothing was done" in late.stderr
    told = json.loads(run("list", name, "--json").stdout)
    assert ["active", "rolled back"] == [release["state"] for release in told["releases"]]
    assert "p95 above 2 s" == told["history"][-1]["reason"]
    assert "made, not live" in run("create", name, "triage@2", "-m", "again", "--candidate").stdout
    assert "cli-api 3" in run("promote", name, "3", "-m", "won").stdout
    state = json.loads(run("watch", name, "--once", "--json").stdout)
    assert (3, "store", None) == (state["live"]["release"]["number"], state["source"], state["fault"])
    slip = run("watch", "cly-api", "--once")
    assert 1 == slip.returncode
    assert " UTC cly-api: no release of it was made yet" in slip.stdout
    Workbench(project).prompts.archive("triage@1", reason="worse")
    assert "note: triage@1 is archived" in run("create", name, "triage@1", "-m", "back").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "bad name", "triage@1", "-m", "x"], "not usable as a name"),
        (["create", "x-api", "triage@9", "-m", "x"], "triage"),
        (["create", "x-api", "triage@1", "-m", " "], "needs a reason"),
        (["create", "x-api", "triage@1", "-m", "x", "--params", "[]"], "must be a JSON object"),
        (["show", "nobody-api"], "nothing is live for nobody-api"),
        (["list", "nobody-api"], "nothing is live for nobody-api"),
        (["rollback", "nobody-api", "-m", "x"], "nothing is live for nobody-api"),
        (["rollback", "nobody-api"], "needs a reason"),
        (["rollback", "nobody-api", "--to", "last", "-m", "x"], "must be the number of a release, or previous"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_2(arguments: list[str], said: str, run: Run) -> None:
    """Never a traceback."""
    done = run(*arguments)
    assert (2, "") == (done.returncode, done.stdout)
    assert said in done.stderr
    assert 1 == done.stderr.count("\n")


def test_watch_prints_changes_until_it_is_interrupted(run: Run, project: Path) -> None:
    """One line each; Ctrl-C ends it with 130."""
    run("create", "live-api", "triage@1", "-m", "first")
    command = [sys.executable, "-u", "-m", "workbench", "release", "watch", "live-api"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=project) as process:
        assert process.stdout is not None
        assert "live-api 1 · triage@1" in process.stdout.readline()
        run("create", "live-api", "triage@2", "-m", "second")
        assert "live-api 2 · triage@2" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert 130 == process.wait(30)
