"""`workbench release …`."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from workbench.cli.guard import guard

if TYPE_CHECKING:
    from workbench.records import Release
    from workbench.releases import Live, Releases

__all__ = ["app"]

app = App(name="release", help="What a feature of your application uses: make it live, see it, go back.")

_Json = Annotated[bool, Parameter(name="--json")]
_Reason = Annotated[str, Parameter(alias="-m")]

app.command(guard)


@app.command
def create(
    feature: str,
    prompt: str,
    *,
    reason: _Reason,
    model: str | None = None,
    params: str = "{}",
    fallback_model: str | None = None,
    fallback_text: str | None = None,
    evidence: str | None = None,
    candidate: bool = False,
) -> None:
    """Release a prompt on a model: a snapshot that is live at once, everywhere.

    Parameters
    ----------
    feature
        What uses it, such as triage-api.
    prompt
        NAME@3 or NAME@label; its text becomes part of the release.
    reason
        Why; the history shows it.
    model
        ENDPOINT/MODEL, by default the settings' one.
    params
        Sampling params as JSON, over those of the prompt, such as '{"temperature": 0}'.
    fallback_model
        Answers when the model cannot.
    fallback_text
        Is answered when no model can.
    evidence
        What justified it, such as the id of a comparison.
    candidate
        Make it, but not live: for an experiment, or for `promote`.
    """
    from workbench.errors import InputError
    from workbench.records import Fallback, Params
    from workbench.workbench import Workbench

    try:
        table = json.loads(params)
    except json.JSONDecodeError as error:
        raise InputError(f"--params: this is not valid JSON: {error}") from None
    if not isinstance(table, dict):
        raise InputError("--params must be a JSON object, such as '{\"temperature\": 0}'.")
    bench = Workbench()
    (variant,) = bench.variants([prompt], [model] if model else None, Params.from_mapping(table, "--params"))
    given = fallback_model is not None or fallback_text is not None
    fallback = Fallback(fallback_model, text=fallback_text) if given else None
    made = bench.releases.create(
        feature, variant, reason=reason, evidence=evidence, fallback=fallback, live=not candidate
    )
    print(_text(f"{made.label}: {'made, not live' if candidate else 'live'}"))
    if variant.prompt.version in bench.prompts.archived(variant.prompt.name):
        print(
            _text(f"note: {variant.prompt.ref} is archived; `workbench prompt history {variant.prompt.name}` says why")
        )
    if made.model_digest is None:
        print("the model's server does not say which weights it serves, so that a change of them cannot be seen")


@app.command(name="list")
def list_(feature: str | None = None, *, json_output: _Json = False) -> None:
    """List what is live for each feature, or all releases of one with its history.

    Parameters
    ----------
    feature
        Only this one, with all its releases and what happened to them.
    json_output
        Print JSON in place of tables.
    """
    import pandas as pd

    from workbench import tables
    from workbench.releases.history import moment

    releases = _releases()
    if feature is not None:
        _list_one(releases, feature, json_output)
        return
    found = [live for name in releases.features() if (live := releases.live(name)) is not None]
    if json_output:
        print(json.dumps([_live(live) for live in found], indent=2))
        return
    rows = [
        {
            "feature": live.feature, "live": live.release.number, "prompt": live.release.prompt_ref,
            "model": live.release.model, "since (UTC)": moment(live.at), "by": live.release.by, "reason": live.release.reason,
            "experiment": "" if live.experiment is None else str(live.experiment.get("name")),
        }
        for live in found
    ]  # fmt: skip
    print(
        tables.to_text(pd.DataFrame(rows))
        if rows
        else "No releases yet: workbench release create FEATURE PROMPT -m 'why'"
    )


def _list_one(releases: Releases, feature: str, json_output: bool) -> None:
    import pandas as pd

    from workbench import tables
    from workbench.releases.history import moment

    found, history = releases.list(feature), releases.history(feature)
    if not found:
        releases.must_be_live(feature)
    states = history.standings
    if json_output:
        from dataclasses import asdict

        plain = [release.to_mapping() | {"state": states.get(release.number)} for release in found]
        print(json.dumps({"releases": plain, "history": [asdict(event) for event in history]}, indent=2))
        return
    rows = [
        {
            "release": r.number, "state": states.get(r.number, ""), "prompt": r.prompt_ref, "model": r.model,
            "made (UTC)": moment(r.created_at), "by": r.by, "reason": r.reason, "evidence": r.evidence or "",
        }
        for r in reversed(found)
    ]  # fmt: skip
    print(f"{tables.to_text(pd.DataFrame(rows), title=f'Releases of {feature}')}\n\n{history}")


@app.command
def show(feature: str, number: int | None = None, *, json_output: _Json = False) -> int:
    """Show a release, and whether its model is still the one that was released (exit code 1 if it is another).

    Parameters
    ----------
    feature
        Such as triage-api.
    number
        By default the live one.
    json_output
        Print JSON.
    """
    from workbench.errors import CallError
    from workbench.releases import check_model
    from workbench.workbench import Workbench

    async def run() -> int:
        async with Workbench() as bench:
            live = bench.releases.must_be_live(feature)
            release = live.release if number is None else bench.releases.get(feature, number)
            try:
                check = check_model(release, await bench.client.describe(release.model))
            except CallError as error:
                check = check_model(release, error)
            if json_output:
                plain = release.to_mapping() | {"live": release.number == live.release.number}
                print(json.dumps(plain | {"model_check": {"ok": check.ok, "says": check.sentence}}, indent=2))
            else:
                print(_text(_shown(release, live)))
                print(_text(f"model      {check.sentence}"))
            return 1 if check.ok is False else 0

    return asyncio.run(run())


def _shown(release: Release, live: Live) -> str:
    from workbench.releases.history import moment

    prompt, fallback = release.prompt, release.fallback
    state = "live" if release.number == live.release.number else f"not live: {live.release.number} is"
    lines = [
        f"{release.label}  ({state})",
        f"made       {moment(release.created_at)} UTC by {release.by}: {release.reason}",
        f"digest     {release.digest[:12]}, prompt {prompt.digest[:12]} ({prompt.kind})",
        f"params     {json.dumps(release.params.to_mapping())}",
    ]
    if release.evidence:
        lines.append(f"evidence   {release.evidence}")
    if fallback is not None:
        lines.append(f"fallback   {json.dumps(fallback.to_mapping(), ensure_ascii=False)}")
    if live.experiment is not None and release.number == live.release.number:
        lines.append(f"experiment {live.experiment.get('name')}")
    texts = [f"[{message.role}]\n{message.content}" for message in prompt.messages] or [prompt.text]
    return "\n".join([*lines, "", *texts, ""])


@app.command
def diff(feature: str, before: int, after: int | None = None) -> None:
    """Show what is different between two releases.

    Parameters
    ----------
    feature
        Such as triage-api.
    before
        The one's number.
    after
        The other's; by default the live one.
    """
    print(_releases().diff(feature, before, after))


@app.command
def rollback(
    feature: str,
    *,
    reason: _Reason | None = None,
    to: str = "previous",
    of: Annotated[int | None, Parameter(name="--from")] = None,
    plan: bool = False,
) -> None:
    """Make an earlier release live again, whole; what changes by it is shown.

    Parameters
    ----------
    feature
        Such as triage-api.
    reason
        Why; the history shows it.
    to
        A release's number, or previous: the one that the live one came after.
    of
        The release to undo: refused if another is live by now, such as because somebody else has undone it.
    plan
        Only show what would change.
    """
    from workbench.errors import InputError

    releases = _releases()
    if to != "previous" and not to.isdecimal():
        raise InputError(f"--to {to!r} must be the number of a release, or previous.")
    if reason is None and not plan:
        raise InputError("a rollback needs a reason, which the history shows: --reason '…'. (--plan only looks.)")
    if of is not None:
        _check_live(feature, releases.must_be_live(feature).release, of)
    planned = releases.plan_rollback(feature, "previous" if to == "previous" else int(to))
    _check_live(feature, planned.current, of)
    print(planned)
    if plan:
        going = f"--from {planned.current.number} --to {planned.target.number}"
        print(f"\nNothing is changed yet. To do it: workbench release rollback {feature} {going} --reason '…'")
    elif reason is not None:
        done = releases.rollback(feature, reason=reason, plan=planned)
        print(_text(f"\nlive now: {done.label}"))


def _check_live(feature: str, live: Release, expected: int | None) -> None:
    from workbench.errors import StalePlanError

    if expected is not None and live.number != expected:
        raise StalePlanError(
            f"release {live.number} of {feature} is live, not {expected}. Nothing was done: look at its history "
            f"(workbench release list {feature}), and decide again."
        )


@app.command
def promote(feature: str, number: int, *, reason: _Reason, evidence: str | None = None) -> None:
    """Make a release live that exists already, such as a candidate that has won its experiment.

    Parameters
    ----------
    feature
        Such as triage-api.
    number
        The release's.
    reason
        Why; the history shows it.
    evidence
        What justified it.
    """
    print(_text(f"{_releases().promote(feature, number, reason=reason, evidence=evidence).label}: live"))


@app.command
def watch(*features: str, once: bool = False, json_output: _Json = False) -> int:
    """Print what is live, and each change as it comes, until Ctrl-C.

    Parameters
    ----------
    features
        By default all that have a release.
    once
        Print what is live now, where it comes from and how old it is, and end; exit code 1 if nothing is known of one.
    json_output
        One JSON object a line.
    """
    releases = _releases()
    names = features or releases.features()
    if not names:
        print("No releases yet: workbench release create FEATURE PROMPT -m 'why'")
        return 1
    seen: dict[str, Any] = {}
    with releases.watch(*names) as watcher:
        for name in names:
            watcher.wait(name)
        while True:
            for name in names:
                state = watcher.state(name)
                now = (state.live, state.source, state.fault)
                if seen.get(name) != now:
                    seen[name] = now
                    _print_state(state, json_output)
            if once:
                return 0 if all(watcher.current(name) is not None for name in names) else 1
            watcher.changed(timeout=1.0)


def _print_state(state: Any, json_output: bool) -> None:
    from datetime import UTC, datetime

    live, age = state.live, state.staleness
    if json_output:
        told = {"feature": state.feature, "source": state.source, "fault": state.fault}
        age = age if age != float("inf") else None
        print(json.dumps(told | {"staleness": age, "live": None if live is None else _live(live)}), flush=True)
        return
    nothing = "nothing is known" if state.fault or not state.answered else "no release of it was made yet"
    what = nothing if live is None else f"{live.release.label} (change {live.sequence})"
    running = "" if live is None or live.experiment is None else f", experiment {live.experiment.get('name')}"
    old = (
        ""
        if live is None or (state.source == "store" and not state.fault)
        else f", from {state.source}, {age:.0f} s old"
    )
    wrong = f"\n         {state.fault}" if state.fault else ""
    print(_text(f"{datetime.now(UTC):%H:%M:%S} UTC {state.feature}: {what}{running}{old}{wrong}"), flush=True)


def _live(live: Live) -> dict[str, Any]:
    release = live.release.to_mapping()
    return {"sequence": live.sequence, "at": live.at, "release": release, "experiment": live.experiment}


def _releases() -> Releases:
    from workbench.workbench import Workbench

    return Workbench().releases


def _text(text: str) -> str:
    """What others have written is shown, not obeyed."""
    from workbench.tables import clean_text

    return clean_text(text)
