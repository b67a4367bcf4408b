"""What a reader of a load test must know besides its figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench import tables
from workbench.loadtest.measures import METRICS, Cell, figure

if TYPE_CHECKING:
    from workbench.loadtest.result import LoadTest

__all__ = ["notes"]

_MISSED = 0.02  # share of the asked-for length that does not matter
_LATE = 0.1  # share of the median time to first token that the client may be late
_LEAST_LAG = 0.002  # seconds; below that it is the timer
_CACHED = 0.05
_SAME_TOKENISER = 0.02


def notes(test: LoadTest) -> list[str]:
    """One sentence or two for each."""
    found = []
    if test.stopped:
        done = sum(len(cell.samples) for cell in test.cells)
        planned = len(test.models) * sum(item["requests"] for item in test.settings["loads"])
        found.append(f"Partial, {done:,} of {planned:,} requests ({test.stopped}); what was measured by then is kept.")
    found += [f"{model} was given up: {why}" for model, why in test.problems.items()]
    for cell in test.cells:
        found += [
            f"{cell.model}, {cell.load.label}: {text}."
            for text in (*_failures(cell), *_client(test, cell), *_server(test, cell))
        ]
    for model in test.models:
        found += [f"{model}: {text}." for text in _lengths(test, model)]
    return found + _tokenisers(test)


def _failures(cell: Cell) -> list[str]:
    errors = cell.errors
    if not errors:
        return []
    classes = ", ".join(f"{name} {count:,}" for name, count in errors.most_common())
    firsts = (f"{name}: {tables.clean_text(cell.said[name]).rstrip('.')}" for name in errors if name in cell.said)
    counted = (
        f"{errors.total():,} of {len(cell.samples):,} requests failed ({classes}); they are in no latency, and not good"
    )
    return [". The first ".join([counted, *firsts])]


def _client(test: LoadTest, cell: Cell) -> list[str]:
    """Was this process the bottleneck?"""
    typical = figure(cell, METRICS["ttft_p50"], test.target) or figure(cell, METRICS["latency_p50"], test.target)
    if typical is None:
        return []
    late = max(cell.lag[1] if cell.lag else 0.0, cell.slip)
    if late < _LEAST_LAG or late < _LATE * typical:
        return []
    less = "" if cell.load.concurrency == 1 else f"Ask for less than {cell.load.label}, or send"
    text = (
        f"this client was late by {tables.format_seconds(late)} (P99), and the median time to the first token is "
        f"{tables.format_seconds(typical)}: latencies {cell.load.words} are partly its own. {less or 'Send'} from a machine "
        "that does nothing else"
    )
    return [text]


def _server(test: LoadTest, cell: Cell) -> list[str]:
    found = []
    if cell.foreign:
        found.append(
            f"the server answered {cell.foreign:,.0f} requests of others in the meantime: the figures are shared with them"
        )
    elif cell.busy:
        found.append(f"the server was at {cell.busy:,.0f} requests of others when this began")
    asked = test.settings["shared_tokens"] / test.settings["prompt_tokens"]
    if cell.prefix_share is not None and cell.prefix_share > asked + _CACHED:
        text = f"{cell.prefix_share:.0%} of the prompts' tokens came from the server's prefix cache"
        found.append(text + _template(cell, raw=test.settings["raw"]))
    return found


def _template(cell: Cell, *, raw: bool) -> str:
    """Is it the text that the chat template puts before every prompt? Then each call finds the same number of tokens."""
    if raw:
        return ""
    counts = [sample.cached_tokens for sample in cell.worked]
    held = {count for count in counts if count}  # the first call may have found nothing
    if None not in counts and len(held) == 1:
        return f", {held.pop():,} of each: probably the chat template's fixed text, with which all begin"
    if None in counts:
        return ". All begin with the chat template's fixed text, which may be it: longer prompts make it a smaller part"
    return ""


def _lengths(test: LoadTest, model: str) -> list[str]:
    cells = [cell for cell in test.cells if cell.model == model and cell.worked]
    if not cells:
        return []
    found = []
    if all(sample.ttft is None for cell in cells for sample in cell.worked):
        found.append("its answers came in one piece, so TTFT and TPOT are unknown")
    for name, what in (("output_tokens", "answers"), ("prompt_tokens", "prompts")):
        asked = test.settings[name]
        lengths = [cell.lengths(name) for cell in cells]
        known = [item for item in lengths if item is not None]
        if len(known) < len(lengths):
            found.append(f"it does not count the tokens of its {what}, which were to have {asked:,}")
            continue
        counts = [getattr(sample, name) for cell in cells for sample in cell.worked]
        mean, least, most = sum(counts) / len(counts), min(counts), max(counts)
        if abs(mean - asked) > _MISSED * asked:
            between = f" ({least:,} to {most:,})" if least < most else ""
            found.append(f"{what} had {mean:.4g} tokens on average{between} where {asked:,} were asked for")
    return found


def _tokenisers(test: LoadTest) -> list[str]:
    """Two models may cut the same words into more or fewer tokens; then a token of one is not a token of the other."""
    rates = {setup.model: setup.words_per_token for setup in test.setups if setup.words_per_token}
    if len(rates) < 2 or max(rates.values()) <= min(rates.values()) * (1 + _SAME_TOKENISER):
        return []
    told = ", ".join(f"{rate:.2f} by {model}" for model, rate in rates.items())
    return [f"The tokenisers differ, so a token is not the same amount of text (words a token: {told})."]
