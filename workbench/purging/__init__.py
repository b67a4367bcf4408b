"""Removing what is kept of a user, of a tenant or of a time: one part for each place that keeps anything, in a list of parts."""

from workbench.purging.logged import JudgesPart, LogPart, RunsPart
from workbench.purging.places import CachesPart, DatasetsPart, LangfusePart, PlaygroundPart, RatingsPart
from workbench.purging.purging import Found, Part, Purged, PurgePlan, Purging
from workbench.purging.who import Traces, Who

__all__ = ["CachesPart", "DatasetsPart", "Found", "JudgesPart", "LangfusePart", "LogPart", "Part", "PlaygroundPart", "PurgePlan",
           "Purged", "Purging", "RatingsPart", "RunsPart", "Traces", "Who"]  # fmt: skip
