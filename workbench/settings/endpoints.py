"""The endpoints: those that are built in, as the environment has them, and those of `workbench.toml`."""

from __future__ import annotations

from typing import Any

from workbench.addresses import http_address
from workbench.errors import SettingsError
from workbench.settings.given import Given, check_fields
from workbench.settings.secret import Secret
from workbench.settings.settings import FILE, Endpoint

__all__ = ["read_endpoints"]

_KINDS = ("embedded", "llama-server", "ollama", "openai", "openai-compatible", "scripted", "tgi", "vllm")
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


def read_endpoints(table: Any, given: Given) -> dict[str, Endpoint]:
    """The built-in endpoints, and those of the file's `endpoints` table laid over and beside them."""
    if not isinstance(table, dict):
        raise SettingsError(f"{FILE}: endpoints must be tables such as [endpoints.gpu-a].")
    found: dict[str, Endpoint] = {}
    for name, (kind, url, url_names, key_name) in _BUILT_IN.items():
        own = table.get(name)
        chosen = given.variable(*url_names) if url_names else None
        key = given.variable(key_name) if key_name else None
        by = chosen[1] if chosen else key[1] if key and kind == "openai" else "default"
        urls = (
            tuple(http_address(part, by, kind) for part in chosen[0].split(",")) if chosen else ((url,) if url else ())
        )
        built = Endpoint(name, kind, urls, Secret(key[0]) if key else None, key_name, configured=by != "default", by=by)
        found[name] = _endpoint(name, own, given, built) if own is not None else built
    for name, own in table.items():
        if name not in _BUILT_IN:
            found[name] = _endpoint(name, own, given, None)
    return found


def _endpoint(name: str, table: Any, given: Given, base: Endpoint | None) -> Endpoint:
    where = f"{FILE}: [endpoints.{name}]"
    if not isinstance(table, dict) or "/" in name:
        raise SettingsError(f"{where} must be a table, and its name must hold no '/'.")
    check_fields(table, _ENDPOINT_FIELDS, where)
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
    key = given.variable(key_name) if key_name else None
    # the environment is stronger than the file, also for the address
    stronger = base if base and base.configured and base.by.endswith(("(environment)", "(.env)")) else None
    if stronger and stronger.urls and not stronger.by.startswith(stronger.key_setting):
        addresses, by = stronger.urls, stronger.by
    else:
        by = f"endpoints.{name} ({FILE})"
        addresses = tuple(http_address(item, by, kind) for item in urls) if urls else (base.urls if base else ())
    return Endpoint(
        name, kind, addresses, Secret(key[0]) if key else None, key_name, concurrency, options=options, configured=True, by=by,
        **budgets,
    )  # fmt: skip
