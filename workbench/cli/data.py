"""`workbench data …`: the project's data sets, and where new ones come from."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

__all__ = ["app"]

app = App(
    name="data",
    help="Data sets: list, make from logged calls or another tool's tests, review, publish; exchange with Langfuse; purge.",
)
importing = App(name="import", help="Take over the tests of another tool.")
app.command(importing)


@app.command(name="list")
def list_() -> int:
    """The project's data sets and drafts."""
    from workbench.tables import to_text
    from workbench.workbench import Workbench

    found = Workbench().datasets.list()
    print(to_text(found) if len(found) else "No data set yet.")
    return 0


@app.command
def from_calls(
    name: str,
    *,
    feature: str | None = None,
    user: str | None = None,
    tenant: str | None = None,
    prompt: str | None = None,
    model: str | None = None,
    days: float = 30,
    failed: bool = False,
    feedback: str | None = None,
    score: str | None = None,
    where: str | None = None,
    limit: int = 200,
    seed: int = 0,
    expected: str | None = None,
) -> int:
    """A draft from logged calls, to be reviewed. Personal data in them comes along: look before you publish.

    Parameters
    ----------
    name
        Of the data set.
    feature
        Only calls of this feature.
    user
        Only calls of this user.
    tenant
        Only calls of this tenant.
    prompt
        Only calls of this prompt: triage, or triage@2.
    model
        Only calls of this model, ENDPOINT/MODEL.
    days
        Of the last so many days.
    failed
        Calls that failed, in place of those that worked.
    feedback
        Only calls with such a feedback: 'helpful < 1'.
    score
        Only calls with such a score: 'faithfulness < 0.5'.
    where
        A condition of SQL over the log's columns.
    limit
        At most so many, drawn at random.
    seed
        Of the draw.
    expected
        answer, or feedback:NAME (the comment of that feedback); by default it is left to the review.
    """
    from workbench.workbench import Workbench

    draft = Workbench().datasets.from_calls(
        name, feature=feature, user=user, tenant=tenant, prompt=prompt, model=model, days=days, errors=failed, feedback=feedback,
        score=score, where=where, limit=limit, seed=seed, expected=expected,
    )  # fmt: skip
    print(draft)
    print(f"Review it: workbench data review {name}")
    return 0


@app.command
def review(name: str, *, accept_all: bool = False) -> int:
    """Look at each example of a draft: Enter accepts, a text is its right answer, r rejects, s skips, q ends. Then publish.

    Parameters
    ----------
    name
        Of the draft.
    accept_all
        Accept every example as it is.
    """
    from workbench.errors import InputError
    from workbench.tables import clean_text
    from workbench.workbench import Workbench

    draft = Workbench().datasets.draft(name)
    waiting = [row for row in draft.rows() if row["metadata"].get("reviewed") is not True]
    if accept_all:
        draft.review(accept=[row["id"] for row in waiting])
        waiting = []
    elif waiting and not sys.stdin.isatty():
        raise InputError(f"a review asks a person. Edit {draft.path}, or accept all as they are by --accept-all.")
    for at, row in enumerate(waiting, 1):
        print(f"\n{at} of {len(waiting)}  {row['id']}")
        for key, value in row["inputs"].items():
            print(f"  {key}: {clean_text(str(value))}")
        print(f"  answered: {clean_text(str(row['metadata'].get('answer')))}")
        print(f"  expected: {clean_text(str(row.get('expected')))}")
        try:
            said = input("Enter accepts, a text is the right answer, r rejects, s skips, q ends > ").strip()
        except EOFError:
            break
        if said == "q":
            break
        if said == "r":
            draft.review(reject=[row["id"]])
        elif said and said != "s":
            draft.review(expected={row["id"]: said})
        elif not said:
            draft.review(accept=[row["id"]])
    print(draft)
    return 0


@app.command
def publish(name: str) -> int:
    """The reviewed examples of a draft as the data set's next version, NAME-v1, NAME-v2 …

    Parameters
    ----------
    name
        Of the draft.
    """
    from workbench.workbench import Workbench

    path = Workbench().datasets.draft(name).publish()
    print(f"{path}: use it by its name, {path.stem}")
    return 0


@app.command
def push(name: str, *, to: str | None = None, json_out: Annotated[bool, Parameter(name="--json")] = False) -> int:
    """Send a data set to Langfuse. Nothing there is overwritten; a push that broke off can be done again.

    Parameters
    ----------
    name
        Of the data set, or its file.
    to
        Its name in Langfuse, by default the same.
    json_out
        As JSON.
    """
    from workbench.workbench import Workbench

    done = Workbench().datasets.push(name, to=to)
    print(json.dumps(done.to_mapping(), indent=2) if json_out else done)
    return 0


@app.command
def pull(name: str, *, to: str | None = None, json_out: Annotated[bool, Parameter(name="--json")] = False) -> int:
    """Write a data set of Langfuse to datasets/NAME.jsonl. Nothing here is overwritten.

    Parameters
    ----------
    name
        Of the data set in Langfuse.
    to
        Its name here, by default the same.
    json_out
        As JSON.
    """
    from workbench.workbench import Workbench

    done = Workbench().datasets.pull(name, to=to)
    print(json.dumps(done.to_mapping(), indent=2) if json_out else done)
    return 0


@importing.command
def promptfoo(file: Path, *, name: str | None = None, toml: Path | None = None) -> int:
    """Promptfoo's tests as a data set for the scorer `checks`, and its prompts. What has no equivalent is listed with its place.

    Parameters
    ----------
    file
        A promptfooconfig.yaml, or a .yaml, .json, .jsonl or .csv of tests.
    name
        Of the data set and the prompt; by default the file's, or its folder's.
    toml
        Write a file for `workbench compare` there.
    """
    from workbench.errors import InputError
    from workbench.workbench import Workbench

    if toml is not None and toml.exists():
        raise InputError(f"{toml} is there already. Name another file, or delete it.")
    done = Workbench().datasets.import_promptfoo(file, name=name)
    print(done)
    if toml is not None:
        with toml.open("x", encoding="utf-8") as target:
            target.write(done.toml())
        print(f"Compare: workbench compare {toml}")
    return 0


@app.command
def purge(
    *,
    user: str | None = None,
    tenant: str | None = None,
    before: str | None = None,
    yes: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """List what is kept of a user, of a tenant or from before a date, and with --yes remove it for good: from the call log,
    comparisons, caches, ratings and data sets made from calls. What Langfuse holds is listed.

    Exit code 1 if something could not be removed, or its name still stands somewhere.

    Parameters
    ----------
    user
        Only this user's.
    tenant
        Only this tenant's.
    before
        Only from before this date (UTC), such as 2026-11-28.
    yes
        Remove it. Without, it is only listed.
    """
    import asyncio

    from workbench.workbench import Workbench

    async def run() -> int:
        async with Workbench() as bench:
            plan = await bench.purging.plan(user=user, tenant=tenant, before=before)
            print(plan)
            if plan.nothing:
                return 0
            if not yes:
                print("\nNothing was removed. The same with --yes removes it for good.")
                return 0
            done = await bench.purging.remove(plan)
            print(f"\n{done}")
            return 0 if done.complete else 1

    return asyncio.run(run())
