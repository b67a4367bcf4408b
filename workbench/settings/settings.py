"""What was chosen: all settings in one typed object, and the endpoints among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.budgets import Budget
from workbench.errors import SettingsError, did_you_mean
from workbench.settings.secret import Secret

__all__ = ["DEFAULT_MODEL", "FILE", "LANGFUSE", "Endpoint", "Settings"]

DEFAULT_MODEL = "embedded/smollm2-135m"
LANGFUSE = "https://cloud.langfuse.com"
FILE = "workbench.toml"


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
    author: empty if nobody set it. timezone: whose days dashboards show. cache: whether equal requests may share an answer.
    cache_days: how long it keeps an answer. cache_deadline_ms: how long a look-up in its store may take, then the model is asked.
    semantic_cache: off, shadow or on, for prompts that declare what they compare by meaning. embedder: the model that makes its
    vectors. redis_url: the ledger of runs past one machine; cache_url, releases_url: the key-value stores, None for the embedded
    one. qdrant_url: where vectors are kept, None for the caches' store. calls_folder, calls_url: where the call log is kept, if
    not in the home; a URL is fsspec's. calls_text: keep, hash or drop what people and models wrote; calls_redact: MODULE:FUNCTION
    that it goes through first, empty for none. retention_days: how old rows of the log get, None for ever.
    registry: files or langfuse, where prompts are read from. langfuse_…: in use if both keys are there.
    budgets: dollars that may be spent; what is above is told, not refused."""

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
    timezone: str = "UTC"
    cache: bool = True
    cache_days: float = 7.0
    cache_deadline_ms: float = 25.0
    semantic_cache: str = "off"
    embedder: str = "embedded/minilm-l6"
    redis_url: Secret | None = None
    cache_url: Secret | None = None
    releases_url: Secret | None = None
    qdrant_url: str | None = None
    qdrant_key: Secret | None = None
    calls_folder: Path | None = None
    calls_url: str | None = None
    calls_text: str = "keep"
    calls_redact: str = ""
    retention_days: float | None = None
    registry: str = "files"
    langfuse_url: str = LANGFUSE
    langfuse_public_key: str = ""
    langfuse_secret_key: Secret | None = None
    budgets: tuple[Budget, ...] = ()

    @property
    def calls(self) -> Path:
        """Where this machine's segments of the call log are."""
        return self.home / "calls" if self.calls_folder is None else self.calls_folder

    @property
    def runs(self) -> Path:
        """Where comparisons keep their rows."""
        return self.home / "runs"

    @property
    def loadtests(self) -> Path:
        """Where load tests keep theirs."""
        return self.home / "loadtests"

    @property
    def ratings(self) -> Path:
        """Where people's votes are."""
        return self.home / "ratings"

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
            meant = did_you_mean(name, self.endpoints)
            raise SettingsError(
                f"there is no endpoint {name!r}.{meant} Known: {', '.join(sorted(self.endpoints))}. "
                f"Add your own to {FILE}: [endpoints.{name}] with kind and urls."
            )
        return found
