"""`workbench prompt …`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from workbench.cli.trying import try_prompt

if TYPE_CHECKING:
    from workbench.prompts.sync_state import SyncDone, SyncStatus
    from workbench.records import Prompt
    from workbench.standing import PromptStatus
    from workbench.workbench import Workbench

__all__ = ["app"]

app = App(
    name="prompt", help="Prompt versions: list, show, create, try, compare, label, put away; push and pull to Langfuse."
)

app.command(try_prompt, name="try")

_Json = Annotated[bool, Parameter(name="--json")]
_Reason = Annotated[str, Parameter(alias="-m")]


@app.command(name="list")
def list_(*, search: str | None = None, archived: bool = False, json_output: _Json = False) -> None:
    """List the prompts of this project: latest version, labels, and what became of it (from the releases and the ledger).

    Parameters
    ----------
    search
        Only versions that hold these words, in name, text, labels, variables, author or message.
    archived
        With what is archived.
    json_output
        Print JSON.
    """
    bench = _bench()
    if search is not None:
        found = bench.prompts.search(search, archived=archived)
        _print(json.dumps([vars_of(hit) for hit in found], indent=2) if json_output else str(found), raw=json_output)
        return
    prompts = [bench.prompts.versions(name)[-1] for name in bench.prompts.names()] if archived else bench.prompts.list()
    rows = [_row(prompt, bench.standings.of(prompt)) for prompt in prompts]
    if json_output:
        print(json.dumps(rows, indent=2))
        return
    import pandas as pd

    from workbench import tables

    for row in rows:
        row.pop("digest")
    print(tables.to_text(pd.DataFrame(rows)) if rows else "No prompts yet: workbench prompt create NAME --text '…'")


def _row(prompt: Prompt, status: PromptStatus) -> dict[str, str]:
    return {
        "prompt": prompt.ref, "kind": prompt.kind, "variables": ", ".join(prompt.variables),
        "labels": ", ".join(status.labels), "status": status.state, "author": prompt.author, "message": prompt.message,
        "digest": prompt.digest,
    }  # fmt: skip


@app.command
def show(ref: str, *, resolved: bool = False, json_output: _Json = False) -> None:
    """Print a prompt version and what became of it.

    Parameters
    ----------
    ref
        NAME, NAME@3 or NAME@label.
    resolved
        With the text of all that it includes.
    json_output
        Print JSON.
    """
    bench = _bench()
    prompt = _get(bench, ref)
    status = bench.standings.of(prompt)
    if resolved:
        prompt = bench.prompts.resolve(prompt)
    if json_output:
        from workbench.records import asdict_prompt

        print(json.dumps(asdict_prompt(prompt) | {"status": status.state, "labels": list(status.labels)}, indent=2))
        return
    lines = [f"{prompt.ref}  ({prompt.kind}, {prompt.digest[:12]}, by {prompt.author}, {prompt.created_at})"]
    lines += [prompt.message] if prompt.message else []
    lines.append(f"status: {status.state}" + (f"; labels: {', '.join(status.labels)}" if status.labels else ""))
    if prompt.config:
        lines.append(f"config: {json.dumps(dict(prompt.config), ensure_ascii=False)}")
    lines += ["", *(f"[{message.role}]\n{message.content}\n" for message in prompt.messages)]
    if prompt.text:
        lines.append(prompt.text)
    _print("\n".join(lines))


@app.command
def create(
    name: str,
    *,
    text: str | None = None,
    file: Path | None = None,
    kind: Literal["chat", "text", "completion"] | None = None,
    message: Annotated[str, Parameter(alias="-m")] = "",
    params: str = "{}",
) -> None:
    """Create a version of a prompt; an equal one is found again, not made twice.

    Parameters
    ----------
    name
        The prompt's name.
    text
        The prompt with its {{variables}}; or use --file, or give it on standard input.
    file
        A text file with the prompt; a .json file holds a list of chat messages ({"role": …, "content": …}).
    kind
        text (one user message, the default), chat, or completion (sent raw, without a chat template).
    message
        Why this version was made.
    params
        Sampling params that travel with the prompt, as JSON, such as '{"temperature": 0, "max_tokens": 5}'.
    """
    from workbench.errors import InputError
    from workbench.prompts import near_note
    from workbench.records import Params

    if text is not None and file is not None:
        raise InputError("--text and --file were both given: use one of them.")
    try:
        if file is not None:
            content = file.read_text("utf-8")
        else:
            content = text if text is not None else sys.stdin.read()
    except OSError as error:
        raise InputError(f"--file {file}: {error.strerror or error}. Give the path of a text file.") from None
    except UnicodeDecodeError as error:
        where = "standard input" if file is None else f"--file {file}"
        raise InputError(f"{where} is not UTF-8 text: {error.reason} at byte {error.start}.") from None
    body = _json(content, f"--file {file}") if file is not None and file.suffix == ".json" else content
    table = _json(params, "--params")
    if not isinstance(table, dict):
        raise InputError("--params must be a JSON object, such as '{\"temperature\": 0}'.")
    chosen = Params.from_mapping(table, "--params").to_mapping()
    config = {"params": chosen} if chosen else None
    made = _bench().prompts.create(name, body, kind=kind, message=message, config=config)
    print(made.ref)
    if note := near_note(made):
        print(f"note: {note}", file=sys.stderr)


@app.command
def diff(before: str, after: str | None = None, *, html: Path | None = None) -> int:
    """Show which words differ between two versions, and what else. Exit code 1 if they differ.

    Parameters
    ----------
    before
        NAME@2, NAME@label or NAME.
    after
        The other one; by default the latest version of the same prompt.
    html
        Write a page to this file.
    """
    from workbench.errors import InputError
    from workbench.prompts import PromptDiff, parse_ref

    bench = _bench()
    after = after or parse_ref(before).name
    found = PromptDiff(_get(bench, before), _get(bench, after))
    if html is None:
        print(found.to_text(colour=sys.stdout.isatty()))
        return 1 if found else 0
    try:
        html.write_text(found.to_html(), "utf-8")
    except OSError as error:
        raise InputError(f"--html {html}: {error.strerror or error}") from None
    _print(f"{html} is written")
    return 1 if found else 0


@app.command
def label(
    ref: str,
    label: str,
    *,
    reason: _Reason,
    because: Literal["comparison", "incident", "decision"] | None = None,
    evidence: str = "",
    remove: bool = False,
) -> None:
    """Put a label on a version, or take it off. It is a bookmark: only a release makes something live.

    Parameters
    ----------
    ref
        NAME@2, NAME@label or NAME (the latest). With --remove, NAME is enough.
    label
        Such as candidate.
    reason
        Why; the history shows it.
    because
        The reason's name, which a protected label needs.
    evidence
        What justified it, such as the id of a comparison.
    remove
        Take it off.
    """
    bench = _bench()
    if remove:
        stood = bench.prompts.unlabel(ref, label, reason=reason, because=because, evidence=evidence)
        name = ref.partition("@")[0]
        _print(f"{name} had no {label} any more" if stood is None else f"{label}: taken off {name}@{stood}")
        _say_mirrored(bench)
        return
    before = bench.prompts.labels(bench.prompts.get(ref).name).get(label)
    prompt = bench.prompts.label(ref, label, reason=reason, because=because, evidence=evidence)
    said = "it stood there already" if before == prompt.version else "new" if before is None else f"it was on {before}"
    _print(f"{label}: {prompt.ref} ({said})")
    _say_mirrored(bench)


@app.command
def protect(label: str, *, reason: _Reason, prompt: str | None = None, off: bool = False) -> None:
    """Let a label move only for a named reason (`label --because`).

    Parameters
    ----------
    label
        Such as production.
    reason
        Why; the history shows it.
    prompt
        Only of this prompt; by default of all.
    off
        End the protection.
    """
    _bench().prompts.protect(label, reason=reason, name=prompt, on=not off)
    _print(f"{label} of {prompt or 'all prompts'}: {'no longer protected' if off else 'protected'}")


@app.command
def history(name: str, *, json_output: _Json = False) -> None:
    """Show all that happened to a prompt: versions, labels, what was put away, and where it was released.

    Parameters
    ----------
    name
        The prompt's name.
    json_output
        Print JSON.
    """
    bench = _bench()
    found = bench.prompts.history(name)
    if json_output:
        print(json.dumps([vars_of(row) for row in found], indent=2))
        return
    print(found)
    for prompt in bench.prompts.versions(name):
        _print(f"{prompt.ref}: {bench.standings.of(prompt).state}")


@app.command
def archive(ref: str, *, reason: _Reason, restore: bool = False) -> None:
    """Put a version away: it is not listed and nobody's latest, and can still be read by its number.

    Parameters
    ----------
    ref
        NAME@2, or NAME for all versions.
    reason
        Why; the history shows it.
    restore
        Take it back.
    """
    bench = _bench()
    done = (bench.prompts.restore if restore else bench.prompts.archive)(ref, reason=reason)
    name, what = ref.partition("@")[0], "restored" if restore else "archived"
    nothing = f"{ref} is not archived" if restore else f"{ref} was archived already"
    _print(f"{what}: {', '.join(f'{name}@{number}' for number in done)}" if done else nothing)
    for number in () if restore else done:
        state = bench.standings.of(bench.prompts.get(f"{name}@{number}"))
        if any(item.state == "active" for item in state.standings or ()):
            _print(f"{name}@{number} goes on being live ({state.state}): releases hold a copy of it")


@app.command
def status(*names: str, json_output: _Json = False) -> int:
    """Show what differs between files and Langfuse: versions, numbers, labels. Exit code 1 if anything does.

    Parameters
    ----------
    names
        Prompts; by default all.
    json_output
        Print JSON.
    """
    return _told(_bench().prompts.status(*names), json_output)


@app.command
def push(*names: str, overrule: tuple[str, ...] = (), json_output: _Json = False) -> int:
    """Send the versions that Langfuse lacks, and move its labels to where they stand here. Nothing there is overwritten.

    Exit code 1 if something was not sent, or a label stands elsewhere because somebody moved it in Langfuse.

    Parameters
    ----------
    names
        Prompts; by default all.
    overrule
        A label that is moved back although somebody moved it in Langfuse; may be given more than once.
    json_output
        Print JSON.
    """
    return _told(_bench().prompts.push(*names, overrule=overrule), json_output)


@app.command
def pull(*names: str, json_output: _Json = False) -> int:
    """Make the versions here that only Langfuse has. No label moves; those that were moved there are told.

    Exit code 1 if something was not fetched, or a label stands elsewhere because somebody moved it in Langfuse.

    Parameters
    ----------
    names
        Prompts; by default all.
    json_output
        Print JSON.
    """
    return _told(_bench().prompts.pull(*names), json_output)


def _told(found: SyncStatus | SyncDone, json_output: bool) -> int:
    """Print what a sync found or did; the exit code that it stands for."""
    print(json.dumps(found.to_mapping(), indent=2) if json_output else found)
    return 0 if found.ok else 1


def _json(text: str, where: str) -> Any:
    from workbench.errors import InputError

    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{where} is not valid JSON: {error}") from None


def _bench() -> Workbench:
    from workbench.workbench import Workbench

    return Workbench()


def _say_mirrored(bench: Workbench) -> None:
    """What became of the label in Langfuse."""
    if bench.prompts.mirrored is not None:
        _print(bench.prompts.mirrored.sentence)


def _get(bench: Workbench, ref: str) -> Prompt:
    return bench.prompts.get(ref)


def vars_of(item: Any) -> dict[str, Any]:
    """A record's fields, for JSON."""
    from dataclasses import asdict

    return asdict(item)


def _print(text: str, *, raw: bool = False) -> None:
    """What others have written is shown, not obeyed."""
    from workbench.tables import clean_text

    print(text if raw else clean_text(text))
