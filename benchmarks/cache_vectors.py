"""What a look-up among many vectors of one scope costs in the embedded store, beside faiss on the same vectors in memory.

python benchmarks/cache_vectors.py [--json FILE] [--entries 20000] [--rounds 15]

Ours is the whole look-up: ask the Valkey (on its unix socket) what other processes have added, search, and fetch the payload if
there is a hit, as every second look-up here has. The peer is `IndexFlatIP.search` alone, with one thread or its default, the
faster. The two take turns query by query; figures are medians, the ratio the median of the rounds'. Then what it costs to
read a scope into a process, in seconds and memory, and to add to it.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from common import Claims, arguments, median

DIMENSIONS = 384  # MiniLM's


async def look_ups(claims: Claims, *, entries: int = 20_000, rounds: int = 15, look_ups: int = 60) -> None:
    """Add the claim; print what else there is to know."""
    import faiss
    import numpy as np

    from workbench.stores.keyvalue import KeyValue
    from workbench.stores.vectors_valkey import ValkeyVectors

    rng = np.random.default_rng(0)
    rows = rng.standard_normal((entries, DIMENSIONS), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    queries = rng.standard_normal((look_ups, DIMENSIONS), dtype=np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    queries[::2] = rows[:: entries // look_ups][: len(queries[::2])]
    index = faiss.IndexFlatIP(DIMENSIONS)
    index.add(rows)

    with tempfile.TemporaryDirectory() as folder:
        kv = KeyValue(None, Path(folder))
        try:
            writer, reader = ValkeyVectors(kv), ValkeyVectors(kv)
            adding = []
            for number, row in enumerate(rows):
                began = time.perf_counter()
                await writer.add("c", "s", f"{number:032x}", row, b"an answer " * 100, time.time() + 3600)
                adding.append(time.perf_counter() - began)
            before, began = resident(), time.perf_counter()
            await reader.search("c", "s", queries[0], least=0.95)
            first = time.perf_counter() - began
            print(
                f"     add {median(adding) * 1e6:.0f} us; the first look-up reads the scope in {first:.2f} s and "
                f"{resident() - before:.0f} MB (its matrix {reader.nbytes / 1e6:.0f} MB)"
            )

            async def ours(query: Any) -> int:
                return len(await reader.search("c", "s", query, least=0.95))

            async def peer(query: Any) -> int:
                scores, _ = index.search(query[None], 1)
                return int(scores[0, 0] >= 0.95)

            speeds = {}
            for count in {1, faiss.omp_get_max_threads()}:
                faiss.omp_set_num_threads(count)
                speeds[count] = median((await timed(queries, peer))[0])
            faiss.omp_set_num_threads(min(speeds, key=speeds.__getitem__))

            async def shadow(query: Any) -> int:
                return len(await reader.search("c", "s", query, least=0.7))

            low = median((await timed(queries, shadow))[0])
            print(f"     a look-up down to a cosine of 0.7, as in shadow mode, {low * 1e3:.2f} ms")
            mine, theirs, ratios = [], [], []
            for number in range(rounds):
                pair = (ours, peer) if number % 2 else (peer, ours)
                one, other = await timed(queries, *pair)
                both = (one, other) if number % 2 else (other, one)
                mine.append(median(both[0]))
                theirs.append(median(both[1]))
                ratios.append(mine[-1] / theirs[-1])
        finally:
            await kv.aclose()
            if kv.server is not None:
                kv.server.stop()
    ratio = median(ratios)
    claims.add(
        f"look-up among {entries:,} vectors of one scope, ms", median(mine) * 1e3, median(theirs) * 1e3,
        "faiss IndexFlatIP", ratio, "<= 1.5", holds=ratio <= 1.5,
    )  # fmt: skip


async def timed(queries: Any, *look_ups: Callable[[Any], Awaitable[int]]) -> list[list[float]]:
    """Seconds of each look-up of each query, one after the other; every second query must find something."""
    seconds: list[list[float]] = [[] for _ in look_ups]
    for number, query in enumerate(queries):
        for look_up, taken in zip(look_ups, seconds, strict=True):
            began = time.perf_counter()
            found = await look_up(query)
            taken.append(time.perf_counter() - began)
            assert found == (number + 1) % 2
    return seconds


def resident() -> float:
    """This process's memory, MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def main() -> None:
    """Print, and with --json write, the claim."""
    parser = arguments(__doc__)
    parser.add_argument("--entries", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    claims = Claims()
    asyncio.run(look_ups(claims, entries=options.entries, rounds=options.rounds))
    claims.write(options.json)


if __name__ == "__main__":
    main()
