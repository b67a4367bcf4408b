"""How fast a model is served, and what caches save."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.bench.parts import Parts, as_params
from workbench.errors import CallError
from workbench.records import (
    Params,
)

if TYPE_CHECKING:
    import numpy as np

    from workbench.boards import Board
    from workbench.cache.pairs import Pair
    from workbench.evaluation.cache_savings import CacheSavings
    from workbench.evaluation.cache_tuning import CacheTuning
    from workbench.loadtest.plan import LoadPlan
    from workbench.loadtest.result import LoadTest
    from workbench.loadtest.store import LoadTests
    from workbench.running.progress import Reporter

__all__ = ["Measuring"]


class Measuring(Parts):
    """Load tests; what the exact cache would save, and the semantic cache's threshold."""

    def load_plan(
        self,
        models: Sequence[str] | None = None,
        *,
        concurrency: Sequence[int] | None = None,
        rate: Sequence[float] | None = None,
        requests: int | None = None,
        warmup: int | None = None,
        prompt_tokens: int = 128,
        output_tokens: int = 32,
        shared_tokens: int = 0,
        target: Mapping[str, float] | None = None,
        seed: int = 0,
        params: Params | Mapping[str, Any] | None = None,
        raw: bool = False,
        weigh: bool = False,
        timeout: float = 120.0,
    ) -> LoadPlan:
        """What a load test would do and cost; nothing is sent. Give the plan to `load_test`.

        models: `endpoint/model`, by default the settings' one. concurrency: calls at once, one load each (1, 4 and 16 by
        default); or rate: Poisson arrivals a second. requests: of each load, by default 32, or 4 for each at once where that
        is more. prompt_tokens, output_tokens: the lengths of each request; shared_tokens: how many of the prompt's first are
        the same in all. target: such as {"ttft": 0.5, "tpot": 0.05} in seconds, for the goodput. raw: no chat template.
        weigh: vary the prompts' lengths, to find what a prompt token takes of the server's time (see `gpu_cost`).
        """
        from workbench.loadtest.plan import make_load_plan

        return make_load_plan(
            models=[self.settings.model] if models is None else models, endpoint=self.settings.endpoint,
            kind=lambda model: self.client.runtime(model).kind, cost=self.client.price, concurrency=concurrency, rate=rate,
            requests=requests, warmup=warmup, prompt_tokens=prompt_tokens, output_tokens=output_tokens,
            shared_tokens=shared_tokens, target=target, seed=seed, params=as_params(params), raw=raw, weigh=weigh,
            timeout=timeout,
        )  # fmt: skip

    async def load_test(self, plan: LoadPlan, *, progress: Reporter | None = None) -> LoadTest:
        """Measure how fast the plan's models are served under its loads: time to first token, time per output token, latency,
        throughput and goodput. Kept under `load_tests`; its calls are in no ordinary figure of the call log. An interrupt
        (Ctrl-C, the kernel's stop button) returns what is there by then.
        """
        from workbench.loadtest.runner import run_load_plan

        self._make_home()
        folder = self.load_tests.new(time.time())
        log = folder.log()
        try:
            return await run_load_plan(plan, self.client.unlimited(log), folder, progress=progress)
        finally:
            log.close()

    @property
    def load_tests(self) -> LoadTests:
        """All load tests that are kept: `list()` them, `get()` one by its id."""
        from workbench.loadtest.store import LoadTests

        return LoadTests(self.settings.loadtests)

    async def gpu_cost(self, days: float = 30, *, against: str | None = None) -> Board:
        """`dashboards.gpu`, after a look at the counters of each server that has a price per hour: from the second look on, the
        figures say whether others used it. against: a model of an API, such as openai/gpt-4o-mini, for the break-even."""
        for endpoint in self.client.prices.gpus:
            if endpoint in self.settings.endpoints:
                with suppress(CallError):  # a server that is away has no counters to read
                    await self._read_counters(endpoint)
        return self.dashboards.gpu(days, against=against)

    # -- caches ---------------------------------------------------------------------------------------------------

    def cache_savings(self, *, days: float = 7) -> CacheSavings:
        """What the exact cache would have saved on the calls of the last `days`, by the call log; nothing is asked."""
        from workbench.evaluation.cache_savings import simulate

        return simulate(self.calls, days=days, ttl=self.cache.exact.ttl)

    # -- the semantic cache's threshold ---------------------------------------------------------------------------

    async def tune_cache(
        self,
        pairs: Path | str | Sequence[Pair] | None = None,
        *,
        budget: float = 0.01,
        level: float = 0.95,
        thresholds: Sequence[float] | None = None,
        guarded: bool = True,
        embedder: str | None = None,
    ) -> CacheTuning:
        """Hit rate, precision and false-hit rate at each threshold, and the lowest that keeps the budget of false hits.

        pairs: a file of JSON lines (see `workbench.cache.pairs`), or pairs; by default what the cache recorded in the last 30
        days. budget: the highest share of all asked that may get a wrong answer. guarded: with the cache's guard. embedder:
        another one than the settings' makes all cosines anew.
        """
        from workbench.cache.pairs import read_pairs
        from workbench.evaluation.cache_tuning import THRESHOLDS, tune

        self._make_home()
        if pairs is None:
            pairs = await self.cache.pairs()
        elif isinstance(pairs, (str, Path)):
            pairs = read_pairs(self._pairs_path(pairs))
        model = embedder or self.settings.embedder
        if model != self.settings.embedder:
            pairs = [replace(pair, cosine=None) for pair in pairs]

        async def embed(texts: Sequence[str]) -> np.ndarray:
            return (await self.client.embed(model, texts)).vectors

        return await tune(
            pairs, embed, budget=budget, level=level, thresholds=thresholds or THRESHOLDS, guarded=guarded
        )

    def _pairs_path(self, pairs: Path | str) -> Path:
        given = Path(pairs).expanduser()
        around = (given, self.settings.project / given, self.settings.datasets / given)
        return next((path for path in around if path.is_file()), given)
