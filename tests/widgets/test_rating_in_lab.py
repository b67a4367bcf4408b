"""Rating by keyboard in a real JupyterLab: vote, undo, reload, go on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from workbench import Workbench
from workbench.evaluation.ratings.store import RatingStore

if TYPE_CHECKING:
    from playwright.sync_api import Page

CELLS = [
    """import pandas as pd
from workbench import Rule, Scripted, Workbench
hostile = "<img src=x onerror=alert(1)><script>document.title='pwned'</script> \\u202e\\x07 " + "long" * 500
bench = Workbench(runtimes={"scripted": Scripted([Rule("Badly", "wrong " + hostile), Rule(answer="right, and short")])})
data = pd.DataFrame({"question": [f"How does number {i} work?" for i in range(6)], "expected": "x"})
result = await bench.compare(bench.plan(prompts=["tell@1", "tell@2"], models=["scripted/m"], dataset=data))""",
    """session = bench.ratings.session(result, rater="ana", question="Is it right?")
bench.show(session)""",
]


@pytest.mark.chromium
def test_five_answers_by_keyboard_then_reload_and_go_on(
    project: Path, run_all: Callable[[str], None], notebook: Callable[[str, list[str]], None], page: Page
) -> None:
    """Each key is a vote on disk at once, and no shortcut of JupyterLab's; no answer is read as HTML; after a reload it goes
    on."""
    versions = Workbench(project).prompts
    versions.create("tell", "Badly: {{question}}")
    versions.create("tell", "Well: {{question}}")
    notebook("rate.ipynb", CELLS)
    store = RatingStore(project / ".workbench" / "ratings")

    def run() -> None:
        run_all("rate.ipynb")
        page.locator(".wb-rating").wait_for(timeout=60_000)

    def wait_for(count: str) -> None:
        page.locator(".wb-count").get_by_text(count, exact=True).wait_for(timeout=60_000)

    run()
    rating, answer = page.locator(".wb-rating"), page.locator(".wb-answer .wb-text")
    rating.focus()
    for number in range(1, 6):
        right = answer.inner_text().startswith("right")
        page.keyboard.press("p" if right else "f")
        wait_for(f"{number} of 12 rated")
        votes = store.votes("Is it right?")
        assert (number, float(right)) == (len(votes), votes[-1].score)
    page.keyboard.press("u")
    wait_for("4 of 12 rated")
    page.keyboard.press("b")  # in JupyterLab: a cell below
    page.keyboard.press("s")
    wait_for("4 of 12 rated, 1 skipped")
    assert 2 == page.locator(".jp-Notebook .jp-CodeCell").count()
    if shots := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=f"{shots}/rating.png")
    assert "pwned" not in page.title()
    assert not rating.locator("img, script").count()
    before = answer.inner_text()

    run()  # the page anew, and its cells
    wait_for("4 of 12 rated, 1 skipped")
    assert before == answer.inner_text()
    rating.get_by_role("button", name="Pass").click()
    wait_for("5 of 12 rated, 1 skipped")
    assert 6 == len(store.votes("Is it right?"))
