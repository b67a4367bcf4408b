"""What the release panel draws, in plain types: texts that the page sets as text."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from workbench import tables
from workbench.errors import InputError
from workbench.online.assignment import CONTROL, Experiment
from workbench.prompts.base import prompt_text
from workbench.prompts.diff import PromptDiff
from workbench.releases.history import moment
from workbench.tables import clean_text, html_text
from workbench.widgets.view import Still

if TYPE_CHECKING:
    from workbench.records import Fallback, Release
    from workbench.releases import Event, History, Live, ReleaseDiff, WatchState

__all__ = ["MOST_EVENTS", "changes_since", "diff_state", "is_away", "panel_state", "still_of"]

MOST_EVENTS = 200
_LATE = 3.0  # seconds without a word of the store, which is asked every second, after which it counts as away


def panel_state(feature: str, watched: WatchState, history: History, releases: Mapping[int, Release]) -> dict[str, Any]:
    """All but plan and comparison. releases: by number, as far as they are known. Its "confirmed": while the store is away, when
    it last said that this is live, in Unix seconds."""
    live, events, away = watched.live, history.events, is_away(watched)
    states = history.standings
    return {
        "feature": feature,
        "asked": watched.answered,
        "sequence": live.sequence if live is not None else 0,
        "live": None if live is None else _live(live, events),
        "previous": history.previous,
        "experiment": None if live is None else _experiment(live),
        "events": [_event(event) for event in reversed(events[-MOST_EVENTS:])],
        "older": max(0, len(events) - MOST_EVENTS),
        "releases": [
            {"number": n, "state": states.get(n, "candidate"), "what": _what(releases[n])}
            for n in sorted(releases, reverse=True)
        ],
        "fault": clean_text(watched.fault or "it says nothing") if away else "",
        "confirmed": time.time() - watched.staleness if away and live is not None else None,
    }


def is_away(watched: WatchState) -> bool:
    """Whether what is known may not be what is live any more."""
    return watched.fault is not None or (watched.live is not None and watched.staleness > _LATE)


def diff_state(diff: ReleaseDiff) -> dict[str, Any]:
    """Two releases: fields that differ, and the prompt's words. pieces: [["=", "-" or "+", text], …]."""
    before, after = diff.before, diff.after
    return {
        "before": before.number,
        "after": after.number,
        "caption": f"release {before.number} ({_what(before)}) → release {after.number} ({_what(after)})",
        "same": not diff,
        "rows": [[clean_text(text) for text in row] for row in diff.rows],
        "pieces": [[piece.kind, clean_text(piece.text)] for piece in PromptDiff(before.prompt, after.prompt).pieces],
    }


def changes_since(history: History, sequence: int) -> str:
    """What happened after change `sequence`, in a line."""
    return "; ".join(
        clean_text(f"{event.sentence or event.kind}, by {event.by}: {event.reason}")
        for event in history
        if event.sequence > sequence
    )


def still_of(state: Mapping[str, Any]) -> Still:
    """The panel where nobody can press anything: what is live, its experiment, and the history."""
    import pandas as pd

    title, live = f"Releases of {state['feature']}", state["live"]
    parts = [] if live is None else [pd.DataFrame(_fields(live), columns=["what", "now"])]
    heads = [f"{state['feature']}: release {live['number']} is live"] if live is not None else []
    if state["experiment"] is not None:
        parts.append(pd.DataFrame(state["experiment"]["arms"], columns=["arm", "release", "share"]))
        heads.append(state["experiment"]["title"])
    if state["events"]:
        events = pd.DataFrame(state["events"])[["seq", "at", "kind", "what", "by", "reason"]]
        parts.append(events.rename(columns={"at": "when (UTC)"}))
        heads.append("history")
    said = []
    if state["fault"]:
        then = f" since {moment(state['confirmed'])} UTC" if state["confirmed"] is not None else ""
        said.append(f"Not in step with the store{then}: {state['fault']}")
    if live is None and not state["fault"]:
        said.append("Nothing is live yet.")
    page = "".join(f"<p>{html_text(line)}</p>" for line in said)
    page += "".join(tables.to_html(part, caption=head) for head, part in zip(heads, parts, strict=True))
    text = [*said, *(tables.to_text(part, title=head) for head, part in zip(heads, parts, strict=True))]
    return Still(f"<div><strong>{html_text(title)}</strong>{page}</div>", "\n".join([title, *text]))


def _fields(live: Mapping[str, Any]) -> list[tuple[str, str]]:
    names = ("prompt", "model", "digest", "params", "fallback", "since", "by", "reason", "evidence")
    return [(name, live[name]) for name in names if live[name]]


def _live(live: Live, events: Iterable[Event]) -> dict[str, Any]:
    """since, by, reason: of the change that made it live, where the history is known; a ramp of an experiment is none."""
    release = live.release
    made = next((e for e in reversed(list(events)) if e.release == release.number and e.release != e.before), None)
    at, by, reason = (live.at, release.by, release.reason) if made is None else (made.at, made.by, made.reason)
    return {
        "number": release.number,
        "prompt": clean_text(release.prompt_ref),
        "text": clean_text(prompt_text(release.prompt)),
        "model": clean_text(release.model),
        "digest": clean_text((release.model_digest or "unknown")[:12]),
        "params": clean_text(_json(release.params.to_mapping()) or "the model's own"),
        "fallback": clean_text(_fallback(release.fallback)),
        "since": f"{moment(at)} UTC",
        "by": clean_text(by),
        "reason": clean_text(reason),
        "evidence": clean_text(release.evidence or ""),
    }


def _event(event: Event) -> dict[str, Any]:
    return {
        "seq": event.sequence,
        "at": moment(event.at),
        "kind": event.kind,
        "what": clean_text(event.sentence),
        "by": clean_text(event.by),
        "reason": clean_text(event.reason) + (f" (evidence: {clean_text(event.evidence)})" if event.evidence else ""),
    }


def _experiment(live: Live) -> dict[str, Any] | None:
    """title, and arms: [arm, release, share of the users]."""
    if live.experiment is None:
        return None
    try:
        found = Experiment.from_mapping(live.experiment)
    except InputError as error:
        return {"title": clean_text(str(error)), "arms": []}
    running = [arm for arm in found.treatments if arm.stopped is None and found.enabled]
    share = found.share if running else 0.0
    control = min(share, 1 - share) if len(found.treatments) == 1 else share
    arms = [[CONTROL, found.control, tables.format_share(control)]]
    for arm in found.treatments:
        stopped = (
            f", stopped by {arm.stopped.get('by')}: {arm.stopped.get('reason')}" if arm.stopped is not None else ""
        )
        arms.append(
            [arm.name, arm.release, clean_text(tables.format_share(share if arm in running else 0.0) + stopped)]
        )
    rest = max(0.0, 1 - control - share * len(running))
    arms.append(["all others", found.control, tables.format_share(round(rest, 12))])
    off = "" if found.enabled else ", switched off"
    where = f", in slice {found.slice[0]:g} to {found.slice[1]:g} of group {found.group}" if found.group else ""
    deciding = f", decided by {found.primary}" if found.primary else ""
    return {"title": clean_text(f"experiment {found.name}{off}{where}{deciding}"), "arms": arms}


def _what(release: Release) -> str:
    return clean_text(f"{release.prompt_ref} · {release.model}")


def _fallback(fallback: Fallback | None) -> str:
    if fallback is None:
        return "none"
    params = f" with {_json(fallback.params.to_mapping())}" if fallback.params is not None else ""
    parts = [f"{fallback.model}{params}"] if fallback.model is not None else []
    return ", then ".join([*parts, *([f"the text “{fallback.text}”"] if fallback.text is not None else [])])


def _json(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {json.dumps(value, ensure_ascii=False)}" for name, value in values.items())
