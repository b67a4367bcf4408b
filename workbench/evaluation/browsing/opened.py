"""One example with all that was asked, answered, measured and scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from workbench import tables
from workbench.calls.langfuse_spans import trace_of
from workbench.evaluation.browsing.excerpts import answer_of, clipped, marked
from workbench.evaluation.measurements import FRESH, MISSING
from workbench.evaluation.plan import request_for
from workbench.evaluation.run import Run
from workbench.records import Example

__all__ = ["opened"]

_TEXT = 1_000_000  # characters of one text: more would hold a browser up

Rows = Sequence[Sequence[Mapping[str, Any] | None]]


def opened(run: Run, example: Example, at: int, rows: Rows, gains: np.ndarray) -> dict[str, Any]:
    """In plain types: at, id, line, inputs, context, expected, metadata, and `variants`: label, control, delta, prompt (role and
    text of each message as sent) and repeats. rows: for each variant those of its repeats; gains: (variants,).

    A repeat: state, text, pieces (None where nothing is marked), scores (name, value, why), facts (name and value, to be read),
    call_id and trace (its id in Langfuse).
    """
    plan, numbers = run.plan, run.measurements
    control = rows[numbers.of(plan.control)]
    variants = []
    for place, variant in enumerate(plan.variants):
        repeats = []
        for repeat, row in enumerate(rows[place]):
            other = control[repeat] if variant.label != plan.control else None
            repeats.append(_repeat(run, (place, at, repeat), row, other))
        gain = gains[place]
        variants.append(
            {
                "label": variant.label, "control": variant.label == plan.control,
                "delta": None if np.isnan(gain) else float(gain),
                "prompt": _prompt(run, place, example, rows[place]), "repeats": repeats,
            }
        )  # fmt: skip
    return {
        "at": at, "id": tables.clean_text(example.id), "line": example.line,
        "inputs": [[tables.clean_text(name), clipped(str(value), _TEXT)] for name, value in example.inputs.items()],
        "context": clipped(example.context or "", _TEXT),
        "expected": None if example.expected is None else clipped(str(example.expected), _TEXT),
        "metadata": [[tables.clean_text(str(k)), clipped(str(v), 2_000)] for k, v in example.metadata.items()],
        "variants": variants,
    }  # fmt: skip


def _prompt(run: Run, place: int, example: Example, rows: Sequence[Mapping[str, Any] | None]) -> list[list[str]]:
    """Role and text of each message as it was sent; what the row says, if the prompt no longer makes that of it."""
    sent = next((row["request"] for row in rows if row is not None and row["request"]), None)
    variant = run.plan.variants[place]
    request = request_for(variant, example.inputs, variant.params, run.plan.timeout)
    if sent is None or sent == request.text():
        parts = [(m.role, m.content) for m in request.messages] or [("prompt", request.prompt)]
    else:
        parts = [("prompt", sent)]
    return [[role, clipped(text, _TEXT)] for role, text in parts]


def _repeat(
    run: Run, place: tuple[int, int, int], row: Mapping[str, Any] | None, control: Mapping[str, Any] | None
) -> dict[str, Any]:
    numbers = run.measurements
    if row is None or numbers.state[place] == MISSING:
        return {"state": "missing"}
    ids = {"call_id": str(row["call_id"]), "trace": trace_of(row)}
    if row["error"] is not None:
        return ids | {"state": "error", "text": clipped(f"{row['error']}: {row['error_message'] or ''}", _TEXT)}
    text = answer_of(row)
    pieces = None if control is None or control["error"] is not None else marked(answer_of(control), text)
    explanations = row["explanations"] or {}
    scores = []
    for name, values in numbers.scores.items():
        value = values[place]
        why = clipped(str(explanations.get(name, "")), 10_000)
        scores.append([name, None if np.isnan(value) else float(value), why])
    state = "fresh" if numbers.state[place] == FRESH else "replayed"
    return ids | {
        "state": state,
        "text": clipped(text, _TEXT),
        "pieces": None if pieces is None else [list(piece) for piece in pieces],
        "scores": scores,
        "facts": _facts(row, state),
    }


def _facts(row: Mapping[str, Any], state: str) -> list[list[str]]:
    """Timing, tokens and money of an answer, for people."""
    tokens = [row["prompt_tokens"], row["completion_tokens"]]
    sides = zip(tokens, ("in", "out"), strict=True)
    facts = [
        ("measured", "now" if state == "fresh" else "by an earlier run (replayed)"),
        ("latency", "unknown" if row["latency"] is None else tables.format_seconds(row["latency"])),
        ("first token", tables.format_seconds(row["first_token"])),
        ("tokens", ", ".join(f"{count:,} {side}" for count, side in sides if count is not None) or "unknown"),
        ("cost", tables.format_money(row["cost"])),
        ("source", str(row["source"])),
        ("ended by", str(row["finish_reason"] or tables.NOTHING)),
    ]
    if row["attempts"] > 1:
        facts.append(("attempts", str(row["attempts"])))
    return [[name, value] for name, value in facts if value != tables.NOTHING]
