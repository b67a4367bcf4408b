"""Results as JSON files, written whole or not at all."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import orjson

from workbench.errors import RunError

__all__ = ["write_json"]


def write_json(target: Path, value: Any, *, indent: bool = True) -> Path:
    """Write `value` to `target`, which is replaced in one step. Raises RunError if it cannot be written."""
    temporary = target.with_name(f".{target.name}-{secrets.token_hex(4)}")
    try:
        temporary.write_bytes(
            orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | (orjson.OPT_INDENT_2 if indent else 0))
        )
        temporary.replace(target)
    except OSError as error:
        raise RunError(
            f"{target} cannot be written: {error}. All rows are kept; free some space or choose another."
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
    return target
