"""One process of a herd: fetches one key many times at once. The model is a counter in the store that takes its time.

python herd_worker.py HOME PROCESSES FETCHES LEASE SECONDS [DIES]   prints "asking" when it asks the model; with DIES, the first
process to ask never gets an answer.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from workbench.cache import ExactCache
from workbench.records import Completion, Timing, Usage
from workbench.stores.keyvalue import KeyValue


async def main(home: str, processes: int, fetches: int, lease: float, seconds: float, dies: bool) -> None:
    kv = KeyValue(None, Path(home))
    cache = ExactCache(kv, lease=lease, deadline=2.0)  # a machine that runs tests is no place for 25 ms
    client = await kv.client()

    async def ask() -> Completion:
        first = await client.incr("asked") == 1
        print("asking", flush=True)
        await asyncio.sleep(600 if dies and first else seconds)
        return Completion("yes", "stop", Usage(10, 1), Timing(time.time(), seconds), "m")

    await client.incr("ready")
    while int(await client.get("ready") or 0) < processes:
        await asyncio.sleep(0.005)
    answers = await asyncio.gather(*(cache.fetch("k" * 64, "herd", ask) for _ in range(fetches)))
    assert {answer.text for answer in answers} == {"yes"}
    await cache.aclose()
    await kv.aclose()
    print("answered", len(answers), flush=True)


if __name__ == "__main__":
    _, home, processes, fetches, lease, seconds, *dies = sys.argv
    asyncio.run(main(home, int(processes), int(fetches), float(lease), float(seconds), bool(dies)))
