"""What the exact cache would have saved on the calls that were really made."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from workbench import tables
from workbench.cache.cache import scope_name
from workbench.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from workbench.calls import CallLog

__all__ = ["CacheSavings", "ScopeSavings", "simulate"]

_WHOLE = ("stop", "tool_calls")


@dataclass(slots=True)
class ScopeSavings:
    """Of one model and prompt. calls: that were answered. repeats: of them, those whose answer was there already; dollars and
    seconds: what making that answer had taken; unpriced: repeats of which the price is unknown.

    served: repeats that a cache did serve. sampled: repeats that asked for an answer of its own each time (no temperature 0, no
    seed), with the dollars and seconds that `cached=True` would save.
    """

    calls: int = 0
    repeats: int = 0
    served: int = 0
    dollars: float = 0.0
    seconds: float = 0.0
    unpriced: int = 0
    sampled: int = 0
    sampled_dollars: float = 0.0
    sampled_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class CacheSavings:
    """days: looked back. ttl: seconds that an answer is kept. rows: by scope, the most repeats first."""

    days: float
    ttl: float
    rows: dict[str, ScopeSavings] = field(default_factory=dict)

    @property
    def total(self) -> ScopeSavings:
        """All scopes together."""
        total = ScopeSavings()
        for row in self.rows.values():
            for name in ScopeSavings.__dataclass_fields__:
                setattr(total, name, getattr(total, name) + getattr(row, name))
        return total

    @property
    def sentence(self) -> str:
        """What the cache is worth here, in plain words."""
        total, last = self.total, f"the last {self.days:g} days"
        if not total.calls:
            return f"In {last} no call was answered, so there is nothing to save."
        sum_ = _money(total.dollars, total.unpriced, total.repeats)
        said = [
            f"On {last} the exact cache would have saved {sum_} and {tables.format_seconds(total.seconds)} of waiting."
        ]
        share = f"{total.repeats / total.calls:.0%}"
        said.append(f"{total.repeats:,} of {total.calls:,} answered calls ({share}) asked what had been asked before.")
        if total.served:
            said.append(f"So far a cache served {total.served:,}.")
        if total.sampled:
            said.append(
                f"{total.sampled:,} more repeats had neither temperature 0 nor a seed, so each got an answer of its own; with "
                f"cached=True they would have saved {tables.format_money(total.sampled_dollars)} and "
                f"{tables.format_seconds(total.sampled_seconds)}."
            )
        return " ".join(said)

    def to_mapping(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        rows = [{"scope": name, **_fields(row)} for name, row in self.rows.items()]
        return {
            "days": self.days,
            "ttl": self.ttl,
            "sentence": self.sentence,
            "total": _fields(self.total),
            "rows": rows,
        }

    def frame(self) -> pd.DataFrame:
        """One row a scope."""
        import pandas as pd

        columns = ["scope", *ScopeSavings.__dataclass_fields__]
        return pd.DataFrame([{"scope": name, **_fields(row)} for name, row in self.rows.items()], columns=columns)

    def __str__(self) -> str:
        return f"{self.sentence}\n\n{tables.to_text(self._shown())}" if self.rows else self.sentence

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return tables.to_html(self._shown(), caption=self.sentence)

    def _shown(self) -> pd.DataFrame:
        import pandas as pd

        rows = [
            {
                "scope": name, "calls": row.calls, "repeats": row.repeats, "hit rate": f"{row.repeats / row.calls:.0%}",
                "saved": _money(row.dollars, row.unpriced, row.repeats), "waiting saved": tables.format_seconds(row.seconds),
                "served": row.served, "sampled repeats": row.sampled,
            }
            for name, row in self.rows.items()
        ]  # fmt: skip
        return pd.DataFrame(rows)


def simulate(
    log: CallLog, *, days: float = 7, ttl: float = 7 * 86400, clock: Callable[[], float] = time.time
) -> CacheSavings:
    """Go through the log's calls of the last `days` and look for repeats of the same request.

    As in the cache, a request is the same if tenant, model, params and all of its text are, an answer is kept if it ended with
    `stop` or `tool_calls` and was whole, for `ttl` seconds from when it was made, and a hit prolongs nothing. Calls of
    comparisons and embeddings are left out. What the log does not hold cannot be told apart: two requests whose text and params
    are equal but whose attachments differ count as one. clock: Unix seconds.
    """
    if not days > 0:
        raise InputError(f"days = {days!r} must be above 0, such as 7.")
    frame = log.sql(
        "select tenant, model, kind, cast(params as varchar) as params, request, ended_at, latency, cost, source, truncated, "
        "finish_reason, prompt_ref from calls where ended_at >= ? and error is null and request is not null and run_id is null "
        "and not warmup and kind != 'embedding' order by ended_at, call_id",
        [clock() - 86400 * days],
    )
    made: dict[tuple[Any, ...], tuple[float, float, float | None]] = {}
    found: dict[str, ScopeSavings] = {}
    for call in _calls(frame):
        scope = scope_name(call["model"], call["prompt_ref"])
        row = found.setdefault(scope, ScopeSavings())
        row.calls += 1
        row.served += call["source"] != "model"
        sure = _is_sure(call["params"])
        key = (scope, *(call[name] for name in ("tenant", "kind", "params", "request")))
        kept = made.get(key)
        if kept is not None and call["ended_at"] < kept[0] + ttl:
            _count(row, kept, sure=sure)
        elif call["source"] == "exact":  # its answer was made before these days
            _count(row, (call["ended_at"], call["latency"] or 0.0, call["cost"]), sure=True)
        elif call["finish_reason"] in _WHOLE and not call["truncated"]:
            made[key] = (call["ended_at"], call["latency"] or 0.0, call["cost"])
    ordered = sorted(found.items(), key=lambda item: (-item[1].repeats, -item[1].calls, item[0]))
    return CacheSavings(days, ttl, dict(ordered))


def _calls(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Rows with None for what is missing."""
    clean = frame.astype(object).where(frame.notna(), None)
    names = [str(name) for name in clean.columns]
    for values in clean.itertuples(index=False, name=None):
        yield dict(zip(names, values, strict=True))


def _is_sure(params: str | None) -> bool:
    """Whether these params ask for the same answer each time; see `cache.cacheable`."""
    found = orjson.loads(params or "{}")
    return found.get("temperature") == 0 or found.get("seed") is not None


def _count(row: ScopeSavings, kept: tuple[float, float, float | None], *, sure: bool) -> None:
    _, seconds, dollars = kept
    if sure:
        row.repeats += 1
        row.seconds += seconds
        row.dollars += dollars or 0.0
        row.unpriced += dollars is None
    else:
        row.sampled += 1
        row.sampled_seconds += seconds
        row.sampled_dollars += dollars or 0.0


def _fields(row: ScopeSavings) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ScopeSavings.__dataclass_fields__}


def _money(dollars: float, unpriced: int, repeats: int) -> str:
    if unpriced and unpriced == repeats:
        return "an unknown sum"
    more = f" (and {unpriced:,} calls without a price)" if unpriced else ""
    return tables.format_money(dollars) + more
