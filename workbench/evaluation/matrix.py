"""Prompts x models x params: the variants of a matrix, and which of them nothing beats in quality, cost and latency at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from workbench.errors import InputError
from workbench.evaluation.arms import alike_concurrency
from workbench.records import Params, Variant

__all__ = ["pareto_table", "tagged"]

_ALIKE = 0.05  # costs and latencies that differ by less are taken for equal


def tagged(variants: Sequence[Variant], grid: Sequence[Params | Mapping[str, Any]]) -> list[Variant]:
    """Each variant with each of these params on top of its own, named by what tells the params apart (`temperature=0.7`).

    Variants of one model stay together. InputError if two params are equal.
    """
    given = [params if isinstance(params, Params) else Params.from_mapping(params) for params in grid]
    if not given:
        raise InputError("params = [] has nothing to compare: give one dict, or a list of at least one.")
    settings = [params.to_mapping() for params in given]
    names = sorted(
        {name for one in settings for name in one if any(one.get(name) != other.get(name) for other in settings)}
    )
    tags = [", ".join(f"{name}={one[name]!r}" for name in names if name in one) or "default params" for one in settings]
    if len(set(tags)) < len(tags):
        raise InputError(f"params holds {settings[0]!r} and the like twice: each must differ in a value.")
    if len(given) == 1:
        return [replace(variant, params=variant.params.merged(given[0])) for variant in variants]
    models = list(dict.fromkeys(variant.model for variant in variants))
    return [
        replace(variant, params=variant.params.merged(params), tag=tag)
        for model in models
        for params, tag in zip(given, tags, strict=True)
        for variant in variants
        if variant.model == model
    ]


def pareto_table(rows: Sequence[Mapping[str, Any]], score: str, *, higher_is_better: bool = True) -> pd.DataFrame:
    """One row a variant, best score first: variant, score with its interval, cost_per_call, latency_p50, in_flight, beaten_by.

    rows: with those values, unknown ones NaN or None. beaten_by: the best variant that is at least as good in all three and
    better in one; empty if there is none. What no variant knows (such as every cost) does not count. Where one of the two does
    not know it, or their latencies were measured with different numbers of calls in flight, neither beats the other. Costs and
    latencies within 5% of each other count as equal. By the estimates: the verdict says whether a difference is more than chance.
    """
    columns = ["variant", score, f"{score}_low", f"{score}_high", "cost_per_call", "latency_p50", "in_flight"]
    table = pd.DataFrame(rows, columns=columns)
    for name in columns[1:]:
        table[name] = pd.to_numeric(table[name], errors="coerce")
    table = table.sort_values(score, ascending=not higher_is_better, kind="stable", ignore_index=True)
    quality = table[score].to_numpy() * (1 if higher_is_better else -1)
    cost, latency = table["cost_per_call"].to_numpy(), table["latency_p50"].to_numpy()
    # what is compared, the most that is at least as good, and the least that is not better
    sizes = [
        (-quality, -quality, -quality),
        *((values, values * (1 + _ALIKE), values / (1 + _ALIKE)) for values in (cost, latency)),
    ]
    counted = [size for size in sizes if not np.isnan(size[0]).all()]
    timed = not np.isnan(latency).all()
    flight = [None if np.isnan(value) else float(value) for value in table["in_flight"]]
    beaten = []
    for mine in range(len(table)):
        winners = [
            other
            for other in range(len(table))
            if other != mine
            and not (timed and not alike_concurrency(flight[mine], flight[other]))
            and all(values[other] <= most[mine] for values, most, _ in counted)  # NaN is never at least as good
            and any(values[other] < least[mine] for values, _, least in counted)
        ]
        beaten.append(table["variant"][winners[0]] if winners else "")
    table["beaten_by"] = beaten
    return table
