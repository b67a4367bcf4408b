"""The notebook of the load test, headless in a real kernel: on the real embedded model as it is, and on two scripted servers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from workbench import Workbench
from workbench.reporting import run_notebook
from workbench.running.progress import silent

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "serving_benchmark.ipynb"
RULES = """
[[endpoints.{0}.options.rules]]
answer = "one two three four"
delay = {1}
first_token = 0.4
[endpoints.{0}]
kind = "scripted"
"""


def test_it_runs_on_the_embedded_model(project: Path) -> None:
    """With its default parameters but fewer requests: real weights, real figures, lengths as asked for."""
    report = run_notebook(NOTEBOOK, {"requests": 2, "save_to": str(project / "saved.json")}, out=project, cwd=project)
    assert report.status == "completed", report.error
    found = json.loads((project / "saved.json").read_text())
    assert ["1 at once", "2 at once"] == [row["load"] for row in found["summary"]]
    assert all(row["tokens_per_second"] > 0 and 0 < row["ttft_p50"] < row["latency_p50"] for row in found["summary"])
    assert [16.0, 16.0] == [row["output_tokens"] for row in found["summary"]]
    # a first word, which has no space before it, may be a token more
    assert pytest.approx([64, 64], abs=1) == [row["prompt_tokens"] for row in found["summary"]]
    assert found["setups"][0]["digest"]
    assert "Nothing to compare with." in report.html.read_text("utf-8")


def test_it_compares_servers_and_weeks(project: Path) -> None:
    """Two models side by side at a rate, held against an earlier test; the page holds the sentence and three figures."""
    (project / "workbench.toml").write_text(
        RULES.format("fast", 0.01) + RULES.format("slow", 0.6)
    )  # apart also on a busy machine
    parameters: dict[str, Any] = {
        "models": ["slow/m", "fast/m"], "rate": [40.0], "requests": 12, "prompt_tokens": 20, "output_tokens": 4,
    }  # fmt: skip

    async def last_week() -> None:
        async with Workbench(project) as bench:
            await bench.load_test(bench.load_plan(**parameters), progress=silent)

    asyncio.run(last_week())
    again = run_notebook(NOTEBOOK, parameters | {"against": "last"}, out=project / "again.html", cwd=project)
    assert again.status == "completed", again.error
    page = again.html.read_text("utf-8")
    assert "times the median latency of slow/m" in page
    for title in (
        "Throughput against load",
        "Latency against load",
        "Time to first token, and time for each token after it",
    ):
        assert title in page
    ids = Workbench(project).load_tests.ids()
    assert 2 == len(ids)
    assert f"{ids[0]} against {ids[1]}" in page
