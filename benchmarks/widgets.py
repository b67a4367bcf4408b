"""How long a comparison takes to open in a notebook, and how large the notebook gets: 100, 1,000 and 10,000 examples x 4.

    python benchmarks/widgets.py [--json FILE] [--sizes 100,1000,10000] [--rounds 3]

A real JupyterLab, a real kernel (warm: all is imported, the comparison ended before, and a small view was shown)
and a real Chromium. The time is from the key press that runs the cell to the first row in the page; then to the next page, and to
a filter's rows. The size is that of the saved notebook after one view. Peers show the same answers, one row an example: pandas'
HTML table, and itables (DataTables, all rows sent, offline).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from common import Claims, arguments, median, peer_python

SETUP = """
import asyncio, hashlib, sys
import pandas as pd
from IPython.display import HTML
from workbench import Rule, Scripted, Workbench
sys.path.append({peers!r})
WORDS = "the order came late and nobody answers the phone so please send a refund or tell us where it is now".split()
def says(request):
    seed = hashlib.sha256(request.text().encode()).digest()
    return " ".join(WORDS[byte % len(WORDS)] for byte in seed * 2) + (" yes" if seed[0] % 2 else " no")
def right(text, example):
    "Whether the answer ends as expected."
    return float(text.endswith(example.expected))
bench = Workbench(runtimes={{"scripted": Scripted([Rule(answer=says)])}})
def plan(count):
    messages = [f"message {{i}}: where is my order? " * 4 for i in range(count)]
    data = pd.DataFrame({{"message": messages, "expected": ["yes", "no"] * (count // 2)}})
    return bench.plan(prompts=[f"triage@{{i}}" for i in (1, 2, 3, 4)], models=["scripted/m"], dataset=data, primary=right)
"""
RUN = (
    "result = await bench.compare(plan({count}), progress=lambda progress: None)\nwarm = await bench.compare(plan(10))"
)
SHOW = "bench.show({name})"
FRAME = "frame = result.rows().pivot(index='example_id', columns='variant', values='text')"
PEERS = {
    "pandas' HTML table": ("HTML(frame.to_html())", "", ".jp-OutputArea table.dataframe tbody tr td"),
    "itables": (
        "show(frame, maxBytes=0)", "from itables import init_notebook_mode, show\ninit_notebook_mode(connected=False)",
        "table.dataTable tbody tr td",
    ),
}  # fmt: skip


def write(path: Path, cells: Sequence[str]) -> None:
    empty: dict[str, Any] = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    made = [empty | {"id": f"c{at}", "source": source} for at, source in enumerate(cells)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.write_text(json.dumps({"cells": made, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))


class Notebook:
    """A notebook's page; cells are run one by one."""

    def __init__(self, page: Any, lab: str, token: str, path: Path) -> None:
        self.page, self.path = page, path
        self._address = f"{lab}/lab/tree/notebooks/{path.name}?token={token}&reset"
        self._sessions = f"{lab}/api/sessions?token={token}"

    async def open(self) -> None:
        await self.page.goto(self._address)
        await self.page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=120_000)
        while not await asyncio.to_thread(self._ready):  # the page says idle before it has a kernel
            await asyncio.sleep(0.2)

    def _ready(self) -> bool:
        with urllib.request.urlopen(self._sessions, timeout=10) as answer:  # noqa: S310
            kernels = [one["kernel"] for one in json.load(answer) if one["path"].endswith(self.path.name)]
        return any(kernel and kernel["execution_state"] == "idle" and kernel["connections"] for kernel in kernels)

    async def run(self, cell: int, shown: Any = None) -> float:
        """Seconds until something is shown; without it, until the cell has ended."""
        editor = self.page.locator(".jp-Notebook .jp-CodeCell").nth(cell)
        await editor.scroll_into_view_if_needed()
        await editor.locator(".jp-InputArea-editor").click(position={"x": 5, "y": 5})
        began = time.perf_counter()
        await self.page.keyboard.press("Control+Enter")
        if shown is None:
            prompt = editor.locator(".jp-InputPrompt").get_by_text(re.compile(r"\[\d+\]"))
            await prompt.wait_for(timeout=600_000)
        else:
            await shown.wait_for(timeout=300_000)
        return time.perf_counter() - began

    async def size(self) -> int:
        """Bytes of the saved file."""
        before = self.path.stat().st_mtime_ns
        await self.page.keyboard.press("Control+s")
        while self.path.stat().st_mtime_ns == before:
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        return self.path.stat().st_size


async def ours(book: Notebook, rounds: int) -> tuple[float, float, float, int]:
    """Seconds to the first rows, to the next page and to a filter's rows; bytes of the notebook."""
    await book.open()
    await book.run(0)
    await book.run(1)
    views = book.page.locator(".wb-comparison")
    await book.run(2, views.nth(0).locator("tbody tr").first)
    first, turned, filtered, size = [], [], [], 0
    for number in range(1, rounds + 1):
        view = views.nth(number)
        first.append(await book.run(2 + number, view.locator("tbody tr").first))
        size = size or await book.size()
        await view.get_by_role("grid").focus()
        began = time.perf_counter()
        await book.page.keyboard.press("n")
        await view.locator(".wb-pager").get_by_text(re.compile("page 2 of")).wait_for()
        turned.append(time.perf_counter() - began)
        began = time.perf_counter()
        await view.get_by_label("which examples").select_option("worse")
        await view.locator(".wb-pager").get_by_text(re.compile("page 1 of")).wait_for()
        filtered.append(time.perf_counter() - began)
    return median(first), median(turned), median(filtered), size


async def peer(book: Notebook, shown: str) -> tuple[float, int]:
    """Seconds to the first row, and bytes of the notebook."""
    await book.open()
    for cell in range(3):
        await book.run(cell)
    seconds = await book.run(3, book.page.locator(shown).first)
    return seconds, await book.size()


async def measure(project: Path, count: int, rounds: int, peers: str) -> dict[str, tuple[float, ...]]:
    from playwright.async_api import async_playwright

    from workbench.lab import JupyterLab
    from workbench.settings import load_settings

    setup, run = SETUP.format(peers=peers), RUN.format(count=count)
    views = [SHOW.format(name="warm"), *[SHOW.format(name="result")] * rounds]
    folder = project / "notebooks"
    folder.mkdir(exist_ok=True)
    write(folder / "ours.ipynb", [setup, run, *views])
    for at, (call, before, _) in enumerate(PEERS.values()):
        write(folder / f"peer{at}.ipynb", [setup, f"{run}\n{FRAME}", before or "pass", call])
    found: dict[str, tuple[float, ...]] = {}
    server = JupyterLab(load_settings(project), port=0, browser=False)
    await server.start()
    try:
        async with async_playwright() as playwright:
            path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
            browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
            address = "{0.scheme}://{0.netloc}".format(urlsplit(server.url))

            def book(name: str, page: Any) -> Notebook:
                return Notebook(page, address, server.token, folder / name)

            async def page() -> Any:
                return await browser.new_page(viewport={"width": 1200, "height": 900})

            found["ours"] = await ours(book("ours.ipynb", await page()), rounds)
            for at, (name, (_, _, shown)) in enumerate(PEERS.items()):
                opened = await page()
                found[name] = await peer(book(f"peer{at}.ipynb", opened), shown)
                await opened.close()
            await browser.close()
    finally:
        server.stop()
    return found


def main() -> None:
    """Print, and with --json write, what was measured."""
    parser = arguments(__doc__)
    parser.add_argument("--sizes", default="100,1000,10000")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    from workbench import Workbench

    python = peer_python("itables", "itables")
    peers = str(next((python.parent.parent / "lib").glob("python*/site-packages")))
    claims, times = Claims(), {}
    for count in map(int, options.sizes.split(",")):
        with tempfile.TemporaryDirectory() as text:
            project = Path(text)
            (project / "workbench.toml").write_text('model = "scripted/m"\nauthor = "benchmark"\ncache = "off"\n')
            versions = Workbench(project).prompts
            for way in ("Answer", "Say", "Decide", "Tell"):
                versions.create("triage", f"{way} yes or no: {{{{message}}}}")
            found = asyncio.run(measure(project, count, options.rounds, peers))
        first, turned, filtered, size = found.pop("ours")
        times[count] = first
        print(f"     {count:,} examples: the next page after {turned:.2f} s, a filter's rows after {filtered:.2f} s")
        for name, (seconds, bytes_) in found.items():
            claims.add(f"seconds to the first row, {count:,} examples x 4", first, seconds, name, first / seconds,
                       "ours ≤ 1 s", holds=first <= 1)  # fmt: skip
            claims.add(f"MB of the saved notebook, {count:,} examples x 4", size / 1e6, bytes_ / 1e6, name, size / bytes_,
                       "ours < 1 MB", holds=size < 1e6)  # fmt: skip
    if len(times) > 1:
        least, most = min(times), max(times)
        claims.add(f"seconds to the first row, {most:,} beside {least:,} examples", times[most], times[least],
                   f"ours with {least:,}", times[most] / times[least], "≤ 2", holds=times[most] <= 2 * times[least])  # fmt: skip
    claims.write(options.json)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        os.environ.pop("WORKBENCH_STATIC", None)
        sys.exit(main())
