"""What a call through the workbench costs beside a bare POST, the openai package and litellm.

python benchmarks/serving.py [--json FILE] [--calls 6000] [--rounds 5] [--no-peer]

The server answers at once. Ours is `Client.call`: limiter, retries, replicas, deadline, parsing, pricing; cache and call log
are off. The bare POST sends ready-made bytes on the same transport and reads the answer's bytes. CPU is this process's own;
ratios are the median of neighbouring rounds. The peers run the same chat in processes of their own, with their defaults.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson
from common import Claims, median, peer_python, run_peer, server

TEXT = "Is this message positive or negative? It came on time and works well."


async def measure(call: Callable[[], Awaitable[object]], calls: int, concurrency: int) -> tuple[float, float]:
    """(CPU seconds a call, calls a second)."""
    left = iter(range(calls))

    async def work() -> None:
        for _ in left:
            await call()

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(work() for _ in range(concurrency)))
    return (time.process_time() - cpu) / calls, calls / (time.perf_counter() - wall)


async def rounds_of(
    url: str, calls: int, concurrency: int, rounds: int
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """(ours, bare) for each round: what `measure` says."""
    from workbench.client import Client
    from workbench.records import Message, Params, Request
    from workbench.serving.transport import Transport
    from workbench.serving.wire import request_body
    from workbench.settings import load_settings

    request = Request(
        "openai/m", "chat", (Message("user", TEXT),), params=Params(temperature=0.0, max_tokens=8, seed=1)
    )
    client = Client(load_settings())
    limiter = client.limiter(request.model)
    assert limiter is not None
    limiter.allow(concurrency)
    transport = Transport([url], {"Content-Type": "application/json", "Accept-Encoding": "identity"})
    address = f"{url}/chat/completions"
    body = orjson.dumps(request_body(request, "m", stream=False))

    async def ours() -> None:
        outcome = await client.call(request)
        assert outcome.completion is not None, outcome.error

    async def bare() -> None:
        response = await transport.client().post(address, content=body)
        assert response.content

    found: dict[Callable[[], Awaitable[None]], list[tuple[float, float]]] = {ours: [], bare: []}
    for job in (ours, bare):
        await measure(job, calls // 10, concurrency)  # connections and imports
    for number in range(rounds):
        for job in (ours, bare) if number % 2 else (bare, ours):
            found[job].append(await measure(job, calls, concurrency))
    await client.aclose()
    await transport.aclose()
    return found[ours], found[bare]


def main() -> None:
    """Print, and with --json write, one line for each claim."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path)
    parser.add_argument("--calls", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-peer", action="store_true")
    options = parser.parse_args()
    claims = Claims()
    throughput = 0.0
    with tempfile.TemporaryDirectory() as folder, server(0) as url:
        os.environ |= {"OPENAI_BASE_URL": url, "WORKBENCH_PROJECT": folder}
        for concurrency in (1, 32, 256):
            ours, bare = asyncio.run(rounds_of(url, options.calls, concurrency, options.rounds))
            micro, plain = (1e6 * median(cpu for cpu, _ in side) for side in (ours, bare))
            ratio = median(a[0] / b[0] for a, b in zip(ours, bare, strict=True))
            claims.add(
                f"CPU a call at {concurrency} at once, microseconds", micro, plain, "bare POST on the same transport", ratio,
                "<= 1.3", holds=ratio <= 1.3,
            )  # fmt: skip
            if concurrency == 32:
                throughput = median(rate for _, rate in ours)
        if not options.no_peer:
            few = max(500, options.calls // 4)
            openai = run_peer(Path(sys.executable), "openai_job.py", url, few, 32)
            ratio = throughput / openai
            claims.add(
                "calls a second at 32 at once",
                throughput,
                openai,
                "openai package, defaults",
                ratio,
                ">= 3",
                holds=ratio >= 3,
            )
            litellm = run_peer(peer_python("litellm", "litellm"), "litellm_job.py", url, few, 32)
            ratio = throughput / litellm
            claims.add("calls a second at 32 at once", throughput, litellm, "litellm", ratio, ">= 5", holds=ratio >= 5)
    claims.write(options.json)


if __name__ == "__main__":
    main()
