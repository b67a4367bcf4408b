"""Dashboards with filters and the threshold's slider, without a browser."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import ipywidgets
import pytest

from workbench.boards import Board, Boards
from workbench.cache.pairs import Pair
from workbench.calls import CallLog
from workbench.errors import InputError
from workbench.evaluation.cache_thresholds import CacheTuning
from workbench.pricing import Prices
from workbench.records import Call
from workbench.widgets import show
from workbench.widgets.board_explorer import BOARDS
from workbench.widgets.explorer import Explorer

Opened = Callable[[Callable[[], Any]], AbstractContextManager[Any]]
Until = Callable[..., Any]
NOON = 1_761_000_000.0
MANY = tuple(Pair(f"right {at}", "r", True, 0.95, "words: x" if at % 4 == 0 else None) for at in range(400))
TUNING = CacheTuning(MANY + tuple(Pair(f"<b>trap {at}</b>", "t", False, 0.8) for at in range(20)))


@pytest.fixture
def boards(tmp_path: Path) -> Boards:
    """Of a log of 12 calls of two models and tenants."""
    log = CallLog(tmp_path / "calls", tmp_path / "runs")
    for at in range(12):
        log.append(
            Call(
                call_id=f"{at:016x}-1-1", ended_at=NOON - 60 * at, model=f"vllm/m{at % 2}", kind="chat", latency=1.0, cost=0.01,
                spent=0.01, prompt_tokens=10, completion_tokens=5, tenant="<b>acme</b>" if at < 3 else "other", feature="f",
            )
        )  # fmt: skip
    return Boards(log, prices=Prices, clock=lambda: NOON)


def explorer(view: object) -> Explorer:
    """The view, which is none of another kind."""
    assert isinstance(view, Explorer)
    return view


def text_of(view: Explorer) -> str:
    """What stands under the figures."""
    return str(view.children[3].value)


def test_a_board_follows_its_filters(
    boards: Boards, monkeypatch: pytest.MonkeyPatch, opened: Opened, until: Until
) -> None:
    """Figure and table are drawn anew; the choices are those of the log; names are text; the bundle has widget and table."""
    monkeypatch.delenv("WORKBENCH_STATIC")
    with opened(lambda: explorer(show(boards))) as view:
        assert "What was spent" in text_of(view)
        assert "vllm/m1" in json.dumps(view.children[2].outputs)
        until(lambda: view.controls["tenant"].options == ("other", "<b>acme</b>"))
        view.controls["by"].value = ("tenant",)
        until(lambda: "&lt;b&gt;acme" in text_of(view))
        assert "<b>acme" not in text_of(view)
        view.controls["tenant"].value = "other"
        until(lambda: "acme" not in text_of(view))
        assert 9 == int(view.board.frame["calls"].sum())  # type: ignore[union-attr]
        bundle = view._repr_mimebundle_()
        assert {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"} <= set(bundle)
        assert "What was spent" in bundle["text/html"]
        assert "<svg" in bundle["text/html"]
        assert "9 calls" in bundle["text/html"]


def test_quick_changes_are_one_drawing_and_a_fault_is_said(
    boards: Boards, monkeypatch: pytest.MonkeyPatch, opened: Opened, until: Until
) -> None:
    """Of the last of them, in a thread; after a fault it goes on."""
    monkeypatch.delenv("WORKBENCH_STATIC")
    drawn: list[str] = []

    def cost(days: float, **only: Any) -> Board:
        assert threading.current_thread() is not threading.main_thread()
        drawn.append(str(days))
        if days == 13:
            raise InputError("<i>13</i> days")
        return Boards.cost(boards, days, **only)

    monkeypatch.setattr(boards, "cost", cost)
    with opened(lambda: explorer(boards.explore("cost", 7))) as view:
        for days in range(20, 30):
            view.controls["days"].value = days
        until(lambda: len(drawn) > 1)
        view.controls["days"].value = 13
        until(lambda: "&lt;i&gt;13&lt;/i&gt; days" in view.children[1].value)
        assert ("7.0", "29.0", "13.0") == (drawn[0], drawn[-2], drawn[-1])
        assert len(drawn) < 8  # of 12; three on a quiet machine
        view.controls["days"].value = 5
        until(lambda: drawn[-1] == "5.0" and view.children[1].value == "")


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_every_board_takes_what_its_filters_say(
    boards: Boards, name: str, monkeypatch: pytest.MonkeyPatch, opened: Opened, until: Until
) -> None:
    """All of them set; under WORKBENCH_STATIC it is the board itself."""
    filters: dict[str, Any] = {"by": ["model"], "every": "hour", "model": "vllm/m1", "tenant": "other"}
    assert isinstance(boards.explore(name, 3, **filters), Board)
    monkeypatch.delenv("WORKBENCH_STATIC")
    with opened(lambda: explorer(boards.explore(name, 3, **filters))) as view:
        until(lambda: view.board is not None)
        assert view.children[1].value == ""
        assert ("by" in BOARDS[name]) != view.controls["by"].disabled


def test_what_cannot_be_explored_is_named(boards: Boards) -> None:
    """With the nearest."""
    with pytest.raises(InputError, match=r"no board 'costs'. Did you mean 'cost'"):
        boards.explore("costs")
    with pytest.raises(InputError, match=r"no filter 'modle'. Did you mean 'model'"):
        boards.explore(modle="x")


def test_the_slider_moves_figure_numbers_false_hits_and_border(
    monkeypatch: pytest.MonkeyPatch, opened: Opened, until: Until
) -> None:
    """It begins at the proposal; moved to 0.80, all follow, and a question is never markup."""
    assert "0.81 keeps the budget" in show(TUNING)._repr_html_()  # type: ignore[attr-defined]
    monkeypatch.delenv("WORKBENCH_STATIC")
    with opened(lambda: explorer(show(TUNING))) as view:
        slider = view.controls["threshold"]
        assert isinstance(slider, ipywidgets.SelectionSlider)
        assert 0.81 == slider.value
        assert "0.81 keeps the budget of 1%: 300 of 420 pairs are served, 0 of them wrongly." in text_of(view)
        assert "Served wrongly at 0.81: none of these pairs." in text_of(view)
        assert "The pairs next to 0.81" in text_of(view)
        assert "proposed: 0.81" in json.dumps(view.children[2].outputs)
        slider.value = 0.75
        until(lambda: "0.75 does not keep the budget of 1%: 320 of 420 pairs are served, 20 of them" in text_of(view))
        for shown in ("4.76%", "76%", "93.8%", "&lt;b&gt;trap 19&lt;/b&gt;"):
            assert shown in text_of(view)
        assert "<b>trap" not in text_of(view)
        until(lambda: "0.75</b>" in json.dumps(view.children[2].outputs))


def test_the_border_has_both_sides() -> None:
    """What is served at the threshold, what the guard stops there, and what lies below."""
    found = TUNING.border(0.9, 2)
    assert ["served", "served", "not served", "not served"] == list(found["what happens"])
    assert ["yes", "yes", "no", "no"] == list(found["same"])
    assert "vetoed" in set(TUNING.border(0.9, 400)["what happens"])
    assert 2 == len(TUNING.border(1.0, 2))


def test_the_slider_shows_what_is_known_where_nothing_is_served(
    monkeypatch: pytest.MonkeyPatch, opened: Opened, until: Until
) -> None:
    """No precision at 1.00; what pairs cannot prove is said."""
    monkeypatch.delenv("WORKBENCH_STATIC")
    with opened(lambda: explorer(show(CacheTuning(MANY[:50], thresholds=(0.9, 1.0))))) as view:
        assert "0.90 may keep the budget of 1%, which these pairs cannot prove: 37 of 50" in text_of(view)
        view.controls["threshold"].value = 1.0
        until(lambda: "precision" not in text_of(view))


def test_prices_are_tried_by_hand(
    boards: Boards, monkeypatch: pytest.MonkeyPatch, opened: Opened, until: Until
) -> None:
    """A price of one's own, a GPU's by the slider; half a price or no number is said."""
    assert isinstance(boards.explore("what_if", 3, gpu_usd_per_hour=2.0), Board)
    monkeypatch.delenv("WORKBENCH_STATIC")
    with opened(lambda: explorer(boards.explore("what_if", 3, gpu_usd_per_hour=2.0))) as view:
        assert 200 == view.board.numbers["what_if.break_even_logged"]  # type: ignore[union-attr]
        view.controls["gpu_usd_per_hour"].value = 4.0
        until(lambda: view.board.numbers["what_if.break_even_logged"] == 400)  # type: ignore[union-attr]
        view.controls["input_price"].value = "100"
        until(lambda: "needs both" in view.children[1].value)
        view.controls["output_price"].value = "<b>"
        until(lambda: "&lt;b&gt;" in view.children[1].value)
        view.controls["output_price"].value = "200"
        until(lambda: "at the price of yours" in text_of(view) and view.children[1].value == "")
        until(lambda: view.controls["against"].options == ("vllm/m0", "vllm/m1"))
    with pytest.raises(InputError, match=r"no filter 'gpu'. Did you mean 'gpu_usd_per_hour'|no filter 'gpu'"):
        boards.explore("what_if", gpu=1)
