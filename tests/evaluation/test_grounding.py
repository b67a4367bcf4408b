"""Faithfulness without a judge: what is read in a text, what speaks against an answer, and the real embedder at the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from workbench import Workbench
from workbench.evaluation import scorers
from workbench.evaluation.grounding.comparing import negative
from workbench.evaluation.grounding.facts import facts_of, unknown_number
from workbench.evaluation.grounding.reading import read, sentences
from workbench.evaluation.grounding.support import Grounding, ground
from workbench.records import Example, Score

ROOT = Path(__file__).parents[2]
CONTEXT = (
    "The mill at Dunford was bought by Clara Reyes in May 2014 for 85,000 pounds. She sold half of it to Owen Pike a year later. "
    "Pike repaired the wheel, but the roof was not finished. Dogs are allowed in the garden and not in the house. "
    "The mill opens on Saturdays from 9:30 to noon."
)


async def same(texts: Sequence[str]) -> np.ndarray:
    """An embedder to which all texts are alike, so that only facts, polarity and roles decide."""
    return np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (len(texts), 1))


def found(answer: str, context: str = CONTEXT) -> Grounding:
    result = asyncio.run(ground(answer, context, same))
    assert result is not None
    return result


def test_sentences_and_what_ends_none() -> None:
    """Titles, initials and numbers end no sentence; lines of a list do."""
    assert sentences("Dr. Who met J. Smith at 3.5 km. They left!\n- one\n2. two") == [
        "Dr. Who met J. Smith at 3.5 km.", "They left!", "one", "two",
    ]  # fmt: skip
    assert sentences(" … \n") == []


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,250 and 3.5 million", [1250, 3_500_000]),
        ("twenty-five years, two thousand", [25, 2000]),
        ("half of it, a third, two fifths", [0.5, 1 / 3, 0.4]),
        ("from 8:20 to noon", [8 + 20 / 60, 12]),
        ("one of the first", []),
        ("a dozen, twice", [12, 2]),
    ],
)
def test_numbers_in_words_and_digits(text: str, values: list[float]) -> None:
    """As people write them."""
    assert values == pytest.approx([number.value for number in facts_of(read(text)).numbers])


@pytest.mark.parametrize(
    ("said", "context", "unknown"),
    [
        ("40 percent", "two fifths", False),
        ("about 400", "403 people", False),
        ("404", "403 people", True),
        ("2010", "in 2008", True),
        ("twenty minutes", "8:40 was 8:20", False),
        ("twelve", "a dozen", False),
        ("60 percent were left", "two fifths went", False),
        ("85", "58", True),
    ],
)
def test_a_number_that_follows_from_the_context_is_known(said: str, context: str, unknown: bool) -> None:
    """The same in another form, a round one, or a difference; a year is never about another year."""
    (number, *_) = facts_of(read(said)).numbers
    assert unknown == unknown_number(number, facts_of(read(context)))


@pytest.mark.parametrize(
    ("text", "odd"),
    [
        ("it is not open", True),
        ("it did not fail", False),
        ("no later than noon", False),
        ("she refused to pay", True),
        ("it won't", True),
    ],
)
def test_polarity_counts_what_denies(text: str, odd: bool) -> None:
    """Two denials are none."""
    assert odd == negative(read(text)[0].clauses[0])


@pytest.mark.parametrize(
    ("right", "wrong", "why"),
    [
        ("Clara Reyes paid £85,000 for the mill.", "Clara Reyes paid £58,000 for the mill.", "number 58,000 is not"),
        ("She bought it in May 2014.", "She bought it in June 2014.", "date june is not"),
        ("Owen Pike repaired the wheel.", "Ivan Pratt repaired the wheel.", "name Ivan is not"),
        ("The roof was not finished.", "The roof was finished.", "says the opposite of 'The roof was finished'"),
        ("Dogs are not allowed in the house.", "Dogs are allowed in the house.", "says the opposite"),
        ("It opens on Saturdays at 9:30.", "It opens on Sundays at 9:30.", "date sunday is not"),
    ],
)
def test_one_fault_lowers_the_score_and_is_named(right: str, wrong: str, why: str) -> None:
    """The faulty answer scores lower than the faithful one, and says what speaks against it."""
    good, bad = found(right), found(wrong)
    assert bad.score < good.score
    assert any(why in problem for problem in bad.problems), bad.problems
    assert not any(why in problem for problem in good.problems)


def test_swapped_roles_score_lower() -> None:
    """Who praised whom, in the active and in the passive voice."""
    context = "Last week Olga Brandt praised Hugo Silva warmly for the report. Silva thanked Brandt publicly on Monday."
    right = found("Olga Brandt praised Hugo Silva warmly.", context)
    passive = found("Hugo Silva was praised warmly by Olga Brandt.", context)
    wrong = found("Hugo Silva praised Olga Brandt warmly.", context)
    assert wrong.score < right.score
    assert wrong.score < passive.score
    assert "in these roles" in wrong.problems[0]


@pytest.mark.parametrize("text", ["", "...", "🙂", "\n\n"])
def test_nothing_to_hold_against_the_context(text: str) -> None:
    """An answer or a context without words is no grounding."""
    assert asyncio.run(ground(text, CONTEXT, same)) is None
    assert asyncio.run(ground(CONTEXT, text, same)) is None


@pytest.mark.parametrize(
    "text",
    ["not " * 3000, "A" * 50_000, "1" * 5000, "Anna " * 2000, "-" * 9000 + "x", "9:99 99:9 ٣ ½ 1:2:3", "a.b." * 3000],
)
def test_hostile_answers_are_scored(text: str) -> None:
    """Long, repeated and odd texts give a score between 0 and 1."""
    result = asyncio.run(ground(text, CONTEXT, same))
    assert result is None or 0 <= result.score <= 1


async def test_the_scorers_through_the_real_embedder(project: Path, minilm_weights: Path) -> None:
    """A faithful answer scores higher than an invented one, an answer to the question higher than one to another; what is missing
    is unscored."""
    example = Example(id="1", inputs={"question": "When does the mill open?"}, context=CONTEXT)
    bare = Example(id="2", inputs={"question": " "})
    async with Workbench(project) as bench:

        async def score(scorer: scorers.Scorer, text: str, of: Example = example) -> Score:
            result = scorer.bound(bench.client)(text, of)
            assert not isinstance(result, Score)
            return await result

        rules, near = scorers.faithfulness_by_rules(), scorers.relevance_by_embedding()
        good = await score(rules, "The mill opens on Saturdays, from half past nine to noon.")
        made_up = await score(rules, "A famous chef from Lyon runs an expensive restaurant inside.")
        assert good.value is not None
        assert made_up.value is not None
        assert made_up.value < good.value
        assert (await score(rules, "Any.", bare)).value is None
        assert (await score(rules, "")).value is None
        on, off = await score(near, "It opens on Saturdays at 9:30."), await score(near, "Penguins eat fish.")
        assert on.value is not None
        assert off.value is not None
        assert off.value < on.value
        assert (await score(near, "")).value == 0.0
        assert (await score(near, "text", bare)).value is None


def test_the_judged_set_is_what_it_says() -> None:
    """At least 100 answers, half of them with one fault of one of six kinds, and no row of it in the set for tuning."""
    folder = ROOT / "benchmarks" / "data"
    rows = [json.loads(line) for line in (folder / "faithfulness.jsonl").read_text().splitlines()]
    faulty = [row for row in rows if not row["faithful"]]
    assert len(rows) >= 100
    assert len(faulty) * 2 == len(rows)
    assert {row["fault"] for row in faulty} == {"number", "name", "date", "negation", "roles", "invention"}
    tuned = {json.loads(line)["context"] for line in (folder / "faithfulness_dev.jsonl").read_text().splitlines()}
    assert tuned.isdisjoint(row["context"] for row in rows)


def test_the_benchmark_writes_its_claims(
    minilm_weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, load_module: Callable[[Path], ModuleType]
) -> None:
    """On the set for tuning the rules beat the embedder alone, and the interval holds the estimate; one claim overall and one of
    each kind of fault."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    module: Any = load_module(ROOT / "benchmarks" / "faithfulness.py")
    figures = asyncio.run(module.measure(ROOT / "benchmarks" / "data" / "faithfulness_dev.jsonl"))
    estimate, low, high = figures["auc"]
    assert low <= estimate <= high
    assert estimate > max(0.75, figures["auc_embedding_alone"][0])
    assert module.auc(np.array([1.0, 0.5]), np.array([0.5, 0.0])) == 0.875
    claims = module.Claims()
    module.claim(claims, "rules", figures)
    claims.write(tmp_path / "claims.json")
    written = json.loads((tmp_path / "claims.json").read_text())
    assert len(written) == 1 + len(module.KINDS)
    assert (written[0]["ours"], written[0]["holds"]) == (estimate, estimate >= 0.8)
