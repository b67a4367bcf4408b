"""Where a dashboard's numbers come from: the call log, or Langfuse's metrics, by the same five questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from workbench.frames.cost import cost_frame
from workbench.frames.errors import error_frame
from workbench.frames.latency import latency_frame
from workbench.frames.quality import quality_frame
from workbench.frames.versions import version_frame
from workbench.frames.window import Every, Log, Window

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Frames", "LogFrames", "Source"]

Source = Literal["log", "langfuse"]


class Frames(Protocol):
    """What dashboards draw; see the function of each name, such as `cost_frame`, for the columns."""

    def cost(self, window: Window, *, by: Sequence[str] = ..., every: Every = ...) -> pd.DataFrame:
        """As `cost_frame`."""

    def latency(self, window: Window, *, by: Sequence[str] = ..., every: Every = ...) -> pd.DataFrame:
        """As `latency_frame`."""

    def quality(self, window: Window, *, by: Sequence[str] = ..., every: Every = ...) -> pd.DataFrame:
        """As `quality_frame`."""

    def errors(self, window: Window, *, by: Sequence[str] = ..., every: Every = ...) -> pd.DataFrame:
        """As `error_frame`."""

    def versions(self, window: Window, *, score: str | None = None, every: Every = ...) -> pd.DataFrame:
        """As `version_frame`."""


class LogFrames:
    """Those of a call log."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def cost(self, window: Window, *, by: Sequence[str] = ("model",), every: Every = "day") -> pd.DataFrame:
        """See `cost_frame`."""
        return cost_frame(self._log, window, by=by, every=every)

    def latency(
        self, window: Window, *, by: Sequence[str] = ("endpoint", "model"), every: Every = "day"
    ) -> pd.DataFrame:
        """See `latency_frame`."""
        return latency_frame(self._log, window, by=by, every=every)

    def quality(self, window: Window, *, by: Sequence[str] = ("scorer",), every: Every = "day") -> pd.DataFrame:
        """See `quality_frame`."""
        return quality_frame(self._log, window, by=by, every=every)

    def errors(self, window: Window, *, by: Sequence[str] = (), every: Every = "day") -> pd.DataFrame:
        """See `error_frame`."""
        return error_frame(self._log, window, by=by, every=every)

    def versions(self, window: Window, *, score: str | None = None, every: Every = "day") -> pd.DataFrame:
        """See `version_frame`."""
        return version_frame(self._log, window, score=score, every=every)
