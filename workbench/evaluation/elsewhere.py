"""A run whose calls are made by the workers of a cluster: what they are given, and what is done with the rows that come back."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from workbench import errors
from workbench.client import Client
from workbench.errors import CallError, InputError, RunError
from workbench.evaluation.asking import Asker
from workbench.evaluation.folder import RunFolder
from workbench.evaluation.plan import Plan
from workbench.evaluation.scorers.scorer import Answer
from workbench.evaluation.shards.cluster import Cluster, open_cluster
from workbench.evaluation.shards.job import Job, without_key
from workbench.evaluation.shards.scoring import sent_scorers
from workbench.evaluation.tasks import Task
from workbench.records import Call, Example, ModelInfo, Score, split_model

if TYPE_CHECKING:
    from workbench.evaluation.judging.account import Judges
    from workbench.evaluation.shards.ledger import Ledger
    from workbench.evaluation.shards.purse import Purse
    from workbench.stores.keyvalue import KeyValue

__all__ = ["Elsewhere", "error_of", "open_elsewhere"]

_SCORING = 32  # answers of one shard that are scored here at once


@asynccontextmanager
async def open_elsewhere(plan: Plan, client: Client) -> AsyncGenerator[Elsewhere, None]:
    """The workers of `plan.executor`. InputError or RunError, before anything is spent, for what cannot work."""
    assert plan.executor is not None  # noqa: S101  (asked for by who calls)
    names = list(dict.fromkeys(split_model(model)[0] for model in plan.models))
    given = [name for name in names if name in client.given]
    if given:
        raise InputError(
            f"endpoint {given[0]!r} is a runtime that was made in this process, and workers cannot have it: describe it in "
            f"workbench.toml as [endpoints.{given[0]}], or leave the executor out."
        )
    there = sent_scorers(plan.scorers)
    endpoints = {name: client.settings.endpoint(name) for name in names}
    rates = tuple(name for name, one in endpoints.items() if one.requests_per_minute or one.tokens_per_minute)
    usd = plan.budget.usd if plan.budget is not None else None
    most = plan.concurrency or min((one.concurrency for one in endpoints.values() if one.concurrency), default=None)
    kv: KeyValue | None = None
    if usd is not None or rates:
        kv = _store(client, "a budget" if usd is not None else f"requests or tokens a minute ({', '.join(rates)})")
    try:
        ledger: Ledger | None = None
        async with open_cluster(plan.executor, most, None) as cluster:
            if kv is not None:
                from workbench.evaluation.shards.ledger import Ledger

                cluster.ledger = ledger = Ledger(kv, cluster.token)
            here = {scorer.name for scorer in plan.scorers} - {scorer.name for scorer in there}
            job = Job(
                cluster.token, "", "", plan.variants, {}, there,
                {name: without_key(one) for name, one in endpoints.items()}, plan.seed, plan.repeats, plan.dataset.digest,
                plan.timeout, most, usd, rates, prices=client.prices,
            )  # fmt: skip
            elsewhere = Elsewhere(cluster, ledger, job, here, client)
            try:
                yield elsewhere
            finally:
                await elsewhere.close()
    finally:
        if kv is not None:
            await kv.aclose()


class Elsewhere:
    """here: names of scorers that are applied here, to the rows that come back: they ask a model, whose account must be one, or
    depend on another score."""

    def __init__(self, cluster: Cluster, ledger: Ledger | None, job: Job, here: set[str], client: Client) -> None:
        self._cluster = cluster
        self._ledger = ledger
        self._job = job
        self._client = client
        self._here = here
        self._asker = Asker(client, (), {}, job.timeout, lambda row: None)
        self._judges: Judges | None = None
        self._purse: Purse | None = None  # of the judges, who are asked here
        self._renewing: asyncio.Task[None] | None = None
        self._settled = 0.0
        self._unpaid = False

    @property
    def workers(self) -> int:
        """How many there were at the beginning."""
        return self._cluster.workers

    async def begin(self, plan: Plan, infos: Mapping[str, ModelInfo], folder: RunFolder, judges: Judges) -> list[Call]:
        """See that all workers can do it. The judges' money comes from the ledger too.

        Returns rows of this very run that lie there since an earlier caller was lost."""
        mine = f"{socket.gethostname()}\n{folder.path.resolve()}"
        scorers = [scorer for scorer in plan.scorers if scorer.name in self._here]
        self._asker = Asker(self._client, scorers, infos, plan.timeout, lambda row: None)
        self._job = job = replace(
            self._job, run=hashlib.sha256(mine.encode()).hexdigest()[:16], run_id=folder.run_id,
            variants=plan.variants, infos=dict(infos),
        )  # fmt: skip
        try:
            await self._cluster.begin(job)
        except Exception as error:
            if type(error).__module__.partition(".")[0] == "redis":
                raise RunError(
                    f"the ledger of the run (REDIS_URL) cannot be opened: {error}. Start the store, or correct the address."
                ) from None
            raise
        if judges and self._ledger is not None and job.usd is not None:
            from workbench.evaluation.shards.purse import Purse

            self._judges, self._purse = judges, Purse(self._ledger, "judges", 0.0, asyncio.sleep)
            self._renewing = asyncio.create_task(self._purse.renew())
        return await self._cluster.leftovers(job.run)

    async def close(self) -> None:
        """Give back what the judges have left."""
        if self._purse is not None and self._renewing is not None:
            self._renewing.cancel()
            with suppress(Exception):  # its lease expires
                await self._purse.close()

    async def forget(self) -> None:
        """What lay there has been written down here."""
        await self._cluster.forget(self._job.run)

    async def spent(self, known: float | None) -> float | None:
        """Dollars, with those of workers that were lost; `known`: of the rows that came back."""
        if self._ledger is None or self._job.usd is None or known is None:
            return known
        if self._purse is not None:
            await self._purse.settle(self._unsettled() or 0.0)  # answers of earlier runs are judged without the ledger
        return max(known, await self._ledger.spent())

    async def ask(
        self,
        tasks: Iterator[Task],
        count: int,
        example: Callable[[int], Example],
        take: Callable[[Call], None],
        most: tuple[float, ...],
        at_once: int,
    ) -> str:
        """As `Cluster.ask`; each row is scored and then handed to `take`."""

        async def took(rows: list[Call]) -> None:
            waiting = asyncio.Semaphore(_SCORING)

            async def one(row: Call) -> None:
                scored = row
                try:
                    async with waiting:
                        scored = await self._scored(row, example)
                finally:  # without these scores if it is cancelled: resuming makes them
                    take(scored)

            if not self._here:
                for row in rows:
                    take(row)
                return
            await asyncio.gather(*(one(row) for row in rows))

        ended = await self._cluster.ask(tasks, count, example, took, at_once, most)
        return ended or ("budget" if self._unpaid else "")

    async def _scored(self, row: Call, example: Callable[[int], Example]) -> Call:
        if row.error is not None or row.warmup or row.example is None:
            return row
        found = await self._judged(row, example(row.example))
        if found is None:
            return row
        return replace(
            row, scores={**row.scores, **{name: score.value for name, score in found.items()}},
            explanations={
                **row.explanations, **{name: score.explanation for name, score in found.items() if score.explanation}
            },
        )  # fmt: skip

    async def _judged(self, row: Call, example: Example) -> dict[str, Score] | None:
        """The scores that are made here; None if the ledger has no money for them."""
        answer = Answer(row.text or "", row.tool_calls)
        if self._purse is None or self._judges is None:
            return await self._asker.score(answer, example, row.scores)
        variant = next(one for one in self._job.variants if one.label == row.variant)
        most = self._judges.most(variant, example)
        if self._unpaid or not await self._purse.begin(most):
            self._unpaid = True
            return None
        spent: float | None = None  # if it is cancelled: the server may have charged it
        try:
            found = await self._asker.score(answer, example, row.scores)
            spent = self._unsettled()
            return found
        finally:
            self._purse.end(most, spent)

    def _unsettled(self) -> float | None:
        """Dollars that the judges have spent since this was asked last, None if unknown."""
        now = self._judges.spent if self._judges is not None else None
        if now is None:
            return None
        self._settled, more = now, now - self._settled
        return more


def error_of(row: Call) -> CallError:
    """The error that a row tells of."""
    kind = getattr(errors, row.error or "", CallError)
    return (kind if issubclass(kind, CallError) else CallError)(row.error_message or "")


def _store(client: Client, what: str) -> KeyValue:
    from workbench.stores.keyvalue import KeyValue

    settings = client.settings
    if settings.redis_url is None:
        raise InputError(
            f"this plan has {what}, which all workers have to share: set REDIS_URL, here and on the workers, to a Redis or "
            "Valkey that all of them reach."
        )
    return KeyValue(settings.redis_url.reveal(), settings.home)
