"""`workbench ask`: one answer in the shell, from scripted rules, a double of a server, and the exact cache."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from workbench import Workbench
from workbench.cli import main
from workbench.stores.valkey import EmbeddedValkey

if TYPE_CHECKING:
    from conftest import OpenAIDouble

RULES = """
[endpoints.fake]
kind = "scripted"
[[endpoints.fake.options.rules]]
match = "slowly"
answer = "first the beginning and then the end"
delay = 60.0
first_token = 0.001
[[endpoints.fake.options.rules]]
match = "escape"
answer = "red \\u001b[31malert\\tnow"
[[endpoints.fake.options.rules]]
match = "cut"
answer = "it was a dark"
finish_reason = "length"
[[endpoints.fake.options.rules]]
match = "fail"
error = "BadRequestError"
[[endpoints.fake.options.rules]]
match = "(?P<all>(?s:.+))"
answer = 'you said \\g<all>'
delay = 0.02
first_token = 0.5
"""
COMMAND = [sys.executable, "-m", "workbench", "ask"]


@pytest.fixture
def fake(project: Path) -> Path:
    """A project whose model is scripted, with a prompt."""
    (project / "workbench.toml").write_text(f'model = "fake/m"\n{RULES}')
    Workbench(project).prompts.create(
        "tone", "Good or bad? {{message}} ({{where}})", config={"params": {"max_tokens": 7}}
    )
    return project


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    """run(arguments) gives exit code, output and the lines of standard error."""

    def call(*arguments: str) -> tuple[int, str, list[str]]:
        with pytest.raises(SystemExit) as ended:
            main(["ask", *arguments])
        found = capsys.readouterr()
        return int(str(ended.value.code)), found.out, found.err.splitlines()

    return call


def test_the_answer_is_alone_on_standard_output(fake: Path, run: Any) -> None:
    """What it took is the last line of standard error."""
    code, out, told = run("Is this all?")
    assert (0, "you said Is this all?\n") == (code, out)
    assert 1 == len(told)
    pattern = r"3 tokens in, 5 out · first token \d+ ms · [\d.]+ tokens/s · cost \$0 · source model · fake/m"
    assert re.fullmatch(pattern, told[0]), told


def test_it_comes_as_it_is_made(fake: Path) -> None:
    """The beginning is there when the rest takes a minute; Ctrl-C stops it, on a line of its own, and the log knows."""
    with subprocess.Popen([*COMMAND, "slowly"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = os.read(process.stdout.fileno(), 100)
        process.send_signal(signal.SIGINT)
        rest, said = process.communicate(timeout=120)
    assert b"first " == first
    assert (b"\n", b"interrupted", 130) == (rest, said.strip(), process.returncode)
    assert ["StoppedError"] == Workbench(fake).calls.frame()["error"].tolist()


def test_a_prompt_gets_its_inputs_and_its_params(fake: Path, run: Any) -> None:
    """A value may hold an equals sign; the log names the prompt."""
    code, out, _ = run("--prompt", "tone@1", "--input", "message=2+2=4", "--input", "where=here")
    assert (0, "you said Good or bad? 2+2=4 (here)\n") == (code, out)
    row = Workbench(fake).calls.frame().iloc[0]
    assert ("tone@1", {"max_tokens": 7}) == (row["prompt_ref"], json.loads(row["params"]))


def test_a_question_from_a_pipe_sent_raw(fake: Path) -> None:
    """As it is, with its line ends."""
    asked = [*COMMAND, "-", "--raw", "--params", '{"seed": 1}']
    done = subprocess.run(asked, input=b"two\nlines", capture_output=True, timeout=120)
    assert b"you said two\nlines\n" == done.stdout, done.stderr
    assert "completion" == Workbench(fake).calls.frame()["kind"].iloc[0]


def test_an_answer_that_was_cut_off_is_said(fake: Path, run: Any) -> None:
    """At the end of the line."""
    assert run("cut it")[2][0].endswith("fake/m · cut off at its length limit")


def test_a_terminal_shows_control_characters_and_a_file_gets_them(fake: Path) -> None:
    """What a model writes must not act on a terminal; code for a file must not change."""
    to_file = subprocess.run([*COMMAND, "escape"], capture_output=True, timeout=120)
    assert b"red \x1b[31malert\tnow\n" == to_file.stdout
    master, slave = pty.openpty()
    shown = b""
    try:
        with subprocess.Popen([*COMMAND, "escape"], stdout=slave, stderr=subprocess.DEVNULL) as process:
            os.close(slave)
            ends = time.monotonic() + 60
            while b"now" not in shown and time.monotonic() < ends and select.select([master], [], [], 30)[0]:
                shown += os.read(master, 1000)
            process.wait(60)
    finally:
        os.close(master)
    assert b"\x1b" not in shown
    assert b"alert" in shown


def test_what_a_double_does_not_tell_is_unknown(
    project: Path, openai_double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch, run: Any
) -> None:
    """It sends its answer in one piece, and nobody gave its price."""
    monkeypatch.setenv("OPENAI_BASE_URL", openai_double.url)
    code, out, told = run("love it", "--model", "openai/m")
    assert (0, "positive\n") == (code, out)
    expected = "2 tokens in, 1 out · first token unknown · unknown tokens/s · cost unknown · source model · openai/m"
    assert [expected] == told


@pytest.fixture
def cached(project: Path, openai_double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIDouble]:
    """The cache is on, the model is a double's; the Valkey is stopped afterwards."""
    monkeypatch.setenv("OPENAI_BASE_URL", openai_double.url)
    monkeypatch.setenv("WORKBENCH_MODEL", "openai/m")
    monkeypatch.setenv("WORKBENCH_CACHE", "on")
    yield openai_double
    EmbeddedValkey(project / ".workbench").stop()


def test_the_cache_answers_an_equal_question_unless_it_must_not(cached: OpenAIDouble, run: Any) -> None:
    """The line says that it did; then it costs nothing."""
    sure = ("love it", "--params", '{"temperature": 0}')
    told = [run(*sure)[2][0], run(*sure)[2][0], run(*sure, "--no-cache")[2][0]]
    assert ["model", "exact", "model"] == [line.partition("source ")[2].split(" ")[0] for line in told]
    assert "cost $0 · source exact (times are those of when the answer was made)" in told[1]
    assert 2 == cached.calls


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "there is nothing to ask: workbench ask 'QUESTION', or"),
        (["--modle", "fake/m", "hi"], 2, "there is no option --modle: see workbench ask --help"),
        (["how", "many"], 2, "put it in quotes, such as workbench ask 'how many'"),
        (["hi", "--prompt", "tone"], 2, "a question and a prompt were given"),
        (["hi", "--input", "message=x"], 2, "inputs (message) are for a prompt's variables"),
        (["--prompt", "tone", "--input", "message"], 2, "--input 'message' must be VARIABLE=VALUE"),
        (["--prompt", "tone", "--input", "message=a", "--input", "message=b"], 2, "--input message was given twice"),
        (["--prompt", "tone", "--input", "massage=a"], 2, "it needs a value for {{message}}"),
        (["--prompt", "tone", "--raw", "--input", "message=a"], 2, "a prompt goes out raw if its kind is completion"),
        (["hi", "--params", "[]"], 2, "--params must be a JSON object"),
        (["hi", "--model", "fak/m"], 2, "Did you mean 'fake'"),
        (["fail"], 1, "scripted BadRequestError"),
    ],
)
def test_what_is_wrong_is_one_line(fake: Path, run: Any, arguments: list[str], code: int, message: str) -> None:
    """2 for what was typed, 1 for what the model said; nothing is on standard output."""
    found, out, told = run(*arguments)
    assert (code, "") == (found, out)
    assert message in told[0]
    assert 1 == len(told)
