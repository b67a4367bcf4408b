"""What a forked process begins anew: locks that a thread of its parent may have held, counts of what is under way there, and all
that belongs to its parent's event loops and threads."""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Protocol

__all__ = ["Forked", "begin_anew", "keep"]


class Forked(Protocol):
    """Told in a child that it is one, before anything else runs there."""

    def after_fork(self) -> None:
        """Begin anew."""


def begin_anew(owner: Forked) -> None:
    """Call `owner.after_fork()` in every process that is forked off while it lives."""
    _owners.add(owner)


def keep(*inherited: object) -> None:
    """Never collect these in this child, not even when it ends: to close a connection or a loop of its parent's would disturb the
    parent, whose epoll they share, and to wait for a native thread that is not here would crash."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))


_owners: weakref.WeakSet[Forked] = weakref.WeakSet()


def _after_fork() -> None:
    for owner in list(_owners):
        owner.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
