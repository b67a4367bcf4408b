"""The release panel in a real JupyterLab: release, see another process roll back, roll back by hand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from workbench import Workbench

if TYPE_CHECKING:
    from conftest import Server
    from playwright.sync_api import Page

CELLS = [
    """from workbench import Rule, Scripted, Workbench
bench = Workbench(runtimes={"scripted": Scripted([Rule(answer="bug")])})
bench.release_panel("triage-api", offer=bench.variants(["triage@3"])[0])""",
    """print("a cell beside it")""",
]
BESIDE = """import sys, time
from workbench import Workbench
releases = Workbench().releases
releases.live("triage-api")
print("ready", flush=True)
sys.stdin.readline()
begun = time.time()
releases.rollback("triage-api", reason="p95 above 2 s <img src=x onerror=alert(1)>", by="guard", kind="guard")
print(begun, flush=True)
sys.stdin.readline()"""
HOSTILE = "Bug or <script>document.title='pwned'</script> other? {{message}}"


@pytest.mark.chromium
def test_release_then_follow_another_process_then_roll_back(
    project: Path,
    run_all: Callable[[str], None],
    notebook: Callable[[str, list[str]], None],
    page: Page,
    server: Server,
    record_property: Callable[[str, object], None],
) -> None:
    """Each change is planned, and has a reason; the panel follows what others do; no text is read as HTML."""
    settings = {"RELEASES_URL": server.url, "WORKBENCH_MODEL": "scripted/m", "WORKBENCH_AUTHOR": "Ada"}
    (project / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    bench = Workbench(project)
    for text in (
        HOSTILE,
        "Bug, billing or other? One word. {{message}}",
        "Bug, billing or other? One word, please. {{message}}",
    ):
        bench.prompts.create("triage", text, config={"params": {"temperature": 0}})
    releases = bench.releases
    for ref, reason in (("triage@1", "first version"), ("triage@2", "one word is enough")):
        releases.create("triage-api", bench.variants([ref])[0], reason=reason, model_digest="ab" * 32)
    notebook("panel.ipynb", CELLS)
    run_all("panel.ipynb")
    panel = page.locator(".wb-release")
    panel.wait_for(timeout=60_000)
    page.get_by_text("a cell beside it", exact=True).wait_for(timeout=60_000)

    def wait_for_live(number: int) -> None:
        panel.get_by_text(f"release {number} is live", exact=True).wait_for(timeout=60_000)

    def apply(name: str | re.Pattern[str], reason: str) -> None:
        button = panel.get_by_role("button", name=name)
        assert button.is_disabled()
        panel.get_by_label("reason (required)").fill(reason)
        button.click()

    def picture(name: str) -> None:
        if shots := os.environ.get("SCREENSHOTS"):
            page.set_viewport_size({"width": 1200, "height": 1400})
            page.add_style_tag(content=".Toastify { display: none }")
            panel.screenshot(path=f"{shots}/{name}.png")

    wait_for_live(2)
    panel.get_by_text("Release …").click()
    panel.get_by_label("prompt", exact=True).fill("triage@3")
    page.keyboard.press("b")  # in JupyterLab: a cell below
    page.keyboard.press("Backspace")
    panel.get_by_role("button", name="Plan this release").click()
    panel.locator(".wb-plan ins").filter(has_text="please").wait_for(timeout=60_000)
    picture("release_panel")
    apply("Make release 3 live", "people wrote more")
    wait_for_live(3)
    assert ("people wrote more", "Ada") == ((made := releases.must_be_live("triage-api").release).reason, made.by)

    beside = subprocess.Popen(
        [sys.executable, "-c", BESIDE], cwd=project, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with beside:
        assert beside.stdin is not None
        assert beside.stdout is not None
        assert beside.stdout.readline() == "ready\n"
        page.evaluate(
            """() => { const panel = document.querySelector(".wb-release"); const look = new MutationObserver(() => {
            if (panel.textContent.includes("release 2 is live")) { window.seenAt = Date.now() / 1000; look.disconnect(); } });
            look.observe(panel, { childList: true, subtree: true, characterData: true }); }"""
        )
        beside.stdin.write("go\n")
        beside.stdin.flush()
        begun = float(beside.stdout.readline())
        wait_for_live(2)
    late = page.evaluate("window.seenAt") - begun
    record_property("seconds until the panel showed a rollback of another process", late)
    print(f"a rollback of another process was shown {late:.3f} s after it began")
    assert 0 < late < 5  # on a quiet machine less than a second: docs/releases.md
    assert panel.get_by_text("p95 above 2 s <img src=x onerror=alert(1)>").first.is_visible()

    page.locator(".wb-release").get_by_role("button", name="Plan a rollback to release 1").click()
    apply("Roll back to 1", "it still says too much")
    wait_for_live(1)
    assert 1 == releases.must_be_live("triage-api").release.number
    assert "it still says too much" == releases.history("triage-api").events[-1].reason
    compare = panel.get_by_text("Compare two releases …")
    compare.focus()
    for key in ("b", "x", "r"):  # in JupyterLab: a cell below, cut, make it raw
        page.keyboard.press(key)
    compare.click()
    panel.get_by_role("button", name="Compare", exact=True).click()
    assert 2 == page.locator(".jp-Notebook .jp-CodeCell").count()
    assert "pwned" not in page.title()
    assert not panel.locator("img, script").count()
    panel.get_by_label("comparison of two releases").locator("ins, del").first.wait_for(timeout=60_000)
    panel.evaluate("panel => { panel.style.width = '360px'; }")
    assert panel.evaluate("panel => panel.scrollWidth <= panel.clientWidth + 1")
    picture("release_panel_narrow")
