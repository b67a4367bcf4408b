"""The playground's view without a browser: what it sends, and its still form."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from workbench import Rule, Scripted, Workbench
from workbench.widgets.playground import PlaygroundView

HOSTILE = "<script>document.title='pwned'</script>\u202e\x07 " + "long" * 50_000


def bench_of(project: Path, *rules: Rule) -> Workbench:
    """With three versions of `tell`."""
    bench = Workbench(project, runtimes={"scripted": Scripted(rules or [Rule(answer="right")])})
    for word in ("Badly", "Well", "Best"):
        bench.prompts.create("tell", f"{word}: {{{{question}}}}", author="ana")
    return bench


class Page:
    """What the browser of a view would have: it hears messages, and adds pieces as the JavaScript does."""

    def __init__(self, view: PlaygroundView) -> None:
        self.view, self.heard = view, []
        view._stream._send = self.hear
        view.send = self.hear
        self.texts: dict[int, str] = {}
        self.tell("form")
        self.tell("whole")

    heard: list[dict[str, Any]]

    def hear(self, content: dict[str, Any]) -> None:
        self.heard.append(content)
        if content["do"] == "form":
            return
        if content["do"] == "whole":
            self.texts = {}
        for item in content["columns"]:
            self.texts[item["at"]] = self.texts.get(item["at"], "") + item["add"]

    def tell(self, do: str, **content: Any) -> None:
        self.view._heard(self.view, {"do": do, **content}, [])
        done = threading.Event()
        self.view._worker.do(done.set)
        assert done.wait(60)

    async def run(self) -> None:
        self.tell("run")
        await self.until(lambda: all(answer.over for answer in self.view.play.answers) and not self.view.working)

    async def until(self, done: Any) -> None:
        async with asyncio.timeout(60):
            while not done():
                await asyncio.sleep(0.01)


async def test_pieces_are_batched_and_sent_once(project: Path) -> None:
    """Two columns of 2,000 words: far fewer messages than words, and no word twice; signs that act are made visible."""
    words = " ".join(f"w{number}" for number in range(2000)) + "\r\n\x07\u202e"
    view = bench_of(project, Rule(answer=words, delay=1.0)).playground("tell", models=["scripted/a", "scripted/b"])
    page = Page(view)
    page.tell("input", name="question", text="why?")
    await page.run()
    clean = words.replace("\r\n\x07\u202e", "\n\u2407\ufffd")
    assert {0: clean, 1: clean} == page.texts
    streams = [content for content in page.heard if content["do"] == "more"]
    assert 3 < len(streams) < 200
    assert 1.2 * 2 * len(clean) > sum(len(item["add"]) for content in page.heard if content["do"] != "form"
                                      for item in content["columns"])  # fmt: skip
    numbers = [content["number"] for content in page.heard if content["do"] != "form"]
    assert list(range(1, len(numbers) + 1)) == numbers
    assert "done" == streams[-1]["columns"][-1]["about"]["state"]
    page.tell("whole")  # the page anew
    assert {0: clean, 1: clean} == page.texts
    assert (False, 1) == (view.state["running"], len(view.state["history"]))


async def test_stop_keeps_what_there_is_and_a_second_cell_ends_the_first(project: Path) -> None:
    """And the kernel's loop runs on meanwhile."""
    bench = bench_of(project, Rule(answer="one two three four", delay=60, first_token=0.0))
    view = bench.playground("tell", models=["scripted/m"])
    page = Page(view)
    page.tell("run")
    await page.until(lambda: page.texts.get(0) == "one ")
    assert view.state["running"]
    page.tell("stop")
    await page.until(lambda: not view.working)
    assert ("stopped", "one ", False) == (view.play.answers[0].state, page.texts[0], view.state["running"])
    page.tell("run")
    await page.until(lambda: page.texts.get(0) == "one ")
    again = bench.playground("tell", models=["scripted/m"])
    await page.until(lambda: not view.working)
    assert "stopped" == view.play.answers[0].state
    assert 2 == len(again.play.history.latest())


async def test_saving_asks_where_somebody_was_quicker(project: Path) -> None:
    """And where edits would be lost."""
    bench = bench_of(project)
    page = Page(view := bench.playground("tell", models=["scripted/m"]))
    page.tell("edit", at=0, text="Kindly: {{question}}")
    assert [["-", "Best"], ["+", "Kindly"], ["=", ": {{question}}"]] == view.state["diff"]
    page.tell("save", message="")
    assert "say what you changed" in view.error
    page.tell("open", ref="tell@1")
    assert ("tell@3", True) == (view.state["ref"], view.state["edited"])
    page.tell("no")
    assert not view.state["ask"]
    bench.prompts.create("tell", "Bob's: {{question}}", author="bob", message="mine")
    page.tell("save", message="kinder")
    assert "tell@4 was saved by bob since you opened tell@3 (mine)" in view.state["ask"]["question"]
    page.tell(**view.state["ask"]["again"])
    assert ({}, "tell@5") == (view.state["ask"], view.state["ref"])
    assert view.state["note"].startswith("Saved as tell@5")
    page.tell("edit", at=0, text="Well: {{question}}")
    page.tell("save", message="as it was")
    assert "No new version: tell@2 says just this." == view.state["note"]
    page.tell("edit", at=0, text="  ")
    assert "the prompt is empty" in view.state["problem"]


async def test_a_text_becomes_a_chat_and_its_history_brings_it_back(project: Path) -> None:
    """Messages added, moved and of another role; the diff, what else changed and a hint follow; saved, and run before that."""
    view = bench_of(project, Rule(answer="an answer with {{braces}}")).playground("tell", models=["scripted/m"])
    page = Page(view)
    chat = [("system", "Be {tone}."), ("placeholder", "turns"), ("user", "Best: {{question}}")]
    page.tell("messages", kind="chat", messages=[{"role": role, "content": text} for role, text in chat])
    assert ("chat", ["turns", "question"], ["turns"]) == tuple(
        view.state[name] for name in ("kind", "variables", "slots")
    )
    assert ["+", "=== system ===⏎\nBe {tone}.⏎\n=== placeholder ===⏎\nturns⏎\n=== user ===⏎\n"] in view.state["diff"]
    assert ["kind: text → chat", "variables: question → turns, question"] == view.state["changes"]
    assert "{tone} goes out as it stands" in view.state["hint"]
    page.tell("input", name="turns", text='[{"role": "assistant", "content": "Hello"}]')
    page.tell("input", name="question", text="why?")
    await page.run()
    page.tell("go_on", at=0)
    assert ("assistant", r"an answer with \{{braces}}", "user", "") == (
        view.play.roles[3], view.play.texts[3], view.play.roles[4], view.play.texts[4],
    )  # fmt: skip
    page.tell("edit", at=4, text="And {{question}}")
    await page.run()
    asked = view.play._parts.calls.sql("select request from calls order by ended_at desc")["request"][0]
    assert "Be {tone}.\nHello\nBest: why?\nan answer with {{braces}}\nAnd why?" == asked
    page.tell("open", ref="tell@1", sure=True)
    page.tell("back", id=view.state["history"][1]["id"])
    form = next(content for content in reversed(page.heard) if content["do"] == "form")
    assert ("chat", chat) == (form["kind"], [(item["role"], item["text"]) for item in form["texts"]])
    page.tell("save", message="a chat now")
    made = view.play._parts.prompts.get("tell@4")
    assert ("chat", chat, "tell@3") == (made.kind, [(item.role, item.content) for item in made.messages], made.parent)
    assert ("", []) == (view.state["hint"], view.state["changes"])
    page.tell("messages", kind="completion", messages=[{"role": "", "content": "Raw: {{question}}"}])
    page.tell("save", message="raw")
    assert "completion" == view.play._parts.prompts.get("tell@5").kind
    page.tell("messages", kind="chat", messages=[{"role": "placeholder", "content": "no name"}])
    assert "is a placeholder called 'no name'" in view.state["problem"]


async def test_what_the_browser_sends_is_checked(project: Path) -> None:
    """Nonsense changes nothing, and is told."""
    frame = pd.DataFrame({"message": ["a frame's own"], "expected": ["x"]})
    assert 1 == bench_of(project).playground("tell", models=["scripted/m"], dataset=frame).state["examples"]
    page = Page(view := bench_of(project).playground("tell", models=["scripted/m"], dataset="reviews"))
    for content, said in (
        ({"do": "pick", "at": "x"}, "no example 0"),
        ({"do": "column", "at": 7, "model": "scripted/m"}, "no column 8"),
        ({"do": "column", "at": 0, "model": "nowhere/m"}, "no endpoint 'nowhere'"),
        ({"do": "messages", "kind": "chat", "messages": []}, "at least one message"),
        ({"do": "messages", "kind": "chat", "messages": [{"role": "boss", "content": "x"}]}, "has the role 'boss'"),
        ({"do": "messages", "kind": ["chat"], "messages": "x"}, "kind ['chat']"),
        ({"do": "go_on", "at": 0}, "no answer with text"),
        ({"do": "keep", "at": 0, "name": "x"}, "no whole answer"),
        ({"do": "back", "id": "../secrets"}, "no run '../secrets'"),
        ({"do": "dataset", "name": "nothing"}, "nothing"),
    ):
        page.tell(**content)
        assert said in view.error
    assert (["Best: {{question}}"], False) == (view.play.texts, view.state["edited"])
    page.tell("params", values={"seed": "1.5"})
    assert "seed = '1.5' must be a whole number" in view.state["params_problem"]
    page.tell("run")
    assert "seed = '1.5' must be a whole number" in view.error
    page.tell("params", values={"seed": "1", "unknown": "x"}, fresh=True)
    assert ({"seed": "1"}, "", "") == (view.play.params, view.error, view.state["params_problem"])
    assert ["question"] == view.state["missing"]


async def test_two_quick_steps_are_two_steps(project: Path) -> None:
    """Each is from where the one before it led, though the page knows nothing of that yet; past an end nothing changes."""
    view = bench_of(project).playground("tell", models=["scripted/m"], dataset="reviews")
    page = Page(view)
    for steps, at in (((-1,), None), ((1,), 0), ((1, 1), 2), ((-1,) * 5, 0)):
        for by in steps:
            view._heard(view, {"do": "step", "by": by}, [])
        assert at == picked(page)


def picked(page: Page) -> int | None:
    """The example that fills the form, once all that was said before is done."""
    page.tell("no")
    example = page.view.state["example"]
    return None if example is None else int(example["at"])


async def test_still_form(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last run's columns, escaped, in one bundle with the widget; alone under WORKBENCH_STATIC=1; also in another session."""
    bench = bench_of(
        project, Rule("Badly", HOSTILE), Rule(answer="right", error="BadRequestError", model="b"), Rule(answer="fine")
    )
    view = bench.playground("tell", models=["scripted/m", "scripted/b"])
    assert "not run yet" in view.still()._repr_html_()
    view.play.change_column(0, "scripted/m", 1)
    view.play.inputs["question"] = "<b>why?</b>"
    await view.play.run()
    found = view._repr_mimebundle_()
    assert found is not None
    assert {"text/html", "text/plain"} == set(found[0])
    page = found[0]["text/html"]
    assert len(page) < 20_000
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "\u202e" not in page
    assert "question = &lt;b&gt;why?&lt;/b&gt;" in page
    assert "scripted BadRequestError" in page
    monkeypatch.delenv("WORKBENCH_STATIC")
    assert "application/vnd.jupyter.widget-view+json" in (view._repr_mimebundle_() or ({},))[0]
    again = bench.playground("tell", models=["scripted/m"])
    assert page == again.still()._repr_html_()
    assert repr(again.still()) == found[0]["text/plain"]
