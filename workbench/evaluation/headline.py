"""A comparison in a few named numbers, for a report that is held against its last run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.evaluation.sentences import count_text

if TYPE_CHECKING:
    from workbench.evaluation.comparison import Comparison

__all__ = ["headline"]


def headline(result: Comparison) -> dict[str, dict[str, Any]]:
    """numbers: for each variant its scores, latency_p50_s, cost_per_call_usd, errors and unscored, named as
    `triage@2.exact_match`, or by the variant's label if one prompt meets
    several models. says: the verdict. causes: digests of prompts, models and data, scorers as they were
    set, versions. A number that is unknown is None.
    """
    plan = result.run.plan
    numbers: dict[str, float | None] = {}
    refs = [variant.prompt.ref for variant in plan.variants]
    alone = len(set(refs)) == len(refs)
    for variant, row in zip(plan.variants, result.summary.to_dict("records"), strict=True):
        name = variant.prompt.ref if alone else variant.label
        values = {scorer.name: row[scorer.name] for scorer in plan.scorers}
        values |= {"latency_p50_s": row["latency_p50"], "cost_per_call_usd": row["cost_per_call"]}
        values |= {"errors": row["errors"], "unscored": row["unscored"]}
        numbers |= {f"{name}.{key}": None if pd.isna(value) else float(value) for key, value in values.items()}
    causes = {f"prompt {variant.prompt.ref}": variant.prompt.digest[:16] for variant in plan.variants}
    for variant in plan.variants:
        version = f", server {variant.server_version}" if variant.server_version else ""
        causes[f"model {variant.model}"] = f"{(variant.model_digest or 'digest unknown')[:16]}{version}"
        if params := variant.params.to_mapping():
            causes[f"params of {variant.label}"] = json.dumps(params, sort_keys=True, default=str)
    causes["data set"] = f"{plan.dataset.name} {plan.dataset.digest[:16]}, {count_text(len(plan.indices))}"
    causes |= {f"scorer {one.name}": json.dumps(dict(one.spec), sort_keys=True, default=str) for one in plan.scorers}
    return {"numbers": numbers, "says": {"verdict": result.verdict.sentence}, "causes": causes}
