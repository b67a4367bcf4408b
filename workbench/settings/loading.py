"""All settings, read once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from workbench.addresses import http_address
from workbench.budgets import read_budgets
from workbench.errors import SettingsError
from workbench.settings.endpoints import read_endpoints
from workbench.settings.given import Given
from workbench.settings.settings import DEFAULT_MODEL, FILE, LANGFUSE, Settings

__all__ = ["load_settings"]


def load_settings(project: Path | str | None = None, *, environ: Mapping[str, str] | None = None) -> Settings:
    """Read all settings. Raises SettingsError that names file, setting, value and fix.

    project: the folder to work in; by default the nearest folder upwards with a workbench.toml, else the current one.
    """
    environ = os.environ if environ is None else environ
    root, by = _project(project, environ)
    given = Given(root, environ)
    given.sources["project"] = by
    calls_folder, calls_url = _calls(given)
    qdrant_url = given.address("qdrant_url")
    langfuse_url = given.address("langfuse_url", "LANGFUSE_BASE_URL", "LANGFUSE_HOST")
    public = given.value("langfuse_public_key", "LANGFUSE_PUBLIC_KEY")
    return Settings(
        project=root,
        home=given.path("home", root / ".workbench"),
        prompts=given.path("prompts", root / "prompts"),
        datasets=given.path("datasets", root / "datasets"),
        notebooks=given.path("notebooks", root / "notebooks"),
        reports=given.path("reports", root / "reports"),
        weights=given.path("weights", _cache_folder() / "weights"),
        model=given.text("model", DEFAULT_MODEL),
        author=given.text("author"),
        timezone=given.zone("timezone", "UTC"),
        endpoints=MappingProxyType(read_endpoints(given.table.get("endpoints", {}), given)),
        sources=MappingProxyType(given.sources),
        file=root / FILE if (root / FILE).is_file() else None,
        cache=given.choice("cache", "on", "off") == "on",
        cache_days=given.amount("cache_days", "days", 7) or 7.0,
        cache_deadline_ms=given.amount("cache_deadline_ms", "milliseconds", 100) or 25.0,
        semantic_cache=given.choice("semantic_cache", "off", "shadow", "on"),
        embedder=given.text("embedder", "embedded/minilm-l6"),
        redis_url=given.store("redis_url"),
        cache_url=given.store("cache_url", otherwise="redis_url"),
        releases_url=given.store("releases_url", otherwise="redis_url"),
        qdrant_url=None if qdrant_url is None else http_address(qdrant_url, given.sources["qdrant_url"]),
        qdrant_key=given.secret("qdrant_key", "QDRANT_API_KEY"),
        calls_folder=calls_folder,
        calls_url=calls_url,
        calls_text=given.choice("calls_text", "keep", "hash", "drop"),
        calls_redact=given.function("calls_redact"),
        retention_days=given.amount("retention_days", "days", 90),
        registry=given.choice("registry", "files", "langfuse"),
        langfuse_url=http_address(langfuse_url or LANGFUSE, given.sources["langfuse_url"]),
        langfuse_public_key="" if public is None else str(public),
        langfuse_secret_key=given.secret("langfuse_secret_key", "LANGFUSE_SECRET_KEY"),
        budgets=read_budgets(given.table.get("budgets", {}), FILE),
    )


def _project(project: Path | str | None, environ: Mapping[str, str]) -> tuple[Path, str]:
    """(the project's folder, what chose it)."""
    start = Path(project) if project is not None else Path(environ.get("WORKBENCH_PROJECT") or Path.cwd())
    if not start.is_dir():
        raise SettingsError(f"the project folder {str(start)!r} does not exist. Create it, or pass another.")
    start = start.resolve()
    if project is not None:
        return start, "the program"
    root = next((path for path in (start, *start.parents) if (path / FILE).is_file()), start)
    if environ.get("WORKBENCH_PROJECT"):
        return root, "WORKBENCH_PROJECT (environment)"
    return root, "current folder" if root == start else f"{FILE}, in a folder above this one"


def _calls(given: Given) -> tuple[Path | None, str | None]:
    """(folder, URL) of the call log, where it is not in the home."""
    kept = given.text("calls")
    if "://" in kept and not kept.startswith(("file://", "local://")):
        return None, kept
    return (given.within(kept.partition("://")[2] or kept), None) if kept else (None, None)


def _cache_folder() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("llm-workbench")
