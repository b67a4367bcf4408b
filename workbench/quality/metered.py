"""A client that notes what is spent through it."""

from __future__ import annotations

from typing import Any

from workbench.client import Client
from workbench.records import Completion, Embeddings, Request, Usage

__all__ = ["Metered"]


class Metered:
    """Like `client`, for scorers. spent: dollars so far; None once a price was unknown. user, tenant: whose answer is scored, so
    that the scorer's own calls, which hold its text, are known as theirs."""

    def __init__(self, client: Client, *, user: str | None = None, tenant: str | None = None) -> None:
        self._client = client
        self._whose = {"user": user, "tenant": tenant}
        self.spent: float | None = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def complete(self, request: Request, **options: Any) -> Completion:
        """See `Client.complete`."""
        found = await self._client.complete(request, **{**self._whose, **options})
        if found.source == "model":
            self._add(self._client.cost(request.model, found))
        return found

    async def embed(self, model: str, texts: Any, **options: Any) -> Embeddings:
        """See `Client.embed`."""
        found = await self._client.embed(model, texts, **{**self._whose, **options})
        usage = Usage(found.usage.prompt_tokens, 0)
        self._add(self._client.cost(model, Completion("", "stop", usage, found.timing, model)))
        return found

    def _add(self, cost: float | None) -> None:
        self.spent = None if self.spent is None or cost is None else self.spent + cost
