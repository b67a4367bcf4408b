"""`Workbench` ties the parts together: what a notebook, a script or the command line holds."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.bench.asking import Asking
from workbench.bench.calling import Calling
from workbench.bench.measuring import Measuring
from workbench.errors import CallError, InputError
from workbench.records import Params, Prompt, Variant, split_model
from workbench.releases import check_model

if TYPE_CHECKING:
    import pandas as pd

    from workbench.calls.delivery import Delivery
    from workbench.doctor import Diagnosis
    from workbench.evaluation.comparison import Comparison
    from workbench.evaluation.datasets import Dataset
    from workbench.evaluation.estimate import Budget
    from workbench.evaluation.library import Datasets
    from workbench.evaluation.plan import Plan
    from workbench.evaluation.ratings.ratings import Ratings
    from workbench.evaluation.run import Watch
    from workbench.evaluation.runs import Runs
    from workbench.evaluation.verdict import Guardrail
    from workbench.purging import Purging
    from workbench.quality import LiveQuality
    from workbench.releases import ReleaseCheck
    from workbench.running.progress import Reporter
    from workbench.widgets.playground import PlaygroundView
    from workbench.widgets.release_panel import ReleasePanel
    from workbench.widgets.view import Still

__all__ = ["Workbench"]


class Workbench(Asking, Measuring, Calling):
    """Everything of one project: prompts, data sets, models, comparisons and the log of all calls.

    project: the project's folder; by default the nearest one upwards with a workbench.toml, else the current one.
    runtimes: ready-made runtimes by endpoint name, such as {"scripted": Scripted([...])}. clock: Unix seconds, of releases,
    experiments, and what `call` counts. calls: a log to write to instead of the project's.

    Methods that reach a model are async; `async with Workbench() as bench:` closes connections at the end.
    """

    # -- comparisons ----------------------------------------------------------------------------------------------

    def dataset(self, source: str | Path | pd.DataFrame | Dataset, *, name: str | None = None) -> Dataset:
        """A data set: a name in the project's `datasets/`, a path (.jsonl, .csv, .parquet) or a DataFrame."""
        from workbench.evaluation.datasets import Dataset, load_dataset
        from workbench.evaluation.sources import locate

        if isinstance(source, Dataset):
            return source
        if isinstance(source, (str, Path)):
            source = locate(str(source), self.settings.project, self.settings.datasets)
        self._make_home()
        return load_dataset(source, cache=self.settings.home / "datasets", name=name)

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
        executor: str | None = None,
    ) -> Plan:
        """What a comparison would do and cost; nothing is sent. Give the plan to `compare`.

        prompts: references such as "triage@2" (the first is the control unless `control` names another). models: by default
        the settings' one. primary: the scorer that decides (its name, a function or one of `workbench.scorers`).
        margin: a difference of the primary score that does not matter. limit: a seeded random part of the data set.
        level: of the intervals, simultaneous over all variants. concurrency: calls at once; by default the runtime's own.
        params: of all variants; a list of them is a matrix with prompts and models. budget: dollars, or Budget(usd=…,
        minutes=…): the run ends on whole examples below it. sequential: stop as soon as the answer is clear. pilot: an earlier
        comparison that shows how much differences vary; by default the data set's last one. executor: "dask://HOST:8786", a Dask
        scheduler whose workers make the calls; by default this process does.
        """
        from workbench.evaluation.planning import plan_with_history
        from workbench.evaluation.scorers import as_scorer

        if isinstance(scorers, str):
            raise InputError(f"scorers = {scorers!r} must be a list, such as scorers=[{scorers!r}].")
        cluster = 0
        if executor is not None:
            from workbench.evaluation.shards.cluster import count_workers

            cluster = count_workers(executor)
        data = self.dataset(dataset)
        if limit is not None or split is not None:
            data = data.select(split=split, limit=limit, seed=seed)
        return plan_with_history(
            runs=self.settings.runs, pilot=pilot, budget=budget, sequential=sequential,
            variants=self.variants(prompts, models, params), dataset=data, primary=as_scorer(primary),
            scorers=[as_scorer(item) for item in scorers], margin=margin, control=control, repeats=repeats, seed=seed,
            level=level, guardrails=guardrails, concurrency=concurrency, timeout=timeout,
            cost=self.client.price, pace=self.calls.pace, workers=lambda model: self.client.concurrency(model) * max(1, cluster),
            limits=self._limits, executor=executor, cluster=cluster,
            judge_prompt=lambda prompt: self.prompts.resolve(self.prompts.get(prompt) if isinstance(prompt, str) else prompt),
        )  # fmt: skip

    def _limits(self, model: str) -> tuple[float | None, float | None]:
        endpoint = self.settings.endpoint(split_model(model)[0])
        return endpoint.requests_per_minute, endpoint.tokens_per_minute

    async def compare(
        self,
        plan: Plan,
        *,
        fresh: bool = False,
        progress: Reporter | None = None,
        executor: str | None = None,
        watch: Watch | None = None,
    ) -> Comparison:
        """Run a plan and return verdict, table and examples. Rows of earlier runs of the same plan are reused (and counted
        as replayed) unless `fresh`. An interrupt (Ctrl-C, the kernel's stop button) returns what is there by then. executor: as
        in `plan`, in place of the plan's own. watch: looks at the run as it goes on, and may end it.
        """
        from workbench.evaluation.comparison import Comparison
        from workbench.evaluation.runner import run_plan
        from workbench.running.progress import in_notebook

        self._make_home()
        if executor is not None:
            plan = replace(plan, executor=executor)
        run = await run_plan(
            plan,
            self.client,
            fresh=fresh,
            progress=progress,
            cost=self.client.price,
            weights=self._weights,
            watch=watch,
        )
        result = Comparison(run, status=await asyncio.to_thread(self.standings.sentences, plan.variants))
        result.save()
        if in_notebook():  # where it is likely to be looked at next
            threading.Thread(target=result.pages.prepare, name="pages", daemon=True).start()
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

    @property
    def ratings(self) -> Ratings:
        """People rate answers blind: `session(result, rater=…, question=…)`; `scorers.ratings` scores by their votes."""
        from workbench.evaluation.ratings.ratings import Ratings

        return Ratings(self.settings.ratings, self.runs, self._make_home)

    @property
    def runs(self) -> Runs:
        """All comparisons that are kept: `list()` them, `get()` one, `compare()` two: what changed since last
        week? `push()` one to Langfuse."""
        from workbench.evaluation.runs import Runs

        return Runs(self.settings.runs, self.settings.home / "datasets", self.langfuse.required)

    def show(self, thing: object) -> object:
        """The interactive view of a thing in a notebook's cell, or its still form under WORKBENCH_STATIC=1; what has no view of
        its own shows as it prints. A comparison: answers side by side. A plan: the same, with a button that starts it; the
        view's `result` is then the comparison. A rating session: by keyboard."""
        from workbench.widgets import show

        langfuse = self.langfuse()
        return show(thing, compare=self.compare, trace_address="" if langfuse is None else langfuse.address)

    def playground(
        self,
        prompt: str | None = None,
        *,
        models: Sequence[str] = (),
        versions: Sequence[int] = (),
        dataset: str | Path | pd.DataFrame | Dataset | None = None,
    ) -> PlaygroundView:
        """Try a prompt by hand, on up to four models or versions at once: see `widgets.playground.open_playground`."""
        from workbench.widgets.playground import open_playground

        self._make_home()
        return open_playground(self, prompt, models=models, versions=versions, dataset=dataset)

    @property
    def datasets(self) -> Datasets:
        """The project's data sets: `list()` them; `from_calls()` drafts one from logged calls, to be reviewed and published;
        `push()` and `pull()` them with Langfuse."""
        from workbench.evaluation.library import Datasets

        cache, langfuse = self.settings.home / "datasets", self.langfuse.required

        def create(name: str, content: Any, message: str) -> Prompt:
            return self.prompts.create(name, content, message=message)

        return Datasets(self.settings.datasets, self.dataset, self.calls, self._prompt, langfuse, cache, create)

    @property
    def purging(self) -> Purging:
        """What is kept of a user, a tenant or a time: `plan(user=…)` lists it, `remove(plan)` removes it."""
        from workbench import purging

        return purging.Purging(
            lambda: [
                purging.LogPart(self.calls),
                purging.DatasetsPart(self.settings.datasets, self.settings.home / "datasets"),
                purging.RunsPart(self.settings.runs),
                purging.JudgesPart(self.calls),
                purging.RatingsPart(self.ratings),
                purging.PlaygroundPart(self.settings.home / "playground"),
                purging.CachesPart(self.cache),
                purging.LangfusePart(self.langfuse),
            ],
            [self.settings.home, self.settings.datasets, self.settings.reports],
        )

    # -- releases -------------------------------------------------------------------------------------------------

    async def check_release(self, feature: str) -> ReleaseCheck:
        """Whether the model behind what is live is still the one that was released. Raises ReleaseNotFoundError."""
        live = await asyncio.to_thread(self.releases.must_be_live, feature)
        try:
            return check_model(live.release, await self.client.describe(live.release.model))
        except CallError as error:
            return check_model(live.release, error)

    def release_panel(self, feature: str, offer: Variant | None = None) -> ReleasePanel | Still:
        """A panel for a notebook's cell: what is live, its history, and release and rollback, planned first. It follows what
        others change. offer: a variant to release, such as `result.winner`."""
        from workbench.widgets.release_panel import release_panel

        def suggest() -> tuple[list[str], list[str]]:
            known = {release.model for release in self.releases.list(feature)} | {self.settings.model}
            return [prompt.ref for prompt in self.prompts.list()], sorted(known)

        def variant(prompt: str, model: str) -> Variant:
            return self.variants([prompt], [model])[0]

        return release_panel(self.releases, feature, variant, suggest, offer)

    @property
    def delivery(self) -> Delivery:
        """Sends the call log to Langfuse as traces: `ship()`, from a process of its own. SettingsError without Langfuse."""
        from workbench.calls.delivery import Delivery
        from workbench.prompts.langfuse import version_finder
        from workbench.stores.langfuse_ingest import Ingest

        self._make_home()
        langfuse = self.langfuse.required()
        state = self.settings.home / "langfuse" / langfuse.identity / "delivered.json"
        return Delivery(self.calls, Ingest(langfuse), state, version_finder(langfuse), self._clock)

    @property
    def quality(self) -> LiveQuality:
        """Scores of logged calls: `plan(feature, scorer)`, `score(plan)`, and a `frame()` of them over time."""
        from workbench.quality import LiveQuality

        self._make_home()
        return LiveQuality(self.calls, self.client, lambda: self.app.counters, zone=self.settings.timezone)

    # -- the rest -------------------------------------------------------------------------------------------------

    async def doctor(self) -> Diagnosis:
        """What was chosen, by which setting, and whether it answers."""
        from workbench.doctor import diagnose

        return await diagnose(self.settings, self.client, self.prompts, self.calls)

    def __repr__(self) -> str:
        return f"Workbench(project={str(self.settings.project)!r}, model={self.settings.model!r})"
