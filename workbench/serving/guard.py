"""Keeps a command that must not outlive its starter: run as a script, `python guard.py GRACE COMMAND…`.

The starter holds the other end of this script's standard input open. When that closes, however the starter ended, or on SIGTERM,
SIGINT or SIGHUP, the command and all that it started get SIGTERM, and SIGKILL if they are still there after GRACE seconds.
What a command that ended by itself left behind is ended too. The exit code is the command's (128 + N after signal N).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time

__all__ = ["main"]

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_LOOK = 0.2  # seconds between two looks at the command
_KILLED = 2.0  # seconds that the system may take to end what was killed


def main(arguments: list[str]) -> int:
    """Run the command until it ends or must."""
    grace, command = float(arguments[0]), arguments[1:]
    _adopt_orphans()
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, frame: told.append(number))
    # a session of its own: its group holds the command and what it starts, and not this script
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603
    while child.poll() is None and not told:
        if select.select([0], [], [], _LOOK)[0] and not os.read(0, 4096):
            break
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, _KILLED)):
        if not _tell(child, number):
            break
        ends = time.monotonic() + patience
        while time.monotonic() < ends and _tell(child, 0):
            time.sleep(0.02)
    code = child.wait()
    return code if code >= 0 else 128 - code


def _tell(child: subprocess.Popen[bytes], number: int) -> bool:
    """Send a signal to the group; False if nobody is left in it."""
    if child.poll() is not None:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-child.pid, os.WNOHANG)[0]:
                pass
    try:
        os.killpg(child.pid, number)
    except (ProcessLookupError, PermissionError):  # macOS refuses a group of which only a zombie is left
        return False
    return True


def _adopt_orphans() -> None:
    """On Linux, what the command leaves behind becomes a child of this script, which can then see that it has ended; in a
    container, process 1 often does not look after it."""
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
