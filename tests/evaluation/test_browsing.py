"""Pages of a run's examples, held against the same question put to a DataFrame of all rows."""

from __future__ import annotations

import asyncio
import json
import re
from itertools import product

import numpy as np
import pandas as pd
import pytest

from workbench import Rule, Scripted, Workbench
from workbench.errors import InputError
from workbench.evaluation.browsing import FILTERS, SORTS, Condition, ExamplePages, Query, metric_names
from workbench.evaluation.browsing.excerpts import excerpt, marked
from workbench.evaluation.browsing.metrics import means_of
from workbench.evaluation.browsing.query import SIDES
from workbench.evaluation.comparison import Comparison
from workbench.prompts.diff import Piece
from workbench.records import Example, Request, Score
from workbench.running.progress import silent
from workbench.tables import format_seconds

HOSTILE = "<script>alert(1)</script>\x07\u202eevil " + "x" * 200_000


def _number(request: Request) -> int:
    found = re.search(r"order (\d+)", request.text())
    assert found
    return int(found[1])


def _says(request: Request) -> str:
    """By version and example another answer: equal, worse, better, in other words, hostile, or none that has a score."""
    at, version = _number(request), request.text()[0]
    if at == 11 and version == "B":
        return HOSTILE
    if at % 7 == 3 and version == "C":
        return "no score"
    value = (at * 3 + ord(version) * (at % 4)) % 10
    return f"score {value} said {'calmly' if at % 5 else 'loudly by ' + version}"


def read_score(text: str, example: Example) -> Score:
    """The number that the answer holds; no number is unscored."""
    found = re.match(r"score (\d)", text)
    return Score(int(found[1]) / 10, f"found {found[1]}") if found else Score(None, "no number <b>")


def short(text: str, example: Example) -> float:
    """Whether it is short."""
    return float(len(text) < 20)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """60 examples, three variants, two repeats, with errors and answers that have no score."""
    project = tmp_path_factory.mktemp("project")
    lines = [
        {"id": f"m{i}", "inputs": {"message": f"order {i}"}, "expected": "five" if i % 2 else "six",
         "metadata": {"difficulty": "hard" if i % 3 == 0 else "easy", "serial": i}}
        for i in range(60)
    ]  # fmt: skip
    (project / "reviews.jsonl").write_text("\n".join(map(json.dumps, lines)))
    rules = [Rule(r"(?s)^B.*order (13|20)\b", error="BadRequestError"), Rule(answer=_says, delay=(0.0, 0.002))]

    async def go() -> Comparison:
        async with Workbench(project, runtimes={"scripted": Scripted(rules)}) as bench:
            for letter in "ABC":
                bench.prompts.create("p", f"{letter} {{{{message}}}}")
            plan = bench.plan(
                prompts=["p@1", "p@2", "p@3"], models=["scripted/m"], dataset=project / "reviews.jsonl", primary=read_score,
                scorers=[short], repeats=2,
            )  # fmt: skip
            return await bench.compare(plan, progress=silent)

    return asyncio.run(go())


class ByPandas:
    """The same questions answered from all rows."""

    def __init__(self, result: Comparison) -> None:
        self.plan, self.labels = result.run.plan, list(result.run.measurements.variants)
        self.rows = result.rows()
        self.every = pd.RangeIndex(len(self.plan.indices), name="example")
        self.examples = [self.plan.dataset[int(i)] for i in self.plan.indices]
        means = self.rows.groupby(["example", "variant"])["score_read_score"].mean().unstack()
        means = means.reindex(index=self.every, columns=self.labels)
        self.gains = means.sub(means[self.plan.control], axis=0)
        self.gains[self.plan.control] = np.nan

    def filters(self, which: list[str]) -> dict[str, set[int]]:
        """The examples that each filter leaves."""
        gains, mine = self.gains[which], self.rows[self.rows["variant"].isin(which)]
        worked = mine[mine["error"].isna()]
        control = self.rows[(self.rows["variant"] == self.plan.control) & (self.rows["repeat"] == 0)]
        first = control[control["error"].isna()].set_index("example")["text"].str.strip()
        other = worked[worked["example"].isin(first.index)]
        return {
            "all": set(self.every),
            "changed": set(self.every[(gains.fillna(0) != 0).any(axis=1)]),
            "worse": set(self.every[(gains < 0).any(axis=1)]),
            "better": set(self.every[(gains > 0).any(axis=1)]),
            "different": set(other[other["text"].str.strip() != other["example"].map(first)]["example"]),
            "unscored": set(worked[worked["score_read_score"].isna()]["example"]),
            "error": set(mine[mine["error"].notna()]["example"]),
        }

    def orders(self, which: list[str]) -> dict[str, list[int]]:
        """All examples in each order."""
        gains, mine = self.gains[which], self.rows[self.rows["variant"].isin(which)].groupby("example")
        keys = {
            "data": pd.Series(0.0, index=self.every),
            "asked": mine["ended_at"].min().reindex(self.every),
            "lowest": mine["score_read_score"].min().reindex(self.every),
            "worst": gains.min(axis=1),
            "best": -gains.max(axis=1),
            "change": -gains.abs().max(axis=1),
            "slowest": -mine["latency"].max().reindex(self.every),
            "dearest": -mine["cost"].max().reindex(self.every).astype(float),
        }
        return {name: key.sort_values(kind="stable", na_position="last").index.tolist() for name, key in keys.items()}

    def parts(self) -> list[tuple[dict[str, str], set[int]]]:
        """All of the data, a slice of it, and what a search finds."""
        worked = self.rows[self.rows["error"].isna()]
        said = worked.groupby("example")["text"].agg(" | ".join)
        scoreless = set(worked[worked["explanations"].map(lambda why: "no number" in why["read_score"])]["example"])
        broken = set(self.rows[self.rows["error"].fillna("").str.contains("BadRequest")]["example"])
        assert scoreless
        assert broken
        hard = {i for i in self.every if self.examples[i].metadata["difficulty"] == "hard"}
        found = {i for i in self.every if "loudly by c" in said.get(i, "").lower()}
        six = {i for i in self.every if "six" == self.examples[i].expected}
        return [
            ({}, set(self.every)), ({"field": "difficulty", "value": "hard"}, hard), ({"search": "LOUDLY by c"}, found),
            ({"search": "No NUMBER"}, scoreless), ({"search": "badrequest"}, broken),
            ({"search": "Six", "field": "difficulty", "value": "hard"}, six & hard),
        ]  # fmt: skip


def test_filters_and_orders_as_pandas_does(result: Comparison) -> None:
    """Each filter in each order, of all variants and of each, whole and by slice and search; counts say the same."""
    pages, other = ExamplePages(result.run), ByPandas(result)
    for text in ("LOUDLY by c", "Six", "No NUMBER", "badrequest"):
        assert pages.search(text).advance(lambda looked: True)
    sizes = set()
    for variant in ["", *other.labels]:
        which = [variant] if variant else other.labels
        filters, orders = other.filters(which), other.orders(which)
        for (part, inside), (only, kept), (sort, order) in product(other.parts(), filters.items(), orders.items()):
            query = Query(only=only, sort=sort, variant=variant, **part)
            found = pages.order(query).tolist()
            assert [i for i in order if i in kept & inside] == found, query
            sizes.add((only, len(found)))
        counts = pages.counts(Query(variant=variant))
        assert {name: len(kept) for name, kept in filters.items()} == counts
    assert set(FILTERS) == {only for only, size in sizes if 0 < size}
    assert set(SORTS) == set(orders)


def test_conditions_and_means_as_pandas_does(result: Comparison) -> None:
    """By each metric, of one variant or any of them, alone and together with other filters; means are of what is left."""
    pages, other, rows = ExamplePages(result.run), ByPandas(result), result.rows()
    labels, count = other.labels, 0
    assert ["score_read_score", "score_short", "gain"] == list(metric_names(result.run.plan))[:3]
    columns = {"output_tokens": "completion_tokens"}
    for metric, side, variant in product(metric_names(result.run.plan), SIDES, ["", labels[2]]):
        if metric in ("prompt_tokens", "gain"):
            continue  # the first is what no server had cached; the second is below
        values = rows.assign(value=pd.to_numeric(rows[columns.get(metric, metric)]))
        means = values.groupby(["example", "variant"])["value"].mean().unstack().reindex(index=other.every)[labels]
        limit = float(np.nan_to_num(np.nanmedian(means)) if means.notna().to_numpy().any() else 0.0)
        mine = means[[variant]] if variant else means
        held = {"above": mine > limit, "below": mine < limit, "at least": mine >= limit, "at most": mine <= limit}[side]
        where = (Condition(metric, side, limit, variant),)
        found = pages.order(Query(where=where))
        assert other.every[held.any(axis=1)].tolist() == found.tolist(), where
        count += 0 < len(found) < len(other.every)
        chosen = means_of(pages.run, found)[1]
        left = rows[rows["example"].isin(found) & (rows["variant"] == labels[1]) & rows["error"].isna()]
        assert (len(left), int(left["score_short"].sum())) == (chosen["n"], chosen["scores"]["short"]["passed"])
        assert chosen["scores"]["read_score"]["passed"] is None
        if len(left):
            assert chosen["score"] == pytest.approx(left["score_read_score"].mean())
    assert count > 5
    lost = pages.order(
        Query(where=(Condition("gain", "below", -0.15),), only="changed", field="difficulty", value="hard")
    )
    hard = other.parts()[1][1]
    assert sorted(set(other.every[(other.gains < -0.15).any(axis=1)]) & hard) == lost.tolist()
    both = (Condition("score_short", "at least", 1.0), Condition("gain", "below", 0.0, labels[1]))
    each = [set(pages.order(Query(where=(one,)))) for one in both]
    assert each[0] & each[1] == set(pages.order(Query(where=both))) < each[0]
    query = Query(where=both)
    assert query == Query.from_mapping(json.loads(json.dumps(query.to_mapping())))
    slips = [
        ("Did you mean 'latency'", {"metric": "latencyy"}),
        ("must be one of above", {"side": "over"}),
        ("is no number", {"value": "x"}),
        ("must be a number", {"value": "nan"}),
        ("none of the compared", {"variant": "z"}),
    ]
    for message, slip in slips:
        with pytest.raises(InputError, match=message):
            pages.order(Query.from_mapping({"where": [{"metric": "cost", "side": "above", "value": 1} | slip]}))


def test_spread_as_pandas_does(result: Comparison) -> None:
    """Of all examples and of some: counts add up to what is scored, ties are in the words only, and so is the mean."""
    pages, other = ExamplePages(result.run), ByPandas(result)
    for query in (Query(), Query(only="worse"), Query(where=(Condition("gain", "above", 99.0),))):
        which, found = pages.order(query), pages.spread(query)
        for at, label in enumerate(other.labels):
            gains = other.gains[label].iloc[which].dropna()
            drawn = found["differences"]["variants"][at]
            if label == other.plan.control:
                assert drawn is None
                continue
            worse, better = int((gains < 0).sum()), int((gains > 0).sum())
            told = f"{worse} worse, {len(gains) - worse - better} the same, {better} better; mean difference {gains.mean():.2f}"
            assert (told if len(gains) else "no example that both scored") == drawn["text"].replace("−", "-")
            half = len(drawn["counts"]) // 2
            if len(gains):
                assert (worse, better) == (sum(drawn["counts"][:half]), sum(drawn["counts"][half:]))
            scores = found["scores"]["variants"][at]
            assert f"{sum(scores['counts'])} examples, mean" in scores["text"] or not sum(scores["counts"])
        assert (0.0, 1.0) == (found["scores"]["low"], found["scores"]["high"])
        json.dumps(found)


def test_pages_join_to_the_order(result: Comparison) -> None:
    """Without overlap; a page beyond the end is the last one."""
    pages, query = ExamplePages(result.run), Query(only="changed", sort="worst")
    whole = pages.order(query).tolist()
    first = pages.page(query, 0, 7)
    joined = [row["at"] for number in range(first["pages"]) for row in pages.page(query, number, 7)["rows"]]
    assert whole == joined
    assert pages.page(query, 99, 7)["rows"] == pages.page(query, first["pages"] - 1, 7)["rows"]
    assert {"hard", "easy"} == set(pages.fields()["difficulty"])
    assert "serial" not in pages.fields()  # as many values as examples split nothing


def test_a_row_says_what_was_measured(result: Comparison) -> None:
    """Score, delta, explanation, and the words that differ from the control's."""
    pages = ExamplePages(result.run)
    rows = {row["at"]: row for row in pages.page(Query(), 0, 100)["rows"]}
    frame = result.rows().set_index(["variant", "example", "repeat"]).sort_index()
    labels = result.run.measurements.variants
    for at, row in rows.items():
        for label, cell in zip(labels, row["cells"], strict=True):
            mine = frame.loc[(label, at)]
            if mine["error"].notna().all():
                assert (cell["state"], cell["score"]) == ("error", None)
                assert "spent" not in cell
                assert "BadRequestError" in cell["pieces"][0][1]
                continue
            score = mine["score_read_score"].mean()
            assert cell["score"] == (None if np.isnan(score) else pytest.approx(score))
            assert cell["spent"] == f"{format_seconds(mine['latency'].mean())} · $0"
            assert (cell["state"], cell["repeats"], cell["scores"]["short"]) == ("fresh", 2, mine["score_short"].mean())
            assert cell["why"] in ("no number <b>", f"found {10 * (score if score == score else -1):.0f}")
    changed = rows[int(pages.order(Query(only="different", variant=labels[1]))[0])]
    kinds = {kind for kind, _ in changed["cells"][1]["pieces"]}
    assert {"+", "="} <= kinds
    assert {"="} == {kind for kind, _ in changed["cells"][0]["pieces"]}


def test_an_example_opened_has_everything(result: Comparison) -> None:
    """All repeats, the prompt as sent, scores with reasons, ids; next and previous keep to the order and stop at its ends."""
    pages, query = ExamplePages(result.run), Query(only="changed", sort="change")
    order = pages.order(query).tolist()
    example = pages.example(query, order[0])
    assert (0, len(order), order[0]) == (example["place"], example["total"], example["at"])
    assert order[1] == pages.example(query, order[0], 1)["at"]
    assert order[0] == pages.example(query, order[0], -1)["at"]
    assert order[-1] == pages.example(query, order[-1], 1)["at"]
    assert {"difficulty", "serial"} == {name for name, _ in example["metadata"]}
    frame = result.rows()
    for variant in example["variants"]:
        rows = frame[(frame["variant"] == variant["label"]) & (frame["example"] == order[0])]
        assert list(rows["call_id"]) == [repeat["call_id"] for repeat in variant["repeats"]]
        assert [("user", rows["request"].iloc[0])] == [tuple(part) for part in variant["prompt"]]
        for repeat, text in zip(variant["repeats"], rows["text"], strict=True):
            assert text.strip() == repeat["text"]
            assert ["read_score", "short"] == [name for name, _, _ in repeat["scores"]]
            assert {"latency", "tokens", "cost", "measured"} <= {name for name, _ in repeat["facts"]}
    with pytest.raises(InputError, match="no example 60"):
        pages.example(query, 60)


def test_hostile_answers_are_harmless_and_short_in_a_row(result: Comparison) -> None:
    """Control characters and direction overrides show; 200,000 characters are clipped in a row, and whole when opened."""
    pages = ExamplePages(result.run)
    plan = result.run.plan
    at = next(i for i, place in enumerate(plan.indices) if plan.dataset[int(place)].id == "m11")
    row = next(row for row in pages.page(Query(), 0, 100)["rows"] if row["at"] == at)
    shown = "".join(text for _, text in row["cells"][1]["pieces"])
    whole = pages.example(Query(), at)["variants"][1]["repeats"][0]
    for text in (shown, whole["text"]):
        assert "\x07" not in text
        assert "\u202e" not in text
        assert "<script>alert(1)</script>␇" in text
    assert len(shown) < 1_500
    assert len(whole["text"]) > 200_000
    assert whole["pieces"] is None  # too long to mark


def test_a_search_can_be_cancelled_and_goes_on(result: Comparison) -> None:
    """What was looked through is not looked through again."""
    pages = ExamplePages(result.run)
    search = pages.search("calmly")
    looks: list[int] = []
    assert not search.advance(lambda looked: bool(looks.append(looked)))
    before = int(search.hits.sum())
    assert pages.search("calmly") is search
    assert search.advance(lambda looked: True)
    assert before < int(search.hits.sum()) == len(pages.order(Query(search="calmly")))
    again: list[int] = []
    assert search.advance(lambda looked: bool(again.append(looked)))
    assert not again


def test_unknown_words_are_named() -> None:
    """With what was probably meant."""
    with pytest.raises(InputError, match=r"only = 'wors' must be one of .* Did you mean 'worse'"):
        Query(only="wors")
    with pytest.raises(InputError, match="sort"):
        Query.from_mapping({"sort": "deltas", "unknown": 1})


def test_words_that_differ() -> None:
    """From a little before the first difference; equal and over-long texts are not marked."""
    before = "same " * 200 + "the end is near"
    after = "same " * 200 + "the end is far"
    pieces = excerpt(before, after, 200)
    assert Piece("+", "far") in pieces
    assert pieces[0].text.startswith("… ")
    assert len("".join(piece.text for piece in pieces)) < 250
    assert [Piece("=", "equal")] == excerpt("equal", "equal", 100)
    assert marked("a b", "a b") is None
    assert marked("a", "b" * 10_000) is None
    assert [Piece("=", "a "), Piece("-", "b"), Piece("+", "c")] == marked("a b", "a c")


def test_a_short_answer_shows_beside_a_long_one() -> None:
    """What the control said more takes nothing of the answer's room; with little in common the answer stands without marks."""
    long = "The message asks where a parcel is, so that " * 30 + "the label is delivery."
    assert [Piece("=", "")] == excerpt(long, "", 360)
    for label in ("billing", "delivery"):  # the control says only one of them
        assert [Piece("=", label)] == excerpt(long, label, 360)
    assert [Piece("=", "delivery at nine")] == excerpt("praise", "delivery at nine", 360)
    before = (
        f"The label is, {'as far as I can tell, ' * 4}since the message is about a parcel that never came, delivery."
    )
    after = "The label is, since the message is about a parcel that never came, delivery."
    pieces = excerpt(before, after, 360)
    assert after == "".join(piece.text for piece in pieces if piece.kind != "-")
    deleted = [piece.text for piece in pieces if piece.kind == "-"]
    assert any(text.endswith("⋯") for text in deleted)
    assert all(len(text) <= 61 for text in deleted)
    cut = excerpt("one and " * 60, "one or " * 60, 100)
    assert "one or " * 14 + "on…" == "".join(piece.text for piece in cut if piece.kind != "-")
