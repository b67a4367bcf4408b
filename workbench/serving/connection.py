"""One endpoint over HTTP: a pooled client, replicas, deadlines, and every fault as its own error.

All HTTP runtimes speak through this; what they say is in `wire` (OpenAI's JSON) and `ollama`.
"""

from __future__ import annotations

import asyncio
import errno
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

__all__ = ["Connection", "Exchange", "as_sent", "encoded"]

_TRANSPORT_ERRORS = (httpx.HTTPError, aiohttp.ClientError, OSError)
_PROBE = 2.0
_DRAIN = 0.5
_AT_ONCE = 0.25  # seconds: nobody has computed anything in less
_BROKEN = (500, 502, 504)  # of several replicas, one that says only this must not draw the calls by being quick
_ELSEWHERE = (502, 503, 504)  # of this replica, not of this request: another may take it


class Connection:
    """What one endpoint's runtimes send through. bases: one address a replica, as `as_sent` writes it.

    probe: the path below the server's root that a resting replica is asked for; any answer below 500 means that it is back.
    clock: Unix seconds; monotonic: for how long a replica rests.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        bases: tuple[str, ...],
        *,
        root: Callable[[str], str] = lambda base: base,
        probe: str = "/",
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if endpoint.key:
            headers["Authorization"] = f"Bearer {endpoint.key.reveal()}"
        self.bases = bases
        self.faults = Faults(endpoint)
        self.replicas = Replicas(bases, self._alive, clock=monotonic)
        self.clock = clock
        self._name = endpoint.name
        self._root = root
        self._probe = probe
        self._transport = Transport(bases, headers)
        self._urls: dict[tuple[str, str], httpx.URL] = {}

    async def post(self, path: str, body: bytes, timeout: float) -> tuple[httpx.Response, float, float]:
        """(answer of any status, Unix seconds when it was sent, seconds it took). Another replica takes over from one that
        cannot be reached, breaks off or is too busy (503). Raises a CallError."""
        exchange = await self._send(path, body, timeout, stream=False)
        total = time.perf_counter() - exchange.start
        exchange.replica.outstanding -= 1
        exchange.replica.served += 1
        return exchange.response, exchange.started_at, total

    async def stream(self, path: str, body: bytes, timeout: float) -> Exchange:
        """Send and wait for the first bytes of the answer; then it is read through the Exchange, within the same deadline.
        Until then another replica takes over, as for `post`."""
        return await self._send(path, body, timeout, stream=True)

    async def _send(self, path: str, body: bytes, timeout: float, *, stream: bool) -> Exchange:
        """The answer of the first replica that gives one, where it counts as outstanding."""
        ends = time.perf_counter() + timeout
        tried: list[Replica] = []
        replica = None
        try:
            async with asyncio.timeout(timeout):
                replica = await self._choose()
                while True:
                    replica.outstanding += 1
                    kept = False
                    try:
                        answer = await self._ask(replica, path, body, timeout, ends if stream else None)
                        tried.append(replica)
                        found = await self._instead(answer, tried)
                        if isinstance(found, Exchange):
                            kept = True
                            return found
                    finally:
                        if not kept:
                            replica.outstanding -= 1
                    replica = found
        except TimeoutError:
            if replica is not None:
                self.replicas.failed(replica, "no answer in time")
            raise self.faults.deadline(timeout, f"{(replica or self.replicas.all[0]).url}{path}") from None

    async def _ask(
        self, replica: Replica, path: str, body: bytes, timeout: float, ends: float | None
    ) -> Exchange | CallError:
        """One replica's answer, or why there is none. ends: of the deadline of a stream, by `time.perf_counter`."""
        client, url = self._transport.client(), self._url(replica, path)
        again = False
        while True:
            started_at, start = self.clock(), time.perf_counter()
            exchange = None
            try:
                response = await client.send(client.build_request("POST", url, content=body), stream=ends is not None)
                exchange = Exchange(self, replica, response, started_at, start, timeout)
                if ends is not None:
                    await exchange.begin(ends)
            except _TRANSPORT_ERRORS as error:
                # some servers (llama-server after a stream) close a kept connection without a word, perhaps just as it is used
                # again: nobody has read the request then
                if again or exchange is not None or not _was_closing(error) or time.perf_counter() - start > _AT_ONCE:
                    return self._broke(replica, error, str(url), "nothing" if exchange else None)
                again = True
            else:
                return exchange

    async def get(self, url: str, timeout: float, body: bytes | None = None) -> httpx.Response:
        """A look-up at a whole address, with a body as a POST. Raises a CallError."""
        try:
            async with asyncio.timeout(timeout):
                return await self._transport.client().request("GET" if body is None else "POST", url, content=body)
        except TimeoutError:
            raise self.faults.deadline(timeout, url) from None
        except _TRANSPORT_ERRORS as error:
            raise self.faults.transport(error, url) from None

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        await self.replicas.aclose()
        await self._transport.aclose()

    def json(self, response: httpx.Response) -> Any:
        """The body; BadAnswerError if it is no JSON."""
        try:
            return orjson.loads(response.content)
        except orjson.JSONDecodeError:
            kind = response.headers.get("content-type", "")
            raise self.faults.not_an_answer(response.content, kind, str(response.request.url)) from None

    async def _choose(self) -> Replica:
        replica = await self.replicas.choose()
        if replica is not None:
            return replica
        wait = self.replicas.retry_after()
        why = "; ".join(f"{replica.url}: {replica.why or 'failed'}" for replica in self.replicas.all)
        raise ConnectError(
            f"{self._name} was not asked: its last calls failed ({why}). It is asked again in {wait:.1f} s.",
            retry_after=wait,
        )

    async def _instead(self, answer: Exchange | CallError, tried: list[Replica]) -> Exchange | Replica:
        """The answer of the last of `tried` if it is to be kept, else who is to be asked now. Raises the fault if all have
        failed."""
        if isinstance(answer, CallError):
            other = await self.replicas.choose(tried)
            if other is None:
                raise answer
            return other
        status, alone = answer.response.status_code, len(self.bases) == 1
        if status in _BROKEN and not alone:
            self.replicas.failed(tried[-1], f"status {status}")
        else:
            self.replicas.worked(tried[-1])
        if status not in _ELSEWHERE or alone:
            return answer
        other = await self.replicas.choose(tried)
        if other is None:
            return answer
        await answer.response.aclose()
        return other

    def _broke(self, replica: Replica, error: Exception, url: str, received: str | None) -> CallError:
        """Note that a replica could not be reached, or broke off; returns the fault."""
        fault = self.faults.transport(error, url, received)
        cause = error.__cause__
        if isinstance(cause, aiohttp.ClientConnectorError) and cause.os_error.errno in (errno.EMFILE, errno.ENFILE):
            return fault  # it is this process that cannot
        nobody = isinstance(cause, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError))
        self.replicas.failed(replica, str(fault).partition(". ")[0], refused=nobody)
        return fault

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
        self.replica = replica
        self.started_at = started_at
        self.start = start
        self._connection = connection
        self._timeout = timeout
        self.url = str(response.request.url)  # once: it is asked for with every event
        self._left = timeout
        self._pieces: AsyncIterator[bytes]
        self._first = b""

    async def begin(self, ends: float) -> None:
        """Wait for the first bytes of the body. ends: of the deadline, by `time.perf_counter`."""
        self._pieces = self.response.aiter_raw()
        try:
            self._first = await anext(self._pieces, b"")
        except BaseException:
            await self.response.aclose()
            raise
        self._left = ends - time.perf_counter()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                await self._drain()
        finally:
            self.replica.outstanding -= 1
            if isinstance(error, (ConnectError, CallTimeoutError, IncompleteStreamError)):
                self._connection.replicas.failed(self.replica, str(error).partition(". ")[0])
            elif error is None:
                self._connection.replicas.worked(self.replica)
                self.replica.served += 1
            await self.response.aclose()

    async def read(self) -> httpx.Response:
        """The whole answer, for one that is no stream. Raises a CallError."""
        pieces = [self._first]
        try:
            async with asyncio.timeout(self._left):
                pieces += [piece async for piece in self._pieces]
        except TimeoutError:
            raise self._connection.faults.deadline(self._timeout, self.url) from None
        except _TRANSPORT_ERRORS as error:
            raise self._connection.faults.transport(error, self.url) from None
        head = self.response
        return httpx.Response(head.status_code, headers=head.headers, content=b"".join(pieces), request=head.request)

    async def lines(
        self, received: Callable[[], str | None], *, endless: bool = False
    ) -> AsyncGenerator[list[bytes], None]:
        """Complete lines as they come, several at once where they came so; a last one without its end is left out.

        received: what the answer holds so far, for the message of a fault. endless: the deadline is for each wait, and there is
        none for all of it. Raises a CallError.
        """
        piece, rest = self._first, b""
        try:
            while True:
                lines = (rest + piece).split(b"\n")
                rest = lines.pop()
                if lines:
                    yield lines
                waited = time.perf_counter()
                try:
                    async with asyncio.timeout(self._left):
                        piece = await anext(self._pieces)
                except StopAsyncIteration:
                    break
                self._left = self._timeout if endless else self._left - (time.perf_counter() - waited)
        except TimeoutError:
            raise self._connection.faults.deadline(self._timeout, self.url, received()) from None
        except _TRANSPORT_ERRORS as error:
            raise self._connection.faults.transport(error, self.url, received()) from None

    async def _drain(self) -> None:
        """Read the end of the body, which lets the connection be used again."""
        with suppress(TimeoutError, *_TRANSPORT_ERRORS):
            async with asyncio.timeout(_DRAIN):
                async for _ in self._pieces:
                    pass


def as_sent(url: str) -> str:
    """A base address as it stands at the beginning of what is sent there: the host in small letters, no port that is the usual
    one, no trailing slash."""
    return str(httpx.URL(url)).rstrip("/")


def _was_closing(error: Exception) -> bool:
    """Whether a connection that stood open was found closed."""
    cause = error.__cause__
    return isinstance(cause, (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)) and not isinstance(
        cause, aiohttp.ClientConnectorError
    )


def encoded(body: Mapping[str, Any], model: str) -> bytes:
    """A request's JSON. Raises BadRequestError for what JSON cannot hold."""
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError as error:
        raise BadRequestError(
            f"{model}: this request is no JSON: {error}. Look for half of a surrogate pair in the text, and for "
            "objects in params.extra or params.schema."
        ) from None
