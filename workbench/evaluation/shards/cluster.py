"""The caller's side: cut a run's tasks into shards, keep the workers busy, take the rows back.

Dask places the shards, and does those of a lost worker again. Shards are small (some seconds of calls), so that little is lost
with a worker and progress is seen; the rows of a shard come back with it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from workbench.errors import InputError, RunError
from workbench.evaluation.shards.job import Job, Place, Shard, ShardResult
from workbench.evaluation.tasks import Task
from workbench.records import Call, Example

if TYPE_CHECKING:
    from distributed import Client, Future

    from workbench.evaluation.shards.ledger import Ledger

__all__ = ["Cluster", "count_workers", "open_cluster", "scheduler_address"]

_PORT = 8786
_CONNECT = 5.0
_SHARD_SECONDS = 5.0
_FIRST, _LARGEST = 4, 1000  # calls of a shard: for each at once, and at most
_NO_WORKERS = 30.0
_HALT = 10.0
_BEHIND = 16  # shards whose rows may wait to be scored here

Take = Callable[[list[Call]], Awaitable[None]]


def scheduler_address(executor: str) -> str:
    """Dask's address of what `executor` names: dask://HOST:PORT, or dask+tls://. InputError for anything else."""
    try:
        parts = urlsplit(executor)
        protocol, port = {"dask": "tcp", "dask+tls": "tls"}[parts.scheme], parts.port or _PORT
        if not parts.hostname or parts.username or parts.path.strip("/"):
            raise ValueError
    except (KeyError, ValueError, AttributeError):
        raise InputError(
            f'executor = {executor!r} names no Dask scheduler: write "dask://HOST:8786" (or dask+tls://), as `dask scheduler` '
            "prints it with tcp://. Without an executor the comparison runs in this process."
        ) from None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{protocol}://{host}:{port}"


@asynccontextmanager
async def _connected(executor: str) -> AsyncGenerator[tuple[Client, str], None]:
    address = scheduler_address(executor)
    try:
        from distributed import Client
    except ImportError:
        raise RunError(
            f"{executor} needs Dask, which is not installed here: pip install 'llm-workbench[dask]', here and on the workers."
        ) from None
    client: Client | None = None
    try:
        client = await Client(  # type: ignore[no-untyped-call]
            address, asynchronous=True, set_as_default=False, timeout=_CONNECT
        )
    except (OSError, TimeoutError, ValueError, TypeError) as error:
        raise RunError(
            f"no Dask scheduler answers at {address}: {' '.join(str(error).split())[:200] or type(error).__name__}. Start one "
            f"with `dask scheduler`, and on each machine `dask worker {address}`; or leave the executor out to run here."
        ) from None
    try:
        yield client, address
    finally:
        with suppress(Exception):
            await client.close()


async def _threads(client: Client) -> dict[str, int]:
    return dict(await client.nthreads())  # type: ignore[no-untyped-call]


def count_workers(executor: str) -> int:
    """How many workers the scheduler has now. RunError if it does not answer or has none."""

    async def count() -> int:
        async with _connected(executor) as (client, address):
            return len(await _some_threads(client, address))

    with ThreadPoolExecutor(1) as pool:  # a notebook's event loop runs in this one
        return pool.submit(asyncio.run, count()).result()


async def _some_threads(client: Client, address: str) -> dict[str, int]:
    found = await _threads(client)
    if not found:
        raise RunError(
            f"the Dask scheduler at {address} has no workers: start some with `dask worker {address}` on machines that have "
            "this package, the same keys in their environment and the same REDIS_URL."
        )
    return found


@asynccontextmanager
async def open_cluster(executor: str, most: int | None, ledger: Ledger | None) -> AsyncGenerator[Cluster, None]:
    """The cluster at the executor's scheduler. most: calls at once, over all workers. ledger: closed with it."""
    async with _connected(executor) as (client, address):
        cluster = Cluster(client, address, await _some_threads(client, address), most, ledger)
        try:
            yield cluster
        finally:
            await cluster.close()


class Cluster:
    """Workers of one scheduler, for one run. token: of this session. workers: how many there were when it began."""

    def __init__(
        self, client: Client, address: str, threads: Mapping[str, int], most: int | None, ledger: Ledger | None
    ) -> None:
        self._client = client
        self.address = address
        self._threads = dict(threads)
        self.workers = len(threads)
        self._most = most
        self.ledger = ledger
        self.token = secrets.token_hex(8)
        self._job: Job | None = None
        self._number = 0
        self._pace: float | None = None  # calls a second of one shard
        self._looked = self._seen = time.monotonic()

    async def begin(self, job: Job) -> None:
        """See that every worker can do this job, before anything is spent. RunError names the first that cannot."""
        from workbench.evaluation.shards import worker

        self._job = job = replace(job, workers=self.workers, version=version("llm-workbench"))
        if self.ledger is not None and job.usd is not None:
            await self.ledger.open(job.usd)
        found = await self._client.run(worker.check, job, on_error="return")
        for address, problem in found.items():
            if problem:
                said = problem if isinstance(problem, str) else f"{type(problem).__name__}: {problem}"
                hint = ""
                if "ModuleNotFoundError" in said:
                    hint = " Install this package, and the modules that your scorers are in, on every worker."
                raise RunError(f"the Dask worker at {address} cannot run this comparison: {said}{hint}")

    async def leftovers(self, run: str) -> list[Call]:
        """Rows of this run that lie on workers since an earlier caller was lost."""
        from workbench.evaluation.shards import worker

        found = await self._client.run(worker.leftovers, run, on_error="ignore")
        rows = {row.call_id: row for text in found.values() for row in _rows(text)}
        return list(rows.values())

    async def forget(self, run: str) -> None:
        """Throw away what lies on workers of this run: its rows have been written down here."""
        await self._discard(run, [])

    async def ask(
        self, tasks: Iterator[Task], count: int, example: Callable[[int], Example], take: Take, at_once: int,
        most: tuple[float, ...] = (),
    ) -> str:  # fmt: skip
        """Have all these tasks done, of which there are about `count`; hand the rows of each shard to `take`.

        at_once: calls at once of one worker where nothing bounds them over all. most: see `Shard`. Returns why it ended early,
        "budget" if the ledger has no money, empty if all is done. Cancelled, it ends the workers' calls, takes what they have,
        and raises.
        """
        from workbench.evaluation.shards import worker

        assert self._job is not None  # noqa: S101  (begin sets it)
        arms = {variant.label: at for at, variant in enumerate(self._job.variants)}
        running: dict[asyncio.Task[ShardResult], tuple[Future[Any], Shard]] = {}
        taking: set[asyncio.Task[None]] = set()
        left, ended, exhausted = count, "", False
        try:
            while True:
                await self._look(running)
                while not (ended or exhausted or len(taking) > _BEHIND) and (share := self._share(at_once, running)):
                    part = list(islice(tasks, self._size(share, left)))
                    if not part:
                        exhausted = True
                        break
                    left -= len(part)
                    shard = self._shard(part, arms, example, share, most)
                    future = self._client.submit(
                        worker.run_shard, self._job, shard, key=f"compare-{shard.key}", pure=False
                    )
                    running[asyncio.create_task(_result(future))] = (future, shard)
                if not running and not taking:
                    return ended
                await asyncio.wait({*running, *taking}, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
                for taken in [task for task in taking if task.done()]:
                    taking.remove(taken)
                    taken.result()
                for task in [task for task in running if task.done()]:
                    _, shard = running.pop(task)
                    result = task.result()
                    self._learn(result, shard)
                    taking.add(asyncio.create_task(self._took(result, shard, take)))
                    ended = ended or result.fault or ("budget" if result.unpaid else "")
        except BaseException as error:
            for taken in taking:
                taken.cancel()
            await asyncio.gather(*taking, return_exceptions=True)
            await self._end(running, take)
            if isinstance(error, _LostError):
                return str(error)
            raise

    async def close(self) -> None:
        """Tell the workers that the session is over."""
        from workbench.evaluation.shards import worker

        with suppress(Exception):
            async with asyncio.timeout(_HALT):
                await self._client.run(worker.close, self.token, on_error="ignore")
        if self.ledger is not None:
            with suppress(Exception):
                await self.ledger.close()

    async def _took(self, result: ShardResult, shard: Shard, take: Take) -> None:
        assert self._job is not None  # noqa: S101  (begin sets it)
        await take(_rows(result.rows))
        await self._discard(self._job.run, [shard.key])

    async def _discard(self, run: str, keys: list[str]) -> None:
        from workbench.evaluation.shards import worker

        with suppress(Exception):
            await self._client.run(worker.discard, run, keys, on_error="ignore")

    async def _end(self, running: dict[asyncio.Task[ShardResult], tuple[Future[Any], Shard]], take: Take) -> None:
        """End what runs, and take the rows that are there."""
        from workbench.evaluation.shards import worker

        if not running:
            return
        with suppress(Exception):
            async with asyncio.timeout(_HALT):
                await self._client.run(worker.halt, self.token, on_error="ignore")
                await asyncio.wait(running)
        for task, (future, shard) in running.items():
            if task.done() and not task.cancelled() and task.exception() is None:
                await self._took(task.result(), shard, take)
                continue
            task.cancel()
            with suppress(Exception):
                await future.cancel()  # type: ignore[no-untyped-call]

    async def _look(self, running: Mapping[Any, Any]) -> None:
        """Which workers there are now."""
        now = time.monotonic()
        if now < self._looked + 1 and self._threads:
            return
        self._looked = now
        with suppress(OSError, TimeoutError):
            self._threads = await _threads(self._client)
        if self._threads:
            self._seen = now
        elif now > self._seen + _NO_WORKERS:
            raise _LostError(f"the Dask scheduler at {self.address} has had no worker for {_NO_WORKERS:g} s")

    def _share(self, at_once: int, running: Mapping[Any, tuple[Any, Shard]]) -> int:
        """Calls at once for another shard, 0 if there is no room for one. Two shards for a worker with threads for them: so it
        has something to do while the last calls of one come in."""
        slots = sum(min(2, threads) for threads in self._threads.values())
        if len(running) >= slots:
            return 0
        if self._most is None:
            return max(1, at_once * len(self._threads) // slots)
        used = sum(shard.at_once for _, shard in running.values())
        return min(max(1, self._most // slots), self._most - used)

    def _size(self, share: int, left: int) -> int:
        """Calls for the next shard: some seconds of them, and no more than leaves others something to do."""
        slots = max(1, sum(min(2, threads) for threads in self._threads.values()))
        wanted = _FIRST * share if self._pace is None else round(self._pace * _SHARD_SECONDS)
        return max(1, min(max(wanted, share), _LARGEST, -(-left // slots) if left > 0 else share))

    def _learn(self, result: ShardResult, shard: Shard) -> None:
        if result.seconds > 0 and not (result.fault or result.unpaid):
            pace = len(shard.places) / result.seconds
            self._pace = pace if self._pace is None else (self._pace + pace) / 2

    def _shard(
        self, part: list[Task], arms: Mapping[str, int], example: Callable[[int], Example], at_once: int,
        most: tuple[float, ...],
    ) -> Shard:  # fmt: skip
        self._number += 1
        places = tuple(Place(arms[task.arm.label], *task[1:]) for task in part)
        examples = {place.example: example(place.example) for place in places}
        return Shard(f"{self.token}-{self._number}", places, examples, at_once, most)


class _LostError(Exception):
    """What the shards ran on is gone."""


async def _result(future: Future[Any]) -> ShardResult:
    """A shard's result; _LostError where Dask gives it up."""
    try:
        found = await future
    except asyncio.CancelledError as error:
        if isinstance(error, _cancelled()):
            raise _LostError(f"a shard was cancelled by its scheduler ({error})") from None
        raise
    except Exception as error:  # noqa: BLE001  (whatever a worker raised)
        if type(error).__name__ == "KilledWorker":
            raise _LostError(f"a shard was given up, since {error}") from None
        raise _LostError(f"a shard failed with {type(error).__name__}: {error}") from None
    assert isinstance(found, ShardResult)  # noqa: S101  (for the type checker)
    return found


def _cancelled() -> type[BaseException]:
    from distributed.client import FutureCancelledError

    return FutureCancelledError


def _rows(text: bytes) -> list[Call]:
    return [Call(**orjson.loads(line)) for line in text.splitlines()]
