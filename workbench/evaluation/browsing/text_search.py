"""Which examples hold a text."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from workbench.evaluation.browsing.row_index import Tail
from workbench.evaluation.folder import RunFolder

__all__ = ["TextSearch"]


class TextSearch:
    """Which examples hold a text, in any case of letters: in what `texts` gives of an example, in an answer to it, in a scorer's
    reason, or in the error of a call that has no answer.

    `advance` reads what was not read before, so a search of a run that goes on costs only the new rows.
    """

    def __init__(self, text: str, folder: RunFolder, examples: int, texts: Callable[[int], Sequence[str]]) -> None:
        self._text = text.casefold()
        self._tail = Tail(folder)
        self._texts = texts
        self._next = 0
        self._lock = threading.Lock()
        self._found = np.zeros(examples, dtype=bool)
        self._errors: set[tuple[str, int, int]] = set()  # rows whose error holds it, until an answer takes their place

    @property
    def hits(self) -> np.ndarray:
        """(examples,) of True where it was found so far."""
        hits = self._found.copy()
        hits[[example for _, example, _ in tuple(self._errors)]] = True
        return hits

    def advance(self, told: Callable[[int], bool]) -> bool:
        """Go on to the end. told: gets how many examples and rows were looked through in this call, now and then; it says
        whether to go on. False if it said no: what was found so far stays, and the next call goes on from there."""
        with self._lock:
            return self._advance(told)

    def _advance(self, told: Callable[[int], bool]) -> bool:
        looked = 0
        for example in range(self._next, len(self._found)):
            self._found[example] |= any(self._text in text.casefold() for text in self._texts(example))
            self._next = example + 1
            looked += 1
            if looked % 200 == 0 and not told(looked):
                return False
        for found in self._tail:
            if not found.row["warmup"]:
                self._look(found.row)
            looked += 1
            if looked % 200 == 0 and not told(looked):
                return False
        return True

    def _look(self, row: Mapping[str, Any]) -> None:
        place = (row["variant"], row["example"], row["repeat"])
        if row["error"] is not None:
            if self._holds(row["error"], row["error_message"]):
                self._errors.add(place)
            return
        self._errors.discard(place)
        if self._holds(row["text"], *(row["explanations"] or {}).values()):
            self._found[row["example"]] = True

    def _holds(self, *texts: str | None) -> bool:
        return any(self._text in text.casefold() for text in texts if text)
