"""Calls through the semantic cache: a real embedded Valkey, the real MiniLM, a double of a server that counts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from workbench import Workbench
from workbench.errors import ConnectError, PromptError
from workbench.pricing import call_cost
from workbench.records import Usage
from workbench.stores.valkey import EmbeddedValkey

if TYPE_CHECKING:
    from conftest import OpenAIDouble

SURE = {"temperature": 0}
ENABLE, HOW_CAN, DISABLE = "How do I enable 2FA?", "How can I enable 2FA?", "How do I disable 2FA?"

Open = Callable[[str], Workbench]


@pytest.fixture
async def opened(
    project: Path, openai_double: OpenAIDouble, minilm_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Open]:
    """opened(mode) gives a workbench of one project; its embedder may take as long as a busy machine needs."""
    monkeypatch.setenv("OPENAI_BASE_URL", openai_double.url)
    monkeypatch.setenv("WORKBENCH_MODEL", "openai/m")
    monkeypatch.setenv("WORKBENCH_CACHE", "on")
    monkeypatch.setenv("WORKBENCH_WEIGHTS", str(minilm_weights))
    monkeypatch.setenv("WORKBENCH_CACHE_DEADLINE_MS", "30000")
    made: list[Workbench] = []

    def open_(mode: str) -> Workbench:
        monkeypatch.setenv("WORKBENCH_SEMANTIC_CACHE", mode)
        bench = Workbench(project)
        made.append(bench)
        config = {"semantic_key": ["question"], "semantic_threshold": 0.85}
        bench.prompts.create("helpdesk", "From: {{context}}\nQ: {{question}}", config=config, author="ada")
        return bench

    yield open_
    for bench in made:
        await bench.aclose()
    EmbeddedValkey(project / ".workbench").stop()


async def ask(bench: Workbench, question: str, context: str = "the manual", **options: Any) -> str:
    """Where the answer came from."""
    inputs = {"question": question, "context": context}
    return (await bench.ask(prompt="helpdesk@1", inputs=inputs, params=SURE, **options)).source


async def test_the_same_in_other_words_is_served_and_its_opposite_is_not(
    opened: Open, openai_double: OpenAIDouble
) -> None:
    """A hit by meaning is logged as one, spends nothing, and is counted with what it saved; a veto is counted too."""
    bench = opened("on")
    sources = [await ask(bench, question) for question in (ENABLE, HOW_CAN, DISABLE, ENABLE, HOW_CAN)]
    assert ["model", "semantic", "model", "exact", "semantic"] == sources
    assert 2 == openai_double.calls
    rows = bench.calls.frame()
    chats = rows[rows["kind"] == "chat"]
    assert sources == chats["source"].tolist()
    assert [0.0] * 3 == chats["spent"][chats["source"] != "model"].tolist()
    total = (await bench.cache.stats()).total
    assert (3, 2, 2, 1, 1) == (total.hits, total.semantic, total.misses, total.vetoed, total.far)
    assert 0 < total.seconds
    assert (0, 0) == (total.not_kept, total.faults)


async def test_what_the_embedder_is_asked_is_logged_and_priced_like_any_call(opened: Open) -> None:
    """One row of kind embedding a text, none for a text that was embedded before."""
    bench = opened("on")
    for question in (ENABLE, HOW_CAN, HOW_CAN):
        await ask(bench, question)
    rows = bench.calls.frame()
    made = rows[rows["kind"] == "embedding"]
    assert [ENABLE, HOW_CAN] == made["request"].tolist()
    assert {"embedded/minilm-l6"} == {*made["model"]}
    assert (made["prompt_tokens"] > 4).all()
    assert [0.0, 0.0] == made["spent"].tolist()


@pytest.mark.parametrize("other", [{"context": "the handbook"}, {"tenant": "acme"}, {"cached": False}])
async def test_any_other_difference_is_a_miss(opened: Open, openai_double: OpenAIDouble, other: dict[str, Any]) -> None:
    """Another context, another tenant, or nothing from a cache at all."""
    bench = opened("on")
    assert ["model", "model"] == [await ask(bench, ENABLE), await ask(bench, HOW_CAN, **other)]
    assert 2 == openai_double.calls


async def test_a_prompt_that_declares_nothing_is_never_compared_by_meaning(
    opened: Open, openai_double: OpenAIDouble
) -> None:
    """Nor is a plain question."""
    bench = opened("on")
    bench.prompts.create("plain", "{{question}}", author="ada")
    for question in (ENABLE, HOW_CAN):
        assert "model" == (await bench.ask(prompt="plain@1", inputs={"question": question}, params=SURE)).source
        assert "model" == (await bench.ask(question, params=SURE)).source
    assert 4 == openai_double.calls
    assert not (await bench.cache.stats()).total.far


async def test_shadow_serves_nothing_and_notes_what_it_would_have(opened: Open, openai_double: OpenAIDouble) -> None:
    """The pairs hold both questions, both answers, the cosine and the guard's word; what it would have saved is counted."""
    bench = opened("shadow")
    assert ["model"] * 3 == [await ask(bench, question) for question in (ENABLE, HOW_CAN, DISABLE)]
    await bench.cache.aclose()
    pairs = await bench.cache.pairs()
    total = (await bench.cache.stats()).total
    assert 3 == openai_double.calls
    assert [(HOW_CAN, ENABLE), (DISABLE, ENABLE)] == [(pair.asked, pair.cached) for pair in pairs]
    assert [None, True] == [pair.veto and "opposites" in pair.veto for pair in pairs]
    assert {("negative", "negative", "helpdesk@1", None)} == {
        (pair.asked_answer, pair.cached_answer, pair.prompt, pair.same) for pair in pairs
    }
    assert all(0.85 < pair.cosine < 1 for pair in pairs if pair.cosine is not None)
    assert (0, 1, 1, 3) == (total.hits, total.shadow, total.vetoed, total.misses)
    assert 0 < total.shadow_seconds


async def test_clearing_a_scope_clears_what_is_found_by_meaning_too(opened: Open, openai_double: OpenAIDouble) -> None:
    """By a pattern, and all of it."""
    bench = opened("on")
    await ask(bench, ENABLE)
    assert ["openai/m helpdesk@1"] == await bench.cache.scopes()
    assert 0 == await bench.cache.clear("ollama/*")
    assert "semantic" == await ask(bench, HOW_CAN)
    for scope in ("openai/*", None):
        assert 1 == await bench.cache.clear(scope)
        assert "model" == await ask(bench, HOW_CAN)
    assert 3 == openai_double.calls


async def test_a_stream_is_served_by_meaning(opened: Open) -> None:
    """In one piece, as from the exact cache."""
    bench = opened("on")
    await ask(bench, ENABLE)
    inputs = {"question": HOW_CAN, "context": "the manual"}
    chunks = [chunk async for chunk in bench.stream(prompt="helpdesk@1", inputs=inputs, params=SURE)]
    assert [("negative", None), ("", "semantic")] == [
        (chunk.text, chunk.completion.source if chunk.completion else None) for chunk in chunks
    ]


async def test_an_embedder_that_is_away_lets_every_call_through(
    opened: Open, openai_double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault is counted and shown; the exact cache goes on."""
    bench = opened("on")

    async def refuse(*_: object, **__: object) -> Any:
        raise ConnectError("nobody is there")

    monkeypatch.setattr(bench.client, "describe", refuse)
    assert ["model", "model", "exact"] == [await ask(bench, question) for question in (ENABLE, HOW_CAN, HOW_CAN)]
    assert 2 == openai_double.calls
    stats = await bench.cache.stats()
    assert 2 == stats.total.blind
    assert "embedded/minilm-l6" in str(stats)


async def test_an_embedder_at_a_double_of_a_server_is_logged_and_has_a_collection_of_its_own(
    opened: Open, openai_double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the old one's vectors led to is found no more; what OpenAI charges is unknown at an address that is not OpenAI's."""
    assert ["model", "semantic"] == [await ask(opened("on"), question) for question in (ENABLE, HOW_CAN)]
    monkeypatch.setenv("WORKBENCH_EMBEDDER", "openai/text-embedding-3-small")
    openai_double.models = ["m", "text-embedding-3-small"]
    bench = opened("on")
    other = "Please, how do I enable 2FA?"
    sources = [await ask(bench, question) for question in (HOW_CAN, other, DISABLE)]
    assert ["model", "semantic", "model"] == sources
    assert 3 == openai_double.calls
    rows = bench.calls.frame()
    made = rows[rows["model"] == "openai/text-embedding-3-small"]
    assert [HOW_CAN, other, DISABLE] == made["request"].tolist()
    assert ["embedding"] * 3 == made["kind"].tolist()
    assert made["spent"].isna().all()
    assert (made["prompt_tokens"] > 0).all()
    theirs = replace(bench.settings.endpoint("openai"), urls=("https://api.openai.com/v1",))
    assert 0.02 == call_cost(theirs, "text-embedding-3-small", Usage(1_000_000, 0))


async def test_experiments_ask_the_model_for_each_near_question(opened: Open, openai_double: OpenAIDouble) -> None:
    """A comparison measures answers: none comes from another question's, and what is replayed are its own rows, counted apart."""
    bench = opened("on")
    bench.prompts.create("near", "Q: {{question}}", config={"semantic_key": ["question"], "semantic_threshold": 0.85})
    questions = [ENABLE, HOW_CAN, f"{HOW_CAN} Thanks", f"Please, {ENABLE}"]
    examples = pd.DataFrame({"question": questions, "expected": ["negative"] * 4})
    plan = bench.plan(prompts=["near@1"], dataset=examples, params=SURE)
    first = await bench.compare(plan)
    asked = openai_double.calls
    assert asked >= 4
    assert ([4], [0]) == (first.summary["fresh"].tolist(), first.summary["replayed"].tolist())
    again = await bench.compare(plan)
    assert asked == openai_double.calls
    assert ([0], [4]) == (again.summary["fresh"].tolist(), again.summary["replayed"].tolist())
    assert {"model"} == set(bench.calls.frame()["source"])


async def test_a_declaration_that_is_not_usable_is_told(opened: Open) -> None:
    """The message names the prompt and the field."""
    bench = opened("on")
    bench.prompts.create("odd", "{{question}}", config={"semantic_key": ["questoin"]}, author="ada")
    with pytest.raises(PromptError, match="odd@1: semantic_key names 'questoin'"):
        await bench.ask(prompt="odd@1", inputs={"question": ENABLE}, params=SURE)


async def test_off_is_the_default(project: Path) -> None:
    """Serving by meaning is for who asks for it."""
    async with Workbench(project) as bench:
        assert bench.cache.semantic is None
