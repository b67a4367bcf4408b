"""From what is typed into a playground's form to values, and back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from workbench.errors import InputError
from workbench.records import Example

__all__ = ["NUMBERS", "Picked", "Source", "as_typed", "read_value", "same_as"]

NUMBERS: dict[str, type] = {"temperature": float, "top_p": float, "max_tokens": int, "seed": int}
"""The params that are numbers; of all others the history keeps what the setting calls_text allows."""


@dataclass(frozen=True, slots=True)
class Picked:
    """An example that fills the form. at: its position, from 0."""

    dataset: str
    at: int
    example: Example


@dataclass(frozen=True, slots=True)
class Source:
    """Where the values came from, so that a purge finds what was made of them. example: (data set, id). user, tenant, call_id: of
    the call that the example was made from."""

    example: tuple[str, str] | None = None
    user: str | None = None
    tenant: str | None = None
    call_id: str | None = None

    @classmethod
    def of(cls, picked: Picked) -> Source:
        """Of an example."""
        example, about = picked.example, picked.example.metadata
        return cls((picked.dataset, example.id), *(_named(about.get(name)) for name in ("user", "tenant", "call_id")))


def _named(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def as_typed(value: Any) -> str:
    """A value as a field shows it: text as it is, all else as JSON, which is how a prompt renders it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def same_as(picked: Picked | None, name: str, typed: str) -> Any:
    """The example's own value (a number stays one) where the field still shows it, else the text."""
    if picked is not None and name in picked.example.inputs and as_typed(picked.example.inputs[name]) == typed:
        return picked.example.inputs[name]
    return typed


def read_value(name: str, typed: str, messages: bool) -> Any:
    """A variable's value. messages: of a placeholder, which takes a list of them as JSON; empty is none. Raises InputError."""
    if not messages:
        return typed
    if not typed.strip():
        return []
    try:
        return json.loads(typed)
    except ValueError as error:
        raise InputError(
            f'{name} is a placeholder: write messages such as [{{"role": "user", "content": "Hello"}}], or nothing: {error}.'
        ) from None
