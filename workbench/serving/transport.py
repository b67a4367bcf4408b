"""One pooled HTTP client per running event loop: httpx's interface over aiohttp's connections.

A notebook has one loop for its life, a script may call `asyncio.run` many times: a client belongs to the loop that it
was made in. When the loop is shut down (or this object is dropped) the client is closed with it, without a warning.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
import urllib.request
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

if TYPE_CHECKING:
    import ssl

__all__ = ["CONNECT_TIMEOUT", "Transport"]

CONNECT_TIMEOUT = 10.0
"""Seconds for DNS, TCP and TLS; what comes after is bounded by the deadline of the call."""

# uvicorn, in front of vLLM and others, drops an idle connection after 5 s: a POST sent at that moment would be lost
_KEEP_ALIVE = 4.0
# a dropped client must outlive the garbage collection that begins its closing
_open_clients: dict[httpx.AsyncClient, asyncio.AbstractEventLoop] = {}


class Transport:
    """HTTP clients for some base addresses. The bound on calls at once is the caller's, so connections have none.

    urls: the addresses that will be asked; the environment's proxies are looked up for each. headers: sent each time.
    """

    def __init__(self, urls: Sequence[str], headers: Mapping[str, str]) -> None:
        self._urls = tuple(urls)
        self._headers = dict(headers)
        self._lock = threading.Lock()
        self._clients: WeakKeyDictionary[
            asyncio.AbstractEventLoop, tuple[httpx.AsyncClient, AsyncGenerator[None, None]]
        ] = WeakKeyDictionary()

    def client(self) -> httpx.AsyncClient:
        """The client of the running event loop."""
        loop = asyncio.get_running_loop()
        held = self._clients.get(loop)
        if held is None or held[0].is_closed:
            held = self._open(loop)
        return held[0]

    async def aclose(self) -> None:
        """Close the connections of the running loop; the next call opens new ones."""
        held = self._clients.pop(asyncio.get_running_loop(), None)
        if held is not None:
            await held[1].aclose()

    def _open(self, loop: asyncio.AbstractEventLoop) -> tuple[httpx.AsyncClient, AsyncGenerator[None, None]]:
        session = partial(_session, any(url.startswith("https:") for url in self._urls))
        # the session verifies certificates; `verify` would only make a second, unused context
        client = httpx.AsyncClient(
            transport=AiohttpTransport(verify=False, client=session),
            mounts={
                url: AiohttpTransport(verify=False, client=session, proxy=httpx.Proxy(proxy))
                for url in self._urls
                if (proxy := _proxy(url))
            },
            headers=self._headers,
            timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT),
            trust_env=False,
            follow_redirects=False,
        )
        closer = _close_with_loop(client)
        with suppress(StopIteration):
            closer.__anext__().send(None)  # the loop closes generators that were begun in it
        with self._lock:
            for old in [other for other in self._clients if other.is_closed()]:
                _finish(self._clients.pop(old)[0], old)
            self._clients[loop] = held = (client, closer)
        return held


def _session(tls: bool) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE, ssl=_certificates() if tls else True)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


async def _close_with_loop(client: httpx.AsyncClient) -> AsyncGenerator[None, None]:
    _open_clients[client] = asyncio.get_running_loop()
    try:
        yield
    finally:
        _open_clients.pop(client, None)
        await client.aclose()


def _finish(client: httpx.AsyncClient, loop: asyncio.AbstractEventLoop) -> None:
    """Close a client whose loop was closed, or was left, without its generators having been shut down."""
    with suppress(Exception):
        if loop.is_closed():
            with suppress(StopIteration):
                client.aclose().send(None)  # has nothing to wait for then
        elif not loop.is_running():
            loop.run_until_complete(client.aclose())


@atexit.register
def _finish_all() -> None:
    for client, loop in list(_open_clients.items()):
        _finish(client, loop)
    _open_clients.clear()


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context()  # heeds SSL_CERT_FILE and SSL_CERT_DIR; takes 20 ms


def _proxy(url: str) -> str | None:
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.netloc):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")
