"""The notebook of the semantic cache's threshold, headless in a real kernel, with real vectors."""

from __future__ import annotations

import asyncio
from pathlib import Path

from workbench import Workbench
from workbench.cache.pairs import Pair, write_pairs
from workbench.cache.semantic import Look
from workbench.cache.shadow import ShadowLog
from workbench.reporting import run_notebook

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "cache_tuning.ipynb"


def test_it_runs_on_a_fresh_project(project: Path, minilm_weights: Path) -> None:
    """As it is: the sample is judged, and said to be one; the page holds the sentence, the table and the figure."""
    report = run_notebook(NOTEBOOK, {}, out=project, cwd=project)
    assert report.status == "completed", report.error
    page = report.html.read_text("utf-8")
    for said in (
        "Judged by the sample",
        "of 0 recorded pairs none is labelled",
        "With the guard, no threshold is proven to keep the budget of 1%",
        "pairs without one false hit",
        "What each threshold would do",
        "0.95 (default)",
    ):
        assert said in page
    assert "An interactive widget stood here" not in page


async def test_it_takes_what_the_cache_recorded(project: Path) -> None:
    """Without a file: the pairs of shadow mode, if equal answers label any of them; a pair without a label stays in doubt."""
    async with Workbench(project) as bench:
        await (await bench._kv.client()).ping()  # a pair that had to wait for the store to start would be lost
        shadow = ShadowLog(bench._kv)
        for at in range(5):
            look = Look(
                "shadow", f"how do i reset password {at}?", "s", 0.95, score=0.97, nearest=f"How do I reset password {at}?",
                cached_answer="In Settings.",
            )  # fmt: skip
            shadow.note(look, "in settings. " if at else "Nowhere.", "helpdesk@2")
        await shadow.aclose()
    report = await asyncio.to_thread(run_notebook, NOTEBOOK, {}, out=project / "page.html", cwd=project)
    assert report.status == "completed", report.error
    page = report.html.read_text("utf-8")
    for said in (
        "Judged by the 5 pairs that the cache recorded in the last 30 days; 4 are labelled.",
        "Without a label are 1 of the served: label these first.",
        "Pairs that came with their cosine: 5.",
        "as their two answers are equal: 4.",
    ):
        assert said in page


def test_it_proposes_from_own_pairs(project: Path) -> None:
    """A file of 450 pairs with cosines, of which 10 are wrong at 0.8: the proposal is 0.81, and nothing is embedded."""
    pairs = [Pair(f"How do I reset password {at}?", f"how do i reset password {at}", True, 0.93) for at in range(440)]
    pairs += [Pair(f"How do I reset login {at}?", f"how do i reset login {at}", False, 0.8) for at in range(10)]
    write_pairs(project / "mine.jsonl", pairs)
    parameters = {"pairs": "mine.jsonl", "embedder": "nowhere/none"}
    failed = run_notebook(NOTEBOOK, parameters, out=project / "failed.html", cwd=project)
    assert "nowhere" in (failed.error or "")
    report = run_notebook(NOTEBOOK, {"pairs": "mine.jsonl"}, out=project / "page.html", cwd=project)
    assert report.status == "completed", report.error
    page = report.html.read_text("utf-8")
    assert "Judged by mine.jsonl." in page
    assert "0.81 is the lowest threshold that keeps the budget of 1%: 440 of 450 pairs are served" in page


def test_with_a_live_kernel_there_is_a_slider(project: Path, minilm_weights: Path) -> None:
    """Run by Jupyter itself, the last cell makes the widget, with the figure inside."""
    import nbformat
    from nbclient import NotebookClient

    node = nbformat.read(NOTEBOOK, as_version=4)
    node.cells.insert(2, nbformat.v4.new_code_cell("import os; os.environ.pop('WORKBENCH_STATIC', None)"))
    NotebookClient(node, timeout=120, resources={"metadata": {"path": str(project)}}).execute()
    (output,) = node.cells[-1].outputs
    assert "application/vnd.jupyter.widget-view+json" in output["data"]
    state = node.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    found = {model["model_name"]: model["state"] for model in state.values()}
    texts = [model["state"]["value"] for model in state.values() if model["model_name"] == "HTMLModel"]
    assert 31 == len(found["SelectionSliderModel"]["_options_labels"])
    assert "may keep the budget of 1%" in " ".join(texts)
    assert "application/vnd.plotly.v1+json" in found["OutputModel"]["outputs"][0]["data"]
