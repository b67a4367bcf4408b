"""A comparison in a real JupyterLab: filter, sort, open, next by keyboard, stop a running one, reload and go on."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from workbench import Workbench

if TYPE_CHECKING:
    from playwright.sync_api import Page

CELLS = [
    """import asyncio, re
import pandas as pd
from workbench import Rule, Scripted, Workbench
hostile = "<img src=x onerror=alert(1)><script>document.title='pwned'</script> \\u202e\\x07 "
hostile += "[c](javascript:alert(2)) ![i](http://evil.example/i.png) **bold** "
def says(request):
    at = int(re.search(r"order (\\d+)", request.text())[1])
    label = "billing" if at % 2 else "delivery"
    if "Badly" in request.text() and at % 5 == 0:
        label = "praise"
    if at == 25:
        return hostile + "long" * (50_000 if "Badly" in request.text() else 5)
    return f"The label is {label}, since the message is about it."
def label_is_right(text, example):
    "Whether the label that the answer names is the expected one."
    return float(example.expected in text)
def make(delay):
    bench = Workbench(runtimes={"scripted": Scripted([Rule(answer=says, delay=delay)])})
    words = ["It never came", "You charged me twice"]
    data = pd.DataFrame({"message": [f"{words[i % 2]}, order {i}." for i in range(60)],
                         "expected": ["billing" if i % 2 else "delivery" for i in range(60)],
                         "metadata": [{"channel": "mail" if i % 3 else "phone"} for i in range(60)]})
    prompts = ["triage@1", "triage@2", "triage@3"]
    return bench, bench.plan(prompts=prompts, models=["scripted/m"], dataset=data, primary=label_is_right, concurrency=1)
bench, plan = make(0.0)
result = await bench.compare(plan)""",
    "bench.show(result)",
    "slow, plan = make(0.15)\nrun = slow.show(plan)\nrun",
    "import pathlib, time\nwhile not pathlib.Path('enough').exists():\n    time.sleep(0.05)",
]


@pytest.mark.chromium
def test_from_the_changed_rows_to_a_run_that_is_stopped(
    project: Path,
    run_all: Callable[[str], None],
    notebook: Callable[[str, list[str]], None],
    page: Page,
    until: Callable[..., object],
) -> None:
    """Pages answer while another cell runs; nothing of an answer is read as HTML or left in the notebook's widget state."""
    from playwright.sync_api import expect

    versions = Workbench(project).prompts
    for way in ("Well", "Badly", "Kindly"):
        versions.create("triage", f"{way}: label the message.\n{{{{message}}}}")
    notebook("compare.ipynb", CELLS)
    run_all("compare.ipynb")
    view, live = page.locator(".wb-comparison").nth(0), page.locator(".wb-comparison").nth(1)
    rows = view.locator("tbody tr")
    rows.nth(19).wait_for(timeout=60_000)
    page.locator(".jp-InputPrompt").get_by_text("[*]").first.wait_for(
        timeout=60_000
    )  # the last cell runs until "enough"
    view.get_by_label("which examples").select_option("changed")
    view.get_by_text("11 of 60 examples, page 1 of 1").wait_for(timeout=60_000)
    view.get_by_label("order", exact=True).select_option("worst")
    grid = view.get_by_role("grid")
    assert "180 answers cost $0" in view.locator(".wb-cost").inner_text()
    assert view.locator(".wb-spent", has_text="· $0").first.is_visible()
    assert "12" == grid.get_attribute("aria-rowcount")
    view.locator("ins", has_text="praise").first.wait_for(timeout=60_000)
    if shots := os.environ.get("SCREENSHOTS"):
        page.add_style_tag(content=".Toastify { display: none }")
        view.evaluate("node => node.scrollIntoView({ block: 'start' })")
        page.screenshot(path=f"{shots}/comparison_view.png")
    view.get_by_role("button", name="+ condition").click()
    view.get_by_label("of what").select_option("gain in label_is_right")
    view.get_by_label("whose answer").select_option("of triage@2 · scripted/m")
    view.get_by_label("value").fill("-0.5")
    page.keyboard.press("Enter")
    view.get_by_text(re.compile(r"^11 of 60 examples")).wait_for(timeout=60_000)
    assert "label_is_right 0.00, 0 of 11 passed" in view.locator(".wb-chosen").nth(1).inner_text()
    view.locator(".wb-spread summary").click()
    charts = view.get_by_role("img", name="difference of triage@2")
    assert "11 worse, 0 the same, 0 better; mean difference -1.00" in (charts.get_attribute("aria-label") or "")
    assert 5 == view.locator(".wb-chart svg").count()
    if shots:
        page.screenshot(path=f"{shots}/comparison_where.png")
    view.locator(".wb-spread summary").click()
    view.get_by_role("button", name="take away: gain in label_is_right below -0.5").click()
    view.get_by_text("11 of 60 examples, page 1 of 1").wait_for(timeout=60_000)
    view.get_by_label("part of the data").select_option("channel")
    view.get_by_text(re.compile(r"^4 of 60 examples")).wait_for(timeout=60_000)
    view.get_by_label("part of the data").select_option("")
    view.get_by_text("11 of 60 examples, page 1 of 1").wait_for(timeout=60_000)
    grid.focus()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    detail = view.locator(".wb-detail")
    detail.get_by_text("2 of 11").wait_for(timeout=60_000)
    page.keyboard.press("j")
    detail.get_by_text("3 of 11").wait_for(timeout=60_000)
    page.keyboard.press("ArrowLeft")
    detail.get_by_text("2 of 11").wait_for(timeout=60_000)
    page.keyboard.press("ArrowDown")
    detail.get_by_text("3 of 11").wait_for(timeout=60_000)
    page.keyboard.press("ArrowUp")
    detail.get_by_text("2 of 11").wait_for(timeout=60_000)
    assert 3 == detail.locator(".wb-variant").count()
    detail.locator("summary").first.click()
    assert "label the message" in detail.locator(".wb-prompt").first.inner_text()
    if shots:
        page.screenshot(path=f"{shots}/comparison_example.png")
    page.keyboard.press("2")
    page.keyboard.press("b")
    detail.locator(".wb-here .wb-bad[aria-pressed=true]").wait_for(timeout=60_000)
    page.keyboard.press("Escape")
    assert not detail.is_visible()
    cell = grid.locator("td.wb-here")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("g")
    page.keyboard.press("s")
    page.keyboard.press("c")
    page.keyboard.type("<b>says nothing</b> of jk")
    page.keyboard.press("Enter")
    cell.locator(".wb-comment", has_text="<b>says nothing</b> of jk").wait_for(timeout=60_000)
    cell.locator(".wb-marks:not(.wb-unkept)").wait_for(timeout=60_000)
    assert ["true", "false", "true", "true"] == [
        sign.get_attribute("aria-pressed") for sign in cell.locator(".wb-sign").all()
    ]
    if shots:
        grid.locator("td .wb-star").nth(3).click()
        page.screenshot(path=f"{shots}/comparison_marks.png")
    view.locator(".wb-choose summary").click()
    view.get_by_role("checkbox", name="triage@2 · scripted/m").uncheck()
    view.get_by_label("latency and cost").uncheck()
    expect(rows.first.locator("td")).to_have_count(2)
    assert not view.locator("td .wb-spent").count()
    if shots:
        page.screenshot(path=f"{shots}/comparison_columns.png")
    view.get_by_label("which examples").select_option("all")
    view.get_by_text("60 of 60 examples, page 1 of 3").wait_for(timeout=60_000)
    first = rows.first.inner_text()
    view.get_by_role("button", name="save as HTML").focus()
    view.get_by_label("order", exact=True).evaluate(
        "select => { select.value = 'best'; select.dispatchEvent(new Event('change')); }"
    )
    expect(rows.first).not_to_have_text(first, timeout=60_000)
    expect(page.locator("*:focus")).to_have_text("save as HTML")  # its bar was drawn anew
    page.keyboard.press("/")
    page.keyboard.type("order 25")
    view.get_by_text(re.compile(r"^1 of 60 examples")).wait_for(timeout=60_000)
    grid.focus()
    page.keyboard.press("Enter")
    detail.get_by_text("1 of 1", exact=True).wait_for(timeout=60_000)
    assert detail.locator(".wb-text", has_text="<script>").count()
    assert "order 25" == detail.locator("mark").first.inner_text()
    page.keyboard.press("m")
    detail.locator(".wb-built strong", has_text="bold").first.wait_for(timeout=60_000)
    assert {"http://evil.example/i.png"} == {link.get_attribute("href") for link in detail.locator("a").all()}
    assert detail.locator(".wb-built", has_text="<script>").count()
    assert not view.locator("img, script").count()
    page.keyboard.press("m")
    detail.locator(".wb-text:not(.wb-built)", has_text="**bold**").first.wait_for(timeout=60_000)
    assert not list(project.glob("*.csv"))
    page.keyboard.press("Escape")
    view.get_by_role("button", name="save as CSV").click()
    view.get_by_text("3 rows are in dataframe-").wait_for(timeout=60_000)
    assert 1 == len(list(project.glob("dataframe-*.csv")))
    assert "pwned" not in page.title()
    assert not view.locator("img, script").count()
    assert "order 25" == rows.locator("mark").first.inner_text()
    assert view.locator(".wb-id").first.inner_text().startswith("26 · ")
    assert "any (1)" in view.get_by_label("which examples").inner_text()
    page.keyboard.press("/")
    page.keyboard.press("Control+a")
    page.keyboard.type("<script>(")
    view.get_by_text("No example is like that.").wait_for(timeout=60_000)
    rows.get_by_role("button", name="clear filters").click()
    view.get_by_text("60 of 60 examples, page 1 of 3").wait_for(timeout=60_000)
    assert not view.get_by_role("button", name="clear filters").count()
    page.keyboard.press("/")
    page.keyboard.type("order 25")
    view.get_by_text(re.compile(r"^1 of 60 examples")).wait_for(timeout=60_000)
    assert 4 == page.locator(".jp-Notebook .jp-CodeCell").count()  # no key was JupyterLab's

    (project / "enough").touch()
    live.get_by_role("button", name="Start").click()
    live.locator(".wb-score", has_text="1").first.wait_for(timeout=60_000)
    live.get_by_role("button", name="Stop").click()
    live.locator(".wb-verdict", has_text="Partial").wait_for(timeout=60_000)
    assert (
        live.get_by_role("list", name="notes").get_by_text("to go on where it stopped").is_visible()
    )  # not folded away
    if shots:
        live.screenshot(path=f"{shots}/comparison_partial.png")

    saved = (project / "compare.ipynb").read_text
    page.keyboard.press("Control+s")
    until(lambda: page.wait_for_timeout(50) or "widget-view+json" in saved(), 60)  # the page opens what is on disk
    page.reload()  # the kernel lives on, and with it what was asked for last
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=60_000)
    view.get_by_text(re.compile(r"^1 of 60 examples")).wait_for(timeout=60_000)
    assert "order 25" == view.get_by_label("search texts").input_value()
    view.locator(".wb-choose summary", has_text="2 left out").click()
    assert 2 == rows.first.locator("td").count()
    view.get_by_role("checkbox", name="triage@2 · scripted/m").check()
    view.get_by_label("by marks").select_option("comment")
    view.get_by_role("button", name="clear filters").first.click()
    view.get_by_label("by marks").select_option("comment")
    view.get_by_text(re.compile(r"^1 of 60 examples")).wait_for(timeout=60_000)
    view.locator(".wb-comment", has_text="<b>says nothing</b> of jk").wait_for(timeout=60_000)
    live.get_by_role("button", name="Go on").click()
    live.get_by_text("label_is_right 0.").nth(2).wait_for(timeout=60_000)
    live.locator(".wb-verdict", has_text="is worse").wait_for(timeout=60_000)
    assert len(saved()) < 100_000
    assert "longlong" not in saved()  # of the rows only those of the still form
