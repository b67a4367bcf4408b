"""What the logged calls would have cost at another price: the tokens stay, as the model that answered counted them.

Another tokeniser counts differently, and another server may cache other prefixes: both are left as they were. A call without
its token counts has no price here, and what has no price is in no sum; a sum that lacks calls is never held against one that
has all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from workbench.frames.window import Log, Window
from workbench.records import Usage

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["busiest_hour", "what_if_frame"]

_PROBE = 1_000  # tokens whose price is asked for to see whether prices are the same per token at any length


def what_if_frame(log: Log, window: Window, price: Callable[[Usage], float | None] | None) -> pd.DataFrame:
    """One row for each model that answered, embeddings aside, the one of most calls first.

    price: dollars of a call with this usage, None if unknown; None itself: nothing is asked. Columns: model, calls, priced (calls
    with a known cost), spent (dollars of these), counted (calls with token counts), prompt_tokens, cached_tokens,
    completion_tokens (of these), other (dollars of these at `price`, NaN if unknown), difference (other - spent; NaN unless
    every call has both).
    """
    where, values = window.where()
    found = log.sql(
        f"""select model, count(*) as calls, count(spent) as priced, coalesce(sum(spent), 0) as spent,
        count(*) filter (prompt_tokens is not null and completion_tokens is not null) as counted, prompt_tokens as prompt,
        least(coalesce(cached_tokens, 0), prompt_tokens) as cached, completion_tokens as output
        from calls where {where} and source = 'model' and error is null and kind <> 'embedding' group by all""",  # noqa: S608
        values,
        since=window.since,
    )
    rows: list[dict[str, Any]] = []
    for model, part in found.groupby("model", sort=False):
        known = part[part["counted"] > 0]
        tokens = {name: int((known[name] * known["calls"]).sum()) for name in ("prompt", "cached", "output")}
        sums = {name: int(part[name].sum()) for name in ("calls", "priced", "counted")}
        spent, other = float(part["spent"].sum()), _cost(known, tokens, price)
        whole = sums["priced"] == sums["calls"] == sums["counted"]
        rows.append(
            {"model": model, **sums, "spent": spent, **tokens, "other": other, "difference": other - spent if whole else math.nan}
        )  # fmt: skip
    return _frame(rows)


def busiest_hour(log: Log, window: Window) -> int:
    """The most calls of these in an hour of the clock."""
    where, values = window.where()
    found = log.sql(
        f"""select coalesce(max(n), 0) as most from (select count(*) as n from calls where {where} and source = 'model'
        and error is null and kind <> 'embedding' group by cast(floor(ended_at / 3600) as bigint))""",  # noqa: S608
        values,
        since=window.since,
    )
    return int(found["most"].iloc[0])


def _cost(known: pd.DataFrame, tokens: dict[str, int], price: Callable[[Usage], float | None] | None) -> float:
    """Dollars of these calls (prompt, cached, output and how many calls had that), NaN if unknown."""
    if price is None or not len(known):
        return math.nan
    rates = [price(usage) for usage in (Usage(_PROBE, 0, 0), Usage(_PROBE, 0, _PROBE), Usage(0, _PROBE, 0))]
    if any(rate is None for rate in rates):
        return math.nan
    fresh, cached, output = (float(rate or 0) / _PROBE for rate in rates)

    def linear(prompt: int, kept: int, made: int) -> float:
        return (prompt - kept) * fresh + kept * cached + made * output

    longest = Usage(int(known["prompt"].max()), int(known["output"].max()), 0)
    at_most = price(longest)
    if at_most is not None and math.isclose(
        at_most, linear(int(longest.prompt_tokens or 0), 0, int(longest.completion_tokens or 0)), rel_tol=1e-6, abs_tol=1e-15
    ):  # fmt: skip
        return linear(tokens["prompt"], tokens["cached"], tokens["output"])
    total = 0.0  # long prompts have another price: each length by itself
    for prompt, kept, made, calls in zip(
        known["prompt"], known["cached"], known["output"], known["calls"], strict=True
    ):
        cost = price(Usage(int(prompt), int(made), int(kept)))
        if cost is None:
            return math.nan
        total += cost * int(calls)
    return total


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    columns = [
        "model", "calls", "priced", "counted", "spent", "prompt", "cached", "output", "other", "difference",
    ]  # fmt: skip
    names = {"prompt": "prompt_tokens", "cached": "cached_tokens", "output": "completion_tokens"}
    found = pd.DataFrame(rows, columns=columns).rename(columns=names)
    return found.sort_values(["calls", "model"], ascending=[False, True], kind="stable", ignore_index=True)
