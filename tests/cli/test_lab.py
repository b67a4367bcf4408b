"""`workbench lab`, as a real process: who reaches it, what its kernels see, how it ends."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from workbench import lab
from workbench.errors import InputError, LaunchError
from workbench.settings import load_settings

LOOK = """import os, sys, workbench
bench = workbench.Workbench()
print(sys.executable, os.getcwd(), bench.settings.project, bench.settings.home, bench.prompts.get("sentiment").ref, sep="|")"""

OPEN = """from jupyter_server.auth import IdentityProvider, User
class Open(IdentityProvider):
    def get_user(self, handler):
        return User("anybody")
c.ServerApp.identity_provider_class = Open
"""


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to start in, and a Jupyter of its own whose configuration is as careless as can be."""
    own = tmp_path / "jupyter"
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(own / name.lower()))
    careless = 'c.IdentityProvider.token = ""\nc.ServerApp.ip = "0.0.0.0"\nc.ServerApp.password = ""\n'
    (own / "jupyter_config_dir").mkdir(parents=True)
    (own / "jupyter_config_dir" / "jupyter_server_config.py").write_text(careless)
    spec = own / "path" / "kernels" / "python3"
    spec.mkdir(parents=True)
    broken = {"argv": ["/nonexistent/python", "{connection_file}"], "display_name": "broken", "language": "python"}
    (spec / "kernel.json").write_text(json.dumps(broken))
    monkeypatch.setenv("JUPYTER_PATH", str(own / "path"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    folder = tmp_path / "new project"
    folder.mkdir()
    return folder


@contextmanager
def running(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and the address that it printed."""
    command = [sys.executable, "-m", "workbench", "lab", "--no-browser", *options]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("JupyterLab: http://"), line + process.communicate()[1]
        yield process, line.removeprefix("JupyterLab: ").strip()
    finally:
        process.kill()
        process.wait(30)
        process.communicate()


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def listening(port: int) -> set[str]:
    """The addresses at which this machine listens on a port, as the kernel writes them."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            address, state = line.split()[1], line.split()[3]
            if state == "0A" and int(address.rpartition(":")[2], 16) == port:
                found.add(address.rpartition(":")[0])
    return found


def commands() -> list[str]:
    """Every process's command line, as everybody on this machine may read it."""
    return subprocess.run(
        ["ps", "-ww", "-e", "-o", "args"], capture_output=True, text=True, check=True
    ).stdout.splitlines()


async def kernel_says(base: str, token: str, notebook: str, code: str) -> tuple[str, str]:
    """What code prints in a new kernel of a notebook, and the kernel's id."""
    headers = {"Authorization": f"token {token}"}
    session = {"path": notebook, "name": "", "type": "notebook", "kernel": {"name": "python3"}}
    async with aiohttp.ClientSession(base, headers=headers) as http:
        async with http.post("/api/sessions", json=session) as answer:
            kernel = (await answer.json())["kernel"]["id"]
        header = {"msg_id": "1", "msg_type": "execute_request", "session": "s", "username": "", "version": "5.3"}
        content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
        async with http.ws_connect(f"/api/kernels/{kernel}/channels", timeout=aiohttp.ClientWSTimeout(60)) as channel:
            ask = {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content}
            await channel.send_json(ask | {"buffers": []})
            said = ""
            while True:
                message = json.loads((await channel.receive(60)).data)
                said += message["content"].get("text", "") + "\n".join(message["content"].get("traceback", []))
                if message["msg_type"] == "execute_reply":
                    return said, kernel


def test_from_an_empty_folder_to_a_kernel_that_sees_the_project(empty: Path) -> None:
    """It begins a project, tells its address in one line, lets in who has the token at 127.0.0.1 only, whatever Jupyter's own
    configuration says; its kernels are of this interpreter and find the project; Ctrl-C ends all of it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running(empty, "--port", str(port)) as (process, url):
            parts = urlsplit(url)
            token = parse_qs(parts.query)["token"][0]
            base = f"http://{parts.netloc}"
            assert "/lab/tree/notebooks/00_start.ipynb" == parts.path
            assert (200, 200) == (status(url), status(f"{base}/api/contents?token={token}"))
            assert (403, 403) == (status(f"{base}/api/contents"), status(f"{base}/api/contents?token=guess"))
            if Path("/proc/net/tcp").exists():
                assert {"0100007F"} == listening(parts.port or 0)
            assert 200 == status(f"{base}/lab/extensions/llm-workbench/static/still.js?token={token}")
            assert not [line for line in commands() if token in line]
            said, kernel = asyncio.run(kernel_says(base, token, "notebooks/00_start.ipynb", LOOK))
            expected = [sys.executable, str(empty / "notebooks"), str(empty), str(empty / ".workbench"), "sentiment@3"]
            assert expected == said.strip().split("|")
            connection = next((empty.parent / "jupyter").rglob(f"kernel-{kernel}.json"))
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
    assert (0, "") == (process.returncode, out)
    assert f"Port {port} is taken, so it is at {parts.port}." in err
    assert "New in" in err
    assert "Traceback" not in err
    assert not connection.exists()
    assert not listening(parts.port or 0)
    assert [] == list((empty.parent / "tmp").glob("workbench-lab-*"))
    assert token not in (empty / ".workbench" / "lab.log").read_text()
    assert {"00_start.ipynb", "ab_comparison.ipynb"} <= {path.name for path in (empty / "notebooks").iterdir()}


def test_a_jupyter_that_lets_everybody_in_is_refused(empty: Path) -> None:
    """No token helps where the configuration brings an identity provider that asks for none: nothing is left running."""
    config = empty.parent / "jupyter" / "jupyter_config_dir" / "jupyter_server_config.py"
    config.write_text(OPEN)
    command = [sys.executable, "-m", "workbench", "lab", "--no-browser", "--port", "0"]
    done = subprocess.run(command, cwd=empty, capture_output=True, text=True, timeout=180)
    assert (1, "") == (done.returncode, done.stdout)
    assert "error: JupyterLab was stopped, because it lets in whoever asks" in done.stderr
    assert not list((empty.parent / "jupyter").rglob("jpserver-*.json"))


def test_what_cannot_be_started_says_what_to_do(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without JupyterLab, or at a port that is none."""
    settings = load_settings()
    with pytest.raises(InputError, match="--port 70000 is no port"):
        lab.JupyterLab(settings, port=70_000)
    monkeypatch.setattr(lab, "find_spec", lambda name: None)
    with pytest.raises(LaunchError, match=f"not installed in {re.escape(sys.prefix)}: .*-m pip install jupyterlab"):
        lab.JupyterLab(settings)


def test_a_project_keeps_what_it_has(project: Path) -> None:
    """One with data gets the notebooks only, and none if it has its own; those that are elsewhere are opened there."""
    from workbench.starter import begin_project

    assert [project / "notebooks"] == begin_project(load_settings())
    assert not (project / "workbench.toml").exists()
    assert [] == begin_project(load_settings())
    for path in (project / "notebooks").glob("*.ipynb"):
        path.unlink()
    (project / "notebooks" / "mine.ipynb").write_text("{}")
    assert [] == begin_project(load_settings())
    assert ["mine.ipynb"] == [path.name for path in (project / "notebooks").iterdir()]
    elsewhere = load_settings(environ={"WORKBENCH_NOTEBOOKS": str(project.parent)})
    assert project.parent == lab.JupyterLab(elsewhere).root
    assert project == lab.JupyterLab(load_settings()).root
