"""Marks on answers, as the browser sends them: kept one after the other, by a thread that nobody waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from workbench.evaluation.browsing import ExamplePages, shown_mark
from workbench.widgets.worker import Worker

__all__ = ["Marking"]


class Marking:
    """Keeps marks on disk in the order in which they were made, and tells the browser of each.

    send: to the browser. failed: shows an error.
    """

    def __init__(self, send: Callable[[dict[str, Any]], object], failed: Callable[[Exception], None]) -> None:
        self._send, self._failed = send, failed
        self._worker = Worker("comparison-marks", failed)
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}  # by browser's view, of its latest mark: what is sent twice is kept once

    def hear(self, pages: ExamplePages, content: Mapping[str, Any]) -> None:
        """See `ComparisonView.hear_mark`."""
        view, count = str(content["view"]), int(content["count"])
        at, variant, change = int(content["at"]), int(content["variant"]), _change(content["change"])
        labels = pages.run.measurements.variants
        label = labels[variant] if 0 <= variant < len(labels) else ""
        with self._lock:
            if count <= self._counts.get(view, 0):
                return
            self._counts[view] = count

        def keep() -> None:
            about = {"do": "marked", "view": view, "count": count, "at": at, "variant": variant}
            try:
                mark = pages.mark(at, label, **change)
            except Exception as problem:  # noqa: BLE001  the browser keeps its next marks until this one is answered
                self._failed(problem)
                self._send(about | {"mark": None})
            else:
                self._send(about | {"mark": shown_mark(mark)})

        self._worker.do(keep)


def _change(given: Mapping[str, Any]) -> dict[str, Any]:
    """What is to be changed, without what is none of a mark."""
    kinds = {"mark": str, "star": bool, "comment": str}
    return {name: kind(given[name]) for name, kind in kinds.items() if name in given}
