"""`workbench doctor`."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

from cyclopts import Parameter

__all__ = ["doctor"]


def doctor(*, json_output: Annotated[bool, Parameter(name="--json")] = False) -> int:
    """Show each part: what was chosen, by which setting, whether it answers, and how to fix it.

    Exit code 1 when something that was configured does not answer.

    Parameters
    ----------
    json_output
        Print JSON in place of the table.
    """
    from workbench.workbench import Workbench

    async def check() -> int:
        async with Workbench() as bench:
            diagnosis = await bench.doctor()
        print(json.dumps(diagnosis.to_mapping(), indent=2) if json_output else diagnosis)
        return 0 if diagnosis.ok else 1

    return asyncio.run(check())
