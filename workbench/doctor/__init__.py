"""`workbench doctor`: each part, what was chosen, by which setting, whether it answers, and how to fix it."""

from __future__ import annotations

import asyncio

from workbench.calls import CallLog
from workbench.client import Client
from workbench.doctor.diagnosis import Check, Diagnosis
from workbench.doctor.project import (
    check_budgets,
    check_calls,
    check_home,
    check_prompts,
    check_settings,
    check_texts,
    check_weights,
)  # fmt: skip
from workbench.doctor.servers import check_default_model, check_endpoint, check_langfuse
from workbench.doctor.stores import check_exact_cache, check_guards, check_releases, check_semantic_cache, check_stores
from workbench.prompts import FilePrompts, ManagedPrompts
from workbench.settings import Settings

__all__ = ["Check", "Diagnosis", "diagnose"]


async def diagnose(
    settings: Settings, client: Client, prompts: FilePrompts | ManagedPrompts, calls: CallLog
) -> Diagnosis:
    """Check every part; endpoints are asked at the same time, each within ten seconds. Nothing is fetched or started."""
    asked = asyncio.gather(*(check_endpoint(e, settings, client) for e in settings.endpoints.values()))
    checks = [
        check_settings(settings),
        await check_default_model(settings, client),
        check_home(settings),
        check_prompts(settings, prompts),
        await asyncio.to_thread(check_langfuse, settings),
        check_calls(settings, calls),
        *check_texts(settings, calls),
        *check_budgets(settings, calls),
        check_weights(settings),
        check_exact_cache(settings),
        await check_semantic_cache(settings, client),
    ]
    stores = await check_stores(settings)
    releases = [*await check_releases(settings, client), *await check_guards(settings)] if stores[-1].ok else []
    return Diagnosis((*checks, *stores, *releases, *await asked))
