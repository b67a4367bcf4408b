"""`workbench runs …`: finished comparisons."""

from __future__ import annotations

import json
from typing import Annotated

from cyclopts import App, Parameter

__all__ = ["app"]

app = App(
    name="runs",
    help="Finished comparisons: list them, say what changed from one to another, and push them to Langfuse.",
)


@app.command(name="list")
def list_(*, limit: int = 20, json_out: Annotated[bool, Parameter(name="--json")] = False) -> int:
    """The latest comparisons: run, date, data, variants and verdict.

    Parameters
    ----------
    limit
        At most so many.
    json_out
        As JSON.
    """
    from workbench.tables import to_text
    from workbench.workbench import Workbench

    found = Workbench().runs.list().head(limit)
    if json_out:
        print(found.to_json(orient="records", date_format="iso", indent=2))
        return 0
    if not len(found):
        print("No comparison yet: run `workbench compare`.")
        return 0
    found["at"] = found["at"].map(lambda at: f"{at:%Y-%m-%d %H:%M}" if at == at and at is not None else "")
    print(to_text(found[["run", "at", "examples", "variants", "verdict"]]))
    return 0


@app.command
def diff(
    before: str | None = None,
    after: str | None = None,
    *,
    variant: list[str] | None = None,
    json_out: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """What changed from one run to another: prompt, weights, data, judge, price; and what that did, paired by example.

    Parameters
    ----------
    before
        A run's id, or its beginning, from `workbench runs list`. Without any: the two latest of one data set.
    after
        The later run.
    variant
        Give it twice: which variant of the earlier run is held against which of the later one.
    json_out
        As JSON.
    """
    from workbench.errors import InputError
    from workbench.workbench import Workbench

    if (before is None) != (after is None):
        raise InputError("name two runs, or none for the two latest of one data set. See workbench runs list.")
    if variant is not None and len(variant) != 2:
        raise InputError("--variant must be given twice: one of the earlier run, one of the later.")
    found = Workbench().runs.compare(before, after, variants=(variant[0], variant[1]) if variant else None)
    print(json.dumps(found.to_mapping(), indent=2) if json_out else found)
    return 0


@app.command
def push(run: str, *, to: str | None = None, json_out: Annotated[bool, Parameter(name="--json")] = False) -> int:
    """Send a finished comparison to Langfuse: a dataset run for each variant, with traces, scores and verdict.

    Parameters
    ----------
    run
        Its id, or its beginning, from `workbench runs list`.
    to
        The data set's name in Langfuse, by default the same; it is pushed if it is not there.
    json_out
        As JSON.
    """
    from workbench.workbench import Workbench

    done = Workbench().runs.push(run, to=to)
    print(json.dumps(done.to_mapping(), indent=2) if json_out else done)
    return 0
