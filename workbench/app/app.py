"""What an application calls: the live release of a feature, the arm of a user, the answer, and what became of it later.

    choose (memory) -> exposed -> render -> release's model -> fallback's model, text -> row and counts, together

Only the first call of a feature waits for the key-value store; no fault of the store, the log or the disk reaches who asked.
docs/applications.md says what is counted, and how.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from workbench.app.ask import Ask, Way
from workbench.client import Client
from workbench.errors import CallError, InputError, ReleaseNotFoundError, RunError, StoreError
from workbench.online.assignment import Assignment, Parsed, assign
from workbench.online.counters import Counters, check_outcome
from workbench.records import Chunk, Completion, Feedback, Release
from workbench.running.background import BackgroundLoop
from workbench.running.forking import begin_anew, keep

if TYPE_CHECKING:
    from workbench.calls import CallLog
    from workbench.online.assignment import Why
    from workbench.releases import Live, Releases, Watcher, WatchState
    from workbench.stores.keyvalue import KeyValue

__all__ = ["App"]

_FIRST = 5.0  # seconds for the store to say what is live, where nothing is known yet
_FIRST_KNOWN = 1.0  # and where the last known good is there
_SEEN_WITHIN = 10.0  # seconds in which a change of what is live must be seen here
_REMEMBERED = 10_000  # calls whose feedback needs no look into the log

Second = Callable[[], tuple[Client, Callable[[], Awaitable[None]]]]


class App:
    """Calls features. One for a process; any number of tasks, event loops and threads may use it.

    kv: where counts go. log: takes the rows. second: makes a client, and what closes it, for `call_sync`'s thread.
    clock: monotonic seconds. wall: Unix seconds. fault: why the last row could not be logged, empty if it could.
    """

    def __init__(
        self,
        client: Client,
        releases: Releases,
        kv: KeyValue,
        log: CallLog,
        second: Second,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.counters = Counters(kv, clock=wall)
        self.fault = ""
        self._client = client
        self._kv = kv
        self._releases = releases
        self._log = log
        self._second = second
        self._clock = clock
        self._wall = wall
        self._lock = threading.Lock()
        self._watcher: Watcher | None = None
        self._asked: set[str] = set()
        self._parsed = Parsed()
        self._recent: OrderedDict[str, _Made] = OrderedDict()
        self._background = BackgroundLoop("await bench.call(…)")
        self._other: tuple[Client, Callable[[], Awaitable[None]]] | None = None
        begin_anew(self)

    def after_fork(self) -> None:
        """Another second client: this one's connections are the parent's, as are the calls that it counts as under way."""
        keep(self._other)
        self._lock, self._other = threading.Lock(), None

    # -- what is live ---------------------------------------------------------------------------------------------

    async def ready(self, feature: str) -> Live:
        """What is live, once the store has been asked, or is known not to answer. An application may call it when it starts.

        Raises ReleaseNotFoundError if nothing is live; StoreError if nothing is known.
        """
        watcher = self._watch(feature)
        if feature not in self._asked:
            patience = _FIRST if watcher.current(feature) is None else _FIRST_KNOWN
            await watcher.ready(feature, timeout=patience)
            self._asked.add(feature)
        return self._known(feature, watcher)

    def _known(self, feature: str, watcher: Watcher) -> Live:
        live = watcher.current(feature)
        if live is None:
            state = watcher.state(feature)
            if state.fault or not state.answered:
                fault = state.fault or f"the store ({self._kv.address}) has not answered yet"
                raise StoreError(
                    f"it is not known what is live for {feature}: {fault}, and this machine has no last known good of it."
                )
            raise ReleaseNotFoundError(
                f"nothing is live for {feature}: make a release of it, bench.releases.create({feature!r}, …, reason=…)."
            )
        return live

    async def seen(self, feature: str, sequence: int) -> Live:
        """What is live, once this application has seen the change of that number; raises as `ready`, and StoreError if it has not
        in ten seconds. For who changes and calls in one breath: others see it within milliseconds."""
        ends = self._clock() + _SEEN_WITHIN
        while (live := await self.ready(feature)).sequence < sequence:
            if self._clock() > ends:
                raise StoreError(
                    f"this application does not see change {sequence} of {feature}, made {_SEEN_WITHIN:g} s ago."
                )
            await asyncio.sleep(0.001)
        return live

    def state(self, feature: str) -> WatchState:
        """What is known to be live, from where, how old, and what is wrong: for a health check."""
        return self._watch(feature).state(feature)

    def choose(self, feature: str, user: str | None) -> tuple[Release, Assignment]:
        """What a user gets: a look into memory. Raises ReleaseNotFoundError for a feature that was not asked for before."""
        live = None if self._watcher is None else self._watcher.current(feature)
        if live is None:
            raise ReleaseNotFoundError(f"nothing is known to be live for {feature}: `await ready({feature!r})` first.")
        running = self._parsed.of(feature, live.experiment, live.release.number)
        if running is None:
            return live.release, Assignment(live.release.number)
        given = assign(running, user)
        return live.releases[given.release], given

    # -- calling --------------------------------------------------------------------------------------------------

    async def call(
        self,
        feature: str,
        values: Mapping[str, Any],
        *,
        user: str | None = None,
        tenant: str | None = None,
        timeout: float = 120.0,
        cached: bool | None = None,
    ) -> Completion:
        """See `Workbench.call`."""
        await self.ready(feature)
        return await self._answer(self._client, *self._begin(feature, values, user, tenant, timeout), cached)

    def call_sync(
        self,
        feature: str,
        values: Mapping[str, Any],
        *,
        user: str | None = None,
        tenant: str | None = None,
        timeout: float = 120.0,
        cached: bool | None = None,
    ) -> Completion:
        """`call` for code that does not await; any number of threads may wait in it."""

        async def job() -> Completion:
            await self.ready(feature)
            if self._other is None:
                self._other = self._second()
            begun = self._begin(feature, values, user, tenant, timeout)
            return await self._answer(self._other[0], *begun, cached)

        return self._background.run(job)

    async def call_stream(
        self,
        feature: str,
        values: Mapping[str, Any],
        *,
        user: str | None = None,
        tenant: str | None = None,
        timeout: float = 120.0,
        cached: bool | None = None,
    ) -> AsyncGenerator[Chunk, None]:
        """See `Workbench.call_stream`."""
        await self.ready(feature)
        way: Way | None
        ask, way = self._begin(feature, values, user, tenant, timeout)
        with self._accounted(ask):
            while way is not None:
                begun = False
                sending = self._client.stream(
                    way.request, retries=way.retries, cached=cached, meaning=way.meaning, sink=ask.rows.append, **ask.fields()
                )  # fmt: skip
                try:
                    async with aclosing(sending) as chunks:
                        async for chunk in chunks:
                            begun = True
                            if chunk.completion is not None:
                                chunk = replace(chunk, completion=ask.answered(chunk.completion, self._clock()))
                            yield chunk
                    return
                except (CallError, InputError) as error:
                    ask.failed(error, self._wall())
                    way = None if begun else ask.after(error)
                    if way is None and (begun or not ask.has_text(error)):
                        raise
            text = ask.say_text(self._clock())
            yield Chunk(text.text)
            yield Chunk(completion=text)

    async def _answer(self, client: Client, ask: Ask, way: Way | None, cached: bool | None) -> Completion:
        with self._accounted(ask):
            while way is not None:
                try:
                    found = await client.complete(
                        way.request, retries=way.retries, cached=cached, meaning=way.meaning, sink=ask.rows.append, **ask.fields()
                    )  # fmt: skip
                    return ask.answered(found, self._clock())
                except (CallError, InputError) as error:
                    ask.failed(error, self._wall())
                    way = ask.after(error)
                    if way is None and not ask.has_text(error):
                        raise
            return ask.say_text(self._clock())

    # -- what became of it ----------------------------------------------------------------------------------------

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
        """See `Workbench.feedback`."""
        check_outcome(name, value)
        made = self._recent.get(call_id) or self._in_log(call_id)
        if made is None:
            if feature is None or user is None:
                raise InputError(
                    f"there is no call {call_id!r} in the log of this machine ({self._log.folder}). Feedback finds a call by the "
                    "log that it was written to: share one WORKBENCH_HOME, or say whose call it was: feature=…, user=…"
                )
            watcher = self._watch(feature)
            watcher.wait(feature)
            self._known(feature, watcher)
            made = _Made(feature, self.choose(feature, user)[1], user, None)
        given = made.given
        self._log.add_feedback(
            Feedback(
                call_id, self._wall(), name, float(value), comment, made.feature, given.release or None, given.experiment,
                given.arm, made.user, made.tenant,
            )
        )  # fmt: skip
        if made.feature is not None:
            self.counters.outcome(made.feature, given, made.user, name, float(value))

    def _in_log(self, call_id: str) -> _Made | None:
        row = self._log.find(call_id)
        if row is None:
            return None
        why = cast("Why", row.get("exposure") or "outside")
        given = Assignment(
            row.get("release") or 0, row.get("arm"), row.get("experiment"), bool(row.get("counted")), why=why
        )
        return _Made(row.get("feature"), given, row.get("user"), row.get("tenant"))

    # -- ending ---------------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Send what was counted, and end the threads; at most some seconds."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        other = self._other
        try:

            async def last() -> None:
                if other is not None:
                    await other[1]()

            self._background.close(last)
        finally:
            if self._watcher is not None:
                self._watcher.close()
            self.counters.close()

    # -- how ------------------------------------------------------------------------------------------------------

    def _watch(self, feature: str) -> Watcher:
        if self._watcher is None:
            with self._lock:
                self._watcher = self._watcher or self._releases.watch(feature)
        if feature not in self._asked:
            self._watcher.add(feature)
        return self._watcher

    def _begin(
        self, feature: str, values: Mapping[str, Any], user: str | None, tenant: str | None, timeout: float
    ) -> tuple[Ask, Way]:
        """Choose, say that the user is exposed, and render. A prompt that lacks a value is an error of its arm."""
        if user is not None and not isinstance(user, str):
            raise InputError(
                f"user = {user!r} must be a text, equal for the same user everywhere, such as an account's id."
            )
        if tenant is not None and not isinstance(tenant, str):
            raise InputError(
                f"tenant = {tenant!r} must be a text, such as a customer's id: budgets and figures go by it."
            )
        release, given = self.choose(feature, user)
        self.counters.exposed(feature, given, user)
        ask = Ask(release, given, user or None, tenant, values, timeout, self._clock())
        try:
            return ask, ask.first()
        except InputError as error:
            with self._accounted(ask):
                ask.failed(error, self._wall())
                raise

    @contextmanager
    def _accounted(self, ask: Ask) -> Iterator[None]:
        """Rows and counts, whatever happens."""
        try:
            yield
        finally:
            made = _Made(ask.release.feature, ask.given, ask.user, ask.tenant)
            for row in ask.rows:
                try:
                    self._log.append(row)
                    self.fault = ""
                except (RunError, OSError, TypeError) as error:  # a full disk is no reason to fail who asked
                    self.fault = str(error)
                with self._lock:
                    self._recent[row.call_id] = made
                    if len(self._recent) > _REMEMBERED:
                        self._recent.popitem(last=False)
            spent = [row.spent for row in ask.rows if row.spent is not None]
            self.counters.called(
                made.feature or "", ask.given, ask.user, error=ask.error, latency=ask.latency,
                cost=sum(spent) if spent else None,
            )  # fmt: skip


class _Made(NamedTuple):
    """Whose call it was."""

    feature: str | None
    given: Assignment
    user: str | None
    tenant: str | None
