"""The release panel: what is live, how it came to that, and how to change it, in a notebook's cell."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import traitlets

from workbench.errors import InputError, StalePlanError, StoreError
from workbench.records import Variant, check_name
from workbench.releases.diff import ReleaseDiff, ReleasePlan, RollbackPlan
from workbench.releases.history import History
from workbench.tables import clean_text
from workbench.widgets.release_state import changes_since, diff_state, is_away, panel_state, still_of
from workbench.widgets.view import Still, View, asset, is_static
from workbench.widgets.worker import Worker

if TYPE_CHECKING:
    from workbench.records import Release
    from workbench.releases import Releases, Watcher

__all__ = ["ReleasePanel", "release_panel"]

_LOOK = 0.25  # seconds after which the panel looks whether the store still answers
_FIRST = 3.0  # seconds that a cell waits for the store's first answer
_numbers = itertools.count(1)


def release_panel(
    releases: Releases,
    feature: str,
    variant_of: Callable[[str, str], Variant],
    suggest: Callable[[], tuple[list[str], list[str]]],
    offer: Variant | None = None,
) -> ReleasePanel | Still:
    """The panel of a feature; its still form under WORKBENCH_STATIC=1. See `ReleasePanel`."""
    check_name(feature, "feature")
    if not is_static():
        return ReleasePanel(releases, feature, variant_of, suggest, offer)
    with releases.watch(feature) as watcher:
        watcher.wait(timeout=_FIRST)
        return still_of(_Known(releases, feature).state(watcher))


class _Known:
    """History and releases of a feature as they were when the store last answered."""

    def __init__(self, releases: Releases, feature: str) -> None:
        self._releases, self._feature = releases, feature
        self.history = History(feature, ())
        self.releases: dict[int, Release] = {}
        self._sequence = -1
        self._signs: tuple[object, ...] = ()
        self._drawn: dict[str, Any] | None = None

    def state(self, watcher: Watcher) -> dict[str, Any]:
        """What to draw; the same object while nothing has changed. Asks the store for history and new releases if what is live
        is another, or nothing is known."""
        watched = watcher.state(self._feature)
        sequence = watched.live.sequence if watched.live is not None else 0
        if sequence != self._sequence and watched.fault is None:
            with suppress(StoreError):  # the watcher will say so
                self._read()
                self._sequence = sequence
        signs = (watched.live, watched.fault, is_away(watched), watched.answered, self.history)
        if self._drawn is None or signs != self._signs:
            self._signs = signs
            self._drawn = panel_state(self._feature, watched, self.history, self.releases)
        return self._drawn

    def _read(self) -> None:
        history = self._releases.history(self._feature)
        missing = [e.made for e in history if e.made is not None and e.made not in self.releases]
        if len(missing) > 1:
            self.releases = {item.number: item for item in self._releases.list(self._feature)}
        elif missing:
            self.releases |= {missing[0]: self._releases.get(self._feature, missing[0])}
        self.history = history


class ReleasePanel(View):
    """Follows a feature: a watcher's thread hears of changes, another tells the page, a third does what the page asks for; the
    kernel's loop does nothing of it. `end` ends all three.

    A change is planned first. It is done as planned, with the reason that was typed, or not at all if the feature has changed.

    variant_of: from prompt ref and model. suggest: prompt refs and models to choose from. offer: a variant to release, such as a
    comparison's winner.
    """

    _esm = asset("release_panel.js")
    _css = asset("release_panel.css")

    plan = traitlets.Dict().tag(sync=True)
    diff = traitlets.Dict().tag(sync=True)
    choices = traitlets.Dict().tag(sync=True)
    said = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        releases: Releases,
        feature: str,
        variant_of: Callable[[str, str], Variant],
        suggest: Callable[[], tuple[list[str], list[str]]],
        offer: Variant | None = None,
    ) -> None:
        offered = "" if offer is None else f"{offer.prompt.ref} · {offer.model}"
        super().__init__(feature, state={"feature": feature, "asked": False}, choices={"offer": offered})
        self._releases, self._feature = releases, feature
        self._variant_of, self._suggest, self._offer = variant_of, suggest, offer
        self._told: dict[str, Any] | None = None
        self._planned: ReleasePlan | RollbackPlan | None = None
        self._known = _Known(releases, feature)
        self._stop, self._first = threading.Event(), threading.Event()
        self._worker = Worker("workbench-panel-asks", self._failed)
        self._follower = threading.Thread(target=self._follow, name="workbench-panel-follows", daemon=True)
        self._follower.start()
        self._first.wait(_FIRST)

    def still(self) -> Still:
        """What is live and the history, as they are known now."""
        if not self.state.get("asked"):
            return Still(
                "<p>The store of the releases has not answered yet.</p>",
                "The store of the releases has not answered yet.",
            )
        return still_of(self.state)

    def end(self) -> None:
        """Stop following; the threads end within about a second, which nobody waits for. What is shown stays."""
        super().end()
        self._stop.set()
        self._worker.end()

    # -- what the page asks for -----------------------------------------------------------------------------------

    def hear_suggest(self, content: Mapping[str, Any]) -> None:
        """Prompts and models to choose from."""
        self._worker.do(self._choose)

    def hear_diff(self, content: Mapping[str, Any]) -> None:
        """{"before": number, "after": number}"""
        before, after = _number(content, "before"), _number(content, "after")
        self._worker.do(lambda: self._compare(before, after))

    def hear_plan_rollback(self, content: Mapping[str, Any]) -> None:
        """{"to": number}, or the release before the live one."""
        to = _number(content, "to") if content.get("to") else None
        self._worker.do(lambda: self._show_plan(self._plan_of(to)))

    def hear_plan_release(self, content: Mapping[str, Any]) -> None:
        """{"prompt": ref, "model": reference, "keep": whether the live release's fallback stays}, or {"offer": true}."""
        prompt, model = str(content.get("prompt", "")).strip(), str(content.get("model", "")).strip()
        offered, keep = bool(content.get("offer")), bool(content.get("keep"))
        if not offered and not (prompt and model):
            raise InputError("name a prompt's version, such as triage@2, and a model, such as ollama/llama3.2:3b.")
        self._worker.do(lambda: self._show_plan(self._plan_new(prompt, model, offered, keep)))

    def hear_cancel(self, content: Mapping[str, Any]) -> None:
        """Leave the plan."""
        self._show_plan(None)

    def hear_apply(self, content: Mapping[str, Any]) -> None:
        """{"plan": its id, "reason": text}"""
        plan = self._planned
        if plan is None or content.get("plan") != self.plan.get("id"):
            raise InputError("this plan is not the one that is shown now: plan again.")
        reason = str(content.get("reason", ""))
        self._worker.do(lambda: self._apply(plan, reason))

    # -- in the worker's thread -----------------------------------------------------------------------------------

    def _choose(self) -> None:
        prompts, models = self._suggest()
        self.choices = self.choices | {"prompts": prompts, "models": models}

    def _compare(self, before: int, after: int) -> None:
        found = [self._known.releases.get(n) or self._releases.get(self._feature, n) for n in (before, after)]
        self.diff = diff_state(ReleaseDiff(*found))

    def _plan_of(self, to: int | None) -> ReleasePlan | RollbackPlan:
        """A rollback; of a candidate, that was never live, a release."""
        plan = self._releases.plan_rollback(self._feature, "previous" if to is None else to)
        if self._releases.history(self._feature).standings.get(plan.target.number) != "candidate":
            return plan
        return ReleasePlan(plan.feature, plan.sequence, plan.current, plan.target, plan.experiment)

    def _plan_new(self, prompt: str, model: str, offered: bool, keep: bool) -> ReleasePlan:
        variant = self._offer if offered and self._offer is not None else self._variant_of(prompt, model)
        live = self._releases.live(self._feature) if keep else None
        return self._releases.plan_release(
            self._feature, variant, fallback=live.release.fallback if live is not None else None
        )

    def _show_plan(self, plan: ReleasePlan | RollbackPlan | None) -> None:
        with self._lock:
            self._planned, self.said = plan, ""
            self.plan = {} if plan is None else _plan_state(plan)

    def _apply(self, plan: ReleasePlan | RollbackPlan, reason: str) -> None:
        feature, number, sequence = self._feature, plan.target.number, plan.sequence
        try:
            if isinstance(plan, RollbackPlan):
                made = self._releases.rollback(feature, reason=reason, plan=plan)
            elif number in self._known.releases:
                made = self._releases.promote(feature, number, reason=reason, expect_sequence=sequence)
            else:
                made = self._releases.create(feature, plan.target, reason=reason, expect_sequence=sequence)
        except StalePlanError:
            self._mark_stale(self._releases.history(feature))
            raise
        self._show_plan(None)
        self.said = f"Release {made.number} is live."

    # -- in the follower's thread ---------------------------------------------------------------------------------

    def _follow(self) -> None:
        with self._releases.watch(self._feature) as watcher:
            watcher.wait(timeout=_FIRST)
            while not (self._stop.is_set() or watcher.closed):
                live = watcher.current(self._feature)
                try:
                    self._tell(watcher)
                except Exception as problem:  # noqa: BLE001  a thread that ends would leave the page behind
                    self._failed(problem)
                self._first.set()
                watcher.next(after=live, timeout=_LOOK)
            if not self._stop.is_set():
                closed = "the workbench was closed: run the cell again"
                self.state = self.state | {"fault": closed, "confirmed": time.time() - watcher.staleness(self._feature)}
            self._first.set()

    def _tell(self, watcher: Watcher) -> None:
        state = self._known.state(watcher)
        if state is self._told:
            return
        self.state = self._told = state
        plan = self._planned
        if plan is not None and state["sequence"] > plan.sequence:
            self._mark_stale(self._known.history)

    def _mark_stale(self, history: History) -> None:
        """Say in the plan what has changed since it was made."""
        with self._lock:
            plan = self._planned
            if plan is not None and (changes := changes_since(history, plan.sequence)):
                self.plan = self.plan | {"stale": f"{self._feature} has changed since this plan was made: {changes}"}


def _plan_state(plan: ReleasePlan | RollbackPlan) -> dict[str, Any]:
    return {
        "id": next(_numbers),
        "rollback": isinstance(plan, RollbackPlan),
        "sentence": clean_text(plan.sentence),
        "number": plan.target.number,
        "diff": None if plan.diff is None else diff_state(plan.diff),
        "stale": "",
    }


def _number(content: Mapping[str, Any], name: str) -> int:
    value = content.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{name} = {value!r} must be the number of a release.")
    return value
