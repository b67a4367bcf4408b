"""What a playground's view shows around its fields, and its still form."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from workbench import tables
from workbench.errors import InputError, PromptError
from workbench.playground import Playground, Run
from workbench.playground.sampling import read_params, typed_params
from workbench.prompts import PromptDiff, near_note
from workbench.prompts.template import PLACEHOLDER, ROLES
from workbench.records import Prompt
from workbench.tables import clean_text
from workbench.widgets.view import Still, paragraphs

__all__ = ["row_of", "state_of", "still_playground", "when"]

_PREVIEW = 80  # characters
_VERSIONS = 100  # in the lists


def state_of(play: Playground) -> dict[str, Any]:
    """What is around the fields."""
    base, diff, data = play.base, play.diff(), play.dataset
    known = play.versions[::-1]
    versions = [
        [item.version, _line_of(item)]
        for at, item in enumerate(known)
        if at < _VERSIONS or item.version == base.version
    ]
    example = play.example
    variables = play.variables
    problem, hint = _problem_and_hint(play)
    missing = [] if data is None else [name for name in variables if name not in data.inputs]
    return {
        "ref": base.ref, "prompt": base.name, "prompts": play.names, "version": base.version, "kind": play.kind,
        "roles": [*ROLES, PLACEHOLDER],
        "versions": versions,
        "edited": play.edited, "typed": bool(play.params),
        "problem": problem, "hint": hint, "diff": [] if diff is None else [list(piece) for piece in diff.shown],
        "changes": [] if diff is None else _changes(diff), "params_problem": _params_problem(play),
        "variables": variables, "slots": play.slots,
        "defaults": {name: clean_text(text) for name, text in typed_params(base.config.get("params") or {}).items()},
        "columns": [{"model": column.model, "version": column.version, "params": column.params} for column in play.columns],
        "dataset": "" if data is None else data.name, "examples": 0 if data is None else len(data),
        "example": None if example is None else {
            "at": example.at, "id": clean_text(example.example.id),
            "expected": "" if example.example.expected is None else clean_text(str(example.example.expected))[:2000],
        },
        "missing": missing,
    }  # fmt: skip


def _problem_and_hint(play: Playground) -> tuple[str, str]:
    """What is wrong with the text; what of an edited one was probably meant otherwise."""
    try:
        prompt = play.prompt()
    except PromptError as error:
        return clean_text(str(error)), ""
    return "", clean_text(near_note(prompt)) if play.edited else ""


def _params_problem(play: Playground) -> str:
    try:
        read_params(play.params)
    except InputError as error:
        return clean_text(str(error))
    return ""


def _changes(diff: PromptDiff) -> list[str]:
    """What else than words differs."""
    return [clean_text(f"{what}: {before} → {after}") for what, before, after in diff.rows]


def _line_of(version: Prompt) -> str:
    parts = [str(version.version), version.author, " ".join(version.message.split())]
    return clean_text(" · ".join(part for part in parts if part))[:_PREVIEW]


def when(run: Run) -> str:
    """Date and time, of this machine's zone."""
    return datetime.fromtimestamp(run.at).strftime("%Y-%m-%d %H:%M:%S")


def row_of(run: Run) -> dict[str, str]:
    """One line of the history."""
    values = (
        " · ".join(" ".join(value.split()) for value in run.inputs.values() if value)
        if run.kept
        else "(texts not kept)"
    )
    models = ", ".join(dict.fromkeys(model for model, _ in run.columns))
    answers = (
        " | ".join(" ".join(answer.whole[:200].split())[:40] for answer in run.answers if answer.whole)
        if run.kept
        else ""
    )
    return {
        "id": run.id, "when": when(run), "title": clean_text(run.title), "models": clean_text(models),
        "values": clean_text(values[:_PREVIEW]), "answers": clean_text(answers[:_PREVIEW]),
    }  # fmt: skip


def still_playground(play: Playground) -> Still:
    """The columns of the last run as a table; of this session, else the latest of this prompt in the history."""
    import pandas as pd

    run = play.ran or next((run for run in play.history.latest() if run.prompt == play.base.name), None)
    if run is None:
        return paragraphs(
            "Playground", [f"{play.base.ref} on {', '.join(c.model for c in play.columns)}: not run yet."]
        )
    rows: list[dict[str, str]] = []
    for answer in run.answers:
        told = {name: value for name, value in answer.figures() if name != "tokens"}
        text = answer.failure or answer.whole or ("(not kept)" if not run.kept else "(empty)")
        rows.append({"asked": answer.title, "answer": f"{text} {answer.remark()}".strip(), **told})
    names = dict.fromkeys(name for row in rows for name in row)
    frame = pd.DataFrame([{name: row.get(name, "–") for name in names} for row in rows])
    values = "; ".join(
        f"{name} = {' '.join(value.split())[:_PREVIEW]}" for name, value in run.inputs.items() if run.kept
    )
    title = f"Playground: {run.title}, {when(run)}{': ' + values if values else ''}"
    return Still(tables.to_html(frame, caption=title), f"{clean_text(title)}\n{tables.to_text(frame)}")
