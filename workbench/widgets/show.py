"""From a thing to its view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.errors import InputError

if TYPE_CHECKING:
    from workbench.widgets.comparison import Compare

__all__ = ["show"]


def show(thing: object, *, compare: Compare | None = None, trace_address: str = "") -> object:
    """The view of `thing` for a notebook's cell: interactive where there is one, else the thing itself, which prints.

    With WORKBENCH_STATIC=1, as in scheduled reports, it is the still form. InputError for what cannot be shown at all.
    compare: runs a plan; trace_address: of Langfuse, "" for none.
    """
    from workbench.evaluation.cache_thresholds import CacheTuning
    from workbench.evaluation.comparison import Comparison
    from workbench.evaluation.plan import Plan
    from workbench.evaluation.ratings.session import RatingSession
    from workbench.widgets.view import is_static

    if isinstance(thing, RatingSession):
        from workbench.widgets.rating import RatingView, still_rating

        return still_rating(thing) if is_static() else RatingView(thing)
    if isinstance(thing, (Comparison, Plan)):
        from workbench.widgets.comparison import ComparisonView
        from workbench.widgets.comparison_still import still_comparison

        if is_static():
            return still_comparison(thing) if isinstance(thing, Comparison) else thing
        return ComparisonView(thing, compare, trace_address)
    if isinstance(thing, CacheTuning):
        from workbench.widgets.threshold import ThresholdBoard, threshold_view

        return ThresholdBoard(thing, thing.shown) if is_static() else threshold_view(thing)
    if callable(explore := getattr(thing, "explore", None)):  # the dashboards, which lie above
        shown: object = explore()
        return shown
    if hasattr(thing, "_repr_html_") or hasattr(thing, "_repr_mimebundle_"):
        return thing
    raise InputError(
        f"show() has no view of a {type(thing).__name__}: give it a comparison, a plan, or a rating session "
        "(bench.ratings.session(result, rater=…, question=…))."
    )
