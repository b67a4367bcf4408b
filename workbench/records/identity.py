"""How content and names are told apart: canonical JSON and its digest; names that are safe as file names; `endpoint/model`."""

from __future__ import annotations

import hashlib
import re

import rfc8785

from workbench.errors import InputError

__all__ = ["canonical_json", "check_name", "digest", "split_model"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def canonical_json(value: object) -> bytes:
    """Canonical JSON (RFC 8785): equal content gives equal bytes on every machine.

    Raises InputError for what JSON cannot hold (NaN, sets, objects, integers beyond 2**53).
    """
    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]
    except (rfc8785.CanonicalizationError, TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"this value has no canonical JSON, so it cannot be identified: {error}. "
            "Use only text, numbers, true/false, None, lists and dicts with text keys."
        ) from None


def digest(value: object) -> str:
    """SHA-256, 64 hex digits, of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def check_name(name: str, what: str) -> str:
    """`name` if it is safe as a file name: letters, digits, `_`, `-`, `.`, at most 100, no leading `.` or `-`."""
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise InputError(
            f"{what} {name!r} is not usable as a name: use letters, digits, '_', '-' and '.', "
            "begin with a letter or digit, at most 100 characters."
        )
    return name


def split_model(model: str) -> tuple[str, str]:
    """`endpoint/model` -> (endpoint, model); the model's own name may hold slashes."""
    endpoint, slash, name = model.partition("/")
    if not (slash and endpoint and name):
        raise InputError(
            f"model {model!r} does not name an endpoint: write ENDPOINT/MODEL, "
            "such as embedded/smollm2-135m, ollama/llama3.2:3b or openai/gpt-4o-mini."
        )
    return endpoint, name
