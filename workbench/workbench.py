"""`Workbench` ties the parts together: what a notebook, a script or the command line holds."""

from __future__ import annotations

import asyncio
import difflib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from workbench.cache import Cache, ExactCache
from workbench.cache.lookup import Meaning
from workbench.cache.shadow import ShadowLog
from workbench.calls import CallLog
from workbench.client import Client
from workbench.errors import CallError, DatasetError, InputError
from workbench.online.experiments import Experiments
from workbench.prompts import FilePrompts, git_author, render
from workbench.records import (
    Chunk,
    Completion,
    Embeddings,
    Message,
    ModelInfo,
    Params,
    Prompt,
    Request,
    ServerMetrics,
    Usage,
    Variant,
    split_model,
)
from workbench.releases import Releases, check_model
from workbench.settings import Settings, load_settings
from workbench.standing import Standings
from workbench.stores.keyvalue import KeyValue

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from openai import AsyncOpenAI

    from workbench.app import App
    from workbench.cache.lookup import Semantic
    from workbench.cache.pairs import Pair
    from workbench.doctor import Diagnosis
    from workbench.evaluation.cache_savings import CacheSavings
    from workbench.evaluation.cache_tuning import CacheTuning
    from workbench.evaluation.comparison import Comparison
    from workbench.evaluation.datasets import Dataset
    from workbench.evaluation.estimate import Budget
    from workbench.evaluation.plan import Plan
    from workbench.evaluation.verdict import Guardrail
    from workbench.loadtest.plan import LoadPlan
    from workbench.loadtest.result import LoadTest
    from workbench.loadtest.store import LoadTests
    from workbench.releases import ReleaseCheck
    from workbench.running.progress import Reporter
    from workbench.serving import Runtime
    from workbench.serving.ollama import Ollama

__all__ = ["Workbench"]

_DESCRIBE = 10.0  # seconds for a model's server to say who it is


class Workbench:
    """Everything of one project: prompts, data sets, models, comparisons and the log of all calls.

    project: the project's folder; by default the nearest one upwards with a workbench.toml, else the current one.
    runtimes: ready-made runtimes by endpoint name, such as {"scripted": Scripted([...])}. clock: Unix seconds, of releases and
    experiments.

    Methods that reach a model are async; `async with Workbench() as bench:` closes connections at the end.
    """

    def __init__(
        self,
        project: Path | str | None = None,
        *,
        settings: Settings | None = None,
        runtimes: Mapping[str, Runtime] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings or load_settings(project)
        self.calls = CallLog(self.settings.calls, self.settings.runs)
        self.prompts = FilePrompts(self.settings.prompts, author=self.settings.author or git_author)
        url = self.settings.cache_url
        self._kv = KeyValue(url.reveal() if url is not None else None, self.settings.home)
        shadow = ShadowLog(self._kv)
        self.cache = Cache(ExactCache(self._kv), self._open_semantic(shadow), shadow)
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
        self._app: App | None = None

    # -- one call -------------------------------------------------------------------------------------------------

    def _open_semantic(self, shadow: ShadowLog) -> Semantic | None:
        """None where it is off: what it needs takes a while to import."""
        settings = self.settings
        if settings.semantic_cache == "off" or not settings.cache:
            return None
        from workbench.cache.lookup import Semantic
        from workbench.cache.semantic import SemanticCache
        from workbench.stores.vectors import open_vectors

        async def embed(texts: Sequence[str]) -> np.ndarray:
            return (await self.client.embed(settings.embedder, texts)).vectors

        key = settings.qdrant_key
        vectors = open_vectors(self._kv, qdrant_url=settings.qdrant_url, qdrant_key=key.reveal() if key else None)
        mode: Any = settings.semantic_cache
        cache = SemanticCache(vectors, embed, mode=mode)
        return Semantic(cache, settings.embedder, lambda model: self.client.describe(model), shadow)

    async def ask(
        self,
        question: str | Sequence[Message] | None = None,
        *,
        prompt: str | Prompt | None = None,
        inputs: Mapping[str, Any] | None = None,
        model: str | None = None,
        params: Params | Mapping[str, Any] | None = None,
        raw: bool = False,
        timeout: float = 120.0,
        tenant: str | None = None,
        user: str | None = None,
        cached: bool | None = None,
    ) -> Completion:
        """One answer from a model, logged like every call. raw: send the text as it is, without a chat template.

        In place of a question: `prompt`, such as "helpdesk@2", and the `inputs` for its variables. cached: whether an equal
        question's answer may be served (its `source` is then "exact"; "semantic" if it was one that means the same, see
        docs/caches.md); None does so where the question asks for the same answer each time: temperature 0, or a seed. tenant:
        answers are never shared between two.
        """
        request, meaning = self._asked(question, prompt, inputs, model, params, raw, timeout)
        about = _about(meaning) | {"tenant": tenant, "user": user}
        return await self.client.complete(request, cached=cached, meaning=meaning, **about)

    async def stream(
        self,
        question: str | Sequence[Message] | None = None,
        *,
        prompt: str | Prompt | None = None,
        inputs: Mapping[str, Any] | None = None,
        model: str | None = None,
        params: Params | Mapping[str, Any] | None = None,
        raw: bool = False,
        timeout: float = 120.0,
        tenant: str | None = None,
        user: str | None = None,
        cached: bool | None = None,
    ) -> AsyncGenerator[Chunk, None]:
        """`ask` in pieces of text as they come; the last piece carries the Completion. An answer from a cache is one piece."""
        request, meaning = self._asked(question, prompt, inputs, model, params, raw, timeout)
        about = _about(meaning) | {"tenant": tenant, "user": user}
        async with aclosing(self.client.stream(request, cached=cached, meaning=meaning, **about)) as chunks:
            async for chunk in chunks:
                yield chunk

    def _asked(
        self,
        question: str | Sequence[Message] | None,
        prompt: str | Prompt | None,
        inputs: Mapping[str, Any] | None,
        model: str | None,
        params: Params | Mapping[str, Any] | None,
        raw: bool,
        timeout: float,
    ) -> tuple[Request, Meaning | None]:
        """What to send, and of a prompt how it was made."""
        self._make_home()
        model, sampling = model or self.settings.model, _params(params)
        if prompt is not None:
            if question is not None:
                raise InputError("this takes a question or a prompt with its inputs, not both.")
            if raw:
                raise InputError("raw is for a question: a prompt goes out raw if its kind is completion.")
            found = self._prompt(prompt)
            (variant,) = self.variants([found], [model], sampling)

            def build(values: Mapping[str, object]) -> Request:
                kind, messages, text = render(found, values)
                return Request(model, kind, messages, text, variant.params, timeout)

            return build(inputs or {}), Meaning(found, inputs or {}, build)
        if inputs:
            raise InputError(f"inputs ({', '.join(map(str, inputs))}) are for a prompt's variables: name the prompt.")
        if question is None:
            raise InputError('this needs a question, or prompt="NAME@2" and inputs={...}.')
        if not isinstance(question, str):
            if raw:
                raise InputError("raw=True sends one text as it is: pass a text, not messages.")
            return Request(model, "chat", tuple(question), "", sampling, timeout), None
        if raw:
            return Request(model, "completion", (), question, sampling, timeout), None
        return Request(model, "chat", (Message("user", question),), "", sampling, timeout), None

    async def embed(self, texts: Sequence[str], *, model: str, timeout: float = 60.0) -> Embeddings:
        """One vector a text, from a model that makes them, such as ollama/nomic-embed-text."""
        if isinstance(texts, str):
            raise InputError(f"texts = {texts!r} must be a list of texts, such as texts=[{texts!r}].")
        return await self.client.embed(model, texts, timeout=timeout)

    async def metrics(self, endpoint: str) -> ServerMetrics | None:
        """What an endpoint's server says of its load (running, waiting, cache use …); None where it does not say."""
        return await self.client.metrics(endpoint)

    def openai(self, model: str | None = None) -> AsyncOpenAI:
        """The openai package's `AsyncOpenAI`, whose calls go through this workbench: its limits, retries, prices and log.

        model: `endpoint/model`, by default the settings' one. A call may name that model (with its endpoint or without), another
        one of the endpoint, or another `endpoint/model`. Raises InputError if the package is not installed.
        """
        from workbench.openai_bridge import openai_client

        self._make_home()
        return openai_client(self.client, model or self.settings.model)

    def ollama(self, endpoint: str = "ollama") -> Ollama:
        """The models of an Ollama endpoint: `list`, `show`, `running`, `pull`, `load` and `unload` them.

        Raises InputError for an endpoint of another kind.
        """
        from workbench.serving.ollama import Ollama

        runtime = self.client.runtime(f"{endpoint}/-")
        if not isinstance(runtime, Ollama):
            raise InputError(
                f"{endpoint} is of kind {runtime.kind}: only Ollama pulls, loads and unloads models when it is asked to, "
                "another server holds what it was started with. Name an endpoint of kind ollama."
            )
        return runtime

    # -- comparisons ----------------------------------------------------------------------------------------------

    def dataset(self, source: str | Path | pd.DataFrame | Dataset, *, name: str | None = None) -> Dataset:
        """A data set: a name in the project's `datasets/`, a path (.jsonl, .csv, .parquet) or a DataFrame."""
        from workbench.evaluation.datasets import Dataset, load_dataset

        if isinstance(source, Dataset):
            return source
        if isinstance(source, (str, Path)):
            source = self._dataset_path(str(source))
        self._make_home()
        return load_dataset(source, cache=self.settings.home / "datasets", name=name)

    def _dataset_path(self, text: str) -> Path:
        folder = self.settings.datasets
        if Path(text).suffix in (".jsonl", ".ndjson", ".csv", ".parquet") or "/" in text or "\\" in text:
            given = Path(text).expanduser()
            for path in (given, self.settings.project / given, folder / given):
                if path.is_file():
                    return path
            return given
        found = [path for suffix in (".jsonl", ".csv", ".parquet") if (path := folder / f"{text}{suffix}").is_file()]
        if len(found) == 1:
            return found[0]
        if found:
            raise DatasetError(
                f"data set {text!r} is there as {', '.join(p.name for p in found)}: name the file you mean."
            )
        known = sorted(path.stem for path in folder.glob("*") if path.suffix in (".jsonl", ".csv", ".parquet"))
        near = difflib.get_close_matches(text, known, 1)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        raise DatasetError(
            f"there is no data set {text!r} in {folder}.{meant} There is: {', '.join(known) or 'none'}. "
            "Pass one of these names, or a path that ends in .jsonl, .csv or .parquet."
        )

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

            return tagged(self.variants(prompts, models), [_params(one) for one in params])
        over = _params(params)
        found = [self._prompt(prompt) for prompt in prompts]
        chosen = list(models) if models else [self.settings.model]
        for model in chosen:
            self.settings.endpoint(split_model(model)[0])
        return [
            Variant(p, m, Params.from_mapping(p.config.get("params") or {}, f"{p.ref} config.params").merged(over))
            for m in chosen
            for p in found
        ]

    def _prompt(self, prompt: str | Prompt) -> Prompt:
        """A version with the text of all that it includes."""
        return self.prompts.resolve(prompt if isinstance(prompt, Prompt) else self.prompts.get(prompt))

    def plan(
        self,
        *,
        prompts: Sequence[str | Prompt],
        dataset: str | Path | pd.DataFrame | Dataset,
        models: Sequence[str] | None = None,
        primary: Any = "exact_match",
        scorers: Sequence[Any] = (),
        margin: float = 0.05,
        control: str | None = None,
        repeats: int = 1,
        seed: int = 0,
        level: float = 0.95,
        guardrails: Sequence[Guardrail] = (),
        params: Params | Mapping[str, Any] | Sequence[Params | Mapping[str, Any]] | None = None,
        limit: int | None = None,
        split: str | None = None,
        concurrency: int | None = None,
        timeout: float = 120.0,
        budget: Budget | float | None = None,
        sequential: bool = False,
        pilot: Comparison | None = None,
    ) -> Plan:
        """What a comparison would do and cost; nothing is sent. Give the plan to `compare`.

        prompts: references such as "triage@2" (the first is the control unless `control` names another). models: by default
        the settings' one. primary: the scorer that decides (its name, a function or one of `workbench.scorers`).
        margin: a difference of the primary score that does not matter. limit: a seeded random part of the data set.
        level: of the intervals, simultaneous over all variants. concurrency: calls at once; by default the runtime's own.
        params: of all variants; a list of them is a matrix with prompts and models. budget: dollars, or Budget(usd=…,
        minutes=…): the run ends on whole examples below it. sequential: stop as soon as the answer is clear. pilot: an earlier
        comparison that shows how much differences vary; by default the data set's last one.
        """
        from workbench.evaluation.planning import plan_with_history
        from workbench.evaluation.scorers import as_scorer

        if isinstance(scorers, str):
            raise InputError(f"scorers = {scorers!r} must be a list, such as scorers=[{scorers!r}].")
        data = self.dataset(dataset)
        if limit is not None or split is not None:
            data = data.select(split=split, limit=limit, seed=seed)
        return plan_with_history(
            runs=self.settings.runs, pilot=pilot, budget=budget, sequential=sequential,
            variants=self.variants(prompts, models, params), dataset=data, primary=as_scorer(primary),
            scorers=[as_scorer(item) for item in scorers], margin=margin, control=control, repeats=repeats, seed=seed,
            level=level, guardrails=guardrails, concurrency=concurrency, timeout=timeout,
            cost=self._cost, pace=self.calls.pace, workers=self.client.concurrency,
            limits=self._limits,
        )  # fmt: skip

    def _limits(self, model: str) -> tuple[float | None, float | None]:
        endpoint = self.settings.endpoint(split_model(model)[0])
        return endpoint.requests_per_minute, endpoint.tokens_per_minute

    def _cost(self, model: str, usage: Usage) -> float | None:
        from workbench.pricing import call_cost

        endpoint, name = split_model(model)
        return call_cost(self.settings.endpoint(endpoint), name, usage)

    async def compare(self, plan: Plan, *, fresh: bool = False, progress: Reporter | None = None) -> Comparison:
        """Run a plan and return verdict, table and examples. Rows of earlier runs of the same plan are reused (and counted
        as replayed) unless `fresh`. An interrupt (Ctrl-C, the kernel's stop button) returns what is there by then.
        """
        from workbench.evaluation.comparison import Comparison
        from workbench.evaluation.runner import run_plan

        self._make_home()
        run = await run_plan(plan, self.client, fresh=fresh, progress=progress, cost=self._cost)
        result = Comparison(
            run, status=await asyncio.to_thread(self.standings.sentences, [v.prompt for v in plan.variants])
        )
        result.save()
        return result

    async def reusable(self, plan: Plan) -> int:
        """How many answers of this plan are there from earlier runs. The models' endpoints are asked who they are; no call
        is made."""
        from workbench.evaluation.folder import latest_folder

        plan = plan.resolved({model: await self.client.describe(model) for model in plan.models})
        folder = latest_folder(self.settings.runs, plan)
        if folder is None:
            return 0
        rows = (row for row in folder.rows() if row["error"] is None and not row["warmup"])
        return len({(row["variant"], row["example"], row["repeat"]) for row in rows})

    # -- load tests -----------------------------------------------------------------------------------------------

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
        timeout: float = 120.0,
    ) -> LoadPlan:
        """What a load test would do and cost; nothing is sent. Give the plan to `load_test`.

        models: `endpoint/model`, by default the settings' one. concurrency: calls at once, one load each (1, 4 and 16 by
        default); or rate: Poisson arrivals a second. requests: of each load, by default 32, or 4 for each at once where that
        is more. prompt_tokens, output_tokens: the lengths of each request; shared_tokens: how many of the prompt's first are
        the same in all. target: such as {"ttft": 0.5, "tpot": 0.05} in seconds, for the goodput. raw: no chat template.
        """
        from workbench.loadtest.plan import make_load_plan

        return make_load_plan(
            models=[self.settings.model] if models is None else models, endpoint=self.settings.endpoint,
            kind=lambda model: self.client.runtime(model).kind, cost=self._cost, concurrency=concurrency, rate=rate,
            requests=requests, warmup=warmup, prompt_tokens=prompt_tokens, output_tokens=output_tokens,
            shared_tokens=shared_tokens, target=target, seed=seed, params=_params(params), raw=raw, timeout=timeout,
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

    def _make_home(self) -> None:
        self.settings.make_home()

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

    # -- releases -------------------------------------------------------------------------------------------------

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

    async def check_release(self, feature: str) -> ReleaseCheck:
        """Whether the model behind what is live is still the one that was released. Raises ReleaseNotFoundError."""
        live = await asyncio.to_thread(self.releases.must_be_live, feature)
        try:
            return check_model(live.release, await self.client.describe(live.release.model))
        except CallError as error:
            return check_model(live.release, error)

    # -- what an application calls --------------------------------------------------------------------------------

    async def call(
        self,
        feature: str,
        /,
        *,
        user: str | None = None,
        tenant: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        timeout: float = 120.0,
        cached: bool | None = None,
        **values: Any,
    ) -> Completion:
        """The answer of a feature's live release, or of the arm that this user has in its experiment; its `call_id` is for
        `feedback`.

        values: for the prompt's variables; `inputs` too, also for those called user, tenant, timeout or cached. Pass what any of
        the releases needs: each takes its own. tenant, cached: as in `ask`. If the release's model fails, its fallback answers
        (`Completion.fallback`). Raises the CallError if nothing does; PromptError for a missing value; ReleaseNotFoundError if
        nothing is live; StoreError if that is not known.
        """
        return await self.app.call(
            feature, {**(inputs or {}), **values}, user=user, tenant=tenant, timeout=timeout, cached=cached
        )

    def call_sync(
        self,
        feature: str,
        /,
        *,
        user: str | None = None,
        tenant: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        timeout: float = 120.0,
        cached: bool | None = None,
        **values: Any,
    ) -> Completion:
        """`call` for code that does not await, from any number of threads."""
        return self.app.call_sync(
            feature, {**(inputs or {}), **values}, user=user, tenant=tenant, timeout=timeout, cached=cached
        )

    async def call_stream(
        self,
        feature: str,
        /,
        *,
        user: str | None = None,
        tenant: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        timeout: float = 120.0,
        cached: bool | None = None,
        **values: Any,
    ) -> AsyncGenerator[Chunk, None]:
        """`call` in pieces of text as they come; the last piece carries the Completion. The fallback answers as long as no piece
        has come."""
        chunks = self.app.call_stream(
            feature, {**(inputs or {}), **values}, user=user, tenant=tenant, timeout=timeout, cached=cached
        )
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    def feedback(
        self,
        call_id: str,
        name: str,
        value: float,
        *,
        comment: str = "",
        feature: str | None = None,
        user: str | None = None,
    ) -> None:
        """What became of a call: a row beside the call log (the table `feedback` of `bench.calls.sql`), and an outcome of the
        user's arm. Tell each outcome of a call once: every value counts.

        value: a number, or True and False. The call may be of any process that logs to the same home. feature, user: whose call
        it was, where another machine logged it. Raises InputError for a call that is neither found nor named so; RunError if the
        disk takes nothing, and then nothing is counted.
        """
        self.app.feedback(call_id, name, value, comment=comment, feature=feature, user=user)

    @property
    def app(self) -> App:
        """What `call` and `feedback` are done by: its `ready` prepares a feature, its `state` is for a health check."""
        if self._app is None:
            from workbench.app import App

            self._make_home()
            self._app = App(self.client, self.releases, self._release_kv, self.calls, self._second_client)
        return self._app

    def _second_client(self) -> tuple[Client, Callable[[], Awaitable[None]]]:
        """For the thread of `call_sync`: what one event loop waits for belongs to it."""
        other = Workbench(settings=self.settings, runtimes=self._given)
        return other.client, other.aclose

    # -- the rest -------------------------------------------------------------------------------------------------

    async def doctor(self) -> Diagnosis:
        """What was chosen, by which setting, and whether it answers."""
        from workbench.doctor import diagnose

        return await diagnose(self.settings, self.client, self.prompts, self.calls)

    async def aclose(self) -> None:
        """Close connections, files and embedded models. The embedded key-value store goes on living: `workbench stop` ends it."""
        async with AsyncExitStack() as stack:  # the rest is closed too if one of them fails
            stack.push_async_callback(self._kv.aclose)
            stack.push_async_callback(self._release_kv.aclose)
            stack.push_async_callback(asyncio.to_thread, self.releases.close)
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

    def __repr__(self) -> str:
        return f"Workbench(project={str(self.settings.project)!r}, model={self.settings.model!r})"


def _about(meaning: Meaning | None) -> dict[str, Any]:
    """What the log's row says of the prompt."""
    return {} if meaning is None else {"prompt_ref": meaning.prompt.ref, "prompt_digest": meaning.prompt.digest}


def _params(params: Params | Mapping[str, Any] | None) -> Params:
    if params is None:
        return Params()
    if not isinstance(params, (Params, Mapping)):
        raise InputError(f"params = {params!r} must be Params or a dict, such as {{'temperature': 0}}.")
    return params if isinstance(params, Params) else Params.from_mapping(params)
