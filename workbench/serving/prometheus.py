"""Read a server's /metrics page (Prometheus' text format) into a `ServerMetrics`.

Names: of vLLM 0.32 (a recorded page; gpu_ in older versions), TGI 3.3 (its router's source), SGLang (its page "Production
metrics" and `metrics/collector.py`) and llama-server (a page of 2026-10; its prompt_tokens_total leaves out the cached ones).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from workbench.records import ServerMetrics

__all__ = ["read_metrics"]

# each field: names that servers give it, each with what is to be added to it; the first that a page has whole is taken
_NAMES: dict[str, tuple[tuple[str, ...], ...]] = {
    "running": (("vllm:num_requests_running",), ("tgi_batch_current_size",), ("sglang:num_running_reqs",),
                ("llamacpp:requests_processing",)),
    "waiting": (("vllm:num_requests_waiting",), ("tgi_queue_size",), ("sglang:num_queue_reqs",), ("llamacpp:requests_deferred",)),
    "cache_use": (("vllm:kv_cache_usage_perc",), ("vllm:gpu_cache_usage_perc",), ("sglang:token_usage",),
                  ("llamacpp:kv_cache_usage_ratio",)),
    "prefix_queries": (("vllm:prefix_cache_queries_total",), ("vllm:gpu_prefix_cache_queries_total",),
                       ("sglang:prompt_tokens_total",), ("llamacpp:prompt_tokens_total", "llamacpp:prompt_tokens_cached_total")),
    "prefix_hits": (("vllm:prefix_cache_hits_total",), ("vllm:gpu_prefix_cache_hits_total",), ("sglang:cached_tokens_total",),
                    ("llamacpp:prompt_tokens_cached_total",)),
    "prompt_tokens": (("vllm:prompt_tokens_total",), ("tgi_request_input_length_sum",), ("sglang:prompt_tokens_total",),
                      ("llamacpp:prompt_tokens_total", "llamacpp:prompt_tokens_cached_total"), ("llamacpp:prompt_tokens_total",)),
    "completion_tokens": (("vllm:generation_tokens_total",), ("tgi_request_generated_tokens_sum",),
                          ("sglang:generation_tokens_total",), ("llamacpp:tokens_predicted_total",)),
    # tgi_request_count counts a call of its /v1 twice
    "requests": (("vllm:request_success_total",), ("tgi_request_success",), ("sglang:num_requests_total",)),
}  # fmt: skip
_SHARES = ("cache_use",)
_LINE = re.compile(r'^([A-Za-z_:][\w:]*)(\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?[ \t]+(\S+)', re.MULTILINE)
_PART = re.compile(r'priority="[^"]')  # SGLang's count of one priority, beside that of all


def read_metrics(pages: Sequence[str], at: float) -> ServerMetrics:
    """The metrics of all replicas' pages together: sums over models, engines and pages; a share is the mean.

    at: Unix seconds. What no page holds is None.
    """
    found: dict[str, list[float]] = {}
    for page in pages:
        for name, labels, text in _LINE.findall(page):
            try:
                value = float(text)
            except ValueError:
                continue
            if math.isfinite(value) and not _PART.search(labels):
                found.setdefault(name, []).append(value)
    values: dict[str, float | None] = {}
    for field, known in _NAMES.items():
        names = next((names for names in known if all(name in found for name in names)), ())
        numbers = [number for name in names for number in found[name]]
        total = sum(numbers) if numbers else None
        values[field] = total / len(numbers) if total is not None and field in _SHARES else total
    return ServerMetrics(at, **values)
