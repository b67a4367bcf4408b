"""How an answer is written for the store: JSON, compressed if it is long, with a version and a checksum in front.

    version (1 byte) | 0 plain or 1 zlib (1 byte) | CRC-32 of the JSON (4 bytes) | the JSON

Whatever would not come back equal is refused when it is written, and whatever is damaged when it is read.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace
from typing import Any

import orjson

from workbench.records import Completion, Timing, Usage

__all__ = ["VERSION", "CorruptError", "Entry", "UnfitError", "decode", "encode"]

VERSION = 1
"""Also part of the store's keys, so that versions never meet."""

_HEAD = struct.Struct(">BBI")
_COMPRESSED_FROM = 2048  # bytes; what is shorter costs more time than it saves room


class CorruptError(ValueError):
    """These bytes are no entry, or not any more."""


class UnfitError(ValueError):
    """This answer cannot be written such that it comes back equal, or is too large; the message says which."""


@dataclass(slots=True)
class Entry:
    """One stored answer. cost: dollars that it cost when it was made, None if unknown. expires_at: Unix seconds.
    size: bytes in memory, about."""

    expires_at: float
    cost: float | None
    seconds: float
    size: int
    _completion: Completion
    _json: bytes | None

    @property
    def completion(self) -> Completion:
        """The answer, with source "exact". Nobody can change it for others: what holds dicts is made anew each time."""
        return self._completion if self._json is None else _completion(orjson.loads(self._json)["completion"])


def encode(completion: Completion, *, expires_at: float, cost: float | None, largest: int) -> tuple[bytes, Entry]:
    """The bytes, and the entry as `decode` would read it from them. Raises UnfitError; `largest`: bytes of JSON."""
    try:
        json = orjson.dumps({"expires_at": expires_at, "cost": cost, "completion": completion})
        entry = _entry(json)
    except (TypeError, ValueError) as error:
        raise UnfitError(f"it has no JSON: {error}") from None
    if len(json) > largest:
        raise UnfitError(f"{len(json):,} bytes are more than {largest:,}")
    if replace(entry.completion, source=completion.source) != completion:
        raise UnfitError("it would not come back equal")
    packed = zlib.compress(json, 1) if len(json) >= _COMPRESSED_FROM else json
    body, form = (packed, 1) if len(packed) < len(json) else (json, 0)
    return _HEAD.pack(VERSION, form, zlib.crc32(json)) + body, entry


def decode(data: bytes, *, largest: int) -> Entry:
    """Read an entry back. Raises CorruptError, also for what would unfold to more than `largest` bytes."""
    try:
        version, form, checksum = _HEAD.unpack_from(data)
        json = data[_HEAD.size :]
        if form == 1:
            unpacker = zlib.decompressobj()
            json = unpacker.decompress(json, largest)
            if not unpacker.eof:
                raise CorruptError("it is longer than it may be, or cut off")
        if version != VERSION or form > 1 or zlib.crc32(json) != checksum:
            raise CorruptError("version or checksum do not fit")
        return _entry(json)
    except (struct.error, zlib.error, TypeError, KeyError, ValueError) as error:
        raise CorruptError(str(error)) from None


def _entry(json: bytes) -> Entry:
    found = orjson.loads(json)
    completion = _completion(found["completion"])
    changeable = bool(completion.tool_calls or completion.logprobs)
    size = len(json) * (4 if changeable else 2) + 1000
    return Entry(
        found["expires_at"], found["cost"], completion.timing.total, size, completion, json if changeable else None
    )


def _completion(fields: dict[str, Any]) -> Completion:
    fields["usage"] = Usage(**fields["usage"])
    fields["timing"] = Timing(**fields["timing"])
    fields["tool_calls"] = tuple(fields["tool_calls"])
    fields["logprobs"] = tuple(fields["logprobs"])
    fields["source"] = "exact"
    return Completion(**fields)
