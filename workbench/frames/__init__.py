"""Calls -> DataFrame: what the dashboards draw, each one question to the call log in SQL."""

from workbench.frames.budgets import budget_frame
from workbench.frames.caching import cache_frame
from workbench.frames.cost import CostForecast, cost_frame, forecast
from workbench.frames.errors import error_frame
from workbench.frames.gpu import Others, break_even, gpu_frame, others_of
from workbench.frames.langfuse_metrics import LangfuseMetrics
from workbench.frames.latency import latency_frame, latency_histogram
from workbench.frames.quality import quality_frame
from workbench.frames.source import Frames, LogFrames, Source
from workbench.frames.values import filter_values
from workbench.frames.versions import version_frame
from workbench.frames.what_if import what_if_frame
from workbench.frames.window import Every, Log, Window

__all__ = [
    "CostForecast",
    "Every",
    "Frames",
    "LangfuseMetrics",
    "Log",
    "LogFrames",
    "Others",
    "Source",
    "Window",
    "break_even",
    "budget_frame",
    "cache_frame",
    "cost_frame",
    "error_frame",
    "filter_values",
    "forecast",
    "gpu_frame",
    "latency_frame",
    "latency_histogram",
    "others_of",
    "quality_frame",
    "version_frame",
    "what_if_frame",
]
