"""What an OpenAI-compatible server says of itself: its models, version, health and load."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from workbench.errors import CallError, CallTimeoutError, ConnectError, ModelNotFoundError, SettingsError
from workbench.records import Health, ModelInfo, ServerMetrics
from workbench.serving.connection import Connection, as_sent
from workbench.serving.limits import most_at_once
from workbench.serving.prometheus import read_metrics

if TYPE_CHECKING:
    import httpx

    from workbench.settings import Endpoint

__all__ = ["OpenAIServer"]

T = TypeVar("T")

_LOOK_UP = 10.0  # seconds
_VERSION = {"llama-server": ("/props", "build_info"), "tgi": ("/info", "version"), "vllm": ("/version", "version")}
_NO_BUILD = "b0-unknown"  # llama.cpp that was built outside its repository
_PROBE = dict.fromkeys(("llama-server", "tgi", "vllm"), "/health")
_CONTEXT = (
    "max_model_len",
    "context_length",
    "max_context_length",
)  # as vLLM and SGLang, OpenRouter, LM Studio name it
_OPTIONS = {"adapters": list, "stream_usage": bool}


class OpenAIServer:
    """One endpoint of a kind that speaks OpenAI's API. Several addresses are replicas.

    The options of the endpoint: `stream_usage = false` for a server that refuses `stream_options`; `adapters`, the names of
    the LoRA adapters of a TGI, which lists none. clock: Unix seconds; monotonic: for how long a replica rests.
    Raises SettingsError for other options.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.kind = endpoint.kind
        self.concurrency = most_at_once(endpoint)
        self._name = endpoint.name
        self._options = _checked(endpoint)
        self._bases = tuple(as_sent(_base(url)) for url in endpoint.urls)
        self.connection = Connection(
            endpoint, self._bases, root=_root if self.kind in _PROBE else lambda base: base,
            probe=_PROBE.get(self.kind, "/models"), clock=clock, monotonic=monotonic,
        )  # fmt: skip
        self._faults = self.connection.faults

    def lost(self) -> dict[str, int]:
        """Calls that each address failed so far; empty where there is one alone."""
        return self.connection.replicas.lost()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r}, kind={self.kind!r}, urls={list(self._bases)})"

    async def describe(self, model: str) -> ModelInfo:
        """Asked each time: the server may have been started with another model since. digest: only TGI tells one, the commit of
        the model's repository."""
        ask = self._describe_tgi if self.kind == "tgi" else self._describe
        return await self._first(lambda base: ask(base, model))

    async def health(self) -> Health:
        """Asks every address for its health and its models."""
        answers = await asyncio.gather(*(self._health(base) for base in self._bases))
        held = [answer for answer in answers if not isinstance(answer, CallError)]
        models = tuple(sorted(set().union(*held)))
        fault = next((answer for answer in answers if isinstance(answer, CallError)), None)
        if fault is not None:
            what = str(fault).partition(". ")[0].rstrip(".")
            others = f"{len(held)} of {len(self._bases)} replicas answer: " if len(self._bases) > 1 else ""
            return Health(False, f"{others}{what}", models=models, fix=str(fault))
        if any(names != held[0] for names in held):
            each = "; ".join(
                f"{base}: {', '.join(sorted(names)) or 'none'}" for base, names in zip(self._bases, held, strict=True)
            )
            return Health(
                False, f"the replicas of {self._name} do not hold the same models ({each})", models=models,
                fix="Give each its own endpoint in workbench.toml, or start them with the same models.",
            )  # fmt: skip
        version = await self._version(self._bases[0])
        count = f"{len(models)} model{'' if len(models) == 1 else 's'}"
        upstream = "in maintenance upstream since 2025-12, which points to vLLM; " if self.kind == "tgi" else ""
        return Health(True, f"{upstream}answers at {', '.join(self._bases)}, {count}", version, models)

    async def metrics(self) -> ServerMetrics | None:
        """The load of all replicas together, from their /metrics; None where there is no such page. Raises a CallError."""
        pages = await asyncio.gather(
            *(self.connection.get(f"{_root(base)}/metrics", _LOOK_UP) for base in self._bases)
        )  # fmt: skip
        if any(page.status_code != 200 or "text" not in page.headers.get("content-type", "") for page in pages):
            return None
        return read_metrics([page.text for page in pages], self.connection.clock())

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        await self.connection.aclose()

    async def _refused(self, response: httpx.Response, model: str) -> CallError:
        url = str(response.request.url)
        error = self._faults.response(response.status_code, response.headers, response.content, url, model)
        if isinstance(error, ModelNotFoundError):
            try:
                listed = await self._models(next(base for base in self._bases if url.startswith(base)))
            except CallError:
                return error
            return self._faults.model_not_found(model, None if listed is None else _names(listed))
        return error

    async def _first(self, ask: Callable[[str], Awaitable[T]]) -> T:
        """From the first address that can be reached."""
        bases = [replica.url for replica in sorted(self.connection.replicas.all, key=lambda r: bool(r.resting_until))]
        for base in bases[:-1]:
            try:
                return await ask(base)
            except (ConnectError, CallTimeoutError):
                continue
        return await ask(bases[-1])

    async def _describe(self, base: str, model: str) -> ModelInfo:
        listed = await self._models(base)
        version = await self._version(base)
        if listed is None:
            return ModelInfo(model, server_version=version)
        cards = {name: item for item in listed for name in (*(item.get("aliases") or ()), item.get("id"))}
        if model not in cards:
            raise self._faults.model_not_found(model, _names(listed))
        parent = cards[model].get("parent") or None
        # an adapter has its parent's context, and does not say so
        length = _context(cards[model]) or _context(cards.get(parent) or {})
        return ModelInfo(model, None, length, version, base=parent)

    async def _describe_tgi(self, base: str, model: str) -> ModelInfo:
        """From /info, for TGI answers to any name: with its one model, or an adapter of that name."""
        info = await self._json(f"{_root(base)}/info")
        served = info.get("model_id") if isinstance(info, dict) else None
        if not isinstance(served, str):
            return await self._describe(base, model)
        adapters = self._options.get("adapters", ())
        if model not in ("tgi", served, *adapters):
            raise ModelNotFoundError(
                f"{self._name} serves {served!r} under any name, so {model!r} would silently be that. Name it "
                f"{self._name}/{served}, or {self._name}/tgi. If {model!r} is a LoRA adapter that it was started with, say so: "
                f'adapters = ["{model}"] in [endpoints.{self._name}.options] of workbench.toml.'
            )
        sha, total, version = info.get("model_sha"), info.get("max_total_tokens"), info.get("version")
        return ModelInfo(
            served if model == "tgi" else model,
            sha if isinstance(sha, str) else None,
            total if isinstance(total, int) else None,
            f"tgi {version}" if isinstance(version, str) else None,
            base=served if model in adapters else None,
        )

    async def _health(self, base: str) -> set[str] | CallError:
        try:
            if self.kind in _PROBE:
                await self._json(f"{_root(base)}{_PROBE[self.kind]}")
            if self.kind == "tgi":  # its list of models needs no key
                await self._json(f"{_root(base)}/tokenize", orjson.dumps({"inputs": "x"}))
            return set(_names(await self._models(base) or ()))
        except CallError as error:
            return error

    async def _models(self, base: str) -> list[dict[str, Any]] | None:
        """What /models lists; None where there is no such list."""
        response = await self.connection.get(f"{base}/models", _LOOK_UP)
        if response.status_code in (404, 405, 501):
            return None
        if response.status_code != 200:
            raise self._faults.response(response.status_code, response.headers, response.content, f"{base}/models", "")
        found = self.connection.json(response)
        listed = found.get("data") if isinstance(found, dict) else None
        return [item for item in listed or () if isinstance(item, dict)]

    async def _json(self, url: str, body: bytes | None = None) -> Any:
        """The JSON there, None if it is none; raises a CallError if the server does not say 200."""
        response = await self.connection.get(url, _LOOK_UP, body)
        if response.status_code != 200:
            raise self._faults.response(response.status_code, response.headers, response.content, url, "")
        try:
            return orjson.loads(response.content)
        except orjson.JSONDecodeError:
            return None

    async def _version(self, base: str) -> str | None:
        path, field = _VERSION.get(self.kind, ("", ""))
        if not path:
            return None
        try:
            found = await self._json(f"{_root(base)}{path}")
        except CallError:
            return None
        version = found.get(field) if isinstance(found, dict) else None
        if not isinstance(version, str):
            return None
        return self.kind if version == _NO_BUILD else f"{self.kind} {version}"


def _checked(endpoint: Endpoint) -> dict[str, Any]:
    for name, value in endpoint.options.items():
        if name not in _OPTIONS or not isinstance(value, _OPTIONS[name]):
            raise SettingsError(
                f"[endpoints.{endpoint.name}.options]: {name} = {value!r} is not an option of kind {endpoint.kind}. Known: "
                "adapters, a list of names; stream_usage, true or false. What belongs to a call goes into params.extra."
            )
    return dict(endpoint.options)


def _names(listed: Any) -> list[str]:
    return [str(item.get("id")) for item in listed]


def _context(card: dict[str, Any]) -> int | None:
    """Tokens of prompt and answer together, of an entry of /models."""
    meta = card.get("meta")
    found = [card.get(name) for name in _CONTEXT] + [meta.get("n_ctx") if isinstance(meta, dict) else None]
    return next((length for length in found if isinstance(length, int)), None)


def _base(url: str) -> str:
    """The address up to and with its version, such as http://gpu-a:8000/v1; a path that holds one is left as it is."""
    url = re.sub(r"/(chat/)?completions$", "", url.rstrip("/"))
    path = url.partition("://")[2].partition("/")[2]
    return url if re.search(r"(^|/)v\d", path) else f"{url}/v1"


def _root(base: str) -> str:
    """The address without its version: where health, version and metrics are."""
    return re.sub(r"/v\d[^/]*$", "", base)
