"""What the runner costs beside a bare loop on the same client, and beside inspect-ai doing the same job.

python benchmarks/runner.py [--json FILE] [--rows 4000] [--memory-rows 100000] [--rounds 7] [--no-peer]

The server answers after 50 ms. The bare loop awaits `Client.call` on ready-made requests with the same number of workers, the
same number of calls let through by the limiter, and the same rare garbage collections: it lacks only what the runner does.
The runner renders each prompt, asks, scores by exact match and writes each row to its segment, of which the call log is a
view. Rounds alternate; walls are medians, ratios the
median of neighbouring rounds. Peak memory is that of a process that runs so many rows (server without delay).
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import Claims, arguments, median, peer_python, run_peer, server


def project(folder: Path, rows: int) -> Path:
    """A project with `rows` examples and one prompt version (two for a comparison are twice the calls)."""
    from workbench import Workbench

    data = folder / "datasets" / "orders.jsonl"
    data.parent.mkdir()
    with data.open("w") as file:
        for number in range(rows):
            file.write(
                json.dumps({"inputs": {"message": f"order {number} came on time"}, "expected": "positive"}) + "\n"
            )
    Workbench(folder).prompts.create("tone", "Is this positive or negative? {{message}}")
    return folder


async def walls(folder: Path, concurrency: int, rounds: int) -> tuple[list[float], list[float]]:
    """(runner's, bare loop's) wall seconds for the same number of calls."""
    from workbench import Workbench
    from workbench.evaluation.plan import request_for, seeded
    from workbench.running.progress import silent
    from workbench.running.quiet import rare_collections

    ours, bare = [], []
    async with Workbench(folder) as bench:
        plan = bench.plan(prompts=["tone@1"], models=["openai/m"], dataset="orders", concurrency=concurrency)
        params = seeded(plan.variants[0].params, 0)
        requests = [request_for(plan.variants[0], example.inputs, params, 120) for example in plan.dataset]

        async def loop() -> None:
            todo = iter(requests)

            async def work() -> None:
                for request in todo:
                    outcome = await bench.client.call(request)
                    assert outcome.completion is not None

            limiter = bench.client.limiter("openai/m")
            assert limiter is not None
            with limiter.allow(concurrency), rare_collections():
                await asyncio.gather(*(work() for _ in range(concurrency)))

        await loop()
        await bench.compare(plan, fresh=True, progress=silent)  # warm both: connections, imports
        for number in range(rounds):
            jobs = [(bare, loop), (ours, lambda: bench.compare(plan, fresh=True, progress=silent))]
            for seconds, job in jobs if number % 2 else reversed(jobs):
                start = time.perf_counter()
                await job()
                seconds.append(time.perf_counter() - start)
    return ours, bare


def peak_memory(rows: int) -> float:
    """Megabytes that a fresh process needs at most for a run of so many rows."""
    done = subprocess.run(
        [sys.executable, __file__, "--measure-memory", str(rows)], check=True, capture_output=True, text=True
    )
    return float(done.stdout.split()[-1])


def own_peak() -> float:
    """This process's peak resident memory, MB. (ru_maxrss would begin with the parent's, from before exec.)"""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_memory(rows: int) -> None:
    """Run `rows` rows and print this process's peak."""
    with tempfile.TemporaryDirectory() as folder, server(0) as url:
        os.environ["OPENAI_BASE_URL"] = url
        from workbench import Workbench
        from workbench.running.progress import silent

        async def go() -> None:
            async with Workbench(project(Path(folder), rows)) as bench:
                plan = bench.plan(prompts=["tone@1"], models=["openai/m"], dataset="orders", concurrency=64)
                result = await bench.compare(plan, progress=silent)
                assert result.summary["n"].sum() == rows

        asyncio.run(go())
    print(own_peak())


def main() -> None:
    """Print, and with --json write, one line for each claim."""
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--memory-rows", type=int, default=100_000)
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--measure-memory", type=int)
    options = parser.parse_args()
    if options.measure_memory:
        measure_memory(options.measure_memory)
        return
    claims = Claims()
    with tempfile.TemporaryDirectory() as folder, server(0.05) as url:
        os.environ["OPENAI_BASE_URL"] = url
        throughput = 0.0
        root = project(Path(folder), options.rows)
        for concurrency, most in ((32, 1.10), (256, 1.25)):
            ours, bare = asyncio.run(walls(root, concurrency, options.rounds))
            wall, plain = median(ours), median(bare)
            ratio = median(a / b for a, b in zip(ours, bare, strict=True))  # of neighbours: machines drift
            claims.add(
                f"wall of {options.rows} calls, {concurrency} at once, seconds", wall, plain, "bare loop on the same client",
                ratio, f"<= {most}", holds=ratio <= most,
            )  # fmt: skip
            throughput = options.rows / wall
        if not options.no_peer:
            python = peer_python("inspect", "inspect-ai", "openai")
            peer = run_peer(python, "inspect_job.py", url, options.rows, 256)
            ratio = throughput / peer
            claims.add("calls a second, 256 at once", throughput, peer, "inspect-ai", ratio, ">= 2", holds=ratio >= 2)
    rows = options.memory_rows
    small, large = peak_memory(rows // 10), peak_memory(rows)
    ratio = large / small
    claims.add(
        f"peak memory at {rows:,} rows, MB",
        large,
        small,
        f"at {rows // 10:,} rows",
        ratio,
        "flat: <= 1.5",
        holds=ratio <= 1.5,
    )
    claims.write(options.json)


if __name__ == "__main__":
    main()
