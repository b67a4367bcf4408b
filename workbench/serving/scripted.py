"""A runtime that answers by rule: for tests, for trying a notebook without a model, and for rehearsing faults.

The same requests in the same order get the same answers, delays and faults, in every process: chance is drawn from the
seed, the content of the request and how often it was asked before.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
import tomllib
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import errors
from workbench.errors import CallError, CallTimeoutError, InputError, ModelNotFoundError, SettingsError, did_you_mean
from workbench.records import Chunk, Completion, Health, ModelInfo, Request, Timing, Usage, digest, split_model

if TYPE_CHECKING:
    from workbench.settings import Endpoint, Settings

__all__ = ["Rule", "Scripted", "open_scripted"]

_STATUS = {"AuthenticationError": 401, "BadRequestError": 400, "ContextLengthError": 400, "ModelNotFoundError": 404,
           "OverloadedError": 503, "RateLimitError": 429, "ServerError": 500}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    r"""What to answer to requests whose text the regular expression `match` finds (None: to all).

    model: only for this model, named without the endpoint.
    answer: text, with `\1` or `\g<name>` for the groups of `match`; or a function of the request.
    delay: seconds until the last word, or (low, high), drawn for each request. first_token: which part of it passes before
    the first word of a streamed answer.
    prompt_tokens, completion_tokens: None counts words.
    error: the name of a CallError, such as "RateLimitError", raised instead of answering; error_rate: how often, 0 to 1;
    retry_after: seconds, as a server would send them. times: only the first so many matches, then the next rule.
    """

    match: str | None = None
    answer: str | Callable[[Request], str] = ""
    model: str | None = None
    delay: float | tuple[float, float] = 0.0
    first_token: float = 0.5
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish_reason: str = "stop"
    error: str | None = None
    error_rate: float = 1.0
    retry_after: float | None = None
    times: int | None = None
    _pattern: re.Pattern[str] | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        if self.match is not None:
            try:
                object.__setattr__(self, "_pattern", re.compile(self.match))
            except re.error as error:
                raise InputError(f"rule: match = {self.match!r} is no regular expression: {error}.") from None
        if self.error is not None and not _is_call_error(self.error):
            known = ", ".join(name for name in errors.__all__ if _is_call_error(name))
            raise InputError(f"rule: error = {self.error!r} must be one of {known}.")
        low, high = self.delays
        if not 0 <= low <= high:
            raise InputError(f"rule: delay = {self.delay!r} must be seconds from 0, or (low, high).")
        for name in ("first_token", "error_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"rule: {name} = {getattr(self, name)!r} must lie between 0 and 1.")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str) -> Rule:
        """From a table of TOML. Raises InputError that names an unknown field."""
        known = [item.name for item in fields(cls) if item.init]
        for name in values:
            if name not in known:
                raise InputError(f"{where}: unknown field {name!r}. Known: {', '.join(known)}.")
        delay = values.get("delay", 0.0)
        try:
            return cls(**{**values, "delay": tuple(delay) if isinstance(delay, list) else delay})
        except (TypeError, ValueError) as error:
            raise InputError(f"{where}: {error}") from None

    @property
    def delays(self) -> tuple[float, float]:
        """The shortest and the longest delay, in seconds."""
        return (self.delay, self.delay) if isinstance(self.delay, (int, float)) else self.delay

    def says(self, request: Request) -> str | None:
        """The answer to this request, None if the rule is not for it."""
        if self.model is not None and self.model != split_model(request.model)[1]:
            return None
        found = self._pattern.search(request.text()) if self._pattern else None
        if self._pattern and found is None:
            return None
        if not isinstance(self.answer, str):
            return self.answer(request)
        return found.expand(self.answer) if found is not None and found.re.groups else self.answer

    def plain(self) -> dict[str, Any]:
        """The rule as JSON could hold it; a function is its name and code, so that another one is another model."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.init}
        answer = self.answer
        return values | {
            "answer": answer if isinstance(answer, str) else _code_of(answer),
            "delay": list(self.delays),
        }


def _code_of(function: Callable[[Request], str]) -> list[str]:
    """Name, byte code and constants of a function, as far as it has them."""
    code = getattr(function, "__code__", None)
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return (
        [name]
        if code is None
        else [name, code.co_code.hex(), repr([c for c in code.co_consts if not hasattr(c, "co_code")])]
    )


_ECHO = Rule(answer=lambda request: request.messages[-1].content if request.messages else request.prompt)


@dataclass(frozen=True, slots=True)
class _Scene:
    """What happens to one request."""

    rule: Rule
    text: str
    delay: float
    fails: bool


class Scripted:
    """Answers by the first rule that matches. The model `echo` answers the last message, `PATH.toml` by that file's rules.

    Timing is as scripted, not as measured. calls: how many requests came. sleep: for tests, which need not wait.
    """

    kind = "scripted"

    def __init__(
        self,
        rules: Sequence[Rule] = (),
        *,
        seed: int = 0,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.time,
        folder: Path | None = None,
        concurrency: int = 32,
    ) -> None:
        self.concurrency = concurrency
        self.calls = 0
        self._rules = tuple(rules)
        self._seed = seed
        self._sleep = sleep
        self._clock = clock
        self._folder = folder or Path()
        self._files: dict[str, tuple[tuple[Rule, ...], int]] = {}
        self._used: Counter[tuple[str, int]] = Counter()
        self._asked: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"Scripted({len(self._rules)} rules, calls={self.calls})"

    async def complete(self, request: Request) -> Completion:
        """The scripted answer, or the scripted CallError. InputError: no rule matches."""
        scene = self._scene(request)
        started_at = self._clock()
        await self._wait(request, scene, scene.delay)
        if scene.fails:
            raise _error(scene.rule, request)
        return _completion(request, scene, Timing(started_at, scene.delay))

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """The scripted answer word by word. A scripted IncompleteStreamError comes after half of the words."""
        scene = self._scene(request)
        started_at = self._clock()
        words = re.findall(r"\S+\s*|\s+", scene.text)
        first = scene.delay * scene.rule.first_token
        if scene.fails and scene.rule.error != "IncompleteStreamError":
            await self._wait(request, scene, scene.delay)
            raise _error(scene.rule, request)
        shown = words[: len(words) // 2] if scene.fails else words
        await self._wait(request, scene, first)
        for number, word in enumerate(shown):
            if number:
                await self._wait(request, scene, (scene.delay - first) / (len(words) - 1))
            yield Chunk(word)
        if scene.fails:
            raise _error(scene.rule, request)
        timing = Timing(started_at, scene.delay, first_token=first if words else None)
        yield Chunk(completion=_completion(request, scene, timing))

    async def describe(self, model: str) -> ModelInfo:
        """digest: of the rules and the seed."""
        rules, seed = self._rules_of(model)
        return ModelInfo(model, digest([seed, [rule.plain() for rule in rules]]), None, "scripted")

    async def health(self) -> Health:
        """Always well."""
        count = (
            f"{len(self._rules)} rule{'' if len(self._rules) == 1 else 's'}" if self._rules else "no rules of its own"
        )
        return Health(True, f"{count}; echo and PATH.toml work", "scripted", ("echo",))

    async def aclose(self) -> None:
        """Nothing to free."""

    def _scene(self, request: Request) -> _Scene:
        self.calls += 1
        model = split_model(request.model)[1]
        rules, seed = self._rules_of(model)
        for number, rule in enumerate(rules):
            if rule.times is not None and self._used[model, number] >= rule.times:
                continue
            text = rule.says(request)
            if text is None:
                continue
            self._used[model, number] += 1
            low, high = rule.delays
            if low == high and (rule.error is None or rule.error_rate in (0, 1)):
                return _Scene(rule, text, low, rule.error is not None and rule.error_rate == 1)
            content = digest([request.model, request.kind, request.text(), request.params.to_mapping()])
            self._asked[content] += 1
            chance = random.Random(f"{seed} {content} {self._asked[content]}")  # noqa: S311  (a script, not a secret)
            delay, draw = chance.uniform(low, high), chance.random()
            return _Scene(rule, text, delay, rule.error is not None and draw < rule.error_rate)
        raise InputError(
            f"no rule of {request.model} matches this request: {request.text()[:200]!r}. Add a last rule without `match`, "
            "which answers everything, such as Rule(answer='positive')."
        )

    def _rules_of(self, model: str) -> tuple[tuple[Rule, ...], int]:
        if model.endswith(".toml"):
            if model not in self._files:
                self._files[model] = _read(self._folder / Path(model).expanduser())
            return self._files[model]
        if model == "echo":
            return (*self._rules, _ECHO), self._seed
        if not self._rules:
            raise ModelNotFoundError(
                f"the scripted runtime has no rules for {model!r}. There are: echo (answers the last message), a PATH.toml "
                "with [[rules]], or rules in the options of an endpoint of kind scripted."
            )
        return self._rules, self._seed

    async def _wait(self, request: Request, scene: _Scene, seconds: float) -> None:
        if scene.delay > request.timeout:
            await self._sleep(request.timeout)
            raise CallTimeoutError(
                f"{request.model}: the scripted answer takes {scene.delay:g} s and the call may take {request.timeout:g} s."
            )
        if seconds > 0:
            await self._sleep(seconds)


def open_scripted(endpoint: Endpoint, settings: Settings) -> Scripted:
    """From the settings: options `rules` (a list of tables) and `seed`; files are looked up in the project."""
    where = f"[endpoints.{endpoint.name}] options"
    unknown = sorted(set(endpoint.options) - {"rules", "seed"})
    rules, seed = endpoint.options.get("rules", []), endpoint.options.get("seed", 0)
    if unknown or not isinstance(rules, list) or not isinstance(seed, int):
        what = f"unknown option {unknown[0]!r}" if unknown else "wrong type"
        raise SettingsError(f"{where}: {what}. Known: rules, a list of tables, and seed, a whole number.")
    return Scripted(
        _rules(rules, where), seed=seed, folder=settings.project, concurrency=endpoint.concurrency or 32
    )  # fmt: skip


def _rules(tables: Sequence[Any], where: str) -> tuple[Rule, ...]:
    for number, table in enumerate(tables, 1):
        if not isinstance(table, Mapping):
            raise InputError(
                f"{where}: rule {number} must be a table such as {{match = 'refund', answer = 'billing'}}."
            )
    return tuple(Rule.from_mapping(table, f"{where}: rule {number}") for number, table in enumerate(tables, 1))


def _read(path: Path) -> tuple[tuple[Rule, ...], int]:
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        there = [str(item.relative_to(path.parent)) for item in sorted(path.parent.glob("*.toml"))]
        meant = did_you_mean(path.name, there)
        raise InputError(
            f"there is no file {path} with scripted rules.{meant} Create it, with [[rules]] such as answer = 'positive'."
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: this is not readable as TOML: {error}.") from None
    if set(table) - {"rules", "seed"} or not isinstance(table.get("rules", []), list):
        raise InputError(f"{path}: write [[rules]] tables, and seed = 1 if you like; nothing else.")
    return _rules(table.get("rules", []), str(path)), int(table.get("seed", 0))


def _completion(request: Request, scene: _Scene, timing: Timing) -> Completion:
    rule = scene.rule
    prompt = len(request.text().split()) if rule.prompt_tokens is None else rule.prompt_tokens
    answer = len(scene.text.split()) if rule.completion_tokens is None else rule.completion_tokens
    return Completion(scene.text, rule.finish_reason, Usage(prompt, answer), timing, request.model)


def _is_call_error(name: str) -> bool:
    found = getattr(errors, name, None)
    return isinstance(found, type) and issubclass(found, CallError) and found is not CallError


def _error(rule: Rule, request: Request) -> CallError:
    assert rule.error is not None  # noqa: S101  (for the type checker)
    kind: type[CallError] = getattr(errors, rule.error)
    return kind(
        f"{request.model}: scripted {rule.error}.", status=_STATUS.get(rule.error), retry_after=rule.retry_after
    )
