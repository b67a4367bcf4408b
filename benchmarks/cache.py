"""What the caches cost beside a bare GET, and how many calls a herd makes.

python benchmarks/cache.py [--json FILE] [--rounds 25] [--no-peer]

Each hit is `ExactCache.fetch` with the key made from the request. The GET is redis-py's asyncio client with its defaults, on the
socket of the same Valkey, for entries that the cache has stored. Rounds alternate; figures are medians in microseconds, ratios
the median of neighbouring rounds. The herd is 200 equal fetches in four processes that begin together. The look-up among
vectors is that of cache_vectors.py, with faiss as the peer.
"""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import HERE, Claims, arguments, median

TEXT = "Is this message positive or negative? It came on time and works well. "
REQUESTS, CALLS = 1000, 200


def requests() -> dict[str, Any]:
    """By what they hold; about 1 kB and 23 kB of JSON."""
    from workbench.records import Message, Params, Request

    params = Params(temperature=0.0, max_tokens=200, seed=1)
    small = Request("openai/m", "chat", (Message("system", TEXT * 2), Message("user", TEXT * 11)), params=params)
    turns = tuple(Message(("user", "assistant")[n % 2], f"{n}: {TEXT * 32}") for n in range(10))
    return {
        "1 kB": small,
        "23 kB of text": replace(small, messages=turns),
        "23 kB, most of it tools": replace(small, params=replace(params, tools=tuple(map(tool, range(60))))),
    }


def tool(number: int) -> dict[str, Any]:
    """A tool as OpenAI's API takes it."""
    fields = {
        "order": {"type": "string", "description": "The order's number, as it stands on the invoice."},
        "limit": {"type": "integer", "minimum": 1, "maximum": 50},
        "verbose": {"type": "boolean"},
    }
    schema = {"type": "object", "properties": fields, "required": ["order"]}
    about = "Look an order up by its number, and say where it is now."
    return {"type": "function", "function": {"name": f"order_{number}", "description": about, "parameters": schema}}


async def hits(claims: Claims, home: Path, rounds: int) -> None:
    """In this process, and from the store."""
    from redis.asyncio import Redis

    from workbench.cache import ExactCache, cache_key
    from workbench.records import Completion, Message, Timing, Usage
    from workbench.stores.keyvalue import KeyValue

    async def ask() -> Completion:
        return Completion(TEXT * 10, "stop", Usage(250, 200), Timing(time.time(), 2.0, first_token=0.2), "openai/m")

    def key(request: Any) -> str:
        return cache_key(request, identity="openai m 0123456789abcdef", tenant="acme")

    kv = KeyValue(None, home)
    near, far = ExactCache(kv), ExactCache(kv, memory=0)
    given = requests()
    small = given["1 kB"]
    many = [replace(small, messages=(*small.messages, Message("user", str(n)))) for n in range(REQUESTS)]
    for request in (*given.values(), *many):
        await near.fetch(key(request), "benchmark", ask)
    assert kv.server is not None
    plain = Redis(unix_socket_path=str(kv.server.socket))
    names = itertools.cycle([name async for name in plain.scan_iter(match="wb:exact:*:e:*")])
    asked = itertools.cycle(many)

    async def get() -> None:
        assert await plain.get(next(names))

    async def from_store() -> None:
        request = next(asked)
        assert (await far.fetch(key(request), "benchmark", ask)).source == "exact"

    def here(request: Any) -> Callable[[], Awaitable[None]]:
        async def hit() -> None:
            assert (await near.fetch(key(request), "benchmark", ask)).source == "exact"

        return hit

    jobs = {"get": get, "store": from_store} | {name: here(request) for name, request in given.items()}
    found: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(rounds + 1):
        for name, job in jobs.items():
            began = time.perf_counter()
            for _ in range(CALLS):
                await job()
            if number:  # the first round warms up
                found[name].append(1e6 * (time.perf_counter() - began) / CALLS)
    await near.stats()  # sends what it has counted
    total = (await far.stats()).total
    assert not total.misses - REQUESTS - len(given), "a fetch that should have been a hit was none"
    for cache in (near, far):
        await cache.aclose()
    await plain.aclose()
    await kv.aclose()

    def claim(name: str, label: str, most: float) -> None:
        ratio = median(a / b for a, b in zip(found[name], found["get"], strict=True))
        ours, peer = median(found[name]), median(found["get"])
        claims.add(label, ours, peer, "asyncio GET, same socket", ratio, f"<= {most:g}", holds=ratio <= most)

    claim("1 kB", "in-process hit with its key, 1 kB request, microseconds", 1 / 8)
    claim("23 kB of text", "in-process hit with its key, 23 kB of text, microseconds", 1 / 2)
    claim("23 kB, most of it tools", "in-process hit with its key, 23 kB with 60 tools, microseconds", 1 / 2)
    claim("store", "hit in the store with its key, 1 kB request, microseconds", 1.25)


def herd(claims: Claims, home: Path, processes: int = 4, fetches: int = 50) -> None:
    """200 equal fetches at once."""
    from workbench.stores.valkey import EmbeddedValkey

    EmbeddedValkey(home).ensure()
    job = [sys.executable, str(HERE / "peers" / "herd_job.py"), str(home), str(processes), str(fetches), "0.5"]
    running = [subprocess.Popen(job, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    asked = sum(int(process.communicate(timeout=60)[0]) for process in running)
    label = f"calls of a herd of {processes * fetches} in {processes} processes"
    claims.add(label, asked, 1, "one", asked / 1, "<= 1", holds=asked == 1)


def main() -> None:
    """Print, and with --json write, one line for each claim."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--no-peer", action="store_true")
    options = parser.parse_args()
    from workbench.stores.valkey import EmbeddedValkey

    claims = Claims()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        try:
            asyncio.run(hits(claims, home, options.rounds))
            herd(claims, home)
        finally:
            EmbeddedValkey(home).stop()
    if not options.no_peer:
        from cache_vectors import look_ups

        asyncio.run(look_ups(claims))
    claims.write(options.json)


if __name__ == "__main__":
    main()
