"""The release panel without a browser, on a real Valkey: what it tells the page, and what the page may ask for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from workbench.errors import InputError
from workbench.online.experiments import Experiments
from workbench.prompts import draft
from workbench.records import Fallback, Params, Variant
from workbench.releases import Releases
from workbench.stores.keyvalue import KeyValue
from workbench.widgets.release_panel import ReleasePanel, release_panel
from workbench.widgets.view import Still

if TYPE_CHECKING:
    from conftest import Server

Opened = Callable[[Callable[[], Any]], AbstractContextManager[Any]]
Until = Callable[..., Any]
Planned = Callable[..., dict[str, Any]]
HOSTILE = "<script>alert(1)</script>\x07\u202e"


def variant(prompt: str, model: str = "ollama/m") -> Variant:
    """`triage@2` is a prompt with a text of its own; there is no triage@9."""
    name, _, version = prompt.partition("@")
    if version == "9":
        raise InputError("there is no triage@9")
    text = f"Label it as word{version} please: {{{{message}}}}"
    return Variant(replace(draft(name, text), version=int(version)), model, Params(temperature=0.5), "ab" * 32)


@pytest.fixture
def releases(server: Server, tmp_path: Path) -> Iterator[Releases]:
    """Two releases of triage-api, on a server of their own."""
    kv = KeyValue(server.url, tmp_path / "home")
    made = Releases(kv, tmp_path / "home", author="Ada")
    made.create("triage-api", variant("triage@1"), reason="first", fallback=Fallback(text="other"))
    made.create("triage-api", variant("triage@2"), reason=f"better {HOSTILE}", evidence="run 3f2a")
    yield made
    made.close()
    kv.close()


def panel_of(releases: Releases, offer: Variant | None = None) -> ReleasePanel:
    """The panel of triage-api."""
    return ReleasePanel(releases, "triage-api", variant, lambda: (["triage@2"], ["ollama/m"]), offer)


def send(panel: ReleasePanel, **content: Any) -> None:
    panel._heard(panel, content, [])


@pytest.fixture
def planned(until: Until) -> Planned:
    """planned(panel, do=…) is the plan that the panel shows after it was asked for it."""

    def plan(panel: ReleasePanel, **content: Any) -> dict[str, Any]:
        before = panel.plan.get("id")
        send(panel, **content)
        until(lambda: panel.error or panel.plan.get("id") not in {None, before})
        assert panel.error == ""
        return dict(panel.plan)

    return plan


@pytest.fixture
def panel(releases: Releases, monkeypatch: pytest.MonkeyPatch, opened: Opened) -> Iterator[ReleasePanel]:
    """The panel of triage-api."""
    monkeypatch.delenv("WORKBENCH_STATIC")
    with opened(lambda: panel_of(releases)) as made:
        yield made


def test_what_is_live_and_how_it_came_to_that(panel: ReleasePanel, releases: Releases) -> None:
    """Texts are plain, without what could act on a page; the bundle has the widget and, escaped, the still form."""
    live = panel.state["live"]
    facts = (
        live["number"],
        live["prompt"],
        live["model"],
        live["digest"],
        live["params"],
        live["fallback"],
        live["by"],
    )
    assert facts == (2, "triage@2", "ollama/m", "ab" * 6, "temperature 0.5", "none", "Ada")
    assert live["reason"].startswith("better <script>")
    assert "\x07" not in str(panel.state)
    assert "\u202e" not in str(panel.state)
    assert [2, 1] == [event["seq"] for event in panel.state["events"]]
    assert ("", None, 1) == (panel.state["fault"], panel.state["confirmed"], panel.state["previous"])
    bundle = panel._repr_mimebundle_()
    assert bundle is not None
    assert {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"} <= set(bundle[0])
    assert "release 2 is live" in bundle[0]["text/html"]
    assert "&lt;script&gt;" in bundle[0]["text/html"]
    assert "<script>" not in bundle[0]["text/html"]


def test_still_form(releases: Releases, tmp_path: Path, until: Until) -> None:
    """Under WORKBENCH_STATIC it is all there is, and no thread is left."""
    before = threading.active_count()
    still = release_panel(releases, "triage-api", variant, lambda: ([], []))
    assert isinstance(still, Still)
    assert "run 3f2a" in still._repr_html_()
    assert "first" in repr(still)
    assert "Nothing is live yet" in repr(release_panel(releases, "other-api", variant, lambda: ([], [])))
    until(lambda: threading.active_count() <= before)


def test_a_rollback_is_planned_and_needs_a_reason(
    panel: ReleasePanel, releases: Releases, until: Until, planned: Planned
) -> None:
    """Its plan shows fields and words that differ; nothing is done without a reason, or for a plan that is not shown."""
    plan = planned(panel, do="plan_rollback")
    assert "from release 2 to 1" in plan["sentence"]
    assert ["fallback text", "not set", "other"] in plan["diff"]["rows"]
    assert [["-", "word2"], ["+", "word1"]] == [piece for piece in plan["diff"]["pieces"] if piece[0] != "="]
    send(panel, do="apply", plan=plan["id"], reason="  ")
    until(lambda: "needs a reason" in panel.error)
    send(panel, do="apply", plan=plan["id"] - 1, reason="p95")
    assert "plan again" in panel.error
    assert 2 == releases.must_be_live("triage-api").release.number
    send(panel, do="apply", plan=plan["id"], reason="p95 above 2 s")
    until(lambda: panel.state["live"]["number"] == 1)
    until(lambda: panel.said == "Release 1 is live.")
    assert {} == panel.plan
    assert ("rollback", "p95 above 2 s") == (panel.state["events"][0]["kind"], panel.state["events"][0]["reason"])


def test_a_stale_plan_is_refused_with_what_changed(
    panel: ReleasePanel, releases: Releases, until: Until, planned: Planned
) -> None:
    """It is marked as soon as the panel hears of the change, and the store refuses it whenever it comes."""
    plan = planned(panel, do="plan_rollback")
    releases.create("triage-api", variant("triage@3"), reason="a charge is billing", by="Bob")
    stale = until(lambda: panel.plan["stale"])
    assert "release 3 live, in place of 2, by Bob: a charge is billing" in stale
    send(panel, do="apply", plan=plan["id"], reason="p95")
    until(lambda: "Nothing was done" in panel.error)
    assert 3 == releases.must_be_live("triage-api").release.number
    send(panel, do="cancel")
    assert ({}, "") == (panel.plan, panel.error)


def test_release_of_a_prompt_on_a_model(
    panel: ReleasePanel, releases: Releases, until: Until, planned: Planned
) -> None:
    """As planned; the fallback of what is live stays if that is wanted. What cannot be released is said."""
    send(panel, do="plan_release", prompt="triage@9", model="ollama/m")
    until(lambda: panel.error == "there is no triage@9")
    send(panel, do="plan_release", prompt="", model="ollama/m")
    assert "name a prompt's version" in panel.error
    fallback = planned(panel, do="plan_rollback", to=1)
    send(panel, do="apply", plan=fallback["id"], reason="back")
    until(lambda: panel.state["live"]["number"] == 1)
    plan = planned(panel, do="plan_release", prompt="triage@3", model="ollama/other", keep=True)
    assert plan["sentence"] == "Release 3 of triage-api: triage@3 · ollama/other, in place of release 1."
    send(panel, do="apply", plan=plan["id"], reason="new")
    until(lambda: panel.state["live"]["number"] == 3)
    made = releases.must_be_live("triage-api").release
    assert ("ollama/other", Fallback(text="other"), "new") == (made.model, made.fallback, made.reason)


def test_a_candidate_goes_live_and_an_offer_is_released(
    releases: Releases, server: Server, monkeypatch: pytest.MonkeyPatch, opened: Opened, until: Until, planned: Planned
) -> None:
    """The plan says which experiment ends; its arms and shares are shown while it runs."""
    monkeypatch.delenv("WORKBENCH_STATIC")
    candidate = releases.create("triage-api", variant("triage@3"), reason="try", live=False)
    kv = KeyValue(server.url, Path())
    Experiments(releases, kv).start(
        "triage-api", treatment=candidate, share=0.1, name="canary", primary="solved", reason="?"
    )
    with opened(lambda: panel_of(releases, variant("triage@4"))) as panel:
        assert panel.choices["offer"] == "triage@4 · ollama/m"
        arms = [["control", 2, "10%"], ["treatment", 3, "10%"], ["all others", 2, "80%"]]
        assert {"title": "experiment canary, decided by solved", "arms": arms} == panel.state["experiment"]
        plan = planned(panel, do="plan_rollback", to=3)
        assert (False, True) == (plan["rollback"], "The experiment canary would end" in plan["sentence"])
        send(panel, do="apply", plan=plan["id"], reason="it is better")
        until(lambda: panel.state["live"]["number"] == 3)
        assert panel.state["experiment"] is None
        plan = planned(panel, do="plan_release", offer=True)
        send(panel, do="apply", plan=plan["id"], reason="the winner")
        until(lambda: panel.state["live"]["prompt"] == "triage@4")
        assert ["release", "release"] == [event["kind"] for event in panel.state["events"][:2]]
    kv.close()


def test_two_releases_are_compared_and_choices_given(panel: ReleasePanel, until: Until) -> None:
    """By numbers; nonsense is an error on the page."""
    send(panel, do="diff", before=1, after=2)
    until(lambda: panel.diff)
    assert (1, 2, False) == (panel.diff["before"], panel.diff["after"], panel.diff["same"])
    send(panel, do="diff", before=1, after="x")
    assert "must be the number" in panel.error
    send(panel, do="diff", before=1, after=8)
    until(lambda: "there is no release 8" in panel.error)
    send(panel, do="suggest")
    until(lambda: panel.choices.get("prompts") == ["triage@2"])


def test_a_store_that_is_away_is_shown_and_comes_back(panel: ReleasePanel, server: Server, until: Until) -> None:
    """What was live stays on the page, with since when it is not confirmed; a cell is never kept waiting."""
    server.kill()
    until(lambda: panel.state["fault"])
    assert abs(time.time() - panel.state["confirmed"]) < 15
    assert 2 == panel.state["live"]["number"]
    assert "Not in step with the store since" in repr(panel.still())
    send(panel, do="plan_rollback")
    until(lambda: "failed" in panel.error)
    server.start()
    until(lambda: not panel.state["fault"])
    assert panel.state["confirmed"] is None


def test_a_workbench_that_was_closed_is_followed_no_more(panel: ReleasePanel, releases: Releases, until: Until) -> None:
    """And the panel says so."""
    releases.close()
    until(lambda: "was closed" in panel.state["fault"])
    until(lambda: not panel._follower.is_alive())


def test_the_cell_run_again_leaves_one_watcher(
    releases: Releases, monkeypatch: pytest.MonkeyPatch, opened: Opened, until: Until
) -> None:
    """The view that it made before ends."""
    monkeypatch.delenv("WORKBENCH_STATIC")

    def followers() -> list[str]:
        return [
            thread.name
            for thread in threading.enumerate()
            if thread.name in {"workbench-releases", "workbench-panel-follows"}
        ]

    with opened(lambda: panel_of(releases)) as first:
        send(first, do="suggest")
        with opened(lambda: panel_of(releases)) as second:
            until(lambda: sorted(followers()) == ["workbench-panel-follows", "workbench-releases"])
            releases.rollback("triage-api", reason="seen by the second")
            until(lambda: second.state["live"]["number"] == 1)
            assert 2 == first.state["live"]["number"]
