"""What a runtime is: the one interface through which models are reached."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol, runtime_checkable

from workbench.records import Chunk, Completion, Health, ModelInfo, Request

__all__ = ["Runtime"]


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
