"""What a dashboard is: a frame, its figures and a table of texts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workbench import tables

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

__all__ = ["Board", "as_output", "show_drawn", "under"]

CONFIG = {"typesetMath": False}  # plotly.js: else "$2 of $5" is a formula as soon as JupyterLab has loaded MathJax
_MOST_ROWS = 60


@dataclass(frozen=True)
class Board:
    """frame: the numbers. table: as people read them, every cell a text. figures: plotly's. numbers: the few that a report
    publishes: `publish(board.numbers)`. keys: what the table's cells are sorted by, if it can be sorted where it is shown. empty:
    what is said after the title where the table has no row."""

    title: str
    frame: pd.DataFrame
    table: pd.DataFrame
    figures: tuple[go.Figure, ...] = ()
    numbers: Mapping[str, float | None] = field(default_factory=dict)
    keys: pd.DataFrame | None = None
    empty: str = "nothing in this time."

    @property
    def figure(self) -> go.Figure:
        """The first figure."""
        return self.figures[0]

    def to_markdown(self) -> str:
        """The table as Markdown."""
        return tables.to_markdown(self.table)

    def __str__(self) -> str:
        return f"{self.title}\n{tables.to_text(self.table)}" if len(self.table) else f"{self.title}: {self.empty}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        shown = self.table.head(_MOST_ROWS)
        more = len(self.table) - len(shown)
        left = f"<p>and {more:,} rows more: see .table</p>" if more else ""
        if not len(shown):
            return f"<p>{tables.html_text(f'{self.title}: {self.empty}')}</p>"
        keys = None if self.keys is None else self.keys.head(_MOST_ROWS)
        return tables.to_html(shown, caption=self.title, keys=keys) + left

    def _ipython_display_(self) -> None:
        show_drawn(self.figures, self._repr_html_(), fold=True)


def show_drawn(figures: Sequence[go.Figure], text: str, *, fold: bool) -> None:
    """Figures and the HTML under them as outputs of a cell. fold: the HTML is folded away, if there is a figure."""
    from IPython.display import HTML, display

    for figure in figures:
        figure.show(config=CONFIG)
    display(HTML(under(figures, text, fold=fold)))  # type: ignore[no-untyped-call]


def under(figures: Sequence[go.Figure], text: str, *, fold: bool) -> str:
    """The HTML under figures."""
    return f"<details><summary>The same as a table</summary>{text}</details>" if fold and figures else text


def as_output(figure: go.Figure) -> dict[str, Any]:
    """A figure as an output of a cell, which an Output widget shows: `output.outputs = (as_output(figure),)`, from any thread."""
    data = {"application/vnd.plotly.v1+json": json.loads(figure.to_json()) | {"config": CONFIG}}
    return {"output_type": "display_data", "data": data, "metadata": {}}
