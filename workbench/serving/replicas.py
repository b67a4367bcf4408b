"""Several addresses of one endpoint: the one with the fewest calls in flight is asked, one that fails rests and comes back.

This serves one process well. Many processes, or prefix-aware routing, are better served by a real router in front (vLLM's
production stack, llm-d, nginx): give the endpoint its one address.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence

__all__ = ["Replica", "Replicas"]

_REFUSALS = 3  # failures in a row after which one of several addresses rests; a single address gets _REFUSALS_ALONE
_REFUSALS_ALONE = 5
_REST, _LONGEST_REST = 1.0, 30.0


class Replica:
    """One address and what it is at. outstanding: calls in flight. failures: in a row; lost: in all.
    resting_until: monotonic seconds."""

    __slots__ = (
        "failures",
        "lost",
        "outstanding",
        "probe",
        "rest",
        "resting_until",
        "served",
        "url",
        "why",
    )

    def __init__(self, url: str) -> None:
        self.url = url
        self.outstanding = 0
        self.served = 0
        self.failures = 0
        self.lost = 0
        self.rest = _REST
        self.resting_until = 0.0
        self.why = ""
        self.probe: asyncio.Task[bool] | None = None

    def __repr__(self) -> str:
        state = f"resting: {self.why}" if self.resting_until else "up"
        return f"Replica({self.url!r}, {self.outstanding} in flight, {self.served} served, {state})"


class Replicas:
    """The addresses of one endpoint.

    alive: asks one address whether it answers again; it must end by itself. clock: monotonic seconds.
    """

    def __init__(
        self,
        urls: Sequence[str],
        alive: Callable[[str], Awaitable[bool]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.all = tuple(Replica(url) for url in urls)
        self._alive = alive
        self._clock = clock
        self._turn = 0

    def __repr__(self) -> str:
        return f"Replicas({list(self.all)!r})"

    async def choose(self, tried: Collection[Replica] = ()) -> Replica | None:
        """The address to ask next, None if all that are left rest. One whose rest is over is asked only after a probe."""
        if len(self.all) == 1 and not self.all[0].resting_until:
            return None if tried else self.all[0]
        up = self._up(tried)
        due = [r for r in self.all if r.resting_until and r.resting_until <= self._clock() and r not in tried]
        probes = {self._probe(replica) for replica in due}
        while probes and not up:
            _, probes = await asyncio.wait(probes, return_when=asyncio.FIRST_COMPLETED)
            up = self._up(tried)
        if not up:
            return None
        self._turn += 1
        first = self._turn % len(up)  # equal ones take turns
        return min(up[first:] + up[:first], key=lambda replica: replica.outstanding)

    def worked(self, replica: Replica) -> None:
        """It answered, whatever it said."""
        replica.failures = 0
        if replica.resting_until:
            self._return(replica)

    def failed(self, replica: Replica, why: str, *, refused: bool = False) -> None:
        """It could not be reached or broke off. refused: nobody listens there, so one of several rests at once."""
        replica.failures += 1
        replica.lost += 1
        most = _REFUSALS_ALONE if len(self.all) == 1 else 1 if refused else _REFUSALS
        if replica.failures >= most and not replica.resting_until:
            self._eject(replica, why)

    def retry_after(self) -> float:
        """Seconds until the first of the resting ones may be asked again."""
        return max(0.0, min(replica.resting_until for replica in self.all) - self._clock())

    def lost(self) -> dict[str, int]:
        """Calls that each address failed so far; empty where there is one alone."""
        return {replica.url: replica.lost for replica in self.all} if len(self.all) > 1 else {}

    async def aclose(self) -> None:
        """Stop the probes of the running event loop."""
        loop = asyncio.get_running_loop()
        probes = [r.probe for r in self.all if r.probe and not r.probe.done() and r.probe.get_loop() is loop]
        for probe in probes:
            probe.cancel()
        await asyncio.gather(*probes, return_exceptions=True)

    def _up(self, tried: Collection[Replica]) -> list[Replica]:
        return [r for r in self.all if not r.resting_until and r not in tried]

    def _eject(self, replica: Replica, why: str) -> None:
        replica.why = why
        replica.resting_until = self._clock() + replica.rest
        replica.rest = min(2 * replica.rest, _LONGEST_REST)

    def _return(self, replica: Replica) -> None:
        replica.resting_until, replica.rest, replica.why, replica.failures = 0.0, _REST, "", 0

    def _probe(self, replica: Replica) -> asyncio.Task[bool]:
        """The running probe of this address, or a new one; a probe of a loop that has ended is forgotten."""
        loop = asyncio.get_running_loop()
        if replica.probe is None or replica.probe.done() or replica.probe.get_loop() is not loop:
            replica.probe = loop.create_task(self._ask(replica))
        return replica.probe

    async def _ask(self, replica: Replica) -> bool:
        answers = await self._alive(replica.url)
        if answers:
            self._return(replica)
        else:
            self._eject(replica, replica.why)
        return answers
