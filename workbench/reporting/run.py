"""Run a notebook with nobody at the keyboard and leave a page that anyone can open.

Parameters are checked before anything starts; the status is that of the run, never what the saved notebook claims; a
run that fails still leaves what it had, with a banner that says where and why.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench.errors import InputError, ReportError
from workbench.reporting.html import Banner, export_html, first_heading
from workbench.reporting.masking import mask_notebook, secret_texts
from workbench.reporting.parameters import check_parameters
from workbench.running.saving import write_whole
from workbench.settings.masking import mask_text

if TYPE_CHECKING:
    from workbench.reporting.execution import Execution

__all__ = ["ReportRun", "run_notebook"]

# plotly's figures travel as data and are drawn by the page; the notebook stays small.
_KERNEL_ENV = {"PLOTLY_RENDERER": "plotly_mimetype", "WORKBENCH_STATIC": "1"}
_SHORTEST_ENV_SECRET = 12


@dataclass(frozen=True, slots=True)
class ReportRun:
    """How a run went. html: the page; notebook: the executed notebook. seconds: wall time of the run.

    error: one line, None if it completed. error_cell: which code cell failed, from 1, as in Jupyter's `[n]`. title: the page's.
    """

    status: Literal["completed", "failed", "timed out", "interrupted"]
    html: Path
    notebook: Path
    seconds: float
    error: str | None = None
    error_cell: int | None = None
    title: str = ""


def run_notebook(
    notebook: Path | str,
    parameters: Mapping[str, Any],
    *,
    out: Path,
    title: str | None = None,
    timeout: float | None = 3600,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    clock: Callable[[], float] = time.time,
    lead: Callable[[Any, str], str] | None = None,
    plotly: Literal["inline", "shared"] = "inline",
    assets: Path | None = None,
) -> ReportRun:
    """Run `notebook` in a fresh kernel of this interpreter; write the page and, beside it, NAME.executed.ipynb.

    parameters: for the notebook's cell tagged `parameters`. out: the page's path if it ends in .html, else the folder
    for NOTEBOOK.html. title: None takes the notebook's first heading. timeout: seconds for the whole run. env: added to
    the kernel's environment. cwd: the kernel's folder, the caller's by default. lead: given the executed notebook and the status,
    returns HTML to stand on top. plotly: its script in the page, or once in `assets` for all pages whose folder is beside it.

    What goes wrong inside the notebook is in the result. Raises InputError if there is no such notebook or `out` cannot
    be written, ParameterError for a parameter that it does not take, ReportError if the page cannot be made.
    """
    source = Path(notebook)
    node = _read(source)
    values = check_parameters(node, parameters, name=source.name)
    page, executed = _targets(Path(out), source)

    from workbench.reporting.execution import execute

    kernel_env = {**os.environ, **_KERNEL_ENV, **(env or {})}
    started_at, started = clock(), time.monotonic()
    execution = execute(node, values, env=kernel_env, cwd=cwd, timeout=timeout)
    seconds = time.monotonic() - started

    hidden = (*secret_texts(values), *_env_secrets(kernel_env))
    result = mask_notebook(execution.notebook, hidden)
    # papermill was handed the notebook itself and would keep all of it here.
    result["metadata"].setdefault("papermill", {}).update(input_path=str(source), output_path=str(executed))
    error = None if execution.error is None else mask_text(execution.error, hidden)
    heading = title or first_heading(node) or source.stem.replace("_", " ")
    report = ReportRun(execution.status, page, executed, seconds, error, execution.error_cell, heading)
    _write(executed, _dumps(result))
    above = lead(result, execution.status) if lead else ""
    try:
        text = export_html(
            result,
            title=heading,
            banner=_banner(execution, report, result, hidden),
            generated_at=datetime.fromtimestamp(started_at).astimezone(),
            seconds=seconds,
            base=source.parent,
            lead=above,
            script=_shared_script(assets, page) if plotly == "shared" and assets else None,
        )
    except Exception as cause:
        raise ReportError(
            f"{source} ran ({execution.status}), but its page could not be made: {type(cause).__name__}: {cause}. "
            f"The executed notebook is {executed}."
        ) from cause
    _write(page, text)
    return report


def _shared_script(assets: Path, page: Path) -> str:
    """Plotly's script as a file that many pages load, named by its version; returns its address as the page sees it."""
    from plotly.offline import get_plotlyjs, get_plotlyjs_version

    path = assets / f"plotly-{get_plotlyjs_version()}.min.js"
    if not path.is_file():
        assets.mkdir(parents=True, exist_ok=True)
        _write(path, get_plotlyjs())
    return Path(os.path.relpath(path, page.parent)).as_posix()


def _read(source: Path) -> Any:
    if not source.is_file():
        near = sorted(path.name for path in source.parent.glob("*.ipynb")) if source.parent.is_dir() else []
        there = f"{source.parent} has: {', '.join(near)}." if near else f"{source.parent} has no notebooks."
        raise InputError(f"there is no notebook {source}. {there}")
    import nbformat

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            node = nbformat.read(source, as_version=4)  # type: ignore[no-untyped-call]
            nbformat.validate(node)
    except (ValueError, TypeError, AttributeError, KeyError, nbformat.ValidationError) as error:
        raise InputError(f"{source} is not a notebook (nbformat 4): {str(error).splitlines()[0]}") from None
    language = node["metadata"].get("kernelspec", {}).get("language", "python")
    if language.lower() != "python":
        raise InputError(f"{source} is written in {language}: only Python notebooks can be run.")
    return node


def _env_secrets(env: Mapping[str, str]) -> tuple[str, ...]:
    """Keys in the environment, which a cell may print; the path of a key's file is none."""
    plain = {name: value for name, value in env.items() if not value.startswith(("/", "~", "."))}
    return secret_texts(plain, shortest=_SHORTEST_ENV_SECRET)


def _targets(out: Path, source: Path) -> tuple[Path, Path]:
    page = out if out.suffix.lower() in (".html", ".htm") else out / f"{source.stem}.html"
    executed = page.with_name(f"{page.stem}.executed.ipynb")
    if executed.resolve() == source.resolve():
        raise InputError(f"out = {out} would overwrite the notebook {source}: choose another name.")
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"out = {out}: the folder {page.parent} cannot be made: {error}.") from None
    if page.is_dir():
        raise InputError(f"out = {out}: {page} is a folder. Choose another path.")
    try:  # now, and not after the run: a read-only file system lets root pass every check of rights
        with tempfile.TemporaryFile(dir=page.parent):
            pass
    except OSError as error:
        raise InputError(
            f"out = {out}: nothing can be written to {page.parent}: {error}. Choose another path."
        ) from None
    return page, executed


def _banner(execution: Execution, report: ReportRun, node: Any, hidden: tuple[str, ...]) -> Banner | None:
    if report.status == "completed":
        return None
    where = "before the first cell" if report.error_cell is None else f"in code cell [{report.error_cell}]"
    code = ""
    if execution.error_index is not None:
        heading = first_heading(node, before=execution.error_index)
        where += f", under “{heading}”" if heading else ""
        code = node["cells"][execution.error_index]["source"].strip()
    what = {"failed": "failed", "timed out": "ran out of time", "interrupted": "was interrupted"}[report.status]
    return Banner(
        headline=f"This run {what} {where}. What follows is incomplete.",
        text=report.error or "",
        code=code,
        traceback=mask_text(execution.traceback, hidden),
    )


def _dumps(node: Any) -> str:
    import nbformat

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return str(nbformat.writes(node, version=4)) + "\n"  # type: ignore[no-untyped-call]
        except (ValueError, nbformat.ValidationError):
            return json.dumps(node, ensure_ascii=False, indent=1) + "\n"


def _write(path: Path, text: str) -> None:
    """All of it or nothing: a reader never sees half a page."""
    write_whole(path, text.encode("utf-8", "replace"), synced=True)
