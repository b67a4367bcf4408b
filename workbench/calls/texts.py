"""What people and models wrote, before any of it is on disk: redacted by a function of the user's; kept, hashed or dropped."""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from workbench.calls.rows import TABLES, Row, Span
from workbench.errors import InputError

__all__ = ["MODES", "Texts", "each_text", "load_function"]

MODES = ("keep", "hash", "drop")

_Row = TypeVar("_Row", bound=Row)
_OURS = ("gen_ai.operation.name", "gen_ai.conversation.id")
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class Texts:
    """Applied to every row of the log, before it is written or exported. mode: keep, hash (SHA-256, so that equal texts can still
    be counted) or drop. redact: MODULE:FUNCTION, text -> text, "" for none; it is looked for in `project` too.

    A function that fails, or cannot be imported, costs the row its texts, never the call: `fault` says why, until it works again.
    """

    def __init__(self, mode: str = "keep", redact: str = "", project: Path | None = None) -> None:
        if mode not in MODES:
            raise InputError(f"calls_text = {mode!r} must be keep, hash or drop.")
        self.mode, self.redact = mode, redact
        self.fault = ""
        self._project = project
        self._function: Callable[[str], Any] | None = None

    @property
    def untouched(self) -> bool:
        """Whether rows go through as they are."""
        return self.mode == "keep" and not self.redact

    def of(self, row: _Row) -> _Row:
        """The row as it may be written."""
        if self.untouched:
            return row
        if self.mode == "drop":
            return _bare(row)
        names = TABLES[type(row)].texts
        try:
            changed = {name: each_text(getattr(row, name), self._written) for name in names}
        except Exception as error:  # noqa: BLE001  (whatever a function of the user's raises)
            self.fault = str(error) if isinstance(error, InputError) else f"{self.redact}: {type(error).__name__}"
            return _bare(row)
        if self.redact:
            self.fault = ""
        if isinstance(row, Span):
            changed["attributes"] = changed["attributes"] | _plain(row)["attributes"]
        return replace(row, **changed)

    def text(self, text: str) -> str | None:
        """One text beside the log, such as a playground's, as it may be written; None where nothing of it may be."""
        if self.mode == "drop":
            return None
        try:
            return self._written(text)
        except Exception as error:  # noqa: BLE001  as in `of`
            self.fault = str(error) if isinstance(error, InputError) else f"{self.redact}: {type(error).__name__}"
            return None

    def check(self) -> None:
        """Import the function, and try it. Raises InputError."""
        if self.redact and self.mode != "drop":
            try:
                self._redacted("a text")
            except InputError:
                raise
            except Exception as error:
                raise InputError(f"{self.redact}('a text') raises {type(error).__name__}: {error}.") from error

    def _written(self, text: str) -> str:
        found = self._redacted(text) if self.redact else text
        if self.mode == "keep" or not found:
            return found
        return f"sha256:{hashlib.sha256(found.encode('utf-8', 'replace')).hexdigest()}"

    def _redacted(self, text: str) -> str:
        if self._function is None:
            self._function = load_function(self.redact, self._project)
        found = self._function(text)
        if not isinstance(found, str):
            raise InputError(f"{self.redact} gave {type(found).__name__}: it takes a text, and must return one.")
        return found


def load_function(name: str, project: Path | None) -> Callable[[str], Any]:
    """The function of MODULE:FUNCTION. Raises InputError."""
    if not _FUNCTION.fullmatch(name):
        raise InputError(f"calls_redact = {name!r} must be MODULE:FUNCTION, such as privacy:mask.")
    module_name, _, function = name.partition(":")
    if project is not None and str(project) not in sys.path:
        sys.path.append(str(project))
        importlib.invalidate_caches()
    try:
        found = getattr(importlib.import_module(module_name), function, None)
    except Exception as error:
        raise InputError(
            f"calls_redact = {name!r}: {module_name} cannot be imported: {type(error).__name__}: {error}."
        ) from error
    if not callable(found):
        raise InputError(f"calls_redact = {name!r}: {module_name} has no function {function!r}.")
    made: Callable[[str], Any] = found
    return made


def each_text(value: Any, change: Callable[[str], str]) -> Any:
    """Every text in it changed; names of fields stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: each_text(item, change) for key, item in value.items()}
    return [each_text(item, change) for item in value] if isinstance(value, (list, tuple)) else value


def _bare(row: _Row) -> _Row:
    return replace(row, **_nothing(type(row)) | _plain(row))


def _plain(row: Row) -> dict[str, Any]:
    """A span's attributes that are ours, and none of its author's."""
    if not isinstance(row, Span):
        return {}
    return {"attributes": {name: row.attributes[name] for name in _OURS if name in row.attributes}}


def _nothing(kind: type[Any]) -> dict[str, Any]:
    """A row's texts as they are where there are none."""
    empty: dict[str, Any] = {}
    for item in fields(kind):
        if item.name in TABLES[kind].texts:
            empty[item.name] = item.default if item.default_factory is MISSING else item.default_factory()
    return empty
