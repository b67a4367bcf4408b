"""Ask one task, score the answer, make its row: the same in a run of this process and on a worker of a cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workbench.calls.context import scoring
from workbench.calls.spans import in_trace
from workbench.client import Client, Outcome, stopped
from workbench.evaluation.plan import request_for
from workbench.evaluation.scorers.order import cheap_first, not_asked
from workbench.evaluation.scorers.scorer import Answer, Scorer
from workbench.evaluation.tasks import Arm, Task
from workbench.records import Call, Example, ModelInfo, Score

__all__ = ["Asker", "Reasons"]

_REASON, _REASONS = 200, 1000  # characters of a reason that are kept, and how many of them


class Reasons(dict[str, Counter[str]]):
    """By scorer, why answers have no score, and how often."""

    def __init__(self, scorers: Sequence[Scorer]) -> None:
        super().__init__((scorer.name, Counter()) for scorer in scorers)

    def note(self, scorer: str, explanation: str) -> None:
        """Count one; beyond a thousand different reasons they are "other"."""
        reasons, reason = self[scorer], explanation.partition("\n")[0][:_REASON]
        reasons[reason if reason in reasons or len(reasons) < _REASONS else "other"] += 1


class Asker:
    """infos: by model. timeout: seconds of one try. keep: takes each row as soon as it is there, also that of a call that was
    cancelled."""

    def __init__(
        self,
        client: Client,
        scorers: Sequence[Scorer],
        infos: Mapping[str, ModelInfo],
        timeout: float,
        keep: Callable[[Call], None],
    ) -> None:
        self._client = client
        self._names = [scorer.name for scorer in scorers]
        self._scorers = cheap_first(scorers)
        self._infos = infos
        self._timeout = timeout
        self._keep = keep
        self._in_flight = 0
        self._trace: dict[str, Any] = {"trace_id": None, "parent_id": None} | in_trace()  # all of a run is made in one
        self._constants: dict[str, dict[str, Any]] = {}
        self.unscored = Reasons(scorers)

    async def ask(self, task: Task, example: Example) -> tuple[Outcome, Call]:
        """How the call ended, and its row, which was kept. Raises no CallError."""
        arm, repeat = task.arm, task.repeat
        variant = arm.variant
        request = request_for(variant, example.inputs, arm.params[repeat], self._timeout)
        self._in_flight += 1
        in_flight = self._in_flight
        outcome: Outcome | None = None
        scores: dict[str, float | None] = {}
        explanations: dict[str, str] = {}
        try:
            outcome = await self._client.call(request)
            if outcome.completion is not None and not task.warmup:
                answer = Answer(outcome.completion.text, outcome.completion.tool_calls)
                for name, score in (await self.score(answer, example)).items():
                    scores[name] = score.value
                    if score.explanation:
                        explanations[name] = score.explanation
        finally:
            # also when it is cancelled: an answer that came is kept (resuming scores it), and one that did not is a row too
            self._in_flight -= 1
            row = (outcome or stopped()).row(
                request, params=arm.row_params[repeat], **(self._constants.get(arm.label) or self._constants_of(arm)),
                example_id=example.id, example=task.example, repeat=repeat, block=task.block, position=task.position,
                in_flight=(outcome.in_flight if outcome else None) or in_flight, seed=request.params.seed,
                warmup=task.warmup, scores=scores,
                explanations=explanations,
            )  # fmt: skip
            self._keep(row)
        return outcome, row

    def _constants_of(self, arm: Arm) -> dict[str, Any]:
        """What every row of an arm says."""
        info = self._infos[arm.variant.model]
        known = {"model_digest": info.digest, "server_version": info.server_version}
        found = self._constants[arm.label] = {**self._trace, **known, **arm.row_fields}
        return found

    async def score(
        self, answer: Answer, example: Example, known: Mapping[str, float | None] | None = None
    ) -> dict[str, Score]:
        """By scorer, in the plan's order; reasons for none are counted. known: scores that other scorers gave it elsewhere."""
        found: dict[str, Score] = {}
        values = dict(known or {})
        for scorer in self._scorers:
            score = not_asked(scorer, values) if scorer.needs is not None else None
            if score is None:
                with scoring(example.id):
                    made = scorer(answer, example)
                    score = made if isinstance(made, Score) else await made
            found[scorer.name] = score
            values[scorer.name] = score.value
            if score.value is None:
                self.unscored.note(scorer.name, score.explanation)
        return {name: found[name] for name in self._names}
