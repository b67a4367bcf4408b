"""A board with its filters beside it: changed by hand, drawn anew in a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import ipywidgets

from workbench.dashboards.board import as_output, under
from workbench.dashboards.still import still
from workbench.tables import html_text
from workbench.widgets.view import in_place_of_older, is_static, one_line
from workbench.widgets.worker import Worker

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["Drawn", "Explorer", "combobox"]

_COLUMNS = "repeat(auto-fit, minmax(min(280px, 100%), 1fr))"
_FIRST = 5.0  # seconds that a cell waits for the first drawing


class Drawn(Protocol):
    """What an explorer shows, such as a dashboard's board."""

    @property
    def figures(self) -> tuple[go.Figure, ...]:
        """Drawn above the rest."""

    def _repr_html_(self) -> str: ...


class Explorer(ipywidgets.VBox):  # type: ignore[misc]
    """Controls, and what `make` draws of their values. Changes that come while it draws are one drawing, of the last of them.

    controls: by name. make: from their values; runs in a thread, as does `ask`, which may give the controls their choices, once.
    wait: seconds in which another change may come before anything is asked. fold: what stands under the figures is folded away.
    """

    def __init__(
        self,
        title: str,
        controls: Mapping[str, Any],
        make: Callable[[dict[str, Any]], Drawn],
        *,
        ask: Callable[[], None] | None = None,
        wait: float = 0.25,
        fold: bool = True,
    ) -> None:
        self.board: Drawn | None = None
        """What is shown."""
        self.controls = dict(controls)
        self._title, self._make, self._wait, self._fold = title, make, wait, fold
        self._drawn, self._told = ipywidgets.Output(), ipywidgets.HTML()
        self._status = ipywidgets.HTML(layout={"min_height": "24px"})
        row = ipywidgets.GridBox([*self.controls.values()], layout={"grid_template_columns": _COLUMNS})
        super().__init__([row, self._status, self._drawn, self._told], layout={"width": "100%"})
        self._first = threading.Event()
        self._worker = Worker("workbench-explorer", self._failed)
        in_place_of_older(self, title)
        for control in self.controls.values():
            control.observe(self._changed, names="value")
        self._worker.do(lambda: self._begin(ask))
        self._first.wait(_FIRST)

    def end(self) -> None:
        """Draw no more; the thread ends after what it does now. What is shown stays."""
        self._worker.end()

    def _begin(self, ask: Callable[[], None] | None) -> None:
        try:
            self._draw()
        finally:
            if ask is not None:
                ask()

    def _changed(self, _: object) -> None:
        self._status.value = '<span role="status">drawing …</span>'
        self._worker.do(self._draw, after=self._wait, instead=True)

    def _draw(self) -> None:
        board = self._make({name: control.value for name, control in self.controls.items()})
        self.board = board
        # the page keeps its height while it draws
        self._drawn.layout.min_height = f"{sum(figure.layout.height or 450 for figure in board.figures)}px"
        self._drawn.outputs = tuple(map(as_output, board.figures))
        self._told.value = under(board.figures, board._repr_html_(), fold=self._fold)
        self._status.value = ""
        self._first.set()

    def _failed(self, problem: Exception) -> None:
        before = " Below is what was drawn before." if self.board is not None else ""
        self._status.value = f'<span role="alert">{html_text(one_line(problem) + before)}</span>'
        self._first.set()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """The widget and, for readers that draw none, figures as pictures and the table in one bundle."""
        board = self.board
        texts = {
            "text/html": f"<p>{html_text(self._title)}</p>" if board is None else _still_of(board),
            "text/plain": self._title if board is None else str(board),
        }
        return texts if is_static() else dict(super()._repr_mimebundle_(**kwargs)) | texts

    def __repr__(self) -> str:
        return self._title if self.board is None else str(self.board)


def _still_of(board: Drawn) -> str:
    return "".join(map(still, board.figures)) + board._repr_html_()


def combobox(name: str, value: str = "", *, empty: str = "all") -> ipywidgets.Combobox:
    """A field for a text, with choices that may be given later: `field.options = (…)`. empty: what nothing means."""
    return ipywidgets.Combobox(
        value=value,
        description=name,
        placeholder=empty,
        options=(),
        continuous_update=False,
        layout={"width": "auto"},
    )
