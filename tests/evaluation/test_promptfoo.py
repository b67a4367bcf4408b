"""promptfoo's files become prompts, examples and checks, and what has no equivalent is named with its place."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from workbench import Rule, Scripted, Workbench, scorers
from workbench.errors import DatasetError, InputError
from workbench.evaluation.gates import read_gates
from workbench.evaluation.library.promptfoo import read_promptfoo
from workbench.records import Example
from workbench.running.progress import silent

CONFIG = """\
description: capitals
prompts:
  - 'Name the capital of {{ country }}.'
  - file://second.txt
  - file://program.py
providers: [openai:gpt-4o-mini]
evaluateOptions:
  repeat: 2
defaultTest:
  assert:
    - type: latency
      threshold: 2000
tests:
  - description: easy
    vars: {country: France, language: no}
    metadata: {level: 1}
    assert:
      - type: icontains
        value: '{{answer}}paris'
      - type: icontains
        value: paris
        metric: right
      - {type: not-contains, value: London}
      - {type: javascript, value: output.length < 9}
  - vars: {country: [Italy, Peru], time: 12:30}
    threshold: 0.5
    assert:
      - {type: regex, value: 'Rome|Lima', weight: 3}
      - {type: starts-with, value: The}
      - {type: llm-rubric, value: "polite?\\nprimary = 1"}
  - vars: {country: file://../../secret.txt}
"""


def checked(example: dict[str, Any], answer: str) -> float | None:
    made = Example(id="1", inputs=example["inputs"], expected=example.get("expected"), metadata=example["metadata"])
    found = scorers.checks()(answer, made)
    return found.value  # type: ignore[union-attr]


async def compared(bench: Workbench, plan: dict[str, Any]) -> Any:
    async with bench:
        return await bench.compare(bench.plan(**plan, models=["scripted/m"]), progress=silent)


def written(project: Path, text: str = CONFIG, name: str = "promptfooconfig.yaml") -> Path:
    folder = project / "capitals"
    folder.mkdir(exist_ok=True)
    (folder / "second.txt").write_text("Capital of {{country}}?\n---\nWhat is {{country}} governed from?\n")
    (folder / "program.py").write_text("raise SystemExit('it was run')\n")
    (project.parent / "secret.txt").write_text("secret")
    path = folder / name
    path.write_text(text)
    return path


def test_a_config_becomes_prompts_examples_and_checks(project: Path) -> None:
    """Combinations, defaults, weights and thresholds as promptfoo has them; what is not taken over is named by line."""
    found = read_promptfoo(written(project))
    assert [str(prompt)[:8] for prompt in found.prompts] == ["Name the", "Capital ", "What is "]
    assert [example["inputs"] for example in found.examples] == [
        {"country": "France", "language": "no", "time": ""},
        {"country": "Italy", "language": "", "time": "12:30"},
        {"country": "Peru", "language": "", "time": "12:30"},
    ]
    easy, italy, _ = found.examples
    assert easy["metadata"]["level"] == 1
    assert easy["expected"] == "paris"
    assert [checked(easy, text) for text in ("It is PARIS", "Rome", "Paris, not London")] == [1, 0, 0]
    assert [checked(italy, text) for text in ("Rome it is", "The one", "The Rome")] == [1, 0, 1]
    listed = "\n".join(found.unmapped)
    for place in (
        "file://program.py: program.py is a program", "providers openai:gpt-4o-mini", "evaluateOptions",
        "line 11: latency", "line 18: icontains of '{{answer}}paris', which is a file or a template", "line 24: javascript",
        "line 30: llm-rubric", "line 31: a test with the variable file://../../secret.txt, which",
    ):  # fmt: skip
        assert place in listed
    assert "secret" not in json.dumps(found.examples)
    assert found.gates == ["p95_ms < 2000"]


def test_the_shell_imports_and_compares(project: Path) -> None:
    """From a promptfoo file to a verdict; a second import makes nothing new, and a changed file the next version."""
    path = written(project)
    command = [sys.executable, "-m", "workbench", "data", "import", "promptfoo", str(path), "--toml", "c.toml"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    assert "3 examples, 3 with checks: data set capitals-v1" in done.stdout
    assert "prompts capitals@1, capitals@2, capitals@3" in done.stdout
    assert "line 24: javascript" in done.stdout
    again = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert (again.returncode, "is there already" in again.stderr) == (2, True)
    plan = tomllib.loads((project / "c.toml").read_text())
    assert plan == {
        "prompts": ["capitals@1", "capitals@2", "capitals@3"],
        "dataset": "capitals-v1",
        "primary": "checks",
    }
    bench = Workbench(
        project, runtimes={"scripted": Scripted([Rule(match="France", answer="Paris"), Rule(answer="Bern")])}
    )
    assert bench.datasets.import_promptfoo(path).path == project / "datasets" / "capitals-v1.jsonl"
    result = asyncio.run(compared(bench, plan))
    assert len(read_gates(bench.datasets.import_promptfoo(path).gates, result.run.plan)) == 1
    assert list(result.summary["checks"]) == pytest.approx([1 / 3] * 3)
    path.write_text(CONFIG.replace("Italy", "Spain"))
    assert bench.datasets.import_promptfoo(path).path == project / "datasets" / "capitals-v2.jsonl"


def test_json_and_tables(project: Path) -> None:
    """A table's short asserts, its other columns, and JSON by the number of its test."""
    table = (
        "country,__expected,__expected2,__metadata:tags[],__prefix,__metric\n"
        'France,Paris,"not-icontains-any:rome, lima","a, b",Hm,right\n'
        "Peru,is-sql:x,similar(0.8):Lima,,,\n"
        "Italy,contains-all: R,,,,\n"
    )
    found = read_promptfoo(written(project, table, "tests.csv"))
    france, peru, italy = found.examples
    assert (france["metadata"]["tags"], france["metadata"]["checks"][0]["metric"]) == (["a", "b"], "right")
    assert [checked(france, text) for text in ("Paris", "paris", "Paris ")] == [1, 0, 0]
    assert [checked(italy, text) for text in ("Rome", "rome")] == [1, 0]
    assert checked(peru, "Lima") is None
    listed = "\n".join(found.unmapped)
    assert all(part in listed for part in ("line 2: column __prefix: 'Hm'", "line 3: is-sql", "line 3: similar"))
    tests = [
        {"vars": {"q": "\U0001f600"}, "assert": [{"type": "equals", "value": {"a": [1, 2]}}, {"type": "is-json"}]},
        {
            "vars": {"q": "b"},
            "assert": [{"type": "contains-any", "value": 'a,"b,c"'}, {"type": "webhook", "value": "http://x"}],
        },
    ]
    one, two = read_promptfoo(written(project, json.dumps(tests), "tests.json")).examples
    assert [checked(one, text) for text in ('{"a": [1, 2]}', '{"a": [1, 2], "b": 1}', "no")] == [1, 0, 0]
    assert [checked(two, text) for text in ("b,c", "b")] == [1, 0]
    assert read_promptfoo(project / "capitals" / "tests.json").unmapped == [
        "test 2: webhook of 'http://x', which has no equivalent"
    ]


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n" for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.yaml", BOMB + "tests: *h\n", "holds more than 2,000,000 values"),
        ("a.yaml", "tests: &t\n  - vars: {a: *t}\n", "recursive|holds itself"),
        ("a.yaml", "tests: !!python/object/apply:os.system [ls]\n", "could not determine a constructor"),
        ("a.yaml", "tests: [\n", "a.yaml: while parsing"),
        ("a.yaml", "hello: 1\n", "holds no tests and no prompts"),
        ("a.yaml", "", "holds no tests and no prompts|nothing of it"),
        ("a.yaml", "- a.yaml\n", "nothing of it could be taken over .*each other"),
        ("a.yaml", "tests: [{vars: {a: [[]]}, assert: 1}, 7]\nprompts: 3\n", ""),
        ("a.json", "[" * 5000, "a.json: "),
        ("a.json", '{"tests": [{"vars": {"a": []}}]}', "empty list"),
        ("a.csv", "a,a\n1,2\n", "must name the columns"),
        ("a.csv", "", "must name the columns"),
        ("a.js", "module.exports = {}", "is a program and is not run"),
        ("a.jsonl", '{"vars": {"a": 1}}\n{', "a.jsonl: "),
    ],
)  # fmt: skip
def test_hostile_and_wrong_files_get_a_sentence(project: Path, name: str, content: str, message: str) -> None:
    """Aliases without end, programs, files that name themselves, broken ones: an error with the file's name, or a list."""
    path = project / name
    path.write_text(content)
    if not message:
        found = read_promptfoo(path)
        assert found.unmapped
        return
    with pytest.raises(DatasetError) as error:
        read_promptfoo(path)
    assert name in str(error.value)
    assert re.search(message, str(error.value))


def test_bytes_that_are_no_text(project: Path) -> None:
    """Named with their place."""
    path = project / "a.csv"
    path.write_bytes(b"a\n\xff\xfe\n")
    with pytest.raises(DatasetError, match="is not UTF-8"):
        read_promptfoo(path)
    with pytest.raises(InputError, match="is not usable as a name"):
        Workbench(project).datasets.import_promptfoo(path, name="../x")


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        ({"scorer": {"name": "python", "function": "os:system"}}, "python is no scorer for a check"),
        ({"scorer": {"name": "judge", "model": "a/b", "rubric": "x"}}, "judge is no scorer for a check"),
        ({"scorer": {"name": "regex", "pattern": "("}}, "is not a regular expression"),
        ({"scorer": "regex"}, "is no check"),
        (7, "is no check"),
    ],
)
def test_a_check_runs_no_code_and_asks_nobody(check: Any, reason: str) -> None:
    """A data set from elsewhere cannot name a function to be called; a broken check leaves the example unscored."""
    found = scorers.checks()("x", Example(id="1", inputs={"a": "b"}, metadata={"checks": [check]}))
    assert found.value is None  # type: ignore[union-attr]
    assert reason in found.explanation  # type: ignore[union-attr]
