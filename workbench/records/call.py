"""One row of the call log, and what was told of it later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Call", "Feedback"]


# not frozen: with so many fields that takes six times as long to make, and one is made for every call. Nobody changes one.
@dataclass(slots=True)
class Call:
    """One row of the call log: who asked what of which model, what was measured when the answer was made, and what
    was spent now. A row of a comparison is the same row with the fields from `run_id` on.

    ended_at: Unix seconds when the call ended. latency, queued, first_token: seconds. cost: dollars that the answer cost when
    it was made; spent: dollars spent now (0 for a replay); None is unknown. source: model, exact or semantic.
    error: class name, None if it worked; error_message: one line. attempts: how often it was sent. truncated: as in `Completion`.
    loading: seconds of `latency` that the server took to load the model, where it says so. role: "judge" or "scorer" of a call
    that was made to score an answer. tool_calls: as in `Completion`.

    Of an application's call: feature, release (its number), and the exposure: experiment (`Experiment.key`), arm, exposure (why
    it came to this arm, see `online.assignment`), counted (whether the user is part of the analysis). fallback: "model" if this
    row is the call of the release's fallback model, in place of the call of `instead_of`; "text" if this call failed, and the
    release's fixed text, which is then `text`, was served. So an application's calls are the rows without `instead_of`.

    trace_id, parent_id: the trace and the span that the call was made in (`calls.spans`), session: what they belong to.
    tool_failures: how many of `tool_calls` cannot be run as they are (see `calls.tool_failures`), None where none was made and
    none was offered. context: the documents that an application's answer should rest on, where its inputs held them.
    """

    call_id: str
    ended_at: float
    model: str
    kind: str
    params: Mapping[str, Any] = field(default_factory=dict)
    model_digest: str | None = None
    server_version: str | None = None
    prompt_ref: str | None = None
    prompt_digest: str | None = None
    request: str | None = None
    text: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    latency: float | None = None
    queued: float | None = None
    first_token: float | None = None
    loading: float | None = None
    truncated: bool = False
    cost: float | None = None
    spent: float | None = None
    source: str = "model"
    error: str | None = None
    error_message: str | None = None
    attempts: int = 1
    feature: str | None = None
    tenant: str | None = None
    user: str | None = None
    release: int | None = None
    experiment: str | None = None
    arm: str | None = None
    exposure: str | None = None
    counted: bool = False
    fallback: str | None = None
    instead_of: str | None = None
    run_id: str | None = None
    variant: str | None = None
    dataset_digest: str | None = None
    example_id: str | None = None
    example: int | None = None
    repeat: int | None = None
    block: int | None = None
    position: int | None = None
    in_flight: int | None = None
    seed: int | None = None
    warmup: bool = False
    scores: Mapping[str, float | None] = field(default_factory=dict)
    explanations: Mapping[str, str] = field(default_factory=dict)
    role: str | None = None
    tool_calls: Sequence[Mapping[str, Any]] = ()
    trace_id: str | None = None
    parent_id: str | None = None
    session: str | None = None
    tool_failures: int | None = None
    context: str | None = None

    @property
    def endpoint(self) -> str:
        """The endpoint's name, which `model` begins with; the log's tables have it as a column."""
        return self.model.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Feedback:
    """What became of a call, told later: one row beside the call log. told_at: Unix seconds. From `feature` on it is the call's,
    as far as it is known."""

    call_id: str
    told_at: float
    name: str
    value: float
    comment: str = ""
    feature: str | None = None
    release: int | None = None
    experiment: str | None = None
    arm: str | None = None
    user: str | None = None
    tenant: str | None = None
