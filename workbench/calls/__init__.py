"""The call log: every call is one row, whoever made it, and so is every span, score and feedback. JSON-lines segments written by
many processes, read with DuckDB."""

from workbench.calls.log import CallLog, Pace
from workbench.calls.rows import CallScore, Span
from workbench.calls.segment import Segment, read_rows
from workbench.calls.spans import Spans, span
from workbench.calls.texts import Texts

__all__ = ["CallLog", "CallScore", "Pace", "Segment", "Span", "Spans", "Texts", "read_rows", "span"]
