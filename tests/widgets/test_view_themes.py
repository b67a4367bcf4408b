"""Views where JupyterLab's variables are not: VS Code, Colab, a bare page; light and dark, wide and narrow."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from workbench.widgets import view

if TYPE_CHECKING:
    from playwright.sync_api import Page

FOLDER = Path(view.__file__).parent
STATE = {
    "question": "Is it right?", "rater": "ana", "rated": 1, "skipped": 0, "total": 3, "agreement": "",
    "choices": [{"value": "fail", "label": "Fail", "key": "f"}, {"value": "pass", "label": "Pass", "key": "p"}],
    "card": {"id": "1", "inputs": [["question", "How?"]], "context": "", "expected": "so", "answers": ["long" * 200, "short"]},
}  # fmt: skip
VSCODE_DARK = (
    "--vscode-editor-foreground:#ccc;--vscode-editor-background:#1e1e1e;--vscode-editorWidget-background:#252526"
)
VSCODE_LIGHT = (
    "--vscode-editor-foreground:#3b3b3b;--vscode-editor-background:#fff;--vscode-editorWidget-background:#f3f3f3"
)
JP_DARK = "--jp-ui-font-color1:#fff;--jp-layout-color1:#111;--jp-layout-color2:#424242"
# what the machine prefers, <html …>, <body …>, whether the view must be dark
PLACES: dict[str, tuple[Literal["light", "dark"], str, str, bool]] = {
    "bare": ("light", "", "", False),
    "bare dark": ("dark", "", "", True),
    "VS Code dark on a light machine": ("light", f'style="{VSCODE_DARK}"', 'class="vscode-dark"', True),
    "VS Code light on a dark machine": ("dark", f'style="{VSCODE_LIGHT}"', 'class="vscode-light"', False),
    "VS Code high contrast, nothing set": ("light", "", 'class="vscode-high-contrast"', True),
    "Colab dark on a light machine": ("light", 'theme="dark"', "", True),
    "Colab light on a dark machine": ("dark", 'theme="light"', "", False),
    "JupyterLab dark on a light machine": ("light", f'style="{JP_DARK}"', 'data-jp-theme-light="false"', True),
}
# the least contrast of a text with what lies behind it (WCAG 2.2), the ground's lightness, the view's and the page's widths
MEASURE = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255]; };
  const light = (c) => [0.2126, 0.7152, 0.0722].reduce((sum, w, i) => {
    const v = c[i] / 255; return sum + w * (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); }, 0);
  const over = (top, alpha, below) => [0, 1, 2].map((i) => top[i] * alpha + below[i] * (1 - alpha));
  const ground = (e) => { const c = rgba(getComputedStyle(e).backgroundColor);
    return c[3] === 1 || !e.parentElement ? c : over(c, c[3], ground(e.parentElement)); };
  const opacity = (e) => e ? Number(getComputedStyle(e).opacity) * opacity(e.parentElement) : 1;
  const root = document.querySelector(".wb-view");
  let least = 99;
  for (const e of [root, ...root.querySelectorAll("*")]) {
    if (e.closest(".wb-live") || ![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
    const below = ground(e);
    const [a, b] = [light(over(rgba(getComputedStyle(e).color), opacity(e), below)), light(below)];
    least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  return { least, ground: light(ground(root)), wide: root.scrollWidth - root.clientWidth,
           page: document.documentElement.scrollWidth - innerWidth, scheme: getComputedStyle(root).colorScheme };
}"""


def test_no_view_needs_a_variable_that_only_jupyterlab_has() -> None:
    """Each has something to fall back on."""
    for path in FOLDER.glob("*.css"):
        assert [] == re.findall(r"var\(--jp-[\w-]+\)", path.read_text("utf-8")), path.name


# what the kernel would answer
MARK = {"mark": "bad", "star": True, "comment": "too long, " * 40, "when": 1.0}
CELL = {
    "mark": MARK,
    "state": "fresh",
    "score": 0.5,
    "delta": -0.5,
    "repeats": 2,
    "why": "too long",
    "scores": {"words": 3},
}
CELL |= {"pieces": [["=", "long" * 200], ["-", " gone"], ["+", " new"]]}
FAILED = CELL | {
    "state": "error",
    "score": None,
    "delta": None,
    "scores": {},
    "pieces": [["=", "ServerError: it broke"]],
}
COUNTS = {"all": 2, "changed": 1, "worse": 1, "better": 0, "different": 1, "unscored": 0, "error": 1}
ROW = {"id": "one", "input": "long" * 90, "expected": "so"}
PAGE = {"page": 0, "pages": 2, "size": 20, "total": 2, "counts": COUNTS, "marked": {"marked": 2, "bad": 2}}
TOLD = {"scores": [["right", "0.50, 1 of 2 passed"], ["words", "3.00, n 2"]], "facts": "n 2, P50 1.2 s, $0.001/call"}
PAGE |= {"means": {"all": [TOLD, TOLD], "chosen": [TOLD, TOLD]}, "total": 1}
TREE = [
    ["h", ["Title"]],
    ["p", [["a", ["web"], "https://e.example/"], " ", ["code", ["x" * 90]]]],
    ["pre", ["long " * 90]],
]
TREE += [
    [
        "table",
        [["thead", [["tr", [["th", ["a"]], ["th", ["b"]]]]]], ["tbody", [["tr", [["td", ["1"]], ["td", ["2"]]]]]]],
    ]
]
PAGE |= {"rows": [ROW | {"at": 0, "cells": [CELL, CELL]}, ROW | {"at": 1, "cells": [CELL | {"tree": TREE}, FAILED]}]}
REPEAT = {
    "state": "fresh",
    "text": "long" * 200,
    "pieces": None,
    "scores": [["right", 0.5, "too long"]],
    "call_id": "c" * 30,
}
REPEAT |= {"facts": [["latency", "1.2 s"]], "trace_url": "https://langfuse.example/trace/1"}
BUILT = REPEAT | {"tree": TREE}
VARIANTS = [
    {
        "label": label,
        "control": label == "a@1",
        "delta": -0.5,
        "prompt": [["user", "How?"]],
        "repeats": [REPEAT, BUILT],
        "mark": MARK,
    }
    for label in ("a@1", "a@2")
]
EXAMPLE = {
    "at": 0,
    "id": "one",
    "place": 0,
    "total": 2,
    "inputs": [["question", "long" * 90]],
    "context": "",
    "expected": "so",
}
EXAMPLE |= {"metadata": [["channel", "mail"]], "variants": VARIANTS}
HEADS = [{"label": label, "facts": ["0.50 [0.40, 0.60]", "worse", "P50 1.2 s"]} for label in ("a@1", "a@2")]
ABOUT = {
    "phase": "running",
    "verdict": "a@2 is worse than a@1.",
    "plan": [],
    "notes": ["a note"],
    "again": 3,
    "variants": HEADS,
}
ABOUT |= {
    "progress": {"done": 1, "total": 4, "text": "1 of 4 answers"},
    "control": 0,
    "primary": "right",
    "examples": 2,
    "metrics": [["score_right", "right"], ["latency", "latency (s)"]],
}
BARS = {"counts": [0, 5, 1, 3], "text": "9 examples, mean 0.50"}
SPREAD = {
    "scores": {"low": 0, "high": 1, "variants": [BARS, BARS]},
    "differences": {"low": -1, "high": 1, "variants": [None, BARS]},
}
ANSWERS = {"spread": SPREAD, "page": PAGE, "open": EXAMPLE, "fields": {"fields": {"channel": {"mail": 1, "phone": 1}}}}


def started(name: str, state: Mapping[str, Any], answers: Mapping[str, Any]) -> str:
    """A script that draws a view from a state, with a kernel that gives these answers."""
    script = view.asset(f"{name}.js").replace("export default { render };", "")
    return f"""(() => {{ {script}
const answers = {json.dumps(answers)}, heard = [];
render({{ el: document.body, model: {{
  get: (name) => ({{ state: {json.dumps(state)}, error: "It broke.", asked: {{ look: {{ spread: true }} }} }})[name],
  on(event, call) {{ if (event === "msg:custom") heard.push(call); }}, off() {{}},
  send(said) {{
    if (said.do === "page" && answers.spread) heard.forEach((call) => call({{ ...answers.spread, ...said, do: "spread" }}));
    if (said.do in answers) heard.forEach((call) => call({{ ...answers[said.do], ...said }}));
  }} }} }}); }})();"""


def check_everywhere(page: Page, name: str, script: str, press: str = "") -> None:
    """Text has the contrast that WCAG asks for (4.5), the scheme is the front end's and not the machine's, and nothing sticks out
    of a screen of 400 pixels."""
    for place, (machine, html, body, dark) in PLACES.items():
        page.emulate_media(color_scheme=machine)
        for width in (1200, 400):
            page.set_viewport_size({"width": width, "height": 800})
            style = f"<style>{view.asset(f'{name}.css')}</style>"
            page.set_content(
                f"<!doctype html><html {html}><head><meta charset=utf-8>{style}</head><body {body}></body></html>"
            )
            page.add_script_tag(content=script)
            if press:
                page.locator(".wb-view [tabindex='0']").first.focus()
                page.keyboard.press(press)
            found = page.evaluate(MEASURE)
            assert 4.5 <= found["least"], (place, found)
            assert dark == (found["ground"] < 0.2), (place, found)
            assert (0, True) == (found["wide"], found["page"] <= 0), (place, width, found)


@pytest.mark.chromium
def test_rating_is_read_in_every_front_end(page: Page) -> None:
    """Light, dark, wide and narrow."""
    check_everywhere(page, "rating", started("rating", STATE, {}))


@pytest.mark.chromium
@pytest.mark.parametrize("press", ["", "Enter"])
def test_a_comparison_is_read_in_every_front_end(page: Page, press: str) -> None:
    """Its rows with head and progress, and an opened example."""
    check_everywhere(page, "comparison", started("comparison", ABOUT, ANSWERS), press)
    assert bool(press) == page.locator(".wb-detail").is_visible()


@pytest.mark.chromium
def test_only_known_kinds_are_built(page: Page) -> None:
    """Whatever a tree holds: no script, picture, handler or link but to the web."""
    evil = [
        ["script", ["hacked"]],
        ["img", []],
        ["__proto__", ["x"]],
        ["constructor", []],
        ["a", ["bad"], "javascript:hacked()"],
    ]
    evil += [
        ["a", ["good"], "https://e.example/"],
        ["p", [["iframe", ["y"]], "<img src=x>"]],
        ["a", ["none"]],
        ["ol", [], "1 onclick=x"],
    ]
    rows = [ROW | {"at": 0, "cells": [CELL | {"tree": evil}] * 2}]
    page.set_content("<!doctype html><html><body></body></html>")
    page.add_script_tag(content=started("comparison", ABOUT, ANSWERS | {"page": PAGE | {"rows": rows}}))
    built = page.locator(".wb-built").first
    assert 0 == built.locator("script, img, iframe, [onclick]").count()
    assert ["https://e.example/"] == [link.get_attribute("href") for link in built.locator("a[href]").all()]
    assert "noopener noreferrer nofollow" == built.locator("a[href]").get_attribute("rel")
    assert "badgood<img src=x>none" == "".join((built.text_content() or "").split("\n"))
