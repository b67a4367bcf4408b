"""The start notebook from top to bottom in a real JupyterLab, then headless: the same verdict, and nothing made twice."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from workbench import Workbench
from workbench.reporting import run_notebook

if TYPE_CHECKING:
    from playwright.sync_api import Page

START = Path(__file__).resolve().parents[2] / "notebooks" / "00_start.ipynb"
# it does as it is shown; asked in words it says positive to everything
MODEL = r"""
model = "small/m"
[endpoints.small]
kind = "scripted"
options.rules = [
    {match = 'Is this customer', answer = 'positive'},
    {match = '(love|thanks)[^\n]*\nSentiment:$', answer = 'positive'},
    {answer = 'negative'},
]
"""
VERDICT = "sentiment@2 is better than sentiment@1 on exact_match"

ALIGNED = """[...document.querySelectorAll("table.wb-table td")].map(
  (cell) => [cell.classList.contains("wb-n"), getComputedStyle(cell).textAlign])"""


@pytest.mark.chromium
def test_from_nothing_to_a_verdict_and_again(project: Path, run_all: Callable[[str], None], page: Page) -> None:
    """All cells run and the verdict shows; run again as a report, no version is new and every answer is used again."""
    (project / "workbench.toml").write_text(MODEL)
    (project / "datasets" / "reviews.jsonl").rename(project / "datasets" / "customer_sentiment.jsonl")
    (project / "notebooks").mkdir()
    shutil.copy(START, project / "notebooks")
    run_all("notebooks/00_start.ipynb")
    page.get_by_text(VERDICT).first.wait_for(timeout=120_000)
    assert not page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']").count()
    aligned = {(number, side) for number, side in page.evaluate(ALIGNED)}
    assert {(False, "left")} <= aligned <= {(False, "left"), (True, "right")}  # whatever JupyterLab does to tables
    if shots := os.environ.get("SCREENSHOTS"):
        page.get_by_role("heading", name="5. The verdict").evaluate("(e) => e.scrollIntoView()")
        page.wait_for_timeout(1000)
        page.screenshot(path=f"{shots}/lab.png")
    versions = Workbench(project).prompts.versions("sentiment")
    again = run_notebook(
        project / "notebooks" / "00_start.ipynb", {"model": "small/m"}, out=project / "again.html", cwd=project
    )
    assert "completed" == again.status, again.error
    assert VERDICT in again.html.read_text("utf-8")
    assert versions == Workbench(project).prompts.versions("sentiment")
    assert 2 * 24 + 2 == len(Workbench(project).calls.frame())  # with one warm-up a prompt
