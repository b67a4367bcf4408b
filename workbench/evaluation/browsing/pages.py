"""Pages of a run's examples, and one of them in full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from workbench import tables
from workbench.errors import InputError
from workbench.evaluation.browsing.choosing import Choosing
from workbench.evaluation.browsing.excerpts import answer_of, clipped, excerpt
from workbench.evaluation.browsing.metrics import mean_of, means_of, told
from workbench.evaluation.browsing.opened import opened
from workbench.evaluation.browsing.query import Query
from workbench.evaluation.browsing.spread import spread
from workbench.evaluation.marks import Mark
from workbench.evaluation.measurements import FRESH, MISSING

__all__ = ["ExamplePages", "shown_mark"]

_INPUT, _ANSWER, _WHY = 240, 360, 160  # characters in a row
_LARGEST = 100  # rows of a page


class ExamplePages(Choosing):
    """Answers "page n of these examples in this order" for a run that is over or goes on. Any number of threads may use it.

    run: its numbers and folder may still fill. Numbers come from memory, texts from the run's segments, and only those of the
    page. Positions count from 0.
    """

    def prepare(self) -> None:
        """Read where the rows are, so that the first page need not."""
        self._index.refresh()

    # -- what is shown --------------------------------------------------------------------------------------------

    def page(self, query: Query, number: int, size: int = 20, *, marks: bool = True, whole: int = 0) -> dict[str, Any]:
        """The rows of page `number` (the last one if there are fewer), in plain types: page, pages, size, total, counts,
        marked, means (of all examples and of those chosen; see `metrics.told`), rows.

        A row: at, id, input, expected, and `cells`, one for each variant: state, score, delta, why, scores, pieces, spent
        (latency and cost as measured, the means of its repeats), mark.
        marks: whether pieces tell the words that differ from the control's, which takes some milliseconds an answer: `with_marks`
        adds them to a page without. whole: so many characters of each answer are in its cell too, as `text`.
        """
        size = min(max(size, 1), _LARGEST)
        gains = self.gains()
        order = self.order(query, gains)
        pages = max(1, -(-len(order) // size))
        number = min(max(number, 0), pages - 1)
        among = order[number * size : (number + 1) * size].tolist()
        everything = [told(means) for means in means_of(self.run)]
        narrowed = len(order) < len(self.run.plan.indices)
        return {
            "page": number,
            "pages": pages,
            "size": size,
            "total": len(order),
            "counts": self.counts(query, gains),
            "marked": self.marked(query, gains),
            "means": {
                "all": everything,
                "chosen": [told(means) for means in means_of(self.run, order)] if narrowed else everything,
            },
            "rows": self.rows(among, gains, marks=marks, whole=whole),
        }

    def with_marks(self, page: dict[str, Any]) -> dict[str, Any]:
        """The same page, where pieces tell the words that differ from the control's."""
        return page | {"rows": self.rows([row["at"] for row in page["rows"]], self.gains(), marks=True, whole=0)}

    def rows(self, among: list[int], gains: np.ndarray, *, marks: bool, whole: int) -> list[dict[str, Any]]:
        """The rows of these positions, as in `page`. gains: `gains()`."""
        self._index.refresh()
        noted = self.marks.every()
        return [self._row(at, gains[:, at], noted, marks=marks, whole=whole) for at in among]

    def _row(
        self, at: int, gains: np.ndarray, noted: Mapping[tuple[int, str], Mark], *, marks: bool, whole: int
    ) -> dict[str, Any]:
        plan, numbers = self.run.plan, self.run.measurements
        example, answers = self._example(at), self._index.read(at)
        first = _first(answers[numbers.of(plan.control)])
        control = "" if first is None or not marks else answer_of(first)
        cells = [
            self._cell(place, at, answers[place], control, gains[place], whole)
            | {"mark": shown_mark(noted.get((at, label), Mark(at, label)))}
            for place, label in enumerate(numbers.variants)
        ]
        return {
            "at": at,
            "id": clipped(example.id, 60),
            "input": clipped("\n".join(str(value) for value in example.inputs.values()), _INPUT),
            "expected": "" if example.expected is None else clipped(str(example.expected), _INPUT),
            "cells": cells,
        }

    def _cell(
        self, variant: int, at: int, answers: list[dict[str, Any] | None], control: str, gain: float, whole: int
    ) -> dict[str, Any]:
        plan, numbers = self.run.plan, self.run.measurements
        row = _first(answers)
        place = (variant, at)
        worked = (numbers.state[place] != MISSING) & ~numbers.failed[place]
        cell: dict[str, Any] = {"state": "missing", "pieces": [], "repeats": int(worked.sum()), "delta": _number(gain)}
        cell["score"] = mean_of(numbers.scores[plan.primary.name][place])
        if row is None:
            return cell
        if row["error"] is not None:
            why = clipped(f"{row['error']}: {row['error_message'] or ''}", _ANSWER)
            return cell | {"state": "error", "pieces": [["=", why]]}
        text = answer_of(row)
        is_control = variant == numbers.of(plan.control)
        pieces = [("=", clipped(text, _ANSWER))] if is_control or not control else excerpt(control, text, _ANSWER)
        others = {s.name: mean_of(numbers.scores[s.name][place]) for s in plan.scorers if s.name != plan.primary.name}
        cell |= {"text": clipped(text, whole)} if whole else {}
        return cell | {
            "state": "fresh" if (numbers.state[place] == FRESH).any() else "replayed",
            "pieces": [list(piece) for piece in pieces],
            "why": clipped(str((row["explanations"] or {}).get(plan.primary.name, "")), _WHY),
            "scores": others,
            "spent": _spent(numbers.latency[place][worked], numbers.cost[place][worked]),
        }

    def example(self, query: Query, at: int, step: int = 0) -> dict[str, Any]:
        """One example in full: the one `step` places after `at` in the order of the query, the first or last if there is none.

        place, total: where it stands in that order, place -1 if it is not in it. See `opened` for the rest.
        """
        order = self.order(query)
        found = np.flatnonzero(order == at)
        if len(found) and step:
            at = int(order[min(max(int(found[0]) + step, 0), len(order) - 1)])
            found = np.flatnonzero(order == at)
        if not 0 <= at < len(self.run.plan.indices):
            raise InputError(f"there is no example {at}: the run has {len(self.run.plan.indices):,}.")
        self._index.refresh()
        shown = opened(self.run, self._example(at), at, self._index.read(at), self.gains()[:, at])
        for variant in shown["variants"]:
            variant["mark"] = shown_mark(self.marks.of(at, variant["label"]))
        return {"place": int(found[0]) if len(found) else -1, "total": len(order)} | shown

    def mark(
        self, at: int, variant: str, *, mark: str | None = None, star: bool | None = None, comment: str | None = None
    ) -> Mark:
        """Change what is given of the mark on a variant's answer to the example at a position; see `Marks.change`."""
        labels = self.run.measurements.variants
        if variant not in labels or not 0 <= at < len(self.run.plan.indices):
            raise InputError(f"there is no answer of {variant!r} to example {at} to mark.")
        self._index.refresh()
        calls = [str(row["call_id"]) for row in self._index.read(at)[labels.index(variant)] if row is not None]
        return self.marks.change(
            at, variant, example_id=self._example(at).id, calls=calls, mark=mark, star=star, comment=comment
        )

    def spread(self, query: Query) -> dict[str, Any]:
        """How the primary score and its paired differences are spread over what a query leaves; see `spread`."""
        return spread(self.run, self.order(query))

    def means(self) -> list[dict[str, Any]]:
        """For each variant what is there so far; see `metrics.means_of`."""
        return means_of(self.run)


def shown_mark(mark: Mark) -> dict[str, Any]:
    """In plain types, harmless to a page: mark, star, comment, and `when` (Unix seconds) it was last changed."""
    return {"mark": mark.mark, "star": mark.star, "comment": tables.clean_text(mark.comment), "when": mark.at}


def _spent(latency: np.ndarray, cost: np.ndarray) -> str:
    """`79 ms · $0.0000033`: means over repeats, of seconds that are known, of dollars if all of them are known."""
    seconds = mean_of(latency)
    time = "latency unknown" if seconds is None else tables.format_seconds(seconds)
    money = tables.format_money(float(cost.mean()) if cost.size else None)
    return f"{time} · {'cost unknown' if money == 'unknown' else money}"


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _first(rows: list[dict[str, Any] | None]) -> dict[str, Any] | None:
    """The first answer of the repeats, else the first error."""
    there = [row for row in rows if row is not None]
    return next((row for row in there if row["error"] is None), there[0] if there else None)
