"""What is kept for others: caches, key-value stores, and the releases and guards that live in one."""

from __future__ import annotations

import asyncio
import time

from workbench import tables
from workbench.client import Client
from workbench.doctor.diagnosis import TIMEOUT, Check
from workbench.errors import WorkbenchError
from workbench.online.guard import guarded
from workbench.releases import Live, Releases, check_model
from workbench.settings import Secret, Settings
from workbench.stores.keyvalue import KeyValue

__all__ = ["check_exact_cache", "check_guards", "check_releases", "check_semantic_cache", "check_stores"]

_LOOKED = 900.0  # seconds after which a feature whose guard has not looked counts as unguarded
_QDRANT_FIX = (
    "Qdrant does not answer: `docker run -p 6333:6333 qdrant/qdrant` starts one; or check QDRANT_URL and QDRANT_API_KEY"
)


def check_exact_cache(settings: Settings) -> Check:
    """Whether equal requests share an answer."""
    days, deadline = settings.cache_days, settings.cache_deadline_ms
    kept = f"equal requests share an answer for {days:g} days; a look-up may take {deadline:g} ms"
    detail = kept if settings.cache else "each call asks a model"
    return Check("exact cache", "on" if settings.cache else "off", settings.sources["cache"], True, detail)


async def check_semantic_cache(settings: Settings, client: Client) -> Check:
    """Mode, embedder, and whether the vectors' server answers."""
    part, mode, by = "semantic cache", settings.semantic_cache, settings.sources["semantic_cache"]
    if mode == "off" or not settings.cache:
        detail = "nothing is compared by meaning" + ("" if mode == "off" else ", as WORKBENCH_CACHE is off")
        return Check(part, mode, by, None if mode == "off" else False, detail)
    ok, said, fix, version = True, [f"vectors by {settings.embedder}"], "", None
    try:
        async with asyncio.timeout(TIMEOUT):
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


async def _qdrant(settings: Settings) -> str | None:
    """Its version, None if it does not answer us."""
    import httpx

    headers = {"api-key": settings.qdrant_key.reveal()} if settings.qdrant_key else {}
    try:
        async with httpx.AsyncClient(base_url=settings.qdrant_url or "", headers=headers, timeout=TIMEOUT) as http:
            (await http.get("/collections")).raise_for_status()
            return f"Qdrant {(await http.get('/')).json()['version']}"
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None


async def check_stores(settings: Settings) -> list[Check]:
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
    store = _open(url, settings)
    health = await store.health()
    ok, fix = health.ok, health.fix
    if ok and releases and (health.policy or "").startswith("allkeys-"):
        ok = False
        fix = (
            f"{health.policy} may drop a live release when memory is full: set maxmemory-policy to volatile-ttl there, or "
            "RELEASES_URL to a server that drops only what expires"
        )
    return Check(part, store.address, by, ok, health.detail, health.version, fix)


def _open(url: Secret | None, settings: Settings) -> KeyValue:
    return KeyValue(url.reveal() if url else None, settings.home)


async def check_releases(settings: Settings, client: Client) -> list[Check]:
    """What is live, and whether its model is still the one that was released."""
    store = _open(settings.releases_url, settings)
    releases = Releases(store, settings.home)

    def read() -> list[Live]:
        return [live for feature in releases.features() if (live := releases.live(feature)) is not None]

    async def one(live: Live) -> Check:
        release = live.release
        try:
            async with asyncio.timeout(TIMEOUT):
                found = check_model(release, await client.describe(release.model))
        except (WorkbenchError, TimeoutError) as error:
            said = error if isinstance(error, WorkbenchError) else WorkbenchError(f"no answer within {TIMEOUT:.0f} s")
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


async def check_guards(settings: Settings) -> list[Check]:
    """Whether somebody looks at the guardrails that features have."""
    store = _open(settings.releases_url, settings)
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
