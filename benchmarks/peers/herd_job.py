"""One process of a herd: python herd_job.py HOME PROCESSES FETCHES SECONDS; prints how often it asked the model.

All processes begin together and fetch the same key; a model's answer takes so many seconds.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from workbench.cache import ExactCache
from workbench.records import Completion, Timing, Usage
from workbench.stores.keyvalue import KeyValue


async def main(home: str, processes: int, fetches: int, seconds: float) -> int:
    kv = KeyValue(None, Path(home))
    cache, asked = ExactCache(kv), 0

    async def ask() -> Completion:
        nonlocal asked
        asked += 1
        await asyncio.sleep(seconds)
        return Completion("yes", "stop", Usage(10, 1), Timing(time.time(), seconds), "m")

    client = await kv.client()
    await client.incr("ready")
    while int(await client.get("ready")) < processes:
        await asyncio.sleep(0.005)
    answers = await asyncio.gather(*(cache.fetch("k" * 64, "herd", ask) for _ in range(fetches)))
    assert {answer.text for answer in answers} == {"yes"}
    await cache.aclose()
    await kv.aclose()
    return asked


if __name__ == "__main__":
    _, home, processes, fetches, seconds = sys.argv
    print(asyncio.run(main(home, int(processes), int(fetches), float(seconds))))
