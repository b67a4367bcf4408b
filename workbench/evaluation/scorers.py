"""Scorers: how good is this answer to this example?

A scorer is called with the answer's text and the Example and gives a Score. What cannot be judged (no expected value, a
scorer that failed) is unscored, `Score(None, reason)`, and never 0; what can be judged and is wrong is 0.

An `expected` that is a list means "any of these". Numbers and booleans in it are compared as JSON writes them.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import orjson

from workbench.errors import InputError
from workbench.evaluation.sources import near
from workbench.records import Example, Score

__all__ = [
    "Scorer",
    "as_scorer",
    "contains",
    "exact_match",
    "json_schema",
    "one_of_labels",
    "regex",
    "token_f1",
]

_RIGHT = Score(1.0)
_NOT_EXPECTED = Score(None, "the example has no 'expected' value")


@dataclass(frozen=True, eq=False)
class Scorer:
    """A named judgement of one answer.

    function: called with (text, example), sync or async; it gives True/False, a number, None (unscored), a Score, or
    (value, explanation). higher_is_better: whether more is better. binary: every score is 0 or 1; None lets the data
    decide. spec: what the scores were made by, as JSON can hold it; `as_scorer(spec)` makes a built-in scorer again.
    needs_expected: examples without an expected answer stay unscored.
    """

    name: str
    function: Callable[[str, Example], Any]
    higher_is_better: bool = True
    binary: bool | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)
    needs_expected: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise InputError(f"name = {self.name!r} must be a text that is not empty: it heads the scorer's column.")
        if not callable(self.function):
            raise InputError(
                f"scorer {self.name!r}: function = {self.function!r} cannot be called with (text, example)."
            )
        if not self.spec:
            object.__setattr__(self, "spec", {"name": self.name, **_code(self.function)})

    @property
    def is_async(self) -> bool:
        """Whether a call gives an awaitable."""
        call = getattr(self.function, "__call__", None)  # noqa: B004
        return inspect.iscoroutinefunction(self.function) or inspect.iscoroutinefunction(call)

    def __call__(self, text: str, example: Example) -> Score | Awaitable[Score]:
        """The Score, or an awaitable of it where the function gave one. Never raises an Exception: what the function
        raises makes the answer unscored, with the reason.
        """
        try:
            result = self.function(text, example)
        except Exception as error:  # noqa: BLE001 a user's function may raise anything
            return _raised(error)
        if type(result) is not Score and inspect.isawaitable(result):
            return self._awaited(result)
        return self._checked(result)

    def named(self, name: str) -> Scorer:
        """The same under another name, so that two of a kind can stand in one table."""
        return replace(self, name=name, spec={**self.spec, "as": name})

    async def _awaited(self, result: Awaitable[Any]) -> Score:
        try:
            return self._checked(await result)
        except Exception as error:  # noqa: BLE001 as above
            return _raised(error)

    def _checked(self, result: object) -> Score:
        score = _as_score(result)
        if self.binary and score.value not in (None, 0.0, 1.0):
            return Score(None, f"scorer {self.name!r} is binary but gave {score.value:g}")
        return score


def _raised(error: Exception) -> Score:
    return Score(None, f"scorer raised {type(error).__name__}: {str(error)[:300]}".rstrip(": "))


def _as_score(result: Any) -> Score:
    explanation = ""
    value: Any = result
    if isinstance(result, Score):
        if type(result.value) is float and math.isfinite(result.value) and type(result.explanation) is str:
            return result
        value, explanation = result.value, str(result.explanation)
    elif isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], str):
        value, explanation = result
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()  # a NumPy scalar
    if value is None:
        return Score(None, explanation or "scorer gave None")
    if not isinstance(value, (bool, int, float)):
        wanted = "True/False, a number, None, a Score or (value, explanation)"
        return Score(None, f"scorer gave a {type(value).__name__}, {_short(value)}, instead of {wanted}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        return Score(None, f"scorer gave {number}" + (f" ({explanation})" if explanation else ""))
    return Score(number, explanation)


def exact_match(*, strip: bool = True, ignore_case: bool = True, ignore_punctuation: bool = False) -> Scorer:
    """1 if the answer is `expected`, else 0.

    strip: white space around is no difference. ignore_case: nor is capitalisation. ignore_punctuation: nor are
    punctuation and the amount of white space. Canonically equivalent Unicode (NFC) is always the same.
    """
    options = _flags("exact_match", strip=strip, ignore_case=ignore_case, ignore_punctuation=ignore_punctuation)

    def clean(text: str) -> str:
        text = unicodedata.normalize("NFC", text)
        if ignore_case:
            text = text.casefold()
        if ignore_punctuation:
            text = " ".join("".join(c for c in text if not unicodedata.category(c).startswith("P")).split())
        return text.strip() if strip else text

    def score(text: str, example: Example) -> Score:
        wanted = _texts(example)
        if isinstance(wanted, Score):
            return wanted
        answer = clean(text)
        return _RIGHT if any(answer == clean(item) for item in wanted) else _wrong(text, wanted)

    return _built_in("exact_match", score, options)


def one_of_labels(
    labels: Sequence[str], *, ignore_case: bool = True, take: Literal["first", "last", "only"] = "first"
) -> Scorer:
    """1 if the label that the answer names is `expected`, else 0.

    A label counts where it stands as words of its own: "positive" is found in "**Positive.**", not in "non-positive"
    or "positively". take: which label is the answer's where it names several different ones: the first, the last (for
    models that reason before they answer) or, with "only", none: the answer is then wrong.

    An answer that names no label is wrong, 0, because a model that does not answer the question has failed at it; the
    explanation says so, so that it can be counted. An `expected` that is not one of the labels leaves the example
    unscored: that is a mistake in the data set, not in the answer.
    """
    if isinstance(labels, str) or not isinstance(labels, Sequence):
        raise InputError(
            f"one_of_labels: labels = {labels!r} must be a list of texts, such as ['positive', 'negative']."
        )
    if len(labels) < 2 or not all(isinstance(label, str) and label.strip() for label in labels):
        raise InputError(f"one_of_labels: labels = {list(labels)!r} must be at least two texts, none of them empty.")
    if take not in ("first", "last", "only"):
        raise InputError(f"one_of_labels: take = {take!r} must be 'first', 'last' or 'only'.")
    options = _flags("one_of_labels", ignore_case=ignore_case)

    def key(text: str) -> str:
        text = " ".join(unicodedata.normalize("NFC", text).split())
        return text.casefold() if ignore_case else text

    known = {key(label): label.strip() for label in labels}
    if len(known) < len(labels):
        raise InputError(f"one_of_labels: labels = {list(labels)!r} holds the same label twice.")
    # The longest first, so that "very positive" is not read as "positive". An underscore or a hyphen joins words.
    choices = "|".join(re.escape(item).replace(r"\ ", r"\s+") for item in sorted(known, key=len, reverse=True))
    pattern = re.compile(rf"(?<![^\W_])(?<![^\W_][-_])(?:{choices})(?![^\W_])(?![-_][^\W_])")

    def score(text: str, example: Example) -> Score:
        wanted = _texts(example)
        if isinstance(wanted, Score):
            return wanted
        right = {key(item) for item in wanted}
        if stray := [item for item in wanted if key(item) not in known]:
            return Score(None, f"expected {_short(stray[0])} is not one of the labels {', '.join(known.values())}")
        normal = unicodedata.normalize("NFC", text)
        found = [key(match.group()) for match in pattern.finditer(normal.casefold() if ignore_case else normal)]
        if not found:
            return Score(0.0, f"the answer names no label: {_short(text)}")
        chosen = found[-1] if take == "last" else found[0]
        others = [known[item] for item in dict.fromkeys(found) if item != chosen]
        note = f"; the answer also names {', '.join(others)}" if others else ""
        if take == "only" and others:
            return Score(0.0, f"the answer names several labels: {known[chosen]}, {', '.join(others)}")
        if chosen in right:
            return Score(1.0, f"{known[chosen]}{note}" if note else "")
        return Score(0.0, f"{known[chosen]} instead of {_either(wanted)}{note}")

    return _built_in("one_of_labels", score, {"labels": list(labels), **options, "take": take})


def contains(*, ignore_case: bool = True, every: bool = False) -> Scorer:
    """1 if `expected` occurs in the answer, else 0. every: of a list, all must occur, instead of any."""
    options = _flags("contains", ignore_case=ignore_case, every=every)

    def clean(text: str) -> str:
        text = unicodedata.normalize("NFC", text)
        return text.casefold() if ignore_case else text

    def score(text: str, example: Example) -> Score:
        wanted = _texts(example)
        if isinstance(wanted, Score):
            return wanted
        if not all(wanted):
            return Score(None, "'expected' is an empty text, which every answer contains")
        answer = clean(text)
        missing = [item for item in wanted if clean(item) not in answer]
        if not missing or (len(missing) < len(wanted) and not every):
            return _RIGHT
        return Score(0.0, f"{' and '.join(map(_short, missing))} not in {_short(text)}")

    return _built_in("contains", score, options)


def regex(pattern: str, *, ignore_case: bool = False, whole: bool = False) -> Scorer:
    """1 if the regular expression `pattern` (Python's `re`) is found in the answer, else 0; `expected` is not read.

    whole: it must match the whole answer, white space around it left out. Avoid nested repeats such as `(a+)+`: on long
    answers `re` may take for ever, and nothing can interrupt it.
    """
    options = _flags("regex", ignore_case=ignore_case, whole=whole)
    if not isinstance(pattern, str):
        raise InputError(f"regex: pattern = {pattern!r} must be a text.")
    try:
        compiled = re.compile(pattern, re.IGNORECASE if ignore_case else 0)
    except re.error as error:
        raise InputError(f"regex: pattern = {pattern!r} is not a regular expression: {error}.") from None

    def score(text: str, example: Example) -> Score:
        if compiled.fullmatch(text.strip()) if whole else compiled.search(text):
            return _RIGHT
        return Score(0.0, f"no match in {_short(text)}")

    return _built_in("regex", score, {"pattern": pattern, **options})


def json_schema(schema: Mapping[str, Any]) -> Scorer:
    """1 if the answer is JSON that fits `schema` (draft 2020-12 unless `$schema` says otherwise), else 0.

    One Markdown code fence around the JSON is taken off first, since models add it unasked. `expected` is not read, and
    references to other documents are not fetched.
    """
    from jsonschema import Draft202012Validator, SchemaError
    from jsonschema.exceptions import best_match
    from jsonschema.validators import validator_for
    from referencing import Registry

    if not isinstance(schema, Mapping):
        raise InputError(f"json_schema: schema = {_short(schema)} must be an object, such as {{'type': 'object'}}.")
    spec = dict(schema)
    kind = validator_for(spec, default=Draft202012Validator)
    try:
        kind.check_schema(spec)
    except SchemaError as error:
        raise InputError(f"json_schema: the schema is wrong at {error.json_path}: {error.message}.") from None
    validator = kind(spec, registry=Registry())

    def score(text: str, example: Example) -> Score:
        fenced = _FENCE.fullmatch(text.strip())
        try:
            answer = orjson.loads(fenced.group(1) if fenced else text)
        except orjson.JSONDecodeError as error:
            return Score(0.0, f"not JSON: {error}: {_short(text)}")
        problem = best_match(validator.iter_errors(answer))
        return _RIGHT if problem is None else Score(0.0, f"at {problem.json_path}: {problem.message}")

    return _built_in("json_schema", score, {"schema": spec})


_FENCE = re.compile(r"```[a-zA-Z0-9]*[ \t]*\n(.*?)\n?```", re.DOTALL)


def token_f1() -> Scorer:
    """F1 of the words that answer and `expected` share, from 0 to 1; of several expected texts the best counts.

    As in SQuAD: lower case, ASCII punctuation and the articles a, an, the removed, words split at white space and
    counted as often as they occur; with no words left on either side it is 1 if both have none, else 0. Rajpurkar et
    al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", EMNLP 2016, section 6.1, and the evaluation
    script of SQuAD 2.0 for texts without words.
    """

    def score(text: str, example: Example) -> Score:
        wanted = _texts(example)
        if isinstance(wanted, Score):
            return wanted
        answer = _squad_words(text)
        best = max((_overlap(answer, _squad_words(item)), item) for item in wanted)
        return Score(best[0], "" if best[0] == 1 else f"against {_short(best[1])}")

    return _built_in("token_f1", score, {}, binary=False)


def _squad_words(text: str) -> list[str]:
    text = text.lower().translate(_NO_PUNCTUATION)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def _overlap(answer: list[str], wanted: list[str]) -> float:
    if not answer or not wanted:
        return float(answer == wanted)
    # 2PR / (P + R) with P = shared / answer and R = shared / wanted.
    return 2 * (Counter(answer) & Counter(wanted)).total() / (len(answer) + len(wanted))


def as_scorer(obj: object) -> Scorer:
    """The Scorer that `obj` means: a Scorer; a function of (text, example), sync or async; a built-in scorer's name,
    such as "exact_match"; or a mapping of its name and arguments, such as {"name": "regex", "pattern": "^OK"}, where
    "as" may give it another name. Raises InputError that says what is wrong.
    """
    if isinstance(obj, Scorer):
        return obj
    if isinstance(obj, str):
        return _from_mapping({"name": obj})
    if isinstance(obj, Mapping):
        return _from_mapping(obj)
    if callable(obj):
        return _from_function(obj)
    raise InputError(
        f"{_short(obj)} is not a scorer. Pass a function of (text, example), one of {', '.join(_BUILT_IN)}, or "
        "a mapping such as {'name': 'regex', 'pattern': '^OK'}."
    )


def _from_mapping(values: Mapping[str, Any]) -> Scorer:
    arguments = dict(values)
    name, other = arguments.pop("name", None), arguments.pop("as", None)
    if not isinstance(name, str) or name not in _BUILT_IN:
        raise InputError(f"there is no scorer {name!r}.{near(str(name), _BUILT_IN)} There are: {', '.join(_BUILT_IN)}.")
    make = _BUILT_IN[name]
    parameters = inspect.signature(make).parameters
    for key in arguments:
        if key not in parameters:
            takes = ", ".join(parameters) or "none"
            raise InputError(f"scorer {name} has no argument {key!r}.{near(key, parameters)} It takes: {takes}.")
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in arguments:
            raise InputError(
                f"scorer {name} needs {key!r}: in Python write {name}({key}=…), in a TOML file "
                f'primary = {{ name = "{name}", {key} = … }}. A flag takes only scorers without arguments.'
            )
    scorer = make(**arguments)
    return scorer if other is None else scorer.named(other)


def _from_function(function: Callable[..., Any]) -> Scorer:
    name = _function_name(function)
    if function in _BUILT_IN.values():
        raise InputError(f"scorers.{name} makes a scorer when it is called: write {name}(…) with its arguments.")
    try:
        inspect.signature(function).bind("text", "example")
    except TypeError as error:
        raise InputError(
            f"scorer {name!r} is called with (text, example), but {error}: def {name}(text, example)."
        ) from None
    except ValueError:
        pass  # some functions written in C have no signature; a call will tell
    return Scorer(name, function)


def _function_name(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", None) or type(function).__name__
    return "lambda" if name == "<lambda>" else str(name)


def _code(function: Any) -> dict[str, str]:
    """Where a user's function is defined, and the first 12 hex digits of its source's SHA-256 where it can be read."""
    while isinstance(function, functools.partial):
        function = function.func
    home = function if hasattr(function, "__qualname__") else type(function)
    facts = {"function": f"{home.__module__}.{home.__qualname__}"}
    try:
        facts["source_sha256"] = hashlib.sha256(inspect.getsource(home).encode()).hexdigest()[:12]
    except (OSError, TypeError):
        return facts
    return facts


def _built_in(
    name: str, function: Callable[[str, Example], Score], options: Mapping[str, Any], *, binary: bool = True
) -> Scorer:
    needs = name in ("contains", "exact_match", "one_of_labels", "token_f1")
    return Scorer(name, function, binary=binary, spec={"name": name, **options}, needs_expected=needs)


def _flags(scorer: str, **values: bool) -> dict[str, bool]:
    for name, value in values.items():
        if not isinstance(value, bool):
            raise InputError(f"{scorer}: {name} = {value!r} must be true or false.")
    return values


def _texts(example: Example) -> list[str] | Score:
    """What the example accepts, or why it cannot be scored."""
    expected = example.expected
    if isinstance(expected, str):
        return [expected]
    if expected is None:
        return _NOT_EXPECTED
    items = expected if isinstance(expected, list) else [expected]
    if not items:
        return Score(None, "'expected' is an empty list")
    if not all(isinstance(item, (str, bool, int, float)) for item in items):
        return Score(None, f"'expected' is {_short(expected)}, not a text, a number or a list of them")
    return [item if isinstance(item, str) else orjson.dumps(item).decode() for item in items]


def _wrong(text: str, wanted: list[str]) -> Score:
    return Score(0.0, f"{_short(text)} instead of {_either(wanted)}")


def _either(wanted: list[str]) -> str:
    return " or ".join(map(_short, wanted))


def _short(value: object) -> str:
    text = repr(value if not isinstance(value, str) else value[:200])
    return text if len(text) <= 80 else text[:79] + "…"


_BUILT_IN: Mapping[str, Callable[..., Scorer]] = cast(
    "Mapping[str, Callable[..., Scorer]]",
    {make.__name__: make for make in (contains, exact_match, json_schema, one_of_labels, regex, token_f1)},
)
