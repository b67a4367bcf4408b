"""Metrics pages of real servers, read into records."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from serving_doubles import RECORDED

from workbench import Workbench
from workbench.records import ServerMetrics
from workbench.serving.prometheus import read_metrics


def page(server: str) -> str:
    exchanges = json.loads((RECORDED / f"{server}.json").read_text())["exchanges"]
    return str(next(item for item in exchanges if item["name"] == "metrics")["response"]["text"])


# as a llama-server of 2026-10 wrote it
LLAMA_SERVER = """\
# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed, excluding cached tokens
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 62
# HELP llamacpp:prompt_tokens_cached_total Number of prompt tokens reused from the cache
# TYPE llamacpp:prompt_tokens_cached_total counter
llamacpp:prompt_tokens_cached_total 124
# HELP llamacpp:tokens_predicted_total Number of generation tokens processed
# TYPE llamacpp:tokens_predicted_total counter
llamacpp:tokens_predicted_total 315
# HELP llamacpp:n_decode_total Total number of llama_decode() calls
# TYPE llamacpp:n_decode_total counter
llamacpp:n_decode_total 315
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 1
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred 2
"""
# by SGLang's page "Production metrics"; with priority scheduling each queue is counted again for each priority
SGLANG = """\
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{model_name="meta-llama/Llama-3.1-8B-Instruct",priority=""} 162.0
sglang:num_running_reqs{model_name="meta-llama/Llama-3.1-8B-Instruct",priority="1"} 100.0
sglang:num_running_reqs{model_name="meta-llama/Llama-3.1-8B-Instruct",priority="2"} 62.0
sglang:num_queue_reqs{model_name="meta-llama/Llama-3.1-8B-Instruct"} 2826.0
sglang:token_usage{model_name="meta-llama/Llama-3.1-8B-Instruct"} 0.28
sglang:cache_hit_rate{model_name="meta-llama/Llama-3.1-8B-Instruct"} 0.007507552643049313
sglang:prompt_tokens_total{model_name="meta-llama/Llama-3.1-8B-Instruct"} 8.128902e+06
sglang:cached_tokens_total{model_name="meta-llama/Llama-3.1-8B-Instruct",cache_source="device"} 1000.0
sglang:cached_tokens_total{model_name="meta-llama/Llama-3.1-8B-Instruct",cache_source="host"} 24.0
sglang:generation_tokens_total{model_name="meta-llama/Llama-3.1-8B-Instruct"} 7.557572e+06
sglang:num_requests_total{model_name="meta-llama/Llama-3.1-8B-Instruct"} 21.0
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            page("vllm"),
            {"running": 0, "waiting": 0, "cache_use": 0, "prefix_queries": 265, "prefix_hits": 0, "prompt_tokens": 265,
             "completion_tokens": 58, "requests": 9},
        ),
        (page("tgi"), {"running": 0, "waiting": 0, "prompt_tokens": 46, "completion_tokens": 7, "requests": 2}),
        (
            LLAMA_SERVER,
            {"running": 1, "waiting": 2, "prefix_queries": 186, "prefix_hits": 124, "prompt_tokens": 186,
             "completion_tokens": 315},
        ),
        (
            SGLANG,
            {"running": 162, "waiting": 2826, "cache_use": 0.28, "prefix_queries": 8128902, "prefix_hits": 1024,
             "prompt_tokens": 8128902, "completion_tokens": 7557572, "requests": 21},
        ),
        ("", {}),
        ("<html>not a page of metrics 3</html>", {}),
    ],
    ids=["vllm", "tgi", "llama-server", "sglang", "fresh-tgi", "html"],
)  # fmt: skip
def test_each_server_by_its_own_names(text: str, expected: dict[str, Any]) -> None:
    """What a page does not hold is None."""
    assert ServerMetrics(7.0, **expected) == read_metrics([text], 7.0)


def test_several_engines_and_pages_are_added_up() -> None:
    """A share is the mean of what it was in each."""
    running, use = "vllm:num_requests_running", "vllm:kv_cache_usage_perc"
    first = f'{running}{{engine="0"}} 3\n{running}{{engine="1"}} 4\n{use}{{engine="0"}} 0.5\n{use}{{engine="1"}} 0.1\n'
    pages = [first, f'{running}{{engine="0"}} 1\n{use}{{engine="0"}} 0.3\n']
    found = read_metrics(pages, 0.0)
    assert (8, pytest.approx(0.3)) == (found.running, found.cache_use)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('vllm:num_requests_running{model_name="a{b}c \\"d\\", e"} 5', 5),
        ("vllm:num_requests_running 5 1700000000000", 5),
        ("vllm:num_requests_running NaN", None),
        ("vllm:num_requests_running +Inf", None),
        ("vllm:num_requests_running five", None),
        ("# vllm:num_requests_running 5", None),
    ],
)
def test_the_forms_of_a_line(line: str, expected: float | None) -> None:
    """Braces in a label, a time after the value, and what is no number."""
    assert expected == read_metrics([f"{line}\n"], 0.0).running


def test_an_older_vllm() -> None:
    """Its names began with gpu_."""
    text = "vllm:gpu_cache_usage_perc 0.5\nvllm:gpu_prefix_cache_queries_total 10\nvllm:gpu_prefix_cache_hits_total 4\n"
    assert ServerMetrics(0.0, cache_use=0.5, prefix_queries=10, prefix_hits=4) == read_metrics([text], 0.0)


async def test_doctor_tells_the_load_of_the_recorded_double(
    recorded: Callable[..., Any], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the server says of itself stands beside its health, in the shell as in a notebook."""
    monkeypatch.setenv("VLLM_BASE_URL", recorded("vllm").url)
    async with Workbench(project) as bench:
        (check,) = [item for item in (await bench.doctor()).checks if item.part == "endpoint vllm"]
        metrics = await bench.metrics("vllm")
    assert check.detail.endswith(
        "1 model, 0 running, 0 waiting, KV cache 0% in use, 0% of prompt tokens found in the prefix cache"
    )
    assert metrics is not None
    assert 265.0 == metrics.prefix_queries
