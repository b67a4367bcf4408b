from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell

from workbench.errors import InputError, ParameterError, ReportError
from workbench.reporting import ReportRun, run_notebook
from workbench.reporting import run as run_module
from workbench.reporting.execution import execute

SECRET = "hunter2-hunter2"


def outputs(run: ReportRun) -> str:
    return json.dumps([cell.get("outputs") for cell in nbformat.read(run.notebook, as_version=4).cells])


def kernels() -> list[int]:
    """Kernels that this process started and that still live."""
    return [child.pid for child in psutil.Process().children(recursive=True) if "ipykernel_launcher" in child.cmdline()]


def test_completed_run_leaves_page_and_notebook(good_run: ReportRun) -> None:
    """A run that completes says so and leaves both files in a folder that did not exist."""
    assert ("completed", None, None) == (good_run.status, good_run.error, good_run.error_cell)
    assert ("weekly.html", "weekly.executed.ipynb") == (good_run.html.name, good_run.notebook.name)
    assert {good_run.html, good_run.notebook} == set(good_run.html.parent.iterdir())
    assert 0 < good_run.seconds < 120


def test_kernel_is_this_interpreter(good_run: ReportRun) -> None:
    """The kernel is this interpreter's, though another kernel called python3 is registered."""
    assert f"interpreter {sys.executable}" in outputs(good_run)


def test_parameters_reach_the_notebook(good_run: ReportRun) -> None:
    """Values that were passed replace the defaults; an int is taken for a float."""
    assert "limit 5 ratio 1 key" in outputs(good_run)


def test_kernel_environment(good_run: ReportRun) -> None:
    """The kernel draws plotly figures as data, knows that nobody watches, and has what the caller added."""
    assert "environment plotly_mimetype 1 hello" in outputs(good_run)


def test_executed_notebook_is_small_and_valid(good_run: ReportRun) -> None:
    """The saved notebook validates, names its source and holds figures as data, not plotly's script."""
    node = nbformat.read(good_run.notebook, as_version=4)
    nbformat.validate(node)
    assert node.metadata.papermill.input_path.endswith("weekly.ipynb")
    assert good_run.notebook.stat().st_size < 300_000


def test_secrets_are_in_neither_file(good_run: ReportRun, failed_run: ReportRun) -> None:
    """Parameters and environment variables that look secret, and keys that strayed into an output, are masked."""
    for path in (good_run.html, good_run.notebook, failed_run.html, failed_run.notebook):
        text = path.read_text()
        assert SECRET not in text
        assert "sk-proj-abcdefghijklmnop1234" not in text
        assert "correct-horse-battery" not in text
        assert "••••••" in text
    assert SECRET not in str(failed_run.error)
    assert "stray •••••• •••••• /etc/keys/service" in good_run.html.read_text()


def test_failed_run_keeps_what_it_had(failed_run: ReportRun) -> None:
    """A cell that raises makes the run failed; what ran before is kept, and the cell and the error are named."""
    assert ("failed", "LookupError: no prompt for ••••••", 4) == (
        failed_run.status,
        failed_run.error,
        failed_run.error_cell,
    )
    page = failed_run.html.read_text()
    assert "This run failed in code cell [4], under “The part that breaks”" in page
    assert "LookupError: no prompt for" in page
    assert "before it failed" in page
    assert "\x1b" not in page
    assert "[31m" not in page


def test_failed_run_shows_nothing_that_it_did_not_reach(failed_run: ReportRun) -> None:
    """Headings below the failure would announce what never came."""
    page = failed_run.html.read_text()
    assert "Never reached" not in page
    assert "The run stopped here" in page


def test_nothing_is_printed(
    write_notebook: Callable[..., Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A run prints, logs and changes nothing here, whatever a cell writes past Python; a cell may exit cleanly."""
    before = dict(os.environ), Path.cwd()
    notebook = write_notebook("import os\nos.system('echo loud; echo louder >&2')", "import sys\nsys.exit(0)")
    run = run_notebook(notebook, {}, out=tmp_path / "quiet.html", env={"GREETING": "hello"}, cwd=tmp_path)
    assert "completed" == run.status
    assert ("", "") == capfd.readouterr()
    assert [] == caplog.records
    assert before == (dict(os.environ), Path.cwd())


def test_dead_kernel(write_notebook: Callable[..., Path], tmp_path: Path) -> None:
    """A kernel that is killed is a failed run that says which cell and what killed it."""
    notebook = write_notebook("print('still here')", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    run = run_notebook(notebook, {}, out=tmp_path)
    assert ("failed", 2) == (run.status, run.error_cell)
    assert "the kernel died, killed by SIGKILL (often: out of memory)" == run.error
    assert "still here" in run.html.read_text()
    assert [] == kernels()


def test_time_is_limited_for_the_whole_run(write_notebook: Callable[..., Path], tmp_path: Path) -> None:
    """When the time is up the cell is interrupted, the run says so, and no kernel is left."""
    run = run_notebook(write_notebook("# Slow", "import time\ntime.sleep(600)"), {}, out=tmp_path, timeout=2)
    assert "timed out" == run.status
    assert "stopped after 2 seconds, the limit for the whole run" == run.error
    assert "This run ran out of time" in run.html.read_text()
    assert [] == kernels()


def test_cell_that_ignores_the_interrupt_is_killed(write_notebook: Callable[..., Path]) -> None:
    """After the grace period the kernel is killed, whatever its cell does about interrupts, and so are its children."""
    source = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "while True:\n    try:\n        time.sleep(600)\n    except KeyboardInterrupt:\n        pass"
    )
    node = nbformat.read(write_notebook(source), as_version=4)
    before = set(psutil.Process().children(recursive=True))  # servers of other tests
    execution = execute(node, {}, env=dict(os.environ), timeout=2, grace=0.3)
    assert "timed out" == execution.status
    assert set() == set(psutil.Process().children(recursive=True)) - before


def test_interrupt_keeps_what_there_is(write_notebook: Callable[..., Path], tmp_path: Path) -> None:
    """Ctrl-C stops the run, lets the running cell leave what it has, writes both files and leaves no kernel."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    notebook = write_notebook(
        f"import os, time\ntry:\n    with open({str(pipe)!r}, 'w') as stream:\n        stream.write(str(os.getpid()))\n"
        "    time.sleep(600)\nfinally:\n    print('partial result kept')",
        "print('must not start')",
    )
    script = tmp_path / "main.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom workbench.reporting import run_notebook\n"
        "run = run_notebook(sys.argv[1], {}, out=Path(sys.argv[2]))\nprint(run.status, run.html, sep='|')\n"
    )
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    process = subprocess.Popen(
        [sys.executable, script, notebook, tmp_path / "out"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    try:
        assert select.select([reader], [], [], 120)[0], "the cell never started"
        kernel = int(os.read(reader, 100))
        process.send_signal(signal.SIGINT)
        said, noise = process.communicate(timeout=120)
    finally:
        process.kill()
        os.close(reader)
    status, _, page = said.strip().partition("|")
    assert ("interrupted", "") == (status, noise)
    assert "partial result kept" in Path(page).read_text()
    assert "must not start" not in Path(page).read_text()
    assert not psutil.pid_exists(kernel)


@pytest.mark.parametrize(
    ("code", "status", "error", "last_words"),
    [
        (
            "import os, sys\nsys.stderr.write('no licence')\nsys.stderr.flush()\nos._exit(3)",
            "failed",
            "Kernel died",
            "no licence",
        ),
        ("import time\ntime.sleep(600)", "timed out", "stopped after 3 seconds", ""),
    ],
)
def test_kernel_that_does_not_start(
    write_notebook: Callable[..., Path], tmp_path: Path, code: str, status: str, error: str, last_words: str
) -> None:
    """A kernel that dies or hangs while it starts is told from a failing cell, and its last words are in the page."""
    (tmp_path / "sitecustomize.py").write_text(code)
    limit = 3 if status == "timed out" else 120  # one that dies may take its time
    run = run_notebook(write_notebook("1"), {}, out=tmp_path, timeout=limit, env={"PYTHONPATH": str(tmp_path)})
    assert (status, None) == (run.status, run.error_cell)
    assert error in str(run.error)
    page = run.html.read_text()
    assert "before the first cell" in page
    assert last_words in page
    assert [] == kernels()


async def test_runs_inside_an_event_loop(write_notebook: Callable[..., Path], tmp_path: Path) -> None:
    """A notebook can be run from a notebook, whose own loop is running."""
    run = run_notebook(write_notebook("import asyncio\nawait asyncio.sleep(0)\n'worked'"), {}, out=tmp_path)
    assert "completed" == run.status
    assert "worked" in run.html.read_text()


def test_import_is_light() -> None:
    """Importing the package brings in none of the libraries that run, convert and draw: the shell starts with it."""
    code = (
        "import sys, workbench.reporting, workbench.dashboards\n"
        "print({'papermill', 'nbconvert', 'nbformat', 'plotly', 'pandas', 'numpy', 'bs4'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "set()" == run.stdout.strip()


def test_unknown_parameter_starts_nothing(write_notebook: Callable[..., Path], tmp_path: Path) -> None:
    """A misspelt parameter is refused with the nearest name and the list, before anything runs or is written."""
    notebook = write_notebook(new_code_cell("limit: int = 3", metadata={"tags": ["parameters"]}), "1 / 0")
    with pytest.raises(ParameterError, match=r"no parameter 'limt'\. Did you mean 'limit'\? It takes: limit: int = 3"):
        run_notebook(notebook, {"limt": 4}, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_notebook_names_those_there_are(write_notebook: Callable[..., Path], tmp_path: Path) -> None:
    """A path without a notebook is refused with the notebooks beside it."""
    there = write_notebook("1", name="weekly")
    with pytest.raises(InputError, match=r"no notebook .*wekly\.ipynb.* has: weekly\.ipynb"):
        run_notebook(there.with_name("wekly.ipynb"), {}, out=tmp_path)


@pytest.mark.parametrize(
    "text", ["", "not json", "[]", '{"cells": 3, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}']
)
def test_file_that_is_no_notebook(tmp_path: Path, text: str) -> None:
    """A file that is not a notebook is refused by name."""
    path = tmp_path / "odd.ipynb"
    path.write_text(text)
    with pytest.raises(InputError, match=r"odd\.ipynb is not a notebook"):
        run_notebook(path, {}, out=tmp_path / "out")


def test_other_languages_are_refused(write_notebook: Callable[..., Path], tmp_path: Path) -> None:
    """A notebook in another language is refused rather than run as Python."""
    path = write_notebook("x <- 1")
    node = nbformat.read(path, as_version=4)
    node.metadata.kernelspec = {"name": "ir", "display_name": "R", "language": "R"}
    nbformat.write(node, path)
    with pytest.raises(InputError, match="written in R"):
        run_notebook(path, {}, out=tmp_path)


def test_source_is_never_overwritten(write_notebook: Callable[..., Path]) -> None:
    """An `out` whose executed notebook would be the source itself is refused."""
    notebook = write_notebook("1", name="a.executed")
    with pytest.raises(InputError, match="would overwrite the notebook"):
        run_notebook(notebook, {}, out=notebook.parent / "a.html")


def test_out_that_cannot_be_written(write_notebook: Callable[..., Path], tmp_path: Path) -> None:
    """An `out` below a file is refused before the run."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        run_notebook(write_notebook("1"), {}, out=tmp_path / "file" / "report.html")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here")
def test_out_on_a_file_system_that_takes_no_files(write_notebook: Callable[..., Path]) -> None:
    """A folder whose rights look fine but that takes no file is refused before the run."""
    with pytest.raises(InputError, match="nothing can be written to /proc"):
        run_notebook(write_notebook("1"), {}, out="/proc/report.html")


def test_no_half_page_when_the_disk_is_full(tmp_path: Path) -> None:
    """If the page cannot be written whole, the one of yesterday stays and no part is left."""
    page = tmp_path / "page.html"
    page.write_text("yesterday's")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            run_module._write(page, "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [page] == list(tmp_path.iterdir())
    assert "yesterday's" == page.read_text()


def test_page_that_cannot_be_made(
    write_notebook: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the exporter fails (a double here), the error says how the run went and where its notebook is."""

    def fail(*_: object, **__: object) -> str:
        raise KeyError("template")

    monkeypatch.setattr(run_module, "export_html", fail)
    with pytest.raises(
        ReportError, match=r"ran \(completed\).*executed notebook is .*report\.executed\.ipynb"
    ) as caught:
        run_notebook(write_notebook("1"), {}, out=tmp_path)
    assert caught.value.path is None
    assert (tmp_path / "report.executed.ipynb").is_file()
