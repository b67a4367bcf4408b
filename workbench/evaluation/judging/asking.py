"""Ask a judge model for JSON: read it leniently, repair what is usual, ask again a bounded number of times, and count."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from workbench.errors import BadRequestError, CallError
from workbench.records import Message, Params, Prompt, Request, Score

if TYPE_CHECKING:
    from workbench.client import Client

__all__ = ["RETRIES", "AskJudge", "JudgeUse", "json_in", "total"]

T = TypeVar("T")
_COUNTED = ("judgements", "calls", "repaired", "unparsed", "failed", "pairs", "flips", "repeated", "agreed", "cached")
RETRIES = 2  # how often an answer that cannot be read is asked for again


@dataclass(slots=True)
class JudgeUse:
    """What a judge did in one run, or for one judgement. model, prompt: which judge. judgements: of one answer each; reused: of
    them, those kept from before, which asked nothing. calls: answers of the model. cached: of them, without asking it. cost:
    dollars that they cost when they were made, and spent: dollars now; None if a price is unknown; never part of a variant's.
    dearest: the dearest judgement now. repaired: answers that were JSON only after repair or another try. unparsed: judgements
    that could not be read. failed: calls that failed. pairs, flips: pairs judged in both orders, and how many changed with the
    order. repeated, agreed: judgements made several times, and how many were the same each time."""

    model: str
    prompt: str
    prompt_digest: str
    judgements: int = 0
    reused: int = 0
    calls: int = 0
    cached: int = 0
    cost: float | None = 0.0
    spent: float | None = 0.0
    dearest: float = 0.0
    repaired: int = 0
    unparsed: int = 0
    failed: int = 0
    pairs: int = 0
    flips: int = 0
    repeated: int = 0
    agreed: int = 0

    def one(self) -> JudgeUse:
        """Of the same judge, for one judgement."""
        return JudgeUse(self.model, self.prompt, self.prompt_digest, judgements=1)

    def add(self, other: JudgeUse, *, reused: bool = False) -> None:
        """Count another's in. reused: a judgement from before, for which nothing is spent."""
        for name in _COUNTED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.cost = total(self.cost, other.cost)
        if reused:
            self.reused += other.judgements
            return
        self.spent = total(self.spent, other.spent)
        self.dearest = max(self.dearest, other.spent or 0.0)

    def kept(self) -> dict[str, Any]:
        """What is kept of one judgement, as JSON can hold it."""
        counted = {name: getattr(self, name) for name in (*_COUNTED, "cost")}
        return {name: value for name, value in counted.items() if value != 0}

    @property
    def flip_rate(self) -> float | None:
        """The share of pairs whose winner changed with their order; None without pairs."""
        return self.flips / self.pairs if self.pairs else None

    @property
    def self_agreement(self) -> float | None:
        """The share of repeated judgements that were the same each time; None without any."""
        return self.agreed / self.repeated if self.repeated else None


def total(one: float | None, other: float | None) -> float | None:
    """Dollars of both, unknown if either is."""
    return None if one is None or other is None else one + other


class AskJudge:
    """One judge and its prompt. Calls go through the client (cached, logged with role judge)."""

    def __init__(self, client: Client, model: str, prompt: Prompt, params: Params, timeout: float) -> None:
        self._client = client
        self._model, self._params, self._timeout = model, params, timeout
        self._schema = True
        self.prompt = prompt

    def use(self) -> JudgeUse:
        """A count of nothing yet."""
        return JudgeUse(self._model, self.prompt.ref, self.prompt.digest)

    async def ask(
        self,
        values: Mapping[str, object],
        schema: Mapping[str, Any],
        check: Callable[[Mapping[str, Any]], T | None],
        use: JudgeUse,
        *,
        seed: int | None = None,
    ) -> T | Score:
        """What `check` makes of the judge's JSON, or an unscored Score with the reason. check: None for what is no judgement.
        use: counts what is asked."""
        from workbench.prompts import render

        kind, messages, text = render(self.prompt, values, exact=False)
        params = self._params if seed is None else replace(self._params, seed=seed)
        asked = Request(self._model, kind, messages, text, params, self._timeout)
        said = ""
        for attempt in range(1 + RETRIES):
            request = _again(asked, said, schema) if attempt else asked
            try:
                said = await self._send(request, schema, use)
            except CallError as error:
                use.failed += 1
                return Score(None, f"the judge could not be asked: {type(error).__name__}: {str(error)[:200]}")
            found, repaired = json_in(said)
            verdict = check(found) if found is not None else None
            if verdict is not None:
                use.repaired += repaired or attempt > 0
                return verdict
        use.unparsed += 1
        return Score(None, f"the judge's answer could not be read after {1 + RETRIES} tries: {said.strip()[:100]!r}")

    async def _send(self, request: Request, schema: Mapping[str, Any], use: JudgeUse) -> str:
        if self._schema and request.kind == "chat":
            try:
                return await self._complete(replace(request, params=replace(request.params, schema=schema)), use)
            except BadRequestError:  # a server that knows no schemas
                self._schema = False
        return await self._complete(request, use)

    async def _complete(self, request: Request, use: JudgeUse) -> str:
        completion = await self._client.complete(
            request, cached=True, role="judge", prompt_ref=self.prompt.ref, prompt_digest=self.prompt.digest
        )
        cached, cost = completion.source != "model", self._client.cost(request.model, completion)
        use.calls += 1
        use.cached += cached
        use.cost = total(use.cost, cost)
        use.spent = use.spent if cached else total(use.spent, cost)
        return completion.text


def _again(request: Request, said: str, schema: Mapping[str, Any]) -> Request:
    """The same once more, with what was wrong."""
    keys = ", ".join(schema["properties"])
    wish = f"This was no JSON of the wanted form. Answer with one JSON object only, with the keys {keys}."
    if request.kind == "completion":
        return replace(request, prompt=f"{request.prompt}{said}\n\n{wish}\n")
    return replace(
        request, messages=(*request.messages, Message("assistant", said or "(nothing)"), Message("user", wish))
    )


def json_in(text: str) -> tuple[Mapping[str, Any] | None, bool]:
    """The JSON object in a text, and whether it had to be dug out: from a code fence, from prose around it, or with a comma
    too many."""
    plain = re.sub(r"<think>.*?</think>", "", text, flags=re.DOTALL).strip()
    for candidate, repaired in (
        (plain, False),
        (_braced(plain), True),
        (re.sub(r",\s*([}\]])", r"\1", _braced(plain)), True),
    ):
        try:
            found = orjson.loads(candidate)
        except orjson.JSONDecodeError:
            continue
        if isinstance(found, dict):
            return found, repaired
    return None, False


def _braced(text: str) -> str:
    """From the first brace to the one that closes it, texts in quotes passed over."""
    start = text.find("{")
    depth, quoted, escaped = 0, False, False
    for place in range(max(start, 0), len(text)):
        character = text[place]
        if escaped:
            escaped = False
        elif quoted:
            escaped, quoted = character == "\\", character != '"'
        elif character == '"':
            quoted = True
        elif character in "{}":
            depth += 1 if character == "{" else -1
            if depth == 0:
                return text[start : place + 1]
    return ""
