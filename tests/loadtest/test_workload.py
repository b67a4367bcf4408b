"""What a load test sends, and when."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import kstest

from workbench.loadtest.workload import first_guess, next_guess, poisson_arrivals, prompt_text, request_of, sampling
from workbench.records import Params


def test_no_two_prompts_begin_alike() -> None:
    """Neither within a run nor between two runs of one seed, so that no prefix cache helps; the same key repeats a prompt."""
    prompts = [prompt_text(64, 0, f"0 {run}/model/{index}") for run in ("monday", "friday") for index in range(200)]
    longest = max(common(one, other) for one, other in itertools.combinations(prompts, 2))
    assert longest < 6
    assert prompts[0] == prompt_text(64, 0, "0 monday/model/0")
    assert {64} == {len(prompt.partition("\n")[0].split()) for prompt in prompts}


def common(one: str, other: str) -> int:
    """How many first words two prompts share."""
    pairs = zip(one.split(), other.split(), strict=True)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def test_a_shared_beginning_is_shared_within_a_run_only() -> None:
    """As a system prompt is; the rest differs, and so does another run's."""
    first, second, other = (prompt_text(64, 40, key) for key in ("monday/m/1", "monday/m/2", "friday/m/1"))
    assert 40 <= common(first, second) < 46
    assert common(first, other) < 6


@pytest.mark.parametrize(("rate", "template"), [(1.0, 35), (1.0, 0), (1.6, 35), (0.7, 12)])
def test_two_counts_are_enough_for_the_length(rate: float, template: int) -> None:
    """Whatever the chat template adds and however the tokeniser cuts words, the third prompt has the length, give or take 1."""
    counted: list[tuple[int, int]] = []
    words = first_guess(256)
    for _ in range(2):
        counted.append((words, round(words * rate) + template))
        words = next_guess(256, counted)
    assert abs(round(words * rate) + template - 256) <= 1


def test_a_prompt_has_at_least_a_word() -> None:
    """A template longer than the prompt cannot be undercut, and equal counts divide by nothing."""
    assert 1 == first_guess(5)
    assert 1 == next_guess(5, [(1, 40)])
    assert 1 == next_guess(5, [(1, 40), (1, 40)])
    assert next_guess(100, [(50, 60), (90, 60)]) > 90


@pytest.mark.parametrize(
    ("kind", "extra", "temperature"),
    [
        ("vllm", {"ignore_eos": True}, 0.0),
        ("embedded", {"ignore_eos": True}, 0.0),
        ("ollama", {}, 0.0),
        ("tgi", {}, 0.0),
        ("openai", {}, None),
    ],
)
def test_lengths_are_forced_where_the_server_can(kind: str, extra: dict[str, bool], temperature: float | None) -> None:
    """vLLM and llama.cpp know ignore_eos; to the others it is not sent."""
    found = sampling(Params(), kind, 32)
    assert (extra, temperature, 32) == (found.extra, found.temperature, found.max_tokens)


def test_own_params_are_stronger() -> None:
    """Also a server that is asked for by another kind can be told to ignore the end."""
    found = sampling(Params(temperature=0.8, extra={"ignore_eos": False, "top_k": 4}), "vllm", 8)
    assert (0.8, {"ignore_eos": False, "top_k": 4}, 8) == (found.temperature, found.extra, found.max_tokens)
    assert {"ignore_eos": True} == sampling(Params(extra={"ignore_eos": True}), "openai", 8).extra


def test_requests_as_chat_and_raw() -> None:
    """Raw leaves the chat template out."""
    chat = request_of("a/m", "x", Params(), raw=False, timeout=3.0)
    raw = request_of("a/m", "x", Params(), raw=True, timeout=3.0)
    assert ("chat", "x", "completion", "x") == (chat.kind, chat.messages[0].content, raw.kind, raw.prompt)


def test_arrivals_are_a_poisson_process() -> None:
    """The gaps are exponential with the mean 1 / rate, the first request comes at once, and the seed repeats them."""
    times = poisson_arrivals(4.0, 5_000, seed=3)
    gaps = np.diff(times)
    assert 0.0 == times[0]
    assert pytest.approx(0.25, rel=0.05) == gaps.mean()
    assert kstest(gaps, "expon", args=(0, 0.25)).pvalue > 0.05
    assert times == poisson_arrivals(4.0, 5_000, seed=3)
    assert times[1] != poisson_arrivals(4.0, 2, seed=4)[1]
    assert pytest.approx(times[100] * 2) == poisson_arrivals(2.0, 101, seed=3)[100]
    assert [0.0] == poisson_arrivals(1.0, 1, 0)
