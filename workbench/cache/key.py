"""The name of a request: SHA-256 over canonical JSON (RFC 8785) of everything that determines its answer.

`cache_key` is `digest(document(...))` for every request; the rest of this file only makes it quick. Text is written by orjson
where its bytes are those of RFC 8785 (a property test compares them), and a request that was seen lately is recognised by its
content without being written again.
"""

from __future__ import annotations

import hashlib
import marshal
from collections.abc import Mapping
from typing import Any

import orjson

from workbench.errors import InputError
from workbench.records import Message, ModelInfo, Params, Request, canonical_json, digest

__all__ = ["VERSION", "cache_key", "cacheable", "document", "endpoint_identity"]

VERSION = 1
"""Part of every key: raised when the meaning of a key changes, so that old entries are not found any more."""

_LARGEST_INTEGER = 2**53 - 1
_MEMORY = 8 << 20  # bytes


def cache_key(request: Request, *, identity: str, tenant: str | None, repeat: int = 0) -> str:
    """64 hex digits that are equal for requests whose answers are interchangeable, on every machine and in every process.

    identity: the endpoint and its model's digest (see `endpoint_identity`). tenant: who the answer belongs to, None to share it
    on purpose. repeat: the index of a wanted repetition. `request.timeout` is left out: it does not change the answer.
    Raises InputError for what has no canonical JSON (NaN, sets, objects): such a request cannot be cached.
    """
    if not identity:
        raise InputError(
            "identity is empty: two servers would share their answers. Pass endpoint_identity(kind, info, options)."
        )
    params = request.params
    content: Any = (
        identity, tenant, repeat, request.model, request.kind, request.prompt,
        [(m.role, m.content, m.parts, m.tool_calls, m.tool_call_id, m.extra) for m in request.messages],
        params.temperature, params.top_p, params.max_tokens, params.seed, params.stop, params.schema, params.tools,
        params.tool_choice, params.logprobs, params.think, params.extra,
    )  # fmt: skip
    try:
        mark = marshal.dumps(content)  # type-exact, and equal for equal content only; never read back
    except ValueError:
        mark = b""  # a type that JSON may still hold, such as a mapping of one's own
    known = _seen.get(mark)
    if known is not None:
        return known
    found = document(request, identity=identity, tenant=tenant, repeat=repeat)
    try:
        key = hashlib.sha256(orjson.dumps(_plain(found), option=orjson.OPT_SORT_KEYS)).hexdigest()
    except (_UnusualError, orjson.JSONEncodeError, RecursionError):
        return digest(_mappings_as_dicts(found))
    _seen.add(mark, key)
    return key


def document(request: Request, *, identity: str, tenant: str | None, repeat: int = 0) -> dict[str, Any]:
    """What a key is the digest of. What is not set, and so not sent, is left out. A number is a number: 0 and 0.0 are the same,
    and true is neither."""
    return {
        "version": VERSION, "tenant": tenant, "identity": identity, "repeat": repeat, "model": request.model,
        "kind": request.kind, "prompt": request.prompt, "messages": [_message(message) for message in request.messages],
        "params": _params(request.params),
    }  # fmt: skip


def endpoint_identity(kind: str, info: ModelInfo, options: Mapping[str, Any] | None = None) -> str:
    """What tells this endpoint's model from every other: the kind of its server and the digest of its weights, or, where the
    server gives no digest, which server it is; and the endpoint's own options, such as num_ctx. Never a replica.
    Raises InputError if neither digest nor server is known."""
    known = info.digest or info.origin
    if not known:
        raise InputError(
            f"{info.model}: neither the model's digest nor its server is known, so its answers cannot be told from others'. "
            "Ask Client.describe for the ModelInfo."
        )
    return digest([kind, info.model, known, info.base, _mappings_as_dicts(options or {})])


def cacheable(request: Request) -> bool:
    """Whether the request asks for the same answer each time: temperature 0 is given, or a seed. A missing temperature is the
    server's default, which is not 0. Also heeds `params.extra` (and Ollama's `options` in it), which is sent over the others."""
    temperature, seed = request.params.temperature, request.params.seed
    extra = request.params.extra
    options = extra.get("options")
    for over in (extra, options if isinstance(options, Mapping) else {}):
        temperature, seed = over.get("temperature", temperature), over.get("seed", seed)
    return seed is not None or (temperature == 0 and not isinstance(temperature, bool))


def _message(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.parts:
        found["parts"] = message.parts
    if message.tool_calls:
        found["tool_calls"] = message.tool_calls
    if message.tool_call_id is not None:
        found["tool_call_id"] = message.tool_call_id
    if message.extra:
        found["extra"] = message.extra
    return found


def _params(params: Params) -> dict[str, Any]:
    found = {
        "temperature": params.temperature, "top_p": params.top_p, "max_tokens": params.max_tokens, "seed": params.seed,
        "schema": params.schema, "tool_choice": params.tool_choice, "logprobs": params.logprobs, "think": params.think,
        "stop": params.stop or None, "tools": params.tools or None, "extra": params.extra or None,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


class _UnusualError(Exception):
    """Not for the quick way."""


def _plain(value: Any) -> Any:
    """The value such that orjson writes it as RFC 8785 says; raises _UnusualError for what the quick way does not know."""
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return value
    if kind is int:
        if -_LARGEST_INTEGER <= value <= _LARGEST_INTEGER:
            return value
    elif kind is float:
        return orjson.Fragment(canonical_json(value))
    elif kind is list or kind is tuple:
        return [_plain(item) for item in value]
    # orjson sorts by code point, RFC 8785 by UTF-16 unit: the same for ASCII
    elif kind is dict and all(type(name) is str and name.isascii() for name in value):
        return {name: _plain(item) for name, item in value.items()}
    raise _UnusualError


def _mappings_as_dicts(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _mappings_as_dicts(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mappings_as_dicts(item) for item in value]
    return value


class _Seen:
    """Keys by the content of the request, forgotten all at once when they take too much memory. Holds only requests of plain
    types, so that a mark is never that of something else which happens to have the same bytes."""

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._left = memory
        self._keys: dict[bytes, str] = {}
        self.get = self._keys.get

    def add(self, mark: bytes, key: str) -> None:
        if not mark:
            return
        self._left -= len(mark) + 200
        if self._left < 0:
            self._keys.clear()
            self._left = self._memory - len(mark) - 200
        if self._left > 0:
            self._keys[mark] = key


_seen = _Seen(_MEMORY)
