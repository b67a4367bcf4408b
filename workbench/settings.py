"""Settings: the environment, then `.env`, then `workbench.toml`, in that order of strength, in one typed object.

`load_settings()` reads them once and keeps for each value which setting chose it, so that `workbench doctor` can say so.
The project is the nearest folder upwards that holds a `workbench.toml`, else the current one. State lives in
`.workbench/` (WORKBENCH_HOME); prompts and data sets live in the project.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from workbench.addresses import http_address, masked, store_address
from workbench.errors import SettingsError

__all__ = ["DEFAULT_MODEL", "Endpoint", "Secret", "Settings", "load_settings"]

DEFAULT_MODEL = "embedded/smollm2-135m"
_FILE = "workbench.toml"
_KINDS = ("embedded", "llama-server", "ollama", "openai", "openai-compatible", "scripted", "tgi", "vllm")


class Secret:
    """A text that does not show itself: repr, str, format and logs print `****`; `reveal()` gives it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret(****)" if self._value else "Secret(empty)"

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not serialised: pass the name of the setting that holds it instead.")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A place that serves models. `urls`: base addresses, several are replicas. `key_setting`: the name of the variable
    that holds (or would hold) the key. `configured`: chosen by the user rather than a default. `by`: the setting.

    concurrency: calls at once, None to find out. requests_per_minute, tokens_per_minute: budgets, None without one."""

    name: str
    kind: str
    urls: tuple[str, ...] = ()
    key: Secret | None = None
    key_setting: str = ""
    concurrency: int | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    configured: bool = False
    by: str = "default"


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. `sources` maps a field to the setting that chose it, such as "WORKBENCH_HOME (environment)".
    author: empty if nobody set it. cache: whether equal requests may share an answer. semantic_cache: off, shadow or on, for
    prompts that declare what they compare by meaning. embedder: the model that makes its vectors. cache_url, releases_url: the
    key-value stores, None for the embedded one. qdrant_url: where vectors are kept, None for the caches' store."""

    project: Path
    home: Path
    prompts: Path
    datasets: Path
    notebooks: Path
    reports: Path
    weights: Path
    model: str
    author: str
    endpoints: Mapping[str, Endpoint]
    sources: Mapping[str, str]
    file: Path | None = None
    cache: bool = True
    semantic_cache: str = "off"
    embedder: str = "embedded/minilm-l6"
    cache_url: Secret | None = None
    releases_url: Secret | None = None
    qdrant_url: str | None = None
    qdrant_key: Secret | None = None

    @property
    def calls(self) -> Path:
        """Where the call log's segments are."""
        return self.home / "calls"

    @property
    def runs(self) -> Path:
        """Where comparisons keep their rows."""
        return self.home / "runs"

    @property
    def loadtests(self) -> Path:
        """Where load tests keep theirs."""
        return self.home / "loadtests"

    @property
    def servers(self) -> Path:
        """Where servers that are started here keep their logs and keys."""
        return self.home / "servers"

    def make_home(self) -> None:
        """Make the home, if it is not there, such that git ignores it; a folder that the user made is left as it is."""
        try:
            self.home.mkdir(parents=True)
            (self.home / ".gitignore").write_text("*\n", "utf-8")
        except OSError:
            pass  # there already, or not writable: whoever writes into it says so

    def endpoint(self, name: str) -> Endpoint:
        """The endpoint of that name; SettingsError lists the known ones."""
        found = self.endpoints.get(name)
        if found is None:
            near = difflib.get_close_matches(name, self.endpoints, 1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            raise SettingsError(
                f"there is no endpoint {name!r}.{meant} Known: {', '.join(sorted(self.endpoints))}. "
                f"Add your own to {_FILE}: [endpoints.{name}] with kind and urls."
            )
        return found


class _Layers:
    """Looks a name up in the environment, then `.env`, and says where it was."""

    def __init__(self, environ: Mapping[str, str], dotenv: Mapping[str, str | None]) -> None:
        self._layers = (("environment", environ), (".env", dotenv))

    def get(self, *names: str) -> tuple[str, str] | None:
        """(value, "NAME (environment)") of the first name that is set and not empty."""
        for name in names:
            for where, values in self._layers:
                value = values.get(name)
                if value:
                    return value, f"{name} ({where})"
        return None


def load_settings(project: Path | str | None = None, *, environ: Mapping[str, str] | None = None) -> Settings:
    """Read all settings. Raises SettingsError that names file, setting, value and fix.

    project: the folder to work in; by default the nearest folder upwards with a workbench.toml, else the current one.
    """
    environ = os.environ if environ is None else environ
    start = Path(project) if project is not None else Path(environ.get("WORKBENCH_PROJECT") or Path.cwd())
    if not start.is_dir():
        raise SettingsError(f"the project folder {str(start)!r} does not exist. Create it, or pass another.")
    start = start.resolve()
    root = start if project is not None else next((p for p in (start, *start.parents) if (p / _FILE).is_file()), start)
    file, table = _read_toml(root / _FILE)
    layers = _Layers(environ, _read_dotenv(root / ".env"))
    sources: dict[str, str] = {}

    def path(name: str, default: Path) -> Path:
        found = layers.get(f"WORKBENCH_{name.upper()}")
        if found:
            sources[name] = found[1]
            value = found[0]
        elif name in table:
            sources[name] = f"{name} ({_FILE})"
            value = table[name]
            if not isinstance(value, str) or not value:
                raise SettingsError(f"{_FILE}: {name} = {value!r} must be a folder's path as text.")
        else:
            sources[name] = "default"
            return default
        chosen = Path(value).expanduser()
        return chosen if chosen.is_absolute() else (root / chosen).resolve()

    def text(name: str, default: str) -> str:
        found = layers.get(f"WORKBENCH_{name.upper()}")
        if found:
            sources[name] = found[1]
            return found[0]
        if name in table:
            sources[name] = f"{name} ({_FILE})"
            if not isinstance(table[name], str):
                raise SettingsError(f"{_FILE}: {name} = {table[name]!r} must be text.")
            return str(table[name])
        sources[name] = "default"
        return default

    def address(name: str) -> str | None:
        """A setting that has no prefix in the environment, such as REDIS_URL; an address in the file holds no password."""
        found = layers.get(name.upper())
        if found:
            sources[name] = found[1]
            return found[0]
        if name not in table:
            sources[name] = "default"
            return None
        sources[name] = f"{name} ({_FILE})"
        value = table[name]
        if not isinstance(value, str) or not value:
            raise SettingsError(f"{_FILE}: {name} = {value!r} must be an address as text.")
        if masked(value) != value.partition("?")[0] or "password=" in value:
            raise SettingsError(
                f"{_FILE}: {name} = {masked(value)!r} holds a user or password: set {name.upper()} in the environment or .env."
            )
        return value

    def store(name: str) -> Secret | None:
        """An address of a key-value store; REDIS_URL where it has none of its own."""
        value = address(name)
        if value is None:
            value, sources[name] = redis_url, sources["redis_url"]
        return None if value is None else Secret(store_address(value, sources[name]))

    redis_url, qdrant_url, qdrant_key = address("redis_url"), address("qdrant_url"), layers.get("QDRANT_API_KEY")
    cache = text("cache", "on")
    if cache not in ("on", "off"):
        raise SettingsError(f"{sources['cache']}: cache = {cache!r} must be on or off.")
    semantic = text("semantic_cache", "off")
    if semantic not in ("off", "shadow", "on"):
        raise SettingsError(f"{sources['semantic_cache']}: semantic_cache = {semantic!r} must be off, shadow or on.")
    return Settings(
        project=root,
        home=path("home", root / ".workbench"),
        prompts=path("prompts", root / "prompts"),
        datasets=path("datasets", root / "datasets"),
        notebooks=path("notebooks", root / "notebooks"),
        reports=path("reports", root / "reports"),
        weights=path("weights", _cache_folder() / "weights"),
        model=text("model", DEFAULT_MODEL),
        author=text("author", ""),
        endpoints=MappingProxyType(_endpoints(table.get("endpoints", {}), layers)),
        sources=MappingProxyType(sources),
        file=file,
        cache=cache == "on",
        semantic_cache=semantic,
        embedder=text("embedder", "embedded/minilm-l6"),
        cache_url=store("cache_url"),
        releases_url=store("releases_url"),
        qdrant_url=None if qdrant_url is None else http_address(qdrant_url, sources["qdrant_url"]),
        qdrant_key=Secret(qdrant_key[0]) if qdrant_key else None,
    )


_FIELDS = (
    "home", "prompts", "datasets", "notebooks", "reports", "weights", "model", "author", "endpoints", "cache", "semantic_cache",
    "embedder", "redis_url", "cache_url", "releases_url", "qdrant_url",
)  # fmt: skip
_ENDPOINT_FIELDS = (
    "kind", "url", "urls", "key_env", "concurrency", "requests_per_minute", "tokens_per_minute", "options",
)  # fmt: skip

# name -> (kind, default url, variables that set the url, variable that holds the key)
_BUILT_IN: dict[str, tuple[str, str, tuple[str, ...], str]] = {
    "embedded": ("embedded", "", (), ""),
    "scripted": ("scripted", "", (), ""),
    "ollama": ("ollama", "http://127.0.0.1:11434", ("OLLAMA_HOST",), "OLLAMA_API_KEY"),
    "vllm": ("vllm", "http://127.0.0.1:8000", ("VLLM_BASE_URL",), "VLLM_API_KEY"),
    "tgi": ("tgi", "http://127.0.0.1:8080", ("TGI_BASE_URL",), "TGI_API_KEY"),
    "openai": ("openai", "https://api.openai.com/v1", ("OPENAI_BASE_URL",), "OPENAI_API_KEY"),
}


def _endpoints(table: Any, layers: _Layers) -> dict[str, Endpoint]:
    if not isinstance(table, dict):
        raise SettingsError(f"{_FILE}: endpoints must be tables such as [endpoints.gpu-a].")
    found: dict[str, Endpoint] = {}
    for name, (kind, url, url_names, key_name) in _BUILT_IN.items():
        own = table.get(name)
        chosen = layers.get(*url_names) if url_names else None
        key = layers.get(key_name) if key_name else None
        by = chosen[1] if chosen else key[1] if key and kind == "openai" else "default"
        urls = (
            tuple(http_address(part, by, kind) for part in chosen[0].split(",")) if chosen else ((url,) if url else ())
        )
        built = Endpoint(name, kind, urls, Secret(key[0]) if key else None, key_name, configured=by != "default", by=by)
        found[name] = _endpoint(name, own, layers, built) if own is not None else built
    for name, own in table.items():
        if name not in _BUILT_IN:
            found[name] = _endpoint(name, own, layers, None)
    return found


def _endpoint(name: str, table: Any, layers: _Layers, base: Endpoint | None) -> Endpoint:
    where = f"{_FILE}: [endpoints.{name}]"
    if not isinstance(table, dict) or "/" in name:
        raise SettingsError(f"{where} must be a table, and its name must hold no '/'.")
    _no_unknown(table, _ENDPOINT_FIELDS, where)
    kind = table.get("kind", base.kind if base else None)
    if kind not in _KINDS:
        raise SettingsError(f"{where}: kind = {kind!r} must be one of {', '.join(_KINDS)}.")
    urls = table.get("urls", [table["url"]] if "url" in table else None)
    if urls is not None and (not isinstance(urls, list) or not all(isinstance(item, str) and item for item in urls)):
        if "urls" in table:
            raise SettingsError(f"{where}: urls = {urls!r} must be a list of addresses such as ['http://gpu-a:8000'].")
        raise SettingsError(
            f"{where}: url = {table['url']!r} must be one address such as 'http://gpu-a:8000'; urls takes a list of them."
        )
    if not urls and not (base and base.urls) and kind not in ("embedded", "scripted"):
        raise SettingsError(f"{where}: urls is missing: say where the server is, such as urls = ['http://gpu-a:8000'].")
    concurrency = table.get("concurrency")
    if concurrency is not None and (
        not isinstance(concurrency, int) or isinstance(concurrency, bool) or concurrency < 1
    ):
        raise SettingsError(f"{where}: concurrency = {concurrency!r} must be a whole number from 1.")
    budgets = {}
    for field_name in ("requests_per_minute", "tokens_per_minute"):
        budget = budgets[field_name] = table.get(field_name)
        if budget is not None and (isinstance(budget, bool) or not isinstance(budget, (int, float)) or not budget > 0):
            raise SettingsError(f"{where}: {field_name} = {budget!r} must be a number above 0.")
    options = table.get("options", {})
    if not isinstance(options, dict):
        raise SettingsError(f"{where}: options = {options!r} must be a table.")
    key_name = table.get("key_env", base.key_setting if base else "")
    if not isinstance(key_name, str):
        raise SettingsError(f"{where}: key_env = {key_name!r} must be the name of the variable that holds the key.")
    key = layers.get(key_name) if key_name else None
    # the environment is stronger than the file, also for the address
    stronger = base if base and base.configured and base.by.endswith(("(environment)", "(.env)")) else None
    if stronger and stronger.urls and not stronger.by.startswith(stronger.key_setting):
        addresses, by = stronger.urls, stronger.by
    else:
        by = f"endpoints.{name} ({_FILE})"
        addresses = tuple(http_address(item, by, kind) for item in urls) if urls else (base.urls if base else ())
    return Endpoint(
        name, kind, addresses, Secret(key[0]) if key else None, key_name, concurrency, options=options, configured=True, by=by,
        **budgets,
    )  # fmt: skip


def _read_toml(path: Path) -> tuple[Path | None, dict[str, Any]]:
    if not path.is_file():
        return None, {}
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: this is not valid TOML: {error}.") from None
    _no_unknown(table, _FIELDS, str(path))
    return path, table


def _read_dotenv(path: Path) -> Mapping[str, str | None]:
    if not path.is_file():
        return {}
    from dotenv import dotenv_values

    return dotenv_values(path, interpolate=False)


def _no_unknown(table: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for name in table:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            raise SettingsError(f"{where}: unknown setting {name!r}.{meant} Known: {', '.join(known)}.")


def _cache_folder() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("llm-workbench")
