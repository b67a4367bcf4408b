"""Scorers that ask a judge model: by a rubric, against a reference, in pairs, and claim by claim."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError
from workbench.evaluation.judging.asking import AskJudge, JudgeUse
from workbench.evaluation.judging.kept import Judgements
from workbench.evaluation.judging.load import JudgeLoad
from workbench.evaluation.judging.prompts import built_in_prompt
from workbench.evaluation.scorers.people import ratings
from workbench.evaluation.scorers.scorer import Scorer, model_scorer
from workbench.evaluation.scorers.wording import short, texts_of
from workbench.records import Example, Params, Prompt, Score, digest, split_model

if TYPE_CHECKING:
    from workbench.client import Client

__all__ = ["Judging", "faithfulness_by_judge", "judge", "judge_pairwise", "relevance_by_judge"]

_USUAL_CLAIMS, _MOST_CLAIMS = 5, 40
_RELEVANCE = (
    "Does the answer speak to what was asked, completely and without digression? Whether it is true does not count."
)


class Judging:
    """A judge bound to a client: called with (text, example). prompts: what it is asked by. by: what its judgements were made
    by, as one digest. use: what it did so far. kept: judgements from before; what is there costs nothing."""

    def __init__(
        self, asks: Sequence[AskJudge], score: Callable[[str, Example, JudgeUse], Any], options: Mapping[str, Any]
    ) -> None:
        self.prompts = tuple(ask.prompt for ask in asks)
        self.by = digest({"prompts": [prompt.digest for prompt in self.prompts], **options})
        self.use = asks[0].use()
        self.kept: Judgements | None = None
        self._score = score

    async def __call__(self, text: str, example: Example) -> Score:
        """Its judgement. Of the same answer it is the one that was kept, if there is one."""
        use = self.use.one()
        kept = self.kept.find(self.by, text, example, use) if self.kept is not None else None
        if kept is not None:
            self.use.add(use, reused=True)
            return kept
        try:
            found: Score = await self._score(text, example, use)
        finally:
            self.use.add(use)
        if self.kept is not None and use.calls and not use.failed:
            self.kept.add(self.by, text, example, found, use)
        return found


def judge(
    model: str,
    *,
    rubric: str,
    reference: bool = False,
    low: int = 1,
    high: int = 5,
    votes: int = 1,
    prompt: str | Prompt | None = None,
    params: Mapping[str, Any] | None = None,
    timeout: float = 120.0,
    people: str | None = None,
) -> Scorer:
    """The judge model's grade of the answer by a rubric, mapped from low..high to 0..1.

    model: ENDPOINT/MODEL. reference: the judge sees `expected`, and examples without one are unscored. votes: how often each
    answer is judged, each time with another seed; the score is their mean, and the share of answers graded alike is the judge's
    self-agreement. prompt: one of the project's, such as "judge@3", with any of the variables question, context, expected,
    answer, rubric, low and high; by default a built-in one. params: of the judge; temperature is 0 unless votes are several.

    people: the question that people were asked about the same answers (`bench.ratings.session`): what they said stands beside the
    judge's scores, and once they have rated 50 examples, the difference is corrected by it.

    A grade that cannot be read after two more tries, or a call that fails, leaves the answer unscored.
    """
    _check(model, "judge", rubric=rubric, votes=votes)
    if not (isinstance(low, int) and isinstance(high, int) and low < high):
        raise InputError(f"judge: low = {low!r} and high = {high!r} must be whole numbers, low below high.")
    schema = {
        "type": "object",
        "properties": {"reason": {"type": "string"}, "score": {"type": "integer", "minimum": low, "maximum": high}},
        "required": ["reason", "score"],
        "additionalProperties": False,
    }

    def check(found: Mapping[str, Any]) -> tuple[float, str] | None:
        grade = found.get("score")
        if isinstance(grade, str) and grade.strip().lstrip("-").isdigit():
            grade = int(grade)
        if isinstance(grade, bool) or not isinstance(grade, (int, float)) or not low <= grade <= high:
            return None
        return (grade - low) / (high - low), str(found.get("reason", ""))

    def bind(client: Client) -> Judging:
        ask = _asker(client, model, prompt, "judge-rubric", params, timeout, votes)

        async def score(text: str, example: Example, use: JudgeUse) -> Score:
            wanted = texts_of(example) if reference else []
            if isinstance(wanted, Score):
                return wanted
            values = _values(text, example) | {
                "rubric": rubric, "low": low, "high": high, "expected": " or ".join(wanted) or "(none given)",
            }  # fmt: skip
            grades = await asyncio.gather(
                *(ask.ask(values, schema, check, use, seed=vote if votes > 1 else None) for vote in range(votes))
            )
            read = [grade for grade in grades if not isinstance(grade, Score)]
            if len(read) < votes:
                return next(grade for grade in grades if isinstance(grade, Score))
            if votes > 1:
                use.repeated += 1
                use.agreed += len({grade for grade, _ in read}) == 1
            return Score(sum(grade for grade, _ in read) / votes, read[0][1])

        return Judging([ask], score, {**options, "params": dict(params or {})})

    options = {"model": model, "rubric": rubric, "reference": reference, "low": low, "high": high, "votes": votes}
    load = JudgeLoad(
        model,
        (votes, votes, votes),
        1,
        prompt or built_in_prompt("judge-rubric"),
        len(rubric),
        _params(params).max_tokens,
    )
    return _made("judge", bind, options, prompt, params, people, load, needs_expected=reference)


def judge_pairwise(
    model: str,
    *,
    rubric: str = "which answer is more correct, complete and clear",
    prompt: str | Prompt | None = None,
    params: Mapping[str, Any] | None = None,
    timeout: float = 120.0,
    people: str | None = None,
) -> Scorer:
    """1 if the judge model prefers the answer to `expected` (a reference, or a baseline's answer), 0 if not, 0.5 for a tie.

    Each pair is judged in both orders. A winner that changes with the order is a flip: it counts as a tie, and the share of
    flips is shown beside the scores. prompt: variables question, answer_a, answer_b, rubric; else as in `judge`.
    """
    _check(model, "judge_pairwise", rubric=rubric)
    schema = {
        "type": "object",
        "properties": {"reason": {"type": "string"}, "winner": {"type": "string", "enum": ["A", "B", "tie"]}},
        "required": ["reason", "winner"],
        "additionalProperties": False,
    }

    def check(found: Mapping[str, Any]) -> tuple[str, str] | None:
        winner = str(found.get("winner", "")).strip().lower()
        return (winner, str(found.get("reason", ""))) if winner in ("a", "b", "tie") else None

    def bind(client: Client) -> Judging:
        ask = _asker(client, model, prompt, "judge-pairwise", params, timeout)

        async def score(text: str, example: Example, use: JudgeUse) -> Score:
            wanted = texts_of(example)
            if isinstance(wanted, Score):
                return wanted
            values = _values(text, example) | {"rubric": rubric}
            first, second = await asyncio.gather(
                ask.ask(values | {"answer_a": text, "answer_b": wanted[0]}, schema, check, use),
                ask.ask(values | {"answer_a": wanted[0], "answer_b": text}, schema, check, use),
            )
            if isinstance(first, Score):
                return first
            if isinstance(second, Score):
                return second
            use.pairs += 1
            gains = {"a": 1.0, "b": 0.0, "tie": 0.5}[first[0]], {"a": 0.0, "b": 1.0, "tie": 0.5}[second[0]]
            if gains[0] != gains[1]:
                use.flips += 1
                return Score(0.5, f"a tie, since the winner changed with the order: {first[1]} / {second[1]}")
            return Score(gains[0], first[1])

        return Judging([ask], score, {**options, "params": dict(params or {})})

    options = {"model": model, "rubric": rubric}
    load = JudgeLoad(
        model, (2, 2, 2), 1, prompt or built_in_prompt("judge-pairwise"), len(rubric), _params(params).max_tokens
    )
    return _made("judge_pairwise", bind, options, prompt, params, people, load, needs_expected=True)


def faithfulness_by_judge(
    model: str, *, params: Mapping[str, Any] | None = None, timeout: float = 120.0, people: str | None = None
) -> Scorer:
    """The share of the answer's claims that the example's `context` bears out, by a judge model: it splits the answer into
    claims and checks each alone. The explanation lists those that are not borne out. An answer without claims, an example
    without context and a claim whose check cannot be read leave the answer unscored."""
    _check(model, "faithfulness_by_judge")
    splitting = {
        "type": "object",
        "properties": {"claims": {"type": "array", "items": {"type": "string"}}},
        "required": ["claims"],
        "additionalProperties": False,
    }
    checking = {
        "type": "object",
        "properties": {"reason": {"type": "string"}, "supported": {"type": "boolean"}},
        "required": ["reason", "supported"],
        "additionalProperties": False,
    }

    def claims_of(found: Mapping[str, Any]) -> list[str] | None:
        claims = found.get("claims")
        if not isinstance(claims, list) or not all(isinstance(item, str) for item in claims):
            return None
        return list(dict.fromkeys(item.strip() for item in claims if item.strip()))

    def verdict(found: Mapping[str, Any]) -> tuple[bool] | None:
        supported = found.get("supported")
        if isinstance(supported, str):
            supported = {"true": True, "yes": True, "false": False, "no": False}.get(supported.strip().lower())
        return (supported,) if isinstance(supported, bool) else None

    def bind(client: Client) -> Judging:
        split = _asker(client, model, None, "judge-claims", params, timeout)
        support = AskJudge(client, model, built_in_prompt("judge-support"), _params(params), timeout)

        async def score(text: str, example: Example, use: JudgeUse) -> Score:
            if not (example.context or "").strip():
                return Score(None, "the example has no 'context' to be faithful to")
            claims = await split.ask({"answer": text}, splitting, claims_of, use)
            if isinstance(claims, Score):
                return claims
            if not claims:
                return Score(None, "the judge found no claim in the answer")
            if len(claims) > _MOST_CLAIMS:
                return Score(
                    None, f"the judge found {len(claims)} claims, more than the {_MOST_CLAIMS} that are checked"
                )
            checks = await asyncio.gather(
                *(support.ask({"context": example.context, "claim": claim}, checking, verdict, use) for claim in claims)
            )
            read = [item for item in checks if not isinstance(item, Score)]
            if len(read) < len(claims):
                return next(item for item in checks if isinstance(item, Score))
            wrong = [claim for claim, (fine,) in zip(claims, read, strict=True) if not fine]
            said = f"{len(claims) - len(wrong)} of {len(claims)} claims borne out"
            return Score(1 - len(wrong) / len(claims), said + (f"; not: {'; '.join(wrong[:5])}" if wrong else ""))

        return Judging([split, support], score, {"model": model, "params": dict(params or {})})

    load = JudgeLoad(
        model,
        (2, 1 + _USUAL_CLAIMS, 1 + _MOST_CLAIMS),
        2,
        built_in_prompt("judge-claims"),
        0,
        _params(params).max_tokens,
    )
    return _made("faithfulness_by_judge", bind, {"model": model}, None, params, people, load)


def relevance_by_judge(
    model: str, *, params: Mapping[str, Any] | None = None, timeout: float = 120.0, people: str | None = None
) -> Scorer:
    """From 0 to 1, by a judge model: does the answer speak to what was asked? `expected` is not shown to it."""
    made = judge(model, rubric=_RELEVANCE, params=params, timeout=timeout)
    assert made.bind is not None  # noqa: S101  (for the type checker)
    assert made.judge is not None  # noqa: S101
    return _made("relevance_by_judge", made.bind, {"model": model}, None, params, people, made.judge)


def _made(
    name: str,
    bind: Callable[[Client], Callable[[str, Example], Any]],
    options: Mapping[str, Any],
    prompt: str | Prompt | None,
    params: Mapping[str, Any] | None,
    people: str | None,
    load: JudgeLoad,
    *,
    needs_expected: bool = False,
) -> Scorer:
    spec = dict(options)
    if prompt is not None:
        spec["prompt"] = prompt if isinstance(prompt, str) else prompt.ref
    if params:
        spec["params"] = dict(params)
    if people is not None:
        spec["people"] = people
    made = model_scorer(name, bind, spec, binary=False, needs_expected=needs_expected)
    return replace(made, judge=load, people=None if people is None else ratings(people).named(f"{name}_by_people"))


def _asker(
    client: Client,
    model: str,
    prompt: str | Prompt | None,
    built_in: str,
    params: Mapping[str, Any] | None,
    timeout: float,
    votes: int = 1,
) -> AskJudge:
    if isinstance(prompt, str):
        from workbench.prompts import open_prompts
        from workbench.stores.langfuse import LangfuseSource

        prompts = open_prompts(client.settings, LangfuseSource(client.settings))
        prompt = prompts.resolve(prompts.get(prompt))
    return AskJudge(client, model, prompt or built_in_prompt(built_in), _params(params, votes), timeout)


def _params(params: Mapping[str, Any] | None, votes: int = 1) -> Params:
    return Params(temperature=0.0 if votes == 1 else 0.7).merged(Params.from_mapping(params or {}, "judge params"))


def _values(text: str, example: Example) -> dict[str, Any]:
    question = "\n".join(str(value) for value in example.inputs.values())
    return {"question": question, "context": example.context or "(none given)", "answer": text}


def _check(model: str, scorer: str, rubric: str = "x", votes: int = 1) -> None:
    if not isinstance(model, str):
        raise InputError(f"{scorer}: model = {model!r} must be ENDPOINT/MODEL.")
    split_model(model)
    if not isinstance(rubric, str) or not rubric.strip():
        raise InputError(f"{scorer}: rubric = {short(rubric)} must say what a good answer is.")
    if isinstance(votes, bool) or not isinstance(votes, int) or votes < 1:
        raise InputError(f"{scorer}: votes = {votes!r} must be a whole number from 1.")
