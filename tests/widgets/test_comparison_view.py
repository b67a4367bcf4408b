"""`bench.show` of a result and of a plan without a browser: what is in the state, what messages answer, a run and its end."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from workbench import Rule, Scripted, Workbench
from workbench.calls.langfuse_spans import trace_of
from workbench.errors import InputError, RunError
from workbench.evaluation.browsing import Query
from workbench.evaluation.comparison import Comparison
from workbench.evaluation.plan import Plan
from workbench.running.progress import silent
from workbench.tables import format_money
from workbench.widgets.comparison import ComparisonView

HOSTILE = "<script>alert('needle')</script>\x07\u202e" + "y" * 50_000
RULES = [Rule("number 7 ", HOSTILE), Rule("Badly", "wrong, in many words"), Rule(answer="right")]


def make(bench: Workbench, count: int = 30) -> Plan:
    """A plan of two versions."""
    bench.prompts.create("tell", "Badly: {{question}}")
    bench.prompts.create("tell", "Well: {{question}}")
    data = pd.DataFrame({"question": [f"number {i} <b>?" for i in range(count)], "expected": "right"})
    return bench.plan(prompts=["tell@1", "tell@2"], models=["scripted/m"], dataset=data, concurrency=1)


ANSWERS = {"mark": "marked", "save": "saved"}  # where the answer has a name of its own


class Listening:
    """A browser's side: sends messages and keeps what comes back."""

    def __init__(self, view: ComparisonView, monkeypatch: pytest.MonkeyPatch) -> None:
        self.view = view
        self.heard: list[dict[str, Any]] = []
        monkeypatch.setattr(view, "send", lambda content: self.heard.append(content))

    def ask(self, do: str, *, fails: bool = False, **content: Any) -> dict[str, Any]:
        """The first answer to it. fails: an error is due, too."""
        self.heard.clear()
        self.view._heard(self.view, {"do": do, "view": "v", "turn": 1, **content}, [])
        until = time.monotonic() + 60
        while not (found := [answer for answer in self.heard if answer["do"] == ANSWERS.get(do, do)]):
            assert fails or not self.view.error, self.view.error
            assert time.monotonic() < until
            time.sleep(0.01)
        return found[0]


async def until(true: Callable[[], object]) -> None:
    """Wait for it, for 30 s at most."""
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.01)


def finished(project: Path) -> tuple[Any, Comparison]:
    """The view of a comparison, and the comparison."""

    async def go() -> tuple[Any, Comparison]:
        async with Workbench(project, runtimes={"scripted": Scripted(RULES)}) as bench:
            result = await bench.compare(make(bench), progress=silent)
            return bench.show(result), result

    return asyncio.run(go())


def test_still_form(project: Path) -> None:
    """What the comparison prints, and what changed most; a plan prints itself. All of it escaped and short."""
    shown, result = finished(project)
    page = shown._repr_html_()
    assert page.startswith(result._repr_html_())
    assert "The 20 examples that changed most" in page
    assert "wrong, in many words" in page
    assert "&lt;b&gt;" in page
    assert "<script>alert" not in page
    assert len(page) < 100_000
    assert "changed most" in repr(shown)


def test_pages_by_message_and_no_row_in_the_state(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither state nor bundle holds more than the still form's rows; what is asked for comes, nonsense is named."""
    monkeypatch.delenv("WORKBENCH_STATIC")
    view, result = finished(project)
    assert isinstance(view, ComparisonView)
    assert view.result is result
    assert view._pages is result.pages  # another view of it reads nothing again
    browser = Listening(view, monkeypatch)
    first = browser.ask("page", query={"only": "changed", "sort": "worst"}, page=0, size=10)
    assert (10, 29, 29, "v", 1) == (
        len(first["rows"]),
        first["total"],
        first["counts"]["better"],
        first["view"],
        first["turn"],
    )
    assert "changed" == view.asked["only"]
    found = browser.ask("page", query={"search": "NEEDLE"}, page=0, size=10)
    assert ["number 7 <b>?"] == [row["input"] for row in found["rows"]]
    opened = browser.ask("open", query={"search": "NEEDLE"}, at=found["rows"][0]["at"])
    assert len(opened["variants"][1]["repeats"][0]["text"]) > 50_000
    assert (0, 1) == (opened["place"], opened["total"])
    assert "trace_url" not in json.dumps(opened)  # there is no Langfuse here
    assert {} == browser.ask("fields")["fields"]
    assert ["number 7 <b>?"] == list(dict.fromkeys(view.rows()["request"].str.partition(": ")[2]))  # the filter's
    browser.ask("page", query={"only": "changed", "sort": "best"}, page=1, size=10)
    assert view._pages is not None
    assert view._pages.order(Query(only="changed", sort="best")).tolist() == list(view.rows()["example"].unique())
    state = json.dumps(view.get_state(), default=str)
    assert not [text for text in ("in many words", "needle", "number 7") if text in state]
    assert result.verdict.sentence in view.state["verdict"]
    bundle = view._repr_mimebundle_()
    assert bundle is not None
    assert {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"} <= set(bundle[0])
    assert "The 20 examples that changed most" in bundle[0]["text/html"]
    view._heard(view, {"do": "page", "query": {"only": "wors"}, "page": 0, "size": 10}, [])
    assert "Did you mean 'worse'?" in view.error
    view._heard(view, {"do": "start"}, [])
    assert "no answers to ask for" in view.error


@pytest.mark.parametrize("reason", ["stopped by hand", "interrupted"])
def test_a_plan_runs_in_the_view(project: Path, monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    """Start, pages while it goes on, Stop (or the kernel's interrupt) with a partial result, then the rest and only that."""
    monkeypatch.delenv("WORKBENCH_STATIC")

    async def go() -> None:
        rules = [Rule(answer="right", delay=0.02)]
        async with Workbench(project, runtimes={"scripted": Scripted(rules)}) as bench:
            view = bench.show(make(bench))
            assert isinstance(view, ComparisonView)
            assert ("plan", 60) == (view.state["phase"], view._plan.estimate.calls)
            with pytest.raises(InputError, match="press Start"):
                _ = view.result
            browser = Listening(view, monkeypatch)
            view._heard(view, {"do": "start"}, [])
            await until(lambda: view.state["phase"] == "running" and view.state["progress"]["done"] > 5)
            assert "of 60 answers" in view.state["progress"]["text"]
            page = browser.ask("page", query={}, page=0, size=100)
            states = [cell["state"] for row in page["rows"] for cell in row["cells"]]
            assert {"fresh", "missing"} == set(states)
            with pytest.raises(InputError, match="wait for its end"):
                _ = view.result
            if reason == "interrupted":
                signal.raise_signal(signal.SIGINT)
            else:
                view._heard(view, {"do": "stop"}, [])
            await until(lambda: view.state["phase"] == "done")
            stopped = view.result.run
            done = stopped.measurements.done
            assert reason == stopped.stopped
            assert 5 < done < 60
            assert "Partial" in view.state["verdict"]
            assert f"Go on: {60 - done} answers are missing" == view.state["again"]
            view._heard(view, {"do": "start"}, [])
            await until(lambda: view.state["phase"] == "running")
            await until(lambda: view.state["phase"] == "done")
            assert view.result.complete
            assert done == int((view.result.run.measurements.state == 2).sum())
            assert not view.state["again"]
            assert "" == view.error

    asyncio.run(go())


def test_showing_again_ends_the_run_before(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One run is left, also when both are of one plan; it goes on with the rows of the first."""
    monkeypatch.delenv("WORKBENCH_STATIC")

    async def go() -> None:
        async with Workbench(project, runtimes={"scripted": Scripted([Rule(answer="right", delay=0.02)])}) as bench:
            plan = make(bench)
            first, started = bench.show(plan), asyncio.all_tasks()
            first._heard(first, {"do": "start"}, [])
            await until(lambda: first.state["phase"] == "running" and first.state["progress"]["done"] > 5)
            second = bench.show(plan)
            second._heard(second, {"do": "start"}, [])
            await until(lambda: second.state["phase"] == "done")
            assert not first.working
            assert "stopped by hand" == first.result.run.stopped
            assert second.result.complete
            assert "" == first.error == second.error
            await until(lambda: asyncio.all_tasks() <= started | {asyncio.current_task()})

    asyncio.run(go())


def test_a_run_that_fails_says_so_and_can_be_started_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is refused: the error shows, and the plan again."""
    monkeypatch.delenv("WORKBENCH_STATIC")

    async def go() -> None:
        rules = [Rule(error="AuthenticationError", times=1), Rule(answer="right")]
        async with Workbench(project, runtimes={"scripted": Scripted(rules)}) as bench:
            view = bench.show(make(bench, 4))
            view._heard(view, {"do": "start"}, [])
            await until(lambda: view.error and not view.working)
            assert "AuthenticationError" in view.error
            assert ("plan", None) == (view.state["phase"], view.state["progress"])
            view._heard(view, {"do": "start"}, [])
            await until(lambda: view.state["phase"] == "done")
            assert ("", True) == (view.error, view.result.complete)

    asyncio.run(go())


def test_a_trace_is_linked_where_langfuse_is(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the call's own trace, which has the id that calls are sent with."""
    monkeypatch.delenv("WORKBENCH_STATIC")
    _, result = finished(project)
    view = ComparisonView(result, None, "https://langfuse.example/")
    opened = Listening(view, monkeypatch).ask("open", query={}, at=3)
    row = result.rows().query("example == 3").iloc[0]
    assert f"https://langfuse.example/trace/{trace_of(row)}" == opened["variants"][0]["repeats"][0]["trace_url"]
    assert not view.state["again"]


def test_failed_calls_are_asked_again_by_name(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that failed is not called missing; one that fails again is told, and the rest of the offer goes with what worked."""
    monkeypatch.delenv("WORKBENCH_STATIC")

    async def go() -> None:
        rules = [
            Rule("number 2 ", error="BadRequestError", times=1),
            Rule("Badly: number 1 ", error="BadRequestError", times=2),
            Rule(answer="right"),
        ]
        async with Workbench(project, runtimes={"scripted": Scripted(rules)}) as bench:
            view = bench.show(make(bench, 4))
            view._heard(view, {"do": "start"}, [])
            offers: list[tuple[str, str]] = []
            seen: list[Comparison] = []
            browser = Listening(view, monkeypatch)
            found = []
            for _ in range(3):
                await until(lambda: view._result is not None and view._result not in seen and not view.working)
                seen.append(view.result)
                offers.append((view.state["again"], view.state["outcome"]))
                found.append(browser.ask("page", query={"search": "badrequest"}, page=0, size=10)["total"])
                view._heard(view, {"do": "start"}, [])
            assert ("Ask the 2 failed calls again", "") == offers[0]
            assert ("Ask the 1 failed call again", "asked again: 1 still failed") == offers[1]
            assert ("", "") == offers[2]
            assert [2, 1, 0] == found  # an error that an answer has replaced is found no more
            assert [note for note in seen[0].notes() if "2 calls failed" in note]
            assert view.result.notes() == view.state["notes"]
            assert "no answers to ask for" in view.error

    asyncio.run(go())


def test_filtered_rows_are_written_as_safe_files(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By call and by message, never over what is there; JSON lines hold texts as they are, and CSV no formula."""
    monkeypatch.delenv("WORKBENCH_STATIC")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(globals(), "RULES", [Rule("number 7 ", "=cmd|' /C calc'!A0"), *RULES[1:]])
    view, _ = finished(project)
    browser = Listening(view, monkeypatch)
    browser.ask("mark", at=7, variant=1, change={"mark": "bad", "comment": "=SUM(1)"}, count=1)
    browser.ask("page", query={"search": "number 7 "}, page=0, size=10)
    told = browser.ask("save", query={"search": "number 7 "}, kind="csv")
    assert ("saved", 2, [told["file"]]) == (told["do"], told["rows"], [path.name for path in tmp_path.glob("*.csv")])
    again = [view.to_csv(), view.to_csv(), view.to_jsonl("mine.jsonl")]
    assert 4 == len({tmp_path / told["file"], *again})
    table = pd.read_csv(again[0])
    assert (tmp_path / told["file"]).read_bytes() == again[0].read_bytes() == again[1].read_bytes()
    assert ["'=cmd|' /C calc'!A0"] * 2 == table["text"].tolist()
    assert ["right", "right"] == table["expected"].tolist()
    assert {"question": "number 7 <b>?"} == json.loads(table["inputs"][0])
    assert "'=SUM(1)" in table["comment"].tolist()
    lines = [json.loads(line) for line in again[2].read_text("utf-8").splitlines()]
    assert (["=cmd|' /C calc'!A0"] * 2, "=SUM(1)") == ([line["text"] for line in lines], lines[1]["comment"])
    assert table["call_id"].tolist() == [line["call_id"] for line in lines]
    with pytest.raises(RunError, match="cannot be written to"):
        view.to_csv(tmp_path / "nowhere" / "x.csv")
    told = browser.ask("save", query={"search": "number 7 "}, kind="html")
    assert ("saved", 1) == (told["do"], told["rows"])
    pages = [tmp_path / told["file"], view.to_html(), view.to_html("mine.html")]
    assert 3 == len(set(pages))
    for page in pages:
        assert "number 7 &lt;b&gt;?" in page.read_text("utf-8")
        assert "number 8 " not in page.read_text("utf-8")


def test_costs_stand_in_the_head_and_in_rows(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What all answers cost as measured, what was spent now, and each answer's own."""
    monkeypatch.delenv("WORKBENCH_STATIC")
    (project / "prices.toml").write_text('["scripted/m"]\ninput = 1.0\noutput = 2.0\n')
    view, result = finished(project)
    total = format_money(float(result.rows()["cost"].sum()))
    assert (
        f"60 answers cost {total}; {format_money(result.run.spent)} spent now in 60 calls, warm-ups and judges."
        == view.state["cost"]
    )
    mine = result.rows().query("variant.str.contains('tell@1')")["cost"].astype(float)
    assert f"{format_money(mine.mean())}/call, {format_money(mine.sum())} in all" in view.state["variants"][0]["facts"]
    row = Listening(view, monkeypatch).ask("page", query={}, page=0, size=10)["rows"][0]
    assert row["cells"][0]["spent"].endswith(f"· {format_money(mine.iloc[0])}")


def test_marks_come_by_message_and_are_on_disk_when_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sent twice is kept once; a filter, the rows and another session have them; what people wrote is text, and no state."""
    monkeypatch.delenv("WORKBENCH_STATIC")
    view, result = finished(project)
    browser = Listening(view, monkeypatch)
    told = browser.ask("mark", at=3, variant=1, change={"mark": "good", "evil": "x"}, count=1)
    assert ("good", 3, 1, 1) == (told["mark"]["mark"], told["at"], told["variant"], told["count"])
    assert ["good"] == result.marks()["mark"].tolist()
    browser.ask("mark", at=3, variant=1, change={"comment": HOSTILE[:100]}, count=2)
    view._heard(view, {"do": "mark", "view": "v", "count": 1, "at": 3, "variant": 1, "change": {"mark": ""}}, [])
    again = browser.ask("mark", at=4, variant=0, change={"star": True}, count=3)
    assert again["mark"]["star"]
    look = {"rendered": True, "hidden": ["tell@1 · scripted/m", 7], "without": ["(why)"], "evil": "x"}
    page = browser.ask("page", query={}, page=0, size=10, look=look)
    assert [["p", ["right"]]] == page["rows"][0]["cells"][1]["tree"]
    assert {"rendered": True, "spread": False, "hidden": ["tell@1 · scripted/m"], "without": ["(why)"]} == view.asked[
        "look"
    ]
    assert "text" not in page["rows"][0]["cells"][1]
    opened = browser.ask("open", query={}, at=3, look=look)
    assert [["p", ["right"]]] == opened["variants"][1]["repeats"][0]["tree"]
    spread = browser.ask("page", query={}, page=0, size=10, look={"spread": True})
    (spread,) = [told for told in browser.heard if told["do"] == "spread"]
    assert "0 worse, 1 the same, 29 better; mean difference 0.97" == spread["differences"]["variants"][1]["text"]
    where = [{"metric": "gain", "side": "above", "value": "0.5", "variant": ""}]
    page = browser.ask("page", query={"where": where, "search": "number 1"}, page=0, size=10)
    assert (11, where) == (page["total"], [view.asked["where"][0] | {"value": "0.5"}])
    assert ["exact_match", "1.00, 11 of 11 passed"] == page["means"]["chosen"][1]["scores"][0]
    page = browser.ask("page", query={"marked": "good"}, page=0, size=10)
    assert ([3], 2, 1) == ([row["at"] for row in page["rows"]], page["marked"]["marked"], page["marked"]["comment"])
    assert "\u202e" not in page["rows"][0]["cells"][1]["mark"]["comment"]
    opened = browser.ask("open", query={}, at=3)
    assert "good" == opened["variants"][1]["mark"]["mark"]
    rows = view.rows()
    assert {(3, ""), (3, "good")} == set(zip(rows["example"], rows["mark"], strict=True))
    other = ComparisonView(result)
    found = Listening(other, monkeypatch).ask("page", query={"marked": "star"}, page=0, size=10)
    assert [4] == [row["at"] for row in found["rows"]]
    assert "needle" not in json.dumps(view.get_state(), default=str)
    assert "needle" not in view._repr_mimebundle_()[0]["text/html"]
    told = browser.ask("mark", at=99, variant=7, change={"star": True}, count=4, fails=True)
    assert (None, 4) == (told["mark"], told["count"])
    assert "to example 99 to mark" in view.error
    monkeypatch.setattr(view._pages, "mark", lambda *_, **__: {}["what a purge took away"])
    assert browser.ask("mark", at=3, variant=1, change={"star": True}, count=5, fails=True)["mark"] is None
    assert "what a purge took away" in view.error
