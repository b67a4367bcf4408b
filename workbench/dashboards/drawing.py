"""What all figures share: colours for light and dark, words where there is nothing to draw, text that is never markup.

The figures have no background of their own and one middle grey for text and lines, so they read in a light and a dark
JupyterLab; the colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), told apart with every kind of
colour vision, and each colour has its own symbol for print in black and white.
"""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError
from workbench.tables import clean_text

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

__all__ = ["COLOURS", "FAINT", "GREY", "SYMBOLS", "blank", "columns_of", "need", "number", "safe", "sentence", "style"]

GREY = "#7d7d7d"
FAINT = "rgba(125,125,125,.28)"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")


def blank(title: str, subtitle: str, *, plot: int, below: int = 50, letters: int = 95) -> go.Figure:
    """A figure without axes or data. plot, below: pixels of what is drawn, and of what is under it. letters: in a line of the
    subtitle; 50 fit on a screen of 400 pixels."""
    import plotly.graph_objects as go

    figure = go.Figure()
    lines = [safe(line, 120) for line in textwrap.wrap(clean_text(subtitle), letters)]
    above = 62 + 16 * len(lines)
    figure.update_layout(
        template="none", paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", font={"color": GREY, "size": 13},
        title={
            "text": safe(title, 120), "x": 0, "xref": "paper", "xanchor": "left", "yref": "container", "y": 1,
            "yanchor": "top", "pad": {"t": 14}, "font": {"size": 16},
            "subtitle": {"text": "<br>".join(lines), "font": {"size": 12, "color": GREY}},
        },
        height=above + plot + below, margin={"l": 20, "r": 20, "t": above, "b": below},
        showlegend=False, legend={"orientation": "h", "x": 0, "xanchor": "left", "y": -0.02, "yref": "container",
                                  "yanchor": "bottom"},
        hoverlabel={"align": "left"}, meta={"theme": "page"},
    )  # fmt: skip
    return figure


def sentence(text: str) -> go.Figure:
    """A figure that says why nothing is drawn."""
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.update_layout(
        template="none", paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", font={"color": GREY, "size": 14},
        xaxis={"visible": False, "range": [0, 1]}, yaxis={"visible": False, "range": [0, 1]}, height=60,
        margin={"l": 10, "r": 10, "t": 10, "b": 10}, meta={"theme": "page"},
        annotations=[{"text": safe(text, 300), "x": 0, "y": 0.5, "xref": "paper", "yref": "paper", "xanchor": "left",
                      "showarrow": False, "align": "left"}],
    )  # fmt: skip
    return figure


def style(at: int) -> tuple[str, str]:
    """Colour and symbol of the series at that place."""
    return COLOURS[at % len(COLOURS)], SYMBOLS[(at + at // len(COLOURS)) % len(SYMBOLS)]


def need(what: str, table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise InputError if a column is missing; `what` is who needs it."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise InputError(
            f"{what} needs the column {', '.join(map(repr, missing))}. This table has: {columns_of(table)}."
        )


def columns_of(table: pd.DataFrame) -> str:
    """The names of its columns, for a message."""
    return ", ".join(str(column) for column in table.columns) or "no columns"


def number(value: Any) -> float:
    """As a float; NaN where there is none."""
    try:
        return math.nan if value is None else float(value)
    except TypeError:
        return math.nan  # pandas' NA


def safe(value: object, limit: int) -> str:
    """Text as it is: plotly would read tags in it."""
    text = clean_text(str(value)).replace("\n", " ")
    return html.escape(text if len(text) <= limit else f"{text[: limit - 1]}…", quote=False)
