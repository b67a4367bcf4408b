"""Vectors in a Qdrant server. A collection there is named by ours and the dimension; scopes are payload, indexed as tenants."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from workbench.errors import SettingsError
from workbench.stores.vectors import Found, check_key, unit

if TYPE_CHECKING:
    import numpy as np
    from qdrant_client import AsyncQdrantClient

__all__ = ["QdrantVectors"]

_TIMEOUT = 5  # seconds for an answer
_SWEEP = 600.0
_ROUNDING = 1e-6  # of a cosine in float32


class QdrantVectors:
    """url: the server's address, or ":memory:" for one inside this process, which is for tests. key: its API key. clock: Unix
    seconds.

    Expired entries are never found; each process that adds removes them from the collection at most every ten minutes.
    """

    def __init__(self, url: str, key: str | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._url = url
        self._key = key
        self._clock = clock
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncQdrantClient] = WeakKeyDictionary()
        self._ready: set[str] = set()
        self._swept: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"QdrantVectors({self._url!r})"

    async def add(
        self, collection: str, scope: str, key: str, vector: np.ndarray, payload: bytes, expires_at: float
    ) -> None:
        """See `VectorStore`."""
        vector, now = unit(vector), self._clock()
        content = {
            "scope": scope,
            "key": check_key(key),
            "expires_at": expires_at,
            "payload": base64.b64encode(payload).decode(),
        }
        if expires_at <= now:
            return
        client = await self._client()
        from qdrant_client import models

        point = models.PointStruct(id=_point_id(scope, key), vector=vector.tolist(), payload=content)
        name = _name(collection, len(vector))
        await self._prepare(name, len(vector))
        try:
            await client.upsert(name, [point])
        except Exception:  # whatever its transports raise
            self._ready.discard(name)
            if await self._exists(name):
                raise
            await self._prepare(name, len(vector))  # somebody had deleted it
            await client.upsert(name, [point])
        if now - self._swept.setdefault(name, now) >= _SWEEP:
            self._swept[name] = now
            expired = models.FieldCondition(key="expires_at", range=models.Range(lte=now))
            await client.delete(name, models.FilterSelector(filter=models.Filter(must=[expired])), wait=False)

    async def search(
        self, collection: str, scope: str, vector: np.ndarray, limit: int = 1, least: float = -1.0
    ) -> list[Found]:
        """See `VectorStore`. Qdrant's index of a large scope is approximate."""
        wanted = unit(vector)
        name = _name(collection, len(wanted))
        if not await self._exists(name):
            return []
        client = await self._client()
        try:
            answer = await client.query_points(
                name,
                query=wanted.tolist(),
                query_filter=self._alive(scope),
                limit=limit,
                score_threshold=least - _ROUNDING,
                with_payload=["key", "payload"],
            )
        except Exception:  # whatever its transports raise
            self._ready.discard(name)
            if await self._exists(name):
                raise
            return []  # somebody had deleted it
        found = []
        for point in answer.points:
            content: dict[str, Any] = point.payload or {}
            found.append(Found(content["key"], min(1.0, point.score), base64.b64decode(content["payload"])))
        return found

    async def count(self, collection: str, scope: str | None = None) -> int:
        """See `VectorStore`."""
        client, found = await self._client(), 0
        for name in await self._names(collection):
            found += (await client.count(name, count_filter=self._alive(scope), exact=True)).count
        return found

    async def delete(self, collection: str, scope: str | None = None) -> int:
        """See `VectorStore`."""
        client, found = await self._client(), await self.count(collection, scope)
        from qdrant_client import models

        for name in await self._names(collection):
            if scope is None:
                self._ready.discard(name)
                await client.delete_collection(name)
            else:
                of_scope = models.FieldCondition(key="scope", match=models.MatchValue(value=scope))
                await client.delete(name, models.FilterSelector(filter=models.Filter(must=[of_scope])))
        return found

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()

    async def _client(self) -> AsyncQdrantClient:
        """That of the running event loop. Its import takes a second, so it does not hold the loop."""
        loop = asyncio.get_running_loop()
        found = self._clients.get(loop)
        if found is None:
            if "qdrant_client" not in sys.modules:
                await asyncio.to_thread(_import)
            from qdrant_client import AsyncQdrantClient

            found = self._clients.setdefault(
                loop,
                AsyncQdrantClient(location=self._url, api_key=self._key, timeout=_TIMEOUT, check_compatibility=False),
            )
        return found

    async def _exists(self, name: str) -> bool:
        if name not in self._ready and await (await self._client()).collection_exists(name):
            self._ready.add(name)
        return name in self._ready

    async def _prepare(self, name: str, dimensions: int) -> None:
        """Make the collection if it is not there yet."""
        if await self._exists(name):
            return
        client = await self._client()
        from qdrant_client import models

        try:
            await client.create_collection(
                name,
                vectors_config=models.VectorParams(size=dimensions, distance=models.Distance.COSINE),
                # no graph over all scopes, one for each: what Qdrant advises where every search has a tenant
                hnsw_config=models.HnswConfigDiff(m=0, payload_m=16),
            )
        except Exception:  # whatever its transports raise
            if not await client.collection_exists(name):  # else another process was faster
                raise
        scopes = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
        await client.create_payload_index(name, "scope", scopes)
        await client.create_payload_index(name, "expires_at", models.PayloadSchemaType.FLOAT)
        self._ready.add(name)

    async def _names(self, collection: str) -> list[str]:
        listed = await (await self._client()).get_collections()
        prefix = _name(collection, 0)[:-1]
        return [item.name for item in listed.collections if item.name.startswith(prefix)]

    def _alive(self, scope: str | None) -> Any:
        from qdrant_client import models

        must: list[Any] = [models.FieldCondition(key="expires_at", range=models.Range(gt=self._clock()))]
        if scope is not None:
            must.append(models.FieldCondition(key="scope", match=models.MatchValue(value=scope)))
        return models.Filter(must=must)


def _import() -> None:
    try:
        import qdrant_client  # noqa: F401
    except ImportError as error:
        raise SettingsError(
            f"QDRANT_URL is set, and qdrant-client is not installed ({error}): pip install qdrant-client, or take the setting "
            "away to keep vectors in the key-value store."
        ) from None


def _name(collection: str, dimensions: int) -> str:
    # names there are also names of folders
    return f"workbench_{hashlib.blake2b(collection.encode(), digest_size=16).hexdigest()}_{dimensions}"


def _point_id(scope: str, key: str) -> str:
    return hashlib.blake2b(f"{scope}\n{key}".encode(), digest_size=16).hexdigest()
