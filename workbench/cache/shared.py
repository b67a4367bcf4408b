"""The layer in the key-value store, which all processes share: answers, leases, epochs.

All keys of a scope share a hash tag, so that a cluster keeps them on one node:

    wb:exact:1:{SCOPE}:e:KEY      epoch (16 bytes), then the entry as `codec` writes it; expires at its fixed time
    wb:exact:1:{SCOPE}:l:KEY      lease: the token of who asks the model now, or "-" after an answer that is not kept
    wb:exact:1:{SCOPE}:epoch      see `local`
    wb:exact:1:scopes             hash: SCOPE -> its name
    wb:exact:1:stats:DAY          hash: COUNTER:SCOPE -> number, by days since 1970 (UTC); expires after 90 days

The store may be down, slow or full: then a method raises FaultError, within its deadline, and has counted it. After a fault that
means down or slow the store is left alone until a probe in the background has been answered.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple
from weakref import WeakKeyDictionary

from workbench.cache.codec import VERSION
from workbench.cache.deadline import Deadline
from workbench.cache.local import NO_EPOCH, Scope
from workbench.errors import StoreError

if TYPE_CHECKING:
    from workbench.stores.keyvalue import KeyValue
    from workbench.stores.lane import Lane

__all__ = ["Claim", "FaultError", "FaultKind", "SharedLayer"]

FaultKind = Literal["slow", "down", "full", "broken", "passed_by"]
"""slow: no answer in time. down: no connection. full: no memory left. broken: the server refuses for another reason.
passed_by: not asked, because it was slow or down a moment ago."""

PREFIX: Final = f"wb:exact:{VERSION}"
_AT_ONCE = 32  # commands of one event loop; the others wait for their turn, which is in no deadline
_START = 10.0  # seconds that the embedded server may take to start
_NEW = 0.1  # seconds for which a probe is waited for
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 15.0
_BATCH = 500
_KEEP_STATS = 90 * 86400
_SHOW = 2.0  # seconds to read what a person wants to see, and to count in the background

# KEYS: entry, epoch, lease. ARGV: token, milliseconds. Returns epoch, value, and whose the lease is
_CLAIM = """
local epoch = redis.call('GET', KEYS[2]) or '0000000000000000'
local value = redis.call('GET', KEYS[1])
if value and string.sub(value, 1, 16) == epoch then return {epoch, value, ''} end
local holder = redis.call('GET', KEYS[3])
if not holder then
  redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[2])
  holder = ARGV[1]
end
return {epoch, false, holder}
"""
# KEYS: lease. ARGV: token, milliseconds
_RENEW = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('PEXPIRE', KEYS[1], ARGV[2])"
# KEYS: lease. ARGV: token, milliseconds for which others need not wait for each other, 0 if it was settled
_RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if tonumber(ARGV[2]) > 0 then redis.pcall('SET', KEYS[1], '-', 'PX', ARGV[2]) end
return 1
"""


# KEYS: hash. ARGV: seconds to live, then field, number, field, number …
_ADD = """
for i = 2, #ARGV, 2 do redis.call('HINCRBYFLOAT', KEYS[1], ARGV[i], ARGV[i + 1]) end
return redis.call('EXPIRE', KEYS[1], ARGV[1])
"""


class FaultError(Exception):
    """The store did not do what it was asked; `kind` says in which way."""

    def __init__(self, kind: FaultKind, message: str = "") -> None:
        super().__init__(message)
        self.kind: FaultKind = kind


class Claim(NamedTuple):
    """value: the entry, without epoch, if there is one now. Else lease: ours, another's, or nobody is to be waited for."""

    value: bytes | None
    lease: Literal["none", "mine", "taken", "open"]


class _Link:
    """One event loop's way to the store."""

    def __init__(self) -> None:
        self.turn = asyncio.Semaphore(_AT_ONCE)
        self.lane: Lane | None = None
        self.up = False
        self.begun = False
        self.probe: asyncio.Task[None] | None = None
        self.probed_at = 0.0
        self.pause = _FIRST_PAUSE
        self.again_at = 0.0


class SharedLayer:
    """deadline: seconds of a look-up; what writes may take four times that. lease: seconds after which a leader that has died is
    given up. count: is told each fault. clock: monotonic seconds."""

    def __init__(
        self,
        kv: KeyValue,
        *,
        deadline: float,
        lease: float,
        count: Callable[[FaultKind, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kv = kv
        self._deadline = deadline
        self._lease = int(lease * 1000)
        self._count = count
        self._clock = clock
        self._links: WeakKeyDictionary[asyncio.AbstractEventLoop, _Link] = WeakKeyDictionary()

    @property
    def address(self) -> str:
        """Where the store is."""
        return self._kv.address

    async def read(self, scope: Scope, key: str, *, fresh: bool) -> bytes | None:
        """The entry under the scope's epoch. fresh: the epoch is known well enough, else it is asked for too."""
        name = _name(scope, "e", key)
        if fresh:
            value = await self._do(self._deadline, "GET", name)
        else:
            asked_at = self._clock()
            value, epoch = await self._do(self._deadline, "MGET", name, _epoch(scope))
            _learn(scope, epoch or NO_EPOCH, asked_at)
        return _under(scope.epoch, value)

    async def claim(self, scope: Scope, key: str, token: str) -> Claim:
        """The entry if there is one; otherwise the lease, unless another holds it. Atomic, so that an answer that has just come
        is not asked for again."""
        keys, asked_at = [_name(scope, "e", key), _epoch(scope), _name(scope, "l", key)], self._clock()
        epoch, value, holder = await self._run(_CLAIM, keys, token, self._lease)
        _learn(scope, epoch, asked_at)
        if value is not None:
            return Claim(_under(epoch, value), "none")
        mine: dict[bytes, Literal["mine", "open"]] = {token.encode(): "mine", b"-": "open"}
        return Claim(None, mine.get(holder, "taken"))

    async def renew(self, scope: Scope, key: str, token: str) -> None:
        """Hold the lease for longer."""
        await self._run(_RENEW, [_name(scope, "l", key)], token, self._lease)

    async def release(self, scope: Scope, key: str, token: str, *, open_for: float = 0.0) -> None:
        """Give the lease back if it is still ours. open_for: seconds for which nobody is to wait for anybody, because the answer
        is not one that is kept."""
        await self._run(_RELEASE, [_name(scope, "l", key)], token, int(open_for * 1000))

    async def put(self, scope: Scope, key: str, epoch: bytes, value: bytes, ttl: float) -> None:
        """Keep an entry for `ttl` seconds."""
        if scope.registered != epoch:
            await self._do(4 * self._deadline, "HSET", f"{PREFIX}:scopes", scope.tag, scope.name)
            scope.registered = epoch
        name, milliseconds = _name(scope, "e", key), max(1, int(ttl * 1000))
        await self._do(4 * self._deadline, "SET", name, epoch + value, "PX", milliseconds)

    async def drop(self, scope: Scope, key: str) -> None:
        """Remove an entry."""
        await self._do(self._deadline, "UNLINK", _name(scope, "e", key))

    async def clear(self, scope: Scope) -> int:
        """Give the scope a new epoch, and remove its entries; how many there were. Raises StoreError."""
        async with self._told() as client:
            epoch, removed = secrets.token_hex(8), 0
            await client.set(_epoch(scope), epoch)
            _learn(scope, epoch.encode(), self._clock())
            names = [name async for name in client.scan_iter(match=_name(scope, "e", "*"), count=1000)]
            for start in range(0, len(names), _BATCH):
                removed += await client.unlink(*names[start : start + _BATCH])
            await client.hdel(f"{PREFIX}:scopes", scope.tag)
        return removed

    async def scopes(self) -> list[str]:
        """The names of all scopes that have entries, or had. Raises StoreError."""
        async with self._told() as client:
            return [name.decode() for name in await client.hvals(f"{PREFIX}:scopes")]

    async def entries(self, scope: Scope) -> list[tuple[str, bytes]]:
        """(key, entry) for each of the scope. Raises StoreError."""
        found = []
        async with self._told() as client:
            epoch = await client.get(_epoch(scope)) or NO_EPOCH
            async for name in client.scan_iter(match=_name(scope, "e", "*"), count=1000):
                value = _under(epoch, await client.get(name))
                if value is not None:
                    found.append((name.rpartition(b":")[2].decode(), value))
        return found

    async def add_stats(self, day: int, changed: Mapping[str, float]) -> None:
        """Add to the numbers of a day (see `stats`). Raises FaultError."""
        numbers = [item for pair in changed.items() for item in pair]
        await self._run(_ADD, [f"{PREFIX}:stats:{day}"], _KEEP_STATS, *numbers, deadline=_SHOW)

    async def read_stats(self, days: Iterable[int]) -> list[Mapping[bytes, bytes]]:
        """The numbers of each of these days. Raises FaultError."""
        found: list[Mapping[bytes, bytes]] = []
        for day in days:
            pairs = await self._do(_SHOW, "HGETALL", f"{PREFIX}:stats:{day}")
            found.append(pairs if isinstance(pairs, dict) else dict(zip(pairs[::2], pairs[1::2], strict=True)))
        return found

    async def aclose(self) -> None:
        """End what runs in the background of this loop."""
        link = self._links.pop(asyncio.get_running_loop(), None)
        if link is not None and link.probe is not None:
            link.probe.cancel()
            await asyncio.gather(link.probe, return_exceptions=True)

    @asynccontextmanager
    async def _told(self) -> AsyncIterator[Any]:
        """The client, for what a person asked for: a fault is a StoreError."""
        from redis.exceptions import RedisClusterException, RedisError

        try:
            yield await self._kv.client()
        except (RedisError, RedisClusterException, OSError) as error:
            said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            raise StoreError(
                f"the key-value store ({self._kv.address}) failed: {said}. `workbench doctor` says whether it answers."
            ) from None

    async def _run(
        self, script: str, keys: list[str], *arguments: str | bytes | float, deadline: float | None = None
    ) -> Any:
        from redis.exceptions import NoScriptError

        within = 4 * self._deadline if deadline is None else deadline
        try:
            return await self._do(within, "EVALSHA", _sha1(script), len(keys), *keys, *arguments)
        except FaultError as fault:
            if not isinstance(fault.__cause__, NoScriptError):
                raise
        return await self._do(within, "EVAL", script, len(keys), *keys, *arguments)

    async def _do(self, deadline: float, *command: str | bytes | float) -> Any:
        loop = asyncio.get_running_loop()
        link = self._links.get(loop)
        if link is None:
            link = self._links[loop] = _Link()
        if not link.up:
            await self._until_up(link, deadline)
        try:
            async with link.turn:
                if not link.up:  # it has failed while we waited for our turn
                    await self._until_up(link, deadline)
                assert link.lane is not None  # noqa: S101  (for the type checker)
                async with Deadline(deadline):
                    return await link.lane(*command)
        except FaultError:
            raise
        except Exception as error:  # whatever it is, it must not reach who asks a model
            raise self._fault(link, error) from error

    def _fault(self, link: _Link, error: Exception) -> FaultError:
        from redis import exceptions

        kind: FaultKind
        if isinstance(error, exceptions.NoScriptError):
            return FaultError("broken")  # this server has not seen the script yet: no fault
        if isinstance(error, (TimeoutError, exceptions.TimeoutError)):
            kind = "slow"
        elif isinstance(error, exceptions.OutOfMemoryError):
            kind = "full"
        elif isinstance(error, (exceptions.ConnectionError, OSError, StoreError)):
            kind = "down"
        else:
            kind = "broken"
        message = " ".join(str(error).split()) or ("no answer in time" if kind == "slow" else type(error).__name__)
        self._count(kind, message)
        if kind in ("slow", "down"):
            link.up = False
            self._start_probe(link)
        return FaultError(kind, message)

    async def _until_up(self, link: _Link, patience: float) -> None:
        """Wait for a probe that has just begun, longer for the embedded server's first start; then fail."""
        now = self._clock()
        if now >= link.again_at:
            self._start_probe(link)
        if link.probe is not None:
            if not link.begun and self._kv.server is not None:
                patience = _START
            if not link.begun or now - link.probed_at < _NEW:
                await asyncio.wait({link.probe}, timeout=patience)
        if not link.up:
            self._count("passed_by", "")
            raise FaultError("passed_by")

    def _start_probe(self, link: _Link) -> None:
        if link.probe is None:
            link.probed_at = self._clock()
            link.probe = asyncio.create_task(self._probe(link))

    async def _probe(self, link: _Link) -> None:
        """Connect and ask, with no deadline but the connection's own, so that the next look-ups find open connections."""
        from workbench.stores.lane import Lane

        try:
            client = await self._kv.client()
            if link.lane is None or link.lane.client is not client:
                link.lane = Lane(client)
            lane = link.lane
            async with asyncio.timeout(_START):
                await asyncio.gather(*(lane("PING") for _ in range(4 if link.begun else 1)))
            link.up, link.pause = True, _FIRST_PAUSE
        except Exception as error:  # noqa: BLE001  (as in `_do`)
            self._count("down", " ".join(str(error).split()) or type(error).__name__)
            link.again_at = self._clock() + link.pause
            link.pause = min(2 * link.pause, _LONGEST_PAUSE)
        finally:
            link.probe, link.begun = None, True


@lru_cache
def _sha1(script: str) -> str:
    """How the server names a script."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


def _name(scope: Scope, kind: str, key: str) -> str:
    return f"{PREFIX}:{{{scope.tag}}}:{kind}:{key}"


def _epoch(scope: Scope) -> str:
    return f"{PREFIX}:{{{scope.tag}}}:epoch"


def _learn(scope: Scope, epoch: bytes, asked_at: float) -> None:
    if asked_at >= scope.confirmed:  # else it was overtaken on its way
        scope.epoch, scope.confirmed = epoch, asked_at


def _under(epoch: bytes | None, value: bytes | None) -> bytes | None:
    return value[16:] if value is not None and epoch is not None and value[:16] == epoch else None
