"""Vectors of texts, each computed once: a bounded memory in front of an embedder, and one batch for all who ask meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from workbench.errors import BadAnswerError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Embed", "TextVectors"]

Embed = Callable[[Sequence[str]], Awaitable["np.ndarray"]]
"""Texts -> (texts, dimensions), float32."""

_REMEMBERED = 4096  # vectors
_BATCH = 64  # texts in one call of the embedder
_PATIENCE = 60.0  # seconds that it may take

_Key = tuple[str, str]


@dataclass(slots=True)
class _Waiting:
    """What one event loop waits for."""

    futures: OrderedDict[_Key, asyncio.Future[np.ndarray]] = field(default_factory=OrderedDict)
    task: asyncio.Task[None] | None = None


class TextVectors:
    """Vectors of texts, the last ones remembered. embed: makes them.

    A text goes off at once if nothing is under way; what is asked meanwhile goes together in the next batch. Who stops waiting
    does not stop the batch, so the vector is there the next time.
    """

    def __init__(self, embed: Embed) -> None:
        self._embed = embed
        self._kept: OrderedDict[_Key, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()
        self._waiting: WeakKeyDictionary[asyncio.AbstractEventLoop, _Waiting] = WeakKeyDictionary()

    async def vector(self, fingerprint: str, text: str) -> np.ndarray:
        """The text's vector by the embedder with this fingerprint. Raises what `embed` raises, and TimeoutError."""
        key = (fingerprint, text)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        loop = asyncio.get_running_loop()
        waiting = self._waiting.setdefault(loop, _Waiting())
        future = waiting.futures.get(key)
        if future is None:
            future = waiting.futures[key] = loop.create_future()
            future.add_done_callback(_look_at)
        if waiting.task is None or waiting.task.done():
            waiting.task = loop.create_task(self._work(waiting))
        return await asyncio.shield(future)

    async def _work(self, waiting: _Waiting) -> None:
        while waiting.futures:
            keys = [key for key, _ in zip(waiting.futures, range(_BATCH), strict=False)]
            error: BaseException | None = None
            vectors: Sequence[np.ndarray] = ()
            try:
                async with asyncio.timeout(_PATIENCE):
                    vectors = [*await self._vectors([text for _, text in keys])]
            except BaseException as raised:  # noqa: BLE001  (it is raised where it is awaited)
                error = raised
            with self._lock:
                self._kept.update(zip(keys, vectors, strict=False))
                while len(self._kept) > _REMEMBERED:
                    self._kept.popitem(last=False)
            futures = [waiting.futures.pop(key) for key in keys]
            for index, future in enumerate(futures):
                if error is None:
                    future.set_result(vectors[index])
                elif isinstance(error, Exception):
                    future.set_exception(error)
                else:
                    future.cancel()
            if isinstance(error, asyncio.CancelledError):
                raise error

    async def _vectors(self, texts: Sequence[str]) -> np.ndarray:
        import numpy as np

        vectors = np.asarray(await self._embed(texts), dtype=np.float32)
        if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
            raise BadAnswerError(
                f"the embedder made an array of shape {vectors.shape} for {len(texts)} texts, where ({len(texts)}, dimensions) "
                "of finite numbers was to come. Is it an embedding model?"
            )
        return vectors


def _look_at(future: asyncio.Future[np.ndarray]) -> None:
    """An error that nobody waits for any more is no news for the event loop."""
    if not future.cancelled():
        future.exception()
