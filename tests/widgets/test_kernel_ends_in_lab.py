"""A view whose kernel has ended, in a real JupyterLab: it says so, and is its still form once the page is opened anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from workbench import Workbench

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CELL = """from workbench import Rule, Scripted, Workbench
bench = Workbench(runtimes={"scripted": Scripted([Rule(answer="<b>an answer</b> that stays")])})
view = bench.playground("tell", models=["scripted/m"])
await view.play.run()
view"""


@pytest.mark.chromium
def test_the_still_form_stays_when_the_kernel_ends(
    project: Path,
    lab: Callable[[str], str],
    run_all: Callable[[str], None],
    notebook: Callable[[str, list[str]], None],
    until: Callable[..., Any],
    chromium: Browser,
    page: Page,
) -> None:
    """The notebook is saved by Ctrl+S inside of a view; the view says that nobody hears it; opened anew there is no error."""
    Workbench(project).prompts.create("tell", "Tell: {{question}}")
    notebook("ends.ipynb", [CELL])
    run_all("ends.ipynb")
    play = page.locator(".wb-play")
    play.get_by_label("{{question}}").fill("why?")
    play.get_by_label("{{question}}").press("Control+s")
    until(lambda: "text/html" in (project / "ends.ipynb").read_text("utf-8"), 30)

    address = lab("ends.ipynb")
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_text("Restart Kernel…", exact=True).click()  # its question is answered by `page`

    def told() -> bool:
        play.get_by_role("button", name="Add a column").click()
        return bool(play.get_by_text("The kernel that made this view has ended: run its cell again.").count())

    until(told, 30)
    page.goto("about:blank")
    anew = chromium.new_page()  # its errors are not looked at: the widget manager logs a model that it does not find
    anew.goto(address)
    anew.get_by_text("the kernel has ended since. Run the cell to go on.").wait_for(timeout=60_000)
    assert anew.locator(".jp-OutputArea td", has_text="<b>an answer</b> that stays").count()
    assert not anew.get_by_text("Error displaying widget").count()
    anew.close()
