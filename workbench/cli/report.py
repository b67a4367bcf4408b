"""`workbench report …`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

__all__ = ["app"]

app = App(name="report", help="Run a parameterized notebook and keep it as an HTML page.")


@app.command
def run(
    name: str,
    *,
    parameter: Annotated[list[str] | None, Parameter(alias="-p")] = None,
    out: Path | None = None,
    timeout: float = 3600,
) -> int:
    """Run a notebook headless and write one self-contained HTML page. Exit code 1 when the notebook failed.

    Parameters
    ----------
    name
        A notebook of the project (ab_comparison) or a path to one.
    parameter
        KEY=VALUE for the notebook's parameters cell; VALUE is JSON, or text if it is not JSON.
    out
        The page to write; by default reports/NAME.html.
    timeout
        Seconds that the whole run may take.
    """
    from workbench.reporting import run_notebook
    from workbench.settings import load_settings
    from workbench.starter import find_notebook
    from workbench.tables import clean_text

    settings = load_settings()
    notebook = find_notebook(settings, name)
    page = out or settings.reports / f"{notebook.stem}.html"
    report = run_notebook(notebook, _parameters(parameter or []), out=page, timeout=timeout, cwd=settings.project)
    print(f"{report.status} in {report.seconds:.0f} s: {report.html}")
    if report.error:
        print(f"error: {clean_text(report.error)}")
    return 0 if report.status == "completed" else 130 if report.status == "interrupted" else 1


def _parameters(pairs: list[str]) -> dict[str, Any]:
    from workbench.errors import ParameterError

    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise ParameterError(f"parameter {pair!r} must be KEY=VALUE, such as -p limit=20.")
        try:
            found[name] = json.loads(text)
        except json.JSONDecodeError:
            found[name] = text
    return found
