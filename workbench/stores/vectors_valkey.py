"""Vectors in a Redis or Valkey, searched exactly, in this process.

Each scope has a log of records there, cut into segments of 1 MB. A process keeps the scopes that it searches as matrices
(`stores.mirror`); before each search one short script tells what other processes have added since. Only the payloads of what was
found are fetched. All keys of a scope share a hash tag, so that a cluster keeps them on one node:

    wb:vectors:1:{COLLECTION.SCOPE}:D:log     hash: the log's random id, n = how many records it has had
    wb:vectors:1:{COLLECTION.SCOPE}:D:K       segment K, with the records K x per, K x per + 1 …
    wb:vectors:1:{COLLECTION.SCOPE}:D:p:KEY   payload

Every key expires by itself: a payload with its entry, a segment and the log with the last of theirs. What the server evicted or
lost is a record that is not found, no error.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from workbench.stores.vectors import Found, check_key, unit

if TYPE_CHECKING:
    import numpy as np

    from workbench.stores.keyvalue import KeyValue
    from workbench.stores.mirror import Mirror

__all__ = ["ValkeyVectors"]

_SEGMENT = 1 << 20
_PREFIX = "wb:vectors:1"
_PAYLOAD = b":p:"

# KEYS: log, segment that the caller expects to be the current one, payload.
# ARGV: id for a new log, number of that segment, records a segment, bytes a record, the record, payload, milliseconds to live
_APPEND = """
local n = tonumber(redis.call('HGET', KEYS[1], 'n') or 0)
if math.floor(n / ARGV[3]) ~= tonumber(ARGV[2]) then return {n, 0} end
redis.call('HSETNX', KEYS[1], 'id', ARGV[1])
redis.call('HSET', KEYS[1], 'n', n + 1)
redis.call('SETRANGE', KEYS[2], (n % ARGV[3]) * ARGV[4], ARGV[5])
redis.call('SET', KEYS[3], ARGV[6], 'PX', ARGV[7])
for i = 1, 2 do
  if redis.call('PTTL', KEYS[i]) < tonumber(ARGV[7]) then redis.call('PEXPIRE', KEYS[i], ARGV[7]) end
end
return {n, 1}
"""
# KEYS: log, segment. ARGV: where in the segment to begin
_READ = """
local head = redis.call('HMGET', KEYS[1], 'id', 'n')
return {head[1], head[2], redis.call('GETRANGE', KEYS[2], ARGV[1], -1)}
"""


class ValkeyVectors:
    """Vectors of scopes of some ten thousand entries, for any number of processes.

    scope_bytes: what the vectors of one scope may take; beyond that the oldest are dropped. It also bounds how long a search
    holds the event loop: 20,000 vectors of 384 numbers are 31 MB and take 1-3 ms. memory: bytes of all matrices in this process;
    those that were not used for longest are dropped, and read again when they are needed. clock: Unix seconds.
    """

    def __init__(
        self,
        kv: KeyValue,
        *,
        scope_bytes: int = 64 << 20,
        memory: int = 256 << 20,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._kv = kv
        self._segments = max(2, scope_bytes // _SEGMENT)
        self._memory = memory
        self._clock = clock
        self._lock = threading.Lock()
        self._mirrors: OrderedDict[str, Mirror] = OrderedDict()
        self._held = 0

    async def add(
        self, collection: str, scope: str, key: str, vector: np.ndarray, payload: bytes, expires_at: float
    ) -> None:
        """See `VectorStore`. One round trip, two where another process began a new segment."""
        from workbench.stores.mirror import pack, record_size

        vector, left = unit(vector), int((expires_at - self._clock()) * 1000)
        record = pack(check_key(key), expires_at, vector)
        if left <= 0:
            return
        prefix, size = _prefix(collection, scope, len(vector)), record_size(len(vector))
        per = _SEGMENT // size or 1
        mirror = self._mirrors.get(prefix)
        segment = mirror.position[1] // per if mirror else 0
        while True:
            keys = [f"{prefix}:log", f"{prefix}:{segment}", f"{prefix}:p:{key}"]
            number, done = await self._run(
                _APPEND, keys, [secrets.token_bytes(16), segment, per, size, record, payload, left]
            )
            segment = number // per
            if done:
                break
        if number % per == 0 and segment >= self._segments:
            client = await self._kv.client()
            await client.unlink(f"{prefix}:{segment - self._segments}")

    async def search(
        self, collection: str, scope: str, vector: np.ndarray, limit: int = 1, least: float = -1.0
    ) -> list[Found]:
        """See `VectorStore`. A scope that is new to this process is read first, also if the caller gives up waiting for it."""
        wanted = unit(vector)
        prefix = _prefix(collection, scope, len(wanted))
        mirror = self._mirror(prefix, len(wanted))
        await self._refresh(mirror, prefix, len(wanted))
        if mirror.nbytes != mirror.counted:
            self._bound(mirror, prefix)
        most = limit
        while near := mirror.nearest(wanted, most, least, self._clock()):
            client = await self._kv.client()
            kept = await client.mget([f"{prefix}:p:{key}" for key, _ in near])
            payloads = cast("list[bytes | None]", kept)
            found = [
                Found(key, score, payload)
                for (key, score), payload in zip(near, payloads, strict=True)
                if payload is not None
            ]
            mirror.forget(key for (key, _), payload in zip(near, payloads, strict=True) if payload is None)
            if len(found) >= limit or len(near) < most:
                return found[:limit]
            most *= 4
        return []

    async def count(self, collection: str, scope: str | None = None) -> int:
        """See `VectorStore`."""
        return len({key async for key in self._scan(collection, scope) if _PAYLOAD in key})

    async def delete(self, collection: str, scope: str | None = None) -> int:
        """See `VectorStore`. What another process adds meanwhile may stay."""
        scopes: dict[bytes, set[bytes]] = {}  # one command must not name keys of two nodes
        async for key in self._scan(collection, scope):
            scopes.setdefault(key.partition(b"}")[0], set()).add(key)
        client = await self._kv.client()
        for keys in scopes.values():
            await client.unlink(*keys)
        return sum(_PAYLOAD in key for keys in scopes.values() for key in keys)

    async def aclose(self) -> None:
        """Forget the matrices. The connection belongs to the key-value store."""
        with self._lock:
            self._mirrors.clear()
            self._held = 0

    def __repr__(self) -> str:
        return f"ValkeyVectors({self._kv!r}, scopes here: {len(self._mirrors)}, {self.nbytes / 1e6:.1f} MB)"

    @property
    def nbytes(self) -> int:
        """About how much memory the matrices of this process take."""
        return self._held

    def _mirror(self, prefix: str, dimensions: int) -> Mirror:
        """The scope's matrix, as the one that was used last."""
        from workbench.stores.mirror import Mirror

        with self._lock:
            found = self._mirrors.get(prefix)
            if found is None:
                found = self._mirrors[prefix] = Mirror(dimensions)
            self._mirrors.move_to_end(prefix)
            return found

    def _bound(self, mirror: Mirror, prefix: str) -> None:
        """Count what it takes now, and drop those that were not used for longest."""
        with self._lock:
            if self._mirrors.get(prefix) is not mirror:
                return
            self._held += mirror.nbytes - mirror.counted
            mirror.counted = mirror.nbytes
            while self._held > self._memory and len(self._mirrors) > 1:
                self._held -= self._mirrors.popitem(last=False)[1].counted

    async def _refresh(self, mirror: Mirror, prefix: str, dimensions: int) -> None:
        """Bring it into step: mostly one round trip that says that nothing is new."""
        if mirror.position[0] is not None and await self._step(mirror, prefix, dimensions):
            return
        loop = asyncio.get_running_loop()
        if mirror.task is None or mirror.task.done() or mirror.task.get_loop() is not loop:
            mirror.task = loop.create_task(self._catch_up(mirror, prefix, dimensions))
            mirror.task.add_done_callback(lambda task: task.cancelled() or task.exception())  # they who wait raise it
        await asyncio.shield(mirror.task)

    async def _catch_up(self, mirror: Mirror, prefix: str, dimensions: int) -> None:
        while not await self._step(mirror, prefix, dimensions):
            pass

    async def _step(self, mirror: Mirror, prefix: str, dimensions: int) -> bool:
        """Read at most a segment; whether there is no more."""
        from workbench.stores.mirror import record_size

        seen = mirror.position
        size = record_size(dimensions)
        per = _SEGMENT // size or 1
        segment, row = divmod(seen[1], per)
        log, counted, records = await self._run(_READ, [f"{prefix}:log", f"{prefix}:{segment}"], [row * size])
        count = int(counted or 0)
        oldest = max(0, count // per - self._segments + 1) * per
        if log != seen[0] or count < seen[1]:
            mirror.begin(seen, log, oldest, count - oldest)
            return log is None
        upto = min(count, (segment + 1) * per)
        mirror.extend(seen, records, upto, self._clock(), first=oldest)
        return upto == count

    async def _run(self, script: str, keys: Sequence[str], arguments: Sequence[bytes | str | int]) -> Any:
        from redis.exceptions import NoScriptError

        client = await self._kv.client()
        try:
            return await client.evalsha(_SHA[script], len(keys), *keys, *arguments)
        except NoScriptError:  # this server has not seen it yet
            return await client.eval(script, len(keys), *keys, *arguments)

    async def _scan(self, collection: str, scope: str | None) -> AsyncIterator[bytes]:
        client = await self._kv.client()
        tag = f"{{{_digest(collection)}.{'*' if scope is None else _digest(scope) + '}:*'}"
        async for key in client.scan_iter(match=f"{_PREFIX}:{tag}", count=1000):
            yield key


_SHA = {script: hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest() for script in (_APPEND, _READ)}


def _digest(name: str) -> str:
    return hashlib.blake2b(name.encode(), digest_size=16).hexdigest()


def _prefix(collection: str, scope: str, dimensions: int) -> str:
    return f"{_PREFIX}:{{{_digest(collection)}.{_digest(scope)}}}:{dimensions}"
