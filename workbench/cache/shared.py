"""The layer in the key-value store, which all processes share: answers, leases, epochs.

All keys of a scope share a hash tag, so that a cluster keeps them on one node:

    wb:exact:1:{SCOPE}:e:KEY      epoch (16 bytes), then the entry as `codec` writes it; expires at its fixed time
    wb:exact:1:{SCOPE}:l:KEY      lease: the token of who asks the model now, or "-" after an answer that is not kept
    wb:exact:1:{SCOPE}:epoch      see `local`
    wb:exact:1:scopes             hash: SCOPE -> its name

The store may be down, slow or full: then a method raises FaultError, within its deadline, and has counted it. After a fault that
means down or slow the store is left alone until a probe in the background has been answered.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from workbench.cache.codec import VERSION
from workbench.cache.deadline import Deadline
from workbench.cache.local import NO_EPOCH, Scope
from workbench.errors import StoreError

if TYPE_CHECKING:
    from workbench.stores.keyvalue import KeyValue

__all__ = ["PREFIX", "Claim", "FaultError", "FaultKind", "SharedLayer"]

T = TypeVar("T")
FaultKind = Literal["slow", "down", "full", "broken", "passed_by"]
"""slow: no answer in time. down: no connection. full: no memory left. broken: the server refuses for another reason.
passed_by: not asked, because it was slow or down a moment ago."""

PREFIX: Final = f"wb:exact:{VERSION}"
_AT_ONCE = 32  # commands of one event loop; the others wait for their turn, which is in no deadline
_START = 10.0  # seconds that the embedded server may take to start
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 15.0
_BATCH = 500

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
        self.up = False
        self.begun = False
        self.probe: asyncio.Task[None] | None = None
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

    async def read(self, scope: Scope, key: str, *, fresh: bool) -> bytes | None:
        """The entry under the scope's epoch. fresh: the epoch is known well enough, else it is asked for too."""
        name, asked_at = _name(scope, "e", key), self._clock()
        if fresh:
            value = await self._do(lambda client: client.get(name), self._deadline)
        else:
            value, epoch = await self._do(lambda client: client.mget(name, _epoch(scope)), self._deadline)
            scope.epoch, scope.confirmed = epoch or NO_EPOCH, asked_at
        return _under(scope.epoch, value)

    async def claim(self, scope: Scope, key: str, token: str) -> Claim:
        """The entry if there is one; otherwise the lease, unless another holds it. Atomic, so that an answer which came in between
        is never asked for again."""
        keys, asked_at = [_name(scope, "e", key), _epoch(scope), _name(scope, "l", key)], self._clock()
        epoch, value, holder = await self._do(
            lambda _: self._kv.run(_CLAIM, keys, [token, self._lease]), 4 * self._deadline
        )
        scope.epoch, scope.confirmed = epoch, asked_at
        if value is not None:
            return Claim(_under(epoch, value), "none")
        mine: dict[bytes, Literal["mine", "open"]] = {token.encode(): "mine", b"-": "open"}
        return Claim(None, mine.get(holder, "taken"))

    async def renew(self, scope: Scope, key: str, token: str) -> None:
        """Hold the lease for longer."""
        keys = [_name(scope, "l", key)]
        await self._do(lambda _: self._kv.run(_RENEW, keys, [token, self._lease]), 4 * self._deadline)

    async def release(self, scope: Scope, key: str, token: str, *, open_for: float = 0.0) -> None:
        """Give the lease back if it is still ours. open_for: seconds for which nobody is to wait for anybody, because the answer
        is not one that is kept."""
        keys = [_name(scope, "l", key)]
        await self._do(lambda _: self._kv.run(_RELEASE, keys, [token, int(open_for * 1000)]), 4 * self._deadline)

    async def put(self, scope: Scope, key: str, epoch: bytes, value: bytes, ttl: float) -> None:
        """Keep an entry for `ttl` seconds."""
        if scope.registered != epoch:
            await self._do(lambda client: client.hset(f"{PREFIX}:scopes", scope.tag, scope.name), 4 * self._deadline)
            scope.registered = epoch
        name, milliseconds = _name(scope, "e", key), max(1, int(ttl * 1000))
        await self._do(lambda client: client.set(name, epoch + value, px=milliseconds), 4 * self._deadline)

    async def drop(self, scope: Scope, key: str) -> None:
        """Remove an entry."""
        name = _name(scope, "e", key)
        await self._do(lambda client: client.unlink(name), self._deadline)

    async def clear(self, scope: Scope) -> int:
        """Give the scope a new epoch, and remove its entries; how many there were. Raises StoreError."""
        client = await self._client()
        epoch, asked_at = secrets.token_hex(8), self._clock()
        try:
            await client.set(_epoch(scope), epoch)
            scope.epoch, scope.confirmed = epoch.encode(), asked_at
            names = [name async for name in client.scan_iter(match=f"{PREFIX}:{{{scope.tag}}}:e:*", count=1000)]
            removed = 0
            for start in range(0, len(names), _BATCH):
                removed += await client.unlink(*names[start : start + _BATCH])
            await client.hdel(f"{PREFIX}:scopes", scope.tag)
        except Exception as error:
            raise _clear_error(self._kv.address, error) from None
        return removed

    async def scopes(self) -> list[str]:
        """The names of all scopes that have entries, or had. Raises StoreError."""
        client = await self._client()
        try:
            return [name.decode() for name in await client.hvals(f"{PREFIX}:scopes")]
        except Exception as error:
            raise _clear_error(self._kv.address, error) from None

    async def entries(self, scope: Scope) -> AsyncIterator[tuple[str, bytes]]:
        """(key, entry) for each of the scope. Raises StoreError."""
        client = await self._client()
        try:
            epoch = await client.get(_epoch(scope)) or NO_EPOCH
            async for name in client.scan_iter(match=f"{PREFIX}:{{{scope.tag}}}:e:*", count=1000):
                value = _under(epoch, await client.get(name))
                if value is not None:
                    yield name.rpartition(b":")[2].decode(), value
        except Exception as error:
            raise _clear_error(self._kv.address, error) from None

    async def do(self, command: Callable[[Any], Awaitable[T]]) -> T:
        """Another command, within the time of a write. Raises FaultError."""
        return await self._do(command, 4 * self._deadline)

    async def aclose(self) -> None:
        """End what runs in the background of this loop."""
        link = self._links.pop(asyncio.get_running_loop(), None)
        if link is not None and link.probe is not None:
            link.probe.cancel()
            await asyncio.gather(link.probe, return_exceptions=True)

    async def _client(self) -> Any:
        return await self._kv.client()

    async def _do(self, command: Callable[[Any], Awaitable[T]], deadline: float) -> T:
        loop = asyncio.get_running_loop()
        link = self._links.get(loop)
        if link is None:
            link = self._links[loop] = _Link()
        if not link.up:
            await self._until_up(link)
        client = await self._kv.client()
        try:
            async with link.turn:
                if not link.up:  # it has failed while we waited
                    raise FaultError("passed_by")
                async with Deadline(deadline):
                    return await command(client)
        except FaultError:
            self._count("passed_by", "")
            raise
        except Exception as error:
            raise self._fault(link, error) from None

    def _fault(self, link: _Link, error: Exception) -> FaultError:
        from redis import exceptions

        kind: FaultKind
        if isinstance(error, (TimeoutError, exceptions.TimeoutError)):
            kind = "slow"
        elif isinstance(error, exceptions.OutOfMemoryError) or "OOM" in str(error):
            kind = "full"
        elif isinstance(error, (exceptions.ConnectionError, OSError, StoreError)):
            kind = "down"
        elif isinstance(error, exceptions.RedisError):
            kind = "broken"
        else:
            raise error
        message = " ".join(str(error).split()) or f"no answer within {self._deadline * 1000:.0f} ms"
        self._count(kind, message)
        if kind in ("slow", "down"):
            link.up = False
            self._start_probe(link)
        return FaultError(kind, message)

    async def _until_up(self, link: _Link) -> None:
        """Wait for a server that is being started, or a moment for a first connection; otherwise fail at once."""
        if link.probe is None and self._clock() >= link.again_at:
            self._start_probe(link)
        if link.probe is not None and not link.begun:
            patience = _START if self._kv.server is not None else self._deadline
            await asyncio.wait({link.probe}, timeout=patience)
            link.begun = True
        if not link.up:
            self._count("passed_by", "")
            raise FaultError("passed_by")

    def _start_probe(self, link: _Link) -> None:
        if link.probe is None:
            link.probe = asyncio.create_task(self._probe(link))

    async def _probe(self, link: _Link) -> None:
        """Connect and ask, with no deadline but the connection's own, so that the next look-ups find open connections."""
        from redis.exceptions import RedisError

        try:
            client: Any = await self._kv.client()
            await asyncio.gather(*(client.ping() for _ in range(1 if not link.begun else 4)))
            link.up, link.pause = True, _FIRST_PAUSE
        except (RedisError, OSError, StoreError) as error:
            self._count("down", " ".join(str(error).split()))
            link.again_at = self._clock() + link.pause
            link.pause = min(2 * link.pause, _LONGEST_PAUSE)
        finally:
            link.probe = None


def _name(scope: Scope, kind: str, key: str) -> str:
    return f"{PREFIX}:{{{scope.tag}}}:{kind}:{key}"


def _epoch(scope: Scope) -> str:
    return f"{PREFIX}:{{{scope.tag}}}:epoch"


def _under(epoch: bytes | None, value: bytes | None) -> bytes | None:
    return value[16:] if value is not None and epoch is not None and value[:16] == epoch else None


def _clear_error(address: str, error: Exception) -> StoreError:
    said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return StoreError(f"the key-value store ({address}) failed: {said}. `workbench doctor` says whether it answers.")


