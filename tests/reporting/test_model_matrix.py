"""The notebook of prompts x models x params, headless in a real kernel, on two scripted servers."""

from __future__ import annotations

import json
from pathlib import Path

from workbench import Workbench
from workbench.reporting import Archive, run_report

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "model_matrix.ipynb"
SERVERS = """
[endpoints.quick]
kind = "scripted"
concurrency = 4
options.rules = [
    {match = 'wrong', answer = 'neither', delay = 0.01},
    {match = 'love|thanks', answer = 'positive', delay = 0.01},
    {answer = 'negative', delay = 0.01},
]
[endpoints.slow]
kind = "scripted"
concurrency = 1
options.rules = [{match = 'love', answer = 'positive', delay = 0.03}, {answer = 'negative', delay = 0.03}]
"""


def test_a_matrix_from_plan_to_pareto(project: Path) -> None:
    """Eight variants: the verdict, who is beaten by whom, latencies that are not comparable, and the numbers for the next run."""
    (project / "workbench.toml").write_text(SERVERS)
    bench = Workbench(project)
    bench.prompts.create("tone", "Be wrong about this:\n{{message}}")
    bench.prompts.create("tone", "Positive or negative?\n{{message}}")
    parameters = {
        "prompts": ["tone@1", "tone@2"], "models": ["quick/m", "slow/m"], "dataset": "reviews", "limit": 16,
        "params": [{"max_tokens": 5}, {"max_tokens": 9}], "save_to": str(project / "saved.json"),
    }  # fmt: skip
    report = run_report(NOTEBOOK, parameters, archive=Archive(project / "reports"))
    assert report.status == "completed", report.run.error
    found = json.loads((project / "saved.json").read_text())
    assert len(found["variants"]) == 8
    assert found["winner"] == "tone@2 · quick/m · max_tokens=5"
    page = report.page.read_text("utf-8")
    for said in (
        "Winner: tone@2 · quick/m · max_tokens=5",
        "Beaten by no other in score, cost and latency at once: tone@2 · quick/m",
        "(not comparable: 1 in flight)",
        "The 7 intervals hold together at 95%",
        "Best score first",
    ):
        assert said in page
    assert report.published.numbers["tone@2 · quick/m · max_tokens=5.exact_match"] == 1.0
