"""One change of what is live, sent so that it is done once or not at all, and told as done only when it will stay done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from workbench.errors import StoreError
from workbench.releases.document import Live, encode
from workbench.releases.history import Event
from workbench.releases.keys import CHANGE, FEATURES, REGISTER, Keys

if TYPE_CHECKING:
    import redis

    from workbench.records import Release
    from workbench.stores.keyvalue import KeyValue

__all__ = ["commit", "reaching"]

_TO_DISK = 4.0  # seconds; less than the connection waits for an answer


def commit(kv: KeyValue, live: Live, event: Event, made: Release | None) -> bool:
    """Make `live` live if the sequence is still the one before; False if it is not, and nothing was changed.

    True once the server has it on disk, where it can say so. Raises StoreError, which tells whether it may have been done.
    """
    import orjson

    keys = Keys.of(live.feature)
    number, text = (str(made.number), orjson.dumps(made.to_mapping())) if made is not None else ("", b"")
    arguments: list[Any] = [
        live.sequence - 1, live.sequence, live.id, encode(live), event.encode(), keys.channel, number, text,
    ]  # fmt: skip
    done = f"the change of {live.feature} ({event.sentence or event.kind})"
    if live.sequence == 1:
        with reaching(kv):
            kv.sync().eval(REGISTER, 1, FEATURES, live.feature)
    with _connection(kv, keys.live) as one:
        with reaching(kv, f"{done} may have been made or not: look at the history of {live.feature} when it answers"):
            found: Any = one.eval(CHANGE, 3, keys.live, keys.releases, keys.history, *arguments)
        if found and (len(found) < 2 or found[1] is None or Event.decode(found[1]).id != event.id):
            return False
        with reaching(kv, f"{done} was made, but it is not known whether it is on disk"):
            _to_disk(kv, one, done)
    return True


@contextmanager
def reaching(kv: KeyValue, then: str = "") -> Iterator[None]:
    """A fault of the server is a StoreError. then: what follows from it."""
    from redis.exceptions import RedisClusterException, RedisError

    try:
        yield
    except (RedisError, RedisClusterException, OSError) as error:
        said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        hint = "`workbench doctor` says whether it answers"
        if "unexpected symbol near '#'" in said:
            said, hint, then = "it runs no scripts that work when memory is full", "releases need Redis 7 or Valkey", ""
        what = f" So {then}." if then else ""
        raise StoreError(
            f"the key-value store of the releases ({kv.address}) failed: {said}.{what} ({hint}.)"
        ) from None


@contextmanager
def _connection(kv: KeyValue, key: str) -> Iterator[redis.Redis]:
    """One connection to the node that holds the key: what is asked for its writes is asked on it."""
    from redis.cluster import RedisCluster

    with reaching(kv):
        client: Any = kv.sync()
        if isinstance(client, RedisCluster):
            cluster: Any = client
            client = cluster.get_redis_connection(cluster.get_node_from_key(key))
        one = client.client()
    try:
        yield one
    finally:
        one.close()


def _to_disk(kv: KeyValue, one: redis.Redis, done: str) -> None:
    from redis.exceptions import ResponseError

    if kv.server is not None:
        kv.server.to_disk()
        return
    line: Any = (
        one.connection
    )  # not through the client, which would ask again on another connection, where it says nothing
    line.send_command("WAITAOF", 1, 0, int(_TO_DISK * 1000))
    try:
        found = line.read_response()
    except ResponseError:
        return  # a server before 7.2, or one that keeps no append-only file
    if not found[0]:
        raise StoreError(
            f"{done} was made, but {kv.address} did not write it to its disk within {_TO_DISK:.0f} s: it is lost if that server "
            "fails now."
        )
