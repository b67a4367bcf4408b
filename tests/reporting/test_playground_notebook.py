"""The playground's notebook, headless in a real kernel: its still form is in the page."""

from __future__ import annotations

from pathlib import Path

from workbench import Workbench
from workbench.reporting import run_notebook
from workbench.starter import ensure_demo

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "playground.ipynb"
SERVER = """
[endpoints.quick]
kind = "scripted"
options.rules = [{match = 'one word', answer = '<b>negative</b>'}, {answer = 'It is a complaint.'}]
"""


def test_it_shows_the_columns_of_its_run(project: Path) -> None:
    """Two versions of the demo's prompt on one example; what they said is escaped."""
    (project / "workbench.toml").write_text(SERVER)
    ensure_demo(Workbench(project).settings)
    report = run_notebook(NOTEBOOK, {"models": ["quick/a"], "example": 2}, out=project, cwd=project)
    assert report.status == "completed", report.error
    page = report.html.read_text("utf-8")
    for said in (
        "sentiment@1 · quick/a",
        "sentiment@3 · quick/a",
        "great, another update that breaks everything",
        "first token",
    ):
        assert said in page
    assert "An interactive widget stood here" not in page
    assert "<b>negative" not in page
