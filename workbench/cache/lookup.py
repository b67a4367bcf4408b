"""How a client looks up by meaning: which prompt and values a request was made of, and where its answers lie."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workbench.cache.semantic_key import SemanticKey, embedder_fingerprint, semantic_key

if TYPE_CHECKING:
    from workbench.cache.semantic import Hit, SemanticCache
    from workbench.records import Completion, ModelInfo, Prompt, Request

__all__ = ["Meaning", "Place", "Semantic"]

_KNOWN_FOR = 60.0  # seconds for which an embedder's digest is believed


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a request was made of. build: makes it again from other values, by rendering and nothing else."""

    prompt: Prompt
    values: Mapping[str, object]
    build: Callable[[Mapping[str, object]], Request]


@dataclass(frozen=True, slots=True)
class Place:
    """One question's place in the semantic cache. Neither way raises."""

    cache: SemanticCache
    key: SemanticKey
    fingerprint: str

    async def find(self) -> Hit | None:
        """The answer to serve, if there is one."""
        return await self.cache.find(self.key, self.fingerprint)

    async def add(self, completion: Completion, *, cost: float | None) -> bool:
        """Keep an answer; whether it was fit to be."""
        return await self.cache.add(self.key, self.fingerprint, completion, cost=cost)


@dataclass(slots=True)
class Semantic:
    """A semantic cache and the model that makes its vectors, `endpoint/model`. clock: monotonic seconds."""

    cache: SemanticCache
    embedder: str
    clock: Callable[[], float] = time.monotonic
    _known: tuple[str, float] | None = field(default=None, repr=False)

    async def place(
        self,
        meaning: Meaning,
        *,
        identity: str,
        tenant: str | None,
        describe: Callable[[str], Awaitable[ModelInfo]],
    ) -> Place | None:
        """None if the prompt compares nothing by meaning. identity, tenant: as of the exact cache. Raises what `describe` raises,
        and PromptError for a prompt whose config is not usable."""
        if self.cache.mode == "off":
            return None
        key = semantic_key(meaning.prompt, meaning.values, meaning.build, identity=identity, tenant=tenant)
        if key is None:
            return None
        if self._known is None or self._known[1] < self.clock():
            fingerprint = embedder_fingerprint(self.embedder, await describe(self.embedder))
            self._known = (fingerprint, self.clock() + _KNOWN_FOR)
        return Place(self.cache, key, self._known[0])
