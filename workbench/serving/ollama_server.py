"""The models of an Ollama server: what is there, what is in memory, and how to get, load and unload them.

An endpoint may have several addresses. Each is a server with models of its own, so what is pulled or loaded here is pulled
or loaded on all of them.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, nullcontext
from typing import TYPE_CHECKING, Any

import orjson

from workbench.errors import (
    BadAnswerError,
    BadRequestError,
    CallError,
    CallTimeoutError,
    ContextLengthError,
    ModelNotFoundError,
    ServerError,
)
from workbench.records import Health, ModelInfo
from workbench.running.download import download_bar
from workbench.serving.connection import Connection, as_sent, encoded
from workbench.serving.faults import is_context_error
from workbench.serving.limits import most_at_once
from workbench.serving.ollama_options import defaults
from workbench.serving.ollama_wire import count_of

if TYPE_CHECKING:
    import httpx

    from workbench.settings import Endpoint

__all__ = ["OllamaServer", "Progress", "context_of", "same_model"]

Progress = Callable[[int, int, str], None]
"""Called with (bytes done, bytes in all as far as known, what is being done)."""

LOOK_UP = 10.0  # seconds
_LOAD = 600.0
_WRONG_TYPE = re.compile(r"option \"?\w+\"? must be [\w ]+")
_UNABLE = re.compile(r"does not support (\w+)")
_INSTEAD = {
    "thinking": "Leave out params.think, or take",
    "tools": "Leave out params.tools, or take",
    "embeddings": "Embed with nomic-embed-text, or take",
}
_Rows = list[dict[str, Any]]  # `list` is a method below


class OllamaServer:
    """One endpoint of kind ollama. clock: Unix seconds. sleep: for the pause before a download goes on.

    The endpoint's options are defaults for Ollama's own options and for `keep_alive`; `allow_truncation = true` takes answers
    to a prompt that did not fit. Raises SettingsError.
    """

    kind = "ollama"

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.defaults = defaults(endpoint.options, endpoint.name)
        self.concurrency = most_at_once(endpoint)
        bases = tuple(as_sent(re.sub(r"/(v1|api)$", "", url.rstrip("/"))) for url in endpoint.urls)
        self.connection = Connection(endpoint, bases, probe="/api/version", clock=clock)
        self._each = {
            base: self.connection if len(bases) == 1 else Connection(endpoint, (base,), clock=clock) for base in bases
        }
        self._faults = self.connection.faults
        self._name = endpoint.name
        self._sleep = sleep

    def lost(self) -> dict[str, int]:
        """Calls that each address failed so far; empty where there is one alone."""
        return self.connection.replicas.lost()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r}, urls={list(self._each)})"

    async def list(self) -> _Rows:
        """What is there, as the server lists it: name, size in bytes, digest, details; by name. Raises a CallError."""
        found = {str(item.get("name")): item for base in self._each for item in await self._listed(base, "tags")}
        return [found[name] for name in sorted(found)]

    async def running(self) -> _Rows:
        """What is in memory: name, size, size_vram, context_length, expires_at. Raises a CallError."""
        return [item for base in self._each for item in await self._listed(base, "ps")]

    async def show(self, model: str) -> dict[str, Any]:
        """All that the server tells of a model: details, model_info, capabilities, parameters, template, licence.

        Raises ModelNotFoundError that lists what is there.
        """
        return await self._show(next(iter(self._each)), model)

    async def describe(self, model: str) -> ModelInfo:
        """Digest, the context that the model was trained with, capabilities, and the server's version. Asked each time: a pull
        may have changed it. Raises ModelNotFoundError that lists what is there, BadAnswerError where addresses differ."""
        digests: dict[str, str | None] = {}
        shown: dict[str, Any] = {}
        for base in self._each:
            shown = await self._show(base, model)
            listed = await self._listed(base, "tags")
            entry = next((item for item in listed if same_model(str(item.get("name")), model)), {})
            digests[base] = str(entry["digest"]).removeprefix("sha256:") if entry.get("digest") else None
        if len(set(digests.values())) > 1:
            held = ", ".join(f"{base} {(digest or 'unknown')[:12]}" for base, digest in digests.items())
            raise BadAnswerError(
                f"the addresses of {self._name} have different weights under the name {model!r} ({held}), so their answers "
                f"cannot be compared. Bring them to the same: workbench model pull {self._name}/{model}"
            )
        version = await self.version()
        return ModelInfo(
            model, next(iter(digests.values())), context_of(shown), f"ollama {version}" if version else None,
            capabilities=tuple(str(item) for item in shown.get("capabilities") or ()),
        )  # fmt: skip

    async def version(self) -> str | None:
        """Of the (first) server; None where it does not say."""
        try:
            found = await self._get(next(iter(self._each)), "version")
        except CallError:
            return None
        version = found.get("version")
        return version if isinstance(version, str) else None

    async def health(self) -> Health:
        """Asks every address for its models."""
        models: set[str] = set()
        answers, faults = [], []
        for base in self._each:
            try:
                models.update(str(item.get("name")) for item in await self._listed(base, "tags"))
                answers.append(base)
            except CallError as error:
                faults.append(error)
        names = tuple(sorted(models))
        if faults:
            what, _, fix = str(faults[0]).partition(". ")
            others = f" ({len(answers)} of {len(self._each)} replicas answer)" if answers else ""
            return Health(False, f"{what}{others}", models=names, fix=fix)
        version = await self.version()
        count = f"{len(names)} model{'' if len(names) == 1 else 's'}" if names else "no model yet"
        fix = "" if names else f"workbench model pull {self._name}/llama3.2:3b"
        detail = f"answers at {', '.join(self._each)}, {count}"
        return Health(True, detail, f"ollama {version}" if version else None, names, fix)

    async def pull(self, model: str, *, progress: Progress | None = None, stall: float = 300.0) -> ModelInfo:
        """Have the server fetch a model, or bring it up to date; returns what it has then.

        A download goes on where it stopped: by itself after a fault, as long as each try brings more, else when it is asked for
        again. progress: by default a bar. stall: seconds without a word from the server after which it has stopped (checking a
        large file is silent). Raises a CallError; ModelNotFoundError if the library has no such model.
        """
        with nullcontext(progress) if progress is not None else download_bar() as report:
            for base in self._each:
                await self._pull_all(base, model, report, stall)
        return await self.describe(model)

    async def load(
        self, model: str, *, keep_alive: str | float | None = None, timeout: float = _LOAD
    ) -> dict[str, Any] | None:
        """Bring a model into memory with the endpoint's options, so that the first call does not wait; returns what `running`
        says of it. Raises a CallError.

        keep_alive: how long it stays without being asked, such as "30m" or -1 (for ever); by default the server's 5 minutes.
        """
        fields = dict(self.defaults.fields) if keep_alive is None else {"keep_alive": keep_alive}
        await self._load(model, fields, timeout)
        return next((item for item in await self.running() if same_model(str(item.get("name")), model)), None)

    async def unload(self, model: str, *, timeout: float = 60.0) -> None:
        """Free the memory of a model. Raises a CallError."""
        await self._load(model, {"keep_alive": 0}, timeout)

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        for connection in {self.connection, *self._each.values()}:
            await connection.aclose()

    async def _load(self, model: str, fields: Mapping[str, Any], timeout: float) -> None:
        body: dict[str, Any] = {"model": model, **fields}
        if self.defaults.runner and fields.get("keep_alive") != 0:
            body["options"] = self.defaults.runner
        for connection in self._each.values():
            ways: tuple[tuple[str, dict[str, Any]], ...] = (
                ("/api/chat", {"messages": []}),
                ("/api/embed", {"input": []}),
            )
            for path, empty in ways:
                response, _, _ = await connection.post(path, encoded(body | empty, f"{self._name}/{model}"), timeout)
                # a model that only embeds takes no chat, not even an empty one
                if response.status_code != 400 or b"does not support chat" not in response.content:
                    break
            if response.status_code != 200:
                raise await self._refused(response, model)

    async def _pull_all(self, base: str, model: str, report: Progress, stall: float) -> None:
        most = 0
        while True:
            layers: dict[str, tuple[int, int]] = {}
            try:
                return await self._pull(base, model, layers, report, stall)
            except CallError as error:
                done = sum(layer[0] for layer in layers.values())
                if error.retryable and done > most:
                    most = done
                elif isinstance(error, CallTimeoutError):
                    raise CallTimeoutError(
                        f"{self._name} said nothing for {stall:g} s while it pulled {model!r} ({done:,} bytes by then). "
                        "What it has is kept: run the same again to go on from there."
                    ) from None
                else:
                    raise
            await self._sleep(1.0)

    async def _pull(
        self, base: str, model: str, layers: dict[str, tuple[int, int]], progress: Progress, stall: float
    ) -> None:
        """layers: (bytes done, bytes in all) by digest; written to."""

        def received() -> str | None:
            return f"{sum(layer[0] for layer in layers.values()):,} bytes" if layers else None

        body = encoded({"model": model}, f"{self._name}/{model}")
        async with await self._each[base].stream("/api/pull", body, stall) as exchange:
            if exchange.response.status_code != 200:
                response = await exchange.read()
                raise self._not_pulled(await self._refused(response, model), response.text, model)
            async with aclosing(exchange.lines(received, endless=True)) as batches:
                async for lines in batches:
                    for line in filter(None, lines):
                        event = self._line(line, exchange.url)
                        if said := event.get("error"):
                            raise self._not_pulled(self._faults.event(event, exchange.url, model), str(said), model)
                        status = str(event.get("status", ""))
                        if digest := event.get("digest"):
                            layers[str(digest)] = (
                                count_of(event.get("completed")) or 0,
                                count_of(event.get("total")) or 0,
                            )
                        done, total = (sum(layer[i] for layer in layers.values()) for i in (0, 1))
                        if status == "success":
                            progress(total, total, status)
                            return
                        progress(done, total, status)
            raise self._faults.cut(exchange.url, received() or "nothing")

    def _not_pulled(self, error: CallError, said: str, model: str) -> CallError:
        """said: the server's own words."""
        if "file does not exist" in said:
            return ModelNotFoundError(
                f"Ollama's library has no model {model!r}. Look the name and its tag up at https://ollama.com/library.",
                status=404,
            )
        if "newer version of Ollama" in said:
            return BadRequestError(f"{model!r} needs a newer Ollama than that of {self._name}: update it.")
        if isinstance(error, ServerError):
            return ServerError(
                f"{self._name} could not pull {model!r}: {self._faults.hide(said)[:600]}. What it has by now is kept: run the "
                "same again to go on from there. Check disk and network of the machine that Ollama runs on.",
                status=error.status,
            )
        return error

    def _line(self, line: bytes, url: str) -> dict[str, Any]:
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError:
            raise self._faults.not_an_answer(line, "", url) from None
        if not isinstance(event, dict):
            raise self._faults.not_an_answer(line, "application/json", url)
        return event

    async def _show(self, base: str, model: str, timeout: float = LOOK_UP) -> dict[str, Any]:
        body = encoded({"model": model}, f"{self._name}/{model}")
        response = await self.connection.get(f"{base}/api/show", timeout, body)
        if response.status_code != 200:
            raise await self._refused(response, model)
        found = self.connection.json(response)
        if not isinstance(found, dict):
            raise self._faults.not_an_answer(response.content, "", f"{base}/api/show")
        return found

    async def _trained_with(self, base: str, model: str) -> int | None:
        """The model's context, None where the server does not tell. A refusal is not explained: that would ask for the same."""
        try:
            response = await self.connection.get(f"{base}/api/show", LOOK_UP, encoded({"model": model}, model))
            found = self.connection.json(response) if response.status_code == 200 else None
        except CallError:
            return None
        return context_of(found) if isinstance(found, dict) else None

    async def _get(self, base: str, what: str, timeout: float = LOOK_UP) -> dict[str, Any]:
        url = f"{base}/api/{what}"
        response = await self.connection.get(url, timeout)
        if response.status_code != 200:
            raise self._faults.response(response.status_code, response.headers, response.content, url, "")
        found = self.connection.json(response)
        if not isinstance(found, dict):
            raise self._faults.not_an_answer(response.content, "", url)
        return found

    async def _listed(self, base: str, what: str, timeout: float = LOOK_UP) -> _Rows:
        """What /api/tags or /api/ps lists."""
        found = (await self._get(base, what, timeout)).get("models")
        return [item for item in found or () if isinstance(item, dict)]

    def _base(self, url: str) -> str:
        return next(base for base in self._each if url.startswith(f"{base}/"))

    async def _refused(self, response: httpx.Response, model: str, num_ctx: int | None = None) -> CallError:
        url = str(response.request.url)
        error = self._faults.response(response.status_code, response.headers, response.content, url, model)
        return await self._explained(error, model, self._base(url), num_ctx)

    async def _explained(self, error: CallError, model: str, base: str, num_ctx: int | None = None) -> CallError:
        """The error that Ollama's words mean: its statuses say less."""
        said, ref = str(error), f"{self._name}/{model}"
        if isinstance(error, ModelNotFoundError):
            try:
                listed = await self._listed(base, "tags")
            except CallError:
                return error
            return self._faults.model_not_found(model, [str(item.get("name")) for item in listed])
        if isinstance(error, ContextLengthError) or is_context_error(said):
            sizes = re.search(r"\((\d+) tokens\).*?\((\d+) tokens\)", said)
            prompt, context = (int(sizes[1]), int(sizes[2])) if sizes else (None, num_ctx)
            size = f"the prompt has {prompt:,} tokens" if prompt is not None else "the prompt is too long"
            return await self.too_long(size, context, model, base, needed=prompt, status=error.status)
        if wrong := _WRONG_TYPE.search(said):
            return BadRequestError(f"{ref}: {wrong[0]}. Correct it in params or params.extra.", status=error.status)
        if unable := _UNABLE.search(said):
            instead = _INSTEAD.get(unable[1], "Take")
            return BadRequestError(
                f"{ref} does not support {unable[1]}. {instead} a model whose capabilities name it "
                f"(`workbench model show {ref}` tells them).",
                status=error.status,
            )
        if "requires more system memory" in said:
            error.retryable = False
        return error

    async def too_long(
        self,
        what: str,
        context: int | None,
        model: str,
        base: str,
        *,
        needed: int | None = None,
        status: int | None = 200,
    ) -> ContextLengthError:
        """The error for what does not fit, with how far the context can be raised. needed: tokens, where they are known."""
        trained = await self._trained_with(base, model)
        holds = f"the context holds {context:,}" if context else "it does not fit into the context"
        if trained is not None and max(context or 0, needed or 0) >= trained:
            fix = f"The model was trained with no more than {trained:,}: shorten the prompt, or take another model"
        else:
            room = f", up to the {trained:,} of this model" if trained else ""
            fix = (
                f"Set num_ctx in params.extra{room} (memory grows with it), or for all calls under "
                f"[endpoints.{self._name}.options] in workbench.toml; or shorten the prompt. With allow_truncation = true "
                "Ollama answers to what fits, and the answer is flagged as truncated"
            )
        return ContextLengthError(f"{self._name}/{model}: {what}, and {holds}. {fix}.", status=status)


def context_of(shown: Mapping[str, Any]) -> int | None:
    """Tokens that a model was trained with, from what /api/show says."""
    facts = shown.get("model_info") or {}
    value = facts.get(f"{facts.get('general.architecture')}.context_length")
    return value if isinstance(value, int) else None


def same_model(one: str, other: str) -> bool:
    """Whether two names mean the same model: `:latest` and the library's own address may be left out."""
    return _whole_name(one) == _whole_name(other)


def _whole_name(name: str) -> str:
    name = name.lower().removeprefix("registry.ollama.ai/").removeprefix("library/")
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"
