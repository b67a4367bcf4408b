"""The dashboards: each a frame of the call log, its figures and a table of texts, by one call.

`bench.dashboards.cost(days=7, by=["model", "tenant"])` in a notebook shows figure and table; `.frame` is the DataFrame behind it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from workbench import tables
from workbench.dashboards.board import Board
from workbench.dashboards.board_tables import (
    budget_table,
    gpu_table,
    known_number,
    newest_first,
    of_latest,
    sparkline,
    total_of,
    version_keys,
    version_table,
)
from workbench.errors import StoreError

if TYPE_CHECKING:
    import pandas as pd

    from workbench.budgets import Budget
    from workbench.frames import Every, Frames, LangfuseMetrics, Log, Source, Window
    from workbench.pricing import FittedWeight, Prices
    from workbench.records import ServerMetrics, Usage
    from workbench.releases import Releases
    from workbench.stores.langfuse import Langfuse
    from workbench.widgets.explorer import Explorer

__all__ = ["Board", "Boards", "sparkline"]


class Boards:
    """Makes dashboards of a call log.

    All take days (whole days of `zone` up to now), every ("hour", "day" or "week"), and tenant, feature and model to look at
    these only; source: "log", or "langfuse" for what its metrics can tell of this. status: what became of prompt versions, by
    digest. price: dollars of a call. weights: of a prompt token, by model, as load tests found them. readings: of an
    endpoint's counters. budgets: what may be spent. sources: those that are set up, which `explore` lets choose from.
    """

    def __init__(
        self,
        log: Log,
        *,
        prices: Callable[[], Prices],
        releases: Releases | None = None,
        status: Callable[[Sequence[str]], Mapping[str, str]] | None = None,
        price: Callable[[str, Usage], float | None] = lambda model, usage: None,
        weights: Callable[[], Mapping[str, Sequence[FittedWeight]]] = dict,
        readings: Callable[[str], Iterable[ServerMetrics]] = lambda endpoint: (),
        budgets: Sequence[Budget] = (),
        langfuse: Callable[[], Langfuse] | None = None,
        sources: Sequence[Source] = ("log",),
        clock: Callable[[], float],
        zone: str = "UTC",
    ) -> None:
        self._langfuse, self.sources = langfuse, tuple(sources)
        self._metrics: LangfuseMetrics | None = None
        self._log, self._clock, self._zone = log, clock, zone
        self._prices, self._releases, self._status = prices, releases, status
        self._price, self._weights, self._readings, self._budgets = price, weights, readings, tuple(budgets)

    def cost(
        self,
        days: float = 30,
        *,
        by: Sequence[str] = ("model",),
        every: Every = "day",
        budget: float | None = None,
        source: Source = "log",
        **only: Any,
    ) -> Board:
        """What was spent, and saved by caches; a forecast to the end of the month. budget: dollars for each `every`, by default
        the daily one of workbench.toml; the numbers have what was spent of each budget. Endpoints with a price per hour are in
        no sum: see `gpu`."""
        from workbench import frames
        from workbench.dashboards import cost_figure

        window, numbers_of = self._window(days, only), self._frames(source)
        found = numbers_of.cost(window, by=by, every=every)
        now = datetime.fromtimestamp(self._clock(), window.tz).replace(tzinfo=None)
        ahead = None
        if window.model is None and window.tenant is None and window.feature is None:
            month = self._window(max(14.0, float(now.day)), {})
            if every == "day" and window.since <= month.since:  # the same days are in the frame
                daily = found[found["at"] >= datetime.fromtimestamp(month.since, month.tz).replace(tzinfo=None)]
            else:
                daily = numbers_of.cost(month, by=(), every="day")
            ahead = frames.forecast(daily, now)
        if budget is None and every == "day":
            budget = self._daily_budget(window)
        figure = cost_figure(found, by=by, budget=budget, forecast=ahead, every=every)
        money = {name: found[name].map(tables.format_money) for name in ("spent", "saved")}
        table, latest = newest_first(found.assign(**money), every), of_latest(found)
        numbers: dict[str, float | None] = {
            f"cost.{every}_usd": float(latest["spent"].sum()), "cost.spent_usd": float(found["spent"].sum()),
            "cost.saved_usd": total_of(found["saved"]), "cost.unpriced_calls": total_of(found["unpriced"]),
            "cost.month_expected_usd": None if ahead is None else ahead.expected,
        }  # fmt: skip
        return Board(
            _titled("What was spent", source),
            found,
            table,
            (figure,),
            numbers | (dict(self.budgets().numbers) if source == "log" else {}),
        )

    def _daily_budget(self, window: Window) -> float | None:
        """That of the tenant or feature that is looked at; of all, if everything is."""
        if window.model is not None or (window.tenant is not None and window.feature is not None):
            return None
        of = (window.tenant, window.feature)
        return next((b.usd for b in self._budgets if b.period == "daily" and (b.tenant, b.feature) == of), None)

    def budgets(self) -> Board:
        """What was spent of the budgets of workbench.toml, in the day or month of now and in that of yesterday. Calls to servers
        paid by the hour are in no sum."""
        from workbench.frames import budget_frame

        found = budget_frame(self._log, self._budgets, self._clock(), zone=self._zone)
        numbers: dict[str, float | None] = {row["number"]: float(row["most"]) for row in found.to_dict("records")}
        empty = "no budget is set. [budgets] in workbench.toml has them, such as daily_usd = 20."
        return Board("What was spent of the budgets", found, budget_table(found), (), numbers, empty=empty)

    def gpu(self, days: float = 30, *, against: str | None = None) -> Board:
        """What GPUs of your own cost by the time that they were busy, and by the whole time, with how many calls were in flight.

        against: a model of an API, such as openai/gpt-4o-mini: what the same tokens would have cost there, and from how many
        calls an hour the GPU is cheaper. "shared" marks figures of a server that others used too (`bench.gpu_cost` reads its
        counters).
        """
        from workbench.frames import gpu_frame

        prices = self._prices().gpus
        window = self._window(days, {})
        found = gpu_frame(
            self._log,
            window,
            prices,
            weights=self._weights(),
            readings={name: list(self._readings(name)) for name in prices},
        )
        if against is not None:
            found = self._with_api(found, window, against)
        numbers: dict[str, float | None] = {}
        for row in found.to_dict("records"):
            values = {"active_usd": row["active_usd"], "active_per_call_usd": row["active_per_call"]}
            values |= {"utilisation": row["utilisation"], "in_flight": row["in_flight"]}
            numbers |= {f"gpu.{row['model']}.{name}": known_number(value) for name, value in values.items()}
        empty = (
            f"{', '.join(prices)} was not called in this time."
            if prices
            else 'no GPU has a price. prices.toml beside workbench.toml gives it, such as ["vllm/*"] gpu_usd_per_hour = 2.20.'
        )
        return Board("What our GPUs cost", found, gpu_table(found, against), (), numbers, empty=empty)

    def _with_api(self, found: pd.DataFrame, window: Window, against: str) -> pd.DataFrame:
        """With api_usd and api_per_call of the same tokens, break_even (calls an hour), and calls_per_busy_hour."""
        from workbench.frames import break_even, what_if_frame

        rows = found.to_dict("records")
        other = what_if_frame(self._log, window, lambda usage: self._price(against, usage)).set_index("model")
        costs = [float(other["other"].get(row["model"], math.nan)) for row in rows]
        counted = [float(other["counted"].get(row["model"], math.nan)) for row in rows]
        each = [cost / count if count else math.nan for cost, count in zip(costs, counted, strict=True)]
        hourly = {name: price.gpu_usd_per_hour or 0.0 for name, price in self._prices().gpus.items()}
        even = [
            math.nan if math.isnan(cost) else break_even(hourly[row["endpoint"]], cost)
            for cost, row in zip(each, rows, strict=True)
        ]
        busy = [row["calls"] / row["busy_hours"] if row["busy_hours"] else math.nan for row in rows]
        return found.assign(api_usd=costs, api_per_call=each, break_even=even, calls_per_busy_hour=busy)

    def latency(
        self,
        days: float = 30,
        *,
        by: Sequence[str] | None = None,
        every: Every = "day",
        source: Source = "log",
        **only: Any,
    ) -> Board:
        """P50, P95 and P99 over time, time to first token, and how latencies are spread (not from Langfuse). by: endpoint and
        model, from Langfuse by default model."""
        from workbench import frames
        from workbench.dashboards import first_token_figure, latency_histogram_figure, latency_time_figure

        window = self._window(days, only)
        by = by if by is not None else ("endpoint", "model") if source == "log" else ("model",)
        found = self._frames(source).latency(window, by=by, every=every)
        times = {name: found[name].map(tables.format_seconds) for name in ("p50", "p95", "p99", "first_token_p50")}
        table, latest = newest_first(found.assign(**times), every), of_latest(found)
        worst = {
            f"latency.{name}_s": (float(latest[name].max()) if len(latest) else None) for name in ("p50", "p95", "p99")
        }
        figures = [latency_time_figure(found, by=by)]
        if found["first_token_p50"].notna().any():
            figures.append(first_token_figure(found, by=by))
        if source == "log":
            short = [name for name in by if name != "endpoint"] or list(by)
            spread = frames.latency_histogram(self._log, window, by=short)
            figures.append(latency_histogram_figure(spread, by=short))
        return Board(_titled("How long answers took", source), found, table, tuple(figures), worst)

    def quality(
        self,
        days: float = 30,
        *,
        by: Sequence[str] = ("scorer",),
        every: Every = "day",
        source: Source = "log",
        **only: Any,
    ) -> Board:
        """Scores over time with their intervals, releases marked; feature: whose releases."""
        from workbench.dashboards import quality_figure

        window = self._window(days, only)
        found = self._frames(source).quality(window, by=by, every=every)
        marks = [] if window.feature is None else self._released(window.feature, window)
        intervals = zip(found["mean"], found["low"], found["high"], strict=True)
        said = [f"{mean:.2f} [{low:.2f}, {high:.2f}]" if low == low else f"{mean:.2f}" for mean, low, high in intervals]
        texts = found.assign(mean=[text if text != "nan" else "unscored" for text in said])
        numbers = {f"quality.{row['scorer']}": known_number(row["mean"]) for row in of_latest(found).to_dict("records")}
        title = "Quality" if window.feature is None else f"Quality of {window.feature}"
        figure = quality_figure(found, by=_scorers(by), releases=marks)
        return Board(
            _titled(title, source), found, newest_first(texts.drop(columns=["low", "high"]), every), (figure,), numbers
        )

    def errors(
        self,
        days: float = 30,
        *,
        by: Sequence[str] = (),
        every: Every = "day",
        source: Source = "log",
        **only: Any,
    ) -> Board:
        """What failed, by class and rate: timeouts, rate limits, tool calls that cannot be run and all others."""
        from workbench.dashboards import error_figure

        found = self._frames(source).errors(self._window(days, only), by=by, every=every)
        failed = found[found["error"] != ""]
        table = newest_first(failed.assign(rate=failed["rate"].map(tables.format_share)), every)
        latest = of_latest(found)
        calls, wrong = latest["count"].sum(), latest.loc[latest["error"] != "", "count"].sum()
        rate = float(wrong / calls) if calls else None
        return Board(
            _titled("What failed", source), found, table, (error_figure(found, every=every),), {"errors.rate": rate}
        )

    def cache(
        self,
        days: float = 30,
        *,
        by: Sequence[str] = (),
        every: Every = "day",
        vetoed: int | None = None,
        source: Source = "log",
        **only: Any,
    ) -> Board:
        """Hits and what they saved, which only the log knows. vetoed: what the semantic cache's guard refused, as
        `bench.cache.stats` counts it."""
        from workbench.dashboards import cache_figure
        from workbench.errors import InputError
        from workbench.frames import cache_frame

        if source != "log":
            raise InputError(
                f"source = {source!r}: Langfuse's metrics know nothing of our caches. The log does: leave source out."
            )
        found = cache_frame(self._log, self._window(days, only), by=by, every=every)
        texts = found.assign(
            hit_rate=found["hit_rate"].map(tables.format_share), saved=found["saved"].map(tables.format_money),
            seconds=found["seconds"].map(tables.format_seconds),
        )  # fmt: skip
        hits = float((found["exact"] + found["semantic"]).sum() / found["calls"].sum()) if len(found) else None
        numbers = {"cache.hit_rate": hits, "cache.saved_usd": float(found["saved"].sum())}
        table = newest_first(texts.rename(columns={"seconds": "time saved", "hit_rate": "hit rate"}), every)
        return Board("What caches did", found, table, (cache_figure(found, vetoed=vetoed, every=every),), numbers)

    def versions(
        self,
        days: float = 30,
        *,
        score: str | None = None,
        sort: str = "prompt",
        ascending: bool = True,
        source: Source = "log",
        **only: Any,
    ) -> Board:
        """The version-performance table: prompt, version, model, main score, latency P50, cost per call, n, status, sparkline.

        score: the scorer, by default each prompt's main one. sort: a column of `frames.version_frame`.
        """
        from workbench.errors import InputError

        window = self._window(days, only)
        found = self._frames(source).versions(window, score=score)
        digests = [digest for digest in found["prompt_digest"] if isinstance(digest, str)]
        known = self._statuses(digests)
        unknown = "not released" if source == "log" else "unknown"  # Langfuse tells no digests
        found["status"] = [known.get(digest, unknown) for digest in found["prompt_digest"]]
        if sort not in found.columns:
            raise InputError(f"sort = {sort!r}: the table has no such column. It has: {', '.join(found.columns)}.")
        if sort != "prompt":
            found = found.sort_values(sort, ascending=ascending, kind="stable", ignore_index=True)
        numbers: dict[str, float | None] = {}
        for row in found.to_dict("records"):
            name = f"{row['prompt']}@{row['version']} {row['model']}"
            values = {
                str(row["scorer"]): row["score"],
                "latency_p50_s": row["latency_p50"],
                "cost_per_call_usd": row["cost_per_call"],
            }
            numbers |= {f"{name}.{key}": known_number(value) for key, value in values.items() if key != "nan"}
        return Board(
            _titled("Version performance", source), found, version_table(found), (), numbers, version_keys(found)
        )

    def _frames(self, source: Source) -> Frames:
        from workbench.errors import InputError
        from workbench.frames import LangfuseMetrics, LogFrames

        if source == "log":
            return LogFrames(self._log)
        if source != "langfuse" or self._langfuse is None:
            raise InputError(f'source = {source!r} must be "log" or "langfuse".')
        if self._metrics is None:
            self._metrics = LangfuseMetrics(self._langfuse())
        return self._metrics

    # -- by hand ----------------------------------------------------------------------------------------------------

    def explore(self, board: str = "cost", days: float = 30, **filters: Any) -> Explorer | Board:
        """A board with its filters beside it, drawn anew as they change; under WORKBENCH_STATIC=1 the board itself.

        filters: by, every, model, tenant, feature, as the board takes them; source: offered where Langfuse is set up.
        board: also "what_if", with its prices.
        """
        from workbench.widgets.board_explorer import explore

        return explore(self, board, days, filters)

    def what_if(
        self, days: float = 30, *, against: str = "", input_price: float | None = None, output_price: float | None = None,
        gpu_usd_per_hour: float | None = None, **only: Any,
    ) -> Board:  # fmt: skip
        """What the answered calls would have cost with another model's price, and on a GPU by the hour, with break-even.

        against: a model, such as openai/gpt-4o-mini. input_price, output_price: dollars per million tokens, in place
        of its own.
        """
        from workbench.dashboards.what_if import what_if
        from workbench.pricing import Price

        own = None if input_price is None or output_price is None else Price(input_price, None, output_price)
        name = (against or "yours") if own else against

        def price(usage: Usage) -> float | None:
            return self._price(against, usage) if own is None else own.cost(usage)

        window, gpus = self._window(days, only), self._prices().gpus
        return what_if(self._log, window, price if name else None, name, gpu_usd_per_hour, gpus)

    def values(self, days: float = 30) -> dict[str, list[str]]:
        """The models, tenants and features of the calls, those of most calls first."""
        from workbench.frames import filter_values

        return filter_values(self._log, self._window(days, {}))

    # -- parts ------------------------------------------------------------------------------------------------------

    def _window(self, days: float, only: Mapping[str, Any]) -> Window:
        from workbench.errors import InputError
        from workbench.frames import Window

        known = ("model", "tenant", "feature")
        for name in only:
            if name not in known:
                raise InputError(f"there is no filter {name!r}; calls are filtered by {', '.join(known)}.")
        return Window.last(
            days, self._clock(), zone=self._zone, **{name: value or None for name, value in only.items()}
        )

    def _released(self, feature: str, window: Window) -> list[tuple[Any, str]]:
        if self._releases is None:
            return []
        try:
            events = self._releases.history(feature).events
        except (StoreError, LookupError):
            return []
        return [
            (datetime.fromtimestamp(event.at, window.tz).replace(tzinfo=None), f"release {event.release}")
            for event in events
            if event.release != event.before and window.since <= event.at < window.until
        ]

    def _statuses(self, digests: Sequence[str]) -> Mapping[str, str]:
        return self._status(digests) if self._status is not None and digests else {}


def _titled(title: str, source: Source) -> str:
    return title if source == "log" else f"{title}, as Langfuse has it"


def _scorers(by: Sequence[str]) -> list[str]:
    return ["scorer", *[name for name in by if name != "scorer"]]
