"""What calls would have cost with another model's price, and on a GPU by the hour."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workbench.dashboards.board import Board
from workbench.dashboards.drawing import FAINT, GREY, blank, safe, sentence, style
from workbench.frames.gpu import break_even, gpu_frame
from workbench.frames.what_if import busiest_hour, what_if_frame
from workbench.tables import NOTHING, format_money, format_number

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from workbench.frames import Log, Window
    from workbench.pricing import Price
    from workbench.records import Usage

__all__ = ["Rates", "what_if", "what_if_board", "what_if_figure"]

_PLOT = 300  # pixels


@dataclass(frozen=True)
class Rates:
    """hours: of the window. hourly, busiest: calls an hour, on average and at most. logged, other: dollars a call, NaN unknown.
    gpu: dollars an hour, None for no GPU. name: whose price `other` is."""

    hours: float
    hourly: float
    busiest: int
    logged: float
    other: float
    gpu: float | None
    name: str

    def even(self, per_call: float) -> float:
        """From how many calls an hour the GPU is cheaper than this price a call; NaN if unknown."""
        return math.nan if self.gpu is None or math.isnan(per_call) else break_even(self.gpu, per_call)


def what_if(
    log: Log,
    window: Window,
    price: Callable[[Usage], float | None] | None,
    name: str,
    gpu: float | None,
    gpus: Mapping[str, Price],
) -> Board:
    """price: dollars of a call, and the `name` of whose price it is. gpu: dollars an hour. gpus: the endpoints that run on own
    GPUs, which are reckoned at `gpu`, whatever their price is."""
    found, hours = what_if_frame(log, window, price), (window.until - window.since) / 3600
    spent, priced, calls = (float(found[column].sum()) for column in ("spent", "priced", "calls"))
    counted = found.dropna(subset=["other"])
    with_other = float(counted["counted"].sum())
    rates = Rates(
        hours, calls / hours, busiest_hour(log, window) if calls else 0, spent / priced if priced else math.nan,
        float(counted["other"].sum()) / with_other if with_other else math.nan, gpu, name,
    )  # fmt: skip
    busy = None
    if gpu is not None and gpus and window.model is None and window.tenant is None and window.feature is None:
        at_this = {endpoint: replace(own, gpu_usd_per_hour=gpu) for endpoint, own in gpus.items()}
        own_gpus = gpu_frame(log, window, at_this)
        busy = float(own_gpus["active_usd"].sum()) if len(own_gpus) else None
    return what_if_board(found, rates, busy)


def what_if_board(found: pd.DataFrame, rates: Rates, busy_usd: float | None = None) -> Board:
    """found: a `what_if_frame`. busy_usd: what the own GPUs cost at this price while they were busy, if there are any."""
    import pandas as pd

    rows: list[dict[str, str]] = []
    for row in found.to_dict("records"):
        model, calls, spent = str(row["model"]), int(row["calls"]), float(row["spent"])
        rows.append(_row(f"{model}, as logged", calls, int(row["priced"]), spent))
        if rates.name:
            told = _row(f"{model}, at the price of {rates.name}", calls, int(row["counted"]), float(row["other"]))
            rows.append(told | {"against what was paid": _signed(float(row["difference"]))})
    calls, whole = int(found["calls"].sum()), bool((found["priced"] == found["calls"]).all())
    if rates.gpu is not None and calls:
        total, spent = rates.gpu * rates.hours, float(found["spent"].sum()) if whole else math.nan
        for label, dollars in (("the whole time", total), ("own GPUs, while busy", busy_usd)):
            if dollars is not None:
                what = f"GPU at {format_money(rates.gpu)} an hour, {label} ({format_number(rates.hours, 0)} h)"
                if dollars is busy_usd:
                    what = f"{label}, at {format_money(rates.gpu)} an hour"
                rows.append(_row(what, calls, calls, dollars) | {"against what was paid": _signed(dollars - spent)})
    numbers = {
        "what_if.logged_usd": float(found["spent"].sum()) if len(found) else None,
        "what_if.other_usd": _known(float(found["other"].sum(skipna=False))) if len(found) else None,
        "what_if.break_even_logged": _known(rates.even(rates.logged)),
        "what_if.break_even_other": _known(rates.even(rates.other)),
    }
    table = pd.DataFrame(rows, columns=["what", "calls", "dollars", "a call", "against what was paid"])
    return Board("What it would have cost", found, table, (what_if_figure(rates),), numbers)


def _row(what: str, calls: int, known: int, dollars: float) -> dict[str, str]:
    """known: for how many of the calls the dollars are."""
    unknown = not known or math.isnan(dollars)
    part = f" (for {known:,} of the calls)" if known < calls and not unknown else ""
    return {
        "what": what, "calls": f"{calls:,}", "dollars": "unknown" if unknown else format_money(dollars) + part,
        "a call": "unknown" if unknown else format_money(dollars / known), "against what was paid": NOTHING,
    }  # fmt: skip


def what_if_figure(rates: Rates) -> go.Figure:
    """Dollars an hour against calls an hour: prices a call rise from 0, a GPU is level, and they cross at break-even.
    Vertical: how many calls there were."""
    import plotly.graph_objects as go

    if not rates.hourly:
        return sentence("No call of these filters has been answered by a model in this time.")
    figure = blank("A price a call against a price an hour", said(rates), plot=_PLOT, below=86, letters=70)
    sloped = [(label, per) for label, per in (("as logged", rates.logged), (rates.name, rates.other)) if label]
    known = [(label, per) for label, per in sloped if not math.isnan(per)]
    crossings = [at for _, per in known if not math.isnan(at := rates.even(per)) and not math.isinf(at)]
    most = 1.25 * max([rates.hourly, float(rates.busiest), *(at for at in crossings if at < 50 * rates.hourly)])
    for at, (label, per) in enumerate(known):
        colour, symbol = style(at)
        text = safe(f"{label}: {format_money(per)} a call", 120)
        line = go.Scatter(
            x=[0, most], y=[0, most * per], mode="lines+markers", name=safe(label, 60), line={"color": colour, "width": 2},
            marker={"color": colour, "symbol": symbol, "size": 7}, text=[text, text], hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
        figure.add_trace(line)
    if rates.gpu is not None:
        colour, symbol = style(2)
        level = go.Scatter(
            x=[0, most], y=[rates.gpu, rates.gpu], mode="lines+markers", name="GPU, the whole time",
            line={"color": colour, "width": 2, "dash": "dash"}, marker={"color": colour, "symbol": symbol, "size": 7},
        )  # fmt: skip
        figure.add_trace(level)
    for at, word in ((rates.hourly, "on average"), (float(rates.busiest), "busiest hour")):
        figure.add_shape(
            type="line", x0=at, x1=at, y0=0, y1=1, yref="paper", line={"color": GREY, "width": 1, "dash": "dot"}
        )
        figure.add_annotation(
            x=at, y=1, yref="paper", text=word, showarrow=False, textangle=-90, xanchor="right", yanchor="top"
        )
    look = {"gridcolor": FAINT, "zeroline": False, "linecolor": FAINT, "automargin": True, "rangemode": "tozero"}
    figure.update_layout(
        showlegend=True, xaxis=look | {"title": _axis("calls an hour"), "range": [0, most]},
        yaxis=look | {"title": _axis("US dollars an hour"), "tickprefix": "$"},
    )  # fmt: skip
    return figure


def _axis(title: str) -> dict[str, object]:
    return {"text": title, "standoff": 8, "font": {"size": 13}}


def said(rates: Rates) -> str:
    """In words: how many calls there were, and from how many on a GPU is cheaper."""
    parts = [f"{format_number(rates.hourly, 1)} calls an hour on average, {rates.busiest:,} in the busiest."]
    if rates.gpu is None:
        return parts[0]
    for label, per in (("what was paid", rates.logged), (rates.name, rates.other)):
        if not label:
            continue
        at = rates.even(per)
        if math.isnan(at):
            parts.append(f"The price a call of {label} is unknown, and so is its break-even.")
        elif math.isinf(at):
            parts.append(f"A GPU is never cheaper than {label}, which costs nothing a call.")
        else:
            parts.append(
                f"A GPU at {format_money(rates.gpu)} an hour is cheaper than {label} from {format_number(at, 0)} calls an hour."
            )
    return " ".join(parts)


def _signed(dollars: float) -> str:
    if math.isnan(dollars):
        return "unknown"
    return f"{'+' if dollars > 0 else ''}{format_money(dollars)}"


def _known(value: float) -> float | None:
    return None if math.isnan(value) or math.isinf(value) else value
