"""What runs on a Dask worker: shards of a run, asked and scored as in a run of one process.

One host a session and process holds connections, models and limits, in an event loop of its own, so that the worker's own loop
goes on answering its scheduler. Each shard appends its rows to a segment of its own below the worker's home before it asks for
the next; they are fetched with the shard, and thrown away when the caller has written them down. If the shard has to be done
again where that folder can be read, what is there is not asked again.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import orjson

from workbench.calls import Segment, read_rows
from workbench.client import Client
from workbench.errors import StoreError, WorkbenchError
from workbench.evaluation.asking import Asker
from workbench.evaluation.estimate import ceiling
from workbench.evaluation.plan import request_for
from workbench.evaluation.shards.job import Job, Shard, ShardResult
from workbench.evaluation.shards.ledger import Ledger
from workbench.evaluation.shards.purse import Purse, SharedBucket
from workbench.evaluation.tasks import Task
from workbench.records import Call
from workbench.running.background import BackgroundLoop
from workbench.serving import Bucket
from workbench.settings import Endpoint, Secret, Settings, load_settings
from workbench.stores.keyvalue import KeyValue

__all__ = ["check", "close", "discard", "halt", "leftovers", "run_shard"]

_MOST_CONSECUTIVE_ERRORS = 20

_hosts: dict[str, _Host] = {}
_lock = threading.Lock()


def run_shard(job: Job, shard: Shard) -> ShardResult:
    """Ask and score a shard's tasks. Runs in a thread of the worker; whatever goes wrong is in the result's `fault`."""
    host, began = _host(job), time.perf_counter()
    rows, unpaid, fault = host.loop.run(lambda: host.run(shard))
    return ShardResult(
        rows, time.perf_counter() - began, f"{socket.gethostname()}, process {os.getpid()}", unpaid, fault
    )


async def check(job: Job) -> str:
    """Why this worker cannot do the job, empty if it can. Nothing is asked of a model, but which one it is."""
    if version("llm-workbench") != job.version:
        return f"it has version {version('llm-workbench')} of this package, and the caller {job.version}: install the same."
    try:
        host = await asyncio.to_thread(_host, job)
        return await asyncio.to_thread(host.loop.run, host.check)
    except Exception as error:  # noqa: BLE001  (the caller says which worker it was)
        return f"{type(error).__name__}: {error}"


def halt(token: str) -> None:
    """End what runs of a session, and what comes: calls that are under way are cancelled, rows are kept."""
    with _lock:
        host = _hosts.get(token)
    if host is not None:
        host.halt()


async def close(token: str) -> None:
    """A session is over."""
    with _lock:
        host = _hosts.pop(token, None)
    if host is not None:
        await asyncio.to_thread(host.close)


def leftovers(run: str) -> bytes:
    """Rows of a run that are here since its caller was lost."""
    home = _folder(load_settings(), run)
    return b"".join(_lines(sorted(home.glob("*/rows-*.jsonl"))))


def discard(run: str, keys: list[str]) -> None:
    """The caller has these shards' rows; all of the run's with no keys. The run's folder stays: a shard may be about to begin in
    it."""
    home = _folder(load_settings(), run)
    for folder in [home / key for key in keys] or [home]:
        shutil.rmtree(folder, ignore_errors=True)


def _folder(settings: Settings, run: str) -> Path:
    """Where a run's shards keep their rows."""
    return settings.home / "shards" / run


def _host(job: Job) -> _Host:
    with _lock:
        found = _hosts.get(job.token)
        if found is None:
            for token in [token for token, host in _hosts.items() if not host.busy]:
                _hosts.pop(token).close()  # of a caller that was lost
            found = _hosts[job.token] = _Host(job)
        return found


class _Host:
    def __init__(self, job: Job) -> None:
        self._job = job
        self._scorers = [scorer.made() for scorer in job.scorers]
        self._settings = _settings(job)
        self._kv = KeyValue(_store(self._settings), self._settings.home) if job.usd is not None or job.rates else None
        self._ledger = Ledger(self._kv, job.token) if self._kv is not None else None
        self._client = Client(self._settings, buckets=self._buckets)
        self._client.prices = job.prices  # one budget, one price list
        self._arms = job.arms()
        self._running: set[asyncio.Task[None]] = set()
        self._warm: set[str] = set()
        self._halted = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self.loop = BackgroundLoop("a worker's shard runs in a thread.")
        self.busy = 0
        if job.concurrency:
            for model in {variant.model for variant in job.variants}:
                if (limiter := self._client.limiter(model)) is not None:
                    limiter.allow(job.concurrency).__enter__()

    async def check(self) -> str:
        if self._ledger is not None and self._job.usd is not None and not await self._ledger.there():
            return "its REDIS_URL is another store than the caller's: set the same, so that all share one ledger."
        for model, info in self._job.infos.items():
            digest = (await self._client.describe(model)).digest
            if None not in (digest, info.digest) and digest != info.digest:
                return (
                    f"its {model} is another one (digest {str(digest)[:12]}) than the caller's ({str(info.digest)[:12]}): "
                    "load the same weights there."
                )
        return ""

    async def run(self, shard: Shard) -> tuple[bytes, bool, str]:
        """(rows as JSON lines, whether the ledger had no money for some, why it ended early)."""
        self._loop = asyncio.get_running_loop()
        self.busy += 1
        folder = _folder(self._settings, self._job.run) / shard.key
        before = _kept(folder, shard, self._job)
        segment = Segment(folder, "rows")
        lines: list[bytes] = list(before.values())
        work = _Work(self, shard, segment, lines)
        try:
            return await work.run([task for task in shard.tasks(self._arms) if _place(task) not in before])
        finally:
            segment.close()
            self.busy -= 1

    def halt(self) -> None:
        self._halted = True
        if self._loop is not None:
            with suppress(RuntimeError):  # closed
                self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in tuple(self._running)])

    def close(self) -> None:
        self.halt()

        async def last() -> None:
            await self._client.aclose()
            if self._kv is not None:
                await self._kv.aclose()

        with suppress(Exception):
            self.loop.close(last)
        with suppress(OSError):  # rows in it are leftovers
            _folder(self._settings, self._job.run).rmdir()

    def _buckets(self, endpoint: Endpoint) -> tuple[Bucket | None, Bucket | None]:
        if self._ledger is None or endpoint.name not in self._job.rates:
            return None, None
        workers = max(1, self._job.workers)
        requests, tokens = (
            SharedBucket(self._ledger, endpoint, name, budget, workers) if budget else None
            for name, budget in (("requests", endpoint.requests_per_minute), ("tokens", endpoint.tokens_per_minute))
        )
        return requests, tokens


class _Work:
    """One shard under way."""

    def __init__(self, host: _Host, shard: Shard, segment: Segment, lines: list[bytes]) -> None:
        self._host, self._shard, self._segment, self._lines = host, shard, segment, lines
        self._asker = Asker(host._client, host._scorers, host._job.infos, host._job.timeout, self._keep)
        self._consecutive = 0
        self._unpaid = False
        self._fault = ""

    async def run(self, tasks: list[Task]) -> tuple[bytes, bool, str]:
        host, job = self._host, self._host._job
        purse, renewing = None, None
        if host._ledger is not None and job.usd is not None:
            lease = f"{self._shard.key}-{socket.gethostname()}-{os.getpid()}"
            purse = Purse(host._ledger, lease, sum(map(self._most, tasks)), asyncio.sleep)
            renewing = asyncio.create_task(purse.renew())
        try:
            todo = deque([*self._warm_up(tasks), *tasks])
            at_once = min(self._shard.at_once, len(todo))
            workers = [asyncio.create_task(self._work(todo, purse)) for _ in range(at_once)]
            host._running.update(workers)
            for result in await asyncio.gather(*workers, return_exceptions=True):
                if isinstance(result, Exception):
                    self._fault = self._fault or _sentence(result)
            host._running.difference_update(workers)
        finally:
            if renewing is not None:
                renewing.cancel()
            if purse is not None:
                try:
                    await purse.close()
                except Exception as error:  # noqa: BLE001  (its lease expires)
                    self._fault = self._fault or _sentence(error)
        return b"".join(self._lines), self._unpaid, self._fault

    def _warm_up(self, tasks: list[Task]) -> list[Task]:
        """A model in this process loads with its first call, which is no measurement."""
        first: dict[str, Task] = {}
        for task in tasks:
            model = task.arm.variant.model
            if model not in self._host._warm and self._host._client.runtime(model).kind == "embedded":
                first.setdefault(model, task._replace(position=-1, warmup=True))
        self._host._warm.update(first)
        return [] if any(task.warmup for task in tasks) else list(first.values())

    async def _work(self, todo: deque[Task], purse: Purse | None) -> None:
        while todo and not (self._host._halted or self._unpaid or self._fault):
            task = todo.popleft()
            most = self._most(task)
            if purse is not None and not await purse.begin(most):
                self._unpaid = True
                return
            spent: float | None = 0.0
            try:
                outcome, row = await self._asker.ask(task, self._shard.examples[task.example])
                spent = row.spent if row.error is None else 0.0
            except asyncio.CancelledError:
                spent = None  # the server may have charged it
                raise
            finally:
                if purse is not None:
                    purse.end(most, spent)
            self._consecutive = 0 if outcome.error is None else self._consecutive + 1
            if self._consecutive >= _MOST_CONSECUTIVE_ERRORS:
                return  # the caller counts them too, and ends the run

    def _most(self, task: Task) -> float:
        """Dollars that a call costs at most."""
        job, arm = self._host._job, task.arm
        if job.usd is None:
            return 0.0
        inputs = self._shard.examples[task.example].inputs
        request = request_for(arm.variant, inputs, arm.params[task.repeat], job.timeout)
        size = len(request.text().encode()) + 8 * len(request.messages)
        known = self._shard.most[self._host._arms.index(arm)] if self._shard.most else 0.0
        return max(ceiling(arm.variant, size, self._host._client.price) or 0.0, known)

    def _keep(self, row: Call) -> None:
        self._segment.append(row)
        self._lines.append(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS))


def _settings(job: Job) -> Settings:
    """This worker's own, with the caller's endpoints: their keys from the environment here, and their addresses too where it
    sets any."""
    own = load_settings()
    endpoints = dict(own.endpoints)
    for name, given in job.endpoints.items():
        here = own.endpoints.get(name)
        key = here.key if here is not None and here.key_setting == given.key_setting else None
        if key is None and given.key_setting and os.environ.get(given.key_setting):
            key = Secret(os.environ[given.key_setting])
        addressed = (
            here is not None and here.configured and not (here.key_setting and here.by.startswith(here.key_setting))
        )
        urls = here.urls if here is not None and addressed and here.urls else given.urls
        endpoints[name] = replace(given, key=key, urls=urls)
    return replace(own, endpoints=endpoints)


def _store(settings: Settings) -> str:
    if settings.redis_url is None:
        raise StoreError(
            "this worker has no REDIS_URL, and the run has a budget or its endpoint one a minute, which are kept in one ledger: "
            "set it in the worker's environment to the store that the caller has."
        )
    return settings.redis_url.reveal()


def _place(task: Task) -> tuple[str, int, int, bool]:
    return task.arm.label, task.example, task.repeat, task.warmup


def _kept(folder: Path, shard: Shard, job: Job) -> dict[tuple[str, int, int, bool], bytes]:
    """Answers of an earlier try of this shard, by place."""
    found: dict[tuple[str, int, int, bool], bytes] = {}
    for path in sorted(folder.glob("rows-*.jsonl")):
        for row in read_rows(path):
            if row["error"] is None:
                place = (row["variant"], row["example"], row["repeat"], row["warmup"])
                found.setdefault(place, orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    return found


def _lines(paths: Iterable[Path]) -> Iterable[bytes]:
    for path in paths:
        with suppress(OSError):
            text = path.read_bytes()
            yield text[: text.rfind(b"\n") + 1]


def _sentence(error: BaseException) -> str:
    if isinstance(error, WorkbenchError):
        return str(error)
    kind = type(error)
    store = "the ledger (REDIS_URL) failed: " if kind.__module__.partition(".")[0] == "redis" else ""
    return f"{store}{kind.__name__}: {error}"
