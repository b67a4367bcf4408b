"""The same chat through litellm. Prints calls a second.

Run by benchmarks/serving.py in an environment of its own: python litellm_job.py URL CALLS CONCURRENCY
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it fetches its price list first

import litellm

url, calls, concurrency = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
MESSAGES = [{"role": "user", "content": "Is this message positive or negative? It came on time and works well."}]
litellm.suppress_debug_info = True


async def run(count: int) -> None:
    """So many calls."""
    left = iter(range(count))

    async def work() -> None:
        for _ in left:
            found = await litellm.acompletion(
                model="openai/m", api_base=url, api_key="none", messages=MESSAGES, temperature=0.0, max_tokens=8, seed=1
            )
            assert found.choices[0].message.content

    await asyncio.gather(*(work() for _ in range(concurrency)))


async def main() -> float:
    """Calls a second, after a warm-up."""
    await run(calls // 10)
    start = time.perf_counter()
    await run(calls)
    return calls / (time.perf_counter() - start)


print(asyncio.run(main()))
