"""DataFrame in, plotly figure out. What is computed was computed before; a figure only draws it."""

from workbench.dashboards.board import Board, as_output
from workbench.dashboards.cache_tuning import tuning_figure
from workbench.dashboards.comparison import delta_figure, latency_figure, score_figure, slice_figure
from workbench.dashboards.operations import (
    cache_figure,
    cost_figure,
    error_figure,
    first_token_figure,
    latency_histogram_figure,
    latency_time_figure,
    quality_figure,
)
from workbench.dashboards.pareto import pareto_figure
from workbench.dashboards.serving import load_latency_figure, throughput_figure, token_time_figure
from workbench.dashboards.timeline import timeline_figure
from workbench.dashboards.what_if import what_if_figure

__all__ = [
    "Board",
    "as_output",
    "cache_figure",
    "cost_figure",
    "delta_figure",
    "error_figure",
    "first_token_figure",
    "latency_figure",
    "latency_histogram_figure",
    "latency_time_figure",
    "load_latency_figure",
    "pareto_figure",
    "quality_figure",
    "score_figure",
    "slice_figure",
    "throughput_figure",
    "timeline_figure",
    "token_time_figure",
    "tuning_figure",
    "what_if_figure",
]
