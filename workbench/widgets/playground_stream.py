"""A playground's answers on their way to the browser."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from workbench.playground import Answer, Playground
from workbench.tables import clean_text

__all__ = ["Stream"]


class Stream:
    """Sends answers: what came since the last message, at most one each tick."""

    def __init__(self, play: Playground, send: Callable[[Any], None]) -> None:
        self._play, self._send = play, send
        self._lock = threading.Lock()
        self._number = 0
        self._sent: list[tuple[int, int, Any]] = []

    def whole(self) -> None:
        """All that there is."""
        with self._lock:
            self._sent = []
            items = self._new()
            self._number += 1
            self._send({"do": "whole", "number": self._number, "columns": items})

    def more(self) -> None:
        """What is new, if anything is."""
        with self._lock:
            items = self._new()
            if items:
                self._number += 1
                self._send({"do": "more", "number": self._number, "columns": items})

    def _new(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        answers = list(self._play.answers)
        self._sent += [(0, 0, None)] * (len(answers) - len(self._sent))
        for at, answer in enumerate(answers):
            text, reasoning, about = self._sent[at]
            now = _about(answer)
            added, thought = _from(answer, answer.text, text), _from(answer, answer.reasoning, reasoning)
            if added or thought or now != about:
                self._sent[at] = (text + len(added), reasoning + len(thought), now)
                changed = {} if now == about else {"about": now}
                found.append({"at": at, "add": clean_text(added), "think": clean_text(thought), **changed})
        return found


def _from(answer: Answer, text: str, sent: int) -> str:
    """What comes after it; a line end of two characters waits until it is whole."""
    new = text[sent:]
    return new[:-1] if new.endswith("\r") and not answer.over else new


def _about(answer: Answer) -> dict[str, Any]:
    return {
        "title": clean_text(answer.title), "state": answer.state, "figures": answer.figures(),
        "remark": clean_text(answer.remark()), "failure": clean_text(answer.failure),
        "tools": [clean_text(call) for call in answer.calls_shown()],
    }  # fmt: skip
