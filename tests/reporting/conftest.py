"""Notebooks built on the spot and run for real; runs are shared, for a kernel takes seconds to start."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from workbench.reporting import ReportRun, run_notebook

SECRET = "hunter2-hunter2"
STRAY_KEY = "sk-proj-abcdefghijklmnop1234"
ENV_SECRET = "correct-horse-battery"
ANSWER = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"

DEFAULTS = """
limit: int = 3
name = "sentiment"
ratio = 0.5
labels = ["positive", "negative"]
model: str | None = None
api_key = "unset"
"""
LOOK = """
import os, sys
import pandas as pd
from IPython.display import HTML, display
from workbench import tables
print("limit", limit, "ratio", ratio, "key", api_key)
print("interpreter", sys.executable)
print("environment", os.environ["PLOTLY_RENDERER"], os.environ["WORKBENCH_STATIC"], os.environ["GREETING"])
print("stray", STRAY, os.environ["SERVICE_KEY"], os.environ["KEY_FILE_KEY"])
sys.stderr.write("a warning for the author\\n")
display(HTML(tables.to_html(pd.DataFrame({"variant": ["sentiment@2"], "answer": [ANSWER], "score": [0.93]}))))
"""
FIGURES = """
from workbench.dashboards import latency_figure, score_figure
display(score_figure(pd.DataFrame({"variant": ["sentiment@1 · m", "sentiment@2 · m"], "exact": [0.5, 0.9],
                                   "exact_low": [0.4, 0.8], "exact_high": [0.6, 0.95]})))
display(latency_figure(pd.DataFrame({"variant": ["sentiment@1 · m"] * 20, "latency": [i / 100 for i in range(20)]})))
import plotly.express as px
display(px.scatter(x=[1, 2], y=[2, 1], title="Any other figure"))
"""
WIDGETS = """
import ipywidgets
from tqdm.auto import tqdm
display(ipywidgets.IntSlider(value=3))
for _ in tqdm(range(3)):
    pass
display(HTML('<script src="https://cdn.example.com/x.js"></script>'))
display(HTML('<img src="https://example.com/a.png" alt="a remote picture"><b onclick="alert(1)">kept text</b>'))
"""


def parameters_cell(source: str) -> Any:
    return new_code_cell(source.strip(), metadata={"tags": ["parameters"]})


@pytest.fixture(scope="session")
def write_notebook(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Texts and cells as a notebook file; a text that begins with # and a space is a heading, any other is code."""

    def write(*cells: Any, name: str = "report") -> Path:
        made = [
            cell
            if not isinstance(cell, str)
            else new_markdown_cell(cell)
            if cell.startswith("#")
            else new_code_cell(cell)
            for cell in cells
        ]
        node = new_notebook(
            cells=made, metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}
        )
        path = tmp_path_factory.mktemp("notebooks") / f"{name}.ipynb"
        nbformat.write(node, path)
        return path

    return write


@pytest.fixture(scope="session")
def good_run(write_notebook: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> ReportRun:
    """A run that completes, though another `python3` kernel is registered that cannot even start."""
    kernels = tmp_path_factory.mktemp("jupyter")
    (kernels / "kernels" / "python3").mkdir(parents=True)
    broken = {"argv": ["/nonexistent/python", "{connection_file}"], "display_name": "broken", "language": "python"}
    (kernels / "kernels" / "python3" / "kernel.json").write_text(json.dumps(broken))
    notebook = write_notebook(
        "# Is version 2 better?\n\nThree versions on *84* messages, at $0.02 to $0.05.",
        parameters_cell(DEFAULTS),
        f"STRAY = {STRAY_KEY!r}\nANSWER = {ANSWER!r}",
        LOOK,
        "## Figures",
        FIGURES,
        "## Others",
        WIDGETS,
        name="weekly",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(kernels))
        return run_notebook(
            notebook,
            {"limit": 5, "ratio": 1, "api_key": SECRET},
            out=tmp_path_factory.mktemp("reports") / "deep" / "er",
            env={"GREETING": "hello", "SERVICE_KEY": ENV_SECRET, "KEY_FILE_KEY": "/etc/keys/service"},
            clock=lambda: 1_790_000_000.0,
        )


@pytest.fixture(scope="session")
def failed_run(write_notebook: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> ReportRun:
    """A run whose fourth code cell raises, with a coloured message that holds a secret."""
    notebook = write_notebook(
        "# A run that fails",
        parameters_cell('token = "unset"'),
        "print('before it failed')",
        "## The part that breaks",
        "def lookup(name):\n    raise LookupError(f'{chr(27)}[3{1}mno prompt for {name}{chr(27)}[0m')\nlookup(token)",
        "## Never reached",
        "print('after it failed')",
        name="broken",
    )
    out = tmp_path_factory.mktemp("reports") / "page.html"
    return run_notebook(notebook, {"token": SECRET}, out=out)
