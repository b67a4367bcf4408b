"""What `ask` and `prompt try` share: an answer printed as it comes, and a prompt's values."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["Pieces", "read_inputs"]


class Pieces:
    """Prints an answer as it comes: thoughts to standard error and text to standard output, each from the beginning of a line.
    On a terminal a model's control characters are shown, not obeyed; a file gets the text as it is."""

    def __init__(self) -> None:
        self._last = {sys.stdout: "\n", sys.stderr: "\n"}

    def show(self, text: str, reasoning: str = "") -> None:
        """A piece of both."""
        self._print(reasoning, sys.stderr)
        if text:
            self._end_line(sys.stderr)
        self._print(text, sys.stdout)

    def show_line(self, text: str) -> None:
        """A line of its own."""
        self._end_line(sys.stdout)
        self._print(f"{text}\n", sys.stdout)

    def end(self) -> None:
        """End the lines that are begun."""
        for stream in self._last:
            self._end_line(stream)

    def _print(self, text: str, stream: Any) -> None:
        if not text:
            return
        from workbench.tables import clean_text

        print(clean_text(text) if stream.isatty() else text, end="", file=stream, flush=True)
        self._last[stream] = text[-1]

    def _end_line(self, stream: Any) -> None:
        if self._last[stream] != "\n":
            self._print("\n", stream)


def read_inputs(given: list[str]) -> dict[str, str]:
    """VARIABLE=VALUE, each once. Raises InputError."""
    from workbench.errors import InputError

    found: dict[str, str] = {}
    for item in given:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise InputError(f"--input {item!r} must be VARIABLE=VALUE, such as --input message='Where is my order?'.")
        if name in found:
            raise InputError(f"--input {name} was given twice: give each variable once.")
        found[name] = value
    return found
