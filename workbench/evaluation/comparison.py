"""What a comparison found: verdict, version-performance table, and the examples behind it."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench import tables
from workbench.evaluation import behind, findings, statistics
from workbench.evaluation.arms import alike_concurrency
from workbench.evaluation.deciding import verdict_of
from workbench.evaluation.folder import RunFolder
from workbench.evaluation.headline import headline
from workbench.evaluation.judging.table import judge_table, judges_of
from workbench.evaluation.marks import Marks
from workbench.evaluation.matrix import pareto_table
from workbench.evaluation.measurements import FRESH, MISSING, REPLAYED
from workbench.evaluation.notes import notes
from workbench.evaluation.runner import Run
from workbench.evaluation.scorers.judges import Judging
from workbench.evaluation.scorers.registry import meaning
from workbench.evaluation.sentences import count_text, level_text
from workbench.records import Interval, Variant, Verdict

if TYPE_CHECKING:
    from workbench.evaluation.browsing import ExamplePages, Query
    from workbench.evaluation.gates.report import GateReport

__all__ = ["Comparison"]


class Comparison:
    """A run and what it says. All figures are those that were measured when the answers were made; replayed rows say so.

    status: what to print in the table's last column, by variant's label.
    """

    def __init__(self, run: Run, *, status: Mapping[str, str] | None = None) -> None:
        self.run = run
        self._status = dict(status or {})

    # -- what it says ---------------------------------------------------------------------------------------------

    @cached_property
    def verdict(self) -> Verdict:
        """The decision on the primary score, from one paired interval for each variant against the control.

        Of a run that stopped early it is about the examples that all variants were asked so far, says so, and names no winner.
        """
        plan, numbers, run = self.run.plan, self.run.measurements, self.run
        whole = run.ended in ("clear", "budget")
        labels, examples = self._decided_about
        if run.stopped and (
            plan.control not in labels or len(labels) < 2 <= len(numbers.variants) or not len(examples)
        ):
            sentence = "Stopped before the first example was answered by all variants: no verdict."
            return Verdict(plan.primary.name, plan.control, (), None, sentence)
        verdict = verdict_of(plan, numbers, labels, examples, final=whole or not run.stopped)
        if not run.stopped:
            return verdict
        if whole:
            return replace(verdict, sentence=f"{verdict.sentence} {self._ended()}")
        late = [label for label in numbers.variants if label not in labels]
        not_yet = f" Not asked yet: {', '.join(late)}." if late else ""
        so_far = f"Partial, {numbers.done:,} of {numbers.total:,} answers ({run.stopped})"
        return replace(verdict, sentence=f"{so_far}: {verdict.sentence}{not_yet}")

    @cached_property
    def _decided_about(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Labels and positions of the examples that the verdict is about, in the plan's order if it may end early."""
        numbers, run = self.run.measurements, self.run
        asked = (numbers.state != MISSING).any(axis=2)
        labels, examples = numbers.variants, np.arange(asked.shape[1])
        if run.examples is not None:
            examples = run.examples  # in the plan's order, which a sequential interval needs
        if run.stopped and run.ended not in ("clear", "budget"):
            begun = asked.any(axis=1)
            labels = tuple(label for label in labels if begun[numbers.of(label)])
            examples = examples[asked[begun].all(axis=0)[examples]]
        return labels, examples

    def _ended(self) -> str:
        """How a run ended by its own plan, and what that saved."""
        run, numbers = self.run, self.run.measurements
        if run.ended == "budget":
            return f"The run {run.stopped}."
        calls = numbers.total - numbers.done
        saved = [tables.format_count(calls, "call")]
        costs = [_mean_if_all(numbers.cost[at][numbers.worked[at]]) for at in range(len(numbers.variants))]
        missing = [numbers.state[at].size - int(numbers.worked[at].sum()) for at in range(len(numbers.variants))]
        money = sum(cost * count for cost, count in zip(costs, missing, strict=True))
        if money > 0:
            saved.append(f"about {tables.format_money(money)}")
        fresh = int((numbers.state == FRESH).sum())
        if fresh:
            saved.append(f"about {tables.format_seconds(run.seconds / fresh * calls)}")
        return f"Stopped early as planned, since {run.stopped}: {', '.join(saved)} saved."

    @property
    def winner(self) -> Variant | None:
        """The variant that is better than the control and breaks no guardrail, else None."""
        return next((v for v in self.run.plan.variants if v.label == self.verdict.winner), None)

    def gate(self, gates: Sequence[str]) -> GateReport:
        """Whether a change may pass: each gate ("accuracy: non-inferior 0.02", "p95_ms < 2000") is decided by its interval.

        InputError for a gate that cannot be read, or a score that is not here; see `evaluation.gates.gate`.
        """
        from workbench.evaluation.gates.gate import read_gates
        from workbench.evaluation.gates.measuring import check_gates
        from workbench.evaluation.gates.report import GateReport

        return GateReport(self, check_gates(self, read_gates(gates, self.run.plan)))

    @property
    def complete(self) -> bool:
        """Whether every planned answer is there."""
        return self.run.measurements.done == self.run.measurements.total

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row a variant, as numbers: prompt, version, model (of a matrix params and variant too), for each score NAME with
        NAME_low and NAME_high, in_flight (calls at once), latency_p50 and first_token_p50 in seconds, cost_per_call in dollars,
        n, unscored, errors, fresh, replayed, oldest (UTC), verdict, status. Unknown is None or NaN, never 0."""
        return pd.DataFrame([self._summary_of(variant) for variant in self.run.plan.variants])

    def _summary_of(self, variant: Variant) -> dict[str, Any]:
        plan, numbers = self.run.plan, self.run.measurements
        at = numbers.of(variant.label)
        state, failed = numbers.state[at], numbers.failed[at]
        there, worked = state != 0, (state != 0) & ~failed
        row: dict[str, Any] = {
            "prompt": variant.prompt.name,
            "version": variant.prompt.version,
            "model": variant.model,
        }
        for scorer in plan.scorers:
            values = numbers.scores[scorer.name][at]
            found = statistics.mean_interval(values, plan.level, plan.seed, scorer.binary)
            estimate, low, high, _ = found or Interval(np.nan, np.nan, np.nan, plan.level)
            row |= {scorer.name: estimate, f"{scorer.name}_low": low, f"{scorer.name}_high": high}
        times = numbers.at[at][there]
        primary = numbers.scores[plan.primary.name][at]
        if any(variant.tag for variant in plan.variants):
            row |= {"variant": variant.label, "params": variant.tag}
        return row | {
            "in_flight": numbers.concurrency(variant.label),
            "latency_p50": _median(numbers.latency[at]),
            "first_token_p50": _median(numbers.first_token[at]),
            "cost_per_call": _mean_if_all(numbers.cost[at][worked]),
            "n": int(worked.sum()),
            "unscored": int((worked & np.isnan(primary)).sum()),
            "errors": int((there & failed).sum()),
            "fresh": int(((state == FRESH) & worked).sum()),
            "replayed": int(((state == REPLAYED) & worked).sum()),
            "oldest": datetime.fromtimestamp(float(times.min()), UTC) if len(times) else None,
            "verdict": self._decision(variant.label),
            "status": self._status.get(variant.label, "not released"),
        }

    def _decision(self, label: str) -> str:
        if label == self.run.plan.control:
            return "control"
        return next((c.decision for c in self.verdict.contrasts if c.variant == label), "undecided")

    def table(self) -> pd.DataFrame:
        """The version-performance table as people read it: every cell is text."""
        plan, rows = self.run.plan, []
        for values in self.summary.to_dict("records"):
            row = {"prompt": values["prompt"], "version": f"@{values['version']}", "model": values["model"]}
            row |= {"params": values["params"]} if "params" in values else {}
            for scorer in plan.scorers:
                name = scorer.name
                shown = Interval(values[name], values[f"{name}_low"], values[f"{name}_high"], plan.level)
                row[name] = "unscored" if np.isnan(values[name]) else tables.format_interval(shown)
            latency = values["latency_p50"]
            row |= {
                "latency P50": "unknown" if np.isnan(latency) else tables.format_seconds(latency) + self._apart(values),
                "cost/call": tables.format_money(None if pd.isna(values["cost_per_call"]) else values["cost_per_call"]),
                "n": _count(values["n"], unscored=values["unscored"], failed=values["errors"]),
                "fresh": str(values["fresh"]),
                "replayed": str(values["replayed"]),
                "verdict": values["verdict"],
                "status": values["status"],
            }
            rows.append(row)
        return pd.DataFrame(rows)

    @cached_property
    def judges(self) -> pd.DataFrame:
        """One row a judge, as numbers: how far people agree with it, how steady it is, what it could not score, what it cost; see
        `judging.table.judges_of`. Empty without judges."""
        return judges_of(self.run)

    def judge_table(self) -> pd.DataFrame:
        """The same as people read it: every cell is text."""
        return judge_table(self.judges, self.run.plan.level)

    def _apart(self, values: Mapping[Hashable, Any]) -> str:
        """What stands behind a latency that says nothing about the control's."""
        own, control = values["in_flight"], self.run.measurements.concurrency(self.run.plan.control)
        own = None if pd.isna(own) else float(own)
        return "" if alike_concurrency(own, control) else f" (not comparable: {own:.3g} in flight)"

    def pareto(self) -> pd.DataFrame:
        """Quality, cost and latency of every variant, and which other one beats it in all three; see `matrix.pareto_table`."""
        plan = self.run.plan
        rows = [dict(self.summary.iloc[at], variant=variant.label) for at, variant in enumerate(plan.variants)]
        return pareto_table(rows, plan.primary.name, higher_is_better=plan.primary.higher_is_better)

    def prompts(self) -> pd.DataFrame:
        """What was compared: one row a prompt version, with the whole text first, so that a narrow screen shows it."""
        rows = []
        for variant in self.run.plan.variants:
            prompt = variant.prompt
            text = prompt.text or "\n\n".join(f"[{message.role}]\n{message.content}" for message in prompt.messages)
            params = ", ".join(f"{name} = {value!r}" for name, value in variant.params.to_mapping().items())
            rows.append(
                {"prompt": prompt.ref, "text": text, "why": prompt.message, "kind": prompt.kind, "params": params}
            )
        return pd.DataFrame(rows).drop_duplicates(ignore_index=True)

    def provenance(self) -> pd.DataFrame:
        """By what the figures were made: one row a fact."""
        plan, folder = self.run.plan, self.run.folder
        facts = [
            ("data set", f"{plan.dataset.name}, {count_text(len(plan.indices))}, digest {plan.dataset.digest[:16]}")
        ]
        for variant in {v.model: v for v in plan.variants}.values():
            known = f"digest {variant.model_digest[:16]}" if variant.model_digest else "digest unknown"
            facts.append(("model", f"{variant.model}, {known}, server {variant.server_version or 'unknown'}"))
        facts += [("prompt", f"{v.prompt.ref}, digest {v.prompt.digest[:16]}") for v in plan.variants]
        for scorer in plan.scorers:
            if isinstance(scorer.function, Judging):
                asked = ", ".join(f"{p.ref}, digest {p.digest[:16]}" for p in scorer.function.prompts)
                facts.append((f"judge of {scorer.name}", f"{scorer.function.use.model} by the prompt {asked}"))
        facts += [
            *((scorer.name, meaning(scorer)) for scorer in plan.scorers),
            (
                "margin",
                f"±{plan.margin:g} on {plan.primary.name}, which decides: a mean difference within it counts as none",
            ),
            ("order", f"seed {plan.seed}, {tables.format_count(plan.repeats, 'repeat')}, prompts interleaved"),
            (
                "intervals",
                f"{level_text(plan.level)}; "
                + ("; ".join(sorted({c.method for c in self.verdict.contrasts})) or "none"),
            ),
            ("rows", str(folder.path)),
        ]
        return pd.DataFrame(facts, columns=["fact", "value"])

    # -- the examples behind it -----------------------------------------------------------------------------------

    @cached_property
    def pages(self) -> ExamplePages:
        """Its examples page by page: filtered, sorted, searched, and one in full; what `bench.show` draws."""
        from workbench.evaluation.browsing import ExamplePages

        return ExamplePages(self.run)

    def rows(self) -> pd.DataFrame:
        """One row for each variant, example and repeat that was measured, with request, answer and scores (score_NAME)."""
        return behind.rows(self.run)

    def marks(self) -> pd.DataFrame:
        """What people noted on its answers in `bench.show`, in any session: one row a mark; see `Marks.frame`. No score."""
        return Marks(self.run.folder).frame()

    def latencies(self) -> pd.DataFrame:
        """Seconds of every answer: columns variant and latency. Nothing is read from disk."""
        numbers = self.run.measurements
        parts = [numbers.latency[numbers.of(label)].ravel() for label in numbers.variants]
        labels = np.repeat(np.asarray(numbers.variants, dtype=object), [len(part) for part in parts])
        frame = pd.DataFrame({"variant": labels, "latency": np.concatenate(parts)})
        return frame.dropna(ignore_index=True)

    def worst(self, n: int = 5, *, variant: str | None = None) -> pd.DataFrame:
        """The n examples where a variant lost most against the control on the primary score, with all answers.

        variant: a label or prompt reference; by default the first that is not the control. Ties: in data order.
        """
        return behind.example_table(self.run, behind.deltas(self.run, variant), n, largest_loss=True)

    def changed(self, n: int = 5, *, variant: str | None = None) -> pd.DataFrame:
        """The n examples whose primary score changed most, either way."""
        return behind.example_table(self.run, behind.deltas(self.run, variant), n, largest_loss=False)

    def slices(self, key: str) -> pd.DataFrame:
        """The primary score by a metadata field: one row for each value and variant, with interval and n (examples), and the
        paired difference to the control, whose intervals hold together over all slices."""
        return findings.slice_table(self.run.plan, self.run.measurements, key)

    def slice_text(self, key: str) -> str:
        """The same as text, with the warning that belongs to looking at many slices."""
        besides = []
        if self.run.ended == "clear":
            besides.append("The run stopped as soon as the whole was clear, so these intervals are too narrow.")
        if any(contrast.judged is not None for contrast in self.verdict.contrasts):
            besides.append("These are the judge's own scores: people correct the difference over all examples only.")
        return findings.slice_text(self.run.plan, self.run.measurements, key, besides=" ".join(besides))

    def effects(self) -> pd.DataFrame:
        """One row a contrast: difference, examples better, worse and the same, odds ratio, standardised difference."""
        return findings.effect_table(self.run.plan, self.run.measurements, self.verdict)

    def stability(self) -> pd.DataFrame:
        """How often each variant disagrees with itself over its repeats, in scores and in texts, and its noise floor."""
        plan, numbers = self.run.plan, self.run.measurements
        texts = {label: np.full((len(plan.indices), plan.repeats), np.nan) for label in numbers.variants}
        known: dict[bytes, int] = {}
        for row in self.run.folder.rows():
            if row["warmup"] or row["error"] is not None:
                continue
            said = hashlib.sha256(row["text"].strip().encode()).digest()
            texts[row["variant"]][row["example"], row["repeat"]] = known.setdefault(said, len(known))
        return findings.stability_table(plan, numbers, texts)

    def sensitivity(self) -> pd.DataFrame:
        """How much each decision hangs on single examples."""
        return findings.sensitivity(self.run.plan, self.run.measurements, self.verdict, self._decided_about[1])

    # -- how it shows ---------------------------------------------------------------------------------------------

    def notes(self) -> list[str]:
        """What a reader must know besides the verdict: what was reused, left out, failed or is missing."""
        return notes(self.run, self.verdict, self._decided_about[1], self.pareto())

    def headline(self) -> dict[str, dict[str, Any]]:
        """The few numbers that a report publishes, with what could explain a change of them: `publish(**result.headline())`."""
        return headline(self)

    def to_parquet(self, path: Path | str) -> Path:
        """Write every row with request, answer, scores and provenance as one Parquet file; see `evaluation.parquet`."""
        from workbench.evaluation.parquet import write_parquet

        return write_parquet(self, path)

    def to_html(self, path: Path | str, query: Query | None = None, *, most: int | None = None) -> Path:
        """Write verdict, table, prompts and answers as one page to send: it filters, searches and sorts in any browser, without a
        kernel or a network. query: which examples in which order, None for all; most: so many of them at most, None for 1,000."""
        from workbench.evaluation.browsing import Query
        from workbench.evaluation.browsing.answers_page import MOST, write_answers_page

        return write_answers_page(self, path, query or Query(), MOST if most is None else most)

    def to_mapping(self) -> dict[str, Any]:
        """Everything in plain types, for JSON: verdict, summary, notes, provenance. NaN is None."""
        plan, numbers = self.run.plan, self.run.measurements
        records = [
            {k: (v.isoformat() if isinstance(v, datetime) else None if _missing(v) else v) for k, v in row.items()}
            for row in (self._summary_of(variant) for variant in plan.variants)
        ]
        return {
            "run": self.run.folder.run_id,
            "complete": self.complete,
            "decided": self.complete or self.run.ended in ("clear", "budget"),
            "verdict": self.verdict.to_mapping(),
            "winner": self.verdict.winner,
            "variants": [record | {"label": v.label} for record, v in zip(records, plan.variants, strict=True)],
            "dataset": {"name": plan.dataset.name, "digest": plan.dataset.digest, "examples": len(plan.indices)},
            "calls": {"planned": numbers.total, "there": numbers.done, "usd_now": self.run.spent},
            "judges": [
                {name: None if _missing(value) else value for name, value in row.items()}
                for row in self.judges.to_dict("records")
            ],
            "notes": self.notes(),
            "text": str(self),
        }

    def save(self, path: Path | str | None = None, **more: Any) -> Path:
        """Write the result, and what else is given, as JSON: into the run's folder (result.json), or to `path`; whole or not at
        all."""
        if path is None:
            return self.run.folder.write("result.json", self.to_mapping() | more)
        target = Path(path).expanduser().resolve()
        return RunFolder(target.parent, self.run.folder.run_id).write(target.name, self.to_mapping() | more)

    def __str__(self) -> str:
        parts = [f"Verdict: {self.verdict.sentence}", "", tables.to_text(self.table())]
        if len(self.judges):
            parts += ["", tables.to_text(self.judge_table(), title="The judges"), ""]
        parts += [f"Note: {note}" for note in self.notes()]
        return "\n".join([*parts, f"Rows: {self.run.folder.path}"])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{tables.html_text(note)}</p>" for note in self.notes())
        decided = f"<p>{tables.html_text(self._decided_by())}</p>" if self.verdict.contrasts else ""
        shown = tables.to_html(self.table())
        if len(self.judges):
            shown += tables.to_html(self.judge_table(), caption="The judges")
        return f"<p><strong>{tables.html_text(self.verdict.sentence)}</strong></p>{decided}{shown}{notes}"

    def _decided_by(self) -> str:
        """What decided, for a reader who did not choose it."""
        plan, what = self.run.plan, meaning(self.run.plan.primary).rstrip(".")
        within = f"equivalent if it lies within ±{plan.margin:g}, else " if plan.margin else ""
        return (
            f"Decided by {plan.primary.name} ({what}), by the interval of its mean difference to {plan.control}, example by "
            f"example: {within}better or worse if it leaves 0 out, else undecided."
        )


def _median(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _mean_if_all(values: np.ndarray) -> float:
    """The mean, or NaN if nothing is there or any of it is unknown."""
    return float(values.mean()) if len(values) and not np.isnan(values).any() else float("nan")


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


def _count(n: int, **others: int) -> str:
    """`96` or `94 (2 unscored)`."""
    more: Sequence[str] = [f"{count} {name}" for name, count in others.items() if count]
    return f"{n} ({', '.join(more)})" if more else str(n)
