"""Model runtimes: in process, behind Ollama or an OpenAI-compatible server, or scripted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.errors import SettingsError
from workbench.serving.base import Embedder, Metered, Replicated, Runtime
from workbench.serving.limits import Bucket, Limiter, limiter_for
from workbench.serving.tries import Tries

if TYPE_CHECKING:
    from workbench.settings import Endpoint, Settings

__all__ = ["Bucket", "Embedder", "Limiter", "Metered", "Replicated", "Runtime", "Tries", "limiter_for", "open_runtime"]

_COMPATIBLE = ("llama-server", "openai", "openai-compatible", "tgi", "vllm")


def open_runtime(endpoint: Endpoint, settings: Settings) -> Runtime:
    """The runtime for an endpoint, by its kind. Nothing is connected or loaded before the first call."""
    if endpoint.kind in _COMPATIBLE:
        from workbench.serving.openai_compatible import OpenAICompatible

        return OpenAICompatible(endpoint)
    if endpoint.kind == "ollama":
        from workbench.serving.ollama import Ollama

        return Ollama(endpoint)
    if endpoint.kind == "embedded":
        from workbench.serving.embedded import Embedded

        return Embedded(endpoint, settings)
    if endpoint.kind == "scripted":
        from workbench.serving.scripted import open_scripted

        return open_scripted(endpoint, settings)
    raise SettingsError(
        f"endpoint {endpoint.name!r}: kind = {endpoint.kind!r} is unknown. "
        f"Known: {', '.join(sorted((*_COMPATIBLE, 'embedded', 'ollama', 'scripted')))}."
    )
