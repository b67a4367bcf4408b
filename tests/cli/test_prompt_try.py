"""`workbench prompt try`: a playground's run in the shell, on scripted models."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from workbench import Workbench
from workbench.cli import main

RULES = """
model = "fake/small"
[endpoints.fake]
kind = "scripted"
options.rules = [
    {match = 'slowly', answer = 'first the beginning and then the end', delay = 60.0, first_token = 0.001},
    {model = 'broken', error = 'BadRequestError'},
    {model = 'large', answer = 'Gladly! \\g<said>', match = '(?P<said>Tell.*)', delay = 0.1},
    {answer = 'no', delay = 0.2},
]
"""


@pytest.fixture
def fake(project: Path) -> Path:
    """A project whose models are scripted, with two versions of a prompt."""
    (project / "workbench.toml").write_text(RULES)
    prompts = Workbench(project).prompts
    prompts.create("tell", "Tell: {{message}}", config={"params": {"max_tokens": 7}})
    prompts.create("tell", "Tell it {{how}}: {{message}}")
    return project


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    """run(arguments) gives exit code, output and standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["prompt", "try", *arguments])
        found = capsys.readouterr()
        return int(str(ended.value.code)), found.out, found.err

    return call


def test_models_and_versions_answer_in_turn(fake: Path, run: Any) -> None:
    """Each below its title, with what it took beside; one that fails says why and sets the exit code; history has it."""
    models = [part for name in ("small", "large", "broken") for part in ("--model", f"fake/{name}")]
    code, out, told = run("tell@1", "-v", "message=2=2", *models, "--params", '{"temperature": 0, "stop": ["\\n"]}')
    assert 1 == code
    assert out == "── tell@1 · fake/small\nno\n── tell@1 · fake/large\nGladly! Tell: 2=2\n── tell@1 · fake/broken\n"
    assert 2 == told.count("tokens/s") + told.count("speed –")
    assert "cost $0 · source model" in told
    assert "failed: fake/broken" in told.splitlines()[-1]
    view = Workbench(fake).playground("tell")
    (kept,) = view.play.history.latest()
    view.play.bring_back(kept.id)
    assert ("2=2", {"temperature": "0", "stop": "\\n"}, 3) == (
        view.play.inputs["message"], view.play.params, len(view.play.columns),
    )  # fmt: skip


def test_an_example_fills_in_what_is_not_given(fake: Path, run: Any) -> None:
    """A single answer is alone on standard output; --json has its figures; versions are asked side by side."""
    code, out, told = run(
        "tell@2", "--dataset", "reviews", "--example", "2", "-v", "how=kindly", "--model", "fake/large"
    )
    assert (0, "Gladly! Tell it kindly: it broke after two days, very sad (order 1)\n") == (code, out), told
    code, out, told = run("tell", "-v", "how=well", "-v", "message=hi", "--version", "1", "--version", "2", "--json")
    first, second = map(json.loads, out.splitlines())
    assert (0, "", "tell@1", "tell@2", "no") == (code, told, first["prompt"], second["prompt"], second["text"])
    assert 0 == first["cost"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tell", "-v", "message=x"], "tell@2 needs a value for how: give --input how='…', or take them from an example"),
        (["tell", "-v", "mesage=x"], "tell has no such variable. Did you mean 'message'?"),
        (["tell@9"], "no version 9"),
        (["tell@1", "--dataset", "reviews", "--example", "99"], "there is no example 99"),
        (["tell@1", "-v", "message=x", "--params", '{"max_new_tokens": 3}'], "Did you mean 'max_tokens'?"),
        (["tell@1", "-v", "message=x", *["--model", "fake/m"] * 5], "at most 4"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_before_anything_is_asked(fake: Path, run: Any, arguments: list[str], said: str) -> None:
    """With exit code 2."""
    code, out, told = run(*arguments)
    assert (2, "") == (code, out)
    assert said in told
    assert not len(Workbench(fake).calls.frame())


def test_interrupted_it_keeps_what_had_come(fake: Path) -> None:
    """The beginning is there when the rest takes a minute; Ctrl-C stops it, and the history has the beginning."""
    command = [sys.executable, "-m", "workbench", "prompt", "try", "tell@1", "--input", "message=slowly"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = os.read(process.stdout.fileno(), 100)
        process.send_signal(signal.SIGINT)
        rest, said = process.communicate(timeout=60)
    assert (b"first ", b"\n", b"interrupted", 130) == (first, rest, said.strip(), process.returncode)
    (kept,) = Workbench(fake).playground("tell").play.history.latest()
    assert ("stopped", "first ") == (kept.answers[0].state, kept.answers[0].text)
