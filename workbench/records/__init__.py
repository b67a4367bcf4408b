"""The nouns: frozen records that every layer shares. Times are seconds, money is US dollars, instants are Unix seconds.

A record never reaches for a file or a network. `digest` is the one way to name content: SHA-256 over canonical JSON.
"""

from __future__ import annotations

from workbench.records.answer import Chunk, Completion, Embeddings, Timing, Usage
from workbench.records.call import Call, Feedback
from workbench.records.comparison import Contrast, Example, GuardrailCheck, Interval, Score, Variant, Verdict
from workbench.records.identity import canonical_json, check_name, digest, split_model
from workbench.records.prompt import Prompt, PromptKind, asdict_prompt
from workbench.records.release import Fallback, Release
from workbench.records.request import Message, Params, Request
from workbench.records.server import Health, ModelInfo, ServerMetrics

__all__ = [
    "Call",
    "Chunk",
    "Completion",
    "Contrast",
    "Embeddings",
    "Example",
    "Fallback",
    "Feedback",
    "GuardrailCheck",
    "Health",
    "Interval",
    "Message",
    "ModelInfo",
    "Params",
    "Prompt",
    "PromptKind",
    "Release",
    "Request",
    "Score",
    "ServerMetrics",
    "Timing",
    "Usage",
    "Variant",
    "Verdict",
    "asdict_prompt",
    "canonical_json",
    "check_name",
    "digest",
    "split_model",
]
