"""`bench.show`: which view a thing has, and its still form."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from workbench import Rule, Scripted, Workbench
from workbench.errors import InputError
from workbench.evaluation.ratings.session import RatingSession
from workbench.running.progress import silent
from workbench.widgets.rating import RatingView


async def _session(bench: Workbench, scale: str = "pass/fail") -> RatingSession:
    bench.prompts.create("tell", "Badly: {{question}}")
    bench.prompts.create("tell", "Well: {{question}}")
    data = pd.DataFrame({"question": [f"<b>{i}</b>\x07" for i in range(4)], "expected": "x"})
    plan = bench.plan(prompts=["tell@1", "tell@2"], models=["scripted/m"], dataset=data)
    result = await bench.compare(plan, progress=silent)
    return bench.ratings.session(result, rater="ana", question="<i>Good</i>?", scale=scale)


def shown(project: Path, scale: str = "pass/fail") -> tuple[Any, RatingSession]:
    """The view of a session, and the session."""

    async def go() -> tuple[Any, RatingSession]:
        rules = [Rule("Badly", "wrong <script>1</script>"), Rule(answer="right")]
        async with Workbench(project, runtimes={"scripted": Scripted(rules)}) as bench:
            session = await _session(bench, scale)
            return bench.show(session), session

    return asyncio.run(go())


def test_still_form_of_a_session(project: Path) -> None:
    """Question and progress, escaped; no answer, since nobody could vote on it there."""
    view, _ = shown(project)
    assert not isinstance(view, RatingView)
    page = view._repr_html_()
    assert "&lt;i&gt;Good&lt;/i&gt;?" in page
    assert "ana: 0 of 8 rated" in page
    assert "right" not in page
    assert "0 of 8 rated" in repr(view)


def test_the_widget_tells_the_browser_what_a_rater_may_see(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And takes votes, undo and nonsense; its bundle has the still form too."""
    monkeypatch.delenv("WORKBENCH_STATIC")
    view, session = shown(project)
    assert isinstance(view, RatingView)
    state = view.state
    assert not [word for word in ("tell@", "scripted", "Badly", "Well") if word in str(state)]
    assert "\x07" not in str(state)
    card = state["card"]["id"]
    view._heard(view, {"do": "vote", "vote": "pass", "card": card}, [])
    view._heard(view, {"do": "vote", "vote": "pass", "card": card}, [])  # twice
    assert (1, 1) == (view.state["rated"], session.progress.rated)
    view._heard(view, {"do": "undo"}, [])
    assert (0, card) == (view.state["rated"], view.state["card"]["id"])
    view._heard(view, {"do": "vote", "vote": "excellent", "card": card}, [])
    assert "not on the scale" in view.error
    view._heard(view, "nonsense", [])
    view._heard(view, {"do": "skip", "card": card}, [])
    assert (1, "") == (view.state["skipped"], view.error)
    bundle = view._repr_mimebundle_()
    assert bundle is not None
    assert {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"} <= set(bundle[0])
    assert "1 skipped" in bundle[0]["text/html"]


def test_what_has_no_view_is_named() -> None:
    """With what can be shown."""
    from workbench.widgets import show

    with pytest.raises(InputError, match="no view of a int"):
        show(3)


def test_a_cell_that_is_run_again_ends_what_it_made_and_only_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two views of one run stay; a view of another cell stays; without cells the key tells."""
    from workbench.widgets import view

    class Ended:
        count = 0

        def end(self) -> None:
            self.count += 1

    def run(cell: str, message: str, key: str = "k") -> Ended:
        monkeypatch.setattr(view, "_cell", lambda: (cell, message))
        made = Ended()
        view.in_place_of_older(made, key)
        return made

    monkeypatch.setattr(view, "_living", {})
    first, second, other = run("a", "1"), run("a", "1"), run("b", "2")
    assert (0, 0, 0) == (first.count, second.count, other.count)
    third = run("a", "3")
    assert (1, 1, 0, 0) == (first.count, second.count, other.count, third.count)
    alone, beside = run("", "", "x"), run("", "", "y")
    run("", "", "x")
    assert (1, 0) == (alone.count, beside.count)
