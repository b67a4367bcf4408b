"""The semantic cache's threshold, moved by hand: what each would serve, and which pairs stand at its border."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import ipywidgets

from workbench.dashboards.board import show_drawn
from workbench.dashboards.cache_tuning import tuning_figure
from workbench.tables import format_share, html_text, to_html, to_text
from workbench.widgets.explorer import Explorer

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from workbench.evaluation.cache_thresholds import CacheTuning

__all__ = ["ThresholdBoard", "threshold_view"]

_SIDE = 5  # pairs on each side of the border
_MEASURES = (("false_hit_rate", "false-hit rate"), ("precision", "precision"), ("hit_rate", "hit rate"))


def threshold_view(tuning: CacheTuning) -> Explorer:
    """The figure with a slider for the threshold; numbers, false hits and the border's pairs follow it. All that is judged was
    judged before: a move only counts."""
    slider = ipywidgets.SelectionSlider(
        options=[(tuning.written(threshold), threshold) for threshold in tuning.thresholds], value=tuning.shown,
        description="threshold", continuous_update=False, layout={"width": "auto"},
    )  # fmt: skip

    def make(values: dict[str, Any]) -> ThresholdBoard:
        return ThresholdBoard(tuning, values["threshold"])

    return Explorer("What each threshold would do", {"threshold": slider}, make, wait=0.05, fold=False)


@dataclass(frozen=True)
class ThresholdBoard:
    """What one threshold does: the curves with its mark, whether it keeps the budget, its rates with intervals, what it serves
    wrongly, and the pairs next to it."""

    tuning: CacheTuning
    threshold: float

    @cached_property
    def figures(self) -> tuple[go.Figure, ...]:
        """The curves."""
        return (tuning_figure(self.tuning, self.threshold),)

    @property
    def sentence(self) -> str:
        """Whether it keeps the budget, and how many pairs are served."""
        tuning, point = self.tuning, self.tuning.at(self.threshold)
        rate, budget = point.false_hit_rate, f"the budget of {100 * tuning.budget:.4g}%"
        kept = (
            f"keeps {budget}" if rate.high <= tuning.budget
            else f"may keep {budget}, which these pairs cannot prove" if rate.estimate <= tuning.budget
            else f"does not keep {budget}"
        )  # fmt: skip
        counts = f"{point.served:,} of {point.asked:,} pairs are served, {point.wrong:,} of them wrongly"
        unlabelled = f", {point.unlabelled:,} unlabelled" if point.unlabelled else ""
        return f"{tuning.written(self.threshold)} {kept}: {counts}{unlabelled}."

    def numbers(self) -> pd.DataFrame:
        """The rates with their intervals, every cell a text."""
        import pandas as pd

        point = self.tuning.at(self.threshold)
        found = ((title, getattr(point, name)) for name, title in _MEASURES)
        return pd.DataFrame([
            {"": title, "share": format_share(i.estimate), "from": format_share(i.low), "to": format_share(i.high)}
            for title, i in found if i is not None
        ])  # fmt: skip

    def _repr_html_(self) -> str:
        tuning, at = self.tuning, self.tuning.written(self.threshold)
        numbers = to_html(self.numbers(), caption=f"At {at}, with {tuning.level:.0%} intervals")
        border = tuning.border(self.threshold, _SIDE)
        near = to_html(border, caption=f"The pairs next to {at}") if len(border) else ""
        return (
            f"<p><strong>{html_text(self.sentence)}</strong></p>{numbers}{near}{tuning.false_hits_html(self.threshold)}"
        )

    def _ipython_display_(self) -> None:
        show_drawn(self.figures, self._repr_html_(), fold=False)

    def __str__(self) -> str:
        return f"{self.sentence}\n{to_text(self.numbers())}"

    __repr__ = __str__
