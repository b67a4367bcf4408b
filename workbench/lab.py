"""JupyterLab on a project, as `workbench lab` starts it: for this machine only, with a token, in this interpreter's kernel."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from workbench.errors import InputError, LaunchError
from workbench.serving.process import ServerProcess
from workbench.settings import Settings

__all__ = ["START", "JupyterLab"]

START = "00_start.ipynb"
_PROBE = 5.0
_EXTENSIONS = Path(__file__).parent / "widgets"  # its labextensions, also where the package was not installed with them


class JupyterLab:
    """A JupyterLab that ends when this process does.

    Whatever Jupyter's own configuration says, it listens on 127.0.0.1, and its token is `token`. Its `python3` kernel is this
    interpreter, with the project in WORKBENCH_PROJECT: prompts, data and the home follow from that wherever a notebook lies.
    """

    def __init__(self, settings: Settings, *, port: int = 8888, browser: bool = True) -> None:
        """port: the first one to try, 0 for any that is free. browser: whether Jupyter opens one.

        Raises LaunchError where JupyterLab is not installed, InputError for a port that is none.
        """
        if not 0 <= port <= 65_535:
            raise InputError(f"--port {port} is no port: choose one from 1024 to 65535, or 0 for any that is free.")
        if find_spec("jupyterlab") is None:
            raise LaunchError(
                f"JupyterLab is not installed in {sys.prefix}: `{sys.executable} -m pip install jupyterlab` brings it, or run "
                "`workbench` from the environment that has it."
            )
        self.settings = settings
        self.token = secrets.token_urlsafe(32)
        self.url = ""
        self.port = 0
        self._wanted = port
        self._browser = browser
        inside = settings.notebooks.is_relative_to(settings.project)
        self.root = (settings.project if inside else settings.notebooks).resolve()
        self._process: ServerProcess | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def log(self) -> Path:
        """What JupyterLab writes; readable for its owner only."""
        return self.settings.home / "lab.log"

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.running

    async def start(self, *, timeout: float = 120.0) -> None:
        """Start it and wait until it answers those who have the token, and refuses those who have not.

        timeout: seconds. Raises LaunchError with the end of its log, or because it would be open to everybody; then, and when
        interrupted, nothing of it is left.
        """
        self.settings.make_home()
        self._folder = tempfile.TemporaryDirectory(prefix="workbench-lab-")  # for its owner only
        environ = self._environ(Path(self._folder.name))
        self._process = process = ServerProcess(
            self._command(), name="JupyterLab", log=self.log, environ=environ, hide=self.token
        )

        async def ready() -> bool:
            return await asyncio.to_thread(self._find)

        try:
            await process.wait_until(ready, timeout=timeout)
        except BaseException:
            self.stop()
            raise

    async def ended(self) -> None:
        """Return when it has ended by itself, as File > Shut Down makes it."""
        while self.running:  # noqa: ASYNC110  (another process, which tells nobody)
            await asyncio.sleep(0.5)

    def stop(self) -> None:
        """End it and its kernels. Blocks until that is done."""
        if self._process is not None:
            self._process.stop()
        if self._folder is not None:
            self._folder.cleanup()

    def _command(self) -> list[str]:
        options = {
            "ServerApp.ip": "127.0.0.1",
            "ServerApp.port": str(self._wanted),
            "ServerApp.root_dir": str(self.root),
            "LabApp.default_url": f"/lab{self._opens()}",
            "ServerApp.open_browser": str(self._browser),
            "ServerApp.allow_root": "True",  # as it is in most containers: nobody else can reach it
        }
        return [sys.executable, "-m", "jupyterlab", *(f"--{name}={value}" for name, value in options.items())]

    def _environ(self, folder: Path) -> Mapping[str, str]:
        """The environment of JupyterLab and its kernels. What must not be on a command line, which everybody on this machine
        may read, or must win over the user's configuration and kernels, is in files of `folder`."""
        from ipykernel.kernelspec import write_kernel_spec

        data, config = folder / "data", folder / "config"
        write_kernel_spec(data / "kernels" / "python3")
        config.mkdir()
        guarded = {"IdentityProvider": {"token": self.token}, "ServerApp": {"allow_unauthenticated_access": False}}
        (config / "jupyter_server_config.json").write_text(json.dumps(guarded), "utf-8")

        def before(name: str, first: Path) -> str:
            return os.pathsep.join([str(first), *filter(None, [os.environ.get(name)])])

        made = os.environ | {
            "WORKBENCH_PROJECT": str(self.settings.project),
            "JUPYTER_PATH": before("JUPYTER_PATH", data) + os.pathsep + str(_EXTENSIONS),
            "JUPYTER_CONFIG_PATH": before("JUPYTER_CONFIG_PATH", config),
        }
        made.pop("WORKBENCH_STATIC", None)  # here widgets live
        return made

    def _opens(self) -> str:
        """The start notebook if it is there, else the folder of the notebooks."""
        start = self.settings.notebooks / START
        opened = start if start.is_file() else self.settings.notebooks
        path = quote(opened.resolve().relative_to(self.root).as_posix()) if opened.exists() else "."
        return "" if path == "." else f"/tree/{path}"

    def _find(self) -> bool:
        """Whether it is up. Jupyter writes where it listens into a file of its runtime folder."""
        info = self._own_info()
        if info is None or _status(f"{info['url']}api/status", self.token) != 200:
            return False
        if _status(f"{info['url']}api/status") == 200:
            raise LaunchError(
                "JupyterLab was stopped, because it lets in whoever asks: everybody on this machine could run code as you. "
                "Look for identity_provider_class in jupyter_server_config.py or .json, and take it out; `jupyter --paths` "
                "lists the folders."
            )
        self.port = int(info["port"])
        self.url = f"{info['url']}lab{self._opens()}?token={self.token}"
        return True

    def _own_info(self) -> dict[str, Any] | None:
        from jupyter_core.paths import jupyter_runtime_dir

        for path in Path(jupyter_runtime_dir()).glob("jpserver-*.json"):
            with suppress(OSError, ValueError):  # one that ends, or is being written
                info: dict[str, Any] = json.loads(path.read_bytes())
                if info["token"] == self.token:
                    return info
        return None


def _status(url: str, token: str = "") -> int | None:
    request = urllib.request.Request(url, headers={"Authorization": f"token {token}"} if token else {})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=_PROBE) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return None
