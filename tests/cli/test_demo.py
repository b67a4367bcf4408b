"""`workbench demo`, as a stranger runs it: real weights, a real kernel, a real browser."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

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
    assert "48/48" in runs.bar
    assert "/48" not in runs.first
    assert (runs.project / "prompts" / "sentiment" / "3.md").is_file()
    assert (runs.project / "datasets" / "customer_sentiment.jsonl").is_file()


def test_second_run_says_what_it_reused_and_says_the_same(runs: Runs) -> None:
    """Nothing is asked twice, and the verdict is word for word the same."""
    assert "0 answers were measured now, 48 were reused" in runs.again
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
def test_report_in_a_browser_without_a_network(runs: Runs) -> None:
    """The page shows verdict, table and four figures, asks for nothing else, and logs no error."""
    browser = next((found for name in ("chromium", "google-chrome", "chrome") if (found := shutil.which(name))), None)
    if browser is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium on this machine: .ci/run installs it")
        pytest.skip("no Chromium or Chrome on this machine")
    from playwright.sync_api import sync_playwright

    wrong: list[str] = []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        page = chromium.new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else wrong.append(r.url))
        page.goto(runs.page.as_uri())
        page.wait_for_selector(".main-svg")
        figures = page.locator(".js-plotly-plot")
        sizes = [figures.nth(i).bounding_box() for i in range(figures.count())]
        text = page.inner_text("body")
        chromium.close()
    assert wrong == []
    assert len(sizes) == 4
    assert all(size is not None and size["width"] > 300 and size["height"] > 80 for size in sizes)
    for expected in ("sentiment@2", "exact_match", "not released", "What was compared", verdict(runs.first)[9:60]):
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
