"""`workbench prompt …`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from workbench.prompts import FilePrompts

__all__ = ["app"]

app = App(name="prompt", help="List, show and create prompt versions.")


def _prompts() -> FilePrompts:
    from workbench.workbench import Workbench

    return Workbench().prompts


@app.command(name="list")
def list_() -> None:
    """List the prompts of this project with their latest version."""
    import pandas as pd

    from workbench import tables

    rows = [
        {"prompt": p.ref, "kind": p.kind, "variables": ", ".join(p.variables), "author": p.author, "message": p.message}
        for p in _prompts().list()
    ]
    print(tables.to_text(pd.DataFrame(rows)) if rows else "No prompts yet: workbench prompt create NAME --text '…'")


@app.command
def show(ref: str) -> None:
    """Print a prompt version.

    Parameters
    ----------
    ref
        NAME, NAME@3 or NAME@label.
    """
    from workbench.tables import clean_text

    prompt = _prompts().get(ref)
    lines = [f"{prompt.ref}  ({prompt.kind}, {prompt.digest[:12]}, by {prompt.author}, {prompt.created_at})"]
    if prompt.message:
        lines.append(prompt.message)
    if prompt.config:
        lines.append(f"config: {json.dumps(dict(prompt.config))}")
    lines += ["", *(f"[{message.role}]\n{message.content}\n" for message in prompt.messages)]
    if prompt.text:
        lines.append(prompt.text)
    # a prompt may come from elsewhere: its signs are shown, not obeyed
    print(clean_text("\n".join(lines)))


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
    from workbench.records import Params

    if text is not None and file is not None:
        raise InputError("--text and --file were both given: use one of them.")
    try:
        if file is not None:
            content = file.read_text("utf-8")
        else:
            content = text if text is not None else sys.stdin.read()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--file {file}: {error}") from None
    try:
        body = json.loads(content) if file is not None and file.suffix == ".json" else content
        table = json.loads(params)
    except json.JSONDecodeError as error:
        raise InputError(f"this is not valid JSON: {error}") from None
    if not isinstance(table, dict):
        raise InputError("--params must be a JSON object, such as '{\"temperature\": 0}'.")
    chosen = Params.from_mapping(table, "--params").to_mapping()
    prompt = _prompts().create(name, body, kind=kind, message=message, config={"params": chosen} if chosen else None)
    print(prompt.ref)
