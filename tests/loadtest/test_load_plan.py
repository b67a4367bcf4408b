"""The plan of a load test: what it says before anything is sent, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from workbench import Workbench
from workbench.errors import InputError
from workbench.loadtest.plan import Load, Target

BUDGET = """
[endpoints.paid]
kind = "vllm"
urls = ["http://127.0.0.1:9"]
requests_per_minute = 60
tokens_per_minute = 9600
"""


@pytest.fixture
def bench(project: Path) -> Workbench:
    """A workbench with an endpoint that has a budget."""
    (project / "workbench.toml").write_text(BUDGET)
    return Workbench(project)


def test_what_it_says(bench: Workbench) -> None:
    """Loads, lengths, targets, calls with their warm-ups, tokens, money, and that the time is not known."""
    plan = bench.load_plan(
        ["embedded/smollm2-135m", "vllm/m"], concurrency=[4, 1], requests=16, target={"ttft": 0.5, "tpot": 0.05}
    )
    lines = dict(plan.lines())
    assert "1, 4 at once (closed loop); requests each: 16" == lines["load"]
    assert "about 128 tokens, no two prompts alike" == lines["prompts"]
    assert "TTFT ≤ 500 ms, TPOT ≤ 50 ms" == lines["target"]
    assert "64, and 14 to warm up" == lines["calls"]
    assert "about 12,480" == lines["tokens"]
    assert "unknown (no price for vllm/m)" == lines["cost"]
    assert "unknown until it has begun" == lines["time"]
    assert (64, 14, None) == (plan.calls, plan.warmups, plan.seconds)
    assert str(plan).startswith("Plan of a load test\n  models   embedded/smollm2-135m, vllm/m\n")
    assert "A plan sends nothing." in plan._repr_html_()
    assert not (bench.settings.home / "loadtests").exists()


def test_defaults(bench: Workbench) -> None:
    """The settings' model with 1, 4 and 16 at once, 32 requests or 4 for each at once, warm-ups of one round."""
    plan = bench.load_plan()
    assert (("embedded/smollm2-135m",), (32, 32, 64), (1, 4, 16)) == (plan.models, plan.requests, plan.warmup)
    assert [Load(concurrency=1), Load(concurrency=4), Load(concurrency=16)] == list(plan.loads)
    assert "$0" == dict(plan.lines())["cost"]
    assert "none: no goodput" == dict(plan.lines())["target"]


def test_money_is_known_where_prices_are(bench: Workbench) -> None:
    """32 requests, 1 to warm up and 2 to find the length, of 128 + 32 tokens each, at OpenAI's prices."""
    plan = bench.load_plan(["openai/gpt-4o-mini"], concurrency=[1])
    assert pytest.approx(35 * (128 * 0.15 + 32 * 0.6) / 1e6) == plan.usd


def test_rates_say_how_long_it_takes_at_least(bench: Workbench) -> None:
    """The last arrival of each load, for each model."""
    plan = bench.load_plan(["scripted/echo", "vllm/m"], rate=[0.5, 2.0], requests=40)
    assert plan.seconds is not None
    assert pytest.approx(2 * (39 / 0.5 + 39 / 2.0), rel=0.5) == plan.seconds
    assert "at least 3 min" in dict(plan.lines())["time"]
    assert "0.5, 2 arrivals a second (open loop, Poisson); requests each: 40" == dict(plan.lines())["load"]
    assert (4, 4) == plan.warmup


def notes(bench: Workbench, *models: str, **options: Any) -> str:
    return " | ".join(bench.load_plan(models or ["embedded/smollm2-135m"], **options).notes)


def test_notes_say_what_will_weaken_it(bench: Workbench) -> None:
    """Few requests, few rounds, answers whose length cannot be forced."""
    assert "P99 of 64 requests is nearly their slowest" in notes(bench)
    assert "fewer than 4 requests for each at once" in notes(bench, concurrency=[16], requests=32)
    assert "" == notes(bench, concurrency=[1, 16], requests=100)
    assert "ollama/a, tgi/b: this kind of server cannot be told" in notes(bench, "vllm/m", "ollama/a", "tgi/b")
    assert "cannot be told" not in notes(bench, "openai/m", params={"extra": {"ignore_eos": True}})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"models": []}, "models"),
        ({"models": "embedded/smollm2-135m"}, "models"),
        ({"models": ["scripted/a", "scripted/a"]}, "each model once"),
        ({"models": ["nope/m"]}, "no endpoint 'nope'"),
        ({"models": ["m"]}, "ENDPOINT/MODEL"),
        ({"concurrency": [1], "rate": [1.0]}, "both given"),
        ({"concurrency": []}, "names no load"),
        ({"concurrency": [2, 2]}, "names a load twice"),
        ({"concurrency": [0]}, "concurrency = 0"),
        ({"concurrency": [1.5]}, "concurrency = 1.5"),
        ({"concurrency": [True]}, "concurrency = True"),
        ({"concurrency": [5000]}, "4,096"),
        ({"concurrency": list(range(1, 40))}, "39 loads"),
        ({"rate": [0]}, "rate = 0"),
        ({"rate": [float("inf")]}, "rate = inf"),
        ({"rate": [1e6]}, "no client sends so many"),
        ({"rate": [0.0001]}, "would take 3 d"),
        ({"requests": 0}, "requests = 0"),
        ({"requests": 1_000_000}, "requests = 1000000"),
        ({"concurrency": [64], "requests": 32}, "would never have 64 at once"),
        ({"warmup": -1}, "warmup = -1"),
        ({"prompt_tokens": 0}, "prompt_tokens = 0"),
        ({"output_tokens": 2.5}, "output_tokens = 2.5"),
        ({"prompt_tokens": 9_000_000}, "more than 100,000,000 tokens"),
        ({"shared_tokens": 128}, "less than prompt_tokens"),
        ({"timeout": 0}, "timeout = 0"),
        ({"seed": -1}, "seed = -1"),
        ({"target": {"ttft": -1}}, "target ttft = -1"),
        ({"target": {"tfft": 1}}, "unknown field 'tfft'"),
        ({"params": {"max_tokens": 3}}, "output_tokens"),
    ],
)
def test_what_makes_no_sense_is_refused(bench: Workbench, options: dict[str, Any], said: str) -> None:
    """By name, with the value and what to do."""
    with pytest.raises(InputError, match=said):
        bench.load_plan(**{"models": ["scripted/echo"], **options})


def test_a_budget_is_not_broken(bench: Workbench) -> None:
    """A load test is not held back by the endpoint's budget, so one that may exceed it is refused, with the rate that may not."""
    with pytest.raises(InputError, match=r"paid has a budget, requests_per_minute = 60.*at most 1 requests a second"):
        bench.load_plan(["paid/m"])
    with pytest.raises(InputError, match="requests_per_minute"):
        bench.load_plan(["paid/m"], rate=[0.5, 1.5])
    with pytest.raises(InputError, match="tokens_per_minute = 9600"):
        bench.load_plan(["paid/m"], rate=[0.9], prompt_tokens=500)
    assert (1.0,) == tuple(load.rate for load in bench.load_plan(["paid/m"], rate=[1]).loads)


def test_open_files_are_counted_before(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """More calls at once than this process may have connections: refused, with the command that helps."""
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 4096))
    with pytest.raises(InputError, match=r"open files.*may have 256.*ulimit -n"):
        bench.load_plan(concurrency=[250])
    bench.load_plan(concurrency=[128])


def test_a_target_in_words() -> None:
    """Only what is set, in the units that people use."""
    assert "TPOT ≤ 50 ms, latency ≤ 2.5 s" == str(Target(tpot=0.05, latency=2.5))
    assert (False, True) == (bool(Target()), bool(Target(ttft=1)))
