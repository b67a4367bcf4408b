"""Read a server's /metrics page (Prometheus' text format) into a `ServerMetrics`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from workbench.records import ServerMetrics

__all__ = ["read_metrics"]

# each field: the names that vLLM, TGI, SGLang and llama-server give it
_NAMES = {
    "running": ("vllm:num_requests_running", "tgi_batch_current_size", "sglang:num_running_reqs", "llamacpp:requests_processing"),
    "waiting": ("vllm:num_requests_waiting", "tgi_queue_size", "sglang:num_queue_reqs", "llamacpp:requests_deferred"),
    "cache_use": ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "sglang:token_usage", "llamacpp:kv_cache_usage_ratio"),
    "prefix_queries": ("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"),
    "prefix_hits": ("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"),
    "prompt_tokens": ("vllm:prompt_tokens_total", "tgi_request_input_length_sum", "sglang:prompt_tokens_total",
                      "llamacpp:prompt_tokens_total"),
    "completion_tokens": ("vllm:generation_tokens_total", "tgi_request_generated_tokens_sum", "sglang:generation_tokens_total",
                          "llamacpp:tokens_predicted_total"),
    "requests": ("vllm:request_success_total", "tgi_request_success", "tgi_request_success_total", "sglang:num_requests_total"),
}  # fmt: skip
_SHARES = ("cache_use",)
_LINE = re.compile(r"^([A-Za-z_:][\w:]*)(?:\{[^}]*\})?\s+(\S+)", re.MULTILINE)


def read_metrics(pages: Sequence[str], at: float) -> ServerMetrics:
    """The metrics of all replicas' pages together: sums over models, engines and pages; a share is the mean.

    at: Unix seconds. What no page holds is None.
    """
    found: dict[str, list[float]] = {}
    for page in pages:
        for name, text in _LINE.findall(page):
            try:
                value = float(text)
            except ValueError:
                continue
            found.setdefault(name, []).append(value)
    values: dict[str, float | None] = {}
    for field, names in _NAMES.items():
        numbers = next((found[name] for name in names if name in found), None)
        total = None if numbers is None else sum(numbers)
        values[field] = total / len(numbers) if total is not None and numbers and field in _SHARES else total
    return ServerMetrics(at, **values)
