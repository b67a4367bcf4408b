"""`workbench demo`, as a stranger runs it: real weights, a real kernel, a real browser."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from workbench import Workbench


class Runs(NamedTuple):
    """The output of three runs in one project, and the page that the first one left."""

    first: str
    again: str
    fresh: str
    bar: str
    page: Path
    project: Path


def demo(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the demo in `project`."""
    return subprocess.run(
        [sys.executable, "-m", "workbench", "demo", *arguments], cwd=project, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The demo on sixteen messages: as it is, again, and measured anew."""
    project = tmp_path_factory.mktemp("stranger")
    page = project / "page.html"
    done = [demo(project, "--limit", "16", "--out", str(page))]
    done.append(demo(project, "--limit", "16", "--out", str(project / "again.html")))
    done.append(demo(project, "--limit", "16", "--out", str(project / "fresh.html"), "--fresh"))
    for run in done:
        assert run.returncode == 0, run.stdout + run.stderr
    return Runs(*(run.stdout for run in done), bar=done[0].stderr, page=page, project=project)


def verdict(text: str) -> str:
    """The line with the verdict."""
    return next(line for line in text.splitlines() if line.startswith("Verdict:"))


def scores(text: str) -> list[str]:
    """Each version's score as the table prints it."""
    return re.findall(r"\d\.\d\d \[\d\.\d\d, \d\.\d\d\]", text)


def test_demo_prints_plan_table_verdict_and_report(runs: Runs) -> None:
    """One command leads to everything that the README promises."""
    assert "Plan\n" in runs.first
    assert "sentiment@1 · embedded/smollm2-135m (control)" in runs.first
    assert len(scores(runs.first)) == 3
    assert f"Report: {runs.page}" in runs.first
    assert "48 of 48 calls" in runs.bar
    assert "/48" not in runs.first
    assert (runs.project / "prompts" / "sentiment" / "3.md").is_file()
    assert (runs.project / "datasets" / "customer_sentiment.jsonl").is_file()


def test_second_run_says_what_it_reused_and_says_the_same(runs: Runs) -> None:
    """Nothing is asked twice, and the verdict is word for word the same."""
    assert "All 48 answers were reused from earlier runs" in runs.again
    assert verdict(runs.first) == verdict(runs.again)
    assert "reused" not in runs.first + runs.fresh


def test_measured_anew_the_verdict_is_the_same(runs: Runs) -> None:
    """With its seed, the embedded model gives the same scores again."""
    assert verdict(runs.first) == verdict(runs.fresh)
    assert scores(runs.first) == scores(runs.fresh)


def test_log_knows_the_calls_of_both_measured_runs(runs: Runs) -> None:
    """48 answers and 3 warm-ups, twice; the run that reused them made none."""
    frame = Workbench(runs.project).calls.frame()
    assert len(frame) == 2 * (48 + 3)
    assert frame["error"].isna().all()
    assert (frame["spent"] == 0).all()


@pytest.mark.chromium
def test_report_in_a_browser_without_a_network(
    runs: Runs, open_chromium: Callable[[], AbstractContextManager[Any]], complaints: Callable[[Any], list[str]]
) -> None:
    """The page shows verdict, table and four figures, asks for nothing else, and logs no error."""
    with open_chromium() as chromium:
        page = chromium.new_page()
        wrong = complaints(page)
        page.goto(runs.page.as_uri())
        page.wait_for_selector(".main-svg")
        figures = page.locator(".js-plotly-plot")
        sizes = [figures.nth(i).bounding_box() for i in range(figures.count())]
        text = page.inner_text("body")
    assert wrong == []
    assert len(sizes) == 4
    assert all(size is not None and size["width"] > 300 and size["height"] > 80 for size in sizes)
    for expected in (
        "sentiment@2", "not released", "What was compared", verdict(runs.first)[9:60],
        "Decided by exact_match (1 if the answer is the expected one, else 0)", "equivalent if it lies within ±0.05",
    ):  # fmt: skip
        assert expected in text


def test_demo_that_fails_leaves_a_page_and_exits_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a server that is not there, the page says what failed, and the shell does too."""
    monkeypatch.setenv("VLLM_BASE_URL", "http://127.0.0.1:9")
    done = demo(tmp_path, "--model", "vllm/none", "--out", "page.html")
    assert done.returncode == 1
    assert "VLLM_BASE_URL" in done.stderr
    assert "VLLM_BASE_URL" in (tmp_path / "page.html").read_text("utf-8")


def test_unknown_model_exits_2_before_anything_runs(tmp_path: Path) -> None:
    """A typo costs nothing and names what there is."""
    done = demo(tmp_path, "--model", "ollma/llama3.2")
    assert done.returncode == 2
    assert "Did you mean 'ollama'" in done.stderr
