"""Makes the pictures of notebooks/README.md from real runs: `python docs/images/make.py [NOTEBOOK …]`, in a few minutes.

Each notebook runs headless, as `workbench report run` runs it, on the embedded model in a project of its own; the part of its
page that tells most is photographed. Pictures of widgets come from the tests that use them:
`SCREENSHOTS=$PWD/docs/images pytest -n 0 tests/widgets`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "images"
MOST = 150_000  # bytes
WIDTH = 1000


class Shot(NamedTuple):
    """What to run, and which part of the page to show: from a heading to the end of the first figure or table after it."""

    heading: str
    last: str
    parameters: dict[str, Any]


FIGURE, TABLE = ".js-plotly-plot", "table.wb-table"
SHOTS = {
    "00_start": Shot("5. The verdict", TABLE, {}),
    "ab_comparison": Shot("The verdict", FIGURE, {"limit": 24}),
    "model_matrix": Shot("The verdict", TABLE, {}),
    "dashboards": Shot("Cost", FIGURE, {"sample": True}),
    "version_performance": Shot("Version performance", TABLE, {"sample": True}),
    "cache_tuning": Shot("Every threshold", FIGURE, {}),
    "release_and_rollback": Shot("The whole hour", FIGURE, {}),
    "serving_benchmark": Shot("What was measured", FIGURE, {}),
}
# the top of the heading and the bottom of what is shown last, in pixels of the whole page
PART = """([heading, last]) => {
  const top = [...document.querySelectorAll("h1, h2")].find((e) => e.firstChild.textContent.trim() === heading);
  const after = (e) => top.compareDocumentPosition(e) & Node.DOCUMENT_POSITION_FOLLOWING;
  const end = [...document.querySelectorAll(last)].find(after);
  return [top.getBoundingClientRect().top + scrollY, end.getBoundingClientRect().bottom + scrollY];
}"""


def answers_page(chromium: Any, project: Path, env: dict[str, str]) -> None:
    """The page of a comparison that is sent to others, narrowed to what changed."""
    flags = ["--prompt", "sentiment@1", "--prompt", "sentiment@2", "--data", "customer_sentiment", "--limit", "40"]
    command = [sys.executable, "-m", "workbench", "compare", *flags, "--html", "answers.html"]
    subprocess.run(command, cwd=project, env={**os.environ, **env}, check=True)  # noqa: S603
    page = chromium.new_page(viewport={"width": WIDTH, "height": 860}, color_scheme="light")
    page.goto((project / "answers.html").as_uri())
    page.get_by_label("which examples").select_option("changed")
    page.get_by_label("order").select_option("best")
    page.screenshot(path=FOLDER / "answers_page.png")
    page.close()


def main(names: list[str]) -> None:
    """Make the pictures of these notebooks, or of all."""
    from playwright.sync_api import sync_playwright

    from workbench.reporting import run_notebook
    from workbench.settings import load_settings
    from workbench.starter import begin_project

    program = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        project = Path(folder)
        begin_project(load_settings(project, environ={}))
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        env = {"WORKBENCH_PROJECT": folder, "WORKBENCH_HOME": str(project / ".workbench")}
        for name in names or [*SHOTS, "answers_page"]:
            if name == "answers_page":
                answers_page(chromium, project, env)
                continue
            shot = SHOTS[name]
            run = run_notebook(
                ROOT / "notebooks" / f"{name}.ipynb",
                shot.parameters,
                out=project / f"{name}.html",
                cwd=project,
                env=env,
            )
            if run.status != "completed":
                sys.exit(f"{name}: {run.status}: {run.error}")
            page = chromium.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
            page.goto(run.html.as_uri())
            page.wait_for_load_state("networkidle")
            for figure in page.locator(".js-plotly-plot").all():
                figure.locator(".main-svg").first.wait_for()
            top, bottom = page.evaluate(PART, [shot.heading, shot.last])
            clip = {"x": 0, "y": max(0, top - 16), "width": WIDTH, "height": bottom - top + 32}
            picture = FOLDER / f"{name}.png"
            page.screenshot(path=picture, full_page=True, clip=clip)
            page.close()
            size = picture.stat().st_size
            print(f"{name}: ran {run.seconds:.0f} s, {size / 1000:.0f} kB", flush=True)
            if size > MOST:
                sys.exit(f"{picture} has {size:,} bytes, more than {MOST:,}: show less of the page.")
        chromium.close()


if __name__ == "__main__":
    main(sys.argv[1:])
