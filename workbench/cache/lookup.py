"""How a client looks up by meaning: which prompt and values a request was made of, and where its answers lie."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workbench.cache.semantic_key import SemanticKey, embedder_fingerprint, semantic_key
from workbench.errors import CallError

if TYPE_CHECKING:
    from workbench.cache.semantic import Hit, Look, SemanticCache
    from workbench.cache.shadow import ShadowLog
    from workbench.cache.stats import Tally
    from workbench.records import Completion, ModelInfo, Prompt, Request

__all__ = ["Meaning", "Place", "Semantic"]

_KNOWN_FOR = 60.0  # seconds for which an embedder's digest is believed


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a request was made of. build: makes it again from other values, by rendering and nothing else."""

    prompt: Prompt
    values: Mapping[str, object]
    build: Callable[[Mapping[str, object]], Request]


@dataclass(slots=True)
class Place:
    """One question's place in the semantic cache, for one look-up. scope: what it is counted under. Neither way raises."""

    cache: SemanticCache
    key: SemanticKey
    fingerprint: str
    prompt: str
    scope: str
    tally: Tally
    shadow: ShadowLog
    _look: Look | None = field(default=None, repr=False)

    async def find(self) -> Hit | None:
        """The answer to serve, if there is one."""
        look = self._look = await self.cache.look(self.key, self.fingerprint)
        if look.served is None:  # what is served is counted by its turn
            counts = self.tally.of(self.scope)
            if look.hit is not None:
                counts.shadow += 1
                counts.shadow_seconds += look.hit.completion.timing.total
                counts.shadow_dollars += look.hit.cost or 0.0
            elif look.miss == "veto":
                counts.vetoed += 1
            elif look.miss == "fault":
                counts.blind += 1
                self.tally.last_fault = f"the semantic cache could not look ({look.fault})"
            else:
                counts.far += 1
        return look.served

    async def add(self, completion: Completion, *, cost: float | None) -> bool:
        """Keep an answer; whether it was fit to be. What was near is noted beside it, for whoever tunes the threshold."""
        if self._look is not None:
            self.shadow.note(self._look, completion.text, self.prompt)
        return await self.cache.add(self.key, self.fingerprint, completion, cost=cost)


@dataclass(slots=True)
class Semantic:
    """A semantic cache and the model that makes its vectors, `endpoint/model`.

    describe: what is known of a model. shadow: where near questions are noted. clock: monotonic seconds.
    """

    cache: SemanticCache
    embedder: str
    describe: Callable[[str], Awaitable[ModelInfo]]
    shadow: ShadowLog
    clock: Callable[[], float] = time.monotonic
    _known: tuple[str, float] | None = field(default=None, repr=False)

    async def place(
        self, meaning: Meaning, *, identity: str, tenant: str | None, scope: str, epoch: bytes | None, tally: Tally
    ) -> Place | None:
        """None if the prompt compares nothing by meaning, or if nothing can be compared now.

        identity, tenant, scope: as of the exact cache; epoch: of that scope. Raises PromptError for a prompt whose config is not
        usable.
        """
        if self.cache.mode == "off":
            return None
        key = semantic_key(meaning.prompt, meaning.values, meaning.build, identity=identity, tenant=tenant)
        if key is None:
            return None
        fingerprint = await self.fingerprint()
        if fingerprint is None or epoch is None:
            tally.of(scope).blind += 1
            tally.last_fault = f"the semantic cache could not look ({self.embedder} or the store does not answer)"
            return None
        return Place(self.cache, key.under(epoch), fingerprint, meaning.prompt.ref, scope, tally, self.shadow)

    async def fingerprint(self) -> str | None:
        """Of the embedder; None where it does not say what it is."""
        if self._known is None or self._known[1] < self.clock():
            try:
                made = embedder_fingerprint(self.embedder, await self.describe(self.embedder))
            except CallError:
                return None
            self._known = (made, self.clock() + _KNOWN_FOR)
        return self._known[0]
