"""The semantic cache with the real MiniLM, guard and Valkey; each known way to serve a wrong answer has a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from workbench import weights
from workbench.cache import semantic_key as semantic_keys
from workbench.cache.semantic import Hit, Look, SemanticCache
from workbench.cache.semantic_key import SemanticKey, declared, embedder_fingerprint, semantic_key
from workbench.errors import ConnectError, InputError, PromptError
from workbench.prompts.template import render
from workbench.records import Completion, Message, ModelInfo, Params, Prompt, Request, Timing, Usage
from workbench.serving import minilm
from workbench.stores.keyvalue import KeyValue
from workbench.stores.vectors import Found, VectorStore
from workbench.stores.vectors_qdrant import QdrantVectors
from workbench.stores.vectors_valkey import ValkeyVectors

if TYPE_CHECKING:
    from conftest import Clock

SCOPE = "0" * 64
PROMPT = Prompt(
    "helpdesk", 1, "text", "Answer from this: {{context}}\n\nQuestion: {{question}}", digest="d1",
    variables=("context", "question"), config={"semantic_key": ["question"]},
)  # fmt: skip

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant")


def completion(text: str = "Open Settings.", **fields: Any) -> Completion:
    return Completion(text, "stop", Usage(12, 5, 3), Timing(1000.0, 1.25, 0.5, 0.75), "vllm/m", **fields)


def key(text: str, scope: str = SCOPE, threshold: float = 0.9) -> SemanticKey:
    return SemanticKey(scope, text, threshold)


@pytest.fixture(params=["valkey", "qdrant-local"])
async def vectors(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[VectorStore]:
    """An empty store of vectors."""
    if request.param == "valkey":
        kv = KeyValue(request.getfixturevalue("valkey_of")("valkey"), Path())
        await (await kv.client()).flushall()
        yield ValkeyVectors(kv, clock=clock)
        await kv.aclose()
    else:
        pytest.importorskip("qdrant_client")
        store = QdrantVectors(":memory:", clock=clock)
        yield store
        await store.aclose()


class MiniLM:
    """The real model; texts: what it was asked for, call by call."""

    def __init__(self, encoder: minilm.MiniLM) -> None:
        self.encoder = encoder
        self.texts: list[list[str]] = []

    async def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.texts.append(list(texts))
        return self.encoder.encode(texts).vectors


@pytest.fixture(scope="session")
def encoder(minilm_weights: Path) -> minilm.MiniLM:
    pytest.importorskip("onnxruntime")
    known = weights.KNOWN["minilm-l6"]
    return minilm.load(minilm_weights / known.file, minilm_weights / known.needs[0].file)


@pytest.fixture
def embed(encoder: minilm.MiniLM) -> MiniLM:
    return MiniLM(encoder)


@pytest.fixture
def cache(vectors: VectorStore, embed: MiniLM, clock: Clock) -> SemanticCache:
    return SemanticCache(vectors, embed, clock=clock, deadline=20)


def unguarded(asked: str, cached: str) -> None:
    """Lets everything pass."""


# --- what it is for -----------------------------------------------------------------------------------------------------------


async def test_a_question_in_other_words_is_answered(cache: SemanticCache) -> None:
    """With all that was measured when the answer was made, and a source that says where it comes from."""
    made = completion(reasoning="hm", logprobs=({"token": "Open"},), request_id="r1")
    assert await cache.add(key("How do I reset my password?"), "f", made, cost=0.25)
    hit = await cache.find(key("How can I reset my password?"), "f")
    assert hit is not None
    assert replace(made, source="semantic") == hit.completion
    assert (pytest.approx(0.99, abs=0.02), "How do I reset my password?", 0.25) == hit[1:]


async def test_an_entry_lives_for_its_ttl(vectors: VectorStore, embed: MiniLM, clock: Clock) -> None:
    """Being found does not make it longer."""
    cache = SemanticCache(vectors, embed, ttl=60, clock=clock, deadline=20)
    await cache.add(key("How do I reset my password?"), "f", completion())
    for _ in range(2):
        clock.now += 29
        assert await cache.find(key("How do I reset my password?"), "f")
    clock.now += 3
    assert None is await cache.find(key("How do I reset my password?"), "f")


# --- how others serve wrong answers -------------------------------------------------------------------------------------------


async def test_known_failure_enable_2fa_answered_with_disable_2fa(vectors: VectorStore, embed: MiniLM) -> None:
    """They are nearer than many a paraphrase; the guard's word is what keeps them apart, and it is told."""
    guarded = SemanticCache(vectors, embed, deadline=20)
    await guarded.add(key("How do I disable 2FA?"), "f", completion("Turn it off."))
    look = await guarded.look(key("How do I enable 2FA?", threshold=0.85), "f")
    assert (None, "veto", "How do I disable 2FA?") == (look.hit, look.miss, look.nearest)
    assert look.veto
    assert await SemanticCache(vectors, embed, guard=unguarded, deadline=20).find(
        key("How do I enable 2FA?", threshold=0.85), "f"
    )


async def test_known_failure_every_question_one_answer_as_a_distance_is_taken_for_a_similarity(
    cache: SemanticCache,
) -> None:
    """One stored answer does not answer every question: the score of the same text is 1, of another subject far below."""
    await cache.add(key("How do I reset my password?"), "f", completion())
    assert 1.0 == pytest.approx((await cache.look(key("How do I reset my password?"), "f")).score)
    for other in ("How do I bake bread?", "Who painted the Mona Lisa?", "x"):
        assert None is await cache.find(key(other, threshold=0.5), "f")


async def test_known_failure_no_tenant_isolation(cache: SemanticCache) -> None:
    """The same question to the same prompt."""
    mine, theirs = ask(tenant="a"), ask(tenant="b")
    assert mine is not None
    assert theirs is not None
    await cache.add(mine, "f", completion())
    assert await cache.find(mine, "f")
    assert None is await cache.find(theirs, "f")


async def test_known_failure_the_whole_request_in_the_scope_so_that_nothing_ever_hits(cache: SemanticCache) -> None:
    """The over-correction of the above, a scope made of the whole request, would never hit."""
    one, other = ask(question="How do I reset my password?"), ask(question="How can I reset my password?")
    assert one is not None
    assert other is not None
    assert one.scope == other.scope
    await cache.add(one, "f", completion())
    assert await cache.find(other, "f")


async def test_known_failure_embedder_changed_under_a_live_index(vectors: VectorStore, embed: MiniLM) -> None:
    """Neither where its vectors have as many numbers, nor where they have not: old and new are never compared."""

    async def turned(texts: Sequence[str]) -> np.ndarray:
        return np.roll(await embed(texts), 1, axis=1)

    async def shorter(texts: Sequence[str]) -> np.ndarray:
        return (await embed(texts))[:, :100]

    question = key("How do I reset my password?")
    await SemanticCache(vectors, embed, deadline=20).add(question, "f1", completion("old"))
    for fingerprint, other in (("f2", turned), ("f2", embed), ("f1", shorter), ("f3", shorter)):
        changed = SemanticCache(vectors, other, deadline=20)
        assert None is await changed.find(question, fingerprint)
    changed = SemanticCache(vectors, turned, deadline=20)
    await changed.add(question, "f2", completion("new"))
    found = [await changed.find(question, "f2"), await SemanticCache(vectors, embed, deadline=20).find(question, "f1")]
    assert ["new", "old"] == [hit.completion.text for hit in found if hit]


async def test_an_embedder_that_changes_in_a_running_process_is_asked_anew(cache: SemanticCache, embed: MiniLM) -> None:
    """What is remembered of a text belongs to the fingerprint."""
    for fingerprint in ("f1", "f2", "f1", "f2"):
        await cache.find(key("How do I reset my password?"), fingerprint)
    assert 2 == len(embed.texts)


def test_fingerprints_tell_embedders_apart() -> None:
    """By digest, whatever they are called; without one by name and server."""
    one = embedder_fingerprint("ollama/a", ModelInfo("a", digest="d"))
    assert one == embedder_fingerprint("ollama/b", ModelInfo("b", digest="d"))
    others = [
        embedder_fingerprint("ollama/a", ModelInfo("a", digest="d2")),
        embedder_fingerprint("vllm/a", ModelInfo("a", origin="http://x 1")),
        embedder_fingerprint("vllm/a", ModelInfo("a", origin="http://x 2")),
        embedder_fingerprint("vllm/b", ModelInfo("b", origin="http://x 1")),
    ]
    assert 5 == len({one, *others})
    with pytest.raises(InputError, match="neither the embedder's digest nor its server"):
        embedder_fingerprint("vllm/a", ModelInfo("a"))


@pytest.mark.parametrize(
    ("reason", "fields"),
    [
        ("not whole", {"finish_reason": "length"}),
        ("not whole", {"finish_reason": "content_filter"}),
        ("not whole", {"finish_reason": "tool_calls"}),
        ("not whole", {"finish_reason": None}),
        ("not whole", {"truncated": True}),
        ("refused", {"refused": True}),
        ("cannot be written", {"text": "x" * 2_000_000}),
        ("cannot be written", {"logprobs": ({"token": object()},)}),
        ("no text", {"text": " \n"}),
        ("no text", {"tool_calls": ({"id": "1"},)}),
        ("from a cache", {"source": "semantic"}),
        ("from a cache", {"source": "exact"}),
    ],
)
async def test_known_failure_poisoning_by_answers_that_are_not_fit_for_others(
    cache: SemanticCache, reason: str, fields: dict[str, Any]
) -> None:
    """Cut off, refused, empty, too large, or itself from a cache, whose mistake would spread from question to question."""
    assert not await cache.add(key("How do I reset my password?"), "f", replace(completion(), **fields))
    assert None is await cache.find(key("How do I reset my password?"), "f")
    assert ({reason: 1}, 0) == (cache.stats().refused, cache.stats().added)


async def test_what_the_embedder_does_not_see_is_not_taken_for_equal(cache: SemanticCache) -> None:
    """Two long texts that differ after the 256th token have one vector, so they are not looked up at all."""
    long = "The printer in the hall makes a strange noise when it starts. " * 20
    assert not await cache.add(key(f"{long} How do I stop it?"), "f", completion())
    assert "long" == (await cache.look(key(f"{long} What does it cost?"), "f")).miss
    assert ({"long": 1}, {"long": 1}) == (cache.stats().refused, cache.stats().misses)


@pytest.mark.parametrize("text", ["word " * 199, "日本語" * 66, "naïve café " * 25, "Wie geht es? " * 40])
def test_what_is_compared_fits_into_what_the_embedder_sees(
    cache: SemanticCache, encoder: minilm.MiniLM, text: str
) -> None:
    """The estimate of a text's tokens is on the safe side, in several scripts."""
    fits = text
    while cache._too_long(fits):
        fits = fits[:-1]
    assert encoder.encode([fits]).tokens < minilm.LONGEST
    assert len(fits) > 100


# --- what belongs to the scope ------------------------------------------------------------------------------------------------


def ask(
    question: str = "How do I reset my password?",
    *,
    prompt: Prompt = PROMPT,
    context: str = "The manual.",
    turns: tuple[Message, ...] = (),
    params: Params | None = None,
    model: str = "vllm/m",
    identity: str = "vllm m digest",
    tenant: str | None = "a",
    **values: object,
) -> SemanticKey | None:
    def build(values: Mapping[str, object]) -> Request:
        kind, messages, text = render(prompt, values)
        return Request(model, kind, (*turns, *messages), text, params or Params(temperature=0))

    given = {"question": question} | ({"context": context} if "context" in prompt.variables else {})
    return semantic_key(prompt, given | values, build, identity=identity, tenant=tenant)


ATTACHED = Message("user", "see", parts=({"type": "image_url", "image_url": {"url": "data:a"}},))


@pytest.mark.parametrize(
    "other",
    [
        {"context": "Another manual."},
        {"turns": (Message("user", "Hello"),)},
        {"turns": (Message("system", "Be brief."),)},
        {"turns": (ATTACHED,)},
        {"turns": (replace(ATTACHED, parts=({"type": "image_url", "image_url": {"url": "data:b"}},)),)},
        {"turns": (Message("assistant", "", tool_calls=({"id": "1"},)), Message("tool", "5", tool_call_id="1"))},
        {"turns": (Message("user", "Hello", extra={"name": "Ana"}),)},
        {"params": Params(temperature=0, tools=({"type": "function", "function": {"name": "f"}},))},
        {"params": Params(temperature=0, tools=({"type": "function", "function": {"name": "g"}},))},
        {"params": Params(temperature=0, max_tokens=5)},
        {"params": Params(temperature=0, extra={"x": 1})},
        {"params": Params()},
        {"prompt": replace(PROMPT, digest="d2")},
        {"model": "vllm/other"},
        {"identity": "vllm m another digest"},
        {"tenant": "b"},
        {"tenant": None},
    ],
)
def test_another_request_is_another_scope(other: dict[str, Any]) -> None:
    """The same question with another context, earlier turn, system prompt, attachment, tool list, param, model or tenant."""
    here, there = ask(), ask(**other)
    assert here is not None
    assert there is not None
    assert here.text == there.text
    assert here.scope != there.scope


async def test_the_same_question_with_another_context_turn_or_tools_is_a_miss(cache: SemanticCache) -> None:
    """From end to end."""
    asked = ask()
    assert asked is not None
    await cache.add(asked, "f", completion())
    for other in (
        {"context": "Another manual."},
        {"turns": (Message("user", "Hello"),)},
        {"params": Params(temperature=0, tools=({"type": "function"},))},
    ):
        changed = ask(**other)  # type: ignore[arg-type]
        assert changed is not None
        assert None is await cache.find(changed, "f")
    assert await cache.find(asked, "f")


def test_the_deadline_of_a_request_is_not_in_the_scope() -> None:
    """It changes no answer."""

    def build(timeout: float) -> Callable[[Mapping[str, object]], Request]:
        return lambda values: Request("vllm/m", *render(PROMPT, values), timeout=timeout)

    values = {"question": "q", "context": "c"}
    keys = [semantic_key(PROMPT, values, build(timeout), identity="i", tenant=None) for timeout in (1, 2)]
    assert keys[0] == keys[1]


def test_nothing_declared_is_nothing_cached() -> None:
    """Nor is what is not text, or blank."""
    assert None is ask(prompt=replace(PROMPT, config={}), context="c")
    assert None is ask(question="  ")
    for value in (5, None, ["How?"], {"a": 1}):
        assert None is ask(question=value)  # type: ignore[arg-type]


def test_a_value_cannot_pretend_to_be_the_question() -> None:
    """A context that holds the mark of what is compared could lead into another request's scope."""
    assert None is ask(context=f"{semantic_keys._MARK} question")
    assert None is ask(question=semantic_keys._MARK)
    assert None is ask(turns=(Message("user", "Hello", extra={"a": [{"b": semantic_keys._MARK}]}),))
    assert None is ask(turns=(Message("user", "Hello", extra=MappingProxyType({"b": semantic_keys._MARK})),))


def test_what_has_no_canonical_form_is_refused() -> None:
    """As in the exact cache."""
    with pytest.raises(InputError, match="no canonical JSON"):
        ask(params=Params(extra={"x": float("nan")}))
    with pytest.raises(InputError, match="identity is empty"):
        ask(identity="")


def test_several_variables_do_not_run_together() -> None:
    """Where one ends and the next begins stays told."""
    prompt = replace(
        PROMPT, text="{{question}} {{detail}}", variables=("question", "detail"),
        config={"semantic_key": ["question", "detail"]},
    )  # fmt: skip
    texts = [
        key.text
        for question, detail in [("a\nb", "c"), ("a", "b\nc"), ("a\\nb", "c"), ("a", "b\\nc"), ("a\\", "nb\nc")]
        if (key := ask(question, prompt=prompt, detail=detail))
    ]
    assert 5 == len(set(texts))


def test_each_prompt_has_its_own_threshold() -> None:
    """0.95 if it does not say."""
    assert 0.95 == ask().threshold  # type: ignore[union-attr]
    strict = replace(PROMPT, config={"semantic_key": ["question"], "semantic_threshold": 1})
    assert (("question",), 1.0) == declared(strict)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"semantic_key": "question"}, r"semantic_key = 'question' must be a list.*\[question\]"),
        ({"semantic_key": [1]}, "must be a list"),
        ({"semantic_key": ["questoin"]}, "'questoin', which is none of its variables: context, question"),
        ({"semantic_key": ["question"], "semantic_threshold": 0}, "above 0 and at most 1"),
        ({"semantic_key": ["question"], "semantic_threshold": "high"}, "semantic_threshold = 'high'"),
        ({"semantic_key": ["question"], "semantic_threshold": 95}, "such as 0.95"),
    ],
)
def test_a_declaration_that_is_not_usable(config: dict[str, Any], said: str) -> None:
    """Is named, with the fix."""
    with pytest.raises(PromptError, match=said):
        declared(replace(PROMPT, config=config))


# --- modes and look-ups -------------------------------------------------------------------------------------------------------


async def test_shadow_serves_nothing_and_tells_what_it_would_have(vectors: VectorStore, embed: MiniLM) -> None:
    """With score and the guard's word, also of what is below the threshold."""
    seen: list[Look] = []
    cache = SemanticCache(vectors, embed, mode="shadow", record=seen.append, deadline=20)
    assert await cache.add(key("How do I disable 2FA?"), "f", completion("Turn it off."))
    assert await cache.add(key("How do I reset my password?"), "f", completion())
    assert None is await cache.find(key("How can I reset my password?", threshold=0.95), "f")
    assert None is await cache.find(key("How do I enable 2FA?", threshold=0.95), "f")
    would, below = seen
    assert would.hit is not None
    assert ("Open Settings.", None, "") == (would.hit.completion.text, would.veto, would.miss)
    assert (None, "below", "How do I disable 2FA?") == (below.hit, below.miss, below.nearest)
    assert pytest.approx(0.8947, abs=1e-3) == below.score
    assert below.veto
    assert (2, 0, 1, {"below": 1}) == (
        cache.stats().looks, cache.stats().hits, cache.stats().shadow_hits, cache.stats().misses
    )  # fmt: skip


async def test_off_does_nothing(vectors: VectorStore, embed: MiniLM) -> None:
    """Nobody is asked."""
    cache = SemanticCache(vectors, embed, mode="off")
    assert not await cache.add(key("How?"), "f", completion())
    assert None is await cache.find(key("How?"), "f")
    assert [] == embed.texts


def test_a_mode_that_does_not_exist(embed: MiniLM) -> None:
    """The message lists those that do."""
    with pytest.raises(InputError, match="'yes' must be one of off, shadow, on"):
        SemanticCache(None, embed, mode="yes")  # type: ignore[arg-type]


async def test_the_next_candidate_is_served_if_the_nearest_is_vetoed(vectors: VectorStore, embed: MiniLM) -> None:
    """Each is judged by itself."""
    cache = SemanticCache(vectors, embed, guard=lambda asked, cached: "no" if "reset" in cached else None, deadline=20)
    await cache.add(key("How do I reset my password?"), "f", completion("vetoed"))
    await cache.add(key("How do I change my password?"), "f", completion("passes"))
    look = await cache.look(key("How can I reset my password?", threshold=0.8), "f")
    assert look.hit is not None
    assert ("passes", None) == (look.hit.completion.text, look.veto)


async def test_a_guard_that_fails_is_a_veto(vectors: VectorStore, embed: MiniLM) -> None:
    """Unsure means no."""

    def broken(asked: str, cached: str) -> str | None:
        raise ZeroDivisionError

    cache = SemanticCache(vectors, embed, guard=broken, deadline=20)
    await cache.add(key("How?"), "f", completion())
    look = await cache.look(key("How?"), "f")
    assert ("veto", "the guard failed: ZeroDivisionError") == (look.miss, look.veto)
    assert {"ZeroDivisionError": 1} == cache.stats().faults


async def test_a_threshold_of_one_takes_the_same_text(cache: SemanticCache) -> None:
    """Rounding does not make it a miss."""
    await cache.add(key("How do I reset my password?"), "f", completion())
    assert await cache.find(key("How do I reset my password?", threshold=1.0), "f")


# --- vectors of texts ---------------------------------------------------------------------------------------------------------


async def test_a_text_is_embedded_once(cache: SemanticCache, embed: MiniLM) -> None:
    """For the look-up, the addition that follows, and all later look-ups."""
    for _ in range(3):
        await cache.find(key("How do I reset my password?"), "f")
        await cache.add(key("How do I reset my password?"), "f", completion())
    assert [["How do I reset my password?"]] == embed.texts


async def test_texts_that_are_asked_meanwhile_go_in_one_batch(cache: SemanticCache, embed: MiniLM) -> None:
    """And one that many ask for is in it once."""
    await asyncio.gather(*(cache.find(key(f"question {n % 10}"), "f") for n in range(40)))
    assert 10 == sum(map(len, embed.texts))
    assert 2 >= len(embed.texts)


# --- faults -------------------------------------------------------------------------------------------------------------------


class StuckVectors:
    """A double of a store that never answers."""

    async def search(self, *args: Any) -> list[Found]:
        await asyncio.Event().wait()
        return []

    add = search


async def test_a_store_that_is_down_is_a_miss(tmp_path: Path, embed: MiniLM) -> None:
    """Counted by the name of the error, and nothing raises."""
    cache = SemanticCache(ValkeyVectors(KeyValue(f"unix://{tmp_path}/none", tmp_path)), embed, deadline=20)
    look = await cache.look(key("How?"), "f")
    assert (None, "fault", "ConnectionError") == (look.served, look.miss, look.fault)
    assert not await cache.add(key("How?"), "f", completion())
    assert ({"ConnectionError": 2}, {"fault": 1}) == (cache.stats().faults, cache.stats().misses)


async def test_a_store_double_that_is_stuck_is_a_miss_at_the_deadline(embed: MiniLM) -> None:
    """For a look-up and for an addition."""
    cache = SemanticCache(StuckVectors(), embed, deadline=0.05)  # type: ignore[arg-type]
    assert "TimeoutError" == (await cache.look(key("How?"), "f")).fault
    assert not await cache.add(key("How?"), "f", completion())
    assert {"TimeoutError": 2} == cache.stats().faults


async def test_an_embedder_that_is_slow_is_a_miss_once(vectors: VectorStore, embed: MiniLM) -> None:
    """It goes on when the look-up has given up (it may be loading its weights), and is not asked again."""
    go = asyncio.Event()

    async def slow(texts: Sequence[str]) -> np.ndarray:
        await go.wait()
        return await embed(texts)

    await SemanticCache(vectors, embed, deadline=20).add(key("How?"), "f", completion())
    cache = SemanticCache(vectors, slow, deadline=0.05)
    assert "TimeoutError" == (await cache.look(key("How?"), "f")).fault
    go.set()
    cache._deadline = 20
    assert await cache.find(key("How?"), "f")
    assert 2 == len(embed.texts)


@pytest.mark.parametrize("made", [np.zeros(3), np.zeros((2, 3)), np.full((1, 3), np.nan), np.zeros((1, 3)), "no"])
async def test_an_embedder_that_makes_nonsense_is_a_miss(vectors: VectorStore, made: Any) -> None:
    """Wrong shapes, numbers that are none, no direction."""

    async def embed(texts: Sequence[str]) -> np.ndarray:
        return made  # type: ignore[no-any-return]

    cache = SemanticCache(vectors, embed, deadline=20)
    assert "fault" == (await cache.look(key("How?"), "f")).miss
    assert not await cache.add(key("How?"), "f", completion())


async def test_an_embedder_that_fails_is_asked_again_the_next_time(vectors: VectorStore, embed: MiniLM) -> None:
    """An error is not remembered."""
    down = [True]

    async def sometimes(texts: Sequence[str]) -> np.ndarray:
        if down.pop() if down else False:
            raise ConnectError("nobody there")
        return await embed(texts)

    cache = SemanticCache(vectors, sometimes, deadline=20)
    assert "ConnectError" == (await cache.look(key("How?"), "f")).fault
    assert "empty" == (await cache.look(key("How?"), "f")).miss


@pytest.mark.parametrize("payload", [b"", b"\xff", b"{}", b'{"text":"How?","completion":{"text":"x","new_field":1}}'])
async def test_an_entry_that_cannot_be_read_is_passed_over(vectors: VectorStore, embed: MiniLM, payload: bytes) -> None:
    """Counted, and the next candidate is served."""
    cache = SemanticCache(vectors, embed, deadline=20)
    (vector,) = await embed(["How do I reset my password?"])
    await vectors.add("f", SCOPE, "0" * 31 + "1", vector, payload, 4e9)
    assert "empty" == (await cache.look(key("How do I reset my password?"), "f")).miss
    await cache.add(key("How can I reset my password?"), "f", completion())
    assert await cache.find(key("How do I reset my password?"), "f")
    assert 2 == sum(cache.stats().faults.values())


def test_it_works_in_one_event_loop_after_the_other(embed: MiniLM, valkey_of: Callable[[str], str]) -> None:
    """As in a script that calls asyncio.run many times."""
    kv = KeyValue(valkey_of("valkey"), Path())
    cache = SemanticCache(ValkeyVectors(kv), embed, deadline=20)

    async def once() -> Hit | None:
        found = await cache.find(key("Where is the loop?", scope="loops"), "f")
        await cache.add(key("Where is the loop?", scope="loops"), "f", completion())
        await kv.aclose()
        return found

    assert [False, True, True] == [asyncio.run(once()) is not None for _ in range(3)]
    assert 1 == len(embed.texts)
