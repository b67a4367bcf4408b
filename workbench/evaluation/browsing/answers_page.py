"""The answers of a comparison as one page to send: complete in itself, read without a kernel, a server or a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench import tables
from workbench.errors import InputError, RunError
from workbench.evaluation.browsing.pages import ExamplePages
from workbench.evaluation.browsing.query import FILTERS, Query
from workbench.html_pages import page_head
from workbench.running.saving import write_whole
from workbench.settings.masking import mask_text

if TYPE_CHECKING:
    import pandas as pd

    from workbench.evaluation.comparison import Comparison

__all__ = ["MOST", "answers_page", "write_answers_page"]

MOST = 1_000  # examples, unless told: a page of more opens slowly

_HERE = Path(__file__).parent
_AT_ONCE = 100  # rows that are read at a time
_WHOLE = 100_000  # characters of an answer that the page holds
_TAGS = {"=": "span", "+": "ins", "-": "del"}
_FILTERS = {
    "all": "all", "changed": "changed", "worse": "worse", "better": "better", "different": "other words",
    "unscored": "unscored", "error": "with an error",
}  # fmt: skip


def write_answers_page(result: Comparison, path: Path | str, query: Query, most: int) -> Path:
    """Write `answers_page`, whole or not at all; where it is now. RunError if it cannot be written."""
    target = Path(path).expanduser().resolve()
    data = answers_page(result, query, most).encode("utf-8", "replace")
    try:
        return write_whole(target, data)
    except OSError as error:
        raise RunError(f"the page cannot be written to {target}: {error}. Give a path that you may write.") from None


def answers_page(result: Comparison, query: Query, most: int) -> str:
    """HTML of the verdict, the table, the prompts, and at most `most` examples that a query leaves, in its order.

    Whoever opens it can filter, search and sort. Texts are escaped, what looks like a service's key is masked, and no script but
    the page's own runs. Raises InputError for a `most` below 1.
    """
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise InputError(f"most = {most!r} must be a whole number from 1: so many examples the page holds at most.")
    pages, name = result.pages, result.run.plan.dataset.name
    if query.search:
        pages.search(query.search).advance(lambda looked: True)
    gains, order = pages.gains(), pages.order(query)
    shown = order[:most]
    title, script = tables.html_text(f"Comparison on {name}"), _file("answers_page.js")
    head = f"{page_head(title, _file('answers_page.css'), scripts=[script])}\n<body>\n<main>\n<h1>{title}</h1>\n"
    foot = (
        f"</main>\n<footer>Made by llm-workbench {version('llm-workbench')}. This page loads nothing from elsewhere.</footer>\n"
        f"<script>{script}</script>\n</body>\n</html>\n"
    )
    made_by = result.provenance()
    made_by = made_by[made_by["fact"] != "rows"]  # a folder of this machine is nobody else's business
    about = _folded("The prompts", result.prompts()) + _folded("What the figures were made by", made_by)
    top = f'<p class="faint">{_facts(result)}</p>{mask_text(result._repr_html_())}{about}'
    return f"{head}{top}{_bar(pages, query, shown, len(order))}{''.join(_table(pages, query, shown, gains))}{foot}"


def _facts(result: Comparison) -> str:
    """How many examples, and when they were asked last."""
    plan, numbers = result.run.plan, result.run.measurements
    facts = [tables.format_count(len(plan.indices), "example")]
    facts += [f"{plan.repeats} answers each: the first is shown, scores are means"] if plan.repeats > 1 else []
    if numbers.done:
        last = datetime.fromtimestamp(float(np.nanmax(numbers.at)), UTC)
        facts.append(f"measured until {last:%Y-%m-%d %H:%M} UTC")
    return " · ".join(facts)


def _folded(title: str, frame: pd.DataFrame) -> str:
    return f"<details><summary>{title}</summary>{mask_text(tables.to_html(frame))}</details>"


def _bar(pages: ExamplePages, query: Query, shown: np.ndarray, total: int) -> str:
    """What filters, and how much of the run is here."""
    every = len(pages.run.plan.indices)
    parts = [f"the first {len(shown):,} of {total:,} examples in this order" if total > len(shown) else ""]
    parts.append(f"{total:,} of the {every:,} examples of the run, as they were chosen" if total < every else "")
    left = "; ".join(filter(None, parts))
    note = f'<p class="note">Here are {left}.</p>' if left else ""
    options = "".join(f'<option value="{name}">{label}</option>' for name, label in _FILTERS.items())
    one = len(pages.run.plan.variants) < 2
    sorts = "" if one else (
        '<select id="sort" aria-label="order"><option value="">as saved</option><option value="worst">largest loss first</option>'
        '<option value="best">largest gain first</option></select>'
    )  # fmt: skip
    return (
        f'<h2>Answers</h2>{note}<div class="bar" hidden><select id="only" aria-label="which examples">{options}</select>{sorts}'
        '<input id="search" type="search" placeholder="search" aria-label="search in the texts of this page">'
        '<span id="count" role="status"></span></div>'
    )


def _table(pages: ExamplePages, query: Query, shown: np.ndarray, gains: np.ndarray) -> Iterator[str]:
    plan = pages.run.plan
    heads = [
        f'<th scope="col">{_text(variant.label)}{" (control)" if variant.label == plan.control else ""}</th>'
        for variant in plan.variants
    ]
    yield f'<div class="scroll"><table><caption>{_text(plan.primary.name)}, and what was answered</caption>'
    yield f'<thead><tr><th scope="col">example</th>{"".join(heads)}</tr></thead><tbody id="examples">\n'
    are = {only: set(pages.order(Query(only=only, variant=query.variant), gains).tolist()) for only in FILTERS}
    for begin in range(0, len(shown), _AT_ONCE):
        for row in pages.rows(shown[begin : begin + _AT_ONCE].tolist(), gains, marks=True, whole=_WHOLE):
            yield _row(pages, row, [only for only, among in are.items() if row["at"] in among], gains)
    yield "</tbody></table></div>\n"


def _row(pages: ExamplePages, row: Mapping[str, Any], filters: Sequence[str], gains: np.ndarray) -> str:
    plan = pages.run.plan
    example = plan.dataset[int(plan.indices[row["at"]])]
    known = gains[:, row["at"]][~np.isnan(gains[:, row["at"]])]
    inputs = "".join(
        f'<div class="text" dir="auto">{f"<b>{_text(name)}</b> " if len(example.inputs) > 1 else ""}{_text(str(value))}</div>'
        for name, value in example.inputs.items()
    )
    expected = "" if example.expected is None else (
        f'<div class="text faint" dir="auto">expected: {_text(str(example.expected))}</div>'
    )  # fmt: skip
    least, largest = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    return (
        f'<tr data-is="{" ".join(filters)}" data-worst="{least:g}" data-best="{largest:g}"><th scope="row">'
        f'<div class="faint">{row["at"] + 1} · {_text(row["id"])}</div>{inputs}{expected}</th>'
        f"{''.join(map(_cell, row['cells']))}</tr>\n"
    )


def _cell(cell: Mapping[str, Any]) -> str:
    score = {"missing": "not asked", "error": "failed"}.get(
        cell["state"], "unscored" if cell["score"] is None else tables.format_number(cell["score"])
    )
    delta = cell["delta"] or 0.0
    side = "better" if delta > 0 else "worse" if delta < 0 else ""
    facts = [f"mean of {cell['repeats']}"] if cell["repeats"] > 1 else []
    facts += [f"{name} {tables.format_number(value)}" for name, value in cell.get("scores", {}).items()]
    facts += [cell["spent"]] if cell.get("spent") else []
    top = f'<b class="{"failed" if cell["state"] == "error" else ""}">{score}</b>'
    top += f' <b class="{side}">{"▲" if delta > 0 else "▼"} {delta:+.2f}</b>' if side else ""
    top += "".join(f' <span class="faint">{_text(fact)}</span>' for fact in facts)
    why = f'<div class="text why" dir="auto">{_text(cell["why"])}</div>' if cell.get("why") else ""
    return f'<td class="{side}"><div>{top}</div>{_answer(cell)}{why}{_noted(cell["mark"])}</td>'


def _answer(cell: Mapping[str, Any]) -> str:
    """The answer with the words that differ from the control's, and all of it where that is only a part."""
    pieces = cell["pieces"]
    said = "".join(text for kind, text in pieces if kind != "-")
    readings = (said, "".join(text for kind, text in pieces if kind != "+"), "".join(text for _, text in pieces))
    if any(mask_text(reading) != reading for reading in readings):  # a key's parts could stand in several pieces
        pieces = [("=", said)]
    drawn = "".join(f"<{_TAGS[kind]}>{_text(text)}</{_TAGS[kind]}>" for kind, text in pieces)
    if cell["state"] in ("fresh", "replayed") and not said.strip():
        drawn += '<span class="faint">(empty)</span>'
    whole, found = cell.get("text", said), f'<div class="text" dir="auto">{drawn}</div>'
    if said == whole:
        return found
    return f'{found}<details><summary>the whole answer</summary><div class="text" dir="auto">{_text(whole)}</div></details>'


def _noted(mark: Mapping[str, Any]) -> str:
    signs = {"good": "✓", "bad": "✗"}.get(mark["mark"], "") + ("★" if mark["star"] else "")
    if not signs and not mark["comment"]:
        return ""
    return f'<div class="text note" dir="auto">{signs} {_text(mark["comment"])}</div>'


def _text(text: str) -> str:
    return tables.html_text(mask_text(text))


def _file(name: str) -> str:
    return (_HERE / name).read_text("utf-8")
