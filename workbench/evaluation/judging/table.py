"""The judges of a comparison, as a table beside its variants': how steady each is, how far people agree with it, what it cost."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench import tables
from workbench.evaluation.judging.agreement import cohen_kappa, krippendorff_alpha
from workbench.evaluation.judging.reports import use_of
from workbench.evaluation.ratings.agreement import Agreement, with_interval
from workbench.evaluation.ratings.identity import answer_id
from workbench.evaluation.run import Run
from workbench.evaluation.scorers.people import Rated
from workbench.evaluation.scorers.scorer import Scorer
from workbench.records import Interval

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["agreement_with_people", "judge_table", "judges_of"]

_JUDGE = "\x00judge"  # no rater's name
_USED = (
    "model", "prompt", "prompt_digest", "calls", "cached", "reused", "cost", "spent", "repaired", "unparsed", "failed", "pairs",
    "flip_rate", "repeated", "self_agreement",
)  # fmt: skip
_PEOPLE = ("statistic", "agreement", "agreement_low", "agreement_high", "raters", "rated")
_COLUMNS = ("scorer", *_USED, "scored", "unscored", "cost_per_answer", *_PEOPLE)


def judges_of(run: Run) -> pd.DataFrame:
    """One row a judge, as numbers; no row without judges.

    scorer, model, prompt, prompt_digest; scored, unscored: answers with and without its score; unparsed: judgements that could
    not be read, failed: calls; flip_rate of `pairs` and self_agreement of `repeated` judgements; statistic, agreement with
    agreement_low and agreement_high: with people, on `rated` answers by `raters`; calls, cached, reused (judgements from before);
    cost: dollars when they were made, spent: now, cost_per_answer. Unknown is None or NaN.
    """
    import pandas as pd

    rows = []
    worked = run.measurements.worked
    for scorer in run.plan.scorers:
        use = use_of(scorer)
        if use is None:
            continue
        missing = int((worked & np.isnan(run.measurements.scores[scorer.name])).sum())
        found = agreement_with_people(run, scorer)
        each = use.cost / use.judgements if use.cost is not None and use.judgements else None
        row = {"scorer": scorer.name} | {name: getattr(use, name) for name in _USED}
        row |= {"scored": int(worked.sum()) - missing, "unscored": missing, "cost_per_answer": each}
        rows.append(row | _people(found))
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _people(found: Agreement | None) -> dict[str, Any]:
    if found is None:
        return dict.fromkeys(_PEOPLE) | {"raters": 0, "rated": 0}
    low, high = (None, None) if found.interval is None else (found.interval.low, found.interval.high)
    told = (found.statistic, found.value, low, high, len(found.raters), found.items)
    return dict(zip(_PEOPLE, told, strict=True))


def judge_table(judges: pd.DataFrame, level: float) -> pd.DataFrame:
    """The same as people read it: every cell is text."""
    import pandas as pd

    return pd.DataFrame([_row(values, level) for values in judges.to_dict("records")])


def _row(values: Mapping[Hashable, Any], level: float) -> dict[str, str]:
    counts = {name: values[name] for name in ("unscored", "unparsed", "failed") if values[name]}
    more = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    each = values["cost_per_answer"]
    return {
        "score": str(values["scorer"]),
        "judge": str(values["model"]),
        "prompt": str(values["prompt"]),
        "agrees with people": _agreement(values, level),
        "with itself": _share(values["self_agreement"], values["repeated"], "asked once"),
        "flips": _share(values["flip_rate"], values["pairs"], "no pairs"),
        "scored": f"{values['scored']:,}" + (f" ({more})" if more else ""),
        "judge cost": tables.format_money(_known(values["cost"])),
        "cost/answer": "unknown" if _known(each) is None else tables.format_money(each),
    }


def _known(value: Any) -> float | None:
    return None if value is None or np.isnan(value) else float(value)


def _share(share: Any, of: int, none: str) -> str:
    return none if not of else f"{share:.0%} of {of:,}"


def _agreement(values: Mapping[Hashable, Any], level: float) -> str:
    if not values["rated"]:
        return "not rated"
    rated = f"{values['rated']:,} rated by {values['raters']}"
    value, low, high = (_known(values[name]) for name in ("agreement", "agreement_low", "agreement_high"))
    if value is None:
        return f"not defined ({rated})"
    shown = f"{value:.2f}" if low is None or high is None else tables.format_interval(Interval(value, low, high, level))
    return f"{values['statistic']} {shown} ({rated})"


def agreement_with_people(run: Run, scorer: Scorer) -> Agreement | None:
    """How far a judge's scores agree with what people said of the same answers; None where nobody was asked or has rated one.

    One rater: Cohen's kappa, weighted (quadratic) unless both say only 0 and 1. More: Krippendorff's alpha of them and the judge.
    Equal answers to an example count once; the interval is of a bootstrap over examples.
    """
    people = next(
        (one for one in run.plan.scorers if scorer.people is not None and one.name == scorer.people.name), None
    )
    if people is None or not isinstance(people.function, Rated) or not people.function:
        return None
    scores, numbers = run.measurements.scores[scorer.name], run.measurements
    examples: dict[int, dict[str, dict[str, float]]] = {}
    for row in run.folder.rows():
        if row["warmup"] or row["error"] is not None or row["variant"] not in numbers.variants:
            continue
        score = scores[numbers.of(row["variant"]), row["example"], row["repeat"]]
        if np.isnan(score):
            continue
        example = run.plan.dataset[int(run.plan.indices[row["example"]])]
        answer = answer_id(example, row["text"])
        said = people.function.by_rater(answer)
        if said:
            examples.setdefault(row["example"], {}).setdefault(answer, {**said, _JUDGE: float(score)})
    units = [list(answers.values()) for _, answers in sorted(examples.items())]
    everything = [unit for answers in units for unit in answers]
    if not everything:
        return None
    raters = tuple(sorted({rater for unit in everything for rater in unit} - {_JUDGE}))
    graded = any(value not in (0.0, 1.0) for unit in everything for value in unit.values())

    def statistic(found: Sequence[Sequence[Mapping[str, float]]]) -> float | None:
        flat = [unit for answers in found for unit in answers]
        if len(raters) > 1:
            return krippendorff_alpha(flat, scale="interval" if graded else "nominal")
        judged, rated = [unit[_JUDGE] for unit in flat], [unit[raters[0]] for unit in flat]
        return cohen_kappa(judged, rated, weights="quadratic" if graded else None)

    name = "Krippendorff's alpha" if len(raters) > 1 else "Cohen's weighted kappa" if graded else "Cohen's kappa"
    value, interval = with_interval(units, statistic, run.plan.level, run.plan.seed)
    return Agreement(name, value, interval, raters, len(everything))
