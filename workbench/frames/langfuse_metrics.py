"""The dashboards' frames from Langfuse's metrics API, in the shapes that the call log's have.

Langfuse answers sums, counts and percentiles by model and prompt version, per hour, day or week of UTC. It knows none of our
caches, no classes of errors, and of scores only the mean: what it cannot tell is NaN, and a question beyond it an InputError.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError, LangfuseError
from workbench.frames.errors import with_rates
from workbench.frames.versions import main_scores, prompt_parts
from workbench.frames.window import Every, Window

if TYPE_CHECKING:
    import pandas as pd

    from workbench.stores.langfuse import Langfuse

__all__ = ["FAILED", "LangfuseMetrics"]

FAILED = "failed (Langfuse does not say how)"
_MOST_ROWS = 1000  # that it answers
_FRESH = 600.0  # seconds: its cloud's free tier answers 100 such queries a day
_FIELDS = {"model": ["providedModelName"], "prompt_ref": ["promptName", "promptVersion"]}
_SCORE_FIELDS = {
    "scorer": ["name"], "model": ["observationModelName"],
    "prompt_ref": ["observationPromptName", "observationPromptVersion"],
}  # fmt: skip
_SECONDS = {"hour": 3600, "day": 86_400, "week": 604_800}

Row = dict[str, Any]


class LangfuseMetrics:
    """Frames of one Langfuse project's generations. Answers are kept in memory for ten minutes.

    langfuse: where to ask. fresh: seconds for which an answer is kept. clock: seconds, monotonic. All raise LangfuseError if it
    does not answer or has no such API (servers before 4), and InputError for what it cannot tell.
    """

    def __init__(
        self, langfuse: Langfuse, *, fresh: float = _FRESH, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._langfuse, self._fresh, self._clock = langfuse, fresh, clock
        self._kept: dict[str, tuple[float, list[Row]]] = {}

    def cost(self, window: Window, *, by: Sequence[str] = ("model",), every: Every = "day") -> pd.DataFrame:
        """As `cost_frame`; saved and unpriced are NaN. A call whose cost Langfuse does not know counts as 0 there."""
        metrics = {"calls": "count count", "spent": "totalCost sum", "prompt_tokens": "inputTokens sum",
                   "completion_tokens": "outputTokens sum"}  # fmt: skip
        found = self._by_time(window, metrics, by, every)
        for place, name in ((-2, "saved"), (-2, "unpriced")):
            found.insert(len(found.columns) + place, name, math.nan)
        return found

    def latency(self, window: Window, *, by: Sequence[str] = ("model",), every: Every = "day") -> pd.DataFrame:
        """As `latency_frame`, of generations that did not fail; answers of caches that were sent count too."""
        metrics = {"calls": "count count", "p50": "latency p50", "p95": "latency p95", "p99": "latency p99",
                   "first_token_p50": "timeToFirstToken p50"}  # fmt: skip
        found = self._by_time(window, metrics, by, every, only=[_level("none of")])
        seconds = {name: found[name] / 1000 for name in metrics if name != "calls"}
        return found.assign(**seconds)

    def quality(self, window: Window, *, by: Sequence[str] = ("scorer",), every: Every = "day") -> pd.DataFrame:
        """As `quality_frame`; low, high, unscored and users are NaN: Langfuse tells a mean, and neither spread nor users."""
        names = ["scorer", *[name for name in by if name != "scorer"]]
        rows = self._ask(window, "scores-numeric", {"mean": "value avg", "n": "count count"}, names, every=every)
        found = _frame(rows, ["at", *names, "mean", "n"])
        place = list(found.columns).index("n")
        for name in ("high", "low"):
            found.insert(place, name, math.nan)
        return found.astype({"n": int}).assign(unscored=math.nan, users=math.nan)

    def errors(self, window: Window, *, by: Sequence[str] = (), every: Every = "day") -> pd.DataFrame:
        """As `error_frame`, with one class for all that failed."""
        rows = self._ask(window, "observations", {"count": "count count"}, by, every=every, more=("level",))
        for row in rows:
            row["error"] = FAILED if row.pop("level") == "ERROR" else ""
        found = _frame(rows, ["at", *by, "error", "count"])
        summed = found.groupby(["at", *by, "error"])["count"].sum().astype(int).reset_index()
        return with_rates(summed, list(by))

    def versions(self, window: Window, *, score: str | None = None, every: Every = "day") -> pd.DataFrame:
        """As `version_frame`; prompt_digest is None, last is NaN, and intervals of scores are NaN. Only calls that are linked to
        a prompt of Langfuse. A cost that Langfuse has as 0 is unknown."""
        by = ["prompt_ref", "model"]
        metrics = {"n": "count count", "latency_p50": "latency p50", "spent": "totalCost sum"}
        made = _by(self._ask(window, "observations", metrics, by, only=[_level("none of")]), by)
        counted = self._ask(window, "observations", {"count": "count count"}, by, every=every, more=("level",))
        bins = [window.begin(at, every) for at in Window(window.since, window.until).bins(every)]
        days: dict[tuple[str, ...], dict[Any, int]] = {}
        failed: dict[tuple[str, ...], int] = {}
        for row in counted:
            key = tuple(row[name] for name in by)
            there = days.setdefault(key, {})
            there[row["at"]] = there.get(row["at"], 0) + int(row["count"])
            failed[key] = failed.get(key, 0) + (int(row["count"]) if row["level"] == "ERROR" else 0)
        rows = []
        for key in sorted(key for key in days if key[0]):
            one = made.get(key, {"n": 0, "latency_p50": math.nan, "spent": 0})
            rows.append(
                {
                    "prompt_ref": key[0], "model": key[1], "prompt_digest": None, "latency_p50": one["latency_p50"] / 1000,
                    "cost_per_call": one["spent"] / one["n"] if one["spent"] else math.nan, "n": int(one["n"]),
                    "errors": failed[key], "last": math.nan, "per_day": [days[key].get(at, 0) for at in bins],
                }
            )  # fmt: skip
        columns = (
            "prompt_ref",
            "model",
            "prompt_digest",
            "latency_p50",
            "cost_per_call",
            "n",
            "errors",
            "last",
            "per_day",
        )
        found = _frame(rows, columns).merge(self._scores(window, score), on=by, how="left")
        parts = [prompt_parts(ref) for ref in found.pop("prompt_ref")]
        found.insert(0, "prompt", [name for name, _ in parts])
        found.insert(1, "version", [version for _, version in parts])
        return found.sort_values(["prompt", "version", "model"], ignore_index=True)

    def _scores(self, window: Window, score: str | None) -> pd.DataFrame:
        by = ["prompt_ref", "model", "scorer"]
        rows = self._ask(window, "scores-numeric", {"score": "value avg", "scored": "count count"}, by)
        kept = [row for row in rows if row["prompt_ref"] and score in (None, row["scorer"])]
        return main_scores(_frame(kept, [*by, "score", "scored"]).assign(score_low=math.nan, score_high=math.nan))

    # -- asking -----------------------------------------------------------------------------------------------------

    def _by_time(
        self,
        window: Window,
        metrics: Mapping[str, str],
        by: Sequence[str],
        every: Every,
        only: Sequence[Mapping[str, Any]] = (),
    ) -> pd.DataFrame:
        rows = self._ask(window, "observations", metrics, by, every=every, only=only)
        return _frame(rows, ["at", *by, *metrics]).astype({"calls": int})

    def _ask(
        self,
        window: Window,
        view: str,
        metrics: Mapping[str, str],
        by: Sequence[str],
        *,
        every: Every | None = None,
        only: Sequence[Mapping[str, Any]] = (),
        more: Sequence[str] = (),
    ) -> list[Row]:
        """Rows with `at` (where `every` is given), those of `by` and `more`, and the metrics by our names.

        metrics: what each is, such as "latency p95"."""
        if every is not None and every not in _SECONDS:
            raise InputError(f"every = {every!r} must be one of {', '.join(_SECONDS)}.")
        known = _FIELDS if view == "observations" else _SCORE_FIELDS
        for name in by:
            if name not in known:
                raise InputError(
                    f"by = {name!r}: Langfuse's metrics are not grouped by that, but by {', '.join(known)}. "
                    'The local log knows it: source="log".'
                )
        fields = [field for name in by for field in known[name]]
        # the end of the ten minutes, so that the same question has the same name
        until = math.ceil(window.until / self._fresh) * self._fresh if self._fresh else window.until
        query: dict[str, Any] = {
            "view": view,
            "metrics": [dict(zip(("measure", "aggregation"), metric.split(), strict=True)) for metric in metrics.values()],
            "dimensions": [{"field": field} for field in (*fields, *more)],
            "filters": [*_filters(window, view), *only],
            "fromTimestamp": _instant(window.since), "toTimestamp": _instant(until), "config": {"row_limit": _MOST_ROWS},
        }  # fmt: skip
        if every is not None:
            query["timeDimension"] = {"granularity": every}
        rows = self._answer(json.dumps(query))
        if len(rows) >= _MOST_ROWS:
            raise InputError(
                f"Langfuse answers at most {_MOST_ROWS:,} rows at once, and this has more: take fewer days, every = 'week', "
                "or fewer groups."
            )
        return [_ours(row, metrics, by, known, more, timed=every is not None) for row in rows]

    def _answer(self, query: str) -> list[Row]:
        kept = self._kept.get(query)
        if kept is not None and self._clock() - kept[0] < self._fresh:
            return kept[1]
        try:
            answer = self._langfuse.insist(
                lambda api, options: api.metrics.metrics(query=query, request_options=options), "metrics"
            )
        except LangfuseError as error:
            if error.status == 404:
                raise LangfuseError(
                    f'{error} It has no /api/public/v2/metrics: that needs Langfuse 4 or its cloud. Use source="log".',
                    status=404,
                ) from None
            raise
        now = self._clock()
        self._kept = {name: one for name, one in self._kept.items() if now - one[0] < self._fresh}
        rows: list[Row] = list(answer.data)
        self._kept[query] = (now, rows)
        return rows


def _ours(
    row: Row, metrics: Mapping[str, str], by: Sequence[str], known: Mapping[str, list[str]], more: Sequence[str], *, timed: bool
) -> Row:  # fmt: skip
    import pandas as pd

    made: Row = {}
    if timed:
        made["at"] = pd.Timestamp(str(row["time_dimension"])).tz_localize(None).as_unit("us")
    for name in by:
        values = [row.get(field) for field in known[name]]
        made[name] = "" if values[0] is None else "@".join(str(value) for value in values if value is not None)
    made |= {name: row.get(name) for name in more}
    for name, metric in metrics.items():
        measure, aggregation = metric.split()
        value = row.get(f"{aggregation}_{measure}")
        made[name] = math.nan if value is None else float(value)  # large counts come as texts
    return made


def _filters(window: Window, view: str) -> list[Row]:
    found = [] if view != "observations" else [_any_of("type", ["GENERATION"])]
    if window.model is not None:
        column = "providedModelName" if view == "observations" else "observationModelName"
        found.append(_any_of(column, sorted({window.model, window.model.partition("/")[2] or window.model})))
    for name, value in (("tenant", window.tenant), ("feature", window.feature)):
        if value is None:
            continue
        if view != "observations":
            raise InputError(
                f'{name} = {value!r}: Langfuse does not tell scores apart by {name}. The local log does: source="log".'
            )
        found.append({"column": "metadata", "operator": "=", "key": name, "value": value, "type": "stringObject"})
    return found


def _any_of(column: str, values: list[str], operator: str = "any of") -> Row:
    return {"column": column, "operator": operator, "value": values, "type": "stringOptions"}


def _level(operator: str) -> Row:
    return _any_of("level", ["ERROR"], operator)


def _instant(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def _by(rows: list[Row], names: Sequence[str]) -> dict[tuple[str, ...], Row]:
    return {tuple(row[name] for name in names): row for row in rows}


def _frame(rows: list[Row], columns: Sequence[str]) -> pd.DataFrame:
    """In the order of its texts; with the kinds of the columns also where there are no rows."""
    import pandas as pd

    found = pd.DataFrame(rows, columns=list(columns))
    if not rows:
        kinds = {"at": "datetime64[us]"} | dict.fromkeys(("model", "prompt_ref", "scorer", "error"), "str")
        return found.astype({name: kinds.get(name, "float") for name in columns if name != "per_day"})
    keys = [name for name in columns if name in ("at", "model", "prompt_ref", "scorer", "error")]
    return found.sort_values(keys, ignore_index=True)
