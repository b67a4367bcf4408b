"""Near questions of the semantic cache, as pairs for whoever tunes its threshold.

A stream in the key-value store, shared by all processes:

    wb:semantic:1:pairs     the latest 5,000; expires 30 days after the last
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import orjson

from workbench.cache.deadline import Deadline
from workbench.errors import StoreError

if TYPE_CHECKING:
    from workbench.cache.pairs import Pair
    from workbench.cache.semantic import Look
    from workbench.stores.keyvalue import KeyValue

__all__ = ["ShadowLog"]

KEY: Final = "wb:semantic:1:pairs"
VECTORS: Final = "wb:vectors:1"  # see `stores.vectors_valkey`
_MOST = 5000
_LONGEST = 2000  # characters of a text
_KEEP = 30 * 86400
_REWRITTEN = 60.0  # seconds
_DEADLINE = 5.0  # seconds; nobody waits for it


class ShadowLog:
    """Notes what was asked and what was near, with both answers and the guard's word. clock: Unix seconds."""

    def __init__(self, kv: KeyValue, *, clock: Callable[[], float] = time.time) -> None:
        self._kv = kv
        self._clock = clock
        self._writing: set[asyncio.Task[None]] = set()
        self.lost = 0

    def note(self, look: Look, answer: str, prompt: str) -> None:
        """Write a pair in the background, if anything was near. answer: what the model said now."""
        if look.nearest is None or look.score is None:
            return
        from workbench.cache.pairs import Pair

        pair = Pair(
            look.asked[:_LONGEST], look.nearest[:_LONGEST], None, round(look.score, 4), look.veto, prompt,
            answer[:_LONGEST], None if look.cached_answer is None else look.cached_answer[:_LONGEST],
        )  # fmt: skip
        task = asyncio.create_task(self._write(orjson.dumps(asdict(pair))))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def read(self, days: float = 30) -> list[Pair]:
        """The pairs of the last days, the oldest first. Raises StoreError."""
        least = int((self._clock() - 86400 * days) * 1000)
        try:
            async with Deadline(10.0):
                client = await self._kv.client()
                found: Any = await client.xrange(KEY, min=str(max(least, 0)))
        except Exception as error:  # noqa: BLE001  (redis-py, the cluster client and the deadline raise what they like)
            said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            raise StoreError(
                f"the key-value store ({self._kv.address}) failed: {said}. `workbench doctor` says whether it answers."
            ) from None
        return [pair for _, values in found for pair in _parsed(values)]

    @property
    def unused(self) -> bool:
        """Whether the store is an embedded one that was never started."""
        return self._kv.server is not None and not self._kv.server.folder.is_dir()

    async def purge(self, *, dry_run: bool = False) -> int:
        """Remove all pairs, and what the semantic cache keeps in this store; how many of both. Raises what the store raises."""
        client = await self._kv.client()
        count = int(await client.xlen(KEY))
        names = [name async for name in client.scan_iter(match=f"{VECTORS}:*", count=1000)]
        if not dry_run:
            for name in (KEY, *names):
                await client.unlink(name)
        return count + sum(b":p:" in name for name in names)

    async def off_disk(self) -> None:
        """Have the embedded server write its file anew, without what was removed."""
        if self._kv.server is None:
            return
        client: Any = await self._kv.client()
        async with asyncio.timeout(_REWRITTEN):
            await client.bgrewriteaof()
            while True:
                told = await client.info("persistence")
                if not (told["aof_rewrite_in_progress"] or told["aof_rewrite_scheduled"]):
                    return
                await asyncio.sleep(0.02)

    async def aclose(self) -> None:
        """Wait for what is being written in this loop."""
        loop = asyncio.get_running_loop()
        mine = {task for task in self._writing if task.get_loop() is loop}
        if mine:
            await asyncio.wait(mine)

    async def _write(self, value: bytes) -> None:
        try:
            async with Deadline(_DEADLINE):
                client = await self._kv.client()
                await client.xadd(KEY, {"pair": value}, maxlen=_MOST, approximate=True)
                await client.expire(KEY, _KEEP)
        except Exception:  # noqa: BLE001  (it is a help for tuning: the answer matters)
            self.lost += 1


def _parsed(values: Mapping[bytes, bytes]) -> list[Pair]:
    """[] for what is no pair of ours."""
    from workbench.cache.pairs import Pair

    try:
        found = orjson.loads(values[b"pair"])
        return [Pair(**{name: found.get(name) for name in Pair.__dataclass_fields__})]
    except (KeyError, ValueError, TypeError, AttributeError):
        return []
