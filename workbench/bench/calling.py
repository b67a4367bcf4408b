"""What an application calls."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from workbench.bench.parts import Parts
from workbench.client import Client
from workbench.records import (
    Chunk,
    Completion,
)

if TYPE_CHECKING:
    from workbench.app import App

__all__ = ["Calling"]


class Calling(Parts):
    """`call`, `call_sync`, `call_stream` and `feedback`."""

    async def call(
        self,
        feature: str,
        /,
        *,
        user: str | None = None,
        tenant: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        timeout: float = 120.0,
        cached: bool | None = None,
        **values: Any,
    ) -> Completion:
        """The answer of a feature's live release, or of the arm that this user has in its experiment; its `call_id` is for
        `feedback`.

        values: for the prompt's variables; `inputs` too, also for those called user, tenant, timeout or cached. Pass what any of
        the releases needs: each takes its own. tenant, cached: as in `ask`. If the release's model fails, its fallback answers
        (`Completion.fallback`). Raises the CallError if nothing does; PromptError for a missing value; ReleaseNotFoundError if
        nothing is live; StoreError if that is not known.
        """
        return await self.app.call(
            feature, {**(inputs or {}), **values}, user=user, tenant=tenant, timeout=timeout, cached=cached
        )

    def call_sync(
        self,
        feature: str,
        /,
        *,
        user: str | None = None,
        tenant: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        timeout: float = 120.0,
        cached: bool | None = None,
        **values: Any,
    ) -> Completion:
        """`call` for code that does not await, from any number of threads."""
        return self.app.call_sync(
            feature, {**(inputs or {}), **values}, user=user, tenant=tenant, timeout=timeout, cached=cached
        )

    async def call_stream(
        self,
        feature: str,
        /,
        *,
        user: str | None = None,
        tenant: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        timeout: float = 120.0,
        cached: bool | None = None,
        **values: Any,
    ) -> AsyncGenerator[Chunk, None]:
        """`call` in pieces of text as they come; the last piece carries the Completion. The fallback answers as long as no piece
        has come."""
        chunks = self.app.call_stream(
            feature, {**(inputs or {}), **values}, user=user, tenant=tenant, timeout=timeout, cached=cached
        )
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    def feedback(
        self,
        call_id: str,
        name: str,
        value: float,
        *,
        comment: str = "",
        feature: str | None = None,
        user: str | None = None,
    ) -> None:
        """What became of a call: a row beside the call log (the table `feedback` of `bench.calls.sql`), and an outcome of the
        user's arm. Tell each outcome of a call once: every value counts.

        value: a number, or True and False. The call may be of any process that logs to the same home. feature, user: whose call
        it was, where another machine logged it. Raises InputError for a call that is neither found nor named so; RunError if the
        disk takes nothing, and then nothing is counted.
        """
        self.app.feedback(call_id, name, value, comment=comment, feature=feature, user=user)

    @property
    def app(self) -> App:
        """What `call` and `feedback` are done by: its `ready` prepares a feature, its `state` is for a health check."""
        if self._app is None:
            from workbench.app import App

            self._make_home()
            self._app = App(
                self.client, self.releases, self._release_kv, self.calls, self._second_client, wall=self._clock
            )  # fmt: skip
        return self._app

    def _second_client(self) -> tuple[Client, Callable[[], Awaitable[None]]]:
        """For the thread of `call_sync`: what one event loop waits for belongs to it."""
        other = type(self)(settings=self.settings, runtimes=self._given)
        return other.client, other.aclose
