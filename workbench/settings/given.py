"""What the user gave: looked up in the environment, then `.env`, then `workbench.toml`, and checked."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.addresses import masked, store_address
from workbench.errors import InputError, SettingsError, did_you_mean
from workbench.settings.secret import Secret
from workbench.settings.settings import FILE
from workbench.zones import time_zone

__all__ = ["Given", "check_fields"]

_FIELDS = (
    "home", "prompts", "datasets", "notebooks", "reports", "weights", "model", "author", "timezone", "endpoints", "cache",
    "cache_days", "cache_deadline_ms",
    "semantic_cache", "embedder", "calls", "calls_text", "calls_redact", "retention_days", "redis_url", "cache_url",
    "releases_url", "qdrant_url", "registry", "langfuse_url", "langfuse_public_key",
    "budgets",
)  # fmt: skip


class Given:
    """What was given for the project in `root`. `sources` maps each setting that was looked up to what chose it.

    All methods raise a SettingsError that names the setting, its value and what it must be.
    """

    def __init__(self, root: Path, environ: Mapping[str, str]) -> None:
        self.root = root
        self.sources: dict[str, str] = {}
        self.table = _read_toml(root / FILE)
        self._layers = (("environment", environ), (".env", _read_dotenv(root / ".env")))

    def variable(self, *names: str) -> tuple[str, str] | None:
        """(value, "NAME (environment)") of the first variable that is set and not empty."""
        for name in names:
            for where, values in self._layers:
                value = values.get(name)
                if value:
                    return value, f"{name} ({where})"
        return None

    def value(self, name: str, *variables: str) -> Any:
        """What was given for a setting, of any type; None if nothing. variables: by default WORKBENCH_NAME."""
        found = self.variable(*(variables or (f"WORKBENCH_{name.upper()}",)))
        if found is None and name in self.table:
            found = self.table[name], f"{name} ({FILE})"
        value, self.sources[name] = found or (None, "default")
        return value

    def text(self, name: str, default: str = "") -> str:
        """A text."""
        value = self.value(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise SettingsError(f"{FILE}: {name} = {value!r} must be text.")
        return value

    def choice(self, name: str, *known: str) -> str:
        """One of these; the first by default."""
        value = self.text(name, known[0])
        if value not in known:
            raise self.wrong(name, value, f"{', '.join(known[:-1])} or {known[-1]}")
        return value

    def path(self, name: str, default: Path) -> Path:
        """A folder."""
        value = self.value(name)
        if value is None:
            return default
        if not isinstance(value, str) or not value:
            raise SettingsError(f"{FILE}: {name} = {value!r} must be a folder's path as text.")
        return self.within(value)

    def within(self, text: str) -> Path:
        """The path that a text means in the project."""
        path = Path(text).expanduser()
        return path if path.is_absolute() else (self.root / path).resolve()

    def address(self, name: str, *variables: str) -> str | None:
        """An address, whose variable has no prefix (REDIS_URL); one in the file holds no password."""
        value = self.value(name, *(variables or (name.upper(),)))
        if value is None or not self.sources[name].endswith(f"({FILE})"):
            return value  # type: ignore[no-any-return]
        if not isinstance(value, str) or not value:
            raise SettingsError(f"{FILE}: {name} = {value!r} must be an address as text.")
        if masked(value) != value.partition("?")[0] or "password=" in value:
            raise SettingsError(
                f"{FILE}: {name} = {masked(value)!r} holds a user or password: set {name.upper()} in the environment or .env."
            )
        return value

    def store(self, name: str, otherwise: str | None = None) -> Secret | None:
        """The address of a key-value store; that of the setting `otherwise`, read before, where it has none of its own."""
        value = self.address(name)
        if value is None and otherwise is not None:
            value = self.address(otherwise)
            self.sources[name] = self.sources[otherwise]
        return None if value is None else Secret(store_address(value, self.sources[name]))

    def secret(self, name: str, variable: str) -> Secret | None:
        """What only the environment or `.env` may hold."""
        found = self.variable(variable)
        value, self.sources[name] = found or ("", "default")
        return Secret(value) if value else None

    def zone(self, name: str, default: str) -> str:
        """A time zone's name."""
        value = self.text(name, default)
        try:
            time_zone(value)
        except InputError as error:
            raise SettingsError(f"{self.sources[name]}: {error}") from None
        return value

    def function(self, name: str) -> str:
        """MODULE:FUNCTION; empty if nothing was given."""
        value = self.text(name)
        if value and not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", value):
            raise self.wrong(name, value, "MODULE:FUNCTION, such as privacy:mask")
        return value

    def amount(self, name: str, unit: str, example: int) -> float | None:
        """A number of days or the like above 0; None if nothing was given."""
        value = self.value(name)
        if value is None:
            return None
        try:
            amount = 0.0 if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            amount = 0.0
        if not 0 < amount < 1e6:
            raise self.wrong(name, value, f"a number of {unit} above 0, such as {example}")
        return amount

    def wrong(self, name: str, value: Any, due: str) -> SettingsError:
        """The error for a setting that must be `due`."""
        return SettingsError(f"{self.sources[name]}: {name} = {value!r} must be {due}.")


def check_fields(table: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    """Raises SettingsError for a field of a table that nobody reads."""
    for name in table:
        if name not in known:
            meant = did_you_mean(name, known)
            raise SettingsError(f"{where}: unknown setting {name!r}.{meant} Known: {', '.join(known)}.")


def _read_toml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: this is not valid TOML: {error}.") from None
    if "langfuse_secret_key" in table:
        raise SettingsError(
            f"{path}: langfuse_secret_key would be in git: take it out, and set LANGFUSE_SECRET_KEY in the environment or .env."
        )
    check_fields(table, _FIELDS, str(path))
    return table


def _read_dotenv(path: Path) -> Mapping[str, str | None]:
    if not path.is_file():
        return {}
    from dotenv import dotenv_values

    return dotenv_values(path, interpolate=False)
