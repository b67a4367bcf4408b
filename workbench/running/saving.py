"""Files that are written whole or not at all, and texts that can be written."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from workbench.errors import RunError

__all__ = ["sound", "write_json", "write_whole"]

_HALF = re.compile("[\ud800-\udfff]")


def write_json(target: Path, value: Any, *, indent: bool = True) -> Path:
    """Write `value` to `target`, which is replaced in one step. Raises RunError if it cannot be written."""
    data = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | (orjson.OPT_INDENT_2 if indent else 0))
    try:
        return write_whole(target, data)
    except OSError as error:
        raise RunError(
            f"{target} cannot be written: {error}. All rows are kept; free some space or choose another."
        ) from None


def write_whole(target: Path, data: bytes, *, synced: bool = False) -> Path:
    """Write `data` to `target`, which is replaced in one step. synced: not before it is on the disk, so that a power cut leaves
    the one or the other. Raises OSError."""
    temporary = target.with_name(f".{target.name}-{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            if synced:
                file.flush()
                os.fsync(file.fileno())
        return temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def sound(value: Any, instead: str = "\ufffd") -> Any:
    """The same with `instead` for each half of a surrogate pair, as a text that was cut holds one: it is no UTF-8, nor JSON."""
    if isinstance(value, str):
        return _HALF.sub(instead, value)
    if isinstance(value, Mapping):
        return {sound(key, instead): sound(item, instead) for key, item in value.items()}
    return [sound(item, instead) for item in value] if isinstance(value, (list, tuple)) else value
