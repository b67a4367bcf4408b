"""The command `workbench`. Each command is thin: it parses, calls the package and prints."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclopts import CycloptsError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 fine, 1 something failed, 2 wrong input, 130 interrupted, 141 nobody reads on."""
    # a terminal that lacks a sign of ours shows another one; it is no reason to lose a result
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors in ("strict", "surrogateescape"):
        sys.stdout.reconfigure(errors="replace")
    try:
        code = _run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # the reader has gone (`| head`); what is still buffered would raise again when Python flushes it at exit
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, OSError, ValueError):
                os.dup2(nowhere, stream.fileno())
        code = 141
    sys.exit(code)


def _run(arguments: Sequence[str] | None) -> int:
    from cyclopts import CycloptsError

    from workbench.cli.app import build

    try:
        code = build()(
            arguments, exit_on_error=False, print_error=True, error_formatter=_shown, result_action="return_value"
        )
    except CycloptsError:
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except Exception as error:
        from workbench.errors import InputError, WorkbenchError
        from workbench.tables import clean_text

        if not isinstance(error, WorkbenchError):
            raise
        print(f"error: {clean_text(str(error))}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    return code if isinstance(code, int) else 0


def _shown(error: CycloptsError) -> object:
    """The parser's error as it prints it, except for words that no parameter takes, where it says only that."""
    from cyclopts import CycloptsError, CycloptsPanel, UnusedCliTokensError

    if isinstance(error, UnusedCliTokensError):
        command = " ".join(("workbench", *(error.command_chain or ())))
        words = ", ".join(map(repr, error.unused_tokens or ()))
        said = f"{command} does not take {words}. What it takes is named by flags: see {command} --help."
        return CycloptsPanel(CycloptsError(msg=said))
    return CycloptsPanel(error)
