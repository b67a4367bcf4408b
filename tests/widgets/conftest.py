"""A real JupyterLab with a real kernel, and a page of it in a real Chromium."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from workbench import widgets

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


NEWS = "@jupyterlab/apputils-extension:announcements"  # lies over what is photographed


@pytest.fixture
def notebook(project: Path) -> Callable[[str, list[str]], None]:
    """Writes a notebook of code cells into the project."""

    def write(name: str, cells: list[str]) -> None:
        empty = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
        made = [empty | {"id": f"cell-{at}", "source": source} for at, source in enumerate(cells)]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        (project / name).write_text(json.dumps({"cells": made, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))

    return write


@pytest.fixture  # not of the session: while it lives, its loop runs in this thread
def chromium(open_chromium: Callable[[], AbstractContextManager[Browser]]) -> Iterator[Browser]:
    """A browser of this machine."""
    with open_chromium() as started:
        yield started


@pytest.fixture
def lab(
    project: Path, tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[Callable[[str], str]]:
    """JupyterLab on the project; called with a notebook's name it gives its address."""
    port = free_port()
    own = tmp_path_factory.mktemp("jupyter")
    folders = ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTERLAB_SETTINGS_DIR", "IPYTHONDIR")
    environment = os.environ | {name: str(own / name.lower()) for name in folders}
    environment |= {"JUPYTERLAB_WORKSPACES_DIR": str(own / "workspaces"), "WORKBENCH_PROJECT": str(project)}
    environment["JUPYTER_PATH"] = str(Path(widgets.__file__).parent)  # the extension, which a wheel puts into place
    environment.pop("WORKBENCH_STATIC", None)
    (own / "jupyter_config_dir" / "labconfig").mkdir(parents=True)
    # the debugger asks each kernel for its state as it connects, and logs an error if the page is left meanwhile
    off = json.dumps({"disabledExtensions": {"@jupyterlab/debugger-extension": True, NEWS: True}})
    (own / "jupyter_config_dir" / "labconfig" / "page_config.json").write_text(off)
    options = ["--no-browser", f"--port={port}", "--ip=127.0.0.1", f"--notebook-dir={project}", "--allow-root"]
    options += ["--IdentityProvider.token=t", "--ServerApp.port_retries=0", "--LabApp.news_url="]
    log = (own / "log").open("wb")
    server = subprocess.Popen([sys.executable, "-m", "jupyterlab", *options], env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{address}/api?token=t", timeout=5).close()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > until:
                    pytest.fail("JupyterLab did not start:\n" + (own / "log").read_text()[-2000:])
                time.sleep(0.1)
        yield lambda name: f"{address}/lab/tree/{name}?token=t&reset"
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:  # it waits for a kernel that does not end: no part of what is tested
            server.kill()
            server.wait()
        log.close()


@pytest.fixture
def opened(until: Callable[..., Any]) -> Callable[[Callable[[], Any]], AbstractContextManager[Any]]:
    """opened(make) is the view that `make` gives; afterwards it leaves no thread behind."""

    @contextmanager
    def open_and_end(make: Callable[[], Any]) -> Iterator[Any]:
        before = set(threading.enumerate())
        view = make()
        try:
            yield view
        finally:
            view.end()
            until(lambda: set(threading.enumerate()) <= before)

    return open_and_end


@pytest.fixture
def run_all(lab: Callable[[str], str], page: Page) -> Callable[[str], None]:
    """Opens a notebook of the project anew in the page, runs all its cells, and waits for the first of them to begin."""
    from playwright.sync_api import TimeoutError  # noqa: A004

    def kernel_is_ready(address: str, name: str) -> bool:
        """The server's word: the page says "idle" before it has a kernel, and drops what it is told to run until then."""
        with urllib.request.urlopen(f"{address.partition('/lab/')[0]}/api/sessions?token=t", timeout=60) as answer:
            kernels = [session["kernel"] for session in json.load(answer) if session["path"] == name]
        return any(kernel and kernel["execution_state"] == "idle" and kernel["connections"] for kernel in kernels)

    def run(name: str) -> None:
        address = lab(name)
        page.goto(address)
        page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=60_000)
        until = time.monotonic() + 60
        while not kernel_is_ready(address, name):
            assert time.monotonic() < until, f"no kernel for {name}"
            page.wait_for_timeout(200)
        for _ in range(5):
            page.get_by_role("menuitem", name="Run", exact=True).click()
            page.get_by_text("Run All Cells", exact=True).click()
            with suppress(TimeoutError):
                page.locator(".jp-InputPrompt").get_by_text(re.compile(r"\[[*\d]+\]")).first.wait_for(timeout=10_000)
                return
        pytest.fail(f"JupyterLab ran no cell of {name}")

    return run


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """An empty page; the test fails on what the page logged as an error."""
    made = chromium.new_page(viewport={"width": 1200, "height": 900})
    made.set_default_timeout(60_000)
    problems: list[str] = []
    made.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    made.on("pageerror", lambda error: problems.append(str(error)))
    # JupyterLab asks for a kernel if it is told to run something before it has one
    dialog = made.locator(".jp-Dialog")
    made.add_locator_handler(dialog, lambda: dialog.locator(".jp-mod-accept").first.click())
    yield made
    made.close()
    assert not [text for text in problems if "favicon" not in text]
