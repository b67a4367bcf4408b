"""A rehearsal of releases: real releases, calls, counts and guard, with simulated users, a scripted model and a clock of its own.

Everything is in a temporary folder with an embedded Valkey of its own, so that a drill touches no real feature, whatever the
settings say. The model is scripted: three prompts, of which the second solves more than the first, and the third is too long for
messages with a log in them. Users differ: each writes mostly messages of one kind, so that the calls of one user are alike.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Final

from workbench.errors import CallError, InputError, StoreError
from workbench.online.guard import read_rules
from workbench.serving.scripted import Rule, Scripted
from workbench.settings import load_settings
from workbench.stores.valkey import EmbeddedValkey
from workbench.workbench import Workbench

if TYPE_CHECKING:
    from workbench.online.guard import Evaluation

__all__ = ["FEATURE", "PROMPTS", "Drill"]

FEATURE: Final = "triage-api"
_HEAD = "Label the message as bug, billing or other."
_MONEY = f"{_HEAD} Money first: a charge is billing, whatever else is wrong."
PROMPTS: Final = (
    f"{_HEAD}\n{{{{message}}}}",
    f"{_MONEY}\n{{{{message}}}}",
    f"{_MONEY} Here are forty examples: …\n{{{{message}}}}",
)
"""Of versions 1, 2 and 3."""

_KINDS = (  # (share of all messages, message, the right label)
    (0.28, "Where is the invoice of order {}?", "billing"),
    (0.22, "The app closes itself when I open order {}.", "bug"),
    (0.20, "Charged twice for order {}, and now the app closes itself.", "billing"),
    (0.20, "Order {} does not open. The log says:\nTraceback (most recent call last) …", "bug"),
    (0.10, "About order {}, you know.", "bug"),
)
_REFUSED = 0.01  # the share of all calls that a provider refuses, whatever the prompt


def _rule(match: str | None, answer: str) -> Rule:
    return Rule(match, answer, delay=(0.4, 1.1), error="BadRequestError", error_rate=_REFUSED)


_RULES = (
    Rule("(?s)forty examples.*Traceback", error="ContextLengthError"),
    _rule("(?s)Money first.*Charged twice", "billing"),
    _rule("Charged twice", "bug"),
    _rule("closes itself|Traceback", "bug"),
    _rule("invoice", "billing"),
    _rule(None, "other"),
)


class Drill:
    """`bench` is a workbench of its own, whose clock only `run` moves.

    users: how many there are; a few of them make most of the calls. calls: a minute. alike: correlation of the calls of a user,
    above 0 and below 1. start: Unix seconds, by default an hour ago.
    """

    def __init__(
        self, *, users: int = 2_000, calls: int = 100, alike: float = 0.3, seed: int = 0, start: float | None = None
    ) -> None:
        import numpy as np

        if not 0 < alike < 1 or users < 1 or calls < 1:
            raise InputError(f"a drill takes users, calls of at least 1 and 0 < alike < 1: {users}, {calls}, {alike}.")
        self.now = (time.time() - 3600 if start is None else start) // 60 * 60
        self._folder = tempfile.TemporaryDirectory(prefix="drill-")
        project = Path(self._folder.name)
        (project / "workbench.toml").write_text('model = "scripted/triage"\nauthor = "drill"\n')
        scripted = Scripted(_RULES, seed=seed, sleep=_no_wait, clock=self.clock)
        self.bench = Workbench(
            settings=load_settings(project, environ={"WORKBENCH_CACHE": "off"}), runtimes={"scripted": scripted},
            clock=self.clock,
        )  # fmt: skip
        self._rng, self._calls = np.random.default_rng(seed), calls
        activity = 1 + self._rng.pareto(1.5, users)
        self._activity = activity / activity.sum()
        shares = np.array([share for share, _, _ in _KINDS])
        # two draws from a share that is Dirichlet distributed with this total are correlated by `alike`
        self._kinds = self._rng.dirichlet(shares * (1 - alike) / alike, users)
        self._end = weakref.finalize(self, _clean, self._folder, EmbeddedValkey(self.bench.settings.home))

    def clock(self) -> float:
        """What time it is in the drill, Unix seconds."""
        return self.now

    async def run(self, minutes: int, *, until_alarm: bool = False) -> Evaluation | None:
        """Let users call for so many minutes, as fast as it goes. A guard looks after each, if the feature has guardrails;
        returns what it saw last. until_alarm: end when it acts."""
        found = None
        for _ in range(minutes):
            await self._minute()
            self.now += 60
            if await asyncio.to_thread(read_rules, self.bench._release_kv, FEATURE) is not None:
                found = await asyncio.to_thread(self.bench.experiments.guard, FEATURE)
            if until_alarm and found is not None and found.actions:
                break
        return found

    async def aclose(self) -> None:
        """End it: the store is stopped, the folder deleted."""
        await self.bench.aclose()
        self._end()

    # -- what an application does -----------------------------------------------------------------------------------

    async def _minute(self) -> None:
        await self._follow()
        users = self._rng.choice(len(self._activity), size=self._rng.poisson(self._calls), p=self._activity)
        kinds = [int(self._rng.choice(len(_KINDS), p=self._kinds[user])) for user in users]
        numbers = self._rng.integers(10_000, 100_000, len(users))
        calls = zip(users, kinds, numbers, strict=True)
        await asyncio.gather(
            *(self._call(f"user-{user}", _KINDS[kind][1].format(number), _KINDS[kind][2]) for user, kind, number in calls)
        )  # fmt: skip
        app = self.bench.app
        if not await asyncio.to_thread(app.counters.flush) or app.fault:
            raise StoreError(f"the drill's counts or rows were not taken: {app.counters.last_fault or app.fault}")

    async def _follow(self) -> None:
        """Until the application has seen the last change; an hour takes seconds, so some milliseconds would be minutes."""
        wanted = await asyncio.to_thread(self.bench.releases.must_be_live, FEATURE)
        await self.bench.app.seen(FEATURE, wanted.sequence)

    async def _call(self, user: str, message: str, right: str) -> None:
        try:
            answer = await self.bench.call(FEATURE, message=message, user=user)
        except CallError:
            return
        self.bench.feedback(answer.call_id or "", "solved", answer.text == right)


async def _no_wait(_: float) -> None:
    """The scripted model's seconds are told, not waited for."""


def _clean(folder: tempfile.TemporaryDirectory[str], server: EmbeddedValkey) -> None:
    server.stop()
    folder.cleanup()
