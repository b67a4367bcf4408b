"""Connections of redis-py to the embedded Valkey: where it does not listen (any more), they start it first."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio import UnixDomainSocketConnection as AsyncConnection
from redis.connection import UnixDomainSocketConnection

from workbench.stores.valkey import EmbeddedValkey

__all__ = ["EmbeddedAsyncConnection", "EmbeddedConnection"]


class EmbeddedConnection(UnixDomainSocketConnection):
    """For `redis.Redis`."""

    def __init__(self, *, server: EmbeddedValkey, **options: Any) -> None:
        super().__init__(path=str(server.socket), **options)  # type: ignore[no-untyped-call]
        self._server = server

    def _connect(self) -> Any:
        try:
            return super()._connect()  # type: ignore[no-untyped-call]
        except OSError:
            self._server.ensure()
            return super()._connect()  # type: ignore[no-untyped-call]


class EmbeddedAsyncConnection(AsyncConnection):
    """For `redis.asyncio.Redis`. Starting does not hold the event loop, and goes on if the caller gives up waiting."""

    def __init__(self, *, server: EmbeddedValkey, **options: Any) -> None:
        super().__init__(path=str(server.socket), **options)
        self._server = server

    async def _connect(self) -> None:
        try:
            await super()._connect()  # type: ignore[no-untyped-call]
        except OSError:
            await asyncio.to_thread(self._server.ensure)
            await super()._connect()  # type: ignore[no-untyped-call]
