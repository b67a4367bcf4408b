"""The semantic cache: an answer that was given to a question that means the same, in the same scope.

A look-up embeds the text, searches the scope for what is near, and lets the guard veto each candidate by its words, as no
embedder tells "enable" from "disable". What is unsure is a miss, and so is every fault: nothing raises, everything is counted.
"""

from __future__ import annotations

import hashlib
import re
import struct
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from workbench.cache.codec import CorruptError, UnfitError, decode, encode
from workbench.cache.deadline import Deadline
from workbench.cache.embedder import Embed, TextVectors
from workbench.cache.guard import veto
from workbench.errors import InputError

if TYPE_CHECKING:
    from workbench.cache.semantic_key import SemanticKey
    from workbench.records import Completion
    from workbench.stores.vectors import Found, VectorStore

__all__ = ["DEADLINE", "Guard", "Hit", "Look", "Mode", "SemanticCache", "SemanticStats"]

Guard = Callable[[str, str], str | None]
"""(asked, cached) -> why the cached answer must not be served; None lets it pass."""
Mode = Literal["off", "shadow", "on"]

DEADLINE = 0.5  # seconds that a look-up may take
_SHADOW_FLOOR = 0.7
_CANDIDATES = 4
_ROUNDING = 1e-6  # of a cosine in float32
_LARGEST = 1 << 20  # bytes of one answer
# tokens, roughly, of a text that is compared: of longer ones an embedder (MiniLM: 256) does not see the end, which may differ
_LONGEST = 200
_LENGTH = struct.Struct(">I")
_PIECE = re.compile(r"[A-Za-z]{1,4}|[^\sA-Za-z]")


class Hit(NamedTuple):
    """completion: as it was measured when it was made, with source "semantic". score: cosine. text: the question that it answered
    then. cost: dollars that it cost then, None if unknown."""

    completion: Completion
    score: float
    text: str
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """One look-up. hit: what is served (mode on), or would have been (mode shadow).

    score: cosine of the hit; without one, of the nearest. nearest: the question that it belongs to; cached_answer: what that was
    answered. veto: the guard's word on it. miss: why there is no hit: empty (nothing near), below (under the threshold), veto,
    long, fault, off; "" with one. fault: name of the error. seconds: that it took.
    """

    mode: Mode
    asked: str
    scope: str
    threshold: float
    hit: Hit | None = None
    score: float | None = None
    nearest: str | None = None
    veto: str | None = None
    cached_answer: str | None = None
    miss: str = ""
    fault: str | None = None
    seconds: float = 0.0

    @property
    def served(self) -> Hit | None:
        """What the caller answers with."""
        return self.hit if self.mode == "on" else None


@dataclass(frozen=True, slots=True)
class SemanticStats:
    """Counts since the cache was made. looks: look-ups in all. hits: served. shadow_hits: would have been. misses: by reason, see
    `Look`. added: entries. refused: answers that were not fit to be kept, by reason. faults: by name of the error."""

    looks: int
    hits: int
    shadow_hits: int
    misses: dict[str, int]
    added: int
    refused: dict[str, int]
    faults: dict[str, int]


class SemanticCache:
    """vectors: where entries are kept. embed: makes vectors of texts. guard: vetoes candidates.

    mode: off; shadow looks and tells what it would have served, and serves nothing; on. ttl: seconds that an entry lives.
    deadline: seconds that a look-up or an addition may take. record: gets every look-up. clock: Unix seconds.
    """

    def __init__(
        self,
        vectors: VectorStore,
        embed: Embed,
        *,
        guard: Guard = veto,
        mode: Mode = "on",
        ttl: float = 7 * 86400,
        deadline: float = DEADLINE,
        record: Callable[[Look], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if mode not in get_args(Mode):
            raise InputError(f"mode = {mode!r} must be one of {', '.join(get_args(Mode))}.")
        self.mode: Mode = mode
        self._vectors = vectors
        self._texts = TextVectors(embed)
        self._guard = guard
        self._ttl = ttl
        self._deadline = deadline
        self._record = record
        self._clock = clock
        self._counts: Counter[tuple[str, str]] = Counter()

    async def find(self, key: SemanticKey, fingerprint: str) -> Hit | None:
        """The answer to serve, None for a miss. fingerprint: of the embedder. Never raises."""
        return (await self.look(key, fingerprint)).served

    async def look(self, key: SemanticKey, fingerprint: str) -> Look:
        """The same, with all that was found on the way. Never raises."""
        began = time.perf_counter()
        look = Look(self.mode, key.text, key.scope, key.threshold)
        if self.mode == "off":
            return replace(look, miss="off")
        if self._too_long(key.text):
            look = replace(look, miss="long")
        else:
            least = key.threshold if self.mode == "on" else min(key.threshold, _SHADOW_FLOOR)
            try:
                async with Deadline(self._deadline):
                    vector = await self._texts.vector(fingerprint, key.text)
                    found = await self._vectors.search(fingerprint, key.scope, vector, _CANDIDATES, least)
                look = self._judged(look, found)
            except Exception as error:  # noqa: BLE001  (a cache that is broken is a cache that misses)
                look = replace(look, miss="fault", fault=self._fault(error))
        look = replace(look, seconds=time.perf_counter() - began)
        self._counts["look", ""] += 1
        self._counts[("hit", self.mode) if look.hit else ("miss", look.miss)] += 1
        if self._record is not None:
            self._record(look)
        return look

    async def add(
        self, key: SemanticKey, fingerprint: str, completion: Completion, *, cost: float | None = None
    ) -> bool:
        """Keep an answer, if it is a whole one that a model has just made; whether it was kept. cost: dollars that it cost, None
        if unknown. Never raises."""
        unfit = "long" if self._too_long(key.text) else _unfit(completion)
        if self.mode == "off" or unfit:
            self._counts["refused", unfit or "off"] += 1
            return False
        ends = self._clock() + self._ttl
        try:
            payload = _pack(key.text, completion, cost, ends)
            async with Deadline(self._deadline):
                vector = await self._texts.vector(fingerprint, key.text)
                name = hashlib.blake2b(key.text.encode(), digest_size=16).hexdigest()
                await self._vectors.add(fingerprint, key.scope, name, vector, payload, ends)
        except UnfitError:
            self._counts["refused", "cannot be written"] += 1
            return False
        except Exception as error:  # noqa: BLE001  (as above)
            self._fault(error)
            return False
        self._counts["added", ""] += 1
        return True

    async def clear(self, fingerprint: str) -> int:
        """Remove all entries of an embedder; how many there were. Raises what the store raises."""
        return await self._vectors.delete(fingerprint)

    def stats(self) -> SemanticStats:
        """What happened so far in this process."""

        def by_reason(what: str) -> dict[str, int]:
            return {name: count for (kind, name), count in sorted(self._counts.items()) if kind == what}

        count = self._counts
        return SemanticStats(
            count["look", ""], count["hit", "on"], count["hit", "shadow"], by_reason("miss"), count["added", ""],
            by_reason("refused"), by_reason("fault"),
        )  # fmt: skip

    def _judged(self, look: Look, found: list[Found]) -> Look:
        """The first candidate that is near enough and that the guard lets pass, else what is to say of the nearest."""
        nearest: Look | None = None
        for candidate in found:
            try:
                hit = _unpack(candidate.payload, candidate.score)
            except ValueError as error:
                self._fault(error)
                continue
            said = self._veto(look.asked, hit.text)
            near = hit.score >= look.threshold - _ROUNDING
            seen = replace(look, score=hit.score, nearest=hit.text, veto=said, cached_answer=hit.completion.text)
            if near and said is None:
                return replace(seen, hit=hit)
            nearest = nearest or replace(seen, miss="veto" if near else "below")
        return nearest or replace(look, miss="empty")

    def _veto(self, asked: str, cached: str) -> str | None:
        try:
            return self._guard(asked, cached)
        except Exception as error:  # noqa: BLE001  (unsure means no)
            return f"the guard failed: {self._fault(error)}"

    def _too_long(self, text: str) -> bool:
        return len(_PIECE.findall(text)) > _LONGEST

    def _fault(self, error: Exception) -> str:
        name = type(error).__name__
        self._counts["fault", name] += 1
        return name


def _unfit(completion: Completion) -> str:
    """Why an answer must not be served to others; "" if it may."""
    if completion.source != "model":
        return "from a cache"  # else one wrong hit would spread from question to question
    if completion.refused:
        return "refused"
    if completion.finish_reason != "stop" or completion.truncated:
        return "not whole"
    return "" if completion.text.strip() and not completion.tool_calls else "no text"


def _pack(text: str, completion: Completion, cost: float | None, expires_at: float) -> bytes:
    question = text.encode()
    answer, _ = encode(completion, expires_at=expires_at, cost=cost, largest=_LARGEST)
    return _LENGTH.pack(len(question)) + question + answer


def _unpack(payload: bytes, score: float) -> Hit:
    """Raises a ValueError for what is no entry of ours."""
    if len(payload) < _LENGTH.size:
        raise CorruptError("it is cut off")
    ends = _LENGTH.size + _LENGTH.unpack_from(payload)[0]
    entry = decode(payload[ends:], largest=_LARGEST)
    completion = replace(entry.completion, source="semantic")
    return Hit(completion, score, payload[_LENGTH.size : ends].decode(), entry.cost)
