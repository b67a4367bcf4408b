"""The command line as a user runs it, in processes of its own, against the scripted runtime and a double."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from workbench import Workbench

if TYPE_CHECKING:
    from conftest import OpenAIDouble

RULES = """
[endpoints.fake]
kind = "scripted"
[[endpoints.fake.options.rules]]
match = "(?i)answer badly"
answer = "no idea"
[[endpoints.fake.options.rules]]
model = "breaks"
match = "order 7"
error = "BadRequestError"
[[endpoints.fake.options.rules]]
match = "love|thanks"
answer = "positive"
[[endpoints.fake.options.rules]]
answer = "negative"
"""


def workbench(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command as a process."""
    return subprocess.run([sys.executable, "-m", "workbench", *arguments], capture_output=True, text=True, input=stdin)


@pytest.fixture
def scripted(project: Path) -> Path:
    """A project whose endpoint `fake` answers by rule, with two prompt versions."""
    (project / "workbench.toml").write_text(f'model = "fake/m"\n{RULES}')
    assert workbench("prompt", "create", "tone", "--text", "Answer badly: {{message}}").stdout == "tone@1\n"
    created = workbench(
        "prompt", "create", "tone", "-m", "say what is wanted", stdin="Positive or negative? {{message}}"
    )
    assert created.stdout == "tone@2\n", created.stderr
    return project


def test_compare_prints_plan_table_and_verdict(scripted: Path) -> None:
    """From prompts and data to a verdict in one command; JSON on request says the same."""
    done = workbench("compare", "--prompt", "tone@1", "--prompt", "tone@2", "--data", "reviews", "--json", "out.json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Plan\n")
    assert "tone@2 is better than tone@1" in done.stdout
    result = json.loads((scripted / "out.json").read_text())
    assert result["winner"] == "tone@2 · fake/m"
    assert result["verdict"]["contrasts"][0]["interval"]["low"] > 0
    assert [v["exact_match"] for v in result["variants"]] == [0.0, 1.0]
    flags = ["--prompt", "tone@1", "--prompt", "tone@2", "--data", "reviews", "--html", "answers.html"]
    again = workbench("compare", *flags, "--json", "-")
    assert f"Page: {scripted / 'answers.html'}" in again.stderr
    assert 40 == (scripted / "answers.html").read_text().count("<tr data-is=")
    assert json.loads(again.stdout)["variants"][0]["replayed"] == 40
    assert json.loads(again.stdout)["verdict"] == result["verdict"]


def test_compare_stops_early_and_shows_slices(scripted: Path) -> None:
    """A sequential comparison that is clear ends with 0 and says what it saved; parts of the data come with a warning."""
    flags = ["--prompt", "tone@1", "--prompt", "tone@2", "--data", "reviews", "--sequential", "--slices", "difficulty"]
    done = workbench("compare", *flags)
    assert done.returncode == 0, done.stderr
    assert "Stopped early as planned, since the answer was clear after " in done.stdout
    assert "calls, about" in done.stdout
    assert "exact_match by difficulty" in done.stdout
    assert "Warning: " in done.stdout


def test_compare_shows_where_a_variant_lost_and_takes_an_executor(scripted: Path) -> None:
    """Each variant's worst examples with both answers; the flag for Dask reaches the plan."""
    flags = ["--prompt", "tone@2", "--prompt", "tone@1", "--data", "reviews"]
    done = workbench("compare", *flags, "--worst", "3")
    head, _, rows = done.stdout.partition("Where tone@1 · fake/m lost most on exact_match against the control\n")
    assert "Verdict: " in head
    assert len(rows.strip().splitlines()) == 2 + 3
    assert rows.count("no idea") == 3
    assert (
        "tone@2 · fake/m lost on no example"
        in workbench("compare", *flags, "--control", "tone@1", "--worst", "1").stdout
    )
    wrong = workbench("compare", *flags, "--executor", "ray://host", "--plan-only")
    assert wrong.returncode == 2
    assert "executor = 'ray://host' names no Dask scheduler" in wrong.stderr


def test_compare_with_a_budget_in_a_file_and_in_flags(scripted: Path) -> None:
    """The plan says it; flags are stronger; a field that no example has is named before anything is asked."""
    (scripted / "c.toml").write_text(
        'prompts = ["tone@1", "tone@2"]\ndataset = "reviews"\nbudget = { usd = 1.5, minutes = 10 }\n'
    )
    assert "$1.50 and 10 min at most" in workbench("compare", "c.toml", "--plan-only").stdout
    assert "$2.00 at most" in workbench("compare", "c.toml", "--plan-only", "--budget", "2").stdout
    wrong = workbench("compare", "c.toml", "--slices", "colour")
    assert wrong.returncode == 2
    assert "no example has metadata 'colour'" in wrong.stderr


def test_compare_from_a_file(scripted: Path) -> None:
    """A TOML file holds what flags cannot; flags are stronger."""
    (scripted / "c.toml").write_text(
        'prompts = ["tone@1", "tone@2"]\ndataset = "reviews"\nlimit = 30\n'
        'primary = {name = "regex", pattern = "positive|negative"}\n'
        '[[guardrails]]\nname = "latency"\nmeasure = "latency"\nmargin = 5.0\n'
    )
    done = workbench("compare", "c.toml", "--limit", "12", "--json", "-")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["dataset"]["examples"] == 12
    assert result["verdict"]["primary"] == "regex"
    assert result["verdict"]["contrasts"][0]["guardrails"][0]["name"] == "latency"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "--data", "reviews"], "--prompt is missing"),
        (["compare", "--prompt", "tone@9", "--data", "reviews"], "tone has no version 9"),
        (["compare", "--prompt", "tone@1", "--data", "reviws"], "Did you mean 'reviews'"),
        (["compare", "--prompt", "tone@1", "--data", "reviews", "--scorer", "exact"], "exact_match"),
        (["compare", "--prompt", "tone@1", "--data", "reviews", "--model", "nope/m"], "no endpoint 'nope'"),
        (["compare", "--prompt", "tone@1", "--data", "reviews", "--model", "m"], "ENDPOINT/MODEL"),
        (["compare", "--prompt", "tone@1", "--prompt", "tone@1", "--data", "reviews"], "is there twice"),
        (
            ["compare", "--prompt", "tone@1", "--data", "reviews", "--limit", "0"],
            "(--limit) = 0 must be a whole number from 1",
        ),
        (["compare", "missing.toml"], "missing.toml"),
        (["compare", "a.toml", "b.toml"], "one comparison at a time: these are 2 files"),
        (
            ["compare", "tone@1", "tone@2", "--data", "reviews"],
            "Did you mean: workbench compare --prompt tone@1 --prompt tone@2",
        ),
        (["compare", "--prompt", "tone@1", "--data", "nope.csv"], "datasets: reviews.jsonl"),
        (["compare", "--prompt", "tone@1", "--data", "review.jsonl"], "Did you mean 'reviews.jsonl'?"),
        (["compare", "--prompt", "tone@1", "--data", "reviews", "--model", "scripted/none.toml"], "there is no file"),
        (["doctor", "everything"], "workbench doctor does not take 'everything'"),
        (["compare", "--prompt", "tone@1", "--data", "reviews", "--json", "nodir/x.json"], "there is no folder"),
        (["compare", "--prompt", "tone@1", "--data", "reviews", "--json", "."], "is a folder"),
        (["compare", "--prompt", "tone@1", "--data", "reviews", "--json", ""], "is a folder"),
        (["compare", "--prompt", "tone@1", "--data", "reviews", "--limit", "many"], "--limit"),
        (["compare", "--promt", "tone@1"], "--promt"),
        (["report", "run", "ab_comparision"], "Did you mean 'ab_comparison'"),
        (["prompt", "create", "x/y", "--text", "a"], "x/y"),
        (["prompt", "create", "x", "--text", "a", "--params", '{"temprature": 1}'], "temprature"),
    ],
)
def test_wrong_input_exits_2_and_names_it(scripted: Path, arguments: list[str], message: str) -> None:
    """Bad input is one clear line on stderr, no traceback, and nothing is left half done."""
    done = workbench(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (scripted / ".workbench" / "calls").exists()


def test_progress_in_a_pipe_is_a_few_lines(scripted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one line for each drawing of a bar; nothing where nothing is asked."""
    monkeypatch.delenv("WORKBENCH_STATIC")
    flags = ["--prompt", "tone@1", "--prompt", "tone@2", "--data", "reviews"]
    done = workbench("compare", *flags)
    assert done.stderr.splitlines()[-1] in ("fake/m: 80 of 80 calls", "80 of 80 calls")  # whichever is shown first
    assert len(done.stderr.splitlines()) <= 5
    again = workbench("compare", *flags)
    assert again.stderr == ""
    assert "All 80 answers were reused from earlier runs (the oldest of " in again.stdout


def test_prompt_commands(scripted: Path) -> None:
    """list and show say what there is."""
    assert "tone@2" in workbench("prompt", "list").stdout
    shown = workbench("prompt", "show", "tone").stdout
    assert "Positive or negative? {{message}}" in shown
    assert "say what is wanted" in shown


def test_signs_that_act_on_a_terminal_are_shown_not_obeyed(project: Path) -> None:
    """A prompt from elsewhere cannot clear the screen or set the title; its lines stay lines."""
    created = workbench("prompt", "create", "odd", "--text", "one\x1b[2J {{a}}\ntwo", "-m", "say\x1b]0;x\x07")
    assert created.returncode == 0, created.stderr
    shown = workbench("prompt", "show", "odd").stdout
    assert "\x1b" not in shown + workbench("prompt", "list").stdout
    assert "one\N{SYMBOL FOR ESCAPE}[2J {{a}}\ntwo\n" in shown
    assert "say\N{SYMBOL FOR ESCAPE}]0;x" in shown
    wrong = workbench("compare", "--prompt", "odd", "--data", "a\u202eb\x9b2J.csv")
    assert wrong.returncode == 2
    assert not set("\x1b\x9b\u202e") & set(wrong.stderr)


def test_compare_says_what_it_reuses(scripted: Path) -> None:
    """Before the run: how much of it is there already, and how to have it measured anew."""
    arguments = ("compare", "--prompt", "tone@1", "--prompt", "tone@2", "--data", "reviews", "--limit", "10")
    line = "20 of 20 answers are there from earlier runs and are reused; --fresh measures anew."
    assert "--fresh" not in workbench(*arguments).stdout
    assert line in workbench(*arguments).stdout
    assert line not in workbench(*arguments, "--fresh").stdout


def test_compare_exits_1_when_calls_failed(scripted: Path) -> None:
    """A script sees from the exit code that some answers are missing; the result is written all the same."""
    done = workbench("compare", "--prompt", "tone@2", "--model", "fake/breaks", "--data", "reviews", "--json", "o.json")
    assert done.returncode == 1, done.stdout + done.stderr
    assert json.loads((scripted / "o.json").read_text())["variants"][0]["errors"] == 1


def test_a_terminal_without_our_signs_shows_others(scripted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Windows console's code page must not lose a result that was paid for."""
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    command = [sys.executable, "-m", "workbench", "compare", "--prompt", "tone@1", "--data", "reviews", "--limit", "5"]
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == 0, done.stderr.decode("cp1252")
    assert b"Verdict:" in done.stdout


def test_early_interrupt_says_so(project: Path) -> None:
    """Ctrl-C while a command waits for its input ends with a word and exit code 130, and no traceback."""
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench", "prompt", "create", "tone"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write("half a prompt")
    process.stdin.flush()
    while int.from_bytes(fcntl.ioctl(process.stdin, termios.FIONREAD, bytes(4)), sys.byteorder):
        time.sleep(0.01)  # until it has read that, and waits for more
    process.send_signal(signal.SIGINT)
    _, noise = process.communicate(timeout=20)
    assert process.returncode == 130
    assert noise.strip() == "interrupted"


def test_author_is_the_same_in_shell_and_python(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody set one: git's name in both. WORKBENCH_AUTHOR is stronger."""
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Ada")
    assert workbench("prompt", "create", "tone", "--text", "a {{message}}").stdout == "tone@1\n"
    assert Workbench(project).prompts.get("tone@1").author == "Ada"
    assert Workbench(project).prompts.create("tone", "b {{message}}").author == "Ada"
    monkeypatch.setenv("WORKBENCH_AUTHOR", "Grace")
    assert Workbench(project).prompts.create("tone", "c {{message}}").author == "Grace"


def test_a_reader_that_goes_away_is_no_error(project: Path) -> None:
    """`workbench doctor | head -0` ends with a pipe's exit code and without a traceback."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as pipe:
        command = [sys.executable, "-m", "workbench", "prompt", "list"]
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 141
    assert done.stderr == ""


def test_doctor_exit_code_tells_whether_configured_parts_answer(
    project: Path, openai_double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint that was configured and answers is ok; one that does not makes exit code 1 and says how to fix it."""
    monkeypatch.setenv("WORKBENCH_MODEL", "scripted/echo")
    monkeypatch.setenv("OPENAI_BASE_URL", openai_double.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-shown")
    good = workbench("doctor", "--json")
    assert good.returncode == 0, good.stdout + good.stderr
    checks = {check["part"]: check for check in json.loads(good.stdout)["checks"]}
    assert checks["endpoint openai"]["ok"] is True
    assert checks["endpoint openai"]["by"] == "OPENAI_BASE_URL (environment)"
    assert {"settings", "home", "prompts", "call log", "weights", "endpoint embedded"} <= set(checks)
    monkeypatch.setenv("VLLM_BASE_URL", "http://127.0.0.1:9")
    bad = workbench("doctor")
    assert bad.returncode == 1
    assert "VLLM_BASE_URL" in bad.stdout
    assert "sk-not-shown" not in good.stdout + bad.stdout + bad.stderr
