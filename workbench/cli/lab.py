"""`workbench lab`."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Annotated

from cyclopts import Parameter

__all__ = ["lab"]


def lab(*, port: int = 8888, browser: Annotated[bool, Parameter(negative="--no-browser")] = True) -> int:
    """Open JupyterLab on the project's notebooks (on this machine only, with Jupyter's token).

    Parameters
    ----------
    port
        The first port to try.
    browser
        Whether to open a browser.
    """
    from workbench.settings import load_settings
    from workbench.starter import ensure_notebooks

    settings = load_settings()
    ensure_notebooks(settings)
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--port={port}",
        "--ip=127.0.0.1",
        f"--notebook-dir={settings.project}",
    ]
    environment = os.environ | {"WORKBENCH_PROJECT": str(settings.project)}
    return subprocess.call(command if browser else [*command, "--no-browser"], env=environment)  # noqa: S603
