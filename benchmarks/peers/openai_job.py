"""The same chat through the openai package with its defaults. Prints calls a second.

Run by benchmarks/serving.py: python openai_job.py URL CALLS CONCURRENCY
"""

from __future__ import annotations

import asyncio
import sys
import time

import openai

url, calls, concurrency = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
MESSAGES = [{"role": "user", "content": "Is this message positive or negative? It came on time and works well."}]


async def main() -> float:
    """Calls a second, after a warm-up."""
    async with openai.AsyncOpenAI(base_url=url, api_key="none") as client:

        async def run(count: int) -> None:
            left = iter(range(count))

            async def work() -> None:
                for _ in left:
                    found = await client.chat.completions.create(
                        model="m", messages=MESSAGES, temperature=0.0, max_tokens=8, seed=1
                    )  # type: ignore[call-overload]
                    assert found.choices[0].message.content

            await asyncio.gather(*(work() for _ in range(concurrency)))

        await run(calls // 10)
        start = time.perf_counter()
        await run(calls)
        return calls / (time.perf_counter() - start)


print(asyncio.run(main()))
