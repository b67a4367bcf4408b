"""Where vectors are kept and found again: one protocol, in the Valkey that is there anyway or in a Qdrant.

A collection holds the vectors of one embedder and has one dimension. Inside it each entry belongs to a scope, and a search never
looks beyond one scope.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from workbench.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from workbench.stores.keyvalue import KeyValue

__all__ = ["Found", "VectorStore", "check_key", "open_vectors", "unit"]

_KEY = re.compile(r"[0-9a-f]{32}")


class Found(NamedTuple):
    """One entry that a search found. score: cosine, -1 to 1, 1 is the same direction: the higher the nearer."""

    key: str
    score: float
    payload: bytes


@runtime_checkable
class VectorStore(Protocol):
    """Vectors with a payload and an expiry. Faults of the server are raised as its client raises them."""

    async def add(
        self, collection: str, scope: str, key: str, vector: np.ndarray, payload: bytes, expires_at: float
    ) -> None:
        """Keep one entry until `expires_at` (Unix seconds); one of the same scope and key is replaced.

        key: 32 hex digits. vector: (d,), of any length but zero; only its direction counts.
        """
        ...

    async def search(
        self, collection: str, scope: str, vector: np.ndarray, limit: int = 1, least: float = -1.0
    ) -> list[Found]:
        """At most `limit` entries of the scope with a cosine of at least `least`, the nearest first; none that has expired."""
        ...

    async def count(self, collection: str, scope: str | None = None) -> int:
        """Entries that have not expired, of a scope or of all. Looks through the whole store."""
        ...

    async def delete(self, collection: str, scope: str | None = None) -> int:
        """Remove a scope's entries, or the collection; how many there were. Looks through the whole store."""
        ...

    async def aclose(self) -> None:
        """Free connections and memory; it can be used again afterwards."""
        ...


def open_vectors(kv: KeyValue, *, qdrant_url: str | None = None, qdrant_key: str | None = None) -> VectorStore:
    """In Qdrant if its address is given, else in the key-value store. Nothing is connected yet."""
    if qdrant_url:
        from workbench.stores.vectors_qdrant import QdrantVectors

        return QdrantVectors(qdrant_url, qdrant_key)
    from workbench.stores.vectors_valkey import ValkeyVectors

    return ValkeyVectors(kv)


def check_key(value: str) -> str:
    """`value` if both stores can take it as a key."""
    if not _KEY.fullmatch(value):
        raise InputError(f"key = {value!r:.80} must be 32 hex digits in lower case, such as uuid4().hex.")
    return value


def unit(vector: np.ndarray) -> np.ndarray:
    """The vector with length 1, float32, (d,). InputError for what has no direction."""
    import numpy as np

    given = np.asarray(vector, dtype=np.float32)
    length = float(np.linalg.norm(given)) if given.ndim == 1 and given.size else 0.0
    if not 0 < length < float("inf"):
        raise InputError(
            f"a vector of shape {given.shape} and length {length:g} has no direction: pass one row of numbers that are finite "
            "and not all 0."
        )
    return given / np.float32(length)
