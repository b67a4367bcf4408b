"""What a call through the workbench costs beside a bare POST, the openai package and litellm.

python benchmarks/serving.py [--json FILE] [--calls 6000] [--rounds 5] [--no-peer]

The server answers at once. Ours is `Client.call`: limiter, retries, replicas, deadline, parsing, pricing; cache and call log
are off. The bare POST sends ready-made bytes on the same transport and reads the answer's bytes. CPU is this process's own. The
peers run the same chat in processes of their own, with their defaults. All ratios are the median of those of neighbouring rounds.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson
from common import Claims, arguments, median, peer_python, run_peer, server

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
    parser = arguments(__doc__)
    parser.add_argument("--calls", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-peer", action="store_true")
    options = parser.parse_args()
    claims = Claims()
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
        if not options.no_peer:
            few = max(500, options.calls // 4)
            peers = (
                ("openai package, defaults", Path(sys.executable), "openai_job.py", 3),
                ("litellm", peer_python("litellm", "litellm"), "litellm_job.py", 5),
            )
            for name, python, job, least in peers:
                # the machine's other work comes and goes: each peer's turn is held against ours just before it
                turns = [
                    (asyncio.run(rounds_of(url, options.calls, 32, 1))[0][0][1], run_peer(python, job, url, few, 32))
                    for _ in range(options.rounds)
                ]
                ratio = median(ours / peer for ours, peer in turns)
                pace, other = (median(turn[side] for turn in turns) for side in (0, 1))
                claims.add(
                    "calls a second at 32 at once", pace, other, name, ratio, f">= {least}", holds=ratio >= least
                )
    claims.write(options.json)


if __name__ == "__main__":
    main()
