"""One call to a model, or to its server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from workbench.bench.parts import Parts, as_params
from workbench.cache.lookup import Meaning
from workbench.calls.context import context_of
from workbench.errors import InputError
from workbench.prompts import render
from workbench.records import (
    Chunk,
    Completion,
    Embeddings,
    Message,
    Params,
    Prompt,
    Request,
    ServerMetrics,
)

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from workbench.serving.ollama import Ollama

__all__ = ["Asking"]


class Asking(Parts):
    """`ask`, `stream`, `embed`; what an endpoint's server says and holds."""

    async def ask(
        self,
        question: str | Sequence[Message] | None = None,
        *,
        prompt: str | Prompt | None = None,
        inputs: Mapping[str, Any] | None = None,
        model: str | None = None,
        params: Params | Mapping[str, Any] | None = None,
        raw: bool = False,
        timeout: float = 120.0,
        tenant: str | None = None,
        user: str | None = None,
        cached: bool | None = None,
    ) -> Completion:
        """One answer from a model, logged like every call. raw: send the text as it is, without a chat template.

        In place of a question: `prompt`, such as "helpdesk@2", and the `inputs` for its variables. cached: whether an equal
        question's answer may be served (its `source` is then "exact"; "semantic" if it was one that means the same, see
        docs/caches.md); None does so where the question asks for the same answer each time: temperature 0, or a seed. tenant:
        answers are never shared between two.
        """
        request, meaning = self._asked(question, prompt, inputs, model, params, raw, timeout)
        about = _about(meaning) | {"tenant": tenant, "user": user}
        return await self.client.complete(request, cached=cached, meaning=meaning, **about)

    async def stream(
        self,
        question: str | Sequence[Message] | None = None,
        *,
        prompt: str | Prompt | None = None,
        inputs: Mapping[str, Any] | None = None,
        model: str | None = None,
        params: Params | Mapping[str, Any] | None = None,
        raw: bool = False,
        timeout: float = 120.0,
        tenant: str | None = None,
        user: str | None = None,
        cached: bool | None = None,
    ) -> AsyncGenerator[Chunk, None]:
        """`ask` in pieces of text as they come; the last piece carries the Completion. An answer from a cache is one piece."""
        request, meaning = self._asked(question, prompt, inputs, model, params, raw, timeout)
        about = _about(meaning) | {"tenant": tenant, "user": user}
        async with aclosing(self.client.stream(request, cached=cached, meaning=meaning, **about)) as chunks:
            async for chunk in chunks:
                yield chunk

    def _asked(
        self,
        question: str | Sequence[Message] | None,
        prompt: str | Prompt | None,
        inputs: Mapping[str, Any] | None,
        model: str | None,
        params: Params | Mapping[str, Any] | None,
        raw: bool,
        timeout: float,
    ) -> tuple[Request, Meaning | None]:
        """What to send, and of a prompt how it was made."""
        self._make_home()
        model, sampling = model or self.settings.model, as_params(params)
        if prompt is not None:
            if question is not None:
                raise InputError("this takes a question or a prompt with its inputs, not both.")
            if raw:
                raise InputError("raw is for a question: a prompt goes out raw if its kind is completion.")
            found = self._prompt(prompt)
            (variant,) = self.variants([found], [model], sampling)

            def build(values: Mapping[str, object]) -> Request:
                kind, messages, text = render(found, values)
                return Request(model, kind, messages, text, variant.params, timeout)

            return build(inputs or {}), Meaning(found, inputs or {}, build)
        if inputs:
            raise InputError(f"inputs ({', '.join(map(str, inputs))}) are for a prompt's variables: name the prompt.")
        if question is None:
            raise InputError('this needs a question, or prompt="NAME@2" and inputs={...}.')
        if not isinstance(question, str):
            if raw:
                raise InputError("raw=True sends one text as it is: pass a text, not messages.")
            return Request(model, "chat", tuple(question), "", sampling, timeout), None
        if raw:
            return Request(model, "completion", (), question, sampling, timeout), None
        return Request(model, "chat", (Message("user", question),), "", sampling, timeout), None

    async def embed(self, texts: Sequence[str], *, model: str, timeout: float = 60.0) -> Embeddings:
        """One vector a text, from a model that makes them, such as ollama/nomic-embed-text."""
        if isinstance(texts, str):
            raise InputError(f"texts = {texts!r} must be a list of texts, such as texts=[{texts!r}].")
        return await self.client.embed(model, texts, timeout=timeout)

    async def metrics(self, endpoint: str) -> ServerMetrics | None:
        """What an endpoint's server says of its load (running, waiting, cache use …); None where it does not say. Of a server
        with a price per hour it is kept: two readings tell whether others used it in between."""
        return await self._read_counters(endpoint)

    def openai(self, model: str | None = None) -> AsyncOpenAI:
        """The openai package's `AsyncOpenAI`, whose calls go through this workbench: its limits, retries, prices and log.

        model: `endpoint/model`, by default the settings' one. A call may name that model (with its endpoint or without), another
        one of the endpoint, or another `endpoint/model`. Raises InputError if the package is not installed.
        """
        from workbench.openai_bridge import openai_client

        self._make_home()
        return openai_client(self.client, model or self.settings.model)

    def ollama(self, endpoint: str = "ollama") -> Ollama:
        """The models of an Ollama endpoint: `list`, `show`, `running`, `pull`, `load` and `unload` them.

        Raises InputError for an endpoint of another kind.
        """
        from workbench.serving.ollama import Ollama

        runtime = self.client.runtime(f"{endpoint}/-")
        if not isinstance(runtime, Ollama):
            raise InputError(
                f"{endpoint} is of kind {runtime.kind}: only Ollama pulls, loads and unloads models when it is asked to, "
                "another server holds what it was started with. Name an endpoint of kind ollama."
            )
        return runtime


def _about(meaning: Meaning | None) -> dict[str, Any]:
    """What the log's row says of the prompt."""
    if meaning is None:
        return {}
    return {
        "prompt_ref": meaning.prompt.ref, "prompt_digest": meaning.prompt.digest, "context": context_of(meaning.values),
    }  # fmt: skip
