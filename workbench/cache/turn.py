"""One request's way through the exact cache: whoever is first asks the model, the others wait for the answer."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self
from weakref import WeakKeyDictionary

from workbench.cache.codec import CorruptError, Entry, UnfitError, decode, encode
from workbench.cache.local import LocalLayer
from workbench.cache.shared import FaultError, SharedLayer
from workbench.cache.stats import Layer, Tally
from workbench.errors import StoppedError
from workbench.records import Completion

__all__ = ["Cost", "Flights", "Parts", "Turn", "not_kept"]

Cost = Callable[[Completion], float | None]
"""Dollars of an answer, None if unknown."""

Outcome = Entry | Literal["again", "alone"]
"""Of a flight: its answer; "again": who led it left, another may lead; "alone": its answer is not kept, so all ask themselves."""

_FIRST_POLL, _LONGEST_POLL = 0.01, 0.1  # seconds
_OPEN_FOR = 2.0  # seconds for which nobody waits for anybody after an answer that is not kept
_REPAIRS = 3


class Flights:
    """What is being asked now in this process, by event loop: place -> the outcome to come."""

    def __init__(self) -> None:
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str], asyncio.Future[Outcome]]] = (
            WeakKeyDictionary()
        )

    def here(self) -> dict[tuple[str, str], asyncio.Future[Outcome]]:
        """Those of the running loop."""
        loop = asyncio.get_running_loop()
        found = self._loops.get(loop)
        if found is None:
            found = self._loops[loop] = {}
        return found


@dataclass(frozen=True, slots=True)
class Parts:
    """What turns work with. Fields and units as in `ExactCache`."""

    local: LocalLayer
    shared: SharedLayer
    tally: Tally
    flights: Flights
    ttl: float
    lease: float
    largest: int
    clock: Callable[[], float]
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    rng: random.Random


class Turn:
    """found: the answer, None if the model has to be asked; its answer is then given to `keep`. One use, as `async with`."""

    __slots__ = ("_cost", "_epoch", "_flight", "_key", "_parts", "_patience", "_renewing", "_scope", "_settled", "_token",
                 "_ttl", "found")  # fmt: skip

    def __init__(
        self, parts: Parts, key: str, scope: str, *, cost: Cost | None, ttl: float | None, patience: float
    ) -> None:
        self._parts = parts
        self._key = key
        self._scope = parts.local.scope(scope)
        self._cost = cost
        self._ttl = parts.ttl if ttl is None else ttl
        self._patience = patience
        self._flight: asyncio.Future[Outcome] | None = None
        self._epoch: bytes | None = None
        self._token = ""
        self._renewing: asyncio.Task[None] | None = None
        self._settled = False
        self.found: Completion | None = None

    async def __aenter__(self) -> Self:
        parts, place = self._parts, (self._scope.name, self._key)
        now = parts.clock()
        entry = parts.local.get(*place, parts.monotonic(), now)
        if entry is not None:
            parts.tally.hit(self._scope.name, "local", entry, now)
            self.found = entry.completion
            return self
        flights = parts.flights.here()
        if place in flights:
            ends = parts.monotonic() + self._patience
            while (flight := flights.get(place)) is not None:
                done, _ = await asyncio.wait({flight}, timeout=max(ends - parts.monotonic(), 0.0))
                outcome = flight.result() if done else "alone"
                if isinstance(outcome, Entry):
                    self._serve(outcome, "shared")
                    return self
                if outcome == "alone":
                    self._epoch = self._scope.epoch
                    return self
        self._flight = flights[place] = asyncio.get_running_loop().create_future()
        try:
            await self._look_up()
        except BaseException:
            self._land("again")
            raise
        return self

    @property
    def epoch(self) -> bytes | None:
        """Changes when the scope is cleared; None where the store could not be asked."""
        return self._epoch

    def serve(self, completion: Completion, *, cost: float | None) -> None:
        """Answer with what was found by meaning, also those in this process who wait for it; it is not kept under this key."""
        entry = Entry(self._parts.clock(), cost, completion.timing.total, 0, completion, None)
        self._serve(entry, "semantic")
        self._land(entry)

    async def keep(self, completion: Completion) -> None:
        """Store the model's answer, if it is fit to be kept, and give it to those who wait for it."""
        parts, name = self._parts, self._scope.name
        try:
            if not_kept(completion) is not None:
                raise UnfitError
            expires_at = parts.clock() + self._ttl
            price = self._cost(completion) if self._cost is not None else None
            value, entry = encode(completion, expires_at=expires_at, cost=price, largest=parts.largest)
        except UnfitError:
            parts.tally.of(name).not_kept += 1
            return
        self._settled = True
        self._land(entry)
        if self._epoch is None or self._ttl <= 0:  # the store could not be asked, so it is not told
            return
        parts.local.put(name, self._key, self._epoch, entry)
        with suppress(FaultError):
            await parts.shared.put(self._scope, self._key, self._epoch, value, self._ttl)
            parts.tally.of(name).kept += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.found is None:
            self._parts.tally.of(self._scope.name).misses += 1
        left = error is not None and (not isinstance(error, Exception) or isinstance(error, StoppedError))
        if error is not None and not left:
            self._parts.tally.of(self._scope.name).errors += 1
        self._land("again" if left else "alone")
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
            with suppress(FaultError):
                open_for = 0.0 if left or self._settled else _OPEN_FOR
                await self._parts.shared.release(self._scope, self._key, self._token, open_for=open_for)

    async def _look_up(self) -> None:
        """In the store, then, for as long as somebody elsewhere asks the same, again and again."""
        parts = self._parts
        with suppress(FaultError):
            fresh = parts.local.is_fresh(self._scope, parts.monotonic())
            if await self._accept(await parts.shared.read(self._scope, self._key, fresh=fresh), "store"):
                return
            token, pause, repairs = secrets.token_hex(16), _FIRST_POLL, 0
            ends = parts.monotonic() + self._patience
            while True:
                claim = await parts.shared.claim(self._scope, self._key, token)
                self._epoch = self._scope.epoch
                if claim.lease == "mine":
                    self._token = token
                    self._renewing = asyncio.create_task(self._renew())
                    return
                if claim.lease == "none":
                    if await self._accept(claim.value, "shared") or repairs == _REPAIRS:
                        return
                    repairs += 1
                elif claim.lease == "open" or parts.monotonic() >= ends:
                    self._land("alone")
                    return
                else:
                    await parts.sleep(pause * parts.rng.uniform(0.5, 1.0))
                    pause = min(1.5 * pause, _LONGEST_POLL)

    async def _accept(self, value: bytes | None, layer: Literal["store", "shared"]) -> bool:
        """Serve what the store has, or remove what may not be served."""
        if value is None:
            return False
        parts = self._parts
        try:
            entry = decode(value, largest=parts.largest)
        except CorruptError:
            parts.tally.of(self._scope.name).corrupt += 1
            await parts.shared.drop(self._scope, self._key)
            return False
        if parts.clock() >= entry.expires_at:
            await parts.shared.drop(self._scope, self._key)
            return False
        if self._scope.epoch is not None:
            parts.local.put(self._scope.name, self._key, self._scope.epoch, entry)
        self._serve(entry, layer)
        self._land(entry)
        return True

    def _serve(self, entry: Entry, layer: Layer) -> None:
        self._parts.tally.hit(self._scope.name, layer, entry, self._parts.clock())
        self.found = entry.completion

    def _land(self, outcome: Outcome) -> None:
        """Tell those in this process who wait; only the first time counts."""
        flight, self._flight = self._flight, None
        if flight is not None:
            self._parts.flights.here().pop((self._scope.name, self._key), None)
            flight.set_result(outcome)

    async def _renew(self) -> None:
        while True:
            await self._parts.sleep(self._parts.lease / 3)
            with suppress(FaultError):
                await self._parts.shared.renew(self._scope, self._key, self._token)


def not_kept(completion: Completion) -> str | None:
    """Why an answer is not stored: it is a refusal, cut off, made from a truncated prompt, or not a model's. None if it is."""
    if completion.source != "model":
        return f"it is no model's answer but comes from the {completion.source} cache"
    if completion.refused or completion.finish_reason == "content_filter":
        return "it is a refusal"
    if completion.truncated:
        return "part of the prompt was left out"
    if completion.finish_reason not in ("stop", "tool_calls"):
        return f"it was cut off or its end is not known (finish_reason {completion.finish_reason})"
    return None
