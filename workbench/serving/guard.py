"""Keeps a command that must not outlive its starter: run as a script, `python guard.py GRACE COMMAND…`.

The starter holds the other end of this script's standard input open. When that closes, however the starter ended, or on SIGTERM,
SIGINT or SIGHUP, the command and all that it started get SIGTERM, and SIGKILL if they are still there after GRACE seconds: its
group of processes, and on Linux also those that left it for a session of their own.
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
from pathlib import Path

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
        ends = time.monotonic() + patience
        told_too: set[int] = set()
        left = _tell(child, number)
        while (_tell_adopted(child, number, told_too) or left) and time.monotonic() < ends:
            time.sleep(0.02)
            left = _tell(child, 0)
        if not left and not _adopted(child):
            break
    code = child.wait()
    return code if code >= 0 else 128 - code


def _tell(child: subprocess.Popen[bytes], number: int) -> bool:
    """Send a signal to the group; False if nobody is left in it."""
    if child.poll() is not None:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    try:
        os.killpg(child.pid, number)
    except (ProcessLookupError, PermissionError):  # macOS refuses a group of which only a zombie is left
        return False
    return True


def _tell_adopted(child: subprocess.Popen[bytes], number: int, told: set[int]) -> bool:
    """Send a signal once to each process that made a session of its own and lost its parent; False if there is none."""
    there = _adopted(child)
    for pid in there - told:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
    told |= there
    return bool(there)


def _adopted(child: subprocess.Popen[bytes]) -> set[int]:
    """Children of this script outside the command's group: on Linux only, as elsewhere none are adopted. Their numbers are
    nobody else's until this script reaps them."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*") if sys.platform == "linux" else ():
        with contextlib.suppress(OSError):  # it has just ended
            state, parent, group = (folder / "stat").read_bytes().rpartition(b")")[2].split()[:3]
            if int(parent) == os.getpid() and int(group) != child.pid and state not in (b"Z", b"X"):
                found.add(int(folder.name))
    return found


def _adopt_orphans() -> None:
    """On Linux, what the command leaves behind becomes a child of this script, which can then see that it has ended; in a
    container, process 1 often does not look after it."""
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
