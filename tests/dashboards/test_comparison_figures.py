from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workbench.dashboards import delta_figure, latency_figure, score_figure, slice_figure
from workbench.errors import InputError
from workbench.records import Contrast, Interval

LABELS = ["sentiment@1 · embedded/smollm2-135m", "sentiment@2 · embedded/smollm2-135m"]


def summary() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "prompt": ["sentiment"] * 2, "version": [1, 2], "model": ["embedded/smollm2-135m"] * 2,
            "exact_match": [0.5, 0.9], "exact_match_low": [0.4, 0.8], "exact_match_high": [0.6, 0.95], "n": [84, 84],
        }
    )  # fmt: skip


def contrast(decision: Any, interval: tuple[float, float, float] | None, variant: str = LABELS[1]) -> Contrast:
    return Contrast(
        variant=variant, control=LABELS[0], decision=decision, margin=0.02, n=84, discordant=9, left_out=0, method="Tango",
        interval=None if interval is None else Interval(*interval, 0.95), p_value=None, n_needed=None, guardrails=(),
        sentence="",
    )  # fmt: skip


def slices(values: int = 3) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"kind": f"kind {k}", "variant": v, "exact_match": 0.5 + k / 100, "low": 0.4, "high": 0.7, "n": 10 + k}
            for k in range(values)
            for v in LABELS
        ]
    )


def words(figure: Any) -> str:
    return json.dumps(json.loads(figure.to_json()), ensure_ascii=False)


def all_figures() -> list[Any]:
    return [
        score_figure(summary()),
        delta_figure([contrast("better", (0.4, 0.3, 0.5))]),
        latency_figure(pd.DataFrame({"variant": LABELS * 20, "latency": np.linspace(0.1, 0.3, 40)})),
        slice_figure(slices()),
    ]


def test_scores_with_their_intervals() -> None:
    """One dot a variant at its score, reaching to both ends of its interval, labelled by prompt and model."""
    figure = score_figure(summary())
    trace = figure.data[0]
    assert [0.5, 0.9] == list(trace.x)
    assert [0, 1] == list(trace.y)
    assert pytest.approx([0.1, 0.05]) == list(trace.error_x.array)
    assert pytest.approx([0.1, 0.1]) == list(trace.error_x.arrayminus)
    assert (
        "sentiment@1<br>embedded/smollm2-135m",
        "sentiment@2<br>embedded/smollm2-135m",
    ) == figure.layout.yaxis.ticktext
    assert "exact_match of each variant" == figure.layout.title.text
    assert "0.90 [0.80, 0.95], n 84" in trace.text[1]


def test_variant_without_a_score_keeps_its_row() -> None:
    """What is not scored is said in words and drawn nowhere."""
    table = summary()
    table.loc[0, ["exact_match", "exact_match_low", "exact_match_high"]] = math.nan
    figure = score_figure(table)
    assert [1] == list(figure.data[0].y)
    assert [("not scored", 0)] == [(note.text, note.y) for note in figure.layout.annotations]


def test_score_is_chosen_by_name() -> None:
    """With several scores the one that was asked for is drawn; one that is not there is refused with those that are."""
    table = summary().assign(f1=[0.1, 0.2], f1_low=[0.0, 0.1], f1_high=[0.2, 0.3])
    assert [0.1, 0.2] == list(score_figure(table, score="f1").data[0].x)
    with pytest.raises(InputError, match=r"\('bleu' was asked for\)\. This table has: prompt, version"):
        score_figure(table, score="bleu")
    with pytest.raises(InputError, match="NAME, NAME_low and NAME_high"):
        score_figure(pd.DataFrame({"variant": ["a"], "x": [1]}))


def test_differences_by_decision() -> None:
    """Each decision has its own colour and symbol, the margin is a band around zero, the axis shows signs."""
    figure = delta_figure(
        [
            contrast("better", (0.4, 0.3, 0.5)), contrast("worse", (-0.1, -0.2, -0.04)), contrast("equivalent", (0, -0.01, 0.01)),
            contrast("undecided", (0.03, -0.04, 0.09)),
        ],
        score="exact_match",
    )  # fmt: skip
    assert ["better", "worse", "equivalent", "undecided"] == [trace.name for trace in figure.data]
    assert (
        4 == len({trace.marker.symbol for trace in figure.data}) == len({trace.marker.color for trace in figure.data})
    )
    bands = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    assert [(-0.02, 0.02)] * 4 == [(band.x0, band.x1) for band in bands]
    assert "Difference in exact_match to sentiment@1 · embedded/smollm2-135m" == figure.layout.title.text
    assert "Right of zero" in figure.layout.title.subtitle.text
    assert figure.layout.xaxis.range[0] < -0.2
    assert figure.layout.xaxis.range[1] > 0.5
    assert "+~g" == figure.layout.xaxis.tickformat


def test_difference_where_lower_is_better() -> None:
    """For a score where lower is better the sentence turns round."""
    assert (
        "Left of zero"
        in delta_figure([contrast("better", (-1, -2, -0.5))], higher_is_better=False).layout.title.subtitle.text
    )
    assert "Left is better" in score_figure(summary(), higher_is_better=False).layout.title.subtitle.text


def test_contrast_without_an_interval() -> None:
    """A contrast without an interval keeps its row and says so, alone or among others."""
    alone = delta_figure([contrast("undecided", None)])
    assert ["no interval"] == [note.text for note in alone.layout.annotations]
    both = delta_figure([contrast("undecided", None), contrast("better", (0.4, 0.3, 0.5), "b@3 · m")])
    assert [1] == list(both.data[0].y)
    assert [0] == [note.y for note in both.layout.annotations]


def test_latency_is_drawn_from_percentiles() -> None:
    """A box holds the five percentiles and not the values, so a hundred thousand calls make no larger figure."""
    values = np.linspace(0, 2, 100_001)
    figure = latency_figure(pd.DataFrame({"variant": LABELS[0], "latency": values}))
    box = figure.data[0]
    assert pytest.approx([0.1, 0.5, 1.0, 1.5, 1.9]) == [
        box.lowerfence[0], box.q1[0], box.median[0], box.q3[0], box.upperfence[0]
    ]  # fmt: skip
    assert "latency of a call, seconds" == figure.layout.xaxis.title.text
    assert len(figure.to_json()) < 10_000


def test_few_latencies_are_drawn_one_by_one() -> None:
    """Percentiles of five values would pretend; each is a point, in the unit that suits, NaN left out."""
    figure = latency_figure(pd.DataFrame({"variant": "a@1 · m", "latency": [0.3, 0.1, 0.2, math.nan]}))
    assert 1 == len(figure.data)
    assert pytest.approx([100, 200, 300]) == list(figure.data[0].x)
    assert "latency of a call, milliseconds" == figure.layout.xaxis.title.text


def test_slices_are_apart_and_ordered_by_size() -> None:
    """Variants stand side by side within each value; the value with most examples comes first."""
    figure = slice_figure(slices())
    assert ("kind 2", "kind 1", "kind 0") == figure.layout.yaxis.ticktext
    assert 2 == len(figure.data) == len({trace.marker.symbol for trace in figure.data})
    assert not set(figure.data[0].y) & set(figure.data[1].y)
    assert "exact_match by kind, for each variant" == figure.layout.title.text


def test_many_slices() -> None:
    """Of many values the largest are drawn, and how many are not is said."""
    figure = slice_figure(slices(50))
    assert 20 == len(figure.layout.yaxis.ticktext)
    assert "30 more are not drawn" in figure.layout.title.subtitle.text.replace("<br>", " ")


def test_slices_without_intervals_or_sizes() -> None:
    """low, high and n may be missing, as values and as columns; a missing metadata value is a value."""
    table = slices().drop(columns=["low", "high", "n"])
    table["kind"] = table["kind"].astype(object)
    table.loc[0, "kind"] = None
    figure = slice_figure(table)
    assert "None" in figure.layout.yaxis.ticktext
    assert {0.0} == set(figure.data[0].error_x.array)


@pytest.mark.parametrize(
    "figure",
    [
        score_figure(pd.DataFrame()), score_figure(summary().iloc[:0]), delta_figure([]), latency_figure(pd.DataFrame()),
        latency_figure(pd.DataFrame({"variant": ["a"], "latency": [math.nan]})), slice_figure(pd.DataFrame()),
        slice_figure(slices().assign(exact_match=math.nan)),
        score_figure(summary().assign(exact_match=math.nan)),
    ],
)  # fmt: skip
def test_nothing_to_draw_is_a_sentence(figure: Any) -> None:
    """Where there is nothing to draw, one sentence says so."""
    assert 0 == len(figure.data)
    assert 1 == len(figure.layout.annotations)
    assert figure.layout.annotations[0].text.startswith("There ")


def test_one_row_is_enough() -> None:
    """One variant, one call, one slice draw."""
    for figure in (
        score_figure(summary().iloc[:1]),
        latency_figure(pd.DataFrame({"variant": ["a"], "latency": [0.0]})),
        slice_figure(slices(1).iloc[:1]),
    ):
        low, high = figure.layout.xaxis.range
        assert 1 == len(figure.data)
        assert low < high


def test_missing_columns_are_named() -> None:
    """A table of another shape is refused with what is missing and what is there."""
    with pytest.raises(InputError, match=r"latency_figure needs the column 'latency'\. This table has: variant"):
        latency_figure(pd.DataFrame({"variant": ["a"]}))
    with pytest.raises(InputError, match="slice_figure needs the column 'variant', 'SCORE'"):
        slice_figure(pd.DataFrame({"kind": ["a"]}))


def test_labels_are_never_markup() -> None:
    """A label or metadata value that looks like plotly's markup is shown as it is written."""
    hostile = '<a href="https://example.com">x</a>'
    shown = [
        slice_figure(slices().assign(kind=hostile)),
        score_figure(pd.DataFrame({"variant": [hostile], "s": [1.0], "s_low": [1.0], "s_high": [1.0]})),
        latency_figure(pd.DataFrame({"variant": [hostile] * 20, "latency": [0.1] * 20})),
        delta_figure([contrast("better", (0.4, 0.3, 0.5), hostile)]),
    ]
    for figure in shown:
        assert "<a " not in words(figure)
        assert "&lt;a href" in words(figure)


@pytest.mark.parametrize("figure", all_figures(), ids=["score", "delta", "latency", "slice"])
def test_figures_suit_light_dark_and_print(figure: Any) -> None:
    """Nothing has a background of its own; text is one grey with contrast on white and on black; titles say what is seen."""
    assert "rgba(0,0,0,0)" == figure.layout.paper_bgcolor == figure.layout.plot_bgcolor
    level = int(figure.layout.font.color[1:3], 16) / 255
    luminance = ((level + 0.055) / 1.055) ** 2.4
    assert 1.05 / (luminance + 0.05) > 4
    assert (luminance + 0.05) / 0.05 > 4
    assert figure.layout.title.text
    assert figure.layout.title.subtitle.text
    assert figure.layout.xaxis.title.text


def test_tables_are_left_as_they_were() -> None:
    """Drawing changes no table, so a cell can be run again."""
    table, before = slices(), slices()
    slice_figure(table)
    pd.testing.assert_frame_equal(before, table)
