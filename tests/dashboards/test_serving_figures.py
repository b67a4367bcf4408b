"""The figures of a load test."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from workbench.dashboards import load_latency_figure, throughput_figure, token_time_figure
from workbench.errors import InputError

FIGURES: list[Callable[[pd.DataFrame], Any]] = [throughput_figure, load_latency_figure, token_time_figure]
NAN = math.nan


def summary(models: int = 2, loads: tuple[int, ...] = (1, 4, 16), **columns: Any) -> pd.DataFrame:
    """What `LoadTest.summary` holds of `models` models under these loads."""
    rows = [
        {
            "model": f"gpu-{at}/meta-llama/Llama-3.1-8B", "concurrency": load, "rate": NAN,
            "tokens_per_second": 100.0 * load / (at + 1), "tokens_per_second_low": 90.0 * load / (at + 1),
            "tokens_per_second_high": 120.0 * load / (at + 1),
            **{f"ttft_p{p}": 0.001 * p * load * (at + 1) for p in (50, 95, 99)},
            **{f"tpot_p{p}": 0.0001 * p for p in (50, 95, 99)}, **{f"latency_p{p}": 0.02 * p for p in (50, 95, 99)},
        }
        for at in range(models)
        for load in loads
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(**columns)


def words(figure: Any) -> str:
    return json.dumps(json.loads(figure.to_json()), ensure_ascii=False)


def lines(figure: Any) -> list[Any]:
    """The traces that hold data; the others are there for the legend."""
    return [trace for trace in figure.data if trace.x[0] is not None]


def test_throughput_with_its_interval() -> None:
    """One line a model over the loads, reaching to both ends of each interval, in an own colour and symbol."""
    figure = throughput_figure(summary())
    first, second = lines(figure)
    assert [(1, 4, 16), (100, 400, 1600), (50, 200, 800)] == [tuple(first.x), tuple(first.y), tuple(second.y)]
    assert pytest.approx([20, 80, 320]) == list(first.error_y.array)
    assert pytest.approx([10, 40, 160]) == list(first.error_y.arrayminus)
    assert first.line.color != second.line.color
    assert first.marker.symbol != second.marker.symbol
    assert ("log", ("1", "4", "16"), "requests at once") == (
        figure.layout.xaxis.type, figure.layout.xaxis.ticktext, figure.layout.xaxis.title.text
    )  # fmt: skip
    assert 0 == figure.layout.yaxis.range[0]
    assert figure.layout.yaxis.range[1] > 1920


def test_latency_percentiles_have_dashes() -> None:
    """P50, P95 and P99 of a model share its colour; the legend says each model and each dash once."""
    figure = load_latency_figure(summary())
    found = lines(figure)
    assert ["solid", "dash", "dot"] * 2 == [trace.line.dash for trace in found]
    assert [(1.0,) * 3, (1.9,) * 3, (1.98,) * 3] == [pytest.approx(tuple(trace.y)) for trace in found[:3]]
    assert 1 == len({trace.line.color for trace in found[:3]})
    assert "latency, seconds" == figure.layout.yaxis.title.text
    named = [trace.name for trace in figure.data if trace.showlegend is not False]
    assert ["gpu-0/meta-llama/Llama-3.1-8B", "gpu-1/meta-llama/Llama-3.1-8B", "P50", "P95", "P99"] == named


def test_token_times_side_by_side() -> None:
    """Each side in the unit that suits it: seconds to the first token, milliseconds for each other."""
    figure = token_time_figure(summary())
    left, right = ([trace for trace in lines(figure) if trace.xaxis == axis] for axis in ("x", "x2"))
    assert pytest.approx([0.05, 0.2, 0.8]) == list(left[0].y)
    assert pytest.approx([9.5] * 3) == list(right[1].y)
    assert "time to first token, seconds" == figure.layout.yaxis.title.text
    assert "time per output token, milliseconds" == figure.layout.yaxis2.title.text
    assert figure.layout.xaxis.domain[1] < figure.layout.xaxis2.domain[0]


def test_rates_in_place_of_concurrency() -> None:
    """The axis says what the loads are."""
    figure = throughput_figure(summary(loads=(1,), concurrency=None, rate=2.5))
    assert ("arrivals a second", ("2.5",)) == (figure.layout.xaxis.title.text, figure.layout.xaxis.ticktext)


def test_unknown_values_leave_gaps() -> None:
    """No interval, no bar; no P95, no point; and the rest is drawn."""
    table = summary(1, tokens_per_second_low=NAN, tokens_per_second_high=NAN, tpot_p95=NAN)
    assert [0.0] * 3 == list(throughput_figure(table).data[0].error_y.array)
    assert {0.0} == set(throughput_figure(table.drop(columns=["tokens_per_second_low"])).data[0].error_y.arrayminus)
    token_time_figure(table.assign(tpot_p50=NAN))
    partial = table.copy()
    partial.loc[1, "latency_p50"] = NAN
    assert 2 == len(load_latency_figure(partial).data[0].x)


@pytest.mark.parametrize("draw", FIGURES)
def test_nothing_to_draw_is_a_sentence(draw: Callable[[pd.DataFrame], Any]) -> None:
    """Before the first load, or where what is drawn is unknown, one sentence says so."""
    for table in (pd.DataFrame(), summary(tokens_per_second=NAN, latency_p50=NAN, ttft_p50=NAN)):
        figure = draw(table)
        assert (0, 1) == (len(figure.data), len(figure.layout.annotations))
        assert figure.layout.annotations[0].text.startswith("There ")


@pytest.mark.parametrize("draw", FIGURES)
def test_one_point_is_enough(draw: Callable[[pd.DataFrame], Any]) -> None:
    """One model under one load draws, on axes with an extent."""
    figure = draw(summary(1, (4,)))
    for axis in (figure.layout.xaxis, figure.layout.yaxis):
        assert axis.range[0] < axis.range[1]


@pytest.mark.parametrize("draw", FIGURES)
def test_missing_columns_are_named(draw: Callable[[pd.DataFrame], Any]) -> None:
    """With those that are there."""
    with pytest.raises(InputError, match=r"needs the column 'concurrency', 'rate'.*This table has: model"):
        draw(pd.DataFrame({"model": ["a"]}))


@pytest.mark.parametrize("draw", FIGURES)
def test_labels_are_never_markup(draw: Callable[[pd.DataFrame], Any]) -> None:
    """A model whose name looks like plotly's markup is shown as it is written; the table stays as it was."""
    table = summary(model='<a href="https://example.com">x</a>')
    before = table.copy()
    shown = words(draw(table))
    assert "&lt;a href" in shown
    assert not any("<a " in str(trace.name) or "<a " in str(trace.text) for trace in draw(table).data)
    pd.testing.assert_frame_equal(before, table)


@pytest.mark.parametrize("draw", FIGURES)
def test_figures_suit_light_dark_and_print(draw: Callable[[pd.DataFrame], Any]) -> None:
    """No background of their own, text in one grey with contrast on white and on black, titles that say what is seen."""
    figure = draw(summary())
    assert "rgba(0,0,0,0)" == figure.layout.paper_bgcolor == figure.layout.plot_bgcolor
    assert "#7d7d7d" == figure.layout.font.color
    assert {"theme": "page"} == figure.layout.meta
    assert figure.layout.title.text
    assert figure.layout.title.subtitle.text
    assert figure.layout.yaxis.title.text


def test_a_legend_of_many_models_has_room() -> None:
    """Below the axis, in as many lines as it takes."""
    few, many = (load_latency_figure(summary(models)) for models in (1, 9))
    assert many.layout.height - few.layout.height >= 2 * 22
    assert many.layout.margin.b - few.layout.margin.b == many.layout.height - few.layout.height
