"""Rating a comparison's answers: blind, in an order of one's own, resumed, undone; votes as scores; agreement."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pytest

from workbench import Rule, Scripted, Workbench, scorers
from workbench.errors import InputError
from workbench.evaluation.comparison import Comparison
from workbench.evaluation.ratings.session import RatingSession
from workbench.records import Request
from workbench.running.progress import silent

QUESTION = "Is it right?"
T = TypeVar("T")


def answer(request: Request) -> str:
    """Prompt 1 is wrong, prompt 2 right; both say the same about every tenth question."""
    text = request.text()
    number = int(text.rsplit(" ", 1)[1])
    if number % 10 == 0:
        return "the same"
    return f"wrong {number}" if "Badly" in text else f"right {number}"


def compared(project: Path, then: Callable[[Workbench, Comparison], Awaitable[T]], count: int = 40) -> T:
    """What `then` makes of a comparison of two prompts over `count` questions."""

    async def go() -> T:
        async with Workbench(project, runtimes={"scripted": Scripted([Rule(answer=answer)])}) as bench:
            if not (project / "prompts").exists():
                bench.prompts.create("tell", "Badly: {{question}}")
                bench.prompts.create("tell", "Well: {{question}}")
            data = pd.DataFrame({"question": [f"q {number}" for number in range(count)], "expected": "x"})
            plan = bench.plan(prompts=["tell@1", "tell@2"], models=["scripted/m"], dataset=data)
            return await then(bench, await bench.compare(plan, progress=silent))

    return asyncio.run(go())


def rate(session: RatingSession, most: int = 10_000) -> list[str]:
    """Rate by what the answers say; returns the items' ids in order."""
    seen = []
    while (card := session.current) is not None and len(seen) < most:
        seen.append(card.card_id)
        if session.scale.pairwise:
            session.vote("a" if card.answers[0].startswith("right") else "b", card=card.card_id)
        else:
            session.vote("fail" if card.answers[0].startswith("wrong") else "pass", card=card.card_id)
    return seen


def test_a_card_tells_nothing_of_its_variant(project: Path) -> None:
    """No prompt, version, model, call or label: question, context and answer only; the expected answer where it is asked for."""

    async def then(bench: Workbench, result: Comparison) -> None:
        session = bench.ratings.session(result, rater="ana", question=QUESTION)
        card = session.current
        assert card is not None
        assert {"card_id", "inputs", "context", "expected", "answers"} == set(asdict(card))
        told = repr(card) + repr(session)
        assert not [word for word in ("tell@", "scripted", "Badly", "Well") if word in told]
        assert "" == card.expected
        shown = bench.ratings.session(result, rater="ana", question=QUESTION, reference=True).current
        assert shown is not None
        assert "x" == shown.expected

    compared(project, then)


def test_the_order_is_of_each_rater_and_leaks_no_variant(project: Path) -> None:
    """The same items for all, in other orders, the same after a restart; either variant comes first about as often, and which
    of a pair is A is a coin."""

    async def then(bench: Workbench, result: Comparison) -> None:
        def answers(rater: str, scale: str) -> list[tuple[str, ...]]:
            made = bench.ratings.session(result, rater=rater, question=f"{QUESTION} {scale}", scale=scale, examples=30)
            return [item.texts for item in made._items]

        ana, bob = answers("ana", "1-5"), answers("bob", "1-5")
        assert ana != bob
        assert sorted(ana) == sorted(bob)
        assert ana == answers("ana", "1-5")
        firsts, lefts = 0, 0
        for number in range(20):
            order = answers(f"rater {number}", "1-5")
            place = {text: at for at, (text,) in enumerate(order)}
            pairs = [name for name in place if name.startswith("right")]
            firsts += sum(place[name] < place[name.replace("right", "wrong")] for name in pairs)
            lefts += sum(a.startswith("right") for a, b in answers(f"rater {number}", "pairwise") if a != b)
        # about 540 fair coins each: 5 standard deviations
        assert abs(firsts - 10 * len(pairs)) < 60
        assert abs(lefts - 10 * len(pairs)) < 60

    compared(project, then)


def test_rating_goes_on_where_it_stopped_in_another_process_of_the_same_home(project: Path) -> None:
    """Every vote is there; a key pressed twice does not vote on the next item."""
    seen: list[str] = []

    async def half(bench: Workbench, result: Comparison) -> None:
        session = bench.ratings.session(result, rater="ana", question=QUESTION)
        seen.extend(rate(session, 25))
        assert (25, 0, 76) == tuple(session.progress)  # 40 x 2 answers, 4 of them the same twice
        session.vote("fail", card=seen[-1])
        assert 25 == session.progress.rated

    async def rest(bench: Workbench, result: Comparison) -> None:
        session = bench.ratings.session(result, rater="ana", question=QUESTION)
        assert (25, 51) == (session.progress.rated, session.progress.left)
        seen.extend(rate(session))
        assert session.current is None
        with pytest.raises(InputError, match="has rated all 76 items"):
            session.vote("pass")

    compared(project, half)
    compared(project, rest)
    assert 76 == len(set(seen)) == len(seen)


def test_undo_brings_the_item_back_and_skip_leaves_it_unscored(project: Path) -> None:
    """Undo after undo goes back vote by vote, also over a restart; without a vote it does nothing."""

    async def then(bench: Workbench, result: Comparison) -> None:
        session = bench.ratings.session(result, rater="ana", question=QUESTION)
        first = session.undo()
        assert first == session.current
        one, two = rate(session, 2)
        for made in (session, bench.ratings.session(result, rater="ana", question=QUESTION)):
            back = made.undo()
            assert back is not None
            assert (two if made is session else one) == back.card_id
        assert 0 == session.progress.rated
        session.skip(comment="in a language I cannot read")
        assert (0, 1) == (session.progress.rated, session.progress.skipped)
        assert [None] == [None if pd.isna(v) else v for v in bench.ratings.votes(QUESTION)["value"]]

    compared(project, then)


def test_a_comparison_is_decided_by_what_people_said(project: Path) -> None:
    """Ratings are scores: verdict, interval and table come from them without another call; what nobody rated is unscored."""

    async def then(bench: Workbench, result: Comparison) -> None:
        rate(bench.ratings.session(result, rater="ana", question=QUESTION, examples=30))
        before = bench.calls.sql("select count(*) as n from calls")["n"][0]
        people = scorers.ratings(QUESTION).named("people")
        again = await bench.compare(result.run.plan.decided_by(people), progress=silent)
        assert before == bench.calls.sql("select count(*) as n from calls")["n"][0]
        assert "tell@2 is better than tell@1 on people" in again.verdict.sentence
        (contrast,) = again.verdict.contrasts
        assert (30, 10) == (contrast.n, contrast.left_out)
        assert [10, 10] == list(again.summary["unscored"])
        assert "exact_match" in again.summary.columns
        spec = dict(people.spec)
        assert spec == dict(scorers.as_scorer(spec).spec)

    compared(project, then)


def test_pairs_decide_too_and_equal_answers_tie_by_themselves(project: Path) -> None:
    """The difference is the share won less the share lost; a tie of equal answers is kept only as far as the rater has come."""

    async def then(bench: Workbench, result: Comparison) -> None:
        session = bench.ratings.session(result, rater="ana", question="Which?", scale="pairwise")
        rate(session, 9)
        votes = bench.ratings.store.votes("Which?")
        assert 9 == sum(not vote.by_itself for vote in votes)
        assert len(votes) <= 9 + 4
        assert 36 == 9 + len(rate(session))
        again = await bench.compare(result.run.plan.decided_by(scorers.ratings("Which?")), progress=silent)
        (contrast,) = again.verdict.contrasts
        assert contrast.interval is not None
        assert (pytest.approx(36 / 40), 40) == (contrast.interval.estimate, contrast.n)
        # agreement does not care which was shown as A, nor counts what nobody looked at
        other = bench.ratings.session(result, rater="bob", question="Which?", scale="pairwise")
        rate(other)
        agreed = other.agreement()
        assert ("Cohen's kappa", 36) == (agreed.statistic, agreed.items)
        assert agreed.value in (None, pytest.approx(1.0))

    compared(project, then)


def test_agreement_of_two_is_cohens_and_of_more_krippendorffs(project: Path) -> None:
    """With an interval; of one rater it says so."""

    async def then(bench: Workbench, result: Comparison) -> None:
        ana = bench.ratings.session(result, rater="ana", question=QUESTION)
        rate(ana)
        assert "only ana has rated" in str(ana.agreement())
        bob = bench.ratings.session(result, rater="bob", question=QUESTION)
        draw = np.random.default_rng(3)
        while (card := bob.current) is not None:
            wrong = card.answers[0].startswith("wrong")
            bob.vote("fail" if wrong ^ (draw.random() < 0.2) else "pass")
        two = bench.ratings.agreement(QUESTION)
        assert ("Cohen's kappa", ("ana", "bob"), 76) == (two.statistic, two.raters, two.items)
        assert two.value is not None
        assert two.interval is not None
        assert 0.3 < two.interval.low < two.value < two.interval.high < 0.85
        rate(bench.ratings.session(result, rater="eve", question=QUESTION))
        three = bench.ratings.agreement(QUESTION)
        assert "Krippendorff's alpha" == three.statistic
        assert three.value is not None
        assert three.value > two.value
        assert ["ana, bob, eve"] == list(bench.ratings.questions()["raters"])

    compared(project, then)


def test_wrong_input_is_named(project: Path) -> None:
    """Before a file is made."""

    async def then(bench: Workbench, result: Comparison) -> None:
        ask = bench.ratings.session
        for wrong, message in (
            ({"rater": " "}, "rater must be a name"),
            ({"examples": 0}, "examples = 0 must be"),
            ({"variants": ["tell@9"]}, "'tell@9' is none of the variants"),
            ({"variants": ["tell@1"], "scale": "pairwise"}, "pairs need two variants, and there is 1"),
        ):
            options: dict[str, Any] = {"rater": "ana", "question": QUESTION} | wrong
            with pytest.raises(InputError, match=message):
                ask(result, **options)
        with pytest.raises(InputError, match="nobody was asked 'Is it rihgt"):
            bench.ratings.agreement("Is it rihgt?")
        assert not bench.ratings.store.questions()

    compared(project, then)


def test_a_question_that_nobody_was_asked_is_said_to_be_none(project: Path) -> None:
    """A slip in its words leaves every answer unscored, and the reason names the question that was meant."""

    async def then(bench: Workbench, result: Comparison) -> None:
        rate(bench.ratings.session(result, rater="ana", question=QUESTION))
        plan = result.run.plan.decided_by(scorers.ratings("Is it rihgt?"))
        again = await bench.compare(plan, progress=silent)
        assert any("nobody was asked 'Is it rihgt?' yet. Did you mean 'Is it right?'" in note for note in again.notes())

    compared(project, then, count=6)
