"""Finished comparisons as dataset runs, on a double of the server, of both generations."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from workbench import Workbench
from workbench.cli import main
from workbench.errors import DatasetError, InputError, LangfuseError
from workbench.evaluation.comparison import Comparison
from workbench.running.progress import silent
from workbench.serving.scripted import Rule, Scripted
from workbench.settings import load_settings

RULES = [
    Rule(match="broken", error="BadRequestError"),
    Rule(match="(?s)Badly.*order [1-4]", answer="no idea"),
    Rule(match=".", answer="yes"),
]


@pytest.fixture
def bench(langfuse_double: Any, project: Path) -> Workbench:
    """Two prompts, the second of them in Langfuse as version 1, and eight examples of which one fails."""
    made = Workbench(
        settings=load_settings(project, environ=langfuse_double.environment), runtimes={"scripted": Scripted(RULES)}
    )
    made.prompts.create("tone", "Badly: {{message}}")
    made.prompts.create("other", "Well: {{message}}")
    made.prompts.push("other")
    rows = [
        {"id": f"t-{n}", "inputs": {"message": f"order {n}"}, "expected": "yes", "metadata": {"n": n}} for n in range(7)
    ]
    rows.append({"id": "bad", "inputs": {"message": "broken"}, "expected": "yes"})
    (project / "datasets" / "orders.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return made


def compare(bench: Workbench, **options: Any) -> Comparison:
    async def go() -> Comparison:
        async with bench:
            plan = bench.plan(prompts=["tone@1", "other@1"], models=["scripted/m"], dataset="orders", **options)
            return await bench.compare(plan, progress=silent)

    return asyncio.run(go())


@pytest.mark.parametrize("newer", [False, True])
def test_a_run_of_each_variant_with_traces_and_scores_double(
    bench: Workbench, langfuse_double: Any, newer: bool
) -> None:
    """Items, generations, prompt versions, errors, scores and verdicts are there; sending them again adds nothing."""
    data = langfuse_double.data
    data.newer = newer
    result = compare(bench)
    done = bench.runs.push(result)
    run_id = result.run.folder.run_id
    assert [f"{run_id} {label}" for label in result.run.measurements.variants] == list(done.runs)
    assert (16, 14 + 2) == (done.items, done.scores)
    assert ["tone@1 is not in Langfuse, so its answers are linked to no prompt: workbench prompt push tone"] == list(
        done.notes
    )
    items = data.attributes(langfuse__observation__type="span")
    calls = {one["parentSpanId"]: one for one in data.attributes(langfuse__observation__type="generation")}
    assert 16 == len(items) == len(calls)
    rows = result.rows().set_index(["variant", "example_id"])
    for one in items:
        about = json.loads(one["langfuse.experiment.metadata"])
        item = data.items[one["langfuse.experiment.item.id"]]
        row = rows.loc[(about["variant"], item["metadata"]["workbench"]["id"])]
        assert one["langfuse.experiment.id"] == done.runs[f"{run_id} {about['variant']}"]
        assert one["langfuse.experiment.dataset.id"] == data.sets["orders"]["id"] == item["datasetId"]
        assert one["langfuse.experiment.item.root_observation_id"] == one["spanId"]
        assert json.loads(one["langfuse.observation.input"]) == item["input"]
        made = calls[one["spanId"]]
        assert made["traceId"] == one["traceId"]
        assert made["langfuse.experiment.id"] == one["langfuse.experiment.id"]
        assert row["request"] == made["langfuse.observation.input"]
        found = {name: score for score in data.scores.values() if score.get("traceId") == one["traceId"]
                 for name in [score["name"]]}  # fmt: skip
        if isinstance(row["error"], str):
            assert ("ERROR", {}) == (one["langfuse.observation.level"], found)
            continue
        assert row["text"] == made["langfuse.observation.output"] == one["langfuse.observation.output"]
        usage = json.loads(made["langfuse.observation.usage_details"])
        assert usage["total"] == row["prompt_tokens"] + row["completion_tokens"] == usage["input"] + usage["output"]
        assert (row["score_exact_match"], "BOOLEAN") == (
            found["exact_match"]["value"],
            found["exact_match"]["dataType"],
        )
        version = made.get("langfuse.observation.prompt.version")
        assert (version, made.get("langfuse.observation.prompt.name")) == (
            ("1", "other") if about["prompt"] == "other@1" else (None, None)
        )
    verdicts = {score["datasetRunId"]: score["value"] for score in data.scores.values() if score["name"] == "verdict"}
    assert dict(zip(done.runs.values(), result.summary["verdict"], strict=True)) == verdicts
    before = json.dumps([sorted(map(str, data.spans)), sorted(data.scores), sorted(data.items)])
    assert 16 == bench.runs.push(run_id).items
    assert before == json.dumps([sorted(map(str, data.spans)), sorted(data.scores), sorted(data.items)])


def test_repeats_and_large_texts_double(bench: Workbench, langfuse_double: Any) -> None:
    """A dataset run for each repeat; batches stay below what the server takes, and a huge text is cut and says so."""
    result = compare(bench, repeats=2)
    for path in result.run.folder.path.glob("rows-*.jsonl"):
        path.write_text(path.read_text().replace('"text":"yes"', '"text":"' + "y" * 150_000 + '"'))
    done = bench.runs.push(result)
    assert 4 == len(done.runs) == len(set(done.runs.values()))
    assert 32 == done.items
    assert langfuse_double.data.exports > 2
    cut = [
        one
        for one in langfuse_double.data.attributes()
        if "more characters" in one.get("langfuse.observation.output", "")
    ]
    assert cut


def test_what_is_not_taken_is_said_double(bench: Workbench, langfuse_double: Any, project: Path) -> None:
    """Scores that a server rejects, a data set that is another there, one that is gone here, a run that is not finished."""
    result = compare(bench)
    langfuse_double.data.newer, langfuse_double.data.reject = True, {"exact_match"}
    with pytest.raises(LangfuseError, match=r"16 scores: .*rejected 14 of them: exact_match is rejected"):
        bench.runs.push(result)
    langfuse_double.data.reject = set()
    next(iter(langfuse_double.data.items.values()))["expectedOutput"] = "edited"
    with pytest.raises(DatasetError, match="1 differ"):
        bench.runs.push(result)
    assert 16 == bench.runs.push(result, to="orders-again").items
    langfuse_double.stop()
    with pytest.raises(LangfuseError, match="data set orders"):
        bench.runs.push(result)
    (result.run.folder.path / "result.json").unlink()
    with pytest.raises(InputError, match="not finished"):
        bench.runs.push(result)


def test_the_command_double(
    bench: Workbench,
    langfuse_double: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    project: Path,
) -> None:
    """`workbench runs push` of the beginning of an id."""
    run_id = compare(bench).run.folder.run_id
    monkeypatch.chdir(project)
    for name, value in langfuse_double.environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main(["runs", "push", run_id[:12]])
    assert 0 == ended.value.code
    assert "2 dataset runs of orders sent to Langfuse, 16 items, 16 scores" in capsys.readouterr().out
