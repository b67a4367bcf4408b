"""One notebook through papermill, in a kernel of this interpreter that never outlives the run.

papermill works in a thread; the caller's thread watches it. When the time is up or the caller presses Ctrl-C, the
kernel is interrupted, so that the running cell can leave what it has; after a grace period it is killed. That bounds
the whole run, kernel start included, and no event loop is torn apart half-way.

Imports papermill, which takes over a second: import this where it is used.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import papermill
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from jupyter_core.utils import ensure_event_loop
    from nbclient.exceptions import CellControlSignal, DeadKernelError
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import NBClientEngine, papermill_engines
    from papermill.exceptions import PapermillExecutionError

from workbench.reporting.outputs import CLEAN_EXITS, strip_ansi

__all__ = ["Execution", "Status", "execute"]

Status = Literal["completed", "failed", "timed out", "interrupted"]

GRACE = 5.0
_ENGINE = "workbench"

_quiet = logging.getLogger("workbench.reporting.execution")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


@dataclass(frozen=True, slots=True)
class Execution:
    """What a run left. notebook: the executed node, with the outputs there are. error: one line, None if completed.
    error_cell: which code cell failed, from 1, as in Jupyter's `[n]`; error_index: its place in `notebook`.
    """

    notebook: Any
    status: Status
    error: str | None = None
    error_cell: int | None = None
    error_index: int | None = None
    traceback: str = ""


class _StopRunError(Exception):
    """No further cell is to start."""


class _Session:
    """The kernel of one run, shared by the thread that runs it and the one that watches."""

    def __init__(self, folder: Path, log: IO[bytes], env: Mapping[str, str], cwd: str | None) -> None:
        # Without folders to look in, the manager falls back on ipykernel's own spec, whose interpreter is ours.
        specs = KernelSpecManager(kernel_dirs=[], ensure_native_kernel=True)
        self.manager = AsyncKernelManager(
            kernel_name="python3", kernel_spec_manager=specs, connection_file=str(folder / "kernel.json"), log=_quiet
        )
        self.log, self.env, self.cwd = log, env, cwd
        self.notebook: Any = None
        self.at: int | None = None
        self.exit_code: int | None = None
        self._stopping = threading.Event()

    def run(self, progress: Any) -> None:
        self.notebook = progress.nb
        client = PapermillNotebookClient(
            progress, km=self.manager, kernel_name="python3", log=_quiet, iopub_timeout=60, shell_timeout_interval=1,
            on_cell_start=self._start_cell,
        )  # fmt: skip
        try:
            client.execute(cleanup_kc=True, env=dict(self.env), cwd=self.cwd, stdout=self.log, stderr=self.log)
        except (DeadKernelError, RuntimeError):
            process = self._process()
            self.exit_code = process.poll() if process is not None else None
            raise
        finally:
            self._clear()

    def stop(self) -> None:
        """Start no further cell, and interrupt the one that runs."""
        self._stopping.set()
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        self._stopping.set()
        self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))

    def _clear(self) -> None:
        """Not every failure of the start takes the kernel with it."""
        process = self._process()
        if process is not None and process.poll() is None:
            self.kill()
            process.wait()

    def _start_cell(self, cell: Any, cell_index: int) -> None:
        if self._stopping.is_set():
            raise _StopRunError
        if cell["cell_type"] == "code" and cell["source"].strip():
            self.at = cell_index

    def _process(self) -> Any:
        return getattr(self.manager.provisioner, "process", None)

    def _signal(self, number: int) -> None:
        process = self._process()
        if process is None or process.poll() is not None:
            return
        with suppress(ProcessLookupError, PermissionError):
            # The kernel leads a process group of its own; what its cells started belongs to it.
            os.killpg(process.pid, number) if hasattr(os, "killpg") else process.send_signal(number)


class _Engine(NBClientEngine):  # type: ignore[misc]
    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, *, session: _Session, **_: Any) -> None:
        session.run(nb_man)


papermill_engines.register(_ENGINE, _Engine)


def execute(
    notebook: Any,
    parameters: Mapping[str, Any],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    timeout: float | None = None,
    grace: float = GRACE,
    monotonic: Callable[[], float] = time.monotonic,
) -> Execution:
    """Run `notebook` (a node, left as it is) with `parameters`; whatever goes wrong in it is in the result.

    env: the kernel's whole environment. timeout: seconds for everything. grace: seconds that an interrupted cell has
    before the kernel is killed.
    """
    outcome: dict[str, BaseException] = {}
    done = threading.Event()

    def work() -> None:
        try:
            papermill.execute_notebook(
                notebook, None, dict(parameters), engine_name=_ENGINE, kernel_name="python3", language="python",
                progress_bar=False, log_output=False, session=session,
            )  # fmt: skip
        except BaseException as error:  # noqa: BLE001
            outcome["error"] = error
        finally:
            _close_loop()
            done.set()

    with tempfile.TemporaryDirectory(prefix="workbench-run-") as folder, tempfile.TemporaryFile() as log:
        session = _Session(Path(folder), log, env, None if cwd is None else str(cwd))
        worker = threading.Thread(target=work, name="workbench-report", daemon=True)
        started = monotonic()
        worker.start()
        stopped = _watch(session, done, lambda: None if timeout is None else started + timeout - monotonic(), grace)
        worker.join()
        log.seek(max(0, log.seek(0, os.SEEK_END) - 4000))
        last_words = log.read().decode("utf-8", "replace")
    return _result(session, stopped, outcome.get("error"), timeout, last_words, notebook)


def _watch(
    session: _Session, done: threading.Event, remaining: Callable[[], float | None], grace: float
) -> Literal["timed out", "interrupted"] | None:
    """Wait for the worker, stop it when it must stop; returns why. When this returns or raises, no kernel is left."""
    stopped: Literal["timed out", "interrupted"] | None = None
    try:
        try:
            left = remaining()
            if done.wait(None if left is None else max(0.0, left)):
                return None
            stopped = "timed out"
        except KeyboardInterrupt:
            stopped = "interrupted"
        session.stop()
        try:
            done.wait(grace)
        except KeyboardInterrupt:
            stopped = "interrupted"
        return stopped
    finally:
        # The kernel may be about to start, so one kill is not enough.
        while not done.is_set():
            session.kill()
            done.wait(0.2)


def _result(
    session: _Session,
    stopped: Literal["timed out", "interrupted"] | None,
    error: BaseException | None,
    timeout: float | None,
    last_words: str,
    source: Any,
) -> Execution:
    node = session.notebook if session.notebook is not None else source
    if stopped is None and error is None:
        return Execution(node, "completed")
    index = session.at
    traceback = ""
    if isinstance(error, PapermillExecutionError):
        index = _failed_cell(node)
        traceback = strip_ansi("\n".join(error.traceback))
    if stopped == "timed out":
        what = f"stopped after {timeout:g} seconds, the limit for the whole run"
    elif stopped == "interrupted":
        what = "stopped by Ctrl-C (KeyboardInterrupt)"
    elif isinstance(error, PapermillExecutionError):
        what = f"{error.ename}: {strip_ansi(str(error.evalue))}".strip().removesuffix(":")
    elif isinstance(error, DeadKernelError):
        what, traceback = f"the kernel died{_cause(session.exit_code)}", last_words.strip()
    elif isinstance(error, CellControlSignal):
        what = f"the kernel's answer could not be read: {_first_line(error)}"
    else:
        what, traceback = f"the kernel could not run it: {_first_line(error)}", last_words.strip()
    cell = None
    if index is not None:
        cell = sum(c["cell_type"] == "code" and bool(c["source"].strip()) for c in node["cells"][: index + 1])
    return Execution(node, stopped or "failed", what, cell, index, traceback)


def _failed_cell(node: Any) -> int | None:
    """By now papermill has put two notes into the notebook, so the place that its error names has moved."""
    for index in reversed(range(len(node["cells"]))):
        for output in node["cells"][index].get("outputs", ()):
            if output["output_type"] == "error" and (output["ename"], output["evalue"]) not in CLEAN_EXITS:
                return index
    return None


def _cause(exit_code: int | None) -> str:
    if exit_code is None:
        return ""
    if exit_code < 0:
        name = signal.Signals(-exit_code).name if -exit_code in set(signal.Signals) else f"signal {-exit_code}"
        return f", killed by {name}" + (" (often: out of memory)" if name == "SIGKILL" else "")
    return f" with exit code {exit_code}"


def _first_line(error: BaseException | None) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _close_loop() -> None:
    """The loop that jupyter made for this thread, with whatever still waits in it."""
    loop = ensure_event_loop()
    waiting = asyncio.all_tasks(loop)
    for task in waiting:
        task.cancel()
    if waiting:
        loop.run_until_complete(asyncio.gather(*waiting, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
