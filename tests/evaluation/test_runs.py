"""Runs that are kept: listed, held against each other, and written as Parquet."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest

from workbench import Workbench
from workbench.errors import InputError, RunError
from workbench.evaluation.comparison import Comparison
from workbench.evaluation.statistics import paired_interval
from workbench.running.progress import silent
from workbench.serving.scripted import Rule, Scripted


def bench_of(project: Path, *, wrong: str = "order 1", revision: int = 0) -> Workbench:
    """A model that answers `Answer badly` wrongly where the message holds `wrong`; another revision has another digest."""
    rules = [
        Rule(answer="no idea", match=f"(?s)Answer badly.*{wrong}"),
        Rule(answer="positive", match="love|thanks"),
        Rule(answer="negative", match=f".|revision {revision}"),
    ]
    bench = Workbench(project, runtimes={"scripted": Scripted(rules)})
    if not (project / "prompts").exists():
        for text in ("Answer badly: {{message}}", "Positive or negative? {{message}}"):
            bench.prompts.create("tone", text)
    return bench


def compare(bench: Workbench, prompts: list[str], *, fresh: bool = False, **options: Any) -> Comparison:
    async def go() -> Comparison:
        async with bench:
            options.setdefault("dataset", "reviews")
            plan = bench.plan(prompts=prompts, models=["scripted/m"], **options)
            return await bench.compare(plan, fresh=fresh, progress=silent)

    return asyncio.run(go())


def test_the_same_again_changed_nothing(project: Path) -> None:
    """Two runs of one plan: no cause, the same texts, equivalent; both are listed, the latest first."""
    first = compare(bench_of(project), ["tone@1", "tone@2"]).run.folder.run_id
    second = compare(bench_of(project), ["tone@1", "tone@2"], fresh=True).run.folder.run_id
    runs = bench_of(project).runs
    assert list(runs.list()["run"]) == [second, first]
    assert runs.list()["verdict"].str.contains("tone@2 is better").all()
    change = runs.compare()
    assert (change.before, change.after, change.causes, change.same_text, change.common) == (first, second, (), 1.0, 40)
    assert [verdict.contrasts[0].decision for verdict in change.verdicts] == [
        "undecided"
    ] * 2  # 40 examples, margin 0.05
    assert "Nothing that is recorded differs" in change.sentence
    assert "inner" not in change.sentence
    assert "Changed: nothing that is recorded" in str(change)


def test_causes_are_named_and_the_verdict_is_paired(project: Path) -> None:
    """Other weights, data, prompt, params and scorer: each is said; only examples that are the same in both are paired."""
    before = compare(bench_of(project), ["tone@1"], params={"temperature": 0.0})
    path = project / "datasets" / "reviews.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0]["expected"] = "neither"
    rows = [*rows[:38], {"id": "new", "inputs": {"message": "so sad"}, "expected": "negative"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    bench = bench_of(project, wrong="order [123]", revision=1)
    after = compare(bench, ["tone@1"], params={"temperature": 0.5}, scorers=["token_f1"], repeats=2)
    change = bench.runs.compare(before.run.folder.run_id, after.run.folder.run_id[:-4])
    said = "\n".join(change.causes)
    for cause in (
        "the data: of reviews's examples 1 new, 2 gone, 1 changed, 37 the same",
        "the model's weights: scripted/m has another digest",
        "the param temperature: 0.0 became 0.5", "repeats: 1 became 2",
    ):  # fmt: skip
        assert cause in said
    assert "prompt" not in said
    contrast = change.verdicts[0].contrasts[0]
    assert contrast.decision == "worse"
    numbers = (
        before.run.measurements.scores["exact_match"][0, 1:38],
        after.run.measurements.scores["exact_match"][0, 1:38],
    )
    paired = paired_interval(*numbers)
    assert paired is not None
    assert contrast.interval == pytest.approx(paired.interval)
    assert contrast.n == 37
    assert change.same_text == pytest.approx(np.mean(numbers[0][:, 0] == numbers[1][:, 0]))

    other = compare(bench, ["tone@2"], primary="token_f1")
    change = bench.runs.compare(after.run.folder.run_id, other.run.folder.run_id)
    assert "the prompt: tone@1 became tone@2" in change.causes
    assert "the score that decides: exact_match became token_f1" in change.causes
    assert change.verdicts[0].primary == "token_f1"  # which both have
    assert change.verdicts[0].contrasts[0].decision == "better"
    assert json.loads(json.dumps(change.to_mapping()))["causes"] == list(change.causes)
    assert "&lt;" not in str(change)
    assert "<strong>" in change._repr_html_()


def test_a_part_of_the_data_is_not_another_order(project: Path) -> None:
    """12 examples of the 40 that were asked before: the others were asked only then, and came back when they are asked again."""
    bench = bench_of(project)
    whole, part = (compare(bench, ["tone@1"], **limit).run.folder.run_id for limit in ({}, {"limit": 12}))
    change = bench.runs.compare(whole, part)
    assert "the data: of reviews's examples 28 asked only before, 12 the same" in change.causes
    assert change.verdicts[0].contrasts[0].n == 12
    assert "the data: of reviews's examples 28 asked only after, 12 the same" in bench.runs.compare(part, whole).causes


def priced(folder: Path, price: float) -> None:
    """As if an input token had cost `price` and an output token $4 a million."""
    for path in folder.glob("rows-*.jsonl"):
        rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
        for row in rows:
            row["cost"] = (price * row["prompt_tokens"] + 4 * row["completion_tokens"]) / 1e6
        path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def test_a_price_is_a_cause(project: Path) -> None:
    """Costs that the tokens explain by another price a token are said; of unknown costs nothing is."""
    folders = [compare(bench_of(project), ["tone@1"], fresh=fresh).run.folder for fresh in (False, True)]
    runs = bench_of(project).runs
    priced(folders[0].path, 1.0)
    priced(folders[1].path, 0.5)
    told = runs.compare(folders[0].run_id, folders[1].run_id).causes
    assert told == ("the price of an input token: $1 became $0.5 a million",)
    priced(folders[1].path, 1.0)
    assert runs.compare(folders[0].run_id, folders[1].run_id).causes == ()


def test_what_cannot_be_compared_says_why(project: Path) -> None:
    """Unknown runs and variants, scores that are not in both, data that is gone, files that are broken."""
    bench = bench_of(project)
    with pytest.raises(InputError, match="no two finished runs"):
        bench.runs.compare()
    run = compare(bench, ["tone@1"]).run.folder
    other = compare(bench_of(project), ["tone@1"], primary="token_f1", limit=20).run.folder
    runs = bench_of(project).runs
    with pytest.raises(InputError, match=r"is no run\. Did you mean 'reviews-"):
        runs.get(run.run_id.replace("reviews", "review"))
    with pytest.raises(InputError, match="is the beginning of 2 runs"):
        runs.get("reviews")
    with pytest.raises(InputError, match="is no variant of"):
        runs.compare(run.run_id, other.run_id, variants=("tone@1 · scripted/m", "tone@7"))
    change = runs.compare(run.run_id, other.run_id)
    assert change.common == 20  # a sample of the same data
    assert change.verdicts == ()
    assert "neither is in both" in change.causes[-1]
    for path in (project / ".workbench" / "datasets").glob("*.jsonl"):
        path.unlink()
    assert "no longer kept" in runs.compare(run.run_id, other.run_id).causes[0]
    (run.path / "plan.json").write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        runs.get(run.run_id)
    assert list(runs.list()["run"]) == [other.run_id]


def test_parquet_has_rows_scores_and_provenance(project: Path) -> None:
    """One row a call, with its example, scores and digests; plan and verdict are in the file's metadata."""
    result = compare(bench_of(project), ["tone@1", "tone@2"], scorers=["token_f1"], repeats=2)
    path = result.to_parquet(project / "rows.parquet")
    table = pq.read_table(path)
    frame = table.to_pandas()
    assert len(frame) == 160
    assert not frame.duplicated(["variant", "example_id", "repeat"]).any()
    means = frame.groupby("variant")["score_exact_match"].mean()
    assert means["tone@2 · scripted/m"] == 1.0
    assert means["tone@1 · scripted/m"] == pytest.approx(result.summary["exact_match"][0])
    assert json.loads(frame[frame["score_exact_match"] == 0].iloc[0]["explanations"])["exact_match"]
    row = frame.iloc[0]
    assert json.loads(row["inputs"])["message"] in row["request"]
    assert json.loads(row["params"])["seed"] in (0, 1)
    for column in ("model_digest", "prompt_digest", "dataset_digest", "run_id"):
        assert frame[column].notna().all()
    plan = orjson.loads(table.schema.metadata[b"workbench.plan"])
    assert [v["digest"] for v in plan["variants"]] == [v.digest for v in result.run.plan.variants]
    assert orjson.loads(table.schema.metadata[b"workbench.result"])["verdict"]["sentence"] == result.verdict.sentence
    with pytest.raises(RunError, match="cannot be written"):
        result.to_parquet(project / "no" / "rows.parquet")


def test_the_command_lists_and_compares(project: Path) -> None:
    """`workbench runs list` and `diff`, in text and JSON; a wrong run ends with 2."""
    for fresh in (False, True):
        compare(bench_of(project), ["tone@1", "tone@2"], fresh=fresh)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "workbench", "runs", *arguments], capture_output=True, text=True)

    listed = json.loads(run("list", "--json").stdout)
    assert len(listed) == 2
    assert "Changed: nothing that is recorded" in run("diff").stdout
    told = json.loads(run("diff", listed[1]["run"], listed[0]["run"], "--json").stdout)
    assert told["after"] == listed[0]["run"]
    wrong = run("diff", "nothing", "at-all")
    assert wrong.returncode == 2
    assert "is no run" in wrong.stderr
