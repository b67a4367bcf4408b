"""Gates: how they are read, what decides them, and what a pipeline gets to read."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from markdown_it import MarkdownIt

from workbench import Workbench
from workbench.errors import InputError
from workbench.evaluation.comparison import Comparison
from workbench.evaluation.gates import read_gates
from workbench.evaluation.gates.measuring import impossible
from workbench.evaluation.quantiles import examples_for_quantile, quantile_interval
from workbench.evaluation.statistics import mean_interval
from workbench.running.progress import silent

EVIL = (
    "<script>alert(1)</script> | @team closes #12 ![x](http://evil.example/p.png) </details> -->\x1b[31m\x00 ]]> **b**"
)
RULES = f"""
model = "fake/m"
[endpoints.fake]
kind = "scripted"
[[endpoints.fake.options.rules]]
match = "(?s)Answer badly.*order 1"
answer = {json.dumps(EVIL)}
[[endpoints.fake.options.rules]]
match = "Refuse"
error = "BadRequestError"
[[endpoints.fake.options.rules]]
match = "love|thanks"
answer = "positive"
[[endpoints.fake.options.rules]]
answer = "negative"
"""
BAD, GOOD = "tone@1 · fake/m", "tone@2 · fake/m"


@pytest.fixture
def scripted(project: Path) -> Path:
    """A project with a prompt that fails on a third of the messages, one that is always right, and one that is refused."""
    (project / "workbench.toml").write_text(RULES)
    bench = Workbench(project)
    for text in ("Answer badly: {{message}}", "Positive or negative? {{message}}", "Refuse {{message}}"):
        bench.prompts.create("tone", text)
    return project


def compare(project: Path, prompts: list[str], **options: Any) -> Comparison:
    async def go() -> Comparison:
        async with Workbench(project) as bench:
            options.setdefault("primary", {"name": "exact_match", "as": "accuracy"})
            return await bench.compare(bench.plan(prompts=prompts, dataset="reviews", **options), progress=silent)

    return asyncio.run(go())


def states(result: Comparison, *gates: str) -> list[str]:
    return [check.state for check in result.gate(list(gates)).checks]


def test_the_verdict_s_own_interval_decides(scripted: Path) -> None:
    """A gate against the control has the verdict's interval, and the table's where it is about one variant."""
    result = compare(scripted, ["tone@1", "tone@2"])
    report = result.gate(["accuracy: better", "accuracy: non-inferior 0.02", "accuracy >= 0.9", "accuracy >= 0.95"])
    contrast = result.verdict.contrasts[0]
    assert report.checks[0].interval is contrast.interval
    assert report.checks[1].interval is contrast.interval
    summary = result.summary.iloc[1]
    assert report.checks[2].interval is not None
    assert report.checks[2].interval[:3] == tuple(summary[["accuracy", "accuracy_low", "accuracy_high"]])
    assert summary["accuracy_low"] == pytest.approx(0.912, abs=0.001)  # 40 of 40, by Wilson
    assert [check.state for check in report.checks] == ["passed", "passed", "passed", "undecided"]
    assert report.state == "undecided"
    assert report.exit_code == 5
    worse = compare(scripted, ["tone@2", "tone@1"])
    assert states(worse, "accuracy: better", "accuracy: non-inferior 0.02", "accuracy >= 0.95") == ["failed"] * 3
    assert states(worse, "accuracy: non-inferior 0.9") == ["passed"]
    assert worse.gate(["accuracy: better", "accuracy < 0.95"]).exit_code == 4


def test_what_is_alike_is_not_better_and_hardly_shown_to_be_no_worse(scripted: Path) -> None:
    """A variant with the same answers fails `better` once it is equivalent, and is undecided within a margin too small to see."""
    bench = Workbench(scripted)
    bench.prompts.create("tone", "Positive, or negative? {{message}}")
    result = compare(scripted, ["tone@2", "tone@4"], margin=0.1)
    assert result.verdict.contrasts[0].decision == "equivalent"
    assert states(result, "accuracy: better", "accuracy: non-inferior 0.001", "accuracy: non-inferior 0.1") == [
        "failed", "undecided", "passed",
    ]  # fmt: skip


def test_other_scores_and_directions(scripted: Path) -> None:
    """A score that is not the primary has an interval of the same level; of one where less is better, a rise is a loss."""
    from workbench.evaluation.scorers.scorer import Scorer

    waffle = Scorer("letters", lambda text, example: float(len(text)), higher_is_better=False)
    result = compare(scripted, ["tone@1", "tone@2"], scorers=[waffle])
    assert states(result, "letters: better", "letters: non-inferior 1", "letters <= 9", "letters < 8") == [
        "passed", "passed", "passed", "undecided",
    ]  # fmt: skip
    back = compare(scripted, ["tone@2", "tone@1"], scorers=[waffle])
    assert states(back, "letters: better", "letters: non-inferior 1") == ["failed", "failed"]


def test_latency_needs_enough_examples_and_failed_calls_are_slow(scripted: Path) -> None:
    """40 examples give P95 no upper end, so it cannot pass; P50 can. A call that failed is slower than any bound."""
    result = compare(scripted, ["tone@1", "tone@2"])
    plan = result.run.plan
    result.run.measurements.latency[1] = 1.0  # the scripted runtime takes no time
    assert states(result, "p50_ms < 60000", "p95_ms < 60000", "p95_s <= 0.9") == ["passed", "undecided", "failed"]
    assert "72 can" in result.gate(["p95_ms < 60000"]).checks[0].sentence
    assert impossible(read_gates(["p95_ms < 60000", "p50_ms < 1", "error_rate < 0.05"], plan), plan) == [
        "Gate 'p95_ms < 60000' cannot pass with 40 examples: it needs 72, even if all goes well.",
        "Gate 'error_rate < 0.05' cannot pass with 40 examples: it needs 73, even if all goes well.",
    ]
    assert states(result, "ttft_ms < 60000") == ["undecided"] or result.run.measurements.first_token[1].any()
    refused = compare(scripted, ["tone@2", "tone@3"])
    checks = refused.gate(["p50_ms < 60000"]).checks
    assert checks[0].state == "failed"
    assert "40 failed calls" in checks[0].sentence
    assert checks[-1].gate == "every call is answered"
    assert checks[-1].state == "undecided"


def test_rates_counts_and_survivors(scripted: Path) -> None:
    """Failed calls fail their gates; a score of the rest does not pass in silence."""
    result = compare(scripted, ["tone@1", "tone@2"])
    assert states(result, "errors <= 0", "unscored <= 0", "error_rate < 0.2", "error_rate <= 5%", "unscored_rate < 0.2") == [
        "passed", "passed", "passed", "undecided", "passed",
    ]  # fmt: skip
    interval = result.gate(["error_rate < 0.2"]).checks[0].interval
    assert interval == mean_interval(np.zeros(40), 0.95, 0, True)
    for at in range(40):  # as if a quarter had failed; what is left is all right
        if at % 4 == 0:
            result.run.measurements.failed[1, at] = True
            result.run.measurements.scores["accuracy"][1, at] = np.nan
    report = Comparison(result.run).gate(["accuracy >= 0.8", "error_rate < 0.1", "errors <= 10"])
    assert [check.state for check in report.checks] == ["undecided", "failed", "passed"]
    assert "10 unscored" in report.checks[0].sentence
    assert "see first why" in report.checks[0].sentence


def test_unknown_cost_is_undecided(scripted: Path) -> None:
    """No price is not a price of 0; with a price, the interval and the sum decide."""
    result = compare(scripted, ["tone@1", "tone@2"])
    result.run.measurements.cost[1] = np.nan
    assert states(result, "cost_per_call < 1", "usd < 1") == ["undecided", "undecided"]
    result.run.measurements.cost[1] = 0.0
    assert states(result, "cost_per_call <= 0", "usd <= 0", "usd < $1") == ["passed"] * 3
    result.run.measurements.cost[1, :, 0] = np.linspace(0.001, 0.003, 40)
    gates = ["cost_per_call < 0.0025", "cost_per_call < 0.002", "cost_per_call < 0.001", "usd < 0.081", "usd < 0.08"]
    assert states(result, *gates) == ["passed", "undecided", "failed", "passed", "failed"]
    low, high = result.gate(gates[:1]).checks[0].interval[1:3]  # type: ignore[index]
    assert 0.0017 < low < 0.002 < high < 0.0023  # and not the width of a scale from 0 to 1 dollar
    result.run.measurements.cost[1, 3] = np.nan
    assert states(result, *gates) == ["undecided"] * 5


def test_a_run_that_is_not_whole_passes_nothing(scripted: Path) -> None:
    """Stopped by hand, what held so far is undecided; stopped as planned, only the primary contrast keeps its level."""
    from dataclasses import replace

    result = compare(scripted, ["tone@1", "tone@2"])
    result.run.measurements.latency[1] = 1.0
    halted = Comparison(replace(result.run, stopped="interrupted", ended="stopped"))
    assert states(halted, "accuracy >= 0.8", "errors <= 0", "accuracy >= 0.99999", "p95_ms < 1e3") == [
        "undecided", "undecided", "undecided", "failed",
    ]  # fmt: skip
    early = compare(scripted, ["tone@1", "tone@2"], sequential=True, seed=3)
    assert early.run.ended == "clear"
    assert states(early, "accuracy: better", "accuracy >= 0.5") == ["passed", "undecided"]


def test_one_variant_and_several(scripted: Path) -> None:
    """Of one variant only bounds make sense; of three each is checked unless the gate names one."""
    alone = compare(scripted, ["tone@2"])
    assert states(alone, "accuracy > 0.9") == ["passed"]
    with pytest.raises(InputError, match=r"only variant.*'accuracy >= 0.8'"):
        alone.gate(["accuracy: better"])
    many = compare(scripted, ["tone@1", "tone@2"], params=[{"temperature": 0.0}, {"temperature": 0.5}],
                   control="tone@1 · fake/m · temperature=0.0")  # fmt: skip
    assert len(many.gate(["accuracy: non-inferior 0.5"]).checks) == 3
    assert {c.variant for c in many.gate(["accuracy > 0.5 for tone@2"]).checks} == {
        v.label for v in many.run.plan.variants if v.prompt.ref == "tone@2"
    }


SLIPS: list[tuple[object, str]] = [
    ("acuracy >= 0.8", "Did you mean 'accuracy'"),
    ("p95 < 2000", "Did you mean 'p95_ms'"),
    ("ms < 2000", "such as p95_ms"),
    ("accuracy: non-inferior", "needs a margin"),
    ("accuracy: non-inferior -1", "0 or more"),
    ("accuracy: non-infirior 0.02", "Did you mean 'non-inferior'"),
    ("accuracy: beter", "Did you mean 'better'"),
    ("accuracy == 1", "use <= or >="),
    ("accuracy >= high", "one number"),
    ("accuracy >= 80%", r"0\.8 for 80%"),
    ("p95_ms > 3", "write < or <="),
    ("p95_ms < 2000ms", "already says the unit"),
    ("p95_ms: better", "has a bound of its own"),
    ("error_rate < 5", r"5% is 0\.05"),
    ("errors < 0", "nothing is below 0"),
    ("p0_ms < 3", "between 0 and 100"),
    ("accuracy: better for tone@9", r"Did you mean 'tone@"),
    ("accuracy: better for tone@1", "against itself"),
    ("", "cannot be read"),
    (3, "must be a text"),
]


def test_a_slip_says_what_was_meant(scripted: Path) -> None:
    """Before any call."""
    plan = Workbench(scripted).plan(
        prompts=["tone@1", "tone@2"], dataset="reviews", primary={"name": "exact_match", "as": "accuracy"}
    )
    for gate, says in SLIPS:
        with pytest.raises(InputError, match=says):
            read_gates([gate], plan)  # type: ignore[list-item]
    for wrong in ("accuracy: better", [], None):
        with pytest.raises(InputError, match="must be a list of texts"):
            read_gates(wrong, plan)  # type: ignore[arg-type]


def test_the_quantile_s_interval_covers() -> None:
    """At least 94% with 80 and 300 examples, also of repeats that are all alike; too few examples leave it open."""
    rng = np.random.default_rng(5)
    for n, share, repeats in ((80, 0.5, 1), (80, 0.95, 1), (300, 0.95, 2)):
        true, inside = -np.log(1 - share), 0
        for _ in range(1500):
            values = np.repeat(rng.exponential(size=(n, 1)), repeats, axis=1)
            interval = quantile_interval(values, share)
            assert interval is not None
            inside += interval.low <= true <= interval.high
        assert inside / 1500 >= 0.94
    assert examples_for_quantile(0.95) == 72
    assert quantile_interval(np.arange(72.0), 0.95).high == 71  # type: ignore[union-attr]
    assert np.isinf(quantile_interval(np.arange(71.0), 0.95).high)  # type: ignore[union-attr]
    assert quantile_interval(np.full(3, np.nan), 0.95) is None
    with pytest.raises(InputError, match="between 0 and 1"):
        quantile_interval(np.arange(3.0), 1.0)


# what Jenkins' junit-10 schema allows: attributes (* is required) and children of each element
JUNIT: dict[str, tuple[set[str], set[str]]] = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name*", "tests*", "failures*", "errors*", "time", "skipped", "timestamp", "hostname", "id", "package"},
        {"properties", "testcase", "system-out", "system-err"},
    ),
    "properties": (set(), {"property"}),
    "property": ({"name*", "value*"}, set()),
    "testcase": ({"name*", "classname", "time"}, {"skipped", "error", "failure", "system-out", "system-err"}),
    "failure": ({"type", "message"}, set()),
    "error": ({"type", "message"}, set()),
    "system-out": (set(), set()),
}


def check_junit(text: str) -> ET.Element:
    root = ET.fromstring(text)  # noqa: S314
    for element in root.iter():
        attributes, children = JUNIT[element.tag]
        assert set(element.attrib) <= {name.rstrip("*") for name in attributes}
        assert {name[:-1] for name in attributes if name.endswith("*")} <= set(element.attrib)
        assert {child.tag for child in element} <= children
    for suite in root.iter("testsuite"):
        cases = list(suite.iter("testcase"))
        assert int(suite.attrib["tests"]) == len(cases) == len({(c.get("classname"), c.get("name")) for c in cases})
        assert int(suite.attrib["failures"]) == len(list(suite.iter("failure")))
        assert int(suite.attrib["errors"]) == len(list(suite.iter("error")))
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.attrib["timestamp"])
        assert re.fullmatch(r"\d{1,3}(\.\d*)?", suite.attrib["time"])
    return root


def test_junit_and_markdown_obey_nothing(scripted: Path) -> None:
    """Answers and names that try to break out of either stay text; both say what the report says."""
    (scripted / "datasets" / "reviews.jsonl").rename(scripted / "datasets" / "re--> <b> & views.jsonl")

    async def go() -> Comparison:
        async with Workbench(scripted) as bench:
            primary = {"name": "exact_match", "as": "ok <b> & @x"}
            plan = bench.plan(prompts=["tone@2", "tone@1"], dataset="re--> <b> & views", primary=primary)
            return await bench.compare(plan, progress=silent)

    report = asyncio.run(go()).gate(["ok <b> & @x: better", "p95_ms < 60000", "errors <= 0", "errors <= 0"])
    root = check_junit(report.junit())
    cases = [[child.tag for child in case] for case in root.iter("testcase")]
    assert cases == [["failure"], ["error"], ["system-out"], ["system-out"]]
    assert root.find(".//failure").get("message") == report.checks[0].sentence  # type: ignore[union-attr]

    text = report.markdown()
    assert text.startswith("<!-- workbench compare re- -b- - views -->\n")
    assert "❌ failed" in text
    assert "alert(1)" in text.replace("\\", "")  # the worst examples are there
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    raw = [token.content for token in tokens if token.type == "html_block"]
    inline = [child for token in tokens for child in token.children or []]
    raw += [child.content for child in inline if child.type == "html_inline" and child.content != "<br>"]
    assert {re.sub(r">[^<]+<", "><", block.strip()) for block in raw} == {
        "<!-- workbench compare re- -b- - views -->", "<details><summary></summary>", "</details>",
    }  # fmt: skip
    assert not [child for child in inline if child.type in ("link_open", "image", "strong_open")]
    assert not re.search(r"[@#](?=\w)|://|[\x00-\x08\x1b]", text.replace("### ", ""))
    assert "\x1b" not in str(report)


def test_a_long_comment_is_cut(scripted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole parts are left out, and it says so."""
    from workbench.evaluation.gates import writing

    report = compare(scripted, ["tone@1", "tone@2"]).gate(["errors <= 0"])
    whole = report.markdown()
    monkeypatch.setattr(writing, "_COMMENT", 900)
    cut = report.markdown()
    assert len(cut) < 1000 < len(whole)
    assert cut.endswith("*Cut to the length of a comment.*\n")
    assert cut.count("<details>") == cut.count("</details>")


def test_the_command_ends_with_the_gates(scripted: Path) -> None:
    """0, 4 and 5, from flags and from a file; a slip ends with 2 before any call; files are checked first."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "workbench", "compare", *arguments], capture_output=True, text=True
        )

    (scripted / "c.toml").write_text(
        'prompts = ["tone@1", "tone@2"]\ndataset = "reviews"\nprimary = { name = "exact_match", as = "accuracy" }\n'
        "gates = ['accuracy: better', 'error_rate < 0.01']\n"
    )
    slip = run("c.toml", "--gate", "acuracy: better")
    assert slip.returncode == 2
    assert "Did you mean 'accuracy'" in slip.stderr
    assert not list((scripted / ".workbench").glob("runs/*/*/rows-*"))
    assert run("c.toml", "--gate", "accuracy: better", "--junit", "no/such.xml").returncode == 2
    assert "there is none: add --gate" in run("--prompt", "tone@1", "--data", "reviews", "--junit", "x.xml").stderr
    undecided = run("c.toml", "--junit", "gates.xml", "--markdown", "gates.md", "--json", "out.json")
    assert undecided.returncode == 5, undecided.stderr
    assert "cannot pass with 40 examples" in undecided.stdout
    assert "Gates undecided: 1 passed, 1 undecided." in undecided.stdout
    check_junit((scripted / "gates.xml").read_text())
    assert "⚠️ undecided" in (scripted / "gates.md").read_text()
    assert [c["state"] for c in json.loads((scripted / "out.json").read_text())["gates"]["checks"]] == [
        "passed", "undecided",
    ]  # fmt: skip
    assert run("c.toml", "--gate", "accuracy: better", "--gate", "errors <= 0").returncode == 0
    failed = run("c.toml", "--gate", "accuracy > 0.99", "--gate", "accuracy < 0.5")
    assert failed.returncode == 4
    assert "FAILED" in failed.stdout
