"""What went wrong between here and a server, as the error that says what to do about it."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson

from workbench.errors import (
    AuthenticationError,
    BadAnswerError,
    BadRequestError,
    CallError,
    CallTimeoutError,
    ConnectError,
    ContextLengthError,
    IncompleteStreamError,
    ModelNotFoundError,
    OverloadedError,
    RateLimitError,
    ServerError,
)
from workbench.serving.transport import CONNECT_TIMEOUT

if TYPE_CHECKING:
    from workbench.settings import Endpoint

__all__ = ["Faults", "is_context_error", "retry_after"]

_CONTEXT = re.compile(
    r"exceed_context_size_error|context_length_exceeded|maximum context length|exceeds the available context size"
    r"|cannot be greater than max_model_len|longer than the maximum model length|exceeds? the (?:model's )?context"
    r"|longer than the model's context length"
    r"|`inputs` tokens \+ `max_new_tokens` must be|`inputs` must have less than|(?:prompt|input) is too long",
    re.IGNORECASE,
)
_ADDRESS = {"ollama": "OLLAMA_HOST", "openai": "OPENAI_BASE_URL", "tgi": "TGI_BASE_URL", "vllm": "VLLM_BASE_URL"}
_START = {
    "llama-server": "Start it with `llama-server -m MODEL.gguf --port 8080`",
    "ollama": "Start it with `ollama serve`",
    "openai": "Check the network (and HTTPS_PROXY, if there is a proxy)",
    "tgi": "Start it with `text-generation-launcher --model-id MODEL --port 8080`",
    "vllm": "Start it with `vllm serve MODEL --port 8000`",
}

_EXCERPT = 600  # characters of what a server says
# TGI's stream says 422 whatever the error; what it says is told from its words
_TGI_EVENTS = {"Model is overloaded": 429, "Request failed during generation": 424, "Incomplete generation": 500}
# words of a refusal, and what to do about it
_FIXES = {
    "--enable-auto-tool-choice": (
        "Start it with `vllm serve MODEL --enable-auto-tool-choice --tool-call-parser PARSER` (`vllm serve --help` lists the "
        "parsers, such as hermes or llama3_json, and the model's card says which), or name one function in tool_choice."
    ),
    "template not found": (
        "The model has no chat template: use a prompt of kind completion, or a model that was tuned to chat."
    ),
    "chat template": (
        "Look at the roles and the order of the messages; for a model without a chat template use a prompt of kind completion."
    ),
    "must have a 'properties' field": "Give the schema an object with properties at its top.",
}


def is_context_error(text: str) -> bool:
    """Whether a server's error text (or type) means that the prompt is longer than the context."""
    return _CONTEXT.search(text) is not None


def retry_after(headers: Mapping[str, str], now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float | None:
    """Seconds that the server asks to wait, from Retry-After (seconds or HTTP date) or retry-after-ms."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        value = headers.get("retry-after", "").strip()
        if not value:
            return None
        if re.fullmatch(r"\d+(\.\d+)?", value):
            return float(value)
        at = parsedate_to_datetime(value)
        return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - now()).total_seconds())
    except ValueError:
        return None


class Faults:
    """Makes the errors of one endpoint. The key is struck out of whatever a server says."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        variable = f"{_ADDRESS[endpoint.name]} or " if endpoint.name in _ADDRESS else ""
        self._address = f"{variable}urls under [endpoints.{endpoint.name}] in workbench.toml"
        self._start = _START.get(endpoint.kind, "Start the server")

    def response(self, status: int, headers: Mapping[str, str], body: bytes, url: str, model: str) -> CallError:
        """The error for an HTTP answer that is not 200."""
        text, kind = self._message(body)
        if status in (301, 302, 303, 307, 308):
            there = self.hide(headers.get("location", "another address"))
            return BadAnswerError(
                f"{url} sends on to {there}: set that address in {self._address}.",
                status=status,
            )
        return self._by_status(status, text, kind, url, model, retry_after(headers))

    def event(self, payload: Any, url: str, model: str) -> CallError:
        """The error for an error object inside a stream that began with 200."""
        text, kind = self._message(orjson.dumps(payload))
        found = payload.get("error")
        status = _code(found) or 500
        if isinstance(found, dict) and "http_status_code" in found:
            status = next((right for words, right in _TGI_EVENTS.items() if words in text), status)
        elif "overloaded" in f"{text} {kind}".lower():
            status = 503
        return self._by_status(status, text, kind, url, model, None)

    def model_not_found(self, model: str, models: Sequence[str] | None, said: str = "") -> CallError:
        """models: what the server has, None if it does not say."""
        name = self._endpoint.name
        pull = ""
        if self._endpoint.kind == "ollama":
            pull = f"get it with `workbench model pull {name}/{model}` (or `ollama pull {model}`)"
        if models:
            more = f" and {len(models) - 20} more" if len(models) > 20 else ""
            there = f"It has: {', '.join(sorted(models)[:20])}{more}. Name one of those as {name}/MODEL"
        elif models is None:
            there = "Check the name; the server does not list what it has"
        else:
            there = "It has no model at all: start it with one"
        fix = f"{there}, or {pull}." if pull else f"{there}."
        quoted = f" ({said})" if said else ""
        return ModelNotFoundError(f"{name} has no model {model!r}{quoted}. {fix}", status=404)

    def deadline(self, seconds: float, url: str, received: str | None = None) -> CallError:
        """received: what a stream had brought by then, None if nothing."""
        stalled = f", the stream stopped after {received}" if received else ""
        return CallTimeoutError(
            f"no complete answer from {url} within {seconds:g} s{stalled}. Give it more time (timeout), ask for fewer "
            "tokens (max_tokens), or send fewer calls at once (concurrency)."
        )

    def cut(self, url: str, received: str) -> CallError:
        """The answer ended before its end."""
        return IncompleteStreamError(
            f"the answer from {url} was cut off after {received}, before the server said that it was complete. The server "
            "or a proxy between closed the connection; trying again can help."
        )

    def not_an_answer(self, body: bytes, content_type: str, url: str) -> CallError:
        """200 with something that is no JSON."""
        what = "HTML" if "html" in content_type or body.lstrip()[:1] == b"<" else "no JSON" if body else "nothing"
        start = self.hide(body.decode("utf-8", "replace"))[:120].strip()
        return BadAnswerError(
            f"{url} said 200 but sent {what}{f' ({start!r})' if start else ''}: this is probably a web page or a "
            f"proxy's login, not the server's API. Check {self._address}.",
            status=200,
        )

    def no_text(self, found: object, url: str, model: str, *, streamed: bool = False) -> CallError:
        """200 with JSON that is no answer; some servers and routers send their errors so."""
        if isinstance(found, dict) and _code(found.get("error")):
            return self.event(found, url, model)
        what = (
            "streamed something that is no part of an answer" if streamed else "but its answer has no text in choices"
        )
        return BadAnswerError(
            f"{url} said 200, {what}: {self.hide(str(found))[:300]}. Check that the address in {self._address} is that of an "
            "OpenAI-compatible server.",
            status=200,
        )

    def no_embeddings(self, model: str, body: bytes, status: int) -> CallError:
        """The server has no such route, or the model is of another kind."""
        name, said = self._endpoint.name, self._message(body)[0].rstrip(".")
        how = {
            "llama-server": "start llama-server with `--embeddings --pooling mean` and an embedding model",
            "tgi": "TGI makes none; text-embeddings-inference, vLLM or Ollama do",
            "vllm": "start vLLM with an embedding model (`vllm serve BAAI/bge-m3`): one server holds one model",
        }.get(self._endpoint.kind, "name an embedding model")
        quoted = f": {said}" if said else ""
        return BadRequestError(f"{name} makes no embeddings with {model!r} ({status}{quoted}): {how}.", status=status)

    def transport(self, error: BaseException, url: str, received: str | None = None) -> CallError:
        """The error for a connection that could not be made or broke; `received` as in `deadline`."""
        cause = error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError) else error
        if isinstance(cause, (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError)):
            found = ConnectError(
                f"{url}: the TLS connection was refused ({cause}). If the certificate is your company's own, name its "
                "file in SSL_CERT_FILE; if the server speaks plain http, write http:// in the address."
            )
            found.retryable = False
            return found
        if isinstance(cause, aiohttp.ClientConnectorDNSError):
            return ConnectError(
                f"{url}: the host is unknown ({cause.os_error}). Check the spelling in {self._address}."
            )
        if isinstance(cause, (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError)):
            why = f"{cause.status} {cause.message}" if isinstance(cause, aiohttp.ClientHttpProxyError) else str(cause)
            return ConnectError(
                f"the proxy in HTTPS_PROXY or HTTP_PROXY did not let the call to {url} through: {why}. "
                "Correct it, or name the host in NO_PROXY."
            )
        if isinstance(cause, aiohttp.ConnectionTimeoutError):
            return ConnectError(
                f"{url} did not take a connection within {CONNECT_TIMEOUT:g} s: a firewall, or the wrong host. "
                f"The address is from {self._address}."
            )
        if isinstance(cause, aiohttp.ClientConnectorError):
            if cause.os_error.errno in (errno.EMFILE, errno.ENFILE):
                return ConnectError(
                    "this process has too many open files for another connection: lower the concurrency "
                    "of the endpoint, or raise the limit with `ulimit -n 4096`."
                )
            return ConnectError(
                f"nobody listens at {url} ({cause.os_error.strerror or cause.os_error}). {self._start}, or set its "
                f"address in {self._address} (now from: {self._endpoint.by})."
            )
        if received is not None or isinstance(cause, aiohttp.ClientPayloadError):
            return self.cut(url, received or "a part")
        if isinstance(cause, aiohttp.ClientResponseError):
            return BadAnswerError(
                f"what listens at {url} does not speak HTTP ({cause.message}): check host and port in {self._address}."
            )
        said = str(cause) or type(cause).__name__
        return ConnectError(
            f"{url} closed the connection before it answered ({said}): the server may have restarted; trying again can "
            "help."
        )

    def _by_status(self, status: int, text: str, kind: str, url: str, model: str, wait: float | None) -> CallError:
        name, said = self._endpoint.name, text or "no reason given"
        if status in (401, 403):
            return AuthenticationError(self._key_message(status, text, url), status=status)
        if status in (400, 413, 422) and is_context_error(f"{kind} {text}"):
            return ContextLengthError(
                f"{name}/{model}: prompt and answer do not fit into the model's context: {said}. Shorten the prompt, "
                "lower max_tokens, or use a model with a longer context.",
                status=status,
            )
        if status == 404 and ("model" in f"{kind} {text}".lower()):
            return self.model_not_found(model, None, text)
        if status in (404, 405) and self._endpoint.kind == "ollama":
            return BadRequestError(
                f"the server has no {url} ({status}: {said}): either this is not Ollama's address, or that Ollama is too "
                f"old. Set it to http://HOST:11434 in {self._address} (now from: {self._endpoint.by}), or update Ollama.",
                status=status,
            )
        if status in (404, 405):
            return BadRequestError(
                f"the server has no {url} ({status}: {said}): the address is probably not that of an OpenAI-compatible "
                f"API. Set it to http://HOST:PORT (then /v1 is added) or up to and with its /v1, in {self._address} "
                f"(now from: {self._endpoint.by}).",
                status=status,
            )
        if status == 429:
            if "insufficient_quota" in kind:
                error = RateLimitError(
                    f"the account behind the key of {name} has no credit left: {said}. Top it up, or set another key in "
                    f"{self._key_setting()}.",
                    status=status,
                )
                error.retryable = False
                return error
            return RateLimitError(
                f"{name} limits the rate of calls: {said}. Lower the endpoint's concurrency, or wait.",
                status=status,
                retry_after=wait,
            )
        if status == 413:
            return BadRequestError(
                f"{name}/{model}: the request is larger than the server takes (413): {said}. Send less, or raise its limit "
                "(TGI: --payload-limit; a proxy: its body size).",
                status=status,
            )
        if status == 408:
            return CallTimeoutError(f"{name} gave up waiting (408): {said}.", status=status, retry_after=wait)
        if status in (503, 529):
            return OverloadedError(
                f"{name} takes no work now ({status}): {said}. It may be loading a model or be overloaded: wait, or "
                "lower the endpoint's concurrency.",
                status=status,
                retry_after=wait,
            )
        if status == 501:
            return BadRequestError(f"{name} cannot do this (501): {said}.", status=status)
        if status >= 500 or status == 424:
            return ServerError(
                f"{name} failed ({status}): {said.rstrip('.')}. The log of the server at {url} says more.",
                status=status,
                retry_after=wait,
            )
        usual = "Check params and params.extra; what this server does not know must be left out."
        fix = next((fix for words, fix in _FIXES.items() if words in text), usual)
        return BadRequestError(f"{name} refused the request ({status}): {said.rstrip('.')}. {fix}", status=status)

    def _key_setting(self) -> str:
        name = self._endpoint.key_setting
        return name or f"the variable named by key_env under [endpoints.{self._endpoint.name}] in workbench.toml"

    def _key_message(self, status: int, text: str, url: str) -> str:
        said = f": {text}" if text else ""
        if not self._endpoint.key:
            return f"{url} wants a key ({status}{said}) and none was sent: set {self._key_setting()}."
        if status == 403:
            return f"the key in {self._key_setting()} may not use this at {url} (403{said}): use another key or model."
        return f"{url} did not accept the key in {self._key_setting()} (401{said}): correct it."

    def hide(self, text: str) -> str:
        """The text without the key."""
        key = self._endpoint.key
        return text.replace(key.reveal(), "****") if key else text

    def _message(self, body: bytes) -> tuple[str, str]:
        """(text without the key, type and code) of an error body."""
        text, kind = _said(body)
        return self.hide(text)[:_EXCERPT], self.hide(kind)


def _said(body: bytes) -> tuple[str, str]:
    """(text, type and code) of an error body: an object, a text, FastAPI's `detail`, or plain text."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        plain = body.decode("utf-8", "replace").strip()
        return ("", "") if plain.startswith("<") else (plain, "")
    outer = found if isinstance(found, dict) else {}
    kind = str(outer.get("error_type") or "")
    if isinstance(found, dict):
        found = found.get("error") or found.get("detail") or found.get("message") or ""
    if isinstance(found, dict):
        outer, found = found, found.get("message") or found
    if not kind:
        kind = " ".join(str(outer[name]) for name in ("type", "code") if outer.get(name))
    if isinstance(found, str) and found.startswith('{"error":'):
        return _said(found.encode())  # Ollama hands on its runner's error, which is JSON, as a text
    return (found if isinstance(found, str) else orjson.dumps(found).decode()), kind


def _code(error: object) -> int | None:
    """The HTTP status that an error object carries."""
    code = error.get("http_status_code", error.get("code")) if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code < 600 else None
