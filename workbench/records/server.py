"""What a server says of itself: its load, its models, whether it answers."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Health", "ModelInfo", "ServerMetrics"]


@dataclass(frozen=True, slots=True)
class ServerMetrics:
    """What a server says of its own load; None where it does not. running, waiting: requests. cache_use: share of the KV cache,
    0 to 1. prefix_queries, prefix_hits: prompt tokens looked up and found in the prefix cache, since it started, as are
    prompt_tokens, completion_tokens and requests. at: Unix seconds."""

    at: float
    running: float | None = None
    waiting: float | None = None
    cache_use: float | None = None
    prefix_queries: float | None = None
    prefix_hits: float | None = None
    prompt_tokens: float | None = None
    completion_tokens: float | None = None
    requests: float | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What an endpoint says of a model; None where it does not say. digest: of the weights, hex.

    origin: stands in for the digest where there is none: which server it was, so that two servers are never taken for one.
    capabilities: such as completion, tools, thinking, vision, embedding. base: of a LoRA adapter, the model it adapts.
    """

    model: str
    digest: str | None = None
    context_length: int | None = None
    server_version: str | None = None
    origin: str = ""
    capabilities: tuple[str, ...] = ()
    base: str | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """Does an endpoint answer? detail: one line for people; fix: what to do if not."""

    ok: bool
    detail: str
    version: str | None = None
    models: tuple[str, ...] = ()
    fix: str = ""
