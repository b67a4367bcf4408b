"""A comparison of two prompts on numbered questions, by a scripted model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from workbench import Rule, Scripted, Workbench
from workbench.evaluation.comparison import Comparison
from workbench.evaluation.plan import Plan
from workbench.running.progress import silent


@pytest.fixture
def compared(project: Path) -> Callable[..., tuple[Comparison, Plan, Workbench]]:
    """compared(says, rows, **options) holds "Long: {{question}}" against "Short: {{question}}".

    says: an answer, or what gives one for a request. rows: of the data, question `q N` is added to row N.
    options: the plan's.
    """

    def compare(says: Any, rows: Sequence[Mapping[str, Any]], **options: Any) -> tuple[Comparison, Plan, Workbench]:
        async def go() -> tuple[Comparison, Plan, Workbench]:
            async with Workbench(project, runtimes={"scripted": Scripted([Rule(answer=says)])}) as bench:
                bench.prompts.create("tell", "Short: {{question}}")
                bench.prompts.create("tell", "Long: {{question}}")
                data = pd.DataFrame([{"question": f"q {at}", **row} for at, row in enumerate(rows)])
                asked = {"prompts": ["tell@1", "tell@2"], "models": ["scripted/m"], "primary": "exact_match"} | options
                plan = bench.plan(dataset=data, **asked)
                return await bench.compare(plan, progress=silent), plan, bench

        return asyncio.run(go())

    return compare
