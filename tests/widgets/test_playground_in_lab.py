"""The playground in a real JupyterLab: streams, stop, interrupt, diff, save, keep; then the page anew, and a run brought back."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from workbench import Workbench

if TYPE_CHECKING:
    from playwright.sync_api import Page

CELLS = [
    """from workbench import Rule, Scripted, Workbench
hostile = "<img src=x onerror=alert(1)><script>document.title='pwned'</script> \\u202e\\x07 " + "long" * 50_000
slow = " ".join(f"word{i}" for i in range(3000))
bench = Workbench(runtimes={"scripted": Scripted([
    Rule("endless", slow, delay=100, first_token=0.0), Rule("hostile", hostile),
    Rule("Kindly", "Gladly! It is a negative review: the parcel broke after two days.", delay=0.3, model="large"),
    Rule("Kindly", "negative", delay=0.2), Rule(answer="neg", delay=0.2)])})
bench.playground("triage", models=["scripted/small"], dataset="reviews")""",
    "2 + 2",
]


@pytest.fixture
def lab_author(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who saves versions, as the picture shows it."""
    monkeypatch.setenv("GIT_AUTHOR_NAME", "ana")


@pytest.mark.chromium
def test_a_prompt_is_tried_edited_saved_and_brought_back(
    project: Path,
    lab_author: None,
    run_all: Callable[[str], None],
    notebook: Callable[[str, list[str]], None],
    page: Page,
) -> None:
    """By keyboard where there is one; nothing that a model says is read as HTML; other cells run meanwhile."""
    from playwright.sync_api import expect

    prompts = Workbench(project).prompts
    prompts.create("triage", [{"role": "system", "content": "Label the review."}, {"role": "user", "content": "{{message}}"}],
                   message="first", author="ana")  # fmt: skip
    notebook("play.ipynb", CELLS)

    def run() -> None:
        run_all("play.ipynb")
        page.locator(".wb-play .wb-texts textarea").first.wait_for(timeout=60_000)

    run()
    play = page.locator(".wb-play")
    answers, columns = play.locator(".wb-column > .wb-text"), play.locator(".wb-column")
    message = play.get_by_label("{{message}}")

    message.fill("an endless one")
    play.get_by_role("button", name="Add a column").click()
    play.get_by_label("model of column 2").fill("scripted/large")
    play.get_by_label("model of column 2").press("Control+Enter")
    for at in (0, 1):
        columns.nth(at).get_by_text("word3").wait_for(timeout=60_000)
    page.locator(".jp-OutputArea-output", has_text="4").last.wait_for()  # the other cell ran
    message.press("Escape")
    for at in (0, 1):
        columns.nth(at).get_by_text("Stopped: this is what there was.").wait_for(timeout=60_000)
    assert "word3" in answers.nth(0).inner_text()

    message.press("Control+Enter")
    play.locator(".wb-column[data-state=streaming]").nth(1).wait_for(timeout=60_000)
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_text("Interrupt Kernel", exact=True).click()
    play.locator(".wb-column[data-state=stopped]").nth(1).wait_for(timeout=60_000)

    message.fill("a hostile one")
    play.get_by_role("button", name="Run").click()
    play.locator(".wb-column[data-state=done]").nth(1).wait_for(timeout=60_000)
    assert "<script>" in answers.nth(0).inner_text()
    assert "long" * 50_000 in (answers.nth(0).text_content() or "")
    assert "\u202e" not in (answers.nth(0).text_content() or "")
    assert not play.locator("img, script").count()
    assert "pwned" not in page.title()

    play.get_by_label("Example", exact=True).fill("41")
    play.get_by_label("Example", exact=True).press("Enter")
    play.get_by_text("there is no example 41: the data set has 40.").wait_for()
    play.get_by_label("next example").click()
    play.get_by_label("next example").click()
    play.get_by_text("m1, expected: negative").wait_for()
    picked = "it broke after two days, very sad (order 1)"
    expect(message).to_have_value(picked)
    play.get_by_label("system", exact=True).fill("Label the review. Kindly, in one word.")
    play.locator(".wb-diff ins", has_text="Kindly, in one word.").wait_for()
    play.get_by_label("system", exact=True).press("Control+Enter")
    columns.nth(1).get_by_text("Gladly!").wait_for(timeout=60_000)
    columns.nth(1).get_by_text("tokens/s").wait_for(timeout=60_000)
    play.get_by_text("Column 2, triage@1, edited · scripted/large: done.").wait_for(state="attached", timeout=60_000)
    if shots := os.environ.get("SCREENSHOTS"):
        page.set_viewport_size({"width": 1200, "height": 1400})
        play.screenshot(path=f"{shots}/playground.png")
    play.get_by_label("What you changed, and why").fill("kinder")
    play.get_by_role("button", name="Save as new version").click()
    play.get_by_text("Saved as triage@2").wait_for()
    assert "kinder" == prompts.get("triage@2").message

    # another message by keyboard, moved to the front, made the system's; one taken out and put back; params beside them
    play.get_by_role("button", name="Add a message").press("Enter")
    added = play.locator(".wb-turn textarea").nth(2)
    added.type("Be brief.")
    added.press("Alt+ArrowUp")
    added = play.get_by_label("assistant", exact=True)
    added.press("Alt+ArrowUp")
    expect(page.locator("*:focus")).to_have_value("Be brief.")
    play.get_by_label("role of message 1").select_option("developer")
    play.locator(".wb-diff ins", has_text="=== developer ===").wait_for()
    play.get_by_label("remove message 2").press("Enter")
    play.locator(".wb-diff del", has_text="Label the review.").wait_for()
    expect(page.locator("*:focus")).to_have_text("Put it back")
    page.keyboard.press("Enter")
    expect(play.locator(".wb-diff del")).to_have_count(0, timeout=60_000)
    play.locator("summary", has_text="Params").click()
    play.get_by_label("JSON schema of the answer").fill("{")
    play.get_by_text("schema: this is not JSON").wait_for()
    play.get_by_label("JSON schema of the answer").fill('{"enum": ["negative", "positive"]}')
    play.get_by_label("params of column 2").fill('{"temperature": 1}')
    play.get_by_label("max_tokens").fill("20")
    play.get_by_text("schema: this is not JSON").wait_for(state="hidden")
    play.get_by_label("developer", exact=True).press("Control+Enter")
    columns.nth(0).get_by_text("Not as the JSON schema asks: not JSON").wait_for(timeout=60_000)
    if shots := os.environ.get("SCREENSHOTS"):
        play.screenshot(path=f"{shots}/playground_messages.png")
    columns.nth(0).get_by_role("button", name="Go on from here").click()
    for at, name in ((3, "assistant"), (4, "user, message 5")):
        play.locator(f".wb-turn >> nth={at}").get_by_label(name, exact=True).wait_for()
    play.get_by_label("remove message 5").click()
    play.get_by_label("What you changed, and why").fill("briefly, in the developer's name")
    play.get_by_role("button", name="Save as new version").click()
    play.get_by_text("Saved as triage@3").wait_for()
    columns.nth(1).get_by_text("scripted/large · temperature 1").wait_for()
    roles = ["developer", "system", "user", "assistant"]
    assert roles == [item.role for item in prompts.get("triage@3").messages]

    columns.nth(0).get_by_role("button", name="Keep as example …").click()
    columns.nth(0).get_by_label("Data set").fill("hard")
    columns.nth(0).get_by_role("button", name="Keep", exact=True).click()
    play.get_by_text("the draft 'hard' has 1 example").wait_for()
    (kept,) = Workbench(project).datasets.draft("hard").rows()
    assert ("negative", "it broke after two days, very sad (order 1)") == (kept["expected"], kept["inputs"]["message"])

    run()  # the page anew, and its cells
    system = play.get_by_label("system", exact=True)
    expect(system).to_have_value("Label the review. Kindly, in one word.")
    play.locator("summary", has_text="History (5)").click()
    play.get_by_role("button", name="bring back").first.click()  # with its messages, roles and params
    play.get_by_text("This is the run of").wait_for()
    expect(play.locator(".wb-turn")).to_have_count(3)
    expect(play.get_by_label("max_tokens")).to_have_value("20")
    play.get_by_role("button", name="bring back").nth(4).click()
    play.get_by_role("button", name="Yes").click()
    columns.nth(0).get_by_text("word3").wait_for(timeout=60_000)
    expect(system).to_have_value("Label the review.")
    expect(message).to_have_value("an endless one")
