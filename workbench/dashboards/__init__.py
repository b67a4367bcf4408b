"""DataFrame in, plotly figure out. What is computed was computed before; a figure only draws it."""

from workbench.dashboards.cache_tuning import tuning_figure, tuning_slider
from workbench.dashboards.comparison import delta_figure, latency_figure, score_figure, slice_figure
from workbench.dashboards.pareto import pareto_figure
from workbench.dashboards.serving import load_latency_figure, throughput_figure, token_time_figure
from workbench.dashboards.timeline import timeline_figure

__all__ = [
    "delta_figure",
    "latency_figure",
    "load_latency_figure",
    "pareto_figure",
    "score_figure",
    "slice_figure",
    "throughput_figure",
    "timeline_figure",
    "token_time_figure",
    "tuning_figure",
    "tuning_slider",
]
