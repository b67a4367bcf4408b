"""The rows that a comparison's view shows, as a file that is safe to open."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pandas as pd

from workbench.errors import RunError
from workbench.evaluation.plan import Plan
from workbench.running.saving import write_whole
from workbench.tables import to_records

__all__ = ["KINDS", "free_name", "write_rows"]

KINDS = ("csv", "jsonl")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a spreadsheet's formulas begin


def write_rows(rows: pd.DataFrame, plan: Plan, kind: str, path: Path | str | None = None) -> Path:
    """Write rows of `Comparison.rows` with each example's input and expected answer, whole or not at all; where they are now.

    kind: of KINDS. CSV holds lists and mappings as JSON, and a text that a spreadsheet would run as a formula begins with ';
    JSON lines hold everything as it is. path: None is DATASET-TIME.csv in the working folder, beside what is there. RunError if
    it cannot be written.
    """
    examples = {int(at): plan.dataset[int(plan.indices[int(at)])] for at in rows["example"].unique()}
    inputs = [dict(examples[int(at)].inputs) for at in rows["example"]]
    expected = [examples[int(at)].expected for at in rows["example"]]
    found = rows.assign(
        inputs=pd.Series(inputs, index=rows.index, dtype=object),
        expected=pd.Series(expected, index=rows.index, dtype=object),
    )
    target = free_name(plan, kind) if path is None else Path(path).expanduser().resolve()
    if kind == "csv":
        for name in found.columns:
            if not pd.api.types.is_numeric_dtype(found[name]):
                found[name] = found[name].map(_cell, na_action="ignore")
        data = found.to_csv(index=False).encode("utf-8", "replace")
    else:
        data = b"".join(map(_line, to_records(found)))
    try:
        return write_whole(target, data)
    except OSError as error:
        raise RunError(f"the rows cannot be written to {target}: {error}. Give a path that you may write.") from None


def free_name(plan: Plan, kind: str) -> Path:
    """A path in the working folder that nothing has: DATASET-TIME.KIND."""
    words = re.sub(r"[^A-Za-z0-9_.]+", "-", plan.dataset.name).strip("-.")[:60] or "data"
    name = f"{words}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    names = (f"{name}{f'-{count}' if count else ''}.{kind}" for count in range(1_000_000))
    return next(path for name in names if not (path := Path.cwd() / name).exists())


def _line(record: Mapping[Any, Any]) -> bytes:
    return orjson.dumps(record, default=str, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY)


def _cell(value: Any) -> Any:
    if isinstance(value, (dict, list, tuple)):
        value = orjson.dumps(value, default=str, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
