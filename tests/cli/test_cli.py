"""The command line as a user runs it, in processes of its own, against the scripted runtime and a double."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import OpenAIDouble

RULES = """
[endpoints.fake]
kind = "scripted"
[[endpoints.fake.options.rules]]
match = "(?i)answer badly"
answer = "no idea"
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
    again = workbench("compare", "--prompt", "tone@1", "--prompt", "tone@2", "--data", "reviews", "--json", "-")
    assert json.loads(again.stdout)["variants"][0]["replayed"] == 40
    assert json.loads(again.stdout)["verdict"] == result["verdict"]


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
        (["compare", "--prompt", "tone@1", "--data", "reviews", "--limit", "0"], "limit"),
        (["compare", "missing.toml"], "missing.toml"),
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


def test_prompt_commands(scripted: Path) -> None:
    """list and show say what there is."""
    assert "tone@2" in workbench("prompt", "list").stdout
    shown = workbench("prompt", "show", "tone").stdout
    assert "Positive or negative? {{message}}" in shown
    assert "say what is wanted" in shown


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
