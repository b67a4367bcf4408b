"""What changed from one finished run to another: what they were made by, and what they found, paired by example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from workbench import tables
from workbench.errors import InputError, short_repr
from workbench.evaluation.arms import ArmScores
from workbench.evaluation.verdict import decide
from workbench.records import Interval, Verdict

if TYPE_CHECKING:
    import pandas as pd

    from workbench.evaluation.runs import KeptRun

__all__ = ["RunChange", "changes"]

_ALIKE = 0.005  # prices that differ by less are rounding


@dataclass(frozen=True, eq=False)
class RunChange:
    """From run `before` to run `after`. causes: a sentence for each thing that differs in how they were made. same_text: the
    share of answers that are word for word the same, None without common examples. verdicts: for each pair of variants."""

    before: str
    after: str
    causes: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    common: int
    same_text: float | None
    figures: pd.DataFrame

    @property
    def sentence(self) -> str:
        """What was found, and whether anything that was recorded explains it."""
        found = " ".join(verdict.sentence for verdict in self.verdicts)
        if not self.verdicts:
            found = "There is no paired verdict: no example has one score from both."
        if not self.causes:
            found += " Nothing that is recorded differs: what does is the model's own variation, or the server's."
        return found

    def table(self) -> pd.DataFrame:
        """The figures as people read them."""
        import pandas as pd

        rows = []
        for row in self.figures.to_dict("records"):
            score = Interval(row["score"], row["low"], row["high"], 0.95)
            rows.append(
                {
                    "run": row["run"], "variant": row["variant"], "measured": row["measured"],
                    row["primary"]: "unscored" if np.isnan(row["score"]) else tables.format_interval(score),
                    "latency P50": "unknown" if np.isnan(row["latency_p50"]) else tables.format_seconds(row["latency_p50"]),
                    "cost/call": tables.format_money(None if np.isnan(row["cost_per_call"]) else row["cost_per_call"]),
                    "n": str(row["n"]),
                }
            )  # fmt: skip
        return pd.DataFrame(rows)

    def to_mapping(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        rows = [
            {str(k): None if isinstance(v, float) and np.isnan(v) else v for k, v in row.items()}
            for row in self.figures.to_dict("records")
        ]
        return {
            "before": self.before, "after": self.after, "causes": list(self.causes), "common_examples": self.common,
            "same_text": self.same_text, "verdicts": [verdict.to_mapping() for verdict in self.verdicts], "figures": rows,
        }  # fmt: skip

    def _lines(self) -> list[str]:
        lines = [f"Changed: {cause}" for cause in self.causes] or ["Changed: nothing that is recorded"]
        if self.same_text is not None:
            lines.append(
                f"{tables.format_count(self.common, 'example')} {'is' if self.common == 1 else 'are'} in both; "
                f"{tables.format_share(self.same_text)} of the answers are the same, word for word."
            )
        return lines

    def __str__(self) -> str:
        head = [f"From {self.before} to {self.after}", f"Verdict: {self.sentence}", ""]
        return "\n".join([*head, tables.to_text(self.table()), *map(tables.clean_text, self._lines())])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        lines = "".join(f"<li>{tables.html_text(line)}</li>" for line in self._lines())
        return (
            f"<p><strong>{tables.html_text(self.sentence)}</strong></p>{tables.to_html(self.table())}<ul>{lines}</ul>"
        )


def changes(before: KeptRun, after: KeptRun, *, datasets: Path, variants: tuple[str, str] | None = None) -> RunChange:
    """The change. datasets: the folder of normalised data sets. InputError if no variant of one is like one of the other."""
    import pandas as pd

    pairs = _pairs(before, after, variants)
    same, data_causes = _examples(before, after, datasets)
    causes = data_causes + _scoring(before, after)
    verdicts, figures, alike, common = [], [], [], 0
    for old, new in pairs:
        causes += _made_by(old, new)
        one, other = _Answers(before, old["label"]), _Answers(after, new["label"])
        causes += _price(one, other)
        # a run may have asked a part of its data only
        ids = sorted(same & one.texts.keys() & other.texts.keys())
        score = _common_score(before, after, one, other)
        for run, answers, variant in ((before, one, old), (after, other, new)):
            figures.append(_figures(run, answers, variant, score or run.primary))
        common = max(common, len(ids))
        alike += [one.texts[key] == other.texts[key] for key in ids]
        if score is None:
            causes.append(f"the scores: {before.primary} decided before, {after.primary} after, and neither is in both")
            continue
        if not ids:
            continue
        arms = [
            answers.arm(ids, score, _name(run, variant))
            for run, answers, variant in ((before, one, old), (after, other, new))
        ]
        verdicts.append(_verdict(after, arms, score, 1 - (1 - after.plan["level"]) / len(pairs)))
    return RunChange(
        before.run_id, after.run_id, tuple(dict.fromkeys(causes)), tuple(verdicts), common,
        float(np.mean(alike)) if alike else None, pd.DataFrame(figures),
    )  # fmt: skip


class _Answers:
    """One variant's answers by the example's id: the hash of the first text, and the numbers of all repeats."""

    def __init__(self, run: KeptRun, label: str) -> None:
        self.rows: dict[str, dict[int, dict[str, Any]]] = {}
        self.texts: dict[str, int] = {}
        for row in run.answers():
            if row["variant"] == label:
                kept = {name: row.get(name) for name in
                        ("scores", "latency", "cost", "prompt_tokens", "completion_tokens", "in_flight", "ended_at")}  # fmt: skip
                self.rows.setdefault(row["example_id"], {})[row["repeat"]] = kept
                if row["repeat"] == 0 or row["example_id"] not in self.texts:
                    self.texts[row["example_id"]] = hash(row["text"])

    def has(self, score: str) -> bool:
        """Whether any answer has this score."""
        return any(row["scores"].get(score) is not None for rows in self.rows.values() for row in rows.values())

    def column(self, name: str, ids: Sequence[str], *, score: bool = False) -> np.ndarray:
        """(examples, repeats), NaN where there is nothing."""
        repeats = 1 + max((repeat for rows in self.rows.values() for repeat in rows), default=0)
        values = np.full((len(ids), repeats), np.nan)
        for at, key in enumerate(ids):
            for repeat, row in self.rows[key].items():
                value = row["scores"].get(name) if score else row[name]
                values[at, repeat] = np.nan if value is None else value
        return values

    def arm(self, ids: Sequence[str], primary: str, label: str) -> ArmScores:
        """For the verdict."""
        flights = [row["in_flight"] for rows in self.rows.values() for row in rows.values() if row["in_flight"]]
        return ArmScores(
            label, {primary: self.column(primary, ids, score=True)}, self.column("latency", ids), self.column("cost", ids),
            float(np.mean(flights)) if flights else None,
        )  # fmt: skip


def _pairs(
    before: KeptRun, after: KeptRun, named: tuple[str, str] | None
) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Variants that are held against each other."""
    olds, news = before.plan["variants"], after.plan["variants"]
    if named is not None:
        found = [
            next((v for v in variants if v["label"] == label), None)
            for variants, label in ((olds, named[0]), (news, named[1]))
        ]
        if found[0] is None or found[1] is None:
            wrong, run = (named[0], before) if found[0] is None else (named[1], after)
            raise InputError(f"{wrong!r} is no variant of {run.run_id}. It has: {'; '.join(run.labels)}.")
        return [(found[0], found[1])]
    pairs = [(old, new) for new in news for old in olds if old["label"] == new["label"]]
    if pairs:
        return pairs
    for like in (("prompt", "model"), ("prompt",), ("model",)):
        pairs = [
            (old, new) for new in news[-1:] for old in olds[-1:] if all(_part(old, p) == _part(new, p) for p in like)
        ]
        if pairs:
            return pairs
    if len(olds) == len(news) == 1:
        return [(olds[0], news[0])]
    raise InputError(
        f"no variant of {before.run_id} is like one of {after.run_id}. Name two by variants=(…, …). Before: "
        f"{'; '.join(before.labels)}; after {'; '.join(after.labels)}."
    )


def _part(variant: Mapping[str, Any], part: str) -> Any:
    return variant["prompt"]["name"] if part == "prompt" else variant[part]


def _name(run: KeptRun, variant: Mapping[str, Any]) -> str:
    """A label that says of which run it is."""
    return f"{variant['label'].replace(' · ', ' on ')} in {run.run_id}"


def _common_score(before: KeptRun, after: KeptRun, one: _Answers, other: _Answers) -> str | None:
    """What decided the later run, else the earlier one, if both have it."""
    return next((name for name in (after.primary, before.primary) if one.has(name) and other.has(name)), None)


def _verdict(after: KeptRun, arms: Sequence[ArmScores], score: str, level: float) -> Verdict:
    how = after.plan.get("scores", {}).get(score, {})
    verdict = decide(
        arms, primary=score, control=arms[0].label, margin=after.plan["margin"], level=level,
        higher_is_better=how.get("higher_is_better", True), binary=how.get("binary"), seed=after.plan["seed"], final=False,
    )  # fmt: skip
    return replace(verdict, sentence=verdict.contrasts[0].sentence)  # a later run is no winner


def _figures(run: KeptRun, answers: _Answers, variant: Mapping[str, Any], primary: str) -> dict[str, Any]:
    from workbench.evaluation.statistics import mean_interval

    ids = sorted(answers.rows)
    scores = answers.column(primary, ids, score=True)
    found = mean_interval(scores, run.plan["level"], run.plan["seed"]) if len(ids) else None
    latency, cost = answers.column("latency", ids), answers.column("cost", ids)
    times = [row["ended_at"] for rows in answers.rows.values() for row in rows.values()]
    there = ~np.isnan(latency)
    return {
        "run": run.run_id, "variant": variant["label"], "primary": primary,
        "measured": f"{datetime.fromtimestamp(min(times), UTC):%Y-%m-%d %H:%M} UTC" if times else "never",
        "score": found.estimate if found else np.nan, "low": found.low if found else np.nan,
        "high": found.high if found else np.nan,
        "latency_p50": float(np.median(latency[there])) if there.any() else np.nan,
        "cost_per_call": float(cost[there].mean()) if there.any() and not np.isnan(cost[there]).any() else np.nan,
        "n": sum(map(len, answers.rows.values())),
    }  # fmt: skip


# -- causes -----------------------------------------------------------------------------------------------------------------


def _made_by(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    said = []
    was, now = old["prompt"], new["prompt"]
    if was["digest"] != now["digest"]:
        why = f" ({now['message']})" if now.get("message") else ""
        said.append(f"the prompt: {was['name']}@{was['version']} became {now['name']}@{now['version']}{why}")
    if old["model"] != new["model"]:
        said.append(f"the model: {old['model']} became {new['model']}")
    elif old["model_digest"] != new["model_digest"]:
        digests = " became ".join((variant["model_digest"] or "unknown")[:12] for variant in (old, new))
        said.append(f"the model's weights: {old['model']} has another digest ({digests})")
    elif old["model_digest"] is None:
        said.append(f"perhaps the model's weights: the server of {old['model']} does not say which they are")
    if old["server_version"] != new["server_version"]:
        said.append(
            f"the server of {new['model']}: {old['server_version'] or 'unknown'} became {new['server_version'] or 'unknown'}"
        )
    for name in sorted(old["params"].keys() | new["params"].keys()):
        if old["params"].get(name) != new["params"].get(name):
            told = " became ".join(repr(side["params"].get(name, "not set")) for side in (old, new))
            said += [f"the param {name}: {told}"]
    return said


def _scoring(before: KeptRun, after: KeptRun) -> list[str]:
    """Scorers by their specs: a judge's model and prompt are in them."""
    said = []
    old, new = ({spec.get("as", spec["name"]): spec for spec in run.plan["scorers"]} for run in (before, after))
    for name in sorted(old.keys() & new.keys()):
        parts = sorted(key for key in old[name].keys() | new[name].keys() if old[name].get(key) != new[name].get(key))
        if parts:
            told = ", ".join(
                f"{key} {short_repr(old[name].get(key))} became {short_repr(new[name].get(key))}" for key in parts
            )
            said.append(f"{'the judge' if 'judge' in name or 'model' in parts else 'the scorer'} {name}: {told}")
    asked = [{one["scorer"]: one for one in run.result.get("judges", ())} for run in (before, after)]
    for name in sorted(asked[0].keys() & asked[1].keys()):
        one, other = (side[name]["prompt_digest"] for side in asked)
        if one != other:
            said.append(
                f"the judge's prompt of {name}: {asked[0][name]['prompt']}, digest {one[:8]}, became "
                f"{asked[1][name]['prompt']}, digest {other[:8]}"
            )
    if before.primary != after.primary:
        said.append(f"the score that decides: {before.primary} became {after.primary}")
    for name in ("repeats", "seed"):
        if before.plan[name] != after.plan[name]:
            said += [f"{name}: {before.plan[name]} became {after.plan[name]}"]
    return said


def _examples(before: KeptRun, after: KeptRun, datasets: Path) -> tuple[set[str], list[str]]:
    """The ids of examples that are the same in both, and what changed in the data, or in which part of it was asked."""
    one, other = before.plan["dataset"], after.plan["dataset"]
    if one["digest"] == other["digest"]:
        return {row["example_id"] for row in before.answers()}, []
    old, new = (_contents(datasets, data.get("stored", data["digest"])) for data in (one, other))
    if old is None or new is None:
        missing = one["name"] if old is None else other["name"]
        return set(), [
            f"the data: {one['name']} became {other['name']} ({missing} is no longer kept, so examples cannot be matched)"
        ]
    first, second = ({row["example_id"] for row in run.answers()} for run in (before, after))
    both = first & second & old.keys() & new.keys()
    same = {key for key in both if old[key] == new[key]}
    counts = (
        (len(second - first - old.keys()), "new"), (len(first - second - new.keys()), "gone"),
        (len(both) - len(same), "changed"), (len((second - first) & old.keys()), "asked only after"),
        (len((first - second) & new.keys()), "asked only before"),
    )  # fmt: skip
    told = ", ".join(f"{count:,} {what}" for count, what in counts if count) or "another order"
    return same, [f"the data: of {other['name']}'s examples {told}, {len(same):,} the same"]


def _contents(datasets: Path, digest: str) -> dict[str, bytes] | None:
    """By id, the hash of each example; None if the data set is not kept."""
    import hashlib

    path = datasets / f"{digest}.jsonl"
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return {orjson.loads(line)["id"]: hashlib.sha256(line).digest() for line in file}


def _price(one: _Answers, other: _Answers) -> list[str]:
    """Whether a token costs something else now; by the costs and the usage that the rows hold."""
    was, now = _per_token(one), _per_token(other)
    if was is None or now is None:
        return []
    said = []
    for what, old, new in zip(("an input", "an output"), was, now, strict=True):
        if abs(new - old) > _ALIKE * max(old, new, 1e-12):
            said.append(f"the price of {what} token: ${old * 1e6:.4g} became ${new * 1e6:.4g} a million")
    return said


def _per_token(answers: _Answers) -> tuple[float, float] | None:
    """Dollars of an input and an output token that explain the costs; None where they do not, or costs are unknown."""
    rows = [row for rows in answers.rows.values() for row in rows.values()]
    if not rows or any(row[name] is None for row in rows for name in ("cost", "prompt_tokens", "completion_tokens")):
        return None
    tokens = np.asarray([[row["prompt_tokens"], row["completion_tokens"]] for row in rows], dtype=np.float64)
    costs = np.asarray([row["cost"] for row in rows])
    found, _, rank, _ = np.linalg.lstsq(tokens, costs, rcond=None)
    if rank < 2 or np.abs(tokens @ found - costs).max() > _ALIKE * max(costs.max(), 1e-12):
        return None
    return float(found[0]), float(found[1])
