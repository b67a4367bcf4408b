"""The one sentence that a load test ends in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench import tables
from workbench.loadtest.measures import METRICS, Cell, figure, ratio_interval
from workbench.loadtest.plan import Load
from workbench.records import Interval

if TYPE_CHECKING:
    from workbench.loadtest.result import LoadTest

__all__ = ["answer", "same_lengths"]

_SAME_OUTPUT = 0.02
_SAME_PROMPT = 0.05
_MOST_FAILED = 0.1


def answer(test: LoadTest) -> str:
    """Which model is faster under the heaviest load that all were measured under, and by how much; of a single model, what it
    gives. It names none where lengths differ or more than a tenth of the requests failed."""
    if not test.cells:
        return "Nothing was measured."
    measured = tuple(dict.fromkeys(cell.model for cell in test.cells))
    if len(measured) == 1:
        return _alone(test, test.cells)
    shared = [load for load in test.loads if all(test.cell(model, load) for model in measured)]
    if not shared:
        return "The models were not measured under the same load, so they are not compared."
    load = shared[-1]
    cells = [cell for model in measured if (cell := test.cell(model, load)) is not None]
    why = _incomparable(cells)
    return f"Which is faster {load.words} is not said: {why}." if why else _compared(test, load, cells)


def same_lengths(one: Cell, other: Cell, *, when: tuple[str, str] | None = None) -> str | None:
    """None if the requests of two cells were of the same lengths (answers within 2%, prompts within 5%), else where they
    differ. when: what to call the two, in place of their models."""
    first, second = when or (f"from {one.model}", f"from {other.model}")
    for name, what, slack in (("output_tokens", "answers", _SAME_OUTPUT), ("prompt_tokens", "prompts", _SAME_PROMPT)):
        found, others = one.lengths(name), other.lengths(name)
        if found is None or others is None:
            return f"{(one if found is None else other).model} does not count the tokens of its {what}"
        if abs(found[0] - others[0]) > slack * max(found[0], others[0]):
            return f"{what} had {found[0]:.4g} tokens on average {first} and {others[0]:.4g} {second}"
    return None


def _incomparable(cells: list[Cell]) -> str | None:
    for cell in cells:
        failed = cell.errors.total()
        if failed > _MOST_FAILED * len(cell.samples):
            return f"{failed:,} of the {len(cell.samples):,} requests to {cell.model} failed"
        lengths = cell.lengths("output_tokens")
        if lengths is not None and not lengths[2]:
            return f"{cell.model} answered with nothing"
    return next((why for other in cells[1:] if (why := same_lengths(cells[0], other)) is not None), None)


def _compared(test: LoadTest, load: Load, cells: list[Cell]) -> str:
    # in an open loop throughput is the rate that was asked for, as long as the server keeps up
    closed = load.concurrency is not None
    metric = METRICS["tokens_per_second" if closed else "latency_p50"]
    verb, what = ("gives", "tokens/s") if closed else ("takes", "median latency")
    values = {cell.model: figure(cell, metric, test.target) or 0.0 for cell in cells}
    best, *others = sorted(cells, key=lambda cell: values[cell.model], reverse=not metric.smaller)
    apart: list[str] = []
    close: list[str] = []
    for other in others:
        ratio = ratio_interval(best, other, metric, test.target)
        if ratio is None:
            times = values[best.model] / values[other.model]
            apart.append(f"{times:.1f} times the {what} of {other.model} (too few requests for an interval)")
        elif ratio.low <= 1 <= ratio.high:
            close.append(f"{other.model} (ratio {_times(ratio, plain=True)})")
        else:
            apart.append(_times(ratio, f" times the {what} of {other.model}"))
    unseen = f"no difference in {what} is seen between {best.model} and {' or '.join(close)}"
    if not apart:
        return f"{unseen[0].upper()}{unseen[1:]} {load.words}."
    return f"{best.model} {verb} {' and '.join(apart)} {load.words}{f'; {unseen}' if close else ''}."


def _alone(test: LoadTest, cells: tuple[Cell, ...]) -> str:
    first, last = cells[0], cells[-1]
    speed = figure(last, METRICS["tokens_per_second"], test.target)
    if speed is None:
        latency = figure(last, METRICS["latency_p50"], test.target)
        said = "has no latency" if latency is None else f"answers in {tables.format_seconds(latency)} (median)"
        return f"{last.model} {said} {last.load.words}."
    said = f"{last.model} gives {speed:,.{0 if speed >= 9.95 else 1}f} tokens/s {last.load.words}"
    if first is not last and last.load.concurrency is not None:
        ratio = ratio_interval(last, first, METRICS["tokens_per_second"], test.target)
        if ratio and ratio.low <= 1 <= ratio.high:
            said += f", not told apart from what it gives {first.load.words} (ratio {_times(ratio, plain=True)})"
        elif ratio:
            said += f", {_times(ratio, f' times what it gives {first.load.words}')}"
    begun = figure(last, METRICS["ttft_p50"], test.target)
    return said + (
        f"; the first token comes after {tables.format_seconds(begun)} (median)." if begun is not None else "."
    )


def _times(ratio: Interval, of: str = "", *, plain: bool = False) -> str:
    """`2.4 (interval 2.2 to 2.6)` with `of` behind the number; plain: a comma in place of the brackets."""
    digits = 2 if ratio.estimate < 1.95 else 1
    interval = f"interval {ratio.low:.{digits}f} to {ratio.high:.{digits}f}"
    return f"{ratio.estimate:.{digits}f}{of}" + (f", {interval}" if plain else f" ({interval})")
