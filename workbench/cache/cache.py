"""Both caches, one behind the other: what `Workbench.cache` is."""

from __future__ import annotations

import fnmatch
from collections.abc import AsyncIterator, Collection
from typing import TYPE_CHECKING

from workbench.cache.exact import ExactCache
from workbench.errors import StoreError

if TYPE_CHECKING:
    from workbench.cache.codec import Entry
    from workbench.cache.lookup import Meaning, Place, Semantic
    from workbench.cache.pairs import Pair
    from workbench.cache.shadow import ShadowLog
    from workbench.cache.stats import CacheStats
    from workbench.cache.turn import Cost, Turn
    from workbench.records import Completion

__all__ = ["Cache", "scope_name"]


def scope_name(model: str, prompt_ref: str | None = None) -> str:
    """What is counted and cleared together: a model, `endpoint/model`, and a prompt, `name@2`, if there is one."""
    return f"{model} {prompt_ref}" if prompt_ref else model


class Cache:
    """exact: answers to the same request. semantic: to the same question in other words; None if that is off."""

    def __init__(self, exact: ExactCache, semantic: Semantic | None, shadow: ShadowLog) -> None:
        self.exact = exact
        self.semantic = semantic
        self._shadow = shadow

    def held(self, key: str, scope: str) -> Completion | None:
        """See `ExactCache.held`."""
        return self.exact.held(key, scope)

    def turn(self, key: str, scope: str, *, cost: Cost | None = None, patience: float = 120.0) -> Turn:
        """See `ExactCache.turn`."""
        return self.exact.turn(key, scope, cost=cost, patience=patience)

    async def place(
        self, turn: Turn, meaning: Meaning | None, *, identity: str, tenant: str | None, scope: str
    ) -> Place | None:
        """Where to look by meaning; None where it is off, not declared, or not possible now. Raises PromptError."""
        if self.semantic is None or meaning is None:
            return None
        return await self.semantic.place(
            meaning, identity=identity, tenant=tenant, scope=scope, epoch=turn.epoch, tally=self.exact.tally
        )

    async def stats(self, days: int = 30) -> CacheStats:
        """What all processes counted in the last `days` (UTC), by scope and day, and what it saved. Never raises."""
        return await self.exact.stats(days)

    async def scopes(self, pattern: str = "*") -> list[str]:
        """Names of scopes that have entries, such as "ollama/llama3.2:3b helpdesk@2". pattern: `*` for any characters.
        Raises StoreError."""
        return sorted(name for name in await self.exact.scopes() if fnmatch.fnmatchcase(name, pattern))

    async def clear(self, scope: str | None = None) -> int:
        """Forget the answers of a scope (`*` for any characters, as in "ollama/*"), or all, exact and semantic; how many exact
        ones there were. This process forgets them now, others within a second. Raises StoreError."""
        if scope is None:
            removed = await self.exact.clear()
            if self.semantic is not None and (fingerprint := await self.semantic.fingerprint()) is not None:
                try:
                    await self.semantic.cache.clear(fingerprint)
                except Exception as error:  # noqa: BLE001  (whatever the stores' clients raise)
                    raise StoreError(f"the store of vectors failed: {type(error).__name__}: {error}") from None
            return removed
        names = await self.scopes(scope)
        return sum([await self.exact.clear(name) for name in names])

    async def held_of(self, about: Collection[tuple[str, str | None]]) -> tuple[int, int]:
        """Entries of these (model, prompt), and all questions that are compared by meaning. Raises StoreError."""
        if self._shadow.unused:
            return 0, 0
        names = set(await self.scopes()) & {scope_name(*pair) for pair in about}
        exact = sum([1 for name in sorted(names) async for _ in self.exact.entries(name)])
        return exact, await self._questions(dry_run=True)

    async def purge(self, about: Collection[tuple[str, str | None]]) -> tuple[int, int]:
        """Remove them, such that the embedded store has none of it on disk any more; how many. Raises StoreError."""
        if self._shadow.unused:
            return 0, 0
        names = set(await self.scopes()) & {scope_name(*pair) for pair in about}
        exact = sum([await self.exact.clear(name) for name in sorted(names)])
        meant = await self._questions(dry_run=False)
        try:
            await self._shadow.off_disk()
        except Exception as error:  # noqa: BLE001  (whatever the store's client raises)
            raise StoreError(
                f"the removed answers may still be in the store's file: {type(error).__name__}: {error}"
            ) from None
        return exact, meant

    async def _questions(self, *, dry_run: bool) -> int:
        try:
            count = await self._shadow.purge(dry_run=dry_run)
            if not dry_run and self.semantic and (fingerprint := await self.semantic.fingerprint()) is not None:
                count += await self.semantic.cache.clear(fingerprint)  # in Qdrant, and the matrices of this process
        except Exception as error:  # noqa: BLE001  (whatever the stores' clients raise)
            raise StoreError(f"the store of vectors failed: {type(error).__name__}: {error}") from None
        return count

    async def entries(self, scope: str = "*") -> AsyncIterator[tuple[str, str, Entry]]:
        """(scope, key, entry) for all that is stored exactly. Raises StoreError."""
        for name in await self.scopes(scope):
            async for found in self.exact.entries(name):
                yield found

    async def pairs(self, days: float = 30) -> list[Pair]:
        """What was asked in the last `days` and which earlier question was near, to tune the threshold. Raises StoreError."""
        return await self._shadow.read(days)

    async def aclose(self) -> None:
        """Store what was counted and noted. The key-value store is not closed."""
        await self._shadow.aclose()
        await self.exact.aclose()

    def __repr__(self) -> str:
        semantic = f", semantic {self.semantic.cache.mode} by {self.semantic.embedder}" if self.semantic else ""
        return f"Cache({self.exact!r}{semantic})"
