"""Marks by hand: kept beside the rows, folded change by change, by any number of sessions; nothing that decides reads them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pandas as pd
import pytest

from workbench import Rule, Scripted, Workbench
from workbench.errors import InputError, RunError
from workbench.evaluation.browsing import ExamplePages, Query
from workbench.evaluation.folder import RunFolder
from workbench.evaluation.marks import MARKED, Marks
from workbench.running.progress import silent


@pytest.fixture
def marks(tmp_path: Path) -> Marks:
    """Of a run without rows."""
    return Marks(RunFolder(tmp_path, "r/1"), clock=lambda: 7.0)


def test_sessions_change_only_what_they_name(marks: Marks) -> None:
    """What another one noted on the same answer meanwhile stays; taken away is taken away."""
    other = Marks(RunFolder(marks.path.parent, "r/1"))
    marks.change(3, "a", example_id="m3", calls=["c1"], mark="good")
    other.change(3, "a", example_id="m3", calls=["c1"], comment="  why \ud800 <b>?  ")
    marks.change(3, "a", example_id="m3", calls=["c1"], star=True)
    marks.change(1, "b", example_id="m1", mark="bad")
    marks.change(2, "b", example_id="m2", mark="bad")
    gone = marks.change(2, "b", example_id="m2", mark="")
    assert not gone
    frame = other.frame()
    assert [("m1", "b", "bad", False, ""), ("m3", "a", "good", True, "why \ufffd <b>?")] == list(
        frame[["example_id", "variant", "mark", "star", "comment"]].itertuples(index=False, name=None)
    )
    assert [["c1"]] == frame.query("example == 3")["calls"].tolist()
    assert Marks(RunFolder(marks.path.parent, "r/1")).of(3, "a") == marks.of(3, "a")
    assert 6 == len(marks.path.read_bytes().splitlines())  # nothing was rewritten
    for slip in ({"mark": "fine"}, {"comment": "x" * 20_001}):
        with pytest.raises(InputError):
            marks.change(1, "b", example_id="m1", **slip)  # type: ignore[arg-type]


def test_a_half_written_mark_costs_none_before_or_after_it(marks: Marks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what a killed process leaves, nor what a full disk does not take."""
    marks.change(1, "a", example_id="m1", mark="good")
    with marks.path.open("ab") as file:
        file.write(b'{"event":"mark","example":2')
    assert "bad" == marks.change(2, "a", example_id="m2", mark="bad").mark
    before, real = marks.path.read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:10]))
    with pytest.raises(RunError, match="the mark could not be saved"):
        marks.change(3, "a", example_id="m3", mark="bad")
    monkeypatch.undo()
    assert before == marks.path.read_bytes()
    assert ["m1", "m2"] == marks.frame()["example_id"].tolist()


def test_purge_leaves_no_byte_of_an_example_or_a_call(marks: Marks) -> None:
    """All changes of a mark go, also those that name another call."""
    assert 0 == marks.purge(examples=["m1"])
    marks.change(1, "a", example_id="m1", calls=["secret"], comment="of anna")
    marks.change(1, "a", example_id="m1", calls=["later"], star=True)
    marks.change(2, "a", example_id="m2", calls=["kept"], star=True)
    assert 1 == marks.purge(calls=["secret"], dry_run=True)
    assert 2 == len(marks.frame())
    assert 1 == marks.purge(calls=["secret"])
    assert ["m2"] == marks.frame()["example_id"].tolist()
    assert b"anna" not in marks.path.read_bytes()


def test_marks_choose_examples_and_decide_nothing(project: Path) -> None:
    """By variant or any; the verdict, the runs' order and a resumed run are as before, and the marks are there again."""

    async def go() -> None:
        async with Workbench(
            project, runtimes={"scripted": Scripted([Rule("Badly", "wrong"), Rule(answer="right")])}
        ) as bench:
            for way in ("Well", "Badly"):
                bench.prompts.create("tell", f"{way}: {{{{question}}}}")
            data = pd.DataFrame({"question": [f"number {i}" for i in range(6)], "expected": "right"})

            def plan(count: int) -> object:
                return bench.plan(prompts=["tell@1", "tell@2"], models=["scripted/m"], dataset=data.head(count))

            first = await bench.compare(plan(6), progress=silent)  # type: ignore[arg-type]
            await bench.compare(plan(5), progress=silent)  # type: ignore[arg-type]
            verdict, latest, pages = first.verdict, bench.runs.latest().run_id, ExamplePages(first.run)
            one, two = first.run.measurements.variants
            pages.mark(1, one, mark="good")
            pages.mark(2, two, mark="bad", comment="no")
            pages.mark(4, two, star=True)
            asked = {what: pages.order(Query(marked=what)).tolist() for what in MARKED}
            assert {"": [*range(6)], "marked": [1, 2, 4], "unmarked": [0, 3, 5], "good": [1], "bad": [2], "star": [4],
                    "comment": [2]} == asked  # fmt: skip
            assert [0, 1, 3, 5] == pages.order(Query(marked="unmarked", variant=two)).tolist()
            assert {what: len(found) for what, found in asked.items() if what} == pages.page(Query(), 0)["marked"]
            assert 1 == pages.counts(Query(marked="bad"))["worse"]
            assert latest == bench.runs.latest().run_id
            again = await bench.compare(plan(6), progress=silent)  # type: ignore[arg-type]
            assert verdict == again.verdict
            kept = bench.runs.get(again.run.folder.run_id)
            assert [1, 2, 4] == again.marks()["example"].tolist() == kept.marks()["example"].tolist()
            with pytest.raises(InputError, match="no answer of 'nobody'"):
                pages.mark(1, "nobody", star=True)
            with pytest.raises(InputError, match="to example 6"):
                pages.mark(6, one, star=True)

    asyncio.run(go())
