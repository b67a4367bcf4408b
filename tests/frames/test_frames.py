"""Frames of a call log whose rows are known, and the figures that draw them, also of nothing."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from workbench import dashboards
from workbench.boards import Boards, sparkline
from workbench.calls import CallLog, CallScore
from workbench.calls.segment import Segment
from workbench.errors import InputError
from workbench.frames import (
    Window,
    break_even,
    cache_frame,
    cost_frame,
    error_frame,
    forecast,
    gpu_frame,
    latency_frame,
    latency_histogram,
    quality_frame,
    version_frame,
)
from workbench.frames.quality import clustered_interval
from workbench.pricing import FittedWeight, Price, Prices
from workbench.records import Call, ServerMetrics, Usage

NOON = datetime(2026, 10, 20, 12, tzinfo=UTC).timestamp()
DAY = 86_400.0


class Rows:
    """A log that is filled row by row."""

    def __init__(self, folder: Path) -> None:
        self.log = CallLog(folder / "calls", folder / "runs")
        self.compared = Segment(folder / "runs" / "digest" / "1", "rows")
        self.count = 0

    def add(self, at: float = NOON, **fields: Any) -> str:
        """A call; one with a run_id is of a comparison, whose rows are in its own folder."""
        self.count += 1
        call_id = f"{self.count:016x}-1-1"
        known: dict[str, Any] = {
            "model": "vllm/m", "kind": "chat", "latency": 1.0, "cost": 0.01, "spent": 0.01, "prompt_tokens": 10,
            "completion_tokens": 5, "prompt_ref": "triage@1", "prompt_digest": "d1",
        }  # fmt: skip
        call = Call(call_id=call_id, ended_at=at, **(known | fields))
        (self.compared if "run_id" in fields else self.log).append(call)
        return call_id


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    return Rows(tmp_path)


WEEK = Window(NOON - 3 * DAY, NOON + 3 * DAY)


def test_cost_adds_up_what_was_spent_and_saved_and_counts_what_has_no_price(rows: Rows) -> None:
    rows.add()
    rows.add(cost=0.03, spent=0.0, source="exact")
    rows.add(cost=None, spent=None, tenant="acme")
    rows.add(NOON + DAY, model="openai/x", cost=0.5, spent=0.5)
    rows.add(error="RateLimitError", cost=None, spent=None)
    found = cost_frame(rows.log, WEEK, by=["model"])
    assert found.to_dict("records") == [
        {
            "at": pd.Timestamp(2026, 10, 20), "model": "vllm/m", "calls": 4, "spent": 0.01, "saved": 0.03, "unpriced": 1,
            "prompt_tokens": 40, "completion_tokens": 20,
        },
        {
            "at": pd.Timestamp(2026, 10, 21), "model": "openai/x", "calls": 1, "spent": 0.5, "saved": 0.0, "unpriced": 0,
            "prompt_tokens": 10, "completion_tokens": 5,
        },
    ]  # fmt: skip
    assert set(cost_frame(rows.log, WEEK, by=["tenant"])["tenant"]) == {"", "acme"}
    assert len(cost_frame(rows.log, Window(WEEK.since, WEEK.until, tenant="acme"))) == 1


@pytest.mark.parametrize(
    ("every", "zone", "moment", "at"),
    [
        ("day", "UTC", "2026-10-20 23:59:59+00:00", "2026-10-20"),
        ("day", "Europe/Berlin", "2026-10-20 22:30:00+00:00", "2026-10-21"),
        ("day", "Europe/Berlin", "2026-10-24 22:30:00+00:00", "2026-10-25"),
        ("day", "Europe/Berlin", "2026-10-25 22:59:00+00:00", "2026-10-25"),
        ("day", "Europe/Berlin", "2026-10-25 23:01:00+00:00", "2026-10-26"),
        ("week", "UTC", "2026-10-25 23:00:00+00:00", "2026-10-19"),
        ("week", "UTC", "2026-10-26 00:00:00+00:00", "2026-10-26"),
        ("hour", "Asia/Kolkata", "2026-10-20 12:31:00+00:00", "2026-10-20 18:00"),
    ],
)  # fmt: skip
def test_days_are_those_of_the_zone_over_a_change_of_the_clock(
    rows: Rows, every: Any, zone: str, moment: str, at: str
) -> None:
    rows.add(datetime.fromisoformat(moment).timestamp())
    window = Window(NOON - 30 * DAY, NOON + 30 * DAY, zone)
    assert list(cost_frame(rows.log, window, every=every)["at"]) == [pd.Timestamp(at)]


def test_the_bins_of_a_window_are_all_its_days() -> None:
    window = Window.last(7, NOON, zone="Europe/Berlin")
    days = [pd.Timestamp(window.begin(at, "day")) for at in window.bins("day")]
    assert days == list(pd.date_range("2026-10-14", "2026-10-20"))
    assert datetime.fromtimestamp(window.since, ZoneInfo("Europe/Berlin")).hour == 0


def test_latency_is_that_of_answers_that_a_model_made(rows: Rows) -> None:
    values = np.random.default_rng(0).lognormal(0, 1, 400)
    for value in values:
        rows.add(latency=float(value), first_token=float(value) / 2)
    rows.add(latency=99.0, source="exact")
    rows.add(latency=99.0, error="ServerError")
    rows.add(latency=99.0, warmup=True)
    (found,) = latency_frame(rows.log, WEEK).to_dict("records")
    assert (found["endpoint"], found["model"], found["calls"]) == ("vllm", "vllm/m", 400)
    quantiles = np.quantile(values, [0.5, 0.95, 0.99])
    assert [found[name] for name in ("p50", "p95", "p99")] == pytest.approx(list(quantiles))
    assert found["first_token_p50"] == pytest.approx(quantiles[0] / 2)
    spread = latency_histogram(rows.log, WEEK)
    assert spread["calls"].sum() == 400
    for low, high, count in zip(spread["low"], spread["high"], spread["calls"], strict=True):
        assert count == ((values >= low * (1 - 1e-12)) & (values < high * (1 - 1e-12))).sum()


def test_the_time_to_the_first_token_is_drawn_where_answers_were_streamed(rows: Rows) -> None:
    """A line for each model that streamed; without any there is no such figure. Counts and names are as people read them."""
    for _ in range(1234):
        rows.add(first_token=0.25)
    rows.add(model="vllm/other")
    board = boards(rows).latency(days=3)
    times, first, spread = board.figures
    assert ["vllm/m P50", "vllm/other P50"] == [line.name for line in times.data if line.showlegend]
    assert [("vllm/m", (0.25,))] == [(line.name, tuple(line.y)) for line in first.data]
    assert "Spread" in spread.layout.title.text
    assert "first token p50" in board.table.columns
    assert "1,234" in set(board.table["calls"])
    assert 2 == len(boards(rows).latency(days=3, model="vllm/other").figures)


def test_a_board_without_a_row_says_what_it_would_take(rows: Rows) -> None:
    """A price of a GPU, a budget; else that there was nothing."""
    assert 'no GPU has a price. prices.toml beside workbench.toml gives it, such as ["vllm/*"]' in str(
        boards(rows).gpu()
    )
    assert "no budget is set. [budgets] in workbench.toml" in boards(rows).budgets()._repr_html_()
    assert "What was spent: nothing in this time." == str(boards(rows).cost())


def test_a_table_that_there_is_not_is_named_with_ours(rows: Rows) -> None:
    """DuckDB would propose one of its own."""
    with pytest.raises(
        InputError, match=r"no table 'scoers'. Did you mean 'scores'\? It has: calls, feedback, spans, scores, compared"
    ):
        rows.log.sql("select * from scoers")
    with pytest.raises(InputError, match='column "modle" not found'):
        rows.log.sql("select modle from calls")


def test_quality_has_wilson_s_interval_for_shares_and_student_s_else(rows: Rows) -> None:
    from scipy import stats
    from statsmodels.stats.proportion import proportion_confint

    binary, graded = [1.0] * 30 + [0.0] * 10, list(np.random.default_rng(1).uniform(0.2, 0.9, 25))
    for name, values in (("exact_match", binary), ("judge", graded)):
        for value in [*values, None]:
            call_id = rows.add()
            rows.log.add_score(
                CallScore(call_id, name, "s", NOON + 60, value, called_at=NOON, prompt_ref="triage@1", model="vllm/m")
            )
    exact, judge = quality_frame(rows.log, WEEK).to_dict("records")
    assert (exact["n"], exact["unscored"], judge["n"]) == (40, 1, 25)
    assert (exact["low"], exact["high"]) == pytest.approx(proportion_confint(30, 40, method="wilson"))
    wanted = stats.t.interval(0.95, 24, np.mean(graded), stats.sem(graded))
    assert (judge["low"], judge["high"]) == pytest.approx(wanted)


def scored(rows: Rows, values: list[tuple[str | None, float | None]], scorer: str = "judge", **fields: Any) -> None:
    """Scores of calls by (user, value)."""
    for user, value in values:
        call_id = rows.add(user=user)
        rows.log.add_score(CallScore(call_id, scorer, "s", NOON, value, called_at=NOON, user=user, **fields))


def test_a_user_s_scores_are_one_opinion_in_every_board_and_report(rows: Rows) -> None:
    """Ten times the scores by the same users say no more: interval of the mean of users, by every way that asks."""
    from statsmodels.api import OLS

    rng = np.random.default_rng(4)
    means = rng.uniform(0.2, 0.9, 8)
    values = [(f"u{at}", float(mean + 0.02 * again)) for at, mean in enumerate(means) for again in range(1 + at % 4)]
    scored(rows, values, prompt_ref="triage@1", model="vllm/m")
    (row,) = quality_frame(rows.log, WEEK).to_dict("records")
    assert (row["n"], row["users"]) == (len(values), 8)
    fit = OLS([value for _, value in values], np.ones(len(values))).fit(
        cov_type="cluster",
        cov_kwds={
            "groups": np.array([int(user[1:]) for user, _ in values]),
            "df_correction": True,
            "use_correction": True,
        },
        use_t=True,
    )  # statsmodels' own correction for one coefficient is G/(G-1) x (n-1)/(n-1)
    assert (row["low"], row["high"]) == pytest.approx(tuple(fit.conf_int()[0]))
    (version,) = version_frame(rows.log, WEEK).to_dict("records")
    assert (version["score_low"], version["score_high"]) == pytest.approx((row["low"], row["high"]))
    board = boards(rows).quality(days=3)
    assert (board.frame["low"][0], board.frame["high"][0]) == pytest.approx((row["low"], row["high"]))
    assert list(board.table["users"]) == ["8"]


def test_one_user_gives_no_interval_and_calls_without_one_are_on_their_own(rows: Rows) -> None:
    scored(rows, [("ann", 1.0), ("ann", 0.0), ("ann", 0.5)], "one")
    scored(rows, [(None, 1.0), (None, 1.0), (None, None)], "none")
    found = {row["scorer"]: row for row in quality_frame(rows.log, WEEK, every=None).to_dict("records")}
    assert math.isnan(found["one"]["low"])
    assert (found["none"]["n"], found["none"]["users"], found["none"]["unscored"]) == (2, 2, 1)
    assert found["none"]["low"] == pytest.approx(2 / (2 + 1.959964**2))  # Wilson's of 2 in 2
    assert "at" not in quality_frame(rows.log, WEEK, every=None)
    assert list(quality_frame(rows.log, WEEK, scorer="one")["scorer"]) == ["one"]


@pytest.mark.parametrize("binary", [True, False])
def test_an_interval_holds_the_mean_as_often_as_it_says_where_users_differ(binary: bool) -> None:
    """Forty users of different size and leaning, 600 draws."""
    rng, held, tried = np.random.default_rng(5), 0, 600
    for _ in range(tried):
        leaning, sizes = rng.beta(2, 2, 40), rng.integers(1, 12, 40)
        totals = rng.binomial(sizes, leaning) if binary else sizes * leaning
        mean = totals.sum() / sizes.sum()
        squares = float(((totals - sizes * mean) ** 2).sum())
        low, high = clustered_interval(mean, int(sizes.sum()), 40, squares, binary=binary, within=True)
        held += low <= 0.5 <= high
    assert 0.925 <= held / tried <= 0.975


def test_of_two_scores_of_a_call_by_one_scorer_the_later_counts(rows: Rows) -> None:
    call_id = rows.add()
    for moment, value in ((1, 0.0), (2, 1.0)):
        rows.log.add_score(CallScore(call_id, "judge", "s", NOON + moment, value, called_at=NOON))
    (found,) = quality_frame(rows.log, WEEK).to_dict("records")
    assert (found["mean"], found["n"]) == (1.0, 1)
    scored(rows, [("ann", 0.0), ("bob", 0.5)])  # beside what was scored once
    rows.log.compact()
    rows.log.add_score(CallScore(call_id, "judge", "s", NOON + 3, 0.25, called_at=NOON))
    (found,) = quality_frame(rows.log, WEEK).to_dict("records")
    assert (found["mean"], found["n"], found["users"]) == (0.25, 3, 3)


def test_scores_of_comparisons_count_too(rows: Rows) -> None:
    rows.add(run_id="r", scores={"exact_match": 1.0, "odd.name": 0.5})
    rows.add(run_id="r", scores={"exact_match": None})
    found = {row["scorer"]: row for row in quality_frame(rows.log, WEEK).to_dict("records")}
    assert (found["exact_match"]["n"], found["exact_match"]["unscored"]) == (1, 1)
    assert found["odd.name"]["mean"] == 0.5
    assert len(rows.log.sql("select * from compared")) == 2
    assert rows.log.sql("select count(*) as n from calls")["n"][0] == 2  # they are calls like any other


def test_errors_have_their_class_and_rate(rows: Rows) -> None:
    for _ in range(7):
        rows.add()
    rows.add(error="CallTimeoutError")
    rows.add(error="RateLimitError")
    rows.add(tool_failures=2)
    found = error_frame(rows.log, WEEK).set_index("error")
    assert found["rate"].to_dict() == {
        "": 0.7,
        "CallTimeoutError": 0.1,
        "RateLimitError": 0.1,
        "tool call cannot be run": 0.1,
    }


def test_caches_have_their_hits(rows: Rows) -> None:
    for source in ("model", "exact", "exact", "semantic"):
        rows.add(source=source, spent=0.01 if source == "model" else 0.0)
    (found,) = cache_frame(rows.log, WEEK).to_dict("records")
    assert (found["exact"], found["semantic"], found["hit_rate"], found["seconds"]) == (2, 1, 0.75, 3.0)
    assert found["saved"] == pytest.approx(0.03)


def test_versions_have_their_score_latency_cost_and_calls(rows: Rows) -> None:
    for at in range(4):
        call_id = rows.add(NOON + (at - 2) * DAY, latency=1.0 + at)
        rows.log.add_score(
            CallScore(
                call_id, "exact_match", "s", NOON, float(at > 0), called_at=NOON, prompt_ref="triage@1", model="vllm/m"
            )
        )
        rows.log.add_score(
            CallScore(
                call_id, "faithfulness_by_rules", "s", NOON, 0.25, called_at=NOON, prompt_ref="triage@1", model="vllm/m"
            )
        )
    rows.add(prompt_ref="triage@2", prompt_digest="d2", cost=None)
    rows.add(prompt_ref="triage@2", prompt_digest="d2", error="ServerError", latency=None)
    rows.add(prompt_ref="judge@1", role="judge")
    first, second = version_frame(rows.log, WEEK).to_dict("records")
    assert (first["prompt"], first["version"], first["scorer"], first["score"], first["n"]) == (
        "triage",
        1,
        "faithfulness_by_rules",
        0.25,
        4,
    )
    assert (first["latency_p50"], first["cost_per_call"], first["per_day"]) == (
        2.5,
        pytest.approx(0.01),
        [0, 1, 1, 1, 1, 0, 0],
    )
    assert (second["version"], second["n"], second["errors"]) == (2, 1, 1)
    assert math.isnan(second["cost_per_call"])
    chosen = version_frame(rows.log, WEEK, score="exact_match")
    assert chosen["score"][0] == 0.75


def test_a_gpu_s_busy_time_counts_once_where_calls_overlap(rows: Rows) -> None:
    # [0, 10] and [5, 15] overlap: 15 s; [20, 30] apart: 10 s
    for began, ended, tokens in ((0, 10, 100), (5, 15, 50), (20, 30, 50)):
        rows.add(
            NOON + ended, latency=float(ended - began), prompt_tokens=100, cached_tokens=100, completion_tokens=tokens
        )
    rows.add(NOON + 31, source="exact", latency=5.0)
    rows.add(NOON + 32, model="vllm/other", latency=1.0, prompt_tokens=0, completion_tokens=0)
    window = Window(NOON - 3600, NOON + 3600)
    found = gpu_frame(rows.log, window, Prices({"vllm/*": Price(gpu_usd_per_hour=3.6)}).gpus)
    m = found[found["model"] == "vllm/m"].iloc[0]
    assert m["busy_hours"] * 3600 == pytest.approx(26)
    assert m["active_usd"] == pytest.approx(26 * 0.001)
    assert m["idle_inclusive_usd"] == pytest.approx(7.2)
    assert m["utilisation"] == pytest.approx(26 / 7200)
    assert m["in_flight"] == pytest.approx(31 / 26)
    assert m["active_per_call"] == pytest.approx(0.026 / 3)
    assert break_even(3.6, 0.001) == pytest.approx(3600)


def test_a_prompt_token_s_weight_is_the_setting_s_else_a_load_test_s_at_the_nearest_load_else_assumed(
    rows: Rows,
) -> None:
    for _ in range(4):  # four at once
        rows.add(NOON, latency=10.0, prompt_tokens=100, completion_tokens=10)
    rows.add(NOON, model="vllm/other", latency=10.0, prompt_tokens=100, completion_tokens=10)
    fits = [FittedWeight(0.02, 0.01, 0.03, 1.0, "load test a"), FittedWeight(0.3, 0.2, 0.4, 8.0, "load test a")]

    def found(price: Price) -> list[tuple[float, str]]:
        frame = gpu_frame(rows.log, WEEK, Prices({"vllm/*": price}).gpus, weights={"vllm/m": fits})
        return list(zip(frame["prompt_weight"], frame["weight_from"], strict=True))

    fitted, assumed = found(Price(gpu_usd_per_hour=1.0))
    assert fitted == (0.3, "load test a, 8 at once, 0.3 [0.2, 0.4]")
    assert (assumed[0], assumed[1][:7]) == (0.1, "assumed")
    assert found(Price(gpu_usd_per_hour=1.0, prompt_weight=0.5)) == [(0.5, "prices.toml")] * 2


def reading(at: float, requests: float | None, tokens: float | None = None) -> ServerMetrics:
    return ServerMetrics(at, requests=requests, completion_tokens=tokens)


@pytest.mark.parametrize(
    ("readings", "foreign", "shared"),
    [
        ([], None, "unknown"),
        ([reading(NOON, 100)], None, "unknown"),
        ([reading(NOON, None), reading(NOON + 99, None)], None, "unknown"),
        ([reading(NOON, 100), reading(NOON + 99, 110)], 0, "no"),
        ([reading(NOON, 100), reading(NOON + 99, 112)], 2, "no"),  # may have been in flight
        ([reading(NOON, 100), reading(NOON + 99, 140)], 30, "shared"),
        ([reading(NOON, 100), reading(NOON + 50, 4), reading(NOON + 99, 30)], 20, "shared"),  # restarted: 4 and 26
        ([reading(NOON - 9 * DAY, 0), reading(NOON, 100), reading(NOON + 99, 110)], 0, "no"),  # of before the window
        ([reading(NOON, None, 1000), reading(NOON + 99, None, 1050)], 0, "no"),
        ([reading(NOON, None, 1000), reading(NOON + 99, None, 3050)], 2000, "shared"),
    ],
)
def test_requests_of_others_that_the_server_counted_mark_the_figure_shared(
    rows: Rows, readings: list[ServerMetrics], foreign: float | None, shared: str
) -> None:
    for n in range(10):
        rows.add(NOON + 1 + n)
    rows.add(NOON + 5, source="exact")  # the server knows nothing of it
    gpus = Prices({"vllm/*": Price(gpu_usd_per_hour=1.0)})
    row = gpu_frame(rows.log, WEEK, gpus.gpus, readings={"vllm": readings}).iloc[0]
    assert row["shared"] == shared
    assert math.isnan(row["foreign"]) if foreign is None else row["foreign"] == foreign, row["foreign"]
    boards = Boards(rows.log, prices=lambda: gpus, readings=lambda endpoint: readings, clock=lambda: NOON + 3600)
    assert ("(shared)" in str(boards.gpu(7))) == (shared == "shared")


def test_a_gpu_s_break_even_is_at_the_api_s_price_of_the_same_tokens(rows: Rows) -> None:
    for n in range(10):
        rows.add(NOON + 2 * n, prompt_tokens=1000, cached_tokens=400, completion_tokens=100)
    gpus, api = Prices({"vllm/*": Price(gpu_usd_per_hour=3.6)}), Price(input=1.0, cached_input=0.5, output=4.0)

    def price(model: str, usage: Usage) -> float | None:
        return api.cost(usage) if model == "openai/x" else None

    boards = Boards(rows.log, prices=lambda: gpus, price=price, clock=lambda: NOON + 3600)
    row = boards.gpu(7, against="openai/x").frame.iloc[0]
    assert row["api_per_call"] == pytest.approx((600 * 1 + 400 * 0.5 + 100 * 4) / 1e6)
    assert row["break_even"] == pytest.approx(3.6 / 0.0012)
    assert row["calls_per_busy_hour"] == pytest.approx(3600)
    text = str(boards.gpu(7, against="openai/x"))
    assert "3,000" in text

    def long_is_dearer(model: str, usage: Usage) -> float:
        return (2 if (usage.prompt_tokens or 0) > 5000 else 1) * (price("openai/x", usage) or 0.0)

    tiers = Boards(rows.log, prices=lambda: gpus, price=long_is_dearer, clock=lambda: NOON + 3600)
    alone = tiers.gpu(7, against="openai/x").frame.iloc[0]  # ten calls of 1,000 tokens are not one of 10,000
    assert (alone["api_usd"], alone["api_per_call"]) == pytest.approx((0.012, 0.0012))
    unpriced = boards.gpu(7, against="openai/nobody-knows")
    assert math.isnan(unpriced.frame["break_even"][0])
    assert "unknown" in str(unpriced)


def test_a_forecast_s_interval_holds_the_month_s_end_as_often_as_it_says() -> None:
    rng, hits, tried = np.random.default_rng(3), 0, 400
    days = pd.date_range("2026-10-01", "2026-10-31")
    for _ in range(tried):
        spent = rng.gamma(4.0, 5.0, len(days))
        daily = pd.DataFrame({"at": days[:16], "spent": spent[:16]})
        found = forecast(daily[:15], datetime(2026, 10, 16))
        assert found is not None
        hits += found.low <= spent.sum() <= found.high
    assert 0.74 <= hits / tried <= 0.86


def test_a_forecast_needs_three_whole_days() -> None:
    daily = pd.DataFrame({"at": [pd.Timestamp(2026, 10, 19)], "spent": [3.0]})
    assert forecast(daily, datetime(2026, 10, 20)) is None
    assert forecast(daily[:0], datetime(2026, 10, 20)) is None


def test_what_cannot_be_grouped_by_names_the_nearest(rows: Rows) -> None:
    with pytest.raises(InputError, match="Did you mean 'tenant'"):
        cost_frame(rows.log, WEEK, by=["tennant"])
    with pytest.raises(InputError, match="one of hour, day, week"):
        cost_frame(rows.log, WEEK, every="month")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no such time zone"):
        Window.last(7, NOON, zone="Mars/Base")
    with pytest.raises(InputError, match="above 0"):
        Window.last(0, NOON)


def boards(rows: Rows, **parts: Any) -> Boards:
    return Boards(rows.log, prices=Prices, clock=lambda: NOON + 3600, **parts)


NAMES = ("cost", "latency", "quality", "errors", "cache", "versions")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [0, 1, 40])
def test_every_board_draws_something_of_nothing_of_one_row_and_of_gaps(rows: Rows, name: str, count: int) -> None:
    for at in range(count):
        call_id = rows.add(
            NOON - (at % 9) ** 2 * DAY / 3,
            error="ServerError" if at % 7 == 3 else None,
            source="exact" if at % 5 == 2 else "model",
        )
        rows.log.add_score(
            CallScore(call_id, "judge", "s", NOON, 0.5 if at % 4 else None, called_at=NOON - at % 9 * DAY)
        )
    board = getattr(boards(rows), name)(days=30)
    assert str(board)
    assert board._repr_html_()
    for figure in board.figures:
        assert figure.to_json()
        assert figure.data or figure.layout.annotations
    assert all(value is None or math.isfinite(value) for value in board.numbers.values())
    assert "nan" not in str(board).lower()


def test_a_hostile_name_is_text_in_figures_and_tables(rows: Rows) -> None:
    rows.add(model="<script>alert(1)</script>/m", tenant="<b>x</b>")
    board = boards(rows).cost(days=3, by=["model", "tenant"])
    assert "<script>" not in board._repr_html_() + board.figure.to_json().replace("\\u003c", "<")


def test_many_series_are_the_heaviest_and_others(rows: Rows) -> None:
    for at in range(20):
        rows.add(model=f"vllm/m{at}", spent=float(at))
    figure = boards(rows).cost(days=3).figure
    names = [trace.name for trace in figure.data]
    assert len(names) == 7
    assert names[-1] == "others"
    assert names[0] == "vllm/m19"


def test_a_board_filters_by_what_it_knows(rows: Rows) -> None:
    with pytest.raises(InputError, match="no filter 'user'"):
        boards(rows).cost(days=3, user="u")
    with pytest.raises(InputError, match="no such column"):
        boards(rows).versions(days=3, sort="scores")


def test_the_versions_have_the_status_of_their_digest(rows: Rows) -> None:
    rows.add()
    board = boards(rows, status=lambda digests: dict.fromkeys(digests, "active in triage-api")).versions(days=3)
    assert list(board.table["status"]) == ["active in triage-api"]
    assert board.to_markdown().count("|") > 10


def test_sparklines() -> None:
    assert sparkline([0, 1, 4]) == "·▃█"
    assert sparkline([0, 0]) == "··"
    assert sparkline([]) == ""
    assert sparkline([0, 0, *[4] * 27, 8]) == "·" + "▆" * 13 + "█"  # a month: two days each, 4 and 6


def test_figures_name_the_column_that_is_missing() -> None:
    with pytest.raises(InputError, match="'spent'"):
        dashboards.cost_figure(pd.DataFrame({"at": []}))


def test_a_window_must_have_a_length() -> None:
    with pytest.raises(InputError, match="must lie before"):
        Window(NOON, NOON - timedelta(days=1).total_seconds())
