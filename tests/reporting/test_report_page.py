from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from workbench import tables
from workbench.reporting import Archive, Banner, ReportRun, export_html
from workbench.reporting.masking import looks_secret, mask_notebook, mask_value
from workbench.reporting.outputs import sanitize
from workbench.settings.masking import MASK, mask_text

AT = datetime(2026, 11, 23, 6, 30, tzinfo=UTC)


def page_of(*outputs: Any, **options: Any) -> str:
    cells = [new_code_cell("secret_code()", outputs=list(outputs), execution_count=1)]
    return export_html(new_notebook(cells=cells), title="A title", generated_at=AT, **options)


def shown(data: dict[str, Any]) -> Any:
    return new_output("display_data", data=data)


def main_of(page: str) -> str:
    return page[page.index("<main>") : page.index("</main>")]


# -- the whole page ---------------------------------------------------------------------------------------------------


def test_page_tells_what_when_and_with_what(good_run: ReportRun) -> None:
    """Title, date, source and every parameter are there, those of this run and the defaults."""
    page = good_run.html.read_text()
    assert "<title>Is version 2 better?</title>" in page
    assert 1 == page.count(">Is version 2 better?</h1>")
    assert f"{datetime.fromtimestamp(1_790_000_000):%Y-%m-%d}" in page  # this machine's day
    assert "from weekly.ipynb" in page
    assert "Parameters of this run (6)" in page
    assert '<tr><th scope="row">limit</th><td><code>5</code></td><td></td></tr>' in page
    assert '<tr><th scope="row">name</th><td><code>sentiment</code></td><td>default</td></tr>' in page
    assert f'<tr><th scope="row">api_key</th><td><code>{MASK}</code></td><td></td></tr>' in page


def test_page_shows_no_code_and_nothing_blank(good_run: ReportRun) -> None:
    """Code is hidden; widgets are said in words, progress bars and scripts that cannot run are left out."""
    body = main_of(good_run.html.read_text())
    assert "import pandas" not in body
    assert "An interactive widget stood here: <code>IntSlider(value=3" in body
    assert "0/3" not in body
    assert "it/s" not in body
    assert "cdn.example.com" not in body
    assert "Something stood here that only a running notebook can show" in body
    assert "[picture not kept: a remote picture]" in body
    assert "<b>kept text</b>" in body
    assert "at $0.02 to $0.05" in body


def test_model_output_is_text(good_run: ReportRun) -> None:
    """An answer that holds markup is shown as it was written."""
    body = main_of(good_run.html.read_text())
    assert "&lt;script&gt;window.hacked = 1&lt;/script&gt;" in body
    assert "<script" not in body


def test_plotly_is_in_the_page_once(good_run: ReportRun) -> None:
    """Three figures share one copy of plotly's script, and their titles are text of the page."""
    page = good_run.html.read_text()
    assert 1 == page.count("plotly.js v")
    assert 3 == page.count('class="wb-plot"')
    assert "<strong>exact of each variant</strong>" in page
    assert "<strong>Any other figure</strong>" in page


def test_page_without_figures_is_small() -> None:
    """Without a figure there is no script at all, and the policy allows none."""
    page = page_of(shown({"text/plain": "42"}))
    assert "script-src 'none'" in page
    assert "<script" not in page
    assert len(page) < 20_000


def test_messages_to_the_author_are_folded(good_run: ReportRun) -> None:
    """What was written to stderr is kept, small and folded."""
    body = main_of(good_run.html.read_text())
    assert "Messages written while it ran (1 line)" in body
    assert "a warning for the author" in body


def test_page_of_an_empty_notebook() -> None:
    """A notebook that shows nothing makes a page that says so."""
    page = export_html(new_notebook(cells=[new_code_cell("x = 1")]), title="Empty", generated_at=AT)
    assert "This notebook shows nothing but code" in page


def test_banner_is_text() -> None:
    """Whatever an error says, the banner shows it as text; a plain text is a banner too."""
    page = page_of(banner=Banner("failed", text="<b>x</b>\x1b", code="a < b", traceback="<script>"))
    assert "<p>&lt;b&gt;x&lt;/b&gt;␛</p>" in page
    assert "a &lt; b" in page
    assert "<script>" not in main_of(page)
    assert "<strong>only &lt;words&gt;</strong>" in page_of(banner="only <words>")


def test_plotly_from_elsewhere_is_refused() -> None:
    """Another way to bring plotly's script would need a network."""
    with pytest.raises(ValueError, match="only 'inline'"):
        page_of(plotly="cdn")


def test_same_run_gives_the_same_page() -> None:
    """The page depends on nothing but what it shows."""
    figure = shown({"application/vnd.plotly.v1+json": {"data": [{"y": [1, 2]}], "layout": {}}})
    node = new_notebook(cells=[new_code_cell("x", outputs=[figure])])
    assert export_html(node, title="t", generated_at=AT) == export_html(node, title="t", generated_at=AT)


# -- outputs ----------------------------------------------------------------------------------------------------------


def test_figure_data_cannot_end_its_element() -> None:
    """A label in a figure's data that looks like the end of a script stays data."""
    spec = {"data": [{"x": ["</script><script>alert(1)</script>"]}], "layout": {"title": "<i>a</i> &lt;b&gt;"}}
    page = page_of(shown({"application/vnd.plotly.v1+json": spec}))
    assert "</script><script>alert" not in page
    assert "<strong>a &lt;b&gt;</strong>" in page


def test_figure_that_cannot_be_read() -> None:
    """Figure data that is no figure is said in words."""
    page = page_of(shown({"application/vnd.plotly.v1+json": "not a figure"}))
    assert "A figure stood here whose data cannot be read" in page


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("10%\r50%\r100%\n", "100%"),
        ("\x1b[1;31mred\x1b[0m \x1b]8;;http://x\x07link\x1b]8;;\x07", "red link"),
        ("a\x00b\x08c", "a␀b␈c"),
        ("<b>\r\nnext", "&lt;b&gt;\nnext"),
    ],
)
def test_printed_lines_as_a_terminal_would_end_up(written: str, seen: str) -> None:
    """Carriage returns overwrite, colours go, control characters are visible, markup is text."""
    assert f"<pre>{seen}</pre>" in page_of(new_output("stream", name="stdout", text=written))


def test_what_is_printed_in_one_go_is_one_box_however_often_it_was_flushed() -> None:
    """A bar that overwrites itself stays one line; what is written to stderr, or shown in between, stands apart."""
    flushed = [new_output("stream", name="stdout", text=text) for text in ("begun\n", "\r10%", "\r100%", "\ndone\n")]
    apart = [new_output("stream", name="stderr", text="careful"), new_output("stream", name="stdout", text="more\n")]
    page = page_of(*flushed, *apart)
    assert "<pre>begun\n100%\ndone</pre>" in page
    assert "<pre>more</pre>" in page
    assert page.count("<pre>") == 3
    lines = page_of(*(new_output("stream", name="stdout", text=f"line {n}\n") for n in range(1000)))
    assert "… 700 lines are left out here" in lines


def test_long_output_is_cut_in_the_middle() -> None:
    """Of ten thousand lines the first and the last are shown, and how many are not."""
    page = page_of(new_output("stream", name="stdout", text="\n".join(f"line {n}" for n in range(10_000))))
    assert "line 199\n… 9,700 lines are left out here; the executed notebook has them …\nline 9900\n" in page


def test_pictures_stay() -> None:
    """A PNG, an SVG and a GIF are in the page as data."""
    dot = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    body = main_of(
        page_of(
            shown({"image/png": dot, "text/plain": "<Figure>"}),
            shown({"image/gif": dot}),
            shown({"image/svg+xml": "<svg/>"}),
        )
    )
    assert f"data:image/png;base64,{dot}" in body
    assert f"data:image/gif;base64,{dot}" in body
    assert "data:image/svg+xml;base64," in body


def test_local_picture_is_embedded(tmp_path: Path) -> None:
    """A picture beside the notebook that its text shows is in the page; one outside that folder is not."""
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "dot.png").write_bytes(b"\x89PNG")
    (tmp_path / "other.png").write_bytes(b"\x89PNG")
    node = new_notebook(
        cells=[new_markdown_cell("![one](dot.png) ![two](../other.png) ![three](https://example.com/p.png)")]
    )
    body = main_of(export_html(node, title="t", generated_at=AT, base=tmp_path / "book"))
    assert 'src="data:image/png;base64,iVBORw=="' in body
    assert "[picture not kept: two]" in body
    assert "[picture not kept: three]" in body


def test_cells_and_outputs_that_the_author_hides() -> None:
    """Tags remove-cell and remove-output leave out what the author wants out."""
    cells = [
        new_markdown_cell("secret text", metadata={"tags": ["remove-cell"]}),
        new_code_cell("", outputs=[shown({"text/plain": "secret output"})], metadata={"tags": ["remove_output"]}),
        new_markdown_cell("kept text"),
    ]
    page = export_html(new_notebook(cells=cells), title="t", generated_at=AT)
    assert "secret" not in page
    assert "kept text" in page


@pytest.mark.parametrize(
    ("markup", "kept"),
    [
        ("<p onclick='x()'>a</p>", "<p>a</p>"),
        ("a<script>alert(1)</script>b", "ab"),
        ("<svg><script>alert(1)</script><circle r='1'/></svg>", '<svg><circle r="1"></circle></svg>'),
        ("<a href='javascript:alert(1)'>a</a>", "<a>a</a>"),
        ("<a href='https://example.com/x'>a</a>", '<a href="https://example.com/x">a</a>'),
        ("<iframe src='https://example.com'></iframe><object data='x'></object>", ""),
        ("<link rel=stylesheet href='https://example.com/a.css'><base href='https://example.com'>", ""),
        ("<style>@import url(https://x.y/a.css); p{background:url('https://x.y/z')}</style>", "<style> p{background:}</style>"),
        ("<p style='background:url(https://example.com/a.png)'>a</p>", '<p style="background:">a</p>'),
        ("<svg><use href='https://example.com/a.svg#b'/></svg>", "<svg><use></use></svg>"),
        ("<form action='https://example.com'><input></form>", "<form><input/></form>"),
        ("<table><tr><td>never closed", "<table><tr><td>never closed</td></tr></table>"),
    ],
)  # fmt: skip
def test_markup_that_runs_or_loads_is_taken_out(markup: str, kept: str) -> None:
    """Scripts, handlers, frames and everything that would be loaded go; links that a reader clicks stay."""
    assert kept == sanitize(markup)


# -- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["api_key", "HF_TOKEN", "dbPassword", "client_secret", "PGPASSWORD", "OPENAI_API_KEY", "key"]
)
def test_names_that_look_secret(name: str) -> None:
    """Names as people give them to keys, tokens and passwords."""
    assert looks_secret(name)


@pytest.mark.parametrize("name", ["model", "PWD", "keyboard", "monkey", "passage", "secretary", "limit"])
def test_names_that_do_not(name: str) -> None:
    """Words that only contain such a word are no secrets."""
    assert not looks_secret(name)


@pytest.mark.parametrize(
    ("name", "value", "seen"),
    [
        ("api_key", "abc", MASK), ("max_tokens", 256, 256), ("api_key", "", ""), ("model", "gpt-4o-mini", "gpt-4o-mini"),
        ("headers", {"Authorization": "Bearer abcdefghijklmnop", "n": 1}, {"Authorization": MASK, "n": 1}),
        ("api_keys", ["a", "b"], [MASK, MASK]), ("note", "use sk-proj-abcdefghijklmnop", f"use {MASK}"),
    ],
)  # fmt: skip
def test_values_that_are_masked(name: str, value: object, seen: object) -> None:
    """Text under such a name is masked, numbers are not, and keys are known by their form wherever they stand."""
    assert seen == mask_value(name, value)


def test_text_that_is_left_alone() -> None:
    """Words with hyphens are not keys."""
    text = "task-oriented risk-averse sk-learn data:image/png;base64,AAsk/AA= hf_small"
    assert text == mask_text(text)


def test_masking_leaves_the_notebook_as_it_was() -> None:
    """Masking gives a copy; sources, outputs and metadata of it are clean, in every spelling of the secret."""
    secret = "pass<word>'1"
    cell = new_code_cell(
        f"x = {secret!r}", outputs=[shown({"text/html": "pass&lt;word&gt;&#x27;1", "text/plain": repr(secret)})]
    )
    injected = new_code_cell(f"password = {secret!r}", metadata={"tags": ["injected-parameters"]})
    node = new_notebook(cells=[injected, cell], metadata={"papermill": {"parameters": {"password": secret, "n": 1}}})
    before = str(node)
    masked = mask_notebook(node)
    assert before == str(node)
    assert f"# Parameters\npassword = {MASK!r}\nn = 1" == masked.cells[0].source
    assert {"password": MASK, "n": 1} == masked.metadata.papermill.parameters
    assert "word" not in str(masked).replace("password", "")


# -- in a browser -----------------------------------------------------------------------------------------------------


@pytest.mark.chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_in_a_browser_without_a_network(
    browser: Any, overheard: Callable[[Any], tuple[list[str], list[str]]], good_run: ReportRun, scheme: str
) -> None:
    """Offline, every figure is drawn, text is there and readable, nothing is requested, nothing fails, nothing injected runs."""
    context = browser.new_context(offline=True, color_scheme=scheme, viewport={"width": 1000, "height": 800})
    page = context.new_page()
    said, asked = overheard(page)
    page.goto(good_run.html.as_uri())
    page.wait_for_function("document.querySelectorAll('.wb-plot:has(svg.main-svg)').length >= 3")
    try:
        assert [] == said
        assert [good_run.html.as_uri()] == [url for url in asked if not url.startswith(("data:", "blob:"))]
        boxes = page.eval_on_selector_all(
            ".wb-plot",
            "all => all.map(e => e.querySelector('svg.main-svg').getBoundingClientRect()).map(b => [b.width, b.height])",
        )
        assert 3 == len(boxes)
        assert all(width > 500 and height > 80 for width, height in boxes)
        assert page.evaluate("typeof window.hacked") == "undefined"
        text = page.inner_text("body")
        for words in (
            "Is version 2 better?",
            "exact of each variant",
            "sentiment@2",
            "0.93",
            "<script>window.hacked = 1",
        ):
            assert words in text
        dark = [sum(map(int, page.evaluate(f"getComputedStyle(document.body).{name}.match(/\\d+/g).slice(0, 3)")))
                for name in ("backgroundColor", "color")]  # fmt: skip
        assert (dark[0] < 200 and dark[1] > 500) if scheme == "dark" else (dark[0] > 700 and dark[1] < 200)
        label = page.evaluate(
            "getComputedStyle(document.querySelector('.wb-plot .ytick text')).fill.match(/\\d+/g).map(Number)"
        )
        assert (sum(label[:3]) > 500) == (scheme == "dark")
    finally:
        context.close()


@pytest.mark.chromium
def test_page_on_a_phone_and_on_paper(browser: Any, good_run: ReportRun) -> None:
    """The page never scrolls sideways on a phone, and figures fit the paper."""
    context = browser.new_context(offline=True, viewport={"width": 390, "height": 800})
    page = context.new_page()
    page.goto(good_run.html.as_uri())
    page.wait_for_function("document.querySelectorAll('.wb-plot:has(svg.main-svg)').length >= 3")
    try:
        assert 390 == page.evaluate("document.documentElement.scrollWidth")
        page.set_viewport_size({"width": 1000, "height": 800})
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.wait_for_function(
            "[...document.querySelectorAll('.wb-plot svg.main-svg')].every(s => s.getBoundingClientRect().width <= 660)"
        )
        assert page.evaluate("document.querySelector('details.wb-parameters').open")
    finally:
        context.close()


@pytest.mark.chromium
def test_failed_page_in_a_browser(browser: Any, failed_run: ReportRun) -> None:
    """The banner of a failed run is the first thing that a reader sees below the title."""
    context = browser.new_context(offline=True, viewport={"width": 1000, "height": 800})
    page = context.new_page()
    page.goto(failed_run.html.as_uri())
    try:
        banner = page.locator(".wb-banner")
        assert banner.bounding_box()["y"] < 300
        assert "This run failed in code cell [4]" in banner.inner_text()
        assert page.locator(".wb-banner pre").first.is_hidden()
    finally:
        context.close()


@pytest.mark.chromium
def test_a_table_is_sorted_by_mouse_and_keyboard_and_a_heading_stays_with_what_it_heads(browser: Any) -> None:
    """Up, down, missing values last both times, told to a screen reader; the page's policy lets that script run and no other."""
    frame = pd.DataFrame({"model": ["m10", "m9", "m1"], "cost": ["$0.50", "unknown", "$0.0123"]})
    keys = pd.DataFrame({"model": ["m10", "m9", "m1"], "cost": [0.5, None, 0.0123]})
    cells = [new_markdown_cell("## Costs\n\nOf all."), new_code_cell("x", outputs=[
        shown({"text/html": tables.to_html(frame, keys=keys) + "<script>window.hacked = 1</script>"})
    ], execution_count=1)]  # fmt: skip
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    try:
        page.set_content(export_html(new_notebook(cells=cells), title="A title", generated_at=AT))
        cost = page.get_by_role("button", name="cost")
        models = page.locator("tbody td:first-child")
        cost.click()
        assert ["m1", "m10", "m9"] == models.all_inner_texts()
        assert "ascending" == page.get_by_role("columnheader", name="cost").get_attribute("aria-sort")
        page.keyboard.press("Enter")
        assert ["m10", "m1", "m9"] == models.all_inner_texts()
        assert "descending" == page.get_by_role("columnheader", name="cost").get_attribute("aria-sort")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Space")
        assert ["m1", "m9", "m10"] == models.all_inner_texts()
        assert "none" == page.get_by_role("columnheader", name="cost").get_attribute("aria-sort")
        assert page.evaluate("typeof window.hacked") == "undefined"
        page.emulate_media(media="print")
        assert "avoid" == page.evaluate("getComputedStyle(document.querySelector('.text_cell')).breakAfter")
        assert [] == said
    finally:
        page.close()


@pytest.mark.chromium
def test_the_index_on_a_phone(browser: Any, tmp_path: Path, complaints: Callable[[Any], list[str]]) -> None:
    """What a run said has a line of its own there, and a column of its own on a wide screen; nothing is wider than the page."""
    archive = Archive(tmp_path)
    error = "stopped after 3,600 seconds, the limit for the whole run; not told: the webhook does not answer"
    page_of = archive.place("nightly", datetime(2026, 11, 28, tzinfo=UTC))
    archive.write(page_of, {"title": "Costs", "status": "timed out", "seconds": 3600.0, "error": error})
    for width, below in ((400, True), (1200, False)):
        page = browser.new_page(viewport={"width": width, "height": 800})
        said = complaints(page)
        page.goto((tmp_path / "index.html").as_uri())
        when, about = (page.locator("td").nth(at).bounding_box() for at in (0, 3))
        assert about["width"] > 300
        assert (about["y"] >= when["y"] + when["height"] - 1) == below
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert said == []
        page.close()
