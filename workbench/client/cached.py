"""A request as the caches see it: its key, its turn, and where to look by meaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from workbench.cache.cache import scope_name
from workbench.cache.key import cache_key, cacheable, endpoint_identity
from workbench.errors import CallError, InputError
from workbench.records import Completion, Request, split_model

if TYPE_CHECKING:
    from workbench.cache import Cache
    from workbench.cache.lookup import Meaning, Place
    from workbench.cache.turn import Turn
    from workbench.serving.described import Described
    from workbench.settings import Settings

__all__ = ["CachedRequest", "Caching"]


class Caching:
    """Makes a `CachedRequest` of a request that may be looked up. cost: dollars that making a model's answer cost."""

    def __init__(
        self, cache: Cache, settings: Settings, described: Described, cost: Callable[[str, Completion], float | None]
    ) -> None:
        self.cache = cache
        self.cost = cost
        self._settings = settings
        self._described = described

    async def of(
        self, request: Request, cached: bool | None, meaning: Meaning | None, fields: Mapping[str, Any]
    ) -> CachedRequest | None:
        """None where the request is not to be looked up, or cannot be. fields: of its row, for `tenant` and `prompt_ref`."""
        if cached is False or not (cached or cacheable(request)):
            return None
        tenant, scope = fields.get("tenant"), scope_name(request.model, fields.get("prompt_ref"))
        try:
            key = cache_key(request, identity=await self.identity(request.model), tenant=tenant)
        except (CallError, InputError):
            return None  # the server does not say what it serves, or the request is no JSON: the call will tell
        return CachedRequest(self, request, key, scope, tenant, meaning)

    async def identity(self, model: str) -> str:
        """Which weights on which kind of server, asked again after a minute. Raises CallError."""
        endpoint = self._settings.endpoint(split_model(model)[0])
        return endpoint_identity(endpoint.kind, await self._described.get(model), endpoint.options)


@dataclass(frozen=True, slots=True)
class CachedRequest:
    """scope: what it is counted under. meaning: how it was made of a prompt, for a look-up by meaning; None for none."""

    caching: Caching
    request: Request
    key: str
    scope: str
    tenant: str | None
    meaning: Meaning | None

    def held(self) -> Completion | None:
        """The answer, if it is in this process's memory."""
        return self.caching.cache.held(self.key, self.scope)

    def turn(self) -> Turn:
        """Its turn among equal requests of all processes; in it, `found` is the answer of an earlier one."""
        cost = partial(self.caching.cost, self.request.model)
        return self.caching.cache.turn(self.key, self.scope, cost=cost, patience=self.request.timeout)

    async def look(self, turn: Turn) -> Place | None:
        """Look by meaning where there was no equal request. Returns where the model's answer is then to be kept."""
        if turn.found is not None or self.meaning is None:
            return None
        identity = await self.caching.identity(self.request.model)
        place = await self.caching.cache.place(
            turn, self.meaning, identity=identity, tenant=self.tenant, scope=self.scope
        )
        if place is not None and (hit := await place.find()) is not None:
            turn.serve(hit.completion, cost=hit.cost)
        return place
