"""Take the answers of earlier runs of a plan. They are scored again, so that a changed scorer counts; what a judge said of them
is kept, so that a replay pays no judge again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from workbench.errors import StoppedError
from workbench.evaluation.asking import Asker
from workbench.evaluation.folder import RunFolder
from workbench.evaluation.judging.account import Judges
from workbench.evaluation.measurements import REPLAYED, Measurements
from workbench.evaluation.plan import Plan
from workbench.evaluation.scorers.scorer import Answer
from workbench.records import Example, Usage

__all__ = ["Replay"]

_JUDGED_AT_ONCE = 32


class Replay:
    """Of one run's folder into its measurements. example: by its position among those that take part."""

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        numbers: Measurements,
        asker: Asker,
        judges: Judges,
        example: Callable[[int], Example],
    ) -> None:
        self._labels = {variant.label for variant in plan.variants}
        self._folder, self._numbers, self._asker, self._judges, self._example = folder, numbers, asker, judges, example

    def there(self, row: Mapping[str, Any]) -> bool:
        """Whether its place has an answer."""
        return self._numbers.has(row["variant"], row["example"], row["repeat"])

    def free(self, row: Mapping[str, Any]) -> bool:
        """Whether scoring it asks no judge."""
        return row["error"] is not None or self._judges.know(row["text"], self._example(row["example"]))

    async def take(self, wanted: Callable[[Mapping[str, Any]], bool]) -> None:
        """The wanted rows; many at once where judges may be asked."""
        at_once = _JUDGED_AT_ONCE if self._judges else 1
        waiting: list[Mapping[str, Any]] = []
        for row in self._folder.rows():
            if row["warmup"] or row["variant"] not in self._labels or row["error"] == StoppedError.__name__:
                continue
            if not wanted(row):
                continue
            waiting.append(row)
            if len(waiting) >= at_once:
                await self._add(waiting)
                waiting = []
        await self._add(waiting)

    async def _add(self, rows: list[Mapping[str, Any]]) -> None:
        if len(rows) == 1:
            found = [await self._scores(rows[0])]
        else:
            found = await asyncio.gather(*map(self._scores, rows))
        for row, scores in zip(rows, found, strict=True):
            if row["error"] is not None and self.there(row):
                continue
            self._numbers.add(
                row["variant"], row["example"], row["repeat"], state=REPLAYED, at=row["ended_at"], scores=scores,
                latency=row["latency"], first_token=row["first_token"], cost=row["cost"],
                failed=row["error"] is not None, in_flight=row.get("in_flight"),
                usage=Usage(row.get("prompt_tokens"), row.get("completion_tokens"), row.get("cached_tokens")),
            )  # fmt: skip

    async def _scores(self, row: Mapping[str, Any]) -> dict[str, float | None]:
        if row["error"] is not None:
            return {}
        answer = Answer(row["text"], row.get("tool_calls") or ())
        found = await self._asker.score(answer, self._example(row["example"]))
        return {name: score.value for name, score in found.items()}
