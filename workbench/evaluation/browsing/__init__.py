"""A run's examples, page by page: filtered, sorted and searched by the numbers in memory; texts are read for a page only."""

from workbench.evaluation.browsing.metrics import metric_names
from workbench.evaluation.browsing.pages import ExamplePages, shown_mark
from workbench.evaluation.browsing.query import FILTERS, SORTS, Condition, Query

__all__ = ["FILTERS", "SORTS", "Condition", "ExamplePages", "Query", "metric_names", "shown_mark"]
