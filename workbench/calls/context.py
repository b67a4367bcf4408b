"""What an answer should rest on, as far as its inputs tell; and which answer is being scored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["context_of", "scored_now", "scoring"]

_scored: ContextVar[str | None] = ContextVar("workbench_scored", default=None)

_NAMES = ("context", "documents", "passages", "sources")


def context_of(values: Mapping[str, Any]) -> str | None:
    """The value of context, documents, passages or sources; a list's texts are apart by an empty line. None without one."""
    for name in _NAMES:
        value = values.get(name)
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, (list, tuple)) and value and all(isinstance(item, str) for item in value):
            return "\n\n".join(value)
    return None


@contextmanager
def scoring(example_id: str) -> Iterator[None]:
    """Calls that are made inside, as a judge's, say that they are about this example, or this logged call: they hold its text."""
    token = _scored.set(example_id)
    try:
        yield
    finally:
        _scored.reset(token)


def scored_now() -> dict[str, str]:
    """`example_id` for the row of a call that a scorer makes, else nothing."""
    scored = _scored.get()
    return {} if scored is None else {"example_id": scored}
