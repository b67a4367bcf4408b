"""The embedded model behind an OpenAI-compatible port on this machine, so that any client can be tried without a GPU.

It is llama.cpp's own HTTP server, opened as the embedded runtime opens its engine: the same request gets the same text.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import weights
from workbench.errors import InputError
from workbench.serving import embedded_host
from workbench.serving.embedded import gguf_file, in_thread
from workbench.serving.engine import EngineOptions
from workbench.serving.local_server import LocalServer

if TYPE_CHECKING:
    from workbench.settings import Secret, Settings

__all__ = ["EmbeddedServer"]

_numbers = count(1)


class EmbeddedServer(LocalServer):
    """Serves one GGUF file at 127.0.0.1; everything but /health wants the key.

    model: `smollm2-135m`, or the path of a GGUF file, as in `embedded/MODEL`. port: 0 takes one that is free. slots: calls that
    run at once, each with a context of its own; threads and context are those of the endpoint `embedded` in the settings.
    key: by default a new one. fetching: told of a download of weights, see `workbench.weights`.
    """

    title = "the embedded server"
    kind = "llama-server"

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        model: str = "smollm2-135m",
        port: int = 0,
        slots: int | None = None,
        key: Secret | str | None = None,
        fetching: weights.Progress | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= 65535:
            raise InputError(f"port = {port!r} must be a whole number from 0 (any that is free) to 65535.")
        super().__init__(host="127.0.0.1", port=port, key=key, settings=settings, clock=clock, sleep=sleep)
        known = self.settings.endpoints.get("embedded")
        options = EngineOptions.from_mapping(known.options if known else {}, "[endpoints.embedded] options")
        if slots is not None:
            given = EngineOptions.from_mapping({"slots": slots}, "the embedded server")
            options = replace(options, slots=given.slots)
        self._given = model.removeprefix("embedded/")
        self.model = Path(self._given).stem if self._given.endswith(".gguf") else self._given
        self._options = options
        self._fetching = fetching
        self._any_port = port == 0
        self._number = next(_numbers)

    def __repr__(self) -> str:
        return f"<EmbeddedServer {f'running at {self.url}' if self.running else 'not running'}: {self.model}>"

    async def stop(self) -> None:
        """End it at once, with the calls that run. The port is free afterwards.

        With port = 0 its log is deleted, unless it did not come up or ended by itself: then an error has named the log.
        """
        well = self._up and self.running
        await super().stop()
        if self._any_port:
            self.port = 0
            if well and self.log is not None:
                self.log.unlink(missing_ok=True)

    async def _prepare(self) -> tuple[list[str], Mapping[str, str]]:
        path = await in_thread(self._file)
        given = {"path": str(path), "name": self.model, "port": self.port, "options": asdict(self._options)}
        package = Path(embedded_host.__file__).parents[2]
        search = os.pathsep.join([str(package), *filter(None, [os.environ.get("PYTHONPATH")])])
        environ = os.environ | {"PYTHONPATH": search, embedded_host.KEY: self.key.reveal()}
        return [sys.executable, "-m", embedded_host.__name__, json.dumps(given)], environ

    def _file(self, stop: threading.Event) -> Path:
        def report(done: int, total: int, phase: str) -> None:
            if stop.is_set():
                raise InterruptedError
            if self._fetching is not None:
                self._fetching(done, total, phase)

        settings = self.settings
        return gguf_file(self._given, project=settings.project, folder=settings.weights, progress=report)

    def _log_name(self) -> str:
        return f"embedded-{self.port or f'{os.getpid()}-{self._number}'}.log"

    async def _ready(self) -> bool:
        if not self.port and self._process is not None:
            said = re.search(rf"^{embedded_host.READY}http://[^:\s]+:(\d+)$", self._process.tail(), re.MULTILINE)
            self.port = int(said[1]) if said else 0
        return await super()._ready()
