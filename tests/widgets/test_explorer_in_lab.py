"""The dashboards with filters in a real JupyterLab: another board, a filter, a figure that is drawn."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

CELLS = [
    """import time
from workbench import Workbench
from workbench.records import Call
bench = Workbench()
for at in range(400):
    bench.calls.append(Call(
        call_id=f"{at:016x}-1-1", ended_at=time.time() - 1800 * at, model=f"openai/model-{at % 2}", kind="chat",
        latency=0.5 + at % 7 / 10, cost=0.01, spent=0.01 * (1 + at % 3), prompt_tokens=10, completion_tokens=5,
        tenant=["acme", "<img src=x onerror=alert(1)>"][at % 5 == 0], feature="triage-api"))
bench.show(bench.dashboards)""",
]


@pytest.mark.chromium
def test_another_board_and_a_filter(
    project: Path, run_all: Callable[[str], None], notebook: Callable[[str, list[str]], None], page: Page
) -> None:
    """Figure and table follow; a tenant's name is text."""
    notebook("explore.ipynb", CELLS)
    run_all("explore.ipynb")
    output = page.locator(".jp-OutputArea-output").filter(has=page.get_by_label("board"))
    output.wait_for(timeout=60_000)
    output.locator(".js-plotly-plot").get_by_text("Cost each day by model").first.wait_for(timeout=60_000)
    if shots := os.environ.get("SCREENSHOTS"):
        page.set_viewport_size({"width": 1200, "height": 1300})
        page.add_style_tag(content=".Toastify { display: none }")
        page.wait_for_timeout(1000)
        output.screenshot(path=f"{shots}/explorer.png")
    output.get_by_label("group by").select_option("tenant")
    output.locator(".js-plotly-plot").get_by_text("<img src=x onerror=alert(1)>").first.wait_for(timeout=60_000)
    output.locator(".js-plotly-plot").get_by_text("spent on 400 calls").first.wait_for(timeout=60_000)
    output.get_by_label("board").select_option("latency")
    output.locator(".js-plotly-plot").get_by_text("P50").first.wait_for(timeout=60_000)
    output.get_by_label("tenant").fill("acme")
    output.get_by_label("tenant").press("Enter")
    output.get_by_text("drawing …").wait_for(state="detached", timeout=60_000)
    output.get_by_text("The same as a table").click()
    assert not output.locator("img[src=x], script").count()
