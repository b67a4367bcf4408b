"""What the Dask path costs beside a run of one process, for each call: the same plan, the same server, the same calls at once.

python benchmarks/scale.py [--json FILE] [--rows 4000] [--rounds 3] [--workers 2]

The server answers after 50 ms. A scheduler and its workers are processes of this machine and share its cores; connecting
and checking every worker is timed apart. Rounds alternate; walls are medians.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common import Claims, arguments, median, server

CONCURRENCY = 32


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[str]:
    """Yields dask://HOST:PORT."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(name: str, *command: str) -> Path:
        log = folder / f"{name}.log"
        environment = os.environ | {"WORKBENCH_HOME": str(folder / name)}
        with log.open("wb") as file:
            processes.append(
                subprocess.Popen([sys.executable, "-m", *command], stdout=file, stderr=file, env=environment)
            )
        return log

    def said(log: Path, what: str) -> str:
        while not (found := re.search(what, log.read_text())):
            if processes[-1].poll() is not None:
                raise SystemExit(f"{log.stem} ended (pip install -e '.[dask]' brings Dask):\n{log.read_text()[-2000:]}")
            time.sleep(0.05)
        return found[1]

    try:
        local = ("--host", "127.0.0.1", "--no-dashboard")
        address = said(
            start("scheduler", "distributed.cli.dask_scheduler", *local, "--port", "0"), r"Scheduler at:\s+(tcp\S+)"
        )
        for number in range(workers):
            options = ("--no-nanny", "--no-dashboard", "--nthreads", "2", "--local-directory", str(folder))
            said(start(f"worker{number}", "distributed.cli.dask_worker", address, *options), r"(Registered to)")
        yield address.replace("tcp", "dask")
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def walls(folder: Path, executor: str, rounds: int) -> tuple[list[float], list[float], float]:
    """Seconds (of one process, of the workers) for the same calls, and of a run of workers in which nothing is left to ask."""
    from workbench import Workbench
    from workbench.running.progress import silent

    here, there = [], []
    async with Workbench(folder) as bench:
        plan = bench.plan(prompts=["tone@1", "tone@2"], models=["openai/m"], dataset="orders", concurrency=CONCURRENCY)
        for number in range(rounds + 1):
            for seconds, where in ((here, None), (there, executor)):
                began = time.perf_counter()
                result = await bench.compare(plan, fresh=True, progress=silent, executor=where)
                assert result.complete, (where, result.run.stopped, result.summary["errors"].tolist())
                if number:  # the first warms both
                    seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
        await bench.compare(plan, progress=silent, executor=executor)
        return here, there, time.perf_counter() - began


def main() -> None:
    """Print, and with --json write, what was measured."""
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    from workbench import Workbench

    claims = Claims()
    with tempfile.TemporaryDirectory() as text, server(0.05) as url:
        folder = Path(text)
        os.environ |= {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "none", "WORKBENCH_CACHE": "off"}
        data = folder / "datasets" / "orders.jsonl"
        data.parent.mkdir()
        rows = ({"inputs": {"message": f"order {at} came"}, "expected": "positive"} for at in range(options.rows // 2))
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        for text in ("Is this positive or negative? {{message}}", "Positive or negative? {{message}}"):
            Workbench(folder).prompts.create("tone", text)
        with cluster(folder, options.workers) as executor:
            here, there, empty = asyncio.run(walls(folder, executor, options.rounds))
    local, dask = median(here), median(there)
    print(f"     connecting, checking the workers and reading the rows of a finished run: {empty:.2f} s")
    claims.add(
        f"milliseconds for each call that {options.workers} workers take beyond one process ({options.rows:,} calls of 50 ms, "
        f"{CONCURRENCY} at once; {local:.2f} s here)",
        1000 * (dask - local) / options.rows, 1000 * local / options.rows, "one process, for each call", dask / local,
        "≤ 1.5", holds=dask / local <= 1.5,
    )  # fmt: skip
    claims.write(options.json)


if __name__ == "__main__":
    main()
