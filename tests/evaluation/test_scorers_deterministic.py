"""The scorers that read numbers, JSON, tool calls, lengths and languages, with what models really write and with hostile
texts."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from workbench import Workbench
from workbench.errors import InputError
from workbench.evaluation import scorers
from workbench.evaluation.scorers import Answer, Scorer, as_scorer
from workbench.evaluation.scorers.numbers import numbers_in
from workbench.evaluation.scorers.registry import meaning
from workbench.records import Example, Score
from workbench.running.progress import silent

if TYPE_CHECKING:
    from conftest import OpenAIDouble


def scored(scorer: Scorer, text: str, expected: Any = None) -> Score:
    result = scorer(text, Example(id="1", inputs={}, expected=expected))
    assert isinstance(result, Score)
    return result


def value(scorer: Scorer, text: str, expected: Any = None) -> float | None:
    return scored(scorer, text, expected).value


# -- ROUGE-L ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected", "outcome"),
    [
        # Lin 2004, section 3.1: S1 "police killed the gunman", S2 "police kill the gunman", S3 "the gunman kill police"
        ("police kill the gunman", "police killed the gunman", 3 / 4),
        ("the gunman kill police", "police killed the gunman", 2 / 4),
        ("The cat-sat!", "the cat sat", 1.0),
        ("a b c d", "a c", 2 * 2 / 6),
        ("x", ["y z", "x y"], 2 / 3),
        ("", "word", 0.0),
        ("...", "!", 1.0),
        ("Straße", "straße", 1.0),
    ],
)
def test_rouge_l_of_known_pairs(text: str, expected: Any, outcome: float) -> None:
    """As in the paper that defines it, and counted by hand."""
    assert outcome == pytest.approx(value(scorers.rouge_l(), text, expected))


def test_rouge_l_is_the_usual_table() -> None:
    """The integers give the same length as the table of the textbook, on random texts."""

    def table(one: list[str], other: list[str]) -> int:
        row = [0] * (len(other) + 1)
        for word in one:
            above, row = row, [0]
            for place, item in enumerate(other):
                row.append(above[place] + 1 if item == word else max(row[place], above[place + 1]))
        return row[-1]

    draw = random.Random(2)
    for _ in range(200):
        one, other = (draw.choices("abcde", k=draw.randint(1, 90)) for _ in range(2))
        wanted = 2 * table(one, other) / (len(one) + len(other))
        assert wanted == pytest.approx(value(scorers.rouge_l(), " ".join(one), " ".join(other)))


def test_rouge_l_of_long_texts() -> None:
    """Twenty thousand words against as many are read through once, not in a table of 400 million cells."""
    words = [f"w{number % 977}" for number in range(20_000)]
    assert value(scorers.rouge_l(), " ".join(words), " ".join(words)) == 1.0


# -- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The total is $1,234.50.", [1234.5]),
        ("from 3-2 to -7 and −8", [3, 2, -7, -8]),
        ("1e3, 2.5E-2, .5", [1000, 0.025, 0.5]),
        ("about 12km, 5th, 50%", [12, 5, 50]),
        ("1\u202f000\u202f000 people", [1_000_000]),
        ("v2 of GPT4 and 1.2.3", [1.2]),
        ("no digits, no number: twelve", []),
        ("9" * 500, []),
        ("1e9999", []),
        ("NaN inf -", []),
    ],
)
def test_numbers_are_read_as_people_write_them(text: str, found: list[float]) -> None:
    """Separators, signs and exponents; words that hold digits are none, and nothing infinite comes out."""
    assert found == numbers_in(text)


@pytest.mark.parametrize(
    ("options", "text", "expected", "outcome"),
    [
        ({}, "First 3, then the answer is 42.", 42, 1.0),
        ({}, "0.30000000000000004", 0.3, 1.0),
        ({"take": "first"}, "42 (not 43)", "42", 1.0),
        ({"take": "only"}, "42 or 43", 42, 0.0),
        ({"take": "only"}, "42, so 42", 42, 1.0),
        ({"tolerance": 0.5}, "41.5", 42, 1.0),
        ({"tolerance": 0.5}, "41.4", 42, 0.0),
        ({"relative": 0.01}, "99", 100, 1.0),
        ({"relative": 0.01}, "98.9", 100, 0.0),
        ({}, "-5", 5, 0.0),
        ({}, "7", [6, 7], 1.0),
        ({}, "I do not know", 5, 0.0),
        ({}, "5", "five", None),
        ({}, "5", None, None),
        ({}, "5", float("inf"), None),
    ],
)
def test_numeric(options: dict[str, Any], text: str, expected: Any, outcome: float | None) -> None:
    """The answer's number within the tolerance; an expected value that is no number is the data set's mistake."""
    assert outcome == value(scorers.numeric(**options), text, expected)


@pytest.mark.parametrize("text", ["1," * 50_000, "9" * 100_000, "-" * 100_000, "1e" * 50_000, "." * 100_000])
def test_hostile_texts_are_read_through_once(text: str) -> None:
    """Nothing in a long answer makes the pattern try again and again."""
    assert scored(scorers.numeric(), text, 5).value == 0.0


def test_regex_extract_compares_what_it_finds() -> None:
    """The named group, else the first, else all; as text or as number; nothing found is wrong and says so."""
    scorer = scorers.regex_extract(r"answer:\s*(\w+)")
    assert value(scorer, "I think so. Answer: Paris", "paris") == 1.0
    assert Score(0.0, "extracted 'Rome' instead of 'Paris'") == scored(scorer, "Answer: Rome", "Paris")
    assert Score(0.0, "the pattern finds nothing in 'Paris'") == scored(scorer, "Paris", "Paris")
    assert value(scorer, "answer: A, no, answer: B", "B") == 1.0
    assert value(scorers.regex_extract(r"(x)?(?P<answer>\d+)", take="first"), "7 8", "7") == 1.0
    assert value(scorers.regex_extract(r"[AB]", take="only"), "A or B", "A") == 0.0
    number = scorers.regex_extract(r"= ([\d.,]+)", compare="number", tolerance=0.01)
    assert value(number, "x = 1,000.001", 1000) == 1.0
    assert value(number, "x = ..", 1000) == 0.0
    assert value(number, "x = 1", "one") is None
    assert value(scorer, "Answer: Paris", None) is None


# -- JSON and tool calls ----------------------------------------------------------------------------------------------

ORDER = {"id": 7, "customer": {"name": "Ada", "vip": True}, "items": [1.0, 2.5], "note": None}


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (ORDER, 1.0),
        ({**ORDER, "id": 8}, 5 / 6),
        ({**ORDER, "id": "7"}, 5 / 6),
        ({**ORDER, "customer": {"name": "ada", "vip": True}}, 5 / 6),
        ({**ORDER, "customer": {"name": "Ada", "vip": 1}}, 5 / 6),
        ({**ORDER, "items": [1]}, 5 / 6),
        ({**ORDER, "more": 1}, 1.0),
        ({}, 0.0),
        ([], 0.0),
        (None, 0.0),
    ],
)
def test_json_fields_counts_the_leaves_that_are_right(answer: Any, outcome: float) -> None:
    """Each leaf once; true is not 1, a text is no number, 1 is 1.0."""
    assert outcome == pytest.approx(value(scorers.json_fields(), json.dumps(answer), ORDER))


def test_json_fields_options_and_what_it_says() -> None:
    """Case, tolerance and unexpected fields are chosen; the explanation names the field."""
    assert value(scorers.json_fields(ignore_case=True), '{"a": "X"}', {"a": "x"}) == 1.0
    assert value(scorers.json_fields(relative=0.1), '{"a": 105}', {"a": 100}) == 1.0
    assert value(scorers.json_fields(extra=True), '```json\n{"a": 1, "b": 2}\n```', {"a": 1}) == 0.5
    assert value(scorers.json_fields(), '{"a": 1}', ' {"a": 1, "b": 2}') == 0.5  # as a CSV file has it
    assert value(scorers.json_fields(), '{"a": 1}', '{"a": ') is None
    assert scored(scorers.json_fields(), '{"b": 1}', {"a": 2}) == Score(0.0, "a is missing instead of 2")
    assert scored(scorers.json_fields(), "{'a': 2}", {"a": 2}).explanation.startswith("not JSON: ")
    for expected in (None, "text", {}, [1]):
        assert value(scorers.json_fields(), "{}", expected) is None


def test_json_that_is_deep_or_twice_named_is_scored() -> None:
    """A thousand levels are walked without Python's stack; deeper is no JSON to the parser, and wrong."""
    deep: Any = 1
    for _ in range(800):
        deep = {"a": deep}
    assert value(scorers.json_fields(), json.dumps(deep), deep) == 1.0
    assert value(scorers.json_fields(), "[" * 100_000, {"a": 1}) == 0.0
    assert value(scorers.json_fields(), '{"a": 1, "a": 2}', {"a": 2}) == 1.0


SEARCH = {"name": "search", "arguments": {"query": "shoes", "limit": 5}}
OTHER = {"name": "open", "arguments": {"id": 3}}


def made(*calls: Mapping[str, Any]) -> Answer:
    """An answer with these calls in OpenAI's form."""
    return Answer(
        "", [{"id": "c", "type": "function", "function": {**c, "arguments": json.dumps(c["arguments"])}} for c in calls]
    )


@pytest.mark.parametrize(
    ("options", "answer", "expected", "outcome"),
    [
        ({}, made(SEARCH), SEARCH, 1.0),
        ({}, made(SEARCH), [SEARCH], 1.0),
        ({}, made(SEARCH), json.dumps(SEARCH), 1.0),
        ({}, made(), "[]", 1.0),
        ({}, made(OTHER, SEARCH), [SEARCH, OTHER], 1.0),
        ({"ordered": True}, made(OTHER, SEARCH), [SEARCH, OTHER], 0.0),
        ({"ordered": True}, made(SEARCH, OTHER), [SEARCH, OTHER], 1.0),
        ({}, made(SEARCH, SEARCH), [SEARCH], 0.0),
        ({"partial": True}, made(SEARCH, SEARCH), [SEARCH], 0.5),
        ({}, made(OTHER), SEARCH, 0.0),
        ({}, made({**SEARCH, "arguments": {"query": "shoes", "limit": 5.0}}), SEARCH, 1.0),
        ({}, made({**SEARCH, "arguments": {"query": "shoes"}}), SEARCH, 0.0),
        ({"arguments": "subset"}, made(SEARCH), {"name": "search", "arguments": {"query": "shoes"}}, 1.0),
        ({"arguments": "subset"}, made(SEARCH), {"name": "search"}, 1.0),
        ({"arguments": "ignore"}, made({**SEARCH, "arguments": {}}), SEARCH, 1.0),
        ({}, made(), [], 1.0),
        ({}, made(SEARCH), [], 0.0),
        ({}, "I cannot search.", SEARCH, 0.0),
        ({}, json.dumps(SEARCH), SEARCH, 1.0),
        ({}, f"```json\n{json.dumps([SEARCH])}\n```", [SEARCH], 1.0),
        ({}, Answer("", [{"function": {"name": "search", "arguments": "{broken"}}]), SEARCH, 0.0),
        ({}, made(SEARCH), "search", None),
        ({}, made(SEARCH), {"name": ""}, None),
        ({}, made(SEARCH), None, None),
    ],
)
def test_tool_calls(options: dict[str, Any], answer: str, expected: Any, outcome: float | None) -> None:
    """All calls and no others; those with the answer, or written in its text."""
    assert outcome == value(scorers.tool_calls(**options), answer, expected)


def test_tool_calls_say_what_is_wrong() -> None:
    """Which call was made in place of which."""
    said = scored(scorers.tool_calls(), made(OTHER), SEARCH).explanation
    assert said == "made open({'id': 3}); missing search({'query': 'shoes', 'limit': 5})"


# -- limits -----------------------------------------------------------------------------------------------------------


def test_length() -> None:
    """Words and characters, at least and at most; the explanation counts."""
    assert value(scorers.length(max_words=3), "It's three words") == 1.0
    assert Score(0.0, "4 words, at most 3 wanted") == scored(scorers.length(max_words=3), "one two three four")
    assert Score(0.0, "0 words, at least 1 wanted") == scored(scorers.length(min_words=1), " … ")
    assert value(scorers.length(min_characters=2, max_characters=3), " abc\n") == 1.0
    assert value(scorers.length(max_characters=3), "abcd") == 0.0


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("en", "The parcel was sent on Monday and it will be with you by the end of the week."),
        ("de", "Das Paket wurde am Montag verschickt und ist bis zum Ende der Woche bei Ihnen."),
        ("fr", "Le colis a été envoyé lundi et il sera chez vous avant la fin de la semaine."),
        ("es", "El paquete se envió el lunes y estará con usted antes de que termine la semana."),
        ("it", "Il pacco è stato spedito lunedì e sarà da voi entro la fine della settimana."),
        ("nl", "Het pakket is maandag verstuurd en zal voor het einde van de week bij je zijn."),
        ("pt", "O pacote foi enviado na segunda-feira e estará com você até o fim da semana, não se preocupe."),
        ("sv", "Paketet skickades på måndagen och det är hos dig innan veckan är slut, om inte något händer."),
        ("ru", "Посылка была отправлена в понедельник и будет у вас к концу недели."),
        ("ja", "荷物は月曜日に発送され、週末までにお届けします。"),
        ("zh", "包裹已于星期一寄出，将在周末之前送达。"),
        ("ko", "소포는 월요일에 발송되었으며 주말까지 도착합니다."),
        ("el", "Το δέμα στάλθηκε τη Δευτέρα."),
    ],
)
def test_language(code: str, text: str) -> None:
    """Told by script and by the commonest words; another language is wrong and named."""
    assert value(scorers.language(code), text) == 1.0
    other = "fr" if code != "fr" else "de"
    wrong = scored(scorers.language(other), text)
    assert wrong.value == 0.0
    assert wrong.explanation.startswith(f"{code} instead of {other}: ")


@pytest.mark.parametrize("text", ["", "OK", "42", "🙂", "```python\nthe and of to is\n```", "xyzzy " * 50])
def test_a_language_that_cannot_be_told_is_unscored(text: str) -> None:
    """Too little text is not the wrong language."""
    assert value(scorers.language("en"), text) is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: scorers.numeric(tolerance=-1), "tolerance = -1 must be a number from 0"),
        (lambda: scorers.numeric(relative=True), "relative = True must be"),
        (lambda: scorers.numeric(take="any"), "take = 'any' must be"),  # type: ignore[arg-type]
        (lambda: scorers.regex_extract("("), "is not a regular expression"),
        (lambda: scorers.regex_extract("x", compare="json"), "compare = 'json' must be"),  # type: ignore[arg-type]
        (lambda: scorers.json_fields(relative=float("nan")), "relative = nan must be"),
        (lambda: scorers.tool_calls(arguments="some"), "arguments = 'some' must be"),  # type: ignore[arg-type]
        (lambda: scorers.length(), "at least one of min_words"),
        (lambda: scorers.length(min_words=5, max_words=3), "min_words = 5 is more than max_words = 3"),
        (lambda: scorers.length(max_words=-1), "max_words = -1 must be"),
        (lambda: scorers.language("tlh"), "code = 'tlh' must be one of ar, da"),
        (lambda: scorers.python("checks"), "must be MODULE:FUNCTION"),
        (lambda: scorers.embedding_similarity(model="minilm"), "does not name an endpoint"),
    ],
)
def test_wrong_arguments_are_named(make: Any, message: str) -> None:
    """When the scorer is made, before anything is asked."""
    with pytest.raises(InputError, match=message):
        make()


# -- a function of one's own ------------------------------------------------------------------------------------------


def test_a_function_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MODULE:FUNCTION of the current folder is a scorer, whose spec makes it again; what is wrong with it is said."""
    (tmp_path / "own_checks.py").write_text(
        "from workbench import scorers\n"
        "def polite(text, example):\n    return 'please' in text\n"
        "short = scorers.length(max_words=2).named('short')\n"
        "def needs_more(text):\n    return 1\n"
    )
    (tmp_path / "broken_checks.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    scorer = as_scorer("own_checks:polite")
    assert ("polite", 1.0) == (scorer.name, value(scorer, "please"))
    again = as_scorer(json.loads(json.dumps(scorer.spec)))
    assert (again.name, again.spec) == (scorer.name, scorer.spec)
    assert as_scorer("own_checks:short").name == "short"
    for written, message in (
        ("own_checks:polit", r"has no 'polit'. Did you mean 'polite'\?"),
        ("own_checks:needs_more", r"is called with \(text, example\)"),
        ("broken_checks:x", "ZeroDivisionError"),
        ("no_such_module_here:x", "cannot be imported: ModuleNotFoundError"),
    ):
        with pytest.raises(InputError, match=message):
            as_scorer(written)


# -- through an embedder, and in a comparison -------------------------------------------------------------------------


async def test_embedding_similarity_asks_the_embedder(
    project: Path, openai_double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cosine of the vectors that the endpoint gives; unbound, or without an expected text, it is unscored."""
    monkeypatch.setenv("OPENAI_BASE_URL", openai_double.url)
    scorer = scorers.embedding_similarity(model="openai/m")
    unbound = scorer("text", Example(id="1", inputs={}, expected="text"))
    assert isinstance(unbound, Score)
    assert unbound.value is None
    assert "scorer.bound(bench.client)" in unbound.explanation
    async with Workbench(project) as bench:
        bound = scorer.bound(bench.client)

        async def of(text: str, expected: Any) -> Score:
            found = bound(text, Example(id="1", inputs={}, expected=expected))
            assert not isinstance(found, Score)
            return await found

        assert (await of("four", "four")).value == pytest.approx(1.0)
        # the double's vector is (length, 1)
        wanted = (4 * 1 + 1) / ((17**0.5) * (2**0.5))
        assert (await of("four", ["1"])).value == pytest.approx(wanted)
        assert Score(0.0, "the answer is empty") == await of(" ", "four")
        assert (await of("four", None)).value is None
        assert (await of("four", " ")).value is None
        bench.calls.close()
        roles = bench.calls.sql("select distinct role, kind from calls")
        assert [("scorer", "embedding")] == [tuple(row) for row in roles.itertuples(index=False)]


def test_a_run_scores_tool_calls_now_and_when_it_is_replayed(
    project: Path, openai_double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tool calls are kept in the rows, so that another scorer can read them without a new call; names and tables of TOML do."""
    monkeypatch.setenv("OPENAI_BASE_URL", openai_double.url)
    call = {"id": "c", "type": "function", "function": {"name": "tag", "arguments": '{"label": "x"}'}}
    openai_double.says = lambda text: {"content": None, "tool_calls": [call]}
    lines = [
        json.dumps(
            {"id": str(n), "inputs": {"message": f"m{n}"}, "expected": {"name": "tag", "arguments": {"label": label}}}
        )
        for n, label in enumerate("xxxy")
    ]
    (project / "datasets" / "tags.jsonl").write_text("\n".join(lines))

    def run(primary: Any) -> Any:
        async def go() -> Any:
            async with Workbench(project) as bench:
                if not bench.prompts.list():
                    bench.prompts.create("tag", "Tag: {{message}}")
                plan = bench.plan(prompts=["tag@1"], models=["openai/m"], dataset="tags", primary=primary)
                return await bench.compare(plan, progress=silent)

        return asyncio.run(go())

    assert run("tool_calls").summary["tool_calls"][0] == 0.75
    asked = openai_double.calls
    again = run({"name": "tool_calls", "arguments": "ignore", "as": "right_tool"})
    assert (1.0, asked) == (again.summary["right_tool"][0], openai_double.calls)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (scorers.exact_match(), "1 if the answer is the expected one, else 0."),
        (scorers.exact_match(ignore_case=False), "1 if the answer is the expected one, else 0 (ignore_case = False)."),
        (as_scorer({"name": "contains", "as": "named"}), "1 if expected occurs in the answer, else 0."),
        (as_scorer(lambda text, example: 1), "a function of the user's"),
    ],
)
def test_meaning_for_readers_who_did_not_choose_it(wanted: Scorer, expected: str) -> None:
    """From the documentation of the scorer, with the arguments that are not the usual ones."""
    assert meaning(wanted).startswith(expected)
