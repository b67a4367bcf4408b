"""What logged calls would have cost at another price: known rows, unknown prices, prices by length, break-even."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from workbench.boards import Boards
from workbench.calls import CallLog
from workbench.dashboards import what_if_figure
from workbench.dashboards.what_if import Rates
from workbench.frames import Window, what_if_frame
from workbench.pricing import Price, Prices
from workbench.records import Call, Usage

NOON = 1_761_000_000.0
WINDOW = Window(NOON - 36_000, NOON)  # ten hours
CHEAP = Price(1.0, 0.5, 4.0)


@pytest.fixture
def log(tmp_path: Path) -> CallLog:
    """20 calls of openai/big at 1 cent each, with 1,000 prompt tokens, of which 400 cached, and 100 others."""
    made = CallLog(tmp_path / "calls", tmp_path / "runs")
    for at in range(20):
        add(made, at)
    return made


def add(log: CallLog, at: int, **fields: Any) -> None:
    known: dict[str, Any] = {
        "model": "openai/big", "kind": "chat", "latency": 60.0, "cost": 0.01, "spent": 0.01, "prompt_tokens": 1000,
        "cached_tokens": 400, "completion_tokens": 100,
    }  # fmt: skip
    log.append(Call(call_id=f"{at:016x}-1-1", ended_at=NOON - 600 - 1700 * (at % 20), **(known | fields)))


def boards(log: CallLog, prices: Prices | None = None) -> Boards:
    def price(model: str, usage: Usage) -> float | None:
        return CHEAP.cost(usage) if model == "openai/cheap" else None

    return Boards(log, prices=lambda: prices or Prices(), price=price, clock=lambda: NOON)


def test_the_same_tokens_at_another_price(log: CallLog) -> None:
    """Cached ones at theirs; hits of caches, failures and embeddings are none of these calls."""
    add(log, 20, source="exact", spent=0.0)
    add(log, 21, error="RateLimitError", cost=None, spent=None)
    add(log, 22, kind="embedding")
    (row,) = what_if_frame(log, WINDOW, CHEAP.cost).to_dict("records")
    assert ("openai/big", 20, 20, 20) == (row["model"], row["calls"], row["priced"], row["counted"])
    assert pytest.approx(20 * (600 * 1.0 + 400 * 0.5 + 100 * 4.0) / 1e6) == row["other"]
    assert pytest.approx(0.2) == row["spent"]
    assert pytest.approx(row["other"] - 0.2) == row["difference"]


def test_what_is_unknown_stays_unknown(log: CallLog) -> None:
    """Calls without counts or price are in no sum, and no difference is told where one lacks calls."""
    add(log, 20, prompt_tokens=None, completion_tokens=None)
    add(log, 21, cost=None, spent=None, model="vllm/own")
    big, own = what_if_frame(log, WINDOW, CHEAP.cost).to_dict("records")
    assert (21, 20) == (big["calls"], big["counted"])
    assert pytest.approx(20 * 0.0012) == big["other"]
    assert math.isnan(big["difference"])
    assert (1, 0) == (own["calls"], own["priced"])
    assert math.isnan(own["difference"])
    assert what_if_frame(log, WINDOW, lambda usage: None)["other"].isna().all()
    table = boards(log).what_if(1, against="openai/nobody").table
    assert ["unknown", "unknown"] == list(table[table["what"].str.contains("nobody")]["dollars"])
    assert ["$0.21", "unknown"] == list(table[table["what"].str.endswith("as logged")]["dollars"])


def test_long_prompts_have_another_price_where_the_model_has_one(log: CallLog) -> None:
    """Each call by its own length: a price of the sum would take them all for one long prompt."""
    add(log, 20, prompt_tokens=300_000, cached_tokens=0, completion_tokens=0)

    def tiered(usage: Usage) -> float | None:
        rate = 2e-6 if (usage.prompt_tokens or 0) > 200_000 else 1e-6
        return rate * ((usage.prompt_tokens or 0) + (usage.completion_tokens or 0))

    (row,) = what_if_frame(log, WINDOW, tiered).to_dict("records")
    assert pytest.approx(20 * 1100e-6 + 300_000 * 2e-6) == row["other"]


def test_the_gpu_s_break_even_is_held_against_the_calls_there_were(log: CallLog) -> None:
    """The whole time at its price; own GPUs also for the time that they were busy."""
    prices = Prices({"openai/*": Price(gpu_usd_per_hour=9.0)})
    board = boards(log, prices).what_if(10 / 24, against="openai/cheap", gpu_usd_per_hour=1.2)
    assert pytest.approx(120) == board.numbers["what_if.break_even_logged"]
    assert pytest.approx(1000) == board.numbers["what_if.break_even_other"]
    rows = board.table.set_index("what")
    assert ("$12.00", "+$11.80") == (
        rows.loc["GPU at $1.20 an hour, the whole time (10 h)", "dollars"],
        rows.loc["GPU at $1.20 an hour, the whole time (10 h)", "against what was paid"],
    )
    assert "$0.40" in rows.loc["own GPUs, while busy, at $1.20 an hour", "dollars"]  # 20 minutes
    said = board.figure.layout.title.subtitle.text.replace("<br>", " ")
    assert "2.0 calls an hour on average" in said
    assert "cheaper than what was paid from 120 calls an hour" in said
    assert "cheaper than openai/cheap from 1,000 calls" in said


def test_a_price_of_one_s_own(log: CallLog) -> None:
    """In place of the model's, whose cached tokens then have no price of their own."""
    board = boards(log).what_if(1, input_price=2.0, output_price=0.0)
    assert pytest.approx(20 * 0.002) == board.numbers["what_if.other_usd"]
    assert "openai/big, at the price of yours" in set(board.table["what"])


@pytest.mark.parametrize("per_call", [math.nan, 0.0, 0.01])
def test_the_figure_of_nothing_and_of_what_costs_nothing(per_call: float, log: CallLog) -> None:
    """No infinity, no nan in what is drawn; a hostile name is text."""
    figure = what_if_figure(Rates(10, 2.0, 3, per_call, per_call, 1.0, "<b>x/%{y}</b>"))
    text = figure.to_json()
    assert not [word for word in ("Infinity", "NaN", "<b>x") if word in text]
    assert "in this time" in what_if_figure(Rates(10, 0.0, 0, math.nan, math.nan, 1.0, "")).to_json()
    board = boards(log).what_if(0.0001, gpu_usd_per_hour=1.0)
    assert not len(board.table)
    assert "nothing in this time" in str(board)
