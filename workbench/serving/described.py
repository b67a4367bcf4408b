"""Who a model is, as its server said a moment ago: for the rows of calls, and never in their way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from workbench.records import ModelInfo

__all__ = ["Described"]

_KNOWN_FOR = 60.0  # seconds for which an answer, or that there was none, is believed
_PATIENCE = 1.0  # seconds that the first call's row waits for it, once the call itself has ended


class Described:
    """Answers of `describe`, asked again after a minute. clock: monotonic seconds."""

    def __init__(self, describe: Callable[[str], Awaitable[ModelInfo]], clock: Callable[[], float]) -> None:
        self._describe, self._clock = describe, clock
        self._known: dict[str, tuple[ModelInfo | None, float]] = {}
        self._asking: dict[tuple[asyncio.AbstractEventLoop, str], asyncio.Task[None]] = {}

    async def get(self, model: str) -> ModelInfo:
        """Raises what `describe` does."""
        found, until = self._known.get(model, (None, 0.0))
        if found is None or until < self._clock():
            found = await self._describe(model)
            self._known[model] = found, self._clock() + _KNOWN_FOR
        return found

    def learn(self, model: str) -> None:
        """Ask in the background if it is not known; calls at once share the question."""
        if model in self._known and self._known[model][1] >= self._clock():
            return
        asking = asyncio.get_running_loop(), model
        if asking not in self._asking:
            task = self._asking[asking] = asyncio.create_task(self._ask(model))
            task.add_done_callback(lambda _: self._asking.pop(asking, None))

    def known(self, model: str) -> ModelInfo | None:
        """What was said last."""
        return self._known.get(model, (None, 0.0))[0]

    async def learned(self, model: str) -> ModelInfo | None:
        """What came of it; None where the server does not say."""
        task = self._asking.get((asyncio.get_running_loop(), model))
        if task is not None:
            await asyncio.wait({task}, timeout=_PATIENCE)
        return self.known(model)

    async def _ask(self, model: str) -> None:
        try:
            await self.get(model)
        except Exception:  # noqa: BLE001  (the call itself says what is wrong)
            self._known[model] = None, self._clock() + _KNOWN_FOR
