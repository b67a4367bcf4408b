"""What answers from elsewhere: the model that unnamed calls go to, the endpoints, Langfuse."""

from __future__ import annotations

import asyncio

from workbench import weights
from workbench.client import Client
from workbench.doctor.diagnosis import TIMEOUT, Check
from workbench.errors import ConnectError, InputError, SettingsError, WorkbenchError
from workbench.records import split_model
from workbench.settings import Endpoint, Settings
from workbench.stores.langfuse import open_langfuse

__all__ = ["check_default_model", "check_endpoint", "check_langfuse"]


async def check_default_model(settings: Settings, client: Client) -> Check:
    """The model of calls that name none: is it there? Weights that are missing are no fault, and not fetched now."""
    model, by = settings.model, settings.sources["model"]

    def check(ok: bool | None, detail: str, fix: str = "") -> Check:
        return Check("model", model, by, ok, detail, fix=fix)

    try:
        endpoint, name = split_model(model)
        server = settings.endpoint(endpoint)
    except InputError as error:
        fix = f"{error} WORKBENCH_MODEL (or model in workbench.toml) names the model that is asked if none is named."
        return check(False, "cannot be asked", fix)
    if server.name == "openai" and not server.configured:
        return check(False, "its endpoint is not configured", f"see endpoint {endpoint}")
    if server.kind == "embedded" and name in weights.KNOWN and not weights.present(name, settings.weights):
        return check(True, "its weights are fetched at its first use")
    try:
        async with asyncio.timeout(TIMEOUT):
            await client.describe(model)
    except (TimeoutError, ConnectError):
        return check(False, "its server does not answer", f"see endpoint {endpoint}")
    except WorkbenchError as error:
        return check(False, "not there", str(error))
    except Exception as error:  # noqa: BLE001  (as with endpoints: a fault here must not hide the rest)
        return check(False, "not there", f"{type(error).__name__}: {error}")
    return check(True, "asked if none is named")


async def check_endpoint(endpoint: Endpoint, settings: Settings, client: Client) -> Check:
    """Whether it answers; of one that nobody chose a silence is no fault."""
    part = f"endpoint {endpoint.name}"
    chosen = ", ".join(endpoint.urls) or endpoint.kind
    # the model that unnamed calls go to must work, even if it is only the default
    wanted = endpoint.configured or settings.model.startswith(f"{endpoint.name}/")
    broken = False if wanted else None
    if endpoint.name == "openai" and not endpoint.configured:
        fix = "set OPENAI_API_KEY (and OPENAI_BASE_URL)"
        return Check(part, chosen, endpoint.by, broken, "not configured", fix=fix)
    try:
        async with asyncio.timeout(TIMEOUT):
            health = await client.health(endpoint.name)
    except TimeoutError:
        return Check(part, chosen, endpoint.by, broken, f"no answer within {TIMEOUT:.0f} s")
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
        async with asyncio.timeout(TIMEOUT / 5):
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


def check_langfuse(settings: Settings) -> Check:
    """Whether it answers and knows the keys; what it is used for stands beside it."""
    by, chosen = settings.sources["langfuse_url"], settings.langfuse_url
    if by == "default":
        by = settings.sources["langfuse_public_key"]
    try:
        found = open_langfuse(settings)
    except SettingsError as error:
        return Check("langfuse", chosen, by, False, "set only in part", fix=str(error))
    if found is None:
        return Check("langfuse", "none", by, None, "not configured: prompts are files only")
    try:
        health = found.health()
    except SettingsError as error:
        return Check("langfuse", chosen, by, False, "its SDK is missing", fix=str(error))
    finally:
        found.close()
    use = "prompts are read from it" if settings.registry == "langfuse" else "labels are mirrored to it"
    return Check("langfuse", chosen, by, health.ok, f"{health.detail}; {use}", health.version, health.fix)
