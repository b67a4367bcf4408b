"""The scripted runtime: rules, chance that repeats, faults and streams."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import workbench
from workbench import errors
from workbench.records import Completion, Message, Request, Usage
from workbench.serving import Runtime, open_runtime
from workbench.serving.scripted import Rule, Scripted
from workbench.settings import Endpoint, Settings

ECHO = Request("scripted/echo", "chat", (Message("system", "Be kind."), Message("user", "where is my order 66")))
ASK = replace(ECHO, model="scripted/m")

Make = Callable[..., Any]


class Sleeper:
    """Stands for asyncio.sleep and remembers what was slept."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_echo_answers_the_last_message() -> None:
    """With word counts as usage, and the prompt for a raw completion."""
    runtime = Scripted()
    answer = await runtime.complete(ECHO)
    raw = await runtime.complete(Request("scripted/echo", "completion", prompt="abc"))
    assert ("where is my order 66", "stop", "scripted/echo") == (answer.text, answer.finish_reason, answer.model)
    assert (Usage(7, 5), "abc", 2) == (answer.usage, raw.text, runtime.calls)


async def test_the_first_rule_that_matches_answers() -> None:
    """By text, by model, with groups, by a function, and by the last rule for all."""
    runtime = Scripted([
        Rule(match=r"order (?P<number>\d+)", answer=r"order \g<number> is on its way", model="m"),
        Rule(match="kind", answer=lambda request: request.model.upper()),
        Rule(answer=r"as it is: \1", prompt_tokens=100, completion_tokens=5, finish_reason="length"),
    ])  # fmt: skip
    first = await runtime.complete(ASK)
    second = await runtime.complete(replace(ASK, model="scripted/other"))
    third = await runtime.complete(replace(ASK, messages=(Message("user", "hello"),)))
    assert ["order 66 is on its way", "SCRIPTED/OTHER", r"as it is: \1"] == [first.text, second.text, third.text]
    assert (Usage(100, 5), "length") == (third.usage, third.finish_reason)


async def test_no_rule_that_matches_is_the_authors_mistake() -> None:
    """It is no CallError, which a run would take for the model's."""
    with pytest.raises(errors.InputError, match="where is my order"):
        await Scripted([Rule(match="refund", answer="x")]).complete(ASK)
    with pytest.raises(errors.ModelNotFoundError, match="echo"):
        await Scripted().complete(ASK)


async def test_times_counts_matches() -> None:
    """A server that fails twice and then works."""
    runtime = Scripted([Rule(error="OverloadedError", retry_after=2.0, times=2), Rule(answer="ok")])
    for _ in range(2):
        with pytest.raises(errors.OverloadedError) as caught:
            await runtime.complete(ASK)
        assert (503, 2.0, True) == (caught.value.status, caught.value.retry_after, caught.value.retryable)
    assert ("ok", 3) == ((await runtime.complete(ASK)).text, runtime.calls)


async def outcomes(seed: int, order: list[int]) -> dict[int, list[str]]:
    """What happens to four different requests, each asked three times in a row."""
    sleeper = Sleeper()
    rule = Rule(answer="ok", delay=(0.1, 0.9), error="ServerError", error_rate=0.4)
    runtime = Scripted([rule], seed=seed, sleep=sleeper)
    found: dict[int, list[str]] = {}
    for number in order:
        for _ in range(3):
            try:
                await runtime.complete(replace(ASK, messages=(Message("user", f"q{number}"),)))
                end = "ok"
            except errors.ServerError:
                end = "failed"
            found.setdefault(number, []).append(f"{end} {sleeper.slept[-1]:.6f}")
    return found


async def test_chance_depends_on_seed_content_and_repeat_only() -> None:
    """Another order changes nothing; another seed does; repeats differ; the rate is about as asked."""
    first = await outcomes(1, list(range(40)))
    other_order = await outcomes(1, list(reversed(range(40))))
    other_seed = await outcomes(2, list(range(40)))
    assert first == other_order
    assert first != other_seed
    assert all(len(set(ends)) == 3 for ends in first.values())
    failed = sum(end.startswith("failed") for ends in first.values() for end in ends)
    assert 30 < failed < 66


async def test_delays_are_slept_and_reported_as_scripted() -> None:
    """The clock of the machine plays no part."""
    sleeper = Sleeper()
    runtime = Scripted([Rule(answer="ok", delay=2.5)], sleep=sleeper, clock=lambda: 9.0)
    timing = (await runtime.complete(ASK)).timing
    assert ([2.5], 9.0, 2.5, None) == (sleeper.slept, timing.started_at, timing.total, timing.first_token)


async def test_a_delay_beyond_the_timeout_is_a_timeout() -> None:
    """After exactly the timeout, also when streaming."""
    sleeper = Sleeper()
    runtime = Scripted([Rule(answer="ok", delay=500)], sleep=sleeper)
    with pytest.raises(errors.CallTimeoutError, match="500 s"):
        await runtime.complete(replace(ASK, timeout=3))
    with pytest.raises(errors.CallTimeoutError, match="500 s"):
        await anext(runtime.stream(replace(ASK, timeout=3)))
    assert [3, 3] == sleeper.slept


async def collect(runtime: Runtime) -> tuple[list[str], Completion | None]:
    pieces, completion = [], None
    async for chunk in runtime.stream(ASK):
        pieces += [chunk.text] if chunk.completion is None else []
        completion = chunk.completion or completion
    return pieces, completion


async def test_a_stream_comes_word_by_word() -> None:
    """The pieces make the text with its white space; the delay is spread as the rule says."""
    sleeper = Sleeper()
    text = "  two words\n\nand three "
    pieces, completion = await collect(Scripted([Rule(answer=text, delay=1.0, first_token=0.4)], sleep=sleeper))
    assert completion is not None
    assert ["  ", "two ", "words\n\n", "and ", "three "] == pieces
    assert (text, 1.0, 0.4) == (completion.text, completion.timing.total, completion.timing.first_token)
    assert pytest.approx([0.4, 0.15, 0.15, 0.15, 0.15]) == sleeper.slept


async def test_an_empty_stream_has_no_first_token() -> None:
    """Only the completion comes."""
    pieces, completion = await collect(Scripted([Rule(answer="")]))
    assert completion is not None
    assert ([], None) == (pieces, completion.timing.first_token)


async def test_a_stream_can_break_in_the_middle() -> None:
    """Half of the words come, then the error; other errors come at once."""
    pieces = Scripted([Rule(answer="a b c d", error="IncompleteStreamError")]).stream(ASK)
    seen = [(await anext(pieces)).text for _ in range(2)]
    with pytest.raises(errors.IncompleteStreamError):
        await anext(pieces)
    with pytest.raises(errors.RateLimitError):
        await anext(Scripted([Rule(answer="a b", error="RateLimitError")]).stream(ASK))
    assert ["a ", "b "] == seen


async def test_calls_at_once_really_overlap() -> None:
    """With the real asyncio.sleep, nobody waits for another."""
    runtime = Scripted([Rule(answer="ok", delay=0.05)])
    texts = [answer.text for answer in await asyncio.gather(*(runtime.complete(ASK) for _ in range(200)))]
    assert (["ok"] * 200, 200) == (texts, runtime.calls)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"match": "("}, "regular expression"), ({"error": "Oops"}, "RateLimitError"), ({"error": "CallError"}, "must be one of"),
        ({"delay": -1}, "delay"), ({"delay": [2, 1]}, "delay"), ({"error_rate": 2}, "error_rate"), ({"anwser": "x"}, "anwser"),
    ],
)  # fmt: skip
def test_wrong_rules_are_named(values: dict[str, Any], said: str) -> None:
    """When they are made, with what would be right."""
    with pytest.raises(errors.InputError, match=said):
        Rule.from_mapping(values, "here")


async def test_rules_from_the_settings(settings_in: Make, tmp_path: Path) -> None:
    """An endpoint of kind scripted with rules in its options."""
    options = {"seed": 3, "rules": [{"match": "order", "answer": "soon", "delay": [0.0, 0.0]}]}
    runtime = open_runtime(Endpoint("fake", "scripted", options=options, concurrency=5), settings_in(tmp_path))
    answer = await runtime.complete(replace(ASK, model="fake/anything"))
    assert ("soon", 5, "scripted") == (answer.text, runtime.concurrency, runtime.kind)
    assert (await runtime.health()).ok
    await runtime.aclose()


@pytest.mark.parametrize("options", [{"rule": []}, {"rules": "x"}, {"seed": "x"}, {"rules": ["x"]}])
def test_wrong_options_of_an_endpoint(settings_in: Make, tmp_path: Path, options: dict[str, Any]) -> None:
    """They are named with the endpoint."""
    with pytest.raises(errors.InputError, match=r"endpoints\.fake"):
        open_runtime(Endpoint("fake", "scripted", options=options), settings_in(tmp_path))


async def test_rules_from_a_file_of_the_project(settings_in: Make, tmp_path: Path) -> None:
    """scripted/PATH.toml; what is wrong with it is told with its path."""
    (tmp_path / "rules.toml").write_text('seed = 1\n[[rules]]\nmatch = "order"\nanswer = "from the file"\n')
    (tmp_path / "bad.toml").write_text("[[rule]]\n")
    settings: Settings = settings_in(tmp_path)
    runtime = open_runtime(Endpoint("scripted", "scripted"), settings)
    assert "from the file" == (await runtime.complete(replace(ASK, model="scripted/rules.toml"))).text
    for name, message in (("bad.toml", "bad.toml: write"), ("rule.toml", "rule.toml .* Did you mean 'rules.toml'")):
        with pytest.raises(errors.InputError, match=message):
            await runtime.complete(replace(ASK, model=f"scripted/{name}"))


async def test_the_digest_names_the_rules() -> None:
    """Equal rules have equal digests; another answer or seed another one."""
    rule = Rule(answer="a")
    made = [Scripted([rule]), Scripted([Rule(answer="a")]), Scripted([Rule(answer="b")]), Scripted([rule], seed=1)]
    digests = [(await runtime.describe("m")).digest for runtime in made]
    assert digests[0] == digests[1]
    assert 3 == len(set(digests))


def test_an_unknown_kind_of_endpoint(settings_in: Make, tmp_path: Path) -> None:
    """The known ones are listed."""
    with pytest.raises(
        errors.SettingsError, match="embedded, llama-server, ollama, openai, openai-compatible, scripted"
    ):
        open_runtime(Endpoint("x", "llama-cpp"), settings_in(tmp_path))


@pytest.mark.parametrize("kind", ["embedded", "ollama", "openai", "scripted", "tgi", "vllm"])
def test_every_kind_of_endpoint_is_a_runtime(settings_in: Make, tmp_path: Path, kind: str) -> None:
    """Opening one neither connects nor loads anything."""
    runtime = open_runtime(Endpoint("x", kind, ("http://127.0.0.1:1",)), settings_in(tmp_path))
    assert isinstance(runtime, Runtime)
    assert kind == runtime.kind
    assert {"embedded": 1, "scripted": 32, "ollama": 8, "openai": 64, "tgi": 128, "vllm": 256}[
        kind
    ] == runtime.concurrency


def test_importing_the_package_is_cheap() -> None:
    """No HTTP client and no llama.cpp come along; they are imported by the runtime that needs them."""
    code = (
        "import sys, workbench.serving; print(sorted({'httpx', 'aiohttp', 'orjson', 'xllamacpp'} & set(sys.modules)))"
    )
    environ = os.environ | {"PYTHONPATH": str(Path(workbench.__file__).parents[1])}
    ended = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert "[]" == ended.stdout.strip()
