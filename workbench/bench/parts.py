"""What a Workbench is made of, opened from its settings."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from workbench.boards import Boards
from workbench.cache import Cache, ExactCache
from workbench.cache.shadow import ShadowLog
from workbench.calls import CallLog, Texts
from workbench.calls.spans import Spans, write_spans_to
from workbench.client import Client
from workbench.errors import InputError
from workbench.online.experiments import Experiments
from workbench.prompts import git_author, open_prompts
from workbench.records import (
    ModelInfo,
    Params,
    Prompt,
    Variant,
    split_model,
)
from workbench.releases import Releases
from workbench.serving.readings import Readings
from workbench.settings import Settings, load_settings
from workbench.standing import Standings
from workbench.stores.keyvalue import KeyValue
from workbench.stores.langfuse import LangfuseSource

if TYPE_CHECKING:
    import numpy as np

    from workbench.app import App
    from workbench.cache.lookup import Semantic
    from workbench.pricing import FittedWeight
    from workbench.records import ServerMetrics
    from workbench.serving import Runtime

__all__ = ["Parts", "as_params"]


_DESCRIBE = 10.0  # seconds for a model's server to say who it is


class Parts:
    """Opens and closes the parts; see `Workbench` for what is given."""

    def __init__(
        self,
        project: Path | str | None = None,
        *,
        settings: Settings | None = None,
        runtimes: Mapping[str, Runtime] | None = None,
        clock: Callable[[], float] = time.time,
        calls: CallLog | None = None,
    ) -> None:
        self.settings = settings or load_settings(project)
        self.calls = calls or _open_log(self.settings)
        self.span = Spans(self.calls)
        write_spans_to(self.calls)
        self.langfuse = LangfuseSource(self.settings)
        self.prompts = open_prompts(self.settings, self.langfuse)
        url = self.settings.cache_url
        self._kv = KeyValue(url.reveal() if url is not None else None, self.settings.home)
        shadow = ShadowLog(self._kv)
        exact = ExactCache(
            self._kv, ttl=self.settings.cache_days * 86_400, deadline=self.settings.cache_deadline_ms / 1000
        )
        self.cache = Cache(exact, self._open_semantic(shadow), shadow)
        cache = self.cache if self.settings.cache else None
        self.client = Client(self.settings, log=self.calls, runtimes=runtimes, cache=cache)
        self._given = dict(runtimes or {})
        self._release_kv = self._open_release_store()
        self.releases = Releases(
            self._release_kv,
            self.settings.home,
            author=self.settings.author or git_author,
            describe=self._describe_now,
            resolve=self.prompts.resolve,
            clock=clock,
        )
        self.experiments = Experiments(self.releases, self._release_kv, clock=clock)
        self.standings = Standings(self.prompts, self.releases, self._release_kv)
        self._readings = Readings(self.settings.home / "metrics")
        self.dashboards = Boards(
            self.calls,
            prices=lambda: self.client.prices,
            releases=self.releases,
            status=self.standings.states,
            price=self.client.price,
            weights=self._weights,
            readings=self._readings.of,
            budgets=self.settings.budgets,
            langfuse=lambda: self.langfuse.required(),
            sources=("log", "langfuse") if self.langfuse.is_set else ("log",),
            clock=clock,
            zone=self.settings.timezone,
        )
        self._app: App | None = None
        self._clock = clock

    def _weights(self) -> dict[str, Sequence[FittedWeight]]:
        """What load tests found of a prompt token's weight, by model."""
        from workbench.loadtest.store import LoadTests

        return LoadTests(self.settings.loadtests).weights()

    async def _read_counters(self, endpoint: str) -> ServerMetrics | None:
        """What a server says of its load; kept where it has a price per hour."""
        found = await self.client.metrics(endpoint)
        if found is not None and endpoint in self.client.prices.gpus:
            with suppress(OSError):  # the answer is worth more than its trace
                self._readings.keep(endpoint, found)
        return found

    def _open_semantic(self, shadow: ShadowLog) -> Semantic | None:
        """None where it is off: what it needs takes a while to import."""
        settings = self.settings
        if settings.semantic_cache == "off" or not settings.cache:
            return None
        from workbench.cache.lookup import Semantic
        from workbench.cache.semantic import DEADLINE, SemanticCache
        from workbench.stores.vectors import open_vectors

        async def embed(texts: Sequence[str]) -> np.ndarray:
            return (await self.client.embed(settings.embedder, texts)).vectors

        key = settings.qdrant_key
        vectors = open_vectors(self._kv, qdrant_url=settings.qdrant_url, qdrant_key=key.reveal() if key else None)
        mode: Any = settings.semantic_cache
        deadline = max(DEADLINE, settings.cache_deadline_ms / 1000)
        cache = SemanticCache(vectors, embed, mode=mode, deadline=deadline)
        return Semantic(cache, settings.embedder, lambda model: self.client.describe(model), shadow)

    def _open_release_store(self) -> KeyValue:
        url = self.settings.releases_url
        if url == self.settings.cache_url:
            return self._kv
        return KeyValue(url.reveal() if url is not None else None, self.settings.home)

    def _describe_now(self, model: str) -> ModelInfo:
        """`client.describe` for code that does not await: in a thread, whose event loop has a client of its own."""
        endpoint = split_model(model)[0]
        given = {name: runtime for name, runtime in self._given.items() if name == endpoint}

        async def ask() -> ModelInfo:
            client = Client(self.settings, runtimes=given)
            try:
                async with asyncio.timeout(_DESCRIBE):
                    return await client.describe(model)
            finally:
                if not given:
                    await client.aclose()

        with ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, ask()).result()

    def _make_home(self) -> None:
        self.settings.make_home()

    def _prompt(self, prompt: str | Prompt) -> Prompt:
        """A version with the text of all that it includes."""
        return self.prompts.resolve(prompt if isinstance(prompt, Prompt) else self.prompts.get(prompt))

    def variants(
        self,
        prompts: Sequence[str | Prompt],
        models: Sequence[str] | None = None,
        params: Params | Mapping[str, Any] | Sequence[Params | Mapping[str, Any]] | None = None,
    ) -> list[Variant]:
        """Each prompt on each model, with each of `params` if these are a list. A prompt's own params (its config's `params`)
        hold where `params` sets nothing."""
        if isinstance(prompts, str) or isinstance(models, str):
            raise InputError("prompts= and models= take lists, such as prompts=['triage@1', 'triage@2'].")
        if params is not None and not isinstance(params, (Params, Mapping)) and isinstance(params, Sequence):
            from workbench.evaluation.matrix import tagged

            return tagged(self.variants(prompts, models), [as_params(one) for one in params])
        over = as_params(params)
        found = [self._prompt(prompt) for prompt in prompts]
        chosen = list(models) if models else [self.settings.model]
        for model in chosen:
            self.settings.endpoint(split_model(model)[0])
        return [
            Variant(p, m, Params.from_mapping(p.config.get("params") or {}, f"{p.ref} config.params").merged(over))
            for m in chosen
            for p in found
        ]

    async def aclose(self) -> None:
        """Close connections, files and embedded models. The embedded key-value store goes on living: `workbench stop` ends it."""
        async with AsyncExitStack() as stack:  # the rest is closed too if one of them fails
            stack.push_async_callback(self._kv.aclose)
            stack.push_async_callback(self._release_kv.aclose)
            stack.push_async_callback(asyncio.to_thread, self.releases.close)
            stack.callback(self.langfuse.close)
            stack.push_async_callback(self.cache.aclose)
            stack.push_async_callback(self.client.aclose)
            if self._app is not None:
                stack.push_async_callback(self._app.aclose)
                self._app = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def _open_log(settings: Settings) -> CallLog:
    texts = Texts(settings.calls_text, settings.calls_redact, settings.project)
    return CallLog(
        settings.calls, settings.runs, url=settings.calls_url, texts=texts, keep_days=settings.retention_days
    )


def as_params(params: Params | Mapping[str, Any] | None) -> Params:
    """None is the model's own. InputError for what is neither Params nor a mapping."""
    if params is None:
        return Params()
    if not isinstance(params, (Params, Mapping)):
        raise InputError(f"params = {params!r} must be Params or a dict, such as {{'temperature': 0}}.")
    return params if isinstance(params, Params) else Params.from_mapping(params)
