"""A report run against bare papermill: the same notebook, parameters, kernel, interpreter and data, in alternating rounds.

    python benchmarks/report_run.py [--rounds 5] [--json FILE]

The notebook is notebooks/dashboards.ipynb (six dashboards with figures and tables) over a sample log of 14 days. Each run is a
process of its own, as a scheduler starts it; its start and imports count. Bare papermill executes and saves the notebook. Ours
does that too, checks the parameters, writes the page, result.json and what changed since the last run, and the index. Wall
seconds, and CPU seconds (user and system) of the process and its kernel.
"""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import HERE, Claims, arguments, median

NOTEBOOK = HERE.parent / "notebooks" / "dashboards.ipynb"
DAYS = 14
OURS = """
import sys
from pathlib import Path
from workbench.reporting import Archive, run_report
report = run_report(Path(sys.argv[1]), {"days": int(sys.argv[2])}, archive=Archive(Path(sys.argv[3])))
assert report.status == "completed", report.run.error
"""
BARE = """
import sys
import papermill
papermill.execute_notebook(
    sys.argv[1], sys.argv[3] + "/bare.ipynb", {"days": int(sys.argv[2])}, kernel_name="python3", progress_bar=False,
)
"""


def timed(program: str, project: Path) -> tuple[float, float]:
    """Wall and CPU seconds of a process and all that it started."""
    env = {**os.environ, "PLOTLY_RENDERER": "plotly_mimetype", "WORKBENCH_STATIC": "1"}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    job = [sys.executable, "-c", program, str(NOTEBOOK), str(DAYS), str(project / "reports")]
    done = subprocess.run(job, cwd=project, env=env, capture_output=True, text=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"a run failed:\n{done.stderr[-2000:]}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def make(project: Path) -> None:
    from workbench.sample import make_sample

    async def sample() -> None:
        bench = await make_sample(project, days=DAYS, calls=25, seed=1)
        await bench.aclose()

    asyncio.run(sample())
    (project / "reports").mkdir(exist_ok=True)


def run(rounds: int, claims: Claims) -> None:
    """Both once unmeasured, then in turn."""
    from workbench.stores.valkey import EmbeddedValkey

    with tempfile.TemporaryDirectory(prefix="reports-") as folder:
        project = Path(folder) / "project"
        make(project)
        found: dict[str, list[tuple[float, float]]] = {BARE: [], OURS: []}
        try:
            for turn in range(rounds + 1):
                for program, times in found.items():
                    time_ = timed(program, project)
                    if turn:
                        times.append(time_)
        finally:
            EmbeddedValkey(project / ".workbench").stop()
    for at, unit in ((0, "seconds, wall"), (1, "seconds, CPU of the process and its kernel")):
        ours, bare = (median(times[at] for times in found[program]) for program in (OURS, BARE))
        claims.add(
            f"a report run of the dashboards notebook, {unit}", ours, bare, "bare papermill", ours / bare, "<= 1.1",
            holds=ours / bare <= 1.1,
        )  # fmt: skip


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    claims = Claims()
    run(options.rounds, claims)
    claims.write(options.json)


if __name__ == "__main__":
    main()
