"""Who is at the keyboard."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess

__all__ = ["git_author"]


def git_author() -> str:
    """Git's user.name (GIT_AUTHOR_NAME first), else the login, else `unknown`."""
    name = os.environ.get("GIT_AUTHOR_NAME", "")
    git = shutil.which("git")
    if not name and git:
        asked = subprocess.run([git, "config", "user.name"], capture_output=True, check=False)  # noqa: S603
        name = asked.stdout.decode(errors="replace")
    if not name.strip():
        try:
            name = getpass.getuser()
        except (KeyError, OSError):
            name = "unknown"
    return name.strip()
