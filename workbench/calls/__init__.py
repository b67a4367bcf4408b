"""The call log: every call is one row, whoever made it. JSON-lines segments written by many processes, read with DuckDB."""

from workbench.calls.log import CallLog, Pace
from workbench.calls.segment import Segment, read_rows

__all__ = ["CallLog", "Pace", "Segment", "read_rows"]
