"""`workbench bench` as a user runs it, in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workbench.cli import main

RULES = """
[endpoints.fast]
kind = "scripted"
[[endpoints.fast.options.rules]]
answer = "one two three four"
delay = 0.02
first_token = 0.4

[endpoints.slow]
kind = "scripted"
[[endpoints.slow.options.rules]]
answer = "one two three four"
delay = 0.25
first_token = 0.96
"""
SHORT = ("--concurrency", "1,2", "--requests", "8", "--prompt-tokens", "20", "--output-tokens", "4")


def workbench(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a process."""
    return subprocess.run([sys.executable, "-m", "workbench", *arguments], capture_output=True, text=True)


@pytest.fixture
def served(project: Path) -> Path:
    """A project with a fast and a slow endpoint, both scripted."""
    (project / "workbench.toml").write_text(RULES)
    return project


def test_from_a_plan_to_an_answer_and_next_week(served: Path) -> None:
    """Plan, table side by side, one sentence; kept, listed, shown, and held against the next one."""
    done = workbench("bench", "slow/m", "fast/m", *SHORT, "--target-ttft", "0.2", "--json", "out.json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Plan of a load test\n  models   slow/m, fast/m\n")
    assert "fast/m gives " in done.stdout
    assert "times the tokens/s of slow/m (interval " in done.stdout
    assert "with 2 at once." in done.stdout
    found = json.loads((served / "out.json").read_text())
    assert ["slow/m", "slow/m", "fast/m", "fast/m"] == [row["model"] for row in found["summary"]]
    assert 0.0 == found["summary"][0]["goodput"]
    assert found["summary"][3]["goodput"] == pytest.approx(found["summary"][3]["requests_per_second"])
    assert 2 / 0.25 >= found["summary"][1]["requests_per_second"] > 0

    again = workbench("bench", "fast/m", *SHORT, "--against", "last", "--json", "-")
    assert again.returncode == 0, again.stderr
    change = json.loads(again.stdout)["against"]
    assert found["id"] == change["before"]
    assert "The set-ups are the same" in again.stderr

    listed = workbench("bench", "--list").stdout
    assert found["id"] in listed
    assert "slow/m, fast/m" in listed
    shown = workbench("bench", "--show", found["id"], "--against", "last")
    assert shown.returncode == 0, shown.stderr
    assert f"{found['id']} against {change['now']}" in shown.stdout


def test_plan_only_sends_nothing(served: Path) -> None:
    """And keeps nothing."""
    done = workbench("bench", "fast/m", "--rate", "0.5,2", "--requests", "100", "--plan-only")
    assert done.returncode == 0, done.stderr
    assert "0.5, 2 arrivals a second (open loop, Poisson)" in done.stdout
    assert not (served / ".workbench" / "loadtests").exists()
    assert "No load tests yet" in workbench("bench", "--list").stdout


def test_what_was_measured_is_not_lost_to_a_comparison_that_cannot_be(served: Path) -> None:
    """Held against a test of other loads: the result is printed, and why it cannot be compared is said."""
    assert workbench("bench", "fast/m", *SHORT).returncode == 0
    done = workbench("bench", "fast/m", *SHORT[2:], "--concurrency", "4", "--against", "last")
    assert done.returncode == 0, done.stderr
    assert "fast/m gives" in done.stdout
    assert "measured nothing in common" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench"], "name a model"),
        (["bench", "nope/m"], "no endpoint 'nope'"),
        (["bench", "fast/m", "--concurrency", "1,x"], "--concurrency '1,x' must be whole numbers"),
        (["bench", "fast/m", "--concurrency", "64", "--requests", "8"], "would never have 64 at once"),
        (["bench", "fast/m", "--concurrency", "1", "--rate", "1"], "both given"),
        (["bench", "fast/m", "--rate", "0.00001"], "higher rate"),
        (["bench", "fast/m", "--params", "{"], "--params is not valid JSON"),
        (["bench", "fast/m", "--params", "[]"], "--params must be a JSON object"),
        (["bench", "fast/m", "--params", '{"temprature": 1}'], "temprature"),
        (["bench", "fast/m", "--against", "last"], "there is no load test 'last'"),
        (["bench", "fast/m", "--json", "nodir/x.json"], "there is no folder"),
        (["bench", "fast/m", "--list"], "leave the models out"),
        (["bench", "--show", "2025"], "there is no load test '2025'"),
    ],
)
def test_wrong_input_exits_2_and_names_it(
    served: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """One clear line on stderr, and nothing is sent or kept."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (served / ".workbench" / "loadtests").exists()


def test_interrupted_leaves_what_there_is(served: Path) -> None:
    """Ctrl-C: a partial result that says so, exit code 130, and it can be shown later."""
    state = served / "progress.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench", "bench", "slow/m", "--requests", "2000", "--concurrency", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"WORKBENCH_PROGRESS": str(state)},
    )  # fmt: skip
    while not state.is_file() or json.loads(state.read_bytes())["done"] < 10:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    printed, noise = process.communicate(timeout=60)
    assert process.returncode == 130, noise
    assert "of 2,000 requests (interrupted); what was measured by then is kept." in printed
    assert "slow/m gives" in printed
    assert "interrupted" in workbench("bench", "--list").stdout


def test_a_server_that_is_not_there(served: Path) -> None:
    """Exit code 1, and the error that says where it was looked for."""
    done = workbench("bench", "vllm/m", *SHORT)
    assert done.returncode == 1
    assert "http://127.0.0.1:8000" in done.stderr
    assert "Traceback" not in done.stderr
