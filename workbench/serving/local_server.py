"""What the servers that are started from here have in common: address, key, log, start, health and stop."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import secrets
import socket
import stat
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from workbench.errors import InputError, LaunchError
from workbench.serving.process import Progress, ServerProcess
from workbench.settings import Endpoint, Secret, load_settings

if TYPE_CHECKING:
    from types import TracebackType

    from workbench.settings import Settings

__all__ = ["Environment", "LocalServer", "check_port", "key_file"]

_PROBE = 2.0
_CLIENT = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (where a client finds what listens everywhere)


class Environment(dict[str, str]):
    """Environment variables that show their names only."""

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{name!r}: '****'" for name in self) + "}"


class LocalServer(ABC):
    """A server on this machine, as an async context manager or with `start()` and `stop()`. It ends when this process does.

    title: what messages call it. kind: the kind of endpoint that it is. model: the name that it serves.
    """

    title: str
    kind: str
    model: str

    def __init__(
        self,
        *,
        host: str,
        port: int,
        key: Secret | str | None,
        settings: Settings | None,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.host = host
        self.port = port
        self.settings = settings or load_settings()
        given = Secret(key) if isinstance(key, str) else key
        self.key = given or Secret(secrets.token_urlsafe(32))  # an empty key would open the server to everybody
        text = self.key.reveal()
        if not (text.isascii() and text.isprintable()) or " " in text:
            raise InputError("the key must be printable ASCII without spaces: it is sent in an HTTP header.")
        self._clock = clock
        self._sleep = sleep
        self._process: ServerProcess | None = None
        self._up = False

    @property
    def root(self) -> str:
        """Its address without a path, as a client on this machine asks for it. Raises LaunchError while it has none."""
        if not self.port:
            raise LaunchError(f"{self.title} has no address before it is started: it takes a port that is free then.")
        host = _CLIENT.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def url(self) -> str:
        """The base address of its OpenAI-compatible API, such as http://127.0.0.1:8000/v1."""
        return f"{self.root}/v1"

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.running

    @property
    def log(self) -> Path | None:
        """The file with what it writes, None before it is started."""
        return self._process.log if self._process is not None else None

    def endpoint(self, name: str = "") -> Endpoint:
        """This server as an endpoint, for `open_runtime` or `Settings`. name: by default its kind."""
        return Endpoint(
            name or self.kind, self.kind, (self.url,), self.key, configured=True, by=f"{self.title} started here"
        )

    async def start(self, *, timeout: float = 1800.0, progress: Progress | None = None) -> None:
        """Start it and wait until it answers. Interrupted or failed, nothing of it is left.

        timeout: seconds. progress: see `workbench.serving.process.Progress`.
        Raises LaunchError that says why it is not up, with the end of its log.
        """
        if self.running:
            raise LaunchError(f"{self.title} runs already at {self.url}: stop() it first.", log=self.log)
        command, environ = await self._prepare()
        if self.port:
            check_port(self.host, self.port, self.title)
        folder = _servers_folder(self.settings)
        self._up = False
        self._process = process = ServerProcess(
            command, name=self.title, log=folder / self._log_name(), environ=environ, hide=self.key.reveal()
        )
        try:
            await process.wait_until(
                self._ready, timeout=timeout, progress=progress, clock=self._clock, sleep=self._sleep
            )  # fmt: skip
        except BaseException:
            await self.stop()
            raise
        self._up = True

    async def stop(self) -> None:
        """End it: SIGTERM to all its processes, SIGKILL to what is left. The port is free afterwards."""
        if self._process is not None:
            await asyncio.shield(asyncio.to_thread(self._process.stop))

    async def healthy(self) -> bool:
        """Whether it says that it is well, within two seconds. Raises LaunchError if it ended by itself."""
        if self._process is None:
            return False
        if not self._process.running:
            raise self._process.ended("by itself")
        return await self._get("/health") == 200

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    @abstractmethod
    async def _prepare(self) -> tuple[Sequence[str], Mapping[str, str]]:
        """The command and its whole environment."""

    def _log_name(self) -> str:
        return f"{self.kind}-{self.port}.log"

    async def _ready(self) -> bool:
        if not self.port or await self._get("/health") != 200:
            return False
        status = await self._get("/v1/models", authorized=True)
        if status == 401:
            raise LaunchError(
                f"{self.title}: what answers at {self.root} does not know the key, so it is another server. Stop that one, or "
                "choose another port."
            )
        return status == 200

    async def _get(self, path: str, *, authorized: bool = False) -> int | None:
        """The status of an answer, None without one."""
        headers = {"Authorization": f"Bearer {self.key.reveal()}"} if authorized else {}
        return await asyncio.to_thread(_status, _CLIENT.get(self.host, self.host), self.port, path, headers)


def _status(host: str, port: int, path: str, headers: Mapping[str, str]) -> int | None:
    connection = http.client.HTTPConnection(host, port, timeout=_PROBE)
    try:
        connection.request("GET", path, headers=dict(headers))
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def check_port(host: str, port: int, title: str) -> None:
    """Raises LaunchError if a server cannot listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            raise LaunchError(f"{title}: port {port} is for the system; choose one from 1024.") from None
        except OSError as error:
            raise LaunchError(
                f"{title} cannot listen at {host}:{port}: {error.strerror or error}. If another server is there (maybe one that "
                f"was started earlier), stop it, or choose another port; `lsof -i :{port}` names it."
            ) from None


def key_file(settings: Settings, name: str) -> tuple[Secret, Path]:
    """The key that is kept in the workbench home under this name, and its file; made at the first use, for its owner only.

    A file that others could read is not trusted any more: it gets a new key.
    """
    path = _servers_folder(settings) / f"{name}.key"
    with contextlib.suppress(FileNotFoundError):
        text = path.read_text("ascii").strip()
        if text and not stat.S_IMODE(path.stat().st_mode) & 0o077:
            return Secret(text), path
        path.unlink()
    number, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{name}-")  # readable for its owner only
    with os.fdopen(number, "w") as file:
        file.write(f"{secrets.token_urlsafe(32)}\n")
    try:
        os.link(draft, path)  # unlike a rename, it does not replace a key that someone else just made
    except FileExistsError:
        pass
    finally:
        Path(draft).unlink()
    return Secret(path.read_text("ascii").strip()), path


def _servers_folder(settings: Settings) -> Path:
    settings.make_home()
    folder = settings.servers
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", "utf-8")  # also where the home is a folder that git knows
    except OSError as error:
        raise LaunchError(
            f"{folder} cannot be written ({error.strerror}): set WORKBENCH_HOME to a folder of yours."
        ) from None
    return folder
