"""Score logged calls: plan first, then ask, and keep each score as soon as it is there.

log ─> candidates ─> ScorePlan (shown) ─> scorer (with a judge's budget) ─> row in `scores` ─> counts of the user's arm
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from filelock import FileLock, Timeout

from workbench import tables
from workbench.calls.context import scoring
from workbench.calls.rows import CallScore
from workbench.errors import InputError, RunError
from workbench.evaluation.scorers import as_scorer
from workbench.evaluation.scorers.scorer import Answer, Scorer
from workbench.frames import Every, Window, quality_frame
from workbench.online.assignment import Assignment, Why
from workbench.quality.candidates import Candidates, example_of, find_candidates, since_when
from workbench.quality.metered import Metered
from workbench.records import Score, digest, split_model
from workbench.running.progress import Progress, Reporter, default_reporter

if TYPE_CHECKING:
    import pandas as pd

    from workbench.calls import CallLog
    from workbench.client import Client
    from workbench.online.counters import Counters

__all__ = ["LiveQuality", "ScorePlan", "Scored"]

_AT_ONCE = 4
_NOT_JUDGED = ("the judge could not be asked", "scorer raised")  # how a failure begins that may pass
_FAILURES = 20  # in a row, after which nothing more is asked
# the short names, with a judge model and without
_SHORT = {
    "faithfulness": ("faithfulness_by_judge", "faithfulness_by_rules"),
    "relevance": ("relevance_by_judge", "relevance_by_embedding"),
}


@dataclass(frozen=True, slots=True)
class ScorePlan:
    """What scoring would do. usd_each: dollars that a score cost before, None where that is not known. budget: dollars."""

    feature: str
    scorer: Scorer
    scorer_digest: str
    candidates: Candidates
    usd_each: float | None
    budget: float | None

    @property
    def n(self) -> int:
        """How many calls would be scored."""
        return len(self.candidates.rows)

    def __str__(self) -> str:
        found, name = self.candidates, self.scorer.name
        before = f"{found.calls:,} answers of {self.feature} in that time, {found.judged:,} scored by {name} before"
        lines = [f"{before}; {self.n:,} would be scored now"]
        if found.hashed:
            lines.append(f"{found.hashed:,} have no text any more, and cannot be")
        if found.without_context and name.startswith("faithfulness"):
            lines.append(
                f"{found.without_context:,} of those that are left have no context: pass it as the prompt's input `context`, "
                'or make a span of kind "retrieval" around what finds it (docs/calls.md)'
            )
        if self.usd_each is not None:
            each, whole = tables.format_money(self.usd_each), tables.format_money(self.usd_each * self.n)
            lines.append(f"about {each} each, {whole} in all, by the scores made before")
        elif self.scorer.bind is None and not self.scorer.is_async:
            lines.append("it asks no model through the workbench: nothing is spent")
        else:
            lines.append("what it costs is not known before the first ones")
        if self.budget is not None:
            lines.append(f"it ends before {tables.format_money(self.budget)} are spent")
        return "\n".join(lines)

    __repr__ = __str__


@dataclass(frozen=True, slots=True)
class Scored:
    """What scoring did. scores: as in the log. failed: calls that could not be scored and may be another time; why: the most
    frequent reason. spent: dollars, None if a price is unknown. stopped: why it ended early, or None."""

    scorer: str
    feature: str
    scores: tuple[CallScore, ...]
    failed: int
    spent: float | None
    stopped: str | None
    why: str | None = None

    @property
    def mean(self) -> float | None:
        """Of those that have a value."""
        values = [score.value for score in self.scores if score.value is not None]
        return sum(values) / len(values) if values else None

    def worst(self, n: int = 5) -> list[CallScore]:
        """The lowest."""
        return sorted((s for s in self.scores if s.value is not None), key=lambda s: cast(float, s.value))[:n]

    def to_mapping(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        unscored = sum(score.value is None for score in self.scores)
        return {
            "scorer": self.scorer, "feature": self.feature, "scored": len(self.scores) - unscored, "unscored": unscored,
            "failed": self.failed, "why": self.why, "mean": self.mean, "spent": self.spent, "stopped": self.stopped,
            "worst": [
                {"call_id": s.call_id, "value": s.value, "explanation": s.explanation} for s in self.worst()
            ],
        }  # fmt: skip

    def __str__(self) -> str:
        said = self.to_mapping()
        mean = "no value" if self.mean is None else f"mean {self.mean:.3f}"
        spent = "spent unknown" if self.spent is None else f"spent {tables.format_money(self.spent)}"
        counts = f"{said['scored']:,} scored, {mean}; {said['unscored']:,} unscored, {self.failed:,} failed; {spent}"
        lines = [f"{self.scorer} of {self.feature}: {counts}"]
        if self.why:
            lines.append(f"Why it failed, most often: {self.why}")
        if self.stopped:
            lines.append(f"It ended early: {self.stopped}.")
        lines += [f"  {s.value:.2f}  {s.call_id}  {s.explanation[:100]}" for s in self.worst(3)]
        return "\n".join(lines)

    __repr__ = __str__


class LiveQuality:
    """Scores of logged calls. counters: where an application's outcomes are counted, so that guardrails see them.

    clock: Unix seconds. zone: whose days `frame` counts.
    """

    def __init__(
        self,
        log: CallLog,
        client: Client,
        counters: Callable[[], Counters],
        *,
        clock: Callable[[], float] = time.time,
        zone: str = "UTC",
    ) -> None:
        self._log, self._client, self._counters, self._clock, self._zone = log, client, counters, clock, zone

    def plan(
        self,
        feature: str,
        scorer: Any = "faithfulness",
        *,
        since: str | float = "1d",
        until: str | float | None = None,
        sample: int = 200,
        budget: float | None = None,
        judge: str | None = None,
        seed: int = 0,
    ) -> ScorePlan:
        """What `score` would do; nothing is asked.

        scorer: as in a comparison; also the short names "faithfulness" and "relevance", which are judged by the model `judge` if
        there is one. since, until: "6h", "1d" … ago, a date, or Unix seconds. sample: at most so many calls, drawn at random
        among those that this scorer has not scored. budget: dollars.
        """
        if isinstance(sample, bool) or not isinstance(sample, int) or sample < 1:
            raise InputError(f"sample = {sample!r} must be a whole number of 1 or more.")
        if budget is not None and not budget > 0:
            raise InputError(f"budget = {budget!r} must be dollars, above 0.")
        found, now = _scorer(scorer, judge), self._clock()
        if judge is not None and split_model(judge)[0] not in self._client.endpoints:
            self._client.settings.endpoint(split_model(judge)[0])  # says which there are
        if found.needs is not None:
            raise InputError(f"scorer {found.name!r}: only_if is for comparisons; here a scorer stands alone.")
        if found.needs_expected:
            raise InputError(f"scorer {found.name!r} needs an expected answer, and a logged call has none.")
        name = digest(dict(found.spec))
        candidates = find_candidates(
            self._log, feature=feature, since=since_when(since, now), digest=name, sample=sample, seed=seed,
            until=now + 1 if until is None else since_when(until, now),
        )  # fmt: skip
        if not candidates.calls:
            known = self._log.sql("select distinct feature from calls where feature is not null order by feature")
            raise InputError(
                f"there are no answers of {feature!r} in that time. Features in the log: {', '.join(known['feature']) or 'none'}."
            )
        past = self._log.sql(
            "select avg(spent) as each from (select spent from scores where scorer_digest = ? and spent is not null "
            "order by scored_at desc limit 1000)",
            [name],
        )["each"][0]
        return ScorePlan(
            feature, found, name, candidates, None if past != past or past is None else float(past), budget
        )

    async def score(self, plan: ScorePlan, *, progress: Reporter | None = None) -> Scored:
        """Score the plan's calls. Each score is a row of the log's table `scores`, and an outcome of the user's arm, where the
        call has a user. Raises RunError if another process scores now."""
        self._log.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(str(self._log.folder / ".scoring"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RunError("another process scores logged calls now. Wait for it: no call is scored twice.") from None
        try:
            return await _Scoring(plan, self._log, self._client, self._counters, self._clock, progress).run()
        finally:
            lock.release()

    def frame(
        self,
        *,
        feature: str | None = None,
        scorer: str | None = None,
        since: str | float = "30d",
        by: Sequence[str] = ("feature", "release"),
        every: Every | None = "day",
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Mean score with an interval clustered by user: `frames.quality_frame` of the calls that were scored later.

        every: "hour", "day" or "week" of the setting `timezone`, by when the call was made; None takes all as one."""
        now = self._clock()
        window = Window(since_when(since, now), now + 1, self._zone, feature=feature)
        return quality_frame(self._log, window, by=by, every=every, scorer=scorer, level=level, compared=False)


def _scorer(scorer: Any, judge: str | None) -> Scorer:
    if isinstance(scorer, str) and scorer in _SHORT:
        by_judge, without = _SHORT[scorer]
        made = as_scorer({"name": by_judge, "model": judge} if judge is not None else without)
        return made.named(scorer)
    if judge is not None:
        raise InputError(f"judge = {judge!r} is for {' and '.join(_SHORT)}; another scorer names its model itself.")
    return as_scorer(scorer)


class _Scoring:
    """One run. spent is what went through the scorer; the dearest score so far says whether another one fits the budget."""

    def __init__(
        self,
        plan: ScorePlan,
        log: CallLog,
        client: Client,
        counters: Callable[[], Counters],
        clock: Callable[[], float],
        progress: Reporter | None,
    ) -> None:
        self._plan, self._log, self._client, self._counters, self._clock = plan, log, client, counters, clock
        self._progress = progress or default_reporter()
        self._scores: list[CallScore] = []
        self._failed = self._in_a_row = 0
        self._reasons = Counter[str]()
        self._spent: float | None = 0.0
        self._dearest = plan.usd_each or 0.0
        self._stopped: str | None = None

    async def run(self) -> Scored:
        rows = iter(self._plan.candidates.rows)
        try:
            async with asyncio.TaskGroup() as group:
                # the first one alone where money counts: nobody knows what it costs
                at_once = 1 if self._plan.budget is not None else _AT_ONCE
                for _ in range(min(at_once, max(self._plan.n, 1))):
                    group.create_task(self._work(rows))
        except* RunError as errors:
            raise errors.exceptions[0] from None
        finally:
            self._report(finished=True)
        plan = self._plan
        why = next((reason for reason, _ in self._reasons.most_common(1)), None)
        return Scored(
            plan.scorer.name, plan.feature, tuple(self._scores), self._failed, self._spent, self._stopped, why
        )

    async def _work(self, rows: Any) -> None:
        for row in rows:
            if self._stopped or not self._fits():
                return
            await self._one(row)
            if self._in_a_row >= _FAILURES:
                self._stopped = f"{self._in_a_row} calls in a row could not be scored"

    def _fits(self) -> bool:
        budget = self._plan.budget
        if budget is None:
            return True
        if self._spent is None:
            self._stopped = "a price is unknown, so the budget cannot be kept"
        elif self._spent + self._dearest > budget:
            self._stopped = f"the budget of {tables.format_money(budget)} allows no other one"
        return self._stopped is None

    async def _one(self, row: Mapping[str, Any]) -> None:
        plan, meter = self._plan, Metered(self._client, user=row["user"], tenant=row["tenant"])
        scorer = plan.scorer.bound(cast("Client", meter))
        with scoring(row["call_id"]):
            result = scorer(Answer(row["text"], ()), example_of(row))
            score = result if isinstance(result, Score) else await result
        cost = meter.spent
        self._spent = None if self._spent is None or cost is None else self._spent + cost
        self._dearest = max(self._dearest, cost or 0.0)
        if score.value is None and score.explanation.startswith(_NOT_JUDGED):
            self._failed += 1
            self._reasons[score.explanation] += 1
            self._in_a_row += 1
            self._report()
            return
        self._in_a_row = 0
        made = CallScore(
            row["call_id"], plan.scorer.name, plan.scorer_digest, self._clock(), score.value, score.explanation[:2000],
            row["ended_at"], row["model"], row["prompt_ref"], row["feature"], row["release"], row["experiment"], row["arm"],
            row["user"], row["tenant"], cost,
        )  # fmt: skip
        self._log.add_score(made)
        self._scores.append(made)
        if made.value is not None and made.user is not None:
            why = cast("Why", row.get("exposure") or "outside")
            given = Assignment(made.release or 0, made.arm, made.experiment, bool(row.get("counted")), why=why)
            self._counters().outcome(plan.feature, given, made.user, made.scorer, made.value)
        self._report()

    def _report(self, *, finished: bool = False) -> None:
        done = len(self._scores)
        self._progress(Progress(done, self._plan.n, 0, self._failed, self._spent, self._plan.scorer.name, finished))
