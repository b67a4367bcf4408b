"""What must be said of a judge beside its scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench import tables
from workbench.evaluation.judging.asking import JudgeUse

if TYPE_CHECKING:
    import pandas as pd

    from workbench.evaluation.scorers.scorer import Scorer

__all__ = ["by_whom", "judge_notes", "judge_table", "use_of"]


def use_of(scorer: Scorer) -> JudgeUse | None:
    """What the judge behind a bound scorer did; None if there is none."""
    use = getattr(scorer.function, "use", None)
    return use if isinstance(use, JudgeUse) else None


def by_whom(scorer: Scorer) -> str:
    """What a verdict must add, where its scores are a model's opinion; else empty."""
    use = use_of(scorer)
    return f" Scored by an uncalibrated judge ({use.model})." if use else ""


def judge_notes(scorers: Sequence[Scorer]) -> list[str]:
    """One line a judge: calls, cost, what could not be read, and how steady it is."""
    notes = []
    for scorer in scorers:
        if (use := use_of(scorer)) is None or not use.calls + use.failed:
            continue
        money = tables.format_money(use.cost)
        said = [f"{use.calls:,} calls ({use.cached:,} from the cache) for {money}, apart from the variants' cost"]
        said += [f"{use.repaired:,} answers repaired"] * bool(use.repaired)
        said += [f"{use.unparsed:,} judgements could not be read"] * bool(use.unparsed)
        said += [f"{use.failed:,} calls failed"] * bool(use.failed)
        if use.pairs:
            said.append(f"the winner changed with the order in {use.flip_rate:.0%} of {use.pairs:,} pairs")
        if use.repeated:
            said.append(f"{use.self_agreement:.0%} of {use.repeated:,} answers graded alike each time")
        notes.append(f"{scorer.name} asked the judge {use.model} ({use.prompt}): {'; '.join(said)}.")
    return notes


def judge_table(scorers: Sequence[Scorer]) -> pd.DataFrame:
    """One row a judge, as numbers: scorer, model, prompt, prompt_digest, calls, cached, cost, repaired, unparsed, failed,
    flip_rate, self_agreement. Unknown is None or NaN."""
    import pandas as pd

    columns = ("model", "prompt", "prompt_digest", "calls", "cached", "cost", "repaired", "unparsed", "failed", "flip_rate",
               "self_agreement")  # fmt: skip
    used = [(scorer.name, use) for scorer in scorers if (use := use_of(scorer)) is not None]
    rows = [{"scorer": name} | {column: getattr(use, column) for column in columns} for name, use in used]
    return pd.DataFrame(rows, columns=["scorer", *columns])
