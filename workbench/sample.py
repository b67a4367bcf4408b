"""A month of calls to look at before there are any: made through the scripted runtime and real releases, on a clock of its own.

Nothing in it is typed in: an application's users call two features, answers are cached, priced, scored and fail as the script
says, a release is made that is too slow and is rolled back. It lives in a folder of its own and touches no real log.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from workbench.cache.cache import Cache
from workbench.cache.exact import ExactCache
from workbench.cache.shadow import ShadowLog
from workbench.calls import CallLog, CallScore
from workbench.client import Client
from workbench.errors import CallError, InputError
from workbench.records import Call, Completion, digest
from workbench.serving.scripted import Rule, Scripted
from workbench.settings import load_settings
from workbench.stores.valkey import EmbeddedValkey
from workbench.workbench import Workbench

if TYPE_CHECKING:
    import numpy as np

__all__ = ["make_sample"]

_TRIAGE: Final = (
    "Label the message as bug, billing or other.\n{{message}}",
    "Label the message as bug, billing or other. Money first.\n{{message}}",
    "Think step by step, then label the message as bug, billing or other. Money first.\n{{message}}",
)
_ANSWERS: Final = ("Answer from the manual, in one sentence.\n{{context}}\n\n{{question}}",)
_MESSAGES = (
    (0.30, "Where is the invoice of order {}?", "billing"),
    (0.25, "The app closes itself when I open order {}.", "bug"),
    (0.25, "Charged twice for order {}, and now the app closes itself.", "billing"),
    (0.20, "Thank you for order {}!", "other"),
)
_MANUAL = (
    (
        "The pump runs for 40 minutes, then rests for 10.",
        "How long does the pump run?",
        "The pump runs for 40 minutes.",
    ),
    ("Change the filter every 3 months.", "When do I change the filter?", "Change the filter every 6 months."),
    ("The warranty is 2 years from the day of purchase.", "How long is the warranty?", "The warranty is 2 years."),
    ("Hold the button for 5 seconds to reset it.", "How do I reset it?", "Hold the button for 5 seconds to reset it."),
)
_PATIENT = 10.0  # seconds
_WRITTEN = ("match", "answer", "model", "delay", "error", "error_rate", "first_token")
_PRICES = """["scripted/small"]
input = 15.0
output = 60.0
since = 2026-01-01

["scripted/large"]
input = 150.0
output = 600.0
since = 2026-01-01
"""


def _rules() -> list[Rule]:
    def rule(match: str, answer: str, model: str, delay: tuple[float, float], error: str, rate: float) -> Rule:
        return Rule(match, answer, model=model, delay=delay, error=error, error_rate=rate, prompt_tokens=None)

    made = []
    for model, delay in (("small", (0.25, 0.9)), ("large", (0.7, 2.6))):
        slow = (delay[0] * 3, delay[1] * 4)
        made += [
            rule("(?s)step by step.*Charged twice", "billing", model, slow, "CallTimeoutError", 0.4),
            rule("(?s)step by step.*closes itself", "bug", model, slow, "CallTimeoutError", 0.4),
            rule("(?s)step by step.*invoice", "billing", model, slow, "CallTimeoutError", 0.4),
            rule("(?s)Money first.*Charged twice", "billing", model, delay, "RateLimitError", 0.27),
            rule("Charged twice", "bug", model, delay, "RateLimitError", 0.27),
            rule("closes itself", "bug", model, delay, "ServerError", 0.27),
            rule("invoice", "billing", model, delay, "RateLimitError", 0.27),
        ]
        made += [
            rule(question.replace("?", r"\?"), said, model, delay, "ServerError", 0.27) for _, question, said in _MANUAL
        ]
        made.append(Rule(None, "other", model=model, delay=delay))
    return made


def _rules_as_toml() -> str:
    """The script in the sample's settings, so that its models also answer whoever asks them later."""
    rows = []
    for rule in _rules():
        values = {name: value for name in _WRITTEN if (value := rule.plain()[name]) is not None}
        rows.append("\n".join(f"{name} = {json.dumps(value)}" for name, value in values.items()))
    return "".join(f"\n[[endpoints.scripted.options.rules]]\n{row}\n" for row in rows)


class _Clocked(CallLog):
    """A log whose rows are of the sample's time, also those of calls that failed or came from the cache."""

    def __init__(self, folder: Path, runs: Path, sample: _Clock) -> None:
        super().__init__(folder, runs)
        self._sample = sample
        self.last: Call | None = None

    def append(self, call: Call) -> None:
        took = 0.0 if call.source != "model" else call.latency or 0.0
        self.last = replace(call, ended_at=self._sample.now + took)
        super().append(self.last)


class _Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def _prepare(folder: Path) -> None:
    marker = folder / ".workbench-sample"
    if folder.exists():
        if any(folder.iterdir()) and not marker.exists():
            raise InputError(f"{folder} is not empty and holds no sample: choose another folder for it.")
        EmbeddedValkey(folder / ".workbench").stop()
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    marker.touch()
    (folder / "workbench.toml").write_text(f'model = "scripted/small"\nauthor = "sample"\n{_rules_as_toml()}')
    (folder / "prices.toml").write_text(_PRICES)


async def make_sample(
    folder: Path | None = None, *, days: int = 30, calls: int = 120, seed: int = 0, now: float | None = None
) -> Workbench:
    """A workbench over a sample of so many days with about so many calls a day, up to `now` (Unix seconds).

    folder: by default `sample` in the project's home; made anew; one that holds anything else than a sample is refused. Takes
    some seconds. Close it when you are done.
    """
    import numpy as np

    if days < 2 or calls < 1:
        raise InputError(f"days = {days} must be at least 2, and calls = {calls} at least 1.")
    if folder is None:
        project = load_settings()
        project.make_home()
        folder = project.home / "sample"
    await asyncio.to_thread(_prepare, folder)
    end = time.time() if now is None else now
    clock, rng = _Clock((end - days * 86_400) // 86_400 * 86_400), np.random.default_rng(seed)
    settings = load_settings(folder, environ={})
    runtime = Scripted(_rules(), seed=seed, sleep=_no_wait, clock=clock)
    log = _Clocked(settings.calls, settings.runs, clock)
    runtimes = {"scripted": runtime}
    bench = Workbench(settings=settings, runtimes=runtimes, clock=clock, calls=log)
    # a cache with time: on a busy machine one slow look-up would be half a minute without it, which here is weeks
    kv = bench.cache.exact.kv
    bench.cache = Cache(ExactCache(kv, deadline=_PATIENT), None, ShadowLog(kv))
    # the same client, which does not wait before it tries again
    bench.client = Client(settings, log=log, runtimes=runtimes, cache=bench.cache, sleep=_no_wait)
    for number, text in enumerate(_TRIAGE, 1):
        bench.prompts.create("triage", text, message=("first try", "money first", "let it think")[number - 1])
    bench.prompts.create("manual", _ANSWERS[0], message="from the manual")
    _release(bench, "triage-api", "triage@1", "scripted/small", "first release")
    _release(bench, "manual-api", "manual@1", "scripted/large", "first release")
    changes = {round(days * 0.35): "better", round(days * 0.7): "slow", round(days * 0.7) + 2: "back"}
    while clock.now < end:
        day = round((clock.now - (end - days * 86_400)) // 86_400)
        await _change(bench, changes.get(day))
        weekend = time.gmtime(clock.now).tm_wday >= 5
        count = int(rng.poisson(calls * (0.35 if weekend else 1.0) * (1 + day / days / 2)))
        # most calls come by day: two hours in the middle of the spread make the noon
        seconds = np.sort(np.clip(rng.normal(13.5 * 3600, 3.2 * 3600, count), 0, 86_399))
        midnight = clock.now // 86_400 * 86_400
        for second in seconds:
            clock.now = midnight + float(second)
            if clock.now >= end:
                break
            await _call(bench, log, rng)
        clock.now = midnight + 86_400
    clock.now = end
    return bench


def _release(bench: Workbench, feature: str, prompt: str, model: str, reason: str) -> None:
    (variant,) = bench.variants([prompt], [model], {"temperature": 0})
    bench.releases.create(feature, variant, reason=reason)


async def _change(bench: Workbench, what: str | None) -> None:
    if what is None:
        return
    releases = bench.releases
    if what == "better":
        await asyncio.to_thread(
            _release, bench, "triage-api", "triage@2", "scripted/small", "double charges are billing"
        )
    elif what == "slow":
        await asyncio.to_thread(_release, bench, "triage-api", "triage@3", "scripted/large", "let it think")
    else:
        await asyncio.to_thread(releases.rollback, "triage-api", reason="p95 above 5 s, timeouts")
    wanted = await asyncio.to_thread(releases.must_be_live, "triage-api")
    await bench.app.seen("triage-api", wanted.sequence)


async def _call(bench: Workbench, log: _Clocked, rng: np.random.Generator) -> None:
    answer: Completion | None = None
    user, tenant = f"user-{rng.zipf(1.6) % 300}", "acme" if rng.random() < 0.7 else "globex"
    try:
        if rng.random() < 0.72:
            kind = int(rng.choice(len(_MESSAGES), p=[share for share, _, _ in _MESSAGES]))
            _, text, right = _MESSAGES[kind]
            number = (
                7 if rng.random() < 0.25 else int(rng.integers(10_000, 99_999))
            )  # some ask the same: a cache's work
            answer = await bench.call("triage-api", message=text.format(number), user=user, tenant=tenant)
            scorer, value = "exact_match", float(answer.text == right)
        else:
            context, question, _ = _MANUAL[int(rng.integers(len(_MANUAL)))]
            question = f"{question} (serial {int(rng.integers(400))})"
            # as a chat would show it, word by word
            async for chunk in bench.call_stream(
                "manual-api", context=context, question=question, user=user, tenant=tenant
            ):
                answer = chunk.completion or answer
            assert answer is not None  # noqa: S101  (the last piece carries it)
            words, known = answer.text.lower().split(), context.lower().split()
            scorer, value = "words_in_context", sum(word.strip(".,") in " ".join(known) for word in words) / len(words)
    except CallError:
        return
    row = log.last
    if row is not None and row.call_id == answer.call_id and rng.random() < 0.5:
        log.add_score(
            CallScore(
                call_id=row.call_id, scorer=scorer, scorer_digest=digest([scorer]), scored_at=row.ended_at, value=value,
                called_at=row.ended_at, model=row.model, prompt_ref=row.prompt_ref, feature=row.feature, release=row.release,
                user=row.user, tenant=row.tenant, spent=0.0,
            )
        )  # fmt: skip


async def _no_wait(_: float) -> None:
    """The scripted model's seconds are told, not waited for."""
