"""Examples as items of a Langfuse data set, and back.

`input` is the inputs, `expectedOutput` the expected answer, `metadata` the metadata, so that a person finds them on the page.
What Langfuse has no place for is in `metadata.workbench`: id, at (the position, from 0), context, split; and `exact`, the whole
example as text, where JavaScript's numbers would change it (1.0 comes back as 1), so that the digest survives the journey.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from workbench.records import Example

__all__ = ["item_id", "same_item", "to_item", "to_row"]

_OURS = "workbench"
_SAFE = 2**53  # beyond it JavaScript's numbers are no longer whole
_PLAIN = 1e21  # from here on it writes an exponent


def item_id(name: str, example: str) -> str:
    """The id of an example in the data set `name` there. Ids are unique over all data sets of a project."""
    return "wb-" + hashlib.sha256(f"{name}\n{example}".encode()).hexdigest()[:32]


def to_item(example: Example, at: int, name: str) -> dict[str, Any]:
    """The body that creates it. at: its position. name: of the data set there."""
    whole = _whole(example)
    ours: dict[str, Any] = {"id": example.id, "at": at}
    ours |= {key: whole[key] for key in ("context", "split") if whole[key] is not None}
    if _OURS in example.metadata:
        ours["metadata"] = example.metadata[_OURS]  # a field of that name gives way, and comes back
    if orjson.dumps(whole) != orjson.dumps(_as_javascript(whole)):
        ours["exact"] = orjson.dumps(whole).decode()
    return {
        "datasetName": name,
        "id": item_id(name, example.id),
        "input": whole["inputs"],
        "expectedOutput": whole["expected"],
        "metadata": {**whole["metadata"], _OURS: ours},
    }


def same_item(mine: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Whether an item there is what `to_item` made."""
    return all(
        orjson.dumps(_as_javascript(mine[key]), option=orjson.OPT_SORT_KEYS)
        == orjson.dumps(_as_javascript(there.get(key)), option=orjson.OPT_SORT_KEYS)
        for key in ("input", "expectedOutput", "metadata")
    )


def to_row(item: Mapping[str, Any], order: Sequence[str] = ()) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """(where it belongs in the order, the row of a data set). An item that somebody made there becomes one too: an input that is
    no object is the variable `input`. order: names of the inputs as they should stand."""
    given, labels = item.get("input"), item.get("metadata")
    inputs = dict(given) if isinstance(given, dict) else {"input": given}
    inputs = {name: inputs[name] for name in (*order, *inputs) if name in inputs}
    metadata = dict(labels) if isinstance(labels, dict) else ({} if labels is None else {"metadata": labels})
    ours = metadata.pop(_OURS, None)
    ours = ours if isinstance(ours, dict) else {}
    if "metadata" in ours:
        metadata[_OURS] = ours["metadata"]
    row: dict[str, Any] = {
        "id": ours.get("id") or item["id"], "inputs": inputs, "expected": item.get("expectedOutput"),
        "context": ours.get("context"), "metadata": metadata, "split": ours.get("split"),
    }  # fmt: skip
    if isinstance(ours.get("exact"), str):
        exact = orjson.loads(ours["exact"])
        # nobody has edited it on the page
        if orjson.dumps(_as_javascript(exact), option=orjson.OPT_SORT_KEYS) == orjson.dumps(
            _as_javascript(row), option=orjson.OPT_SORT_KEYS
        ):
            row = exact | {"inputs": {name: exact["inputs"][name] for name in inputs}}
    at = ours.get("at")
    place = (0, at, "") if isinstance(at, int) else (1, 0, f"{item.get('createdAt')} {item['id']}")
    return place, row


def _whole(example: Example) -> dict[str, Any]:
    return {
        "id": example.id, "inputs": dict(example.inputs), "expected": example.expected, "context": example.context,
        "metadata": dict(example.metadata), "split": example.split,
    }  # fmt: skip


def _as_javascript(value: Any) -> Any:
    """A value after a server written in JavaScript has read and written it."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _PLAIN:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _SAFE:
        return int(float(value))
    if isinstance(value, dict):
        return {key: _as_javascript(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_javascript(item) for item in value]
    return value
