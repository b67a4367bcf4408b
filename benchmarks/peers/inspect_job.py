"""The same job in inspect-ai: ask N samples of an OpenAI-compatible server and score by exact match. Prints calls a second.

Run by benchmarks/runner.py in an environment of its own: python inspect_job.py URL SAMPLES CONNECTIONS
"""

from __future__ import annotations

import os
import sys
import tempfile
import time

url, samples, connections = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
os.environ |= {"BENCH_API_KEY": "none", "BENCH_BASE_URL": url}

from inspect_ai import Task  # noqa: E402
from inspect_ai import eval as inspect_eval  # noqa: E402
from inspect_ai.dataset import MemoryDataset, Sample  # noqa: E402
from inspect_ai.scorer import exact  # noqa: E402
from inspect_ai.solver import generate  # noqa: E402

task = Task(
    dataset=MemoryDataset(
        [Sample(input=f"Is this positive or negative? order {i}", target="positive") for i in range(samples)]
    ),
    solver=generate(),
    scorer=exact(),
)
with tempfile.TemporaryDirectory() as folder:
    start = time.perf_counter()
    (log,) = inspect_eval(
        task,
        model="openai-api/bench/m",
        max_connections=connections,
        max_samples=connections,
        display="none",
        log_dir=folder,
    )
    wall = time.perf_counter() - start
assert log.status == "success", log.error
assert log.results is not None
assert all(
    metric.value == 1.0 for name, metric in log.results.scores[0].metrics.items() if name in ("accuracy", "mean")
)
print(samples / wall)
