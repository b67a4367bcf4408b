"""What a scorer is: a named judgement of one answer."""

from __future__ import annotations

import functools
import hashlib
import inspect
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from workbench.errors import InputError
from workbench.evaluation.scorers.wording import short
from workbench.records import Example, Score

if TYPE_CHECKING:
    from workbench.client import Client
    from workbench.evaluation.judging.load import JudgeLoad

__all__ = ["Answer", "Scorer", "built_in", "model_scorer"]

_LARGEST = 1e100  # the square of a larger one may be infinite
_SMALLEST = 1e-100  # the square of a smaller one may be 0: it counts as 0


class Answer(str):
    """The text of an answer, with the tool calls that came with it, as in `records.Completion`."""

    __slots__ = ("tool_calls",)

    tool_calls: tuple[Mapping[str, Any], ...]

    def __new__(cls, text: str, tool_calls: Sequence[Mapping[str, Any]] = ()) -> Self:
        """text, and each call in OpenAI's form."""
        made = super().__new__(cls, text)
        made.tool_calls = tuple(tool_calls)
        return made


@dataclass(frozen=True, eq=False)
class Scorer:
    """A named judgement of one answer.

    function: called with (text, example), sync or async; it gives True/False, a number, None (unscored), a Score, or
    (value, explanation). higher_is_better: whether more is better. binary: every score is 0 or 1; None lets the data
    decide. spec: what the scores were made by, as JSON can hold it; `as_scorer(spec)` makes a built-in scorer again.
    needs_expected: examples without an expected answer stay unscored. bind: for a scorer that asks a model, makes its function
    from the client through which it asks; a comparison does so by itself (see `bound`).
    people: of a judge, the scorer that says what people said of the same answers; a comparison has it too, and corrects by it.
    judge: of a judge, what it is asked about one answer.
    needs: the name of a scorer of the same comparison without whose success this one is not asked (see `only_if`).
    """

    name: str
    function: Callable[[str, Example], Any]
    higher_is_better: bool = True
    binary: bool | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)
    needs_expected: bool = False
    bind: Callable[[Client], Callable[[str, Example], Any]] | None = None
    people: Scorer | None = None
    judge: JudgeLoad | None = None
    needs: str | None = None

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

    def only_if(self, other: str) -> Scorer:
        """The same, asked only about answers to which the scorer named `other` gave more than 0. The rest scores 0, at no cost;
        where `other` gave no score, neither does this one."""
        if not isinstance(other, str) or not other.strip():
            raise InputError(f"scorer {self.name!r}: only_if = {other!r} must be the name of another scorer.")
        return replace(self, needs=other, spec={**self.spec, "only_if": other})

    @property
    def asks(self) -> bool:
        """Whether it asks something outside of this process, such as a model: it is slow, and may cost money."""
        return self.bind is not None or self.is_async

    def bound(self, client: Client) -> Scorer:
        """The same, able to ask models through `client` (a workbench's `bench.client`); itself if it asks none."""
        return self if self.bind is None else replace(self, function=self.bind(client), bind=None)

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
        if (
            type(result.value) is float
            and _SMALLEST <= abs(result.value) <= _LARGEST
            and type(result.explanation) is str
        ):
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
        return Score(None, f"scorer gave a {type(value).__name__}, {short(value)}, instead of {wanted}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not abs(number) <= _LARGEST:
        return Score(None, f"scorer gave {number}" + (f" ({explanation})" if explanation else ""))
    return Score(0.0 if abs(number) < _SMALLEST else number, explanation)


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


def built_in(
    name: str,
    function: Callable[[str, Example], Any],
    options: Mapping[str, Any],
    *,
    binary: bool = True,
    needs_expected: bool = False,
) -> Scorer:
    """A scorer of this package. options: its arguments, of which `as_scorer` makes it again."""
    spec = {"name": name, **options}
    return Scorer(name, function, binary=binary, spec=spec, needs_expected=needs_expected)


def model_scorer(
    name: str,
    bind: Callable[[Client], Callable[[str, Example], Any]],
    options: Mapping[str, Any],
    *,
    binary: bool | None = False,
    needs_expected: bool = False,
) -> Scorer:
    """A scorer of this package that asks a model, once it is bound to a client."""

    def unbound(text: str, example: Example) -> Score:
        return Score(None, f"{name} asks a model: outside of a comparison call scorer.bound(bench.client) first")

    spec = {"name": name, **options}
    return Scorer(name, unbound, binary=binary, spec=spec, needs_expected=needs_expected, bind=bind)
