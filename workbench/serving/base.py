"""What a runtime is: the one interface through which models are reached."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol, runtime_checkable

from workbench.records import Chunk, Completion, Embeddings, Health, ModelInfo, Request, ServerMetrics

__all__ = ["Embedder", "Metered", "Replicated", "Runtime"]


@runtime_checkable
class Runtime(Protocol):
    """Serves the models of one endpoint."""

    @property
    def kind(self) -> str:
        """Such as vllm or embedded."""
        ...

    @property
    def concurrency(self) -> int:
        """How many calls at once make sense."""
        ...

    async def complete(self, request: Request) -> Completion:
        """The whole answer; `request.timeout` seconds are the deadline for all of it. Cancelling frees the server.

        Raises a CallError.
        """
        ...

    def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Pieces of text as they come; the last chunk carries the Completion. Raises a CallError."""
        ...

    async def describe(self, model: str) -> ModelInfo:
        """Digest, context length and server version of a model, named without the endpoint.

        Raises ModelNotFoundError that lists what is there.
        """
        ...

    async def health(self) -> Health:
        """Does it answer? Never raises a CallError."""
        ...

    async def aclose(self) -> None:
        """Free connections and memory; the runtime can be used again afterwards."""
        ...


@runtime_checkable
class Embedder(Protocol):
    """A runtime that also makes vectors of texts."""

    async def embed(self, texts: Sequence[str], model: str, timeout: float = 60.0) -> Embeddings:
        """One vector a text, in their order; `model` is named without the endpoint. Raises a CallError."""
        ...


@runtime_checkable
class Metered(Protocol):
    """A runtime whose server tells its load."""

    async def metrics(self) -> ServerMetrics | None:
        """None where this server has no such page. Raises a CallError."""
        ...


@runtime_checkable
class Replicated(Protocol):
    """A runtime that may have several addresses."""

    def lost(self) -> dict[str, int]:
        """Calls that each address failed so far; empty where there is one alone."""
        ...
