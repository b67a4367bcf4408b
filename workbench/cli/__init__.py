"""The command `workbench`. Each command is thin: it parses, calls the package and prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 fine, 1 something failed, 2 wrong input, 130 interrupted."""
    from workbench.cli.app import build

    app = build()
    try:
        code = app(arguments, exit_on_error=True, print_error=True, result_action="return_value")
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        code = 130
    except Exception as error:
        from workbench.errors import InputError, WorkbenchError

        if not isinstance(error, WorkbenchError):
            raise
        print(f"error: {error}", file=sys.stderr)
        code = 2 if isinstance(error, InputError) else 1
    sys.exit(code if isinstance(code, int) else 0)
