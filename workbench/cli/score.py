"""`workbench score`."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

from cyclopts import Parameter

__all__ = ["score"]


def score(
    *,
    feature: str,
    scorer: list[str] | None = None,
    since: str = "1d",
    until: str | None = None,
    sample: int = 200,
    judge: str | None = None,
    budget: float | None = None,
    seed: int = 0,
    plan_only: bool = False,
    json_output: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Score logged answers of a feature, with the context that they had; each call once by each scorer.

    The plan is printed first. Scores are rows of the table `scores` (workbench calls sql), and outcomes that guardrails see.
    Exit code 0 when all were scored, 1 when it ended early or some could not be scored, 2 for wrong input. For a cron job
    give a budget.

    Parameters
    ----------
    feature
        Whose answers.
    scorer
        faithfulness (the default), relevance, or any scorer that needs no expected answer; give it once for each.
    since
        Answers from so long ago, such as 6h, 1d or 2w, or since a date.
    until
        Answers before that.
    sample
        At most so many, at random.
    judge
        The model, ENDPOINT/MODEL, that judges faithfulness or relevance; by default rules and an embedder do.
    budget
        Dollars that each scorer may spend at most.
    seed
        Of the sample.
    plan_only
        Print the plan and stop.
    json_output
        Print JSON in place of the results.
    """

    async def run() -> int:
        from workbench.workbench import Workbench

        failed, results = False, []
        async with Workbench() as bench:
            for name in scorer or ["faithfulness"]:
                plan = await asyncio.to_thread(
                    bench.quality.plan, feature, name, since=since, until=until, sample=sample, judge=judge, budget=budget,
                    seed=seed,
                )  # fmt: skip
                if not json_output:
                    print(plan)
                if plan_only:
                    continue
                found = await bench.quality.score(plan)
                failed = failed or bool(found.failed or found.stopped)
                results.append(found.to_mapping())
                if not json_output:
                    print(found)
        if json_output:
            print(json.dumps(results, indent=2))
        return int(failed)

    return asyncio.run(run())
