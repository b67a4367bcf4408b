"""Keys of a terminal, one at a time."""

from __future__ import annotations

import os
import select
import sys
from importlib.util import find_spec
from types import TracebackType
from typing import Self

__all__ = ["Keys"]

_QUIET = 0.1  # seconds without a key after which the next one is meant for what is shown now


class Keys:
    """Keys that are pressed on standard input, a terminal, without Enter and without echo. Ctrl-C and Ctrl-Z act as ever; at
    the end of the `with` block the terminal is as it was."""

    @staticmethod
    def check() -> None:
        """InputError where single keys cannot be read."""
        from workbench.errors import InputError

        elsewhere = "in a notebook, bench.show(bench.ratings.session(…)) does the same."
        if find_spec("termios") is None:
            raise InputError(f"single keys cannot be read on this system, which has no termios: {elsewhere}")
        if not sys.stdin.isatty():
            raise InputError(
                "single keys are read, and standard input is no terminal: run this in one (ssh with -t, a container with -it); "
                + elsewhere
            )

    def __enter__(self) -> Self:
        import termios
        import tty

        self._input = sys.stdin.fileno()
        self._before = termios.tcgetattr(self._input)
        tty.setcbreak(self._input)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        import termios

        termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)

    def drain(self) -> None:
        """Throw away what was typed ahead, until no key comes for a moment: a key that is held down goes no further."""
        while self._waits(_QUIET) and self._read():
            pass

    def next(self) -> str:
        """The next key: one character. Several are a special key (an arrow) or pasted text; "" is a closed terminal."""
        return self._read()

    def _waits(self, seconds: float) -> bool:
        return bool(select.select([self._input], [], [], seconds)[0])

    def _read(self) -> str:
        try:
            return os.read(self._input, 1024).decode("utf-8", "replace")
        except OSError:  # it was hung up
            return ""
