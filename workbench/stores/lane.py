"""Commands without redis-py's bookkeeping, for who counts microseconds: half the time of `client.get`."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

__all__ = ["Lane"]


class Lane:
    """Sends commands of one event loop on connections that are kept out of the client's pool; in a cluster through the client.

    It sets no time limit: the caller does, and bounds how many commands run at once. A command that finds its connection broken
    is sent once more on a new one.
    """

    def __init__(self, client: Any) -> None:
        self.client = client
        self._pool = client.connection_pool if isinstance(client, Redis) else None
        self._idle: list[Any] = []

    async def __call__(self, *command: str | bytes | float) -> Any:
        """What the server answers, as it comes. Raises redis-py's errors."""
        if self._pool is None:
            return await self.client.execute_command(*command)
        connection = self._idle.pop() if self._idle else await self._new()
        try:
            try:
                await connection.send_command(*command)
                return await connection.read_response()
            except RedisConnectionError:
                await connection.disconnect(nowait=True)
                await connection.send_command(*command)
                return await connection.read_response()
        finally:
            self._idle.append(connection)  # one that failed has closed itself, and connects again with the next command

    async def _new(self) -> Any:
        assert self._pool is not None  # noqa: S101  (for the type checker)
        connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        connection.socket_timeout = None
        return connection
