"""`workbench lab`."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from workbench.lab import JupyterLab

__all__ = ["lab"]


def lab(*, port: int = 8888, browser: Annotated[bool, Parameter(negative="--no-browser")] = True) -> int:
    """Open JupyterLab on the project's notebooks (on this machine only, with Jupyter's token); Ctrl-C ends it.

    In a folder that is no project yet it begins one: notebooks, the demo's prompts and data set, a workbench.toml.

    Parameters
    ----------
    port
        The first port to try; 0 takes any that is free.
    browser
        Whether to open a browser.
    """
    from workbench.lab import JupyterLab
    from workbench.settings import load_settings
    from workbench.starter import begin_project

    settings = load_settings()
    server = JupyterLab(settings, port=port, browser=browser)
    made = begin_project(settings)
    if made:
        _note(f"New in {settings.project}: {', '.join(os.path.relpath(path, settings.project) for path in made)}.")
    return asyncio.run(_serve(server, port))


async def _serve(server: JupyterLab, port: int) -> int:
    await server.start()
    try:
        if port not in (0, server.port):
            _note(f"Port {port} is taken, so it is at {server.port}.")
        print(f"JupyterLab: {server.url}", flush=True)
        _note(f"Its log is {server.log}. Ctrl-C ends it.")
        await server.ended()
    except asyncio.CancelledError:
        _note("\nJupyterLab is ended.")
    finally:
        await asyncio.shield(asyncio.to_thread(server.stop))
    return 0


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
