"""Comparisons in a real Jupyter kernel: its event loop, its stop button, cells that are run again."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jupyter_client.manager import start_new_kernel

from workbench import Workbench

if TYPE_CHECKING:
    from conftest import OpenAIDouble

PLAN = 'plan = bench.plan(prompts=["tone@1", "tone@2"], models=["openai/m"], dataset="reviews", concurrency=4)'


class Kernel:
    """A real kernel; `run` gives what a cell printed, and fails the test if the cell failed."""

    def __init__(self, project: Path, url: str) -> None:
        env = os.environ | {"OPENAI_BASE_URL": url, "WORKBENCH_PROJECT": str(project), "WORKBENCH_STATIC": "1"}
        self.manager, self.client = start_new_kernel(env=env, cwd=str(project))

    def run(self, code: str) -> str:
        """Run a cell to its end."""
        return self.finish(self.start(code))

    def start(self, code: str) -> str:
        """Send a cell."""
        return str(self.client.execute(code))

    def finish(self, cell: str) -> str:
        """What a cell printed, with its result as text."""
        printed = []
        while True:
            message: dict[str, Any] = self.client.get_iopub_msg(timeout=120)
            if message["parent_header"].get("msg_id") != cell:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream" and content["name"] == "stdout":
                printed.append(content["text"])
            elif kind == "execute_result":
                printed.append(content["data"]["text/plain"])
                assert content["data"]["text/html"]
            elif kind == "error":
                pytest.fail("\n".join(content["traceback"]))
            elif kind == "status" and content["execution_state"] == "idle":
                return "".join(printed)


@pytest.fixture
def kernel(project: Path, openai_double: OpenAIDouble) -> Iterator[Kernel]:
    """A kernel in a project with two prompt versions, whose openai endpoint is the double."""
    prompts = Workbench(project).prompts
    prompts.create("tone", "Be wrong about this message:\n{{message}}")
    prompts.create("tone", "Is this message positive or negative?\n{{message}}")
    kernel = Kernel(project, openai_double.url)
    kernel.run("from workbench import Workbench\nbench = Workbench()")
    yield kernel
    kernel.client.stop_channels()
    kernel.manager.shutdown_kernel(now=True)


def test_cells_await_the_comparison_and_can_be_run_again(kernel: Kernel, openai_double: OpenAIDouble) -> None:
    """Top-level await in the kernel's own loop, with HTML for the front end; a second run of the cell sends nothing."""
    assert "calls       80" in kernel.run(f"{PLAN}\nplan")
    assert "tone@2 is better than tone@1" in kernel.run("result = await bench.compare(plan)\nresult")
    before = openai_double.calls
    assert "All 80 answers were reused" in kernel.run("result = await bench.compare(plan)\nresult")
    assert before == openai_double.calls


def test_stop_button_leaves_a_partial_result_and_a_kernel_that_goes_on(
    kernel: Kernel, openai_double: OpenAIDouble
) -> None:
    """The double sees the calls end; the cell returns what is there; the next cell completes it."""
    openai_double.delay = 0.1
    cell = kernel.start(f"{PLAN}\nresult = await bench.compare(plan)\nprint(result)")
    while openai_double.calls < 20:
        assert kernel.manager.is_alive()
        time.sleep(0.002)
    kernel.manager.interrupt_kernel()
    printed = kernel.finish(cell)
    assert "Verdict: Partial, " in printed
    openai_double.delay = 0.0
    assert "True 80" in kernel.run("result = await bench.compare(plan)\nprint(result.complete, len(result.rows()))")
