"""Cost of a comparison's calls on servers that are paid by the hour.

The busy time of a model in the run (in which at least one of its calls was in flight), times the price of an hour, is shared
among its calls by their work: uncached prompt tokens times a weight, plus output tokens. All variants on a model so have one
price for a token of work, and differ by the tokens that they take, not by which of them met a busy moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from workbench import tables
from workbench.evaluation.measurements import Measurements
from workbench.pricing import FittedWeight, Price, weigh
from workbench.records import split_model

__all__ = ["HourlyRate", "price_by_time"]


@dataclass(frozen=True, slots=True)
class HourlyRate:
    """What a model's work cost in a run. busy: seconds; in_flight: calls at once, on average while busy; utilisation: busy time
    by the time from its first call to its last; usd_per_token: of work; weight, weight_from: of a prompt token."""

    model: str
    usd_per_hour: float
    busy: float
    in_flight: float
    utilisation: float
    usd_per_token: float
    weight: float
    weight_from: str

    def __str__(self) -> str:
        hour, million = tables.format_money(self.usd_per_hour), tables.format_money(1e6 * self.usd_per_token)
        return (
            f"Cost of {self.model}: {hour} an hour for the {tables.format_seconds(self.busy)} that it was busy, one price a "
            f"token for all variants ({million} per million output tokens; a prompt token weighs {self.weight:.2g}: "
            f"{self.weight_from}), at {self.in_flight:.1f} calls in flight and {tables.format_share(self.utilisation)} "
            "utilisation. Idle time is in no figure."
        )


def price_by_time(
    numbers: Measurements,
    models: Sequence[str],
    gpus: Mapping[str, Price],
    weights: Mapping[str, Sequence[FittedWeight]],
) -> tuple[HourlyRate, ...]:
    """Write the cost of calls that have none and whose endpoint is paid by the hour, and say by what rates.

    models: of each variant, as `numbers.variants`. gpus: prices by endpoint. weights: of a prompt token, by model.
    """
    found = []
    for model in dict.fromkeys(models):
        price = gpus.get(split_model(model)[0])
        rows = np.array([other == model for other in models])
        if price is None or price.gpu_usd_per_hour is None or np.isfinite(numbers.cost[rows]).any():
            continue
        there = numbers.worked & rows[:, None, None] & np.isfinite(numbers.latency)
        if not there.any() or not np.isfinite(numbers.output_tokens[there]).all():
            continue  # without counts there is no work to share by: unknown
        ended, latency = numbers.at[there], numbers.latency[there]
        busy = _union(ended - latency, ended)
        at_once = float(latency.sum() / busy) if busy > 0 else 1.0
        weight, source = weigh(price, weights.get(model, ()), at_once)
        work = (
            numbers.prompt_tokens * weight + numbers.output_tokens
        )  # (variants, examples, repeats), NaN where unknown
        total = float(work[there].sum())
        if not np.isfinite(total) or total <= 0:
            continue
        rate = price.gpu_usd_per_hour / 3600 * busy / total
        numbers.cost[there] = work[there] * rate
        whole = float(ended.max() - (ended - latency).min())
        found.append(
            HourlyRate(
                model, price.gpu_usd_per_hour, busy, at_once, busy / whole if whole > 0 else 1.0, rate, weight, source
            )
        )
    return tuple(found)


def _union(began: np.ndarray, ended: np.ndarray) -> float:
    """Seconds in which at least one of the intervals lies."""
    order = np.argsort(began, kind="stable")
    began, ended = began[order], ended[order]
    reach = np.concatenate([[-np.inf], np.maximum.accumulate(ended)[:-1]])
    return float(np.maximum(ended - np.maximum(began, reach), 0.0).sum())
