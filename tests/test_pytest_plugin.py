"""The fixture `compare` in a user's own tests, run by a pytest of their own with warnings as errors."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from workbench import Workbench
from workbench.running.progress import silent

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parent.parent
RULES = """
model = "fake/m"
[endpoints.fake]
kind = "scripted"
[[endpoints.fake.options.rules]]
match = "(?s)Answer badly.*order 1"
answer = "no idea"
[[endpoints.fake.options.rules]]
match = "love|thanks"
answer = "positive"
[[endpoints.fake.options.rules]]
answer = "negative"
"""
TESTS = """
import asyncio
import pytest
from workbench.errors import InputError

BOTH = {"prompts": ["tone@1", "tone@2"], "data": "reviews"}
BACK = {"prompts": ["tone@2", "tone@1"], "data": "reviews"}

def test_better(compare):
    result = compare(**BOTH, model="fake/m", scorer=["exact_match", "token_f1"], gate=["exact_match: better", "p50_ms < 2000"])
    assert result.winner.prompt.ref == "tone@2"

def test_no_gate_means_no_worse(compare):
    compare(**BOTH)

def test_worse(compare):
    compare(**BACK, budget=1.0)

def test_undecided(compare):
    compare(**BOTH, gate="error_rate < 0.01")

def test_undecided_here(compare):
    compare(**BOTH, gate="error_rate < 0.01", undecided="xfail")

def test_slip(compare):
    with pytest.raises(InputError, match="Did you mean 'exact_match'"):
        compare(**BOTH, gate=["exct_match: better"])
    with pytest.raises(InputError, match="must be one of"):
        compare(**BOTH, undecided="pass")

def test_in_a_loop(compare):
    async def go():
        return compare(**BOTH)
    assert asyncio.run(go()).complete
"""


def make_project(folder: Path) -> None:
    """Two versions of a prompt, the first of which fails on some messages."""
    (folder / "workbench.toml").write_text(RULES)
    said = [("love it", "positive"), ("it broke", "negative")]
    rows = [{"inputs": {"message": f"{said[i % 2][0]} (order {i})"}, "expected": said[i % 2][1]} for i in range(40)]
    (folder / "datasets").mkdir()
    (folder / "datasets" / "reviews.jsonl").write_text("\n".join(map(json.dumps, rows)))
    prompts = Workbench(folder).prompts
    prompts.create("tone", "Answer badly: {{message}}")
    prompts.create("tone", "Positive or negative? {{message}}")


@pytest.fixture(scope="module")
def _imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All that a comparison imports: what a pytest inside of this one imports is taken out again, and NumPy loads only once."""
    folder = tmp_path_factory.mktemp("first")
    make_project(folder)

    async def go() -> None:
        async with Workbench(folder) as bench:
            result = await bench.compare(bench.plan(prompts=["tone@1", "tone@2"], dataset="reviews"), progress=silent)
            assert str(result.gate(["exact_match: better"]))
            assert str(result)

    asyncio.run(go())


@pytest.fixture
def user(pytester: pytest.Pytester, _imported: None, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A user's project, with tests of its prompt."""
    for name in ("CI", "BUILD_NUMBER"):  # by these pytest repeats each failure, whole, in its summary
        monkeypatch.delenv(name, raising=False)
    make_project(pytester.path)
    (pytester.mkdir("checks") / "test_tone.py").write_text(TESTS)
    return pytester


def run(user: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    plugins = ("-p", "workbench.pytest_plugin", "-p", "no:cacheprovider", "-W", "error", "--disable-plugin-autoload")
    return user.runpytest_inprocess(*plugins, *arguments)


def test_a_test_fails_with_the_verdict_and_the_table(user: pytest.Pytester) -> None:
    """What is better passes; what is worse or undecided fails and says why; a slip is an error before any call."""
    done = run(user, "checks", "--junitxml=out.xml")
    done.assert_outcomes(passed=4, failed=2, xfailed=1)
    done.stdout.fnmatch_lines([
        "*tone@1 is worse than tone@2 on exact_match: -*",
        "Gates failed: 1 failed.",
        "  FAILED     exact_match: non-inferior 0.05: tone@1*it may lose 0.05.",
        "prompt  version  model  *",
        "tone    @1  *worse*",
    ])  # fmt: skip
    done.stdout.fnmatch_lines(["*= comparisons =*", "*::test_better: Gates passed: 2 passed. tone@2 is better*"])
    assert "Traceback" not in done.stdout.str()
    assert "pytest_plugin.py" not in done.stdout.str()
    assert done.stdout.str().count("Verdict: tone@1 is worse than tone@2") == 1
    assert 'name="workbench" value="Gates failed' in (user.path / "out.xml").read_text()
    runs = list((user.path / ".workbench" / "runs").glob("*/*/rows-*.jsonl"))
    answers = [json.loads(line) for path in runs for line in path.read_text().splitlines()]
    assert len([row for row in answers if not row["warmup"]]) == 160  # each order once, reused by the other tests


def test_undecided_may_be_skipped(user: pytest.Pytester) -> None:
    """By flag or by ini, where the test itself does not say."""
    run(user, "checks", "-k", "undecided", "--workbench-undecided=skip").assert_outcomes(skipped=1, xfailed=1)
    user.makeini("[pytest]\nworkbench_undecided = xfail\nworkbench_budget = 0.5\n")
    run(user, "checks", "-k", "undecided").assert_outcomes(xfailed=2)
    user.makeini("[pytest]\nworkbench_budget = much\n")
    done = run(user, "checks", "-k", "no_gate")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*workbench_budget = much must be a number of dollars*"])


def test_a_plan_asks_nothing(user: pytest.Pytester) -> None:
    """--workbench-plan shows what it would cost and skips."""
    done = run(user, "checks", "-k", "worse or undecided", "--workbench-plan", "-rs")
    done.assert_outcomes(skipped=4)
    assert "cannot pass with 40 examples" in done.stdout.str()
    assert not list((user.path / ".workbench").glob("runs/*/*/rows-*"))


def test_an_installed_package_brings_it_along(user: pytest.Pytester) -> None:
    """Found by its entry point, from a test in another folder, and without what is slow until a test uses it."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]["pytest11"]
    site = user.path / "site"
    info = site / "llm_workbench-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: llm-workbench\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[pytest11]\n" + "".join(f"{k} = {v}\n" for k, v in declared.items()))
    (user.path / "conftest.py").write_text(
        "import sys\n"
        "def pytest_sessionstart(session):\n"
        "    slow = {'numpy', 'pandas', 'httpx', 'duckdb', 'workbench.workbench'} & set(sys.modules)\n"
        "    assert not slow, slow\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-W", "error", "-m", "pytest", "-p", "no:asyncio", "-q", "-W", "error",
               str(user.path / "checks"), "-k", "better"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=user.mkdir("elsewhere"), env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
