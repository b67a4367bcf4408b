"""The thread of views: what becomes of its jobs when the process ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys, time
from pathlib import Path
from workbench.widgets.worker import Worker

begun, done = Path(sys.argv[1]), Path(sys.argv[2])

def job():
    begun.touch()
    time.sleep(0.3)
    done.touch()

worker = Worker("test", print)
worker.do(job)
worker.do(lambda: Path(sys.argv[3]).touch())
while not begun.exists():
    time.sleep(0.01)
"""


def test_the_job_that_runs_as_the_process_ends_is_done_and_no_other_begins(tmp_path: Path) -> None:
    """A thread that Python ends inside of a query aborts the process."""
    paths = [tmp_path / name for name in ("begun", "done", "next")]
    ended = subprocess.run([sys.executable, "-c", SCRIPT, *map(str, paths)], capture_output=True, text=True, timeout=60)
    assert (0, "", "") == (ended.returncode, ended.stdout, ended.stderr)
    assert [True, True, False] == [path.exists() for path in paths]
