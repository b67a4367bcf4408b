"""The sortable table as the output of a cell in a real JupyterLab."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

if TYPE_CHECKING:
    from playwright.sync_api import Page

CELL = """
import pandas as pd
from workbench.dashboards.board import Board

frame = pd.DataFrame({"model": ["m10", "m9", "m1"], "cost": ["$0.50", "unknown", "$0.0123"]})
Board("Versions", frame, frame, keys=frame.assign(cost=[0.5, None, 0.0123]))
"""


@pytest.mark.chromium
def test_a_table_is_sorted_where_it_is_shown(project: Path, run_all: Callable[[str], None], page: Page) -> None:
    """By mouse and keyboard, and the header says so to a screen reader."""
    path = project / "table.ipynb"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=[new_code_cell(CELL)], metadata=kernel), path)  # type: ignore[no-untyped-call]
    run_all("table.ipynb")
    cost = page.locator("table.wb-sortable").get_by_role("button", name="cost")
    cost.click(timeout=120_000)
    models = page.locator("table.wb-sortable tbody td:first-child")
    assert ["m1", "m10", "m9"] == models.all_inner_texts()
    cost.focus()
    page.keyboard.press("Enter")
    assert ["m10", "m1", "m9"] == models.all_inner_texts()
    assert "descending" == page.locator("table.wb-sortable th").nth(1).get_attribute("aria-sort")
