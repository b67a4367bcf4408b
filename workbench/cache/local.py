"""The layer in this process: answers by key, and what is known of their scopes.

A scope has an epoch, a random text in the store that `clear` replaces. An answer counts only under the epoch that it was kept
under, and only while this process has seen that epoch lately.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Final

from workbench.cache.codec import Entry

__all__ = ["NO_EPOCH", "LocalLayer", "Scope"]

NO_EPOCH: Final = b"0" * 16
"""Of a scope that was never cleared."""

_MOST_SCOPES = 10_000


class Scope:
    """What this process knows of a scope. tag: names it in the store. epoch: None if unknown. confirmed: monotonic seconds when
    the epoch was asked for. registered: the epoch under which the store has the scope's name from us."""

    __slots__ = ("confirmed", "epoch", "name", "registered", "tag")

    def __init__(self, name: str) -> None:
        self.name = name
        self.tag = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        self.epoch: bytes | None = None
        self.confirmed = float("-inf")
        self.registered: bytes | None = None


class LocalLayer:
    """At most `memory` bytes of answers; those that were not used for longest go first.

    fresh: seconds for which an epoch counts after it was asked for.
    """

    def __init__(self, memory: int, fresh: float) -> None:
        self._memory = memory
        self._fresh = fresh
        self._used = 0
        self._scopes: dict[str, Scope] = {}
        self._entries: OrderedDict[tuple[str, str], tuple[bytes, Entry]] = OrderedDict()

    def scope(self, name: str) -> Scope:
        """What is known of the scope of that name."""
        found = self._scopes.get(name)
        if found is None:
            if len(self._scopes) >= _MOST_SCOPES:
                self._scopes.clear()
            found = self._scopes[name] = Scope(name)
        return found

    def get(self, name: str, key: str, now: float, wall: float) -> Entry | None:
        """The answer if it may be served. now: monotonic seconds; wall: Unix seconds."""
        held = self._entries.get((name, key))
        if held is None:
            return None
        scope = self._scopes.get(name)
        if scope is None or now - scope.confirmed > self._fresh or held[0] != scope.epoch:
            return None
        if wall >= held[1].expires_at:
            self._drop((name, key))
            return None
        try:
            self._entries.move_to_end((name, key))
        except KeyError:  # another thread has just dropped it
            return None
        return held[1]

    def put(self, name: str, key: str, epoch: bytes, entry: Entry) -> None:
        """Keep an answer that was stored under this epoch."""
        if entry.size > self._memory:
            return
        self._drop((name, key))
        self._entries[name, key] = epoch, entry
        self._used += entry.size
        while self._used > self._memory:
            _, (_, oldest) = self._entries.popitem(last=False)
            self._used -= oldest.size

    def is_fresh(self, scope: Scope, now: float) -> bool:
        """Whether the scope's epoch need not be asked for."""
        return now - scope.confirmed <= self._fresh

    def forget(self, name: str | None) -> None:
        """Drop the answers of a scope, or all."""
        for place in [place for place in list(self._entries) if name in (None, place[0])]:
            self._drop(place)

    def _drop(self, place: tuple[str, str]) -> None:
        held = self._entries.pop(place, None)
        if held is not None:
            self._used -= held[1].size
