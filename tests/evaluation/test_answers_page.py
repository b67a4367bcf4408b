"""The page of a comparison that is sent to others: its HTML, and a real Chromium without a network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workbench import Rule, Scripted, Workbench
from workbench.errors import InputError, RunError
from workbench.evaluation.browsing import Query
from workbench.evaluation.comparison import Comparison
from workbench.running.progress import silent

KEY = "sk-abcdefghijklmnopqrstuvwx"
LONG = "The delivery was quick and the box was whole. " * 20
RULES = [
    Rule(r"(?s)^B.*order 3\b", error="BadRequestError"),
    Rule(r"(?s)^B.*order 4\b", answer=f"<script>window.hacked = 1</script> good {KEY}\u202e"),
    Rule(r"(?s)^A.*order 4\b", answer=f"good {KEY[:9]}"),
    Rule(r"(?s)^B.*order [5-9]\b", answer="good and calm"),
    Rule(r"(?s)^A.*order [68]\b", answer="bad and calm"),
    Rule(r"(?s)^B.*order 10\b", answer=f"bad {LONG}last word"),
    Rule(r"(?s)^B.*order 11\b", answer="bad"),
    Rule(answer="good"),
]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """12 examples: one error, one hostile, two better, two worse, one long."""
    project = tmp_path_factory.mktemp("project")
    lines = [
        {"id": f"m{i}", "inputs": {"message": f"order {i} <b>late</b>", "who": "new"}, "expected": "good"}
        for i in range(12)
    ]
    (project / "orders.jsonl").write_text("\n".join(map(json.dumps, lines)))

    async def go() -> Comparison:
        async with Workbench(project, runtimes={"scripted": Scripted(RULES)}) as bench:
            for letter in "AB":
                bench.prompts.create("p", f"{letter} {{{{message}}}} {{{{who}}}} {KEY if letter == 'B' else ''}")
            plan = bench.plan(
                prompts=["p@1", "p@2"], models=["scripted/m"], dataset=project / "orders.jsonl", primary="contains"
            )
            return await bench.compare(plan, progress=silent)

    made = asyncio.run(go())
    made.pages.mark(0, made.run.plan.variants[1].label, mark="good", star=True, comment="as <i>we</i> say it")
    return made


def test_it_holds_everything_and_nothing_that_acts(result: Comparison, tmp_path: Path) -> None:
    """Verdict, prompts, texts and marks are there; HTML of models and people is text; no key, no address, no handler."""
    page = result.to_html(tmp_path / "page.html").read_text("utf-8")
    for text in (
        result.verdict.sentence,
        "✓★ as &lt;i&gt;we&lt;/i&gt; say it",
        "order 11 &lt;b&gt;late&lt;/b&gt;",
        "last word",
    ):
        assert text in page
    assert "&lt;script&gt;window.hacked" in page
    assert KEY[:9] not in page.replace(KEY[:9] + "<", "")  # what is too short for a key may stay
    assert str(result.run.folder.path.parent) not in page
    assert 1 == page.count("<script>")
    assert "http" not in page.replace('http-equiv="Content-Security-Policy"', "")
    assert "\u202e" not in page


def test_a_query_and_a_number_choose_what_is_on_it(result: Comparison, tmp_path: Path) -> None:
    """In the query's order, and the page says how much of the run it holds."""
    worse = result.to_html(tmp_path / "worse.html", Query(only="changed", sort="best")).read_text("utf-8")
    assert 4 == worse.count("<tr data-is=")
    assert worse.index("order 6 ") < worse.index("order 10 ")
    assert "Here are 4 of the 12 examples of the run, as they were chosen." in worse
    first = result.to_html(tmp_path / "first.html", Query(search="order 1"), most=2).read_text("utf-8")
    assert "Here are the first 2 of 3 examples in this order; 3 of the 12 examples of the run" in first
    for most in (0, True, 2.5):
        with pytest.raises(InputError, match=r"most = .* must be a whole number from 1"):
            result.to_html(tmp_path / "x.html", most=most)  # type: ignore[arg-type]
    with pytest.raises(RunError, match="the page cannot be written to"):
        result.to_html(tmp_path / "nowhere" / "x.html")
    assert {"worse.html", "first.html"} == {path.name for path in tmp_path.iterdir()}


@pytest.mark.chromium
@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 390)])
def test_it_filters_searches_and_sorts_in_a_browser_without_a_network(
    browser: Any,
    overheard: Callable[[Any], tuple[list[str], list[str]]],
    result: Comparison,
    tmp_path: Path,
    scheme: str,
    width: int,
) -> None:
    """By keyboard and mouse, told to a screen reader; nothing is asked for, nothing fails, nothing hostile runs."""
    from playwright.sync_api import expect

    path = result.to_html(tmp_path / "page.html")
    context = browser.new_context(offline=True, color_scheme=scheme, viewport={"width": width, "height": 800})
    page = context.new_page()
    said, asked = overheard(page)
    try:
        page.goto(path.as_uri())
        rows, count = page.locator("#examples > tr:visible"), page.get_by_role("status")
        expect(rows).to_have_count(12)
        only = page.get_by_label("which examples")
        assert ["all (12)", "changed (4)", "worse (2)", "better (2)"] == only.locator("option").all_inner_texts()[:4]
        only.select_option("worse")
        expect(rows).to_have_count(2)
        expect(count).to_have_text("2 of 12 examples")
        page.get_by_label("search in the texts").fill("LAST word")
        expect(rows).to_have_count(1)
        rows.get_by_text("the whole answer").click()
        expect(rows.get_by_text("last word")).to_be_visible()
        page.get_by_label("search in the texts").fill("")
        only.select_option("all")
        page.get_by_label("order").select_option("best")
        expect(rows.first).to_contain_text("order 6 ")
        page.get_by_label("order").select_option("")
        expect(rows.first).to_contain_text("order 0 ")
        expect(rows.nth(3)).to_contain_text("failed")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate("window.hacked") is None
        assert ([], [path.as_uri()]) == (said, asked)
    finally:
        context.close()
