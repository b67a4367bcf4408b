"""Judges, with the scripted runtime and a double of an OpenAI-compatible server: grades, pairs, claims, repair, retries,
counts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from workbench import Rule, Scripted, Workbench, scorers
from workbench.errors import InputError
from workbench.evaluation.judging.asking import json_in
from workbench.evaluation.judging.reports import use_of
from workbench.evaluation.scorers import Scorer, as_scorer
from workbench.records import Example, Request, Score
from workbench.running.progress import silent

if TYPE_CHECKING:
    from conftest import OpenAIDouble

EXAMPLE = Example(id="1", inputs={"question": "How much?"}, expected="five", context="It costs 5 euros. It is blue.")


def judged(
    project: Path, scorer: Scorer, answer: str, rules: list[Rule], example: Example = EXAMPLE
) -> tuple[Score, Any, Scripted]:
    """The score by a scripted judge, what the judge did, and the judge."""
    runtime = Scripted(rules)

    async def go() -> tuple[Score, Any]:
        async with Workbench(project, runtimes={"scripted": runtime}) as bench:
            bound = scorer.bound(bench.client)
            found = bound(answer, example)
            assert not isinstance(found, Score)
            return await found, use_of(bound)

    score, use = asyncio.run(go())
    return score, use, runtime


RUBRIC = scorers.judge("scripted/j", rubric="Is the price right?")


@pytest.mark.parametrize(
    ("said", "value", "repaired"),
    [
        ('{"reason": "right", "score": 5}', 1.0, 0),
        ('{"reason": "r", "score": 1}', 0.0, 0),
        ('{"score": "4"}', 0.75, 0),
        ('```json\n{"score": 3}\n```', 0.5, 1),
        ('Sure! {"reason": "a } and a \\" in it", "score": 3,} Hope it helps', 0.5, 1),
        ('<think>{"score": 1}</think>{"score": 5}', 1.0, 0),
    ],
)
def test_a_grade_is_read_and_repaired(project: Path, said: str, value: float, repaired: int) -> None:
    """Fences, prose around it, a comma too many and thinking aloud cost no second call."""
    score, use, runtime = judged(project, RUBRIC, "five", [Rule(answer=said)])
    assert (value, repaired, 1, 1) == (score.value, use.repaired, use.calls, runtime.calls)


@pytest.mark.parametrize(
    "said", ["I think it is good.", '{"score": 9}', '{"score": true}', "", "[5]", '{"score": null}', "{" * 5000]
)
def test_what_cannot_be_read_is_unscored_after_three_tries(project: Path, said: str) -> None:
    """Asked again twice, then unscored and counted; never 0."""
    score, use, runtime = judged(project, RUBRIC, "five", [Rule(answer=said)])
    assert score.value is None
    assert "could not be read after 3 tries" in score.explanation
    assert (3, 3, 1) == (runtime.calls, use.calls, use.unparsed)


def test_a_second_try_is_told_what_was_wrong(project: Path) -> None:
    """The retry shows the judge its own answer and the keys that are wanted."""

    def answer(request: Request) -> str:
        return '{"reason": "", "score": 5}' if "no JSON of the wanted form" in request.text() else "Excellent!"

    score, use, _ = judged(project, RUBRIC, "five", [Rule(answer=answer)])
    assert (1.0, 2, 1, 0) == (score.value, use.calls, use.repaired, use.unparsed)


def test_a_judge_that_fails_leaves_the_answer_unscored(project: Path) -> None:
    """An error of the call is the reason, and is counted."""
    score, use, _ = judged(project, RUBRIC, "five", [Rule(error="BadRequestError")])
    assert score.value is None
    assert "could not be asked: BadRequestError" in score.explanation
    assert use.failed == 1


def test_votes_give_self_agreement(project: Path) -> None:
    """Each vote has its own seed; the score is their mean."""

    def answer(request: Request) -> str:
        return json.dumps({"reason": "", "score": 5 if request.params.seed == 0 else 3})

    score, use, runtime = judged(
        project, scorers.judge("scripted/j", rubric="x", votes=3), "five", [Rule(answer=answer)]
    )
    assert (pytest.approx((1 + 0.5 + 0.5) / 3), 3, 0.0) == (score.value, runtime.calls, use.self_agreement)


def test_the_reference_is_shown_only_if_it_is_wanted(project: Path) -> None:
    """With reference=True the judge sees `expected`, and without an expected value there is no score."""
    rule = Rule(answer=lambda request: json.dumps({"reason": "", "score": 5 if "five" in request.text() else 1}))
    with_reference = scorers.judge("scripted/j", rubric="x", reference=True)
    assert judged(project, with_reference, "5", [rule])[0].value == 1.0
    assert judged(project, RUBRIC, "5", [rule])[0].value == 0.0
    assert judged(project, with_reference, "5", [rule], Example(id="2", inputs={}))[0].value is None


@pytest.mark.parametrize(
    ("pick", "value", "flips"),
    [
        (lambda a, b: "A" if a == "good" else "B", 1.0, 0),
        (lambda a, b: "B" if a == "good" else "A", 0.0, 0),
        (lambda a, b: "tie", 0.5, 0),
        (lambda a, b: "A", 0.5, 1),
    ],
)
def test_pairs_are_judged_in_both_orders(
    project: Path, pick: Callable[[str, str], str], value: float, flips: int
) -> None:
    """A judge that always takes the first flips, which is a tie and counted."""

    def answer(request: Request) -> str:
        text = request.text()
        shown = [text.split(f"<answer_{x}>\n")[1].split("\n</")[0] for x in "ab"]
        return json.dumps({"reason": "r", "winner": pick(*shown)})

    example = Example(id="1", inputs={"question": "?"}, expected="baseline")
    score, use, _ = judged(project, scorers.judge_pairwise("scripted/j"), "good", [Rule(answer=answer)], example)
    assert (value, 1, flips, float(flips)) == (score.value, use.pairs, use.flips, use.flip_rate)


def test_faithfulness_claim_by_claim(project: Path) -> None:
    """The share of claims that the context bears out, with those that it does not; instructions in an answer stay data."""

    def answer(request: Request) -> str:
        text = request.text()
        if "Split an answer" in text:
            return json.dumps({"claims": ["It costs 5 euros.", "It is red.", "It is red."]})
        claim = text.split("<claim>\n")[1].split("\n</claim>")[0]
        return json.dumps({"reason": "", "supported": "red" not in claim})

    scorer = scorers.faithfulness_by_judge("scripted/j")
    score, use, _ = judged(project, scorer, "It costs 5 euros and is red.", [Rule(answer=answer)])
    assert Score(0.5, "1 of 2 claims borne out; not: It is red.") == score
    assert use.calls == 3
    assert judged(project, scorer, "x", [], Example(id="2", inputs={}))[0].value is None
    none = judged(project, scorer, "Hello!", [Rule(answer='{"claims": []}')])[0]
    assert Score(None, "the judge found no claim in the answer") == none
    half = [Rule("Split", '{"claims": ["a"]}'), Rule(answer="maybe")]
    assert judged(project, scorer, "a", half)[0].value is None


def test_relevance_by_judge(project: Path) -> None:
    """A rubric of its own, without the reference."""
    score, use, _ = judged(
        project, scorers.relevance_by_judge("scripted/j"), "five", [Rule("what was asked", '{"score": 4}')]
    )
    assert (0.75, "judge-rubric@0") == (score.value, use.prompt)


def test_a_projects_own_prompt_is_the_judge(project: Path) -> None:
    """`prompt="strict@1"` is a version like any other, and the log names it."""
    with Path(project / "x").open("w"):
        pass
    runtime = Scripted([Rule("Be strict: 5", '{"score": 2}')])

    async def go() -> Any:
        async with Workbench(project, runtimes={"scripted": runtime}) as bench:
            made = bench.prompts.create("strict", "Be strict: {{answer}} by {{rubric}}")
            bound = scorers.judge("scripted/j", rubric="x", prompt="strict@1").bound(bench.client)
            score = await bound("5", EXAMPLE)  # type: ignore[misc]
            bench.calls.close()
            rows = bench.calls.sql("select role, prompt_ref, prompt_digest from calls")
            return score, made.digest, [tuple(row) for row in rows.itertuples(index=False)]

    score, digest, rows = asyncio.run(go())
    assert score.value == 0.25
    assert [("judge", "strict@1", digest)] == rows


def test_json_in_finds_objects_only() -> None:
    """No list, no text, no unclosed object; the first object of several."""
    assert json_in('[{"a": 1}] {"b": 2}') == ({"a": 1}, True)
    assert json_in("no") == (None, False)
    assert json_in('{"a": 1') == (None, False)
    assert json_in('{"a": 1}')[1] is False


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: scorers.judge("gpt", rubric="x"), "does not name an endpoint"),
        (lambda: scorers.judge("a/b", rubric=" "), "rubric = ' ' must say"),
        (lambda: scorers.judge("a/b", rubric="x", low=5, high=5), "low below high"),
        (lambda: scorers.judge("a/b", rubric="x", votes=0), "votes = 0 must be"),
        (lambda: as_scorer("judge"), "scorer judge needs 'model'"),
    ],
)
def test_wrong_arguments_are_named(make: Any, message: str) -> None:
    """Before anything is asked."""
    with pytest.raises(InputError, match=message):
        make()


def test_a_comparison_by_a_judge(project: Path, openai_double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """The verdict says by whom; the judge's calls are in the log with their role and in no variant's cost; TOML writes it as a
    table."""
    monkeypatch.setenv("OPENAI_BASE_URL", openai_double.url)

    def says(text: str) -> str:
        if "You judge an answer" in text:
            right = ("love" in text or "thanks" in text) == ("<answer>\npositive" in text)
            return json.dumps({"reason": "", "score": 5 if right else 1})
        good = ("love" in text or "thanks" in text) ^ ("Be wrong" in text)
        return "positive" if good else "negative"

    openai_double.says = says
    primary = {"name": "judge", "model": "openai/m", "rubric": "Is the tone right?", "as": "tone_by_judge"}

    async def go() -> Any:
        async with Workbench(project) as bench:
            bench.prompts.create("tone", "Be wrong about this message:\n{{message}}")
            bench.prompts.create("tone", "Is this message positive or negative?\n{{message}}")
            plan = bench.plan(
                prompts=["tone@1", "tone@2"], models=["openai/m"], dataset="reviews", primary=primary, limit=12
            )
            result = await bench.compare(plan, progress=silent)
            bench.calls.close()
            return result, bench.calls.sql(
                "select role, count(*) as n from calls where not warmup group by role order by role"
            )

    result, counted = asyncio.run(go())
    assert list(result.summary["tone_by_judge"]) == [0.0, 1.0]
    assert result.verdict.sentence.endswith("Scored by an uncalibrated judge (openai/m).")
    assert {"judge": 24} == {role: n for role, n in zip(counted["role"], counted["n"], strict=True) if role == "judge"}
    assert any("asked the judge openai/m (judge-rubric@0): 24 calls" in note for note in result.notes())
    table = result.judges
    assert (24, 0) == (table["calls"][0], table["unparsed"][0])
    schemas = [body.get("response_format") for body in openai_double.bodies if "You judge" in str(body["messages"])]
    assert all(schemas)


def test_a_judge_is_asked_after_the_cheap_scorers_and_only_about_what_passed(project: Path) -> None:
    """The judge stands first in the plan and is asked last: not about wrong answers, which score 0, nor about failed calls."""
    data = project / "datasets" / "sums.jsonl"
    data.parent.mkdir(exist_ok=True)
    data.write_text(
        "".join(
            json.dumps({"inputs": {"q": f"sum {at}"}} | ({} if at == 7 else {"expected": "right"})) + "\n"
            for at in range(8)
        )
    )
    seen: list[str] = []

    def cheap(text: str, example: Example) -> bool:
        seen.append("cheap")
        return True

    def grade(request: Request) -> str:
        seen.append("judge")
        return '{"reason": "", "score": 5}'

    rules = [
        Rule(model="j", answer=grade),
        Rule(match="sum [01]", answer="wrong"),
        Rule(match="sum 2", error="BadRequestError"),
        Rule(answer="right"),
    ]
    runtime = Scripted(rules)
    rubric = scorers.judge("scripted/j", rubric="Right?").only_if("exact_match")

    async def go() -> Any:
        async with Workbench(project, runtimes={"scripted": runtime}) as bench:
            bench.prompts.create("sum", "What is {{q}}?")
            plan = bench.plan(
                prompts=["sum@1"], models=["scripted/m"], dataset="sums", primary=rubric,
                scorers=["exact_match", cheap], concurrency=1,
            )  # fmt: skip
            return (await bench.compare(plan, progress=silent)).run

    run = asyncio.run(go())
    assert seen.count("judge") == 4  # sums 3 to 6
    assert {seen[at - 1] for at, who in enumerate(seen) if who == "judge"} == {"cheap"}
    found = run.measurements.scores["judge"][0, :, 0].tolist()
    assert [found[at] for at in (0, 1, 3, 4, 5, 6)] == [0, 0, 1, 1, 1, 1]
    assert found[7] != found[7]
    assert run.unscored["judge"] == {"not asked: exact_match gave no score": 1}


def test_only_if_names_a_scorer_that_is_there(project: Path) -> None:
    """A slip of the pen, a chain and a scorer where less is better are refused before anything is asked."""
    bench = Workbench(project, runtimes={"scripted": Scripted([Rule(answer="x")])})
    bench.prompts.create("sum", "What is {{q}}?")
    data = project / "datasets" / "one.jsonl"
    data.parent.mkdir(exist_ok=True)
    data.write_text('{"inputs": {"q": "1"}, "expected": "x"}\n')

    def refused(*given: Any) -> str:
        with pytest.raises(InputError, match="only_if") as found:
            bench.plan(prompts=["sum@1"], models=["scripted/m"], dataset="one", primary="exact_match", scorers=given)
        return str(found.value)

    assert "Did you mean 'exact_match'?" in refused(scorers.rouge_l().only_if("exact_mtch"))
    chain = [scorers.rouge_l().only_if("exact_match"), scorers.token_f1().only_if("rouge_l")]
    assert "name 'exact_match'" in refused(*chain)
    made = as_scorer({"name": "rouge_l", "only_if": "exact_match", "as": "overlap"})
    assert as_scorer(json.loads(json.dumps(made.spec))).needs == "exact_match"
    assert made.name == "overlap"
