"""The dashboards with filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, get_args

import ipywidgets

from workbench.dashboards.board import Board
from workbench.errors import InputError, did_you_mean
from workbench.frames.window import GROUPS, Every
from workbench.widgets.explorer import Explorer, combobox
from workbench.widgets.view import is_static

__all__ = ["BOARDS", "explore"]

_ONLY = ("model", "tenant", "feature")
_TAKEN = ("source", "by", "every", *_ONLY)
_SOURCES = {"log": "the local log", "langfuse": "Langfuse"}
BOARDS: Final[Mapping[str, tuple[str, ...]]] = {
    "cost": _TAKEN, "latency": _TAKEN, "quality": _TAKEN, "errors": _TAKEN, "cache": ("by", "every", *_ONLY),
    "versions": ("source", *_ONLY), "gpu": (),
}  # fmt: skip
"""The boards, and the filters that each takes beside days."""


class _Boards(Protocol):
    """Where boards come from: one method for each of `BOARDS`."""

    @property
    def sources(self) -> Sequence[str]:
        """Where numbers can come from: "log", and "langfuse" where that is set up."""

    def values(self, days: float) -> dict[str, list[str]]:
        """What models, tenants and features there are."""

    def what_if(self, days: float, **asked: Any) -> Board:
        """What calls would have cost."""


def explore(boards: _Boards, board: str, days: float, filters: Mapping[str, Any]) -> Explorer | Board:
    """See `Boards.explore`. InputError for a board or a filter that there is not."""
    if board == "what_if":
        return explore_what_if(boards, days, filters)
    _check(board, filters)
    if is_static():
        return _make(boards, {"board": board, "days": days, **filters})
    by, wide = filters.get("by", ()), {"width": "auto"}
    source = filters.get("source", "log")
    if source not in _SOURCES:
        raise InputError(f'source = {source!r} must be "log" or "langfuse".')
    offered = [name for name in _SOURCES if name in boards.sources or name == source]
    choice = {
        "source": ipywidgets.Dropdown(
            options=[(_SOURCES[name], name) for name in offered], value=source, description="source", layout=wide
        )
    }
    controls = {
        "board": ipywidgets.Dropdown(options=list(BOARDS), value=board, description="board", layout=wide),
        "days": ipywidgets.BoundedFloatText(value=days, min=0.01, max=3660, description="days", layout=wide),
        "every": ipywidgets.Dropdown(
            options=get_args(Every), value=filters.get("every", "day"), description="every", layout=wide
        ),
        "by": ipywidgets.SelectMultiple(
            options=GROUPS, value=(by,) if isinstance(by, str) else tuple(by), rows=4, description="group by",
            tooltip="none: as the board does by itself", layout=wide,
        ),
        **{name: combobox(name, filters.get(name) or "") for name in _ONLY},
        **(choice if len(offered) > 1 else {}),
    }  # fmt: skip

    def ask() -> None:
        for name, found in boards.values(controls["days"].value).items():
            controls[name].options = tuple(found)

    def make(values: dict[str, Any]) -> Board:
        taken = BOARDS[values["board"]]
        for name in _TAKEN:
            if name in controls:
                controls[name].disabled = name not in taken
        return _make(boards, values)

    return Explorer("Dashboards", controls, make, ask=ask)


def explore_what_if(boards: _Boards, days: float, filters: Mapping[str, Any]) -> Explorer | Board:
    """What the calls would have cost: with the price of another model or of one's own, and on a GPU by the hour."""
    if is_static():
        return boards.what_if(days, **filters)
    _check("what_if", filters, ("against", "input_price", "output_price", "gpu_usd_per_hour", *_ONLY))
    wide = {"width": "auto"}
    controls = {
        "against": combobox("price of", filters.get("against") or "", empty="a model, such as openai/gpt-4o-mini"),
        "input_price": combobox("$/M input", _text(filters.get("input_price")), empty="the model's own"),
        "output_price": combobox("$/M output", _text(filters.get("output_price")), empty="the model's own"),
        "gpu_usd_per_hour": ipywidgets.FloatSlider(
            value=filters.get("gpu_usd_per_hour") or 0.0, min=0.0, max=20.0, step=0.05, readout_format=".2f",
            description="GPU, $/hour", continuous_update=False, layout=wide,
        ),
        "days": ipywidgets.BoundedFloatText(value=days, min=0.01, max=3660, description="days", layout=wide),
        **{name: combobox(name, filters.get(name) or "") for name in _ONLY},
    }  # fmt: skip

    def ask() -> None:
        found = boards.values(controls["days"].value)
        for name, values in found.items():
            controls[name].options = tuple(values)
        controls["against"].options = tuple(found["model"])

    def make(values: dict[str, Any]) -> Board:
        numbers = {name: _dollars(name, values[name]) for name in ("input_price", "output_price")}
        if (numbers["input_price"] is None) != (numbers["output_price"] is None):
            raise InputError("a price of your own needs both $/M input and $/M output.")
        gpu = values["gpu_usd_per_hour"] or None
        return boards.what_if(
            **{name: value for name, value in values.items() if value} | numbers | {"gpu_usd_per_hour": gpu}
        )

    return Explorer("What it would have cost", controls, make, ask=ask, fold=False)


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _dollars(name: str, text: str) -> float | None:
    """What was typed as a price; None for nothing."""
    if not text.strip():
        return None
    try:
        value = float(text.strip().removeprefix("$"))
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise InputError(f"{name} = {text!r} must be dollars per million tokens, 0 or above, such as 0.15.")
    return value


def _make(boards: _Boards, values: Mapping[str, Any]) -> Board:
    """The board that these values ask for; what it does not take is left out, and so is what is empty."""
    taken = {name: values[name] for name in BOARDS[values["board"]] if values.get(name)}
    made: Board = getattr(boards, values["board"])(values["days"], **taken)
    return made


def _check(board: str, filters: Mapping[str, Any], names: Sequence[str] = _TAKEN) -> None:
    """InputError for a board or a filter that there is not."""
    for what, name, known in [("board", board, [*BOARDS, "what_if"]), *(("filter", name, names) for name in filters)]:
        if name not in known:
            meant = did_you_mean(name, known)
            raise InputError(f"there is no {what} {name!r}.{meant} There are: {', '.join(known)}.")
