"""One endpoint over HTTP: a pooled client, replicas, deadlines, and every fault as its own error.

All HTTP runtimes speak through this; what they say is in `wire` (OpenAI's JSON) and `ollama`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import httpx
import orjson

from workbench.errors import BadRequestError, CallError, CallTimeoutError, ConnectError, IncompleteStreamError
from workbench.serving.faults import Faults
from workbench.serving.replicas import Replica, Replicas
from workbench.serving.transport import Transport

if TYPE_CHECKING:
    from types import TracebackType

    from workbench.settings import Endpoint

__all__ = ["Connection", "Exchange", "encoded"]

_TRANSPORT_ERRORS = (httpx.HTTPError, aiohttp.ClientError, OSError)
_PROBE = 2.0
_GATEWAY = (502, 504)  # a proxy that lost its server: of this replica, not of this request


class Connection:
    """What one endpoint's runtimes send through. bases: one address a replica, without a trailing slash.

    probe: the path below the server's root that a resting replica is asked for; any answer below 500 means that it is back.
    clock: Unix seconds.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        bases: tuple[str, ...],
        *,
        root: Callable[[str], str] = lambda base: base,
        probe: str = "/",
        clock: Callable[[], float] = time.time,
    ) -> None:
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if endpoint.key:
            headers["Authorization"] = f"Bearer {endpoint.key.reveal()}"
        self.bases = bases
        self.faults = Faults(endpoint)
        self.replicas = Replicas(bases, self._alive)
        self.clock = clock
        self._name = endpoint.name
        self._root = root
        self._probe = probe
        self._transport = Transport(bases, headers)
        self._urls: dict[tuple[str, str], httpx.URL] = {}

    async def post(self, path: str, body: bytes, timeout: float) -> tuple[httpx.Response, float, float]:
        """(answer of any status, Unix seconds when it was sent, seconds it took). Another replica takes over from one that
        cannot be reached. Raises a CallError."""
        tried: list[Replica] = []
        client = self._transport.client()
        while True:
            replica = await self._choose(tried)
            url = self._url(replica, path)
            started_at, start = self.clock(), time.perf_counter()
            replica.outstanding += 1
            try:
                async with asyncio.timeout(timeout):
                    response = await client.post(url, content=body)
            except TimeoutError:
                self.replicas.failed(replica, "no answer in time")
                raise self.faults.deadline(timeout, str(url)) from None
            except _TRANSPORT_ERRORS as error:
                self._broke(replica, tried, self.faults.transport(error, str(url)))
                continue
            finally:
                replica.outstanding -= 1
            total = time.perf_counter() - start
            if response.status_code in _GATEWAY and len(self.bases) > 1:
                self.replicas.failed(replica, f"status {response.status_code}")
                tried.append(replica)
                if await self.replicas.choose(tried) is not None:
                    continue
            else:
                self.replicas.worked(replica)
            replica.served += 1
            return response, started_at, total

    async def stream(self, path: str, body: bytes, timeout: float) -> Exchange:
        """Send and wait for the head of the answer; then it is read through the Exchange, within the same deadline."""
        tried: list[Replica] = []
        client = self._transport.client()
        while True:
            replica = await self._choose(tried)
            url = self._url(replica, path)
            started_at, start = self.clock(), time.perf_counter()
            replica.outstanding += 1
            response = None
            try:
                async with asyncio.timeout(timeout):
                    response = await client.send(client.build_request("POST", url, content=body), stream=True)
            except TimeoutError:
                self.replicas.failed(replica, "no answer in time")
                raise self.faults.deadline(timeout, str(url)) from None
            except _TRANSPORT_ERRORS as error:
                self._broke(replica, tried, self.faults.transport(error, str(url)))
                continue
            finally:
                if response is None:
                    replica.outstanding -= 1
            return Exchange(self, replica, response, started_at, start, timeout)

    async def get(self, url: str, timeout: float) -> httpx.Response:
        """A look-up at a whole address. Raises a CallError."""
        try:
            async with asyncio.timeout(timeout):
                return await self._transport.client().get(url)
        except TimeoutError:
            raise self.faults.deadline(timeout, url) from None
        except _TRANSPORT_ERRORS as error:
            raise self.faults.transport(error, url) from None

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        await self._transport.aclose()

    def json(self, response: httpx.Response) -> Any:
        """The body; BadAnswerError if it is no JSON."""
        try:
            return orjson.loads(response.content)
        except orjson.JSONDecodeError:
            kind = response.headers.get("content-type", "")
            raise self.faults.not_an_answer(response.content, kind, str(response.request.url)) from None

    async def _choose(self, tried: list[Replica]) -> Replica:
        replica = await self.replicas.choose(tried)
        if replica is not None:
            return replica
        wait = self.replicas.retry_after()
        why = "; ".join(f"{replica.url}: {replica.why or 'failed'}" for replica in self.replicas.all)
        error = ConnectError(
            f"{self._name} was not asked: its last calls failed ({why}). It is asked again in {wait:.1f} s.",
            retry_after=wait,
        )
        raise error

    def _broke(self, replica: Replica, tried: list[Replica], error: CallError) -> None:
        """Note it; raises the error where there is no other address left to ask."""
        what = str(error).partition(". ")[0]
        self.replicas.failed(replica, what, refused=isinstance(error, ConnectError))
        tried.append(replica)
        if not error.retryable or all(other in tried or other.resting_until for other in self.replicas.all):
            raise error from None

    def _url(self, replica: Replica, path: str) -> httpx.URL:
        # parsing an address costs as much as a tenth of a call
        key = (replica.url, path)
        if key not in self._urls:
            self._urls[key] = httpx.URL(f"{replica.url}{path}")
        return self._urls[key]

    async def _alive(self, base: str) -> bool:
        try:
            return (await self.get(f"{self._root(base)}{self._probe}", _PROBE)).status_code < 500
        except CallError:
            return False


class Exchange:
    """One streamed answer. Use as an async context manager: leaving it early closes the connection, which stops the server.

    The deadline counts only the time spent waiting for the server. started_at: Unix seconds; start: of `time.perf_counter`.
    """

    def __init__(
        self,
        connection: Connection,
        replica: Replica,
        response: httpx.Response,
        started_at: float,
        start: float,
        timeout: float,
    ) -> None:
        self.response = response
        self.started_at = started_at
        self.start = start
        self._connection = connection
        self._replica = replica
        self._timeout = timeout
        self._left = timeout - (time.perf_counter() - start)
        self._pieces: AsyncIterator[bytes] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None and self._pieces is not None:
                await self._drain(self._pieces)
        finally:
            self._replica.outstanding -= 1
            if isinstance(error, (ConnectError, CallTimeoutError, IncompleteStreamError)):
                self._connection.replicas.failed(self._replica, type(error).__name__)
            elif error is None:
                self._connection.replicas.worked(self._replica)
                self._replica.served += 1
            await self.response.aclose()

    async def read(self) -> httpx.Response:
        """The whole answer, for one that is no stream. Raises a CallError."""
        try:
            async with asyncio.timeout(self._left):
                await self.response.aread()
        except TimeoutError:
            raise self._connection.faults.deadline(self._timeout, self.url) from None
        except _TRANSPORT_ERRORS as error:
            raise self._connection.faults.transport(error, self.url) from None
        return self.response

    async def lines(self, received: Callable[[], str | None]) -> AsyncGenerator[list[bytes], None]:
        """Complete lines as they come, several at once where they came so; a last one without its end is left out.

        received: what the answer holds so far, for the message of a fault. Raises a CallError.
        """
        self._pieces = self.response.aiter_raw()
        rest = b""
        try:
            while True:
                waited = time.perf_counter()
                try:
                    async with asyncio.timeout(self._left):
                        piece = await anext(self._pieces)
                except StopAsyncIteration:
                    break
                self._left -= time.perf_counter() - waited
                lines = (rest + piece).split(b"\n")
                rest = lines.pop()
                if lines:
                    yield lines
        except TimeoutError:
            raise self._connection.faults.deadline(self._timeout, self.url, received()) from None
        except _TRANSPORT_ERRORS as error:
            raise self._connection.faults.transport(error, self.url, received()) from None

    @property
    def url(self) -> str:
        """Where it was sent."""
        return str(self.response.request.url)

    async def _drain(self, pieces: AsyncIterator[bytes]) -> None:
        """Read the end of the body, which lets the connection be used again."""
        with suppress(TimeoutError, *_TRANSPORT_ERRORS):
            async with asyncio.timeout(0.5):
                async for _ in pieces:
                    pass


def encoded(body: Mapping[str, Any], model: str) -> bytes:
    """A request's JSON. Raises BadRequestError for what JSON cannot hold."""
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError as error:
        raise BadRequestError(
            f"{model}: this request is no JSON: {error}. Look for half of a surrogate pair in the text, and for "
            "objects in params.extra or params.schema."
        ) from None
