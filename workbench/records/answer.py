"""What a model answered, and what was measured then: usage, timing, completion, its pieces, embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Chunk", "Completion", "Embeddings", "Timing", "Usage"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts as the server reported them; None where it did not. `prompt_tokens` includes cached ones."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. `queued`: in our own queue, part of no latency. `total`: from sending to the last byte.
    `first_token`: from sending to the first piece of text, None where the answer was not streamed.
    loading, prefill, decode: what the server itself says it took to load the model, to read the prompt and to write the answer;
    None where it does not say."""

    started_at: float
    total: float
    queued: float = 0.0
    first_token: float | None = None
    loading: float | None = None
    prefill: float | None = None
    decode: float | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a streamed answer; the last one carries the Completion. reasoning, refused: as there, of this piece."""

    text: str = ""
    completion: Completion | None = None
    reasoning: str = ""
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer. finish_reason: stop, length, tool_calls or content_filter. source: who answered now; "text" is a release's
    fixed fallback text.

    reasoning: what a reasoning model thought before it answered, where the server tells. logprobs: one mapping a token (token,
    logprob, top_logprobs), if asked for. truncated: the server silently left out part of the prompt, and that was allowed.
    refused: the server marked the text as the model's refusal to answer. fallback: what answered in place of the release's own
    model. call_id: the call's row in the log; it is left out when two answers are compared.
    """

    text: str
    finish_reason: str | None
    usage: Usage
    timing: Timing
    model: str
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    source: Literal["model", "exact", "semantic", "text"] = "model"
    request_id: str | None = None
    reasoning: str = ""
    logprobs: tuple[Mapping[str, Any], ...] = ()
    truncated: bool = False
    refused: bool = False
    fallback: Literal["model", "text"] | None = None
    call_id: str | None = field(default=None, compare=False)

    @property
    def tokens_per_second(self) -> float | None:
        """After the first token, as a load test counts them; None where that is unknown."""
        tokens, first = self.usage.completion_tokens, self.timing.first_token
        if tokens is None or tokens < 2 or first is None or self.timing.total <= first:
            return None
        return (tokens - 1) / (self.timing.total - first)


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """vectors: (texts, dimensions), float32, one row a text in the order that they were given."""

    vectors: np.ndarray
    usage: Usage
    timing: Timing
    model: str
