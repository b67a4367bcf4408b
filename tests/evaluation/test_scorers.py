from __future__ import annotations

import asyncio
import functools
import json
import math
import pkgutil
import random
from collections import Counter
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from workbench.errors import InputError
from workbench.evaluation import scorers
from workbench.evaluation.scorers import Scorer, as_scorer
from workbench.records import Example, Score

SENTIMENT = ["positive", "negative"]


def example(expected: Any = None) -> Example:
    return Example(id="1", inputs={"message": "hello"}, expected=expected)


def scored(scorer: Scorer, text: str, expected: Any = None) -> Score:
    result = scorer(text, example(expected))
    assert isinstance(result, Score)
    return result


def value(scorer: Scorer, text: str, expected: Any = None) -> float | None:
    return scored(scorer, text, expected).value


def returning(result: Any) -> Scorer:
    return Scorer("made", lambda text, example: result)


def test_public_names_are_exact_and_sorted() -> None:
    """`__all__` names each public thing, in order."""
    modules = {module.name for module in pkgutil.iter_modules(scorers.__path__)}
    # pytest rewrites the asserts of a package that brings a plugin, and keeps its own under names that begin with @
    assert (
        sorted({name for name in vars(scorers) if not name.startswith(("_", "@"))} - modules | {"checks"})
        == scorers.__all__
    )


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (True, 1.0), (False, 0.0), (1, 1.0), (0.25, 0.25), (np.float64(0.5), 0.5), (np.bool_(True), 1.0),
        (np.int64(3), 3.0), (np.array(0.5), 0.5), (Score(0.75), 0.75), (Score(np.float32(0.5)), 0.5), (-2.5, -2.5),
    ],
)  # fmt: skip
def test_numbers_and_booleans_are_scores(result: Any, expected: float) -> None:
    """What is a number in Python or NumPy becomes a plain float."""
    score = scored(returning(result), "text")
    assert expected == score.value
    assert type(score.value) is float


def test_a_pair_carries_its_explanation() -> None:
    """(value, explanation) is a Score with that explanation."""
    assert Score(0.0, "too long") == scored(returning((False, "too long")), "text")


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (None, "scorer gave None"),
        (math.nan, "scorer gave nan"),
        (math.inf, "scorer gave inf"),
        (10**400, "scorer gave inf"),
        ((None, "no judge"), "no judge"),
        (Score(None, "no judge"), "no judge"),
        (Score(math.nan, "empty mean"), "scorer gave nan (empty mean)"),
        ("yes", "scorer gave a str, 'yes', instead of"),
        ({"score": 1}, "scorer gave a dict, {'score': 1}, instead of"),
        (Decimal(1), "scorer gave a Decimal"),
        ((1.0, 2.0), "scorer gave a tuple"),
        (np.array([1.0]), "scorer gave a ndarray"),
        (Score("1"), "scorer gave a str, '1', instead of"),  # type: ignore[arg-type]
    ],
)
def test_anything_else_is_unscored_with_its_reason(result: Any, reason: str) -> None:
    """NaN, infinity, None and other types are unscored, never 0."""
    score = scored(returning(result), "text")
    assert score.value is None
    assert reason in score.explanation


def test_a_failing_scorer_leaves_the_answer_unscored() -> None:
    """An exception in a user's scorer is the reason, not a 0."""

    def broken(text: str, example: Example) -> float:
        return float(text)

    score = scored(as_scorer(broken), "seven")
    assert Score(None, "scorer raised ValueError: could not convert string to float: 'seven'") == score


def test_a_declared_binary_scorer_gives_only_0_and_1() -> None:
    """A value between is unscored where the scorer was declared to be binary."""
    assert Score(None, "scorer 'half' is binary but gave 0.5") == scored(
        Scorer("half", lambda text, example: 0.5, binary=True), "text"
    )
    assert value(Scorer("half", lambda text, example: 0.5), "text") == 0.5


async def test_async_scorers_are_awaited() -> None:
    """An async function's Score comes from an awaitable, its exceptions are unscored."""

    async def slow(text: str, example: Example) -> tuple[bool, str]:
        await asyncio.sleep(0)
        if not text:
            raise LookupError("no text")
        return True, "fine"

    scorer = as_scorer(slow)
    assert scorer.is_async
    good, bad = scorer("text", example()), scorer("", example())
    assert not isinstance(good, Score)
    assert not isinstance(bad, Score)
    assert Score(1.0, "fine") == await good
    assert Score(None, "scorer raised LookupError: no text") == await bad


async def test_cancelling_an_async_scorer_is_not_a_score() -> None:
    """Cancellation goes through, so that a run can be stopped."""

    async def forever(text: str, example: Example) -> float:
        await asyncio.Event().wait()
        return 1.0

    pending = as_scorer(forever)("text", example())
    assert not isinstance(pending, Score)
    task = asyncio.ensure_future(pending)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_is_async_sees_through_partials_and_callable_objects() -> None:
    """A partial of an async function and an object with an async __call__ are async."""

    async def judge(text: str, example: Example, *, strict: bool) -> float:
        return float(strict)

    class Judge:
        async def __call__(self, text: str, example: Example) -> float:
            return 0.5

    strict, object_ = as_scorer(functools.partial(judge, strict=True)), as_scorer(Judge())
    assert (strict.name, strict.is_async) == ("judge", True)
    assert (object_.name, object_.is_async) == ("Judge", True)
    assert not scorers.exact_match().is_async
    pending = object_("text", example())
    assert not isinstance(pending, Score)
    assert Score(0.5) == await pending


@pytest.mark.parametrize(
    ("options", "text", "expected", "outcome"),
    [
        ({}, " Positive\n", "positive", 1.0),
        ({}, "positive.", "positive", 0.0),
        ({"ignore_punctuation": True}, "«Positive»,  really!", "positive really", 1.0),
        ({"ignore_case": False}, "Positive", "positive", 0.0),
        ({"strip": False}, "positive\n", "positive", 0.0),
        ({}, "STRASSE", "straße", 1.0),
        ({}, "cafe\u0301", "caf\u00e9", 1.0),
        ({}, "no", ["yes", "no"], 1.0),
        ({}, "5", 5, 1.0),
        ({}, "True", True, 1.0),
        ({}, "1", True, 0.0),
        ({}, "", "", 1.0),
    ],
)
def test_exact_match(options: dict[str, bool], text: str, expected: Any, outcome: float) -> None:
    """Equal after what the options leave out; of a list, any."""
    assert outcome == value(scorers.exact_match(**options), text, expected)


def test_exact_match_explains_what_was_wrong() -> None:
    """A wrong answer says what came and what was expected."""
    assert Score(0.0, "'maybe' instead of 'yes' or 'no'") == scored(scorers.exact_match(), "maybe", ["yes", "no"])


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("positive", 1.0),
        ("**Positive.**", 1.0),
        ("_positive_", 1.0),
        ("Sentiment: positive\n\nMessage: the next one\nSentiment: negative", 1.0),
        ("negative, not positive", 0.0),
        ("positively", 0.0),
        ("non-positive", 0.0),
        ("not_positive", 0.0),
        ("neutral", 0.0),
        ("", 0.0),
    ],
)
def test_one_of_labels_takes_the_first_whole_word(text: str, outcome: float) -> None:
    """The first label that stands as a word is the answer; none at all is wrong."""
    assert outcome == value(scorers.one_of_labels(SENTIMENT), text, "positive")


def test_one_of_labels_says_when_no_label_is_named() -> None:
    """No label is a wrong answer that can be told from a wrong label."""
    scorer = scorers.one_of_labels(SENTIMENT)
    assert Score(0.0, "the answer names no label: 'I am not sure'") == scored(scorer, "I am not sure", "positive")
    assert Score(0.0, "negative instead of 'positive'") == scored(scorer, "Negative", "positive")


def test_one_of_labels_can_take_the_last_or_refuse_several() -> None:
    """`take` decides for an answer that names several labels; the others are in the explanation."""
    text = "It could be negative, but it is positive."
    note = "; the answer also names negative"
    assert Score(1.0, "positive" + note) == scored(scorers.one_of_labels(SENTIMENT, take="last"), text, "positive")
    assert Score(0.0, "the answer names several labels: negative, positive") == scored(
        scorers.one_of_labels(SENTIMENT, take="only"), text, "positive"
    )
    assert value(scorers.one_of_labels(SENTIMENT, take="only"), "positive, positive", "positive") == 1.0


def test_one_of_labels_prefers_the_longer_label() -> None:
    """A label within another is not taken for it, whatever white space stands between its words."""
    scorer = scorers.one_of_labels(["positive", "very positive", "very-negative"])
    assert value(scorer, "Very\npositive", "very positive") == 1.0
    assert value(scorer, "very-negative", "very-negative") == 1.0


def test_one_of_labels_with_an_expected_that_is_no_label_is_unscored() -> None:
    """A mistake in the data set is not counted against the model."""
    score = scored(scorers.one_of_labels(SENTIMENT), "positive", "neutral")
    assert Score(None, "expected 'neutral' is not one of the labels positive, negative") == score


def test_one_of_labels_with_case() -> None:
    """Labels that differ by case alone are told apart if asked."""
    assert value(scorers.one_of_labels(["US", "us"], ignore_case=False), "give it to us", "us") == 1.0


@pytest.mark.parametrize("labels", ["positive", ["positive"], ["positive", ""], ["yes", "YES"], ["yes", 1], 7])
def test_one_of_labels_refuses_what_is_no_list_of_labels(labels: Any) -> None:
    """One text, one label, an empty one or the same twice is an error that names the argument."""
    with pytest.raises(InputError, match="labels = "):
        scorers.one_of_labels(labels)


def test_contains() -> None:
    """`expected` anywhere in the answer; of a list any, or all with `every`."""
    assert value(scorers.contains(), "The capital is PARIS.", "Paris") == 1.0
    assert value(scorers.contains(ignore_case=False), "The capital is PARIS.", "Paris") == 0.0
    assert value(scorers.contains(), "Paris", ["Paris", "Lyon"]) == 1.0
    assert Score(0.0, "'Lyon' not in 'Paris'") == scored(scorers.contains(every=True), "Paris", ["Paris", "Lyon"])
    assert (
        scored(scorers.contains(), "Paris", "").explanation
        == "'expected' is an empty text, which every answer contains"
    )


def test_regex() -> None:
    """The pattern is searched for, or must match the whole; no `expected` is needed."""
    assert value(scorers.regex(r"\d{4}"), "in 2026") == 1.0
    assert Score(0.0, "no match in 'in 2026'") == scored(scorers.regex(r"\d{4}", whole=True), "in 2026")
    assert value(scorers.regex(r"\d{4}", whole=True), " 2026\n") == 1.0
    assert value(scorers.regex("ok", ignore_case=True), "OK") == 1.0
    with pytest.raises(InputError, match=r"pattern = '\(' is not a regular expression: missing \)"):
        scorers.regex("(")


SCHEMA = {
    "type": "object",
    "properties": {
        "items": {"type": "array", "items": {"type": "object", "properties": {"price": {"type": "number"}}}}
    },
    "required": ["items"],
}


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ('{"items": [{"price": 1.5}]}', Score(1.0)),
        ('```json\n{"items": []}\n```\n', Score(1.0)),
        ('```\n{"items": []}\n```', Score(1.0)),
        ('{"items": [{"price": "cheap"}]}', Score(0.0, "at $.items[0].price: 'cheap' is not of type 'number'")),
        ("{}", Score(0.0, "at $: 'items' is a required property")),
    ],
)
def test_json_schema(text: str, score: Score) -> None:
    """The answer must be JSON that fits; a code fence around it is no fault, a wrong place is named."""
    assert score == scored(scorers.json_schema(SCHEMA), text)


def test_json_schema_of_what_is_no_json() -> None:
    """Text that is not JSON is wrong and says why, NaN included."""
    for text in ("Sure! Here it is: {}", '{"items": [', "NaN", ""):
        score = scored(scorers.json_schema(SCHEMA), text)
        assert score.value == 0.0
        assert score.explanation.startswith("not JSON: ")


def test_json_schema_refuses_a_wrong_schema() -> None:
    """A schema that is none is an error when the scorer is made."""
    with pytest.raises(InputError, match=r"schema is wrong at \$.type: 'objekt'"):
        scorers.json_schema({"type": "objekt"})
    with pytest.raises(InputError, match="schema = 'object' must be an object"):
        scorers.json_schema("object")  # type: ignore[arg-type]


def test_json_schema_fetches_nothing() -> None:
    """A reference to another document leaves the answer unscored instead of reaching for the network."""
    score = scored(scorers.json_schema({"$ref": "http://127.0.0.1:9/schema.json"}), "{}")
    assert score.value is None
    assert "schema.json" in score.explanation


@pytest.mark.parametrize(
    ("text", "expected", "outcome"),
    [
        ("The Denver Broncos!", "Denver Broncos", 1.0),
        ("the cat sat on the mat", "a cat lay on a mat", 2 * 3 / 8),
        ("red red blue", "red blue blue", 2 / 3),
        ("Paris", ["Lyon", "Paris, France"], 2 / 3),
        ("London", "Paris", 0.0),
        ("the", "a", 1.0),
        ("", "Paris", 0.0),
        ("42", 42, 1.0),
    ],
)
def test_token_f1_of_known_pairs(text: str, expected: Any, outcome: float) -> None:
    """Counted by hand from the definition."""
    assert outcome == pytest.approx(value(scorers.token_f1(), text, expected))


def test_token_f1_properties() -> None:
    """On random texts: within 0 and 1, the same both ways, 1 just for the same bag of words, in any order."""
    draw = random.Random(5)
    scorer = scorers.token_f1()
    for _ in range(300):
        left, right = (draw.choices(["red", "green", "blue", "x1", "Blue"], k=draw.randint(1, 6)) for _ in range(2))
        found = value(scorer, " ".join(left), " ".join(right))
        assert found is not None
        assert 0 <= found <= 1
        assert found == value(scorer, " ".join(right), " ".join(left))
        assert found == value(scorer, " ".join(draw.sample(left, len(left))), " ".join(right))
        same = Counter(word.lower() for word in left) == Counter(word.lower() for word in right)
        assert same == (found == 1)


@pytest.mark.parametrize(
    "scorer",
    [scorers.exact_match(), scorers.one_of_labels(SENTIMENT), scorers.contains(), scorers.token_f1()],
    ids=lambda scorer: scorer.name,
)
def test_without_expected_the_answer_is_unscored(scorer: Scorer) -> None:
    """A scorer that compares says what is missing, and never scores 0 for it."""
    assert Score(None, "the example has no 'expected' value") == scored(scorer, "positive")
    assert Score(None, "'expected' is an empty list") == scored(scorer, "positive", [])
    odd = scored(scorer, "positive", {"label": "positive"})
    assert odd.value is None
    assert "not a text, a number or a list of them" in odd.explanation


BUILT_IN = [
    scorers.exact_match(ignore_punctuation=True),
    scorers.one_of_labels(SENTIMENT, take="last"),
    scorers.contains(every=True),
    scorers.regex("^ok$", ignore_case=True).named("is_ok"),
    scorers.json_schema(SCHEMA),
    scorers.token_f1(),
    scorers.rouge_l(),
    scorers.numeric(relative=0.1, take="first"),
    scorers.regex_extract(r"(\w+)", take="first"),
    scorers.json_fields(extra=True),
    scorers.tool_calls(arguments="subset", partial=True),
    scorers.length(max_words=3),
    scorers.language("de"),
]


@pytest.mark.parametrize("scorer", BUILT_IN, ids=lambda scorer: scorer.name)
def test_a_spec_makes_its_scorer_again(scorer: Scorer) -> None:
    """A spec survives JSON, and `as_scorer` of it is a scorer with the same name, spec and judgements."""
    again = as_scorer(json.loads(json.dumps(scorer.spec)))
    assert (scorer.name, scorer.spec, scorer.binary) == (again.name, again.spec, again.binary)
    for text in ("ok", "positive", "Positive!", '{"items": []}'):
        assert scored(scorer, text, ["positive", "negative"]) == scored(again, text, ["positive", "negative"])


def test_as_scorer_accepts_what_a_scorer_can_be_written_as() -> None:
    """A Scorer stays itself; a text is a built-in scorer; a function keeps its name; a lambda gets one."""

    def politeness(text: str, example: Example) -> float:
        return float("please" in text)

    scorer = scorers.regex("x")
    assert scorer is as_scorer(scorer)
    assert as_scorer("exact_match").spec == scorers.exact_match().spec
    assert as_scorer(politeness).name == "politeness"
    assert value(as_scorer(politeness), "please") == 1.0
    assert as_scorer(lambda text, example: 1).name == "lambda"


def test_the_spec_of_a_function_changes_with_its_source() -> None:
    """Two functions of one name are told apart by their source."""

    def first() -> Scorer:
        def polite(text: str, example: Example) -> bool:
            return "please" in text

        return as_scorer(polite)

    def second() -> Scorer:
        def polite(text: str, example: Example) -> bool:
            return "thanks" in text

        return as_scorer(polite)

    assert first().spec == first().spec
    assert first().spec["source_sha256"] != second().spec["source_sha256"]
    json.dumps(first().spec)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("exact_mach", r"no scorer 'exact_mach'. Did you mean 'exact_match'\? There are: checks, contains, "),
        ({"pattern": "x"}, "no scorer None. There are: "),
        ({"name": ["regex"]}, r"no scorer \['regex'\]"),
        ("regex", "scorer regex needs 'pattern'"),
        ({"name": "regex", "patern": "x"}, r"regex has no argument 'patern'. Did you mean 'pattern'\? It takes"),
        ({"name": "token_f1", "strip": True}, "token_f1 has no argument 'strip'. It takes: none"),
        ({"name": "exact_match", "strip": "yes"}, "exact_match: strip = 'yes' must be true or false"),
        ({"name": "one_of_labels", "labels": SENTIMENT, "take": "best"}, "take = 'best' must be"),
        ({"name": "regex", "pattern": 5}, "pattern = 5 must be a text"),
        ({"name": "token_f1", "as": ""}, "name = '' must be a text"),
        (scorers.exact_match, r"scorers.exact_match makes a scorer when it is called: write exact_match\("),
        (lambda text: 1, r"'lambda' is called with \(text, example\), but too many positional arguments"),
        (5, "5 is not a scorer. Pass a function"),
        (None, "None is not a scorer"),
    ],
)  # fmt: skip
def test_as_scorer_says_what_is_wrong(written: Any, message: str) -> None:
    """Unknown names and wrong arguments are named, with what was probably meant."""
    with pytest.raises(InputError, match=message):
        as_scorer(written)


def test_a_scorer_needs_a_function() -> None:
    """A Scorer of something that cannot be called is an error at once."""
    with pytest.raises(InputError, match="cannot be called"):
        Scorer("broken", "exact_match")  # type: ignore[arg-type]


def test_a_number_whose_square_is_none_leaves_the_answer_unscored() -> None:
    """1e300 would make intervals infinite; 1e90 does not. The square of 1e-300 is 0, and so is the score."""
    example = Example("e", {"message": "m"})
    assert as_scorer(lambda text, example: 1e-300)("a", example).value == 0
    assert as_scorer(lambda text, example: Score(-1e-300))("a", example).value == 0
    assert as_scorer(lambda text, example: 1e300)("a", example).value is None
    assert as_scorer(lambda text, example: Score(-1e300))("a", example).value is None
    assert as_scorer(lambda text, example: 1e90)("a", example).value == 1e90
