"""Hostile texts (answers, inputs, model names, tenants, reasons) through every still form, and what a real Chromium makes of
them."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import nbformat
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from workbench import Rule, Scripted, Workbench, dashboards, tables
from workbench.calls import CallScore
from workbench.records import Call, Request
from workbench.reporting import run_notebook
from workbench.running.progress import silent

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HOSTILE = {
    "script": "<script>hacked('script')</script>",
    "image": "\"'><img src=x onerror=\"hacked('image')\">",
    "style": "</style></table></pre><script>hacked('style')</script><style>body{display:none}",
    "frame": "</title></textarea><svg onload=hacked('svg')><iframe srcdoc=\"<script>parent.hacked('f')</script>\"></iframe>",
    "link": '<a href="javascript:hacked(1)">a</a><base href="//evil.example/"><form action="//e.example"><input autofocus>',
    "comment": "--><script>hacked('comment')</script><!-- ]]> &lt;script&gt;hacked('twice')&lt;/script&gt;",
    "ansi": "\x1b[2J\x1b[31mred\x1b]0;title\x07\x1b]8;;http://evil.example\x07link\x9b31m",
    "controls": "".join(map(chr, [*range(32), *range(127, 160)])) + "\u2028\u2029\ufeff",
    "nul": "before\x00after",
    "direction": "\u202egnp.exe\u202c \u2066isolate\u2069 \u200f\u061c",
    "surrogate": "lone \ud800 and \udfff",
    "huge": "<b>" + "x" * 200_000,
    "markdown": "| a | b |\n\n[c](javascript:hacked(2)) ![i](http://evil.example/i.png) <img src=x onerror=hacked(3)> @team #1",
    "template": "{{constructor.constructor('hacked(4)')()}} ${hacked(5)} %{hacked} <extra></extra>",
}
NASTY = (
    "<img src=x onerror=hacked('n')>\u202e\x1b[31m<a href='javascript:hacked(6)'>n</a>%{x}"  # where there is one line
)
MODEL = f"scripted/{NASTY}"
SEEN = "\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff"
ACTS = re.compile(f"[{SEEN}]")  # what may be in nothing that is shown
# a page's own; whatever else is in a form came out of a text
ELEMENTS = {
    "div", "table", "caption", "thead", "tbody", "tr", "th", "td", "style", "p", "strong", "b", "em", "pre", "code", "span",
    "ins", "del", "ul", "ol", "li", "br", "details", "summary", "small", "h3", "h4", "section",
}  # fmt: skip


def answer(request: Request) -> str:
    """Each input names its kind; version 1 gives the text back, version 2 is plain."""
    kind = re.search(r"kind (\w+)", request.text())
    assert kind is not None
    return HOSTILE[kind[1]] if "Badly" in request.text() else "fine"


async def _played(bench: Workbench) -> Any:
    """A playground in which a text was asked that comes back as it is."""
    data = pd.DataFrame({"message": [f"kind {kind} {HOSTILE[kind]}" for kind in ("image", "ansi", "direction")]})
    view = bench.playground("tell@1", models=[MODEL], dataset=bench.dataset(data, name="x"))
    view.play.pick(0)
    await view.play.run()
    return view.still()


async def _forms(bench: Workbench) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
    """What has HTML, texts, figures."""
    rows = [
        {"message": f"kind {kind} {HOSTILE[kind]}", "metadata": {"part": HOSTILE[kind][:300]}}
        for kind in HOSTILE
        if kind != "surrogate"
    ]
    rows.append(
        {"message": "kind surrogate", "metadata": {"part": "plain"}}
    )  # no file that is UTF-8 brings one; a model's JSON may
    data = pd.DataFrame(rows).assign(expected="fine")
    bench.prompts.create("tell", "Badly {{message}}", message=NASTY, author=NASTY)
    bench.prompts.create("tell", f"Well {HOSTILE['style']} {HOSTILE['direction']} {{{{message}}}}", message=NASTY)
    plan = bench.plan(prompts=["tell@2", "tell@1"], models=[MODEL], dataset=data)
    result = await bench.compare(plan, progress=silent)
    assert 2 * len(HOSTILE) == int(result.summary["n"].sum())
    release = [bench.releases.create("triage", v, reason=NASTY, by=NASTY) for v in plan.variants]
    bench.releases.rollback("triage", reason=HOSTILE["script"], by=NASTY)
    history = bench.releases.history("triage")
    gates = result.gate(["exact_match: non-inferior 0.02", "p95_ms < 2000"])
    session = bench.ratings.session(result, rater=NASTY, question=HOSTILE["frame"])
    now = time.time()
    for at in range(6):
        about = {
            "tenant": NASTY,
            "feature": NASTY,
            "user": f"{at}{NASTY}",
            "prompt_ref": f"{NASTY}@1",
            "prompt_digest": "d",
        }
        failed = {"error": NASTY, "error_message": NASTY} if at == 5 else {"latency": 1.0, "cost": 0.1, "spent": 0.1}
        call = Call(f"{at:016x}-1-1", now - 60, MODEL, "chat", **about, **failed)
        bench.calls.append(call)
        if at < 5:
            bench.calls.add_score(
                CallScore(call.call_id, NASTY, "d", now, 0.5, NASTY, now - 60, MODEL, f"{NASTY}@1", NASTY)
            )
    boards = bench.dashboards
    by = ["model", "tenant", "feature"]
    made = {
        "cost": boards.cost(2, by=by), "latency": boards.latency(2), "quality": boards.quality(2, by=["prompt_ref"]),
        "errors": boards.errors(2, by=["tenant"]), "caches": boards.cache(2), "versions": boards.versions(2, score=None),
    }  # fmt: skip
    forms = {
        "comparison": result, "plan": plan, "worst": result.worst(20), "changed": result.changed(20),
        "slices": result.slices("part"), "summary": result.table(), "prompts": result.prompts(),
        "provenance": result.provenance(), "diff": bench.prompts.diff("tell@1", "tell@2"),
        "versions": bench.prompts.history("tell"),        "release history": history,
        "release diff": bench.releases.diff("triage", 1, 2), "gates": gates,
        "rollback": bench.releases.plan_rollback("triage", to=2),
        "release": bench.releases.plan_release("triage", plan.variants[1]), "prompts of the project": bench.prompts,
        "questions": bench.ratings.questions(), "agreement": bench.ratings.agreement(HOSTILE["frame"]),
        "side by side": bench.show(result), "release panel": bench.release_panel("triage"), "board": bench.show(made["cost"]),
        "boards": bench.show(bench.dashboards), "playground": await _played(bench), "rating": bench.show(session),
        "data set": plan.dataset, "doctor": await bench.doctor(),
        **{f"dashboard {name}": board for name, board in made.items()},
    }  # fmt: skip
    texts = {
        "slices": result.slice_text("part"), "gates.md": gates.markdown(), "gates.xml": gates.junit(),
        **{f"{name}.md": board.to_markdown() for name, board in made.items()},
    }  # fmt: skip
    figures = {f"{name} {at}": figure for name, board in made.items() for at, figure in enumerate(board.figures)}
    figures |= {
        "delta": dashboards.delta_figure(result.verdict.contrasts, score=NASTY),
        "score": dashboards.score_figure(result.summary, score="exact_match"),
        "latencies": dashboards.latency_figure(result.latencies()),
        "slice": dashboards.slice_figure(result.slices("part")),
        "timeline": dashboards.timeline_figure(bench.experiments.minutes("triage", 60), history),
        "pareto": dashboards.pareto_figure(result.pareto()),
    }
    assert release
    return forms, texts, figures


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
    async def go() -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
        async with Workbench(
            tmp_path_factory.mktemp("hostile"), runtimes={"scripted": Scripted([Rule(answer=answer)])}
        ) as bench:
            return await _forms(bench)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_STATIC", "1")
        return asyncio.run(go())


OURS = f"<script>{tables.sort_script()}</script>"  # the one script that a table may bring, to the letter


def markup(form: Any) -> str:
    if isinstance(form, pd.DataFrame):
        return tables.to_html(form, caption=NASTY)
    return str(form._repr_html_()).replace(OURS, "", 1)


def as_text(form: Any) -> str:
    return tables.to_text(form, title=NASTY) if isinstance(form, pd.DataFrame) else str(form)


def test_nothing_acts_on_a_terminal_or_reorders_what_is_read(made: Any) -> None:
    """In no text and no HTML is a control character, an override of the direction or half a character; huge lines are cut."""
    forms, texts, _ = made
    shown = {name: as_text(form) for name, form in forms.items()} | texts
    shown |= {f"{name}.html": markup(form) for name, form in forms.items()}
    acting = {name: sorted(set(ACTS.findall(text))) for name, text in shown.items() if ACTS.search(text)}
    assert {} == acting
    assert {} == {name: len(text) for name, text in shown.items() if "x" * 20_000 in text}


def test_gates_are_read_as_they_were_written(made: Any) -> None:
    """The XML is well-formed, and Markdown of it makes no element, link or picture, and notifies nobody."""
    _, texts, _ = made
    suites = ET.fromstring(texts["gates.xml"])  # noqa: S314
    assert {"testsuite", "testcase", "system-out", "failure", "error", "properties", "property", "testsuites"} >= {
        element.tag for element in suites.iter()
    }
    for name in (name for name in texts if name.endswith(".md")):
        page = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(texts[name])
        page = re.sub(r"<!-- workbench [^>]*-->", "", page)
        assert set(re.findall(r"<(\w+)", page)) <= ELEMENTS, name
        assert "@team" not in page


@pytest.mark.chromium
def test_chromium_runs_and_loads_nothing_of_it(
    made: Any, open_chromium: Callable[[], AbstractContextManager[Browser]]
) -> None:
    """Each form in a page: no script runs, nothing is asked for, no element comes out of a text; in figures, also under the
    pointer, no text is a link or a tag, and names are shown as they are."""
    forms, _, figures = made
    from plotly.offline import get_plotlyjs

    wrong: list[str] = []
    with open_chromium() as chromium:
        page = chromium.new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: wrong.append(request.url))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        for name, form in forms.items():
            page.set_content(f"{HEAD}<section>{markup(form)}</section>")
            found = page.evaluate(LOOK)
            assert [] == found["was"], name
            assert set(found["elements"]) <= ELEMENTS, name
            assert [] == found["attributes"], name
        page.set_content(HEAD)
        page.add_script_tag(content=get_plotlyjs())
        seen = ""
        for name, figure in figures.items():
            drawn = page.evaluate(DRAW, json.loads(figure.to_json()))
            assert [] == drawn["was"], name
            assert [] == drawn["smuggled"], name
            assert not ACTS.search(drawn["text"]), name
            seen += drawn["text"]
        assert "<img src=x onerror=hacked('n')>" in seen
        assert "<a href=" in seen
    assert [] == wrong


@pytest.mark.chromium
def test_report_of_a_notebook_that_shows_everything(
    tmp_path: Path,
    open_chromium: Callable[[], AbstractContextManager[Browser]],
    complaints: Callable[[Page], list[str]],
) -> None:
    """Printed, in a table, in a figure, in Markdown, as a title, and in the error that ends it: the page runs nothing of it, and
    asks for nothing."""
    shows = f"""
import pandas as pd
from IPython.display import HTML, Markdown, display
from workbench import dashboards, tables
texts = {HOSTILE!r}
for name, text in texts.items():
    print(name, text.encode("utf-8", "replace").decode())
    display(HTML(tables.to_html(pd.DataFrame({{name: pd.Series([text], dtype=object)}}), caption=text)))
    if tables.clean_text(text) == text.replace("\\t", "    "):  # what an author marks up is left as it is
        display(Markdown(text))
table = pd.DataFrame({{"variant": [{NASTY!r}], "exact": [0.5], "exact_low": [0.4], "exact_high": [0.6]}})
display(dashboards.score_figure(table))"""
    cells = [
        new_markdown_cell(f"# {HOSTILE['image']}"),
        new_code_cell(shows),
        new_code_cell("raise ValueError(texts['image'] + texts['ansi'])"),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), tmp_path / "shows.ipynb")
    run = run_notebook(tmp_path / "shows.ipynb", {}, out=tmp_path / "page.html", title=HOSTILE["frame"])
    assert "failed" == run.status
    assert "ValueError" in str(run.error)
    with open_chromium() as chromium:
        page = chromium.new_page()
        wrong = complaints(page)
        page.add_init_script("window.was = []; window.hacked = (what) => window.was.push(what)")
        page.goto(run.html.as_uri())
        page.locator(".main-svg").first.wait_for()
        assert [] == page.evaluate("window.was")
        body = page.inner_text("body")
        links = page.evaluate("[...document.querySelectorAll('[href]')].map((e) => e.getAttribute('href'))")
        elements = page.evaluate(
            "[...document.querySelectorAll('base, form[action], iframe, embed, object')].map((e) => e.outerHTML)"
        )
    assert [] == wrong
    assert [] == [link for link in links if link.lower().startswith(("javascript:", "//"))]
    assert [] == elements
    assert "hacked('script')" in body
    assert not ACTS.search(body)


HEAD = "<!doctype html><meta charset=utf-8><script>window.was = []; window.hacked = (what) => was.push(what)</script><body>"
LOOK = """() => ({
  was: window.was,
  elements: [...document.querySelectorAll("section, section *")].map((e) => e.localName),
  attributes: [...document.querySelectorAll("section *")].flatMap((e) => [...e.attributes].map((a) => `${a.name}=${a.value}`))
    .filter((a) => /^(on|href|src|srcdoc|action|autofocus|form|http-equiv)/i.test(a)),
})"""
DRAW = """async (figure) => {
  const place = document.body.appendChild(document.createElement("div"));
  await Plotly.newPlot(place, figure.data, figure.layout, { displayModeBar: false });
  let text = place.innerText + [...place.querySelectorAll("svg text")].map((e) => e.textContent).join("\\n");
  for (let curve = 0; curve < figure.data.length; curve += 1) {
    try { Plotly.Fx.hover(place, [{ curveNumber: curve, pointNumber: 0 }]); } catch (error) { continue; }
    text += [...place.querySelectorAll(".hoverlayer text")].map((e) => e.textContent).join("\\n");
  }
  const smuggled = [...place.querySelectorAll("a, img, image, script, iframe, foreignObject")].map((e) => e.outerHTML);
  Plotly.purge(place);
  place.remove();
  return { was: window.was, smuggled, text };
}"""
